"""Move a figure's surface with its skeleton: skin weights from the body beneath, and linear blend skinning.

A vertex takes the weights of the body's nearest vertex **of the same part**: an arm that hangs along the trunk would
else carry the cloth of the trunk with it. Weights are then spread over the surface, so that no edge is torn at the
border of two bones. Linear blend skinning (Magnenat-Thalmann et al., 1988): v' = sum_k w_k (R_k (v - j_k) + t_k).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from recsys.errors import DataError

from .body import BodyMesh
from .mesh import Figure, Layer, Skeleton

CELL = 0.02
"""Side in metres of the smallest cells in which neighbours are looked for."""
FAR_PAIRS = 4_000_000
"""Pairs of a query and a point that are compared at a time."""
PARTS = ("core", "left arm", "right arm")
"""Surfaces that move apart from each other; the core is head, trunk and legs."""
SPREAD, SPREAD_ARM = 80, 60
"""Rounds in which weights are averaged along edges."""
SHOULDER, COLLAR, FOLLOWS = 0.20, 0.30, 0.50
"""Metres from a shoulder's joint within which a trunk follows the upper arm, and the collar bone; how much of the arm's
turn it follows there at most."""
CROTCH = 0.09
"""How far below the hip joints the legs part, in metres: cloth that hangs lower hangs round both."""
THIGH, SKIRT_RAMP = 0.8, 0.16
"""How much of a thigh's turn a skirt follows at the knee, and half the width in metres over which it changes legs."""
INFLUENCES = 4
"""Bones a vertex follows; what glTF's readers take."""


@dataclass(frozen=True)
class Skin:
    """The body that skin weights come from, in the pose of the figure.

    vertices (N, 3) in metres, joints (N, 4) indices of bones, weights (N, 4) that sum to 1, parts (N,) whole numbers.
    """

    vertices: np.ndarray
    joints: np.ndarray
    weights: np.ndarray
    parts: np.ndarray


def skin_of(body: BodyMesh) -> Skin:
    """Return the skin of a body; its parts are the places in `PARTS`, by the bone that moves a vertex most."""
    arms = ("Arm", "ForeArm", "Hand")
    part = np.zeros(len(body.skeleton.names), np.int64)
    for at, name in enumerate(body.skeleton.names):
        for side in ("Left", "Right"):
            if plain(name).removeprefix(side) in arms and plain(name).startswith(side):
                part[at] = PARTS.index(f"{side.lower()} arm")
    return Skin(body.vertices, body.bones, body.weights, part[body.main])


def plain(name: str) -> str:
    """Return a bone's name without the prefix of the rig that it comes from: "mixamorig:LeftArm" is "LeftArm"."""
    return name.rpartition(":")[2]


def nearest(points: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return for each query (Q, 3) the index (Q,) of its nearest point of (P, 3), exactly.

    Points are sorted into cells; a query looks into the 27 around it, and where nothing lies within a cell's side, into
    cells of twice that side; the few that are far from everything are compared with all points.
    """
    if len(points) == 0:
        raise DataError("there is no point to be nearest to; give at least one")
    found = np.zeros(len(queries), np.int64)
    left, side = np.arange(len(queries)), CELL
    while len(left) and side < 5.0 * CELL:
        at, distance = near_within(points, queries[left], side)
        exact = distance <= side
        found[left[exact]] = at[exact]
        left, side = left[~exact], 2.0 * side
    square = (points**2).sum(1)
    for some in np.array_split(left, len(left) * len(points) // FAR_PAIRS + 1):
        found[some] = (square - 2.0 * queries[some] @ points.T).argmin(1)
    return found


def near_within(points: np.ndarray, queries: np.ndarray, side: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices (Q,) of the nearest point in the 27 cells around each query, and distances (Q,), inf without one."""
    low = np.minimum(points.min(0), queries.min(0)) - 2.0 * side
    cells, asked = (((x - low) / side).astype(np.int64) for x in (points, queries))
    many = np.maximum(cells.max(0), asked.max(0)) + 2
    key = (cells[:, 0] * many[1] + cells[:, 1]) * many[2] + cells[:, 2]
    order = np.argsort(key, kind="stable")
    sorted_key = key[order]
    best, distance = np.zeros(len(queries), np.int64), np.full(len(queries), np.inf)
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):  # the three cells along z lie side by side in the order
            first = ((asked[:, 0] + dx) * many[1] + asked[:, 1] + dy) * many[2] + asked[:, 2]
            start, stop = np.searchsorted(sorted_key, first - 1), np.searchsorted(sorted_key, first + 1, side="right")
            for step in range(int((stop - start).max(initial=0))):
                some = np.flatnonzero(start + step < stop)
                which = order[start[some] + step]
                apart = np.sqrt(((points[which] - queries[some]) ** 2).sum(1))
                closer = apart < distance[some]
                best[some[closer]], distance[some[closer]] = which[closer], apart[closer]
    return best, distance


