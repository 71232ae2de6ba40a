"""Group interactions by user out of memory: rows come in any order, whole histories go out, shard by shard.

Rows are spread over files by a key of their user, a hash or a place in a list. A file that is too large to load is
spread again by the next bits of the key. Shards are loaded in the order of the keys, so the order of the users depends
on nothing else: neither on the order of the rows nor on how many are held at once.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from ..errors import DataError, ResourceError
from ..text import from_json
from ..types import PAD
from .interactions import repeated
from .vocabulary import Vocabulary
from .whole import whole

ROWS = 1 << 19
"""As many rows are held at once; only a single user's history may be longer."""
BITS = 6
"""Bits of a key by which rows are spread in one pass: over 64 files."""
DEPTH = 5
"""Passes at most."""
UNKNOWN = 100_000
"""As many names of unknown items are told apart at most."""
PLAN = "histories.json"
SPILLED = pa.schema([("user", pa.string()), ("item", pa.int32()), ("time", pa.int64())])


class Users(Protocol):
    """Whose histories are wanted, and in which order."""

    def keys(self, names: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
        """Return a key (N,) uint64 for each name, spread over all 64 bits, and which of them are wanted (N,) bool."""
        ...


class Everyone:
    """All users, in the order of a hash of their names."""

    def keys(self, names: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
        """Hash every name; all are wanted."""
        return hashed(names), np.ones(len(names), bool)


class Listed:
    """The users of a list, in its order; a name that is there twice counts once."""

    def __init__(self, names: Sequence[str]):
        self.names = pa.array(dict.fromkeys(names), pa.string())
        self.seen = np.zeros(len(self.names), bool)

    def keys(self, names: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
        """Find names in the list, and remember which were found."""
        places = pc.index_in(names, value_set=self.names).fill_null(-1).to_numpy(zero_copy_only=False)
        wanted = places >= 0
        self.seen[places[wanted]] = True
        step = np.uint64((1 << 64) // max(len(self.names), 1) - 1)
        return np.maximum(places, 0).astype(np.uint64) * step, wanted

    def absent(self) -> pa.StringArray:
        """List the names that were never found."""
        return self.names.filter(pa.array(~self.seen))


def hashed(names: pa.StringArray) -> np.ndarray:
    """Hash texts to (N,) uint64, the same on every machine: a polynomial of the bytes, mixed as in SplitMix64."""
    some = 1 << 14  # what is computed on the way has many bytes for each of a name
    pieces = [_hashed(names[low : low + some]) for low in range(0, len(names), some)]
    return np.concatenate([np.zeros(0, np.uint64), *pieces])


def _hashed(names: pa.StringArray) -> np.ndarray:
    data = pa.concat_arrays([names]).cast(pa.large_binary())  # a copy without an offset
    bounds = np.frombuffer(data.buffers()[1], np.int64)[: len(data) + 1]
    lengths = np.diff(bounds)
    text = np.frombuffer(data.buffers()[2] or b"", np.uint8)[bounds[0] : bounds[-1]].astype(np.uint64) + np.uint64(1)
    powers = np.cumprod(np.full(int(lengths.max(initial=0)) + 1, 0x100000001B3, np.uint64))
    places = np.arange(len(text)) - np.repeat(bounds[:-1] - bounds[0], lengths)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(text * powers[places])])  # wraps around, as do differences
    x = sums[bounds[1:] - bounds[0]] - sums[bounds[:-1] - bounds[0]]
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return x ^ (x >> np.uint64(31))


@dataclass(frozen=True)
class Shard:
    """Files with the rows of users whose keys are neighbours."""

    files: tuple[str, ...]
    rows: int
    users: int


@dataclass(frozen=True)
class Found:
    """What was in the data."""

    rows: int
    """Interactions of all users, wanted or not."""
    items: int
    """Different items among them."""
    unknown_rows: int
    """Interactions with items that the vocabulary does not have."""
    unknown_items: int
    """Different ones; UNKNOWN at most."""
    unknown_first: str
    """The first of those by name."""
    absent: int = 0
    """Users of the list who have no row."""
    absent_first: tuple[str, ...] = ()
    """Three of them at most."""


@dataclass(frozen=True)
class Grouped:
    """Interactions that lie grouped by user in `folder`."""

    folder: Path
    shards: tuple[Shard, ...]
    found: Found

    @property
    def users(self) -> int:
        """Count the users."""
        return sum(shard.users for shard in self.shards)

    def save(self) -> None:
        """Write down what lies where, so that `reopen` finds it; without this the folder counts as unfinished.

        Raises:
            ResourceError: the disk refuses.
        """
        plan = {"shards": [asdict(shard) for shard in self.shards], "found": asdict(self.found)}
        with whole(self.folder / PLAN) as path:
            path.write_text(json.dumps(plan), encoding="utf-8")


@dataclass(frozen=True)
class Histories:
    """The known items of some users in time order; user u's are items[bounds[u] : bounds[u + 1]]."""

    users: pa.StringArray
    """(U,) names."""
    items: np.ndarray
    """(N,) int64, 1..n."""
    bounds: np.ndarray
    """(U+1,) int64."""

    def __len__(self) -> int:
        return len(self.users)

    def padded(self, rows: np.ndarray) -> Tensor:
        """Stack the histories of users (B,) into (B, L) int64, padded on the left to the longest of them."""
        starts, ends = self.bounds[rows], self.bounds[rows + 1]
        lengths = ends - starts
        history = np.full((len(rows), max(1, int(lengths.max(initial=1)))), PAD, np.int64)
        owner = np.repeat(np.arange(len(rows)), lengths)
        before = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        history[owner, before + (history.shape[1] - lengths)[owner]] = self.items[starts[owner] + before]
        return torch.from_numpy(history)


def reopen(folder: Path) -> Grouped | None:
    """Find what `group` and `save` left in a folder; None where they did not come to their end."""
    try:
        plan = from_json((folder / PLAN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    shards = tuple(Shard(tuple(s["files"]), s["rows"], s["users"]) for s in plan["shards"])
    counts: dict[str, Any] = {**plan["found"], "absent_first": tuple(plan["found"]["absent_first"])}
    return Grouped(folder, shards, Found(**counts))


def forget(folder: Path) -> None:
    """Let what `group` left in a folder count as unfinished, before it is removed file by file."""
    (folder / PLAN).unlink(missing_ok=True)


def group(
    batches: Iterable[pa.RecordBatch], folder: Path, *, items: Vocabulary, users: Users, rows: int = ROWS
) -> Grouped:
    """Group interactions by user in `folder`, which is emptied first, holding some `rows` of them in memory at a time.

    batches: columns user and item (text) and time (int64). Rows of equal time keep their order.

    Raises:
        DataError: there are no rows at all.
        ResourceError: the disk refuses.
    """
    forget(folder)
    shutil.rmtree(folder, ignore_errors=True)
    mapping = _Mapping(items)
    try:
        folder.mkdir(parents=True)
        with _Files(folder, ".", 0, users) as files:  # hidden: not whole before the plan is
            for table in _gathered(batches, rows):
                files.add(mapping.mapped(table))
        shards = tuple(_packed(_split(files, rows), rows))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ResourceError(
            f"cannot sort interactions by user in {folder}: {error}; free disk space, or write to another folder"
        ) from error
    if not mapping.rows:
        raise DataError("there are no interactions; give at least one row")
    absent = users.absent() if isinstance(users, Listed) else pa.array([], pa.string())
    return Grouped(folder, shards, mapping.found(absent))


def load_shard(grouped: Grouped, number: int, *, users: Users) -> Histories:
    """Load the histories of one shard, users in the order of their keys, items in that of time.

    A row that is there again, with the same user, item and time, counts once.
    """
    shard = grouped.shards[number]
    table = pa.concat_tables([_read(grouped.folder / file) for file in shard.files])
    names = _joined(table["user"]).dictionary_encode()
    keys, _ = users.keys(names.dictionary)
    by_name = np.empty(len(keys), np.int64)
    by_name[pc.sort_indices(names.dictionary).to_numpy()] = np.arange(len(keys))
    order = np.lexsort((by_name, keys))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    owners, times = place[names.indices.to_numpy()], table["time"].to_numpy()
    rows = np.lexsort((times, owners))
    rows = rows[table["item"].to_numpy()[rows] > 0]
    owners, items = owners[rows], table["item"].to_numpy()[rows].astype(np.int64)
    again = repeated(owners, items, times[rows])
    lengths = np.bincount(np.delete(owners, again), minlength=len(order))
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    return Histories(names.dictionary.take(pa.array(order)), np.delete(items, again), bounds)


def _gathered(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Join batches to tables of some `rows`: what is done once a table then costs little a row."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += batch.num_rows
        if count >= rows:
            yield pa.Table.from_batches(held)
            held, count = [], 0
    if count:
        yield pa.Table.from_batches(held)


def _joined(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _read(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as stream, pa.ipc.open_stream(stream) as reader:
        return reader.read_all()


class _Mapping:
    """Items by their numbers in a vocabulary, and what was found on the way."""

    def __init__(self, items: Vocabulary):
        self.names = pa.array(items.names[1:], pa.string())
        self.known = np.zeros(len(items) + 1, bool)
        self.unknown = pa.array([], pa.string())
        self.rows = self.unknown_rows = 0

    def mapped(self, table: pa.Table) -> pa.Table:
        """Give user, the item's number (0: unknown) and time."""
        items = _joined(table["item"].cast(pa.string())).dictionary_encode()
        numbers = pc.index_in(items.dictionary, value_set=self.names).fill_null(-1).to_numpy().astype(np.int32) + 1
        self.known[numbers] = True
        column = numbers[items.indices.to_numpy()]
        self.rows += len(column)
        self.unknown_rows += int((column == 0).sum())
        if (numbers == 0).any() and len(self.unknown) < UNKNOWN:
            new = items.dictionary.filter(pa.array(numbers == 0))
            self.unknown = pc.unique(pa.concat_arrays([self.unknown, new]))[:UNKNOWN]
        columns = [table["user"].cast(pa.string()), pa.array(column), table["time"].cast(pa.int64())]
        return pa.Table.from_arrays(columns, schema=SPILLED)

    def found(self, absent: pa.StringArray) -> Found:
        """Say what was in the data."""
        return Found(
            self.rows, int(self.known[1:].sum()) + len(self.unknown), self.unknown_rows, len(self.unknown),
            pc.min(self.unknown).as_py() or "", len(absent), tuple(absent[:3].to_pylist()),
        )  # fmt: skip


class _Files(ExitStack):
    """The files over which rows are spread in one pass."""

    def __init__(self, folder: Path, prefix: str, depth: int, users: Users):
        super().__init__()
        self.folder, self.prefix, self.depth, self.users = folder, prefix, depth, users
        self.rows: dict[str, int] = {}
        self._open: dict[int, pa.ipc.RecordBatchStreamWriter] = {}

    def add(self, table: pa.Table) -> None:
        """Append rows to the files of their users, in the order that they have."""
        names = _joined(table["user"]).dictionary_encode()
        owners = names.indices.to_numpy()
        keys, wanted = self.users.keys(names.dictionary)
        shift = np.uint64(64 - BITS * (self.depth + 1))
        bucket = ((keys >> shift) & np.uint64((1 << BITS) - 1)).astype(np.uint8)[owners]
        order = np.argsort(bucket, kind="stable")
        order = order[wanted[owners[order]]]
        table, bounds = table.take(pa.array(order)), np.searchsorted(bucket[order], np.arange((1 << BITS) + 1))
        for number in np.flatnonzero(np.diff(bounds)).tolist():
            self._append(number, table.slice(bounds[number], bounds[number + 1] - bounds[number]))

    def _append(self, number: int, table: pa.Table) -> None:
        name = f"{self.prefix}{number:02d}"
        if number not in self._open:
            stream = self.enter_context(pa.OSFile(str(self.folder / name), "wb"))
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._open[number] = self.enter_context(pa.ipc.new_stream(stream, SPILLED, options=options))
        self._open[number].write_table(table.combine_chunks())
        self.rows[name] = self.rows.get(name, 0) + table.num_rows


def _split(files: _Files, limit: int) -> Iterator[Shard]:
    """Count the users of each file, in the order of the keys; spread again what is too large to be loaded at once."""
    for name in sorted(files.rows):
        path, rows = files.folder / name, files.rows[name]
        if rows <= limit or files.depth + 1 >= DEPTH:
            yield Shard((name,), rows, _count_users(path))
            continue
        with _Files(files.folder, f"{name}-", files.depth + 1, files.users) as finer:
            with pa.OSFile(str(path)) as stream, pa.ipc.open_stream(stream) as reader:
                for table in _gathered(reader, limit):
                    finer.add(table)
        path.unlink()
        yield from _split(finer, limit)


def _count_users(path: Path) -> int:
    """Count the users in a file, batch by batch: one user's rows may be too many to load twice."""
    names = pa.array([], pa.string())
    with pa.OSFile(str(path)) as stream, pa.ipc.open_stream(stream) as reader:
        for batch in reader:
            names = pc.unique(pa.concat_arrays([names, pc.unique(batch.column("user"))]))
    return len(names)


def _packed(files: Iterable[Shard], limit: int) -> Iterator[Shard]:
    """Join neighbouring small files to shards of some `limit` rows."""
    held: list[Shard] = []

    def joined() -> Shard:
        names = tuple(name for shard in held for name in shard.files)
        return Shard(names, sum(shard.rows for shard in held), sum(shard.users for shard in held))

    for shard in files:
        if held and sum(other.rows for other in held) + shard.rows > limit:
            yield joined()
            held = []
        held.append(shard)
    if held:
        yield joined()
