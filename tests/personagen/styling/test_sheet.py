import numpy as np
import pytest
from PIL import Image

from personagen.styling.prompts import Reason
from personagen.styling.sheet import MARGIN, PHOTO, SCENE, WIDTH, draw_sheet, fitted, shares, wrap
from personagen.styling.stylist import Look
from tests.personagen.styling.seam_parts import catalog


def look(kind, item, score, size=(48, 64)):
    reasons = (
        Reason("past", "a red t-shirt", 0.5, 1),
        Reason("concept", "colour red", 1.2),
        Reason("note", "2 passed over"),
    )
    return Look(Image.new("RGB", size, "navy"), kind, item, score, "a person wearing a red t-shirt", reasons, 1, 0.1)


def test_lines_fit_and_no_word_is_lost():
    text = "a person wearing a red striped t-shirt and blue trousers in a city at night " + "x" * 80
    lines = wrap(text, 20, 300)
    assert " ".join(lines) == " ".join(text.split()) and lines[-1] == "x" * 80 and len(lines) >= 4
    assert wrap("", 20, 300) == [""]


def test_pictures_are_scaled_whole():
    wide = fitted(Image.new("RGB", (200, 20), "red"), (100, 100))
    assert wide.size == (100, 100)
    pixels = np.asarray(wide)
    assert (pixels[50, 50] == (255, 0, 0)).all() and (pixels[5, 5] == 255).all()


def test_the_page_grows_with_its_looks():
    found = catalog()
    few = draw_sheet([look("tryon", 1, 0.5)], history=[2, 3], catalog=found, title="User 1")
    many = [look("tryon", 1 + at, 1.0 - 0.1 * at) for at in range(5)] + [look("scene", 9, 0.2, (80, 30))]
    full = draw_sheet(
        many, history=range(1, 31), catalog=found, title="User 1", note="a note", person=Image.new("RGB", (30, 90))
    )
    assert few.width == full.width == WIDTH and few.height + 1000 < full.height < 5000
    assert (np.asarray(full)[-30:] == np.asarray(full)[0, 0]).all()
    navy = (np.asarray(full) == (0, 0, 128)).all(-1)
    assert navy.sum() > 5 * 300 * 400


def test_bars_are_shares_of_the_best():
    assert shares([-1.0, -1.0 + np.log(0.5)]) == pytest.approx([1.0, 0.5])
    assert shares([8.0, 2.0, 0.0]) == [1.0, 0.25, 0.0]
    assert shares([0.0, 0.0]) == [1.0, 1.0] and shares([]) == []
    page = np.asarray(draw_sheet(
        [look("scene", 1, -3.0), look("scene", 2, -3.0)], history=[2], catalog=catalog(), title="User 1"
    ))  # fmt: skip
    accent = (page == (0xB5, 0x53, 0x2C)).all(-1)
    assert accent.sum(1).max() >= 2 * 0.95 * (SCENE[0] - 76)


def test_the_photo_stands_beside_the_history():
    draw = lambda person: draw_sheet([look("tryon", 1, 1.0)], history=range(1, 11), catalog=catalog(), title="User 1",
                                     person=person)  # fmt: skip
    page = np.asarray(draw(Image.new("RGB", (30, 40), "teal")))
    rows, columns = np.nonzero((page == (0, 128, 128)).all(-1))
    assert columns.min() == MARGIN and columns.max() - columns.min() + 1 == PHOTO[0]
    assert rows.max() - rows.min() + 1 == PHOTO[1]
    assert draw(None).height < len(page)
