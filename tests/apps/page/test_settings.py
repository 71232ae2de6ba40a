"""Settings that travel: from a picture or a YAML back into the fields, and made again, byte for byte."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import yaml
from PIL import Image

from apps import cli
from apps.page.settings import PAGE, Kept, fitted, link, preset, read_dropped, read_link, updates
from apps.page.visits import Visit
from personagen.provenance import Parameters, write_png
from recsys.errors import DataError

from .visitor import fill, holds, order, picture, says, shot, unfold


@pytest.fixture
def kept() -> dict[str, Kept]:
    with gr.Blocks():
        words = {
            "prompt": gr.Textbox(max_length=20), "steps": gr.Slider(1, 50, value=20, step=1),
            "scheduler": gr.Dropdown([("own", ""), ("ddim", "ddim")], value=""), "seed": gr.Number(0),
        }  # fmt: skip
        worn = {"kind": gr.Dropdown(["upper", "lower"], value="upper"), "cut_out": gr.Checkbox(True)}
        photos = {"person": gr.Image(type="filepath")}
    return {
        "generate": Kept("generate", "subject generate", words),
        "tryon": Kept("tryon", "tryon wear", worn, photos, ("--fast", "true")),
    }


def values(update: Any) -> Any:
    return update["value"] if isinstance(update, dict) else update


def test_settings_go_into_a_picture_and_come_back(kept, tmp_path):
    own = kept["generate"]
    settings = own.settings(["a dog", 8.0, "ddim", 7])
    assert settings == {"prompt": "a dog", "steps": 8, "scheduler": "ddim", "seed": 7}
    path = write_png(Image.new("RGB", (8, 8)), tmp_path / "a.png", record=own.record(settings, strokes=None))
    found = read_dropped(path, kept)
    assert found.tab == "generate" and found.settings == settings
    filled, lacking = updates(own, found, Visit(tmp_path))
    assert [values(one) for one in filled] == ["a dog", 8, "ddim", 7] and lacking == []
    assert own.line(settings) == "personagen subject generate --prompt 'a dog' --steps 8 --scheduler ddim --seed 7"


def test_a_photo_is_found_again_by_its_bytes_and_else_asked_for(kept, tmp_path):
    own, visit, photo = kept["tryon"], Visit(tmp_path), tmp_path / "me.png"
    Image.new("RGB", (9, 9), "red").save(photo)
    visit.know(photo)
    (sha,) = visit.photos
    path = write_png(Image.new("RGB", (8, 8)), tmp_path / "a.png",
                     record=own.record({"kind": "lower"}, photos={"person": sha}, strokes="x"))  # fmt: skip
    found = read_dropped(path, kept)
    filled, lacking = updates(own, found, visit)
    assert [values(one) for one in filled] == ["lower", True, str(photo)] and lacking == [] and found.strokes == ["x"]
    assert updates(own, found, Visit(tmp_path))[1] == ["person"]
    assert own.line({"cut_out": False}).endswith("--fast true --cut_out false")


def test_a_web_uis_picture_fills_the_words(kept, tmp_path):
    said = Parameters("a red dress", "blur", {"Steps": "9", "Sampler": "DPM++ 2M", "CFG scale": "6.5", "Seed": "12",
                                              "Size": "512x768"})  # fmt: skip
    found = read_dropped(write_png(Image.new("RGB", (8, 8)), tmp_path / "a.png", parameters=said), kept)
    assert found.tab == "generate"
    assert found.settings == {
        "prompt": "a red dress", "negative_prompt": "blur", "steps": "9", "guidance": "6.5", "seed": "12",
        "width": "512", "height": "768", "scheduler": "dpmpp_2m",
    }  # fmt: skip


def test_yaml_is_the_commands_own(kept, tmp_path):
    text = preset(kept["generate"], {"prompt": "a dog: ünd\n- so", "steps": 8})
    file = tmp_path / "p.yaml"
    file.write_text(text, encoding="utf-8")
    assert read_dropped(file, kept).settings == {"prompt": "a dog: ünd\n- so", "steps": 8}
    _, settings = cli.parse(["subject", "generate", "--config", str(file)])
    assert settings.prompt == "a dog: ünd\n- so" and settings.steps == 8


def test_a_link_says_the_settings_and_a_wrong_one_is_told(kept):
    text = link(kept["generate"], {"prompt": "a dog: ünd <b>", "steps": 8})
    found = read_link(text.partition("=")[2], kept)
    assert found.tab == "generate" and found.settings == {"prompt": "a dog: ünd <b>", "steps": 8}
    for wrong in ("", "x", "e30", "WzFd", text[4:-3], "A" * 9000, "eyJ0YWIiOiAiYWRtaW4iLCAic2V0dGluZ3MiOiB7fX0"):
        with pytest.raises(DataError, match="link"):
            read_link(wrong, kept)


HOSTILE: dict[str, tuple[bytes, str]] = {
    "list.yaml": (b"- 1\n- 2\n", "holds no settings"),
    "other.yaml": (b"colour: red\n", "names no setting"),
    "tag.yaml": (b"!!python/object/apply:os.system ['true']\n", "is no YAML"),
    "bomb.yaml": (b"a: &a [x, x]\n" + b"".join(b"b%d: &b%d [*a, *a]\n" % (i, i) for i in range(9000)), "too large"),
    "bytes.yaml": (b"\xff\xfe\x00prompt", "is no YAML"),
    "deep.yaml": (b"[" * 5000, "is no YAML"),
    "words.png": (b"no picture", "cannot read"),
    "empty.png": (b"", "cannot read"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_settings_is_refused_with_a_sentence(kept, tmp_path, name):
    data, words = HOSTILE[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=words):
        read_dropped(tmp_path / name, kept)


@pytest.mark.parametrize(
    "page",
    [{}, {"tab": "admin", "settings": {}}, {"tab": "tryon", "settings": []}, {"tab": ["tryon"], "settings": {}}],
)
def test_a_forged_record_is_refused(kept, tmp_path, page):
    path = write_png(Image.new("RGB", (8, 8)), tmp_path / "a.png", record={PAGE: page})
    with pytest.raises(DataError):
        read_dropped(path, kept)


@pytest.mark.parametrize("forged", [{"steps": 9e99, "prompt": ["x"], "scheduler": "../../x", "seed": "x"},
                                    {"steps": "nan", "prompt": "y" * 900, "scheduler": {}, "seed": 1e400}])  # fmt: skip
def test_forged_values_leave_the_fields_as_they_begin(kept, forged):
    filled = {name: values(fitted(one, forged[name])) for name, one in kept["generate"].fields.items()}
    assert filled["steps"] == 20 and filled["scheduler"] == "" and filled["seed"] == 0 and len(filled["prompt"]) <= 20


@pytest.fixture
def page(visit):
    return visit()


def saved(page, link: str) -> bytes:
    return page.request.get(page.url + page.locator(link).first.get_attribute("href")).body()


def drop(page, data: bytes, name: str = "made.png") -> None:
    """Drop a file on the page's head, as from a folder."""
    page.evaluate(
        """([bytes, name]) => {
            const given = new DataTransfer();
            given.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
            const event = new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: given });
            document.querySelector("#head").dispatchEvent(event);
        }""",
        [list(data), name],
    )


