"""Agnostic masks: they hide the old garment's shape, spare the person, and can be given by hand."""

import numpy as np
import pytest
import torch
from PIL import Image

from personagen.person.body import Body
from personagen.person.masks import (
    Layers,
    agnostic_mask,
    guarded,
    layers_from_parts,
    mask_from_file,
    mask_list,
    over_it,
    shown_below,
)
from personagen.person.parts import PART_OF_CCP, Part, parts_from_parsing, split_skin, with_prints
from personagen.vocabulary import KINDS
from recsys.errors import ConfigError, DataError
from tests.personagen.figures import standing

H, W = 128, 96


def figure(*, sleeves: int = 100) -> np.ndarray:
    """A standing person as body parts (H, W): top, trousers, arms bare below row `sleeves`, a bag."""
    parts = np.zeros((H, W), np.uint8)
    parts[8:14, 40:56] = Part.HEAD
    parts[14:24, 44:52] = Part.SKIN
    parts[24:64, 36:60] = Part.UPPER
    for left in (28, 62):
        parts[26:66, left : left + 6] = Part.SKIN
        parts[26:sleeves, left : left + 6] = Part.UPPER
    parts[26:30, 28:68] = Part.UPPER
    parts[64:108, 38:58] = Part.LOWER
    parts[108:116, 40:46] = parts[108:116, 50:56] = Part.SKIN
    parts[116:122, 38:46] = parts[116:122, 50:58] = Part.SHOES
    parts[60:76, 70:80] = Part.CARRIED
    return parts


def test_skin_is_told_apart_by_place():
    arms, hands, legs, head = split_skin(figure(sleeves=34))
    assert head[14:24, 44:52].all() and head.sum() == 80
    assert legs[108:116, 40:46].all() and legs.sum() == 96
    assert arms[40, 30] and arms[40, 64] and not arms[65, 30] and hands[65, 28]
    assert not (arms & hands).any() and ((arms | hands | legs | head) == (figure(sleeves=34) == Part.SKIN)).all()


def test_a_hand_before_the_chest_is_one_and_a_neckline_is_not():
    parts = figure(sleeves=62)
    chest = np.argwhere(np.isin(parts, (Part.UPPER, Part.OUTER)))
    top, middle = chest[:, 0].min(), round(chest[:, 1].mean())
    parts[top : top + 4, middle - 3 : middle + 3] = Part.SKIN
    parts[top + 14 : top + 19, middle - 2 : middle + 3] = Part.SKIN
    _, hands, _, _ = split_skin(parts)
    assert hands[top + 14 : top + 19, middle - 2 : middle + 3].all() and not hands[: top + 4].any()


def test_only_a_hand_shows_below_a_long_sleeve():
    arms, hands, _, _ = split_skin(figure(sleeves=62))
    assert not arms.any() and hands[62:66, 28:34].all()


def test_legs_that_begin_above_a_lower_point_of_the_hem_are_no_arms():
    parts = figure(sleeves=62)
    parts[64:100, 38:58] = Part.DRESS  # a skirt that is longer in its middle
    parts[80:116, 38:46] = parts[80:116, 50:58] = Part.SKIN
    parts[100:108, 46:50] = Part.DRESS
    parts[108:, 46:50] = Part.BACKGROUND
    arms, hands, legs, _ = split_skin(parts)
    assert legs[80:116, 38:46].all() and legs[80:116, 50:58].all()
    assert hands[62:66, 28:34].all() and not arms[70:].any() and not hands[70:].any()


def test_a_speck_of_skin_is_no_hand_that_would_be_spared_with_all_around_it():
    parts = np.kron(figure(sleeves=100), np.ones((4, 4), np.uint8))
    parts[160:162, 150:152] = Part.SKIN
    arms, hands, *_ = split_skin(parts)
    assert arms[160:162, 150:152].all() and not hands.any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_garment_is_covered_and_the_person_spared(kind):
    parts = figure(sleeves=40)
    mask = Body(parts).mask(kind)
    _, hands, _, head = split_skin(parts)
    assert not mask[head | hands | np.isin(parts, (Part.HEAD, Part.SHOES, Part.CARRIED))].any()
    worn = {"upper": [Part.UPPER], "lower": [Part.LOWER]}.get(
        "upper" if kind in KINDS[:4] else "lower" if kind in KINDS[5:] else "", [Part.UPPER, Part.LOWER]
    )
    assert mask[np.isin(parts, worn)].all()
    assert mask.sum() > 1.2 * np.isin(parts, worn).sum()


