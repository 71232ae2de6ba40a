"""What a batch leaves: Parquet of looks and of failures, part by part, and which users are in them.

A part of looks counts once it is there; the failures of that part are written before it, and do not count without it.
So a run that is killed at any moment goes on after the last part, with nobody twice and nobody left out.
"""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from recsys.errors import ConfigError, DataError

from .places import Place

LOOKS, FAILED, RUN, PICTURES = "looks", "failed", "run.json", "pictures"
LOOK = pa.schema([("user", pa.string()), ("item", pa.string()), ("kind", pa.string()), ("prompt", pa.string()),
                  ("seed", pa.int64()), ("score", pa.float32()), ("path", pa.string())])  # fmt: skip
FAILURE = pa.schema([("user", pa.string()), ("item", pa.string()), ("stage", pa.string()), ("reason", pa.string())])
DONE = b"personagen.users"
"""Where a part of looks names the users that are done with it, those without a look among them."""


class Results:
    """The parts in a place. `claim` first; then `add` what is made and `write` it from time to time.

    part: users after which `add` writes by itself.
    """

    def __init__(self, place: Place, *, part: int = 32) -> None:
        self.place, self.part = place, part
        self._looks: list[dict[str, Any]] = []
        self._failures: list[dict[str, Any]] = []
        self._users: list[str] = []
        self._next = 0
        self.pictures = self.failures = self.users = 0

    def claim(self, settings: Mapping[str, Any], *, restart: bool) -> set[str]:
        """Take the place for a run of these settings (JSON values); return the users who are done.

        Raises:
            ConfigError: a run of other settings lies there, and `restart` is false.
        """
        there = RUN in self.place.names("")
        before = json.loads(self.place.get(RUN)) if there else dict(settings)
        others = sorted(name for name in {**before, **settings} if before.get(name) != settings.get(name))
        if others and not restart:
            raise ConfigError(f"{self.place.where} holds a run with another {', '.join(others)}; start over "
                              "(--restart true), or write elsewhere")  # fmt: skip
        parts = self.place.names(LOOKS)
        if restart:
            for name in parts:
                self.place.remove(f"{LOOKS}/{name}")
            parts = []
        for name in set(self.place.names(FAILED)) - set(parts):
            self.place.remove(f"{FAILED}/{name}")
        self.place.put(RUN, json.dumps(settings, indent=1).encode())
        self._next = 1 + max((int(name[5:10]) for name in parts), default=-1)
        return {user for name in parts for user in self._in(name)}

    def _in(self, name: str) -> list[str]:
        """List the users who are done with a part.

        Raises:
            DataError: it is damaged.
        """
        try:
            held = parquet.read_schema(io.BytesIO(self.place.get(f"{LOOKS}/{name}"))).metadata or {}
            return json.loads(held[DONE])
        except (pa.ArrowInvalid, KeyError, ValueError) as error:
            raise DataError(f"{LOOKS}/{name} in {self.place.where} is damaged; remove it, and the same command makes "
                            "it anew") from error  # fmt: skip

    def add(self, user: str, looks: Sequence[dict[str, Any]], failures: Sequence[dict[str, Any]]) -> None:
        """Take in what was made for a user.

        Raises:
            ResourceError: as `write`.
        """
        self._users.append(user)
        self._looks += looks
        self._failures += failures
        self.users, self.pictures, self.failures = (
            self.users + 1, self.pictures + len(looks), self.failures + len(failures),
        )  # fmt: skip
        if len(self._users) >= self.part:
            self.write()

    def add_made(self, row: Mapping[str, Any]) -> None:
        """Take in a row of `stages.MADE`."""
        self.add(row["user"], json.loads(row["looks"]), json.loads(row["failed"]))

    def write(self) -> None:
        """Write a part of what was taken in since the last.

        Raises:
            ResourceError: the disk or the store refuses; the same command goes on from the part before.
        """
        if not self._users:
            return
        name = f"part-{self._next:05d}.parquet"
        if self._failures:
            self.place.put(f"{FAILED}/{name}", _parquet(self._failures, FAILURE))
        schema = LOOK.with_metadata({DONE: json.dumps(self._users)})
        self.place.put(f"{LOOKS}/{name}", _parquet(self._looks, schema))
        self._looks, self._failures, self._users = [], [], []
        self._next += 1


def _parquet(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema), stream, compression="zstd")
    return stream.getvalue()
