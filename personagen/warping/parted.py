"""Read a garment's outline from its parts (`garment_parts`): its sleeves and legs lie as they lie, also across it.

`outline` reads the same from the silhouette alone, where limbs stand out from the trunk.
"""

from dataclasses import dataclass

import numpy as np

from ..images import components, dilate
from ..vocabulary import GarmentPart
from .outline import (
    ALONG,
    FAN,
    LAP,
    ROWS,
    Bottom,
    Top,
    bridged,
    calm,
    edge_at,
    edges_of,
    neck_of,
    outermost,
    pieces_of,
    round_of,
    shoulder_of,
    side_of,
    smoothed,
)
from .ribbon import Ribbon

BODY = (GarmentPart.TRUNK, GarmentPart.COLLAR, GarmentPart.WAISTBAND)
"""Parts that are the trunk's front."""
SLEEVES = (GarmentPart.LEFT_SLEEVE, GarmentPart.RIGHT_SLEEVE)
LEGS = (GarmentPart.LEFT_LEG, GarmentPart.RIGHT_LEG)
SHREDS = 0.2
"""Least share of a limb's largest piece of a piece that belongs to it, too."""
TOUCH = 0.02
"""How near to the trunk a sleeve's cloth touches it, as a share of the shoulders' distance."""
DEEP = (0.2, 0.52)
"""Least and most depth of an armhole, as the same share."""
ACROSS = 0.1
"""How far inside its side a trunk must seem to end for a sleeve to be taken to lie over it, as the same share."""
SLEEVE, PAIR = 0.15, 0.35
"""Least area of a sleeve, in squares of half the trunk's width, and least share of the larger limb that the smaller one
of a pair is: what is smaller is not found for sure."""
OVER, LIES = 0.2, 0.45
"""Least share of a sleeve inside the trunk's outline for it to lie over the trunk, and for it to lie across it."""
ROUND = 0.25
"""Least distance of a sleeve's outer edge from the armpit, outwards, for it to hang free, as a share of the armhole."""
LEG, ASKEW = 0.08, 0.5
"""Least share of the cloth of a leg, and how far aside a straight one may end, as a share of its length."""
COARSE = 110
"""Longest side in pixels at which ways within a limb are measured."""


@dataclass(frozen=True)
class Hidden:
    """A top, where its trunk is hidden by a sleeve that lies on it, bool (H, W), and whether one lies across it."""

    top: Top
    behind: np.ndarray
    across: bool


def tidy(parts: np.ndarray, cloth: np.ndarray) -> np.ndarray:
    """Parts (H, W) of cloth, bool (H, W), without shreds of limbs, which become the trunk's."""
    found = np.where(cloth, parts, GarmentPart.BACKGROUND).astype(np.uint8)
    found[cloth & (found == GarmentPart.BACKGROUND)] = GarmentPart.TRUNK
    for part in (*SLEEVES, *LEGS):
        pieces = components(found == part)
        for piece in pieces[1:]:
            if piece.sum() < SHREDS * pieces[0].sum():
                found[piece] = GarmentPart.TRUNK
    return found


