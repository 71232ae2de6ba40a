"""A body is asked for masks: found once, known ones first, and an error where nobody is seen."""

from dataclasses import replace

import numpy as np
import pytest

from personagen.person import body as module
from personagen.person.body import KEPT, WORKING, Body
from personagen.person.parts import Part
from recsys.errors import DataError

from ..figures import joints_of_standing, standing

PARTS = standing(lower=110)


def test_nobody_is_named_with_a_remedy():
    empty = Body(np.zeros((30, 20), np.uint8))
    with pytest.raises(DataError, match="20x30.*mask of your own"):
        empty.mask("upper")
    assert not empty.wears("upper") and Body(PARTS).wears("upper")


def test_a_mask_is_found_once_for_each_kind_and_reach(monkeypatch):
    seen, found = [], module.layers_from_parts
    monkeypatch.setattr(module, "layers_from_parts", lambda *a, **k: seen.append(k["kind"]) or found(*a, **k))
    body = Body(PARTS)
    first, wide = body.mask("upper"), body.mask("upper", expand=2.0)
    assert body.mask("upper") is first and wide.sum() > first.sum()
    body.mask("lower")
    assert seen == ["upper", "upper", "lower"]


def test_known_masks_come_first_and_the_rest_is_found():
    mine = np.zeros(PARTS.shape, bool)
    mine[30:40, 40:50] = True
    body = Body(PARTS)
    own = body.with_mask("upper", mine)
    assert own.mask("upper") is mine and own.fixed("upper")
    assert not own.fixed("lower") and np.array_equal(own.mask("lower"), body.mask("lower"))
    both = own.with_mask("lower", ~mine)
    assert both.mask("upper") is mine and both.fixed("lower")
    assert not body.fixed("upper") and (body.mask("upper") != mine).any()


def test_an_empty_known_mask_says_that_a_kind_cannot_be_worn():
    body = Body(PARTS, known=lambda kind: np.zeros(PARTS.shape, bool) if kind == "lower" else None)
    assert body.wears("upper") and not body.wears("lower")


def test_what_is_in_doubt_is_spared():
    doubt = np.zeros((3, *PARTS.shape), bool)
    doubt[0, 10:36, 40:56] = True  # may be hair, from the head down to the chest
    plain, careful = Body(PARTS), Body(PARTS, might=doubt, faint=np.zeros(PARTS.shape, bool))
    assert plain.mask("upper")[30:36, 40:56].all() and not careful.mask("upper")[30:36, 40:56].any()
    doubt[0, :30] = False  # a print, apart from the head
    assert Body(PARTS, might=doubt, faint=np.zeros(PARTS.shape, bool)).mask("upper")[30:36, 40:56].all()


def test_a_dress_replaces_a_skirt_and_leaves_long_trousers_below_it():
    skirt, trousers = standing(lower=90), standing(lower=112)
    for parts, comes in ((skirt, True), (trousers, False)):
        off = Body(parts, joints_of_standing()).comes_off("dress")
        assert off[parts == Part.UPPER].all() and off[parts == Part.LOWER].all() == comes
        assert off[parts == Part.LOWER].any() == comes and not off[parts == Part.HEAD].any()
    assert not Body(skirt).comes_off("dress")[skirt == Part.LOWER].any()  # without joints one cannot tell
    assert Body(skirt, joints_of_standing()).comes_off("skirt")[skirt == Part.LOWER].all()


def test_masks_of_a_large_photo_are_found_small_and_keep_off_the_person():
    parts = np.kron(standing(lower=110), np.ones((16, 16), np.uint8))
    assert max(parts.shape) > WORKING
    large, small = Body(parts), Body(parts[::2, ::2])
    for kind in ("t-shirt", "trousers", "dress"):
        mask, expected = large.mask(kind), np.kron(small.mask(kind), np.ones((2, 2), bool))
        assert mask.shape == parts.shape and (mask & expected).sum() / (mask | expected).sum() > 0.97
        assert not mask[np.isin(parts, KEPT)].any()
    others = np.zeros(parts.shape, bool)
    others[:, : parts.shape[1] // 2] = True
    assert not replace(large, others=others).mask("t-shirt")[others].any()
