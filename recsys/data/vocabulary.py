"""The names of a recommender's items, by which the items of any file are found."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from ..errors import DataError


@dataclass(frozen=True)
class Vocabulary:
    """The names of items 1..n as text, so that 007 is not 7; `names[0]` is "" for padding.

    Raises:
        DataError: a name is empty, no text, or there twice.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.names[:1] != ("",):
            raise DataError(f"names start with {self.names[:1]}; the first is '' for padding, then come items 1..n")
        for item, name in enumerate(self.names[1:], start=1):
            if not isinstance(name, str) or not name:
                raise DataError(f"item {item} is named {name!r}; give every item a text of its own")
        if len(self._places) < len(self.names):
            twice = next(name for item, name in enumerate(self.names) if self._places[name] != item)
            raise DataError(f"two items are named {twice!r}; give every item a name of its own")

    @classmethod
    def numbered(cls, n_items: int) -> Self:
        """Name items 1..n by their numbers."""
        return cls(("", *map(str, range(1, n_items + 1))))

    def __len__(self) -> int:
        return len(self.names) - 1

    def extended(self, names: Sequence[str]) -> "Vocabulary":
        """Append the names that are not there yet, in their order; the numbers of the others stay."""
        return Vocabulary((*self.names, *(name for name in dict.fromkeys(names) if name not in self._places)))

    def numbers(self, names: Sequence[str]) -> np.ndarray:
        """Find items by name: (len(names),) int64, 0 for a name that is not there."""
        return np.array([self._places.get(name, 0) for name in names], np.int64)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: item for item, name in enumerate(self.names)}
