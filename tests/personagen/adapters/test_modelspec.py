"""Adapter files say what they are, as ModelSpec and kohya's trainer ask, the same bytes for the same seed."""

from typing import Any

import pytest
from safetensors import safe_open

from personagen.adapters.lora import Lora, attach, collect, save_adapter, save_kohya
from personagen.adapters.modelspec import base_family, modelspec
from personagen.models import load_text2image
from tests.personagen.subject.parts import pipeline

MUST = ("sai_model_spec", "architecture", "implementation", "title", "resolution")
BASES = {
    "sd1": ("stable-diffusion-v1/lora", "epsilon", "sd_v1"),
    "sd2-v": ("stable-diffusion-v2-768-v/lora", "v", "sd_v2_v"),
    "sdxl": ("stable-diffusion-xl-v1-base/lora", "epsilon", "sdxl_base_v1-0"),
}


def saved(path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


@pytest.mark.parametrize("family", BASES)
def test_both_files_hold_the_five_keys_right_for_their_base(family, tmp_path):
    pipe = pipeline(family)
    attach(pipe, Lora(rank=2))
    facts = modelspec(pipe, title="My bag", size=(768, 512), trigger="a sks bag")
    adapter = collect(pipe)
    for file in (save_adapter(adapter, tmp_path / "a.safetensors", metadata=facts),
                 save_kohya(adapter, tmp_path / "b.safetensors", metadata=facts)):  # fmt: skip
        found = saved(file)
        assert all(found[f"modelspec.{name}"] for name in MUST)
        architecture, prediction, version = BASES[family]
        assert found["modelspec.architecture"] == architecture and found["modelspec.title"] == "My bag"
        assert found["modelspec.resolution"] == "512x768"  # width first
        assert found["modelspec.prediction_type"] == prediction and found["ss_base_model_version"] == version
        assert found["ss_v2"] == str(family == "sd2-v") and not any("date" in name for name in found)
    pipe.load_lora_weights(tmp_path, weight_name="a.safetensors", adapter_name="again")


def test_a_v2_model_that_predicts_noise_is_another_one():
    pipe: Any = pipeline("sd2-v")
    pipe.scheduler.register_to_config(prediction_type="epsilon")
    assert base_family(pipe) == ("stable-diffusion-v2-512", "sd_v2")


def test_the_embedded_model_is_called_none_of_them():
    facts = modelspec(load_text2image(), title="x", size=(192, 144))
    assert facts["modelspec.architecture"] == "personagen-v1/lora" and "ss_v2" not in facts


def test_the_same_adapter_gives_the_same_bytes(tmp_path):
    """The library writes metadata in an order that changes from call to call."""
    pipe = pipeline("sd1")
    attach(pipe, Lora(rank=2))
    facts = modelspec(pipe, title='Grün, "quoted"\n', size=(512, 512), trigger="a sks bag")
    files = [save_kohya(collect(pipe), tmp_path / f"{i}.safetensors", metadata=facts) for i in range(6)]
    assert len({file.read_bytes() for file in files}) == 1
    assert saved(files[0])["modelspec.title"] == facts["modelspec.title"]
