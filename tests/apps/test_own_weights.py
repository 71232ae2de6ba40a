"""Weights of one's own on the command line, end to end in bfloat16: both structures, as folder and as single file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from apps import cli
from personagen.provenance import read_png
from tests.cases import cases
from tests.personagen import checkpoints

HALF = ["--device", "cpu", "--dtype", "bfloat16"]
ROWS = cases([], slow=[(family, form) for family in ("sd1", "sdxl") for form in ("folder", "file")])


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Models of both structures, a word, a person and a garment."""
    folder = tmp_path_factory.mktemp("own")
    for family in ("sd1", "sdxl"):
        checkpoints.write_folder(family, folder / family)
        checkpoints.write_file(family, folder / f"{family}.safetensors")
        checkpoints.write_inpainting(family, folder / f"{family}-inpainting")
    save_file({"clip_l": torch.randn(1, 64), "clip_g": torch.randn(1, 64)}, folder / "moody.safetensors")
    rng = np.random.default_rng(0)
    for name in ("me", "top"):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    return folder


def run(*words: object) -> int:
    return cli.main([*map(str, words), *HALF])


def named(place: Path, name: str, form: str) -> Path:
    return place / name if form == "folder" else place / f"{name}.safetensors"


@pytest.mark.parametrize(("family", "form"), ROWS)
def test_subject_generate(place, tmp_path, family, form):
    given = ["--base", named(place, family, form), "--tokenizer", place / family, "--scheduler", "dpmpp_2m"]
    given += ["--embeddings", f'["{place}/moody.safetensors"]', "--height", 64, "--width", 64]
    code = run("subject", "generate", "--prompt", "a moody dog", *given, "--count", 1, "--steps", 2, "--out", tmp_path)
    assert code == 0
    about = read_png(tmp_path / "00000.png")
    assert about.parameters and about.parameters.settings["Sampler"] == "DPMSolverMultistep"
    assert about.record and about.record["embeddings"] == ["moody.safetensors"]
    assert np.asarray(Image.open(tmp_path / "00000.png")).std() > 1


@pytest.mark.parametrize(("family", "form"), ROWS)
def test_tryon_wear(place, tmp_path, family, form):
    base = ["--base.base", named(place, f"{family}-inpainting", form), "--base.height", 64, "--base.width", 64]
    given = ["--person", place / "me.png", "--garment", place / "top.png", "--mask", place / "mask.png"]
    assert (
        run("tryon", "wear", *given, *base, "--scheduler", "unipc", "--steps", 2, "--out", tmp_path / "worn.png") == 0
    )
    before, after = (np.asarray(Image.open(file)) for file in (place / "me.png", tmp_path / "worn.png"))
    assert (before[:12] == after[:12]).all() and (before[24:40, 24:40] != after[24:40, 24:40]).any()
    parameters = read_png(tmp_path / "worn.png").parameters
    assert parameters and parameters.settings["Sampler"] == "UniPCMultistep"


@pytest.mark.parametrize(("family", "form"), ROWS)
def test_style(place, tmp_path, family, form):
    models = ["--text2image", named(place, family, form), "--tokenizer", place / family]
    models += ["--base.base", named(place, f"{family}-inpainting", form), "--base.height", 64, "--base.width", 64]
    steps = ["--scheduler", "euler", "--stylist.scene_size", "[64, 64]", "--stylist.tryon_steps", 2, "--steps", 2]
    given = ["--vae", place / family, "--looks", 1, "--scenes", 1, "--out", tmp_path / "looks"]
    assert run("style", *models, *steps, *given) == 0
    told = json.loads((tmp_path / "looks" / "looks.json").read_text())
    assert [look["settings"]["Sampler"] for look in told["looks"]] == ["EulerDiscrete"] * 2
    assert told["run"]["vae"] == family


@pytest.mark.slow
def test_a_subject_is_learnt_on_a_single_file_with_a_lora_in_it(place, tmp_path):
    from personagen.adapters.lora import Lora, attach, collect, save_adapter
    from tests.personagen.subject import parts

    teacher = checkpoints.pipeline("sd1")
    attach(teacher, Lora(rank=2))
    for name, parameter in teacher.unet.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.05)
    save_adapter(collect(teacher), tmp_path / "style.safetensors")
    parts.write_pictures(tmp_path / "pictures", count=1)
    words = f"--instance_data_dir {tmp_path}/pictures --name dog --output_dir {tmp_path}/run --max_train_steps 1"
    words += f" --pretrained_model_name_or_path {place}/sd1.safetensors --tokenizer {place}/sd1 --network_dim 2"
    words += f' --loras ["{tmp_path}/style.safetensors"] --num_validation_images 1 --validation_inference_steps 1'
    assert cli.main(["subject", "train", *words.split(), "--resolution", "64", "--device", "cpu"]) == 0
    told = json.loads((tmp_path / "run" / "run.json").read_text())
    assert told["metrics"]["reload"] == 0 and told["config"]["tokenizer"] == f"{place}/sd1"
    painted = ["--prompt", "dog", "--subjects", f'["{tmp_path}/run"]', "--count", "1", "--steps", "1"]
    sizes = ["--height", "64", "--width", "64"]
    assert run("subject", "generate", *painted, *sizes, "--out", tmp_path / "out") == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("style --scheduler heun", 2, "allowed are ddim, dpmpp_2m"),
        ("style --scheduler lcm --steps 60", 2, "allowed are 1 to 50"),
        ("demo --port 0 --scheduler heun", 2, "scheduler is 'heun'"),
        ("tryon wear --person a --garment b --scheduler heun", 2, "scheduler is 'heun'"),
        ("tryon evaluate --root nowhere --scheduler heun", 2, "scheduler is 'heun'"),
        ("subject generate --prompt dog --scheduler heun", 2, "scheduler is 'heun'"),
        ("subject evaluate --subject a --pictures b --scheduler heun", 2, "scheduler is 'heun'"),
        ("subject train --instance_data_dir a --name dog --scheduler heun", 2, "scheduler is 'heun'"),
        ("style --prediction x", 2, "allowed are epsilon, v_prediction"),
        ("style --embeddings [words.pt]", 4, "words.pt is a pickled file"),
        ("style --vae vae.ckpt", 4, "vae.ckpt is a pickled file"),
        ("style --loras [] --lora_weights [1]", 2, "1 lora_weights for 0 loras"),
        ("subject generate --prompt dog --base model.ckpt", 4, "model.ckpt is a pickled file"),
        ("subject generate --prompt dog --base owner/name", 4, "--allow_download true"),
        ("subject generate --prompt dog --base nowhere.safetensors", 4, "there is no model at nowhere.safetensors"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_written(words, code, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("apps.page.app.build", lambda *inputs: pytest.fail("the page was opened"))
    assert cli.main(words.split()) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and says in error, error
    assert not list(tmp_path.iterdir())
