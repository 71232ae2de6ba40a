"""A U-Net for a short sequence of embeddings: every item is a channel, every embedding a small square picture.

Ronneberger et al., U-Net (2015), with residual blocks that are told the noise step (Ho et al. 2020, appendix B).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from .denoiser import time_embedding, time_network


def side(d: int, levels: int) -> int:
    """Find the side √d of an embedding's picture.

    Raises:
        ConfigError: it is not whole or cannot be halved.
    """
    root, fold = math.isqrt(d), 2 ** (levels - 1)
    if root * root != d or root % fold:
        raise ConfigError(f"d = {d} with levels = {levels}; d must be the square of a multiple of {fold}, such as 64")
    return root


class SequentialUNet(nn.Module):
    """Predict noise (B, M, d) from x_t (B, M, d), t (B,) and a condition c (B, d).

    The picture has M + 1 channels of √d x √d: the items and the condition, which is also added to the embedding of t.
    Channels grow by 1, 2, 2, ...; each of the `levels` halves the side.
    """

    def __init__(self, d: int, length: int, *, width: int, levels: int):
        super().__init__()
        self.d, self.side = d, side(d, levels)
        sizes = [width] + [2 * width] * (levels - 1)
        below = list(zip(sizes[:-1], sizes[1:], strict=True))
        self.time, self.condition = time_network(d), nn.Linear(d, d)
        self.enter = nn.Conv2d(length + 1, width, 3, padding=1)
        self.down = nn.ModuleList([_Block(size, size, d) for size in sizes])
        self.shrink = nn.ModuleList([nn.Conv2d(size, deeper, 2, stride=2) for size, deeper in below])
        self.grow = nn.ModuleList([nn.ConvTranspose2d(deeper, size, 2, stride=2) for size, deeper in below])
        self.up = nn.ModuleList([_Block(2 * size, size, d) for size in sizes[:-1]])
        self.norm = nn.GroupNorm(_groups(width), width)
        self.out = nn.Conv2d(width, length, 3, padding=1)

    def forward(self, x_t: Tensor, t: Tensor, c: Tensor) -> Tensor:
        """Predict the noise (B, M, d) of every item of x_t (B, M, d) at t (B,) under condition c (B, d)."""
        step = F.silu(self.time(time_embedding(t, self.d)) + self.condition(c))
        x = self.enter(torch.cat([x_t, c.unsqueeze(1)], dim=1).unflatten(2, (self.side, self.side)))
        kept = []
        for block, shrink in zip(self.down, self.shrink):
            kept.append(block(x, step))
            x = shrink(kept[-1])
        x = self.down[-1](x, step)
        for block, grow in zip(reversed(self.up), reversed(self.grow)):
            x = block(torch.cat([grow(x), kept.pop()], dim=1), step)
        return self.out(F.silu(self.norm(x))).flatten(2)


class _Block(nn.Module):
    def __init__(self, size: int, out: int, step: int):
        super().__init__()
        self.norm_1 = nn.GroupNorm(_groups(size), size)
        self.conv_1 = nn.Conv2d(size, out, 3, padding=1)
        self.told = nn.Linear(step, out)  # saved weights know it by this name
        self.norm_2 = nn.GroupNorm(_groups(out), out)
        self.conv_2 = nn.Conv2d(out, out, 3, padding=1)
        self.skip = nn.Conv2d(size, out, 1) if size != out else nn.Identity()

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        """x (B, size, H, H), step (B, d) -> (B, out, H, H)."""
        hidden = self.conv_1(F.silu(self.norm_1(x))) + self.told(step)[:, :, None, None]
        return self.skip(x) + self.conv_2(F.silu(self.norm_2(hidden)))


def _groups(size: int) -> int:
    return math.gcd(size, 8)
