"""`personagen subject`: train, generate, export, doctor and evaluate, and what they say to bad input."""

import json
import os
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from apps import cli
from apps.commands import subject as commands
from personagen.adapters.lora import FILE
from personagen.provenance import read_png
from personagen.subject import SubjectConfig, resolve
from personagen.subject.train import Learner
from recsys.errors import ConfigError
from tests.personagen.subject import parts as subject_parts


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A base model, pictures, and a finished run."""
    folder = tmp_path_factory.mktemp("subject")
    subject_parts.save("sd1", folder / "sd1")
    subject_parts.save("sdxl", folder / "sdxl")
    subject_parts.write_pictures(folder / "pictures", count=3)
    assert cli.main(train_words(folder, folder / "run")) == 0
    return folder


def train_words(folder: Path, out: Path, *more: str) -> list[str]:
    settings = {
        "instance_data_dir": folder / "pictures",
        "name": "dog",
        "output_dir": out,
        "pretrained_model_name_or_path": folder / "sd1",
        "max_train_steps": 2,
        "network_dim": 2,
        "network_alpha": 3,
        "learning_rate": 0.01,
        "num_validation_images": 1,
        "validation_inference_steps": 2,
        "device": "cpu",
    }
    return ["subject", "train", *(f"--{key}={value}" for key, value in settings.items()), *more]


def refused(words: list[str], code: int, says: str, capsys) -> None:
    capsys.readouterr()
    assert cli.main(words) == code
    error = capsys.readouterr().err.strip().splitlines()
    assert error and error[-1].startswith("personagen: ") and says in error[-1], error


def test_kohyas_names_are_taken_as_flags_and_in_yaml(tmp_path):
    _, settings = cli.parse(
        ["subject", "train", "--instance_data_dir", "x", "--name", "dog", "--network_dim", "4", "--min_snr_gamma=5"]
    )
    assert isinstance(settings, SubjectConfig)
    full = resolve(settings)
    assert (full.rank, full.lora_alpha, full.snr_gamma, full.network_dim) == (4, 4, 5, None)
    (tmp_path / "theirs.yaml").write_text("network_dim: 8\nnetwork_alpha: 2\ninstance_data_dir: x\nname: dog\n")
    full = resolve(cli.parse(["subject", "train", "--config", str(tmp_path / "theirs.yaml")])[1])
    assert (full.rank, full.lora_alpha) == (8, 2)
    with pytest.raises(ConfigError, match="one setting"):
        SubjectConfig("x", "dog", rank=4, network_dim=8)


@pytest.mark.parametrize(
    "more, warned",
    [
        ([], True),
        (["--preset", "garment"], False),
        (["--preset", "person", "--consent", "true"], False),
        (["--pretrained_model_name_or_path", "weights"], False),
    ],
)
def test_a_thing_on_the_embedded_model_is_told_what_can_paint_it(more, warned, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(commands, "_follow", lambda settings: {})
    monkeypatch.setattr(commands, "_tell_result", lambda settings, metrics: None)
    words = ["--instance_data_dir", "photos", "--name", "bag", "--output_dir", str(tmp_path / "run"), *more]
    assert cli.main(["subject", "train", *words]) == 0
    said = capsys.readouterr().err
    assert ("knows people and clothes" in said) == warned and ("of a bag" in said) == warned


def test_training_tells_the_proof(place, tmp_path, capsys):
    assert cli.main(train_words(place, tmp_path / "run")) == 0
    said = capsys.readouterr().out
    assert "say: a photo of a sks dog" in said and "reload: largest pixel difference 0 " in said


def test_generate_stacks_subjects_and_keeps_the_record(place, tmp_path):
    words = [
        "subject",
        "generate",
        "--prompt",
        "a sks dog",
        "--count",
        "2",
        "--steps",
        "2",
        "--out",
        str(tmp_path / "a"),
    ]
    subjects = json.dumps([str(place / "run"), str(place / "run" / "dog.safetensors")])
    assert cli.main([*words, "--subjects", subjects, "--weights", "[0.5, 0.5]"]) == 0
    files = sorted((tmp_path / "a").iterdir())
    assert [file.name for file in files] == ["00000.png", "00001.png"]
    told = read_png(files[0])
    assert told.parameters is not None and told.parameters.prompt == "a sks dog"
    assert told.record is not None and told.record["weights"] == [0.5, 0.5]


def test_export_and_back(place, tmp_path):
    one = ["subject", "export", "--subjects", json.dumps([str(place / "run")])]
    assert cli.main([*one, "--out", str(tmp_path / "k.safetensors")]) == 0
    back = [
        "subject",
        "export",
        "--subjects",
        json.dumps([str(tmp_path / "k.safetensors")]),
        "--base",
        str(place / "sd1"),
    ]
    assert cli.main([*back, "--to", "diffusers", "--out", str(tmp_path / "d.safetensors")]) == 0
    ours, again = load_file(place / "run" / FILE), load_file(tmp_path / "d.safetensors")
    assert ours.keys() == again.keys() and all((ours[key] == again[key]).all() for key in ours)
    assert cli.main([*one, "--to", "pipeline", "--out", str(tmp_path / "whole")]) == 0
    assert (tmp_path / "whole" / "model_index.json").is_file()


def test_doctor_lists_every_file(place, tmp_path, capsys):
    subject_parts.write_pictures(tmp_path / "p", count=1)
    (tmp_path / "p" / "x.txt.pdf").write_bytes(b"?")
    assert cli.main(["subject", "doctor", "--instance_data_dir", str(tmp_path / "p"), "--resolution", "64"]) == 0
    said = capsys.readouterr().out
    assert "00.png" in said and "not a picture" in said and "1 of 2 files" in said
    assert cli.main(["subject", "doctor", "--instance_data_dir", str(tmp_path / "p"), "--json", "true"]) == 3
    assert {row["decision"] for row in json.loads(capsys.readouterr().out)} == {"too small", "not a picture"}


def test_evaluate_measures(place, tmp_path, capsys):
    others = subject_parts.write_pictures(tmp_path / "other", count=2, seed=5)
    words = ["subject", "evaluate", "--subject", str(place / "run"), "--pictures", str(place / "pictures")]
    words += ["--others", json.dumps([str(others)]), "--count", "2", "--steps", "2"]
    assert cli.main([*words, "--out", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["pictures"] == 2 and figures["among"] == 2 and 0 <= figures["recognised"] <= 1
    assert figures["drift"] > 0


def test_bad_input_has_a_remedy_and_its_exit_code(place, tmp_path, capsys):
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    (tmp_path / "dots").mkdir()
    Image.new("RGB", (1, 1)).save(tmp_path / "dots" / "dot.png")
    train = lambda *more: train_words(place, out, *more)
    refused(train("--instance_data_dir", str(tmp_path / "empty")), 3, "give at least one", capsys)
    refused(train("--instance_data_dir", str(tmp_path / "dots")), 3, "too small", capsys)
    refused(train("--instance_data_dir", str(tmp_path / "none")), 3, "no folder", capsys)
    refused(train("--learning_rats", "1"), 2, "--learning_rats", capsys)
    refused(train("--rank", "0"), 2, "rank is 0", capsys)
    refused(train("--preset", "person"), 2, "consent", capsys)
    refused(train("--pretrained_model_name_or_path", str(tmp_path / "none")), 4, "there is no model", capsys)
    if find_spec("prodigyopt") is None:
        refused(train("--optimizer", "prodigy"), 2, "pip install prodigyopt", capsys)
    assert not out.exists()


def test_an_adapter_for_another_base_is_refused(place, tmp_path, capsys):
    words = ["subject", "generate", "--prompt", "x", "--out", str(tmp_path / "o"), "--base", str(place / "sdxl")]
    refused([*words, "--subjects", json.dumps([str(place / "run")])], 4, "another base model", capsys)
    bad = tmp_path / "bad.safetensors"
    tensors = load_file(place / "run" / FILE)
    save_file({key: value * float("inf") for key, value in tensors.items()}, bad)
    refused([*words[:-1], str(place / "sd1"), "--subjects", json.dumps([str(bad)])], 4, "not finite", capsys)
    refused([*words, "--subjects", json.dumps([str(tmp_path / "none")])], 4, "no adapter", capsys)
    assert not (tmp_path / "o").exists()


def test_sigterm_saves_and_exits_143(place, tmp_path, monkeypatch, capsys):
    words = train_words(place, tmp_path / "run", "--max_train_steps=100000", "--checkpointing_steps=100000")
    plain = Learner.advance

    def advance(self):
        step = plain(self)
        if step.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step

    monkeypatch.setattr(Learner, "advance", advance)
    assert cli.main(words) == 143
    assert "resume_from_checkpoint latest" in capsys.readouterr().err.splitlines()[-1]
    assert len(list((tmp_path / "run" / "checkpoints").glob("step-*"))) == 1


def test_pictures_that_are_left_out_are_told_before_the_work(place, tmp_path, capsys):
    subject_parts.write_pictures(tmp_path / "pictures", count=1)
    (tmp_path / "pictures" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    words = train_words(place, tmp_path / "run", "--max_train_steps=1", f"--instance_data_dir={tmp_path / 'pictures'}")
    assert cli.main(words) == 0
    assert "left out broken.jpg: " in capsys.readouterr().err


def test_pictures_of_another_class_are_not_used_again(place, tmp_path, capsys):
    prior = ("--with_prior_preservation=true", "--num_class_images=1", f"--class_data_dir={tmp_path / 'class'}")
    assert cli.main(train_words(place, tmp_path / "a", "--max_train_steps=1", "--class_prompt=a dog", *prior)) == 0
    words = train_words(place, tmp_path / "b", "--max_train_steps=1", "--class_prompt=a bag", *prior)
    refused(words, 2, "class-00000.png was painted from 'a dog', and class_prompt is 'a bag'", capsys)
