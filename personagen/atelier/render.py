"""Pictures of a dressed person or of a garment, and with them the exact labels, depth and normals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..vocabulary import LABELS
from . import scene as scenes
from .body import Body
from .figure import matter_of, surfaces
from .garment import GarmentSpec
from .light import Light, ShadowMap, blur, occlusion, shade
from .raster import Samples, join, rasterise
from .surface import Array, Patch, dot, smooth
from .trace import Camera, place, portrait
from .view import View, view_of

LABEL = {name: i for i, name in enumerate(LABELS)}
FINE = 2
"""Samples of the figure along a pixel's side."""


@dataclass(frozen=True)
class Render:
    """A picture and its truth: image (H, W, 3) and labels (H, W) uint8, depth (H, W) in metres, inf where there is
    nothing, unit normals (H, W, 3), zero there."""

    image: np.ndarray
    labels: np.ndarray
    depth: np.ndarray
    normals: np.ndarray


def compress(linear_rgb: np.ndarray) -> np.ndarray:
    """Bring linear light (..., 3) below 1, with a soft shoulder."""
    return np.where(linear_rgb < 0.6, np.maximum(linear_rgb, 0.0), 1.0 - 0.4 * np.exp((0.6 - linear_rgb) * 2.5))


def encode(linear_rgb: np.ndarray) -> np.ndarray:
    """Convert linear light (..., 3) from 0 to 1 to sRGB uint8 (..., 3)."""
    return (np.clip(linear_rgb, 0.0, 1.0) ** np.float32(1 / 2.2) * 255.0 + 0.5).astype(np.uint8)


def shrunk(x: np.ndarray, by: int) -> np.ndarray:
    """Mean (H, W, ...) of blocks of by x by."""
    total = sum(x[i::by, j::by] for i in range(by) for j in range(by))
    return np.asarray(total * np.float32(1.0 / by**2))


