"""An adapter in memory: tensors by name and the settings of each part, checked, and fitted to a base model.

Names within: the part ("unet", "text_encoder", "text_encoder_2"), the module, and lora_A (rank, in), lora_B (out,
rank), lora_magnitude_vector (out,).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import LoraConfig
from peft.utils.other import get_pattern_key
from torch import Tensor

from recsys.errors import ModelError

from .kohya import split_name

FILE = "pytorch_lora_weights.safetensors"
METADATA = "lora_adapter_metadata"
PARTS = ("unet", "text_encoder", "text_encoder_2")
MAX_RANK = 4096
"""Of a file: a change of full rank has the smaller side of its layer."""


@dataclass(frozen=True)
class Adapter:
    """A whole adapter in memory: tensors by name, and for each part the settings that peft builds a layer from."""

    tensors: dict[str, Tensor]
    configs: dict[str, dict[str, Any]]
    embeddings: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """Words that came in the same file: for each its vectors (n, d), "clip_l" and for SDXL "clip_g"."""

    def modules(self) -> list[str]:
        """Name the layers that are changed, as "part.module"."""
        return list(dict.fromkeys(split_name(name)[0] for name in self.tensors))

    def scale(self, module: str) -> float:
        """Return the factor of lora_B lora_A in a layer named as in `modules`."""
        return scale_in(self.configs, module, rank=self.tensors[f"{module}.lora_A.weight"].shape[0])


def scale_in(configs: Mapping[str, dict[str, Any]], module: str, *, rank: int) -> float:
    """Return the factor of lora_B lora_A that the settings of a layer's part give it."""
    part, _, path = module.partition(".")
    config = configs[part]
    alphas = config.get("alpha_pattern") or {}
    alpha = alphas.get(get_pattern_key(list(alphas), path), config["lora_alpha"])
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def check_tensors(tensors: Mapping[str, Tensor], *, name: str = "the adapter") -> None:
    """Check that tensors, lora_A (r, in) and lora_B (out, r) by name, are a sound LoRA.

    Raises:
        ModelError: a name is unknown, a pair incomplete, ranks differ in a pair, or a value is not finite.
    """
    if not tensors:
        raise ModelError(f"{name} holds no tensors; save the adapter again")
    for key, value in tensors.items():
        module, part = split_name(key)
        if module.split(".")[0] not in PARTS or part not in ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector"):
            raise ModelError(f"{name} holds {key!r}, which no LoRA of Stable Diffusion has; give a LoRA or DoRA file")
        if not value.is_floating_point() or not value.isfinite().all():
            raise ModelError(f"{name} holds values in {key!r} that are not finite numbers; train or fetch it again")
        down, up = tensors.get(f"{module}.lora_A.weight"), tensors.get(f"{module}.lora_B.weight")
        if down is None or up is None:
            raise ModelError(f"{name} lacks half of the pair of {module!r}; save the adapter again")
        if down.ndim != up.ndim or down.ndim not in (2, 4) or not 1 <= down.shape[0] == up.shape[1] <= MAX_RANK:
            raise ModelError(
                f"{name}: {module!r} pairs shapes {tuple(down.shape)} and {tuple(up.shape)}; they must share one rank "
                f"of 1 to {MAX_RANK}"
            )


def fit_adapter(adapter: Adapter, pipe: Any, *, name: str = "the adapter") -> Adapter:
    """Spell the modules as `pipe` does and check that they fit its layers.

    Raises:
        ModelError: the adapter belongs to another base model.
    """
    layers = layers_of(pipe)
    tensors = {}
    for key, value in adapter.tensors.items():
        module, part = split_name(key)
        spelling = spell(module, layers, name=name)
        if not _fits(part, value, shape := layers[spelling].weight.shape):
            raise ModelError(
                f"{name} is for another base model: its {key!r} of {tuple(value.shape)} meets a layer of "
                f"{tuple(shape)}; use the base it was trained on"
            )
        tensors[f"{spelling}{key[len(module) :]}"] = value
    return Adapter(tensors, adapter.configs, adapter.embeddings)


def layers_of(pipe: Any) -> dict[str, Any]:
    """Name the linear and convolutional layers of UNet and text encoders, "part.module"."""
    return {
        f"{part}.{path}".replace(".base_layer", ""): layer
        for part in PARTS
        if getattr(pipe, part, None) is not None
        for path, layer in getattr(pipe, part).named_modules()
        if isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)) and ".lora_" not in path
    }


def spell(module: str, layers: Mapping[str, Any], *, name: str) -> str:
    """Return a layer's name as the base model has it, with or without `text_model.`.

    Raises:
        ModelError: it has no such layer.
    """
    for found in (module, module.replace(".text_model.", ".", 1), module.replace(".", ".text_model.", 1)):
        if found in layers:
            return found
    raise ModelError(
        f"{name} is for another base model: this one has no layer {module!r}; use the base it was trained on"
    )


def configs_of(tensors: Mapping[str, Tensor], alphas: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Work out each part's settings from the shapes; a module without alpha is scaled by 1."""
    configs = {}
    modules = list(dict.fromkeys(split_name(name)[0] for name in tensors))
    for part in [part for part in PARTS if any(module.startswith(f"{part}.") for module in modules)]:
        inside = [module for module in modules if module.split(".")[0] == part]
        paths = {module.removeprefix(f"{part}.").removeprefix("text_model."): module for module in inside}
        ranks = {path: tensors[f"{module}.lora_A.weight"].shape[0] for path, module in paths.items()}
        scaled = {path: float(alphas.get(module, ranks[path])) for path, module in paths.items()}
        rank, alpha = _usual(ranks.values()), _usual(scaled.values())
        config = LoraConfig(
            r=rank,
            lora_alpha=alpha,
            target_modules=list(paths),
            rank_pattern={_exact(path, part): value for path, value in ranks.items() if value != rank},
            alpha_pattern={_exact(path, part): value for path, value in scaled.items() if value != alpha},
            use_dora=any(f"{module}.lora_magnitude_vector" in tensors for module in paths.values()),
        )
        configs[part] = plain_config(config.to_dict())
    return configs


def plain_config(config: dict[str, Any]) -> dict[str, Any]:
    """Keep of a LoraConfig what JSON can hold and a reader needs; dropout is for training alone."""
    keep = ("r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora")
    return {key: sorted(value) if isinstance(value, set) else value for key, value in config.items() if key in keep}


def _exact(path: str, part: str) -> str:
    """A pattern for this module alone, with or without `text_model.` before a text encoder's."""
    return f"^{path}" if part == "unet" else path


def _usual(values: Iterable[Any]) -> Any:
    counted = list(values)
    return max(dict.fromkeys(counted), key=counted.count)


def _fits(part: str, value: Tensor, layer: torch.Size) -> bool:
    if part == "lora_A.weight":
        return value.shape[1] == layer[1] and value.ndim == len(layer)
    return value.shape[0] == layer[0]
