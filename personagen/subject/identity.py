"""Weigh the error of a person's pictures: head, skin and shoes are who they are, small beside clothes and background.

Without it a hundredth of the picture, such as the shoes, makes a hundredth of the loss, and half of its colour is
learnt (docs/log/2026-11-26.md). The parts are found by the embedded parser.
"""

from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..person.parser import load_parser
from ..person.parts import Part

SHARES = {Part.HEAD: 1.0, Part.SKIN: 0.5, Part.SHOES: 1.0}
"""Skin counts half, since there is more of it."""
_parser = cache(load_parser)


def identity_region(picture: Image.Image, *, weight: float) -> Tensor:
    """Where the error of a picture (H, W) counts: 1 on head and shoes, 1 / weight on what is not the person's own.

    Returns (1, H, W). weight: 1 or more.
    """
    parts = _parser()(picture).parts
    region = np.full(parts.shape, 1 / weight, np.float32)
    for part, share in SHARES.items():
        region[parts == part] = max(share, 1 / weight)
    return torch.from_numpy(region)[None]
