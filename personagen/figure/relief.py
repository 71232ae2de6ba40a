"""How deep each part of a person is: its outline inflated, between the front and the back of the posed body.

Inflation solves Laplace(u) = -2 inside a mask with u = 0 on its edge: a strip of half width w gives u = w^2 - d^2, so
that a depth of sqrt(u) is round.
"""

from dataclasses import dataclass

import numpy as np

from ..images import dilate
from ..person.joints import Joint
from .body import BodyMesh
from .maps import CELL, Maps
from .raster import rasterise

BONES = {
    "head": ("Neck", "Head"),
    "trunk": ("Hips", "Spine", "Spine1", "Spine2", "LeftShoulder", "RightShoulder", "LeftUpLeg", "RightUpLeg"),
    "left leg": ("LeftUpLeg", "LeftLeg", "LeftFoot", "LeftToeBase"),
    "right leg": ("RightUpLeg", "RightLeg", "RightFoot", "RightToeBase"),
}
"""Bones whose skin tells the depth of each group of `maps`."""
LOOSE = {"head": 0.0, "trunk": 0.6, "left leg": 0.6, "right leg": 0.6}
"""How much of what cloth is wider than the body it is also deeper."""
ROUND = {"head": (0.4, 1.6), "trunk": (0.3, 1.0), "left leg": (0.5, 1.25), "right leg": (0.5, 1.25)}
"""Least and greatest depth, as a share of a round cross-section's."""
FULL_HAIR = 0.8
"""How much of what hair is wider than the head it is also farther back."""
SKIRT_ROUND, SKIRT_OVER = 0.85, 0.12
"""Depth of a skirt as a share of a round one's, and over how many metres below the hips it becomes that."""
FACE, HAIR = -0.026, 0.022
"""How much farther forward and back than the body's a head's relief goes, metres: the body's own face shows."""
BROW = 0.03
"""How far above the nose the brow is, as a share of the height."""
EVEN = 0.03
"""Metres over which depths are averaged along the rows."""
OPEN = 0.05
"""How far a part goes on beyond where another begins, metres, so that it does not close there like a balloon."""
SLIM, THIGH = 0.65, 0.16
"""Least share of the body's depth that a slim leg has, and metres below the hips from which its outline tells."""
HEM = 0.03
"""Metres over which a hem may hang lower in the middle than at the sides."""
ARMPIT = 0.012
"""How far the trunk goes on behind an arm beside it, metres."""
REACH = 10
"""Cells around a mask in which distances to it are known."""


@dataclass(frozen=True)
class Relief:
    """A group's depth on the grid (h, w): `height` u in square metres, negative outside its mask; `wide`: the greatest
    half width near; middle, front and back (h, w): where it is and how round before and behind that; slim (h,): how
    wide it is as a share of the body, at most 1."""

    height: np.ndarray
    wide: np.ndarray
    middle: np.ndarray
    front: np.ndarray
    back: np.ndarray
    slim: np.ndarray | None = None


def inflate(mask: np.ndarray, *, rounds: int = 400, tolerance: float = 2e-3) -> np.ndarray:
    """Solve Laplace(u) = -2 in a mask (h, w) by conjugate gradients, square metres; 0 outside."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    out = np.zeros(mask.shape, np.float32)
    if not rows.size:
        return out
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    inside = np.pad(mask[box], 1)
    apply = lambda u: np.where(inside, 4 * u - _around(u), 0)
    u = np.zeros(inside.shape)
    r = np.where(inside, 2.0 * CELL**2, 0.0)
    p, rr = r.copy(), float((r * r).sum())
    stop = rr * tolerance**2
    for _ in range(rounds):
        step = apply(p)
        alpha = rr / float((p * step).sum())
        u += alpha * p
        r -= alpha * step
        new = float((r * r).sum())
        if new < stop:
            break
        p = r + (new / rr) * p
        rr = new
    out[box] = u[1:-1, 1:-1]
    return out


def _around(u: np.ndarray) -> np.ndarray:
    """Sums of the four neighbours (h, w); 0 beyond the edges."""
    out = np.zeros_like(u)
    out[1:] += u[:-1]
    out[:-1] += u[1:]
    out[:, 1:] += u[:, :-1]
    out[:, :-1] += u[:, 1:]
    return out


def distance_outside(mask: np.ndarray, *, reach: int = REACH) -> np.ndarray:
    """Distances of cells to a mask (h, w) in metres; 0 inside, (reach + 1) cells where it is farther."""
    padded = np.pad(mask, reach)
    best = np.full(mask.shape, float((reach + 1) ** 2), np.float32)
    height, width = mask.shape
    for i in range(-reach, reach + 1):
        for j in range(-reach, reach + 1):
            square = i * i + j * j
            if square <= reach * reach:
                there = padded[reach + i : reach + i + height, reach + j : reach + j + width]
                np.minimum(best, np.float32(square), out=best, where=there)
    return (np.sqrt(best) * CELL).astype(np.float32)


def beyond(height: np.ndarray, wide: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Let u (h, w) go on outside its mask as a distance does: sqrt(W^2 - u) = W + distance."""
    far = distance_outside(mask)
    return np.where(mask, height, -(2 * wide * far + far**2)).astype(np.float32)


