"""`personagen recommend rank`: the next items of everyone in a file, or of some users."""

import hashlib
import io
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import torch

from personagen.files import check_place
from personagen.vocabulary import counted
from recsys import pretrained
from recsys.data import datasets
from recsys.data.histories import UNKNOWN, Everyone, Found, Listed, group, reopen
from recsys.data.tables import open_table
from recsys.data.vocabulary import Vocabulary
from recsys.data.whole import whole
from recsys.errors import ConfigError, DataError
from recsys.index import Indexed
from recsys.rank_all import claimed, discard, parts, rank_all
from recsys.ranks import check_format, users_in, write_ranks, write_skipped
from recsys.text import is_file, read_names
from recsys.types import Recommender

from ..progress import bar, begin_at, note
from ..signals import Patience
from .config import RankConfig
from .data import Data, read
from .far import Send, brought_near
from .index import with_index
from .recommend import device_for, load

FEW = 10
"""Users who are printed where neither --out nor --users is given."""
Batches = Callable[[], Iterable[pa.RecordBatch]]


@dataclass(frozen=True)
class Job:
    """What is ranked, for whom, and how."""

    settings: RankConfig
    model: Recommender
    items: Vocabulary
    """The names by which the recommender knows its items."""
    names: Sequence[str]
    """names[i]: how item i is written."""
    batches: Batches
    """Gives the interactions from their start: user, item (text) and time."""
    digest: Callable[[], str]
    """Digests the interactions."""
    notes: Callable[[], list[str]]
    """Says what reading them left out."""
    users: Listed | None
    """None: everyone."""
    k: int


def rank(settings: RankConfig) -> int:
    """Rank the next items of everyone, or of some users, and write or print them. Returns 0.

    With `out`, a run that was stopped or killed goes on where it was when the same command is given again.

    Raises:
        ConfigError: k, part or the ending of out is out of range, or an unfinished run of other settings is there.
        DataError: no user is left, or the data cannot be read.
        ModelError: the folder holds no sound recommender.
        ResourceError: the disk refuses; what is ranked by then stays.
        Stopped: after a signal; what is ranked by then stays.
    """
    with brought_near(settings) as (here, send):
        return _rank(here, send)


def _rank(settings: RankConfig, send: Send) -> int:
    device = device_for(settings)
    for name in ("k", "part"):
        if getattr(settings, name) < 1:
            raise ConfigError(f"{name} = {getattr(settings, name)}; give 1 or more")
    out = None if settings.out is None else check_format(check_place(Path(settings.out)))
    if out is not None and out.is_dir():
        raise ConfigError(f"out = {out} is a folder; give a file")
    job = _job(settings, device)
    if out is None:
        with tempfile.TemporaryDirectory(prefix="personagen-") as work:
            _group_and_rank(job, Path(work))
            _print(job, Path(work))
        return 0
    work = out.with_name(f"{out.name}.unfinished")
    with claimed(work, _about(job, device), restart=settings.restart) as goes_on:
        if goes_on:
            note(f"going on with the unfinished run in {work}")
        _group_and_rank(job, work)
        _finish(job, work, out, send)
    note(f"wrote {out}")
    return 0


def _job(settings: RankConfig, device: torch.device) -> Job:
    """Load the recommender, and open the data without reading them where they are a file."""
    listed, where = _listed(settings.users), settings.data
    if where in ("atelier", *datasets.names()):
        data = read(where, root=settings.root, catalog=None, settings=settings)
        model, items, _ = load(settings.recommender, data, device=device)
        names = data.split.item_names or items.names
        ways = (_named_batches(data, listed), data.split.fingerprint, list)
    else:
        model = pretrained.load(settings.recommender, device=device)
        items = pretrained.load_vocabulary(settings.recommender)
        table, names = open_table(datasets.existing(where), settings.columns, settings.min_rating), items.names
        ways = (table.batches, lambda: _digest_of(Path(where)), table.notes)
    if listed is None and settings.out is None:
        listed = _first_users(ways[0](), FEW)
    model = with_index(model, settings.recommender, exact=settings.exact)
    k = min(settings.k, model.n_items)
    if k < settings.k:
        note(f"k = {settings.k} is cut to {k}, the number of items that the recommender knows")
    return Job(settings, model, items, names, *ways, None if listed is None else Listed(listed), k)


def _about(job: Job, device: torch.device) -> dict[str, Any]:
    """Say what decides the lists: an unfinished run goes on only where all of it is the same."""
    users = "everyone" if job.users is None else _digest("\n".join(job.users.names.to_pylist()).encode())
    return {"recommender": pretrained.fingerprint(job.settings.recommender), "data": job.digest(), "users": users,
            "k": job.k, "columns": asdict(job.settings.columns), "min_rating": job.settings.min_rating,
            "seed": job.settings.seed, "device": device.type,
            "index": isinstance(job.model, Indexed)}  # fmt: skip


def _group_and_rank(job: Job, work: Path) -> None:
    """Group interactions by user in `work`, unless that was done, and rank all users who have no list yet."""
    users = job.users or Everyone()
    grouped = reopen(work / "histories")
    if grouped is None:
        with closing(_counted(job)) as batches:
            grouped = group(batches, work / "histories", items=job.items, users=users)
        grouped.save()
        for line in job.notes():
            note(line)
    _tell(job, grouped.found)
    steps = rank_all(
        job.model, grouped, work / "parts", k=job.k, users=users, seed=job.settings.seed, part=job.settings.part
    )
    shown = job.settings.out is not None
    with (
        Patience() as patience,
        closing(steps),
        bar(None, total=grouped.users, label="rank", unit="user", shown=shown) as progress,
    ):
        begin_at(progress, next(steps, 0))
        for done in steps:
            progress.update(done - progress.n)
            if patience.asked:
                break
    patience.end("the same command goes on from there" if job.settings.out else "")


