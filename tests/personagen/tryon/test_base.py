# small settings are spread over typed fields
"""Weights published for other systems: laid over a Stable Diffusion 1.5 inpainting base, strictly, from any layout."""

import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from personagen.devices import Compute
from personagen.models.base import load_tryon_base
from personagen.tryon.attention import attention_tensors, load_attention, self_attentions, set_cross_attention
from personagen.tryon.config import BaseConfig
from recsys.errors import ConfigError, ModelError
from tests.cases import cases
from tests.personagen.sd15 import tiny_unet, write_base, write_single_file

SMALL = {"height": 64, "width": 64}


def picture(seed: int = 0, height: int = 64, width: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def mask() -> np.ndarray:
    marked = np.zeros((64, 64), bool)
    marked[16:48, 16:48] = True
    return marked


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    return str(write_base(tmp_path_factory.mktemp("base")))


@pytest.mark.parametrize("stride", [8, 7])
def test_published_attention_weights_give_back_the_unet_they_came_from(stride, tmp_path):
    source, other = tiny_unet(seed=0), tiny_unet(seed=0)
    with torch.no_grad():
        for layer in self_attentions(source).values():
            for parameter in layer.parameters():
                parameter.add_(torch.randn_like(parameter))
    tensors = attention_tensors(source, stride=stride)
    assert len(tensors) == 80 and f"{15 * stride}.to_out.0.bias" in tensors
    save_file(tensors, tmp_path / "model.safetensors")
    x: Any = torch.randn(1, 9, 16, 8)
    outputs = []
    for unet in (source, other):
        set_cross_attention(unet, "identity")
    before: Any = other(x, 10, encoder_hidden_states=None)
    load_attention(other, tmp_path)
    for unet in (source, other):
        result: Any = unet(x, 10, encoder_hidden_states=None)
        outputs.append(result.sample)
    assert torch.equal(*outputs) and not torch.equal(before.sample, outputs[0])


def test_attention_weights_that_do_not_fit_change_nothing_and_are_named(tmp_path):
    unet = tiny_unet()
    whole, file = attention_tensors(unet), tmp_path / "model.safetensors"
    changed = {name: value + 1 for name, value in whole.items()}
    cases = {
        r"missing \['8.to_k.weight'\]": {k: v for k, v in changed.items() if k != "8.to_k.weight"},
        r"left over \['0.to_extra.weight'\]": changed | {"0.to_extra.weight": torch.zeros(1)},
        "in steps of 8 or 7": {k: v for k, v in changed.items() if not k.startswith("8.")},
        "16 numbers": changed | {f"128.{k.removeprefix('0.')}": v for k, v in whole.items() if k.startswith("0.")},
        "does not fit": changed | {"0.to_q.weight": torch.zeros(3, 3)},
    }
    for message, tensors in cases.items():
        save_file({name: value.contiguous() for name, value in tensors.items()}, file)
        with pytest.raises(ModelError, match=message):
            load_attention(unet, file)
        assert all(torch.equal(value, whole[name]) for name, value in attention_tensors(unet).items())
    file.write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be read"):
        load_attention(unet, file)
    with pytest.raises(ModelError, match="no attention weights"):
        load_attention(unet, tmp_path / "weights.bin")


def test_a_folder_and_a_single_file_give_the_same_pipeline(base, tmp_path):
    file = write_single_file(tmp_path / "sd15-inpainting.safetensors")
    config = BaseConfig(base, **SMALL)
    pipes = [load_tryon_base(config), load_tryon_base(replace(config, base=str(file)))]
    a, b = (pipe(picture(), picture(1), mask(), num_inference_steps=2, generator=seeded()).images[0] for pipe in pipes)
    for part in ("unet", "vae"):
        one, other = (getattr(pipe, part).state_dict() for pipe in pipes)
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=1)
    assert [pipes[0].config[name] for name in ("variant", "cross_attention", "eta")] == ["plain", "identity", 1.0]
    tensors = load_file(file)
    tensors.pop("model.diffusion_model.out.2.bias")
    save_file(tensors, file)
    with pytest.raises(ModelError, match="lacks some of the model's tensors"):
        load_tryon_base(replace(config, base=str(file)))


