"""Noise that belongs to a user: the same for a history whatever batch, order or padding it arrives in.

A counter-based generator: numbers are hashes of (seed, history, counter), in the manner of Salmon et al., Parallel
Random Numbers: As Easy as 1, 2, 3 (2011), with the mixing function of SplitMix64 (Steele et al. 2014).
"""

import math

import torch
from torch import Tensor

from ..types import PAD

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit number; products wrap around
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def user_seeds(history: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Hash each left-padded history (B, L) and the generator's initial seed (0 without one) to a seed (B,) int64."""
    seed = _signed(generator.initial_seed() if generator is not None else 0)
    age = torch.arange(history.shape[1], 0, -1, device=history.device)
    words = _mix(_mix(history * _GOLDEN) + age * _GOLDEN)
    return _mix(words.masked_fill(history == PAD, 0).sum(1) + _mix(torch.tensor(seed, device=history.device)))


def user_normal(seeds: Tensor, shape: tuple[int, ...], *, draw: int = 0) -> Tensor:
    """Draw standard normal noise (B, *shape) float32, one stream per seed (B,); `draw` numbers independent calls.

    A larger shape continues the same stream (Box & Muller 1958, two numbers at a time).
    """
    count = math.prod(shape)
    uniform = user_uniform(seeds, (count + count % 2,), draw=draw)
    radius = (-2 * uniform[:, ::2].log()).sqrt()
    angle = 2 * math.pi * uniform[:, 1::2]
    normal = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=2).flatten(1)[:, :count]
    return normal.float().view(len(seeds), *shape)


def user_uniform(seeds: Tensor, shape: tuple[int, ...], *, draw: int = 0) -> Tensor:
    """Draw numbers (B, *shape) float64 inside 0..1, one stream per seed (B,); a larger shape continues the stream."""
    counter = torch.arange(math.prod(shape), device=seeds.device) * _GOLDEN
    stream = _mix(seeds + _signed((draw + 1) * _MIX_1))
    bits = _mix(stream[:, None] + counter)
    return ((_shift(bits, 11).double() + 0.5) * 2.0**-53).view(len(seeds), *shape)


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser: every input bit changes every output bit with probability near one half."""
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def _shift(x: Tensor, n: int) -> Tensor:
    """Shift right and fill with zeros (>> on a signed tensor copies the sign)."""
    return (x >> n) & ((1 << (64 - n)) - 1)


def _signed(seed: int) -> int:
    seed &= (1 << 64) - 1
    return seed - (1 << 64) if seed >= 1 << 63 else seed
