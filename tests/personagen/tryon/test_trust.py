"""How far a try-on can be trusted: every fault takes from the score, the worst one is named, strips are counted."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from personagen.person.joints import as_seen
from personagen.tryon.trust import (
    GARMENT,
    PERSON,
    REMEDIES,
    THRESHOLD,
    WEIGHTS,
    _of_garment,
    exposed,
    fused,
    lowest,
    strip_of,
    trust_of,
)

from ..figures import joints_of_standing


def test_facts_only_ever_lower_the_score():
    assert set(WEIGHTS) and all(weight > 0 for weight in WEIGHTS.values())
    clean = trust_of({}, kind="shirt")
    assert set(REMEDIES) <= set(WEIGHTS)
    assert clean.score > THRESHOLD and not clean.low
    for name in WEIGHTS:
        assert trust_of({name: 0.5}, kind="shirt").score < clean.score


@pytest.mark.parametrize(
    ("name", "photo"), [("holes", PERSON), ("unsure", PERSON), ("unlike", GARMENT), ("uncut", GARMENT)]
)
def test_the_photo_that_is_the_trouble_is_named(name, photo):
    trust = trust_of({name: 1.5}, kind="shirt")
    assert trust.low and trust.worst == name and trust.trouble == photo
    assert ("me.jpg" in trust.because("me.jpg", "top.png")) == (photo == PERSON) != ("top" in trust.because("", "top"))
    assert trust.remedy == REMEDIES[name][1] and trust.remedy in trust.line
    assert lowest([trust_of({}, kind="shirt"), trust]) == trust.line and lowest([]) == ""


def test_no_photo_is_blamed_where_none_is_worse_than_usual():
    trust = trust_of({"unsure": 0.30, "unlike": 0.10, "exposed": 1.0, "changed": 1.2}, kind="t-shirt")
    assert trust.low and trust.worst is None and trust.trouble is None
    assert "me.jpg" not in trust.because("me.jpg", "top.png") and "neither photo" in trust.because("me.jpg", "top.png")
    assert trust.line.count("Neither photo") == 1


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


def test_trousers_without_a_gap_between_the_legs_are_told():
    joints = as_seen(joints_of_standing())[:, :2]
    apart, skirt = (np.zeros((128, 96), bool) for _ in range(2))
    apart[60:116, 38:46] = apart[60:116, 50:58] = True
    skirt[60:116, 38:58] = True
    half = apart | (skirt & (np.arange(128)[:, None] < 101))
    assert fused(apart, joints) == 0.0 and fused(skirt, joints) == 1.0 and 0.4 < fused(half, joints) < 0.6
    assert fused(np.zeros((128, 96), bool), joints) == 0.0


def test_a_ragged_outline_is_told():
    smooth = Image.new("RGB", (768, 1024), "white")
    ImageDraw.Draw(smooth).rectangle([150, 200, 600, 800], fill="navy")
    ragged = smooth.copy()
    for row in range(200, 800, 30):
        ImageDraw.Draw(ragged).rectangle([600, row, 640, row + 12], fill="navy")
    a, b = (_of_garment(one, "t-shirt")["ragged"] for one in (smooth, ragged))
    assert a < 0.003 < 0.01 < b


def test_what_lies_under_an_open_coat_shows_less_of_its_outline():
    top, coat = np.zeros((80, 60), bool), np.zeros((80, 60), bool)
    top[20:60, 20:40] = True
    coat[15:70, 10:20] = coat[15:70, 40:50] = True
    assert exposed(top, np.zeros_like(coat)) == 1.0 and exposed(top, coat) < 0.4
    assert exposed(np.zeros_like(top), coat) == 0.0
