"""A standing person as body parts, for tests of masks and of the parser."""

import numpy as np

from personagen.masks import Part


def standing(*, lower: int = 60) -> np.ndarray:
    """Head, top and, down to row `lower`, trousers, as `Part` values (128, 96); what is below is up to the test."""
    parts = np.zeros((128, 96), np.uint8)
    parts[8:20, 40:56] = Part.HEAD
    parts[20:60, 36:60] = Part.UPPER
    parts[60:lower, 38:58] = Part.LOWER
    return parts
