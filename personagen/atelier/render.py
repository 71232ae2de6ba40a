"""Pictures of a dressed person or of a garment, and with them the exact labels, depth and normals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..vocabulary import LABELS
from . import scene as scenes
from .body import Body, body_parts
from .cloth import cloth_colour, linear
from .garment import GarmentSpec
from .sdf import Points
from .trace import Camera, Figure, along, in_blocks, normals_at, rays, trace

LABEL = {name: i for i, name in enumerate(LABELS)}


@dataclass(frozen=True)
class Render:
    """A picture and its truth: image (H, W, 3) and labels (H, W) uint8, depth (H, W) in metres, inf where there is
    nothing, unit normals (H, W, 3), zero there."""

    image: np.ndarray
    labels: np.ndarray
    depth: np.ndarray
    normals: np.ndarray


def soft_shadow(fig: Figure, p: Points, light: np.ndarray, sharp: float = 9.0, steps: int = 8) -> np.ndarray:
    """Share (N,) of the key light that reaches each point, with a penumbra."""
    lit, t = np.ones(len(p.x), np.float32), np.full(len(p.x), 0.03, np.float32)
    direction = np.broadcast_to(light.astype(np.float32), (len(p.x), 3))
    origin = np.stack(p, axis=1)
    for _ in range(steps):
        q = origin + direction * t[:, None]
        d = in_blocks(fig.distance, Points(*q.T.copy()))
        lit = np.minimum(lit, np.clip(0.5 + 0.5 * sharp * d / t, 0.0, 1.0))
        t = t + np.clip(np.abs(d), 0.02, 0.22)
    return lit * lit * (3.0 - 2.0 * lit)


def occlusion(fig: Figure, p: Points, n: np.ndarray) -> np.ndarray:
    """Share (N,) of the sky that each point sees, from two probes along the normal."""
    out = np.zeros(len(p.x), np.float32)
    for reach, weight in ((0.03, 10.0), (0.09, 3.6)):
        q = Points(p.x + n[:, 0] * reach, p.y + n[:, 1] * reach, p.z + n[:, 2] * reach)
        out += weight * np.maximum(reach - in_blocks(fig.distance, q), 0.0)
    return np.clip(1.0 - out, 0.25, 1.0)


def _face(body: Body, p: Points, skin: np.ndarray) -> np.ndarray:
    """Paint eyes, brows, mouth and cheeks on skin albedo (N, 3) at points of the head."""
    y = p.y - 0.934 * body.height
    front = (p.z > 0.03) & (y > -0.12) & (y < 0.10)
    ax = np.abs(p.x)

    def spot(dx: np.ndarray, dy: np.ndarray, rx: float, ry: float) -> np.ndarray:
        return np.clip(1.6 * (1.0 - np.sqrt((dx / rx) ** 2 + (dy / ry) ** 2)), 0.0, 1.0) * front

    def mix(share: np.ndarray, rgb: np.ndarray) -> None:
        skin[:] = skin + (rgb - skin) * share[:, None]

    mix(0.35 * spot(ax - 0.040, y + 0.030, 0.026, 0.020), linear((226, 120, 104)) * skin.mean() * 1.6)
    mix(spot(ax - 0.031, y - 0.006, 0.0195, 0.0125), linear((244, 242, 238)))
    mix(spot(ax - 0.031, y - 0.006, 0.0105, 0.0120), linear((46, 34, 30)))
    mix(0.85 * spot(ax - 0.032, y - 0.030, 0.024, 0.0068), linear(body.hair) * 0.7)
    mix(0.85 * spot(p.x, y + 0.058, 0.026, 0.0085), linear((176, 74, 72)) * 0.9)
    return skin


def albedo(fig: Figure, p: Points, which: np.ndarray) -> np.ndarray:
    """Linear albedo (N, 3) of the surface ``which`` (N,) at points ``p``."""
    body, out = fig.skel.body, np.zeros((len(p.x), 3), np.float32)
    first_cloth = 0 if fig.ghost else 6
    if not fig.ghost:
        out[which == 0] = linear(body.hair)
        out[which == 0] *= (0.85 + 0.3 * np.sin(p.x * 260.0 + 40.0 * p.z) ** 2)[which == 0, None]
        for i in range(1, 5):
            out[which == i] = linear(body.skin)
        face = np.flatnonzero(which == 1)
        if len(face):
            out[face] = _face(body, p.take(face), out[face])
        sole = linear(body.shoes)
        out[which == 5] = np.where((p.y < 0.022)[which == 5, None], np.float32(0.75) * sole + 0.2, sole)
    for i, g in enumerate(fig.outfit):
        on = np.flatnonzero(which == first_cloth + i)
        if len(on):
            q = p.take(on)
            out[on] = cloth_colour(g, fig.skel, body_parts(fig.skel, q), q)
    return out


def representatives(index: np.ndarray, which: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """For each hit (N,) the one of its 2 x 2 samples that stands for it in slow light; itself across an edge."""
    grid = np.full(shape[0] * shape[1], -1)
    grid[index] = np.arange(len(index))
    row, col = np.divmod(index, shape[1])
    parent = grid[np.minimum(row | 1, shape[0] - 1) * shape[1] + np.minimum(col | 1, shape[1] - 1)]
    same = (parent >= 0) & (which[parent] == which)
    return np.where(same, parent, np.arange(len(index)))


def shade(
    fig: Figure, light: scenes.Light, origin: np.ndarray, p: Points, n: np.ndarray, which: np.ndarray, rep: np.ndarray
) -> np.ndarray:
    """Linear radiance (N, 3): key light with soft shadow, sky and bounce with occlusion, a little sheen."""
    key = np.array(light.direction, np.float32)
    key /= np.linalg.norm(key)
    diffuse = np.maximum((n @ key + 0.12) / 1.12, 0.0)
    few, back = np.unique(rep, return_inverse=True)
    lit_few = np.zeros(len(few), np.float32)
    facing = np.flatnonzero(n[few] @ key > -0.12)
    lit_few[facing] = soft_shadow(fig, p.take(few[facing]), key)
    lit, open_sky = lit_few[back], occlusion(fig, p.take(few), n[few])[back]
    up = 0.5 + 0.5 * n[:, 1]
    sky, bounce = np.array(light.sky, np.float32), np.array(light.bounce, np.float32)
    ambient = (bounce + (sky - bounce) * up[:, None]) * open_sky[:, None]
    colour = albedo(fig, p, which) * (ambient + (diffuse * lit)[:, None] * np.array(light.key, np.float32))
    view = origin - np.stack(p, axis=1)
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    half = view + key
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    gloss = 0.03 if fig.ghost else np.where(which == 0, 0.10, np.where(which < 5, 0.05, 0.03))
    sheen = gloss * np.maximum((n * half).sum(1), 0.0) ** 24 * lit
    rim = 0.07 * (1.0 - np.maximum((n * view).sum(1), 0.0)) ** 3 * open_sky
    return colour + sheen[:, None] + rim[:, None] * sky


def tone(linear_rgb: np.ndarray) -> np.ndarray:
    """Convert linear light (..., 3) to sRGB uint8 (..., 3), with a soft shoulder."""
    x = np.maximum(linear_rgb, 0.0)
    x = np.where(x < 0.7, x, 0.7 + 0.3 * (1.0 - np.exp(-(x - 0.7) / 0.3)))
    return (np.clip(x, 0.0, 1.0) ** (1 / 2.2) * 255.0 + 0.5).astype(np.uint8)


def _shrink(x: np.ndarray, by: int) -> np.ndarray:
    h, w = x.shape[0] // by, x.shape[1] // by
    return x.reshape(h, by, w, by, *x.shape[2:]).mean(axis=(1, 3), dtype=np.float32)


def _blur(x: np.ndarray) -> np.ndarray:
    """Binomial blur of a picture (H, W, 3) over five pixels."""
    for axis in (0, 1):
        wide = np.pad(x, [(2, 2) if a == axis else (0, 0) for a in range(3)], mode="edge")
        n, weights = x.shape[axis], (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
        x = np.sum([w * np.take(wide, range(i, i + n), axis) for i, w in enumerate(weights)], axis=0)
    return np.asarray(x, np.float32)


def _background(fig: Figure, scene: str, camera: Camera, height: int, width: int, seed: int) -> np.ndarray:
    """The backdrop in linear RGB (H, W, 3), out of focus, with the figure's shadow on the ground."""
    origin, d = rays(camera, height, width)
    flat = np.where(d[:, 1] < -1e-4, -origin[1] / np.minimum(d[:, 1], -1e-4), 1e4)
    x, z = origin[0] + flat * d[:, 0], origin[2] + flat * d[:, 2]
    az = math.radians(camera.azimuth)
    ahead = -(d[:, 0] * math.sin(az) + d[:, 2] * math.cos(az))
    across = (d[:, 0] * math.cos(az) - d[:, 2] * math.sin(az)) / ahead
    gx, gz = x * math.cos(az) - z * math.sin(az), x * math.sin(az) + z * math.cos(az)
    lift = d[:, 1] / ahead
    view = scenes.View(a=across + 0.9 * math.sin(az), e=lift, x=gx, z=gz, ground=flat < 60.0)
    back = scenes.paint(scene, view, seed)
    back = back.reshape(height, width, 3)
    soft = _blur(back)
    far = np.clip((flat - camera.distance - 0.5) / 2.0, 0.0, 1.0).reshape(height, width, 1)
    back = back + (soft - back) * far
    near = np.flatnonzero((flat < 60.0) & (gx**2 + gz**2 < 1.6))
    if len(near) and not fig.ghost:
        key = np.array(scenes.LIGHTS[scene].direction, np.float32)
        p = Points(x[near], np.full(len(near), 0.002, np.float32), z[near])
        shadow = soft_shadow(fig, p, key / np.linalg.norm(key), 5.0, 8)
        contact = np.clip(in_blocks(fig.distance, p) / 0.16, 0.0, 1.0)
        back.reshape(-1, 3)[near] *= ((0.50 + 0.50 * shadow) * (0.55 + 0.45 * contact))[:, None]
    return back


