"""The rule for training by the size of the data: what it gives, what it must not do, and that the user's word wins."""

import numpy as np
import pytest

from recsys.data.splits import leave_one_out
from recsys.defaults import RULED, Size, explained, rule, suited
from recsys.errors import ConfigError
from recsys.train import TrainConfig

KNOWN = {  # rows, next items, cases of public data sets; batch, epochs, patience that were good on validation there
    "ml-100k": (Size(2412, 97_171, 943), (64, 106, 5)),
    "lastfm": (Size(1723, 49_281, 1090), (64, 149, 7)),
    "amazon-beauty": (Size(22_512, 131_413, 22_363), (256, 46, 3)),
    "ml-1m": (Size(22_546, 982_089, 6040), (64, 20, 3)),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_sizes_get_what_was_good_there(name):
    size, wanted = KNOWN[name]
    found = rule(size)
    assert (found["batch_size"], found["epochs"], found["patience"]) == wanted
    assert found["learning_rate"] == 3e-3 and found["validate_cases"] == (5000 if size.cases > 5000 else None)


def test_every_size_gets_sound_settings_and_the_epochs_fall_with_it():
    epochs = []
    for rows in (1, 10, 100, 1000, 10**4, 10**5, 10**6, 10**7):
        found = rule(Size(rows, 20 * rows, rows))
        TrainConfig(**found)
        assert 16 <= found["batch_size"] <= 256 and 3 <= found["patience"] <= 10 and 20 <= found["epochs"] <= 200
        epochs.append(found["epochs"])
    assert epochs == sorted(epochs, reverse=True)


@pytest.mark.parametrize(("items", "cases"), [(1_000, 5000), (200_000, 5000), (1_000_000, 1000), (10**7, 500)])
def test_a_large_catalogue_is_validated_on_fewer_cases(items, cases):
    assert rule(Size(10**6, 10**7, 10**6, items))["validate_cases"] == cases


def test_what_is_given_wins_and_the_rest_follows_it():
    split = leave_one_out([np.arange(1, 11)] * 400, 10)
    plain = suited(split)
    given = suited(split, {"learning_rate": 0.5, "epochs": 7, "seed": 3})
    assert (given.learning_rate, given.epochs, given.seed) == (0.5, 7, 3)
    assert given.batch_size == plain.batch_size and given.patience == plain.patience
    large = suited(split, {"batch_size": 400})
    assert large.batch_size == 400 and large.epochs == 200 and large.patience == 10  # one update an epoch
    shorter = suited(split, {"max_length": 2})  # cut into more rows
    assert shorter.max_length == 2 and shorter.batch_size > plain.batch_size


def test_a_bad_setting_is_refused_and_the_rule_does_not_fall_over_empty_data():
    split = leave_one_out([np.arange(1, 11)] * 4, 10)
    with pytest.raises(ConfigError, match="batch_size"):
        suited(split, {"batch_size": 0})
    assert suited(leave_one_out([np.array([1])], 1)).batch_size == 16


def test_a_line_says_what_was_chosen_and_what_was_given():
    split = leave_one_out([np.arange(1, 11)] * 400, 10)
    line = explained(split, suited(split, {"epochs": 7}), {"epochs"})
    assert "400 users, 10 items, 3,200 interactions" in line and line.endswith("; as given: epochs 7")
    assert all(name in line for name in RULED) and line.count("epochs") == 1
