"""Pictures of a person's front and back, whole: what the photo shows, and what must be there where something hides it.

Head, trunk and legs share one picture, each arm has its own, so that what is behind an arm has colours, too. A surface
reads its colours at its own place in the picture (`atlas`), front and back alike; `behind` says what differs there.
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ..images import dilate, erode
from ..person.parts import Part, region_of
from ..warping.inpaint import complete, spread
from .maps import CELL, Maps
from .volume import CORE

FINEST, COARSEST, FINER = 600.0, 380.0, 1.3
"""Most and fewest pixels a metre of the pictures, and how much finer than the photo they are between these."""
RIM, HAIR_RIM = 0.004, 0.009
"""Metres inside an outline where colours are mixed with what is behind the person; of hair more."""
AROUND = 0.02
"""Metres around a part for which colours are needed."""
LARGE = 0.0015
"""Square metres from which what is hidden is completed patch by patch."""
CORE_NAME = "core"


@dataclass(frozen=True)
class Sheet:
    """One side of a part: picture uint8 (H, W, 3), and what is there, `class_of`, int16 (h, w) on the maps' cells."""

    picture: np.ndarray
    classes: np.ndarray

    @property
    def label(self) -> np.ndarray:
        """0 for the person's own, from 1 on the garments in their order; int (h, w)."""
        return np.where(self.classes >= GARMENT, self.classes - GARMENT, 0)


GARMENT = 100
"""Classes from here on are garments by their number; below they are parts of the person."""


class Canvas:
    """A dressed picture on the maps' area, `scale` pixels a metre, with the classes of what it shows."""

    def __init__(self, maps: Maps, picture: Image.Image, kinds: tuple[str, ...]) -> None:
        self.maps, self.kinds = maps, kinds
        self.scale = float(np.clip(FINER * maps.metre, COARSEST, FINEST))
        rows, columns = (round(side * CELL * self.scale) for side in maps.person.shape)
        self.size = (rows, columns)
        self.picture = _cropped(maps, picture.convert("RGB"), (columns, rows))
        own = maps.parts.astype(np.int16)
        self.classes = np.where(maps.label > 0, GARMENT + maps.label, own).astype(np.int16)

    def fine(self, mask: np.ndarray) -> np.ndarray:
        """A bool mask of the maps (h, w) at the picture's size (H, W)."""
        grey = Image.fromarray(mask.astype(np.uint8) * 255).resize(self.size[::-1], Image.Resampling.BILINEAR)
        return np.asarray(grey) >= 128

    def class_fine(self, classes: np.ndarray) -> np.ndarray:
        """Classes (h, w) at the picture's size."""
        return np.asarray(Image.fromarray(classes.astype(np.int32)).resize(self.size[::-1], Image.Resampling.NEAREST))

    def rank(self, number: int) -> int:
        """How far outside a class is worn: 3 coats, 2 tops and dresses, 1 what is worn below, 0 the person."""
        if number >= GARMENT:
            return {"outer": 3, "upper": 2, "dress": 2, "lower": 1}[region_of(self.kinds[number - GARMENT - 1])] + 0
        return {Part.OUTER: 3, Part.UPPER: 2, Part.DRESS: 2, Part.LOWER: 1}.get(Part(number), 0)


