"""Training a subject end to end: resume bit by bit, survive kills and full disks, and prove what was saved."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file, save_file

from personagen.adapters.lora import FILE
from personagen.provenance import read_png
from personagen.subject import SubjectConfig, train_subject
from personagen.subject.loaded import load_subjects
from personagen.subject.record import phrase
from personagen.subject.scenes import without_middle
from personagen.subject.tokens import load_tokens
from recsys.checkpoint import load_latest
from recsys.errors import ConfigError, DataError, ModelError, ResourceError
from tests.cases import cases
from tests.personagen.subject import parts as subject_parts
from tests.personagen.subject.parts import FAMILIES, paint, pipeline, write_pictures
from tests.place import ROOT


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("subject")
    for family in FAMILIES:
        subject_parts.save(family, folder / family)
    write_pictures(folder / "pictures", count=3)
    return folder


def settings(root: Path, out: Path, family: str = "sd1", **changes) -> SubjectConfig:
    values: dict[str, Any] = {
        "instance_data_dir": str(root / "pictures"),
        "name": "dog",
        "output_dir": str(out),
        "pretrained_model_name_or_path": str(root / family),
        "max_train_steps": 4,
        "learning_rate": 1e-2,
        "rank": 2,
        "lora_alpha": 3,
        "checkpointing_steps": 2,
        "num_validation_images": 0,
        "validation_inference_steps": 2,
        "device": "cpu",
        "mixed_precision": "no",
    }
    return SubjectConfig(**{**values, **changes})


def train(config: SubjectConfig) -> list:
    return list(train_subject(config))


def train_to(config: SubjectConfig, last: int) -> None:
    """Stop after a step, as a signal does."""
    steps = train_subject(config)
    for step in steps:
        if step.step == last:
            break
    steps.close()  # type: ignore[attr-defined]


VARIANTS = {
    "lora": ("sd1", {}),
    "sdxl": (
        "sdxl",
        {"train_text_encoder": True, "use_rslora": True, "with_prior_preservation": True, "num_class_images": 2},
    ),
    "dora-v": ("sd2-v", {"use_dora": True, "snr_gamma": 5.0, "lora_dropout": 0.3, "lora_feed_forward": True}),
    "pivotal": ("sd1", {"new_tokens": 2, "caption_dropout": 0.5, "noise_offset": 0.1, "random_flip": True}),
    "inversion": ("sdxl", {"train_unet": "none", "new_tokens": 1}),
    "text alone": ("sd1", {"train_unet": "none", "train_text_encoder": True}),
    "full": ("sd1", {"train_unet": "full", "learning_rate": 1e-3}),
    "ema": ("sd1", {"use_ema": True, "lr_scheduler": "cosine", "lr_warmup_steps": 1, "gradient_checkpointing": True}),
    "bf16": ("sd1", {"mixed_precision": "bf16", "train_batch_size": 2, "gradient_accumulation_steps": 2}),
    "fp16": ("sd1", {"mixed_precision": "fp16"}),
}


QUICK = ["sdxl", "pivotal"]


@pytest.mark.parametrize("variant", cases(QUICK, slow=[name for name in VARIANTS if name not in QUICK]))
def test_what_is_saved_paints_what_was_trained(variant, root, tmp_path):
    family, changes = VARIANTS[variant]
    *_, last = train(settings(root, tmp_path, family, **changes))
    assert last.metrics["reload"] == 0.0 and last.metrics.get("reload_kohya", 0.0) <= 1e-5
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["steps"] == 4 and record["metrics"]["reload"] == 0.0
    assert not list(tmp_path.glob(".*"))
    card = ModelCard.load(tmp_path / "README.md")
    head = card.data.to_dict()
    assert (head["library_name"], head["pipeline_tag"], head["license"]) == ("diffusers", "text-to-image", "other")
    assert head["instance_prompt"] == record["config"]["instance_prompt"]
    assert head["base_model"] == Path(record["config"]["pretrained_model_name_or_path"]).name
    assert str(root) not in card.content and str(tmp_path) not in card.content


@pytest.mark.slow
def test_something_is_learnt_and_plain_diffusers_loads_it(root, tmp_path):
    config = settings(root, tmp_path, max_train_steps=40, train_batch_size=2, checkpointing_steps=100)
    losses = [step.losses["loss"] for step in train_subject(config) if step.losses]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    pipe = pipeline("sd1")
    before = paint(pipe)
    pipe.load_lora_weights(tmp_path)
    assert abs(paint(pipe) - before).max() > 1e-3


@pytest.mark.parametrize("variant", cases(["dora-v"], slow=["sdxl", "pivotal", "ema", "fp16"]))
def test_resumed_steps_equal_those_in_one_go(variant, root, tmp_path):
    family, changes = VARIANTS[variant]
    whole = settings(root, tmp_path / "whole", family, **{**changes, "max_train_steps": 9})
    train_to(whole, 6)
    parts = replace(whole, output_dir=str(tmp_path / "parts"), class_data_dir=str(tmp_path / "whole" / "class"))
    train_to(parts, 3)
    assert load_latest(tmp_path / "parts" / "checkpoints").step == 3  # type: ignore[union-attr]
    train_to(replace(parts, resume_from_checkpoint="latest"), 6)
    same_checkpoint(tmp_path / "whole", tmp_path / "parts")


def same_checkpoint(first: Path, second: Path) -> None:
    one, two = load_latest(first / "checkpoints"), load_latest(second / "checkpoints")
    assert one is not None and two is not None and one.step == two.step and one.tensors.keys() == two.tensors.keys()
    for group in one.tensors:
        for name, value in one.tensors[group].items():
            assert torch.equal(value, two.tensors[group][name]), f"{group}: {name}"
    assert one.state["losses"] == two.state["losses"]


@pytest.mark.parametrize(
    ("package", "name", "rate"), [("prodigyopt", "prodigy", 1.0), ("bitsandbytes", "adamw8bit", 1e-2)]
)
def test_optimisers_of_other_packages_learn_and_resume(package, name, rate, root, tmp_path):
    pytest.importorskip(package)
    whole = settings(root, tmp_path / "whole", optimizer=name, learning_rate=rate, max_train_steps=9)
    train_to(whole, 6)
    parts = replace(whole, output_dir=str(tmp_path / "parts"))
    train_to(parts, 3)
    train_to(replace(parts, resume_from_checkpoint="latest"), 6)
    same_checkpoint(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
def test_a_thing_is_set_into_scenes(root, tmp_path):
    photos = tmp_path / "photos"
    write_pictures(photos, count=1)  # nothing stands out in it
    y, x = np.mgrid[-1:1:80j, -1:1:60j]
    disc = np.where((x**2 + (0.75 * y) ** 2 < 0.2)[..., None], (200, 30, 30), (150, 160, 150)).astype(np.uint8)
    Image.fromarray(disc).save(photos / "disc.png")
    config = settings(root, tmp_path / "run", instance_data_dir=str(photos), scenes=["on a beach"], max_train_steps=2)
    *_, last = train(config)
    made = sorted((tmp_path / "run" / "scenes").glob("disc-?.png"))
    assert len(made) == 2 and last.metrics["reload"] == 0.0
    for path in made:
        picture = np.asarray(Image.open(path)).astype(int)
        assert picture.shape == (16, 16, 3) and np.abs(picture[9, 8] - (200, 30, 30)).max() < 40
    assert json.loads((tmp_path / "run" / "run.json").read_text())["pictures"] == 3


def test_nothing_stands_in_a_ground_any_more():
    pixels = np.full((8, 100, 3), (90, 140, 200), np.uint8)
    pixels[:, 30:70] = (200, 30, 30)  # a person
    pixels[6:] = (230, 210, 160)  # sand
    filled = np.asarray(without_middle(Image.fromarray(pixels)))
    assert (filled[:6] == (90, 140, 200)).all() and (filled[6:] == (230, 210, 160)).all()


@pytest.mark.slow
def test_stacked_subjects_have_words_of_their_own(root, tmp_path):
    for name, concept in (("a", "dog"), ("b", "bag"), ("c", "dog")):
        train(settings(root, tmp_path / name, new_tokens=1, concepts=[concept], max_train_steps=1, seed=len(name)))
    pipe = load_subjects([tmp_path / "a", tmp_path / "b"])
    assert {"<dog0>", "<bag0>"} <= pipe.tokenizer.get_vocab().keys() and phrase(tmp_path / "b") == "a <bag0> dog"
    with pytest.raises(ConfigError, match="concepts"):
        load_subjects([tmp_path / "a", tmp_path / "c"])
    with pytest.raises(ConfigError, match="different names"):
        settings(root, tmp_path, concepts=["Dog!"])


RUN = """
import json, sys
from personagen.provenance import read_png
from personagen.subject import SubjectConfig, train_subject
for step in train_subject(SubjectConfig(**json.load(open(sys.argv[1])))):
    print(step.step, flush=True)
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_by_bit(root, tmp_path):
    config = settings(root, tmp_path / "whole", max_train_steps=99, checkpointing_steps=3)
    train_to(config, 11)
    killed = replace(config, output_dir=str(tmp_path / "killed"))
    (tmp_path / "settings.json").write_text(json.dumps(vars(killed)))
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path / "settings.json")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 7:
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    train_to(replace(killed, resume_from_checkpoint="latest"), 11)
    same_checkpoint(tmp_path / "whole", tmp_path / "killed")


