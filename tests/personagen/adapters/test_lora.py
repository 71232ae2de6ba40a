"""Adapters: what is saved is what was trained, in every reader; what is unsound is refused before anything changes."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from personagen.adapters.adapter import FILE, METADATA, Adapter
from personagen.adapters.kohya import known_stems
from personagen.adapters.lora import (
    Lora,
    attach,
    collect,
    load_adapter,
    merge_adapters,
    save_adapter,
    save_kohya,
    use_adapters,
)
from personagen.adapters.read import read_adapter
from personagen.quiet import quiet
from recsys.errors import ConfigError, ModelError, ResourceError
from tests.cases import cases
from tests.personagen.subject.parts import FAMILIES, paint, pipeline

VARIANTS = {
    "plain": Lora(rank=4),
    "alpha": Lora(rank=3, alpha=5, dropout=0.5),
    "rslora": Lora(rank=3, alpha=2, use_rslora=True, feed_forward=True),
    "dora": Lora(rank=2, alpha=3, use_dora=True),
}
CASES = cases(
    [("sd1", "plain"), ("sdxl", "dora")],
    slow=[("sd2-v", "alpha"), ("sd1", "dora"), ("sdxl", "alpha"), ("sdxl", "rslora")],
)


def trained(family: str, lora: Lora, *, text_encoder: bool = True, seed: int = 0):
    """A pipeline whose adapter does something: every tensor is moved away from its start."""
    pipe = pipeline(family)
    attach(pipe, lora, text_encoder=text_encoder, seed=seed)
    noise = torch.Generator().manual_seed(seed + 1)
    for part in (pipe.unet, pipe.text_encoder, getattr(pipe, "text_encoder_2", None)):
        for parameter in part.parameters() if part is not None else ():
            if parameter.requires_grad:
                parameter.data += 0.2 * torch.randn(parameter.shape, generator=noise)
        if part is not None:
            part.eval()
    return pipe


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_adapter_changes_nothing_and_is_reproducible(family):
    plain = paint(pipeline(family))
    pipe = pipeline(family)
    attach(pipe, VARIANTS["plain"], text_encoder=True, seed=3)
    assert np.array_equal(paint(pipe), plain)
    again = pipeline(family)
    attach(again, VARIANTS["plain"], text_encoder=True, seed=3)
    first, second = collect(pipe).tensors, collect(again).tensors
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(("family", "variant"), CASES)
def test_a_saved_adapter_paints_the_same_in_plain_diffusers(family, variant, tmp_path):
    pipe = trained(family, VARIANTS[variant])
    wanted = paint(pipe)
    assert not np.array_equal(wanted, paint(pipeline(family)))
    save_adapter(collect(pipe), tmp_path)
    fresh = pipeline(family)
    with quiet():
        fresh.load_lora_weights(tmp_path)
    assert np.array_equal(paint(fresh), wanted)
    own = pipeline(family)
    load_adapter(own, tmp_path / FILE)
    assert np.array_equal(paint(own), wanted)


@pytest.mark.parametrize(("family", "variant"), CASES)
def test_a_kohya_file_paints_the_same(family, variant, tmp_path):
    pipe = trained(family, VARIANTS[variant])
    wanted = paint(pipe)
    file = save_kohya(collect(pipe), tmp_path / "webui.safetensors")
    own = pipeline(family)
    load_adapter(own, file)
    assert np.abs(paint(own) - wanted).max() <= 1e-5
    if variant != "dora":  # plain diffusers leaves the magnitudes of kohya files out
        plain = pipeline(family)
        with quiet():
            plain.load_lora_weights(tmp_path, weight_name=file.name)
        assert np.abs(paint(plain) - wanted).max() <= 1e-5
    back = read_adapter(file, pipeline(family))
    save_adapter(back, tmp_path / "back")
    again = pipeline(family)
    with quiet():
        again.load_lora_weights(tmp_path / "back")
    assert np.abs(paint(again) - wanted).max() <= 1e-5


def test_kohya_names_are_those_that_the_tools_use(tmp_path):
    one = load_file(save_kohya(collect(trained("sd1", Lora(rank=2, alpha=3))), tmp_path / "a.safetensors"))
    layer = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out_0"
    assert {f"{layer}.lora_down.weight", f"{layer}.lora_up.weight", f"{layer}.alpha"} <= one.keys()
    assert "lora_te_text_model_encoder_layers_1_self_attn_q_proj.alpha" in one and one[f"{layer}.alpha"] == 3
    two = load_file(save_kohya(collect(trained("sdxl", Lora(rank=2))), tmp_path / "b.safetensors"))
    for number in "12":
        assert f"lora_te{number}_text_model_encoder_layers_1_self_attn_out_proj.lora_up.weight" in two


def test_the_original_spelling_of_sdxl_is_read(tmp_path):
    """Kohya's own SDXL files name UNet blocks as the original code does."""
    pipe = trained("sdxl", Lora(rank=2, alpha=3))
    wanted = paint(pipe)
    renames = {
        "down_blocks_1_attentions_0": "input_blocks_3_1",
        "mid_block_attentions_0": "middle_block_1",
        "up_blocks_0_attentions_0": "output_blocks_0_1",
        "up_blocks_0_attentions_1": "output_blocks_1_1",
    }
    tensors = {}
    for name, value in load_file(save_kohya(collect(pipe), tmp_path / "a.safetensors")).items():
        for ours, theirs in renames.items():
            name = name.replace(ours, theirs)
        tensors[name] = value
    assert not any("attentions" in name for name in tensors)
    save_file(tensors, tmp_path / "original.safetensors")
    fresh = pipeline("sdxl")
    load_adapter(fresh, tmp_path / "original.safetensors")
    assert np.abs(paint(fresh) - wanted).max() <= 1e-5


