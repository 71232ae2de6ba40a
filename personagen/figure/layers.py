"""Cut closed surfaces into layers: the person, and each garment over what it hides.

A layer goes on a little below the one that covers it and dips under it; what is deeper below is left out, and every
opening (hem, cuff, neckline) is closed inside, so that each layer is a solid of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .atlas import Atlas
from .mesh import Layer, normals
from .nets import Surface, parted
from .paint import CORE_NAME

OVER = 0.002
"""How far a garment lies over the surface, metres."""
RINGS = 4
"""Faces that a layer goes on below another, about 2.5 cm."""
DIP = 0.0025
"""How much deeper each of these lies, metres."""
VOTES = 6
"""Rounds in which faces take the label that is most frequent around them."""
SPECK = 60
"""Faces below which a piece of a layer takes the label around it."""


@dataclass(frozen=True)
class Piece:
    """A part's surface with what is on it: vertices (V, 3), faces (F, 3), front bool (F,) and label int (F,)."""

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    front: np.ndarray
    label: np.ndarray
    normals: np.ndarray


def labelled(name: str, surface: Surface, atlas: Atlas) -> Piece:
    """Say of each face of a part which side shows it, and what is worn there."""
    vertices, faces = surface.vertices, surface.faces
    across = _smooth(normals(vertices, faces), faces, 3)
    front = across[faces][:, :, 2].mean(1) >= 0
    middle = atlas.folded(name, vertices[faces].mean(1))
    at = atlas.canvas.maps.at(middle)
    label = np.where(front, atlas.sheet(name, True).label[at], atlas.sheet(name, False).label[at])
    return Piece(name, vertices, faces, front, _voted(label, faces), across)


def _smooth(values: np.ndarray, faces: np.ndarray, rounds: int) -> np.ndarray:
    """Values (V, k) averaged along the edges of faces."""
    a, b = faces.T.ravel(), np.roll(faces, -1, 1).T.ravel()
    count = np.bincount(a, minlength=len(values)).clip(1)[:, None]
    for _ in range(rounds):
        around = np.stack([np.bincount(a, column[b], minlength=len(values)) for column in values.T], 1)
        values = (values + around / count) / 2
    return values


