"""Write single files whole or not at all: beside their place, flushed to disk, then moved there."""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from recsys.errors import ResourceError


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Call `write` with a temporary path, then move the result to `path`; an older file stays until that moment.

    Raises ResourceError when the disk refuses; nothing is left behind then.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".tmp", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise ResourceError(f"cannot write {path}: {error}; free disk space or choose another folder.") from error
    temporary = Path(name)
    try:
        write(temporary)
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except Exception as error:
        if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
            raise ResourceError(f"cannot write {path}: {error}; free disk space or choose another folder.") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a text file in UTF-8, whole or not at all."""
    return write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None) -> Path:
    """Write named tensors as safetensors, whole or not at all."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return write_whole(
        path, lambda temporary: save_file(plain, temporary, metadata={"format": "pt", **(metadata or {})})
    )
