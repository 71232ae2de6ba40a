"""Read a garment's outline in its picture: where its shoulders, armpits, sleeves, crotch and hems are.

`garment_shape` says roughly where trunk, sleeves and legs lie; their edges are then those of the cloth itself, as
ribbons (`ribbon.Ribbon`) that meet at the armholes or at the crotch.
"""

from dataclasses import dataclass

import numpy as np

from ..images import components, dilate
from .garment_shape import Cut
from .ribbon import Ribbon
from .strips import Strip

BUST = 0.88
"""Share of the width of the bust at which the armholes of a garment without sleeves end."""
APART = 0.35
"""Least distance of the outer edges of straps, as a share of the trunk's width."""
TOP = 0.3
"""How far down the top of a garment without sleeves goes, as a share of half its trunk's width."""
SIDE = 0.12
"""Length below an armpit, as a share of half the trunk's width, along which its side is measured."""
TOUCHING = 1.3
"""How much wider than its strip a trunk may be: what is beyond is a sleeve that touches it."""
FUSED, WHOLE = 1.04, 0.75
"""The same where sleeves touch the trunk along their length, so that of either less than the second share of its strip
hangs free."""
LONG = 1.8
"""Least length of a sleeve that may hang along the trunk, as a share of half its width."""
LAP = 0.06
"""How far trunk and sleeves lap over at the armholes, as a share of half the trunk's width."""
BARE = 0.06
"""Least area of a sleeve, in squares of half the trunk's width."""
SLIM = 0.2
"""Least width of a sleeve, on the whole, as a share of half the trunk's width."""
ROWS, FAN, ALONG = 28, 8, 14
"""Cross-sections of a trunk, of the round of a shoulder, and along a sleeve."""
FILLED = 0.6
"""Share of half a trunk's width in which it has no gaps: an open coat is bridged there."""
RAGS = 24
"""Part of the length of a trunk's side over which it is smoothed, to either side."""
JUMP = 0.14
"""How far the edge of a trunk steps out where a sleeve begins, as a share of half the trunk's width."""
DEEP = (0.45, 1.3)
"""Least and most depth of an armhole, as the same share."""
RISE = 1.65
"""Usual height of a waistband over the crotch, as a share of half the width of the hips."""


@dataclass(frozen=True)
class Top:
    """A top, coat or dress: (2, 2) points of its shoulders and armpits, on the picture's left and right, the outline
    of its neck and armholes as a ribbon, that of its trunk from the armpits down, and its sleeves, which have a round
    of `FAN` cross-sections first; pieces (H, W): which cloth belongs to the trunk and to each sleeve; square: its width
    at the top over that of its bust."""

    shoulders: np.ndarray
    armpits: np.ndarray
    neck: Ribbon
    yoke: Ribbon
    trunk: Ribbon
    sleeves: tuple[Ribbon, ...]
    pieces: tuple[np.ndarray, ...]
    square: float


@dataclass(frozen=True)
class Bottom:
    """A skirt, or trousers with two legs: what lies above the crotch, and the legs below it, if there are any."""

    seat: Ribbon
    legs: tuple[Ribbon, ...]


