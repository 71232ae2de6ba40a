"""The try-on tab: what it reads from uploads and the painted mask, and the tab itself in a real browser."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from apps.page import tryon_tab
from personagen.person.body import Body
from recsys.errors import ConfigError, DataError
from tests.cases import cases

from .test_looks_tab import PATIENCE


def picture(path, size, colour="white"):
    Image.new("RGB", size, colour).save(path)
    return str(path)


@pytest.mark.parametrize("size", [(40, 30), (30, 90), (1203, 901)])
def test_a_mask_comes_back_from_the_editor_as_it_was(size):
    mask = np.zeros(size, bool)
    mask[size[0] // 4 : size[0] // 2, size[1] // 3 : 2 * size[1] // 3] = True
    value = tryon_tab.editor_value(Image.new("RGB", size[::-1], "blue"), mask)
    assert value["background"].size == value["layers"][0].size == tryon_tab.CANVAS[::-1]
    again = tryon_tab.drawn_mask(value, size=size)
    assert again.shape == size and (again ^ mask).mean() < 0.02
    value["layers"] = [Image.new("RGBA", value["background"].size)]
    for nothing in (value, None, {"layers": None}):
        with pytest.raises(DataError, match="marks nothing"):
            tryon_tab.drawn_mask(nothing, size=size)


def test_a_mask_that_nobody_painted_on_is_taken_as_it_was_found():
    person, found = Image.new("RGB", (60, 90), "gray"), np.zeros((90, 60), bool)
    found[31:60, 17:40] = True
    body = Body(np.zeros((90, 60), np.uint8), known=lambda kind: found)
    shown = tryon_tab.editor_value(person, found)
    assert tryon_tab._painted_or_found(lambda photo: body, shown, person, "upper", 1.0) is body
    painted = tryon_tab.editor_value(person, np.roll(found, 8, axis=0))
    own = tryon_tab._painted_or_found(lambda photo: body, painted, person, "upper", 1.0)
    assert own is not body and own.fixed("upper")
    assert abs(int(own.mask("upper").sum()) - int(found.sum())) < 60
    assert np.array_equal(own.mask("lower"), found)


def test_garments_are_read_and_what_cannot_be_worn_is_refused(tmp_path):
    top, skirt = picture(tmp_path / "a.png", (8, 9)), picture(tmp_path / "b.png", (7, 9))
    pieces = tryon_tab.read_pieces([top, "upper", skirt, "lower", None, "upper"])
    assert [(piece.kind, piece.image.size) for piece in pieces] == [("upper", (8, 9)), ("lower", (7, 9))]
    with pytest.raises(DataError, match="garment"):
        tryon_tab.read_pieces([None, "upper", skirt, "lower"])
    with pytest.raises(ConfigError, match="outfit"):
        tryon_tab.read_pieces([top, "upper", skirt, "dress"])
    with pytest.raises(DataError, match="scale it down"):
        tryon_tab.read_pieces([picture(tmp_path / "huge.png", (8000, 7000)), "upper"])


@pytest.fixture
def tab(browser, address):
    contexts = []

    def go(width: int = 1360):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        page.get_by_role("tab", name="Try on").click()
        page.wait_for_selector("#wear-go")
        return page

    yield go
    for context in contexts:
        context.close()


def _says(page, text):
    page.wait_for_function(f"document.querySelector('#wear-state').innerText.includes('{text}')")


@pytest.mark.browser
@pytest.mark.parametrize("width", cases([1360], slow=[390]))
def test_a_person_is_dressed_inside_the_painted_mask(tab, tmp_path, width, studio, monkeypatch):
    def parser(photo):
        mask = np.zeros((photo.height, photo.width), bool)
        mask[30:60, 20:40] = True
        return Body(mask.astype(np.uint8), known=lambda kind: mask)

    monkeypatch.setitem(vars(studio), "parser", parser)
    page = tab(width)
    page.click("#wear-go")
    _says(page, "no photo of a person")
    page.set_input_files("#wear-person input[type=file]", picture(tmp_path / "me.png", (60, 90), "gray"))
    _says(page, "11% of the photo")
    page.click("#wear-go")
    _says(page, "no photo of a garment")
    top = Image.new("RGB", (30, 40), "white")
    top.paste("red", (5, 5, 25, 36))
    top.save(tmp_path / "top.png")
    page.set_input_files("#wear-garment input[type=file]", str(tmp_path / "top.png"))
    canvas = page.locator("#wear-mask canvas").first
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(500)  # the editor lays its canvas out
    page.click("#wear-go")
    _says(page, "Done in")
    page.locator("#wear-result img").nth(1).wait_for()
    data = page.request.get(page.locator("#wear-result img").nth(1).get_attribute("src")).body()
    with Image.open(io.BytesIO(data)) as worn:
        record = json.loads(worn.info["personagen"])
        changed = (np.asarray(worn.convert("RGB")) != 128).any(-1)
    assert record["kind"] == "tryon" and record["outfit"] == ["upper"] and changed.shape == (90, 60)
    assert changed[35:55, 25:35].mean() > 0.5  # and the seam of painting and scaling aside, nothing else
    changed[28:62, 18:42] = False
    assert not changed.any()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.browser
def test_a_photo_over_the_limit_is_refused_with_a_remedy(tab, tmp_path):
    page = tab()
    page.set_input_files("#wear-person input[type=file]", picture(tmp_path / "huge.png", (8000, 7000)))
    _says(page, "scale it down")
    assert page.locator("#wear-mask").count() == 0 or not page.locator("#wear-mask").is_visible()
