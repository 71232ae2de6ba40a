"""Single .safetensors files in the layout that Stable Diffusion 1.x, 2.x and XL were published in, read offline.

Such a file holds weights alone. Sizes are read off its tensors; words come from a tokenizer of CLIP's vocabulary, and
the noise schedule is the one that its family was published with.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import SafetensorError, safe_open
from torch import Tensor

from recsys.errors import ModelError, shown

Shapes = Mapping[str, tuple[int, ...]]
UNET = "model.diffusion_model."
VAE = "first_stage_model."
CLIP = ("conditioner.embedders.0.transformer.text_model.", "cond_stage_model.transformer.text_model.",
        "cond_stage_model.transformer.")  # fmt: skip
OPENCLIP = ("conditioner.embedders.1.model.", "cond_stage_model.model.")
HEAD = 64
"""Width of a head in CLIP's text encoders and in the UNets of Stable Diffusion 2 and XL."""
SCHEDULES: dict[str, dict[str, Any]] = {
    "sd1": {"_class_name": "PNDMScheduler", "skip_prk_steps": True, "set_alpha_to_one": False},
    "sd2": {"_class_name": "DDIMScheduler", "clip_sample": False, "set_alpha_to_one": False},
    "sdxl": {"_class_name": "EulerDiscreteScheduler"},
}
"""Samplers of the folders published for each family; all begin their steps one after the last."""
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
         "timestep_spacing": "leading"}  # fmt: skip


@dataclass(frozen=True)
class SingleFile:
    """What the head of a file says: the shape of every tensor, and its metadata."""

    path: Path
    shapes: Shapes
    metadata: Mapping[str, str]

    @property
    def family(self) -> Literal["sd1", "sd2", "sdxl"]:
        """Which Stable Diffusion the UNet belongs to."""
        if f"{UNET}label_emb.0.0.weight" in self.shapes:
            return "sdxl"
        return "sd2" if len(self.shapes[self._first("proj_in.weight")]) == 2 else "sd1"

    def _first(self, end: str) -> str:
        return next(name for name in self.shapes if name.startswith(UNET) and name.endswith(end))

    def has(self, prefix: str) -> bool:
        """Tell whether any tensor's name begins so."""
        return any(name.startswith(prefix) for name in self.shapes)

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Read the tensors whose names begin so, under their whole names."""
        with safe_open(self.path, "pt") as opened:
            return {name: opened.get_tensor(name) for name in self.shapes if name.startswith(prefix)}

    def predicts(self, asked: str | None) -> str:
        """Return what the UNet predicts, epsilon or v_prediction: as asked, else as the file says, else the usual.

        Raises:
            ModelError: Stable Diffusion 2, of which there are both, and the file is silent.
        """
        stated = self.metadata.get("modelspec.prediction_type", self.metadata.get("modelspec.predict_key", ""))
        if asked is not None:
            return asked
        if "v_pred" in self.shapes or stated.lower().startswith("v"):
            return "v_prediction"
        if self.family == "sd2" and not stated:
            raise ModelError(
                f"{self.path} is a Stable Diffusion 2 and does not say what it predicts; add --prediction v_prediction "
                "(made for 768 pixels) or --prediction epsilon (for 512)"
            )
        return "epsilon"


def open_single(path: str | Path) -> SingleFile:
    """Read the head of a file.

    Raises:
        ModelError: it is missing or damaged, or no Stable Diffusion.
    """
    file = Path(path)
    if not file.is_file():
        raise ModelError(f"there is no model at {file}; give the path of a .safetensors file or of a folder")
    with reading(file):
        with safe_open(file, "pt") as opened:
            shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}
            found = SingleFile(file, shapes, opened.metadata() or {})
        unet_config(shapes)
    return found


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Say what is wrong with a file, in one way, whichever library found it.

    Raises:
        ModelError: instead of what came.
    """
    try:
        yield
    except ModelError:
        raise
    except (KeyError, StopIteration) as error:
        lacks = str(error) or "layers of a UNet"
        raise ModelError(
            f"{file} is no Stable Diffusion 1.x, 2.x or XL in the published layout: it lacks {lacks}; give such a "
            "file, or a folder in diffusers' layout"
        ) from error
    except NotImplementedError as error:  # a tensor that was not filled cannot be moved
        raise ModelError(
            f"{file} lacks some of the model's tensors ({shown(error, most=200)}); copy it again"
        ) from error
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"{file} cannot be read ({type(error).__name__}: {error}); copy it again") from error


