"""Rankings by replicas of Ray Serve, behind the same server: `personagen serve --engine ray --replicas N`.

The server stays one process: requests, limits, key and jobs are its own. It ranks nothing itself; a question goes to
one of the replicas, each of which holds the recommender and answers what waits at it in one batch. A replica that dies
is started again by Ray, and its questions are asked anew.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from recsys.errors import ResourceError

from ..batch.onray import cause_of, cluster
from ..commands.config import ServeConfig
from .batcher import MOST, WAITING, Answer, Asked, rank_together

QUIET = {"enable_access_log": False, "log_level": "ERROR"}
TRIES, PAUSE = 20, 0.25
"""How often a question is asked whose replica died, and seconds between: a new one has read its model by then."""


@contextmanager
def replicas(settings: ServeConfig) -> Iterator[Any]:
    """Open a cluster, or join the one of `ray_address`, with so many replicas that rank; give a handle to them.

    Raises:
        ResourceError: it cannot be opened, or no replica starts.
    """
    with cluster(settings.ray_address, cpus=settings.replicas, gpus=0):
        from ray import serve

        serve.start(proxy_location="Disabled", logging_config=QUIET)
        try:
            yield serve.run(_deployment(settings), name="personagen", route_prefix=None)
        except (RuntimeError, TimeoutError) as error:
            if hasattr(error, "exit_code"):
                raise
            raise ResourceError(f"Ray Serve does not start: {error}; leave --engine out") from error
        finally:
            with suppress(Exception):  # whatever Ray has to say of its end, the server's own is what counts
                serve.shutdown()


class Replicas:
    """Asks replicas, as `batcher.Batcher` asks its thread."""

    def __init__(self, handle: Any, *, told: Callable[[int], object] = lambda size: None) -> None:
        self._handle, self._told, self._waiting = handle, told, 0

    async def ask(self, one: Asked) -> Answer:
        """Wait for the answer to one question.

        Raises:
            ResourceError: too many wait, or no replica lives.
            DataError, ModelError: what the recommender says.
        """
        from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

        if self._waiting >= WAITING:
            raise ResourceError(f"{WAITING} requests are waiting, as many as may; ask again in a second")
        self._waiting += 1
        try:
            for _ in range(TRIES):
                try:
                    answer, size = await self._handle.rank.remote(one)
                except (ActorDiedError, ActorUnavailableError):
                    await asyncio.sleep(PAUSE)
                    continue
                except RayTaskError as error:
                    raise cause_of(error) from error
                if size:
                    self._told(size)
                if isinstance(answer, Exception):
                    raise answer
                return answer
            raise ResourceError("no replica answers; ask again in a minute")
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Nothing is held here."""


def answers_of(model: Any, asked: Sequence[Asked]) -> list[tuple[Answer | Exception, int]]:
    """Rank for several at once: an answer each, and with the first the size of the batch; errors spoil no other."""
    try:
        found: list[Answer | Exception] = list(rank_together(model, asked))
    except Exception:
        found = [_alone(model, one) for one in asked]
    return [(answer, len(asked) if not at else 0) for at, answer in enumerate(found)]


def _alone(model: Any, one: Asked) -> Answer | Exception:
    try:
        return rank_together(model, [one])[0]
    except Exception as error:
        return error


def _deployment(settings: ServeConfig) -> Any:
    from ray import serve

    class Ranker:
        """A replica: the recommender of the shop, on one thread."""

        def __init__(self) -> None:
            import torch

            from .shop import open_shop

            torch.set_num_threads(1)
            self.model = open_shop(settings, settings.compute(), Path(settings.out) / "subjects").recommender
            rank_together(self.model, [Asked((1,), 1, True)])  # what is made at first use is made now

        @serve.batch(max_batch_size=MOST, batch_wait_timeout_s=0.0)
        async def rank(self, asked: list[Asked]) -> list[Any]:
            """Answer what waits, in a thread, so that more can come meanwhile."""
            return await asyncio.to_thread(answers_of, self.model, asked)

    made = serve.deployment(
        num_replicas=settings.replicas, max_ongoing_requests=2 * MOST, ray_actor_options={"num_cpus": 1},
        graceful_shutdown_timeout_s=5, logging_config=QUIET,
    )  # fmt: skip
    return made(Ranker).bind()
