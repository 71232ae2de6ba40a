"""Earlier pseudo-items for short histories: what to do with any augmenter, such as recsys/models/diffuasr.py."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ..ranking import check_history, check_k
from ..types import PAD, Cases, Ranking, Recommender
from .splits import Split, pad

Augment = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
"""Sequences, oldest item first -> the same sequences with items put before them."""


def augmented_split(split: Split, augment: Augment, *, cases: bool = True) -> Split:
    """Return the split with every training sequence augmented and, unless `cases` is False, every history.

    Targets stay. A masked evaluation of this split does not rank pseudo-items either, as it cannot tell them from real
    ones: measure on the original split with `Augmented`.

    Raises:
        ModelError: `augment` changes real items.
    """
    train = checked(augment, split.train)
    if not cases:
        return replace(split, train=train)
    return replace(split, train=train, valid=_with(split.valid, augment), test=_with(split.test, augment))


def checked(augment: Augment, sequences: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Augment and make sure that each result ends with its sequence.

    Raises:
        ModelError: it changes real items.
    """
    result = augment(sequences)
    for before, after in zip(sequences, result, strict=True):
        if len(after) < len(before) or not np.array_equal(after[len(after) - len(before) :], before):
            raise ModelError(f"an augmenter turned {before[:5]} … into {after[:5]} …; it may only put items in front")
    return result


class Augmented:
    """A recommender that reads augmented histories and masks the real items alone."""

    def __init__(self, base: Recommender, augment: Augment):
        self.n_items, self.base, self._augment = base.n_items, base, augment

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the next items of history (B, L).

        Raises:
            DataError: `history` has another type or shape, unknown items, or padding after an item.
            ConfigError: k is outside 1..n.
            ModelError: the model was not trained, or its scores are not numbers.
        """
        check_history(history, self.n_items)
        check_k(k, self.n_items)
        sequences = [row[row != PAD].numpy() for row in history.cpu()]
        longer = pad(checked(self._augment, sequences)).to(history.device)
        wanted = min(self.n_items, k + history.shape[1]) if exclude_seen else k
        ranking = self.base.recommend(longer, wanted, exclude_seen=False, generator=generator)
        return without(ranking, history, k) if exclude_seen else ranking


def without(ranking: Ranking, history: Tensor, k: int) -> Ranking:
    """Drop the items of history (B, L) from a ranking (B, K) and keep the first k; short rows end in 0, -inf."""
    seen = (ranking.items.unsqueeze(2) == history.unsqueeze(1)).any(2) | (ranking.items == PAD)
    order = seen.long().argsort(dim=1, stable=True)[:, :k]
    gone = seen.gather(1, order)
    items = ranking.items.gather(1, order).masked_fill(gone, PAD)
    return Ranking(items, ranking.scores.gather(1, order).masked_fill(gone, -torch.inf))


def _with(cases: Cases, augment: Augment) -> Cases:
    return replace(cases, histories=checked(augment, cases.histories))
