"""Adapter files as other tools write them paint as a base whose weights were changed by hand, or are refused truly."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from personagen.adapters.adapter import METADATA
from personagen.adapters.embeddings import read_embedding
from personagen.adapters.kohya import known_stems
from personagen.adapters.lora import load_adapter, merge_adapters, save_adapter, save_kohya, use_adapters
from personagen.adapters.read import read_adapter
from recsys.errors import ConfigError, ModelError
from tests.personagen.subject.parts import paint, pipeline

QUERY = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
KEY = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_k"
WORDS = "text_encoder.encoder.layers.0.self_attn.q_proj"
MLP = "text_encoder.encoder.layers.0.mlp.fc1"
CONV = "unet.down_blocks.0.resnets.0.conv1"


def layer(pipe, module: str) -> Any:
    part, _, path = module.partition(".")
    return getattr(pipe, part).get_submodule(path)


def kohya(module: str) -> str:
    part, _, path = module.partition(".")
    flat = path.replace(".", "_")
    return f"lora_unet_{flat}" if part == "unet" else f"lora_te_text_model_{flat}"


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.5 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pair(module: str, rank: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    shape = layer(pipeline("sd1"), module).weight.shape
    up = (shape[0], rank, 1, 1) if len(shape) == 4 else (shape[0], rank)
    return noise(rank, *shape[1:], seed=seed), noise(*up, seed=seed + 1)


def product(down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    return (up.flatten(1) @ down.flatten(1)).reshape(up.shape[0], *down.shape[1:])


def rescaled(weight: torch.Tensor, magnitude: torch.Tensor, *, axis: int) -> torch.Tensor:
    """W of DoRA: magnitudes times directions, whose norms are over every axis but one."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    return weight / torch.linalg.vector_norm(weight, dim=others, keepdim=True) * magnitude.reshape(shape)


def changed(*changes: tuple[str, Callable], family: str = "sd1"):
    """Paint with weights that are set by hand: for each module what makes the new weight of the old."""
    pipe = pipeline(family)
    for module, change in changes:
        weight = layer(pipe, module).weight
        weight.data = change(weight.data)
    return paint(pipe)


def loaded(tensors: dict[str, torch.Tensor], tmp_path, *, family: str = "sd1", metadata=None):
    save_file({key: value.contiguous() for key, value in tensors.items()}, tmp_path / "a.safetensors", metadata)
    pipe = pipeline(family)
    load_adapter(pipe, tmp_path / "a.safetensors")
    return pipe


def close(pipe, wanted) -> bool:
    plain = paint(pipeline("sd1"))
    assert np.abs(wanted - plain).max() > 1e-3, "the change must show"
    return np.abs(paint(pipe) - wanted).max() <= 2e-5


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("module", [QUERY, WORDS, CONV, MLP])
def test_dora_of_either_axis_on_every_part(module, axis, tmp_path):
    down, up = pair(module)
    size = layer(pipeline("sd1"), module).weight.shape[axis]
    magnitude = 1 + noise(size).abs()
    shape = [-1 if i == axis else 1 for i in range(down.ndim)]
    stem = kohya(module)
    tensors = {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up, f"{stem}.alpha": torch.tensor(2.0)}
    pipe = loaded({**tensors, f"{stem}.dora_scale": magnitude.reshape(shape)}, tmp_path)
    wanted = changed((module, lambda w: rescaled(w + 2 / 3 * product(down, up), magnitude, axis=axis)))
    assert close(pipe, wanted)


def test_dora_on_some_layers_only(tmp_path):
    (down, up), (other, above) = pair(QUERY), pair(KEY, seed=7)
    magnitude = 1 + noise(up.shape[0]).abs()
    tensors = {
        f"{kohya(QUERY)}.lora_down.weight": down,
        f"{kohya(QUERY)}.lora_up.weight": up,
        f"{kohya(QUERY)}.dora_scale": magnitude[:, None],
        f"{kohya(KEY)}.lora_down.weight": other,
        f"{kohya(KEY)}.lora_up.weight": above,
    }
    wanted = changed(
        (QUERY, lambda w: rescaled(w + product(down, up), magnitude, axis=0)),
        (KEY, lambda w: w + product(other, above)),
    )
    assert close(loaded(tensors, tmp_path), wanted)


def test_a_strength_weighs_what_dora_changes(tmp_path):
    down, up = pair(QUERY)
    magnitude = 1 + noise(down.shape[1]).abs()
    stem = kohya(QUERY)
    tensors = {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up, f"{stem}.dora_scale": magnitude[None]}
    pipe = loaded(tensors, tmp_path)
    use_adapters(pipe, {"default": 0.4})
    wanted = changed((QUERY, lambda w: 0.6 * w + 0.4 * rescaled(w + product(down, up), magnitude, axis=1)))
    assert close(pipe, wanted)