def top_of_parts(cloth: np.ndarray, parts: np.ndarray) -> Hidden | None:
    """Find the points and edges of a top of which both sleeves are seen; None where they are not.

    cloth: bool (H, W); parts (H, W): `GarmentPart`, tidy.
    """
    found = [parts == part for part in SLEEVES]
    body = cloth & ~found[0] & ~found[1]
    rows, columns = np.nonzero(np.isin(parts, BODY))
    if not rows.size or not all(one.any() for one in found):
        return None
    half, middle = float(np.ptp(np.quantile(columns, (0.04, 0.96)))) / 2, float(np.median(columns))
    small, large = sorted(float(one.sum()) for one in found)
    if small < SLEEVE * half * half or small < PAIR * large:
        return None
    front = body & np.isin(parts, BODY)
    tops = [top for own in found if (top := _root(own, front, half)) is not None]
    if len(tops) < len(found):
        return None
    wide = tops[1][0] - tops[0][0]
    if wide < 0.8 * half:
        return None
    armpits = np.stack([_armpit(found[side], front, tops[side], wide, (-1, 1)[side]) for side in (0, 1)])
    inwards = (0.04 * half, -0.04 * half)
    shoulders = np.stack([shoulder_of(front | found[side], armpits[side], inwards[side]) for side in (0, 1)])
    edges, first, last = edges_of(body, middle, half)
    edges = _uncovered(edges, found, armpits, first, wide)
    last = max(last, int(armpits[:, 1].max()) + 4)
    trunk = Ribbon(*(side_of(edges[side], armpits[side], last, first) for side in (0, 1)))
    share = np.linspace(0, 1, ROWS // 2)[:, None]
    yoke = Ribbon(*(shoulders[side] + share * (armpits[side] - shoulders[side]) for side in (0, 1)))
    sleeves = tuple(_limb(found[side], shoulders[side], armpits[side], (-1, 1)[side]) for side in (0, 1))
    pieces = pieces_of(cloth, found, armpits, round(LAP * half))
    inside = _between(edges, first, cloth.shape) | _above(shoulders, armpits, cloth.shape)
    trunk_cloth, behind = pieces[0] | ((found[0] | found[1]) & inside), np.zeros_like(cloth)
    over = [float((own & inside).sum() / own.sum()) for own in found]
    for own, share in zip(found, over):
        behind |= own & inside & (share > OVER)
    neck = neck_of(cloth, shoulders)
    return Hidden(
        Top(shoulders, armpits, neck, yoke, trunk, sleeves, (trunk_cloth, *pieces[1:]), 1.0), behind, max(over) > LIES
    )


def bottom_of_parts(cloth: np.ndarray, parts: np.ndarray) -> Bottom | None:
    """Find the edges of trousers or shorts of which both legs are seen; None where they are not.

    cloth: bool (H, W); parts (H, W): `GarmentPart`, tidy.
    """
    legs = [parts == part for part in LEGS]
    small, large = sorted(float(leg.sum()) for leg in legs)
    if small < LEG * cloth.sum() or small < PAIR * large:
        return None
    seat = cloth & ~legs[0] & ~legs[1]
    rows = np.flatnonzero(seat.any(1))
    if rows.size < 8:
        return None
    tops = [np.quantile(np.nonzero(leg)[0], 0.01) for leg in legs]
    first, crotch = int(rows[0]), int(np.mean(tops))
    if not 0.1 < (crotch - first) / max(np.ptp(np.nonzero(cloth)[0]), 1) < 0.8:
        return None
    outer = np.stack([outermost(seat[row] if row < crotch - 2 else cloth[row]) for row in range(first, crotch + 1)], 1)
    outer = np.stack([smoothed(bridged(edge)) for edge in outer])
    upper = Ribbon(*(edge_at(edge, np.linspace(first, crotch, ROWS), first) for edge in outer))
    middle = (outer[0][-1] + outer[1][-1]) / 2
    found = []
    for own, edge in zip(legs, outer):
        root = np.array([(edge[-1] + middle) / 2, float(crotch)])
        straight = _straight_leg(own, crotch, root)
        if straight is not None:
            found.append(straight if not found else Ribbon(straight.right, straight.left))
        else:
            found.append(_bent_leg(own, root, 1 if not found else -1))
    return Bottom(upper, (found[0], found[1]))


def _straight_leg(own: np.ndarray, crotch: int, root: np.ndarray) -> Ribbon | None:
    """A leg (H, W) from the crotch's row down, its outer edge first, as its rows show it; None where it lies askew."""
    y, x = np.nonzero(own)
    last = int(np.quantile(y, 0.995))
    low = y > np.quantile(y, 0.9)
    if last - crotch < 8 or abs(x[low].mean() - root[0]) > ASKEW * (last - crotch):
        return None
    edges = np.stack([outermost(own[row]) for row in range(crotch, last + 1)], 1)
    if np.isfinite(edges[0]).mean() < 0.9:
        return None
    edges = np.stack([smoothed(bridged(edge)) for edge in edges])
    return Ribbon(*(edge_at(edge, np.linspace(crotch, last, ROWS), crotch) for edge in edges))


def _bent_leg(own: np.ndarray, root: np.ndarray, sign: int) -> Ribbon:
    """A leg (H, W) along its own bends; sign: 1 on the picture's left."""
    line, high, low = along(own, root, ROWS)
    way = np.gradient(line, axis=0)
    way /= np.maximum(np.hypot(*way.T), 1e-6)[:, None]
    aside = np.stack([way[:, 1], -way[:, 0]], 1)
    right, left = line + high[:, None] * aside, line + low[:, None] * aside
    return Ribbon(left, right) if sign > 0 else Ribbon(right, left)


def _root(own: np.ndarray, body: np.ndarray, half: float) -> np.ndarray | None:
    """Where a sleeve (H, W) begins above (2,): the topmost place at which it touches the trunk; None where nowhere."""
    near = max(2, round(TOUCH * 2 * half))
    y, x = np.nonzero(own & dilate(body, up=near, down=near, side=near))
    if not y.size:
        return None
    high = y <= np.quantile(y, 0.06)
    return np.array([float(x[high].mean()) + 0.5, float(y[high].min())])


def _armpit(own: np.ndarray, body: np.ndarray, top: np.ndarray, wide: float, sign: int) -> np.ndarray:
    """The armpit (2,): the lower end of what joins sleeve and trunk, no deeper than armholes are."""
    near = max(2, round(TOUCH * wide))
    y, x = np.nonzero(own & dilate(body, up=near, down=near, side=near))
    low, high = top[1] + DEEP[0] * wide, top[1] + DEEP[1] * wide
    reach = np.abs(x - top[0]) < 0.35 * wide
    y, x = y[reach & (y <= high)], x[reach & (y <= high)]
    if not y.size:
        return top + np.array([0.0, 0.42 * wide])
    bottom = max(float(y.max()), low)
    column = float(np.median(x[y >= y.max() - near]))
    return np.array([sign * max(sign * column, sign * top[0] - 0.1 * wide), bottom])


def _uncovered(
    edges: np.ndarray, sleeves: list[np.ndarray], armpits: np.ndarray, first: int, wide: float
) -> np.ndarray:
    """Edges (2, n) of a trunk as they go on below sleeves that lie over it."""
    rows = np.arange(edges.shape[1]) + first
    found = edges.copy()
    any_sleeve = sleeves[0] | sleeves[1]
    hidden = np.zeros(edges.shape, bool)
    for side, sign in ((0, -1), (1, 1)):
        beside = np.clip(edges[side] + sign * 3 - (side == 0), 0, any_sleeve.shape[1] - 1).astype(int)
        inside = sign * (armpits[side, 0] - edges[side]) > ACROSS * wide
        hidden[side] = any_sleeve[np.clip(rows, 0, len(any_sleeve) - 1), beside] & inside & (rows > armpits[side, 1])
    middle = armpits[:, 0].mean()
    for side in (0, 1):
        known = np.where(hidden[side], np.nan, edges[side])
        known[rows <= armpits[side, 1]] = armpits[side, 0]
        sure = np.flatnonzero(np.isfinite(known))
        after = np.arange(len(rows)) > sure[-1]
        known[after & ~hidden[1 - side]] = (2 * middle - edges[1 - side])[after & ~hidden[1 - side]]
        place = np.flatnonzero(np.isfinite(known))
        found[side] = np.where(hidden[side], np.interp(np.arange(len(rows)), place, known[place]), edges[side])
    return found


def _between(edges: np.ndarray, first: int, shape: tuple[int, ...]) -> np.ndarray:
    """Mark what lies between edges (2, n) that begin at row `first`, bool (H, W)."""
    x = np.arange(shape[1]) + 0.5
    found = np.zeros(shape, bool)
    rows = slice(first, min(first + edges.shape[1], shape[0]))
    count = rows.stop - rows.start
    found[rows] = (x >= edges[0, :count, None]) & (x <= edges[1, :count, None])
    return found


def _above(shoulders: np.ndarray, armpits: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Mark what lies between both armholes, bool (H, W)."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    return (x >= armpits[0, 0]) & (x <= armpits[1, 0]) & (y >= shoulders[:, 1].min()) & (y <= armpits[:, 1].max())


def _limb(own: np.ndarray, shoulder: np.ndarray, armpit: np.ndarray, sign: int) -> Ribbon:
    """A sleeve from the armhole, around the shoulder and along its own bends to the cuff; its outer edge is left.

    own: its cloth alone, bool (H, W).
    """
    root = (shoulder + armpit) / 2
    line, high, low = along(own, root, ALONG + 2)
    way = np.gradient(line, axis=0)
    way /= np.maximum(np.hypot(*way.T), 1e-6)[:, None]
    across = np.stack([-way[:, 1], way[:, 0]], 1) * -sign
    if sign > 0:
        out, inner = high, low
    else:
        out, inner = -low, -high
    left, right = line + out[:, None] * across, line + inner[:, None] * across
    # `along` measures to the right of the way; outwards is to its other side on the picture's left
    start = 2
    opposite = left[start]
    outer = round_of(own, shoulder, armpit, opposite)
    if sign * (opposite[0] - armpit[0]) < ROUND * np.hypot(*(shoulder - armpit)):  # it lies across, its round is hidden
        outer = list(shoulder + np.linspace(0, 1, FAN)[:, None] * (opposite - shoulder))
    return Ribbon(np.array([*outer, *calm(list(left[start:][-ALONG:]))]),
                  np.array([armpit] * len(outer) + calm(list(right[start:][-ALONG:]))))  # fmt: skip


def along(own: np.ndarray, root: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The line (count, 2) of a limb, bool (H, W), from its root (2,) along its own bends, and how far its cloth goes to
    the left and to the right of it there, (count,) each, the latter negative."""
    x, y, way = ways(own, root)
    end = float(np.quantile(way, 0.985))
    bins = np.clip((way / max(end, 1e-6) * count).astype(int), 0, count - 1)
    number = np.maximum(np.bincount(bins, minlength=count), 1)
    line = np.stack([np.bincount(bins, plane, count) / number for plane in (x, y)], 1)
    empty = np.bincount(bins, minlength=count) == 0
    for axis in (0, 1):
        line[empty, axis] = np.interp(np.flatnonzero(empty), np.flatnonzero(~empty), line[~empty, axis])
    for _ in range(3):
        line[1:-1] = (line[:-2] + 2 * line[1:-1] + line[2:]) / 4
    direction = np.gradient(line, axis=0)
    direction /= np.maximum(np.hypot(*direction.T), 1e-6)[:, None]
    aside = (x - line[bins, 0]) * direction[bins, 1] - (y - line[bins, 1]) * direction[bins, 0]
    high, low = np.zeros(count), np.zeros(count)
    for at in range(count):
        here = aside[bins == at]
        if here.size:
            high[at], low[at] = np.quantile(here, 0.96), np.quantile(here, 0.04)
    line[-1] += direction[-1] * 0.5 * end / count
    return line, high, low


def ways(own: np.ndarray, root: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns, rows and lengths (n,) of the ways from a root (2,) to places of a limb, bool (H, W), within it."""
    rows, columns = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    step = max(1, -(-max(rows[-1] - rows[0], columns[-1] - columns[0]) // COARSE))
    small = own[box][step // 2 :: step, step // 2 :: step]
    y, x = np.nonzero(small)
    px, py = columns[0] + x * step + step // 2 + 0.5, rows[0] + y * step + step // 2 + 0.5
    near = np.argmin((px - root[0]) ** 2 + (py - root[1]) ** 2)
    way = np.full(small.shape, np.inf)
    seeds = np.hypot(px - px[near], py - py[near]) < 2.5 * step
    way[y[seeds], x[seeds]] = np.hypot(px[seeds] - root[0], py[seeds] - root[1])
    for _ in range(4 * COARSE):
        padded = np.pad(way, 1, constant_values=np.inf)
        best = way
        for dy, dx, cost in ((0, 1, 1), (0, -1, 1), (1, 0, 1), (-1, 0, 1), (1, 1, 1.414), (1, -1, 1.414),
                             (-1, 1, 1.414), (-1, -1, 1.414)):  # fmt: skip
            rolled = padded[1 + dy : padded.shape[0] - 1 + dy, 1 + dx : padded.shape[1] - 1 + dx]
            best = np.minimum(best, rolled + cost * step)
        best = np.where(small, best, np.inf)
        if np.array_equal(best, way):
            break
        way = best
    length = way[y, x]
    there = np.isfinite(length)
    return px[there], py[there], length[there]
