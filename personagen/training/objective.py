"""Diffusion training targets and losses, pure: prediction targets, min-SNR weights, masked and weighted errors.

With alpha = sqrt(abar_t), sigma = sqrt(1 - abar_t): x_t = alpha x0 + sigma eps, v = alpha eps - sigma x0 (Salimans &
Ho, arXiv 2202.00512, eq. 8 and appendix D), SNR = alpha² / sigma². Weights: min-SNR (Hang et al., arXiv 2303.09556,
§3.4).
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from recsys.errors import ConfigError

Prediction = Literal["epsilon", "v_prediction", "sample"]
Weighting = Literal["uniform", "min_snr", "clamped"]


def add_noise(x0: Tensor, noise: Tensor, abar: Tensor) -> Tensor:
    """Noise x0 (B, *) with `noise` (B, *) to the level abar (B,) in [0, 1]; return x_t (B, *)."""
    abar = _expand(abar, x0)
    return abar.sqrt() * x0 + (1 - abar).sqrt() * noise


def prediction_target(x0: Tensor, noise: Tensor, abar: Tensor, *, prediction: Prediction) -> Tensor:
    """Return what the network has to output for x_t: noise, v or x0, each (B, *); ConfigError on another kind."""
    if prediction == "epsilon":
        return noise
    if prediction == "sample":
        return x0
    if prediction == "v_prediction":
        abar = _expand(abar, x0)
        return abar.sqrt() * noise - (1 - abar).sqrt() * x0
    raise ConfigError(f"prediction {prediction!r} is unknown; use one of {get_args(Prediction)}")


def predicted_x0(output: Tensor, x_t: Tensor, abar: Tensor, *, prediction: Prediction) -> Tensor:
    """Read the network's output (B, *) as an estimate of x0 (B, *). With "epsilon" abar must be above 0."""
    abar = _expand(abar, x_t)
    if prediction == "sample":
        return output
    if prediction == "v_prediction":
        return abar.sqrt() * x_t - (1 - abar).sqrt() * output
    if prediction == "epsilon":
        return (x_t - (1 - abar).sqrt() * output) / abar.sqrt()
    raise ConfigError(f"prediction {prediction!r} is unknown; use one of {get_args(Prediction)}")


def snr_weights(
    abar: Tensor, *, prediction: Prediction, weighting: Weighting = "min_snr", gamma: float = 5.0
) -> Tensor:
    """Return the weight of each row's squared error; finite for every abar (B,) in [0, 1] and every prediction.

    "min_snr": the paper's min(SNR, gamma) on the error of x0, divided by the factor between that error and the one of
    `prediction`: SNR for epsilon (1 where SNR is 0), SNR + 1 for v, 1 for the sample. With v it vanishes at SNR = 0,
    so a schedule with zero terminal SNR leaves its last step untrained; "clamped", min(1, gamma / SNR) for every
    prediction, keeps it. "uniform": ones.

    Raises:
        ConfigError: gamma is 0 or less, or a kind is unknown.
    """
    if gamma <= 0:
        raise ConfigError(f"snr_gamma {gamma} must be above 0; 5 is usual")
    if prediction not in get_args(Prediction) or weighting not in get_args(Weighting):
        raise ConfigError(
            f"prediction {prediction!r} must be one of {get_args(Prediction)} and weighting {weighting!r} "
            f"one of {get_args(Weighting)}"
        )
    abar = abar.double()
    sigma2 = 1 - abar
    if weighting == "uniform":
        weights = torch.ones_like(abar)
    elif weighting == "clamped" or prediction == "epsilon":
        weights = torch.where(abar > gamma * sigma2, gamma * sigma2 / abar.clamp(min=1e-12), torch.ones_like(abar))
    elif prediction == "v_prediction":  # min(SNR, gamma) / (SNR + 1), and 1 / (SNR + 1) = sigma²
        weights = torch.minimum(abar, gamma * sigma2)
    else:
        weights = torch.where(abar > gamma * sigma2, torch.full_like(abar, gamma), abar / sigma2.clamp(min=1e-12))
    return weights.float()


def weighted_error(
    output: Tensor, target: Tensor, *, weights: Tensor | None = None, region: Tensor | None = None
) -> Tensor:
    """Return the mean squared error, a scalar, in float32.

    output, target (B, C, h, w); weights (B,) multiply rows; region (B, 1, h, w), >= 0, multiplies cells and is
    normalised within each row, so that a small region counts as much as a large one. A row whose region is all 0
    contributes 0.
    """
    error = (output.float() - target.float()).square()
    if region is None:
        rows = error.flatten(1).mean(1)
    else:
        region = region.expand_as(error)
        rows = (error * region).flatten(1).sum(1) / region.flatten(1).sum(1).clamp(min=1e-6)
    return (rows if weights is None else rows * weights).mean()


def stratified_timesteps(
    count: int, *, n_steps: int, shift: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    """Draw (count,) int64 timesteps in 0..n_steps-1, one in each of `count` equal strata, in random order.

    A small batch covers all noise levels, which lowers the variance of its gradient. The marginal is uniform with shift
    1; u becomes shift u / (1 + (shift - 1) u), so that above 1 high noise comes more often (arXiv 2403.03206, eq. 23).
    """
    u = (torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)) / count
    return (shift * u / (1 + (shift - 1) * u) * n_steps).long().clamp(max=n_steps - 1)


def _expand(abar: Tensor, like: Tensor) -> Tensor:
    return abar.to(like).reshape(-1, *[1] * (like.ndim - 1))
