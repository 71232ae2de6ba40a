"""A second catalogue beside a recommender's: who is known by name, who stands for whom, and who cannot be ranked."""

import pytest
import torch
from PIL import Image

from personagen.styling.beside import Beside, OwnRanked, beside, most_alike
from personagen.styling.catalog import Garment
from personagen.styling.planner import Planner
from personagen.styling.studio import Studio
from recsys.errors import DataError
from recsys.types import Ranking

KNOWN = {"a": "dress red", "b": "dress blue", "c": "skirt red", "d": "jacket green"}


class Words:
    """A catalogue of names and words."""

    def __init__(self, items: dict[str, str]) -> None:
        self.names, self.said = tuple(items), list(items.values())

    def __len__(self) -> int:
        return len(self.names)

    def words(self, item: int, /) -> dict[str, str]:
        return dict(zip(("kind", "colour"), self.said[item - 1].split(), strict=False))

    def __getitem__(self, item: int, /) -> Garment:
        return Garment(Image.new("RGB", (30, 40), "red"), self.words(item)["kind"], {}, "")


class Fixed:
    """A recommender that always ranks d, a, b, c, and remembers what it was asked."""

    n_items = 4

    def recommend(self, history, k, *, exclude_seen=True, generator=None) -> Ranking:
        self.asked = history
        return Ranking(torch.tensor([[4, 1, 2, 3][:k]]), torch.tensor([[9.0, 3.0, 2.0, 1.0][:k]]))


def ranked(own: dict[str, str]) -> OwnRanked:
    return OwnRanked(Fixed(), Beside(Words(KNOWN), Words(own)))


def test_known_items_keep_their_place_and_others_stand_for_what_is_most_like_them():
    model = ranked({"x": "dress red", "d": "jacket green", "y": "skirt blue", "z": "hat white"})
    found = model.recommend(torch.tensor([[0, 1]]), 5)
    assert found.items.tolist() == [[6, 5, 7, 0, 0]]  # d by name, x as a, y as the mean of b and c; z as nothing
    assert found.scores[0, 0] > found.scores[0, 1] > found.scores[0, 2] > found.scores[0, 3] == -torch.inf


def test_what_was_chosen_of_their_own_counts_as_what_it_stands_for_and_is_not_shown_again():
    model = ranked({"x": "skirt red", "d": "jacket green", "z": "hat white"})
    found = model.recommend(torch.tensor([[5, 6, 7]]), 3)
    assert model.known.asked.tolist() == [[3, 4]]  # type: ignore[attr-defined]
    assert found.items.tolist() == [[7, 0, 0]] or found.items.tolist() == [[0, 0, 0]]
    again = model.recommend(torch.tensor([[5]]), 3, exclude_seen=False)
    assert again.items.tolist()[0][:2] == [6, 5]


def test_items_are_alike_by_shared_words():
    said = {1: {"kind": "dress", "colour": "red"}, 2: {"kind": "dress", "colour": "blue"}, 3: {"pattern": "plain"}}
    assert most_alike({"kind": "dress", "colour": "blue"}, said) == [2]
    assert most_alike({"kind": "dress"}, said) == [1, 2]
    assert most_alike({"pattern": "plain"}, said) == [] and most_alike({}, said) == []


def test_looks_are_made_of_the_own_items_alone_and_the_line_is_true():
    studio = Studio()
    names = studio.source.catalog.names
    made, said = beside(studio, Words({names[0]: "dress red", "new": "skirt blue", "odd": "crown gold"}))
    assert said.startswith("3 items of your own. The recommender knows 1 of them by name.")
    assert "The others it does not know" in said and "1 item like nothing that it knows cannot be ranked." in said
    plan = Planner(made.recommender, made.source.catalog).plan([1, 2, 3], 2)
    assert {one.item for one in plan.wear} <= {301, 302} and len(studio.source.catalog) == 300
    with pytest.raises(DataError, match="knows none of the 1 item"):
        beside(studio, Words({"odd": "crown gold"}))
