"""The try-on tab: what it reads from uploads and the painted mask, and the tab itself in a real browser."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from apps.page import editor, kinds, masks
from apps.page.visits import Visit
from personagen.atelier.garment import random_garment
from personagen.atelier.render import render_garment
from personagen.person.body import Body
from personagen.warping.garment_kind import FoundKind
from recsys.errors import ConfigError, DataError
from tests.cases import cases

from .visitor import fill, picture, says, shot, unfold


def stroked(size: tuple[int, int], *, add: tuple[slice, slice] | None = None, erase: tuple | None = None) -> str:
    """Return what the browser sends for strokes on a photo of `size`, drawn twice as fine."""
    layer = np.zeros((2 * size[0], 2 * size[1], 4), np.uint8)
    for place, colour in ((add, (255, 0, 0, 255)), (erase, (0, 0, 255, 255))):
        if place is not None:
            layer[tuple(slice(2 * one.start, 2 * one.stop) for one in place)] = colour
    data = io.BytesIO()
    Image.fromarray(layer).save(data, "PNG")
    return editor.DATA + base64.b64encode(data.getvalue()).decode()


def test_strokes_add_to_what_was_found_and_take_from_it():
    found = np.zeros((90, 60), bool)
    found[30:60, 20:40] = True
    value = stroked((90, 60), add=np.s_[10:20, 20:40], erase=np.s_[50:70, 10:50])
    mask = editor.painted(value, found)
    assert mask is not None and mask[12:18, 22:38].all() and not mask[52:68].any() and mask[32:48, 22:38].all()
    assert editor.painted(None, found) is None and editor.painted("", found) is None
    for wrong in ("data:text/html;base64,AAAA", editor.DATA + "AAAA", editor.DATA + "\u00e9", 7, editor.DATA * 400_000):
        with pytest.raises(DataError, match="paint them again"):
            editor.painted(wrong, found)


def test_a_mask_that_nobody_painted_on_is_taken_as_it_was_found():
    person, found = Image.new("RGB", (60, 90), "gray"), np.zeros((90, 60), bool)
    found[31:60, 17:40] = True
    body = Body(np.zeros((90, 60), np.uint8), known=lambda kind: found)
    assert masks.painted_or_found(lambda photo: body, {"upper": None}, person, 1.0) is body
    painted = stroked((90, 60), add=np.s_[10:31, 17:40])
    own = masks.painted_or_found(lambda photo: body, {"upper": painted, "lower": None}, person, 1.0)
    assert own is not body and own.fixed("upper") and own.mask("upper")[12:58, 19:38].all()
    assert np.array_equal(own.mask("lower"), found)
    with pytest.raises(DataError, match="marks nothing"):
        whole = stroked((90, 60), erase=np.s_[0:90, 0:60])
        masks.painted_or_found(lambda photo: body, {"upper": whole}, person, 1.0)


def test_strokes_belong_to_the_place_of_their_garment():
    one, two = stroked((90, 60), add=np.s_[10:20, 20:40]), stroked((90, 60), add=np.s_[70:80, 20:40])
    assert editor.strokes_of(None, 3) == editor.strokes_of({"strokes": []}, 3) == [None] * 3
    assert editor.strokes_of({"strokes": [None, two]}, 3) == [None, two, None]
    assert editor.strokes_of(one, 3) == [one, None, None]  # of a picture that was made before
    assert editor.strokes_of({"strokes": [one, two, one, two]}, 3) == [one, two, one]


def test_garments_are_read_and_what_cannot_be_worn_is_refused(tmp_path):
    visit = Visit(tmp_path)
    parser = lambda photo: pytest.fail("nothing is looked for where the kind is said")
    top, skirt = picture(tmp_path / "a.png", (8, 9)), picture(tmp_path / "b.png", (7, 9))
    pieces, found = kinds.read_pieces(visit, [top, "upper", skirt, "lower", None, "auto"], parser)
    assert not found and [(piece.kind, piece.image.size) for piece in pieces] == [("upper", (8, 9)), ("lower", (7, 9))]
    with pytest.raises(DataError, match="garment"):
        kinds.read_pieces(visit, [None, "upper", skirt, "lower"], parser)
    with pytest.raises(ConfigError, match="outfit"):
        kinds.read_pieces(visit, [top, "upper", skirt, "dress"], parser)
    with pytest.raises(DataError, match="scale it down"):
        kinds.read_pieces(visit, [picture(tmp_path / "huge.png", (8000, 7000)), "upper"], parser)


def test_the_kind_of_a_garment_is_looked_for_once(tmp_path, monkeypatch):
    visit, looked = Visit(tmp_path), []
    found, parser = FoundKind("dress"), lambda photo: pytest.fail("this is asked of no parser here")
    monkeypatch.setattr(kinds, "kind_of", lambda image, parser: looked.append(image) or found)
    garment = picture(tmp_path / "a.png", (8, 9))
    assert kinds.found_kind(visit, garment, parser) is found
    for _ in range(2):
        pieces, said = kinds.read_pieces(visit, [garment, "auto", None, "auto"], parser)
        assert [piece.kind for piece in pieces] == ["dress"] and said == [found.said()]
    assert len(looked) == 1
    with pytest.raises(DataError, match="give it again"):
        kinds.read_pieces(visit, ["/etc/hostname", "auto"], parser)


@pytest.fixture
def tab(visit):
    """Open the tab at a width."""
    return lambda width=1360: visit(width, tab="Try on")


def _says(page, words):
    says(page, words, "#wear-state")


def strokes(page) -> bool:
    return page.locator("#wear-mask [data-do=found]").is_enabled()


def garment(path, colour: str) -> str:
    """Write a garment of one colour on white; return its path."""
    made = Image.new("RGB", (30, 40), "white")
    made.paste(colour, (5, 5, 25, 36))
    made.save(path)
    return str(path)


def stroke(page, start: tuple[int, int], end: tuple[int, int]) -> None:
    """Draw a line on a mask of 60x90 pixels."""
    canvas = page.locator("#wear-mask canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    at = lambda x, y: (box["x"] + x * box["width"] / 60, box["y"] + y * box["height"] / 90)
    page.mouse.move(*at(*start))
    page.mouse.down()
    page.mouse.move(*at(*end), steps=5)
    page.mouse.up()


def paint_on(page) -> None:
    """Paint above what was found, then erase and undo; strokes stay when another kind is found."""
    page.wait_for_selector("#wear-mask canvas")
    page.wait_for_function("document.querySelector('#wear-mask canvas').height > 300")
    assert not strokes(page)
    canvas = page.locator("#wear-mask canvas")
    stroke(page, (25, 8), (25, 24))
    assert strokes(page)
    shot(page, "editor-painted")
    page.click("#wear-mask [data-tool=erase]")
    canvas.focus()
    page.keyboard.press("Space")
    shot(page, "editor-erased")
    page.click("#wear-mask [data-do=undo]")
    assert strokes(page)
    page.locator("#wear-kind input").click()
    page.get_by_role("option", name="a dress", exact=True).click()
    page.wait_for_timeout(1500)
    assert strokes(page)
    page.locator("#wear-kind input").click()
    page.get_by_role("option", name="a top", exact=True).click()
    page.wait_for_timeout(1500)
    assert strokes(page)


@pytest.mark.browser
def test_back_to_the_found_mask_takes_the_strokes_and_leaves_the_photo(tab, tmp_path, someone):
    page = tab()
    page.set_input_files("#wear-person input[type=file]", picture(tmp_path / "me.png", (60, 90), "gray"))
    _says(page, "may be repainted")
    paint_on(page)
    page.click("#wear-mask [data-do=found]")
    assert not strokes(page) and page.locator("#wear-mask img").is_visible()
    page.click("#wear-mask [data-do=undo]")
    assert strokes(page)
    sizes = page.evaluate("[...document.querySelectorAll('#wear-mask button')].map(e => e.offsetHeight)")
    assert min(sizes) >= 40


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
    page.set_input_files("#wear-garment input[type=file]", garment(tmp_path / "top.png", "red"))
    paint_on(page)
    page.click("#wear-go")
    _says(page, "Done in")
    assert "of masks that were found, not of painted" in page.locator("#wear-state").inner_text()
    page.locator("#wear-result .after").wait_for()
    data = page.request.get(page.locator("#wear-result .after").evaluate("one => one.src")).body()
    with Image.open(io.BytesIO(data)) as worn:
        record = json.loads(worn.info["personagen"])
        changed = (np.asarray(worn.convert("RGB")) != 128).any(-1)
    page.locator("#wear-result .cut").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#wear-result .pair").evaluate("one => one.style.getPropertyValue('--cut')") == "1%"
    assert record["kind"] == "tryon" and record["outfit"] == ["upper"] and changed.shape == (90, 60)
    assert changed[35:55, 25:35].mean() > 0.5 and changed[8:22, 22:28].mean() > 0.5
    changed[28:62, 18:42] = changed[2:32, 18:32] = False  # the seam of painting and scaling aside, nothing else
    assert not changed.any()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.browser
def test_every_garment_of_an_outfit_has_a_mask_of_its_own(tab, tmp_path, studio, monkeypatch):
    def parser(photo):
        def mask(kind):
            found = np.zeros((photo.height, photo.width), bool)
            found[(30, 60)[kind == "lower"] : (55, 85)[kind == "lower"], 20:40] = True
            return found

        return Body(mask("upper").astype(np.uint8), known=mask)

    monkeypatch.setitem(vars(studio), "parser", parser)
    page = tab()
    page.set_input_files("#wear-person input[type=file]", picture(tmp_path / "me.png", (60, 90), "gray"))
    _says(page, "may be repainted")
    for at, (kind, place) in enumerate((("a top", ""), ("trousers or a skirt", "-2"))):
        if at:
            unfold(page, "More garments")
        page.set_input_files(f"#wear-garment{place} input[type=file]", garment(tmp_path / f"{at}.png", "red"))
        page.wait_for_selector(f"#wear-garment{place} img")
        page.locator(f"#wear-kind{place} input").click()
        page.get_by_role("option", name=kind, exact=True).last.click()
    of = page.locator("#wear-mask [role=radio]")
    named = "[...document.querySelectorAll('#wear-mask [role=radio]')].map(one => one.innerText).join()"
    page.wait_for_function(f"{named} === 'Top,Trousers or skirt'")
    of.nth(1).click()
    assert of.nth(1).get_attribute("aria-checked") == "true" and not strokes(page)
    stroke(page, (50, 62), (50, 70))
    assert strokes(page)
    shot(page, "outfit-masks")
    of.nth(0).click()
    assert not strokes(page)
    page.click("#wear-go")
    _says(page, "Done in")
    data = page.request.get(page.locator("#wear-result .after").evaluate("one => one.src")).body()
    with Image.open(io.BytesIO(data)) as worn:
        record = json.loads(worn.info["personagen"])
        changed = (np.asarray(worn.convert("RGB")) != 128).any(-1)
    drawn = [bool(one) for one in record["page"]["strokes"]]
    assert record["outfit"] == ["upper", "lower"] and drawn == [False, True, False]
    assert changed[35:50, 24:36].mean() > 0.5 and changed[65:80, 24:36].mean() > 0.5
    assert changed[64:69, 49:52].all() and not changed[30:50, 45:].any()
    unfold(page, "The same on the command line")
    assert '--masks \'{"lower": "MASK-lower.png"}\'' in page.inner_text("#wear-command")


@pytest.mark.browser
def test_the_kind_of_a_garment_is_found_said_and_can_be_changed(tab, tmp_path, someone, studio):
    page = tab()
    dress = render_garment(random_garment(np.random.default_rng(9_000_001), "dress"), size=(256, 192))
    Image.fromarray(dress).save(tmp_path / "dress.png")
    assert page.locator("#wear-kind input").input_value() == "find it in the photo"
    page.set_input_files("#wear-garment input[type=file]", str(tmp_path / "dress.png"))
    page.wait_for_function("document.querySelector('#wear-kind').innerText.includes('Taken for a dress')")
    page.set_input_files("#wear-person input[type=file]", picture(tmp_path / "me.png", (60, 90), "gray"))
    _says(page, "may be repainted")
    page.click("#wear-go")
    _says(page, "taken for a dress")
    page.locator("#wear-result .after").wait_for()
    data = page.request.get(page.locator("#wear-result .after").evaluate("one => one.src")).body()
    record = json.loads(Image.open(io.BytesIO(data)).info["personagen"])
    assert record["outfit"] == ["dress"] and record["page"]["settings"]["kind"] == "auto"
    page.locator("#wear-kind input").click()
    page.get_by_role("option", name="a top", exact=True).click()
    page.wait_for_function("!document.querySelector('#wear-kind').innerText.includes('Taken for')")


@pytest.mark.browser
def test_a_photo_over_the_limit_is_refused_with_a_remedy(tab, tmp_path):
    page = tab()
    page.set_input_files("#wear-person input[type=file]", picture(tmp_path / "huge.png", (8000, 7000)))
    _says(page, "scale it down")
    assert not page.locator("#wear-mask canvas").is_visible()


WORN = "['before', 'after'].map(one => document.querySelector(`#wear-result .${one}`)?.src)"
"""Before and after, as the page shows them."""
WATCH = """() => {
  window.coming = new Set(); window.lines = new Set(); window.begun = 0;
  new MutationObserver(all => all.forEach(one => { if (one.oldValue === null) window.begun += 1; }))
    .observe(document.querySelector('#wear-go'), {attributeFilter: ['disabled'], attributeOldValue: true});
  const look = () => {
    const image = document.querySelector('#wear-preview img'), line = document.querySelector('#wear-state .line');
    if (image?.checkVisibility() && image.naturalWidth) window.coming.add(image.src);
    if (line) window.lines.add(line.innerText.split(':')[0]);
  };
  new MutationObserver(() => { look(); requestAnimationFrame(look); })
    .observe(document.body, {childList: true, subtree: true, attributes: true, characterData: true});
}"""
"""Keep what is shown in passing, and count the times that a try-on has begun."""


@pytest.mark.browser
@pytest.mark.parametrize("times", cases([6], slow=[60]))
def test_previews_are_shown_and_no_result_is_lost_however_quickly_they_come(tab, tmp_path, someone, times):
    page = tab()
    page.set_input_files("#wear-person input[type=file]", picture(tmp_path / "me.png", (60, 90), "gray"))
    _says(page, "may be repainted")
    page.locator("#wear-garments button").first.click()
    page.wait_for_selector("#wear-garment img")
    unfold(page, "Settings")
    fill(page, "#wear-steps", 12)
    page.evaluate(WATCH)
    seen, wrong = set(), []
    for at in range(times):
        page.click("#wear-go")
        page.wait_for_function(f"window.begun > {at}")  # it may be over before a selector is looked for
        _says(page, "Done in")
        page.wait_for_selector("#wear-go:not(:disabled)")
        page.wait_for_timeout(500)
        shown = page.evaluate(WORN)
        if not all(shown) or shown[1] in seen or not page.locator("#wear-result").is_visible():
            wrong.append((at, shown))
        if page.locator("#wear-preview img").count():
            wrong.append((at, "a preview stays"))
        seen.update(shown)
    assert not wrong
    assert page.evaluate("window.coming.size") >= 2
    assert {"Painting", "Taking the old garment off …"} <= set(page.evaluate("[...window.lines]"))
