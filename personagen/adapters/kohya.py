"""Names of LoRA layers in kohya's and the web UIs' files, to and from those of diffusers and peft.

kohya: `lora_unet_<module with _ for .>.lora_down.weight`, `.lora_up.weight`, `.alpha`, `.dora_scale`; text encoders
`lora_te_` (one), `lora_te1_` and `lora_te2_` (two). UNet modules are spelled as in diffusers (`down_blocks_0_...`), or,
for SDXL, as in the original code (`input_blocks_4_1_...`). Underscores are ambiguous, so reading asks the base model
for the names of its modules.
"""

import re
from typing import Any

from torch import Tensor

from recsys.errors import ModelError

PREFIXES = {
    "lora_unet_": "unet",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
}
PARTS = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight", "dora_scale": "lora_magnitude_vector"}


def is_kohya(tensors: dict[str, Tensor]) -> bool:
    """Tell whether the names are kohya's; tensors: named, lora_down (r, in), lora_up (out, r), alpha ()."""
    return bool(tensors) and all(name.startswith(tuple(PREFIXES)) for name in tensors)


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
        kohya_part = next(key for key, value in PARTS.items() if value == part)
        stem = kohya_stem(module, two_encoders=two)
        renamed[f"{stem}.{kohya_part}"] = tensor.reshape(-1, 1) if kohya_part == "dora_scale" else tensor
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


def from_kohya(tensors: dict[str, Tensor], pipe: Any) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Rename kohya's tensors to peft's, for the modules of `pipe`; return them and each module's alpha, where given.

    tensors: named, lora_down (r, in) and lora_up (out, r), which keep their shapes, and alpha ().

    Raises:
        ModelError: a layer that the base model does not have.
    """
    known = known_stems(pipe)
    renamed, alphas = {}, {}
    for name, tensor in tensors.items():
        stem, _, part = name.partition(".")
        if stem not in known or part not in {*PARTS, "alpha"}:
            raise ModelError(
                f"the adapter's layer {name!r} is not in this base model; use the adapter with the base it was "
                "trained on (SD 1.x, SD 2.x or SDXL), as plain LoRA or DoRA"
            )
        if part == "alpha":
            alphas[known[stem]] = float(tensor)
        else:
            renamed[f"{known[stem]}.{PARTS[part]}"] = tensor.flatten() if part == "dora_scale" else tensor
    return renamed, alphas


def known_stems(pipe: Any) -> dict[str, str]:
    """Map every spelling a kohya file may use for a layer of `pipe` to "component.module"."""
    stems = {}
    for path in _layers(pipe.unet):
        for spelling in (path, _original_name(path, pipe.unet.config["layers_per_block"])):
            stems["lora_unet_" + spelling.replace(".", "_")] = f"unet.{path}"
    for component, prefixes in (("text_encoder", ("lora_te_", "lora_te1_")), ("text_encoder_2", ("lora_te2_",))):
        encoder = getattr(pipe, component, None)
        for path in _layers(encoder) if encoder is not None else ():
            flat = path.removeprefix("text_model.").replace(".", "_")
            for prefix in prefixes:
                stems[f"{prefix}text_model_{flat}"] = stems[f"{prefix}{flat}"] = f"{component}.{path}"
    return stems


def split_name(name: str) -> tuple[str, str]:
    """Split "unet.<module>.lora_A.weight" into module and part; the part of a magnitude is "lora_magnitude_vector"."""
    module, mark, part = name.rpartition(".lora_")
    return module, "lora_magnitude_vector" if part.startswith("magnitude_vector") else mark[1:] + part


def _layers(module: Any) -> list[str]:
    """Name the linear and convolutional layers, as they are called without an adapter around them."""
    from torch import nn

    names = (name for name, layer in module.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d)))
    return [name.removesuffix(".base_layer") for name in names if ".lora_" not in name]


def _original_name(path: str, layers: int) -> str:
    """Spell a module inside a UNet's attention block as the original (sgm) code does; others stay."""
    found = re.match(r"(down_blocks|up_blocks)\.(\d+)\.attentions\.(\d+)\.(.*)", path)
    if found:
        side, block, place, rest = found[1], int(found[2]), int(found[3]), found[4]
        index = block * (layers + 1) + place
        return f"input_blocks.{1 + index}.1.{rest}" if side == "down_blocks" else f"output_blocks.{index}.1.{rest}"
    return re.sub(r"^mid_block\.attentions\.0\.", "middle_block.1.", path)
