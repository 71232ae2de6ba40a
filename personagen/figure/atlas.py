"""One texture for a figure: the pictures of its sides, and where in them a surface reads its colours.

A surface reads at its own place in the picture, except near an outline: there a picture is mixed with its background
and shows much surface in few pixels. From some angle on it is folded back, as on a round body: where the surface has
turned by phi, it reads what is at 2 fold - phi, so that nothing is stretched more than 1 / cos(fold) times.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..images import dilate
from .maps import CELL, Maps
from .paint import CORE_NAME, Canvas, Sheet
from .relief import half_widths_near, inflate

FOLD, MIXED = 0.06, 0.005
"""Shares of a half width, and metres, inside an outline that are folded: 70 degrees, a stretch of 2.9, or less."""
BORDER = 0.02
"""Metres around a part that the texture shows."""
WIDTHS = (1024, 2048)
"""Widths in pixels that a texture may have."""
GAP = 2
"""Pixels between pictures."""


@dataclass(frozen=True)
class Rect:
    """Where a side's picture lies: row and column in the texture and in the picture, height and width in pixels."""

    at: tuple[int, int]
    of: tuple[int, int]
    size: tuple[int, int]


class Atlas:
    """The texture of a figure and where each part's sides lie in it; sides without a back of their own share it."""

    def __init__(self, canvas: Canvas, fronts: Mapping[str, Sheet], back: Sheet) -> None:
        self.canvas, self.fronts, self.back = canvas, fronts, back
        sides = {(name, True): sheet for name, sheet in fronts.items()} | {(CORE_NAME, False): back}
        boxes = {key: self._box(key[0]) for key in sides}
        width = next((w for w in WIDTHS if _rows(boxes, w)[1] <= w), WIDTHS[-1])
        places, height = _rows(boxes, width)
        pixels = np.zeros((height, width, 3), np.uint8)
        self.rects = {}
        for key, (row, column) in places.items():
            top, left, tall, wide = boxes[key]
            pixels[row : row + tall, column : column + wide] = sides[key].picture[top : top + tall, left : left + wide]
            self.rects[key] = Rect((row, column), (top, left), (tall, wide))
        self.texture = Image.fromarray(pixels)
        self._folds = {name: Fold(canvas.maps, self._mask(name)) for name in fronts}

    def _mask(self, name: str) -> np.ndarray:
        groups, maps = self.canvas.maps.groups, self.canvas.maps
        if name != CORE_NAME:
            return groups[name]
        whole = np.logical_or.reduce([mask for group, mask in groups.items() if not group.endswith("arm")])
        reach = round(0.03 / CELL)
        return whole | (dilate(whole, side=reach) & maps.person)

    def _box(self, name: str) -> tuple[int, int, int, int]:
        """Top, left, height and width in the picture of a part with a border."""
        reach, scale = round(BORDER / CELL), CELL * self.canvas.scale
        mask = dilate(self._mask(name), up=reach, down=reach, side=reach)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        top, left = int(rows[0] * scale), int(columns[0] * scale)
        bottom = min(self.canvas.size[0], int(np.ceil((rows[-1] + 1) * scale)))
        return top, left, bottom - top, min(self.canvas.size[1], int(np.ceil((columns[-1] + 1) * scale))) - left

    def sheet(self, name: str, front: bool) -> Sheet:
        """The picture of a part's side."""
        return self.back if name == CORE_NAME and not front else self.fronts[name]

    def folded(self, name: str, points: np.ndarray) -> np.ndarray:
        """Where in the picture (n, 2), in metres, points (n, 3) of a part read their colours."""
        return self._folds[name](points)

    def uv(self, name: str, front: bool, places: np.ndarray) -> np.ndarray:
        """Texture places (n, 2) of places (n, 2) in metres of a part's side."""
        rect = self.rects.get((name, front), self.rects[name, True])
        maps, scale = self.canvas.maps, self.canvas.scale
        inside = lambda values, length: values.clip(1, length - 1)
        column = inside((places[:, 0] - maps.left) * scale - rect.of[1], rect.size[1]) + rect.at[1]
        row = inside((maps.top - places[:, 1]) * scale - rect.of[0], rect.size[0]) + rect.at[0]
        return np.stack([column / self.texture.width, row / self.texture.height], 1).astype(np.float32)


def _rows(boxes: Mapping[tuple[str, bool], tuple[int, int, int, int]], width: int) -> tuple[dict, int]:
    """Pack boxes in shelves, tallest first: row and column of each, and the height in all, a multiple of 4."""
    places, row, column, shelf = {}, 0, 0, 0
    for key in sorted(boxes, key=lambda key: -boxes[key][2]):
        tall, wide = boxes[key][2:]
        if column and column + wide > width:
            row, column, shelf = row + shelf + GAP, 0, 0
        places[key] = (row, column)
        column, shelf = column + wide + GAP, max(shelf, tall)
    return places, -(-(row + shelf) // 4) * 4


class Fold:
    """How places near a mask's outline are moved inwards; `Fold(maps, mask)(points)`."""

    def __init__(self, maps: Maps, mask: np.ndarray) -> None:
        self.maps = maps
        height = inflate(mask)
        self.wide = half_widths_near(height)
        self.sine = np.sqrt((1 - height / self.wide**2).clip(0, 1))
        self.fold = np.arcsin(1 - np.maximum(FOLD, MIXED / self.wide).clip(max=0.3))
        down, right = np.gradient(_blurred(np.sqrt(height), 3))
        length = np.hypot(down, right).clip(1e-6)
        self.right, self.up = right / length, -down / length

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Places (n, 2) in metres where points (n, 2 or 3) read."""
        row = (self.maps.top - points[:, 1]) / CELL - 0.5
        column = (points[:, 0] - self.maps.left) / CELL - 0.5
        planes = (self.sine, self.wide, self.fold, self.right, self.up)
        sine, wide, fold, right, up = (sampled(plane, row, column) for plane in planes)
        angle = np.arcsin(sine.clip(0, 1))
        inwards = np.where(angle > fold, (sine - np.sin(2 * fold - angle)) * wide, 0)
        return np.stack([points[:, 0] + inwards * right, points[:, 1] + inwards * up], 1)


def sampled(plane: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Values of a plane (h, w) at rows and columns (n,), between cells."""
    height, width = plane.shape
    row, column = row.clip(0, height - 1.001), column.clip(0, width - 1.001)
    i, j = row.astype(int), column.astype(int)
    a, b = row - i, column - j
    upper = plane[i, j] * (1 - b) + plane[i, j + 1] * b
    return upper * (1 - a) + (plane[i + 1, j] * (1 - b) + plane[i + 1, j + 1] * b) * a


def _blurred(plane: np.ndarray, rounds: int) -> np.ndarray:
    """A plane (h, w) averaged with its neighbours, some rounds."""
    for _ in range(rounds):
        for axis in (0, 1):
            padded = np.pad(plane, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
            before, after = (padded[:-2], padded[2:]) if axis == 0 else (padded[:, :-2], padded[:, 2:])
            plane = (before + 2 * plane + after) / 4
    return plane
