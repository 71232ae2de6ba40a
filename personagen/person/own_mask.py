"""Compare a mask of one's own with the garment that is seen, so that an inverted or misplaced one is noticed."""

import numpy as np

from .body import Body
from .masks import layers_from_parts

FEW, MUCH = 0.3, 0.6
"""Share of the garment that a mask covers below which there is a doubt, and share beside the mask above which it seems
inverted."""
SEEN = 0.005
"""Least share of the photo of a garment that is seen."""


def doubt_about(mask: np.ndarray, body: Body, kind: str) -> str:
    """Say how little of the garment of a kind a mask (H, W) covers; empty where it covers enough, or none is seen."""
    garment = layers_from_parts(body.parts, kind=kind).garment
    if garment.mean() < SEEN:
        return ""
    covered = float((mask & garment).sum() / garment.sum())
    if covered >= FEW:
        return ""
    line = f"the mask covers {covered:.0%} of the garment that is seen in the photo ({kind})"
    if mask.mean() > 0.5 and 1 - covered > MUCH:
        return f"{line} and {mask.mean():.0%} of the photo; it seems inverted: white is repainted, black is kept"
    return f"{line}; is it the mask of this photo and of this garment?"
