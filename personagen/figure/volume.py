"""From reliefs and the body to closed surfaces: fields that are negative inside, united smoothly, and meshed."""

import numpy as np

from ..person.joints import Joint
from .body import BodyMesh
from .lens import Lens
from .maps import CELL, Maps
from .nets import Box, Surface, meshed
from .raster import rasterise
from .relief import (
    BONES,
    Relief,
    beyond,
    body_depths,
    core_relief,
    distance_outside,
    half_widths_near,
    inflate,
    smooth_rows,
)

MERGED = 0.02
"""Metres over which parts grow into each other."""
CORE = ("head", "trunk", "left leg", "right leg")
LIFTED = 0.4
"""How far before the trunk the middle of an arm is that crosses it, in its half widths."""
SOCKET = 0.05
"""Radius of what of an arm goes on inside the shoulder, metres."""
FAR = 0.06
"""Metres from a surface beyond which its distance does not matter."""


def core_surface(maps: Maps, body: BodyMesh, lens: Lens, *, step: int = 2) -> Surface:
    """Mesh head, trunk and legs as one, of the picture that a lens saw; step: cells a voxel's side."""
    present = [group for group in CORE if maps.groups[group].any()]
    reliefs = [core_relief(maps, body, group) for group in present]
    names = {name for group in CORE for name in BONES[group]}
    front, back = body_depths(body, maps, tuple(names))
    mask = np.logical_or.reduce([maps.groups[group] for group in CORE])
    for group, one in zip(present, reliefs):
        if one.slim is not None:
            half = (front - back) / 2 * np.where(maps.groups[group], 1 - one.slim[:, None], 0)
            front, back = front - half, back + half
    deep = [float((one.middle + sign * one.wide * getattr(one, side)).max() if sign > 0
                  else (one.middle - one.wide * one.back).min())
            for one in reliefs for sign, side in ((1, "front"), (-1, "back"))]  # fmt: skip
    low = min([*deep, float(np.nanmin(back))]) - 3 * step * CELL
    high = max([*deep, float(np.nanmax(front))]) + 3 * step * CELL
    box = Box(maps.left, maps.top, low, step * CELL)
    z = (low + (np.arange(int((high - low) / box.side) + 1) + 0.5) * box.side).astype(np.float32)
    field = _body_field(front, back, mask, z, step)
    for group, one in zip(present, reliefs):
        part = relief_field(one, z, step)
        if group == "trunk" and maps.skirt:
            part = np.maximum(part, _below_hem(maps, one, lens, z, step))
        field = united(field, part, MERGED)
    return meshed(_blurred(field), box)


