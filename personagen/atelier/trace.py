"""Sphere tracing: a dressed figure or a garment as one distance field, a camera, and where its rays meet it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .body import Body, Parts, Skeleton, body_parts, skeleton
from .garment import GarmentSpec, fold_height, garment_distance, hem
from .sdf import Points, smooth_min

STEP = 0.88  # the torso's squash makes distances up to 1.14 times too long


@dataclass(frozen=True)
class Camera:
    """A pinhole that looks at ``target`` (metres) from ``distance``; angles in degrees; ``extent``: height seen."""

    azimuth: float = 0.0
    elevation: float = 3.0
    distance: float = 5.2
    target: tuple[float, float, float] = (0.0, 0.86, 0.0)
    extent: float = 1.98


class Figure:
    """What is traced: a dressed body, or a garment alone as a hollow shell."""

    def __init__(self, body: Body, outfit: tuple[GarmentSpec, ...], *, ghost: bool = False) -> None:
        self.skel: Skeleton = skeleton(body)
        self.outfit, self.ghost = outfit, ghost
        self.names = (() if ghost else ("hair", "face", "arms", "hands", "legs", "shoes")) + tuple(
            "outer" if g.kind == "jacket" else g.region for g in outfit
        )
        tops = [hem(g, body.height) + 0.03 for g in outfit if g.region == "upper"]
        self.lower_top = tops[0] if tops else None

    def surfaces(self, p: Points) -> tuple[list[np.ndarray], Parts]:
        """Distances (N,) to every surface in the order of ``names``, and the body's parts."""
        parts = body_parts(self.skel, p)
        cloth = [garment_distance(g, self.skel, parts, p) for g in self.outfit]
        if self.ghost:
            return [np.maximum(d, -d - 0.010) for d in cloth], parts
        if self.lower_top is not None:
            cloth = [
                np.maximum(d, p.y - self.lower_top) if g.region == "lower" else d
                for g, d in zip(self.outfit, cloth, strict=True)
            ]
        trunk = smooth_min(smooth_min(parts.torso, parts.neck, 0.04), parts.head, 0.02)
        arms = [smooth_min(a, f, 0.02) for a, f in zip(parts.upper_arm, parts.forearm, strict=True)]
        legs = [smooth_min(t, s, 0.03) for t, s in zip(parts.thigh, parts.shin, strict=True)]
        skin = [
            parts.hair,
            trunk,
            np.minimum(*arms),
            np.minimum(*parts.hand),
            np.minimum(*legs),
            np.minimum(*parts.foot),
        ]
        return skin + cloth, parts

    def distance(self, p: Points) -> np.ndarray:
        """Distance (N,) to the nearest surface."""
        found, _ = self.surfaces(p)
        out = found[0]
        for d in found[1:]:
            out = np.minimum(out, d)
        return out


def in_blocks(fn: Callable[[Points], np.ndarray], p: Points, size: int = 8192) -> np.ndarray:
    """Evaluate ``fn`` in blocks that stay in the cache."""
    n = len(p.x)
    if n <= size:
        return fn(p)
    return np.concatenate(
        [fn(Points(p.x[i : i + size], p.y[i : i + size], p.z[i : i + size])) for i in range(0, n, size)]
    )


