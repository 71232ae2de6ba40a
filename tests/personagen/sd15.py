"""A Stable Diffusion 1.5 inpainting model of the published structure with tiny widths, and its single-file layout."""

import re
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file

WIDTHS = (32, 64, 128, 128)


def tiny_unet(*, seed: int = 0, in_channels: int = 9) -> UNet2DConditionModel:
    torch.manual_seed(seed)
    return UNet2DConditionModel(
        in_channels=in_channels, out_channels=4, block_out_channels=WIDTHS, cross_attention_dim=16, attention_head_dim=8
    ).eval()


def tiny_vae(*, seed: int = 0) -> AutoencoderKL:
    torch.manual_seed(seed)
    config: dict[str, Any] = {
        "block_out_channels": WIDTHS, "down_block_types": ("DownEncoderBlock2D",) * 4, "layers_per_block": 2,
        "up_block_types": ("UpDecoderBlock2D",) * 4, "latent_channels": 4, "scaling_factor": 0.18215,
    }  # fmt: skip
    return AutoencoderKL(**config).eval()


def write_base(folder: Path) -> Path:
    """Write the base as a folder in diffusers' layout, with the scheduler that Stable Diffusion 1.5 has."""
    tiny_unet().save_pretrained(folder / "unet")
    tiny_vae().save_pretrained(folder / "vae")
    DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                  set_alpha_to_one=False, steps_offset=1).save_pretrained(folder / "scheduler")  # fmt: skip
    return folder


RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
          "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}  # fmt: skip
OUTER = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
         "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}  # fmt: skip


def _unet_name(name: str) -> str:
    stem, part = name.rsplit(".", 1)
    if stem in OUTER:
        return f"{OUTER[stem]}.{part}"
    block = re.match(r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.(.*)", name)
    if block:
        where, b, kind, r, rest = block[1], int(block[2]), block[3], int(block[4]), block[5]
        if kind.endswith("samplers"):
            rest = rest.replace("conv", "op" if where == "down" else "conv")
            return f"input_blocks.{3 * b + 3}.0.{rest}" if where == "down" else (
                f"output_blocks.{3 * b + 2}.{1 if b == 0 else 2}.{rest}")  # fmt: skip
        place = f"input_blocks.{1 + 3 * b + r}" if where == "down" else f"output_blocks.{3 * b + r}"
    else:
        middle = re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name)
        assert middle, name
        kind, rest = middle[1], middle[3]
        place = f"middle_block.{1 if kind == 'attentions' else 2 * int(middle[2])}"
        return f"{place}.{_inner(kind, rest)}"
    return f"{place}.{1 if kind == 'attentions' else 0}.{_inner(kind, rest)}"


def _inner(kind: str, rest: str) -> str:
    if kind == "attentions":
        return rest
    first, _, last = rest.partition(".")
    return f"{RESNET[first]}.{last}"


def vae_name(name: str) -> str:
    name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{3 - int(m[1])}.block.{m[2]}", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("conv_shortcut", "nin_shortcut")
    for new, old in (("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")):
        name = name.replace(f"attn_1.{new}", f"attn_1.{old}")
    return name.replace("conv_norm_out", "norm_out")


def write_single_file(path: Path) -> Path:
    """Write the base as one file in the layout that Stable Diffusion was first published in."""
    tensors = {f"model.diffusion_model.{_unet_name(k)}": v for k, v in tiny_unet().state_dict().items()}
    for name, value in tiny_vae().state_dict().items():
        dense = ".attentions." in name and name.endswith("weight") and value.ndim == 2
        tensors[f"first_stage_model.{vae_name(name)}"] = value[:, :, None, None] if dense else value
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    return path
