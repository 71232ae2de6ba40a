"""The button that makes a figure: it is shown in a real browser, and can be saved."""

import io
import json
import struct

import numpy as np
import pytest
from PIL import Image

from personagen.atelier.corpus import random_sitting
from personagen.atelier.garment import GarmentSpec
from personagen.atelier.render import render_garment, render_person
from personagen.atelier.trace import portrait
from personagen.corpora.renders import body_of_render

from .visitor import PATIENCE, says


@pytest.fixture
def sitter(studio, tmp_path, monkeypatch):
    """A rendered person and a garment as files; the parser knows what the renderer does."""
    sitting = random_sitting(8)
    camera = portrait(sitting.body.height)
    render = render_person(sitting.body, sitting.outfit, "studio", size=(512, 384), camera=camera)
    body = body_of_render(render, sitting.body, camera)
    monkeypatch.setitem(vars(studio), "parser", lambda photo: body)
    Image.fromarray(render.image).save(tmp_path / "me.png")
    Image.fromarray(render_garment(GarmentSpec("t-shirt", "green"), size=(256, 192))).save(tmp_path / "tee.png")
    return tmp_path


@pytest.fixture
def tab(browser_3d, address):
    context = browser_3d.new_context(viewport={"width": 1360, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.get_by_role("tab", name="Try on").click()
    page.wait_for_selector("#turn-go")
    yield page
    context.close()


def _says(page, words):
    says(page, words, "#wear-state")


@pytest.mark.browser
@pytest.mark.slow
def test_a_figure_is_shown_turned_and_saved(tab, sitter):
    tab.click("#turn-go")
    _says(tab, "no photo of a person")
    tab.set_input_files("#wear-person input[type=file]", str(sitter / "me.png"))
    _says(tab, "may be repainted")
    tab.fill("#turn-words input, #turn-words textarea", "walking, sitting")
    tab.click("#turn-go")
    _says(tab, "sitting")  # refused in words
    tab.fill("#turn-words input, #turn-words textarea", "arms out")
    tab.click("#turn-go")
    _says(tab, "A figure in")
    link = tab.locator("#turn-files a.offer")
    data = tab.request.get(tab.evaluate("document.querySelector('#turn-files a.offer').href")).body()
    assert link.get_attribute("download") == "figure.glb" and data[:4] == b"glTF"
    tree = json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])
    assert tree["asset"]["extras"]["prompt"] == "arms out" and "skins" in tree
    canvas = tab.locator("#turn-figure canvas")
    canvas.wait_for()
    canvas.scroll_into_view_if_needed()
    first = _seen(tab, canvas)
    box = canvas.bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] / 2 + 160, box["y"] + box["height"] / 2, steps=8)
    tab.mouse.up()
    tab.wait_for_timeout(500)
    second = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB"), float)
    assert np.abs(first - second).mean() > 1  # it is turned


def _seen(page, canvas) -> np.ndarray:
    """Wait until something stands before the paper, and return what the canvas shows (H, W, 3)."""
    for _ in range(60):
        shown = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB"), float)
        paper = np.median(shown.reshape(-1, 3), 0)
        figure = np.abs(shown - paper).max(-1) > 25
        if 0.03 < figure.mean() < 0.6 and shown[figure].std() > 12:
            return shown
        page.wait_for_timeout(500)
    raise AssertionError("the canvas stays blank")
