"""Pictures that nobody would believe: a figure that they pass says nothing of the pictures beside it."""

import numpy as np
from scipy.ndimage import gaussian_filter

BLUR = 0.02
"""Deviation of the blur as a share of a picture's width: buttons, prints and faces are gone, colours stay."""


def blurred(pictures: np.ndarray) -> np.ndarray:
    """The true pictures (N, H, W, 3) uint8, blurred."""
    sigma = BLUR * pictures.shape[2]
    return gaussian_filter(pictures.astype(np.float32), sigma=(0, sigma, sigma, 0)).round().astype(np.uint8)


def shuffled(pictures: np.ndarray) -> np.ndarray:
    """The true pictures (N, H, W, 3), each in another's place."""
    return np.roll(pictures, 1, axis=0)


def with_controls(truth: np.ndarray) -> dict[str, np.ndarray]:
    """The true pictures themselves and both controls, by name."""
    return {"true": truth, "blurred": blurred(truth), "shuffled": shuffled(truth)}
