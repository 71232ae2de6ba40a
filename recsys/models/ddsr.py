"""DDSR: predict the next item's codes from histories whose codes were corrupted by discrete diffusion, "fuzzy sets".

Xie et al., Breaking Determinism: Fuzzy Modeling of Sequential Recommendation Using Discrete State Space Diffusion
Model (NeurIPS 2024), Algorithm 1: t ~ 0..T; the codes of the history go to time t by Q̄_t = Q_1 ... Q_t, where a code
stays with beta_t or becomes any other alike; a transformer f(c^t_{1:n-1}, t) predicts c_{2:n}; cross-entropy.

What differs:
- The share of codes that have been redrawn rises in a straight line to `noise` at T; a MASK state ("absorbing") can
  take the place of the uniform kernel.
- The m digits are independent given the history, so the score of an item is a sum over its digits. All n items are
  scored exactly, by one matrix product, and no beam can lose one; probabilities are those of valid tuples.
- objective "digits" is the paper's cross-entropy of each digit; "items" (the default) that of the item among all valid
  tuples, with an item bias: the same scores, trained for the ranking. Digits alone would spend probability on
  tuples that no item has.
- Vectors of codes are shared between input and output; codes come from k-means (`ids.semantic_ids`), not an RQ-VAE.
- Code vectors also pass through a small network item by item: sums alone cannot tell which codes belong together.
- Ranking reads the history as it is (t = 0), or averages over `draws` fuzzy sets at `rank_time`.
- `sample_items` walks the codes of the next item from pure noise to 0: x0 is drawn among the items, p(item | history)
  times q(x_t | its codes), then x_s from q(x_s | x_t, x0). Every x0 is valid, every step sees a fuzzy set of its own at
  `rank_time`, and by Bayes' rule the draws follow the ranking's probabilities, however many steps there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..diffusion import discrete
from ..diffusion.noise import user_seeds, user_uniform
from ..diffusion.schedule import Schedule, from_alpha_bar
from ..errors import ConfigError, check_range
from ..ids.codes import CodeEmbedding, ItemCodes
from ..ids.semantic_ids import build_trie, find_items
from ..networks.denoiser import time_embedding
from ..networks.encoder import CAUSAL, build
from ..networks.items import cross_entropy, log_probabilities, mean_log_probabilities, with_first_items
from ..networks.mode import evaluating
from ..ranking import check_history, check_k, rank_in_chunks
from ..saved import Pretrained
from ..types import PAD, Batch, Ranking


@dataclass(frozen=True)
class DDSRConfig:
    """`m` digits of `V` codes an item; `noise` is the share of codes redrawn at T; `sample_steps`: `sample_items`."""

    n_items: int
    objective: str = "items"
    d: int = 64
    max_len: int = 50
    encoder: str = "transformer"
    layers: int = 2
    heads: int = 2
    dropout: float = 0.3
    items: str = "id"
    n_features: int = 0
    m: int = 4
    V: int = 64
    quantiser: str = "residual"
    kernel: str = "uniform"
    T: int = 50
    noise: float = 0.3
    rank_time: int = 0
    draws: int = 1
    sample_steps: int = 5
    max_softmax: int = 20_000

    def __post_init__(self):
        if self.objective not in ("items", "digits"):
            raise ConfigError(f"objective = {self.objective!r}; allowed are items, digits")
        if self.kernel not in discrete.KERNELS:
            raise ConfigError(f"kernel = {self.kernel!r}; allowed are {', '.join(discrete.KERNELS)}")
        check_range(
            n_items=(self.n_items, 1, 10**9),
            d=(self.d, 2, 4096),
            max_len=(self.max_len, 1, 4096),
            layers=(self.layers, 1, 64),
            m=(self.m, 1, 16),
            V=(self.V, 2, 65_536),
            T=(self.T, 1, 10_000),
        )
        check_range(dropout=(self.dropout, 0, 0.95), noise=(self.noise, 0, 1), rank_time=(self.rank_time, 0, self.T))
        check_range(draws=(self.draws, 1, 1024), sample_steps=(self.sample_steps, 1, self.T))


class DDSR(nn.Module, Pretrained):
    """Codes of items, their vectors, and a history encoder that knows how fuzzy the history is."""

    def __init__(self, config: DDSRConfig, *, features: Tensor | None = None):
        super().__init__()
        c = config
        self.n_items, self.config = c.n_items, c
        self.ids = ItemCodes(c.n_items, m=c.m, V=c.V, quantiser=c.quantiser, source=c.items, n_features=c.n_features)
        if features is not None:
            self.ids.set_features(features)
        self.kernel: Tensor
        self.register_buffer("kernel", discrete.KERNELS[c.kernel](c.V), persistent=False)
        self.schedule = straight(c.T, noise=c.noise)
        self.digits = CodeEmbedding(c.d, m=c.m, V=c.V, extra=len(self.kernel) - c.V)
        if c.objective == "items":
            self.item_bias = nn.Parameter(torch.zeros(c.n_items + 1))
        self.encoder = build(
            c.encoder, c.d, max_len=c.max_len, layers=c.layers, heads=c.heads, dropout=c.dropout, among=CAUSAL
        )
        self.mix = nn.Sequential(nn.Linear(c.m * c.d, 2 * c.d), nn.GELU(), nn.Linear(2 * c.d, c.d))
        self.time = nn.Linear(c.d - c.d % 2, c.d)
        self.start = nn.Parameter(torch.zeros(c.d))
        self.dropout = nn.Dropout(c.dropout)

    def prepare(self, sequences: Sequence[np.ndarray]) -> None:
        """Make the codes of the items from training sequences, unless they were set or loaded."""
        self.ids.prepare(sequences)

    def loss(self, batch: Batch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Average the cross-entropy of the next item, or of its digits summed, given fuzzy histories (Batch (B, L))."""
        batch, device = with_first_items(batch), batch.history.device
        t = torch.randint(0, self.config.T + 1, (len(batch.history),), generator=generator, device=device)
        u = torch.rand(*batch.history.shape, self.config.m, generator=generator, device=device)
        x, real = self._embed(batch.history, t, u)
        hidden = torch.where(real.unsqueeze(-1), self.encoder(self.dropout(x), real), self.start)
        known = batch.target != PAD
        return {"loss": self._cross_entropy(hidden[known], batch.target[known], generator)}

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the next items of history (B, L) by log-probability; fuzzy sets come from the generator's initial seed.

        Raises:
            DataError: `history` has another type or shape, unknown items, or padding after an item.
            ConfigError: k is outside 1..n.
        """
        check_history(history, self.n_items)
        check_k(k, self.n_items)
        seeds, c = user_seeds(history, generator=generator), self.config
        with evaluating(self):
            embedding, bias = self._items()

            def score(history: Tensor, rows: Tensor) -> Tensor:
                query = self._query(history, seeds[rows], t=c.rank_time, draws=c.draws, number=0)
                return mean_log_probabilities(query, c.draws, embedding, bias, scale=1.0)

            return rank_in_chunks(score, history, k, exclude_seen=exclude_seen)

    def sample_items(self, history: Tensor, *, draws: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Draw possible next items (B, draws) by `sample_steps` steps of the reverse process."""
        check_history(history, self.n_items)
        check_range(draws=(draws, 1, 4096))
        seeds = user_seeds(history, generator=generator)
        c = self.config
        codes = self.ids.codes
        target = straight(c.T, noise=1.0)
        numbers = lambda shape, i: user_uniform(seeds, (draws, *shape[1:]), draw=i).flatten(0, 1)

        def denoise(x_t: Tensor | None, t: Tensor) -> Tensor:
            query = self._query(history, seeds, t=c.rank_time, draws=draws, number=int(t[0]))
            logits = log_probabilities(query, *items, scale=1.0)
            if x_t is not None:
                fit = discrete.likelihood(x_t, t, schedule=target, noise=self.kernel)[..., : c.V].log()
                logits = logits + sum(fit[:, j].index_select(1, codes[:, j]) for j in range(c.m))
            item = discrete.draw(logits.softmax(1), numbers((len(logits),), 2 * c.T + int(t[0])))
            return F.one_hot(codes[item], len(self.kernel)).double()

        with evaluating(self):
            items = self._items()
            end = torch.full((len(history) * draws,), c.T, device=history.device)
            x = denoise(None, end).argmax(-1)
            x = discrete.q_sample(x, end, numbers(x.shape, 4 * c.T), schedule=target, noise=self.kernel)
            steps = discrete.sample(
                denoise, x, schedule=target, noise=self.kernel, steps=c.sample_steps,
                numbers=lambda shape, i: numbers(shape, 5 * c.T + i),
            )  # fmt: skip
            *_, last = steps
        return find_items(build_trie(codes, V=c.V), last.x).view(-1, draws)

    def item_embeddings(self) -> Tensor:
        """Return the sums of code vectors (n+1, d), row 0 padding."""
        with evaluating(self):
            return self._items()[0]

    def _items(self) -> tuple[Tensor, Tensor]:
        """Vectors (n+1, d), zero for padding, and biases (n+1,)."""
        embedding, bias = self.digits.items(self.ids.codes)
        real = torch.arange(self.n_items + 1, device=bias.device) != PAD
        bias = bias + self.item_bias if self.config.objective == "items" else bias
        return embedding * real.unsqueeze(1), bias * real

    def _embed(self, history: Tensor, t: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Corrupt history (B, L) to t (B,) with u (B, L, m); return vectors (B, L, d) and what is real (B, L)."""
        codes = discrete.q_sample(self.ids.codes[history], t, u, schedule=self.schedule, noise=self.kernel)
        when = self.time(time_embedding(t, self.config.d - self.config.d % 2)).unsqueeze(1)
        digits = self.digits(codes)
        return digits.sum(-2) + self.mix(digits.flatten(-2)) + when, history != PAD

    def _cross_entropy(self, query: Tensor, target: Tensor, generator: torch.Generator) -> Tensor:
        c = self.config
        if c.objective == "items":
            limit = c.max_softmax
            return cross_entropy(query, target, *self._items(), scale=1.0, limit=limit, generator=generator)
        codes = self.ids.codes[target]
        parts = [F.cross_entropy(self.digits.logits(query, j), codes[:, j]) for j in range(c.m)]
        return torch.stack(parts).sum()

    def _query(self, history: Tensor, seeds: Tensor, *, t: int, draws: int, number: int) -> Tensor:
        """Read `draws` fuzzy sets at time t of each history: queries (B·draws, d). `number` tells noise apart."""
        history = history[:, -self.config.max_len :]
        u = user_uniform(seeds, (history.shape[1], draws, self.config.m), draw=number)
        u = u.flip(1).transpose(1, 2).flatten(0, 1)  # streams begin at the most recent item, wherever padding ends
        history = history.repeat_interleave(draws, dim=0)
        x, real = self._embed(history, torch.full((len(history),), t, device=history.device), u)
        return torch.where(real[:, -1:], self.encoder.last(x, real), self.start)


def straight(T: int, *, noise: float) -> Schedule:
    """Let the share of codes that were redrawn rise in a straight line to `noise` at T."""
    return from_alpha_bar(1 - noise * torch.linspace(1 / T, 1, T, dtype=torch.float64))
