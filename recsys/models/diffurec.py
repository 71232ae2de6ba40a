"""DiffuRec: items as distributions; a transformer reads the history with the noisy target laid over every item of it.

Li et al., DiffuRec: A Diffusion Model for Sequential Recommendation (TOIS 2023). z_i = e_i + λ_i ⊙ (x_t + embedding of
t), λ_i ~ N(δ, δ); the last position of Transformer(z) is x0_hat; full-softmax cross-entropy of x0_hat·E^T;
T = 32 with truncated-linear betas.
δ = 0.001 in the paper, which nearly kills the diffusion path: x_t moves z by a thousandth, so the answer hardly depends
on it and the model is a transformer with cross-entropy. `delta` is a setting for that reason.
Differs: items have norm √d and x0_hat = softmax(query·E^T/√d + bias) @ E, so that re-noising is fed an embedding on the
items' scale; the target is detached in x_t; λ_i = δ when ranking, where noise is seeded per user; scores are
averaged over `draws`; an item bias, and a learned stand-in for empty histories. One random prefix of each row is
trained a step, since x_t lies over the whole prefix.
There is no `generate`: where the answer hardly depends on x_t, every trajectory ends at the mean.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.prefixes import random_prefixes
from ..diffusion.gaussian import q_sample, random_times
from ..diffusion.noise import user_seeds
from ..diffusion.schedule import by_name
from ..diffusion.trajectory import last_answer
from ..errors import check_range
from ..networks.denoiser import time_embedding, time_network
from ..networks.encoder import build
from ..networks.items import ItemTable, cross_entropy, expected_embedding, mean_log_probabilities, with_first_items
from ..networks.mode import evaluating
from ..ranking import check_history, check_k, rank_in_chunks
from ..saved import Pretrained
from ..types import PAD, Batch, Ranking

Guide = Callable[[Tensor, Tensor], Tensor]
"""(embedded history (N, L, d), real (N, L)) -> the same shape: what is added to the guidance before noise is."""


@dataclass(frozen=True)
class DiffuRecConfig:
    """`delta` is the mean and deviation of λ; `sample_steps` and `draws` are for ranking, `eta` 1 = DDPM."""

    n_items: int
    d: int = 64
    max_len: int = 50
    encoder: str = "bidirectional"
    layers: int = 2
    heads: int = 2
    dropout: float = 0.1
    delta: float = 0.001
    T: int = 32
    schedule: str = "truncated-linear"
    sample_steps: int = 32
    draws: int = 1
    eta: float = 1.0
    max_softmax: int = 20_000

    def __post_init__(self):
        check_range(
            n_items=(self.n_items, 1, 10**9), d=(self.d, 2, 4096), max_len=(self.max_len, 1, 4096),
            layers=(self.layers, 1, 64), T=(self.T, 1, 10_000), sample_steps=(self.sample_steps, 1, self.T),
            draws=(self.draws, 1, 1024), max_softmax=(self.max_softmax, 2, 10**8),
        )  # fmt: skip
        check_range(dropout=(self.dropout, 0, 0.95), delta=(self.delta, 0, 10), eta=(self.eta, 0, 1))


@dataclass(frozen=True)
class Answers:
    """Queries (N, d) for N next items `target` (N,), and the items they are among."""

    query: Tensor
    target: Tensor
    embedding: Tensor
    bias: Tensor


class DiffuRec(nn.Module, Pretrained):
    """An item table and a transformer that recovers the next item from the history and a noisy guess of it."""

    def __init__(self, config: DiffuRecConfig):
        super().__init__()
        c = config
        self.n_items, self.config = config.n_items, config
        self.schedule = by_name(c.schedule, c.T)
        self.table = ItemTable(c.n_items, c.d, source="id")
        self.encoder = build(c.encoder, c.d, max_len=c.max_len, layers=c.layers, heads=c.heads, dropout=c.dropout)
        self.start = nn.Parameter(torch.randn(c.d) * 0.02)
        self.time = time_network(c.d)
        self.head = nn.Linear(c.d, c.d)
        self.dropout = nn.Dropout(c.dropout)

    def loss(self, batch: Batch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Noise a next item of each row of Batch (B, L) and take the cross-entropy of its recovery."""
        return {"loss": self.cross_entropy(self.answers(batch, generator=generator), generator=generator)}

    def answers(self, batch: Batch, *, generator: torch.Generator, guide: Guide | None = None) -> Answers:
        """Answer for one random prefix of each row of Batch (B, L), at random times."""
        c, (embedding, bias) = self.config, self._items()
        history, target = random_prefixes(with_first_items(batch), max_len=c.max_len, generator=generator)
        x, real = self._embedded(history, embedding, guide)
        t = random_times(target.shape, schedule=self.schedule, generator=generator, device=target.device)
        x0 = embedding[target].detach()
        eps = torch.randn(x0.shape, generator=generator, device=x0.device)
        strength = c.delta * (1 + torch.randn(x.shape, generator=generator, device=x.device))
        query = self._query(q_sample(x0, t, eps, schedule=self.schedule), t, x, real, strength)
        return Answers(query, target, embedding, bias)

    def cross_entropy(self, a: Answers, *, generator: torch.Generator) -> Tensor:
        """Average -log p(target)."""
        return cross_entropy(
            a.query, a.target, a.embedding, a.bias,
            scale=self.config.d**-0.5, limit=self.config.max_softmax, generator=generator,
        )  # fmt: skip

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the next items of history (B, L); noise comes from the generator's initial seed and each history.

        Scores are log-probabilities.

        Raises:
            DataError: `history` has another type or shape, unknown items, or padding after an item.
            ConfigError: k is outside 1..n.
        """
        return self.rank(history, k, exclude_seen=exclude_seen, generator=generator)

    def rank(
        self,
        history: Tensor,
        k: int,
        *,
        exclude_seen: bool,
        generator: torch.Generator | None,
        guide: Guide | None = None,
    ) -> Ranking:
        """Rank the next items of history (B, L) as `recommend` does, with something added to the guidance.

        Raises:
            DataError: `history` has another type or shape, unknown items, or padding after an item.
            ConfigError: k is outside 1..n.
        """
        check_history(history, self.n_items)
        check_k(k, self.n_items)
        seeds, c = user_seeds(history, generator=generator), self.config
        with evaluating(self):
            items = self._items()

            def score(history: Tensor, rows: Tensor) -> Tensor:
                x, real = self._embedded(history[:, -c.max_len :], items[0], guide)
                x, real = (y.repeat_interleave(c.draws, dim=0) for y in (x, real))
                query = last_answer(
                    lambda x_t, t: self._query(x_t, t, x, real, c.delta), seeds[rows],
                    clean=lambda query: expected_embedding(query, *items, scale=c.d**-0.5),
                    d=c.d, draws=c.draws, schedule=self.schedule, steps=c.sample_steps, eta=c.eta,
                )  # fmt: skip
                return mean_log_probabilities(query, c.draws, *items, scale=c.d**-0.5)

            return rank_in_chunks(score, history, k, exclude_seen=exclude_seen)

    def item_embeddings(self) -> Tensor:
        """Return the embeddings (n+1, d), of norm √d, row 0 padding."""
        with evaluating(self):
            return self._items()[0]

    def _items(self) -> tuple[Tensor, Tensor]:
        embedding, bias = self.table()
        return F.normalize(embedding, dim=1) * self.config.d**0.5, bias

    def _embedded(self, history: Tensor, embedding: Tensor, guide: Guide | None) -> tuple[Tensor, Tensor]:
        """(N, L, d) and which positions are real (N, L); an empty history is one stand-in item."""
        empty = (history[:, -1:] == PAD).unsqueeze(-1)
        x = embedding[history]
        x = torch.cat([x[:, :-1], torch.where(empty, self.start, x[:, -1:])], dim=1)
        real = torch.cat([history[:, :-1] != PAD, torch.ones_like(history[:, -1:], dtype=torch.bool)], dim=1)
        return (x if guide is None else guide(x, real)), real

    def _query(self, x_t: Tensor, t: Tensor, x: Tensor, real: Tensor, strength: Tensor | float) -> Tensor:
        """(N, d) whose logits are query·E/√d, for x_t (N, d), t (N,), x (N, L, d) and λ (N, L, d) or one number."""
        noise = x_t + self.time(time_embedding(t, self.config.d))
        return self.head(self.encoder.last(self.dropout(x + strength * noise.unsqueeze(1)), real))
