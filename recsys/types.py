"""The shapes and contracts that recommenders, training and evaluation share; symbols are those of docs/notation.md.

A new recommender is any class with `n_items` and `recommend` (`Recommender`) that learns in one of two ways: by `fit`
(`Fittable`) or step by step from its `loss` (`Trainable`, a torch module). Whatever else it can do it says by having
the method: `prepare`, `tune`, `set_neighbours`, `generate`. Nothing is inherited and nothing is registered.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from .errors import DataError

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
class Cases:
    """Evaluation cases: `histories[c]` was seen, `targets[c]` (one or more items) came after.

    `seen[c]`, where given, holds further items that a masked evaluation may not rank, such as the validation items
    between a temporal split's training and test items.
    """

    histories: list[np.ndarray]
    targets: list[np.ndarray]
    seen: list[np.ndarray] | None = None

    def __post_init__(self):
        if len(self.histories) != len(self.targets) or (self.seen is not None and len(self.seen) != len(self.targets)):
            raise DataError(
                f"{len(self.histories)} histories, {len(self.targets)} targets"
                + ("" if self.seen is None else f", {len(self.seen)} seen lists")
                + ": evaluation cases need one of each"
            )

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Sequence[int] | np.ndarray) -> "Cases":
        """Select the cases at `rows`."""
        pick = [int(row) for row in rows]
        seen = None if self.seen is None else [self.seen[row] for row in pick]
        return Cases([self.histories[row] for row in pick], [self.targets[row] for row in pick], seen)


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


@runtime_checkable
class Fittable(Protocol):
    """A recommender that counts or solves: one call of `fit` is all its training."""

    def fit(self, sequences: list[np.ndarray]) -> Any:
        """Learn from training sequences, each the ids of one user in time order; return the recommender itself."""
        ...


@runtime_checkable
class Countable(Protocol):
    """A recommender whose counts can be added to, with the same result as counting anew."""

    tally: dict[str, Tensor]
    """What adding needs beyond what ranking does; it is saved in a file of its own, and may be empty."""

    def updated(self, change: Any, n_items: int) -> Any:
        """Return a recommender of n_items items whose counts are changed by a `recsys.data.changes.Change`."""
        ...


@runtime_checkable
class Trainable(Protocol):
    """A recommender (and torch module) that learns step by step, in `recsys.train`."""

    def loss(self, batch: Batch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Return scalars by name for a Batch (B, L); "loss" is the one to minimise. Noise comes from `generator`."""
        ...


@runtime_checkable
class Preparable(Protocol):
    """A trainable recommender that counts or clusters something before its first step."""

    def prepare(self, sequences: list[np.ndarray]) -> Any:
        """Take in all training sequences; called again when a run is resumed, so calling it twice must be harmless."""
        ...


@runtime_checkable
class Sampling(Protocol):
    """A trainable recommender that may train among a sample of the items."""

    def sample_from(self, sequences: list[np.ndarray]) -> None:
        """Take in how often items occur in the training sequences, before the first step; again when one resumes."""
        ...


@runtime_checkable
class Tunable(Protocol):
    """A trainable recommender that fits how it ranks to cases held out, when training has come to its end."""

    def tune(self, cases: Cases) -> None:
        """Fit to validation cases, the same way every time."""
        ...


@runtime_checkable
class NeighbourAware(Protocol):
    """A recommender that can be given which items are alike."""

    def set_neighbours(self, neighbours: Any) -> None:
        """Take over a `recsys.counts.transitions.Transitions` (n+1, n+1): row i weighs the items like item i."""
        ...


@dataclass(frozen=True)
class Asked:
    """What users look for among the items: item i's score is query·v_i, plus what is known of it in particular."""

    query: Tensor
    """(B, D)"""
    cells: Tensor
    """(C,) int64, ascending: user·(n+1) + item of what is known of few items; no cell is there twice."""
    values: Tensor
    """(C,) what that adds to their scores."""


@runtime_checkable
class Indexable(Protocol):
    """A recommender whose scores are inner products but for few items, so that an index can stand for the rest."""

    n_items: int

    def item_vectors(self) -> Tensor | None:
        """Return what an index holds: (n+1, D), row 0 padding; None where the model's settings allow no index."""
        ...

    def ask(self, history: Tensor, vectors: Tensor, *, generator: torch.Generator | None = None) -> Asked:
        """Say what the users of history (B, L) look for; `vectors` are those of `item_vectors`."""
        ...


@runtime_checkable
class Generative(Protocol):
    """A recommender that generates item embeddings (DreamRec and its family), not only rankings."""

    def generate(self, history: Tensor, *, draws: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Sample embeddings (B, draws, d) of possible next items for history (B, L)."""
        ...

    def item_embeddings(self) -> Tensor:
        """Return the embeddings (n+1, d) that generation lands near, row 0 padding."""
        ...


def device_of(model: Any) -> torch.device:
    """Return the device that a recommender wants histories on: that of its weights or counts, else the CPU."""
    tensors = [*model.parameters(), *model.buffers()] if isinstance(model, torch.nn.Module) else []
    return tensors[0].device if tensors else torch.device("cpu")
