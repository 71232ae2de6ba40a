"""Rank everyone: users in groups, lists in parts on disk, so that memory does not grow and a killed run goes on.

A group is what a model is asked for at once. Who is in it depends on the data alone, not on the size of the parts: a
matrix product may differ in the last digit with the number of its rows, and so may lists.
"""

import json
import re
import shutil
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from .data.histories import Grouped, Histories, Users, forget, load_shard, reopen
from .data.whole import whole
from .errors import ConfigError, ResourceError
from .folders import alone
from .types import Recommender, device_of

GROUP = 1024
"""Users whom a model is asked for at once."""
CELLS = 1 << 22
"""Cells of their padded histories at most, unless one user alone has more."""
SCORES = 1 << 26
"""Scores that they have at most, where the catalogue is large."""
PART = re.compile(r"part-(\d{5})-(\d{9})-(\d{9})\.arrow$")
"""A part's file: the shard, its first user there, and how many it has."""


@contextmanager
def claimed(work: Path, settings: Mapping[str, object], *, restart: bool = False) -> Iterator[bool]:
    """Hold a working folder for a run of these settings (JSON values); give whether it goes on with an earlier one.

    The folder stays, whatever happens in the block, unless nothing is finished in it; remove it when its content was
    used.

    Raises:
        ConfigError: an unfinished run of other settings lies there, and `restart` is false; the message names them.
        ResourceError: another process works there, or the disk refuses.
    """
    with alone(work):
        path, begun = work / "run.json", reopen(work / "histories") is not None
        before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        others = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
        if begun and others and not restart:
            raise ConfigError(
                f"{work} holds an unfinished run with another {', '.join(others)}; start over (--restart true), or "
                "write elsewhere"
            )
        if others:
            for name in ("histories", "parts"):
                shutil.rmtree(work / name, ignore_errors=True)
            with whole(path) as part:
                part.write_text(json.dumps(settings, indent=1), encoding="utf-8")
        try:
            yield begun and not others
        except BaseException:
            if reopen(work / "histories") is None:  # nothing is finished that a run could go on with
                discard(work)
            raise


def discard(work: Path) -> None:
    """Remove the working folder of a run; what is killed on the way leaves nothing that counts as begun.

    Raises:
        ResourceError: the disk refuses.
    """
    try:
        forget(work / "histories")
        if work.is_dir():
            shutil.rmtree(work)
    except OSError as error:
        raise ResourceError(f"cannot remove {work}: {error}; remove it by hand") from error


def rank_all(
    model: Recommender, grouped: Grouped, folder: Path, *, k: int, users: Users, seed: int = 0, part: int = 4096
) -> Generator[int, None, None]:
    """Rank users after those whose parts lie in `folder`; yield how many are done after every group, and at the start.

    Lists are written by `part` users, rounded up to whole groups; closing the iterator writes what is ranked by then.

    Raises:
        ConfigError: part is below 1, or k is outside 1..n.
        ResourceError: the disk refuses.
    """
    if part < 1:
        raise ConfigError(f"part = {part}; give 1 user or more")
    folder.mkdir(parents=True, exist_ok=True)
    ready = _ready(folder)
    done = sum(ready.values())
    yield done
    for number, shard in enumerate(grouped.shards):
        start = ready.get(number, 0)
        if start < shard.users:
            histories = load_shard(grouped, number, users=users)
            steps = _rank_shard(model, histories, folder, number, start, k=k, seed=seed, part=part)
            with closing(steps):
                for count in steps:
                    done += count
                    yield done


def parts(folder: Path) -> list[Path]:
    """List the parts in a folder, in the order of their users."""
    return sorted(path for path in folder.iterdir() if PART.match(path.name))


def users_in(part: Path) -> int:
    """Count the users in a part."""
    return _numbers(part)[2]


def _rank_shard(
    model: Recommender, histories: Histories, folder: Path, number: int, start: int, *, k: int, seed: int, part: int
) -> Generator[int, None, None]:
    held: list[pa.Table] = []
    first = start
    try:
        for low in range(start, len(histories), GROUP):
            high = min(low + GROUP, len(histories))
            held.append(_rank_group(model, histories, low, high, k=k, seed=seed))
            if high - first >= part:
                _write_part(held, folder, number, first)
                first, held = high, []
            yield high - low
    except GeneratorExit:  # the caller stops: keep what is ranked
        _write_part(held, folder, number, first)
        raise
    _write_part(held, folder, number, first)


def _rank_group(model: Recommender, histories: Histories, low: int, high: int, *, k: int, seed: int) -> pa.Table:
    """Rank users low..high: a row for each, with k items (0: none left) and scores, null without any known item."""
    lengths = np.diff(histories.bounds[low : high + 1])
    rows = np.flatnonzero(lengths > 0)
    items = np.zeros((high - low, k), np.int32)
    scores = np.zeros((high - low, k), np.float32)
    most = max(1, SCORES // (model.n_items + 1))
    for some in _pieces(rows[np.argsort(lengths[rows], kind="stable")], lengths, most):
        generator = torch.Generator().manual_seed(seed)
        found = model.recommend(histories.padded(low + some).to(device_of(model)), k, generator=generator)
        items[some], scores[some] = found.items.cpu().numpy(), found.scores.cpu().numpy()
    nothing = pa.array(lengths == 0)
    return pa.table(
        {
            "user": histories.users[low:high],
            "items": pa.FixedSizeListArray.from_arrays(pa.array(items.ravel()), k, mask=nothing),
            "scores": pa.FixedSizeListArray.from_arrays(pa.array(scores.ravel()), k, mask=nothing),
        }
    )


def _pieces(rows: np.ndarray, lengths: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Cut rows, in the order of their lengths, to pieces of `most` whose padded histories have CELLS cells at most."""
    while len(rows):
        fit = lengths[rows[:most]] * np.arange(1, len(rows[:most]) + 1) <= CELLS
        count = max(1, int(fit.sum()))
        yield rows[:count]
        rows = rows[count:]


def _write_part(held: list[pa.Table], folder: Path, number: int, first: int) -> None:
    if not held:
        return
    table = pa.concat_tables(held)
    name = f"part-{number:05d}-{first:09d}-{table.num_rows:09d}.arrow"
    with whole(folder / name, remedy="free disk space; the same command goes on from there") as path:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.OSFile(str(path), "wb") as stream, pa.ipc.new_file(stream, table.schema, options=options) as writer:
            writer.write_table(table)


def _ready(folder: Path) -> dict[int, int]:
    """Say how many users of each shard are in parts; parts follow one another without a gap."""
    ready: dict[int, int] = {}
    for path in parts(folder):
        number, first, count = _numbers(path)
        if ready.get(number, 0) == first:
            ready[number] = first + count
        else:
            path.unlink()
    return ready


def _numbers(part: Path) -> tuple[int, int, int]:
    """Read the shard, the first user there, and the number of users off a part's name."""
    shard, first, count = re.findall(r"\d+", part.stem)
    return int(shard), int(first), int(count)
