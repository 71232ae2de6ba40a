"""Masked diffusion on semantic ids: digits of the next item are masked and recovered from each other and the history.

Liu et al., DiffGRM: Diffusion-based Generative Recommendation Model (arXiv 2510.21805, 2025); LLaDA-Rec: Discrete
Diffusion for Parallel Semantic ID Generation in Generative Recommendation (arXiv 2511.06254, 2025); both follow Nie et
al., Large Language Diffusion Models (2025). Absorbing diffusion (`diffusion.discrete`): at t each digit is masked with
probability t, and the loss is the average over t ~ U(0, 1) of

    1/t · sum over masked digits of -log p(digit | digits in sight, history),

a bound on -log p(item). Integrated over t, every number r of masked digits is equally likely and weighs m/r (Ou et al.
2024), so r is drawn instead of t: the same expectation with less variance. Ranking reveals digits one after another,
the most certain first, by beam search among valid tuples.

What differs from those papers:
- The history encoder is causal and the denoiser sees it through one vector a position, so that every position of every
  history is a training target in one pass. Histories are not masked.
- Parallel codes come from product quantisation by k-means after a rotation (OPQ), not from learned heads.
- The order of the digits is chosen once a user, when all are masked, so that a prefix trie of that order serves.
- Beyond the beam items follow by the sum of their digits' log-probabilities when all digits are masked: rankings of
  any length exist, and no item is lost.
- No on-policy noising, contrastive or auxiliary losses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..diffusion.noise import user_seeds, user_uniform
from ..errors import ConfigError, check_range
from ..ids.codes import CodeEmbedding, ItemCodes
from ..ids.semantic_ids import LogProbabilities, Trie, beam_search, build_trie, draw_items
from ..networks.encoder import CAUSAL, build
from ..networks.items import with_first_items
from ..networks.mode import evaluating
from ..ranking import check_history, check_k, rank_in_chunks
from ..saved import Pretrained
from ..types import PAD, Batch, Ranking


@dataclass(frozen=True)
class MaskedIdsConfig:
    """`m` digits of `V` codes an item; `layers` read the history, `denoiser_layers` the digits of the next item."""

    n_items: int
    d: int = 64
    max_len: int = 50
    encoder: str = "transformer"
    layers: int = 2
    heads: int = 2
    denoiser_layers: int = 1
    dropout: float = 0.3
    items: str = "id"
    n_features: int = 0
    m: int = 4
    V: int = 64
    quantiser: str = "product"
    smoothing: float = 0.0
    beams: int = 50

    def __post_init__(self):
        check_range(
            n_items=(self.n_items, 1, 10**9),
            d=(self.d, 1, 4096),
            max_len=(self.max_len, 1, 4096),
            layers=(self.layers, 1, 64),
            denoiser_layers=(self.denoiser_layers, 1, 64),
            m=(self.m, 1, 8),
            V=(self.V, 2, 65_536),
            beams=(self.beams, 1, 4096),
        )
        check_range(dropout=(self.dropout, 0, 0.95), smoothing=(self.smoothing, 0, 0.9))
        if self.d % self.heads:
            raise ConfigError(f"heads = {self.heads}; allowed are divisors of d = {self.d}")


class MaskedIds(nn.Module, Pretrained):
    """A causal history encoder and a bidirectional denoiser over the digits of the next item."""

    def __init__(self, config: MaskedIdsConfig, *, features: Tensor | None = None):
        super().__init__()
        c = config
        self.n_items, self.config = c.n_items, c
        self.ids = ItemCodes(c.n_items, m=c.m, V=c.V, quantiser=c.quantiser, source=c.items, n_features=c.n_features)
        if features is not None:
            self.ids.set_features(features)
        self.digits = CodeEmbedding(c.d, m=c.m, V=c.V, extra=1)
        self.encoder = build(
            c.encoder, c.d, max_len=c.max_len, layers=c.layers, heads=c.heads, dropout=c.dropout, among=CAUSAL
        )
        self.condition = nn.Linear(c.d, c.m * c.d)
        self.denoiser = nn.ModuleList([
            nn.TransformerEncoderLayer(c.d, c.heads, 2 * c.d, c.dropout, "gelu", batch_first=True, norm_first=True)
            for _ in range(c.denoiser_layers)
        ])  # fmt: skip
        self.norm = nn.LayerNorm(c.d)
        self.start = nn.Parameter(torch.zeros(c.d))
        self.dropout = nn.Dropout(c.dropout)

    def prepare(self, sequences: Sequence[np.ndarray]) -> None:
        """Make the codes of the items from training sequences, unless they were set or loaded."""
        self.ids.prepare(sequences)

    def loss(self, batch: Batch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Average the bound on -log p(next item) over every position that has one (Batch (B, L))."""
        batch, c = with_first_items(batch), self.config
        real, known = batch.history != PAD, batch.target != PAD
        hidden = self.encoder(self.dropout(self.digits(self.ids.codes[batch.history]).sum(-2)), real)
        hidden = torch.where(real.unsqueeze(-1), hidden, self.start)[known]
        codes = self.ids.codes[batch.target[known]]
        masked = random_masks(len(codes), c.m, generator=generator, device=codes.device)
        weight = c.m / masked.sum(1)
        found = self._denoise(hidden, codes.masked_fill(masked, c.V))
        loss = hidden.new_zeros(())
        for j in range(c.m):
            rows = masked[:, j]
            logits = self.digits.logits(found[rows, j], j)
            ce = F.cross_entropy(logits, codes[rows, j], label_smoothing=c.smoothing, reduction="none")
            loss = loss + (ce * weight[rows]).sum() / len(codes)
        return {"loss": loss}

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the next items of history (B, L); scores are log-probabilities for the `beams` best, then only an order.

        `generator` is not needed.

        Raises:
            DataError: `history` has another type or shape, unknown items, or padding after an item.
            ConfigError: k is outside 1..n.
        """
        check_history(history, self.n_items)
        check_k(k, self.n_items)
        with evaluating(self):

            def score(history: Tensor, rows: Tensor) -> Tensor:
                hidden = self._hidden(history)
                logs = self._all_masked(hidden)
                codes = self.ids.codes
                rough = sum(logs[:, j].index_select(1, codes[:, j]) for j in range(self.config.m))
                items, best = torch.zeros_like(history[:, :0]), hidden[:, :0]
                for users, ask, trie in self._by_order(hidden, logs):
                    found = beam_search(ask, trie, users=len(users), beams=self.config.beams)
                    if not items.shape[1]:
                        items = torch.zeros(len(history), found[0].shape[1], dtype=torch.int64, device=history.device)
                        best = torch.full(items.shape, -torch.inf, device=history.device)
                    items[users], best[users] = found
                return _below(torch.as_tensor(rough), items, best)

            return rank_in_chunks(score, history, k, exclude_seen=exclude_seen)

    def sample_items(self, history: Tensor, *, draws: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Draw possible next items (B, draws) digit by digit, the most certain digit first."""
        check_history(history, self.n_items)
        check_range(draws=(draws, 1, 4096))
        u = user_uniform(user_seeds(history, generator=generator), (draws, self.config.m))
        items = torch.zeros(u.shape[:2], dtype=torch.int64, device=history.device)
        with evaluating(self):
            hidden = self._hidden(history)
            for users, ask, trie in self._by_order(hidden, self._all_masked(hidden)):
                items[users] = draw_items(ask, trie, u[users])
        return items

    def item_embeddings(self) -> Tensor:
        """Return the sums of code vectors (n+1, d), row 0 padding."""
        with evaluating(self):
            real = torch.arange(self.n_items + 1, device=self.start.device) != PAD
            return self.digits.items(self.ids.codes)[0] * real.unsqueeze(1)

    def _hidden(self, history: Tensor) -> Tensor:
        """What the encoder makes of each history, (B, d)."""
        history = history[:, -self.config.max_len :]
        real = history != PAD
        hidden = self.encoder.last(self.digits(self.ids.codes[history]).sum(-2), real)
        return torch.where(real[:, -1:], hidden, self.start)

    def _denoise(self, hidden: Tensor, codes: Tensor) -> Tensor:
        """Read codes (N, m), V where masked, beside the history's hidden (N, d): queries (N, m, d)."""
        x = self.digits(codes) + self.condition(hidden).unflatten(-1, (self.config.m, -1))
        for layer in self.denoiser:
            x = layer(x)
        return self.norm(x)

    def _all_masked(self, hidden: Tensor) -> Tensor:
        """Log-probabilities of every digit alone, (B, m, V)."""
        masks = torch.full((len(hidden), self.config.m), self.config.V, device=hidden.device)
        found = self._denoise(hidden, masks)
        logits = [self.digits.logits(found[:, j], j) for j in range(self.config.m)]
        return torch.stack(logits, dim=1).log_softmax(-1)

    def _by_order(self, hidden: Tensor, logs: Tensor) -> list[tuple[Tensor, LogProbabilities, Trie]]:
        """Group users by the order of their digits, most certain first: users, what to ask, and the trie to walk."""
        orders, group = logs.amax(-1).argsort(dim=1, descending=True, stable=True).unique(dim=0, return_inverse=True)
        parts = []
        for number, order in enumerate(orders):
            users = (group == number).nonzero()[:, 0]
            trie = build_trie(self.ids.codes[:, order], V=self.config.V)
            parts.append((users, self._asker(hidden[users], order), trie))
        return parts

    def _asker(self, hidden: Tensor, order: Tensor) -> Callable[[Tensor], Tensor]:
        def ask(prefix: Tensor) -> Tensor:
            users, width, known = prefix.shape
            codes = torch.full((users, width, self.config.m), self.config.V, device=prefix.device)
            codes[..., order[:known]] = prefix
            found = self._denoise(hidden.repeat_interleave(width, dim=0), codes.flatten(0, 1))
            digit = int(order[known])
            return self.digits.logits(found[:, digit], digit).log_softmax(-1).unflatten(0, (users, width))

        return ask


def random_masks(count: int, m: int, *, generator: torch.Generator, device: torch.device | None = None) -> Tensor:
    """Mask r of m digits for r uniform in 1..m, any r alike: (count, m) bool."""
    r = torch.randint(1, m + 1, (count, 1), generator=generator, device=device)
    rank = torch.rand(count, m, generator=generator, device=device).argsort(1).argsort(1)
    return rank < r


def _below(rough: Tensor, items: Tensor, best: Tensor) -> Tensor:
    """Put the items (B, W) found on top with their scores `best`, and the others (B, n+1) below by `rough`."""
    floor = best.masked_fill(best == -torch.inf, torch.inf).amin(1, keepdim=True)
    rest = rough - rough[:, 1:].amax(1, keepdim=True) + floor - 1e-3
    return rest.scatter(1, items, best)
