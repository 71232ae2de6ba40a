"""Signed distances of simple solids, vectorised over points given as three arrays (x, y, z), in metres.

Distances are lower bounds up to the squash factor of the torso; the tracer's step factor allows for it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Points(NamedTuple):
    """N points as three float32 arrays (N,), in metres: x to the viewer's right, y up, z towards the viewer."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray

    def take(self, index: np.ndarray) -> Points:
        """Return the points at ``index``: int (M,) or bool (N,)."""
        return Points(self.x[index], self.y[index], self.z[index])


def smooth_min(a: np.ndarray, b: np.ndarray, k: float) -> np.ndarray:
    """Unite two solids, given by distances (N,), blended over a width ``k`` (polynomial smooth minimum): (N,)."""
    h = np.maximum(k - np.abs(a - b), 0.0) / k
    return np.minimum(a, b) - h * h * (k * 0.25)


def capsule(p: Points, a: np.ndarray, b: np.ndarray, ra: float, rb: float) -> tuple[np.ndarray, np.ndarray]:
    """Return distances (N,) to a capsule from ``a`` (3,), radius ``ra``, to ``b`` (3,), radius ``rb``, in metres.

    Returned second: the share of the way along it (N,), below 0 and above 1 beyond its ends.
    """
    bx, by, bz = (b - a).tolist()
    px, py, pz = p.x - a[0], p.y - a[1], p.z - a[2]
    along = (px * bx + py * by + pz * bz) * (1.0 / (bx * bx + by * by + bz * bz))
    h = np.clip(along, 0.0, 1.0)
    px, py, pz = px - h * bx, py - h * by, pz - h * bz
    return np.sqrt(px * px + py * py + pz * pz) - (ra + (rb - ra) * h), along


def bar(p: Points, y: float, half_width: float, radius: float, squash: float, z: float = 0.0) -> np.ndarray:
    """Return distances (N,) to a capsule that lies along x at height ``y``, its depth divided by ``squash``."""
    dx = np.maximum(np.abs(p.x) - half_width, 0.0)
    dy, dz = p.y - y, (p.z - z) * squash
    return np.sqrt(dx * dx + dy * dy + dz * dz) - radius


def ellipsoid(p: Points, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
    """Approximate distances (N,) to an ellipsoid: first order, exact on its surface."""
    x, y, z = (p.x - centre[0]) / radii[0], (p.y - centre[1]) / radii[1], (p.z - centre[2]) / radii[2]
    k0 = np.sqrt(x * x + y * y + z * z)
    x, y, z = x / radii[0], y / radii[1], z / radii[2]
    k1 = np.sqrt(x * x + y * y + z * z)
    return k0 * (k0 - 1.0) / np.maximum(k1, 1e-6)


def ring(p: Points, y: float, radius: float, thickness: float, squash: float, tilt: float = 0.0) -> np.ndarray:
    """Return distances (N,) to a ring around the y axis, lowered in front by ``tilt`` metres a metre."""
    r = np.sqrt(p.x * p.x + (p.z * squash) ** 2) - radius
    dy = p.y - y + tilt * p.z
    return np.sqrt(r * r + dy * dy) - thickness
