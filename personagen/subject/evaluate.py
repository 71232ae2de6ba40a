"""Is the subject recognised? Nearest-subject retrieval with features that no training sees."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from recsys.errors import DataError

from ..colours import colour_gap, palette, to_lab
from ..images import load_image
from .data import Finding, scan

SIDE = 64
CENTRE = 0.3
"""Deviation of the weight of a pixel around the middle, in halves of a side."""
POWER = 4
"""How steeply a pixel weighs more the less its colour is one of the border's."""
LEVELS, TINTS = np.arange(5, 100, 22.0), np.arange(-60, 84, 12.0)
"""Middles of the histogram's cells: lightness, and both colour axes, in CIE Lab."""


def features(image: Image.Image) -> np.ndarray:
    """Describe a picture by the colours of what stands in its middle and differs from its border.

    A histogram in Lab (5 levels of lightness, 12 x 12 tints), every pixel shared out among near cells and weighted by
    its place and by its distance from the border's colours; Hellinger roots. Returns (720,) float32 of length 1. CENTRE
    and POWER were chosen on photos of subjects that no benchmark asks about.
    """
    lab = to_lab(np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)))
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    flat = lab * np.array([0.6, 1.0, 1.0])  # light changes with folds and shade
    unlike = colour_gap(flat, palette(flat[np.maximum(np.abs(x), np.abs(y)) > 0.88]))
    weight = np.exp(-(x**2 + y**2) / (2 * CENTRE**2)) * (unlike / (unlike + 15)) ** POWER + 1e-9
    axes = zip(lab.reshape(-1, 3).T, (LEVELS, TINTS, TINTS), (16.0, 12.0, 12.0))
    level, green, blue = (_near(values, cells, width) for values, cells, width in axes)
    cells = np.einsum("n,nl,na,nb->lab", weight.ravel(), level, green, blue, optimize=True).ravel()
    return np.sqrt(cells / cells.sum()).astype(np.float32)


def _near(values: np.ndarray, cells: np.ndarray, width: float) -> np.ndarray:
    """Share each value (n,) out among cells (k,): Gaussian weights (n, k) that sum to 1."""
    near = np.exp(-0.5 * ((values[:, None] - cells) / width) ** 2)
    return near / near.sum(1, keepdims=True).clip(1e-12)


@dataclass(frozen=True)
class Gallery:
    """Pictures of one subject, as the mean (720,) of their features."""

    middle: np.ndarray

    @classmethod
    def read(cls, folder: str | Path, tell: Callable[[Finding], object] = lambda finding: None) -> Self:
        """Read a folder; tell: takes what was decided about each file that is left out.

        Raises:
            DataError: the folder holds none that can be used.
        """
        found, findings = scan(folder)
        for finding in findings:
            if finding.decision != "used":
                tell(finding)
        if not found:
            raise DataError(f"no picture in {folder} can be used; give a folder with pictures of one subject")
        return cls(np.stack([features(load_image(picture.path)) for picture in found]).mean(0))

    def likeness(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Return for each picture (N,) its mean cosine with those of the gallery."""
        return np.stack([features(image) for image in pictures]) @ self.middle


def recognised(pictures: Sequence[Image.Image], own: Gallery, others: Sequence[Gallery]) -> dict[str, Any]:
    """Measure likeness to the subject's pictures and, among others, the share of pictures nearest to the subject."""
    mine = own.likeness(pictures)
    figures: dict[str, Any] = {"likeness": float(mine.mean())}
    if others:
        rivals = np.stack([gallery.likeness(pictures) for gallery in others])
        figures |= {
            "recognised": float((mine > rivals.max(0)).mean()),
            "among": len(others) + 1,
            "likeness_to_others": float(rivals.mean()),
        }
    return figures