@pytest.mark.browser
def test_looks_are_made_again_from_one_of_them(page):
    order(page, looks=1, scenes=1)
    unfold(page, "Settings")
    fill(page, "#seed", 77)
    page.click("#go")
    says(page, "2 pictures in", "#state")
    first = saved(page, "#scene-1 a.offer")
    page.reload()
    page.wait_for_selector("#history img")
    page.wait_for_timeout(1000)
    page.get_by_role("tab", name="Try on").click()
    drop(page, first)
    says(page, "taken over", "#state")
    page.locator("#go").wait_for()  # its tab has come
    unfold(page, "Settings")
    holds(page, "#seed input", "77")
    holds(page, "#looks input[type=number]", "1")
    page.click("#go")
    says(page, "2 pictures in", "#state")
    assert saved(page, "#scene-1 a.offer") == first


@pytest.mark.browser
def test_a_picture_from_words_is_made_again(page):
    page.get_by_role("tab", name="Generate").click()
    page.fill("#generate-prompt textarea", "a red dress")
    fill(page, "#generate-steps", 4)
    fill(page, "#generate-count", 2)
    page.click("#generate-sampler input")
    page.get_by_role("option", name="euler_a", exact=True).click()
    page.click("#generate-dice")
    page.wait_for_function("document.querySelector('#generate-seed input').value !== '0'")
    page.click("#generate-go")
    says(page, "2 pictures in", "#generate-state")
    shot(page, "generate")
    with zipfile.ZipFile(io.BytesIO(saved(page, "#generate-download a"))) as archive:
        first = archive.read(archive.namelist()[0])
    with Image.open(io.BytesIO(first)) as image:
        assert json.loads(image.info["personagen"])["page"]["settings"]["scheduler"] == "euler_a"
    page.get_by_text("The same on the command line").nth(1).click()
    assert "personagen subject generate --prompt 'a red dress'" in page.inner_text("#generate-command")
    href = page.locator("#generate-command a[download]").get_attribute("href")
    assert "scheduler" in href
    page.fill("#generate-prompt textarea", "something else")
    page.get_by_role("tab", name="Looks").click()
    drop(page, first)
    says(page, "taken over", "#generate-state")
    holds(page, "#generate-prompt textarea", "a red dress")
    page.click("#generate-go")
    says(page, "1 picture in", "#generate-state")
    with zipfile.ZipFile(io.BytesIO(saved(page, "#generate-download a"))) as archive:
        assert len(archive.namelist()) == 3 and archive.read(archive.namelist()[2]) == first