@pytest.mark.parametrize(
    ("scheduler", "variant"),
    cases(
        [("dpm", "plain"), ("unipc", "corrected")],
        slow=[("dpm", "corrected"), ("unipc", "plain"), ("ddim", "plain"), ("ddim", "corrected")],
    ),
)
def test_every_sampler_walks_both_variants(base, scheduler, variant):
    pipe = load_tryon_base(BaseConfig(base, scheduler=scheduler, variant=variant, **SMALL))
    out = pipe(picture(), [picture(1), picture(2)], mask(), num_inference_steps=3, generator=seeded(), output_type="np")
    assert len(out.images) == 2 and np.isfinite(out.images).all()
    if scheduler != "ddim":
        with pytest.raises(ConfigError, match="use DDIM"):
            pipe(picture(), picture(1), mask(), eta=1.0)


@pytest.mark.parametrize("dtype", cases(["bfloat16"], slow=["float16"]))
def test_half_precision_stays_near_float32(base, dtype):
    runs = []
    for kind in ("float32", dtype):
        pipe = load_tryon_base(BaseConfig(base, eta=0.0, **SMALL), compute=Compute(dtype=kind))
        out = pipe(picture(), picture(1), mask(), num_inference_steps=1, generator=seeded(), output_type="latent")
        runs.append(torch.as_tensor(out.images).float())
    assert (runs[0] - runs[1]).abs().mean() < 0.05 * runs[0].std()


def test_diffusers_own_switches_change_no_picture(base):
    pipe = load_tryon_base(BaseConfig(base, eta=0.0, **SMALL))
    run = lambda: (
        pipe(picture(), picture(1), mask(), num_inference_steps=1, generator=seeded(), output_type="np").images
    )
    before = run()
    pipe.vae.enable_slicing()
    pipe.enable_attention_slicing()
    set_cross_attention(pipe.unet, "identity")
    np.testing.assert_allclose(run(), before, atol=1e-4)


def test_a_lora_on_self_attention_is_laid_over_and_a_foreign_one_refused(base, tmp_path):
    from peft import LoraConfig

    unet = tiny_unet()
    unet.add_adapter(LoraConfig(r=2, target_modules=r".*attn1\.to_(q|k|v|out\.0)", init_lora_weights=False))
    unet.save_lora_adapter(tmp_path)
    config = BaseConfig(base, lora=str(tmp_path), **SMALL)
    plain, with_lora = load_tryon_base(replace(config, lora=None)), load_tryon_base(config)
    a, b = (
        pipe(picture(), picture(1), mask(), num_inference_steps=1, generator=seeded(), output_type="latent").images
        for pipe in (plain, with_lora)
    )
    assert not torch.equal(torch.as_tensor(a), torch.as_tensor(b))
    save_file({"nothing.lora_A.weight": torch.zeros(2, 2), "nothing.lora_B.weight": torch.zeros(2, 2)},
              tmp_path / "foreign.safetensors")  # fmt: skip
    with pytest.raises(ModelError, match="LoRA"):
        load_tryon_base(replace(config, lora=str(tmp_path / "foreign.safetensors")))


def test_bases_that_are_not_there_are_named(base, tmp_path):
    for source in (str(tmp_path / "none"), "owner/model", str(tmp_path / "none.safetensors")):
        with pytest.raises(ModelError, match="cannot be loaded|no model at"):
            load_tryon_base(BaseConfig(source, **SMALL))
    with pytest.raises(ModelError, match="safety_checker"):
        load_tryon_base(BaseConfig(base, safety_checker=True, **SMALL))
    (tmp_path / "text.safetensors").write_text("not a model")
    with pytest.raises(ModelError, match="cannot be read"):
        load_tryon_base(BaseConfig(str(tmp_path / "text.safetensors"), **SMALL))
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="lacks"):
        load_tryon_base(BaseConfig(str(tmp_path / "other.safetensors"), **SMALL))


def test_the_safety_checker_of_a_base_is_asked_where_it_is_wanted(base, tmp_path):
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 32, "patch_size": 16}  # fmt: skip
    checker: Any = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=8))
    shutil.copytree(base, tmp_path / "base")
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPImageProcessor(**sizes).save_pretrained(tmp_path / "base" / "feature_extractor")
    config = BaseConfig(str(tmp_path / "base"), safety_checker=True, **SMALL)
    for threshold, flagged in ((1.5, False), (-1.5, True)):
        checker.concept_embeds_weights.data.fill_(threshold)
        checker.special_care_embeds_weights.data.fill_(threshold)
        checker.save_pretrained(tmp_path / "base" / "safety_checker")
        pipe = load_tryon_base(config)
        if flagged:
            with pytest.raises(ModelError, match="safety checker refused picture 0"):
                pipe(picture(), picture(1), mask(), num_inference_steps=1)
        else:
            assert len(pipe(picture(), picture(1), mask(), num_inference_steps=1).images) == 1
