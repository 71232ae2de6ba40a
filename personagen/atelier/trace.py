"""A camera: where its rays go, and at which pixel it sees a point."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A pinhole that looks at ``target`` (metres) from ``distance``; angles in degrees; ``extent``: height seen."""

    azimuth: float = 0.0
    elevation: float = 3.0
    distance: float = 5.2
    target: tuple[float, float, float] = (0.0, 0.86, 0.0)
    extent: float = 1.98


def portrait(height: float, *, room: float = 1.10, azimuth: float = 0.0, elevation: float = 3.0) -> Camera:
    """A camera that shows a person of ``height`` metres from head to foot with ``room`` around; the small look small.

    The picture shows half of what the person's height asks for and half of what an average height does.
    """
    extent = room * (0.5 * height + 0.90)
    return Camera(azimuth, elevation, target=(0.0, 0.5 * extent - 0.07, 0.0), extent=extent)


def axes(camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit directions (3,) towards the camera, to the picture's right and up."""
    az, el = math.radians(camera.azimuth), math.radians(camera.elevation)
    back = np.array([math.sin(az) * math.cos(el), math.sin(el), math.cos(az) * math.cos(el)], np.float32)
    right = np.array([math.cos(az), 0.0, -math.sin(az)], np.float32)
    return back, right, np.cross(back, right)


def place(camera: Camera) -> np.ndarray:
    """Where the camera stands (3,), in metres."""
    return np.array(camera.target, np.float32) + np.float32(camera.distance) * axes(camera)[0]


def rays(camera: Camera, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Origin (3,) and unit directions (height * width, 3), row by row."""
    back, right, up = axes(camera)
    scale = camera.extent / camera.distance / height
    ys = (height / 2 - 0.5 - np.arange(height, dtype=np.float32)) * scale
    xs = (np.arange(width, dtype=np.float32) - width / 2 + 0.5) * scale
    d = (xs[None, :, None] * right + ys[:, None, None] * up - back).reshape(-1, 3)
    return place(camera), d / np.sqrt((d * d).sum(1, keepdims=True))


def seen_at(points: np.ndarray, camera: Camera, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column, row and depth along the camera's axis, each (n,), of points (n, 3) in metres."""
    back, right, up = axes(camera)
    offset = points - place(camera)
    x, y, z = (offset[:, 0] * axis[0] + offset[:, 1] * axis[1] + offset[:, 2] * axis[2] for axis in (right, up, -back))
    scale = (height * camera.distance / camera.extent) / z
    return x * scale + width / 2, height / 2 - y * scale, z


def project(points: np.ndarray, camera: Camera, height: int, width: int) -> np.ndarray:
    """Columns and rows (n, 2) in pixels at which points (n, 3) in metres are seen; the inverse of `rays`."""
    return np.stack(seen_at(points, camera, height, width)[:2], -1)
