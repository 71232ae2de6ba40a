"""What lies in a folder: what of it is half-written, and whether it is what an undisturbed run leaves."""

import csv
import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet
from safetensors.numpy import load_file

from recsys.checkpoint import list_checkpoints, verify

STEP = re.compile(r"/step-(\d+)/")
CLOCKS = ("seconds", "cpu_seconds")
"""What differs between two equal runs."""
HEADS = ("config.json", "model_index.json", "looks.json", "manifest.json")
"""A folder that has one of these claims to be whole."""


def files(folder: Path) -> list[str]:
    """List the files below a folder, hidden ones as well."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def contents(folder: Path) -> dict[str, str]:
    """Digest every file below a folder: pixels of pictures, tensors of weights, JSON and tables without clocks."""
    return {name: hashlib.sha256(_content(folder / name)).hexdigest()[:16] for name in files(folder)}


def last_checkpoint_only(found: dict[str, str]) -> dict[str, str]:
    """Leave out checkpoints but the last one: a run that was stopped has written one where it stopped."""
    numbers = {name: int(step[1]) for name in found if (step := STEP.search(name))}
    return {name: found[name] for name in found if numbers.get(name, -1) in (-1, max(numbers.values(), default=-1))}


def half_written(folder: Path, whole: dict[str, str]) -> list[str]:
    """Name what is half-written under its final name: files that cannot be read, folders that lack files.

    whole: the contents that an undisturbed run leaves. What is hidden (a name with a dot) is not claimed to be whole.
    """
    there = [name for name in files(folder) if not any(part.startswith(".") for part in Path(name).parts)]
    found = [name for name in there if not _readable(folder / name)]
    for path in folder.rglob("checkpoints"):
        found += [str(one.relative_to(folder)) for one in list_checkpoints(path) if not verify(one)]
    for head in there:
        place = Path(head).parent
        if Path(head).name in HEADS and "checkpoints" not in place.parts:
            needed = _listed(folder / head) or [
                Path(name).name for name in whole if Path(name).parent == place and Path(name).suffix != ".csv"
            ]
            found += [f"{place} lacks {name}" for name in needed if not (folder / place / name).is_file()]
    return found


def _listed(head: Path) -> list[str]:
    """Name the files that a record of looks tells of: a run that was stopped keeps those it finished, with a record."""
    if head.name != "looks.json" or not _readable(head):
        return []
    looks = json.loads(head.read_text(encoding="utf-8"))["looks"]
    return ["sheet.png", *(str(look[name]) for look in looks for name in ("file", "figure") if look.get(name))]


def newest(folder: Path) -> int:
    """Return the step of the newest sound checkpoint below a folder, 0 where there is none."""
    sound = [one for path in folder.rglob("checkpoints") for one in list_checkpoints(path) if verify(one)]
    sound += [one for path in folder.glob("trial-*") for one in list_checkpoints(path) if verify(one)]
    return max((int(path.name.split("-")[1]) for path in sound), default=0)


def _readable(path: Path) -> bool:
    reader = READERS.get(path.suffix)
    try:
        if reader is not None:
            reader(path)
    except Exception:  # every library has its own
        return False
    return reader is not None or path.name == "lock" or path.stat().st_size > 0


def _picture(path: Path) -> bytes:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGBA"))
        return str((pixels.shape, image.info)).encode() + pixels.tobytes()


def _tensors(path: Path) -> bytes:
    found = load_file(path)
    return b"".join(f"{name} {found[name].dtype} {found[name].shape}".encode() + found[name].tobytes()
                    for name in sorted(found))  # fmt: skip


def _json(path: Path) -> bytes:
    return json.dumps(_timeless(json.loads(path.read_text(encoding="utf-8"))), sort_keys=True).encode()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(one) for key, one in value.items() if key not in CLOCKS}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def _table(path: Path) -> bytes:
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [{key: value for key, value in row.items() if key not in CLOCKS} for row in csv.DictReader(stream)]
    if any(None in row or None in row.values() for row in rows):
        raise ValueError(f"{path} has a line that is cut off")
    return json.dumps(rows).encode()


def _frame(path: Path) -> bytes:
    found = parquet.read_table(path).to_pydict()
    if "state" in found:  # after a kill a subject was there before; that it is the same is seen by its own files
        found["state"] = ["learnt" if one == "there before" else one for one in found["state"]]
    return str(found).encode()


def _lines(path: Path) -> bytes:
    text = path.read_bytes()
    if not text.endswith(b"\n"):
        raise ValueError(f"{path} ends within a line")
    return text


def _arrow(path: Path) -> bytes:
    with pa.OSFile(str(path)) as stream:
        reader = pa.ipc.open_file(stream) if path.name.startswith("part-") else pa.ipc.open_stream(stream)
        return str(reader.read_all().to_pydict()).encode()


READERS: dict[str, Callable[[Path], bytes]] = {
    ".png": _picture, ".safetensors": _tensors, ".json": _json, ".csv": _table, ".md": _lines,
    ".jsonl": _lines,
    ".npy": lambda path: np.load(path).tobytes(), ".arrow": _arrow,
    ".parquet": _frame,
}  # fmt: skip


def _content(path: Path) -> bytes:
    try:
        return READERS.get(path.suffix, Path.read_bytes)(path)
    except Exception as error:
        return f"unreadable: {type(error).__name__}".encode()


def size(folder: Path) -> int:
    """Sum up the bytes of the files below a folder."""
    return sum(os.path.getsize(folder / name) for name in files(folder))
