"""Write training checkpoints that a crash, a full disk or a killed process cannot destroy; read the newest sound one.

Layout of one checkpoint, `folder/step-00000200/`: a safetensors file for each group of tensors, `state.json`, and last
of all `manifest.json` with the sha256 of every other file. It is written under a temporary name, flushed to disk, and
renamed in one operation; only then are older checkpoints removed. No pickle anywhere.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .errors import ConfigError, ModelError, ResourceError
from .folders import flush, remove_folder, swap_folder, work_folder
from .text import from_json

STEP = re.compile(r"step-(\d+)$")
GROUP = re.compile(r"[A-Za-z0-9_-]+$")
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """What `load_latest` read. `skipped` names newer checkpoints that were damaged."""

    step: int
    tensors: dict[str, dict[str, Tensor]]
    state: dict
    path: Path
    skipped: tuple[str, ...] = ()


def save_checkpoint(
    folder: str | Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: dict, *, keep: int = 2
) -> Path:
    """Write one checkpoint safely, then remove all but the newest `keep`; return its folder.

    `tensors` maps a group ("model", "optimizer", "random") to named tensors; a generator's state is the uint8 tensor of
    `generator.get_state()`. `state` holds JSON values only.

    Raises:
        ConfigError: keep < 2, a bad group name, a state that is not JSON, or a sound checkpoint of a later step exists.
        ResourceError: the disk refused the write (full, read-only); earlier checkpoints are untouched.
    """
    folder = Path(folder)
    _check_request(folder, step, tensors, keep)
    text = _to_json(state)
    target = folder / f"step-{step:08d}"
    try:
        with work_folder(target) as work:
            _write_files(work, step, tensors, text)
            swap_folder(work, target)
    except (OSError, SafetensorError) as error:
        raise ResourceError(
            f"could not write checkpoint of step {step} in {folder}: {error}. Earlier checkpoints are untouched; "
            "free disk space or choose another folder, then resume"
        ) from error
    _prune(folder, keep)
    return target


def load_latest(folder: str | Path) -> Checkpoint | None:
    """Read the newest checkpoint in `folder` whose files all match their manifest; None where there is none at all.

    Raises:
        ModelError: checkpoints exist, but every one is damaged.
    """
    skipped = []
    for path in reversed(list_checkpoints(folder)):
        found = _read(path) if verify(path) else None
        if found is None:
            skipped.append(path.name)
            continue
        return Checkpoint(_step_of(path), *found, path, tuple(skipped))
    if skipped:
        raise ModelError(
            f"all checkpoints in {folder} are damaged ({', '.join(skipped)}): their files do not match manifest.json, "
            "or cannot be read. Restore one from a copy, or remove the folder to begin again"
        )
    return None


def _read(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict] | None:
    """Read the tensors and the state of a checkpoint; None where they are none although the manifest knows them."""
    try:
        tensors = {file.stem: load_file(file) for file in sorted(path.glob("*.safetensors"))}
        state = from_json((path / "state.json").read_text(encoding="utf-8"))
    except (OSError, SafetensorError, ValueError):
        return None
    return (tensors, state) if isinstance(state, dict) else None


def recorded_state(folder: str | Path) -> dict:
    """Read the state that the newest checkpoint in `folder` records, unverified; {} where none can be read."""
    for path in reversed(list_checkpoints(folder)):
        try:
            state = from_json((path / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(state, dict):
            return state
    return {}


def list_checkpoints(folder: str | Path) -> list[Path]:
    """List the checkpoint folders in `folder`, oldest step first, without verifying them."""
    folder = Path(folder)
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.is_dir() and STEP.match(path.name)), key=_step_of)


def verify(path: str | Path) -> bool:
    """Tell whether every file of a checkpoint folder is there and matches the sha256 in its manifest."""
    path = Path(path)
    try:
        digests = from_json((path / MANIFEST).read_text(encoding="utf-8"))["sha256"]
        return "state.json" in digests and all(_sha256(path / name) == digest for name, digest in digests.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


MOMENTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer")
"""State that has the shape of its parameter; other state, such as Prodigy's or quantised one, has its own."""


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Flatten an optimiser's state into named tensors ("0.exp_avg", ...) that safetensors can hold.

    Moments have the shape of their parameter, other state its own.
    """
    flat = {}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            inner = value if isinstance(value, dict) else {name: value}  # bitsandbytes wraps what is quantised
            for key, one in inner.items():
                flat[f"{index}.{key}"] = one if isinstance(one, Tensor) else torch.tensor(one, dtype=torch.float64)
    return flat


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put the tensors of `optimizer_tensors` back; settings such as the learning rate stay those of `optimizer`.

    Raises:
        ModelError: the tensors belong to an optimiser with other parameters.
    """
    current = optimizer.state_dict()
    shapes = [p.shape for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        known = index.isdigit() and int(index) < len(shapes)
        if not known or (name in MOMENTS and value.shape != shapes[int(index)]):
            raise ModelError(
                f"optimiser state {key!r} of shape {tuple(value.shape)} fits none of the {len(shapes)} parameters. "
                "Resume with the model configuration that wrote the checkpoint"
            )
        state.setdefault(int(index), {})[name] = value.clone()
    optimizer.load_state_dict({"state": state, "param_groups": current["param_groups"]})


def _check_request(folder: Path, step: int, tensors: Mapping, keep: int) -> None:
    if keep < 2:
        raise ConfigError(f"keep is {keep}; it must be at least 2, so that one sound checkpoint is always left")
    if step < 0:
        raise ConfigError(f"step is {step}; it must be 0 or more")
    for group in tensors:
        if not GROUP.match(group):
            raise ConfigError(f"group name {group!r} may hold only letters, digits, '_' and '-'")
    for path in list_checkpoints(folder):
        if _step_of(path) > step and verify(path):
            raise ConfigError(
                f"{folder} holds a checkpoint of step {_step_of(path)}, later than step {step}. "
                "Resume from it, or give a new run its own folder"
            )


def _to_json(state: dict) -> str:
    try:
        return json.dumps(state, indent=1, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"the checkpoint's state must hold only JSON values: {error}. Move tensors to `tensors`"
        ) from error


def _write_files(work: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: str) -> None:
    digests = {}
    for group, named in tensors.items():
        file = work / f"{group}.safetensors"
        save_file(_separate(named), file)
        file.chmod(0o644)
        flush(file)
        digests[file.name] = _sha256(file)
    for name, text in (("state.json", state), (MANIFEST, None)):
        text = text if text is not None else json.dumps({"step": step, "sha256": digests}, indent=1)
        (work / name).write_text(text, encoding="utf-8")
        flush(work / name)
        digests[name] = _sha256(work / name)
    flush(work)


def _separate(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors that share memory (tied weights), which safetensors refuses."""
    seen: set[int] = set()
    result = {}
    for name, tensor in named.items():
        tensor = tensor.detach().cpu().contiguous()
        address = tensor.untyped_storage().data_ptr()
        result[name] = tensor.clone() if address in seen else tensor
        seen.add(address)
    return result


def _prune(folder: Path, keep: int) -> None:
    for path in list_checkpoints(folder)[:-keep]:
        remove_folder(path)


def _step_of(path: Path) -> int:
    match = STEP.match(path.name)
    return int(match.group(1)) if match else -1


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
