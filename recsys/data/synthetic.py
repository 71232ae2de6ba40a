"""Data with a known best answer, to tell whether a recommender learns what there is to learn."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import check_range


@dataclass(frozen=True)
class MarkovChain:
    """Sequences in which the next item is follower[item] with probability p and otherwise any item alike."""

    sequences: list[np.ndarray]
    follower: np.ndarray
    """(n+1,) int64, a permutation of 1..n; follower[0] = 0."""
    p: float

    @property
    def bayes_hit(self) -> float:
        """Hit@1 of the best possible recommender, p + (1 - p)/n; none can do better in the long run."""
        return self.p + (1 - self.p) / (len(self.follower) - 1)

    @property
    def draw_hit(self) -> float:
        """Hit@1 of one perfectly calibrated draw, the sum of squared next-item probabilities."""
        n = len(self.follower) - 1
        return self.bayes_hit**2 + (n - 1) * ((1 - self.p) / n) ** 2


def markov_chain(
    *, n_items: int = 50, n_users: int = 500, length: int = 20, p: float = 0.8, seed: int = 0
) -> MarkovChain:
    """Draw a chain and `n_users` sequences of it; with p = 0 nobody beats chance.

    Raises:
        ConfigError: a size or p is out of range.
    """
    check_range(n_items=(n_items, 2, 10**6), n_users=(n_users, 1, 10**7), length=(length, 2, 10**5), p=(p, 0, 1))
    random = np.random.default_rng(seed)
    follower = np.concatenate([[0], random.permutation(n_items) + 1])
    items = np.empty((n_users, length), dtype=np.int64)
    items[:, 0] = random.integers(1, n_items + 1, n_users)
    for i in range(1, length):
        anywhere = random.integers(1, n_items + 1, n_users)
        items[:, i] = np.where(random.random(n_users) < p, follower[items[:, i - 1]], anywhere)
    return MarkovChain(list(items), follower, p)


@dataclass(frozen=True)
class Tastes:
    """Users who each like one kind of item; the kind is written in the items' features."""

    sequences: list[np.ndarray]
    features: Tensor
    """(n+1, kinds + noise) float32: one-hot kind and random columns; row 0 zero."""
    kinds: np.ndarray
    """(n+1,) int64 kind of each item, -1 for padding."""
    likes: np.ndarray
    """(n_users,) int64."""


def tastes(
    *, n_items: int = 60, n_kinds: int = 6, n_users: int = 400, length: int = 10, noise: int = 4, seed: int = 0
) -> Tastes:
    """Draw users who take items of their one kind with probability 0.9 and any item otherwise, none twice.

    Raises:
        ConfigError: sequences longer than the items of a kind.
    """
    check_range(n_kinds=(n_kinds, 2, n_items), length=(length, 2, n_items // n_kinds))
    random = np.random.default_rng(seed)
    kinds = np.concatenate([[-1], np.arange(n_items) % n_kinds])
    likes = random.integers(0, n_kinds, n_users)
    sequences = []
    for like in likes:
        chance = np.where(kinds == like, 0.9 * n_kinds / n_items, 0.1 / n_items)
        chance[0] = 0
        sequences.append(random.choice(n_items + 1, size=length, replace=False, p=chance / chance.sum()))
    one_hot = np.eye(n_kinds)[kinds] * (kinds >= 0)[:, None]
    extra = random.normal(size=(n_items + 1, noise)) * (kinds >= 0)[:, None]
    return Tastes(sequences, torch.tensor(np.hstack([one_hot, extra]), dtype=torch.float32), kinds, likes)
