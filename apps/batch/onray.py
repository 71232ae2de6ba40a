"""Ray, where the extra is installed: a local cluster for one command, or one that is there already.

Nothing is reported to anybody (usage statistics off), nothing is opened beyond this machine (no dashboard).
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from recsys.errors import ResourceError

from ..commands.config import StyleConfig

BLOCK = 4
"""Users of a block: what a worker is given at once, and does anew when it dies."""
STORE = 256 << 20
"""Bytes of a local cluster's object store; blocks hold texts, not pictures."""
PLANNER_CPUS, SPARE = 0.25, 2
"""Logical processors of a planner, and those left beside the actors: without any, Ray Data waits for ever."""


@contextmanager
def cluster(address: str | None, *, cpus: float, gpus: float) -> Iterator[None]:
    """Open a local cluster of so many (logical) processors, or join the one at `address`; leave it at the end.

    Raises:
        ResourceError: it cannot be opened or joined.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    own: dict[str, Any] = {"num_cpus": round(cpus + 0.5) + SPARE, "num_gpus": round(gpus + 0.49),
                           "include_dashboard": False, "object_store_memory": STORE}  # fmt: skip
    try:
        ray.init(address=address, log_to_driver=True, logging_level=logging.ERROR, **({} if address else own))
    except Exception as error:  # of a cluster that starts too slowly Ray says so by a bare Exception
        raise ResourceError(f"Ray cannot be opened: {error}; give --engine local, or another --ray_address") from error
    try:
        yield
    finally:
        ray.shutdown()


def stream(users: Sequence[str], settings: StyleConfig) -> Iterator[pa.Table]:
    """Plan and paint for users in pools of actors, and yield tables (stages.MADE) as they are ready.

    Ray Data holds back planners while painters are behind; a worker that dies is started again and its block done anew.

    Raises:
        What the stages raise: ResourceError and the like.
    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext
    from ray.exceptions import RayError

    from .stages import Painting, Planning

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    blocks = [
        pa.table({"user": pa.array(users[low : low + BLOCK], pa.string())}) for low in range(0, len(users), BLOCK)
    ]
    held: dict[str, Any] = {"fn_constructor_args": (settings,), "batch_format": "pyarrow", "batch_size": None}
    planned = ray.data.from_arrow(blocks).map_batches(
        Planning, compute=ActorPoolStrategy(size=settings.planners), num_cpus=PLANNER_CPUS, **held
    )  # fmt: skip
    painters = ActorPoolStrategy(size=settings.workers, max_tasks_in_flight_per_actor=2)
    made = planned.map_batches(
        Painting, compute=painters, num_cpus=settings.worker_cpus, num_gpus=settings.worker_gpus or None, **held
    )
    try:
        yield from made.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    except RayError as error:
        raise cause_of(error) from error


def cause_of(error: BaseException) -> BaseException:
    """Find the error of ours beneath those of Ray, else return what there is."""
    found: BaseException | None = error
    while found is not None:
        inner = getattr(found, "cause", None)
        if isinstance(inner, BaseException) and hasattr(inner, "exit_code"):
            return inner
        found = inner if isinstance(inner, BaseException) else found.__cause__
    return error


def each(
    work: Callable[..., Any], tasks: Sequence[Any], *, cpus: float, gpus: float, most: int, tries: int,
    lost: Callable[[Any, BaseException], Any],
) -> Iterator[Any]:  # fmt: skip
    """Do a task each in a worker, at most `most` at a time, and yield the results as they come.

    A worker that dies is replaced and its task given again, `tries` times in all; then `lost(task, error)` is yielded.

    Raises:
        Errors of ours that the work raises.
    """
    import ray
    from ray.exceptions import RayError

    remote = ray.remote(work).options(num_cpus=cpus, num_gpus=gpus, max_retries=tries - 1)
    waiting, running = list(reversed(tasks)), dict[Any, Any]()
    while waiting or running:
        while waiting and len(running) < most:
            task = waiting.pop()
            running[remote.remote(task)] = task
        (done,), _ = ray.wait(list(running), num_returns=1)
        task = running.pop(done)
        try:
            yield ray.get(done)
        except RayError as error:
            cause = cause_of(error)
            if getattr(cause, "exit_code", None) is not None:
                raise cause from error
            yield lost(task, cause)
