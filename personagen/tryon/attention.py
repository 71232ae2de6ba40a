"""Attention of the try-on UNet: silence its cross-attention, and read or write self-attention weights alone.

Published weights of the concatenation method (CatVTON, arXiv 2407.15886; Leffa) are a file of self-attention layers
only, laid over a Stable Diffusion 1.5 inpainting UNet. Written from a description of that file; no code is used.
"""

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from recsys.errors import ConfigError, ModelError, shown

PARTS = ("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight", "to_out.0.bias")
"""Tensors of one self-attention layer."""


class ZeroAttention:
    """Cross-attention that adds nothing: the block continues with h. For models trained here (no text)."""

    def __call__(self, attn, hidden_states: Tensor, encoder_hidden_states=None, attention_mask=None) -> Tensor:
        return torch.zeros_like(hidden_states)


class IdentityAttention:
    """Cross-attention that returns its input: the block continues with h + norm2(h), which published weights expect."""

    def __call__(self, attn, hidden_states: Tensor, encoder_hidden_states=None, attention_mask=None) -> Tensor:
        return hidden_states


CROSS_ATTENTION = {"zero": ZeroAttention, "identity": IdentityAttention}


def set_cross_attention(unet, kind: str) -> None:
    """Replace every cross-attention (`attn2`) of a UNet so that it can be called with encoder_hidden_states=None.

    kind: "zero" for models trained here, "identity" for weights published for CatVTON and Leffa. Self-attention is
    kept.

    Raises:
        ConfigError: another kind.
    """
    if kind not in CROSS_ATTENTION:
        raise ConfigError(f"cross-attention {kind!r} is unknown; use one of {sorted(CROSS_ATTENTION)}")
    for name, module in unet.named_modules():
        if name.rsplit(".", 1)[-1] == "attn2":
            module.set_processor(CROSS_ATTENTION[kind]())


def size_conditions(unet, inputs: Tensor, *, cell: int) -> dict[str, Tensor] | None:
    """What an SDXL's UNet is told besides: zeros for a prompt, and the size of person above garment; else None.

    inputs (B, 2C+1, 2h, w); cell: pixels that a latent covers in each direction.
    Returns text_embeds (B, p) and time_ids (B, 6).
    """
    if unet.config["addition_embed_type"] != "text_time":
        return None
    wide = unet.config["projection_class_embeddings_input_dim"] - 6 * unet.config["addition_time_embed_dim"]
    height, width = cell * inputs.shape[2], cell * inputs.shape[3]
    sizes = inputs.new_tensor([[height, width, 0, 0, height, width]])
    return {"text_embeds": inputs.new_zeros(len(inputs), wide), "time_ids": sizes.expand(len(inputs), 6)}


def self_attentions(unet: nn.Module) -> dict[str, nn.Module]:
    """List the self-attention layers (`attn1`) of a UNet by name, in the order of published files: down, up, middle."""
    return {name: module for name, module in unet.named_modules() if name.rsplit(".", 1)[-1] == "attn1"}


def attention_tensors(unet: nn.Module, *, stride: int = 8) -> dict[str, Tensor]:
    """Return the self-attention weights of a UNet under the names of published files: `0.to_q.weight`, `8.to_q.weight`.

    stride: distance of the numbers of two layers, 8 or 7 (a published file numbers the layers' own submodules too).
    """
    found = {}
    for place, layer in enumerate(self_attentions(unet).values()):
        weights = layer.state_dict()
        found |= {f"{place * stride}.{part}": weights[part].detach().clone() for part in PARTS}
    return found


def load_attention(unet: UNet2DConditionModel, source: str | Path) -> None:
    """Lay published self-attention weights over a UNet, strictly: every tensor fits and is used, and none is missing.

    source: a .safetensors file in the layout of `attention_tensors`, or the folder that holds it as model.safetensors.
    16 layers, 80 tensors for Stable Diffusion 1.5. Nothing is changed unless everything fits.

    Raises:
        ModelError: the message names what is missing, left over, or of another shape.
    """
    file = Path(source) / "model.safetensors" if Path(source).is_dir() else Path(source)
    tensors, layers = _read(file), self_attentions(unet)
    numbers = sorted({int(name.split(".", 1)[0]) for name in tensors if name.split(".", 1)[0].isdigit()})
    steps = {second - first for first, second in zip(numbers, numbers[1:])}
    if len(numbers) != len(layers) or not steps <= {7, 8} or len(steps) > 1:
        raise ModelError(
            f"{file} numbers its layers {numbers}; this UNet takes {len(layers)} numbers in steps of 8 or 7. "
            "Give attention weights published for this base model"
        )
    expected = {f"{number}.{part}" for number in numbers for part in PARTS}
    missing, unknown = sorted(expected - set(tensors)), sorted(set(tensors) - expected)
    if missing or unknown:
        raise ModelError(
            f"{file} does not hold the {len(expected)} attention tensors expected: missing {missing or 'none'}, "
            f"left over {unknown or 'none'}. Copy the file again"
        )
    _copy(file, tensors, dict(zip(numbers, layers.values(), strict=True)))


@torch.no_grad()
def _copy(file: Path, tensors: dict[str, Tensor], layers: dict[int, nn.Module]) -> None:
    targets = {
        f"{number}.{part}": parameter
        for number, layer in layers.items()
        for part, parameter in layer.named_parameters()
        if part in PARTS
    }
    wrong = [
        f"{name} {tuple(tensors[name].shape)} for {tuple(targets[name].shape)}"
        for name in targets
        if tensors[name].shape != targets[name].shape
    ]
    if wrong or targets.keys() != tensors.keys():
        raise ModelError(
            f"{file} does not fit this UNet: {'; '.join(wrong[:3]) or 'its layers have other parts'}. Give the base "
            "model that the weights were trained on"
        )
    for name, parameter in targets.items():
        parameter.copy_(tensors[name])


def _read(file: Path) -> dict[str, Tensor]:
    if file.suffix != ".safetensors" or not file.is_file():
        raise ModelError(f"there are no attention weights at {file}; give the path of a .safetensors file")
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"the attention weights {file} cannot be read ({shown(error, most=200)}); copy the file again"
        ) from error
