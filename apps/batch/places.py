"""Where a batch reads and writes: a folder, or an address such as s3://bucket/looks or gs://bucket/looks."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from personagen.files import check_place, write_whole
from recsys.errors import ConfigError, DataError, ResourceError

PIECE = 8 << 20
"""Bytes that are copied at a time."""


def is_address(where: str) -> bool:
    """Tell whether something lies in a store, such as s3://bucket/name, and not on a disk."""
    return "://" in where and not where.startswith("file://")


class Place:
    """Files below a folder or an address; each appears whole or not at all.

    Raises:
        ConfigError: the address is of no kind that can be read.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.local = Path(where.removeprefix("file://")) if "://" not in where or where.startswith("file://") else None
        if self.local is not None:
            check_place(self.local)
            return
        try:
            self._files, self._root = fs.FileSystem.from_uri(where)
        except (pa.ArrowInvalid, OSError, NotImplementedError) as error:
            raise ConfigError(f"{where} cannot be opened: {error}; give a folder, or an address of s3 or gs") from error

    def put(self, name: str, content: bytes) -> None:
        """Write a file.

        Raises:
            ResourceError: the disk or the store refuses.
        """
        if self.local is not None:
            write_whole(self.local / name, lambda part: part.write_bytes(content))
            return
        try:
            with self._files.open_output_stream(f"{self._root}/{name}") as stream:
                stream.write(content)  # a store shows it when the stream is closed
        except OSError as error:
            raise ResourceError(f"cannot write {name} to {self.where}: {error}; the same command goes on") from error

    def get(self, name: str) -> bytes:
        """Read a file.

        Raises:
            DataError: it is not there, or cannot be read.
        """
        try:
            if self.local is not None:
                return (self.local / name).read_bytes()
            with self._files.open_input_stream(f"{self._root}/{name}") as stream:
                return stream.read()
        except OSError as error:
            raise DataError(f"cannot read {name} in {self.where}: {error}") from error

    def fetch(self, name: str, path: Path) -> None:
        """Copy a file of the place to a path, piece by piece.

        Raises:
            DataError: it is not there, or cannot be read.
            ResourceError: this machine's disk refuses.
        """
        try:
            source: Any = (
                self._files.open_input_stream(f"{self._root}/{name}")
                if self.local is None
                else (self.local / name).open("rb")
            )
        except OSError as error:
            raise DataError(f"cannot read {name} in {self.where}: {error}") from error
        with source:
            write_whole(path, lambda part: _copy(source, part))

    def send(self, name: str, path: Path) -> None:
        """Copy the file at a path to the place, piece by piece.

        Raises:
            ResourceError: the store refuses.
        """
        if self.local is not None:
            write_whole(self.local / name, lambda part: _copied(path, part))
            return
        try:
            with path.open("rb") as source, self._files.open_output_stream(f"{self._root}/{name}") as target:
                shutil.copyfileobj(source, target, PIECE)
        except OSError as error:
            raise ResourceError(f"cannot write {name} to {self.where}: {error}; the same command goes on") from error

    def names(self, folder: str) -> list[str]:
        """List the files right below a folder, in their order; hidden ones are unfinished."""
        if self.local is not None:
            place = self.local / folder
            found = [path.name for path in place.iterdir()] if place.is_dir() else []
        else:
            where = fs.FileSelector(f"{self._root}/{folder}", allow_not_found=True)
            found = [entry.base_name for entry in self._files.get_file_info(where)]
        return sorted(name for name in found if not name.startswith("."))

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        if self.local is not None:
            (self.local / name).unlink(missing_ok=True)
            return
        try:
            self._files.delete_file(f"{self._root}/{name}")
        except FileNotFoundError:
            pass


def read_file(where: str) -> bytes:
    """Read one file by its path or address.

    Raises:
        ConfigError, DataError: what the message names.
    """
    place, name = place_of(where)
    return place.get(name)


def place_of(where: str) -> tuple[Place, str]:
    """Split the path or address of a file into the place that it is in, and its name there.

    Raises:
        ConfigError: the address is of no kind that can be read.
    """
    address, mark, options = where.partition("?") if "://" in where else (where, "", "")
    folder, _, name = address.rpartition("/")
    return Place((folder or ".") + mark + options), name


def _copied(source: Path, path: Path) -> None:
    with source.open("rb") as stream:
        _copy(stream, path)


def _copy(source: Any, path: Path) -> None:
    with path.open("wb") as target:
        shutil.copyfileobj(source, target, PIECE)
