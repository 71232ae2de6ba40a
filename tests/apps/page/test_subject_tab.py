"""The page's tab for subjects: what it refuses, and the whole way in a real browser with a tiny base model."""

import zipfile
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from PIL import Image

from apps.page import generate_tab, pictures, subject_tab
from apps.page.bases import Bases
from apps.page.pictures import CAPTION, grown
from apps.page.visits import Visit
from personagen.styling.studio import Studio
from recsys.errors import ConfigError, DataError
from tests.personagen.subject import parts as subject_parts

from ..serving import serving
from .visitor import PATIENCE, says, shot, unfold


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
    given: dict[str, Any] = {"name": "dog", "preset": "object", "max_train_steps": 2, "seed": 0} | changes
    consent, bases = given.pop("consent", False), Bases(Studio(text2image=str(place / "sd1")))
    return subject_tab.settings(visit, files(place), given, consent, bases, ["a sks dog on grass"])


def test_the_doctor_speaks_of_the_visitors_names_and_escapes_them(place, tmp_path):
    odd = tmp_path / "<b>odd.png"
    odd.write_bytes(b"no picture")
    items, told = pictures.looked_at([*files(place), str(odd)], tmp_path)
    assert told == "3 of 4 pictures can be used."
    assert [item["good"] for item in items] == [True] * 3 + [False] and items[3]["name"] == "<b>odd.png"
    assert "not a picture" in items[3]["verdict"]


def test_captions_go_with_their_pictures(visit, place):
    config = asked(visit, place)
    folder = Path(config.instance_data_dir)
    assert [path.name for path in folder.glob("*.txt")] == ["00.txt"]
    assert (folder / "00.txt").read_text(encoding="utf-8") == "a sks dog on grass\n"
    assert (
        pictures.captions_of({"items": [{"caption": "x"}, 3]}, 3)
        == ["x", "", ""]
        == pictures.captions_of({"items": [{"caption": "x"}]}, 3)
    )


def test_whoever_is_seen_must_have_agreed(visit, monkeypatch):
    file = visit.folder / "a.png"
    Image.new("RGB", (64, 64)).save(file)
    looked: list[int] = []
    monkeypatch.setattr(pictures, "find_people", lambda photo, parser, body: looked.append(1) or ["somebody"])
    parser: Any = lambda photo: None
    assert pictures.shows_people(visit, [str(file)], parser) and pictures.shows_people(visit, [str(file)], parser)
    assert looked == [1]


def test_what_cannot_be_learnt_is_refused_with_a_remedy(visit, place):
    for changes in ({"name": " "}, {"preset": "spell"}, {"preset": "person"}):
        with pytest.raises(ConfigError):
            asked(visit, place, **changes)
    assert asked(visit, place, preset="person", consent=True).consent
    with pytest.raises(DataError, match="no pictures"):
        pictures.gather([], visit.folder)
    with pytest.raises(DataError, match="more than"):
        pictures.gather(files(place) * 20, visit.folder)


@pytest.mark.slow
def test_two_subjects_are_learnt_stacked_and_painted(visit, place):
    bases = Bases(Studio(text2image=str(place / "sd1")))
    config = asked(visit, place, name="dog")
    shown = list(subject_tab.watched(config, Event().is_set))
    assert shown[-1][1] == 1.0 and any(preview for *_, preview in shown)
    for _ in range(2):
        subject_tab.keep_subject(visit, config, "sd1")
        assert {path.name for path in subject_tab.result_files(config)} >= {"dog.safetensors", "run.json"}
    assert list(visit.subjects) == ["dog", "dog 2"]
    assert visit.phrases["dog"] == "a sks dog"
    pipe = generate_tab.opened(bases, visit, "sd1", generate_tab.weighted(visit, [1.0, 0.5, 2.0]))
    assert pipe("a sks dog", num_inference_steps=2).images[0].size == (16, 16)
    assert generate_tab.weighted(visit, [0, 0.5]) == {"dog 2": 0.5}


