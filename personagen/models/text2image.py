"""Put a text-to-image pipeline together from a single file, and lay over a model what one has besides."""

from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, StableDiffusionPipeline, StableDiffusionXLPipeline
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from recsys.errors import ModelError

from ..adapters.embeddings import load_embedding
from ..adapters.lora import load_adapter, use_adapters
from ..schedulers import use_sampler
from .config import OwnWeights, lora_strengths, refuse_pickle
from .hub import from_hub, is_hub_id
from .single_file import (
    CLIP,
    HEAD,
    OPENCLIP,
    VAE,
    SingleFile,
    open_single,
    read_schedule,
    read_unet,
    read_vae,
    read_vae_file,
    reading,
    text_tensors,
)
from .tokenizers import read_tokenizer


def read_text2image(path: Path, own: OwnWeights, *, dtype: torch.dtype) -> Any:
    """Read a whole pipeline from a single file; `own` says where its words come from, and names other parts.

    Raises:
        ModelError: a part is missing, damaged or does not fit.
    """
    found = open_single(path)
    channels = found.shapes["model.diffusion_model.input_blocks.0.0.weight"][1]
    if channels != 4:
        raise ModelError(f"{path} takes {channels} channels: it repaints pictures and does not paint from words; "
                         "use it for try-on as --base.base, and a model of 4 channels here")  # fmt: skip
    prediction = found.predicts(own.prediction)
    texts = _read_texts(found, own.tokenizer, dtype)
    parts: dict[str, Any] = {
        "unet": read_unet(found, prediction=prediction, dtype=dtype),
        "vae": read_vae(found, dtype=dtype) if own.vae is None or found.has(VAE) else None,
        "scheduler": read_schedule(found, prediction),
        **texts,
    }
    if parts["vae"] is None:
        parts["vae"] = read_any_vae(str(own.vae), xl=found.family == "sdxl", dtype=dtype)
    if found.family == "sdxl":
        return StableDiffusionXLPipeline(**parts, add_watermarker=False)
    return StableDiffusionPipeline(**parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def _read_texts(found: SingleFile, tokenizer: str | None, dtype: torch.dtype) -> dict[str, Any]:
    """Read the text encoders and their tokenizers, under the names of the pipeline's parts."""
    clip = next((prefix for prefix in CLIP if found.has(f"{prefix}embeddings.")), None)
    openclip = next((prefix for prefix in OPENCLIP if found.has(prefix)), None)
    wanted = {"sd1": [("clip", clip)], "sd2": [("openclip", openclip)]}.get(
        found.family, [("clip", clip), ("openclip", openclip)]
    )
    parts: dict[str, Any] = {}
    for number, (published, prefix) in enumerate(wanted):
        end = "_2" if number else ""
        if prefix is None:
            raise ModelError(
                f"{found.path} has no {'second ' if number else ''}text encoder of its family ({found.family}); give a "
                "whole checkpoint, not a pruned one or a refiner"
            )
        with reading(found.path):
            tensors = text_tensors(found, prefix, published=published)
            words = tensors["embeddings.token_embedding.weight"].shape[0]
            length = tensors["embeddings.position_embedding.weight"].shape[0]
            parts[f"tokenizer{end}"] = read_tokenizer(
                tokenizer, kind=published, length=length, rows=words, second=bool(number)
            )
            parts[f"text_encoder{end}"] = _text_encoder(
                tensors, parts[f"tokenizer{end}"], published, projects=bool(number), dtype=dtype
            )
    return parts


def _text_encoder(
    tensors: dict[str, torch.Tensor], tokenizer: Any, published: str, *, projects: bool, dtype: torch.dtype
) -> Any:
    """Build a text encoder of the size of its tensors, under transformers' names, and fill it strictly."""
    if not projects:
        tensors.pop("text_projection.weight", None)
    words, width = tensors["embeddings.token_embedding.weight"].shape
    layers = {int(name.split(".")[2]) for name in tensors if name.startswith("encoder.layers.")}
    config = CLIPTextConfig(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=tensors["encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=len(layers),
        num_attention_heads=max(1, width // HEAD),
        max_position_embeddings=tensors["embeddings.position_embedding.weight"].shape[0],
        projection_dim=tensors["text_projection.weight"].shape[0] if projects else width,
        hidden_act="quick_gelu" if published == "clip" else "gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with init_empty_weights(include_buffers=False):
        encoder = (CLIPTextModelWithProjection if projects else CLIPTextModel)(config)
    inside = "text_model." if projects else ""
    named = {name if name.startswith("text_proj") else f"{inside}{name}": value for name, value in tensors.items()}
    encoder.load_state_dict({name: value.to(dtype) for name, value in named.items()}, strict=True, assign=True)
    return encoder.eval().requires_grad_(False)


def read_any_vae(source: str, *, xl: bool, dtype: torch.dtype, allow_download: bool = False) -> AutoencoderKL:
    """Read an autoencoder from a folder (its own, or a pipeline's), a .safetensors file or, where allowed, the hub.

    Raises:
        ModelError: it is missing, damaged or pickled.
    """
    refuse_pickle(source)
    place = Path(source)
    if place.suffix == ".safetensors":
        return read_vae_file(place, xl=xl, dtype=dtype)
    if not place.is_dir() and is_hub_id(source):
        place = from_hub(source, allow_download=allow_download)
    folder = place / "vae" if (place / "vae").is_dir() else place
    try:
        return AutoencoderKL.from_pretrained(str(folder), dtype=dtype, use_safetensors=True, local_files_only=True)
    except Exception as error:  # diffusers and safetensors each have errors of their own
        raise ModelError(
            f"the autoencoder in {folder} cannot be loaded ({type(error).__name__}: {error}); give a folder with "
            "config.json and .safetensors weights, or a .safetensors file"
        ) from error


def lay_over(pipe: Any, own: OwnWeights) -> None:
    """Give a pipeline another autoencoder, words, LoRAs and sampler, as `own` says; nothing else is changed.

    Raises:
        ConfigError, ModelError: a file is damaged, or made for another base model.
    """
    if own.vae is not None:
        xl = hasattr(pipe, "text_encoder_2")
        vae = read_any_vae(own.vae, xl=xl, dtype=pipe.unet.dtype, allow_download=own.allow_download)
        check_vae(vae, pipe.unet.config["in_channels"], own.vae)
        pipe.register_modules(vae=vae)
        pipe.register_to_config()
    for file in own.embeddings:
        load_embedding(pipe, file)
    strengths = lora_strengths(own)
    for name, file in zip(strengths, own.loras):
        refuse_pickle(file)
        load_adapter(pipe, file, name=name)
    if strengths:
        use_adapters(pipe, strengths)
    use_sampler(pipe, own.scheduler)


def check_vae(vae: AutoencoderKL, channels: int, source: str) -> None:
    """Refuse an autoencoder whose latents the UNet does not paint.

    Raises:
        ModelError: what the message names.
    """
    if vae.config["latent_channels"] != channels:
        raise ModelError(f"the autoencoder {source} has {vae.config['latent_channels']} latent channels and the UNet "
                         f"paints {channels}; give one of the same family")  # fmt: skip
