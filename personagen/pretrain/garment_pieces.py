"""Pieces of garments, floors and cloth from photos, for `garment_scenes`: parts are what geometry is sure of.

Only silhouettes that have the shape of their kind are taken (`warping.garment_shape`); where a part cannot be told from
its neighbours its cloth is labelled as cloth of any part.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from recsys.errors import DataError

from ..atelier.flat import FlatPiece
from ..images import erode, fit
from ..person.parts import region_of
from ..vocabulary import GarmentPart
from ..warping.cutout import garment_mask
from ..warping.garment_shape import cut_of
from ..warping.outline import Bottom, Top, bottom_of, top_of
from .garment_scenes import CLOTH, LEGS, SIDE, ringed

SHAPED = 0.85
"""Least overlap with the template of its kind."""
NECK = (0.42, 0.65)
"""Beside the middle, and below the shoulders: where collar and lining may be, as shares of the shoulders' distance."""
WAIST = 0.14
"""Share of the height of what is worn below in which a waistband may be."""
PARTED = 0.6
"""Least share of the rows below a crotch in which legs lie apart."""
LONG_SLEEVED = ("shirt", "sweater", "jacket")
"""Kinds whose sleeves lie on the trunk where none are found."""


@dataclass(frozen=True)
class PhotoPieces:
    """A garment's photo (SIDE, SIDE, 3) with its labels (SIDE, SIDE), and its pieces."""

    picture: np.ndarray
    labels: np.ndarray
    pieces: list[FlatPiece]


def photo_pieces(photo: Image.Image, kind: str) -> PhotoPieces | None:
    """Take a garment's photo apart; None where its outline is not to be trusted."""
    photo = photo.convert("RGB")
    photo.thumbnail((2 * SIDE, 2 * SIDE))
    mask = garment_mask(photo)
    if mask is None:
        return None
    picture, where = fit(photo, size=(SIDE, SIDE), fill="edge")
    cloth = np.asarray(fit(Image.fromarray(mask), size=(SIDE, SIDE), fill=0, resample=Image.Resampling.NEAREST)[0]) > 0
    try:
        cut = cut_of(cloth, kind)
    except DataError:
        return None
    if cut.overlap < SHAPED:
        return None
    if region_of(kind) == "lower":
        labels, lines = _lower(cloth, bottom_of(cloth, cut))
    else:
        labels, lines = _upper(cloth, top_of(cloth, cut), kind)
    shown, pixels = erode(cloth, up=1, down=1, side=1), np.asarray(picture)
    return PhotoPieces(pixels, ringed(labels), _pieces(pixels, labels, shown, lines))


_Lines = list[tuple[np.ndarray, float]]


def _upper(cloth: np.ndarray, top: Top, kind: str) -> tuple[np.ndarray, _Lines]:
    """Labels (H, W) of a top or dress, and the lines of its sleeves."""
    y, x = np.mgrid[: cloth.shape[0], : cloth.shape[1]]
    labels = np.where(cloth, GarmentPart.TRUNK, 0).astype(np.uint8)
    wide, (middle, high) = float(np.ptp(top.shoulders[:, 0])), top.shoulders.mean(0)
    lines: _Lines = []
    if len(top.sleeves) == 2:
        for side, sleeve in enumerate(top.sleeves):
            own = top.pieces[1 + side] & ~top.pieces[0]
            labels[own] = (GarmentPart.LEFT_SLEEVE, GarmentPart.RIGHT_SLEEVE)[side]
            along = (sleeve.left[[-8, -1]] + sleeve.right[[-8, -1]]) / 2
            root = (top.shoulders[side] + top.armpits[side]) / 2
            lines.append((np.vstack([root, along]), float(np.hypot(*(top.shoulders[side] - top.armpits[side]))) / 2))
    elif kind in LONG_SLEEVED:
        return np.where(cloth, CLOTH, 0).astype(np.uint8), []
    else:
        labels[cloth & (y < top.armpits[:, 1].max())] = CLOTH
    near = (np.abs(x - middle) < NECK[0] * wide) & (y < high + NECK[1] * wide)
    labels[(labels == GarmentPart.TRUNK) & (near | (y < high))] = CLOTH
    return labels, lines


