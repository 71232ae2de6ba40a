"""Read adapter files as the tools write them, check them, and put them into one form: a LoRA or DoRA of peft's names.

Names that are understood: diffusers' of all ages, peft's, kohya's, LyCORIS' and OneTrainer's. What no LoRA layer
computes (see dense.py) becomes a LoRA of full rank. Embeddings that come with the adapter (`bundle_emb`) are kept.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import LoraConfig
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from recsys.errors import ModelError, shown
from recsys.text import from_json, read_text

from .adapter import (
    FILE,
    MAX_RANK,
    METADATA,
    PARTS,
    Adapter,
    check_tensors,
    configs_of,
    fit_adapter,
    layers_of,
    plain_config,
    scale_in,
    spell,
)
from .dense import LOHA, LOKR, along_outputs, as_lora, change_of, rank_of, with_mid
from .kohya import is_kohya, known_stems

MAX_BYTES = 4 << 30
_PART = {
    **dict.fromkeys(("lora_A.weight", "lora.down.weight", "lora_linear_layer.down.weight", "lora_down.weight"), "down"),
    **dict.fromkeys(("lora_B.weight", "lora.up.weight", "lora_linear_layer.up.weight", "lora_up.weight"), "up"),
    **dict.fromkeys(("lora_A.default.weight", "lora_A.default_0.weight"), "down"),
    **dict.fromkeys(("lora_B.default.weight", "lora_B.default_0.weight"), "up"),
    **dict.fromkeys(("lora_magnitude_vector", "lora_magnitude_vector.weight", "dora_scale"), "magnitude"),
    **dict.fromkeys((f"lora_magnitude_vector.{name}.weight" for name in ("default", "default_0")), "magnitude"),
    **{name: name for name in (*LOHA, *LOKR)},
    "lora_mid.weight": "mid",
    "alpha": "alpha",
    "scalar": "scalar",
}
_SPLIT = re.compile(rf"(.+)\.({'|'.join(re.escape(part) for part in sorted(_PART, key=len, reverse=True))})")
_PROCESSOR = re.compile(r"(.+)\.processor\.(to_q|to_k|to_v|to_out)_lora\.(down|up)\.weight")
_UNET = ("down_blocks.", "mid_block.", "up_blocks.", "time_embedding.", "add_embedding.", "conv_in.", "conv_out.")
_KEPT = ("magnitude", "mid", "alpha", "scalar", *LOHA[4:])
_UNET_OF_OTHERS = re.compile(r"(diffusion_model\.|lycoris_)(.+?)(\.(?:lora_|hada_|lokr_|alpha$|scalar$|dora_scale$).*)")
"""How ComfyUI and LyCORIS begin names of a UNet's layers."""
LARGEST = 65504.0
"""Greatest change of a weight: of a float16, in which pictures are painted."""
SETTINGS = "adapter_config.json"
"""Where peft keeps an adapter's settings, beside its weights."""
PEFT = "adapter_model.safetensors"

Parts = dict[str, Tensor]


def read_adapter(path: str | Path, pipe: Any = None, *, max_bytes: int = MAX_BYTES) -> Adapter:
    """Read and check an adapter file.

    `pipe`, the base model, is needed for the names of kohya's files and for what is no LoRA (see dense.py).
    path: the file, or a folder with `pytorch_lora_weights.safetensors`, or with peft's own two files.

    Raises:
        ModelError: the file is missing, damaged or does not fit; nothing is changed in `pipe` then.
    """
    path = Path(path)
    file = path / FILE if path.is_dir() else path
    if path.is_dir() and not file.is_file() and (path / PEFT).is_file():
        file = path / PEFT
    tensors, metadata = _read_file(file, max_bytes)
    modules, embeddings = sort_tensors(tensors, pipe, name=str(file))
    configs = _read_configs(metadata if METADATA in metadata else _beside(file, modules), file)
    for module, parts in modules.items():
        _check_parts(module, parts, name=str(file))
        if configs is not None and module.split(".")[0] not in configs:
            raise ModelError(f"{file} says nothing of how {module.split('.')[0]} is scaled; save the adapter again")
    scales = {module: _scale(module, parts, configs) for module, parts in modules.items()}
    loras, factors = _as_loras(modules, scales, pipe, name=str(file))
    check_tensors(loras, name=str(file))
    _check_changes(loras, factors, name=str(file))
    if configs is None or factors != scales:
        alphas = {module: factor * loras[f"{module}.lora_A.weight"].shape[0] for module, factor in factors.items()}
        configs = configs_of(loras, alphas)
    adapter = Adapter(loras, configs, embeddings)
    return adapter if pipe is None else fit_adapter(adapter, pipe, name=str(file))


