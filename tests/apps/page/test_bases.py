"""Base models by name: what may be chosen, what is in memory, what fits which, and how the choice travels."""

import io
import json
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from apps import cli
from apps.page import api, app, bases, generate_tab, moves, settings, uploads
from apps.page.bases import Base, Bases
from apps.page.settings import Found, Kept
from apps.page.visits import Visit
from personagen.adapters import adapter
from personagen.adapters.lora import Lora, attach, collect, save_kohya
from personagen.models import load_text2image, single_file
from personagen.models.config import OwnWeights
from personagen.styling.studio import Halted, Studio
from recsys.errors import ConfigError, ModelError
from tests.personagen.subject import parts
from tests.place import ROOT

from ..serving import serving
from .visitor import fill, holds, says, shot, unfold

sys.path.append(str(ROOT / "benchmarks"))
visitor = pytest.importorskip("visitor", reason="the benchmarks are not here")
KEY = "a key of the tests"
TWIN, LARGE = "A twin", "Large, of 2023"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Three tiny models, of which two are of one family, a LoRA file of each family, and pictures."""
    folder = tmp_path_factory.mktemp("bases")
    for name, family, seed in (("sd1", "sd1", 0), ("twin", "sd1", 1), ("secret-place", "sdxl", 0)):
        pipe = load_text2image(parts.save(family, folder / name, seed=seed))
        attach(pipe, Lora(rank=2))
        save_kohya(collect(pipe), folder / f"{name}.safetensors")
    parts.write_pictures(folder / "pictures", count=4)
    return folder


def more(place: Path) -> dict[str, str]:
    return {TWIN: str(place / "twin"), LARGE: str(place / "secret-place")}


@pytest.fixture
def offered(place) -> Bases:
    return Bases(Studio(text2image=str(place / "sd1")), more(place))


@pytest.fixture
def hers(tmp_path) -> Visit:
    return Visit(tmp_path)


def test_the_pages_own_the_embedded_and_those_that_are_named_can_be_chosen(offered, place):
    assert offered.names == ("sd1", "embedded", TWIN, LARGE) and offered.several
    assert [label for label, _ in offered.choices()][1].startswith("embedded: the small one")
    assert offered.get(None).source == offered.get("sd1").source == str(place / "sd1")
    assert not Bases(Studio()).several
    for wrong in ("sd2", str(place / "sd1"), "../sd1"):
        with pytest.raises(ConfigError, match="it has sd1, embedded"):
            offered.get(wrong)


def test_what_lies_over_the_pages_own_model_is_not_laid_over_others(place):
    own = OwnWeights(loras=["a.safetensors"], lora_weights=[0.5], vae="v", tokenizer="t", scheduler="euler")
    found = Bases(Studio(text2image=str(place / "sd1"), own=own), more(place))
    assert found.get("sd1").own == own
    assert found.get(TWIN) == Base(TWIN, str(place / "twin"), OwnWeights(tokenizer="t", scheduler="euler"))
    assert found.get("embedded").own == OwnWeights(scheduler="euler")


def test_what_a_file_predicts_is_asked_of_those_alone_that_do_not_say_it(place, monkeypatch):
    """Else `--prediction v_prediction`, said for one file, would spoil another's pictures without a word."""
    families = {"new.safetensors": "sd2", "old.safetensors": "sd1"}
    monkeypatch.setattr(single_file, "open_single", lambda source: SimpleNamespace(family=families[source]))
    own = OwnWeights(prediction="v_prediction")
    given = {"New": "new.safetensors", "Old": "old.safetensors", "Twin": str(place / "twin")}
    found = Bases(Studio(text2image=str(place / "sd1"), own=own), given)
    assert [found.get(name).own.prediction for name in given] == ["v_prediction", None, None]


@pytest.mark.parametrize("name", ["", " ", "embedded", "sd1", "models/sd1", "a\\b", "x" * 41, "a\nb"])
def test_names_that_visitors_could_not_choose_by_are_refused(name):
    with pytest.raises(ConfigError, match="more_text2image names"):
        bases.check_names("models/sd1", {name: "models/other"})


