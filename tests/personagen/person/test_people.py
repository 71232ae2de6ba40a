"""People in a photo: found, counted, chosen and spared; what shows nobody, or too little, is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from personagen.images import load_image
from personagen.person.joints import Joint
from personagen.person.parser import load_parser
from personagen.person.people import inside
from personagen.person.reading import PeopleTouch, box_of, read_person
from personagen.styling.sources import atelier
from recsys.errors import ConfigError, DataError
from tests.cases import cases

FAULTS = Path(os.environ["PERSONAGEN_DATA"]) / "faults"


@pytest.fixture(scope="module")
def parser():
    return load_parser()


def person(number: int) -> Image.Image:
    return atelier().sitter(str(number)).image.resize((384, 512))


def beside(*pictures: Image.Image) -> Image.Image:
    whole = Image.new("RGB", (sum(one.width for one in pictures), 512))
    left = 0
    for one in pictures:
        whole.paste(one, (left, 0))
        left += one.width
    return whole


def test_one_person_is_read_as_the_parser_does(parser):
    photo = person(3)
    reading, body = read_person(photo, parser), parser(photo)
    assert len(reading.people) == 1 and not reading.note and reading.body.inner is None
    assert np.array_equal(reading.body.parts, body.parts)
    assert np.array_equal(reading.body.mask("shirt"), body.mask("shirt"))


@pytest.mark.parametrize("right", cases([True], slow=[False]))
def test_of_two_people_one_is_chosen_and_the_other_is_not_touched(parser, right):
    photo = beside(person(3), person(5))
    box = (390, 5, 760, 505) if right else (5, 5, 380, 505)
    reading = read_person(photo, parser, box=box)
    assert len(reading.people) == 2 and reading.chosen is not None and inside(reading.chosen, box)
    assert "2 people were found" in reading.note and f"number {1 + right} from the left" in reading.note
    assert "--box" in reading.note
    mask = reading.body.mask("shirt")
    assert mask.shape == (512, 768) and mask.any()
    assert not (mask[:, :384] if right else mask[:, 384:]).any()
    assert not reading.body.comes_off("shirt")[:, :384].any() if right else True
    assert reading.body.joints is not None
    assert (reading.body.joints[Joint.NOSE, 0] > 384) == right


def test_a_wide_photo_is_read_in_the_persons_own_box(parser):
    photo = Image.fromarray(np.pad(np.asarray(person(3)), ((0, 0), (700, 300), (0, 0)), mode="edge"))
    reading = read_person(photo, parser)
    alone = parser(person(3))
    assert len(reading.people) == 1 and reading.body.inner is not None
    mask, own = reading.body.mask("shirt"), np.zeros((512, photo.width), bool)
    own[:, 700:1084] = alone.mask("shirt")
    assert (mask & own).sum() / (mask | own).sum() > 0.75


@pytest.mark.slow
def test_people_who_touch_are_refused_until_a_box_says_who(parser):
    first, second = person(3), person(5)
    photo = beside(first.crop((0, 0, 250, 512)), second.crop((130, 0, 384, 512)))
    try:
        reading = read_person(photo, parser)
        mask = reading.body.mask("shirt")
        assert not (mask[:, 250:].any() and mask[:, :250].any())
    except PeopleTouch as error:
        assert "--box" in str(error)


def crops() -> dict[str, Image.Image]:
    whole, noise = person(3), np.random.default_rng(0).integers(0, 256, (400, 300, 3), dtype=np.uint8)
    return {
        "upside down": whole.rotate(180),
        "on its side": whole.rotate(90, expand=True),
        "face": whole.crop((130, 20, 250, 120)).resize((480, 400)),
        "noise": Image.fromarray(noise),
        "plain": Image.new("RGB", (400, 600), (90, 120, 200)),
        "tiny": Image.new("RGB", (1, 1)),
        "gradient": ImageOps.colorize(Image.linear_gradient("L"), "navy", "white"),
    }


@pytest.mark.parametrize("name", cases(["upside down", "plain"], slow=sorted({*crops()} - {"upside down", "plain"})))
def test_what_shows_nobody_who_can_be_dressed_is_refused(parser, name):
    with pytest.raises(DataError) as told:
        read_person(crops()[name], parser, name="me.jpg")
    text = str(told.value)
    assert "me.jpg" in text and "\n" not in text and ("give a photo" in text or "turn the photo" in text)
    assert name not in ("upside down", "on its side") or name in text


@pytest.mark.slow
def test_legs_alone_are_no_place_for_a_top(parser):
    legs = person(3).crop((0, 270, 384, 512))
    try:
        body = read_person(legs, parser).body
    except DataError:
        return
    assert not body.wears("shirt")
    with pytest.raises(DataError, match="head and shoulders"):
        body.mask("shirt")


def test_with_a_mask_of_ones_own_nobody_need_be_found(parser):
    photo = Image.new("RGB", (90, 120), "gray")
    reading = read_person(photo, parser, masked=True)
    assert reading.body.joints is None and "no person" in reading.note
    mask = np.zeros((120, 90), bool)
    mask[30:60, 30:60] = True
    assert np.array_equal(reading.body.with_mask("shirt", mask).mask("shirt"), mask)


def test_a_mask_of_ones_own_is_taken_in_a_wide_photo(parser):
    photo = beside(person(3), person(5))
    reading = read_person(photo, parser, box=(390, 5, 760, 505))
    assert reading.body.inner is not None
    left, top, right, bottom = reading.body.inner.box
    mask = np.zeros((512, 768), bool)
    mask[top + 150 : top + 200, left + 100 : left + 200] = True
    body = reading.body.with_mask("shirt", mask)
    assert body.inner is not None and np.array_equal(body.mask("shirt"), mask)
    assert np.array_equal(body.inner.body.mask("shirt"), body.inner.of(mask))
    mask[:, 10] = True
    assert reading.body.with_mask("shirt", mask).inner is None


@pytest.mark.parametrize("value", ["1,2,3", "a,b,c,d", [1, 2], "", "1;2;3;4", [1.5, 2, 3, 4]])
def test_a_box_that_is_none_is_refused(value):
    with pytest.raises(ConfigError, match="left,top,right,bottom"):
        box_of(value)


@pytest.mark.parametrize("box", [(0, 0, 385, 512), (-1, 0, 100, 100), (50, 0, 50, 100), (100, 0, 50, 100)])
def test_a_box_outside_the_photo_is_refused(parser, box):
    with pytest.raises(ConfigError, match="0 <= left < right <= 384"):
        read_person(person(3), parser, box=box)
    assert box_of("1, 2,3,4") == box_of([1, 2, 3, 4]) == (1, 2, 3, 4) and box_of(None) is None


def test_an_empty_corner_holds_nobody(parser):
    with pytest.raises(DataError, match="nobody who can be dressed was found in box 0,0,60,60; people are at"):
        read_person(person(3), parser, box=(0, 0, 60, 60))


@pytest.mark.skipif(not FAULTS.is_dir(), reason="needs research data")
def test_a_photo_without_a_person_is_refused(parser):
    with pytest.raises(DataError, match="no person was found"):
        read_person(load_image(FAULTS / "no_person.png"), parser)