def _lower(cloth: np.ndarray, bottom: Bottom) -> tuple[np.ndarray, _Lines]:
    """Labels (H, W) of what is worn below, and the lines of its legs."""
    y, x = np.mgrid[: cloth.shape[0], : cloth.shape[1]]
    rows = np.flatnonzero(cloth.any(1))
    labels = np.where(cloth, GarmentPart.TRUNK, 0).astype(np.uint8)
    lines: _Lines = []
    if bottom.legs:
        (left, right), crotch = bottom.legs, float(bottom.seat.left[-1, 1])
        middle = np.interp(y[:, 0], left.right[:, 1], (left.right[:, 0] + right.left[:, 0]) / 2)[:, None]
        for side, leg in enumerate(bottom.legs):
            own = cloth & (y >= crotch) & ((x < middle) if side == 0 else (x >= middle))
            apart = (right.left[:, 0] - left.right[:, 0] > 2).mean() > PARTED
            labels[own] = LEGS[side] if apart else CLOTH
            line = (leg.left[[0, len(leg.left) // 2, -1]] + leg.right[[0, len(leg.left) // 2, -1]]) / 2
            if apart:
                lines.append((line, float(np.hypot(*(leg.left[0] - leg.right[0]))) / 2))
    labels[(labels == GarmentPart.TRUNK) & (y < rows[0] + WAIST * len(rows))] = CLOTH
    return labels, lines


def _pieces(pixels: np.ndarray, labels: np.ndarray, shown: np.ndarray, lines: _Lines) -> list[FlatPiece]:
    """The trunk and each limb that has a line apart."""
    sleeves = (GarmentPart.LEFT_SLEEVE, GarmentPart.RIGHT_SLEEVE)
    sides = LEGS if np.isin(labels, LEGS).any() else sleeves
    limbs = [labels == part for part in sides][: len(lines)]
    trunk = shown & ~np.logical_or.reduce([np.zeros_like(shown), *limbs])
    found = []
    for own, (line, half) in zip([trunk, *(shown & limb for limb in limbs)], [(np.zeros((0, 2)), 0.0), *lines]):
        alpha = (own * 255).astype(np.uint8)[..., None]
        parts = np.where(own, labels, 0).astype(np.uint8)
        found.append(FlatPiece(np.concatenate([pixels, alpha], -1), parts, line, half))
    return found


def floor_of(found: PhotoPieces, rng: np.random.Generator) -> np.ndarray | None:
    """What a garment lies on, (SIDE, SIDE, 3) uint8, mirrored over the picture; None where little is seen."""
    clear = found.labels != GarmentPart.BACKGROUND
    bands = [(slice(0, int(np.flatnonzero(clear.any(1))[0])), slice(None)),
             (slice(int(np.flatnonzero(clear.any(1))[-1]) + 1, SIDE), slice(None)),
             (slice(None), slice(0, int(np.flatnonzero(clear.any(0))[0]))),
             (slice(None), slice(int(np.flatnonzero(clear.any(0))[-1]) + 1, SIDE))]  # fmt: skip
    crops = [found.picture[band][3:-3, 3:-3] for band in bands]
    crops = [crop for crop in crops if min(crop.shape[:2], default=0) >= 24]
    if not crops:
        return None
    crop = crops[int(rng.integers(len(crops)))]
    pad = [(0, SIDE - side) for side in crop.shape[:2]]
    tiled = np.pad(crop, [*pad, (0, 0)], mode="symmetric")
    return np.rot90(tiled, int(rng.integers(4))).copy()


def dressed_in(piece: FlatPiece, found: PhotoPieces, rng: np.random.Generator) -> FlatPiece:
    """A white piece in the cloth of a photo."""
    cloth = erode((found.labels == GarmentPart.TRUNK), up=2, down=2, side=2)
    y, x = np.nonzero(cloth)
    if y.size < 400:
        return piece
    low, high = np.quantile(y, (0.25, 0.75)).astype(int), np.quantile(x, (0.25, 0.75)).astype(int)
    crop = found.picture[low[0] : low[1] + 8, high[0] : high[1] + 8]
    pad = [(0, max(0, SIDE - side)) for side in crop.shape[:2]]
    tiled = np.pad(crop, [*pad, (0, 0)], mode="symmetric")[:SIDE, :SIDE].astype(np.float32)
    shade = piece.picture[..., :3].astype(np.float32).mean(-1, keepdims=True) / 225
    coloured = (tiled * shade).clip(0, 255).astype(np.uint8)
    return FlatPiece(np.concatenate([coloured, piece.picture[..., 3:]], -1), piece.parts, piece.line, piece.half)
