"""Rank items by how often the training sequences hold them: the floor that every recommender must clear."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..data.changes import Change
from ..ranking import check_history, rank_in_chunks
from ..saved import Pretrained
from ..types import Ranking
from .counting import check_fitted, flatten, read_state


@dataclass(frozen=True)
class PopularityConfig:
    """Settings of `Popularity`."""

    n_items: int


class Popularity(Pretrained):
    """Recommend the most frequent items, the same for everyone but for what each has already seen."""

    def __init__(self, config: PopularityConfig):
        self.config = config
        self.n_items = config.n_items
        self.counts: Tensor | None = None
        """(n+1,) float32 occurrences; column 0 is padding."""
        self.tally: dict[str, Tensor] = {}
        """Empty: the occurrences are all there is to add to."""

    def fit(self, sequences: list[np.ndarray]) -> "Popularity":
        """Count the items of all sequences.

        Raises:
            DataError: no sequences or ids outside 1..n_items.
        """
        items, _ = flatten(sequences, self.n_items)
        self.counts = torch.bincount(items, minlength=self.n_items + 1).float()
        return self

    def updated(self, change: Change, n_items: int) -> "Popularity":
        """Return a copy for n_items items with what a change adds and takes away.

        Raises:
            ModelError: nothing was counted.
        """
        model, old = Popularity(replace(self.config, n_items=n_items)), check_fitted(self.counts, "Popularity")
        total = torch.zeros(n_items + 1, dtype=torch.float64)
        total[: len(old)] = old.double()
        for pieces, sign in ((change.gained(reach=0), 1), (change.lost(reach=0), -1)):
            total += sign * torch.bincount(pieces.items, minlength=n_items + 1)
        model.counts = total.float()
        return model

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the k most frequent items for each history (B, L); `generator` is not used."""
        counts = check_fitted(self.counts, "Popularity")
        check_history(history, self.n_items)
        return rank_in_chunks(lambda seen, rows: counts.expand(len(seen), -1), history, k, exclude_seen=exclude_seen)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the fitted tensors by name, each in the shape that __init__ states."""
        return {"counts": check_fitted(self.counts, "Popularity")}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take the fitted tensors; refuse other names or shapes.

        Raises:
            ModelError: names or shapes are others.
        """
        self.counts = read_state(state, {"counts": (self.n_items + 1,)})["counts"]