def half_widths(height: np.ndarray) -> np.ndarray:
    """The square root of the greatest u near each cell (h, w), smooth, and not 0 anywhere."""
    most = np.sqrt(height.max(1).clip(0))
    most = smooth_rows(_grown(most, round(0.02 / CELL)), 0.03)
    return np.repeat(most.clip(0.012)[:, None], height.shape[1], 1).astype(np.float32)


def half_widths_near(height: np.ndarray) -> np.ndarray:
    """The square root of the greatest u within 4 cm of each cell (h, w), for parts that run in any direction."""
    most, reach = np.sqrt(height.clip(0)), round(0.04 / CELL)
    for axis in (0, 1):
        most = np.apply_along_axis(_grown, axis, most, reach)
    for axis in (0, 1):
        most = np.apply_along_axis(smooth_rows, axis, most, 0.015)
    return most.clip(0.012).astype(np.float32)


def _grown(values: np.ndarray, reach: int) -> np.ndarray:
    """The greatest value within some rows (h,)."""
    padded = np.pad(values, reach, mode="edge")
    return np.max([padded[i : i + len(values)] for i in range(2 * reach + 1)], 0)


def smooth_rows(values: np.ndarray, metres: float) -> np.ndarray:
    """Average values (h,) over neighbouring rows, a Gaussian of this deviation."""
    reach = max(1, round(2.5 * metres / CELL))
    weight = np.exp(-0.5 * (np.arange(-reach, reach + 1) * CELL / metres) ** 2)
    return np.convolve(np.pad(values, reach, mode="edge"), weight / weight.sum(), mode="valid")


