"""Say what each pixel of a garment's photo shows: trunk, sleeves, collar, hood, waistband, legs, lining or background.

The network is that of the parser of people (`person.network`) with fewer blocks, taught on garments laid in every
arrangement (`pretrain.garment`).
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from recsys.errors import ModelError, shown

from ..embedded import EMBEDDED
from ..images import components, fit, to_tensor
from ..person.guided_filter import guided_upsample
from ..person.network import PersonParser
from ..person.parser import load_model
from ..vocabulary import GarmentPart

MIRRORED = [0, GarmentPart.TRUNK, GarmentPart.RIGHT_SLEEVE, GarmentPart.LEFT_SLEEVE, GarmentPart.COLLAR,
            GarmentPart.HOOD, GarmentPart.WAISTBAND, GarmentPart.RIGHT_LEG, GarmentPart.LEFT_LEG,
            GarmentPart.LINING]  # fmt: skip
"""The part that each one is in a mirrored picture."""
SIDE = 192
"""Pixels a side of the square at which photos are read."""
FINEST = 480
"""Longest side in pixels at which the edge of the cloth is drawn, beyond it it is enlarged."""
SPECK = 0.004
"""Largest share of the cloth of a hole that is filled, and of a piece that is dropped thirty times of it."""


@torch.no_grad()
def garment_logits(model: PersonParser, x: Tensor) -> Tensor:
    """Read pictures x (B, 3, H, W) in [-1, 1] and their mirror images: the mean of the logits (B, parts, H, W)."""
    as_is, other = model(torch.cat([x, x.flip(3)])).chunk(2)
    return (as_is + other.flip(3)[:, MIRRORED]) / 2


@lru_cache(maxsize=1)
def _embedded() -> PersonParser:
    try:
        return load_model(EMBEDDED["garment"])
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"the parser of garments in {EMBEDDED['garment']} cannot be loaded ({shown(error, most=200)}); install "
            "the package again"
        ) from error


def garment_shares(photo: Image.Image, *, model: PersonParser | None = None) -> Tensor:
    """Return the probabilities of `GarmentPart` all over a photo, (1, parts, h, w), at the size at which it is read.

    model: None takes the one that comes with the package.

    Raises:
        ModelError: that one is missing or damaged.
    """
    fitted, where = fit(photo.convert("RGB"), size=(SIDE, SIDE), fill="edge")
    logits = garment_logits(model or _embedded(), to_tensor(fitted) * 2 - 1)
    return logits.softmax(1)[:, :, where.top : where.top + where.height, where.left : where.left + where.width]


def cloth_mask(photo: Image.Image, share: Tensor) -> np.ndarray:
    """Mark the cloth in a photo of a garment, bool (H, W), along the photo's own edges, by its share (1, 1, h, w)."""
    shrink = min(1.0, FINEST / max(photo.size))
    size = max(1, round(photo.height * shrink)), max(1, round(photo.width * shrink))
    guide = to_tensor(photo.convert("RGB").resize((size[1], size[0]), Image.Resampling.BOX))
    cloth = guided_upsample(share, guide)
    inside = tidied((cloth[0, 0] > 0.5).numpy())
    soft = torch.from_numpy(inside)[None, None].float()
    large = F.interpolate(soft, size=(photo.height, photo.width), mode="bilinear", align_corners=False)
    return (large[0, 0] > 0.5).numpy()


def tidied(inside: np.ndarray) -> np.ndarray:
    """A mask (H, W) without specks beside it and without specks of holes."""
    pieces = components(inside)
    if not pieces:
        return inside
    kept = np.logical_or.reduce([piece for piece in pieces if piece.sum() > 30 * SPECK * pieces[0].sum()])
    holes = [hole for hole in components(~kept) if hole.sum() < SPECK * kept.sum()]
    return np.logical_or.reduce([kept, *holes])


def parts_of(picture: Image.Image, cloth: np.ndarray, *, model: PersonParser | None = None) -> np.ndarray:
    """Say which part each pixel of a garment's cloth, bool (H, W), is: (H, W) uint8, 0 beside the cloth.

    Raises:
        ModelError: the parser is missing or damaged.
    """
    shares = garment_shares(picture, model=model)[:, 1:]
    large = F.interpolate(shares, size=cloth.shape, mode="bilinear", align_corners=False)
    return np.where(cloth, large[0].argmax(0).numpy() + 1, 0).astype(np.uint8)
