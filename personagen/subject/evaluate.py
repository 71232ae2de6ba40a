"""Is the subject recognised? Nearest-subject retrieval with features that no training sees."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recsys.errors import DataError

from ..images import load_image
from .data import cover, scan

SIDE = 64


def features(image: Image.Image) -> np.ndarray:
    """Describe a picture: joint colour histogram of its middle, colours on a 4x4 grid, directions of edges on 4x4.

    Each of the three parts has length 1, so they weigh alike. Hellinger roots of the histograms. Returns (d,) float32.
    """
    pixels = np.asarray(cover(image, (SIDE, SIDE))[0], dtype=np.float32) / 255
    middle = pixels[SIDE // 8 : -SIDE // 8, SIDE // 8 : -SIDE // 8].reshape(-1, 3)
    bins = np.minimum((middle * 6).astype(int), 5) @ np.array([36, 6, 1])
    colours = np.sqrt(np.bincount(bins, minlength=216) / len(middle))
    cell = SIDE // 4
    grid = pixels.reshape(4, cell, 4, cell, 3).mean((1, 3)).reshape(-1) - 0.5
    up, across = np.gradient(pixels.mean(2))
    strength, direction = np.hypot(up, across), ((np.arctan2(up, across) % np.pi) / np.pi * 8).astype(int) % 8
    places = (np.arange(SIDE) // cell)[:, None] * 4 + (np.arange(SIDE) // cell)[None, :]
    edges = np.sqrt(np.bincount((places * 8 + direction).ravel(), strength.ravel(), minlength=128))
    parts = [part / max(float(np.linalg.norm(part)), 1e-9) for part in (colours, grid, edges)]
    return np.concatenate(parts).astype(np.float32)


def likeness(made: Sequence[Image.Image], folder: str | Path) -> np.ndarray:
    """Return for each picture (N,) its mean cosine with the pictures of a folder. Raises DataError on an empty one."""
    found, _ = scan(folder)
    if not found:
        raise DataError(f"No picture in {folder} can be used; give a folder with pictures of one subject.")
    gallery = np.stack([features(load_image(picture.path)) for picture in found])
    return np.stack([features(image) for image in made]) @ gallery.mean(0) / 3


def recognised(made: Sequence[Image.Image], own: str | Path, others: Sequence[str | Path]) -> dict[str, Any]:
    """Measure likeness to the subject's pictures and, among others, the share of pictures nearest to the subject."""
    mine = likeness(made, own)
    figures: dict[str, Any] = {"likeness": float(mine.mean())}
    if others:
        rivals = np.stack([likeness(made, folder) for folder in others])
        figures |= {
            "recognised": float((mine > rivals.max(0)).mean()),
            "among": len(others) + 1,
            "likeness_to_others": float(rivals.mean()),
        }
    return figures
