"""How far a try-on can be trusted: every fault takes from the score, the worst one is named, strips are counted."""

import numpy as np
import pytest

from personagen.tryon.trust import REMEDIES, THRESHOLD, WEIGHTS, lowest, strip_of, trust_of


def test_facts_only_ever_lower_the_score():
    assert set(WEIGHTS) and all(weight > 0 for weight in WEIGHTS.values())
    clean = trust_of({}, kind="shirt")
    assert set(REMEDIES) <= set(WEIGHTS)
    assert clean.score > THRESHOLD and not clean.low
    for name in WEIGHTS:
        assert trust_of({name: 0.5}, kind="shirt").score < clean.score


@pytest.mark.parametrize(
    ("name", "of_person"), [("holes", True), ("cut_off", True), ("unlike", False), ("uncut", False)]
)
def test_the_photo_that_is_the_trouble_is_named(name, of_person):
    trust = trust_of({name: 1.5}, kind="shirt")
    assert trust.low and trust.worst == name and trust.of_person == of_person
    assert trust.remedy == REMEDIES[name][1] and trust.remedy in trust.line
    assert lowest([trust_of({}, kind="shirt"), trust]) == trust.line and lowest([]) == ""


def test_a_garment_that_is_not_cut_out_is_never_trusted():
    assert trust_of({"uncut": 1.0}, kind="dress").score < 0.1


def test_a_strip_of_background_between_two_garments_is_counted():
    top, trousers, bare = (np.zeros((60, 40), bool) for _ in range(3))
    top[10:30, 10:30] = trousers[33:55, 10:30] = bare[30:33, 10:30] = True
    assert strip_of(top, trousers, bare, 1) == 1.0 == strip_of(trousers, top, bare, 1)
    assert strip_of(top, trousers, bare, 4) == 0.0
    assert strip_of(top, trousers, np.zeros_like(bare), 1) == 0.0  # skin, or a belt
    trousers[30:33, 10:20] = True
    assert strip_of(top, trousers, bare, 1) == 0.5
