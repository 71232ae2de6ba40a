"""Where a batch reads and writes: a folder, or an address such as s3://bucket/looks or gs://bucket/looks."""

from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from personagen.files import check_place, write_whole
from recsys.errors import ConfigError, DataError, ResourceError


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
    address, mark, options = where.partition("?") if "://" in where else (where, "", "")
    folder, _, name = address.rpartition("/")
    return Place((folder or ".") + mark + options).get(name)
