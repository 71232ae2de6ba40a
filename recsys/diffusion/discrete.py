"""Discrete diffusion on codes: the forward process, its posterior, and one sampler; the verbs of `gaussian`.

Austin et al., Structured Denoising Diffusion Models in Discrete State-Spaces (D3PM, 2021). One family holds both
kernels: a step keeps the state with probability a_t = 1 - beta_t and otherwise draws a new one from `noise` (S,),

    Q_t = a_t I + (1 - a_t) 1 noise^T,    Q̄_t = Q_1 ... Q_t = alpha_bar_t I + (1 - alpha_bar_t) 1 noise^T,

with alpha_bar_t = alpha_t² of a Schedule. `uniform` noise draws any code alike; `absorbing` noise is a MASK state after
the codes. States are the last dimension of a distribution, row = from, column = to. Nothing is random: numbers in
0..1 are given as `u`, or drawn from a generator by `sample`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError
from ..types import Denoise
from .schedule import Schedule, spaced

Uniform = Callable[[tuple[int, ...], int], Tensor]
"""(shape, draw number) -> numbers in 0..1; for callers that need their own stream for every row."""
Reverse = Callable[..., Tensor]
"""`posterior` or `mixture`."""


@dataclass(frozen=True)
class Sample:
    """One step of the sampler: codes x after it, at time t, and the distribution of x0 it was made with."""

    t: int
    x: Tensor
    x0_hat: Tensor


def uniform(V: int) -> Tensor:
    """Let noise be any of V codes alike: (V,) (D3PM, appendix A.2)."""
    return torch.full((V,), 1 / V)


def absorbing(V: int) -> Tensor:
    """Let noise be a MASK state, number V, after V codes: (V+1,) (D3PM, appendix A.2)."""
    return torch.eye(V + 1)[V]


KERNELS = {"uniform": uniform, "absorbing": absorbing}


def stay(schedule: Schedule, V: int) -> Tensor:
    """Give DDSR's beta_t, (T,): how likely a code is itself after one uniform step, a_t + (1 - a_t)/V."""
    return 1 - schedule.betas * (1 - 1 / V)


def transition(keep: Tensor, noise: Tensor) -> Tensor:
    """Build the matrices keep·I + (1 - keep)·1 noise^T for keep (...): (..., S, S)."""
    keep = keep[..., None, None]
    return keep * torch.eye(len(noise), dtype=keep.dtype, device=keep.device) + (1 - keep) * noise.to(keep)


def step_matrix(t: Tensor, *, schedule: Schedule, noise: Tensor) -> Tensor:
    """Build Q_t (..., S, S) float64 for t (...) >= 1."""
    return transition(keep(schedule, t, t - 1), noise)


def total_matrix(t: Tensor, *, schedule: Schedule, noise: Tensor) -> Tensor:
    """Build Q̄_t (..., S, S) float64 for t (...) >= 0, in closed form."""
    return transition(keep(schedule, t), noise)


def keep(schedule: Schedule, t: Tensor, s: Tensor | int = 0) -> Tensor:
    """Look up how likely a state stays undrawn between times s <= t (B,): alpha_bar_t / alpha_bar_s, float64."""
    alpha = schedule.alpha.to(t.device)
    return (alpha[t] / alpha[s]) ** 2


def q_sample(x0: Tensor, t: Tensor, u: Tensor, *, schedule: Schedule, noise: Tensor) -> Tensor:
    """Corrupt codes x0 (B, *) to time t (B,) with u like x0, uniform in 0..1 (D3PM, eq. 3).

    u below alpha_bar_t keeps the code; above, what is left of u is uniform again and draws from `noise`.
    """
    kept = _wide(keep(schedule, t), x0)
    rest = (u.double() - kept) / (1 - kept).clamp(min=1e-12)
    total = noise.double().cumsum(0)
    new = torch.searchsorted(total, (rest.clamp(min=0) * total[-1]).contiguous(), right=True)
    return torch.where(rest < 0, x0, new.clamp(max=int(noise.nonzero()[-1])))


def draw(probabilities: Tensor, u: Tensor) -> Tensor:
    """Draw states (...) from probabilities (..., S), which need not sum to 1, with u (...) uniform in 0..1."""
    total = probabilities.double().cumsum(-1)
    place = (u.double().unsqueeze(-1) * total[..., -1:] >= total).sum(-1)
    last = (probabilities > 0).double().cumsum(-1).argmax(-1)  # u = 1 by rounding must not leave the support
    return torch.minimum(place, last)


