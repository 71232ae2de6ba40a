"""What new interactions change: histories before and after, and what one of them has that the other lacks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from .splits import Interactions
from .vocabulary import Vocabulary


@dataclass(frozen=True)
class Pieces:
    """Ends of sequences, joined: items (N,) and the sequence each belongs to (N,), int64; `fresh` (N,) bool.

    What is not fresh is there as the past of what is.
    """

    items: Tensor
    owners: Tensor
    fresh: Tensor


@dataclass(frozen=True)
class Change:
    """Sequences of the same users before[u] and after[u], oldest item first; those that stay may be left out.

    A new user had nothing before. A sequence may have grown, or have lost items, or have others in between.

    Raises:
        DataError: there are more of one than of the other.
    """

    before: Sequence[np.ndarray]
    after: Sequence[np.ndarray]

    def __post_init__(self):
        if len(self.before) != len(self.after):
            raise DataError(f"{len(self.before)} sequences before, {len(self.after)} after; give one of each a user")

    def gained(self, *, reach: int) -> Pieces:
        """Return what came after the part that stays, with up to `reach` items before it."""
        return _ends(self.after, self.before, reach)

    def lost(self, *, reach: int) -> Pieces:
        """Return what the sequences of before had after the part that stays, with up to `reach` items before it."""
        return _ends(self.before, self.after, reach)


def _ends(sequences: Sequence[np.ndarray], others: Sequence[np.ndarray], reach: int) -> Pieces:
    items, owners, fresh = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, bool)]
    for user, (one, other) in enumerate(zip(sequences, others, strict=True)):
        same = common(one, other)
        if same < len(one):
            end = one[max(0, same - reach) :]
            items.append(end)
            owners.append(np.full(len(end), user))
            fresh.append(np.arange(len(end)) >= len(end) - (len(one) - same))
    joined = (np.concatenate(items).astype(np.int64), np.concatenate(owners).astype(np.int64), np.concatenate(fresh))
    return Pieces(*map(torch.from_numpy, joined))


def common(one: np.ndarray, other: np.ndarray) -> int:
    """Count the items that two sequences share at their beginning."""
    shorter = min(len(one), len(other))
    differ = np.flatnonzero(one[:shorter] != other[:shorter])
    return int(differ[0]) if len(differ) else shorter


@dataclass(frozen=True)
class Continued:
    """Whole histories of the same users before[u] and after[u], by the numbers of `items`, oldest item first."""

    before: list[np.ndarray]
    after: list[np.ndarray]
    items: Vocabulary
    new_items: int
    """How many of the items are new; they are the last ones."""

    @classmethod
    def of(cls, interactions: Interactions, fresh: np.ndarray, known: Vocabulary) -> "Continued":
        """Number the items as `known` does, and new ones after those; fresh (N,) bool tells which rows are new.

        Raises:
            DataError: rows that are not new name an item that is not known.
        """
        names, old = interactions.item_names, interactions.items[~fresh]
        unknown = sorted({names[item] for item in np.unique(old)} - set(known.names))
        if unknown:
            raise DataError(
                f"the earlier rows name items that the recommender does not know ({len(unknown)}, the first is "
                f"{unknown[0]!r}), so it was not trained on these rows; give them as new ones"
            )
        items = known.extended([names[item] for item in np.unique(interactions.items)])
        table = items.numbers(names)
        order = np.lexsort((interactions.timestamps, interactions.users))
        users, numbers, fresh = interactions.users[order], table[interactions.items[order]], fresh[order]
        bounds = np.searchsorted(users, np.arange(1, int(users.max()) + 2))
        after = [numbers[low:high] for low, high in zip(bounds[:-1], bounds[1:], strict=True)]
        before = [numbers[low:high][~fresh[low:high]] for low, high in zip(bounds[:-1], bounds[1:], strict=True)]
        return cls(before, after, items, len(items) - len(known))

    @property
    def gone_on(self) -> int:
        """How many users have something new."""
        return sum(len(one) < len(other) for one, other in zip(self.before, self.after, strict=True))
