"""SASRec: self-attention over the history, trained by full-softmax cross-entropy at every position.

Kang & McAuley, Self-Attentive Sequential Recommendation (ICDM 2018): h = Transformer(E_history + P), score = h·E^T.
Differs: full softmax in place of one sampled negative (Klenitskiy & Vasilev 2023), or a corrected sample where there
are many items (networks/sampled.py); pre-normalisation, an item bias, a learned answer for empty histories; items may
be known by features beside or instead of ids.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import check_range
from ..networks.encoder import CAUSAL, build
from ..networks.items import ItemTable, cross_entropy_among, grow, log_probabilities, with_first_items
from ..networks.mode import evaluating
from ..networks.sampled import Proposal
from ..ranking import check_history, check_k, rank_in_chunks
from ..saved import Pretrained
from ..types import PAD, Asked, Batch, Ranking
from .counting import flatten


@dataclass(frozen=True)
class SASRecConfig:
    """`encoder` may also be gru (GRU4Rec) or caser; training scores up to `max_softmax` items, or a sample.

    `item_dtype` of embeddings by id is float32, bfloat16, or auto: bfloat16 above 500,000 items.
    """

    n_items: int
    d: int = 64
    max_len: int = 50
    encoder: str = "transformer"
    layers: int = 2
    heads: int = 2
    dropout: float = 0.3
    items: str = "id"
    n_features: int = 0
    id_dropout: float = 0.2
    max_softmax: int = 20_000
    item_dtype: str = "auto"

    def __post_init__(self):
        check_range(
            n_items=(self.n_items, 1, 10**9),
            d=(self.d, 1, 4096),
            max_len=(self.max_len, 1, 4096),
            layers=(self.layers, 1, 64),
        )
        check_range(
            dropout=(self.dropout, 0, 0.95),
            id_dropout=(self.id_dropout, 0, 1),
            max_softmax=(self.max_softmax, 2, 10**8),
        )


class SASRec(nn.Module, Pretrained):
    """A sequence encoder whose last state is matched against every item."""

    def __init__(self, config: SASRecConfig, *, features: Tensor | None = None):
        super().__init__()
        c = config
        self.n_items, self.config = config.n_items, config
        self.table = ItemTable(
            c.n_items, c.d, source=c.items, n_features=c.n_features, id_dropout=c.id_dropout, dtype=c.item_dtype
        )
        self.proposal = Proposal(c.n_items)
        if features is not None:
            self.table.set_features(features)
        self.encoder = build(
            c.encoder, c.d, max_len=c.max_len, layers=c.layers, heads=c.heads, dropout=c.dropout, among=CAUSAL
        )
        self.start = nn.Parameter(torch.zeros(c.d))
        self.dropout = nn.Dropout(c.dropout)

    def sample_from(self, sequences: list[np.ndarray]) -> None:
        """Count how often items occur in the training sequences, where training is to sample among them."""
        if self.n_items > self.config.max_softmax:
            self.proposal.count(flatten(sequences, self.n_items)[0])

    def loss(self, batch: Batch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Average the cross-entropy of the next item over every position that has one (Batch (B, L))."""
        batch = with_first_items(batch)
        sample = self.proposal.sample(batch, limit=self.config.max_softmax, generator=generator)
        if sample is None:
            embedding, bias = self.table(generator=generator)
        else:
            batch, (embedding, bias) = sample.batch, self.table.rows(sample.ids, generator=generator)
        real = batch.history != PAD
        hidden = self.encoder(self.dropout(embedding[batch.history]), real)
        hidden = torch.where(real.unsqueeze(-1), hidden, self.start)
        known = batch.target != PAD
        ce = cross_entropy_among(hidden[known], batch.target[known], embedding, bias, sample, scale=1.0)
        return {"loss": ce}

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the next items of history (B, L); `generator` is not needed.

        Raises:
            DataError: `history` has another type or shape, unknown items, or padding after an item.
            ConfigError: k is outside 1..n.
        """
        check_history(history, self.n_items)
        check_k(k, self.n_items)
        with evaluating(self):
            embedding, bias = self.table()

            def score(history: Tensor, rows: Tensor) -> Tensor:
                history = history[:, -self.config.max_len :]
                real = history != PAD
                hidden = self.encoder.last(embedding[history], real)
                hidden = torch.where(real[:, -1:], hidden, self.start)
                return log_probabilities(hidden, embedding, bias, scale=1.0)

            return rank_in_chunks(score, history, k, exclude_seen=exclude_seen)

    def item_vectors(self) -> Tensor:
        """Return embeddings and biases side by side (n+1, d+1), of which scores are inner products."""
        with evaluating(self):
            embedding, bias = self.table()
            self.table.forget()
            return torch.cat([embedding, bias.unsqueeze(1)], dim=1)

    def ask(self, history: Tensor, vectors: Tensor, *, generator: torch.Generator | None = None) -> Asked:
        """Return the queries of history (B, L) for an index; nothing is known of single items."""
        with evaluating(self):
            history, embedding = history[:, -self.config.max_len :], vectors[:, :-1]
            real = history != PAD
            hidden = torch.where(real[:, -1:], self.encoder.last(embedding[history], real), self.start)
            query = torch.cat([hidden, hidden.new_ones(len(hidden), 1)], dim=1)
        return Asked(query, history.new_zeros(0), hidden.new_zeros(0))

    def item_embeddings(self) -> Tensor:
        """Return the embeddings (n+1, d), row 0 padding."""
        with evaluating(self):
            return self.table()[0]

    def with_items(self, features: Tensor) -> "SASRec":
        """Return a copy that also ranks new items with features (m, f), as n+1..n+m.

        Raises:
            ConfigError: the model knows no features, or these have another width.
        """
        state = grow(self.state_dict(), features)
        model = SASRec(replace(self.config, n_items=self.n_items + len(features)))
        model.load_state_dict(state)
        return model.to(next(self.parameters()).device)