def _cropped(maps: Maps, picture: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """What a picture shows of the maps' area, uint8 (H, W, 3) of `size` (width, height); its edge goes on beyond it."""
    (left, top), (right, bottom) = maps.pixels(
        np.array([[maps.left, maps.top], [maps.left + maps.person.shape[1] * CELL, maps.top - len(maps.person) * CELL]])
    )
    pad = int(max(0, -left, -top, right - picture.width, bottom - picture.height)) + 2
    wide = Image.fromarray(np.pad(np.asarray(picture), ((pad, pad), (pad, pad), (0, 0)), mode="edge"))
    box = (left + pad, top + pad, right + pad, bottom + pad)
    return np.asarray(wide.resize(size, Image.Resampling.BICUBIC, box=box))


def front_sheets(canvas: Canvas) -> dict[str, Sheet]:
    """Paint the front of core and arms, whole: what is hidden is completed from cloth of its own."""
    maps = canvas.maps
    arms = {name: maps.groups[name] for name in ("left arm", "right arm")}
    core = np.logical_or.reduce([maps.groups[group] for group in CORE])
    over = arms["left arm"] | arms["right arm"]
    out = {CORE_NAME: _sheet(canvas, core & ~over, core)}
    for name, mask in arms.items():
        if mask.any():
            out[name] = _sheet(canvas, mask, mask)
    return out


def _sheet(canvas: Canvas, seen: np.ndarray, whole: np.ndarray) -> Sheet:
    """The front of a part that is seen at some cells (h, w) and is there at more."""
    rim, hair = round(RIM / CELL), round(HAIR_RIM / CELL)
    sure = erode(seen, up=rim, down=rim, side=rim)
    head = canvas.maps.parts == Part.HEAD
    outline = dilate(~canvas.maps.person, up=hair, down=hair, side=hair)
    sure &= ~(head & outline)
    if not sure.any():
        sure = seen
    classes = nearest(canvas.classes, seen)
    reach = round(AROUND / CELL)
    needed = dilate(whole, up=reach, down=reach, side=reach)
    picture = spread_over(canvas.picture, canvas.fine(sure))
    hidden = needed & ~dilate(sure, up=rim, down=rim, side=rim) & whole
    picture = filled(canvas, picture, canvas.picture, classes, sure, hidden)
    return Sheet(picture, classes)


def filled(
    canvas: Canvas, picture: np.ndarray, source: np.ndarray, classes: np.ndarray, sure: np.ndarray, hidden: np.ndarray
) -> np.ndarray:
    """Complete what is hidden (h, w) of a picture, each class from what is sure of its own in a source (H, W, 3)."""
    out, fine = picture.copy(), canvas.class_fine(classes)
    for number in np.unique(classes[hidden]) if hidden.any() else []:
        hole = canvas.fine(hidden & (classes == number)) & (fine == number)
        known = canvas.fine(sure & (canvas.classes == number))
        area = canvas.scale**2
        if hole.sum() > LARGE * area and known.sum() > 0.5 * LARGE * area:
            out = completed(out, source, known, hole)
    return out


def completed(picture: np.ndarray, source: np.ndarray, known: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) whose hole is completed from known places of a source of its size."""
    rows, columns = np.flatnonzero((known | hole).any(1)), np.flatnonzero((known | hole).any(0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    found = complete(Image.fromarray(source[box]), known[box] & ~hole[box], hole[box])
    out = picture.copy()
    if found is not None:
        out[box][hole[box]] = np.asarray(found)[hole[box]]
    return out


def spread_over(picture: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Let the colours of known places, bool (H, W), run over a whole picture (H, W, 3)."""
    found = spread(torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 255, known)
    if found is None:
        return picture
    smooth = (found.permute(1, 2, 0).numpy().clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return np.where(known[..., None], picture, smooth)


def nearest(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fill a plane (h, w) with the value of the nearest known cell: jump flooding (Rong and Tan, I3D 2006)."""
    height, width = values.shape
    rows, columns = np.mgrid[:height, :width]
    row, column = np.where(known, rows, -(10**6)), np.where(known, columns, -(10**6))
    best = (row - rows) ** 2 + (column - columns) ** 2
    step = 1 << int(np.ceil(np.log2(max(height, width)))) - 1
    while step:
        for down in (-step, 0, step):
            for right in (-step, 0, step):
                if abs(down) >= height or abs(right) >= width:
                    continue
                to, of = _overlap(height, down), _overlap(width, right)
                other = row[to[1]][:, of[1]], column[to[1]][:, of[1]]
                far = (other[0] - rows[to[0]][:, of[0]]) ** 2 + (other[1] - columns[to[0]][:, of[0]]) ** 2
                less = far < best[to[0]][:, of[0]]
                for plane, new in ((row, other[0]), (column, other[1]), (best, far)):
                    part = plane[to[0]][:, of[0]]
                    part[less] = new[less]
        step //= 2
    return values[row.clip(0), column.clip(0)]


def _overlap(length: int, by: int) -> tuple[slice, slice]:
    """Slices of places and of those that lie `by` before them."""
    return (slice(max(0, by), length + min(0, by)), slice(max(0, -by), length + min(0, -by)))
