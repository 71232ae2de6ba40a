"""In what precision trainings compute: what auto means on a device, and that a run keeps to what it began with."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from personagen import devices
from personagen.pretrain import PretrainConfig, pretrain
from personagen.pretrain.pairs_config import TryOnTrainConfig
from personagen.subject import SubjectConfig
from personagen.subject.config import resolve
from personagen.subject.train import Learner
from personagen.training.config import LoopConfig
from personagen.training.precision import settled
from recsys.checkpoint import load_latest
from tests.personagen.pretrain.tools import make_corpus, tiny
from tests.personagen.subject.parts import pipeline

FAST = {"amx": {"amx_bf16": True}, "avx": {"avx512_bf16": True}}
SLOW = {"this is no x86": {}, "old": {"avx512_bf16": False, "amx_bf16": False, "avx2": True}}


@pytest.fixture
def machine(monkeypatch):
    """Let this machine believe that its CPU can do this, and that it has such a GPU (None: none)."""

    def pretend(cpu: dict[str, bool], gpu: bool | None = None) -> None:
        devices.half_is_fast.cache_clear()
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: cpu)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is not None)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: int(gpu is not None))
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bool(gpu))

    yield pretend
    devices.half_is_fast.cache_clear()


def test_auto_is_bf16_where_the_device_multiplies_in_it_and_else_no(machine):
    chosen = lambda device: settled("auto", device=torch.device(device))
    for cpu in FAST.values():
        machine(cpu)
        assert chosen("cpu") == "bf16"
    for cpu in SLOW.values():
        machine(cpu, gpu=True)
        assert (chosen("cpu"), chosen("cuda:0"), chosen("mps")) == ("no", "bf16", "no")
    machine(FAST["amx"], gpu=False)
    assert chosen("cuda") == "no"
    assert [settled(asked, device=torch.device("cpu")) for asked in ("no", "fp16", "bf16")] == ["no", "fp16", "bf16"]


@pytest.mark.parametrize("kind", [LoopConfig, SubjectConfig])
def test_auto_is_the_default_of_every_training(kind):
    assert {field.name: field.default for field in fields(kind)}["mixed_precision"] == "auto"


def test_auto_is_the_default_of_training_on_pairs():
    assert TryOnTrainConfig(root="x").loop.mixed_precision == PretrainConfig().loop.mixed_precision == "auto"


def test_a_stage_says_what_auto_was_and_goes_on_in_it_on_another_machine(machine, tmp_path):
    """On a slow CPU bf16 made a step of the autoencoder's training nine times as long."""
    corpus = make_corpus(tmp_path / "corpus")
    config = tiny("vae", tmp_path, corpora={str(corpus): 1.0}, mixed_precision="auto")
    machine(SLOW["old"])
    assert _stopped(config, 1) == "no"
    machine(FAST["amx"])
    assert _stopped(config, 2) == "no"
    other = replace(config, output_dir=str(tmp_path / "other"))
    assert _stopped(other, 1) == "bf16"
    asked = replace(other, loop=replace(other.loop, mixed_precision="no"))
    assert _stopped(asked, 2) == "no"


def _stopped(config: PretrainConfig, last: int) -> str:
    """Train until a step; return the precision that the checkpoint records."""
    for step in (steps := pretrain(config)):
        if step.step == last:
            break
    steps.close()  # type: ignore[attr-defined]
    found = load_latest(Path(config.output_dir) / "checkpoints")
    assert found is not None and found.step == last
    return found.state["config"]["loop"]["mixed_precision"]


def test_a_subject_says_what_auto_was_and_goes_on_in_it_on_another_machine(machine, tmp_path):
    settings = resolve(SubjectConfig("x", "dog", output_dir=str(tmp_path), rank=2, pretrained_model_name_or_path="x"))
    machine(FAST["amx"])
    learner = Learner(pipeline("sd1"), settings)
    assert learner.config.mixed_precision == "bf16" and learner.pipe.unet.conv_in.weight.dtype == torch.bfloat16
    machine(SLOW["old"])
    assert Learner(pipeline("sd1"), settings).config.mixed_precision == "no"
    begun = tmp_path / "checkpoints" / "step-00000003"
    begun.mkdir(parents=True)
    (begun / "state.json").write_text(json.dumps({"config": {"mixed_precision": "bf16"}}))
    assert Learner(pipeline("sd1"), settings).config.mixed_precision == "bf16"
    asked = replace(settings, mixed_precision="no")
    assert Learner(pipeline("sd1"), asked).config.mixed_precision == "no"
    (begun / "state.json").write_text("{half")
    assert Learner(pipeline("sd1"), settings).config.mixed_precision == "no"
