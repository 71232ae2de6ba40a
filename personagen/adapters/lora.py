"""LoRA adapters: attach to a pipeline, collect, save, load, export and merge.

LoRA: Hu et al., arXiv 2106.09685; rsLoRA (scale alpha / sqrt(rank)): arXiv 2312.03732; DoRA: arXiv 2402.09353.
The file is diffusers' own, `pytorch_lora_weights.safetensors` with the settings of each part as metadata, so that any
diffusers pipeline loads it with `load_lora_weights` at the strength it was trained with. Names within: the part
("unet", "text_encoder", "text_encoder_2"), the module, and lora_A (rank, in), lora_B (out, rank),
lora_magnitude_vector (out,).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict

from recsys.errors import ConfigError, ModelError

from ..files import write_tensors
from ..quiet import quiet
from .adapter import FILE, METADATA, PARTS, Adapter, check_tensors, configs_of, fit_adapter, plain_config
from .embeddings import teach_word
from .kohya import split_name, to_kohya
from .read import read_adapter

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")
TEXT = ("q_proj", "k_proj", "v_proj", "out_proj")
MAX_RANK = 1024


@dataclass(frozen=True)
class Lora:
    """What an adapter is made of: rank, alpha (none: as the rank), dropout, which layers, which variant."""

    rank: int = 8
    alpha: float | None = None
    dropout: float = 0.0
    feed_forward: bool = False
    use_rslora: bool = False
    use_dora: bool = False
    """On the UNet; text encoders keep plain LoRA, whose magnitudes would not survive loading."""

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= MAX_RANK:
            raise ConfigError(f"rank is {self.rank}; allowed are 1 to {MAX_RANK}, and 4 to 64 are usual")
        if self.alpha is not None and not 0 < self.alpha < math.inf:
            raise ConfigError(f"lora_alpha is {self.alpha}; it must be above 0 and finite; usual is the rank")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"lora_dropout is {self.dropout}; allowed are 0 to below 1")


def attach(
    pipe: Any, lora: Lora, *, unet: bool = True, text_encoder: bool = False, seed: int = 0, name: str = "default"
) -> None:
    """Add a fresh, trainable adapter in float32 to UNet and text encoders, as asked; the rest of them is frozen.

    It changes nothing until trained: lora_B is zero. The same seed gives the same lora_A.
    """
    shared: dict[str, Any] = {
        "r": lora.rank,
        "lora_alpha": lora.rank if lora.alpha is None else lora.alpha,
        "lora_dropout": lora.dropout,
        "use_rslora": lora.use_rslora,
        "init_lora_weights": "gaussian",
    }
    layers = [*ATTENTION, *(FEED_FORWARD if lora.feed_forward else ())]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in [*(PARTS[:1] if unet else ()), *(PARTS[1:] if text_encoder else ())]:
            module = getattr(pipe, part, None)
            if module is None:
                continue
            module.requires_grad_(False)
            target: dict[str, Any] = {"target_modules": layers, "use_dora": lora.use_dora} if part == "unet" else {
                "target_modules": list(TEXT)
            }  # fmt: skip
            module.add_adapter(LoraConfig(**shared, **target), adapter_name=name)
            for parameter in module.parameters():
                if parameter.requires_grad:
                    parameter.data = parameter.data.float()


def collect(pipe: Any, *, name: str = "default") -> Adapter:
    """Copy the adapter `name` out of a pipeline.

    Raises:
        ModelError: the pipeline has no adapter of that name.
    """
    tensors, configs = {}, {}
    for part in PARTS:
        config = (getattr(getattr(pipe, part, None), "peft_config", None) or {}).get(name)
        if config is None:
            continue
        for key, value in get_peft_model_state_dict(getattr(pipe, part), adapter_name=name).items():
            tensors[f"{part}.{key}"] = value.detach().cpu().clone()
        configs[part] = plain_config(config.to_dict())
    if not tensors:
        raise ModelError(f"the pipeline has no adapter {name!r}; attach or load one first")
    return Adapter(tensors, configs)


def save_adapter(adapter: Adapter, path: str | Path, *, metadata: Mapping[str, str] | None = None) -> Path:
    """Write the file that diffusers loads, with its settings as metadata; a folder gets the usual file name.

    Text-encoder modules are written with `text_model.`, as older tools expect. metadata: `modelspec`.

    Raises:
        ResourceError: the disk refuses.
    """
    path = Path(path)
    path = path if path.suffix == ".safetensors" else path / FILE
    settings = {f"{part}.{key}": value for part, config in adapter.configs.items() for key, value in config.items()}
    tensors = {_with_text_model(name): value for name, value in adapter.tensors.items()}
    own = {METADATA: json.dumps(settings, indent=2, sort_keys=True)}
    return write_tensors(path, tensors, metadata={**(metadata or {}), **own})


def save_kohya(adapter: Adapter, path: str | Path, *, metadata: Mapping[str, str] | None = None) -> Path:
    """Write the file that the web UIs load. rsLoRA's scale goes into alpha. metadata: `modelspec`.

    Raises:
        ResourceError: the disk refuses.
    """
    alphas = {
        module: adapter.scale(module) * adapter.tensors[f"{module}.lora_A.weight"].shape[0]
        for module in adapter.modules()
    }
    return write_tensors(Path(path), to_kohya(adapter.tensors, alphas), metadata=metadata)


def load_adapter(pipe: Any, source: Adapter | str | Path, *, name: str = "default") -> None:
    """Check an adapter and load it into a pipeline under `name`; with several, call `use_adapters` afterwards.

    Raises:
        ModelError: the adapter does not fit the base model; nothing is changed in the pipeline then.
        ConfigError: the name is taken, or a word that comes with the adapter.
    """
    if name in {taken for names in pipe.get_list_adapters().values() for taken in names}:
        raise ConfigError(f"an adapter named {name!r} is loaded already; choose another name")
    adapter = fit_adapter(source, pipe) if isinstance(source, Adapter) else read_adapter(source, pipe)
    settings = {f"{part}.{key}": value for part, config in adapter.configs.items() for key, value in config.items()}
    tensors = {_with_text_model(key): value for key, value in adapter.tensors.items()}
    shared: dict[str, Any] = {"network_alphas": None, "adapter_name": name, "metadata": settings, "_pipeline": pipe}
    with quiet():
        if "unet" in adapter.configs:
            pipe.load_lora_into_unet(tensors, unet=pipe.unet, **shared)
        for part in [part for part in PARTS[1:] if part in adapter.configs]:
            _into_text_encoder(getattr(pipe, part), adapter, part, name)
    for word, vectors in adapter.embeddings.items():
        teach_word(pipe, word, vectors, source="the adapter")


def _into_text_encoder(encoder: Any, adapter: Adapter, part: str, name: str) -> None:
    """Load the tensors of a text encoder; diffusers' own way wants attention layers among them."""
    inside = {key: value for key, value in adapter.tensors.items() if key.startswith(f"{part}.")}
    tensors = {key.removeprefix(f"{part}.").removeprefix("text_model."): value for key, value in inside.items()}
    settings: dict[str, Any] = {
        **adapter.configs[part],
        "target_modules": sorted({split_name(key)[0] for key in tensors}),
    }
    encoder.load_adapter(adapter_name=name, adapter_state_dict=tensors, peft_config=LoraConfig(**settings))
    encoder.to(device=encoder.device, dtype=encoder.dtype)


