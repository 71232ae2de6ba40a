"""PreferDiff: DreamRec trained to prefer what was taken to what was not.

Liu et al., Preference Diffusion for Recommendation (ICLR 2025). For each target, with S(a, b) = (cos(a, b) - 1)²,
L = λ |F(x_t+, t, c) - e+|² - (1 - λ) log σ(-γ [S(F(x_t+, t, c), e+) - S(F(x_t-, t, c), e-)]),
where e- is the centroid of the other targets of the batch and x_t+, x_t- share their noise. DreamRec's guidance,
linear denoiser and linear betas, T = 2000 with t = T among the times trained, ranking by DDIM in about 20 steps.
Differs: log σ is taken of every sample, not of the batch's mean errors as in the authors' code; rows with the same
target are no negatives of each other; items have norm √d, as the squared error alone would shrink them (the authors
use d = 3072); every position of a causal encoder is a target; scores are averaged over `draws`.
There is no `generate`: the denoiser is affine in x_t, so what it generates spreads around one mean and is no sample of
the items that may come next.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..diffusion.gaussian import q_sample
from ..errors import check_range
from ..saved import Pretrained
from ..types import Batch, Ranking
from .dreamrec import DreamRec, DreamRecConfig


@dataclass(frozen=True)
class PreferDiffConfig:
    """`share` is the paper's λ, `gamma` its γ; `sample_steps` are DDIM's, for ranking; `weight` is guidance."""

    n_items: int
    d: int = 64
    max_len: int = 50
    encoder: str = "transformer"
    layers: int = 2
    heads: int = 2
    dropout: float = 0.1
    T: int = 2000
    schedule: str = "linear"
    p_uncond: float = 0.1
    weight: float = 2.0
    sample_steps: int = 20
    draws: int = 1
    share: float = 0.5
    gamma: float = 5.0

    def __post_init__(self):
        check_range(share=(self.share, 0, 1), gamma=(self.gamma, 0, 1000))
        self.dreamrec()

    def dreamrec(self) -> DreamRecConfig:
        """The configuration of the model underneath.

        Raises:
            ConfigError: settings out of range.
        """
        c = self
        return DreamRecConfig(
            c.n_items, objective="mse", d=c.d, max_len=c.max_len, encoder=c.encoder, layers=c.layers, heads=c.heads,
            dropout=c.dropout, T=c.T, schedule=c.schedule, terminal=0.0, p_uncond=c.p_uncond, weight=c.weight, eta=0.0,
            steps=c.sample_steps, sample_steps=c.sample_steps, draws=c.draws,
            positions="one" if c.encoder == "bidirectional" else "all",
        )  # fmt: skip


def cosine_error(x: Tensor, y: Tensor) -> Tensor:
    """Measure (cos(x, y) - 1)² along the last dimension: 0 for the same direction, 4 for the opposite one."""
    return (F.cosine_similarity(x, y, dim=-1) - 1).square()


def other_centroids(x0: Tensor, target: Tensor) -> Tensor:
    """Average, for each row of x0 (N, d), the rows whose target (N,) is another item; zero where there is none."""
    item, row = target.unique(return_inverse=True)
    total = x0.new_zeros(len(item), x0.shape[1]).index_add(0, row, x0)
    count = row.bincount(minlength=len(item)).to(x0.dtype).unsqueeze(1)
    return ((x0.sum(0) - total) / (len(x0) - count).clamp(min=1))[row]


def preference_loss(
    guess: Tensor, x0: Tensor, guess_other: Tensor, x0_other: Tensor, *, share: float, gamma: float
) -> dict[str, Tensor]:
    """Score guesses (N, d) of what was taken, x0, and of what was not, x0_other; any model that guesses x0 can use it.

    "simple" is the mean squared error, "preference" the mean over samples of -log σ(-γ [S+ - S-]) with S the cosine
    error of either guess, and "loss" share·simple + (1 - share)·preference.
    """
    taken, other = cosine_error(guess, x0), cosine_error(guess_other, x0_other)
    preference = F.softplus(gamma * (taken - other)).mean()
    simple = F.mse_loss(guess, x0)
    return {"loss": share * simple + (1 - share) * preference, "simple": simple, "preference": preference}


class PreferDiff(nn.Module, Pretrained):
    """DreamRec's encoder, denoiser and ranking under the preference objective."""

    def __init__(self, config: PreferDiffConfig):
        super().__init__()
        self.n_items, self.config = config.n_items, config
        self.net = DreamRec(config.dreamrec())

    def loss(self, batch: Batch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Score generation and preference on Batch (B, L); the total is "loss"."""
        c, e = self.config, self.net.examples(batch, generator=generator)
        taken = e.embedding[e.target]
        other = other_centroids(taken, e.target)
        eps = torch.randn(taken.shape, generator=generator, device=taken.device)
        guess, guess_other = (
            self.net.denoiser(q_sample(x0, e.t, eps, schedule=self.net.schedule), e.t, e.condition)
            for x0 in (taken, other)
        )
        return preference_loss(guess, taken, guess_other, other, share=c.share, gamma=c.gamma)

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the next items of history (B, L); noise comes from the generator's initial seed and each history.

        Scores are the mean of x0·E^T over the draws.

        Raises:
            DataError: `history` has another type or shape, unknown items, or padding after an item.
            ConfigError: k is outside 1..n.
        """
        return self.net.recommend(history, k, exclude_seen=exclude_seen, generator=generator)

    def item_embeddings(self) -> Tensor:
        """Return the embeddings (n+1, d), of norm √d, row 0 padding."""
        return self.net.item_embeddings()