def sort_tensors(
    tensors: Mapping[str, Tensor], pipe: Any, *, name: str
) -> tuple[dict[str, Parts], dict[str, dict[str, Tensor]]]:
    """Sort tensors by layer ("unet.<module>") and part, and the bundled embeddings by word and encoder.

    Raises:
        ModelError: nothing is there, or a name belongs to no adapter or to no layer of the base model.
    """
    modules: dict[str, Parts] = {}
    embeddings: dict[str, dict[str, Tensor]] = {}
    stems = known_stems(pipe) if pipe is not None else None
    for key, value in tensors.items():
        if not value.is_floating_point() and not key.endswith((".alpha", ".scalar")):
            raise ModelError(
                f"{name} holds values of type {str(value.dtype).removeprefix('torch.')} in {key!r}; save it in "
                "float32, float16 or bfloat16"
            )
        value = value.float() if value.element_size() == 1 else value  # 8-bit floats cannot be computed with
        if not value.isfinite().all():
            raise ModelError(f"{name} holds values in {key!r} that are not finite numbers; train or fetch it again")
        if key.startswith("bundle_emb."):
            word, _, part = key.removeprefix("bundle_emb.").rpartition(".")
            part = "clip_l" if part == "*" else part
            embeddings.setdefault(word.removesuffix(".string_to_param"), {})[part] = value
            continue
        module, part = _place(key, stems, name=name)
        modules.setdefault(module, {})[part] = value
    if not modules:
        what = (
            "words alone, and changes no layer; give it with --embeddings"
            if embeddings
            else "no tensors; save it again"
        )
        raise ModelError(f"{name} holds {what}")
    return modules, embeddings


def _place(key: str, stems: Mapping[str, str] | None, *, name: str) -> tuple[str, str]:
    """Find the layer and the part that a tensor's name means."""
    if found := _PROCESSOR.fullmatch(key):
        layer = "to_out.0" if found[2] == "to_out" else found[2]
        return _module(f"{found[1]}.{layer}", key, name=name), found[3]
    if other := _UNET_OF_OTHERS.fullmatch(key):
        key = f"lora_unet_{other[2].replace('.', '_')}{other[3]}"
    found = _SPLIT.fullmatch(key)
    if found is None:
        raise ModelError(
            f"{name} holds {key!r}, which no LoRA of Stable Diffusion has; give a file of LoRA, DoRA, LoHa or LoKr"
        )
    if not is_kohya(key):
        return _module(found[1], key, name=name), _PART[found[2]]
    if stems is None:
        raise ModelError(f"{name} is a kohya file; name its base model as well, so that its layers can be found")
    if found[1] not in stems:
        raise ModelError(
            f"the adapter's layer {key!r} is not in this base model; use the adapter with the base it was trained on "
            "(SD 1.x, SD 2.x or SDXL)"
        )
    return stems[found[1]], _PART[found[2]]


