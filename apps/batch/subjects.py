"""`personagen subject train-many`: a subject a user, each a task of its own, tried again, taken up again, summed up.

A task's result folder is done when its run.json is there, which is written last; a task that is given again then does
nothing. One that was stopped or killed goes on from its checkpoint.
"""

import io
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from personagen.files import check_place, write_whole
from personagen.styling.subjects import each_user
from personagen.subject import SubjectConfig, resolve, train_subject
from personagen.vocabulary import counted
from recsys.errors import ConfigError, DataError, check_range, shown
from recsys.folders import alone
from recsys.text import read_cells

from ..commands.shop import folder_name
from ..commands.subject_config import TrainManyConfig
from ..progress import bar, note
from ..signals import Patience
from . import onray

SUMMARY = "subjects.parquet"
COLUMNS = ("user", "pictures", "name", "preset", "consent")
YES = ("true", "yes", "1")
SCHEMA = pa.schema([("user", pa.string()), ("folder", pa.string()), ("state", pa.string()), ("reason", pa.string())])


@dataclass(frozen=True)
class Task:
    """Whose subject is learnt: what all have in common, what is this one's own, and where the result goes."""

    user: str
    common: SubjectConfig
    own: dict[str, Any]
    out: Path


@dataclass(frozen=True)
class Outcome:
    """What became of a user's subject: learnt, there before, or failed for a reason; folder: its place below `out`."""

    user: str
    folder: str
    state: str
    reason: str | None = None


def train_many(settings: TrainManyConfig) -> int:
    """Train everybody's subject, and write who has one and who not, and why. Returns 0.

    Raises:
        ConfigError, DataError: the mapping, or settings that contradict each other.
        ResourceError: memory or disk ran out; what is learnt by then stays.
        Stopped: after a signal; what is learnt by then stays.
    """
    check_range(workers=(settings.workers, 1, 100_000), tries=(settings.tries, 1, 100))
    if settings.engine not in ("local", "ray") or (settings.engine == "local" and settings.workers > 1):
        raise ConfigError(f"engine is {settings.engine!r} with {counted(settings.workers, 'worker')}; allowed are ray, "
                          "and local with one")  # fmt: skip
    out = check_place(Path(settings.out))
    found, tasks = [], read_tasks(settings)
    cpus = settings.workers * settings.worker_cpus
    engine = nullcontext() if settings.engine == "local" else onray.cluster(
        settings.ray_address, cpus=cpus, gpus=settings.workers * settings.worker_gpus
    )  # fmt: skip
    with alone(out, mode=0o700), engine, Patience() as patience:  # what can paint a person is for its owner alone
        try:
            for outcome in bar(_outcomes(settings, tasks), total=len(tasks), label="subjects", unit="subject"):
                found.append(outcome)
                if outcome.reason:
                    note(f"user {outcome.user}: {outcome.reason}")
                if patience.asked:
                    break
        finally:
            write_summary(found, out)
    patience.end(f"{counted(len(found), 'subject')} done in {out}; the same command goes on")
    failed = sum(outcome.state == "failed" for outcome in found)
    print(f"{counted(len(found) - failed, 'subject')} in {out}/, {failed} failed; {SUMMARY} says why")
    return 0


def read_tasks(settings: TrainManyConfig) -> list[Task]:
    """Read who is to be learnt: a CSV with the columns user, pictures, name, and where wanted preset and consent.

    Raises:
        DataError: the message names file and line.
    """
    file = Path(settings.mapping)
    columns, rows = read_cells(file)
    if not set(COLUMNS[:3]) <= set(columns) or set(columns) - set(COLUMNS):
        raise DataError(
            f"{file} has the columns {shown(', '.join(columns), most=200)}; allowed are {', '.join(COLUMNS)}"
        )
    tasks: dict[str, Task] = {}
    for user, _, row in each_user(file, rows):
        places = (file.parent / row["pictures"], Path(row["pictures"]))
        pictures = next((place for place in places if place.is_dir()), places[1])
        own = {"instance_data_dir": str(pictures), "name": row["name"], "preset": row.get("preset") or "object",
               "consent": row.get("consent", "").strip().lower() in YES}  # fmt: skip
        tasks[user] = Task(user, settings.subject, own, Path(settings.out).absolute() / folder_name(user))
    return list(tasks.values())


def learn(task: Task) -> Outcome:
    """Train one subject to its end, from where it was; nothing is done where it is there already.

    Raises:
        ResourceError, ModelError: what others would suffer from, too.
    """
    out = task.out
    if (out / "run.json").is_file():
        return Outcome(task.user, out.name, "there before")
    try:
        config = replace(task.common, **task.own, output_dir=str(out), resume_from_checkpoint="latest")
        resolve(config)  # refuses, for one, a person who has not agreed
        for _ in train_subject(config):
            pass
    except (ConfigError, DataError) as error:
        return Outcome(task.user, out.name, "failed", str(error))
    return Outcome(task.user, out.name, "learnt")


def write_summary(found: Sequence[Outcome], out: Path) -> None:
    """Write who has a subject, and who not, and why.

    Raises:
        ResourceError: the disk refuses.
    """
    stream = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist([asdict(outcome) for outcome in found], schema=SCHEMA), stream)
    write_whole(out / SUMMARY, lambda part: part.write_bytes(stream.getvalue()))


def _outcomes(settings: TrainManyConfig, tasks: Sequence[Task]) -> Iterator[Outcome]:
    if settings.engine == "ray":
        yield from onray.each(
            learn, tasks, cpus=settings.worker_cpus, gpus=settings.worker_gpus, most=settings.workers,
            tries=settings.tries, lost=_lost,
        )  # fmt: skip
        return
    for task in tasks:
        for left in reversed(range(settings.tries)):
            try:
                yield learn(task)
                break
            except Exception as error:
                if getattr(error, "exit_code", None) is not None or not isinstance(error, RuntimeError | ValueError):
                    raise
                traceback.print_exception(error, file=sys.stderr)
                if not left:
                    yield _lost(task, error)


def _lost(task: Task, error: BaseException) -> Outcome:
    """Say of a task that was tried as often as may be that it failed."""
    return Outcome(task.user, task.out.name, "failed", f"{type(error).__name__}: {shown(error, most=300)}")