@pytest.mark.browser
def test_a_try_on_with_strokes_is_made_again(page, someone, tmp_path):
    from .test_tryon_tab import garment, paint_on

    page.get_by_role("tab", name="Try on").click()
    page.set_input_files("#wear-person input[type=file]", picture(tmp_path / "me.png", (60, 90), "gray"))
    says(page, "may be repainted", "#wear-state")
    page.set_input_files("#wear-garment input[type=file]", garment(tmp_path / "top.png", "red"))
    says(page, "The garment is there", "#wear-state")
    paint_on(page)
    page.click("#wear-go")
    says(page, "Done in", "#wear-state")
    first = saved(page, "#wear-download a")
    page.click("#wear-mask [data-do=found]")
    page.get_by_role("tab", name="Looks").click()
    drop(page, first)
    page.wait_for_selector("#wear-mask [data-do=found]:not([disabled])")
    shot(page, "tryon-restored")
    page.click("#wear-go")
    says(page, "Done in", "#wear-state")
    assert saved(page, "#wear-download a") == first


@pytest.mark.browser
def test_settings_photos_and_pictures_are_there_after_a_reload_and_a_link_brings_settings(page, someone):
    page.get_by_role("tab", name="Try on").click()
    page.locator("#wear-people button").first.click()
    says(page, "may be repainted", "#wear-state")
    page.locator("#wear-garments button").nth(5).click()
    page.wait_for_selector("#wear-garment img")
    page.click("#wear-go")
    says(page, "Done in", "#wear-state")
    page.get_by_role("tab", name="Generate").click()
    page.fill("#generate-prompt textarea", "a red dress")
    fill(page, "#generate-steps", 3)
    fill(page, "#generate-count", 1)
    page.click("#generate-go")
    says(page, "1 picture in", "#generate-state")
    page.locator("button.label-wrap:visible", has_text="The same on the command line").click()
    link = page.locator("#generate-command a").first.get_attribute("href")
    page.reload()
    says(page, "taken over", "#generate-state")
    holds(page, "#generate-prompt textarea", "a red dress")
    page.wait_for_selector("#generate-gallery img")
    page.get_by_role("tab", name="Try on").click()
    page.wait_for_selector("#wear-person img")
    page.wait_for_selector("#wear-mask canvas")
    shot(page, "reloaded")
    page.goto(page.url.split("?")[0] + str(link))
    says(page, "taken over", "#generate-state")
    holds(page, "#generate-prompt textarea", "a red dress")
    holds(page, "#generate-steps input[type=number]", "3")
    assert not page.locator("#generate-gallery img").count()  # a link brings no pictures


@pytest.mark.browser
def test_a_picture_without_settings_says_so(page):
    data = io.BytesIO()
    Image.new("RGB", (9, 9)).save(data, "PNG")
    drop(page, data.getvalue())
    says(page, "carries no settings", "#state")
    drop(page, yaml.safe_dump({"steps": 7, "prompt": "a dog"}).encode(), "mine.yaml")
    says(page, "2 settings taken over", "#generate-state")
    holds(page, "#generate-prompt textarea", "a dog")
    assert str(Path.cwd()) not in page.content()