def test_such_adapters_are_written_merged_and_read_again(tmp_path):
    down, up = pair(QUERY)
    magnitude = 1 + noise(down.shape[1]).abs()
    stem = kohya(QUERY)
    tensors = {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up, f"{stem}.dora_scale": magnitude[None]}
    wanted = paint(loaded(tensors, tmp_path))
    adapter = read_adapter(tmp_path / "a.safetensors", pipeline("sd1"))
    for file in (save_adapter(adapter, tmp_path / "b"), save_kohya(adapter, tmp_path / "c.safetensors")):
        pipe = pipeline("sd1")
        load_adapter(pipe, file)
        assert np.abs(paint(pipe) - wanted).max() <= 1e-5
    pipe = pipeline("sd1")
    load_adapter(pipe, merge_adapters([adapter], [1.0]))
    assert np.abs(paint(pipe) - wanted).max() <= 1e-5


def test_loha_and_lokr(tmp_path):
    out, inside = layer(pipeline("sd1"), QUERY).weight.shape
    a, b, c, d = noise(out, 2, seed=1), noise(2, inside, seed=2), noise(out, 2, seed=3), noise(2, inside, seed=4)
    names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    loha = {f"{kohya(QUERY)}.{name}": value for name, value in zip(names, (a, b, c, d))}
    loha[f"{kohya(QUERY)}.alpha"] = torch.tensor(1.0)
    assert close(loaded(loha, tmp_path), changed((QUERY, lambda w: w + 0.5 * (a @ b) * (c @ d))))
    small, left, right = noise(2, 2, seed=5), noise(out // 2, 3, seed=6), noise(3, inside // 2, seed=7)
    stem = kohya(QUERY)
    lokr = {f"{stem}.lokr_w1": small, f"{stem}.lokr_w2_a": left, f"{stem}.lokr_w2_b": right}
    lokr[f"{stem}.alpha"] = torch.tensor(6.0)
    assert close(loaded(lokr, tmp_path), changed((QUERY, lambda w: w + 2 * torch.kron(small, left @ right))))


def test_a_convolution_in_three_steps(tmp_path):
    out, inside, height, width = layer(pipeline("sd1"), CONV).weight.shape
    down, mid, up = noise(2, inside, 1, 1), noise(2, 2, height, width, seed=1), noise(out, 2, 1, 1, seed=2)
    stem = kohya(CONV)
    tensors = {f"{stem}.lora_down.weight": down, f"{stem}.lora_mid.weight": mid, f"{stem}.lora_up.weight": up}
    change = torch.einsum("or,rjhw,jc->ochw", up[..., 0, 0], mid, down[..., 0, 0])
    assert close(loaded(tensors, tmp_path), changed((CONV, lambda w: w + change)))


def test_layers_of_the_text_encoder_alone(tmp_path):
    down, up = pair(MLP)
    tensors = {f"{kohya(MLP)}.lora_down.weight": down, f"{kohya(MLP)}.lora_up.weight": up}
    assert close(loaded(tensors, tmp_path), changed((MLP, lambda w: w + product(down, up))))


def test_eight_bit_floats(tmp_path):
    down, up = (value.to(torch.float8_e4m3fn) for value in pair(QUERY))
    tensors = {f"{kohya(QUERY)}.lora_down.weight": down, f"{kohya(QUERY)}.lora_up.weight": up}
    wanted = changed((QUERY, lambda w: w + product(down.float(), up.float())))
    assert close(loaded(tensors, tmp_path), wanted)


ATTENTION = QUERY.removesuffix(".to_q")
SPELLINGS = {
    "older processors": (f"{ATTENTION}.processor.to_q_lora.down.weight", f"{ATTENTION}.processor.to_q_lora.up.weight"),
    "peft's prefix": tuple(f"base_model.model.{QUERY.removeprefix('unet.')}.lora_{x}.weight" for x in "AB"),
    "peft's name": (f"{QUERY}.lora_A.default.weight", f"{QUERY}.lora_B.default.weight"),
    "dotted": (f"{QUERY}.lora_down.weight", f"{QUERY}.lora_up.weight"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_other_spellings(spelling, tmp_path):
    tensors, scale = dict(zip(SPELLINGS[spelling], pair(QUERY))), 1.0
    if spelling == "dotted":
        tensors[f"{QUERY}.alpha"], scale = torch.tensor(6.0), 2.0
    assert close(loaded(tensors, tmp_path), changed((QUERY, lambda w: w + scale * product(*pair(QUERY)))))


def test_newer_settings_in_the_metadata(tmp_path):
    down, up = pair(QUERY)
    settings = {"unet.r": 3, "unet.lora_alpha": 6, "unet.target_modules": ["to_q"], "unet.some_newer_setting": 1}
    tensors = {f"{QUERY}.lora_A.weight": down, f"{QUERY}.lora_B.weight": up}
    pipe = loaded(tensors, tmp_path, metadata={METADATA: json.dumps(settings)})
    assert close(pipe, changed((QUERY, lambda w: w + 2 * product(down, up))))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_an_alpha_that_is_no_number_is_refused(bad, tmp_path):
    down, up = pair(QUERY)
    tensors = {f"{kohya(QUERY)}.lora_down.weight": down, f"{kohya(QUERY)}.lora_up.weight": up}
    with pytest.raises(ModelError, match="finite"):
        loaded({**tensors, f"{kohya(QUERY)}.alpha": torch.tensor(bad)}, tmp_path)
    own = {f"{QUERY}.lora_A.weight": down, f"{QUERY}.lora_B.weight": up}
    for settings in ({"unet.lora_alpha": bad}, {"unet.alpha_pattern": {"to_q": bad}}):
        whole = {"unet.r": 3, "unet.lora_alpha": 3, "unet.target_modules": ["to_q"], **settings}
        with pytest.raises(ModelError, match="finite"):
            loaded(own, tmp_path, metadata={METADATA: json.dumps(whole)})


def test_an_alpha_of_two_numbers_is_refused(tmp_path):
    down, up = pair(QUERY)
    tensors = {f"{kohya(QUERY)}.lora_down.weight": down, f"{kohya(QUERY)}.lora_up.weight": up}
    with pytest.raises(ModelError, match="2 numbers"):
        loaded({**tensors, f"{kohya(QUERY)}.alpha": torch.ones(2)}, tmp_path)


def test_a_start_that_changes_the_base_is_refused(tmp_path):
    down, up = pair(QUERY)
    settings = {"unet.r": 3, "unet.lora_alpha": 3, "unet.target_modules": ["to_q"], "unet.init_lora_weights": "pissa"}
    with pytest.raises(ModelError, match="pissa"):
        loaded({f"{QUERY}.lora_A.weight": down, f"{QUERY}.lora_B.weight": up}, tmp_path,
               metadata={METADATA: json.dumps(settings)})  # fmt: skip


def test_words_that_come_with_an_adapter(tmp_path):
    down, up = pair(QUERY)
    width = pipeline("sd1").text_encoder.get_input_embeddings().weight.shape[1]
    word = {"bundle_emb.glade.string_to_param.*": noise(1, width)}
    tensors = {f"{kohya(QUERY)}.lora_down.weight": down, f"{kohya(QUERY)}.lora_up.weight": up, **word}
    pipe = loaded(tensors, tmp_path)
    number = pipe.tokenizer.convert_tokens_to_ids("glade")
    assert torch.equal(pipe.text_encoder.get_input_embeddings().weight[number], noise(1, width)[0])
    with pytest.raises(ConfigError, match="glade"):
        load_adapter(pipe, tmp_path / "a.safetensors", name="again")


def test_an_adapter_of_another_size_is_refused(tmp_path):
    tensors = {f"{kohya(QUERY)}.{name}": noise(5, 5) for name in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")}
    with pytest.raises(ModelError, match="another base"):
        loaded(tensors, tmp_path)


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_refused(weight, tmp_path):
    down, up = pair(QUERY)
    pipe = loaded({f"{QUERY}.lora_A.weight": down, f"{QUERY}.lora_B.weight": up}, tmp_path)
    with pytest.raises(ConfigError, match="weight"):
        use_adapters(pipe, {"default": weight})


def test_original_names_outside_attention():
    """The places of SDXL's other layers, as kohya's LoCon files for SDXL name them."""
    stems = known_stems(pipeline("sdxl"))
    for name, module in {
        "input_blocks_0_0": "conv_in",
        "input_blocks_1_0_in_layers_2": "down_blocks.0.resnets.0.conv1",
        "input_blocks_1_0_emb_layers_1": "down_blocks.0.resnets.0.time_emb_proj",
        "input_blocks_1_0_out_layers_3": "down_blocks.0.resnets.0.conv2",
        "input_blocks_2_0_op": "down_blocks.0.downsamplers.0.conv",
        "input_blocks_3_0_skip_connection": "down_blocks.1.resnets.0.conv_shortcut",
        "middle_block_0_in_layers_2": "mid_block.resnets.0.conv1",
        "middle_block_2_out_layers_3": "mid_block.resnets.1.conv2",
        "output_blocks_1_2_conv": "up_blocks.0.upsamplers.0.conv",
        "output_blocks_2_0_skip_connection": "up_blocks.1.resnets.0.conv_shortcut",
        "time_embed_0": "time_embedding.linear_1",
        "label_emb_0_2": "add_embedding.linear_2",
        "out_2": "conv_out",
    }.items():
        assert stems[f"lora_unet_{name}"] == f"unet.{module}"


def written(tmp_path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None):
    save_file({key: value.contiguous() for key, value in tensors.items()}, tmp_path / "a.safetensors", metadata)
    return tmp_path / "a.safetensors"


def factor_of(path) -> float:
    return read_adapter(path, pipeline("sd1")).scale(QUERY)


def halves(stem: str, **more: torch.Tensor) -> dict[str, torch.Tensor]:
    down, up = pair(QUERY)
    return {
        f"{stem}.lora_down.weight": down,
        f"{stem}.lora_up.weight": up,
        **{f"{stem}.{k}": v for k, v in more.items()},
    }


def test_the_settings_that_peft_keeps_beside_its_weights(tmp_path):
    down, up = pair(QUERY)
    stem = f"base_model.model.{QUERY.removeprefix('unet.')}"
    save_file(
        {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up},
        tmp_path / "adapter_model.safetensors",
        {"format": "pt"},
    )
    settings = {"peft_type": "LORA", "r": 3, "lora_alpha": 12, "target_modules": ["to_q"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    assert factor_of(tmp_path) == factor_of(tmp_path / "adapter_model.safetensors") == 4
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings | {"lora_alpha": float("nan")}))
    with pytest.raises(ModelError, match="finite numbers are needed"):
        factor_of(tmp_path)


@pytest.mark.parametrize(
    "stem", [QUERY.replace("unet.", "diffusion_model."), kohya(QUERY).replace("lora_unet", "lycoris")]
)
def test_names_of_comfy_and_lycoris(stem, tmp_path):
    assert factor_of(written(tmp_path, halves(stem, alpha=torch.tensor(6)))) == 2  # an alpha of whole numbers


def test_what_scales_besides_alpha(tmp_path):
    assert factor_of(written(tmp_path, halves(kohya(QUERY), scalar=torch.tensor(0.5)))) == 0.5
    with pytest.raises(ModelError, match=r"values in .*scalar.* not finite"):
        factor_of(written(tmp_path, halves(kohya(QUERY), scalar=torch.tensor(float("nan")))))


@pytest.mark.parametrize("alpha", [1e38, -1e30])
def test_a_change_that_is_beyond_any_picture_is_refused(alpha, tmp_path):
    with pytest.raises(ModelError, match="of which pictures become black"):
        factor_of(written(tmp_path, halves(kohya(QUERY), alpha=torch.tensor(alpha))))


@pytest.mark.parametrize("key, value", [("use_rslora", '"false"'), ("use_dora", "1"), ("lora_alpha", "true")])
def test_settings_of_another_type_are_refused(key, value, tmp_path):
    down, up = pair(QUERY)
    settings = {"unet.r": 3, "unet.lora_alpha": 3, "unet.target_modules": ["to_q"], f"unet.{key}": json.loads(value)}
    tensors = {f"{QUERY}.lora_A.weight": down, f"{QUERY}.lora_B.weight": up}
    with pytest.raises(ModelError, match="needed"):
        factor_of(written(tmp_path, tensors, {METADATA: json.dumps(settings)}))


def test_a_rank_of_nothing_and_whole_numbers_are_refused(tmp_path):
    down, up = pair(QUERY)
    with pytest.raises(ModelError, match="a rank of 0"):
        factor_of(written(tmp_path, {f"{QUERY}.lora_A.weight": down[:0], f"{QUERY}.lora_B.weight": up[:, :0]}))
    with pytest.raises(ModelError, match="of type int8"):
        factor_of(written(tmp_path, {key: value.to(torch.int8) for key, value in halves(kohya(QUERY)).items()}))
    with pytest.raises(ModelError, match="words alone"):
        factor_of(written(tmp_path, {"bundle_emb.x.clip_l": noise(1, 7)}))


def test_magnitudes_as_peft_names_them_and_words_in_eight_bits(tmp_path):
    down, up = pair(QUERY)
    tensors = {f"{QUERY}.lora_A.default.weight": down, f"{QUERY}.lora_B.default.weight": up}
    tensors |= {f"{QUERY}.lora_magnitude_vector.default.weight": noise(up.shape[0]).abs()}
    adapter = read_adapter(written(tmp_path, tensors), pipeline("sd1"))
    assert f"{QUERY}.lora_magnitude_vector" in adapter.tensors
    _, vectors = read_embedding(written(tmp_path, {"emb_params": noise(2, 8).to(torch.float8_e4m3fn)}))
    assert vectors["clip_l"].dtype == torch.float32