def read_unet(found: SingleFile, *, prediction: str = "epsilon", dtype: torch.dtype) -> UNet2DConditionModel:
    """Read a file's UNet.

    Raises:
        ModelError: it is damaged or of another structure.
    """
    config = unet_config(found.shapes) | {"sample_size": _cells(found, prediction)}
    with reading(found.path):
        return _convert(UNet2DConditionModel, found.tensors(UNET), config, dtype)


def read_vae(found: SingleFile, *, dtype: torch.dtype) -> AutoencoderKL:
    """Read a file's autoencoder.

    Raises:
        ModelError: it is damaged, or the file has none.
    """
    if not found.has(VAE):
        raise ModelError(f"{found.path} has no autoencoder; name one with --vae (--base.vae for try-on)")
    with reading(found.path):
        config = vae_config(found.shapes, VAE, xl=found.family == "sdxl")
        return _convert(AutoencoderKL, found.tensors(VAE), config, dtype)


def read_vae_file(path: str | Path, *, xl: bool, dtype: torch.dtype) -> AutoencoderKL:
    """Read an autoencoder's own file, in the published or diffusers' layout. xl: it is to serve an SDXL.

    Raises:
        ModelError: it is missing, damaged or something else.
    """
    file = Path(path)
    if not file.is_file():
        raise ModelError(f"there is no autoencoder at {file}; give a folder or a .safetensors file")
    with reading(file):
        with safe_open(file, "pt") as opened:
            shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}
        if not any(name.removeprefix(VAE) == "encoder.conv_in.weight" for name in shapes):
            raise ModelError(f"{file} holds no autoencoder of Stable Diffusion; give another file or a folder")
        prefix = VAE if f"{VAE}encoder.conv_in.weight" in shapes else ""
        config = vae_config(shapes, prefix, xl=xl)
        return _convert(AutoencoderKL, SingleFile(file, shapes, {}).tensors(prefix), config, dtype)


def read_schedule(found: SingleFile, prediction: str) -> Any:
    """Build the sampler that the file's family was published with."""
    import diffusers

    settings: dict[str, Any] = {**BETAS, **SCHEDULES[found.family], "prediction_type": prediction}
    if "ztsnr" in found.shapes:
        settings |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return getattr(diffusers, settings.pop("_class_name")).from_config(settings)


