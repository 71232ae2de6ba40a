"""Make a try-on pipeline from a Stable Diffusion 1.5 inpainting base and weights published or trained on top of it."""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from safetensors import SafetensorError, safe_open

from recsys.errors import ModelError

from ..devices import CPU, Compute
from ..tryon.attention import load_attention
from ..tryon.config import BaseConfig
from ..tryon.pipeline import TryOnPipeline
from ..tryon.scheduler import build_scheduler
from .quiet import quiet

LDM_UNET = "model.diffusion_model."
LDM_VAE = "first_stage_model."
"""Prefixes of a single file's tensors in the layout that Stable Diffusion was published in."""


def load_tryon_base(config: BaseConfig, *, compute: Compute = CPU) -> TryOnPipeline:
    """Put a try-on pipeline together from `config`, on a CPU in float32 unless `compute` says otherwise.

    Raises:
        ModelError: a part is missing, damaged or does not fit; it names the part.
    """
    dtype, file = compute.torch_dtype, Path(config.base)
    with quiet():
        if file.suffix == ".safetensors":
            unet, vae, schedule = _from_single_file(file, dtype)
        else:
            unet, vae, schedule = _from_layout(config, dtype)
        if config.vae is not None:
            vae = _part(AutoencoderKL, config.vae, None, config, dtype=dtype)
        if config.attention is not None:
            load_attention(unet, config.attention)
        if config.lora is not None:
            load_unet_lora(unet, config.lora)
        checks = _safety(config, dtype) if config.safety_checker else {}
        pipe = TryOnPipeline(
            vae,
            unet,
            build_scheduler(config.scheduler, schedule),
            variant=config.variant,
            cross_attention=config.cross_attention,
            height=config.height,
            width=config.width,
            eta=config.eta if config.scheduler == "ddim" else 0.0,
            **checks,
        )
    return compute.place(pipe)


def load_unet_lora(unet: UNet2DConditionModel, source: str | Path) -> None:
    """Lay a LoRA, as `UNet2DConditionModel.save_lora_adapter` writes it, over a UNet.

    source: a .safetensors file, or a folder with pytorch_lora_weights.safetensors.

    Raises:
        ModelError: the file is anything else, or does not fit.
    """
    from safetensors.torch import load_file

    file = Path(source) / "pytorch_lora_weights.safetensors" if Path(source).is_dir() else Path(source)
    try:
        tensors = load_file(file)
        names = {name.removeprefix("unet.") for name in tensors}
        unet.load_lora_adapter({name.removeprefix("unet."): value for name, value in tensors.items()}, prefix=None)
    except (OSError, SafetensorError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(f"the LoRA {file} does not fit this UNet or cannot be read ({error})") from error
    loaded = {name.replace(".default_0", "").replace(".default", "") for name, _ in unet.named_parameters()}
    if unused := sorted(names - loaded):
        raise ModelError(f"the LoRA {file} has weights that this UNet has no place for, such as {unused[0]}")


def _from_layout(config: BaseConfig, dtype: torch.dtype) -> tuple[UNet2DConditionModel, AutoencoderKL, dict]:
    unet = _part(UNet2DConditionModel, config.base, "unet", config, dtype=dtype)
    vae = _part(AutoencoderKL, config.base, "vae", config, dtype=dtype)
    return unet, vae, dict(_part(DDIMScheduler, config.base, "scheduler", config).config)


def _part(kind: Any, source: str, subfolder: str | None, config: BaseConfig, **settings: Any) -> Any:
    """Call from_pretrained safely; whatever it finds wrong becomes a ModelError."""
    if hasattr(kind, "from_single_file") or kind is StableDiffusionSafetyChecker:
        settings["use_safetensors"] = True
    try:
        return kind.from_pretrained(
            source, subfolder=subfolder or "", local_files_only=not config.allow_download, **settings
        )
    except Exception as error:  # diffusers, safetensors and huggingface_hub each have errors of their own
        remedy = "give a folder in diffusers' layout, a .safetensors file, or allow_download for a hub id"
        raise ModelError(
            f"{subfolder or 'The model'} of {source} cannot be loaded ({type(error).__name__}: {error}); {remedy}"
        ) from error


def _safety(config: BaseConfig, dtype: torch.dtype) -> dict[str, Any]:
    from transformers import CLIPImageProcessor  # says a line on import where torchvision is missing

    return {
        "safety_checker": _part(StableDiffusionSafetyChecker, config.base, "safety_checker", config, dtype=dtype),
        "feature_extractor": _part(CLIPImageProcessor, config.base, "feature_extractor", config),
    }


def _from_single_file(file: Path, dtype: torch.dtype) -> tuple[UNet2DConditionModel, AutoencoderKL, dict]:
    """Read a single file in Stable Diffusion's first layout; its sizes are read off its tensors."""
    if not file.is_file():
        raise ModelError(f"there is no model at {file}; give the path of a .safetensors file")
    try:
        with safe_open(file, "pt") as opened:
            shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}
        parts: list[Any] = []
        for kind, config in ((UNet2DConditionModel, _unet_config(shapes)), (AutoencoderKL, _vae_config(shapes))):
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "config.json").write_text(json.dumps(config))
                parts.append(
                    kind.from_single_file(str(file), config=folder, subfolder="", dtype=dtype, local_files_only=True)
                )
    except KeyError as error:
        raise ModelError(f"{file} is not a Stable Diffusion 1.5 inpainting file: it lacks {error}") from error
    except NotImplementedError as error:  # a tensor that was not filled cannot be moved
        raise ModelError(f"{file} lacks some of the model's tensors ({error}); copy it again") from error
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"{file} cannot be read ({type(error).__name__}: {error}); copy it again") from error
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "set_alpha_to_one": False}
    return parts[0], parts[1], {**DDIMScheduler(**schedule, steps_offset=1).config}


def _unet_config(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Sizes of Stable Diffusion 1.x's UNet; its first width and the width of the text are read off."""
    first = shapes[f"{LDM_UNET}input_blocks.0.0.weight"]
    text = shapes[f"{LDM_UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"][1]
    return {
        "_class_name": "UNet2DConditionModel",
        "in_channels": first[1],
        "out_channels": shapes[f"{LDM_UNET}out.2.weight"][0],
        "block_out_channels": [first[0] * factor for factor in (1, 2, 4, 4)],
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        "layers_per_block": 2,
        "cross_attention_dim": text,
        "attention_head_dim": 8,
        "sample_size": 64,
    }


def _vae_config(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Sizes of Stable Diffusion 1.x's autoencoder; its first width and its latent channels are read off."""
    first = shapes[f"{LDM_VAE}encoder.conv_in.weight"][0]
    return {
        "_class_name": "AutoencoderKL",
        "block_out_channels": [first * factor for factor in (1, 2, 4, 4)],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 2,
        "latent_channels": shapes[f"{LDM_VAE}post_quant_conv.weight"][1],
        "sample_size": 512,
        "scaling_factor": 0.18215,
    }
