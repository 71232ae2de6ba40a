"""Save a recommender as config.json + model.safetensors + run.json, and load it back strictly; nothing is pickled."""

import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from .errors import ModelError, ResourceError
from .models import ENHANCERS, MODELS
from .types import Recommender

FILES = ("config.json", "model.safetensors", "run.json")


def save(model: Recommender | nn.Module, folder: str | Path, *, run: dict | None = None) -> Path:
    """Write a recommender or enhancer of recsys.models to `folder`, replacing the three files there; return the folder.

    `run` tells how the model came about (configuration, versions, seed, commit, data, metrics), as JSON values.
    The files are written beside the folder first, so a failed write leaves the old ones.

    Raises:
        ModelError: a class outside recsys.models or a run that is not JSON.
        ResourceError: the files cannot be written.
    """
    any_model: Any = model
    known = MODELS | ENHANCERS
    name = next((name for name, (cls, _) in known.items() if type(model) is cls), None)
    if name is None:
        raise ModelError(f"cannot save a {type(model).__name__}; allowed are {', '.join(known)}")
    try:
        config = json.dumps({"model": name, "config": dataclasses.asdict(any_model.config)}, indent=2)
        about = json.dumps(run or {}, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"run= holds something that is not JSON ({error}); give numbers, strings, lists and dicts"
        ) from error
    tensors = {key: value.detach().cpu().contiguous() for key, value in any_model.state_dict().items()}
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as work:
            (Path(work) / "config.json").write_text(config + "\n")
            (Path(work) / "run.json").write_text(about + "\n")
            save_file(tensors, Path(work) / "model.safetensors")
            for file in FILES:
                os.replace(Path(work) / file, folder / file)
    except (OSError, SafetensorError) as error:
        raise ResourceError(
            f"cannot write the model to {folder}: {error}; free space or choose another folder"
        ) from error
    return folder


def load(folder: str | Path, *, device: torch.device | str = "cpu") -> Recommender:
    """Read a recommender that `save` wrote, ready to recommend on a device.

    Raises:
        ModelError: something is missing, damaged, unknown or of the wrong shape; the message names it.
    """
    model = _load(Path(folder), MODELS)
    return cast(Recommender, model.to(device) if isinstance(model, nn.Module) else model)


def load_enhancer(folder: str | Path) -> nn.Module:
    """Read a model of recsys.models.ENHANCERS that `save` wrote, on the CPU.

    Raises:
        ModelError: as `load` does.
    """
    return cast(nn.Module, _load(Path(folder), ENHANCERS))


def _load(folder: Path, models: dict[str, Any]) -> Any:
    name, config = _read_config(folder / "config.json", models)
    cls, config_class = models[name]
    known = {field.name for field in dataclasses.fields(config_class)}
    if unknown := sorted(set(config) - known):
        raise ModelError(f"{folder / 'config.json'} has unknown settings {unknown}; {name} knows {sorted(known)}")
    try:
        model = cls(config_class(**config))
    except (TypeError, ValueError) as error:
        raise ModelError(f"{folder / 'config.json'} does not describe a {name}: {error}") from error
    try:
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"{folder / 'model.safetensors'} does not fit its config.json: {error}; save the model again"
        ) from error
    if isinstance(model, nn.Module):
        model.eval()
    return model


def _read_config(path: Path, models: dict[str, Any]) -> tuple[str, dict]:
    try:
        content = json.loads(path.read_text())
        name, config = content["model"], dict(content["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"cannot read {path}: {error}; give a folder that recsys.pretrained.save wrote") from error
    if name not in models:
        raise ModelError(f"{path} names the model {name!r}; allowed are {', '.join(models)}")
    return name, config
