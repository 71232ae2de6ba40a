"""A second catalogue beside that of a recommender: somebody's own garments, ranked by a model that was not taught them.

An item that the recommender knows by name keeps its place. Any other stands for the known items that are most like it
in kind, colour, pattern and scene: its score is the mean of theirs. One that is like none of them is not ranked.
"""

from collections.abc import Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor

from recsys.errors import DataError
from recsys.types import Ranking, Recommender, device_of

from ..vocabulary import counted
from .catalog import Catalog, Garment
from .studio import Studio

MOST = 2000
"""Known items, the best for a history, that others are compared with."""
WEIGHT = {"kind": 2.0, "colour": 2.0, "pattern": 1.0, "scene": 1.0}
"""What a shared word counts."""


class Beside:
    """Two catalogues as one: items 1..n are those of `first`, the next ones those of `own`."""

    def __init__(self, first: Catalog, own: Catalog) -> None:
        self.first, self.own = first, own
        self.names: tuple[str, ...] = (*first.names, *own.names)

    def __len__(self) -> int:
        return len(self.names)

    def place(self, item: int) -> tuple[Catalog, int]:
        """Return the catalogue that an item is of, and its number there."""
        count = len(self.first)
        return (self.first, item) if item <= count else (self.own, item - count)

    def words(self, item: int, /) -> dict[str, str]:
        """Return the known words of an item."""
        catalog, number = self.place(item)
        return catalog.words(number)

    def __getitem__(self, item: int, /) -> Garment:
        catalog, number = self.place(item)
        return catalog[number]

    @property
    def numbers(self) -> range:
        """The numbers of the second one's items."""
        return range(len(self.first) + 1, len(self) + 1)


class OwnRanked:
    """A recommender that ranks the second catalogue of `both` by what another one says of the first."""

    def __init__(self, known: Recommender, both: Beside) -> None:
        self.known, self.both, self.n_items = known, both, len(both)
        place = {name: item for item, name in enumerate(both.first.names, start=1)}
        self.by_name = {item: place[both.names[item - 1]] for item in both.numbers if both.names[item - 1] in place}

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the second catalogue's items for each history (B, L) of numbers of both; places left are 0, -inf."""
        items = torch.zeros(len(history), k, dtype=torch.long)
        scores = torch.full((len(history), k), -torch.inf)
        for row, past in enumerate(history.tolist()):
            found = self._row([item for item in past if item], seen=exclude_seen, generator=generator)[:k]
            for place, (item, score) in enumerate(found):
                items[row, place], scores[row, place] = item, score
        return Ranking(items, scores)

    def _row(self, past: Sequence[int], *, seen: bool, generator: torch.Generator | None) -> list[tuple[int, float]]:
        stand = [self._stands_for(item) for item in past]
        asked = torch.tensor([[item for item in stand if item] or [1]], device=device_of(self.known))
        count = min(MOST, len(self.both.first))
        found = self.known.recommend(asked, count, exclude_seen=False, generator=generator)
        order = [item for item in found.items[0].tolist() if item]
        worth = {item: 1 - at / len(order) for at, item in enumerate(order)}
        said = {item: self.both.first.words(item) for item in order}
        left = [item for item in self.both.numbers if not (seen and item in past) and self.both.words(item)]
        scored = [(item, self._score(item, worth, said)) for item in left]
        return sorted(((item, one) for item, one in scored if one is not None), key=lambda pair: (-pair[1], pair[0]))

    def _score(self, item: int, worth: dict[int, float], said: dict[int, dict[str, str]]) -> float | None:
        if item in self.by_name:
            return worth.get(self.by_name[item], 0.0)
        near = most_alike(self.both.words(item), said)
        return sum(worth[one] for one in near) / len(near) if near else None

    def _stands_for(self, item: int) -> int:
        """Return the known item that another one stands for in a history, 0 where there is none."""
        if item <= len(self.both.first):
            return item
        if item in self.by_name:
            return self.by_name[item]
        first = range(1, min(MOST, len(self.both.first)) + 1)
        near = most_alike(self.both.words(item), {one: self.both.first.words(one) for one in first})
        return near[0] if near else 0


def most_alike(words: dict[str, str], said: dict[int, dict[str, str]]) -> list[int]:
    """Return the items that share most words with one, by `WEIGHT`; none where no kind and no colour is shared."""
    alike = {
        item: sum(weight for slot, weight in WEIGHT.items() if slot in words and words[slot] == other.get(slot))
        for item, other in said.items()
    }
    best = max(alike.values(), default=0.0)
    return [item for item, one in alike.items() if one == best] if best >= min(WEIGHT["kind"], WEIGHT["colour"]) else []


def beside(studio: Studio, own: Catalog) -> tuple[Studio, str]:
    """Return a studio with the same people and models that recommends from `own`, and a line about what it knows.

    Raises:
        DataError: none of its items can be ranked.
    """
    both = Beside(studio.source.catalog, own)
    ranked = OwnRanked(studio.recommender, both)
    first = {item: both.first.words(item) for item in range(1, min(MOST, len(both.first)) + 1)}
    new = [item for item in both.numbers if item not in ranked.by_name]
    alike = [item for item in new if most_alike(both.words(item), first)]
    if not alike and not ranked.by_name:
        raise DataError(
            f"the recommender knows none of the {counted(len(own), 'item')}, and none has a kind or a colour of those "
            "that it knows; name items as it does, or say kind and colour with its words"
        )
    made, source = copy(studio), copy(studio.source)
    vars(source)["catalog"] = both
    vars(made).update({"source": source, "recommender": ranked})
    return made, _said(len(own), len(ranked.by_name), len(alike))


def _said(count: int, known: int, alike: int) -> str:
    text = f"{counted(count, 'item')} of your own."
    if known:
        text += f" The recommender knows {known} of them by name."
    if alike:
        them = (
            "The others it does not know: each stands" if known else "The recommender does not know them: each stands"
        )
        text += f" {them} for what it knows of the same kind, colour and pattern."
    lost = count - known - alike
    return text + (f" {counted(lost, 'item')} like nothing that it knows cannot be ranked." if lost else "")


def with_models(studio: Studio, base: Studio, *names: str) -> Studio:
    """Let a studio of `beside` paint with the models of the one that it was made of; each is loaded once."""
    models: dict[str, Any] = {name: getattr(base, name) for name in names}
    vars(studio).update(models)
    return studio
