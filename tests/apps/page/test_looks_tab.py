"""The page's parts, and the page itself in a real browser."""

import io
import json
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from apps.page import app, board, shared
from personagen.styling.stylist import Look, Reason
from recsys.errors import ConfigError
from tests.place import ROOT

from .visitor import PATIENCE, fill, order, shot, unfold


@pytest.mark.slow
def test_importing_the_page_builds_nothing():
    code = "import sys, apps.page.app; sys.exit('gradio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_only_the_loopback_is_open_without_a_password():
    assert app.check_exposure("127.0.0.1", None) is None
    assert app.check_exposure("::1", None) is None
    assert app.check_exposure("0.0.0.0", "ann:longenough") == ("ann", "longenough")
    for host, auth in (("0.0.0.0", None), ("example.org", None), ("127.0.0.1", "ann"), ("0.0.0.0", "ann:short")):
        with pytest.raises(ConfigError, match="auth"):
            app.check_exposure(host, auth)


def test_launch_is_hardened(tmp_path):
    settings = app.launch_settings(str(tmp_path))
    assert settings["share"] is False and settings["show_error"] is False and settings["mcp_server"] is False
    assert settings["allowed_paths"] == [] and settings["blocked_paths"] == [str(Path.cwd())]
    assert settings["run_history"] is False and settings["strict_cors"] is True and settings["max_file_size"] == "64mb"


def test_text_of_a_catalogue_cannot_become_markup(studio):
    reasons = (Reason("note", "<script>alert(1)</script> [x](javascript:y)"), Reason("concept", "colour red", 1.2))
    look = Look(Image.new("RGB", (4, 4)), "scene", 1, 0.5, "a <b>bold</b> *prompt*", reasons, 0, 0.1)
    card = board.card_of(look, studio.source.catalog, Path('a"b.png'), garment=None, before=None)
    text = board.cards([card])
    assert "<script" not in text and "<b>" not in text and 'a"b' not in text
    assert "Suits your taste for red" in text


def test_reasons_are_words_of_a_shopper():
    reasons = [
        Reason("past", "a red shirt", 0.9, 3), Reason("past", "blue trousers", 0.8, 4),
        Reason("concept", "kind skirt", 1),
        Reason("concept", "scene beach", 1), Reason("note", "worn with item 12, blue trousers", item=12),
        Reason("note", "3 better-ranked items passed over: this picture has no mask for dress"),
    ]  # fmt: skip
    assert board.why(reasons) == [
        "Close to what you chose before: a red shirt and blue trousers",
        "Suits your taste for skirts and days on a beach",
        "Worn with blue trousers", "3 items ranked higher (dress) cannot be put on in this photo",
    ]  # fmt: skip


def test_the_zip_holds_the_files_byte_for_byte(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(b"\x89PNG of ours")
    with zipfile.ZipFile(shared.pack([file], tmp_path / "all.zip")) as archive:
        assert archive.namelist() == ["a.png"] and archive.read("a.png") == file.read_bytes()


def _inside(url: str, address: str) -> bool:
    return url.startswith((address, "data:", "blob:"))


@pytest.mark.browser
def test_looks_appear_with_their_reasons_and_can_be_taken_away(visit, address):
    page, outside = visit(), list[str]()
    page.on("request", lambda request: None if _inside(request.url, address) else outside.append(request.url))
    page.reload()
    page.wait_for_selector("#history img")
    order(page, looks=1, scenes=1)
    page.click("#go")
    page.wait_for_selector("#download a")
    assert "2 pictures in" in page.inner_text("#state")
    page.wait_for_function("document.querySelectorAll('.look').length === 2")
    assert "what you chose before" in page.inner_text("#tryon-0") and "Tried on" in page.inner_text("#tryon-0")
    assert "Scene" in page.inner_text("#scene-1") and page.locator("#tryon-0 figure").count() == 2
    assert "a person wearing" in page.locator("#tryon-0 .after").get_attribute("alt")
    shot(page, "looks")
    page.locator("#tryon-0 .cut").fill("60")
    assert page.locator("#tryon-0 .pair").evaluate("e => e.style.getPropertyValue('--cut')") == "60%"
    page.click("#tryon-0 .enlarge")
    page.wait_for_selector("dialog.large img")
    page.keyboard.press("Escape")
    data = page.request.get(page.url + page.locator("#tryon-0 .after").get_attribute("src")).body()
    with Image.open(io.BytesIO(data)) as picture:  # our own PNG, not a re-encoded one
        assert json.loads(picture.info["personagen"])["kind"] == "tryon" and "Steps:" in picture.info["parameters"]
    with page.expect_download() as waiting:
        page.click("#download a")
    with zipfile.ZipFile(waiting.value.path()) as archive:
        names = archive.namelist()
    assert {"looks.json", "sheet.png"} <= set(names) and sum(name.endswith(".png") for name in names) == 3
    assert outside == []


@pytest.mark.slow
@pytest.mark.browser
def test_cancel_stops_and_the_page_can_go_on(visit):
    page = visit()
    order(page, looks=8, scenes=4)
    unfold(page, "Settings")
    fill(page, "#steps", 50)  # long enough to be cancelled on a quick machine
    page.click("#go")
    page.wait_for_selector("#stop:not([disabled])")
    page.click("#stop")
    page.wait_for_function("document.querySelector('#state').innerText.includes('Stopped')")
    page.wait_for_selector("#go:not([disabled])")
    assert page.locator(".look:visible").count() < 12
    order(page, looks=1, scenes=0)
    page.click("#go")
    page.wait_for_function("document.querySelector('#state').innerText.includes('1 picture in')")


@pytest.mark.slow
@pytest.mark.browser
def test_a_described_person_has_a_history_of_fitting_items(visit):
    page = visit()
    page.get_by_role("tab", name="Describe one").click()
    page.wait_for_function("document.querySelectorAll('#history img').length === 0")
    page.click("#kinds input")
    page.get_by_role("option", name="dress").click()
    page.wait_for_function("document.querySelectorAll('#history img').length === 8")


@pytest.mark.browser
def test_an_empty_description_says_what_to_do(visit):
    page = visit()
    page.get_by_role("tab", name="Describe one").click()
    page.wait_for_function("document.querySelectorAll('#history img').length === 0")
    page.click("#go")
    page.wait_for_function("document.querySelector('#state').innerText.includes('choose a kind')")
    page.wait_for_selector("#go:not([disabled])")


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (390, "light"), (1360, "dark")])
def test_the_page_fits_a_phone_and_the_dark(visit, width, scheme):
    page = visit(width, height=844, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    red = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]")
    assert (int(red) < 80) == (scheme == "dark")


@pytest.mark.browser
def test_every_answer_forbids_frames_and_what_is_outside(address, visit):
    first = visit()
    page, wrong = first.context.new_page(), list[str]()
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.goto(address)
    page.wait_for_selector("#history img")
    for tab in ("Generate", "Try on", "Teach"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(300)
    assert wrong == []
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{address}gradio_api/info", timeout=60)  # programs need --api
    heads = [refused.value.headers]
    for path in ("", "config"):
        with urllib.request.urlopen(f"{address}{path}", timeout=60) as answer:
            heads.append(answer.headers)
    assert all("frame-ancestors 'none'" in head["content-security-policy"] for head in heads)
    assert {head["x-frame-options"] for head in heads} == {"DENY"}


def test_files_of_the_working_directory_are_not_served(address):
    for path in ("pyproject.toml", str(ROOT / "pyproject.toml"), "/etc/passwd"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{address}gradio_api/file={path}", timeout=60)
        assert caught.value.code in (403, 404)
