"""Device, precision and offloading on the command line: every command has them, and every loader gets them."""

import dataclasses
import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from apps import cli
from apps.commands import doctor, turn
from apps.commands.turn_config import RefineConfig
from apps.page import app, generate_tab, shared
from apps.page.bases import Bases
from apps.page.visits import Visit
from personagen.devices import Compute, ComputeSettings, DeviceSettings
from personagen.models.config import OwnWeights
from personagen.styling.studio import Studio
from recsys import pretrained
from recsys.errors import ModelError
from recsys.types import device_of
from tests.cases import cases
from tests.personagen.pretrain.test_tryon_pairs import viton
from tests.personagen.subject import parts as subject_parts

from .tiny import SIZE, pipelines

PAINTS = {
    ("style",): "",
    ("tryon", "wear"): "--person a.jpg --garment b.jpg",
    ("tryon", "mask"): "--person a.jpg",
    ("tryon", "turn"): "--person a.jpg",
    ("tryon", "evaluate"): "--root nowhere",
    ("subject", "generate"): "--prompt dog",
    ("subject", "evaluate"): "--subject nowhere --pictures nowhere",
    ("demo",): "",
    ("serve",): "",
}
"""Commands that load a model of pictures, with what they must be given."""
RANKS = {
    ("recommend", "rank"): "",
    ("recommend", "evaluate"): "",
    ("recommend", "compare"): "--first nowhere --second nowhere",
}
TRAIN = {("pretrain",), ("recommend", "train"), ("recommend", "update"), ("subject", "train"), ("tryon", "train"),
         ("subject", "train-many")}  # fmt: skip
"""They have a device and a precision of their own."""
NEITHER = {("recommend", "index"), ("doctor",), ("forget",), ("subject", "doctor"), ("subject", "export")}
"""They compute no model; `export` reads weights and writes them."""
LOADERS = ("load_tryon", "load_tryon_base", "load_text2image", "load_subjects", "load_parser")
NOBODY = Compute("nobody asked")
MODULES = ("apps.commands.wear", "apps.commands.mask", "apps.commands.turn", "apps.commands.style",
           "apps.commands.tryon", "apps.commands.subject", "personagen.models", "personagen.models.base",
           "personagen.subject.loaded")  # fmt: skip


@pytest.fixture
def loaded(monkeypatch) -> list[tuple[str, Compute]]:
    """What loaders were asked for, in order, wherever they were imported to."""
    for name in MODULES:
        importlib.import_module(name)
    seen: list[tuple[str, Compute]] = []

    def spy(name: str, load: Any) -> Any:
        def asked(*inputs: Any, compute: Compute = NOBODY, **settings: Any) -> Any:
            seen.append((name, compute))
            return load(*inputs, compute=compute, **settings)

        return asked

    own = [module for name, module in list(sys.modules.items()) if name.split(".")[0] in ("apps", "personagen")]
    for name in LOADERS:
        originals = {id(found): found for module in own if (found := vars(module).get(name)) is not None}
        for module in own:
            if name in vars(module):
                (original,) = originals.values()
                monkeypatch.setattr(module, name, spy(name, original))
    return seen