def test_original_names_of_sdxl_at_full_size():
    """The places of SDXL's attention blocks: input 4, 5, 7, 8, middle 1, output 0 to 5."""
    from types import SimpleNamespace

    from torch import nn

    unet = nn.Module()
    layers = {}
    for side, blocks, per in (("down_blocks", (1, 2), 2), ("up_blocks", (0, 1), 3)):
        for block in blocks:
            for place in range(per):
                layers[f"{side}.{block}.attentions.{place}.proj_in"] = nn.Linear(1, 1)
    unet.named_modules = lambda: layers.items()  # type: ignore[method-assign]
    unet.config = {"layers_per_block": 2}  # type: ignore[assignment]
    stems = known_stems(SimpleNamespace(unet=unet, text_encoder=None))
    for name in (
        "input_blocks_4",
        "input_blocks_5",
        "input_blocks_7",
        "input_blocks_8",
        *(f"output_blocks_{i}" for i in range(6)),
    ):
        assert f"lora_unet_{name}_1_proj_in" in stems


def test_merged_adapters_add_up(tmp_path):
    pipes = [trained("sdxl", Lora(rank=2, alpha=3), seed=1), trained("sdxl", Lora(rank=3, use_rslora=True), seed=2)]
    adapters = [collect(pipe) for pipe in pipes]
    stacked = pipeline("sdxl")
    for name, adapter in zip("ab", adapters):
        load_adapter(stacked, adapter, name=name)
    use_adapters(stacked, {"a": 0.7, "b": 0.4})
    wanted = paint(stacked)
    merged = merge_adapters(adapters, [0.7, 0.4])
    file = save_adapter(merged, tmp_path / "merged.safetensors")
    fresh = pipeline("sdxl")
    load_adapter(fresh, file)
    assert np.abs(paint(fresh) - wanted).max() < 1e-5
    use_adapters(stacked, {"a": 1.0})
    assert np.abs(paint(stacked) - paint(pipes[0])).max() < 1e-5


def test_dora_is_not_merged():
    adapter = collect(trained("sd1", VARIANTS["dora"]))
    with pytest.raises(ConfigError, match="DoRA"):
        merge_adapters([adapter], [1.0])
    with pytest.raises(ConfigError, match="as many"):
        merge_adapters([adapter], [1.0, 2.0])


