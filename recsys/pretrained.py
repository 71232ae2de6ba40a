"""Save a recommender and the names of its items, and load them back strictly; nothing is pickled.

A folder holds config.json, model.safetensors, items.json (the names of items 1..n, a list of texts) and run.json.
"""

import dataclasses
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from .data.vocabulary import Vocabulary
from .errors import ModelError, ResourceError
from .models import ENHANCERS, MODELS
from .types import Recommender

ITEMS = "items.json"
FILES = ("config.json", ITEMS, "model.safetensors", "run.json")


def save(
    model: Recommender | nn.Module, folder: str | Path, *, items: Vocabulary | None = None, run: dict | None = None
) -> Path:
    """Write a recommender or enhancer of recsys.models to `folder`, replacing the four files there; return the folder.

    `items` are the names of the model's items; left out, their numbers. `run` tells how the model came about
    (configuration, versions, seed, commit, data, metrics), as JSON values.
    The files are written beside the folder first, so a failed write leaves the old ones.

    Raises:
        ModelError: a class outside recsys.models, another number of items, or a run that is not JSON.
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
    n_items = any_model.config.n_items
    items = Vocabulary.numbered(n_items) if items is None else items
    if len(items) != n_items:
        raise ModelError(f"items= names {len(items)} items and the model has {n_items}; name each of them")
    tensors = {key: value.detach().cpu().contiguous() for key, value in any_model.state_dict().items()}
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as work:
            (Path(work) / "config.json").write_text(config + "\n")
            (Path(work) / ITEMS).write_text(json.dumps(items.names[1:], separators=(",\n", ":")) + "\n")
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


def load_vocabulary(folder: str | Path) -> Vocabulary:
    """Read the names of the items of a recommender that `save` wrote.

    Raises:
        ModelError: the file is missing or damaged, or a name is empty or there twice.
    """
    path = Path(folder) / ITEMS
    if not path.is_file():
        raise ModelError(
            f"there is no {path}, which names the recommender's items; train it again, or give another folder"
        )
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(names, list):
            raise ValueError(f"it holds a {type(names).__name__}, not a list")
        return Vocabulary(("", *names))
    except (OSError, ValueError) as error:  # a DataError is a ValueError
        raise ModelError(f"cannot read {path}: {error}; train the recommender again") from error


def fingerprint(folder: str | Path) -> str:
    """Digest configuration, weights and items' names of a saved model: equal models have equal fingerprints.

    Raises:
        ModelError: a file is missing.
    """
    digest = hashlib.sha256()
    try:
        for name in FILES[:-1]:  # run.json tells how a model came about, not what it is
            with (Path(folder) / name).open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    except OSError as error:
        raise ModelError(f"{folder} is no whole model: {error}; train it again") from error
    return digest.hexdigest()[:16]


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
    if len(items := load_vocabulary(folder)) != model.config.n_items:
        raise ModelError(
            f"{folder / ITEMS} names {len(items)} items and config.json says {model.config.n_items}; "
            "train the recommender again"
        )
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
