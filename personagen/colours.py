"""Name the colour of a garment in a photo, by the words that captions use."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .atelier.vocabulary import COLOURS

_SIDE = 64
SHADES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "blue": ((40, 46, 74), (72, 90, 126), (140, 170, 212)),
    "red": ((122, 24, 38), (176, 40, 44)),
    "green": ((78, 88, 58), (140, 162, 128), (120, 180, 60)),
    "purple": ((66, 38, 70), (176, 150, 200)),
    "yellow": ((222, 206, 110),),
    "pink": ((226, 112, 134), (196, 110, 156), (240, 196, 206), (232, 150, 132)),
    "white": ((212, 213, 216),),
    "teal": ((30, 84, 92), (120, 190, 196)),
    "brown": ((72, 52, 44),),
    "orange": ((196, 96, 48),),
}
"""Further values that people call by the same word: navy and denim are blue, maroon is red, olive is green."""


def to_lab(rgb: NDArray[np.generic]) -> NDArray[np.float64]:
    """Convert sRGB 0..255 (..., 3) to CIE L*a*b* under D65 (IEC 61966-2-1, CIE 15), where distances follow the eye."""
    value = np.asarray(rgb, np.float64) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def measure_colour(image: Image.Image) -> str:
    """Return the word of `COLOURS` that most of the garment in a photo has.

    The garment is what lies near the middle and differs from the picture's border; when hardly anything differs, the
    middle itself counts. Every pixel votes for its nearest word, and lightness counts half, since folds and shade
    change it.
    """
    small = to_lab(np.asarray(image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX)))
    weight = _centre_weight() * _unlike_border(small)
    words, values = _anchors()
    distance = (((small[:, :, None] - values) * np.array([0.5, 1.0, 1.0])) ** 2).sum(-1)
    votes = np.bincount(words[distance.argmin(-1)].ravel(), weights=weight.ravel(), minlength=len(COLOURS))
    return list(COLOURS)[int(votes.argmax())]


def _anchors() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return for each known value its word's number (a,) and its Lab value (a, 3)."""
    values = [(at, rgb) for at, (name, own) in enumerate(COLOURS.items()) for rgb in (own, *SHADES.get(name, ()))]
    return np.array([at for at, _ in values]), to_lab(np.array([rgb for _, rgb in values]))


def _centre_weight() -> NDArray[np.float64]:
    across = np.exp(-((np.linspace(-1, 1, _SIDE) / 0.6) ** 2))
    return across[:, None] * across[None, :]


def _unlike_border(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mark pixels (64, 64) that differ from every common colour of the border; all ones when hardly any does."""
    edge = np.ones(lab.shape[:2], bool)
    edge[4:-4, 4:-4] = False
    cells, counts = np.unique(np.round(lab[edge] / 12), axis=0, return_counts=True)
    common = cells[counts > 0.04 * edge.sum()] * 12
    nearest = np.sqrt(((lab[:, :, None] - common) ** 2).sum(-1)).min(-1) if len(common) else np.full(edge.shape, np.inf)
    unlike = (nearest > 18).astype(np.float64)
    return unlike if unlike[16:48, 16:48].mean() > 0.15 else np.ones_like(unlike)
