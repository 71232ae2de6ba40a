"""Write a file whole or not at all: under another name, flushed to disk, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ResourceError


@contextmanager
def whole(path: Path, *, remedy: str = "free disk space, then give the same command again") -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; it becomes `path` at the end of the block, if all went well.

    Raises:
        ResourceError: the disk refuses (full, read-only); nothing is left behind then, and an older file stays.
    """
    part = path.with_name(f".{path.name}.tmp")
    try:
        yield part
        with open(part, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(part, path)
    except OSError as error:
        raise ResourceError(f"cannot write {path}: {error}; {remedy}") from error
    finally:
        part.unlink(missing_ok=True)
