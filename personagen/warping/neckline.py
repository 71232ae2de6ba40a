"""Find the inside of a garment's back that shows through its neckline: where it is worn, the neck is there.

Only plain cloth is judged: the inside is darker than the front, hangs together below the collar and is symmetric.
"""

import numpy as np

from ..images import components

DARKER = (0.4, 0.91)
"""Lightness of the inside over that of the front."""
PLAIN = 0.07
"""Largest deviation of the front's lightness, as a share of it."""
WIDE, DEEP = 0.4, 0.65
"""Where the inside is looked for, beside the middle and below the top, as shares of the distance between shoulders."""
FRONT = (0.7, 0.95)
"""Rows below the top whose cloth is the front's for sure, as the same shares."""
AREA = (0.008, 0.13)
"""Least and most area of the inside, in squares of that distance."""
ASKEW = 0.07
"""Farthest that its middle lies beside that of the shoulders, as the same share."""

ALIKE = 0.5
"""Least share that the inside and its mirror image have in common: a shadow beside the buttons is no neckline."""


def inside_of(picture: np.ndarray, cloth: np.ndarray, shoulders: np.ndarray) -> np.ndarray:
    """Mark the inside of the back, its mirror image and what is above both: bool (H, W), empty where none is sure.

    picture (H, W): lightness, 0 to 1; cloth: bool (H, W); shoulders (2, 2): on the picture's left and right.
    """
    nothing = np.zeros_like(cloth)
    wide, middle = shoulders[1, 0] - shoulders[0, 0], shoulders[:, 0].mean()
    column = cloth[:, int(np.clip(middle, 0, cloth.shape[1] - 1))]
    if wide < 8 or not column.any():
        return nothing
    top = int(column.argmax())
    columns = slice(max(0, int(middle - WIDE * wide)), int(middle + WIDE * wide) + 1)
    front = picture[int(top + FRONT[0] * wide) : int(top + FRONT[1] * wide) + 1, columns]
    if not front.size or np.std(front) > PLAIN * max(float(np.median(front)), 0.1):
        return nothing
    share = picture / max(float(np.median(front)), 1e-3)
    dark = cloth & (share > DARKER[0]) & (share < DARKER[1])
    window = np.zeros_like(cloth)
    window[top : int(top + DEEP * wide), columns] = True
    for piece in components(dark & window)[:3]:
        rows, places = np.nonzero(piece)
        area, askew = rows.size / wide**2, abs(places.mean() - middle) / wide
        if AREA[0] < area < AREA[1] and askew < ASKEW and rows.max() < top + DEEP * wide - 2:
            mirror = np.zeros_like(piece)
            mirror[rows, np.round(2 * middle - 1 - places).astype(int).clip(0, cloth.shape[1] - 1)] = True
            if (piece & mirror).sum() < ALIKE * (piece | mirror).sum():
                continue
            piece |= mirror
            above = np.flip(np.logical_or.accumulate(np.flip(piece, 0), 0), 0)
            return above & (np.arange(len(cloth))[:, None] <= rows.max())
    return nothing
