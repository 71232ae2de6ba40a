"""Names of LoRA layers in kohya's and the web UIs' files, to and from those of diffusers and peft.

kohya: `lora_unet_<module with _ for .>.lora_down.weight`, `.lora_up.weight`, `.alpha`, `.dora_scale`; text encoders
`lora_te_` (one), `lora_te1_` and `lora_te2_` (two). UNet modules are spelled as in diffusers (`down_blocks_0_...`), or,
for SDXL, as in the original code (`input_blocks_4_1_...`). Underscores are ambiguous, so reading asks the base model
for the names of its modules.
"""

import re
from typing import Any

from torch import Tensor

PREFIXES = ("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_")
PARTS = {"lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight", "lora_magnitude_vector": "dora_scale"}
_INSIDE = {  # of a residual block: diffusers, original
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}


def is_kohya(name: str) -> bool:
    """Tell whether a tensor's name is kohya's."""
    return name.startswith(PREFIXES)


def to_kohya(tensors: dict[str, Tensor], alphas: dict[str, float]) -> dict[str, Tensor]:
    """Rename peft's tensors ("unet.<module>.lora_A.weight") to kohya's and add alphas ("unet.<module>" -> alpha).

    alphas count as kohya counts them: the layer is scaled by alpha / rank. Shapes stay as they are, but for the
    magnitudes of DoRA (out,), which become (out, 1).
    """
    import torch

    two = any(name.startswith("text_encoder_2.") for name in tensors)
    renamed = {}
    for name, tensor in tensors.items():
        module, part = split_name(name)
        stem = kohya_stem(module, two_encoders=two)
        renamed[f"{stem}.{PARTS[part]}"] = tensor.reshape(-1, 1) if PARTS[part] == "dora_scale" else tensor
        renamed[f"{stem}.alpha"] = torch.tensor(float(alphas[module]))
    return renamed


def kohya_stem(module: str, *, two_encoders: bool) -> str:
    """Spell "unet.<module>" or "text_encoder.<module>" as kohya does, without the part of the layer."""
    component, _, path = module.partition(".")
    flat = path.replace(".", "_")
    if component == "unet":
        return f"lora_unet_{flat}"
    number = {"text_encoder": "1" if two_encoders else "", "text_encoder_2": "2"}[component]
    return f"lora_te{number}_{flat if flat.startswith('text_model_') else 'text_model_' + flat}"


def known_stems(pipe: Any) -> dict[str, str]:
    """Map every spelling a kohya file may use for a layer of `pipe` to "component.module"."""
    stems, paths = {}, _layers(pipe.unet)
    for path in paths:
        for spelling in (path, original_name(path, paths, layers=pipe.unet.config["layers_per_block"])):
            stems["lora_unet_" + spelling.replace(".", "_")] = f"unet.{path}"
    for component, prefixes in (("text_encoder", ("lora_te_", "lora_te1_")), ("text_encoder_2", ("lora_te2_",))):
        encoder = getattr(pipe, component, None)
        for path in _layers(encoder) if encoder is not None else ():
            flat = path.removeprefix("text_model.").replace(".", "_")
            for prefix in prefixes:
                stems[f"{prefix}text_model_{flat}"] = stems[f"{prefix}{flat}"] = f"{component}.{path}"
    return stems


def original_name(path: str, paths: list[str], *, layers: int) -> str:
    """Spell a UNet's module (one of `paths`) as the original (sgm) code does, given the layers of its down blocks."""
    if found := re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", path):
        side, kind, rest = found[1], found[3], found[5]
        block, place = int(found[2]), int(found[4])
        first = block * (layers + 1) + (side == "down")
        if kind == "downsamplers":
            return f"input_blocks.{first + layers}.0.op"
        if kind == "upsamplers":
            attends = any(name.startswith(f"up_blocks.{block}.attentions.") for name in paths)
            return f"output_blocks.{first + layers}.{1 + attends}.{rest}"
        row = f"{'input' if side == 'down' else 'output'}_blocks.{first + place}"
        return f"{row}.1.{rest}" if kind == "attentions" else f"{row}.0.{_INSIDE.get(rest, rest)}"
    if found := re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)", path):
        if found[1] == "attentions":
            return f"middle_block.1.{found[3]}"
        return f"middle_block.{2 * int(found[2])}.{_INSIDE.get(found[3], found[3])}"
    return _OUTSIDE.get(path, path)


def split_name(name: str) -> tuple[str, str]:
    """Split "unet.<module>.lora_A.weight" into module and part; the part of a magnitude is "lora_magnitude_vector"."""
    module, mark, part = name.rpartition(".lora_")
    return module, "lora_magnitude_vector" if part.startswith("magnitude_vector") else mark[1:] + part


def _layers(module: Any) -> list[str]:
    """Name the linear and convolutional layers, as they are called without an adapter around them."""
    from torch import nn

    names = (name for name, layer in module.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d)))
    return [name.removesuffix(".base_layer") for name in names if ".lora_" not in name]
