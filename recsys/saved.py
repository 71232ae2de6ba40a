"""What a saved recommender's folder holds, and the methods by which each recommender reads and writes itself.

A folder holds config.json, model.safetensors, items.json (the names of items 1..n, a list of texts), run.json and a
model card, README.md; that of a model that counts also tally.safetensors: what `update` adds to, and ranking does not
need. Nothing is pickled.
"""

import dataclasses
import hashlib
import json
import os
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .card import LICENCE, card, table
from .data.vocabulary import Vocabulary
from .errors import ModelError, ResourceError, shown
from .folders import flush, flush_names, work_folder
from .text import from_json

CONFIG, ITEMS, WEIGHTS, RUN, CARD = "config.json", "items.json", "model.safetensors", "run.json", "README.md"
TALLY = "tally.safetensors"
MOST_ITEMS = 10**9
IDENTITY = (CONFIG, ITEMS, WEIGHTS)
"""What a model is; run.json and the card tell how it came about."""


class Pretrained:
    """A recommender that a folder can hold. Its name there is its class's in lower case.

    The two methods are those of the hub's mixins, beside `recsys.pretrained.load` and `save`, which take any model.
    """

    vocabulary: Vocabulary | None = None
    """The names of its items, as they were read with it."""

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = True,
        revision: str | None = None,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Read a model of this class from a folder, or by a hub's name; nothing is fetched unless asked for.

        local_files_only: False lets files be fetched from the hub; otherwise a name is looked up in the local cache.
        The other settings are the hub's own.

        Raises:
            ModelError: something is missing, damaged, of the wrong shape, or of another class.
        """
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir():
            from huggingface_hub import snapshot_download

            try:
                folder = Path(snapshot_download(
                    str(pretrained_model_name_or_path), allow_patterns=[*IDENTITY, RUN, CARD], revision=revision,
                    force_download=force_download, token=token, cache_dir=cache_dir, local_files_only=local_files_only,
                ))  # fmt: skip
            except Exception as error:  # the hub's errors and those of its network library are of many kinds
                ask = "give a folder, or local_files_only=False to fetch it" if local_files_only else "check the name"
                raise ModelError(f"there is no model at {folder} ({type(error).__name__}); {ask}") from error
        return read(folder, {name_of(cls): (cls, typing.get_type_hints(cls.__init__)["config"])}, device=device)

    def save_pretrained(
        self, save_directory: str | Path, *, items: Vocabulary | None = None, run: dict | None = None
    ) -> Path:
        """Write the model to a folder, as `recsys.pretrained.save` does; return the folder.

        Raises:
            ModelError, ResourceError: as `recsys.pretrained.save` does.
        """
        return write(self, name_of(type(self)), Path(save_directory), items=items, run=run)


def name_of(cls: type) -> str:
    """Name a model's class as config.json does."""
    return cls.__name__.lower()


def write(model: Any, name: str, folder: Path, *, items: Vocabulary | None, run: dict | None) -> Path:
    """Write a model under its name; see `recsys.pretrained.save`.

    Raises:
        ModelError: another number of items, or a run that is not JSON.
        ResourceError: the files cannot be written.
    """
    try:
        config = json.dumps({"model": name, "config": dataclasses.asdict(model.config)}, indent=2)
        about = json.dumps(run or {}, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"run= holds something that is not JSON ({error}); give numbers, strings, lists and dicts"
        ) from error
    n_items = model.config.n_items
    if items is None:
        items = model.vocabulary or Vocabulary.numbered(n_items)
    if len(items) != n_items:
        raise ModelError(f"items= names {len(items)} items and the model has {n_items}; name each of them")
    texts = {
        CONFIG: config,
        ITEMS: json.dumps(items.names[1:], separators=(",\n", ":")),
        RUN: about,
        CARD: _card(model, name, run or {}),
    }
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    try:
        with work_folder(folder / "model") as work:
            for file, text in texts.items():
                (work / file).write_text(text.rstrip("\n") + "\n", encoding="utf-8")
            save_file(tensors, work / WEIGHTS)
            _write_tally(model, work)
            flush(work)
            _move_in(work, folder)
    except (OSError, SafetensorError) as error:
        raise ResourceError(
            f"cannot write the model to {folder}: {error}; free space or choose another folder"
        ) from error
    return folder


def _move_in(work: Path, folder: Path) -> None:
    """Move a model's files to their place, beside which others lie.

    The configuration goes first and comes last: a folder without one is no model, so that whatever ends the process in
    between, parts of two models are never taken for one.
    """
    (folder / CONFIG).unlink(missing_ok=True)
    if not (work / TALLY).is_file():
        (folder / TALLY).unlink(missing_ok=True)
    for path in sorted(work.iterdir(), key=lambda path: path.name == CONFIG):
        path.chmod(0o644)  # safetensors' own mode lets the owner alone read
        os.replace(path, folder / path.name)
    flush_names(folder)


