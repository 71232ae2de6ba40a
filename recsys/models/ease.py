"""EASE: a linear item-item model with a closed form (H. Steck, "Embarrassingly Shallow Autoencoders", WWW 2019).

With X (users, items) and G = Xᵀ X + ridge · I, P = G⁻¹:  B_ij = -P_ij / P_jj for i ≠ j and B_jj = 0  (equation 8),
the minimum of |X - X B|² + ridge · |B|² with a zero diagonal. Scores are x B for a user's row x.

Differs from the paper: the row that is scored may be weighted by recency, which on data split by time is worth more
than the choice of model; the fit stays plain. "linear" runs from `floor` for a user's oldest item to 1 for the newest;
"geometric" is decay^age. Of an item taken twice the newest counts.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.changes import Change
from ..errors import ConfigError, ResourceError
from ..ranking import check_history, rank_in_chunks
from ..saved import Pretrained
from ..types import PAD, Ranking
from .counting import check_fitted, check_tally, flatten, read_state

ROWS = 128  # users a block of the Gram matrix


@dataclass(frozen=True)
class EaseConfig:
    """Settings of `Ease`; `floor` belongs to recency "linear", `decay` to "geometric"."""

    n_items: int
    ridge: float = 500.0
    recency: Literal["none", "linear", "geometric"] = "none"
    floor: float = 0.1
    decay: float = 0.7

    def __post_init__(self):
        if self.ridge <= 0:
            raise ConfigError(f"ridge is {self.ridge}; it must be above 0")
        if self.recency not in ("none", "linear", "geometric"):
            raise ConfigError(f"recency is {self.recency!r}; allowed are 'none', 'linear' and 'geometric'")
        if not (0 <= self.floor <= 1 and 0 < self.decay <= 1):
            raise ConfigError(f"floor is {self.floor}, decay {self.decay}; floor must be in 0..1, decay in (0, 1]")


class Ease(Pretrained):
    """Recommend by a closed-form linear map from a user's items to all items."""

    def __init__(self, config: EaseConfig):
        self.config = config
        self.n_items = config.n_items
        self.map: Tensor | None = None
        """(n+1, n+1) float32: B, row and column 0 (padding) zero."""
        self.tally: dict[str, Tensor] = {}
        """gram (n, n) float32: how many users took both of two items."""

    def fit(self, sequences: list[np.ndarray]) -> "Ease":
        """Solve for B. Needs about 12·n² bytes.

        Raises:
            DataError: no sequences or ids outside 1..n_items.
            ResourceError: memory does not suffice.
        """
        flatten(sequences, self.n_items)
        return self._solved(lambda: self._gram([sequence for sequence in sequences if len(sequence)]))

    def updated(self, change: Change, n_items: int) -> "Ease":
        """Return a copy for n_items items with the pairs that a change adds, without those it takes away.

        Raises:
            ModelError: what was counted is not known any more.
            ResourceError: memory does not suffice.
        """
        model, old = Ease(replace(self.config, n_items=n_items)), check_tally(self.tally, ("gram",), "ease")["gram"]

        def gram() -> Tensor:
            grown = torch.zeros(n_items, n_items)
            grown[: self.n_items, : self.n_items] = old
            _add_pairs(grown, change)
            return grown

        return model._solved(gram)

    def _solved(self, count: Callable[[], Tensor]) -> "Ease":
        """Solve for B by the Gram matrix that `count` makes."""
        try:
            gram = count()
            diagonal = gram.diagonal().clone()
            gram.diagonal().add_(self.config.ridge)
            inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
        except (MemoryError, RuntimeError) as error:
            raise ResourceError(
                f"EASE over {self.n_items} items failed: {error}. It needs about {12 * self.n_items**2 / 1e9:.1f} GB, "
                "and a larger ridge where the matrix is near singular"
            ) from error
        gram.diagonal().copy_(diagonal)
        self.tally = {"gram": gram}
        inverse.div_(-inverse.diagonal().clone())
        inverse.fill_diagonal_(0)
        self.map = torch.zeros(self.n_items + 1, self.n_items + 1)
        self.map[1:, 1:] = inverse
        return self

    def _gram(self, sequences: list[np.ndarray]) -> Tensor:
        """Sum Xᵀ X (n, n) over blocks of users, each block over the items that occur in it."""
        gram = torch.zeros(self.n_items, self.n_items)
        for low in range(0, len(sequences), ROWS):
            block = sequences[low : low + ROWS]
            items, rows = flatten(block, self.n_items)
            present, columns = torch.unique(items, return_inverse=True)
            x = torch.zeros(len(block), len(present))
            x[rows, columns] = 1
            gram[(present - 1)[:, None], present - 1] += x.T @ x
        return gram

    def rows(self, history: Tensor) -> Tensor:
        """Turn histories (B, L) into weighted rows x (B, n+1), column 0 zero."""
        real = history != PAD
        age = torch.arange(history.shape[1] - 1, -1, -1).expand(history.shape)
        weights = real.float()
        if self.config.recency == "geometric":
            weights = weights * self.config.decay ** age.float()
        if self.config.recency == "linear":
            oldest = (real.sum(1, keepdim=True) - 1).clamp(min=1)
            weights = weights * (1 - (1 - self.config.floor) * age / oldest).clamp(min=0)
        return torch.zeros(len(history), self.n_items + 1).scatter_reduce_(1, history, weights, "amax")

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the k items with the highest x B for each history (B, L); `generator` is not used."""
        weights = check_fitted(self.map, "Ease")
        check_history(history, self.n_items)

        def score(history: Tensor, rows: Tensor) -> Tensor:
            x = self.rows(history)
            users, items = x.nonzero(as_tuple=True)  # x B as a sum of the rows of B that a user has: few of many
            starts = torch.searchsorted(users, torch.arange(len(history)))
            return F.embedding_bag(items, weights, starts, mode="sum", per_sample_weights=x[users, items])

        return rank_in_chunks(score, history, k, exclude_seen=exclude_seen)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the fitted tensors by name, each in the shape that __init__ states."""
        return {"map": check_fitted(self.map, "Ease")}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take the fitted tensors; refuse other names or shapes.

        Raises:
            ModelError: names or shapes are others.
        """
        self.map = read_state(state, {"map": (self.n_items + 1, self.n_items + 1)})["map"]


def _add_pairs(gram: Tensor, change: Change) -> None:
    """Turn Xᵀ X (n, n) of before into that of after, in place, pair by pair, of which few are new."""
    cells = gram.numpy()
    for before, after in zip(change.before, change.after, strict=True):
        old, new = np.unique(before).astype(np.int64) - 1, np.unique(after).astype(np.int64) - 1
        kept = np.intersect1d(old, new, assume_unique=True)
        for taken, sign in ((new, 1), (old, -1)):
            moved = np.setdiff1d(taken, kept, assume_unique=True)
            if len(moved):
                cells[np.ix_(moved, taken)] += sign
                cells[np.ix_(kept, moved)] += sign
