"""Which way a photographed person stands turned: where the feet point, where the nose is, and which ankle is nearer."""

import numpy as np

from ..person.joints import Joint
from ..person.parts import Part
from .maps import CELL, Maps

WEIGHTS = {"shoes": 520.0, "nose": 320.0, "ankles": 226.0}
"""Degrees for a shift by the person's height; fitted to 300 training sittings of the atelier, whose turns have a
deviation of 11.7 degrees; what is left (cross-validated) is 4.8."""
NOSE_ALONE = 690.0
"""The same where no feet are in the picture; what is left is 6.7 degrees."""
MOST = 25.0
"""Degrees that a person is taken to be turned at most: heads and feet turn by themselves, too."""
FEW = 0.0008
"""Square metres of a shoe below which it does not tell where it points."""


def read_turn(maps: Maps) -> float:
    """Return by how much a person is turned, radians, positive towards the picture's right."""
    x = lambda name: maps.joints[Joint[name], 0] / maps.height
    middle = lambda name: (x(f"LEFT_{name}") + x(f"RIGHT_{name}")) / 2
    nose = x("NOSE") - middle("SHOULDER")
    if maps.bust:
        degrees = NOSE_ALONE * nose
    else:
        y = maps.joints[[Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE], 1] / maps.height
        shifts = {"shoes": _shoes(maps) / maps.height, "nose": nose, "ankles": y[0] - y[1]}
        degrees = sum(WEIGHTS[name] * shift for name, shift in shifts.items())
    return float(np.radians(np.clip(degrees, -MOST, MOST)))


def _shoes(maps: Maps) -> float:
    """How far, in metres, the lower half of each shoe lies beside its ankle; the mean of both."""
    rows, columns = np.nonzero(maps.parts == Part.SHOES)
    x, ankles = maps.x[columns], maps.joints[[Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE], 0]
    found = []
    for own, other in (ankles, ankles[::-1]):
        mine = np.abs(x - own) < np.abs(x - other)
        if mine.sum() * CELL**2 < FEW:
            found.append(0.0)
            continue
        low = mine & (rows > np.median(rows[mine]))
        found.append(float(x[low].mean() - own) if low.any() else 0.0)
    return float(np.mean(found))