def test_the_command_refuses_what_a_visitor_would_find_wrong(place, capsys, monkeypatch):
    monkeypatch.setattr(app, "build", lambda *inputs, **more: pytest.fail("the page was opened"))
    said = {
        '{"sd1": "x"}': (2, "which is taken"),
        '{"Photos": ""}': (2, "says no model for 'Photos'"),
        '{"Photos": "nowhere/at/all"}': (4, "no model at nowhere/at/all"),
        '{"Photos": "a.ckpt"}': (4, "a.ckpt is a pickled file"),
        '{"Photos": "owner/name"}': (4, "--allow_download true"),
    }
    for given, (code, words) in said.items():
        flags = ["--port", "0", "--text2image", str(place / "sd1"), "--more_text2image", given]
        assert cli.main(["demo", *flags]) == code, given
        assert words in capsys.readouterr().err.strip().splitlines()[-1]


def test_one_model_is_held_beside_the_pages_own_and_a_job_keeps_its_own(offered, monkeypatch):
    read: list[str] = []
    monkeypatch.setattr(bases, "load_text2image", lambda source, **how: read.append(source) or SimpleNamespace())
    twin = offered.pipeline(TWIN)
    assert offered.pipeline(TWIN) is twin and len(read) == 1
    large = offered.pipeline(LARGE)
    assert large is not twin and offered._held == (LARGE, large)
    assert offered.pipeline(TWIN) is not twin and len(read) == 3
    offered.release()
    assert offered._held == ("", None)


def test_what_layers_look_like_takes_no_memory_and_says_what_fits(offered, place):
    offered.read_all()
    outline = offered.outline(LARGE)
    kept = [one.untyped_storage().nbytes() for one in outline.unet.parameters()]
    assert max(kept) <= 4 and outline.text_encoder_2 is not None and not hasattr(outline, "vae")
    assert offered.fitting(place / "sd1.safetensors", "sd1") == ("sd1", TWIN)
    assert offered.fitting(place / "secret-place.safetensors", "sd1") == (LARGE,)
    with pytest.raises(ModelError, match="another base model"):
        Bases(Studio()).fitting(place / "sd1.safetensors", "embedded")


def test_what_was_made_for_another_model_is_refused_in_one_sentence(offered, hers, place):
    hers.subjects = {"style": place / "sd1.safetensors", "big": place / "secret-place.safetensors"}
    hers.bases = {"style": ("sd1", TWIN), "big": (LARGE,)}
    offered.check_fits(hers, ["style"], TWIN)
    offered.check_fits(hers, ["big"], LARGE)
    with pytest.raises(ModelError, match=f"big fits the base model {LARGE}, not sd1; choose that one"):
        offered.check_fits(hers, ["style", "big"], "sd1")
    with pytest.raises(ModelError, match=f"style fits the base model sd1 or {TWIN}, not embedded"):
        offered.check_fits(hers, ["style"], "embedded")


@pytest.fixture
def kept(offered) -> Kept:
    with gr.Blocks():
        fields = {"prompt": gr.Textbox(), "base": bases.base_field(gr, offered, "x")}
    return Kept("generate", "subject generate", fields, base="base")


def test_a_model_travels_by_its_name_and_its_place_is_for_who_has_a_copy(kept, tmp_path):
    assert kept.line({"prompt": "a dog", "base": LARGE}).endswith("--prompt 'a dog' --base YOUR-COPY-OF-Large-of-2023")
    assert kept.line({"base": "embedded"}).endswith("--base embedded")
    text = settings.preset(kept, {"prompt": "a dog", "base": LARGE})
    assert "--base YOUR-COPY-OF-Large-of-2023" in text.splitlines()[0] and yaml.safe_load(text)["base"] == LARGE
    file = tmp_path / "a.yaml"
    file.write_text(text, encoding="utf-8")
    assert settings.read_dropped(file, {"generate": kept}).settings["base"] == LARGE
    _, given = cli.parse(["subject", "generate", "--config", str(file), "--base", "embedded"])
    assert given.base == "embedded"


