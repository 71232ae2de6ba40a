"""Turn interactions into sequences, splits, evaluation cases and training batches.

Items are 1..n and 0 is padding; a sequence is an int64 array in time order, oldest first.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, DataError
from ..types import PAD, Batch, Cases

HELD = 3
"""A sequence of that many items is long enough to hold two of them out."""


@dataclass(frozen=True)
class Interactions:
    """Who took what, when: three arrays (N,) of one length, in any order.

    `users` 1..m and `items` 1..n, whole numbers; `timestamps` of any ordered number type. `user_names[u]` and
    `item_names[i]` are the ids as the file spells them; index 0 is "" in both.
    """

    users: np.ndarray
    items: np.ndarray
    timestamps: np.ndarray
    user_names: tuple[str, ...] = ()
    item_names: tuple[str, ...] = ()

    def __post_init__(self):
        if not len(self.users) == len(self.items) == len(self.timestamps):
            raise DataError(
                f"{len(self.users)} users, {len(self.items)} items and {len(self.timestamps)} timestamps: "
                "the three columns must have one length"
            )
        if len(self.users) == 0:
            raise DataError("there are no interactions; give at least one row")
        if self.users.min() < 1 or self.items.min() < 1:
            raise DataError("user and item numbers must start at 1; 0 is padding. Map the ids first")

    @property
    def n_items(self) -> int:
        """Return the highest item id, or the number of names where they are known."""
        return len(self.item_names) - 1 if self.item_names else int(self.items.max())

    def sequences(self) -> list[np.ndarray]:
        """List each user's items in time order, user 1 first; rows of equal time keep the order of the file."""
        items, bounds = self._by_user
        return [items[start:end] for start, end in zip(bounds[:-1], bounds[1:], strict=True)]

    def history(self, user: str) -> np.ndarray:
        """Return the items of the user spelled `user` in time order.

        Raises:
            DataError: an unknown user.
        """
        number = self._numbers.get(user)
        if not number:
            known = ", ".join(self.user_names[1:6])
            raise DataError(
                f"user {user!r} is not among the {len(np.unique(self.users))} users of the data; known are {known} …"
            )
        items, bounds = self._by_user
        return items[bounds[number - 1] : bounds[number]] if number < len(bounds) else items[:0]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.user_names) if number}

    @cached_property
    def _by_user(self) -> tuple[np.ndarray, np.ndarray]:
        """The items (N,) int64 sorted by user and time, and where each user's begin and the last one's end."""
        users, times = self.users, self.timestamps
        later = (users[1:] > users[:-1]) | ((users[1:] == users[:-1]) & (times[1:] >= times[:-1]))
        order = slice(None) if later.all() else np.lexsort((times, users))
        users, items = users[order], self.items[order].astype(np.int64)
        return items, np.searchsorted(users, np.arange(1, int(users[-1]) + 2))


@dataclass(frozen=True)
class Split:
    """Training sequences, validation and test cases over items 1..n_items; `item_names[0]` is "" for padding."""

    train: list[np.ndarray]
    valid: Cases
    test: Cases
    n_items: int
    item_names: tuple[str, ...] | None = None

    def __post_init__(self):
        for name, arrays in (
            ("train", self.train),
            ("valid", self.valid.histories + self.valid.targets),
            ("test", self.test.histories + self.test.targets),
        ):
            flat = np.concatenate(arrays) if arrays else np.zeros(0, np.int64)
            if len(flat) and (flat.min() < 1 or flat.max() > self.n_items):
                raise DataError(
                    f"{name} holds item ids {flat.min()}..{flat.max()}; allowed are 1 to n_items = {self.n_items}"
                )
        if self.item_names is not None and len(self.item_names) != self.n_items + 1:
            raise DataError(
                f"{len(self.item_names)} item names for {self.n_items} items; give n_items + 1, with '' for padding "
                "first"
            )

    def fingerprint(self) -> str:
        """Digest every id of the split: equal data give equal fingerprints."""
        digest = hashlib.sha256(str(self.n_items).encode())
        for arrays in (
            self.train, self.valid.histories, self.valid.targets, self.test.histories, self.test.targets
        ):  # fmt: skip
            digest.update(np.array([len(array) for array in arrays], np.int64).tobytes())
            digest.update(np.concatenate([np.zeros(0, np.int64), *arrays]).astype(np.int64).tobytes())
        return digest.hexdigest()[:16]