def spoil(adapter: Adapter, **changes) -> Adapter:
    return dataclasses.replace(adapter, tensors={**adapter.tensors, **changes})


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda t, k: {**t, k: t[k] * float("nan")}, "not finite"),
        (lambda t, k: {key: value for key, value in t.items() if key != k}, "half of the pair"),
        (lambda t, k: {**t, k: t[k][:1]}, "share one rank"),
        (lambda t, k: {**t, "unet.x.oft_diag": t[k].clone()}, "no LoRA"),
        (lambda t, k: {**t, "transformer.x.lora_A.weight": t[k].clone()}, "no LoRA"),
        (lambda t, k: {**t, k: t[k].to(torch.int32)}, "of type int32"),
        (lambda t, k: {}, "no tensors"),
    ],
)
def test_unsound_files_are_refused(damage, says, tmp_path):
    adapter = collect(trained("sd1", Lora(rank=2), text_encoder=False))
    key = next(iter(adapter.tensors))
    save_file(damage(adapter.tensors, key), tmp_path / "bad.safetensors")
    pipe = pipeline("sd1")
    before = paint(pipe)
    with pytest.raises(ModelError, match=says):
        load_adapter(pipe, tmp_path / "bad.safetensors")
    assert np.array_equal(paint(pipe), before) and not pipe.get_list_adapters()


def test_files_of_another_base_are_refused(tmp_path):
    sdxl = save_adapter(collect(trained("sdxl", Lora(rank=2))), tmp_path / "xl.safetensors")
    kohya = save_kohya(collect(trained("sdxl", Lora(rank=2))), tmp_path / "kohya.safetensors")
    for file in (sdxl, kohya):
        with pytest.raises(ModelError, match="base"):
            load_adapter(pipeline("sd1"), file)
    with pytest.raises(ModelError, match="name its base model"):
        read_adapter(kohya)


def test_missing_damaged_and_oversized_files(tmp_path):
    with pytest.raises(ModelError, match="no adapter"):
        read_adapter(tmp_path)
    (tmp_path / FILE).write_bytes(b"not safetensors")
    with pytest.raises(ModelError, match="not a sound"):
        read_adapter(tmp_path)
    file = save_adapter(collect(trained("sd1", Lora(rank=2))), tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match="allowed for an adapter"):
        read_adapter(file, max_bytes=100)
    save_file(load_file(file), tmp_path / "b.safetensors", metadata={METADATA: json.dumps({"unet.nonsense": 1})})
    with pytest.raises(ModelError, match="settings inside"):
        read_adapter(tmp_path / "b.safetensors")


def test_a_file_without_settings_counts_alpha_as_rank(tmp_path):
    pipe = trained("sd1", Lora(rank=4))
    file = save_adapter(collect(pipe), tmp_path)
    save_file(load_file(file), tmp_path / "bare.safetensors")
    fresh = pipeline("sd1")
    load_adapter(fresh, tmp_path / "bare.safetensors")
    assert np.array_equal(paint(fresh), paint(pipe))


def test_older_diffusers_names_are_read(tmp_path):
    pipe = trained("sd1", Lora(rank=4))
    tensors = {}
    for name, value in collect(pipe).tensors.items():
        plain = "lora." if name.startswith("unet") else "lora_linear_layer."
        tensors[name.replace("lora_A.", plain + "down.").replace("lora_B.", plain + "up.")] = value
    save_file(tensors, tmp_path / "old.safetensors")
    fresh = pipeline("sd1")
    load_adapter(fresh, tmp_path / "old.safetensors")
    assert np.array_equal(paint(fresh), paint(pipe))


def test_a_taken_name_and_settings_out_of_range():
    pipe = trained("sd1", Lora(rank=2))
    with pytest.raises(ConfigError, match="already"):
        load_adapter(pipe, collect(pipe))
    for settings in (lambda: Lora(rank=0), lambda: Lora(alpha=0.0), lambda: Lora(dropout=1.0)):
        with pytest.raises(ConfigError):
            settings()


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    adapter = collect(trained("sd1", Lora(rank=2)))
    file = save_adapter(adapter, tmp_path)
    before = file.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("personagen.files.save_file", full)
    with pytest.raises(ResourceError, match="No space"):
        save_adapter(adapter, tmp_path)
    assert file.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == [FILE]