def _below_hem(maps: Maps, trunk: Relief, lens: Lens, z: np.ndarray, step: int) -> np.ndarray:
    """How far voxels (h, w, d) are below a hem that is level: behind, the camera sees it higher than in front."""
    mask, columns = maps.groups["trunk"], np.arange(trunk.wide.shape[1])
    some = np.flatnonzero(mask.any(0))
    last = np.interp(columns, some, mask.shape[0] - 1 - mask[::-1].argmax(0)[some]).astype(int)
    front = (trunk.middle + np.sqrt(trunk.height.clip(0)) * trunk.front)[last, columns]
    world = lens.to_world(np.stack([maps.x, maps.y[last] - CELL / 2, front], 1))[:, 1]
    points = np.stack(np.broadcast_arrays(0.0, world[:, None], z[None]), -1).reshape(-1, 3)
    hem = lens.to_picture(points)[:, 1].reshape(len(columns), len(z))
    halved = lambda values: values[: len(values) // step * step].reshape(-1, step, *values.shape[1:]).mean(1)
    return (halved(hem)[None] - halved(maps.y)[:, None, None]).astype(np.float32)


def arm_surface(maps: Maps, body: BodyMesh, side: str, core: Surface, *, step: int = 2) -> Surface | None:
    """Mesh one arm, round along its bones; None where none is seen. side: "left" or "right", the person's own."""
    mask = maps.groups[f"{side} arm"]
    if mask.sum() * CELL**2 < 0.004:
        return None
    relief = _arm_relief(maps, body, side, core)
    reach = float((relief.wide * relief.front).max()) + 4 * step * CELL
    near = relief.middle[mask]
    low, high = float(near.min()) - reach, float(near.max()) + reach
    box = Box(maps.left, maps.top, low, step * CELL)
    z = (low + (np.arange(int((high - low) / box.side) + 1) + 0.5) * box.side).astype(np.float32)
    field = relief_field(relief, z, step)
    return meshed(_blurred(field), box)


def _arm_relief(maps: Maps, body: BodyMesh, side: str, core: Surface) -> Relief:
    """The relief of an arm: round, in the depth of its bones, lifted where it crosses the trunk."""
    mask = maps.groups[f"{side} arm"].copy()
    crosses = maps.groups["trunk"] & mask
    x, y = np.meshgrid(maps.x, maps.y)
    shoulder = body.skeleton.heads[body.bone(f"{side.title()}Arm")]
    middle = maps.joints[[Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER], 0].mean()
    inner = shoulder[:2] - [0.01 * np.sign(shoulder[0] - middle), 0.01]
    mask |= (np.hypot(x - inner[0], y - inner[1]) < SOCKET) & maps.person
    height = inflate(mask)
    wide = half_widths_near(height)
    middle = _along_bones(x, y, body, side)
    if crosses.any():
        front = _front_of(core, maps)
        lifted = np.where(crosses & np.isfinite(front), front + LIFTED * wide, -np.inf)
        middle = np.maximum(middle, _sinking(lifted, mask))
    ones = np.ones_like(x, dtype=np.float32)
    return Relief(beyond(height, wide, mask), wide, _soft(middle), ones, ones)


def _along_bones(x: np.ndarray, y: np.ndarray, body: BodyMesh, side: str) -> np.ndarray:
    """The depth of the nearest bone of an arm at the cells (h, w)."""
    depth, nearest = np.zeros_like(x), np.full_like(x, np.inf)
    for name in ("Arm", "ForeArm", "Hand"):
        bone = body.bone(side.title() + name)
        a, b = body.skeleton.heads[bone].astype(float), body.tails[bone].astype(float)
        d = (b - a)[:2]
        t = ((x - a[0]) * d[0] + (y - a[1]) * d[1]) / max(float(d @ d), 1e-9)
        t = t.clip(0, 1.3 if name == "Hand" else 1)
        far = np.hypot(x - a[0] - t * d[0], y - a[1] - t * d[1])
        depth = np.where(far < nearest, a[2] + t * (b[2] - a[2]), depth)
        nearest = np.minimum(far, nearest)
    return depth


def _front_of(core: Surface, maps: Maps) -> np.ndarray:
    """How far forward the core's surface is at the cells (h, w); -inf beside it."""
    column, row = (core.vertices[:, 0] - maps.left) / CELL, (maps.top - core.vertices[:, 1]) / CELL
    return rasterise(np.stack([column, row, core.vertices[:, 2]], 1), core.faces, maps.person.shape, both=True).near


def _sinking(lifted: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Let what is lifted (h, w) sink around where it is, within a mask, a metre a metre."""
    out = np.where(mask, lifted, -np.inf)
    for _ in range(2):
        for plane in (out, out[::-1], out.T, out.T[::-1]):
            for i in range(1, len(plane)):
                np.maximum(plane[i], plane[i - 1] - CELL, out=plane[i])
    return out


def _soft(plane: np.ndarray) -> np.ndarray:
    """A plane (h, w) averaged over 2.5 cm."""
    out = np.apply_along_axis(smooth_rows, 0, plane, 0.012)
    return np.apply_along_axis(smooth_rows, 1, out, 0.012).astype(np.float32)


def relief_field(relief: Relief, z: np.ndarray, step: int) -> np.ndarray:
    """The field (h, w, d) of a relief at voxels: zero on it, like a distance near it."""
    u, wide, middle, ahead, behind = (
        _pooled(plane, step) for plane in (relief.height, relief.wide, relief.middle, relief.front, relief.back)
    )
    away = z[None, None] - middle[..., None]
    deep = away / np.where(away > 0, ahead[..., None], behind[..., None])
    deep *= deep
    deep += (wide**2 - u)[..., None]
    np.sqrt(deep.clip(0), out=deep)
    return (deep - wide[..., None]).clip(-FAR, FAR)


def _body_field(front: np.ndarray, back: np.ndarray, mask: np.ndarray, z: np.ndarray, step: int) -> np.ndarray:
    """The field (h, w, d) of a body between front and back (h, w), cut off where the mask ends."""
    there = np.isfinite(front) & np.isfinite(back)
    outside = distance_outside(mask & there) - distance_outside(~(mask & there))
    ahead = _pooled(np.where(there, front, -1.0), step)
    behind = _pooled(np.where(there, back, 1.0), step)
    field = np.maximum(z[None, None] - ahead[..., None], behind[..., None] - z[None, None])
    return np.maximum(field, _pooled(outside, step)[..., None]).astype(np.float32).clip(-FAR, FAR)


def _pooled(plane: np.ndarray, step: int) -> np.ndarray:
    """Means of blocks of cells (h // step, w // step)."""
    height, width = plane.shape[0] // step * step, plane.shape[1] // step * step
    return plane[:height, :width].reshape(height // step, step, width // step, step).mean((1, 3)).astype(np.float32)


def united(a: np.ndarray, b: np.ndarray, k: float) -> np.ndarray:
    """The smaller of two fields, rounded where they are within k of each other."""
    h = (k - np.abs(a - b)).clip(0) / k
    return np.minimum(a, b) - h * h * np.float32(k / 4)


def _blurred(field: np.ndarray) -> np.ndarray:
    """A field averaged with its neighbours, which takes away what is thinner than a voxel."""
    for axis in range(3):
        moved = np.moveaxis(field, axis, 0)
        padded = np.concatenate([moved[:1], moved, moved[-1:]])
        field = np.moveaxis((padded[:-2] + 2 * moved + padded[2:]) / 4, 0, axis)
    return field
