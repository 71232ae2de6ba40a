"""GRU4Rec: a recurrent network over the history, trained by full-softmax cross-entropy at every position.

Hidasi et al., Session-based Recommendations with Recurrent Neural Networks (ICLR 2016): h_l = GRU(e_l, h_{l-1}),
score = h_l·E^T. It is the house's SASRec with another encoder, so that the two differ in nothing else.
Differs from the paper: full softmax in place of TOP1 on the other items of the mini-batch, one item table for input and
output, whole histories of up to `max_len` items in place of session-parallel batches, an item bias, AdamW.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ..saved import Pretrained
from ..types import Batch, Ranking
from .sasrec import SASRec, SASRecConfig


@dataclass(frozen=True)
class GRU4RecConfig:
    """SASRecConfig's fields without its choice of encoder; `layers` are the GRU's."""

    n_items: int
    d: int = 64
    max_len: int = 50
    layers: int = 1
    dropout: float = 0.3
    items: str = "id"
    n_features: int = 0
    id_dropout: float = 0.2
    max_softmax: int = 20_000

    def __post_init__(self):
        self.sasrec()

    def sasrec(self) -> SASRecConfig:
        """The configuration of the model underneath.

        Raises:
            ConfigError: settings out of range.
        """
        return SASRecConfig(encoder="gru", heads=1, **asdict(self))


class GRU4Rec(nn.Module, Pretrained):
    """SASRec's training and ranking around a GRU."""

    def __init__(self, config: GRU4RecConfig, *, features: Tensor | None = None):
        super().__init__()
        self.n_items, self.config = config.n_items, config
        self.net = SASRec(config.sasrec(), features=features)

    def sample_from(self, sequences: list[np.ndarray]) -> None:
        """Count how often items occur, as SASRec does."""
        self.net.sample_from(sequences)

    def loss(self, batch: Batch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Average the cross-entropy of the next item over every position that has one (Batch (B, L))."""
        return self.net.loss(batch, generator=generator)

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the next items of history (B, L); `generator` is not needed.

        Raises:
            DataError: `history` has another type or shape, unknown items, or padding after an item.
            ConfigError: k is outside 1..n.
        """
        return self.net.recommend(history, k, exclude_seen=exclude_seen, generator=generator)

    def item_embeddings(self) -> Tensor:
        """Return the embeddings (n+1, d), row 0 padding."""
        return self.net.item_embeddings()

    def with_items(self, features: Tensor) -> "GRU4Rec":
        """Return a copy that also ranks new items with features (m, f), as n+1..n+m.

        Raises:
            ConfigError: the model knows no features, or these have another width.
        """
        model = GRU4Rec(replace(self.config, n_items=self.n_items + len(features)))
        model.net = self.net.with_items(features)
        return model
