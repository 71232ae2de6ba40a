"""LoRA adapters: attach to a pipeline, collect, save, read, check, load, export and merge.

LoRA: Hu et al., arXiv 2106.09685; rsLoRA (scale alpha / sqrt(rank)): arXiv 2312.03732; DoRA: arXiv 2402.09353.
The file is diffusers' own, `pytorch_lora_weights.safetensors` with the settings of each part as metadata, so that any
diffusers pipeline loads it with `load_lora_weights` at the strength it was trained with. Names within: the part
("unet", "text_encoder", "text_encoder_2"), the module, and lora_A (rank, in), lora_B (out, rank),
lora_magnitude_vector (out,).
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from recsys.errors import ConfigError, ModelError

from ..files import write_tensors
from ..models.quiet import quiet
from .kohya import from_kohya, is_kohya, split_name, to_kohya

FILE = "pytorch_lora_weights.safetensors"
METADATA = "lora_adapter_metadata"
PARTS = ("unet", "text_encoder", "text_encoder_2")
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")
TEXT = ("q_proj", "k_proj", "v_proj", "out_proj")
MAX_BYTES = 4 << 30
MAX_RANK = 1024
_SPELLINGS = {
    ".lora_linear_layer.down.": ".lora_A.",
    ".lora_linear_layer.up.": ".lora_B.",
    ".lora.down.": ".lora_A.",
    ".lora.up.": ".lora_B.",
}


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
        if self.alpha is not None and not self.alpha > 0:
            raise ConfigError(f"lora_alpha is {self.alpha}; it must be above 0, and is usually the rank or half of it")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"lora_dropout is {self.dropout}; allowed are 0 to below 1")


@dataclass(frozen=True)
class Adapter:
    """A whole adapter in memory: tensors by name, and for each part the settings that peft builds a layer from."""

    tensors: dict[str, Tensor]
    configs: dict[str, dict[str, Any]]

    def modules(self) -> list[str]:
        """Name the layers that are changed, as "part.module"."""
        return list(dict.fromkeys(split_name(name)[0] for name in self.tensors))

    def scale(self, module: str) -> float:
        """Return the factor of lora_B lora_A in a layer named as in `modules`."""
        part, _, path = module.partition(".")
        config, rank = self.configs[part], self.tensors[f"{module}.lora_A.weight"].shape[0]
        alphas = config.get("alpha_pattern") or {}
        alpha = alphas.get(get_pattern_key(list(alphas), path), config["lora_alpha"])
        return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


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
        configs[part] = _plain(config.to_dict())
    if not tensors:
        raise ModelError(f"the pipeline has no adapter {name!r}; attach or load one first")
    return Adapter(tensors, configs)


def save_adapter(adapter: Adapter, path: str | Path) -> Path:
    """Write the file that diffusers loads, with its settings as metadata; a folder gets the usual file name.

    Text-encoder modules are written with `text_model.`, as older tools expect.

    Raises:
        ResourceError: the disk refuses.
    """
    path = Path(path)
    path = path if path.suffix == ".safetensors" else path / FILE
    settings = {f"{part}.{key}": value for part, config in adapter.configs.items() for key, value in config.items()}
    tensors = {_with_text_model(name): value for name, value in adapter.tensors.items()}
    return write_tensors(path, tensors, metadata={METADATA: json.dumps(settings, indent=2, sort_keys=True)})


def save_kohya(adapter: Adapter, path: str | Path, *, metadata: Mapping[str, str] | None = None) -> Path:
    """Write the file that the web UIs load. rsLoRA's scale goes into alpha.

    Raises:
        ResourceError: the disk refuses.
    """
    alphas = {
        module: adapter.scale(module) * adapter.tensors[f"{module}.lora_A.weight"].shape[0]
        for module in adapter.modules()
    }
    return write_tensors(Path(path), to_kohya(adapter.tensors, alphas), metadata=metadata)


def read_adapter(path: str | Path, pipe: Any = None, *, max_bytes: int = MAX_BYTES) -> Adapter:
    """Read and check an adapter file of diffusers or kohya; `pipe`, the base model, is needed for kohya's names.

    path: the file, or a folder with `pytorch_lora_weights.safetensors`.

    Raises:
        ModelError: the file is missing, damaged or does not fit; nothing is changed in `pipe` then.
    """
    path = Path(path)
    file = path / FILE if path.is_dir() else path
    tensors, metadata = _read_file(file, max_bytes)
    if is_kohya(tensors):
        if pipe is None:
            raise ModelError(f"{file} is a kohya file; name its base model as well, so that its layers can be found")
        tensors, alphas = from_kohya(tensors, pipe)
        check_tensors(tensors, name=str(file))
        adapter = Adapter(tensors, _configs_of(tensors, alphas))
    else:
        tensors = {_peft_name(name): value for name, value in tensors.items()}
        check_tensors(tensors, name=str(file))
        adapter = Adapter(tensors, _read_configs(metadata, file) or _configs_of(tensors, {}))
    if missing := {name.split(".")[0] for name in adapter.tensors} - set(adapter.configs):
        raise ModelError(f"{file} says nothing of how {', '.join(sorted(missing))} is scaled; save the adapter again")
    if pipe is not None:
        adapter = fit_adapter(adapter, pipe, name=str(file))
    return adapter


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
    layers = {
        f"{part}.{path}".replace(".base_layer", ""): layer.weight.shape
        for part in PARTS
        if getattr(pipe, part, None) is not None
        for path, layer in getattr(pipe, part).named_modules()
        if isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)) and ".lora_" not in path
    }
    tensors = {}
    for key, value in adapter.tensors.items():
        module, part = split_name(key)
        spelling = next((s for s in (module, module.replace(".text_model.", ".", 1)) if s in layers), None)
        if spelling is None or not _fits(part, value, layers[spelling]):
            size = tuple(layers[spelling]) if spelling else "none"
            raise ModelError(
                f"{name} is for another base model: its {key!r} of {tuple(value.shape)} meets a layer of {size}; use "
                "the base it was trained on"
            )
        tensors[f"{spelling}{key[len(module) :]}"] = value
    return Adapter(tensors, adapter.configs)


def load_adapter(pipe: Any, source: Adapter | str | Path, *, name: str = "default") -> None:
    """Check an adapter and load it into a pipeline under `name`; with several, call `use_adapters` afterwards.

    Raises:
        ModelError: the adapter does not fit the base model; nothing is changed in the pipeline then.
        ConfigError: the name is taken.
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
            pipe.load_lora_into_text_encoder(tensors, text_encoder=getattr(pipe, part), prefix=part, **shared)