def test_a_sleeve_s_length_cannot_be_read_from_the_mask():
    masks = [agnostic_mask(layers_from_parts(figure(sleeves=rows), kind="t-shirt")) for rows in (34, 44, 54)]
    for other in masks[1:]:
        assert (masks[0] ^ other).sum() < 0.02 * masks[0].sum()


def test_the_mask_of_trousers_leaves_most_of_the_top():
    parts = figure()
    mask = agnostic_mask(layers_from_parts(parts, kind="trousers"))
    assert not mask[:55].any() and mask[108:114, 40:46].all()


def test_it_grows_with_mask_expand_and_sideways_twice_as_far():
    block = np.zeros((200, 200), bool)
    block[80:120, 80:120] = True
    nothing = np.zeros_like(block)
    masks = [agnostic_mask(Layers(block, nothing, nothing, nothing), mask_expand=e) for e in (0, 0.5, 1, 2)]
    assert (masks[0] == block).all()
    assert all((small <= large).all() and small.sum() < large.sum() for small, large in zip(masks, masks[1:]))
    rows, columns = np.flatnonzero(masks[2].any(1)), np.flatnonzero(masks[2].any(0))
    assert 80 - columns[0] == 2 * (80 - rows[0]) > 0
    with pytest.raises(ConfigError, match=r"0\.\.4"):
        agnostic_mask(Layers(block, nothing, nothing, nothing), mask_expand=5)
    assert not agnostic_mask(Layers(nothing, nothing, nothing, nothing)).any()


def test_a_dress_gives_its_top_or_its_skirt():
    parts = np.zeros((H, W), np.uint8)
    parts[30:90, 40:56] = Part.DRESS
    top, skirt = layers_from_parts(parts, kind="shirt"), layers_from_parts(parts, kind="skirt")
    assert (top.garment ^ skirt.garment).sum() == (parts == Part.DRESS).sum() and top.garment[30].any()
    assert (top.others == skirt.garment).all()
    with pytest.raises(ConfigError, match="hat"):
        layers_from_parts(parts, kind="hat")


def test_parsings_are_merged_by_name():
    labels = ["null", "hair", "t-shirt", "pants"]
    parsing = np.array([[0, 1], [2, 3]], np.uint8)
    assert parts_from_parsing(parsing, labels).tolist() == [[0, Part.HEAD], [Part.UPPER, Part.LOWER]]
    assert PART_OF_CCP["skin"] == Part.SKIN and len(PART_OF_CCP) > 50
    with pytest.raises(DataError, match="3"):
        parts_from_parsing(parsing, labels[:3])


def test_a_mask_file_is_read_scaled_and_checked(tmp_path):
    drawn = np.zeros((20, 10), np.uint8)
    drawn[5:9, 2:4] = 255
    Image.fromarray(drawn).save(tmp_path / "mask.png")
    assert (mask_from_file(tmp_path / "mask.png") == (drawn > 0)).all()
    larger = mask_from_file(tmp_path / "mask.png", size=(40, 20))
    assert larger.shape == (40, 20) and larger.sum() == 4 * (drawn > 0).sum()
    with pytest.raises(DataError, match="20x20"):
        mask_from_file(tmp_path / "mask.png", size=(20, 20))
    Image.new("L", (10, 20)).save(tmp_path / "empty.png")
    with pytest.raises(DataError, match="marks nothing"):
        mask_from_file(tmp_path / "empty.png")


def test_masks_are_read_from_every_type():
    mask = np.zeros((6, 5), bool)
    mask[1:3, 2:4] = True
    given = [mask, mask.astype(np.uint8), mask.astype(np.uint8) * 255, mask.astype(np.float32), Image.fromarray(mask),
             torch.from_numpy(mask), torch.from_numpy(mask).float()[None, None]]  # fmt: skip
    assert all((got == mask).all() and got.dtype == bool for got in mask_list(given))
    assert len(mask_list(torch.zeros(3, 1, 4, 4))) == 3
    with pytest.raises(DataError, match="str"):
        mask_list("mask.png")