def _finish(job: Job, work: Path, out: Path, send: Send) -> None:
    """Make one file of the parts, name the users without a list in another beside it, send them, remove the parts.

    Raises:
        DataError: nobody has a list.
        ResourceError: the disk refuses; the parts stay.
    """
    found, rest = parts(work / "parts"), out.with_name(f"{out.stem}.skipped.txt")
    users = sum(map(users_in, found))
    with whole(rest) as path, open(path, "w+b") as stream:
        skipped = write_skipped(found, stream)
        first = _first_lines(stream)
    if not skipped:
        rest.unlink()
    try:
        _tell_skipped(skipped, first, users, f"; all of them are in {rest}")
    except DataError:  # there is nothing to go on with
        discard(work)
        raise
    with whole(out) as path, open(path, "wb") as stream, bar(None, total=users, label="write", unit="user") as progress:
        for count in write_ranks(found, stream, names=job.names, format=out.suffix.lower()):
            progress.update(count)
    for path in (out, rest) if skipped else (out,):
        send(path)
    discard(work)


def _print(job: Job, work: Path) -> None:
    """Print the lists as CSV.

    Raises:
        DataError: nobody has a list.
    """
    found, rest = parts(work / "parts"), io.BytesIO()
    skipped = write_skipped(found, rest)
    _tell_skipped(skipped, _first_lines(rest), sum(map(users_in, found)), "")
    text = io.BytesIO()
    for _ in write_ranks(found, text, names=job.names, format=".csv"):
        sys.stdout.write(text.getvalue().decode())
        text.seek(0)
        text.truncate()


def _tell(job: Job, found: Found) -> None:
    """Count unknown items and absent users in a line each."""
    if found.unknown_items:
        many = "at least " if found.unknown_items == UNKNOWN else ""
        note(
            f"{many}{found.unknown_items:,} of {found.items:,} items of {job.settings.data} are unknown to the "
            f"recommender in {job.settings.recommender}, the first is {found.unknown_first!r}; "
            "they are left out of histories"
        )
    if found.absent:
        note(f"{_some(found.absent, found.absent_first)} not in {job.settings.data}")


def _tell_skipped(count: int, first: Sequence[str], users: int, where: str) -> None:
    """Count the users without a list in a line.

    Raises:
        DataError: nobody has one.
    """
    if count:
        note(f"{_some(count, first)} skipped: the recommender knows none of the items of this history{where}")
    if not users:
        raise DataError("no user is left: none of those in --users is in the data; name them as the data do")
    if count == users:
        raise DataError(
            f"no user is left: the recommender knows none of the items of {counted(users, 'user')}; "
            "name items as in the data that it was trained on"
        )


def _some(count: int, first: Sequence[str]) -> str:
    """Name users: "user 'a' is", "5 users ('a', 'b', 'c', ...) are"."""
    if count == 1:
        return f"user {first[0]!r} is"
    names = ", ".join(map(repr, first[:3])) + (", …" if count > 3 else "")
    return f"{count:,} users ({names}) are"


def _first_lines(stream: BinaryIO) -> list[str]:
    stream.seek(0)
    return [line.decode().rstrip("\n") for line in islice(stream, 3)]


def _listed(users: list[str | int] | str | int | None) -> list[str] | None:
    """Read which users are wanted: a list, a file with one a line (its path, or @ and its path), or one user.

    Raises:
        DataError: no such file, or it names nobody.
    """
    if users is None or users == []:
        return None
    if isinstance(users, list):
        return [str(user) for user in users]
    if not str(users).startswith("@") and not is_file(str(users)):
        return [str(users)]
    return read_names(str(users).removeprefix("@"))


def _counted(job: Job) -> Generator[pa.RecordBatch, None, None]:
    """Read the interactions, and show how many rows have been read."""
    with bar(None, total=None, label="read", unit="row", shown=job.settings.out is not None) as progress:
        for batch in job.batches():
            yield batch
            progress.update(batch.num_rows)


def _first_users(batches: Iterable[pa.RecordBatch], count: int) -> list[str]:
    """Name the first users of the data, reading no further than to them."""
    names: dict[str, None] = {}
    for batch in batches:
        names.update(dict.fromkeys(pc.unique(batch.column("user")).to_pylist()))
        if len(names) >= count:
            break
    return list(names)[:count]


def _named_batches(data: Data, listed: Sequence[str] | None) -> Batches:
    """Give the histories of a data set that is held in memory as interactions."""
    items = pa.array(data.items.names, pa.string())

    def batches() -> Iterator[pa.RecordBatch]:
        for user in data.users if listed is None else listed:
            try:
                history = data.history(user)
            except DataError:  # an unknown one is counted as absent
                continue
            columns = [pa.array([user] * len(history), pa.string()), items.take(pa.array(history)),
                       pa.array(range(len(history)), pa.int64())]  # fmt: skip
            yield pa.record_batch(columns, names=["user", "item", "time"])

    return batches


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _digest_of(path: Path) -> str:
    """Digest a file, or the files of a folder, by content."""
    files = sorted(found for found in path.rglob("*") if found.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]
