"""Denoisers (x_t (N, d), t (N,), c (N, d)) -> (N, d): what the clean item was, given a noisy one and a history."""

import math

import torch
from torch import Tensor, nn

from ..diffusion.schedule import Schedule


def time_embedding(t: Tensor, d: int) -> Tensor:
    """Embed t (N,) in sines and cosines (N, d), d even, of wavelengths 2·pi to 20,000·pi (Vaswani et al. 2017)."""
    rate = torch.exp(-math.log(10_000) * torch.arange(d // 2, device=t.device) / (d // 2))
    angle = t.unsqueeze(-1).float() * rate
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def time_network(d: int) -> nn.Sequential:
    """Build the two layers that turn a time embedding (N, d) into what a network adds or concatenates."""
    return nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))


class LinearDenoiser(nn.Module):
    """DreamRec's denoiser: one linear layer on [x_t ; c ; embedding of t] (Yang et al. 2023, as published)."""

    def __init__(self, d: int):
        super().__init__()
        self.d = d
        self.time = time_network(d)
        self.out = nn.Linear(3 * d, d)

    def forward(self, x_t: Tensor, t: Tensor, c: Tensor) -> Tensor:
        """Predict x0 (N, d)."""
        return self.out(torch.cat([x_t, c, self.time(time_embedding(t, self.d))], dim=-1))


class PosteriorDenoiser(nn.Module):
    """Predict the query u (N, d) whose logits u·E/√d are the log-posterior, by Bayes' rule plus a learned correction.

    If item i has prior p(i | c) ∝ exp(q·e_i/√d) and all |e_i| are equal, then
    log p(i | x_t, c) = q·e_i/√d + (alpha_t/sigma_t²) x_t·e_i + constant, so u = q + √d·alpha_t/sigma_t²·x_t exactly.
    The correction starts near zero and sees alpha_t x_t, the linear estimate of x0, so noise alone hardly moves it.
    """

    def __init__(self, d: int, *, schedule: Schedule):
        super().__init__()
        self.d = d
        evidence = d**0.5 * schedule.alpha[1:] / schedule.sigma[1:] ** 2
        self.evidence: Tensor
        self.alpha: Tensor
        self.register_buffer("evidence", torch.cat([evidence[:1], evidence]).float(), persistent=False)
        self.register_buffer("alpha", schedule.alpha.float(), persistent=False)
        self.prior = nn.Linear(d, d)
        self.enter = nn.Linear(2 * d, 2 * d)
        self.time = nn.Linear(d, 2 * d)
        self.out = nn.Linear(2 * d, d)
        nn.init.normal_(self.out.weight, std=1e-3)
        nn.init.zeros_(self.out.bias)

    def forward(self, x_t: Tensor, t: Tensor, c: Tensor) -> Tensor:
        """Predict the query u (N, d), for t >= 1."""
        seen = self.enter(torch.cat([self.alpha[t].unsqueeze(-1) * x_t, c], dim=-1))
        correction = self.out(nn.functional.gelu(seen + self.time(time_embedding(t, self.d))))
        return self.prior(c) + correction + self.evidence[t].unsqueeze(-1) * x_t
