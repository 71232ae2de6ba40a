"""Item texts as features: alike texts near, others far, the same every time, and unusable ones refused."""

import pytest
import torch
import torch.nn.functional as F

from recsys.counts.texts import text_features, text_neighbours
from recsys.errors import ConfigError, DataError

TEXTS = ["", "Red nail lacquer", "red nail polish", "nail lacquer RED!", "coconut hair oil", "argan hair oil", "zzz"]


def test_texts_that_share_words_are_near_and_others_far():
    features = F.normalize(text_features(TEXTS, dimensions=3), dim=1)
    near, far = features[1] @ features[3], features[1] @ features[4]
    assert features.shape == (7, 3) and near > 0.99 and features[4] @ features[5] > 0.9 and abs(far) < 0.05


def test_padding_and_texts_without_common_words_are_zero_and_the_scale_is_one():
    features = text_features(TEXTS, dimensions=3)
    assert not features[0].any() and not features[6].any()
    assert float(features[1:6].square().mean()) == pytest.approx(1.0, abs=1e-4)


def test_neighbours_share_words_and_nobody_is_its_own():
    found = text_neighbours(TEXTS, count=2)
    rows = [set(found.follows[a:b].tolist()) for a, b in zip(found.starts[:-1], found.starts[1:], strict=True)]
    assert rows[0] == rows[6] == set() and rows[1] == {2, 3} and rows[4] == {5}
    assert (found.weights > 0).all() and (found.weights <= 1).all()
    with pytest.raises(ConfigError, match="count is 6; 6 items allow 1 to 5"):
        text_neighbours(TEXTS, count=6)


def test_the_global_generator_is_left_alone_and_does_not_matter():
    before = torch.random.get_rng_state()
    one = text_features(TEXTS, dimensions=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(5)
    assert torch.equal(one, text_features(TEXTS, dimensions=2))


def test_what_cannot_work_is_named():
    with pytest.raises(ConfigError, match="dimensions is 0"):
        text_features(TEXTS, dimensions=0)
    assert text_features(TEXTS, dimensions=99).shape[1] <= len(TEXTS)
    with pytest.raises(DataError, match="no word occurs in 2 of 2"):
        text_features(["", "a", "b"], dimensions=1)