@pytest.fixture(scope="module")
def place(tmp_path_factory, studio) -> Path:
    """Saved models, photos, pairs and a subject that was learnt."""
    folder = tmp_path_factory.mktemp("compute")
    tryon, text2image = pipelines()
    tryon.save_pretrained(folder / "tryon")
    text2image.save_pretrained(folder / "text2image")
    pretrained.save(studio.recommender, folder / "recommender")
    rng = np.random.default_rng(0)
    for name in ("me", "top"):
        Image.fromarray(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    mask = np.zeros(SIZE, np.uint8)
    mask[10:50, 8:40] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    for family in ("sd1", "sdxl"):
        subject_parts.save(family, folder / family)
    subject_parts.write_pictures(folder / "pictures", count=2)
    words = (
        f"--instance_data_dir {folder}/pictures --name dog --output_dir {folder}/run --max_train_steps 1 --device cpu"
    )
    words += f" --pretrained_model_name_or_path {folder}/sd1 --network_dim 2 --num_validation_images 0"
    assert cli.main(["subject", "train", *words.split()]) == 0
    return folder


def half(command: str) -> int:
    return cli.main([*command.split(), "--device", "cpu", "--dtype", "bfloat16"])


def all_in_half(loaded: list[tuple[str, Compute]]) -> set[str]:
    """Name the loaders asked; each was asked for bfloat16."""
    assert {str(compute.torch_dtype) for _, compute in loaded} == {"torch.bfloat16"}
    assert {compute.device for _, compute in loaded} == {"cpu"}
    return {name for name, _ in loaded}


def test_every_command_that_loads_a_model_has_the_switches():
    assert set(PAINTS) | set(RANKS) | TRAIN | NEITHER == set(cli.COMMANDS)  # sort a new command in
    for words, (_, config, _) in cli.COMMANDS.items():
        settings = cli._load(config)
        assert issubclass(settings, ComputeSettings) == (words in PAINTS), words
        assert issubclass(settings, DeviceSettings) == (words in {**PAINTS, **RANKS}), words
        assert words in TRAIN or issubclass(settings, DeviceSettings) or "device" not in {
            field.name for field in dataclasses.fields(settings)
        }  # fmt: skip


def test_every_command_that_paints_takes_a_sampler_and_weights_of_ones_own():
    samples = set(PAINTS) - {("tryon", "mask")} | {("subject", "train")}
    from_words = {
        ("style",),
        ("demo",),
        ("serve",),
        ("subject", "generate"),
        ("subject", "evaluate"),
        ("subject", "train"),
    }
    for words, (_, config, _) in cli.COMMANDS.items():
        names = {field.name for field in dataclasses.fields(cli._load(config))}
        assert ("scheduler" in names) == (words in samples | {("subject", "export")}), words
        own = {field.name for field in dataclasses.fields(OwnWeights)}
        assert (own <= names) == (words in from_words | {("subject", "export")}), words
    for words in (("style",), ("demo",), ("tryon", "wear"), ("tryon", "evaluate")):
        assert "base" in {field.name for field in dataclasses.fields(cli._load(cli.COMMANDS[words][1]))}


@pytest.mark.parametrize("words", [*PAINTS, *RANKS])
def test_a_device_that_is_unknown_or_absent_is_one_line(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    command = [*words, *{**PAINTS, **RANKS}[words].split()]
    wrong = [(["--device", "gpu"], 2, "gpu"), (["--device", "cuda"], 5, "use device cpu or auto")]
    if words in PAINTS:
        wrong += [(["--dtype", "int8"], 2, "int8"), (["--device", "cpu", "--offload", "model"], 5, "needs a GPU")]
    for flags, code, says in wrong:
        assert cli.main([*command, *flags]) == code
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and says in error
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_style_in_half_precision(place, loaded, tmp_path):
    models = f"--tryon {place}/tryon --text2image {place}/text2image --recommender {place}/recommender"
    assert half(f"style {models} --looks 1 --scenes 1 --steps 2 --out {tmp_path}/out") == 0
    assert all_in_half(loaded) == {"load_tryon", "load_text2image", "load_parser"}
    kinds = [look["kind"] for look in json.loads((tmp_path / "out" / "looks.json").read_text())["looks"]]
    assert kinds == ["tryon", "scene"]


@pytest.mark.slow
def test_style_reads_a_photo_and_a_subject_in_half_precision(place, loaded, tmp_path, capsys):
    (tmp_path / "clicks.csv").write_text("user,item,timestamp\na,top.png,1\nb,top.png,2\n")
    flags = f"--interactions {tmp_path}/clicks.csv --catalog {place}/nowhere --user a --person {place}/me.png"
    assert half(f"style {flags} --out {tmp_path}/out") == 3  # the catalogue comes before the photo
    studio = Studio(text2image=str(place / "sd1"), compute=Compute(dtype="bfloat16"))
    from personagen.styling.sources import sitter_from_photo
    from personagen.styling.subjects import read_subject

    assert studio.painter(read_subject(place / "run")).unet.dtype == torch.bfloat16

    sitter_from_photo(place / "me.png", place / "mask.png", compute=studio.compute)  # noise shows nobody
    assert all_in_half(loaded) >= {"load_subjects", "load_text2image", "load_parser"}


@pytest.mark.slow
def test_try_on_in_half_precision(place, loaded, tmp_path):
    flags = f"--person {place}/me.png --garment {place}/top.png --mask {place}/mask.png --model {place}/tryon"
    assert half(f"tryon wear {flags} --steps 2 --out {tmp_path}/worn.png") == 0
    assert all_in_half(loaded) == {"load_parser", "load_tryon"}
    assert Image.open(tmp_path / "worn.png").size == SIZE[::-1]
    assert half(f"tryon wear {flags} --base.base {place}/nowhere --out {tmp_path}/worn.png") == 4
    half(f"tryon mask --person {place}/me.png --out {tmp_path}/mask.png")  # noise shows nobody, maybe
    root = viton(tmp_path / "data", split="test", count=2)
    assert half(f"tryon evaluate --root {root} --model {place}/tryon --steps 1 --limit 1 --out {tmp_path}/figures") == 0
    assert [name for name, _ in loaded[2:]] == ["load_parser", "load_tryon_base", "load_parser", "load_tryon"]
    assert all_in_half(loaded)
    told = json.loads((tmp_path / "figures" / "figures.json").read_text())
    assert (told["device"], told["dtype"]) == ("cpu", "bfloat16")


@pytest.mark.parametrize("base", cases(["sd1"], slow=["sdxl"]))
def test_subjects_in_half_precision(place, loaded, tmp_path, base):
    learnt = f'--subjects ["{place}/run"]' if base == "sd1" else ""
    assert (
        half(f"subject generate --prompt dog {learnt} --base {place}/{base} --count 1 --steps 2 --out {tmp_path}") == 0
    )
    assert Image.open(tmp_path / "00000.png").size[0] > 0
    if base == "sd1":
        command = f"subject evaluate --subject {place}/run --pictures {place}/pictures --count 1 --steps 1"
        assert half(f"{command} --out {tmp_path}/figures.json") == 0
    assert all_in_half(loaded) == {"load_subjects", "load_text2image"}


def test_the_page_computes_as_asked(place, loaded, monkeypatch, tmp_path):
    opened: list[Studio] = []

    def build(studio: Studio, folder: Path, **_: Any) -> None:
        opened.append(studio)
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "build", build)
    assert half(f"demo --port 0 --tryon {place}/tryon --text2image {place}/sd1") == 130
    (studio,) = opened
    assert studio.tryon.unet.dtype == studio.text2image.unet.dtype == torch.bfloat16 and studio.parser
    visit = Visit(tmp_path, {"dog": place / "run"})
    painter = generate_tab.opened(Bases(studio), visit, "sd1", {"dog": 1.0})
    assert painter.unet.dtype == torch.bfloat16
    assert all_in_half(loaded) == {"load_tryon", "load_text2image", "load_parser", "load_subjects"}


@pytest.mark.parametrize("words", RANKS)
def test_recommenders_are_loaded_onto_the_device(words, monkeypatch, place, capsys):
    asked: list[torch.device] = []

    def load(folder: str, *, device: torch.device) -> Any:
        asked.append(device)
        assert device_of(plain(folder, device=device)).type == "meta"
        raise ModelError("seen enough")

    plain = pretrained.load
    split = SimpleNamespace(test=None, valid=None)
    monkeypatch.setattr("apps.commands.recommend.read", lambda *names, **settings: SimpleNamespace(split=split))
    monkeypatch.setattr("apps.commands.recommend.choose_device", lambda name: torch.device("meta"))
    monkeypatch.setattr(pretrained, "load", load)
    flags = ["--first", f"{place}/recommender", "--second", f"{place}/recommender"]
    given = flags if words[1] == "compare" else ["--recommender", f"{place}/recommender"]
    assert cli.main([*words, *given]) == 4 and [device.type for device in asked] == ["meta"]
    assert cli.main([*words, *given, "--device", "mps"]) == 2 and "float64" in capsys.readouterr().err


def test_memory_that_ran_out_is_one_line_that_names_the_switches(monkeypatch, capsys):
    for error in (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError()):

        def fail(*inputs: Any, error: BaseException = error) -> str:
            raise error

        monkeypatch.setattr("apps.commands.shop.open_source", fail)
        assert cli.main(["style", "--device", "cpu"]) == 5
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and "--dtype bfloat16" in line and "--offload model" in line
        assert shared.excuse(error) == line.removeprefix("personagen: ").strip()


def test_the_doctor_says_what_auto_takes(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "resolve", lambda: Compute("cuda:1", "float16"))
    report = doctor.examine()
    assert report["auto"] == {"device": "cuda:1", "dtype": "float16"}
    assert "--device cuda:1 --dtype float16" in doctor._as_text(report)


def test_what_paints_a_figure_is_loaded_onto_the_device(loaded, place):
    asked = RefineConfig(prompt="a coat", base=str(place / "text2image"))
    turn._finish(asked, ComputeSettings(device="cpu", dtype="bfloat16").compute(), seed=0)
    assert all_in_half(loaded) == {"load_subjects", "load_text2image"}