def test_a_model_that_the_page_does_not_have_leaves_the_field(kept, hers):
    filled, _ = settings.updates(kept, Found("generate", {"prompt": "a", "base": "/home/me/dreamy"}), hers)
    assert filled[1] == gr.skip() and filled[0]["value"] == "a"
    assert settings.unknown_base(kept, Found("generate", {"base": "/home/me/dreamy"})) == "dreamy"
    for known in ({}, {"base": LARGE}):
        assert settings.unknown_base(kept, Found("generate", known)) == ""
    filled, _ = settings.updates(kept, Found("generate", {}), hers)
    assert filled[1]["value"] == "sd1"  # pictures of before say none: it was the page's own


def test_scenes_of_a_subject_are_painted_by_the_model_it_was_learnt_on(offered, hers, place):
    hers.bases = {"dog": (LARGE,), "hat": ("sd1",)}
    vars(offered.studio)["text2image"] = "the page's own"
    assert offered.painting(offered.studio, hers, "hat") is offered.studio
    assert offered.painting(offered.studio, hers, "") is offered.studio
    made = offered.painting(offered.studio, hers, "dog")
    assert made.models["text2image"] == str(place / "secret-place") and "text2image" not in vars(made)
    assert offered.studio.models["text2image"] == str(place / "sd1")
    assert made.source is offered.studio.source


def test_a_file_that_is_no_plain_lora_needs_no_weights_to_be_told_apart(offered, place, tmp_path):
    layer = next(name for name, one in adapter.layers_of(offered.outline(TWIN)).items() if name.endswith("attn1.to_q"))
    out, into = adapter.layers_of(offered.outline(TWIN))[layer].weight.shape
    stem = "lora_unet_" + layer.removeprefix("unet.").replace(".", "_")
    loha = {f"{stem}.hada_w{at}_{side}": torch.ones(shape) for at in (1, 2) for side, shape in
            (("a", (out, 2)), ("b", (2, into)))}  # fmt: skip
    dora = {f"{stem}.lora_up.weight": torch.ones(out, 2), f"{stem}.lora_down.weight": torch.ones(2, into),
            f"{stem}.dora_scale": torch.ones(1, into)}  # fmt: skip
    for name, tensors in (("loha", loha), ("dora", dora)):
        save_file(tensors, tmp_path / f"{name}.safetensors")
        assert offered.fitting(tmp_path / f"{name}.safetensors", "sd1")[:2] == ("sd1", TWIN)


def test_a_cancel_while_a_model_is_loaded_paints_nothing(offered, hers, monkeypatch):
    stopped = SimpleNamespace(stopped=lambda: True)
    monkeypatch.setattr(bases, "load_text2image", lambda source, **how: SimpleNamespace(scheduler=None))
    task: Any = SimpleNamespace(visit=hers, turn=stopped)
    with pytest.raises(Halted):
        generate_tab.paint(offered, task, {"base": TWIN, "count": 1, "steps": 1, "seed": 0}, {}, None, print)  # type: ignore[arg-type]


def test_rows_of_what_does_not_fit_are_left_out_when_a_subject_is_painted_with(hers, place):
    hers.subjects = {"dog": place, "cat": place, "style": place, "old": place}
    hers.bases = {"dog": ("sd1",), "cat": (LARGE,), "style": ("sd1", LARGE)}
    hers.phrases = {"dog": "a sks dog", "cat": "a sks1 cat"}
    base, *rows = moves.base_and_rows(hers)
    assert base == LARGE and [row.get("value") for row in rows[:4]] == [0, None, None, None]
    assert moves.base_and_rows(Visit(place))[0] == gr.skip()


@pytest.fixture(scope="module")
def opened(studio, address, place, tmp_path_factory):
    """A page with several base models, which programs may ask as well."""
    own = Studio(text2image=str(place / "sd1"), source=studio.source)
    vars(own).update({name: vars(studio)[name] for name in ("recommender", "tryon")})
    found = Bases(own, more(place))
    with serving(own, tmp_path_factory.mktemp("page"), door=api.Door(KEY), bases=found) as served:
        served.bases = found
        yield served


@pytest.fixture
def anna(opened):
    made = visitor.Visitor(opened.url, timeout=300)
    yield made
    made.http.close()


QUICK: dict[str, Any] = {"generate_count": 1, "generate_steps": 1, "generate_width": 64, "generate_height": 64}


