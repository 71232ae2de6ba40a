"""What a visitor sees on a telephone and on a desk: words, places that are empty, names, what is in view."""

import pytest
from PIL import Image

from apps.page import app, shared

from .visitor import order

EMPTY = """() => [...document.querySelectorAll('.gradio-container .column > .block')]
    .filter((one) => one.checkVisibility() && one.offsetHeight < 4).map((one) => one.id || one.className)"""
IN_VIEW = """() => {
    const said = [...document.querySelectorAll('.state')].find((one) => one.innerText.includes('of yours'));
    const box = said?.getBoundingClientRect();
    return box && box.top >= 0 && box.bottom <= innerHeight;
}"""


def test_a_refusal_begins_as_a_sentence_and_leaves_names_alone():
    assert "⚠ There is no photo" in shared.status("there is no photo; give one", 0.0, bad=True)
    for said in ("me.png is empty; give another", "mask_expand = 9; allowed are 0 to 4", "Guidance is 40"):
        assert f"⚠ {said}" in shared.status(said, 0.0, bad=True)
    assert "step 3 of 8" in shared.status("step 3 of 8", 0.0)


def test_what_comes_and_goes_is_hidden_not_taken_out(studio, tmp_path):
    """Of quick updates that add a component, the browser may lose the last: a button, a result."""
    page = app.build(studio, tmp_path)
    out = [block for block in page.blocks.values() if getattr(block, "visible", True) is False]
    page.close(verbose=False)
    assert [block.elem_id for block in out] == ["generate-base", "subject-base"]  # one base: they never come


@pytest.mark.browser
def test_what_is_empty_takes_no_place(visit):
    page, found = visit(), []
    for name in ("Looks", "Generate", "Try on", "Teach"):
        page.get_by_role("tab", name=name, exact=True).click()
        page.wait_for_timeout(500)
        found += [f"{name}: {one}" for one in page.evaluate(EMPTY)]
    assert not found


@pytest.mark.browser
def test_a_visitor_reads_the_names_that_they_gave(visit, tmp_path):
    page = visit()
    page.get_by_role("tab", name="Teach").click()
    for at in range(2):
        Image.new("RGB", (64, 64 + at), "teal").save(tmp_path / f"my-dog-{at}.png")
    page.set_input_files("#subject-files input[type=file]", [str(tmp_path / f"my-dog-{at}.png") for at in range(2)])
    page.wait_for_selector("#subject-thumbs figure")
    page.wait_for_timeout(500)
    assert page.locator("#subject-files .stem").all_inner_texts() == ["my-dog-0", "my-dog-1"]


@pytest.mark.browser
def test_on_a_telephone_one_sees_that_ones_data_is_gone(visit):
    page = visit(390, height=800)
    page.click("#forget")
    page.wait_for_function(IN_VIEW, timeout=30_000)


@pytest.mark.browser
def test_a_cards_slider_says_which_end_is_which_and_stays_inside(visit):
    page = visit(390, height=800)
    order(page, looks=1, scenes=0)
    page.click("#go")
    slide = page.locator(".look .slide")
    slide.wait_for()
    assert slide.inner_text().split() == ["After", "Before"]
    inner, outer = page.locator(".look .cut").bounding_box(), page.locator(".look").bounding_box()
    assert inner["x"] - outer["x"] > 30 and outer["x"] + outer["width"] - inner["x"] - inner["width"] > 30
