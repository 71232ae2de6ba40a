"""From surfaces to picture elements: which surface each sample sees, and what is interpolated there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .surface import Patch, dot, unit
from .trace import Camera, place, seen_at


@dataclass(frozen=True)
class Samples:
    """The N samples of a picture that see a surface: their ``index`` in the flat picture, the surface's number
    ``which``, its points, normals (N, 3) and marks (N, 4), and the depth (N,) along the ray in metres."""

    index: np.ndarray
    which: np.ndarray
    points: np.ndarray
    normals: np.ndarray
    marks: np.ndarray
    depth: np.ndarray


@dataclass(frozen=True)
class Mesh:
    """Surfaces as one list of vertices (V, 10: point, normal, marks) and triangles (T, 3), with the surface's number
    ``owner`` (T,) and whether both sides show ``double`` (T,)."""

    vertices: np.ndarray
    triangles: np.ndarray
    owner: np.ndarray
    double: np.ndarray


@lru_cache(maxsize=256)
def _triangles(rows: int, columns: int) -> np.ndarray:
    """Triangles (T, 3) of a grid, wound alike."""
    i = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = i[:-1, :-1].ravel(), i[:-1, 1:].ravel(), i[1:, :-1].ravel(), i[1:, 1:].ravel()
    return np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])


def join(patches: list[Patch]) -> Mesh:
    """Put surfaces into one mesh."""
    vertices = np.concatenate(
        [np.concatenate([s.points, s.normals, s.marks], -1).reshape(-1, 10) for s in patches]
    ).astype(np.float32)
    triangles, owner, double, first = [], [], [], 0
    for number, s in enumerate(patches):
        rows, columns = s.points.shape[:2]
        faces = _triangles(rows, columns)
        triangles.append(faces + np.int32(first))
        owner.append(np.full(len(faces), number, np.int16))
        double.append(np.full(len(faces), s.double))
        first += rows * columns
    return Mesh(vertices, np.concatenate(triangles), np.concatenate(owner), np.concatenate(double))


def _extent(c: list[np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray]:
    """First pixel and number of pixels (T,) between the corners (T,) of triangles along one axis."""
    low = np.ceil(np.maximum(np.minimum(np.minimum(c[0], c[1]), c[2]), 0.0))
    high = np.floor(np.minimum(np.maximum(np.maximum(c[0], c[1]), c[2]), size - 1.0))
    return low.astype(np.int32), (high - low + 1.0).astype(np.int32)


def _candidates(
    x: list[np.ndarray], y: list[np.ndarray], width: int, height: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangle and pixel (column, row), each (N,), of every pixel in the bounding box of triangles."""
    (x0, nx), (y0, ny) = _extent(x, width), _extent(y, height)
    some = np.flatnonzero((nx > 0) & (ny > 0))
    nx, count = nx[some], (nx * ny)[some]
    of = np.repeat(np.arange(len(some), dtype=np.int32), count)
    local = np.arange(len(of), dtype=np.int32) - np.repeat((np.cumsum(count) - count).astype(np.int32), count)
    row = local // nx[of]
    column = local - row * nx[of]
    return some[of], column + x0[some][of], row + y0[some][of]


def rasterise(mesh: Mesh, camera: Camera, height: int, width: int) -> Samples:
    """See ``mesh`` through ``camera``: the nearest surface at the middle of each pixel of a picture."""
    px, py, depth = seen_at(mesh.vertices[:, :3], camera, height, width)
    px, py, near = px - np.float32(0.5), py - np.float32(0.5), (1.0 / depth).astype(np.float32)
    faces = mesh.triangles
    x, y = ([c.take(corner) for corner in faces.T] for c in (px.astype(np.float32), py.astype(np.float32)))
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    keep = np.flatnonzero((area < -1e-6) | (mesh.double & (area > 1e-6)))
    x, y = ([c.take(keep) for c in axis] for axis in (x, y))
    area, faces, owner = area[keep], faces[keep], mesh.owner[keep]
    face, column, row = _candidates(x, y, width, height)
    scale = 1.0 / area
    across, down, weights = column.astype(np.float32), row.astype(np.float32), []
    for i, j in ((1, 2), (2, 0)):
        a, b = (y[i] - y[j]) * scale, (x[j] - x[i]) * scale
        weights.append(a.take(face) * across + b.take(face) * down - (a * x[i] + b * y[i]).take(face))
    first, second = weights
    inside = np.flatnonzero((first >= 0) & (second >= 0) & (first + second <= 1))
    face, first, second = face[inside], first[inside], second[inside]
    pixel = row[inside] * np.int32(width) + column[inside]
    z0, z1, z2 = (near.take(corner) for corner in faces.T)
    inverse = z2.take(face) + first * (z0 - z2).take(face) + second * (z1 - z2).take(face)
    nearest = np.zeros(height * width, np.float32)
    np.maximum.at(nearest, pixel, inverse)
    won = np.flatnonzero(inverse == nearest.take(pixel))
    winner = np.full(height * width, -1, np.int32)
    winner[pixel[won]] = won
    index = np.flatnonzero(winner >= 0)
    won = winner[index]
    face = face[won]
    value = _interpolate(mesh.vertices, faces[face], first[won], second[won])
    value[area[face] > 0, 3:6] *= -1.0  # seen from inside
    view = place(camera) - value[:, :3]
    depth = np.sqrt(dot(view, view))
    return Samples(index, owner[face].astype(np.int32), value[:, :3], unit(value[:, 3:6]), value[:, 6:], depth)


def _interpolate(vertices: np.ndarray, corner: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Values (N, 10) at samples whose triangle has these ``corner`` (N, 3), with weights of its first two."""
    value = vertices.take(corner[:, 2], 0) * (1.0 - first - second)[:, None]
    value += vertices.take(corner[:, 0], 0) * first[:, None]
    value += vertices.take(corner[:, 1], 0) * second[:, None]
    return value