@pytest.mark.slow
def test_a_training_tells_the_time_that_is_left(visit, place, monkeypatch):
    monkeypatch.setattr(subject_tab, "PAUSE", 0.0)
    config = asked(visit, place, max_train_steps=4)
    lines = [text for text, *_ in subject_tab.watched(config, Event().is_set)]
    assert any("s left" in line for line in lines) and "left" not in lines[-1]


def test_the_model_is_named_without_its_place(place):
    assert Bases(Studio(text2image=str(place / "sd1"))).said() == "`sd1`"
    assert "--text2image" in Bases(Studio()).said()


def test_cancel_ends_the_training(visit, place):
    config, stop, seen = asked(visit, place, max_train_steps=500), Event(), 0
    for _ in subject_tab.watched(config, stop.is_set):
        seen += 1
        stop.set()
    assert seen == 1


def test_samples_grow_by_a_row_each_time(tmp_path):
    for step, colour in ((4, "red"), (8, "green"), (12, "blue")):
        (tmp_path / f"step-{step:06d}").mkdir()
        Image.new("RGB", (30, 40), colour).save(tmp_path / f"step-{step:06d}" / "0.png")
        grid = Image.new("RGB", (68, 88), "gray")
        grid.paste(colour, (0, 44, 64, 84))
        grid.save(tmp_path / f"step-{step:06d}.png")
    sheet = grown(tmp_path)
    assert sheet.size == (68, 4 * (44 + CAPTION))
    middles = [sheet.getpixel((20, CAPTION + 20 + row * (44 + CAPTION))) for row in range(4)]
    assert middles == [(128, 128, 128), (255, 0, 0), (0, 128, 0), (0, 0, 255)]


@pytest.fixture(scope="module")
def tab(browser, address, studio, place, tmp_path_factory):
    """The page over the tiny base model, opened at the tab."""
    tiny = Studio(text2image=str(place / "sd1"), source=studio.source)
    with serving(tiny, tmp_path_factory.mktemp("page")) as served:
        page = browser.new_context(viewport={"width": 1360, "height": 1000}).new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(served.url)
        page.get_by_role("tab", name="Teach").click()
        yield page
        page.context.close()


@pytest.mark.slow
@pytest.mark.browser
def test_from_pictures_to_paintings(tab, place):
    tab.set_input_files("#subject-files input[type=file]", files(place))
    tab.wait_for_function("document.querySelector('#subject-verdict').innerText.includes('3 of 3')")
    tab.wait_for_function("document.querySelectorAll('#subject-thumbs figure.good').length === 3")
    tab.fill("#subject-thumbs figure:first-child input", "a sks dog, sitting")
    tab.press("#subject-thumbs figure:first-child input", "Tab")
    tab.fill("#subject-name textarea, #subject-name input", "dog")
    unfold(tab, "Settings of the training")
    tab.fill("#subject-steps input[type=number]", "4")
    tab.press("#subject-steps input[type=number]", "Tab")
    tab.click("#subject-preset input")
    tab.get_by_role("option", name="a person").click()
    tab.wait_for_selector("#subject-consent")
    tab.click("#subject-train")
    says(tab, "must have agreed", "#subject-state")
    tab.check("#subject-consent input")
    tab.wait_for_selector("#subject-train:not([disabled])")
    tab.click("#subject-train")
    says(tab, "Learnt", "#subject-state")
    tab.wait_for_selector("#subject-preview img")
    with tab.expect_download() as waiting:
        tab.click("#subject-download a")
    with zipfile.ZipFile(waiting.value.path()) as archive:
        assert {"pytorch_lora_weights.safetensors", "dog.safetensors"} <= set(archive.namelist())
    shot(tab, "teach")
    tab.click("#subject-use")
    tab.wait_for_selector("#generate-row-0")
    assert "sks dog" in tab.input_value("#generate-prompt textarea")
    tab.fill("#generate-steps input[type=number]", "2")
    tab.press("#generate-steps input[type=number]", "Tab")
    tab.click("#generate-go")
    tab.wait_for_function("document.querySelector('#generate-state').innerText.includes('2 pictures in')")
    tab.wait_for_selector("#generate-gallery img")
    shot(tab, "taught")