def surface_weights(
    name: str, vertices: np.ndarray, faces: np.ndarray, body: BodyMesh, *, hem: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bones (V, 4) uint8 and weights (V, 4) float32 of a part's surface over a body in the photo's pose.

    name: one of `PARTS`. hem: how low cloth hangs from the trunk, metres; what is above it and below the hips follows
    both thighs.
    """
    skin, part = skin_of(body), PARTS.index(name)
    dense = own_weights(vertices, np.full(len(vertices), part), skin, len(body.skeleton.names))
    if part == 0:
        _shoulders(dense, vertices, body)
    if part == 0 and hem is not None:
        _hang(dense, vertices, body, hem)
    rounds = SPREAD if part == 0 else SPREAD_ARM
    return strongest(spread_weights(vertices, faces, dense, rounds=rounds))


def carried(
    vertices: np.ndarray, owner: np.ndarray, surfaces: Sequence[np.ndarray], values: Sequence[tuple[np.ndarray, ...]]
) -> tuple[np.ndarray, ...]:
    """Return what vertices carry, (V, ...) each, of what was cut out of surfaces: that of each one's nearest vertex.

    owner (V,): the number of the surface that a vertex (V, 3) was cut from; values: of each surface's vertices. Layers
    that meet so move as one.
    """
    out = tuple(np.zeros((len(vertices), *one.shape[1:]), one.dtype) for one in values[0])
    for number, (points, own) in enumerate(zip(surfaces, values, strict=True)):
        mine = np.flatnonzero(owner == number)
        if len(mine):
            at = nearest(points, vertices[mine])
            for array, value in zip(out, own, strict=True):
                array[mine] = value[at]
    return out


def _shoulders(dense: np.ndarray, vertices: np.ndarray, body: BodyMesh) -> None:
    """Let weights (V, J) of a trunk follow an arm near its shoulder joint alone, and not wholly, in place.

    Sleeves would leave a trunk that follows none of it. A share w(t) of a turn about the joint, t from it to where w
    ends, stretches a surface by the turn's chord times w + t w' at most: by its greatest value, whatever the radius.
    """
    far = {side: np.linalg.norm(vertices - body.skeleton.heads[body.bone(f"{side}Arm")], axis=1)
           for side in ("Left", "Right")}  # fmt: skip
    fading = lambda distance, radius: (1.0 - (distance / radius).clip(0.0, 1.0) ** 2) ** 2
    for side, distance in far.items():
        dense[:, [body.bone(side + bone) for bone in ("Arm", "ForeArm", "Hand")]] = 0.0
        dense[:, body.bone(f"{side}Shoulder")] *= fading(distance, COLLAR)
    dense[:, body.bone("Spine2")] += 1.0 - dense.sum(1)
    for side, distance in far.items():
        share = FOLLOWS * fading(distance, SHOULDER)
        dense *= 1.0 - share[:, None]
        dense[:, body.bone(f"{side}Arm")] += share


def _hang(dense: np.ndarray, vertices: np.ndarray, body: BodyMesh, hem: float) -> None:
    """Let weights (V, J) of cloth above a hem pass from thigh to thigh over its width, in place."""
    bones = {name: body.bone(name) for name in ("Hips", "LeftUpLeg", "RightUpLeg", "LeftLeg")}
    top, other, knee = (body.skeleton.heads[bones[name]] for name in ("LeftUpLeg", "RightUpLeg", "LeftLeg"))
    crotch = top[1] - CROTCH
    some = np.flatnonzero((vertices[:, 1] < top[1]) & (vertices[:, 1] > hem - 0.01))
    if hem > crotch or not len(some):
        return
    x, y = vertices[some, 0] - 0.5 * (top[0] + other[0]), vertices[some, 1]
    legs = np.flatnonzero([name.endswith(("Leg", "Foot", "ToeBase")) for name in body.skeleton.names])
    total = dense[some][:, legs].sum(1)
    grip = THIGH * ((top[1] - y) / max(float(top[1] - knee[1]), 1e-3)).clip(0.0, 1.0)
    left = (0.5 + x / (2.0 * SKIRT_RAMP)).clip(0.0, 1.0)
    left = left * left * (3.0 - 2.0 * left)
    dense[some[:, None], legs] = 0.0
    dense[some, bones["LeftUpLeg"]] = total * grip * left
    dense[some, bones["RightUpLeg"]] = total * grip * (1.0 - left)
    dense[some, bones["Hips"]] += total * (1.0 - grip)


def skin_weights(
    vertices: np.ndarray, faces: np.ndarray, parts: np.ndarray, skin: Skin, *, spread: int = 30
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bones (V, 4) uint8 and weights (V, 4) float32 of a surface (V, 3), (F, 3) over a body.

    parts (V,): those of `skin` that each vertex may take its weights from; -1, or a part that the body lacks: any.
    spread: rounds in which weights are averaged along edges.
    """
    dense = own_weights(vertices, parts, skin, int(skin.joints.max()) + 1)
    return strongest(spread_weights(vertices, faces, dense, rounds=spread))


def own_weights(vertices: np.ndarray, parts: np.ndarray, skin: Skin, bones: int) -> np.ndarray:
    """Return the weights (V, bones) of the nearest vertex of the same part; see `skin_weights`."""
    dense = np.zeros((len(vertices), bones), np.float32)
    for part in np.unique(parts):
        here, there = np.flatnonzero(parts == part), np.flatnonzero(skin.parts == part)
        if not len(there):
            there = np.arange(len(skin.vertices))
        source = there[nearest(skin.vertices[there], vertices[here])]
        np.add.at(dense, (here[:, None], skin.joints[source].astype(np.int64)), skin.weights[source])
    return dense


def spread_weights(vertices: np.ndarray, faces: np.ndarray, dense: np.ndarray, *, rounds: int) -> np.ndarray:
    """Average weights (V, J) along the edges of a surface, some rounds; vertices at one place count as one."""
    place, edges = welded(vertices, faces)
    count = int(place.max(initial=-1)) + 1
    used, size = np.flatnonzero(dense.any(0)), np.bincount(place, minlength=count)[:, None]
    mean = np.stack([np.bincount(place, dense[:, j], count) for j in used], 1) / size
    ends = np.concatenate([edges, edges[:, ::-1], np.arange(count).repeat(2).reshape(-1, 2)])
    degree = np.bincount(ends[:, 0], minlength=count)
    share = torch.from_numpy(_shares(ends, degree))
    pairs = torch.from_numpy(ends.T.copy())
    with warnings.catch_warnings():  # three times as quick as the other sparse layout, and called beta since 2021
        warnings.simplefilter("ignore", UserWarning)
        step = torch.sparse_coo_tensor(pairs, share, (count, count), check_invariants=False).to_sparse_csr()
    found = torch.from_numpy(mean.astype(np.float32))
    for _ in range(rounds):
        found = step @ found
    out = np.zeros_like(dense)
    out[:, used] = found.numpy()[place]
    return out


def _shares(ends: np.ndarray, degree: np.ndarray) -> np.ndarray:
    """What each end (E,) gives in a round: half stays, half comes evenly from the neighbours; all stays without any."""
    own, around = ends[:, 0] == ends[:, 1], degree[ends[:, 0]] - 1
    return np.where(own, np.where(around > 0, 0.5, 1.0), 0.5 / around.clip(1)).astype(np.float32)


def strongest(dense: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep the four largest weights of (V, J): joints (V, 4) uint8, weights (V, 4) float32 that sum to 1.

    Where a vertex follows fewer bones, the joint of an empty place is 0.
    """
    if dense.shape[1] < INFLUENCES:
        dense = np.pad(dense, ((0, 0), (0, INFLUENCES - dense.shape[1])))
    joints = np.argpartition(-dense, INFLUENCES - 1, axis=1)[:, :INFLUENCES]
    joints = np.take_along_axis(joints, np.argsort(-np.take_along_axis(dense, joints, 1), axis=1), 1)
    weights = np.take_along_axis(dense, joints, 1)
    weights = np.where(weights < 1e-3, 0.0, weights)
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-9)
    return np.where(weights > 0, joints, 0).astype(np.uint8), weights.astype(np.float32)


def welded(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each vertex the number of its place (V,), and the edges (E, 2) between places, each once."""
    if not len(vertices):
        return np.zeros(0, np.int64), np.zeros((0, 2), np.int64)
    keys = np.round(vertices * 1e5).astype(np.int64)
    keys -= keys.min(0)
    many = keys.max(0) + 1
    place = np.unique((keys[:, 0] * many[1] + keys[:, 1]) * many[2] + keys[:, 2], return_inverse=True)[1].reshape(-1)
    pairs = place[np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])]
    pairs = np.sort(pairs, 1)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    count = int(place.max()) + 1
    once = np.unique(pairs[:, 0] * count + pairs[:, 1])
    return place, np.stack([once // count, once % count], 1)


def skinned(
    vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, *, heads: np.ndarray, turns: np.ndarray,
    places: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return where vertices (V, 3) come to lie, (V, 3) float32, by linear blend skinning.

    heads (J, 3): where the bones begin; turns (J, 3, 3): how they are turned, in the figure's axes; places (J, 3):
    where they begin then.
    """
    moved = np.zeros_like(vertices, dtype=np.float64)
    for k in range(joints.shape[1]):
        some = np.flatnonzero(weights[:, k] > 0)
        bone = joints[some, k].astype(np.int64)
        turned = np.einsum("vij,vj->vi", turns[bone], vertices[some] - heads[bone]) + places[bone]
        moved[some] += weights[some, k, None] * turned
    return moved.astype(np.float32)


def posed(figure: Figure, turns: np.ndarray, places: np.ndarray) -> Figure:
    """Return the figure with its layers moved, and its skeleton at rest in the new pose.

    turns (J, 3, 3), places (J, 3): see `skinned`.

    Raises:
        DataError: the figure has no skeleton.
    """
    skeleton = checked_skeleton(figure)
    layers = tuple(_moved(layer, skeleton, turns, places) for layer in figure.layers)
    return replace(figure, layers=layers, skeleton=replace(skeleton, heads=places.astype(np.float32)))


def _moved(layer: Layer, skeleton: Skeleton, turns: np.ndarray, places: np.ndarray) -> Layer:
    if layer.bones is None or layer.weights is None:
        return layer
    vertices = skinned(
        layer.vertices, layer.bones, layer.weights, heads=skeleton.heads, turns=turns, places=places
    )  # fmt: skip
    return replace(layer, vertices=vertices)


def checked_skeleton(figure: Figure) -> Skeleton:
    """Return the figure's skeleton.

    Raises:
        DataError: it has none, so it cannot be posed.
    """
    if figure.skeleton is None:
        raise DataError("the figure has no skeleton and cannot be posed; leave the pose out")
    return figure.skeleton


def stretch(before: Sequence[Layer], after: Sequence[Layer], *, percentile: float = 99.9) -> float:
    """Return how far edges are stretched by a pose: a percentile of max(l'/l, 1) over the edges of all layers.

    Edges shorter than a millimetre are left out: their ratio says nothing.
    """
    ratios = []
    for old, new in zip(before, after, strict=True):
        ends = np.concatenate([old.faces[:, [0, 1]], old.faces[:, [1, 2]], old.faces[:, [2, 0]]])
        long, longer = (np.linalg.norm(v[ends[:, 0]] - v[ends[:, 1]], axis=1) for v in (old.vertices, new.vertices))
        some = long > 1e-3
        ratios.append(longer[some] / long[some])
    every = np.concatenate(ratios) if ratios else np.ones(1)
    return float(max(1.0, np.percentile(every, percentile))) if len(every) else 1.0
