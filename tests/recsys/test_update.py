"""A network with room for new items: what it knew stays, what is new starts somewhere sensible."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recsys import update
from recsys.build import build, neighbours
from recsys.data.changes import Continued
from recsys.data.interactions import joined
from recsys.data.splits import Interactions, leave_one_out
from recsys.data.vocabulary import Vocabulary
from recsys.errors import ConfigError, DataError
from recsys.models import SASRec, SASRecConfig

OLD = [np.array([1, 2, 3, 4, 5, 6]), np.array([3, 4, 5, 6, 1, 2]), np.array([2, 3, 4, 5])]
NEW = [np.array([1, 2, 3, 4, 5, 6, 7, 1]), np.array([3, 4, 5, 6, 1, 2]), np.array([2, 3, 4, 5, 8, 6, 1])]
NAMES = ("", "red shirt", "red skirt", "blue shirt", "blue skirt", "green shirt", "green skirt", "red coat", "odd")
WENT_ON = Continued(OLD, NEW, Vocabulary(NAMES), 2)
SMALL = {"d": 8, "layers": 1}


def rows(*triples: tuple[str, str, int]) -> Interactions:
    users, items, times = zip(*triples, strict=True)
    people, things = (("", *sorted(set(names))) for names in (users, items))
    who, what = (np.array([n.index(one) for one in column]) for n, column in ((people, users), (things, items)))
    return Interactions(who, what, np.array(times), people, things)


def test_histories_are_joined_by_name_and_told_apart():
    before = rows(("a", "x", 1), ("a", "y", 3), ("b", "x", 1))
    new = rows(("b", "z", 5), ("a", "x", 2), ("a", "y", 3), ("c", "x", 9))
    every, fresh = joined(before, new)
    assert fresh.sum() == 3  # a took y at 3 once
    found = Continued.of(every, fresh, Vocabulary(("", "y", "x")))
    assert found.items.names == ("", "y", "x", "z") and found.new_items == 1 and found.gone_on == 3
    assert [one.tolist() for one in found.before] == [[2, 1], [2], []]
    assert [one.tolist() for one in found.after] == [[2, 2, 1], [2, 3], [2]]
    with pytest.raises(DataError, match="'x'"):
        Continued.of(every, fresh, Vocabulary(("", "y")))


def test_what_a_network_knew_stays_to_the_bit():
    torch.manual_seed(0)
    old = SASRec(SASRecConfig(6, **SMALL))
    new = update.taken_in(old, WENT_ON)
    assert new.n_items == 8 and old.n_items == 6
    history = torch.tensor([[1, 2, 3]])
    first, second = old.recommend(history, 3, exclude_seen=False), new.recommend(history, 8, exclude_seen=False)
    known = [item for item in second.items[0].tolist() if item <= 6]
    assert known[:3] == first.items[0].tolist()
    same = {
        name for name, value in old.state_dict().items() if torch.equal(value, new.state_dict()[name][: len(value)])
    }
    assert same == set(old.state_dict())


def test_new_items_start_as_the_mean_of_what_is_beside_them():
    torch.manual_seed(0)
    old = SASRec(SASRecConfig(6, **SMALL))
    table = update.taken_in(old, WENT_ON).table.id_embedding
    beside = old.table.id_embedding[[6, 1, 5]].mean(0)  # up to two places from item 7
    assert torch.allclose(table[7], beside, atol=1e-6) and not torch.equal(table[7], table[8])
    alone = replace(WENT_ON, after=[*OLD, np.array([7])], before=[*OLD, np.array([], int)])
    table = update.taken_in(old, alone).table.id_embedding
    assert torch.allclose(table[7], old.table.id_embedding[1:].mean(0), atol=1e-6)


def test_a_network_trains_on_what_is_new_with_the_past_before_it():
    split = update.going_on(WENT_ON, max_length=2)
    assert [one.tolist() for one in split.train] == [[3, 4, 5, 6], [1, 2, 3, 4, 5]][:0] + [
        [3, 4, 5, 6],
        [2, 3, 4, 5, 8],
    ]
    assert len(split.valid) == 3 and split.n_items == 8


def test_features_of_new_items_and_their_likes():
    words = torch.zeros(9, 5)
    for item, name in enumerate(NAMES[1:8], start=1):
        for column, word in enumerate(("red", "blue", "green", "shirt", "skirt")):
            words[item, column] = float(word in name)
    split = leave_one_out(OLD, 6, item_names=NAMES[:7])
    old = build("countdiff", split, SMALL, features=words[:7])
    old.prepare(split.train)
    new = update.taken_in(old, WENT_ON, features=words[7:])
    assert torch.equal(new.net.table.features, words) and not new.net.table.id_embedding[7:].any()
    wanted = neighbours(replace(split, n_items=8, item_names=NAMES), words)
    assert torch.equal(new.neighbours.follows, wanted.follows) and torch.equal(new.neighbours.starts, wanted.starts)
    anew = build("countdiff", leave_one_out(NEW, 8, item_names=NAMES), SMALL, features=words)
    anew.prepare(leave_one_out(NEW, 8).train)
    for name in ("counts", "together", "regression"):
        for found, counted in zip(getattr(new, name).buffers(), getattr(anew, name).buffers(), strict=True):
            assert torch.equal(found, counted)
    without = update.taken_in(old, WENT_ON)
    assert not without.net.table.features[7:].any() and without.net.table.id_embedding[7:].any()


def test_what_cannot_be_updated_says_so():
    alone = build("sasrec", leave_one_out(OLD, 6), SMALL | {"items": "features"}, features=torch.rand(7, 3))
    with pytest.raises(ConfigError, match="--catalog"):
        update.taken_in(alone, WENT_ON)
    assert update.taken_in(alone, WENT_ON, features=torch.rand(2, 3)).n_items == 8
    grown = build("countdiff", leave_one_out(OLD, 6), SMALL, features=torch.rand(7, 3)).with_items(torch.rand(1, 3))
    with pytest.raises(ConfigError, match="with_items"):
        update.taken_in(grown, WENT_ON)
    with pytest.raises(ConfigError, match="diffrec cannot"):
        update.name_of(build("diffrec", leave_one_out(OLD, 6)))
