"""Noise schedules: how much signal alpha_t and noise sigma_t step t holds, x_t = alpha_t x0 + sigma_t eps.

Index 0 is clean data (alpha 1, sigma 0) and index T the noisiest step, so a vector has T + 1 entries.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError

MAX_BETA = 0.999  # keeps alpha_T above zero where a curve ends there (Nichol & Dhariwal 2021)


@dataclass(frozen=True, eq=False)
class Schedule:
    """Two float64 vectors of T + 1 entries with alpha_t^2 + sigma_t^2 = 1 and alpha falling from 1.

    Raises:
        ConfigError: they are anything else.
    """

    alpha: Tensor
    sigma: Tensor

    def __post_init__(self):
        if self.alpha.ndim != 1 or self.alpha.shape != self.sigma.shape or len(self.alpha) < 2:
            raise ConfigError(
                f"alpha {tuple(self.alpha.shape)}, sigma {tuple(self.sigma.shape)}; give two vectors of T+1"
            )
        if self.alpha.dtype != torch.float64 or self.sigma.dtype != torch.float64:
            raise ConfigError(f"alpha is {self.alpha.dtype}, sigma {self.sigma.dtype}; give float64")
        if not torch.allclose(self.alpha**2 + self.sigma**2, torch.ones_like(self.alpha)):
            raise ConfigError("alpha² + sigma² differs from 1; build the schedule with from_betas or from_alpha_bar")
        falling = bool((self.alpha[1:] <= self.alpha[:-1]).all())
        if self.alpha[0] != 1 or not falling or self.alpha[-1] < 0 or self.sigma.min() < 0:
            raise ConfigError("alpha must start at 1 and fall, sigma must not be negative; check the betas lie in 0..1")

    @property
    def T(self) -> int:
        """The number of noise steps."""
        return len(self.alpha) - 1

    @property
    def betas(self) -> Tensor:
        """(T,) variances beta_1..beta_T of the single forward steps, beta_t = 1 - alpha_t^2 / alpha_{t-1}^2."""
        return 1 - (self.alpha[1:] / self.alpha[:-1]) ** 2

    @property
    def snr(self) -> Tensor:
        """(T+1,) signal-to-noise ratio alpha_t^2 / sigma_t^2, infinite at t = 0."""
        return (self.alpha / self.sigma) ** 2


def from_alpha_bar(alpha_bar: Tensor) -> Schedule:
    """Build a schedule from the products alpha_bar_t = alpha_t^2, t = 1..T: alpha_bar (T,)."""
    alpha_bar = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar.double()])
    return Schedule(alpha_bar.sqrt(), (1 - alpha_bar).clamp(min=0).sqrt())


def from_betas(betas: Tensor) -> Schedule:
    """Build a schedule from the forward variances beta_t (DDPM, eq. 2): betas (T,).

    Raises:
        ConfigError: a variance outside 0..1.
    """
    if bool(((betas < 0) | (betas > 1)).any()):
        low, high = float(betas.min()), float(betas.max())
        raise ConfigError(f"betas lie in {low:.4g}..{high:.4g}; allowed are 0 to 1: use more steps")
    return from_alpha_bar(torch.cumprod(1 - betas.double(), 0))


def linear(T: int, *, start: float = 1e-4, end: float = 0.02) -> Schedule:
    """Let beta rise in a straight line (Ho et al. 2020, section 4); the values are meant for T near 1,000."""
    return from_betas(torch.linspace(start, end, _steps(T), dtype=torch.float64))


def cosine(T: int, *, offset: float = 0.008) -> Schedule:
    """Let alpha_bar follow cos² (Nichol & Dhariwal 2021, eq. 17)."""
    u = (_grid(T) + offset) / (1 + offset)
    return _from_curve(torch.cos(u * torch.pi / 2) ** 2)


def sqrt(T: int, *, offset: float = 1e-4) -> Schedule:
    """Let alpha_bar fall as 1 - sqrt(t/T): noise comes early (Li et al. 2022, Diffusion-LM, appendix A)."""
    return _from_curve((1 - torch.sqrt(_grid(T) + offset)).clamp(min=0))


def exp(T: int, *, start: float = 0.1, end: float = 10.0) -> Schedule:
    """Sample the variance-preserving SDE with linear beta(s), s = t/T (Song et al. 2021, eq. 33).

    alpha_bar(s) = exp(-start·s - (end - start)·s²/2), whatever T is.
    """
    s = _grid(T)[1:]
    return from_alpha_bar(torch.exp(-start * s - 0.5 * (end - start) * s**2))


def truncated_linear(T: int, *, start: float = 1e-4, end: float = 0.02, shift: float = 0.01) -> Schedule:
    """Scale the linear betas to T steps, add `shift` and cap them below 1 (DiffuRec, Li et al. 2023, section 4)."""
    scale = 1000 / _steps(T)
    betas = torch.linspace(scale * start + shift, scale * end + shift, T, dtype=torch.float64)
    return from_betas(betas.clamp(max=MAX_BETA))


def linear_variance(T: int, *, scale: float, low: float, high: float) -> Schedule:
    """Let the noise variance itself rise in a straight line, sigma_t² = scale·linspace(low, high) (DiffRec, eq. 4)."""
    variance = scale * torch.linspace(low, high, _steps(T), dtype=torch.float64)
    if not 0 <= float(variance.min()) <= float(variance.max()) < 1:
        raise ConfigError(f"scale·low, scale·high = {scale * low:.4g}, {scale * high:.4g}; allowed is 0 to below 1")
    return from_alpha_bar(1 - variance)


SCHEDULES = {"linear": linear, "cosine": cosine, "sqrt": sqrt, "exp": exp, "truncated-linear": truncated_linear}
"""Schedules that need nothing but T, by the name a configuration uses."""


def by_name(name: str, T: int) -> Schedule:
    """Look up a schedule of SCHEDULES with its usual parameters.

    Raises:
        ConfigError: another name.
    """
    if name not in SCHEDULES:
        raise ConfigError(f"schedule = {name!r}; allowed are {', '.join(SCHEDULES)}")
    return SCHEDULES[name](T)


def spaced(T: int, steps: int) -> list[int]:
    """Choose `steps` of the times 1..T for a sampler, evenly spaced, the first T and falling; 0 is left out.

    Raises:
        ConfigError: steps is not in 1..T.
    """
    if not 1 <= steps <= T:
        raise ConfigError(f"steps = {steps}; allowed are 1 to T = {T}")
    return [-(-T * i // steps) for i in range(steps, 0, -1)]


def _from_curve(alpha_bar: Tensor) -> Schedule:
    """Betas from T + 1 points of a curve, capped at MAX_BETA."""
    return from_betas((1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=MAX_BETA))


def _grid(T: int) -> Tensor:
    return torch.linspace(0, 1, _steps(T) + 1, dtype=torch.float64)


def _steps(T: int) -> int:
    if T < 1:
        raise ConfigError(f"t = {T}; allowed is 1 or more noise steps")
    return T
