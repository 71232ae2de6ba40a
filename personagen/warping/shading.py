"""Take the light and shade of a small network's picture, and every other detail of the first guess (`guess`).

A small network paints colours and shapes well and blurs what is finer: seams, buttons and prints are the guess's, at
the photo's own resolution. VITON (arXiv 1711.08447, section 3.3) composes a warped garment and a coarse result by a
mask that a network has learnt; the rule here needs no training.
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..images import blur

SHADE = 0.5
"""Share of the difference in lightness that is added."""
MOST = 0.12
"""Most lightness that is added or taken, of 1: more would be a colour of the network's, not light."""


def shade(result: Tensor, guess: Tensor, mask: Tensor) -> Tensor:
    """Return what to add to each pixel of the guess, (1, h, w); result and guess (3, h, w) in [0, 1], mask (1, h, w).

    Only what is coarse is compared: both are blurred over a twelfth of the height, inside the mask alone.
    """
    kernel = max(3, result.shape[1] // 12) // 2 * 2 + 1
    both = blur(((result - guess).mean(0, keepdim=True) * mask)[None], kernel=kernel)[0]
    weight = blur(mask[None], kernel=kernel)[0].clamp(min=1e-4)
    return (SHADE * both / weight * mask).clamp(-MOST, MOST)


def shaded(guess: Image.Image, light: Image.Image) -> Tensor:
    """Add light (mode F) to the garment in a guess, which its alpha marks: (1, 3, H, W) in [0, 1]."""
    picture = torch.from_numpy(np.array(guess)).permute(2, 0, 1)[None].float() / 255
    return (picture[:, :3] + picture[:, 3:] * torch.from_numpy(np.array(light))).clamp(0, 1)