def read(folder: Path, models: Mapping[str, tuple[Any, Any]], *, device: torch.device | str = "cpu") -> Any:
    """Read one of `models`, each by name with the class of its configuration, ready to recommend on a device.

    Raises:
        ModelError: something is missing, damaged, unknown or of the wrong shape; the message names it.
    """
    name, config = _read_config(folder / CONFIG, models)
    cls, config_class = models[name]
    known = {field.name for field in dataclasses.fields(config_class)}
    if unknown := sorted(set(config) - known):
        raise ModelError(f"{folder / CONFIG} has unknown settings {unknown}; {name} knows {sorted(known)}")
    n_items = config.get("n_items")
    if type(n_items) is not int or not 1 <= n_items <= MOST_ITEMS:
        raise ModelError(
            f"{folder / CONFIG} does not describe a {name}: n_items is {shown(n_items)}, allowed are 1 to 10^9; "
            "give a folder that recsys.pretrained.save wrote"
        )
    try:
        model = cls(config_class(**config))
    except (TypeError, ValueError) as error:
        raise ModelError(f"{folder / CONFIG} does not describe a {name}: {error}") from error
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"{folder / WEIGHTS} does not fit its config.json: {shown(error, most=300)}; save the model again"
        ) from error
    model.vocabulary = load_vocabulary(folder)
    if len(model.vocabulary) != model.config.n_items:
        raise ModelError(
            f"{folder / ITEMS} names {len(model.vocabulary)} items and config.json says {model.config.n_items}; "
            "train the recommender again"
        )
    return model.eval().to(device) if isinstance(model, nn.Module) else model


def load_vocabulary(folder: str | Path) -> Vocabulary:
    """Read the names of the items of a saved recommender.

    Raises:
        ModelError: the file is missing or damaged, or a name is empty or there twice.
    """
    path = Path(folder) / ITEMS
    if not path.is_file():
        raise ModelError(
            f"there is no {path}, which names the recommender's items; train it again, or give another folder"
        )
    try:
        names = from_json(path.read_text(encoding="utf-8"))
        if not isinstance(names, list):
            raise ValueError(f"it holds a {type(names).__name__}, not a list")
        return Vocabulary(("", *names))
    except (OSError, ValueError) as error:  # a DataError is a ValueError
        raise ModelError(f"cannot read {path}: {error}; train the recommender again") from error


def load_tally(folder: str | Path) -> dict[str, Tensor]:
    """Read what new counts are added to: the `tally` of a recommender as it was saved, empty where it had none.

    Raises:
        ModelError: it is damaged or belongs to another model.
    """
    path = Path(folder) / TALLY
    if not path.is_file():
        return {}
    try:
        with safe_open(path, "pt") as file:
            mark = (file.metadata() or {}).get("model")
            tally = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot read {path}: {error}; train the recommender again") from error
    if mark != _digest(Path(folder) / WEIGHTS):
        raise ModelError(f"{path} belongs to another model; train the recommender again")
    return tally


def _write_tally(model: Any, folder: Path) -> None:
    """Write what new counts are added to beside the weights, with a mark of these, if there is anything."""
    tensors = {key: value.contiguous() for key, value in getattr(model, "tally", {}).items()}
    if tensors:
        save_file(tensors, folder / TALLY, {"model": _digest(folder / WEIGHTS)})


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprint(folder: str | Path) -> str:
    """Digest configuration, weights and items' names of a saved model: equal models have equal fingerprints.

    Raises:
        ModelError: a file is missing.
    """
    digest = hashlib.sha256()
    try:
        for name in IDENTITY:
            with (Path(folder) / name).open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    except OSError as error:
        raise ModelError(f"{folder} is no whole model: {error}; train it again") from error
    return digest.hexdigest()[:16]


def _read_config(path: Path, models: Mapping[str, Any]) -> tuple[str, dict]:
    try:
        content = from_json(path.read_text(encoding="utf-8"))
        name, config = str(content["model"]), dict(content["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"cannot read {path}: {error}; give a folder that recsys.pretrained.save wrote") from error
    if name not in models:
        raise ModelError(f"{path} names the model {shown(name)!r}; allowed are {', '.join(models)}")
    return name, config


def _card(model: Any, name: str, run: dict) -> str:
    """The model card; `run` may hold figures under "validation" and packages under "versions"."""
    head = {
        **LICENCE,
        "library_name": "personagen",
        "tags": ["recommendation", "sequential-recommendation", name],
    }
    made_with = ", ".join(f"{package} {version}" for package, version in run.get("versions", {}).items())
    return card(head, [
        f"# {type(model).__name__} for {model.config.n_items:,} items", "",
        "Ranks the items that come next after a history. `items.json` holds the items' names."
        + (f" Trained with {made_with}." if made_with else ""), "",
        "```python", "import recsys", "", 'model = recsys.load("FOLDER")', "```", "",
        "```bash", "personagen recommend rank --recommender FOLDER --data HISTORIES.csv", "```", "",
        *table("validation", run.get("validation", {})),
        *table("setting", dataclasses.asdict(model.config)),
    ])  # fmt: skip
