"""How a photographed person stands: which way they are turned, and which foot is before the other.

Feet, nose and ground tell: where the shoes point, where the nose is between the shoulders, and which shoe ends lower in
the picture, since the camera looks down on the ground.
"""

from dataclasses import dataclass

import numpy as np

from ..person.joints import Joint
from ..person.parts import Part
from .maps import CELL, Maps

WEIGHTS = {"shoes": 591.0, "nose": 162.0, "lower": -445.0}
"""Degrees for a shift by the person's height; fitted to 197 training sittings of the atelier, whose turns have a
deviation of 12 degrees; what is left (cross-validated) is 2.9."""
NOSE_ALONE = 690.0
"""The same where no feet are in the picture; what is left is 6.7 degrees."""
MOST = 25.0
"""Degrees that a person is taken to be turned at most: heads and feet turn by themselves, too."""
STEP = 3.0
"""How much farther forward a foot stands than one that ends a unit higher: a camera that looks 18 degrees down. The
same sittings: a deviation of 4.1 per cent of the height before, 1.7 after."""
WIDE = 0.12
"""Share of the height by which one foot is taken to be before the other at most."""
POINTS, SPLAYED = 9.9, 0.7
"""Sine of a foot's direction for a metre that its shoe lies aside, and the most that it is: the same sittings, whose
toes lie 4.2 cm aside, and 1.2 from what this says."""
FEW = 0.0008
"""Square metres of a shoe below which it does not tell where it points."""


@dataclass(frozen=True)
class Stance:
    """How a person stands: radians by which they are turned, positive towards the picture's right; metres by which the
    left foot is before the right, None where no feet are seen; metres by which the lower half of the left and the right
    shoe lies to the picture's right of its ankle, None without shoes."""

    turned: float = 0.0
    ahead: float | None = None
    shoes: tuple[float, float] | None = None

    def points(self, side: str) -> float:
        """Radians by which the "Left" or "Right" foot points to the picture's right."""
        if self.shoes is None:
            return self.turned
        return float(np.arcsin(np.clip(POINTS * self.shoes[side == "Right"], -SPLAYED, SPLAYED)))


FRONTAL = Stance()
"""Of somebody who faces the camera, feet together in depth."""


def read_stance(maps: Maps) -> Stance:
    """Return how the person stands."""
    x = lambda name: maps.joints[Joint[name], 0] / maps.height
    nose = x("NOSE") - (x("LEFT_SHOULDER") + x("RIGHT_SHOULDER")) / 2
    if maps.bust:
        return Stance(_radians(NOSE_ALONE * nose))
    shoes, lower = _shoes(maps)
    aside = float(np.mean(shoes)) if shoes else 0.0
    shifts = {"shoes": aside / maps.height, "nose": nose, "lower": lower / maps.height}
    turned = _radians(sum(WEIGHTS[name] * shift for name, shift in shifts.items()))
    most = WIDE * maps.height
    return Stance(turned, float(np.clip(STEP * lower, -most, most)), shoes)


def _radians(degrees: float) -> float:
    return float(np.radians(np.clip(degrees, -MOST, MOST)))


def _shoes(maps: Maps) -> tuple[tuple[float, float] | None, float]:
    """How far, in metres, the lower half of the left and the right shoe lies beside its ankle, None where one is not
    seen; and how much lower the left foot ends than the right, by the ankles then."""
    rows, columns = np.nonzero(maps.parts == Part.SHOES)
    ankles = maps.joints[[Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE], :2]
    x, aside, ends = maps.x[columns], [], []
    for own, other in (ankles[:, 0], ankles[::-1, 0]):
        mine = np.abs(x - own) < np.abs(x - other)
        if mine.sum() * CELL**2 < FEW:
            return None, float(ankles[1, 1] - ankles[0, 1])
        low = mine & (rows > np.median(rows[mine]))
        aside.append(float(x[low].mean() - own) if low.any() else 0.0)
        ends.append(float(np.percentile(maps.y[rows[mine]], 3)))
    return (aside[0], aside[1]), ends[1] - ends[0]
