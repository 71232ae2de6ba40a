"""Check that a photo shows a person, upright, and enough of them for a garment: head, shoulders, hips, knees, in order.

The limits were chosen on street photos, on crops of them and on photos of other things (`benchmarks/people.py`).
"""

from dataclasses import dataclass

import numpy as np

from .joints import Joint, trunk_of
from .parts import Part

NOSE, HEADED = 0.3, 0.12
"""Least probability of the nose, and least share of hair and skin around it, of a head that is seen."""
SHOULDERS, HIPS, KNEES = 0.4, 0.25, 0.25
"""Least probability of these joints, the mean of both sides."""
HEADLESS = (0.55, 0.4, 0.46)
"""Least probability of shoulders, hips and all joints together where no head is seen."""
LEGS = (0.35, 0.45, 0.5)
"""Least probability of hips, knees and ankles of legs without more of a person."""
UPRIGHT = 0.7
"""How much of a trunk goes downwards, as cosine of its lean."""
OVER = 0.6
"""How far to the side of the shoulders a nose may be, in lengths of the trunk; farther it is somebody else's."""
SOLID = 0.6
"""Least share of the line from shoulders to hips, and round it, that is no background."""


@dataclass(frozen=True)
class Seen:
    """How surely a person's parts are seen, 0 to 1, and whether they stand in their order from top to bottom."""

    nose: float
    head: float
    shoulders: float
    hips: float
    knees: float
    ankles: float
    all: float
    upright: bool
    headed: bool
    legged: bool

    @property
    def top(self) -> bool:
        """Whether a garment for the trunk can be laid on."""
        sure = self.shoulders >= HEADLESS[0] and self.hips >= HEADLESS[1] and self.all >= HEADLESS[2]
        return self.upright and self.shoulders >= SHOULDERS and self.hips >= HIPS and (self.headed or sure)

    @property
    def bottom(self) -> bool:
        """Whether a garment for the legs can be laid on."""
        legs = self.legged and self.hips >= LEGS[0] and self.knees >= LEGS[1] and self.ankles >= LEGS[2]
        return (self.top and self.knees >= KNEES) or legs

    @property
    def person(self) -> bool:
        """Whether there is enough of a person to be dressed at all."""
        return self.top or self.bottom


def seen_in(parts: np.ndarray, joints: np.ndarray) -> Seen:
    """Measure what is seen of a person by parts (H, W) and joints (13, 3)."""
    pair = lambda name: joints[[Joint[f"LEFT_{name}"], Joint[f"RIGHT_{name}"]]].mean(0)
    shoulders, hips, knees, ankles = (pair(name) for name in ("SHOULDER", "HIP", "KNEE", "ANKLE"))
    nose, trunk = joints[Joint.NOSE], trunk_of(joints)
    head = _share(np.isin(parts, (Part.HEAD, Part.SKIN)), nose, round(0.35 * trunk.tall))
    headed = bool(nose[2] >= NOSE and head >= HEADED and nose[1] < shoulders[1])
    solid = _solid(parts, shoulders, hips)
    over = abs(nose[0] - shoulders[0]) <= OVER * trunk.tall or nose[2] < NOSE
    upright = bool(trunk.down[1] >= UPRIGHT and solid >= SOLID and over)
    return Seen(
        nose=float(nose[2]), head=head, shoulders=float(shoulders[2]), hips=float(hips[2]), knees=float(knees[2]),
        ankles=float(ankles[2]), all=float(joints[:, 2].mean()), upright=upright, headed=headed,
        legged=_solid(parts, hips, knees) >= SOLID,
    )  # fmt: skip


def lacking(seen: Seen, region: str) -> str | None:
    """Say what of a person a photo must show, too, for a garment of a region; None where nothing is missing."""
    if seen.bottom if region == "lower" else seen.top:
        return None
    head, legs = seen.headed, seen.legged and seen.knees >= LEGS[1] and seen.ankles >= LEGS[2]
    if region == "lower" and seen.top:
        return "the knees"
    if not head and legs:
        return "head and shoulders"
    if head and seen.shoulders < SHOULDERS:
        return "shoulders and hips"
    if head and seen.hips < HIPS:
        return "the hips"
    if head and region == "lower":
        return "hips and knees"
    return "a person"


def _solid(parts: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    """Share of the line between two places (column, row) that is no background."""
    line = [start * (1 - step) + end * step for step in np.linspace(0, 1, 9)]
    return float(np.mean([_share(parts != Part.BACKGROUND, place, 2) > 0 for place in line]))


def _share(marked: np.ndarray, place: np.ndarray, reach: int) -> float:
    """Share of marked pixels (H, W) in the square around a place (column, row)."""
    column, row, reach = round(float(place[0])), round(float(place[1])), max(1, reach)
    near = marked[max(0, row - reach) : max(0, row + reach + 1), max(0, column - reach) : max(0, column + reach + 1)]
    return float(near.mean()) if near.size else 0.0