def painted(who: Any, base: str, prompt: str = "a red dress") -> bytes:
    said: list[str] = []
    hear = lambda values: said.append(values[who.named["generate-state"]])
    who.press("generate-go", heard=hear, generate_prompt=prompt, generate_base=base, **QUICK)
    assert "1 picture in" in who.read("generate-state"), who.read("generate-state")
    assert any(f"Loading the base model {base}" in line for line in said)
    return who.file(who.read("generate-gallery")[0]["image"]["path"])


def page_of(data: bytes) -> dict[str, Any]:
    with Image.open(io.BytesIO(data)) as image:
        assert "secret-place" not in str(image.info)
        return json.loads(image.info["personagen"])["page"]


def test_two_visitors_with_two_models_do_not_disturb_one_another(anna, opened):
    ben = visitor.Visitor(opened.url, timeout=300)
    first, second = painted(anna, TWIN), painted(ben, LARGE)
    assert page_of(first)["settings"]["base"] == TWIN and page_of(second)["settings"]["base"] == LARGE
    own = painted(anna, "sd1")
    assert len({first, second, own}) == 3 and painted(anna, TWIN) == first and painted(ben, LARGE) == second
    assert "YOUR-COPY-OF-A-twin" in anna.read("generate-command")
    for who in (anna, ben):
        assert not [value for value in who.values.values() if "secret-place" in str(value)]
    ben.http.close()


def test_a_picture_brings_its_model_back_and_one_of_elsewhere_says_so(anna):
    made = painted(anna, TWIN)
    anna.set(generate_base="sd1")
    anna.press("restore", "upload", restore=anna.upload("made.png", made))
    assert anna.read("generate-base") == TWIN and "taken over" in anna.read("generate-state")
    again = {"generate_base": anna.read("generate-base"), "generate_prompt": "x"}
    text = yaml.safe_dump({"prompt": "a dog", "base": "dreamy", "steps": 2}).encode()
    anna.set(**again)
    anna.press("restore", "upload", restore=anna.upload("mine.yaml", text, "text/yaml"))
    line = anna.read("generate-state")
    assert "2 settings taken over" in line and "made on dreamy, a base model that this page does not have" in line
    assert anna.read("generate-base") == TWIN and anna.read("generate-prompt") == "a dog"


def test_a_lora_file_is_taken_for_the_model_it_fits_and_refused_on_others(anna, place):
    file = anna.upload("big.safetensors", (place / "secret-place.safetensors").read_bytes(), "application/octet-stream")
    anna.press("generate-loras", "upload", generate_loras=[file], generate_base="sd1")
    assert f"big fits {LARGE}, not sd1" in anna.read("generate-state")
    anna.values[anna.named["generate-row-0"]] = 1
    anna.press("generate-go", generate_prompt="a dog", generate_base="sd1", **QUICK)
    assert f"Big fits the base model {LARGE}, not sd1" in anna.read("generate-state")
    assert page_of(painted(anna, LARGE))["subjects"]["big"]["weight"] == 1


@pytest.mark.slow
def test_a_subject_is_learnt_on_the_model_that_was_chosen_and_used_there(anna, opened, place):
    given = [anna.upload(path.name, path.read_bytes()) for path in sorted((place / "pictures").iterdir())]
    anna.press("subject-files", "upload", subject_files=given)
    anna.press("subject-train", subject_name="dog", subject_base=LARGE, subject_steps=2, subject_rank=2)
    assert "Learnt" in anna.read("subject-state"), anna.read("subject-state")
    assert "--pretrained_model_name_or_path YOUR-COPY-OF-Large-of-2023" in anna.read("subject-command")
    link = anna.read("subject-download").partition('href="gradio_api/file=')[2].partition('"')[0]
    with zipfile.ZipFile(io.BytesIO(anna.file(link))) as archive:
        run = archive.read("run.json").decode()
        assert str(place) not in run and str(opened.folder) not in run and "secret" not in run
        assert json.loads(run)["config"]["pretrained_model_name_or_path"] == LARGE
        card = archive.read("README.md").decode()
        assert "secret" not in card and f'base_model: "{LARGE}"' in card and f"Learnt on `{LARGE}`" in card
    anna.press("subject-use")
    assert anna.read("generate-base") == LARGE
    anna.values[anna.named["generate-row-0"]] = 1
    assert page_of(painted(anna, LARGE, "a sks dog"))["subjects"]["dog"]["weight"] == 1
    anna.press("generate-go", generate_prompt="a sks dog", generate_base=TWIN, **QUICK)
    assert f"Dog fits the base model {LARGE}, not {TWIN}" in anna.read("generate-state")
    anna.press("go", looks=0, scenes=1, steps=1, looks_subject="dog")
    assert "1 picture in" in anna.read("state") and f"scenes painted on {LARGE}" in anna.read("state")
    path = anna.read("board").partition('src="gradio_api/file=')[2].partition('"')[0]
    with Image.open(io.BytesIO(anna.file(path))) as image:
        assert json.loads(image.info["personagen"])["run"]["models"]["text2image"] == LARGE
        assert str(place) not in str(image.info)
    anna.press("go", looks=1, scenes=0, steps=1, looks_subject="dog")
    assert "1 picture in" in anna.read("state") and "scenes painted" not in anna.read("state")