def use_adapters(pipe: Any, weights: Mapping[str, float]) -> None:
    """Switch the named adapters on at the given weights, and all others off."""
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
    return Adapter(tensors, _configs_of(tensors, {}))


def _read_file(file: Path, max_bytes: int) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not file.is_file():
        raise ModelError(f"there is no adapter at {file}; give a .safetensors file, or a folder with {FILE}")
    if file.stat().st_size > max_bytes:
        raise ModelError(
            f"{file} has {file.stat().st_size:,} bytes, more than the {max_bytes:,} allowed for an adapter"
        )
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
        return load_file(file), metadata
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{file} is not a sound safetensors file ({error}); save or fetch it again") from error


def _read_configs(metadata: Mapping[str, str], file: Path) -> dict[str, dict[str, Any]] | None:
    """Read the settings of each part out of a diffusers file's metadata; None where there are none."""
    if METADATA not in metadata:
        return None
    try:
        settings = json.loads(metadata[METADATA])
        configs: dict[str, dict[str, Any]] = {}
        for key, value in settings.items():
            part, _, name = key.partition(".")
            configs.setdefault(part, {})[name] = value
        for config in configs.values():
            LoraConfig(**config)
        return configs
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"the settings inside {file} cannot be read ({error}); save the adapter again") from error


def _configs_of(tensors: Mapping[str, Tensor], alphas: Mapping[str, float]) -> dict[str, dict[str, Any]]:
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
        configs[part] = _plain(config.to_dict())
    return configs


def _exact(path: str, part: str) -> str:
    """A pattern for this module alone, with or without `text_model.` before a text encoder's."""
    return f"^{path}" if part == "unet" else path


def _usual(values: Iterable[Any]) -> Any:
    counted = list(values)
    return max(dict.fromkeys(counted), key=counted.count)


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """Keep of a LoraConfig what JSON can hold and a reader needs; dropout is for training alone."""
    keep = ("r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora")
    return {key: sorted(value) if isinstance(value, set) else value for key, value in config.items() if key in keep}


def _peft_name(name: str) -> str:
    for old, new in _SPELLINGS.items():
        if old in name:
            return name.replace(old, new)
    return name.replace(".lora_magnitude_vector.weight", ".lora_magnitude_vector")


def _with_text_model(name: str) -> str:
    for part in PARTS[1:]:
        if name.startswith(f"{part}.encoder."):
            return name.replace(f"{part}.", f"{part}.text_model.", 1)
    return name


def _fits(part: str, value: Tensor, layer: torch.Size) -> bool:
    if part == "lora_A.weight":
        return value.shape[1] == layer[1] and value.ndim == len(layer)
    return value.shape[0] == layer[0]