def unet_config(shapes: Shapes) -> dict[str, Any]:
    """Read a UNet's sizes off its tensors: widths, depths of attention, and the width of the text."""
    xl = f"{UNET}label_emb.0.0.weight" in shapes
    starts = [f"{UNET}input_blocks.{1 + 3 * level}" for level in range(3 if xl else 4)]
    widths = [shapes[f"{start}.0.out_layers.3.weight"][0] for start in starts]
    depths = [_depth(shapes, f"{start}.1.") for start in starts]
    middle = max(1, _depth(shapes, f"{UNET}middle_block.1."))
    inside = f"{UNET}middle_block.1."
    linear = len(shapes[f"{inside}proj_in.weight"]) == 2
    config = {
        "in_channels": shapes[f"{UNET}input_blocks.0.0.weight"][1],
        "out_channels": shapes[f"{UNET}out.2.weight"][0],
        "block_out_channels": widths,
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "layers_per_block": 2,
        "transformer_layers_per_block": [max(1, depth) for depth in depths[:-1]] + [middle],
        "cross_attention_dim": shapes[f"{inside}transformer_blocks.0.attn2.to_k.weight"][1],
        "attention_head_dim": [max(1, width // HEAD) for width in widths] if linear else 8,
        "use_linear_projection": linear,
        "sample_size": 64,
    }
    if xl:
        pooled = shapes[f"{UNET}label_emb.0.0.weight"][1]
        config |= {"addition_embed_type": "text_time", "addition_time_embed_dim": 256,
                   "projection_class_embeddings_input_dim": pooled}  # fmt: skip
    return config


def _depth(shapes: Shapes, prefix: str) -> int:
    """Count the transformer blocks of an attention layer."""
    found = {name[len(prefix) :].split(".")[1] for name in shapes if name.startswith(f"{prefix}transformer_blocks.")}
    return len(found)


def _cells(found: SingleFile, prediction: str) -> int:
    """Side of the latents of the pictures that a family paints unasked."""
    if found.family == "sdxl":
        return 128
    return 96 if found.family == "sd2" and prediction == "v_prediction" else 64


def vae_config(shapes: Shapes, prefix: str, *, xl: bool) -> dict[str, Any]:
    """Read an autoencoder's sizes off its tensors; how latents are scaled belongs to the family."""
    first = shapes[f"{prefix}encoder.conv_in.weight"][0]
    return {
        "block_out_channels": [first * factor for factor in (1, 2, 4, 4)],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 2,
        "latent_channels": shapes[f"{prefix}post_quant_conv.weight"][1],
        "sample_size": 1024 if xl else 512,
        "scaling_factor": 0.13025 if xl else 0.18215,
    }


def _convert(kind: Any, tensors: dict[str, Tensor], config: dict[str, Any], dtype: torch.dtype) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps({"_class_name": kind.__name__, **config}))
        return kind.from_single_file(tensors, config=folder, subfolder="", dtype=dtype, local_files_only=True)


def text_tensors(found: SingleFile, prefix: str, *, published: str) -> dict[str, Tensor]:
    """Read a text encoder's tensors under transformers' names. published: "clip" or "openclip".

    Of the 24 layers of Stable Diffusion 2 the last is left out, since the one before it is read.
    """
    tensors = {name.removeprefix(prefix): value for name, value in found.tensors(prefix).items()}
    if published == "clip":
        return {name: value for name, value in tensors.items() if not name.endswith("position_ids")}
    last = ".resblocks.23." if found.family == "sd2" else " "
    renamed: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if last not in name and name != "logit_scale":
            renamed |= _from_openclip(name, value)
    return renamed


OUTER = {"positional_embedding": "embeddings.position_embedding.weight",
         "token_embedding.weight": "embeddings.token_embedding.weight",
         "ln_final.weight": "final_layer_norm.weight", "ln_final.bias": "final_layer_norm.bias",
         "text_projection.weight": "text_projection.weight"}  # fmt: skip
INNER = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj",
         "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}  # fmt: skip


def _from_openclip(name: str, value: Tensor) -> dict[str, Tensor]:
    """Rename one tensor; query, key and value lie in one another, and the projection the other way round."""
    if name == "text_projection":
        return {"text_projection.weight": value.T.contiguous()}
    if name in OUTER:
        return {OUTER[name]: value}
    layer = re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)", name)
    if layer is None:
        return {name: value}  # which a strict load refuses by name
    place, rest = f"encoder.layers.{layer[1]}", layer[2]
    if rest.startswith("attn.in_proj_"):
        kind = rest.removeprefix("attn.in_proj_")
        parts = zip(("q_proj", "k_proj", "v_proj"), value.chunk(3))
        return {f"{place}.self_attn.{part}.{kind}": third.contiguous() for part, third in parts}
    stem, _, kind = rest.rpartition(".")
    return {f"{place}.{INNER.get(stem, stem)}.{kind}": value}