def test_below_a_dress_legs_and_trousers_may_stay_and_below_a_skirt_legs():
    parts = standing(lower=90)
    parts[90:118, 40:46] = Part.SKIN
    parts[90:118, 50:56] = Part.LEGWEAR
    parts[118:124, 38:58] = Part.SHOES
    dress, skirt = shown_below(parts, kind="dress"), shown_below(parts, kind="skirt")
    assert dress[60:116, 40:46].all() and skirt[92:110, 40:46].all() and skirt[92:118, 50:56].all()
    assert not skirt[:90].any() and not dress[:60].any() and not dress[118:].any()
    assert not shown_below(parts, kind="t-shirt").any()


def test_a_dress_below_a_top_is_a_skirt():
    parts = standing()
    parts[60:100, 36:60] = Part.DRESS
    assert not (layers_from_parts(parts, kind="upper").garment & (parts == Part.DRESS)).any()
    assert layers_from_parts(parts, kind="lower").garment[62:98, 40:56].all()


def tall(*, bottom: int = 220) -> np.ndarray:
    """Someone two hundred rows high down to row `bottom`, in a coat from the neck to the shins (240, 120)."""
    parts = np.zeros((240, 120), np.uint8)
    parts[bottom - 200 : bottom - 170, 50:70] = Part.HEAD
    parts[bottom - 170 : bottom, 40:80] = Part.OUTER
    return parts


def spared(parts: np.ndarray, *, might: np.ndarray | None = None, faint: np.ndarray | None = None) -> np.ndarray:
    """What `guarded` adds to the identity of a coat."""
    layers = layers_from_parts(parts, kind="jacket")
    nothing = np.zeros(parts.shape, bool)
    might = np.stack([nothing] * 3) if might is None else might
    return guarded(layers, parts, might, nothing if faint is None else faint).identity & ~layers.identity


def test_the_lowest_rows_of_someone_who_stands_free_are_feet():
    """4.5 % of the height, to the picture's edge; of someone whom the edge cuts off nothing is a foot."""
    rows = spared(tall()).all(1)
    assert np.flatnonzero(rows).tolist() == list(range(220 - 9, 240))
    assert not spared(tall(bottom=240)).any()
    assert spared(tall(bottom=237)).any() and not spared(tall(bottom=238)).any()  # within a hundredth of the height


def test_doubt_is_spared_with_a_seam_of_half_a_hundredth_beside_what_was_found():
    """No collar stays round a new neckline: what the parser takes for the garment is taken off up to the skin."""
    parts, might = tall(bottom=240), np.zeros((3, 240, 120), bool)
    might[0, 60:101, 60] = might[2, 150, 60] = True  # hair from the head down the coat; a shoe in the middle of it
    might[1, 120, 60] = True  # skin far from face and hands does not count
    where = spared(parts, might=might)
    assert where[70:101, 60].all() and where[150, 60] and where.sum() == 31 + 1
    bare = np.zeros((3, 240, 120), bool)
    bare[1, 30:120, 60] = True
    parts[60:70, 50:70] = Part.SKIN  # a neck: skin counts three hundredths below it
    assert np.flatnonzero(spared(parts, might=bare)[:, 60]).max() == 69 + 6
    faint = np.zeros((240, 120), bool)
    faint[100, 60], faint[100, 20], faint[100, 39] = True, True, True  # on the coat, far from it, and beside it
    assert np.argwhere(spared(parts, faint=faint)).tolist() == [[y, x] for y in (99, 100, 101) for x in (19, 20, 21)]


def test_what_may_be_hair_or_a_shoe_counts_where_it_hangs_together_with_some():
    parts, might = tall(), np.zeros((3, 240, 120), bool)
    parts[205:220, 50:70] = Part.SHOES
    might[0, 100:104, 50:54] = might[2, 100:104, 60:64] = True  # prints
    assert not spared(parts, might=might)[90:120].any()
    might[0, 30:104, 50:54] = True
    assert spared(parts, might=might)[60:104, 50:54].all()


def test_a_new_sleeve_may_go_down_a_bare_arm_to_near_the_hand():
    parts = figure(sleeves=40)
    might = np.stack([np.zeros((H, W), bool), parts == Part.SKIN, np.zeros((H, W), bool)])
    arms, hands, *_ = split_skin(parts)
    layers = guarded(layers_from_parts(parts, kind="upper"), parts, might, np.zeros((H, W), bool))
    assert layers.identity[hands].all() and not layers.identity[arms][: int(0.5 * arms.sum())].any()