def body_depths(body: BodyMesh, maps: Maps, bones: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Front and back of the skin of some bones at the cells (h, w), metres; nan where there is none."""
    numbers = [body.bone(name) for name in bones]
    faces = body.faces[np.isin(body.main[body.faces], numbers).any(1)]
    column = (body.vertices[:, 0] - maps.left) / CELL
    row = (maps.top - body.vertices[:, 1]) / CELL
    found = []
    for sign in (1.0, -1.0):
        seen = rasterise(np.stack([column, row, sign * body.vertices[:, 2]], 1), faces, maps.person.shape, both=True)
        found.append(np.where(seen.face >= 0, sign * seen.near, np.nan).astype(np.float32))
    return found[0], found[1]


def core_relief(maps: Maps, body: BodyMesh, group: str) -> Relief:
    """The relief of head, trunk or a leg: its outline, as deep as the body's rows say."""
    mask = _with_sides(maps) if group == "trunk" else maps.groups[group]
    height = inflate(_opened(maps, group, mask))
    if group == "trunk" and maps.skirt:
        height = _hung(height, mask, maps)
    front, back = body_depths(body, maps, BONES[group])
    slope = _slope(front, back, maps.x) if group == "trunk" else 0.0
    tilt = slope * (maps.x - float(maps.x[mask.any(0)].mean()))[None] if mask.any() else np.zeros((1, mask.shape[1]))
    front, back, half = _rows(front - tilt, back - tilt, mask)
    if group == "head":
        front, back = front + FACE, back - HAIR
    wide = half_widths(np.where(mask, height, 0))
    most = wide[:, 0]
    middle = (front + back) / 2
    loose = LOOSE[group] * (most - half).clip(0)
    low, high = ROUND[group]
    slim = _slim(maps, most / half) if "leg" in group else np.ones_like(most)
    front, back = middle + slim * (front - middle), middle + slim * (back - middle)
    hair = FULL_HAIR * (most - half).clip(0) if group == "head" else 0.0
    ahead = ((front - middle + loose) / most).clip(low, high)
    behind = ((middle - back + loose + hair) / most).clip(low, high)
    if group == "head":
        brow = int(maps.at(maps.joints[[Joint.NOSE]] + [0, BROW * maps.height, 0])[0][0])
        middle[:brow] = middle[brow]  # a crown is as round as the head at the brow
        for side in (ahead, behind):
            side[:brow] = np.maximum(side[:brow], side[brow])
    if group == "trunk" and maps.skirt:
        share, hips = _below_hips(maps), maps.level("HIP")
        level = float(np.interp(-hips, -maps.y, middle))  # a skirt hangs from the hips, whatever the thighs do
        middle = middle + share * (level - middle)
        ahead, behind = (side + share * (np.maximum(side, SKIRT_ROUND) - side) for side in (ahead, behind))
    spread = lambda values: np.repeat(values.astype(np.float32)[:, None], mask.shape[1], 1)
    even = lambda values: spread(smooth_rows(values, EVEN))
    return Relief(
        beyond(height, wide, mask), wide, even(middle) + tilt.astype(np.float32), even(ahead), even(behind), slim
    )


def _slope(front: np.ndarray, back: np.ndarray, x: np.ndarray) -> float:
    """How much the middle of a body between front and back (h, w) comes nearer towards the right, metres a metre."""
    there = np.isfinite(front) & np.isfinite(back)
    if not there.any():
        return 0.0
    count = there.sum(1, keepdims=True).clip(1)
    centred = lambda plane: np.where(there, plane - np.where(there, plane, 0).sum(1, keepdims=True) / count, 0)
    across, middle = centred(np.broadcast_to(x, front.shape)), centred((front + back) / 2)
    return float((across * middle).sum() / max(float((across**2).sum()), 1e-9))


def _with_sides(maps: Maps) -> np.ndarray:
    """The trunk with a strip of the arms beside it, behind which it closes."""
    reach, trunk = round(ARMPIT / CELL), maps.groups["trunk"]
    return trunk | (dilate(trunk, side=reach) & (maps.groups["left arm"] | maps.groups["right arm"]))


def _opened(maps: Maps, group: str, mask: np.ndarray) -> np.ndarray:
    """A group's mask that goes on where the next part of the body begins."""
    reach = round(OPEN / CELL)
    others = np.logical_or.reduce([maps.groups[name] for name in BONES if name != group])
    return mask | (dilate(mask, up=reach, down=reach, side=reach) & others)


def _slim(maps: Maps, share: np.ndarray) -> np.ndarray:
    """How slim a leg is (h,), where its outline is this share (h,) of the body's: at most 1, and 1 of the foot."""
    ankles = maps.level("ANKLE")
    leg = (maps.y < maps.level("HIP") - THIGH) & (maps.y > ankles)
    if not leg.any():
        return np.ones_like(share)
    rows = np.flatnonzero(leg)
    known = np.interp(np.arange(len(share)), rows, share[rows].clip(SLIM, 1))
    foot = ((ankles - maps.y) / THIGH).clip(0, 1)
    return smooth_rows(known + foot * (1 - known), EVEN)


def _below_hips(maps: Maps) -> np.ndarray:
    """How much of a skirt rows are (h,): 0 at the hips, 1 below."""
    return ((maps.level("HIP") - maps.y) / SKIRT_OVER).clip(0, 1)


def _hung(height: np.ndarray, mask: np.ndarray, maps: Maps) -> np.ndarray:
    """Heights u (h, w) of a skirt, each row of which is as round as a long tube's, so that it does not close below."""
    some, columns = mask.any(1), np.arange(mask.shape[1])
    left = np.where(some, mask.argmax(1), mask.shape[1])
    right = np.where(some, mask.shape[1] - mask[:, ::-1].argmax(1), 0)
    reach = round(HEM / CELL)
    left, right = -_grown(-left, reach), _grown(right, reach)
    tube = ((columns + 0.5 - left[:, None]) * (right[:, None] - columns - 0.5)).clip(0) * CELL**2
    share = _below_hips(maps)[:, None]
    return np.where(mask, height + share * (tube - height), height).astype(np.float32)


def _rows(front: np.ndarray, back: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Front, back and half width (h,) of a body's rows, going on where it has none."""
    there = np.isfinite(front)
    some = np.flatnonzero(there.any(1))
    if not some.size:
        rows = np.zeros(len(mask))
        return rows + 0.08, rows - 0.08, rows + 0.1
    every = np.arange(len(mask))
    most = np.nanmax(np.where(there[some], front[some], -np.inf), 1)
    least = np.nanmin(np.where(there[some], back[some], np.inf), 1)
    half = there[some].sum(1) * CELL / 2
    return np.interp(every, some, most), np.interp(every, some, least), np.interp(every, some, half)
