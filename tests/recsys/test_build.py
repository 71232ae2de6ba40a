"""Recommenders by name for given items, and the small one that is trained on the spot."""

import numpy as np
import pytest
import torch

from recsys import build
from recsys.data.splits import leave_one_out
from recsys.data.synthetic import tastes
from recsys.errors import ConfigError, DataError
from recsys.models import CountDiff, SASRec


@pytest.fixture(scope="module")
def world():
    return tastes(n_users=60, seed=1)


@pytest.fixture(scope="module")
def split(world):
    return leave_one_out(world.sequences, 60)


def test_features_go_to_models_that_know_them(world, split):
    described = build.build("sasrec", split, {"d": 8}, features=world.features)
    assert isinstance(described, SASRec) and described.config.items == "both"
    assert described.config.n_features == world.features.shape[1]
    assert build.build("sasrec", split, {"items": "id"}, features=world.features).config.items == "id"
    assert build.build("markov", split, features=world.features).n_items == 60


def test_words_are_those_of_the_features_or_of_the_names(world, split):
    signed = build.build("countdiff", split, features=world.features)
    assert not signed.config.words and signed.neighbours.filled
    assert build.build("countdiff", split, features=world.features.clamp(min=0)).config.words
    names = ("", *(f"kind{kind} item{item}" for item, kind in enumerate(world.kinds[1:], start=1)))
    named = leave_one_out(world.sequences, 60, item_names=names)
    texts = build.build("countdiff", named, {"items": "both"})
    assert texts.config.n_features > 0 and texts.neighbours.filled
    alike = build.neighbours(named)
    of_first = alike.follows[alike.starts[1] : alike.starts[2]]
    assert set(world.kinds[of_first.numpy()]) == {world.kinds[1]}


def test_the_seed_decides_the_first_weights_and_nothing_else(split):
    torch.manual_seed(4)
    expected = torch.rand(2)
    torch.manual_seed(4)
    one, two, other = (build.build("sasrec", split, {"d": 8}, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(2), expected)
    same = [torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True)]
    assert all(same) and any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("magic", {}, "model is 'magic'; allowed are popularity"),
        ("sasrec", {"depth": 3}, "settings.depth is unknown; allowed are n_items, d"),
        ("sasrec", {"n_items": 3}, "counted from the data"),
        ("sasrec", {"d": 0}, "d = 0"),
        ("sasrec", {"d": "many"}, "wrong type"),
    ],
)
def test_bad_settings_are_refused(split, name, settings, message):
    with pytest.raises(ConfigError, match=message):
        build.build(name, split, settings)


def test_names_without_a_common_word_are_refused(world):
    split = leave_one_out(world.sequences, 60, item_names=("", *(f"item{item}" for item in range(60))))
    with pytest.raises(DataError, match="no word"):
        build.build("countdiff", split, {"items": "both"})


def test_training_on_the_spot_yields_steps_and_can_be_left(world):
    training = build.train_on_the_spot(world.sequences, world.features)
    step = next(training.steps)
    assert step.step == 1 and training.total == 30 and training.interactions == 600
    training.steps.close()
    assert isinstance(training.model, CountDiff) and not training.model.weights[2:].any()  # not tuned


def test_training_on_the_spot_learns_what_users_like(world):
    model = build.train_on_the_spot(world.sequences, world.features.clamp(min=0)).finish()
    history = torch.from_numpy(np.stack(world.sequences[:40]))[:, :5]
    top = model.recommend(history, 3).items.numpy()
    liked = world.kinds[top] == world.likes[:40, None]
    assert liked.mean() > 0.6  # one in six by chance


def test_too_much_for_the_spot_is_refused():
    with pytest.raises(ConfigError, match="recommend train"):
        build.train_on_the_spot([np.ones(build.ON_THE_SPOT + 1, np.int64)], torch.zeros(2, 1))