def _module(path: str, key: str, *, name: str) -> str:
    """Spell a dotted path as "part.module", without peft's prefix; a path alone belongs to the UNet or the text."""
    path = path.replace("base_model.model.", "")
    if path.split(".")[0] in PARTS:
        return path
    if path.startswith(_UNET):
        return f"unet.{path}"
    if path.startswith(("text_model.", "encoder.layers.")):
        return f"text_encoder.{path}"
    raise ModelError(f"{name} holds {key!r}, which no LoRA of Stable Diffusion has; give one for SD or SDXL")


def _check_parts(module: str, parts: Parts, *, name: str) -> None:
    """Check that a layer's parts are complete, and that alpha is one number."""
    for one in ("alpha", "scalar"):
        if one in parts and parts[one].numel() != 1:
            raise ModelError(
                f"{name} has an {one} of {parts[one].numel()} numbers for {module!r}; one is needed: save it again"
            )
    if any(0 in value.shape for value in parts.values()):
        raise ModelError(f"{name} has a rank of 0 for {module!r}; leave the layer out, or train it again")
    core = set(parts) - set(_KEPT)
    kronecker = core <= set(LOKR) and all(
        side in core or {f"{side}_a", f"{side}_b"} <= core for side in ("lokr_w1", "lokr_w2")
    )
    if core not in ({"down", "up"}, set(LOHA[:4])) and not kronecker:
        raise ModelError(f"{name} lacks half of the pair of {module!r}; save the adapter again")


def _scale(module: str, parts: Parts, configs: Mapping[str, dict[str, Any]] | None) -> float:
    """Return the factor of a layer's product: alpha / rank, of the tensors or of the settings of its part."""
    rank, scalar = rank_of(parts), float(parts.get("scalar", 1.0))
    if rank is None:
        return scalar
    if "alpha" in parts:
        return scalar * float(parts["alpha"]) / rank
    return scalar * (1.0 if configs is None else scale_in(configs, module, rank=rank))


