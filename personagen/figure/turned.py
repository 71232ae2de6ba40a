"""A figure from the side and from behind, as a view completer is shown it: what it must paint, and from what.

The completer is the try-on network, trained further on pairs of views: the figure from the front stands in the
garment's place, the figure as it is seen now is the guess, and the mask is what the photo does not show of it.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..atelier.trace import Camera
from .mesh import Figure
from .raster import View, render, shrunk
from .turntable import PAPER, Stage, Turntable

AZIMUTHS = (180, 135, -135, 90, -90)
"""Degrees from which what the photo does not show is seen, in their order."""
OBLIQUE = float(np.cos(np.radians(70.0)))
"""Part of a normal towards the front below which a surface's colours are guessed: `atlas` folds the picture there."""


@dataclass(frozen=True)
class Turned:
    """A view of a figure with its light, on paper, and where the photo does not show it: hidden, bool (H, W)."""

    view: View
    hidden: np.ndarray
    camera: Camera

    @property
    def picture(self) -> Image.Image:
        """The guess."""
        return self.view.picture


def turned(figure: Figure, azimuth: float, size: tuple[int, int], *, camera: Camera | None = None) -> Turned:
    """See a figure from an azimuth in degrees, in a picture of `size` (H, W).

    camera: that in front of the figure; None: one that sees all of it from every side.
    """
    front = front_camera(figure, size) if camera is None else camera
    at = Camera(azimuth, front.elevation, front.distance, front.target, front.extent)
    view = render(figure, at, size=size, background=PAPER)
    return Turned(view, shrunk((unseen_from_front(view)).astype(np.float32)) >= 0.5, at)


def unseen_from_front(view: View) -> np.ndarray:
    """Where a view (2H, 2W) shows what does not face the front."""
    return (view.layer >= 0) & (view.normals[..., 2] < OBLIQUE)


def front_camera(figure: Figure, size: tuple[int, int]) -> Camera:
    """The camera in front of a figure that sees all of it from every side."""
    return Turntable(figure, Stage(size=size)).camera