def use_adapters(pipe: Any, weights: Mapping[str, float]) -> None:
    """Switch the named adapters on at the given weights, and all others off.

    Raises:
        ConfigError: a weight is no finite number.
    """
    for name, weight in weights.items():
        if not math.isfinite(weight):
            raise ConfigError(f"the weight of {name} is {weight}; give a number, 0 to 1 is usual")
    with quiet():
        pipe.set_adapters(list(weights), adapter_weights=list(weights.values()))


def merge_adapters(adapters: Sequence[Adapter], weights: Sequence[float]) -> Adapter:
    """Put several adapters into one that changes each layer by the weighted sum of their changes, exactly.

    Ranks add up: lora_A are stacked, lora_B set side by side with weight and scale multiplied in.

    Raises:
        ConfigError: DoRA, whose changes do not add up, or unequal numbers of adapters and weights.
    """
    if not adapters or len(adapters) != len(weights):
        raise ConfigError(
            f"{len(adapters)} adapters and {len(weights)} weights; give at least one, and as many of each"
        )
    if any(config.get("use_dora") for adapter in adapters for config in adapter.configs.values()):
        raise ConfigError("DoRA adapters cannot be merged into one file; load them side by side with weights instead")
    tensors = {}
    for module in dict.fromkeys(module for adapter in adapters for module in adapter.modules()):
        having = [(a, w) for a, w in zip(adapters, weights) if f"{module}.lora_A.weight" in a.tensors]
        down, up = f"{module}.lora_A.weight", f"{module}.lora_B.weight"
        tensors[down] = torch.cat([a.tensors[down].float() for a, _ in having])
        tensors[up] = torch.cat([a.tensors[up].float() * (w * a.scale(module)) for a, w in having], dim=1)
    check_tensors(tensors, name="the merged adapter")
    return Adapter(tensors, configs_of(tensors, {}))


def _with_text_model(name: str) -> str:
    for part in PARTS[1:]:
        if name.startswith(f"{part}.encoder."):
            return name.replace(f"{part}.", f"{part}.text_model.", 1)
    return name