def top_of(cloth: np.ndarray, cut: Cut) -> Top:
    """Find the points and edges of a top in its silhouette, bool (H, W), of which `cut` is the rough shape."""
    assert cut.trunk is not None
    half, middle = float(cut.trunk.half.mean()), float(cut.trunk.points[:, 0].mean())
    edges, first, last = edges_of(cloth, middle, half)
    armpits = np.stack([_armpit(edges, cut, side, first) for side in (0, 1)])
    shoulders = np.stack([shoulder_of(cloth, armpits[side], (1, -1)[side] * 0.04 * half) for side in (0, 1)])
    found: list[np.ndarray] = []
    seen = edges
    long = [sleeve for sleeve in cut.sleeves if sleeve.length > LONG * half]
    for touching in (TOUCHING, FUSED) if long else (TOUCHING,) if cut.sleeves else ():
        edges = _within(seen, cut.trunk, armpits, first, touching)
        hanging = _off_trunk(cloth, edges, armpits, first, middle)
        found = [_beside(hanging, shoulders[side], armpits[side], (-1, 1)[side]) for side in (0, 1)]
        if all(_whole(own, sleeve) for own, sleeve in zip(found, cut.sleeves, strict=True)):
            break
    least = BARE * half * half
    if (
        not found
        or min(one.sum() for one in found) < least
        or (not long and any(map(_slim, found, armpits, (half, half))))
    ):
        found = []
        edges = _within(seen, cut.trunk, armpits, first, TOUCHING) if cut.sleeves else seen
        armpits = np.stack([_bust(edges, side, first, half) for side in (0, 1)])
        shoulders = np.stack([armpits[:, 0], np.full(2, float(first + _topmost(edges, half)))], 1)
    last = max(last, int(armpits[:, 1].max()) + 4)
    trunk = Ribbon(*(side_of(edges[side], armpits[side], last, first) for side in (0, 1)))
    share = np.linspace(0, 1, ROWS // 2)[:, None]
    lines = [shoulders[side] + share * (armpits[side] - shoulders[side]) for side in (0, 1)]
    neck = neck_of(cloth, shoulders)
    sleeves = tuple(
        _sleeve(cloth, own, shoulders[side], armpits[side], (-1, 1)[side]) for side, own in enumerate(found)
    )
    pieces = pieces_of(cloth, found, armpits, round(LAP * half))
    return Top(shoulders, armpits, neck, Ribbon(*lines), trunk, sleeves, pieces, _square(edges, half))


def bottom_of(cloth: np.ndarray, cut: Cut) -> Bottom:
    """Find the edges of a skirt, trousers or shorts in its silhouette, bool (H, W)."""
    strips = [strip for strip in (cut.legs or (cut.trunk,)) if strip is not None]
    middle = float(np.mean([strip.points[0, 0] for strip in strips]))
    rows = np.flatnonzero(cloth.any(1))
    first, last = int(rows[0]), int(rows[-1])
    outer = np.stack([outermost(cloth[row]) for row in range(first, last + 1)], 1)
    outer = np.stack([smoothed(bridged(edge)) for edge in outer])
    if not cut.legs:
        at = np.linspace(first, last, ROWS)
        return Bottom(Ribbon(*(edge_at(edge, at, first) for edge in outer)), ())
    upper = (outer[1] - outer[0])[: int(0.35 * (last - first)) + 1]
    half = float(upper.max()) / 2
    crotch, gaps = _gap(cloth, middle, half, outer, first, last)
    above = np.linspace(first, crotch, ROWS)
    seat = Ribbon(*(edge_at(edge, above, first) for edge in outer))
    below = np.linspace(crotch, last, ROWS)
    inner = [np.stack([np.interp(below, np.arange(crotch, last + 1), edge), below], 1) for edge in gaps]
    return Bottom(
        seat, (Ribbon(edge_at(outer[0], below, first), inner[0]), Ribbon(edge_at(outer[1], below, first), inner[1]))
    )


def edges_of(cloth: np.ndarray, middle: float, half: float) -> tuple[np.ndarray, int, int]:
    """Edges (2, n) of the trunk's run of cloth in each row, with what hangs on it; its first and last row."""
    reach = slice(max(0, int(middle - half)), int(middle + half) + 1)
    rows = np.flatnonzero(cloth[:, reach].any(1))
    first, last = int(rows[0]), int(rows[-1])
    filled = cloth.copy()
    filled[first : last + 1, max(0, int(middle - FILLED * half)) : int(middle + FILLED * half) + 1] = True
    found = []
    for row in range(first, last + 1):
        empty = np.flatnonzero(~filled[row])
        left = empty[empty < middle]
        right = empty[empty > middle]
        found.append((left[-1] + 1.0 if left.size else 0.0, float(right[0]) if right.size else float(cloth.shape[1])))
    return np.array(found).T, first, last


def _armpit(edges: np.ndarray, cut: Cut, side: int, first: int) -> np.ndarray:
    """The armpit (2,) of one side: where the trunk's edge steps out to the sleeve's, or else where it usually is."""
    trunk, sign = cut.trunk, (-1, 1)[side]
    assert trunk is not None
    half = trunk.half[0]
    if not cut.sleeves:
        return _bust(edges, side, first, half)
    sleeve = cut.sleeves[side]
    axis = sleeve.points[1] - sleeve.points[0]
    slant = max(abs(float(axis[0])) / sleeve.length, 0.3)
    deep = float(np.clip(2 * sleeve.half[0] / slant, DEEP[0] * half, DEEP[1] * half))
    expected = trunk.points[0, 1] + deep - first
    step, jump = max(2, round(0.04 * half)), JUMP * half
    low, high = int(max(expected - 0.7 * half, step)), int(min(expected + 0.8 * half, edges.shape[1] - 1))
    for row in range(high, low, -1):
        if sign * (edges[side][row - step] - edges[side][row]) > jump:
            below = edges[side][row + step : row + step + max(2, round(SIDE * half))]
            return np.array([float(np.median(below)) if below.size else edges[side][row], float(first + row)])
    row = int(np.clip(expected, 0, edges.shape[1] - 1))
    wide = trunk.half[0] + (expected / trunk.length) * (trunk.half[1] - trunk.half[0])
    return np.array([trunk.points[0, 0] + sign * wide, float(first + row)])


def _whole(own: np.ndarray, sleeve: Strip) -> bool:
    """Tell whether the cloth of a sleeve, bool (H, W), goes on to about where its strip ends."""
    y, x = np.nonzero(own)
    axis = (sleeve.points[1] - sleeve.points[0]) / sleeve.length
    along = (x - sleeve.points[0, 0]) * axis[0] + (y - sleeve.points[0, 1]) * axis[1]
    return bool(along.size and np.quantile(along, 0.98) > WHOLE * sleeve.length)


def _within(edges: np.ndarray, trunk: Strip, armpits: np.ndarray, first: int, touching: float) -> np.ndarray:
    """Edges (2, n) of a trunk without sleeves that touch it, `touching` times as wide as its strip at most."""
    rows = np.arange(edges.shape[1]) + first
    share = ((rows - trunk.points[0, 1]) / max(float(trunk.points[1, 1] - trunk.points[0, 1]), 1)).clip(0, 1)
    middle = trunk.points[0, 0] + share * (trunk.points[1, 0] - trunk.points[0, 0])
    wide = touching * (trunk.half[0] + share * (trunk.half[1] - trunk.half[0]))
    found = np.stack([np.maximum(edges[0], np.minimum(middle - wide, armpits[0, 0])),
                      np.minimum(edges[1], np.maximum(middle + wide, armpits[1, 0]))])  # fmt: skip
    return found


def _slim(own: np.ndarray, armpit: np.ndarray, half: float) -> bool:
    """Tell whether the cloth of a sleeve, bool (H, W), is but a strip along the trunk."""
    y, x = np.nonzero(own)
    long = float(np.quantile(np.hypot(x - armpit[0], y - armpit[1]), 0.98))
    return bool(own.sum() < SLIM * half * long)


def _bust(edges: np.ndarray, side: int, first: int, half: float) -> np.ndarray:
    """Where one side of a garment without sleeves is about as wide as its bust (2,)."""
    low, high = int(0.3 * half), int(1.3 * half) + 2
    wide = (edges[1] - edges[0])[low:high]
    row = low + int((wide >= BUST * wide.max()).argmax())
    return np.array([edges[side][row], float(first + row)])


def _topmost(edges: np.ndarray, half: float) -> int:
    """The first row that is as wide as straps are apart: above it are a hanger, a collar or a band for the neck."""
    wide = (edges[1] - edges[0])[: int(TOP * half) + 1]
    return int((wide >= min(APART * 2 * half, float(wide.max()))).argmax())


def _square(edges: np.ndarray, half: float) -> float:
    """How wide a garment without sleeves is at its top, over the width of its bust."""
    wide = edges[1] - edges[0]
    return float(wide[: int(TOP * half) + 1].max() / wide[: int(1.3 * half) + 2].max())


def shoulder_of(cloth: np.ndarray, armpit: np.ndarray, inwards: float) -> np.ndarray:
    """The shoulder (2,): the upper edge of the cloth above an armpit."""
    column = int(np.clip(armpit[0] + inwards, 0, cloth.shape[1] - 1))
    return np.array([armpit[0], float(cloth[: int(armpit[1]), column].argmax())])


def _off_trunk(cloth: np.ndarray, edges: np.ndarray, armpits: np.ndarray, first: int, middle: float) -> np.ndarray:
    """Cloth (H, W) without what is the trunk's below the armpits."""
    left = cloth.copy()
    x = np.arange(cloth.shape[1]) + 0.5
    for row in range(first, first + edges.shape[1]):
        for side, sign in ((0, -1), (1, 1)):
            if row > armpits[side, 1] + 1:
                own = ((x - middle) * sign >= 0) & ((edges[side][row - first] - x) * sign >= 0)
                left[row, own] = False
    return left


def _beside(cloth: np.ndarray, shoulder: np.ndarray, armpit: np.ndarray, sign: int) -> np.ndarray:
    """The cloth (H, W) of a sleeve: what hangs together beside the line from a shoulder to its armpit."""
    x = np.arange(cloth.shape[1]) + 0.5
    outside = cloth & ((x - armpit[0]) * sign > 0)
    rows = slice(int(shoulder[1]), int(armpit[1]) + 1)
    column = int(np.clip(armpit[0] + 2 * sign, 0, cloth.shape[1] - 1))
    touching = lambda piece: int(piece[rows, column].sum())
    best = max(components(outside), key=touching, default=np.zeros_like(cloth))
    return best if touching(best) > 0.3 * (rows.stop - rows.start) else np.zeros_like(cloth)


def pieces_of(cloth: np.ndarray, found: list[np.ndarray], armpits: np.ndarray, lap: int) -> tuple[np.ndarray, ...]:
    """The cloth (H, W) of the trunk and that of each sleeve (`found`), which lap over at the armholes."""
    trunk, sleeves = cloth & ~np.logical_or.reduce([np.zeros_like(cloth), *found]), []
    front = trunk.copy()
    for own, armpit in zip(found, armpits):
        above = slice(0, max(0, int(armpit[1]) - lap // 2))
        lapped = own.copy()
        lapped[above] |= dilate(own, side=lap)[above] & trunk[above]
        front[above] |= dilate(trunk, side=lap)[above] & own[above]
        sleeves.append(lapped)
    return front, *sleeves


def side_of(edge: np.ndarray, armpit: np.ndarray, last: int, first: int) -> np.ndarray:
    """The edge (ROWS, 2) of a trunk from an armpit to the last row."""
    smooth = smoothed(edge[int(armpit[1]) - first :], rags=RAGS)
    smooth = smooth + (armpit[0] - smooth[0]) * np.maximum(0, 1 - np.arange(len(smooth)) / 6)
    rows = np.linspace(armpit[1], last, ROWS)
    return np.stack([np.interp(rows, int(armpit[1]) + np.arange(len(smooth)), smooth), rows], 1)


def edge_at(edge: np.ndarray, rows: np.ndarray, first: int) -> np.ndarray:
    """Points (k, 2) of an edge (n,), which begins at row `first`, at some rows (k,)."""
    return np.stack([np.interp(rows, first + np.arange(len(edge)), edge), rows], 1)


def smoothed(edge: np.ndarray, *, rags: int = 60) -> np.ndarray:
    """An edge (n,) without its rags; rags: part of its length over which it is smoothed, to either side."""
    wide = max(1, len(edge) // rags)
    padded = np.pad(edge, wide, mode="edge")
    return np.convolve(padded, np.full(2 * wide + 1, 1 / (2 * wide + 1)), mode="valid")


def bridged(edge: np.ndarray) -> np.ndarray:
    """An edge (n,) in which rows without cloth (nan), as between the pieces of a garment, are bridged."""
    known = np.flatnonzero(np.isfinite(edge))
    return np.interp(np.arange(len(edge)), known, edge[known])


def outermost(row: np.ndarray) -> tuple[float, float]:
    found = np.flatnonzero(row)
    return (float(found[0]), float(found[-1] + 1)) if found.size else (np.nan, np.nan)


def neck_of(cloth: np.ndarray, shoulders: np.ndarray) -> Ribbon:
    """What lies above the line between the shoulders (2, 2), down to it."""
    rows = np.flatnonzero(cloth[:, max(int(shoulders[0, 0]), 0) : int(shoulders[1, 0])].any(1))
    first = min(float(rows[0]), float(shoulders[:, 1].min()) - 1) - 1
    share = np.linspace(0, 1, ROWS // 2)[:, None]
    return Ribbon(*(np.array([[x, first]]) * (1 - share) + shoulders[side] * share
                    for side, x in enumerate(shoulders[:, 0])))  # fmt: skip


def _sleeve(cloth: np.ndarray, own: np.ndarray, shoulder: np.ndarray, armpit: np.ndarray, sign: int) -> Ribbon:
    """A sleeve from the armhole, around the shoulder, to the cuff; its outer edge is the left one.

    own: its cloth alone, bool (H, W).
    """
    y, x = np.nonzero(own)
    places, root = np.stack([x, y], 1) + 0.5, (shoulder + armpit) / 2
    far = np.hypot(*(places - root).T)
    end = places[far > np.quantile(far, 0.85)].mean(0)
    deep = float(np.hypot(*(armpit - shoulder)))
    axis = (end - root) / max(float(np.hypot(*(end - root))), 1e-6)
    across = np.array([-axis[1], axis[0]]) * -sign  # outwards and up
    reach = 2.0 * deep
    opposite = armpit + across * max(_length(cloth, armpit + across, across, reach), 0.3 * deep)
    outer = round_of(cloth, shoulder, armpit, opposite)
    along = (places - armpit) @ axis
    long = max(float(np.quantile(along, 0.998)), 0.1 * deep)
    left, right, high, low = [], [], (opposite - armpit) @ across, 0.0
    aside = (places - armpit) @ across
    for share in np.linspace(0, 1, ALONG + 1)[1:]:
        at = long * share
        near = np.abs(along - min(at, 0.985 * long)) < max(1.0, 0.012 * long)
        if near.any():
            high, low = float(aside[near].max()), float(aside[near].min())
        left.append(armpit + at * axis + high * across)
        right.append(armpit + at * axis + low * across)
    return Ribbon(np.array([*outer, *calm(left)]), np.array([armpit] * FAN + calm(right)))


def round_of(cloth: np.ndarray, shoulder: np.ndarray, armpit: np.ndarray, opposite: np.ndarray) -> list[np.ndarray]:
    """The outer edge of cloth (H, W) around a shoulder, `FAN` points (2,) as an armpit sees it."""
    turn = _turn(shoulder - armpit, opposite - armpit)
    rays = [_rotated(shoulder - armpit, turn * share) for share in np.linspace(0, 1, FAN)]
    rays = [ray / max(float(np.hypot(*ray)), 1e-6) for ray in rays]
    reach = 2.0 * float(np.hypot(*(armpit - shoulder)))
    outer = [armpit + ray * _length(cloth, armpit + ray, ray, reach) for ray in rays]
    outer[0], outer[-1] = shoulder, opposite
    return outer


def calm(points: list[np.ndarray]) -> list[np.ndarray]:
    """Points with less of the rags between them; the last ones stay."""
    line = np.array([points[0], *points, points[-1]])
    return list((line[:-2] + 2 * line[1:-1] + line[2:]) / 4)


def _length(cloth: np.ndarray, start: np.ndarray, way: np.ndarray, most: float) -> float:
    """How far the last cloth is from `start` (2,) in a direction (2,)."""
    steps = np.arange(0.0, most, 0.5)
    x = np.clip((start[0] + steps * way[0]).astype(int), 0, cloth.shape[1] - 1)
    y = np.clip((start[1] + steps * way[1]).astype(int), 0, cloth.shape[0] - 1)
    inside = np.flatnonzero(cloth[y, x])
    return float(steps[inside[-1]]) if inside.size else 0.0


def _turn(a: np.ndarray, b: np.ndarray) -> float:
    """Angle from a to b (2,), -pi to pi."""
    return float(np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b))


def _rotated(a: np.ndarray, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([c * a[0] - s * a[1], s * a[0] + c * a[1]])


def _gap(
    cloth: np.ndarray, middle: float, half: float, outer: np.ndarray, first: int, last: int
) -> tuple[int, np.ndarray]:
    """The row of the crotch, and the inner edges (2, n) of both legs from there to the last row."""
    low, high = max(0, int(middle - 0.5 * half)), int(middle + 0.5 * half) + 1
    rows = np.arange(first, last + 1)
    open_rows = np.atleast_1d((~cloth[first : last + 1, low:high]).any(1))
    closed = np.flatnonzero(~open_rows[: max(1, int(0.96 * len(rows)))])
    crotch = first + (int(closed[-1]) + 1 if closed.size else 0)
    usual = first + min(RISE * half, 0.75 * (last - first))
    if crotch > usual + 0.25 * half or crotch < usual - 0.9 * half:
        crotch = int(usual)
    crotch = min(crotch, last - 4)
    edges = []
    for row in range(crotch, last + 1):
        empty = np.flatnonzero(~cloth[row, low:high]) + low
        edges.append((float(empty[0]), float(empty[-1] + 1)) if empty.size else (middle, middle))
    found = np.stack([smoothed(edge) for edge in np.array(edges).T])
    return crotch, np.stack([np.maximum(found[0], outer[0][crotch - first :] + 2),
                             np.minimum(found[1], outer[1][crotch - first :] - 2)])  # fmt: skip
