"""Models of the structure of Stable Diffusion 1.5, 2 and XL with small widths and random weights, as folder and file.

Names of the single file are written down here apart from what reads them.
"""

import re
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from personagen.pretrain.save import write_tokenizer_files
from personagen.quiet import quiet
from tests.personagen.sd15 import RESNET, vae_name
from tests.personagen.subject.parts import tokenizer

FAMILIES = ("sd1", "sd2", "sdxl")
WIDTHS = {"sd1": (32, 64, 128, 128), "sd2": (32, 64, 128, 128), "sdxl": (32, 64, 128)}
LAYERS = {"sd1": 2, "sd2": 23, "sdxl": 2}
SCHEDULES = {"sd1": PNDMScheduler, "sd2": DDIMScheduler, "sdxl": EulerDiscreteScheduler}


def unet(family: str, *, in_channels: int = 4) -> UNet2DConditionModel:
    xl, linear, widths = family == "sdxl", family != "sd1", WIDTHS[family]
    settings: dict[str, Any] = {"attention_head_dim": [max(1, w // 64) for w in widths]} if linear else {}
    if xl:
        settings |= {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                     "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                     "transformer_layers_per_block": (1, 2, 10), "addition_embed_type": "text_time",
                     "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 32 + 6 * 256}  # fmt: skip
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        block_out_channels=widths,
        layers_per_block=2,
        cross_attention_dim=128 if xl else 64,
        use_linear_projection=linear,
        **settings,
    )


def vae(family: str) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(32, 64, 128, 128), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=4, sample_size=64,
        scaling_factor=0.13025 if family == "sdxl" else 0.18215,
    )  # fmt: skip


def text_encoder(family: str, *, second: bool = False) -> CLIPTextModel | CLIPTextModelWithProjection:
    words, opened = tokenizer(), second or family == "sd2"
    config = CLIPTextConfig(
        vocab_size=len(words), hidden_size=64, intermediate_size=96, num_attention_heads=1,
        num_hidden_layers=LAYERS[family], max_position_embeddings=words.model_max_length, projection_dim=32,
        hidden_act="gelu" if opened else "quick_gelu", bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
    )  # fmt: skip
    return CLIPTextModelWithProjection(config) if second else CLIPTextModel(config)


def words(kind: str) -> Any:
    found = tokenizer()
    if kind == "openclip":
        found.pad_token = "!"
    return found


def pipeline(family: str, *, seed: int = 0, prediction: str = "epsilon") -> Any:
    """Build the pipeline of a family; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        settings: dict[str, Any] = {"set_alpha_to_one": False} if family != "sdxl" else {}
        settings |= {"skip_prk_steps": True} if family == "sd1" else {}
        settings |= {"clip_sample": False} if family == "sd2" else {}
        parts: dict[str, Any] = {
            "unet": unet(family), "vae": vae(family), "text_encoder": text_encoder(family),
            "tokenizer": words("openclip" if family == "sd2" else "clip"),
            "scheduler": SCHEDULES[family](beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                                           steps_offset=1, timestep_spacing="leading", prediction_type=prediction,
                                           **settings),
        }  # fmt: skip
        if family == "sdxl":
            second = {"text_encoder_2": text_encoder(family, second=True), "tokenizer_2": words("openclip")}
            pipe: Any = StableDiffusionXLPipeline(**parts, **second, add_watermarker=False)
        else:
            pipe = StableDiffusionPipeline(
                **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
            )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def write_folder(family: str, folder: Path, **settings: Any) -> Path:
    """Write a family's pipeline in diffusers' layout."""
    pipe = pipeline(family, **settings)
    with quiet():
        pipe.save_pretrained(folder)
    for name in ("tokenizer", "tokenizer_2"):
        if (folder / name).is_dir():
            write_tokenizer_files(getattr(pipe, name), folder / name)
    return folder


def write_file(family: str, path: Path, *, metadata: dict[str, str] | None = None, **settings: Any) -> Path:
    """Write a family's pipeline as one file in the layout it was published in."""
    pipe = pipeline(family, **settings)
    tensors = unet_tensors(pipe.unet) | vae_tensors(pipe.vae)
    if family == "sd1":
        tensors |= clip_tensors(pipe.text_encoder, "cond_stage_model.transformer.text_model.")
    elif family == "sd2":
        tensors |= openclip_tensors(pipe.text_encoder, "cond_stage_model.model.")
        extra = {name.replace("resblocks.0.", "resblocks.23."): value.clone() for name, value in tensors.items()
                 if "resblocks.0." in name}  # fmt: skip
        tensors |= extra | {"cond_stage_model.model.text_projection": torch.zeros(64, 64)}
    else:
        tensors |= clip_tensors(pipe.text_encoder, "conditioner.embedders.0.transformer.text_model.")
        tensors |= openclip_tensors(pipe.text_encoder_2, "conditioner.embedders.1.model.")
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata=metadata)
    return path


def unet_tensors(model: UNet2DConditionModel) -> dict[str, Tensor]:
    return {f"model.diffusion_model.{_unet_name(name, model)}": value for name, value in model.state_dict().items()}


OUTER = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
         "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
         "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}  # fmt: skip


def _unet_name(name: str, model: UNet2DConditionModel) -> str:
    stem, part = name.rsplit(".", 1)
    if stem in OUTER:
        return f"{OUTER[stem]}.{part}"
    block = re.match(r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.(.*)", name)
    if block is None:
        middle = re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name)
        assert middle, name
        place = 1 if middle[1] == "attentions" else 2 * int(middle[2])
        return f"middle_block.{place}.{_inner(middle[1], middle[3])}"
    where, b, kind, r, rest = block[1], int(block[2]), block[3], int(block[4]), block[5]
    if where == "down":
        place = 3 * b + 3 if kind == "downsamplers" else 1 + 3 * b + r
        end = f"1.{rest}" if kind == "attentions" else f"0.{_inner(kind, rest).replace('conv.', 'op.')}"
        return f"input_blocks.{place}.{end}"
    attends = "CrossAttn" in model.config["up_block_types"][b]
    if kind == "upsamplers":
        return f"output_blocks.{3 * b + 2}.{2 if attends else 1}.{rest}"
    return f"output_blocks.{3 * b + r}.{1 if kind == 'attentions' else 0}.{_inner(kind, rest)}"


def _inner(kind: str, rest: str) -> str:
    if kind != "resnets":
        return rest
    first, _, last = rest.partition(".")
    return f"{RESNET[first]}.{last}"


def vae_tensors(model: AutoencoderKL, prefix: str = "first_stage_model.") -> dict[str, Tensor]:
    tensors = {}
    for name, value in model.state_dict().items():
        dense = ".attentions." in name and name.endswith("weight") and value.ndim == 2
        tensors[f"{prefix}{vae_name(name)}"] = value[:, :, None, None] if dense else value
    return tensors


def clip_tensors(model: Any, prefix: str) -> dict[str, Tensor]:
    tensors = {f"{prefix}{name}": value for name, value in model.state_dict().items()}
    length = model.config.max_position_embeddings
    return tensors | {f"{prefix}embeddings.position_ids": torch.arange(length)[None]}


OPENED = (("attn.out_proj", "self_attn.out_proj"), ("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"),
          ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2"))  # fmt: skip


def openclip_tensors(model: Any, prefix: str) -> dict[str, Tensor]:
    weights = {name.removeprefix("text_model."): value for name, value in model.state_dict().items()}
    found = {"positional_embedding": weights["embeddings.position_embedding.weight"],
             "token_embedding.weight": weights["embeddings.token_embedding.weight"],
             "ln_final.weight": weights["final_layer_norm.weight"], "ln_final.bias": weights["final_layer_norm.bias"],
             "logit_scale": torch.tensor(4.6)}  # fmt: skip
    if "text_projection.weight" in weights:
        found["text_projection"] = weights["text_projection.weight"].T
    for layer in range(model.config.num_hidden_layers):
        old, new = f"encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for end in ("weight", "bias"):
            three = [weights[f"{old}self_attn.{part}_proj.{end}"] for part in "qkv"]
            found[f"{new}attn.in_proj_{end}"] = torch.cat(three)
            for theirs, ours in OPENED:
                found[f"{new}{theirs}.{end}"] = weights[f"{old}{ours}.{end}"]
    return {f"{prefix}{name}": value for name, value in found.items()}


def write_inpainting(family: str, folder: Path) -> tuple[Path, Path]:
    """Write an inpainting base of nine channels, as a folder and as a file without text encoders."""
    torch.manual_seed(0)
    wide, encoder = unet(family, in_channels=9), vae(family)
    wide.save_pretrained(folder / "unet")
    encoder.save_pretrained(folder / "vae")
    DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                  set_alpha_to_one=False, steps_offset=1).save_pretrained(folder / "scheduler")  # fmt: skip
    file = folder.with_suffix(".safetensors")
    tensors = unet_tensors(wide) | vae_tensors(encoder)
    save_file({name: value.contiguous() for name, value in tensors.items()}, file)
    return folder, file
