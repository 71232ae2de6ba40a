"""Straighten a worn garment as if it lay flat: trunk, sleeves and legs are moved from its wearer's joints to straight
lines.

The inverse of `lay`, which then finds the parts in its picture as in any other. What lies flat is wider for its length
than what is worn, by the factors that `lay` undoes.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..images import components, to_tensor
from ..person.joints import Joint, as_seen, trunk_of
from ..person.parts import region_of
from .strips import Strip

SHOULDERS, RISE = 0.54, 0.15
"""Half the width of a trunk, and how far its shoulders lie above the joints, as shares of these joints' distance."""
TALL = 1.2
"""Scale of lengths over that of widths: what lies flat is as wide as half its girth."""
WAIST, WAIST_WIDE = 0.26, 0.48
"""How far a waist lies above the hip joints, of the height of hips to shoulders, and half its width as that share."""
THIGH, CROTCH = 1.15, 0.3
"""Half the width of a leg at the hip over that at the waist, and how far outside the hip joint its line runs."""
TROUSERS = 2.5
"""Length over the width of the waist of trousers that lie flat and reach the ankles."""
SEEN = 0.25
"""Least probability of the joints that a garment is straightened by."""
PIECE = 0.08
"""Least share of the largest piece of a piece that is kept."""
ASIDE = 0.6
"""Angle of a straightened sleeve from down, in radians."""
STRIDE = 0.1
"""Angle of a straightened leg from down, in radians."""
SLEEVE = (0.21, 0.17, 0.13)
"""Half the width of a sleeve at shoulder, elbow and wrist, as shares of the distance between the shoulder joints: what
is nearer to another line belongs to that one."""
CALF = 0.16
"""Half the width of a leg of trousers at the ankle, as the same share."""
BINS, COVERED, SLEEVELESS = 24, 0.5, 0.12
"""Pieces of an arm, the least share of a piece that a sleeve covers, and the share of the arm of a shortest sleeve."""
ENDS = 0.98
"""Quantile of a garment's pixels along a line at which it ends."""
MARGIN = 0.3
"""Room around the lines, as a share of the trunk's length."""
BEYOND = 20.0
"""What the length of a line beyond its end counts, in half widths."""
REACH = 1.6
"""How far from a line its cloth is looked for, in half widths."""
NEEDED = {
    "upper": ("SHOULDER", "HIP", "ELBOW", "WRIST"),
    "outer": ("SHOULDER", "HIP", "ELBOW", "WRIST"),
    "dress": ("SHOULDER", "HIP", "ELBOW", "WRIST"),
    "lower": ("SHOULDER", "HIP", "KNEE", "ANKLE"),
}


@dataclass(frozen=True)
class _Limb:
    """A line along the wearer, and the straight one it goes to."""

    source: Strip
    target: Strip


def flattened(
    photo: Image.Image, cloth: np.ndarray, kind: str, joints: np.ndarray
) -> tuple[Image.Image, np.ndarray] | None:
    """Return a picture of a worn garment laid flat, and its mask (h, w); None where the joints cannot be trusted.

    cloth: its mask in the photo, bool (H, W); kind: a kind of the vocabulary or a region; joints (13, 3): the wearer's.
    """
    names = [f"{side}_{name}" for name in NEEDED[region_of(kind)] for side in ("LEFT", "RIGHT")]
    if min(joints[Joint[name], 2] for name in names) < SEEN:
        return None
    seen = as_seen(joints)[:, :2].astype(float)
    limbs = _limbs(cloth, kind, seen)
    low = np.min([(limb.target.points - limb.target.half[:, None] * REACH).min(0) for limb in limbs], 0)
    high = np.max([(limb.target.points + limb.target.half[:, None] * REACH).max(0) for limb in limbs], 0)
    room = MARGIN * trunk_of(seen).tall
    width, height = (int(side) for side in np.ceil(high - low + 2 * room))
    x, y = np.meshgrid(np.arange(width) + low[0] - room + 0.5, np.arange(height) + low[1] - room + 0.5)
    layer = np.zeros((height, width, 4), np.float32)
    owners = _owned(limbs, cloth)
    for limb, owned in zip(limbs, owners, strict=True):
        _draw(layer, limb, to_tensor(photo)[0], owned, x, y)
    picture = Image.fromarray((layer[..., :3] * 255 + 0.5).astype(np.uint8))
    mask = main_pieces(layer[..., 3] > 0.5)
    return (picture, mask) if mask.sum() > 0.5 * cloth.sum() / TALL else None


def main_pieces(cloth: np.ndarray) -> np.ndarray:
    """Keep the main pieces of a mask (H, W)."""
    found = components(cloth)
    return np.logical_or.reduce([piece for piece in found if piece.sum() >= PIECE * found[0].sum()]) if found else cloth


def _limbs(cloth: np.ndarray, kind: str, joints: np.ndarray) -> list[_Limb]:
    """Return trunk and sleeves, or legs, of what a person with these joints (13, 2) wears."""
    if kind == "skirt":
        body = trunk_of(joints)
        half = WAIST_WIDE * body.across
        return [_trunk(cloth, joints, body.hips - WAIST * body.tall * body.down, half)]
    if region_of(kind) == "lower":
        return _legs(cloth, joints)
    body = trunk_of(joints)
    start = body.shoulders - RISE * body.across * body.down
    return [_trunk(cloth, joints, start, SHOULDERS * body.across), *_sleeves(cloth, joints)]


