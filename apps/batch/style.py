"""`personagen style --engine local|ray`: looks of many users, as Parquet and pictures by their hash."""

import io
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict

import pyarrow as pa
from pyarrow import parquet

from personagen.vocabulary import counted
from recsys.errors import ConfigError, DataError, check_range
from recsys.folders import alone

from ..commands.config import StyleConfig
from ..progress import bar, begin_at, note
from ..signals import Patience
from . import onray
from .places import Place, read_file
from .results import FAILED, Results
from .stages import Bench, Painting, Planning

FREE = ("out", "users", "engine", "workers", "planners", "worker_cpus", "worker_gpus", "ray_address", "restart",
        "device", "allow_download")  # fmt: skip
"""Settings that do not decide what a picture is."""


def run(settings: StyleConfig) -> int:
    """Make looks of many users into `out`; the same command goes on where it was. Returns 0.

    Raises:
        ConfigError, DataError, ModelError: what the message names.
        ResourceError: memory or disk ran out; what is done by then stays.
        Stopped: after a signal; what is done by then stays.
    """
    check(settings)
    place = Place(settings.out)
    lock: AbstractContextManager = nullcontext() if place.local is None else alone(place.local)
    with lock:
        results, bench = Results(place), Bench(settings)
        done = results.claim(about(settings), restart=settings.restart)
        users = [user for user in wanted(settings, bench) if user not in done]
        if done:
            note(f"going on: {counted(len(done), 'user')} done before")
        _follow(settings, users, results, before=len(done))
    print(f"made {counted(results.pictures, 'picture')} of {counted(results.users, 'user')} in {settings.out}")
    if results.failures:
        print(f"{counted(results.failures, 'failure')}, the reasons are in {settings.out}/{FAILED}")
    return 0


def check(settings: StyleConfig) -> None:
    """Refuse settings that contradict each other.

    Raises:
        ConfigError: what the message names.
    """
    if settings.engine not in ("local", "ray"):
        raise ConfigError(f"engine is {settings.engine!r}; allowed are local and ray")
    check_range(workers=(settings.workers, 1, 100_000), planners=(settings.planners, 1, 100_000))
    check_range(worker_cpus=(settings.worker_cpus, 0.01, 1024), worker_gpus=(settings.worker_gpus, 0, 64))
    if settings.engine == "local" and settings.workers > 1:
        raise ConfigError(f"workers = {settings.workers} with engine local, which is one process; give --engine ray")
    if settings.interactions and not settings.recommender:
        raise ConfigError("--recommender is missing; every worker would train one: `personagen recommend train` first")
    if settings.user is not None or settings.subject or settings.person:
        raise ConfigError("--user, --subject and --person are for one user; give --users and --subjects FILE")


def about(settings: StyleConfig) -> dict[str, str]:
    """Say what decides the pictures: a run goes on only where all of it is the same."""
    return {name: str(value) for name, value in asdict(settings).items() if name not in FREE}


def wanted(settings: StyleConfig, bench: Bench) -> list[str]:
    """List the users: all of the source, those of a file (Parquet with a column user, or text), or those named.

    Raises:
        DataError: there is no such file, or it names nobody.
    """
    from ..commands.style import named

    users = settings.users
    if users in (None, "all"):
        found = list(bench.mapping) if users is None and settings.subjects else bench.studio.source.users()
    elif isinstance(users, str) and users.partition("?")[0].endswith(".parquet"):
        try:
            table = parquet.read_table(io.BytesIO(read_file(users)), columns=["user"])
        except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
            raise DataError(f"{users} is no Parquet file with a column user: {error}") from error
        found = table["user"].cast(pa.string()).to_pylist()
    else:
        found = named(users)
    found = list(dict.fromkeys(user for user in found if user))
    if not found:
        raise DataError("users is empty; name some")
    return found


def _follow(settings: StyleConfig, users: Sequence[str], results: Results, *, before: int) -> None:
    """Let users be done, with a bar, and take in what is made."""
    with (
        _engine(settings),
        Patience() as patience,  # after the engine, which has a mind of its own about signals
        bar(None, total=before + len(users), label="looks", unit="user") as progress,
    ):
        begin_at(progress, before)
        try:
            for table in _tables(settings, users):
                for row in table.to_pylist():
                    results.add_made(row)
                    progress.update()
                if patience.asked:
                    break
        finally:
            results.write()
    patience.end(f"{counted(before + results.users, 'user')} done in {settings.out}; the same command goes on")


def _engine(settings: StyleConfig) -> AbstractContextManager:
    if settings.engine == "local":
        return nullcontext()
    cpus = settings.workers * settings.worker_cpus + settings.planners * onray.PLANNER_CPUS
    return onray.cluster(settings.ray_address, cpus=cpus, gpus=settings.workers * settings.worker_gpus)


def _tables(settings: StyleConfig, users: Sequence[str]) -> Iterator[pa.Table]:
    """Yield what is made of users, in any order."""
    if not users:
        return
    if settings.engine == "ray":
        yield from onray.stream(users, settings)
        return
    planning, painting = Planning(settings), Painting(settings)
    painting.bench = planning.bench  # one process holds the models once
    for user in users:
        yield painting(planning(pa.table({"user": pa.array([user], pa.string())})))
