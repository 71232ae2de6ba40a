"""Hostile files of weights: safetensors that are damaged or hold something else, adapters and embeddings."""

import json
import struct
from typing import Any

import numpy as np

STEM = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
LAYER = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
SINGLE = "model.diffusion_model.input_blocks"
WORDS = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"


def packed(
    tensors: dict[str, np.ndarray], *, metadata: dict[str, str] | None = None, types: dict[str, str] | None = None
) -> bytes:
    """A safetensors file by hand, in the order given; types: other names of types than float32."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name, array in tensors.items():
        kind, raw = (types or {}).get(name, "F32"), np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    return headed(header, data)


def headed(header: Any, data: bytes, *, length: int | None = None) -> bytes:
    """A safetensors file of a header, which may lie, and data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def noise(*shape: int) -> np.ndarray:
    """Small numbers (float32), always the same for a shape."""
    return np.random.default_rng(sum(shape)).normal(0, 0.02, shape).astype(np.float32)


def pair(down: np.ndarray, up: np.ndarray, *, stem: str = STEM) -> bytes:
    """A LoRA of one layer, by kohya's names."""
    return packed({f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up})


def content() -> dict[str, dict[str, bytes]]:
    """Sort -> name -> bytes."""
    return {"weights": _weights(), "adapters": _adapters(), "embeddings": _embeddings()}