def test_a_full_disk_loses_nothing(root, tmp_path, monkeypatch):
    import recsys.checkpoint as checkpoint

    config, plain, writes = settings(root, tmp_path / "run"), checkpoint.save_file, []

    def full(*arguments, **named):
        writes.append(1)
        if len(writes) > 3:  # the second checkpoint
            raise OSError(28, "No space left on device")
        return plain(*arguments, **named)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(ResourceError, match="free disk space"):
        train(config)
    monkeypatch.setattr(checkpoint, "save_file", plain)
    assert load_latest(tmp_path / "run" / "checkpoints").step == 2  # type: ignore[union-attr]
    train_to(replace(config, resume_from_checkpoint="latest"), 4)
    train_to(replace(config, output_dir=str(tmp_path / "whole")), 4)
    same_checkpoint(tmp_path / "whole", tmp_path / "run")


def test_a_second_run_does_not_overwrite_the_first(root, tmp_path):
    train_to(settings(root, tmp_path), 2)
    with pytest.raises(ConfigError, match="resume_from_checkpoint"):
        train(settings(root, tmp_path))
    with pytest.raises(ConfigError, match="another rank"):
        train(settings(root, tmp_path, rank=3, resume_from_checkpoint="latest"))
    with pytest.raises(ModelError, match="another base model"):
        train(settings(root, tmp_path, "sdxl", resume_from_checkpoint="latest"))


