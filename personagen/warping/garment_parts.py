"""Say what each pixel of a garment's photo shows: trunk, sleeves, collar, hood, waistband, legs, lining or background.

The network is that of the parser of people (`person.network`) with fewer blocks, taught on garments laid in every
arrangement (`pretrain.garment`).
"""




import torch
from PIL import Image
from torch import Tensor

from ..images import fit, to_tensor
from ..person.network import PersonParser
from ..vocabulary import GarmentPart

MIRRORED = [0, GarmentPart.TRUNK, GarmentPart.RIGHT_SLEEVE, GarmentPart.LEFT_SLEEVE, GarmentPart.COLLAR,
            GarmentPart.HOOD, GarmentPart.WAISTBAND, GarmentPart.RIGHT_LEG, GarmentPart.LEFT_LEG,
            GarmentPart.LINING]  # fmt: skip
"""The part that each one is in a mirrored picture."""


@torch.no_grad()
def garment_logits(model: PersonParser, x: Tensor) -> Tensor:
    """Read pictures x (B, 3, H, W) in [-1, 1] and their mirror images: the mean of the logits (B, parts, H, W)."""
    as_is, other = model(torch.cat([x, x.flip(3)])).chunk(2)
    return (as_is + other.flip(3)[:, MIRRORED]) / 2
