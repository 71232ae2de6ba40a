"""Surfaces as grids of points in metres (x to the viewer's right, y up, z towards the viewer), and how they are bent.

Rows run down a surface or along a limb, columns around it from the front to the viewer's right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Patch:
    """A surface: ``points`` and ``normals`` (R, C, 3); ``marks`` (R, C, 4) is what its colour is computed from.

    ``name`` is its label, ``zone`` says how it is coloured, ``double`` that its inside can be seen, and ``spec`` is
    the number of the garment that it belongs to (-1: none).
    """

    points: Array
    normals: Array
    marks: Array
    name: str
    zone: str
    double: bool = False
    spec: int = -1


def patch(points: Array, marks: Array, name: str, zone: str, *, closed: bool = True, double: bool = False) -> Patch:
    """Make a surface of ``points`` (R, C, 3); ``closed``: its last column repeats its first."""
    marks = np.broadcast_to(marks, (*points.shape[:2], 4)).astype(np.float32)
    return Patch(points.astype(np.float32), grid_normals(points, closed), marks, name, zone, double)


def stack(*channels: Array | float) -> Array:
    """Marks (R, C, 4) from up to four channels, each (R, C) or anything that broadcasts to it."""
    full = np.broadcast_arrays(*channels, *(np.float32(0),) * (4 - len(channels)))
    return np.stack(full, -1)


def cross(a: Array, b: Array) -> Array:
    """Cross product of vectors (..., 3)."""
    ax, ay, az, bx, by, bz = a[..., 0], a[..., 1], a[..., 2], b[..., 0], b[..., 1], b[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)


def unit(v: Array) -> Array:
    """Scale vectors (..., 3) to length 1."""
    return v * (1.0 / np.maximum(np.sqrt(dot(v, v)), 1e-9))[..., None]


def grid_normals(p: Array, closed: bool = True) -> Array:
    """Outward unit normals (R, C, 3) of a grid of points (R, C, 3), by central differences."""
    down, right = np.empty_like(p), np.empty_like(p)
    down[1:-1] = p[2:] - p[:-2]
    down[0], down[-1] = p[1] - p[0], p[-1] - p[-2]
    right[:, 1:-1] = p[:, 2:] - p[:, :-2]
    right[:, 0], right[:, -1] = p[:, 1] - p[:, 0], p[:, -1] - p[:, -2]
    if closed:
        right[:, 0] = right[:, -1] = p[:, 1] - p[:, -2]
    return unit(cross(down, right)).astype(np.float32)


def dot(a: Array, b: Array) -> Array:
    """Dot product (...) of vectors (..., 3)."""
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def smooth(x: Array, lo: float, hi: float) -> Array:
    """Rise smoothly from 0 at ``lo`` to 1 at ``hi``."""
    t = np.clip((x - lo) * (1.0 / (hi - lo)), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bell(x: Array | np.float32, width: float) -> Array:
    """A bump of height 1 around 0."""
    return np.exp(-((x * (1.0 / width)) ** 2))


def ramp(n: int) -> Array:
    """Numbers from 0 to 1 as a column (n, 1)."""
    return np.linspace(0.0, 1.0, n, dtype=np.float32)[:, None]


@lru_cache(maxsize=64)
def around(n: int, dense: float = 0.0) -> Array:
    """Angles (n,) from the back over the left, the front and the right to the back; ``dense`` more of them in front."""
    t = np.linspace(-np.pi, np.pi, n, dtype=np.float32)
    return t - np.float32(dense) * np.sin(t)


def power(x: Array, p: float) -> Array:
    """Raise to a power and keep the sign."""
    return np.sign(x) * np.abs(x) ** p


@dataclass(frozen=True)
class Profile:
    """An upright solid: at each height ``y`` (K,), rising, its half width, its depth in front and behind."""

    y: Array
    width: Array
    front: Array
    back: Array

    def at(self, y: Array) -> tuple[Array, Array, Array]:
        """Half width, front and back at heights of any shape."""
        return tuple(np.interp(y, self.y, c).astype(np.float32) for c in (self.width, self.front, self.back))  # type: ignore[return-value]

    def spread(self, top: Array, bottom: Array, rows: int) -> Array:
        """Heights (rows, C) from ``top`` (C,) to ``bottom`` (C,), evenly along the outline."""
        run = np.sqrt(np.diff(self.y) ** 2 + np.diff(self.width) ** 2)
        length = np.concatenate([[0.0], np.cumsum(run)])
        a, b = np.interp(top, self.y, length), np.interp(bottom, self.y, length)
        return np.interp(a + (b - a) * ramp(rows), length, self.y).astype(np.float32)

    def shell(self, y: Array, angle: Array, boxy: float) -> Array:
        """Points (R, C, 3) at heights (R, C) and angles (C,); ``boxy`` below 1 squares the cross section."""
        w, f, b = self.at(y)
        sin, cos = power(np.sin(angle), boxy), power(np.cos(angle), boxy)
        return np.stack([w * sin, y, np.where(cos > 0, f, b) * cos], -1)

    def gap(self, p: Array) -> Array:
        """Rough distances from points (..., 3) to the solid, negative inside."""
        w, f, b = self.at(p[..., 1])
        d = np.where(p[..., 2] > 0, f, b)
        r = np.sqrt((p[..., 0] / w) ** 2 + (p[..., 2] / d) ** 2)
        return (r - 1.0) * np.minimum(w, d)


def profile(keys: Array, samples: int = 160, soft: int = 7) -> Profile:
    """A profile through rows (y, half width, front, back) of ``keys`` (K, 4), from top to bottom, smoothed."""
    keys = keys[::-1]
    y = np.linspace(keys[0, 0], keys[-1, 0], samples)
    columns = [np.interp(y, keys[:, 0], keys[:, i]) for i in (1, 2, 3)]
    kernel = np.hanning(2 * soft + 3)[1:-1]
    kernel /= kernel.sum()
    wide = [np.convolve(np.pad(c, soft, mode="edge"), kernel, mode="valid") for c in columns]
    for line, exact in zip(wide, columns, strict=True):  # what is closed stays closed
        line[[0, -1]] = exact[[0, -1]]
    return Profile(y.astype(np.float32), *(np.maximum(c, 1e-3).astype(np.float32) for c in wide))


def bent_path(a: Array, b: Array, c: Array, s: Array, round_: float) -> tuple[Array, Array]:
    """Points and unit directions (R, 3) at lengths ``s`` (R,) of the line from a over b to c, its corner rounded."""
    first, second = b - a, c - b
    length = float(np.sqrt((first**2).sum()))
    first, second = first / length, second / float(np.sqrt((second**2).sum()))
    into = np.clip(s - length + round_, 0.0, 2.0 * round_)
    past = np.maximum(s - length - round_, 0.0)
    turn = into**2 / (4.0 * round_) + past
    path = a + s[:, None] * first + turn[:, None] * (second - first)
    along = first + (into / (2.0 * round_))[:, None] * (second - first)
    return path.astype(np.float32), unit(along).astype(np.float32)


def tube(path: Array, along: Array, wide: Array, deep: Array, angle: Array, ahead: Array) -> Array:
    """Points (R, C, 3) around ``path`` (R, 3) that runs in directions ``along`` (R, 3).

    ``wide`` and ``deep``, (R, 1) or (R, C), are its radii across and towards ``ahead`` (3,), the side of angle 0.
    """
    front = unit(ahead - dot(along, np.broadcast_to(ahead, along.shape))[:, None] * along)
    right = cross(front, along)
    sin, cos = np.sin(angle), np.cos(angle)
    return path[:, None] + (wide * sin)[..., None] * right[:, None] + (deep * cos)[..., None] * front[:, None]


def rounded(s: Array, start: float, end: float, radius: float, tail: float) -> Array:
    """Shares (R,) by which a limb from ``start`` to ``end`` (m) closes at both ends, over these lengths."""
    head = np.clip((s - start) / radius, 0.0, 1.0)
    foot = np.clip((end - s) / tail, 0.0, 1.0)
    return np.sqrt(1.0 - (1.0 - head) ** 2 + 1e-6) * np.sqrt(1.0 - (1.0 - foot) ** 2 + 1e-6)


def blob(centre: Array, radii: tuple[float, float, float], rows: int, columns: int) -> Array:
    """Points (rows, columns, 3) of an ellipsoid."""
    angle = around(columns)
    fall = np.linspace(1e-3, np.pi - 1e-3, rows, dtype=np.float32)[:, None]
    x, y, z = np.sin(fall) * np.sin(angle), np.cos(fall) * np.ones_like(angle), np.sin(fall) * np.cos(angle)
    return centre + np.stack([x * radii[0], y * radii[1], z * radii[2]], -1).astype(np.float32)


def fillet(gap: Array, width: float) -> Array:
    """How far a surface bulges (m) where another solid is ``gap`` away, so that both run into each other softly."""
    near = 1.0 - np.clip(gap, 0.0, width) / width
    return 0.25 * width * near * near


def capsule_gap(p: Array, a: Array, b: Array, ra: float, rb: float) -> Array:
    """Distances from points (..., 3) to a capsule from ``a`` to ``b`` with these radii."""
    line, off = b - a, p - a
    h = np.clip(dot(off, line) / float(dot(line, line)), 0.0, 1.0)
    off = off - h[..., None] * line
    return np.sqrt(dot(off, off)) - (ra + (rb - ra) * h)


def arc_length(p: Array) -> Array:
    """Lengths (R, C) along each row of a grid of points (R, C, 3), from its middle column."""
    move = np.diff(p, axis=1)
    step = np.sqrt(dot(move, move))
    run = np.concatenate([np.zeros((len(p), 1), np.float32), np.cumsum(step, 1)], 1)
    return run - run[:, p.shape[1] // 2, None]


class Noise:
    """Smooth periodic value noise on a seeded 64 x 64 lattice, sampled at any (u, v); values in [0, 1]."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.table = rng.random((64, 64)).astype(np.float32)

    def __call__(self, u: Array, v: Array) -> Array:
        iu, iv = np.floor(u), np.floor(v)
        fu, fv = u - iu, v - iv
        fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
        i, j = iu.astype(np.int32) & 63, iv.astype(np.int32) & 63
        i1, j1 = ((i + 1) & 63) * 64, (j + 1) & 63
        i = i * 64
        t = self.table.reshape(-1)
        low = t[i + j] + (t[i1 + j] - t[i + j]) * fu
        high = t[i + j1] + (t[i1 + j1] - t[i + j1]) * fu
        return low + (high - low) * fv

    def octaves(self, u: Array, v: Array) -> Array:
        """Add three octaves of the noise at places u, v (N,): (N,) in [0, 1]."""
        return (self(u, v) + 0.5 * self(2.1 * u + 7, 2.1 * v) + 0.25 * self(4.3 * u, 4.3 * v + 3)) / 1.75
