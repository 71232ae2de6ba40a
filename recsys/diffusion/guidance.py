"""Classifier-free guidance: push a denoiser's answer away from what it says without the condition.

Ho & Salimans, Classifier-Free Diffusion Guidance (2022), eq. 6, on x0 instead of eps: x0 and eps are affine in each
other at a given x_t, so the same weight gives the same guided step.
"""

import torch
from torch import Tensor

from ..errors import ConfigError
from ..types import Denoise, Denoiser


def given(denoiser: Denoiser, condition: Tensor) -> Denoise:
    """Fix the condition (B, d) of a conditional denoiser."""
    return lambda x_t, t: denoiser(x_t, t, condition)


def classifier_free(denoiser: Denoiser, condition: Tensor, null: Tensor, *, weight: float) -> Denoise:
    """Return the guided denoiser (1 + w) f(x_t, t, condition) - w f(x_t, t, null).

    condition (B, d); null (d,) stands for "no history". Weight 0 is the conditional denoiser at half the cost.

    Raises:
        ConfigError: a weight below 0.
    """
    if weight < 0:
        raise ConfigError(f"weight = {weight}; allowed is 0 (no guidance) or more")
    if weight == 0:
        return given(denoiser, condition)
    both = torch.cat([condition, null.expand_as(condition)])

    def guided(x_t: Tensor, t: Tensor) -> Tensor:
        with_condition, without = denoiser(torch.cat([x_t, x_t]), torch.cat([t, t]), both).chunk(2)
        return (1 + weight) * with_condition - weight * without

    return guided


def drop_condition(condition: Tensor, null: Tensor, *, p: float, generator: torch.Generator) -> Tensor:
    """Replace each row of condition (..., d) by null (d,) with probability p, as training with guidance needs.

    Raises:
        ConfigError: p outside 0..1.
    """
    if not 0 <= p <= 1:
        raise ConfigError(f"p = {p}; allowed are 0 to 1")
    dropped = torch.rand(condition.shape[:-1], generator=generator, device=condition.device) < p
    return torch.where(dropped.unsqueeze(-1), null, condition)
