"""Gaussian diffusion: the forward process, conversions between predictions, and one sampler from DDIM to DDPM.

Ho et al., Denoising Diffusion Probabilistic Models (2020); Song et al., Denoising Diffusion Implicit Models (2021);
v: Salimans & Ho, Progressive Distillation (2022). Symbols and shapes are those of docs/notation.md.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError
from ..types import Denoise
from .schedule import Schedule, spaced

Noise = Callable[[Tensor, int], Tensor]
"""(x, draw number) -> standard normal noise like x; for callers that need their own stream for every row."""


@dataclass(frozen=True)
class Sample:
    """One step of the sampler: x after it, at time t, and the clean guess it was made with."""

    t: int
    x: Tensor
    x0_hat: Tensor


def coefficients(schedule: Schedule, t: Tensor, *, like: Tensor) -> tuple[Tensor, Tensor]:
    """Look up alpha_t and sigma_t for t (...) and shape them to multiply `like` (..., *)."""
    shape = t.shape + (1,) * (like.ndim - t.ndim)
    alpha = schedule.alpha.to(like.device)[t].to(like.dtype).view(shape)
    return alpha, schedule.sigma.to(like.device)[t].to(like.dtype).view(shape)


def q_sample(x0: Tensor, t: Tensor, eps: Tensor, *, schedule: Schedule) -> Tensor:
    """Noise x0 (..., *) to time t (...): alpha_t x0 + sigma_t eps (DDPM, eq. 4)."""
    alpha, sigma = coefficients(schedule, t, like=x0)
    return alpha * x0 + sigma * eps


def eps_from_x0(x0: Tensor, x_t: Tensor, t: Tensor, *, schedule: Schedule) -> Tensor:
    """Find the noise (..., *) that leads from x0 (..., *) to x_t (..., *), for t (...) >= 1."""
    alpha, sigma = coefficients(schedule, t, like=x_t)
    return (x_t - alpha * x0) / sigma


def x0_from_eps(eps: Tensor, x_t: Tensor, t: Tensor, *, schedule: Schedule) -> Tensor:
    """Find the clean x0 (..., *) that `eps` (..., *) leads away from, to x_t (..., *) at t (...); needs alpha_t > 0."""
    alpha, sigma = coefficients(schedule, t, like=x_t)
    return (x_t - sigma * eps) / alpha


def v_from_x0(x0: Tensor, x_t: Tensor, t: Tensor, *, schedule: Schedule) -> Tensor:
    """Find the velocity v = alpha_t eps - sigma_t x0 = (alpha_t x_t - x0) / sigma_t, (..., *) as x0 and x_t, t >= 1."""
    alpha, sigma = coefficients(schedule, t, like=x_t)
    return (alpha * x_t - x0) / sigma


def x0_from_v(v: Tensor, x_t: Tensor, t: Tensor, *, schedule: Schedule) -> Tensor:
    """Find the clean x0 = alpha_t x_t - sigma_t v that a velocity v (..., *) points at from x_t (..., *), t (...)."""
    alpha, sigma = coefficients(schedule, t, like=x_t)
    return alpha * x_t - sigma * v


def denoise_from_eps(predict: Denoise, *, schedule: Schedule) -> Denoise:
    """Turn a network that predicts eps into a denoiser."""
    return lambda x_t, t: x0_from_eps(predict(x_t, t), x_t, t, schedule=schedule)


def denoise_from_v(predict: Denoise, *, schedule: Schedule) -> Denoise:
    """Turn a network that predicts v into a denoiser."""
    return lambda x_t, t: x0_from_v(predict(x_t, t), x_t, t, schedule=schedule)


def random_times(shape: tuple[int, ...], *, schedule: Schedule, generator: torch.Generator, device=None) -> Tensor:
    """Draw t uniformly from 1..T (DDPM, Algorithm 1, line 3)."""
    return torch.randint(1, schedule.T + 1, shape, generator=generator, device=device)


def ddpm_loss(predict: Denoise, x0: Tensor, *, schedule: Schedule, generator: torch.Generator) -> Tensor:
    """Take one training step's loss for x0 (B, *): the mean of |eps - predict(x_t, t)|² (DDPM, Algorithm 1).

    `predict` returns eps; the mean over entries stands for the paper's sum.
    """
    t = random_times((len(x0),), schedule=schedule, generator=generator, device=x0.device)
    eps = torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
    return (eps - predict(q_sample(x0, t, eps, schedule=schedule), t)).square().mean()


def ddpm_sample(predict: Denoise, x: Tensor, *, schedule: Schedule, generator: torch.Generator) -> Tensor:
    """Sample by all T ancestral steps from x = x_T (B, *) with the variance beta_t (DDPM, Algorithm 2; predicts eps).

    `sample(eta=1)` takes the same mean and the smaller posterior variance, sigma_{t-1}²/sigma_t² beta_t.
    """
    for t, beta in zip(range(schedule.T, 0, -1), schedule.betas.tolist()[::-1], strict=True):
        eps = predict(x, torch.full((len(x),), t, device=x.device))
        x = (x - beta / float(schedule.sigma[t]) * eps) / (1 - beta) ** 0.5
        if t > 1:
            x = x + beta**0.5 * torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return x


def sample(
    denoise: Denoise,
    x: Tensor,
    *,
    schedule: Schedule,
    steps: int | None = None,
    start: int | None = None,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
    noise: Noise | None = None,
) -> Iterator[Sample]:
    """Walk from x (B, *) at time `start` (T unless given) to t = 0 and yield every step; the last holds the result.

    eta = 0 is DDIM (deterministic), eta = 1 DDPM with the posterior variance (Song et al. 2021, eq. 12 and 16);
    `steps` evenly spaced times are used, all unless given. With eta > 0 noise comes from `generator`, or from `noise`.

    Raises:
        ConfigError: eta outside 0..1, eta > 0 without a source of noise, or steps outside 1..start.
    """
    start = schedule.T if start is None else start
    _check_sampler(schedule, start, eta, generator, noise)
    times = spaced(start, start if steps is None else steps)
    draw = noise or (lambda x, _: torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype))
    for i, (t, s) in enumerate(zip(times, times[1:] + [0], strict=True)):
        time = torch.full((len(x),), t, device=x.device)
        x0_hat = denoise(x, time)
        eps = eps_from_x0(x0_hat, x, time, schedule=schedule)
        spread = eta * _posterior_std(schedule, s, t)
        direction = max(float(schedule.sigma[s]) ** 2 - spread**2, 0.0) ** 0.5
        x = float(schedule.alpha[s]) * x0_hat + direction * eps
        if spread > 0:
            x = x + spread * draw(x, i)
        yield Sample(s, x, x0_hat)


def posterior_mean(x0: Tensor, x_t: Tensor, t: Tensor, *, schedule: Schedule) -> Tensor:
    """Average x_{t-1} given x_t and x0, for t (B,) >= 1 (DDPM, eq. 7)."""
    alpha, sigma = coefficients(schedule, t, like=x_t)
    alpha_s, sigma_s = coefficients(schedule, t - 1, like=x_t)
    ratio = alpha / alpha_s
    return (ratio * sigma_s**2 * x_t + alpha_s * (1 - ratio**2) * x0) / sigma**2


def _posterior_std(schedule: Schedule, s: int, t: int) -> float:
    """Standard deviation of x_s given x_t and x0, s < t."""
    keep = float(schedule.alpha[t] / schedule.alpha[s]) ** 2
    return float(schedule.sigma[s] / schedule.sigma[t]) * (1 - keep) ** 0.5


def _check_sampler(schedule: Schedule, start: int, eta: float, generator: object, noise: object) -> None:
    if not 1 <= start <= schedule.T:
        raise ConfigError(f"start = {start}; allowed are 1 to T = {schedule.T}")
    if not 0 <= eta <= 1:
        raise ConfigError(f"eta = {eta}; allowed are 0 (DDIM) to 1 (DDPM)")
    if eta > 0 and (generator is None) == (noise is None):
        raise ConfigError(f"eta = {eta} needs exactly one of generator= and noise=")