def _as_loras(
    modules: Mapping[str, Parts], scales: Mapping[str, float], pipe: Any, *, name: str
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return the tensors of LoRA or DoRA by peft's names, and the factor of each layer's product.

    peft computes DoRA where all layers of the UNet have magnitudes of their outputs; other magnitudes become a change
    of full rank, as LoHa and LoKr do.
    """
    unet = [parts for module, parts in modules.items() if module.startswith("unet.")]
    native = all(_is_lora(parts) and "magnitude" in parts and parts["down"].ndim == 2 for parts in unet)
    tensors, factors = {}, {}
    for module, parts in modules.items():
        down, up = parts.get("down"), parts.get("up")
        magnitude = parts.get("magnitude")
        if _is_lora(parts) and (magnitude is None or (native and module.startswith("unet."))):
            assert down is not None and up is not None
            tensors[f"{module}.lora_A.weight"] = with_mid(down, parts["mid"]) if "mid" in parts else down
            tensors[f"{module}.lora_B.weight"] = up
            if magnitude is not None:
                tensors[f"{module}.lora_magnitude_vector"] = magnitude.flatten()
            factors[module] = scales[module]
            continue
        change = _change(module, parts, scales[module], pipe, name=name)
        tensors[f"{module}.lora_A.weight"], tensors[f"{module}.lora_B.weight"] = as_lora(change)
        factors[module] = 1.0
    return tensors, factors


def _check_changes(loras: Mapping[str, Tensor], factors: Mapping[str, float], *, name: str) -> None:
    """Refuse layers whose change may be beyond what a picture is computed in, though each factor is finite."""
    for module, factor in factors.items():
        down, up = loras[f"{module}.lora_A.weight"], loras[f"{module}.lora_B.weight"]
        most = abs(factor) * float(down.double().norm()) * float(up.double().norm())
        if not most < LARGEST:
            raise ModelError(
                f"{name} changes {module!r} by up to {most:.3g}, of which pictures become black; its alpha or weights "
                "are damaged: train or fetch it again"
            )


def _beside(file: Path, modules: Mapping[str, Parts]) -> dict[str, str]:
    """Return the settings that peft keeps beside the weights of one part, as if they were metadata."""
    parts = {module.split(".")[0] for module in modules}
    settings = file.with_name(SETTINGS)
    if file.name != PEFT or not settings.is_file() or any("alpha" in found for found in modules.values()):
        return {}
    if len(parts) != 1:
        raise ModelError(
            f"{file} changes {' and '.join(sorted(parts))}, and {SETTINGS} is of one; save it by diffusers"
        )
    try:
        config = from_json(read_text(settings))
        return {METADATA: json.dumps({f"{part}.{key}": value for part in parts for key, value in config.items()})}
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{settings} cannot be read ({shown(error, most=200)}); save the adapter again") from error


def _is_lora(parts: Parts) -> bool:
    """Tell whether peft computes it: a pair, with magnitudes of outputs or none."""
    magnitude = parts.get("magnitude")
    return "down" in parts and (magnitude is None or along_outputs(magnitude, parts["up"].shape))


def _change(module: str, parts: Parts, scale: float, pipe: Any, *, name: str) -> Tensor:
    if pipe is None:
        raise ModelError(f"{name} is no plain LoRA; name its base model as well, whose weights it changes")
    layers = layers_of(pipe)
    weight = layers[spell(module, layers, name=name)].weight
    if weight.is_meta:
        raise ModelError(f"{name} is no plain LoRA and needs the base's weights, which are offloaded; load it before")
    try:
        return change_of(parts, weight, scale=scale).cpu()
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"{name} is for another base model: {module!r} does not fit a layer of {tuple(weight.shape)} "
            f"({shown(error, most=200)}); use the base it was trained on"
        ) from error


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
        raise ModelError(
            f"{file} is not a sound safetensors file ({shown(error, most=200)}); save or fetch it again"
        ) from error


def _read_configs(metadata: Mapping[str, str], file: Path) -> dict[str, dict[str, Any]] | None:
    """Read the settings of each part out of a diffusers file's metadata; None where there are none.

    Settings that are not known are left out, as newer versions write more of them.
    """
    if METADATA not in metadata:
        return None
    try:
        settings = from_json(metadata[METADATA])
        if "r" in settings:  # of a UNet alone, as its own save_lora_adapter writes them
            settings = {f"unet.{name}": value for name, value in settings.items()}
        configs: dict[str, dict[str, Any]] = {}
        for key, value in settings.items():
            part, _, name = key.partition(".")
            configs.setdefault(part, {})[name] = value
        for config in configs.values():
            _check_config(config)
        plain = {part: plain_config(config) for part, config in configs.items()}
        for config in plain.values():
            LoraConfig(**config)
        return plain
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ModelError(
            f"the settings inside {file} cannot be read ({shown(error, most=200)}); save the adapter again"
        ) from error


def _check_config(config: Mapping[str, Any]) -> None:
    """Refuse numbers that scale a weight and are none, and starts that change the base's weights as well."""
    ranks = [config["r"], *(config.get("rank_pattern") or {}).values()]
    alphas = [config["lora_alpha"], *(config.get("alpha_pattern") or {}).values()]
    if not all(isinstance(rank, int) and 1 <= rank <= MAX_RANK for rank in ranks):
        raise ValueError(f"ranks are {ranks}, allowed are 1 to {MAX_RANK}")
    if not all(type(alpha) in (int, float) and math.isfinite(alpha) for alpha in alphas):
        raise ValueError(f"alphas are {alphas}, finite numbers are needed")
    switches = {key: config[key] for key in ("use_rslora", "use_dora") if config.get(key) is not None}
    if wrong := [f"{key} is {value!r}" for key, value in switches.items() if not isinstance(value, bool)]:
        raise ValueError(f"{wrong[0]}, true or false is needed")
    start = str(config.get("init_lora_weights", "")).lower()
    if start.startswith(("pissa", "olora", "corda")):
        raise ValueError(f"init_lora_weights is {start}, which changes the base as well; convert it to plain LoRA")
