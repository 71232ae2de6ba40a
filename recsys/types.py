"""The shapes that recommenders, training and evaluation share; symbols are those of docs/notation.md."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x_t (B, *), t (B,) int64) -> x0_hat (B, *), on the scale of x0."""
Denoiser = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(x_t (B, *), t (B,), condition (B, d)) -> x0_hat (B, *)."""

PAD = 0  # items are numbered 1..n; 0 fills the left of short histories and is never ranked


@dataclass(frozen=True)
class Ranking:
    """The best k items of each user, best first."""

    items: Tensor
    """(B, k) int64, ids in 1..n; 0 only where a user has fewer than k items left to rank."""
    scores: Tensor
    """(B, k) float32, non-increasing along k; -inf where items is 0."""


@dataclass(frozen=True)
class Batch:
    """Left-padded histories and, at every position, the item that came next."""

    history: Tensor
    """(B, L) int64, 0 = padding, most recent item last."""
    target: Tensor
    """(B, L) int64, the item that followed history[:, l]; 0 = no loss at that position."""

    def to(self, device: torch.device | str) -> "Batch":
        """Move both tensors to `device`."""
        return Batch(self.history.to(device), self.target.to(device))


@dataclass(frozen=True)
class Step:
    """What one step of any training loop reports; `metrics` is set only when validation ran."""

    step: int
    epoch: float
    losses: dict[str, float]
    metrics: dict[str, float] | None
    seconds: float


@runtime_checkable
class Recommender(Protocol):
    """Anything that turns histories into rankings."""

    n_items: int

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the k most likely next items of each history (B, L); a user's row does not depend on the batch."""
        ...