def _trunk(cloth: np.ndarray, joints: np.ndarray, start: np.ndarray, half: float) -> _Limb:
    """The straight line from `start` (2,) to the hem."""
    body = trunk_of(joints)
    rows, columns = np.nonzero(cloth)
    near = np.abs((columns - start[0]) * body.aside[0] + (rows - start[1]) * body.aside[1]) < REACH * half
    along = (columns - start[0]) * body.down[0] + (rows - start[1]) * body.down[1]
    length = max(float(np.quantile(along[near], ENDS)) if near.any() else 0.0, 0.3 * body.tall)
    line = np.stack([start, start + length * body.down])
    return _Limb(
        Strip(line, np.array([half, half])), _straight(start, 0.0, np.array([0, length / TALL]), np.array([half, half]))
    )


def _sleeves(cloth: np.ndarray, joints: np.ndarray) -> list[_Limb]:
    body = trunk_of(joints)
    limbs = []
    for side, name in ((-1, "RIGHT"), (1, "LEFT")):  # as they are seen
        line = np.stack([joints[Joint[f"{name}_{part}"]] for part in ("SHOULDER", "ELBOW", "WRIST")])
        arm = Strip(line, np.array(SLEEVE) * body.across)
        sleeve = _clothed(arm, cloth)
        if sleeve is None:
            continue
        steps = np.concatenate([[0], np.hypot(*np.diff(sleeve.points, axis=0).T).cumsum()]) / TALL
        tip = body.shoulders + side * (SHOULDERS - SLEEVE[0] / 2) * body.across * np.array([1.0, 0.0])
        limbs.append(_Limb(sleeve, _straight(tip, -side * ASIDE, steps, sleeve.half)))
    return limbs


def _clothed(arm: Strip, cloth: np.ndarray) -> Strip | None:
    """The part of an arm down to where cloth (H, W) no longer covers most of its width; None for a bare arm."""
    y, x = np.mgrid[: cloth.shape[0], : cloth.shape[1]] + 0.5
    u, v = arm.coordinates(x, y)
    inside = (np.abs(v) < 1) & (u >= 0) & (u < 1)
    at = (u[inside] * BINS).astype(int)
    share = np.bincount(at, cloth[inside], BINS) / np.bincount(at, minlength=BINS).clip(1)
    bare = np.flatnonzero(share < COVERED)
    end = (int(bare[0]) if bare.size else BINS) / BINS
    return None if end < SLEEVELESS else arm.cut(end * arm.length)


def _legs(cloth: np.ndarray, joints: np.ndarray) -> list[_Limb]:
    body = trunk_of(joints)
    half = WAIST_WIDE / 2 * body.across
    halves = [half, THIGH * half, (half + CALF * body.across) / 2, CALF * body.across]
    limbs = []
    for side, name in ((-1, "RIGHT"), (1, "LEFT")):
        hip, knee, ankle = (joints[Joint[f"{name}_{part}"]] for part in ("HIP", "KNEE", "ANKLE"))
        waist = body.hips - WAIST * body.tall * body.down + side * half * body.aside
        line = np.stack([waist, hip + CROTCH * (hip - body.hips), knee, ankle])
        steps = np.concatenate([[0], np.hypot(*np.diff(line, axis=0).T).cumsum()])
        steps = steps / steps[-1] * TROUSERS * 4 * half
        begin = body.hips + side * half * np.array([1.0, 0.0])
        limbs.append(_Limb(Strip(line, np.array(halves)), _straight(begin, -side * STRIDE, steps, np.array(halves))))
    return limbs


def _straight(start: np.ndarray, angle: float, steps: np.ndarray, half: np.ndarray) -> Strip:
    """A strip from `start` (2,) with points at `steps` (k,) along a direction, in radians from down to the left."""
    direction = np.array([-np.sin(angle), np.cos(angle)])
    return Strip(start + steps[:, None] * direction, half)


def _owned(limbs: list[_Limb], cloth: np.ndarray) -> list[np.ndarray]:
    """Say which cloth (H, W) belongs to which line: to the nearest, in half widths."""
    y, x = np.mgrid[: cloth.shape[0], : cloth.shape[1]] + 0.5
    away = []
    for limb in limbs:
        u, v = limb.source.coordinates(x, y)
        away.append(np.abs(v) + BEYOND * (u - 1.05).clip(0) + BEYOND * (-u - 0.2).clip(0))
    nearest = np.min(away, 0)
    return [cloth & ((one <= nearest + 0.05) | (one < 1)) & (one < REACH) for one in away]


def _draw(
    layer: np.ndarray, limb: _Limb, picture: torch.Tensor, owned: np.ndarray, x: np.ndarray, y: np.ndarray
) -> None:
    """Draw what belongs to a line, owned (H, W) of a picture (3, H, W), over a layer (h, w, 4) of places x, y."""
    u, v = limb.target.coordinates(x, y)
    sx, sy = limb.source.at(u, v)
    height, width = owned.shape
    grid = torch.from_numpy(np.stack([sx / width * 2 - 1, sy / height * 2 - 1], -1)).float()[None]
    source = torch.cat([picture, torch.from_numpy(owned)[None].float()])[None]
    found = F.grid_sample(source, grid, align_corners=False)[0].movedim(0, -1).numpy()
    alpha = found[..., 3:] * (np.abs(v) < REACH)[..., None]
    layer[..., :3] += alpha * (found[..., :3] - layer[..., :3])
    layer[..., 3:] += alpha * (1 - layer[..., 3:])
