"""Closed surfaces where a field is zero.

Surface nets (Gibson, Constrained elastic surface nets, MICCAI 1998): one vertex a cell that the surface crosses, at the
mean of its crossings, and one quad an edge that it crosses; then Taubin's smoothing (SIGGRAPH 1995), which keeps size.
"""

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

TAUBIN = (0.5, -0.53, 10)
"""Steps of smoothing outwards and back, and how often both."""
OUTSIDE = 0.06
"""Field beyond the voxels."""


@dataclass(frozen=True)
class Box:
    """Where voxels are: x of the left columns, y of the upper rows, z of the back ones, metres, and their side."""

    left: float
    top: float
    back: float
    side: float


@dataclass(frozen=True)
class Surface:
    """A closed surface: vertices (V, 3) in metres, faces (F, 3), counter-clockwise from outside."""

    vertices: np.ndarray
    faces: np.ndarray


def meshed(field: np.ndarray, box: Box) -> Surface:
    """Mesh where a field (rows, columns, depths) is zero, and smooth it."""
    field = np.pad(field, 1, constant_values=OUTSIDE)
    vertices, quads = _nets(field)
    side = box.side
    points = np.stack([
        box.left + (vertices[:, 1] - 0.5) * side,
        box.top - (vertices[:, 0] - 0.5) * side,
        box.back + (vertices[:, 2] - 0.5) * side,
    ], 1)  # fmt: skip
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    surface = parted(taubin(points, faces).astype(np.float32), faces)[0]
    return surface if volume_of(surface) > 0 else Surface(surface.vertices, faces[:, ::-1].copy())


def volume_of(surface: Surface) -> float:
    """Cubic metres inside."""
    a, b, c = (surface.vertices[surface.faces[:, corner]].astype(float) for corner in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def _nets(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) in voxels and quads (F, 4) of the zero of a field."""
    inside = field < 0
    corners = [tuple(slice(o, o + n - 1) for o, n in zip(offset, field.shape)) for offset in product((0, 1), repeat=3)]
    count = np.sum([inside[corner] for corner in corners], 0, dtype=np.int8)
    cells = np.argwhere((count > 0) & (count < 8))
    number = np.full(count.shape, -1, np.int64)
    number[tuple(cells.T)] = np.arange(len(cells))
    total, crossings = np.zeros((len(cells), 3)), np.zeros(len(cells))
    offsets = list(product((0, 1), repeat=3))
    values = np.stack([field[tuple((cells + offset).T)] for offset in offsets])
    for i, j in combinations(range(8), 2):
        if np.abs(np.subtract(offsets[i], offsets[j])).sum() != 1:
            continue
        a, b = values[i], values[j]
        some = (a < 0) != (b < 0)
        t = np.where(some, a / np.where(some, a - b, 1), 0)[:, None]
        total += some[:, None] * (offsets[i] + t * np.subtract(offsets[j], offsets[i]))
        crossings += some
    vertices = cells + total / crossings[:, None]
    quads = []
    for axis in range(3):
        first = np.moveaxis(inside, axis, 0)
        change = first[:-1] != first[1:]
        at = np.argwhere(np.moveaxis(change, 0, axis))
        others = [other for other in range(3) if other != axis]
        steps = [np.zeros(3, int) for _ in range(4)]
        for step, (p, q) in zip(steps, ((-1, -1), (0, -1), (0, 0), (-1, 0))):
            step[others[0]], step[others[1]] = p, q
        found = np.stack([number[tuple((at + step).T)] for step in steps], 1)
        flip = inside[tuple(at.T)] ^ (axis == 1)
        quads.append(np.where(flip[:, None], found, found[:, ::-1]))
    return vertices, np.concatenate(quads)


def taubin(vertices: np.ndarray, faces: np.ndarray, *, rounds: int | None = None) -> np.ndarray:
    """Smooth a mesh (V, 3), (F, 3) without shrinking it."""
    out, back, times = TAUBIN
    a = np.concatenate([faces[:, 0], faces[:, 1], faces[:, 2]])
    b = np.concatenate([faces[:, 1], faces[:, 2], faces[:, 0]])
    count = np.bincount(a, minlength=len(vertices)).clip(1)[:, None]  # each edge has two faces, one either way
    moved = vertices.astype(float)
    for _ in range(times if rounds is None else rounds):
        for step in (out, back):
            mean = np.stack([np.bincount(a, moved[b, axis], minlength=len(moved)) for axis in range(3)], 1) / count
            moved = moved + step * (mean - moved)
    return moved


def parted(vertices: np.ndarray, faces: np.ndarray) -> tuple[Surface, np.ndarray]:
    """Part a surface where four faces meet at an edge: each fan of faces gets corners of its own, a little apart.

    Returns the surface, and which old vertex each of its own was (V,).
    """
    points, faces, was = list(vertices), faces.copy(), list(range(len(vertices)))
    for corner in np.unique(_crowded(faces)).tolist():
        around = np.flatnonzero((faces == corner).any(1))
        for fan in _fans(faces[around], corner)[1:]:
            mine = around[fan]
            middle = np.mean([points[at] for at in np.unique(faces[mine])], 0)
            faces[mine] = np.where(faces[mine] == corner, len(points), faces[mine])
            was.append(was[corner])
            points.append(0.8 * points[corner] + 0.2 * middle)
    return Surface(np.asarray(points, np.float32), faces), np.array(was)


def _crowded(faces: np.ndarray) -> np.ndarray:
    """Edges (n, 2) of more than two faces."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    once, counts = np.unique(edges, axis=0, return_counts=True)
    return once[counts > 2]


def _fans(around: np.ndarray, corner: int) -> list[list[int]]:
    """Sort faces (n, 3) around a corner into fans, which share edges of exactly two faces."""
    others = [set(face.tolist()) - {corner} for face in around]
    count = {other: sum(other in face for face in others) for face in others for other in face}
    left, fans = set(range(len(others))), []
    while left:
        fan, grown = {left.pop()}, True
        while grown:
            more = {at for at in left if any(count[o] == 2 and o in others[one] for one in fan for o in others[at])}
            grown, fan, left = bool(more), fan | more, left - more
        fans.append(sorted(fan))
    return fans


def open_edges(faces: np.ndarray) -> int:
    """How many edges do not belong to two faces, one either way."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    size = int(faces.max()) + 1
    there, back = edges[:, 0] * size + edges[:, 1], edges[:, 1] * size + edges[:, 0]
    _, at, counts = np.unique(np.sort(edges, 1) @ np.array([size, 1]), return_inverse=True, return_counts=True)
    lonely = ~np.isin(there, back) | (counts[at] != 2)
    return len(np.unique(np.sort(edges[lonely], 1), axis=0))