def _compose(fig: Figure, light: scenes.Light, back: np.ndarray, camera: Camera, size: tuple[int, int]) -> Render:
    """Trace at twice the size, shade, lay over ``back`` and shrink; labels, depth and normals of one sample in four."""
    height, width = size
    origin, d, t, hit = trace(fig, camera, 2 * height, 2 * width)
    index = np.flatnonzero(hit)
    p = along(origin, d[index], t[index])
    which = in_blocks(lambda q: np.argmin(np.stack(fig.surfaces(q)[0]), axis=0), p)
    n = normals_at(fig, p, which)
    big = np.repeat(np.repeat(back, 2, 0), 2, 1).reshape(-1, 3)
    rep = representatives(index, which, (2 * height, 2 * width))
    big[index] = shade(fig, light, origin, p, n, which, rep)
    labels = np.zeros(4 * height * width, np.uint8)
    labels[index] = np.array([LABEL[name] for name in fig.names], np.uint8)[which]
    normals = np.zeros((4 * height * width, 3), np.float32)
    normals[index] = n
    pick = (slice(1, None, 2), slice(1, None, 2))
    shape = (2 * height, 2 * width)
    return Render(
        image=_shrink(big.reshape(*shape, 3), 2),
        labels=labels.reshape(shape)[pick].copy(),
        depth=t.reshape(shape)[pick].copy(),
        normals=normals.reshape(*shape, 3)[pick].copy(),
    )


