"""Write single files whole or not at all: beside their place, flushed to disk, then moved there."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors.torch import save_file
from torch import Tensor

from recsys.errors import ResourceError
from recsys.folders import HIDDEN, flush, remove_abandoned, swap_folder, work_folder

LONGEST_NAME = 200
"""Bytes of a file's name; with what its temporary name adds, file systems take 255."""


def check_place(path: Path) -> Path:
    """Refuse a place where a file, or a folder, surely cannot be written, before any work is done.

    Raises:
        ResourceError: it cannot; the message says why.
    """
    known = next(folder for folder in (path.absolute(), *path.absolute().parents) if os.path.lexists(folder))
    reason = None
    if any(len(part.encode()) > LONGEST_NAME for part in path.parts):
        reason = f"a name has more than {LONGEST_NAME} bytes; choose a shorter one"
    elif known != path.absolute() and not known.is_dir():
        reason = f"{known} is not a folder; choose another place"
    elif not os.access(known, os.W_OK):
        reason = f"{known} cannot be written to; choose another place"
    if reason is not None:
        raise ResourceError(f"cannot write {path}: {reason}")
    return path


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Call `write` with a temporary path, then move the result to `path`; an older file stays until that moment.

    Raises:
        ResourceError: the disk refuses; nothing is left behind then.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        handle, name = tempfile.mkstemp(prefix=f"{HIDDEN}{path.stem}-", suffix=f"-{os.getpid()}", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _refused(path, error) from error
    temporary = Path(name)
    try:
        write(temporary)
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except Exception as error:
        if disk_refused(error):
            raise _refused(path, error) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_folder(parent: Path, write: Callable[[Path], Path]) -> Path:
    """Call `write` with a temporary folder, then move the folder in it that it returns to `parent`.

    An older one of that name stays until that moment.

    Raises:
        ResourceError: the disk refuses; nothing is left behind then.
    """
    try:
        with work_folder(parent / "result") as work:
            done = write(work)
            flush(done)
            swap_folder(done, parent / done.name)
            return parent / done.name
    except Exception as error:
        if disk_refused(error):
            raise _refused(parent, error) from error
        raise


def disk_refused(error: Exception) -> bool:
    """Tell whether an error is the disk's, in the words of Python or of a library written in Rust."""
    return getattr(error, "errno", None) is not None or "(os error " in str(error)


_swept: set[Path] = set()


def _sweep(folder: Path) -> None:
    """Remove what earlier processes left unfinished in a folder, once."""
    if folder not in _swept:
        _swept.add(folder)
        remove_abandoned(folder)


def _refused(path: Path, error: Exception) -> ResourceError:
    return ResourceError(f"cannot write {path}: {error}; free disk space or choose another folder")


def write_text(path: Path, text: str) -> Path:
    """Write a text file in UTF-8, whole or not at all."""
    return write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_array(path: Path, array: np.ndarray) -> Path:
    """Write an array of any shape and type as .npy, whole or not at all."""

    def write(part: Path) -> None:
        with open(part, "wb") as stream:  # a name would be given the suffix .npy
            np.save(stream, array)

    return write_whole(path, write)


@contextmanager
def new_array(path: Path, *, shape: tuple[int, ...], dtype: type) -> Iterator[np.ndarray]:
    """Give an array on disk to fill inside, too large for memory; it is moved to `path` at the end, if all went well.

    Raises:
        ResourceError: the disk refuses.
    """
    part = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(path, error) from error
    array = reserved_array(part, shape=shape, dtype=dtype)
    try:
        yield array
        try:
            array.flush()
            os.replace(part, path)
        except OSError as error:
            raise _refused(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def reserved_array(path: Path, *, shape: tuple[int, ...], dtype: type) -> np.memmap:
    """Make an array on disk for which there is room: a full disk would end the process at a later write into it.

    Raises:
        ResourceError: there is no room.
    """
    part = path.with_name(f".{path.name}")
    try:
        array = np.lib.format.open_memmap(part, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):
            with open(part, "r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, part.stat().st_size)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise _refused(path, error) from error
    return array


def write_tensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None) -> Path:
    """Write named tensors as safetensors, whole or not at all; the same tensors and metadata give the same bytes."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    def write(part: Path) -> None:
        save_file(plain, part, metadata={"format": "pt", **(metadata or {})})
        _sort_metadata(part)

    return write_whole(path, write)


def _sort_metadata(path: Path) -> None:
    """Put a safetensors file's metadata, which the library writes in any order, into the order of their names."""
    with open(path, "r+b") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        if len(text) > length:
            raise ValueError(f"the header of {path} grew from {length} to {len(text)} bytes when it was sorted")
        stream.seek(8)
        stream.write(text.ljust(length))
