"""The page's tab for subjects: what it refuses, and the whole way in a real browser with a tiny base model."""

import os
import zipfile
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from PIL import Image

from apps.page import app, subject_tab
from apps.page.visits import Visit
from personagen.styling.studio import Studio
from recsys.errors import ConfigError, DataError
from tests.personagen.subject import parts as subject_parts

PATIENCE = 90_000  # milliseconds; the machine may be busy


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A tiny base model and pictures."""
    folder = tmp_path_factory.mktemp("tab")
    subject_parts.save("sd1", folder / "sd1")
    subject_parts.write_pictures(folder / "pictures", count=3)
    return folder


@pytest.fixture
def visit(tmp_path) -> Visit:
    return Visit(tmp_path)


def files(place: Path) -> list[str]:
    return [str(path) for path in sorted((place / "pictures").iterdir())]


def asked(visit, place, **changes):
    given: dict[str, Any] = {"name": "dog", "preset": "object", "consent": False, "steps": 2, "seed": 0} | changes
    studio, order = Studio(text2image=str(place / "sd1")), ("name", "preset", "consent", "steps", "seed")
    name, preset, consent, steps, seed = (given[key] for key in order)
    return subject_tab.settings(visit, files(place), name, preset, consent, steps, seed, studio)


def test_the_doctor_speaks_of_the_visitors_names_and_escapes_them(place, tmp_path):
    odd = tmp_path / "<b>odd.png"
    odd.write_bytes(b"no picture")
    told = subject_tab.verdict([*files(place), str(odd)], tmp_path / "work")
    assert "3 of 4 can be used" in told and "&lt;b&gt;odd.png" in told and "<b>" not in told


def test_what_cannot_be_learnt_is_refused_with_a_remedy(visit, place):
    for changes in ({"name": " "}, {"preset": "spell"}, {"preset": "person"}):
        with pytest.raises(ConfigError):
            asked(visit, place, **changes)
    assert asked(visit, place, preset="person", consent=True).consent
    with pytest.raises(DataError, match="no pictures"):
        subject_tab.gather([], visit.folder)
    with pytest.raises(DataError, match="more than"):
        subject_tab.gather(files(place) * 20, visit.folder)
    with pytest.raises(ConfigError, match="not numbers"):
        subject_tab.read_weights("1, x")


@pytest.mark.slow
def test_two_subjects_are_learnt_stacked_and_painted(visit, place):
    studio = Studio(text2image=str(place / "sd1"))
    config = asked(visit, place, name="dog")
    shown = list(subject_tab.watched(config, Event().is_set))
    assert shown[-1][1] == 1.0 and any(preview for *_, preview in shown)
    for _ in range(2):
        subject_tab.keep_subject(visit, config)
        assert {path.name for path in subject_tab.result_files(config)} >= {"dog.safetensors", "run.json"}
    assert list(visit.subjects) == ["dog", "dog 2"]
    pipe = subject_tab.stacked(visit, ["dog", "dog 2"], [1.0, 0.5], studio, Event().is_set)
    made = list(subject_tab.painted(pipe, "a sks dog", 2, 2, 0, visit.folder))
    assert len(made) == 2 and all(Image.open(path).size == (16, 16) for path in made)
    with pytest.raises(ConfigError, match="choose"):
        subject_tab.stacked(visit, ["/etc"], [], studio, Event().is_set)


def test_cancel_ends_the_training(visit, place):
    config, stop, seen = asked(visit, place, steps=500), Event(), 0
    for _ in subject_tab.watched(config, stop.is_set):
        seen += 1
        stop.set()
    assert seen == 1


@pytest.fixture(scope="module")
def tab(browser, studio, place, tmp_path_factory):
    """The page over the tiny base model, opened at the tab."""
    folder = tmp_path_factory.mktemp("page")
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    built = app.build(Studio(text2image=str(place / "sd1"), source=studio.source), folder)
    _, url, _ = built.launch(**app.launch_settings(str(folder)), server_name="127.0.0.1")
    page = browser.new_context(viewport={"width": 1360, "height": 1000}).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(url)
    page.get_by_role("tab", name="Teach a subject").click()
    yield page
    page.context.close()
    built.close(verbose=False)
    os.environ.pop("GRADIO_TEMP_DIR") if before is None else os.environ.update(GRADIO_TEMP_DIR=before)


def says(page, words: str) -> None:
    page.wait_for_function(f"document.querySelector('#subject-state').innerText.includes({words!r})")


@pytest.mark.slow
@pytest.mark.browser
def test_from_pictures_to_paintings(tab, place):
    tab.set_input_files("#subject-files input[type=file]", files(place))
    tab.wait_for_function("document.querySelector('#subject-verdict').innerText.includes('3 of 3')")
    tab.fill("#subject-name textarea, #subject-name input", "dog")
    tab.get_by_text("Settings of the training").click()
    tab.fill("#subject-steps input[type=number]", "4")
    tab.press("#subject-steps input[type=number]", "Tab")
    tab.click("#subject-preset input")
    tab.get_by_role("option", name="a person").click()
    tab.wait_for_selector("#subject-consent")
    tab.click("#subject-train")
    says(tab, "must have agreed")
    tab.check("#subject-consent input")
    tab.wait_for_selector("#subject-train:not([disabled])")
    tab.click("#subject-train")
    says(tab, "Learnt")
    tab.wait_for_selector("#subject-preview img")
    with tab.expect_download() as waiting:
        tab.click("#subject-download")
    with zipfile.ZipFile(waiting.value.path()) as archive:
        assert {"pytorch_lora_weights.safetensors", "dog.safetensors"} <= set(archive.namelist())
    tab.fill("#subject-paint-steps input[type=number]", "2")
    tab.press("#subject-paint-steps input[type=number]", "Tab")
    tab.click("#subject-paint")
    says(tab, "2 pictures")
    tab.wait_for_selector("#subject-gallery img")
    if shots := os.environ.get("PERSONAGEN_SHOTS"):
        tab.screenshot(path=f"{shots}/subject-page.png", full_page=True)
