"""Let a garment cover the one it replaces: its edges go out to the old one's, where these are near, and its hem down.

What a new garment does not cover of the old one has to be invented, and is seen. Cloth is wide, and how wide a garment
lies on a body its picture does not tell; so edges that are near the old ones are moved to them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..person.joints import Joint, Trunk, trunk_of
from ..person.parts import Part, region_of
from .outline import FAN, ROWS
from .ribbon import Ribbon
from .strips import Strip
from .targets import ARM, WAIST, Moved

MOST = {"trunk": 0.12, "sleeve": 0.2, "leg": 0.15, "skirt": 0.2}
"""How far an edge may go out, as a share of the width of the trunk, sleeve, leg or skirt there."""
LOWER = 0.16
"""How far a hem may go down, as a share of the garment's length from armpit or waist."""
RIM = 0.008
"""Of the photo's height: how far an edge that is moved goes beyond the old one's."""
FALLS = 0.02
"""How much less far the edge of a skirt is moved from one cross-section to the next, at most, as a share of it."""
MEDIAN, SOFT = 2, 0.12
"""Cross-sections beside one whose median it takes, and share of an edge over which what it goes out is averaged."""
GAP = 0.006
"""Of the photo's height: how wide a gap between a new edge and old cloth is bridged."""
WAISTS = (0.1, 0.75)
"""Least and most height of a waist over the hips, as a share of that from hips to shoulders."""
HEM = 0.42
"""Beside the middle of the hips: columns in which a top's hem is looked for, as a share of the shoulders' distance."""
TRUNK, LEG = 0.52, (0.3, 0.22, 0.16)
"""Half the width of a trunk, and of a leg at hip, knee and ankle, as shares of the distance between the shoulders: old
cloth belongs to the nearest limb by them."""


BESIDE = 1.2
"""Half widths of a trunk from its middle beyond which old cloth above the hips is a sleeve that hangs beside it."""


@dataclass(frozen=True)
class Old:
    """What a garment replaces, bool (H, W) each: all of it, and what of it is on the trunk and on each limb."""

    whole: np.ndarray
    trunk: np.ndarray
    arms: tuple[np.ndarray, ...]
    legs: tuple[np.ndarray, ...]