def _weights() -> dict[str, bytes]:
    whole = packed({"weight": noise(4, 4)})
    entry = lambda **changes: headed(
        {"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} | changes}, bytes(16)
    )
    return {
        "empty.safetensors": b"",
        "seven_bytes.safetensors": bytes(7),
        "zeros.safetensors": bytes(500),
        "header_of_no_tensors.safetensors": headed({}, b""),
        "metadata_alone.safetensors": headed({"__metadata__": {"format": "pt"}}, b""),
        "header_longer_than_the_file.safetensors": headed({}, b"", length=10_000),
        "header_of_exabytes.safetensors": headed({}, b"", length=2**62),
        "header_cut.safetensors": headed(b'{"w": {"dtype": "F3', b""),
        "header_of_no_json.safetensors": headed(b"not json at all", b""),
        "header_is_a_list.safetensors": headed([], b""),
        "header_in_utf16.safetensors": headed("{}".encode("utf-16"), b""),
        "data_cut.safetensors": whole[:-20],
        "data_longer.safetensors": whole + bytes(8),
        "offsets_beyond.safetensors": entry(data_offsets=[0, 10**12]),
        "offsets_backwards.safetensors": entry(data_offsets=[16, 0]),
        "offsets_negative.safetensors": entry(data_offsets=[-16, 0]),
        "shape_of_petabytes.safetensors": entry(shape=[2**40, 2**40]),
        "shape_negative.safetensors": entry(shape=[-4]),
        "shape_of_no_rows.safetensors": packed({"weight": noise(0, 4)}),
        "type_unknown.safetensors": entry(dtype="F99"),
        "nan.safetensors": packed({"weight": np.full((4, 4), np.nan, np.float32)}),
        "infinite.safetensors": packed({"weight": np.full((4, 4), np.inf, np.float32)}),
        "whole_numbers.safetensors": packed({"weight": np.arange(16)}, types={"weight": "I64"}),
        "truth_values.safetensors": packed({"weight": np.ones((4, 4), bool)}, types={"weight": "BOOL"}),
        "name_empty.safetensors": packed({"": noise(4)}),
        "name_of_1000_letters.safetensors": packed({"w" * 1_000: noise(4)}),
        "name_of_control_letters.safetensors": packed({"\x1b[31mw\n": noise(4)}),
        "pickle_named.safetensors": b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x02os\x8c\x06system\x93.",
        "zip_named.safetensors": b"PK\x03\x04" + bytes(60),
        "pointer_of_git_lfs.safetensors": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n",
        "html_named.safetensors": b"<!DOCTYPE html><html>404</html>",
        "single_file_of_one_layer.safetensors": packed({f"{SINGLE}.0.0.weight": noise(8, 4, 3, 3)}),
        "optimiser.ckpt": b"PK\x03\x04" + bytes(60),
    }  # fmt: skip


def _adapters() -> dict[str, bytes]:
    down, up = noise(2, 8), noise(8, 2)
    kohya = {f"{STEM}.lora_down.weight": down, f"{STEM}.lora_up.weight": up}
    peft = {f"{LAYER}.lora_A.weight": down, f"{LAYER}.lora_B.weight": up}
    alpha = lambda value: packed({**kohya, f"{STEM}.alpha": np.array(value, np.float32)})
    told = lambda **settings: packed(peft, metadata={"lora_adapter_metadata": json.dumps(settings)})
    usual = {"unet.r": 2, "unet.lora_alpha": 2, "unet.target_modules": ["to_q"]}
    return {
        "kohya.safetensors": packed(kohya),
        "peft.safetensors": packed(peft),
        "up_missing.safetensors": packed({f"{STEM}.lora_down.weight": down}),
        "down_missing.safetensors": packed({f"{STEM}.lora_up.weight": up}),
        "ranks_differ.safetensors": packed({**kohya, f"{STEM}.lora_up.weight": noise(8, 3)}),
        "rank_zero.safetensors": pair(noise(0, 8), noise(8, 0)),
        "one_axis.safetensors": pair(noise(8), noise(8)),
        "three_axes.safetensors": pair(noise(2, 8, 1), noise(8, 2, 1)),
        "alpha_nan.safetensors": alpha(float("nan")),
        "alpha_infinite.safetensors": alpha(float("inf")),
        "alpha_negative.safetensors": alpha(-4.0),
        "alpha_zero.safetensors": alpha(0.0),
        "alpha_of_two_values.safetensors": alpha([4.0, 4.0]),
        "alpha_of_none.safetensors": alpha([]),
        "alpha_alone.safetensors": packed({f"{STEM}.alpha": np.array(4.0, np.float32)}),
        "dora_of_another_length.safetensors": packed({**kohya, f"{STEM}.dora_scale": noise(5, 1)}),
        "layer_of_no_name.safetensors": pair(down, up, stem="lora_unet_nowhere"),
        "text_encoder_alone.safetensors": pair(down, up, stem=WORDS),
        "flux.safetensors": packed({"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": down,
                                    "transformer.single_transformer_blocks.0.attn.to_q.lora_B.weight": up}),
        "loha.safetensors": packed({f"{STEM}.hada_w1_a": up, f"{STEM}.hada_w1_b": down, f"{STEM}.hada_w2_a": up,
                                    f"{STEM}.hada_w2_b": down}),
        "loha_half.safetensors": packed({f"{STEM}.hada_w1_a": up, f"{STEM}.hada_w1_b": down}),
        "lokr_half.safetensors": packed({f"{STEM}.lokr_w1": noise(2, 2)}),
        "eight_bits.safetensors": packed({name: value.astype(np.uint8) for name, value in kohya.items()},
                                         types=dict.fromkeys(kohya, "F8_E4M3")),
        "metadata_of_no_json.safetensors": packed(peft, metadata={"lora_adapter_metadata": "{"}),
        "metadata_is_a_list.safetensors": packed(peft, metadata={"lora_adapter_metadata": "[]"}),
        "metadata_deep.safetensors": packed(peft, metadata={"lora_adapter_metadata": "[" * 3_000 + "]" * 3_000}),
        "metadata_alpha_nan.safetensors": told(**usual | {"unet.lora_alpha": float("nan")}),
        "metadata_rank_zero.safetensors": told(**usual | {"unet.r": 0}),
        "metadata_rank_huge.safetensors": told(**usual | {"unet.r": 10**9}),
        "metadata_of_newer_keys.safetensors": told(**usual | {"unet.of_tomorrow": True}),
        "metadata_of_no_part.safetensors": told(r=2, lora_alpha=2),
        "metadata_pattern_is_a_list.safetensors": told(**usual | {"unet.rank_pattern": [["x", 2]]}),
        "bundle_embedding.safetensors": packed({**kohya, "bundle_emb.word.string_to_param.*": noise(2, 16)}),
        "bundle_embedding_of_no_name.safetensors": packed({**kohya, "bundle_emb.": noise(2, 16)}),
    }  # fmt: skip


def _embeddings() -> dict[str, bytes]:
    return {
        "a1111.safetensors": packed({"emb_params": noise(2, 16)}),
        "diffusers.safetensors": packed({"<word>": noise(16)}),
        "sdxl.safetensors": packed({"clip_l": noise(2, 16), "clip_g": noise(2, 20)}),
        "sdxl_lengths_differ.safetensors": packed({"clip_l": noise(2, 16), "clip_g": noise(3, 20)}),
        "width_of_another_base.safetensors": packed({"emb_params": noise(2, 999)}),
        "of_100_vectors.safetensors": packed({"emb_params": noise(100, 4)}),
        "of_no_vectors.safetensors": packed({"emb_params": noise(0, 16)}),
        "three_axes.safetensors": packed({"emb_params": noise(2, 2, 16)}),
        "scalar.safetensors": packed({"emb_params": np.array(1.0, np.float32)}),
        "nan.safetensors": packed({"emb_params": np.full((2, 16), np.nan, np.float32)}),
        "whole_numbers.safetensors": packed({"emb_params": np.ones((2, 16), np.int64)}, types={"emb_params": "I64"}),
        "word_of_spaces.safetensors": packed({"a photo of": noise(16)}),
        "word_known.safetensors": packed({"dog": noise(16)}),
        "two_words.safetensors": packed({"<one>": noise(16), "<two>": noise(16)}),
        "an adapter.safetensors": pair(noise(2, 8), noise(8, 2)),
    }  # fmt: skip