def posterior(x_t: Tensor, x0: Tensor, t: Tensor, s: Tensor, *, schedule: Schedule, noise: Tensor) -> Tensor:
    """Find q(x_s | x_t, x0) (B, *, S) for x_t (B, *), times s < t (B,), and x0 (B, *, S) one-hot (D3PM, eq. 3).

    With a distribution in place of the one-hot x0 it is proportional to sum over x0 of q(x_s, x_t | x0) p(x0) (eq. 4),
    which is exact where p is a prior: predicted from a history, without sight of x_t.
    """
    into = _wide(keep(schedule, t, s), x0)
    begin = _wide(keep(schedule, s), x0)
    noise = noise.to(x0)
    current = torch.nn.functional.one_hot(x_t, len(noise)).to(x0)
    reach = into * current + (1 - into) * noise[x_t].unsqueeze(-1)
    weight = reach * (begin * x0 + (1 - begin) * noise * x0.sum(-1, keepdim=True))
    total = weight.sum(-1, keepdim=True)
    return torch.where(total > 0, weight / total.clamp(min=torch.finfo(total.dtype).tiny), current)


def mixture(x_t: Tensor, x0: Tensor, t: Tensor, s: Tensor, *, schedule: Schedule, noise: Tensor) -> Tensor:
    """Average q(x_s | x_t, x0) (B, *, S) over x0 ~ p(x0 | x_t) (B, *, S): exact for a denoiser that sees x_t.

    Equation 4 of D3PM would count x_t twice there; here p is divided by q(x_t | x0) first.
    """
    seen = likelihood(x_t, t, schedule=schedule, noise=noise).to(x0)
    ratio = torch.where(seen > 0, x0 / seen.clamp(min=torch.finfo(x0.dtype).tiny), torch.zeros_like(x0))
    return posterior(x_t, ratio, t, s, schedule=schedule, noise=noise)


def likelihood(x_t: Tensor, t: Tensor, *, schedule: Schedule, noise: Tensor) -> Tensor:
    """Find q(x_t | x0) for every x0: (B, *, S) for x_t (B, *), t (B,); a column of Q̄_t."""
    kept = _wide(keep(schedule, t), x_t.unsqueeze(-1))
    current = torch.nn.functional.one_hot(x_t, len(noise))
    return kept * current + (1 - kept) * noise.to(kept)[x_t].unsqueeze(-1)


def sample(
    denoise: Denoise,
    x: Tensor,
    *,
    schedule: Schedule,
    noise: Tensor,
    steps: int | None = None,
    start: int | None = None,
    reverse: Reverse = posterior,
    generator: torch.Generator | None = None,
    numbers: Uniform | None = None,
) -> Iterator[Sample]:
    """Walk from codes x (B, *) at time `start` (T unless given) to t = 0 and yield every step; the last is the result.

    denoise(x_t (B, *), t (B,)) gives the distribution of x0 (B, *, S); `reverse` is `posterior` where it does not look
    at x_t, `mixture` where it does. `steps` evenly spaced times are used, all unless given.

    Raises:
        ConfigError: start outside 1..T, steps outside 1..start, or no source of randomness.
    """
    start = schedule.T if start is None else start
    if not 1 <= start <= schedule.T:
        raise ConfigError(f"start = {start}; allowed are 1 to T = {schedule.T}")
    if generator is None and numbers is None:
        raise ConfigError("generator = None; give a generator, or numbers=: every step draws codes")
    times = spaced(start, start if steps is None else steps)
    more = numbers or (lambda shape, _: torch.rand(shape, generator=generator, device=x.device))
    for i, (t, s) in enumerate(zip(times, times[1:] + [0], strict=True)):
        time = torch.full((len(x),), t, device=x.device)
        x0_hat = denoise(x, time)
        after = reverse(x, x0_hat, time, torch.full_like(time, s), schedule=schedule, noise=noise)
        x = draw(after, more(tuple(x.shape), i))
        yield Sample(s, x, x0_hat)


def _wide(value: Tensor, like: Tensor) -> Tensor:
    """Shape (B,) to multiply (B, *) and take its floating type, float64 for codes."""
    dtype = like.dtype if like.is_floating_point() else torch.float64
    return value.to(dtype).view(value.shape + (1,) * (like.ndim - value.ndim))