def test_programs_name_a_model_and_are_told_which_there_are(opened, place):
    client_of = pytest.importorskip("gradio_client")
    client = client_of.Client(opened.url, headers={"Authorization": f"Bearer {KEY}"}, verbose=False)
    try:
        for name in ("/generate", "/subject"):
            told = client.view_api(return_format="dict")["named_endpoints"][name]["parameters"][-1]
            assert told["parameter_name"] == "base" and told["parameter_default"] == "sd1"
            assert str(place) not in str(told)
        quick = {"steps": 1, "width": 64, "height": 64, "api_name": "/generate"}
        for base, wanted in (({}, "sd1"), ({"base": TWIN}, TWIN)):
            files, _ = client.predict("a dress", **base, **quick)
            assert page_of(Path(files[0]).read_bytes())["settings"]["base"] == wanted
        with pytest.raises(Exception, match="dreamy|choices"):
            client.predict("a dress", base="dreamy", **quick)
    finally:
        client.close()


def test_a_file_is_read_once_for_all_models(opened, place, monkeypatch, tmp_path):
    """No model is loaded to learn whether a file fits."""
    opened.bases.read_all()
    monkeypatch.setattr(bases, "load_text2image", lambda *given, **how: pytest.fail("a model was loaded"))
    vars(opened.bases.studio)["text2image"]
    assert opened.bases.fitting(place / "twin.safetensors", TWIN) == ("sd1", TWIN)
    assert uploads.MOST_ROWS == 8 and torch.is_tensor(next(opened.bases.outline(TWIN).unet.parameters()))


@pytest.mark.browser
def test_a_base_model_is_chosen_and_taken_over_in_a_browser(visit, opened):
    page = visit(url=opened.url, tab="Generate")
    page.click("#generate-base input")
    page.wait_for_selector("[role=option]")
    page.wait_for_timeout(500)
    shot(page, "bases-open")
    page.get_by_role("option", name=TWIN).click()
    page.fill("#generate-prompt textarea", "a red dress")
    for name, value in (("steps", 1), ("count", 1), ("width", 64), ("height", 64)):
        fill(page, f"#generate-{name}", value)
    page.click("#generate-go")
    says(page, "1 picture in", "#generate-state")
    unfold(page, "The same on the command line")
    assert "--base YOUR-COPY-OF-A-twin" in page.inner_text("#generate-command")
    link = page.locator("#generate-command a").first.get_attribute("href")
    shot(page, "bases-painted")
    page.reload()
    says(page, "taken over", "#generate-state")
    holds(page, "#generate-base input", TWIN)
    page.goto(page.url.split("?")[0] + str(link))
    says(page, "taken over", "#generate-state")
    holds(page, "#generate-base input", TWIN)
    page.get_by_role("tab", name="Teach").click()
    page.wait_for_selector("#subject-base input")
    page.wait_for_timeout(500)
    shot(page, "bases-teach")
    assert "secret-place" not in page.content()


@pytest.mark.browser
def test_the_embedded_model_alone_is_a_line_of_text(visit):
    page = visit(tab="Generate")
    page.wait_for_selector("#generate-prompt textarea")
    assert not page.locator("#generate-base").count() and "the small one that comes with this page" in page.content()