def leave_one_out(sequences: list[np.ndarray], n_items: int, *, item_names: tuple[str, ...] | None = None) -> Split:
    """Split each sequence: its last item is the test target, the one before the validation target, the rest trains.

    The test history includes the validation item. Sequences shorter than 3 only train.
    """
    sequences = [np.asarray(sequence, np.int64) for sequence in sequences]
    held = [sequence for sequence in sequences if len(sequence) >= HELD]
    train = [training_part(sequence) for sequence in sequences if len(sequence)]
    valid = Cases([sequence[:-2] for sequence in held], [sequence[-2:-1] for sequence in held])
    test = Cases([sequence[:-1] for sequence in held], [sequence[-1:] for sequence in held])
    return Split(train, valid, test, n_items, item_names)


def training_part(sequence: np.ndarray) -> np.ndarray:
    """Return what `leave_one_out` trains on of a sequence: all but the last two items, or all where those are all."""
    return sequence[:-2] if len(sequence) >= HELD else sequence


def renumber(cases: Cases, table: np.ndarray) -> tuple[Cases, np.ndarray]:
    """Give the items of cases other numbers: item i becomes table[i], or is left out where that is 0.

    table (n+1,) int64. Cases of which no target is left, or nothing of a history that held something, go. Returns the
    cases that stay and their rows, int64.
    """
    targets, histories = _mapped(cases.targets, table), _mapped(cases.histories, table)
    kept = [
        row
        for row, (target, history) in enumerate(zip(targets, histories, strict=True))
        if len(target) and (len(history) or not len(cases.histories[row]))
    ]
    seen = None if cases.seen is None else _mapped(cases.seen, table)
    return Cases(histories, targets, seen).take(kept), np.array(kept, np.int64)


def _mapped(lists: Sequence[np.ndarray], table: np.ndarray) -> list[np.ndarray]:
    return [found[found > 0] for found in (table[items] for items in lists)]


def pad(histories: Sequence[np.ndarray], *, length: int | None = None) -> Tensor:
    """Stack histories into (B, L) int64, most recent item last, 0 on the left; L is `length` or the longest history.

    A longer history keeps its last `length` items; L is at least 1, so that an empty history is a row of padding.
    """
    if length is not None and length < 1:
        raise ConfigError(f"length is {length}; it must be at least 1")
    width = length or max(1, max((len(history) for history in histories), default=1))
    rows = np.full((len(histories), width), PAD, np.int64)
    for row, history in zip(rows, histories, strict=True):
        recent = history[-width:]
        if len(recent):
            row[-len(recent) :] = recent
    return torch.from_numpy(rows)


def windows(sequences: Sequence[np.ndarray], max_length: int) -> list[np.ndarray]:
    """Cut sequences into pieces of at most max_length + 1 items in which every transition occurs exactly once.

    Pieces are cut from the recent end and overlap by one item: the last input of one is the first target's input of
    the next. Sequences of one item have no transition and give none.
    """
    if max_length < 1:
        raise ConfigError(f"max_length is {max_length}; it must be at least 1")
    pieces = []
    for sequence in sequences:
        for end in range(len(sequence), 1, -max_length):
            pieces.append(sequence[max(0, end - max_length - 1) : end])
    return pieces


def batches(
    pieces: Sequence[np.ndarray], batch_size: int, *, generator: torch.Generator | None = None, start: int = 0
) -> Iterator[Batch]:
    """Yield batches in which every position is a target, in an order drawn from `generator` (None: as given).

    Each batch is as long as its longest piece less one. `start` skips that many batches without building them: an epoch
    can be resumed in the middle. The last batch may be smaller.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; it must be at least 1")
    n = len(pieces)
    order = torch.arange(n) if generator is None else torch.randperm(n, generator=generator)
    for low in range(start * batch_size, n, batch_size):
        chosen = [pieces[int(i)] for i in order[low : low + batch_size]]
        yield Batch(pad([piece[:-1] for piece in chosen]), pad([piece[1:] for piece in chosen]))