def old_of(old: np.ndarray, joints: np.ndarray) -> Old:
    """Tell old cloth (H, W) on trunk, arms and legs apart by joints (13, 2); of arms and legs the picture's left is
    first."""
    body = trunk_of(joints)
    step = max(1, round(max(old.shape) / 320))
    y, x = np.mgrid[: -(-old.shape[0] // step), : -(-old.shape[1] // step)] * step + step / 2
    limb = lambda side, *names: np.stack([joints[Joint[f"{side}_{name}"]] for name in names])
    feet = (joints[Joint.LEFT_ANKLE] + joints[Joint.RIGHT_ANKLE]) / 2
    trunk = Strip(np.stack([body.shoulders, body.hips, feet]), np.full(3, TRUNK * body.across))
    arms = [Strip(limb(side, "SHOULDER", "ELBOW", "WRIST"), np.array(ARM) * body.across) for side in ("RIGHT", "LEFT")]
    legs = [Strip(limb(side, "HIP", "KNEE", "ANKLE"), np.array(LEG) * body.across) for side in ("RIGHT", "LEFT")]
    away = lambda strip: np.abs(strip.coordinates(x, y)[1])
    far = np.stack([away(trunk), *map(away, arms)])
    nearest, leg = far.argmin(0), np.stack([away(one) for one in legs]).argmin(0)
    below = (x - body.hips[0]) * body.down[0] + (y - body.hips[1]) * body.down[1] > 0
    on_trunk = (nearest == 0) & (below | (far[0] < BESIDE))
    large = lambda plane: np.repeat(np.repeat(plane, step, 0), step, 1)[: old.shape[0], : old.shape[1]] & old
    return Old(old, large(on_trunk), (large(nearest == 1), large(nearest == 2)), (large(leg == 0), large(leg == 1)))


def covering(moved: Sequence[Moved], kind: str, joints: np.ndarray, old: Old) -> list[Moved]:
    """Return ribbons (`targets`) whose edges cover what is near them of the old garment; joints (13, 2)."""
    down = trunk_of(joints).down
    if region_of(kind) == "lower" and len(moved) == 1:
        seat = _lowered(moved[0][1], old.whole, down, first=0)
        return [(moved[0][0], _widened(seat, old.whole, first=0, most=MOST["skirt"], falls=True))]
    if region_of(kind) == "lower":
        long = [(own, to if kind == "shorts" else _lowered(to, cloth, down, first=0)) for (own, to), cloth
                in zip(moved, old.legs)]  # fmt: skip
        legs = [(own, _widened(to, cloth, first=0, most=MOST["leg"])) for (own, to), cloth in zip(long, old.legs)]
        source, seat = moved[-1]
        seat = _widened(seat, old.whole, first=0, most=MOST["trunk"])
        return [*[(own, _hung(to, seat, side)) for side, (own, to) in enumerate(legs)], (source, seat)]
    (source, front), *sleeves = moved
    first = len(front.left) - ROWS
    front = _lowered(front, old.trunk, down, first=first)
    dress = region_of(kind) == "dress"
    front = _widened(front, old.trunk, first=first, most=MOST["skirt" if dress else "trunk"], falls=dress)
    limbs = [(own, _widened(to, cloth, first=FAN, most=MOST["sleeve"])) for (own, to), cloth in zip(sleeves, old.arms)]
    return [(source, front), *limbs]


def _hung(leg: Ribbon, seat: Ribbon, side: int) -> Ribbon:
    """A leg whose outer edge begins where that of the seat ends."""
    end = (seat.left, seat.right)[side][-1]
    fade = np.maximum(0, 1 - np.linspace(0, 1, len(leg.left)) / 0.5)[:, None] ** 2
    return Ribbon(leg.left + fade * (end - leg.left[0]), leg.right)


def _widened(ribbon: Ribbon, cloth: np.ndarray, *, first: int, most: float, falls: bool = False) -> Ribbon:
    """A ribbon whose edges, from cross-section `first` on, go out over cloth (H, W) that touches them.

    falls: like a skirt, which does not become narrower again below.
    """
    wide = ribbon.right - ribbon.left
    length = np.maximum(np.hypot(*wide.T), 1e-6)
    way = wide / length[:, None]
    edges = []
    for edge, sign in ((ribbon.left, -1), (ribbon.right, 1)):
        out = np.array([_reach(edge[i], sign * way[i], cloth, most * length[i]) for i in range(len(edge))])
        out[:first] = 0
        for i in range(1, len(out) if falls else 0):
            out[i] = max(out[i], (1 - FALLS) * out[i - 1])
        share = np.minimum(1, np.maximum(0, np.arange(len(edge)) - first) / 4)
        edges.append(edge + sign * (_calm(out) * share)[:, None] * way)
    return Ribbon(edges[0], edges[1])


def _reach(start: np.ndarray, way: np.ndarray, cloth: np.ndarray, most: float) -> float:
    """How far cloth (H, W) goes on from a place (2,) in a direction (2,), at most `most`; 0 where there is none."""
    steps = np.arange(0.0, most, 1.0)
    x, y = (start[0] + steps * way[0]).astype(int), (start[1] + steps * way[1]).astype(int)
    inside = (x >= 0) & (y >= 0) & (x < cloth.shape[1]) & (y < cloth.shape[0])
    there = inside & cloth[y.clip(0, cloth.shape[0] - 1), x.clip(0, cloth.shape[1] - 1)]
    found = np.flatnonzero(there)
    if not found.size:
        return 0.0
    gap = max(2.0, GAP * cloth.shape[0])
    breaks = np.flatnonzero(np.diff(np.concatenate([[0], found])) > gap)
    last = found[breaks[0] - 1] if breaks.size and breaks[0] else found[-1] if not breaks.size else -1
    return 0.0 if last < 0 else float(last) + RIM * cloth.shape[0]


def _calm(out: np.ndarray) -> np.ndarray:
    """How far edges go out, (n,), without jumps: the median nearby, then the mean over a tenth of the edge."""
    near = np.lib.stride_tricks.sliding_window_view(np.pad(out, MEDIAN, mode="edge"), 2 * MEDIAN + 1)
    wide = max(1, round(SOFT * len(out)))
    weights = np.hanning(2 * wide + 3)[1:-1]
    padded = np.pad(np.median(near, -1), wide, mode="edge")
    return np.convolve(padded, weights / weights.sum(), mode="valid")


def _lowered(ribbon: Ribbon, cloth: np.ndarray, down: np.ndarray, *, first: int) -> Ribbon:
    """A ribbon whose last cross-section lies below the hem of cloth (H, W), where that is near."""
    left, right = ribbon.left[first:], ribbon.right[first:]
    line = (left + right) / 2
    long = max(float((line[-1] - line[0]) @ down), 1.0)
    y, x = np.nonzero(cloth)
    if not y.size:
        return ribbon
    aside = np.array([down[1], -down[0]])
    places = np.stack([x, y], 1) + 0.5 - line[-1]
    near = np.abs(places @ aside) < 0.4 * np.hypot(*(right[-1] - left[-1]))
    if not near.any():
        return ribbon
    beyond = float(np.quantile(places[near] @ down, 0.98)) + RIM * cloth.shape[0]
    if not 0 < beyond <= LOWER * long + RIM * cloth.shape[0]:
        return ribbon
    longer = lambda edge: edge + (beyond / long) * ((edge - edge[0]) @ down)[:, None] * down
    return Ribbon(np.vstack([ribbon.left[:first], longer(left)]), np.vstack([ribbon.right[:first], longer(right)]))


def waist_of(parts: np.ndarray, joints: np.ndarray, old: np.ndarray) -> float | None:
    """How far above the hips the waist of a new garment shall lie, in heights from hips to shoulders; None: as usual.

    parts (H, W); old (H, W): what the new one replaces. Where the old one begins below skin it begins there, too; where
    a top hangs over it, there or higher, and always under the hem of that top, or where the upper part of a dress that
    stays ends: no background is to show between them.
    """
    body = trunk_of(joints)
    reach = 0.25 * body.across
    columns = slice(max(0, int(body.hips[0] - reach)), max(1, int(body.hips[0] + reach) + 1))
    band = parts[:, columns]
    rows = np.flatnonzero((band == Part.LOWER).mean(1) >= 0.5)
    rim = max(2, round(2 * RIM * parts.shape[0]))
    hem = _hem_over(parts, body, old)
    least = None if hem is None else float((body.hips[1] - hem + 2 * RIM * parts.shape[0]) / body.tall)
    waist = None
    if rows.size and rows[0] >= rim:
        above = band[rows[0] - rim : rows[0]]
        found = float((body.hips[1] - rows[0] + RIM * parts.shape[0]) / body.tall)
        if WAISTS[0] <= found <= WAISTS[1]:
            waist = found if (above == Part.SKIN).mean() > 0.5 else max(found, WAIST)
    if least is not None and WAISTS[0] <= least <= WAISTS[1] and least > (WAIST if waist is None else waist):
        return least
    return waist


def _hem_over(parts: np.ndarray, body: Trunk, old: np.ndarray) -> float | None:
    """The row at which the tops in parts (H, W) end over a trunk, where they end highest; None where none is worn.

    old (H, W): what of them, as the skirt of a dress, comes off.
    """
    reach = HEM * body.across
    columns = slice(max(0, int(body.hips[0] - reach)), max(1, int(body.hips[0] + reach) + 1))
    top = np.isin(parts[:, columns], (Part.UPPER, Part.OUTER, Part.DRESS)) & ~old[:, columns]
    low, high = int(body.shoulders[1] + 0.3 * body.tall), int(body.hips[1] + 0.4 * body.tall)
    top[:low] = False
    top[max(high, 0) :] = False
    worn = top.any(0)
    if worn.mean() < 0.6:
        return None
    last = len(top) - np.flip(top, 0).argmax(0)[worn]
    return float(np.quantile(last, 0.1))