def test_a_hem_beside_shoes_is_no_foot():
    parts = tall()
    parts[205:220, 70:80] = Part.SHOES
    assert not spared(parts)[212:218, 42:66].any() and spared(parts)[212:218, :38].all()


@pytest.mark.parametrize("shift", [-22, 15])
def test_where_someone_stands_in_the_picture_does_not_matter(shift):
    parts = np.pad(figure(sleeves=40), ((0, 0), (20, 20)))
    for here, there in zip(split_skin(parts), split_skin(np.roll(parts, shift, axis=1)), strict=True):
        assert np.array_equal(np.roll(here, shift, axis=1), there)


def test_a_coat_hangs_half_as_far_below_a_top_as_the_top_is_high():
    parts = standing(lower=110)  # a top of forty rows that ends at row 60
    coat = layers_from_parts(parts, kind="outer").garment & (parts == Part.LOWER)
    assert np.flatnonzero(coat.any(1)).tolist() == list(range(60, 79))
    assert not (layers_from_parts(parts, kind="t-shirt").garment & (parts == Part.LOWER)).any()


@pytest.mark.parametrize(("gap", "is_hand"), [(0, False), (11, False), (13, True)])
def test_a_small_patch_of_skin_on_the_chest_is_a_hand_from_six_hundredths_below_the_collar_on(gap, is_hand):
    """Of someone two hundred rows high: twelve rows."""
    parts = np.zeros((240, 120), np.uint8)
    parts[20:50, 50:70] = Part.HEAD
    parts[50:220, 40:80] = Part.UPPER
    parts[50 + gap : 54 + gap, 59:61] = Part.SKIN
    arms, hands, legs, head = split_skin(parts)
    where = parts == Part.SKIN
    assert (hands[where].all() if is_hand else arms[where].all()) and not (legs | head).any()


@pytest.mark.parametrize(("width", "above"), [(9, True), (10, False)])
def test_a_collar_is_a_quarter_as_wide_as_the_clothes_are(width, above):
    """Skin beside a strap that is narrower belongs to the head, as it does above a collar."""
    parts = np.zeros((240, 120), np.uint8)
    parts[50:220, 40:80] = Part.UPPER
    parts[40:50, 50 : 50 + width] = Part.UPPER
    parts[42:50, 62:66] = Part.SKIN
    assert split_skin(parts)[3][parts == Part.SKIN].all() == above


def test_a_print_belongs_to_the_garment_around_it_and_what_a_hand_holds_does_not():
    parts = figure(sleeves=34)
    parts[40:44, 46:50] = Part.CARRIED  # a print
    parts[50:53, 40:43] = Part.BACKGROUND  # a hole
    assert (with_prints(parts)[36:60, 38:58] == Part.UPPER).all() and (with_prints(parts)[60:76, 70:80] == 9).all()
    parts[40:44, 50:54] = Part.SKIN  # a hand with a phone
    assert (with_prints(parts)[40:44, 46:50] == Part.CARRIED).all()


def test_an_open_coat_stays_and_a_closed_one_comes_off():
    parts = figure()
    parts[24:70, 36:41] = parts[24:70, 55:60] = Part.OUTER
    for left in (28, 62):
        parts[26:66, left : left + 6] = Part.OUTER
    coat = parts == Part.OUTER
    body = Body(parts)
    assert np.array_equal(over_it(parts, kind="shirt"), coat) and not over_it(parts, kind="jacket").any()
    assert not (body.comes_off("shirt") & coat).any() and (body.comes_off("jacket") & coat).any()
    mask = body.mask("shirt")
    assert mask[30:60, 44:52].all() and mask[coat].mean() < 0.4 and not mask[:, :26].any()
    parts[24:70, 36:59] = Part.OUTER
    parts[24:30, 46:50] = Part.UPPER
    assert not over_it(parts, kind="shirt").any() and Body(parts).mask("shirt")[40, 40]


def test_trousers_go_below_what_hangs_over_them():
    parts = figure()
    parts[64:84, 38:58] = Part.OUTER
    mask = Body(parts).mask("trousers")
    assert not mask[66:82, 40:56].any() and mask[90:104, 40:56].all()