def soft_light(
    seen: Samples, vertices: Array, light: Light, shape: tuple[int, int], pixels: float
) -> tuple[Array, Array]:
    """Shares (N,) of the sky and of the key light that samples of a picture of ``shape`` see, smoothed in it.

    Both are slow over the picture: they are found for one sample in four. pixels: samples a metre.
    """
    rows, columns = np.divmod(seen.index, np.int64(shape[1]))
    top, left = int(rows.min()) & ~1, int(columns.min()) & ~1
    few = np.flatnonzero((rows % 2 == 0) & (columns % 2 == 0))
    cell = ((rows - top) // 2, (columns - left) // 2)
    h, w = int(cell[0].max()) + 1, int(cell[1].max()) + 1
    at = (cell[0][few], cell[1][few])
    inside, points, normals = np.zeros((h, w), bool), np.zeros((h, w, 3), np.float32), np.zeros((h, w, 3), np.float32)
    inside[at], points[at], normals[at] = True, seen.points[few], seen.normals[few]
    grid = np.zeros((h, w, 3), np.float32)
    grid[..., 0] = inside
    grid[..., 1] = np.where(inside, occlusion(points, normals, inside, pixels / 2), 0.0)
    grid[at[0], at[1], 2] = ShadowMap(vertices, light.towards).lit(points[at], normals[at])
    mean = blur(grid, max(1, round(0.004 * pixels)), 2)[cell]
    weight = 1.0 / np.maximum(mean[:, 0], 1e-3)
    return mean[:, 1] * weight, mean[:, 2] * weight


def seen_figure(
    body: Body,
    outfit: tuple[GarmentSpec, ...],
    patches: list[Patch],
    light: Light,
    camera: Camera,
    size: tuple[int, int],
) -> tuple[Samples, Array]:
    """What the samples of a picture see, and their radiance (N, 3)."""
    shape = (FINE * size[0], FINE * size[1])
    mesh = join(patches)
    seen = rasterise(mesh, camera, *shape)
    pixels = shape[0] / camera.extent
    matter = matter_of(body, outfit, patches, seen, 1.0 / pixels)
    view = place(camera) - seen.points
    view *= (1.0 / np.sqrt(dot(view, view)))[:, None]
    open_sky, lit = soft_light(seen, mesh.vertices[:, :3], light, shape, pixels)
    return seen, shade(light, matter, seen.normals, view, lit, open_sky)


def _compose(patches: list[Patch], seen: Samples, radiance: Array, back: np.ndarray) -> Render:
    """Lay the samples over ``back`` and shrink; labels, depth and normals are those of one sample in four."""
    height, width = back.shape[:2]
    shape, pick = (FINE * height, FINE * width), (slice(1, None, FINE), slice(1, None, FINE))
    big = np.repeat(np.repeat(back, FINE, 0), FINE, 1).reshape(-1, 3)
    big[seen.index] = compress(radiance)
    labels, depth = np.zeros(shape[0] * shape[1], np.uint8), np.full(shape[0] * shape[1], np.inf, np.float32)
    normals = np.zeros((shape[0] * shape[1], 3), np.float32)
    labels[seen.index] = np.array([LABEL[s.name] for s in patches], np.uint8)[seen.which]
    depth[seen.index], normals[seen.index] = seen.depth, seen.normals
    return Render(
        image=shrunk(big.reshape(*shape, 3), FINE),
        labels=labels.reshape(shape)[pick].copy(),
        depth=depth.reshape(shape)[pick].copy(),
        normals=normals.reshape(*shape, 3)[pick].copy(),
    )


def ground_shadow(vertices: Array, towards: Array, x: Array, z: Array) -> Array:
    """Share (N,) of the light that reaches the ground at ``x``, ``z`` (N,) past a figure of ``vertices`` (V, 3)."""
    cell, low, n = 0.02, -1.5, 150
    out = np.ones(len(x), np.float32)
    for reach, soft, depth, slant in ((9.0, 2, 0.42, 1.0), (0.30, 1, 0.42, 0.35)):
        v = vertices[vertices[:, 1] < reach]
        fall = slant * v[:, 1] / towards[1]
        i, j = ((c - fall * t - low) / cell for c, t in ((v[:, 0], towards[0]), (v[:, 2], towards[2])))
        grid = np.zeros((n, n), np.float32)
        ok = (i > 0) & (i < n - 1) & (j > 0) & (j < n - 1)
        grid[i[ok].astype(np.int32), j[ok].astype(np.int32)] = 1.0
        grid = np.clip(blur(blur(grid, 1, 1) * 2.2, 0), 0, 1)
        grid = blur(grid, soft, 2)
        u, w = np.clip((x - low) / cell - 0.5, 0, n - 2.001), np.clip((z - low) / cell - 0.5, 0, n - 2.001)
        a, b = u.astype(np.int32), w.astype(np.int32)
        fu, fw = u - a, w - b
        left = grid[a, b] + (grid[a, b + 1] - grid[a, b]) * fw
        right = grid[a + 1, b] + (grid[a + 1, b + 1] - grid[a + 1, b]) * fw
        out *= 1.0 - depth * (left + (right - left) * fu)
    return out


def _background(vertices: Array, scene: str, camera: Camera, height: int, width: int, seed: int) -> np.ndarray:
    """The backdrop in linear RGB (H, W, 3), out of focus, with the figure's shadow on the ground."""
    view = view_of(camera, height, width)
    back = scenes.paint(scene, view, seed)
    cast_shadow(back, view, vertices, scenes.LIGHTS[scene].towards, camera)
    return back


def cast_shadow(back: Array, view: View, vertices: Array, towards: Array, camera: Camera) -> None:
    """Darken the ground of a backdrop (H, W, 3), linear RGB, in place, where ``vertices`` (V, 3) shade it."""
    rows = np.flatnonzero(np.abs(view.far[:, 0]) < 1.45)
    if not len(rows):
        return
    az = math.radians(camera.azimuth)
    x, far = view.x[rows], np.broadcast_to(view.far[rows], (len(rows), view.shape[1]))
    wx, wz = x * math.cos(az) - far * math.sin(az), -x * math.sin(az) - far * math.cos(az)
    fade = 1.0 - smooth(np.sqrt(wx * wx + wz * wz), 0.55, 1.42)
    left = ground_shadow(vertices, towards, wx.ravel(), wz.ravel()).reshape(fade.shape)
    back[view.sky + rows] *= (1.0 - (1.0 - left) * fade)[..., None]


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
    camera = camera or portrait(body.height)
    patches = surfaces(body, outfit)
    vertices = np.concatenate([s.points.reshape(-1, 3) for s in patches])
    back = _background(vertices, scene, camera, *size, seed)
    seen, radiance = seen_figure(body, outfit, patches, scenes.LIGHTS[scene], camera, size)
    out = _compose(patches, seen, radiance, compress(back))
    picture = scenes.snowflakes(out.image, seed) if scene == "snow" else out.image
    return Render(encode(picture), out.labels, out.depth, out.normals)


def render_scene(scene: str, *, size: tuple[int, int] = (256, 192), camera: Camera, seed: int = 0) -> np.ndarray:
    """Render ``scene`` with nobody in it: (H, W, 3) uint8."""
    picture = compress(_background(np.zeros((0, 3), np.float32), scene, camera, *size, seed))
    return encode(scenes.snowflakes(picture, seed) if scene == "snow" else picture)


GHOST = Body(arms=((19.0, 6.0), (19.0, 6.0)), stance=0.105)
FRAMES = {
    "upper": (0.660, 0.66),
    "dress": (0.535, 0.78),
    "skirt": (0.405, 0.60),
    "trousers": (0.32, 0.64),
    "shorts": (0.46, 0.44),
}
SOFTBOX = Light((-0.40, 0.62, 0.78), (0.80, 0.79, 0.77), (0.56, 0.56, 0.58), (0.38, 0.38, 0.38), (0.2, 0.2, 0.2))


def frame_of(spec: GarmentSpec) -> Camera:
    """The camera that frames a garment as its kind is framed."""
    middle, extent = FRAMES["upper" if spec.region == "upper" else spec.kind]
    h = GHOST.height
    return Camera(target=(0.0, middle * h, 0.0), extent=extent * h, elevation=4.0)


def render_garment(spec: GarmentSpec, *, size: tuple[int, int] = (256, 192)) -> np.ndarray:
    """Render the garment alone on white, as on an invisible mannequin: (H, W, 3) uint8, framed alike for each kind."""
    camera = frame_of(spec)
    patches = surfaces(GHOST, (spec,), ghost=True)
    seen, radiance = seen_figure(GHOST, (spec,), patches, SOFTBOX, camera, size)
    return encode(_compose(patches, seen, radiance, np.ones((*size, 3), np.float32)).image)