def axes(camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit directions (3,) towards the camera, to the picture's right and up."""
    az, el = math.radians(camera.azimuth), math.radians(camera.elevation)
    back = np.array([math.sin(az) * math.cos(el), math.sin(el), math.cos(az) * math.cos(el)], np.float32)
    right = np.array([math.cos(az), 0.0, -math.sin(az)], np.float32)
    return back, right, np.cross(back, right)


def rays(camera: Camera, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Origin (3,) and unit directions (height * width, 3), row by row."""
    back, right, up = axes(camera)
    scale = camera.extent / camera.distance / height
    ys = (height / 2 - 0.5 - np.arange(height, dtype=np.float32)) * scale
    xs = (np.arange(width, dtype=np.float32) - width / 2 + 0.5) * scale
    d = (xs[None, :, None] * right + ys[:, None, None] * up - back).reshape(-1, 3)
    origin = np.array(camera.target, np.float32) + camera.distance * back
    return origin, d / np.linalg.norm(d, axis=1, keepdims=True)


def project(points: np.ndarray, camera: Camera, height: int, width: int) -> np.ndarray:
    """Columns and rows (n, 2) in pixels at which points (n, 3) in metres are seen; the inverse of `rays`."""
    back, right, up = axes(camera)
    offset = points - (np.array(camera.target) + camera.distance * back)
    depth = -(offset @ back)
    scale = camera.extent / camera.distance / height
    return np.stack([offset @ right / depth / scale + width / 2, height / 2 - offset @ up / depth / scale], -1)


def along(origin: np.ndarray, d: np.ndarray, t: np.ndarray) -> Points:
    """Return the points at depths ``t`` (N,) of rays from ``origin`` (3,) in directions ``d`` (N, 3)."""
    return Points(origin[0] + t * d[:, 0], origin[1] + t * d[:, 1], origin[2] + t * d[:, 2])


def march(
    fig: Figure, origin: np.ndarray, d: np.ndarray, start: np.ndarray, cone: float, far: float, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Walk rays until they come within ``cone * t`` of a surface: t (N,) and whether they did (N,)."""
    t, hit = start.copy(), np.zeros(len(d), bool)
    live = np.arange(len(d))
    for _ in range(steps):
        dist = in_blocks(fig.distance, along(origin, d[live], t[live]))
        close = dist < cone * t[live]
        hit[live[close]] = True
        t[live] += np.where(close, 0.0, np.maximum(dist, 0.5 * cone * t[live]) * STEP)
        live = live[~close & (t[live] < far)]
        if not len(live):
            break
    return t, hit


def trace(
    fig: Figure, camera: Camera, height: int, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Origin, directions (N, 3), depth (N,), hit (N,): coarse cones, then every pixel from where its cone stopped."""
    block = 8
    gh, gw = math.ceil(height / block), math.ceil(width / block)
    pixel = camera.extent / camera.distance / height
    # a coarse ray through the middle of each block
    big_h, big_w = gh * block, gw * block
    origin, d = rays(camera, height, width)
    az = np.pad(d.reshape(height, width, 3), ((0, big_h - height), (0, big_w - width), (0, 0)), mode="edge")
    middle = az.reshape(gh, block, gw, block, 3)[:, block // 2 - 1 : block // 2 + 1, :, block // 2 - 1 : block // 2 + 1]
    coarse = middle.mean(axis=(1, 3)).reshape(-1, 3)
    coarse /= np.linalg.norm(coarse, axis=1, keepdims=True)
    near, far = camera.distance - 1.1, camera.distance + 1.1
    t0, reach = march(fig, origin, coarse, np.full(len(coarse), near, np.float32), pixel * block * 0.75, far, 48)
    t0 = np.repeat(np.repeat(t0.reshape(gh, gw), block, 0), block, 1)[:height, :width].reshape(-1)
    live = np.repeat(np.repeat(reach.reshape(gh, gw), block, 0), block, 1)[:height, :width].reshape(-1)
    t, hit = np.full(len(d), np.inf, np.float32), np.zeros(len(d), bool)
    index = np.flatnonzero(live)
    start = np.maximum(t0[index] - pixel * block * t0[index], near)
    depth, found = march(fig, origin, d[index], start, pixel * 0.3, far, 32)
    t[index[found]], hit[index[found]] = depth[found], True
    return origin, d, t, hit


def normals_at(fig: Figure, p: Points, which: np.ndarray) -> np.ndarray:
    """Unit normals (N, 3) by tetrahedral differences, with the folds of the cloth pressed in."""
    eps, out = 0.0025, np.zeros((len(p.x), 3), np.float32)
    first_cloth = 0 if fig.ghost else 6

    def field(q: Points, w: np.ndarray) -> np.ndarray:
        d = fig.distance(q)
        for i, g in enumerate(fig.outfit):
            on = w == first_cloth + i
            if on.any():
                d[on] -= fold_height(g, fig.skel, q.take(np.flatnonzero(on)))
        return d

    for corner in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
        for i in range(0, len(p.x), 8192):
            s = slice(i, i + 8192)
            q = Points(p.x[s] + eps * corner[0], p.y[s] + eps * corner[1], p.z[s] + eps * corner[2])
            out[s] += np.array(corner, np.float32) * field(q, which[s])[:, None]
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-8)