def render_person(
    body: Body,
    outfit: tuple[GarmentSpec, ...],
    scene: str,
    *,
    size: tuple[int, int] = (256, 192),
    camera: Camera | None = None,
    seed: int = 0,
) -> Render:
    """Render ``body`` wearing ``outfit`` in ``scene``: a picture of ``size`` (H, W) and its truth."""
    camera = camera or Camera(target=(0.0, 0.500 * body.height, 0.0), extent=1.08 * body.height)
    fig = Figure(body, outfit)
    back = _background(fig, scene, camera, *size, seed)
    out = _compose(fig, scenes.LIGHTS[scene], back, camera, size)
    picture = scenes.snowflakes(out.image, seed) if scene == "snow" else out.image
    return Render(tone(picture), out.labels, out.depth, out.normals)


GHOST = Body(arms=((19.0, 6.0), (19.0, 6.0)), stance=0.105)
FRAMES = {
    "upper": (0.660, 0.66),
    "dress": (0.535, 0.78),
    "skirt": (0.405, 0.60),
    "trousers": (0.32, 0.64),
    "shorts": (0.46, 0.44),
}


def render_garment(spec: GarmentSpec, *, size: tuple[int, int] = (256, 192)) -> np.ndarray:
    """Render the garment alone on white, as on an invisible mannequin: (H, W, 3) uint8, framed alike for each kind."""
    middle, extent = FRAMES["upper" if spec.region == "upper" else spec.kind]
    h = GHOST.height
    camera = Camera(target=(0.0, middle * h, 0.0), extent=extent * h, elevation=4.0)
    fig = Figure(GHOST, (spec,), ghost=True)
    back = np.full((*size, 3), 4.0, np.float32)
    light = scenes.Light((-0.40, 0.62, 0.78), (0.86, 0.85, 0.83), (0.52, 0.52, 0.54), (0.40, 0.40, 0.40))
    return tone(_compose(fig, light, back, camera, size).image)
