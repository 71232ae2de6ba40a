"""Name the colour of a garment in a photo, by the words that captions use."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .vocabulary import COLOURS

_SIDE = 40
PALETTE_SIZE = 5  # colours that `palette` tells apart
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
    small = np.asarray(image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX)).astype(np.int64) >> 3
    cells = (small[..., 0] << 10) | (small[..., 1] << 5) | small[..., 2]
    lab, word = _tables()
    weight = _centre_weight() * _unlike_border(lab[cells])
    votes = np.bincount(word[cells].ravel(), weights=weight.ravel(), minlength=len(COLOURS))
    return list(COLOURS)[int(votes.argmax())]


@cache
def _tables() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return Lab (32768, 3) and the nearest word's number (32768,) for RGB in 32 steps a channel, red slowest."""
    steps = np.arange(32) * 8 + 4
    lab = to_lab(np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3))
    values = [(at, rgb) for at, (name, own) in enumerate(COLOURS.items()) for rgb in (own, *SHADES.get(name, ()))]
    anchors = to_lab(np.array([rgb for _, rgb in values]))
    distance = np.stack([(((lab - anchor) * np.array([0.5, 1.0, 1.0])) ** 2).sum(-1) for anchor in anchors])
    return lab, np.array([at for at, _ in values])[distance.argmin(0)]


@cache
def _centre_weight() -> NDArray[np.float64]:
    across = np.exp(-((np.linspace(-1, 1, _SIDE) / 0.6) ** 2))
    return across[:, None] * across[None, :]


def _unlike_border(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mark pixels (H, W) that differ from every common colour of the border; all ones when hardly any does."""
    edge = np.concatenate([lab[:2].reshape(-1, 3), lab[-2:].reshape(-1, 3), lab[2:-2, [0, 1, -2, -1]].reshape(-1, 3)])
    cells, counts = np.unique(np.round(edge / 12) @ np.array([1e6, 1e3, 1.0]), return_counts=True)
    common = cells[counts > 0.04 * len(edge)]
    unlike = np.ones(lab.shape[:2])
    for cell in common:
        light, a, b = _unpack(cell)
        unlike *= (lab[..., 0] - light) ** 2 + (lab[..., 1] - a) ** 2 + (lab[..., 2] - b) ** 2 > 18**2
    quarter = _SIDE // 4
    return unlike if unlike[quarter:-quarter, quarter:-quarter].mean() > 0.15 else np.ones_like(unlike)


def _unpack(cell: float) -> tuple[float, float, float]:
    """Undo the packing of a rounded Lab cell (steps of 12, each within -500..499) into one number."""
    light = round(cell / 1e6)
    a = round((cell - light * 1e6) / 1e3)
    return light * 12.0, a * 12.0, (cell - light * 1e6 - a * 1e3) * 12.0


def palette(pixels: np.ndarray) -> np.ndarray:
    """A few colours (k, 3) that stand for the pixels (n, 3): k-means from spread quantiles of lightness."""
    order = pixels[np.argsort(pixels[:, 0])]
    centres = order[np.linspace(0, len(order) - 1, PALETTE_SIZE + 2).astype(int)[1:-1]]
    for _ in range(5):
        nearest = ((pixels[:, None] - centres) ** 2).sum(-1).argmin(1)
        centres = np.stack([pixels[nearest == i].mean(0) if (nearest == i).any() else c for i, c in enumerate(centres)])
    return centres


def colour_gap(lab: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Distance of each pixel (h, w, 3) from the nearest of some colours (k, 3), as (h, w)."""
    return np.sqrt(((lab[:, :, None] - centres) ** 2).sum(-1).min(2))