@pytest.mark.slow
def test_validation_paints_without_changing_the_training(root, tmp_path):
    config = settings(root, tmp_path / "seen", num_validation_images=2, validation_steps=2, use_ema=True)
    metrics = [step.metrics for step in train_subject(config) if step.step == 2]
    assert metrics[0] is not None and metrics[0]["drift"] > 0
    samples = tmp_path / "seen" / "samples"
    assert {path.name for path in samples.iterdir()} == {f"step-00000{n}{end}" for n in (2, 4) for end in ("", ".png")}
    parameters = read_png(samples / "step-000004" / "1.png").parameters
    assert parameters is not None and parameters.settings["Seed"] == "1"
    assert (tmp_path / "seen" / "loss.png").is_file() and (tmp_path / "seen" / "drift.png").is_file()
    train_to(settings(root, tmp_path / "unseen", use_ema=True), 4)
    same_checkpoint(tmp_path / "seen", tmp_path / "unseen")


def test_class_pictures_are_painted_once(root, tmp_path):
    config = settings(
        root, tmp_path, with_prior_preservation=True, num_class_images=3, prior_prompts=["a bowl of fruit"]
    )
    first = next(train_subject(config))
    assert first.metrics == {"class_images": 1.0}
    assert (tmp_path / "class" / "class-00001.txt").read_text() == "a bowl of fruit\n"
    files = sorted((tmp_path / "class").glob("*.png"))
    before = [file.read_bytes() for file in files]
    files[1].unlink()
    next(train_subject(config))
    assert [file.read_bytes() for file in files] == before


def test_embeddings_load_in_plain_diffusers(root, tmp_path):
    train(settings(root, tmp_path, new_tokens=1, train_unet="none", token_lr=0.1))
    own, plain = pipeline("sd1"), pipeline("sd1")
    load_tokens(own, tmp_path / "learned_embeds.safetensors", ["<s0>"])
    vectors = load_file(tmp_path / "learned_embeds.safetensors")["clip_l"]
    plain.load_textual_inversion({"<new>": vectors[0]}, token="<new>")
    assert abs(paint(own, "a <s0> dog") - paint(plain, "a <new> dog")).max() == 0
    with pytest.raises(ModelError, match="clip_l"):
        load_tokens(own, tmp_path / "learned_embeds.safetensors", ["<s0>", "<s1>"])


def test_bad_input_is_one_line_and_nothing_is_written(root, tmp_path):
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="it is empty"):
        train(settings(root, out, instance_data_dir=str(tmp_path / "empty")))
    with pytest.raises(ModelError, match="there is no model at"):
        train(settings(root, out, pretrained_model_name_or_path=str(tmp_path / "none")))
    single = tmp_path / "model.safetensors"
    save_file({"x": torch.zeros(1)}, single)
    with pytest.raises(ModelError, match="it lacks"):
        train(settings(root, out, pretrained_model_name_or_path=str(single)))
    with pytest.raises(ModelError, match="pickled"):
        train(settings(root, out, embeddings=["words.pt"]))
    assert not out.exists()


def test_weights_that_are_not_numbers_are_refused(root, tmp_path):
    subject_parts.save("sd1", tmp_path / "base")
    file = tmp_path / "base" / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_in.bias"][0] = float("nan")
    save_file(weights, file, metadata={"format": "pt"})
    config = settings(root, tmp_path / "out", pretrained_model_name_or_path=str(tmp_path / "base"))
    with pytest.raises(ModelError, match="conv_in.bias"):
        train(config)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_one_picture_is_enough(root, tmp_path):
    write_pictures(tmp_path / "one", count=1)
    *_, last = train(settings(root, tmp_path / "out", instance_data_dir=str(tmp_path / "one"), max_train_steps=1))
    assert last.metrics["reload"] == 0.0 and (tmp_path / "out" / FILE).is_file()
