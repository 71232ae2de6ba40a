"""Make a try-on pipeline from a Stable Diffusion 1.5 inpainting base and weights published or trained on top of it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

from recsys.errors import ModelError, shown

from ..adapters.read import read_adapter
from ..devices import CPU, Compute
from ..quiet import quiet
from ..schedulers import build_scheduler
from ..tryon.attention import load_attention
from ..tryon.config import BaseConfig
from ..tryon.pipeline import TryOnPipeline
from .config import refuse_pickle
from .hub import from_hub, is_hub_id
from .single_file import open_single, read_unet, read_vae
from .text2image import check_vae, read_any_vae


def load_tryon_base(config: BaseConfig, *, compute: Compute = CPU) -> TryOnPipeline:
    """Put a try-on pipeline together from `config`, on a CPU in float32 unless `compute` says otherwise.

    Raises:
        ModelError: a part is missing, damaged or does not fit; it names the part.
    """
    dtype, file = compute.torch_dtype, Path(config.base)
    with quiet():
        if file.suffix == ".safetensors":
            unet, vae, schedule = _from_single_file(file, config, dtype)
        else:
            unet, vae, schedule = _from_layout(config, dtype)
        if config.attention is not None:
            load_attention(unet, config.attention)
        if config.lora is not None:
            load_unet_lora(unet, config.lora, weight=config.lora_weight)
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


def load_unet_lora(unet: UNet2DConditionModel, source: str | Path, *, weight: float = 1.0) -> None:
    """Lay a LoRA, as `UNet2DConditionModel.save_lora_adapter` or kohya writes it, over a UNet, at a strength.

    source: a .safetensors file, or a folder with pytorch_lora_weights.safetensors.

    Raises:
        ModelError: the file is anything else, or does not fit.
    """
    file = Path(source) / "pytorch_lora_weights.safetensors" if Path(source).is_dir() else Path(source)
    try:
        adapter = read_adapter(file, SimpleNamespace(unet=unet))
        if strangers := sorted(name for name in adapter.tensors if not name.startswith("unet.")):
            raise ModelError(f"the LoRA {file} has weights that this UNet has no place for, such as {strangers[0]}")
        tensors = {name.removeprefix("unet."): value for name, value in adapter.tensors.items()}
        names = set(tensors)
        unet.load_lora_adapter(tensors, prefix=None, metadata=adapter.configs["unet"])
        if weight != 1:
            cast(Any, unet).set_adapters(list(cast(Any, unet).peft_config), [weight])
    except ModelError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, IndexError) as error:
        raise ModelError(
            f"the LoRA {file} does not fit this UNet or cannot be read ({shown(error, most=200)})"
        ) from error
    loaded = {name.replace(".default_0", "").replace(".default", "") for name, _ in unet.named_parameters()}
    if unused := sorted(names - loaded):
        raise ModelError(f"the LoRA {file} has weights that this UNet has no place for, such as {unused[0]}")


def _from_single_file(file: Path, config: BaseConfig, dtype: torch.dtype) -> tuple[Any, Any, dict]:
    found = open_single(file)
    unet = read_unet(found, dtype=dtype)
    vae = read_vae(found, dtype=dtype) if config.vae is None else _other_vae(config, unet, dtype)
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "set_alpha_to_one": False}
    return unet, vae, {**DDIMScheduler(**schedule, steps_offset=1).config}


def _other_vae(config: BaseConfig, unet: UNet2DConditionModel, dtype: torch.dtype) -> AutoencoderKL:
    xl = unet.config["addition_embed_type"] == "text_time"
    vae = read_any_vae(str(config.vae), xl=xl, dtype=dtype, allow_download=config.allow_download)
    check_vae(vae, unet.config["out_channels"], str(config.vae))
    return vae


def _from_layout(config: BaseConfig, dtype: torch.dtype) -> tuple[UNet2DConditionModel, AutoencoderKL, dict]:
    unet = _part(UNet2DConditionModel, config, "unet", dtype=dtype)
    if config.vae is None:
        vae = _part(AutoencoderKL, config, "vae", dtype=dtype)
    else:
        vae = _other_vae(config, unet, dtype)
    return unet, vae, dict(_part(DDIMScheduler, config, "scheduler").config)


def _part(kind: Any, config: BaseConfig, subfolder: str, **settings: Any) -> Any:
    """Call from_pretrained safely; whatever it finds wrong becomes a ModelError."""
    if hasattr(kind, "from_single_file") or kind is StableDiffusionSafetyChecker:
        settings["use_safetensors"] = True
    folder: str | Path = config.base
    refuse_pickle(folder)
    if not Path(folder).is_dir() and is_hub_id(folder):
        folder = from_hub(folder, allow_download=config.allow_download)
    try:
        return kind.from_pretrained(str(folder), subfolder=subfolder, local_files_only=True, **settings)
    except Exception as error:  # diffusers, safetensors and huggingface_hub each have errors of their own
        remedy = "give a folder in diffusers' layout, a .safetensors file, or allow_download for a hub id"
        raise ModelError(
            f"{subfolder} of {config.base} cannot be loaded ({type(error).__name__}: {error}); {remedy}"
        ) from error


def _safety(config: BaseConfig, dtype: torch.dtype) -> dict[str, Any]:
    from transformers import CLIPImageProcessor  # says a line on import where torchvision is missing

    return {
        "safety_checker": _part(StableDiffusionSafetyChecker, config, "safety_checker", dtype=dtype),
        "feature_extractor": _part(CLIPImageProcessor, config, "feature_extractor"),
    }