def _voted(label: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Labels (F,) without rags: each face takes the label that is most frequent around its corners."""
    size = int(faces.max()) + 1
    for _ in range(VOTES):
        votes = []
        for number in range(int(label.max()) + 1):
            count = np.bincount(faces[label == number].ravel(), minlength=size)
            votes.append(count[faces].sum(1))
        label = np.argmax(votes, 0)
    return _without_specks(label, faces)


def _without_specks(label: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Let small pieces of a label take the one that is most frequent around them."""
    out = label.copy()
    for number in range(int(label.max()) + 1):
        mine = np.flatnonzero(label == number)
        piece = components(faces[mine])
        sizes = np.bincount(piece)
        for small in np.flatnonzero(sizes < SPECK):
            part = mine[piece == small]
            corners = np.zeros(int(faces.max()) + 1, bool)
            corners[faces[part].ravel()] = True
            around = label[corners[faces].any(1) & (label != number)]
            if around.size:
                out[part] = np.bincount(around).argmax()
    return out


def components(faces: np.ndarray) -> np.ndarray:
    """The number (F,) of the piece that each face belongs to; pieces share no vertex."""
    if not len(faces):
        return np.zeros(0, int)
    corners, flat = np.unique(faces, return_inverse=True)
    flat = flat.reshape(faces.shape)
    root = np.arange(len(corners))
    while True:
        least = root[flat].min(1)
        new = root.copy()
        np.minimum.at(new, flat.ravel(), np.repeat(least, 3))
        new = new[new]
        if np.array_equal(new, root):
            break
        root = new
    return np.unique(root[flat[:, 0]], return_inverse=True)[1].reshape(-1)


def cut(pieces: Sequence[Piece], atlas: Atlas, kinds: Sequence[str]) -> list[tuple[Layer, np.ndarray]]:
    """Cut a figure's parts into layers: body, arms, and the garments in the order in which they are put on.

    Beside each layer stands the place among `pieces` of the part that each vertex is of, (V,).
    """
    layers = []
    for number, kind in ((0, "body"), *enumerate(kinds, 1)):
        found = [(at, piece.name, _layer(piece, number, atlas)) for at, piece in enumerate(pieces)]
        found = [one for one in found if len(one[2][1])]
        if number == 0:  # bare arms can be moved, and hidden, by themselves
            for at, name, arrays in found:
                layer = Layer("body" if name == CORE_NAME else name, *arrays)
                layers.append((layer, np.full(len(layer.vertices), at)))
        elif found:
            owner = np.concatenate([np.full(len(arrays[0]), at) for at, _, arrays in found])
            layers.append((Layer(kind, *_joined([arrays for *_, arrays in found]), kind=kind), owner))
    return layers


def _joined(parts: Sequence[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, faces and texture places of several meshes as one."""
    starts = np.cumsum([0, *(len(part[0]) for part in parts)])
    faces = np.concatenate([part[1] + start for part, start in zip(parts, starts)]).astype(np.int32)
    return np.concatenate([part[0] for part in parts]), faces, np.concatenate([part[2] for part in parts])


def _layer(piece: Piece, number: int, atlas: Atlas) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, faces and texture places of a label's faces of a part, with what goes on below others, closed."""
    mine = piece.label == number
    if mine.sum() < SPECK:
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), np.zeros((0, 2), np.float32)
    depth = np.where(mine, 0, -1)
    covered = piece.label > number
    for ring in range(1, RINGS + 1):
        near = np.zeros(len(piece.vertices), bool)
        near[piece.faces[depth >= 0].ravel()] = True
        depth[(depth < 0) & covered & near[piece.faces].any(1)] = ring
    kept = depth >= 0
    deep = np.full(len(piece.vertices), 99)
    np.minimum.at(deep, piece.faces[kept].ravel(), np.repeat(depth[kept], 3))
    edge = np.zeros(len(piece.vertices), bool)
    edge[piece.faces[~mine].ravel()] = True  # both layers end in one line there
    away = np.where(deep == 0, OVER * (number > 0) * ~edge, -DIP * (deep + 0.5))
    moved = piece.vertices + away[:, None] * piece.normals
    faces, front = _closed(piece.faces[kept], piece.front[kept], len(moved))
    moved = np.concatenate([moved, *(_inside(moved[ring], piece.normals[ring]) for ring in faces.rings)])
    at = np.concatenate([piece.vertices, *(piece.vertices[ring[:1]] for ring in faces.rings)])
    whole, was = parted(moved, faces.faces)
    return _with_places(piece.name, whole.vertices, at[was], whole.faces, front, atlas)


def _inside(ring: np.ndarray, across: np.ndarray) -> np.ndarray:
    """A place (1, 3) that closes an opening from inside: its middle, deeper where it lies flat on the surface."""
    middle = ring.mean(0, keepdims=True)
    return middle - np.linalg.norm(ring - middle, axis=1).mean() * across.mean(0, keepdims=True)


@dataclass(frozen=True)
class _Closed:
    """Faces (F, 3), those that close openings last, and the vertices around each opening."""

    faces: np.ndarray
    rings: tuple[np.ndarray, ...]


def _closed(faces: np.ndarray, front: np.ndarray, size: int) -> tuple[_Closed, np.ndarray]:
    """Close openings by fans around a new vertex each, numbered from `size` on; return the faces and their sides."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    side = np.tile(front, 3)
    alone = ~np.isin(edges[:, 0] * size + edges[:, 1], edges[:, 1] * size + edges[:, 0])
    open_, side = edges[alone], side[alone]
    if not len(open_):
        return _Closed(faces, ()), front
    ring = components(np.concatenate([open_, open_[:, :1]], 1))
    fans = np.stack([open_[:, 1], open_[:, 0], size + ring], 1)
    rings = tuple(np.unique(open_[ring == number]) for number in range(int(ring.max()) + 1))
    one_side = np.array([side[ring == number][0] for number in range(len(rings))])
    return _Closed(np.concatenate([faces, fans]), rings), np.concatenate([front, one_side[ring]])


def _with_places(
    name: str, moved: np.ndarray, at: np.ndarray, faces: np.ndarray, front: np.ndarray, atlas: Atlas
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give vertices their place in the texture, twice where both sides meet; at (V, 3): where they read."""
    key = faces * 2 + front[:, None]
    used, flat = np.unique(key, return_inverse=True)
    vertex, side = used // 2, used % 2 == 1
    uv = np.empty((len(used), 2), np.float32)
    places = atlas.folded(name, at[vertex])
    for value in (True, False):
        some = side == value
        uv[some] = atlas.uv(name, value, places[some])
    return moved[vertex].astype(np.float32), flat.reshape(faces.shape).astype(np.int32), uv
