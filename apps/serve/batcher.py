"""Rank requests together that come while others are ranked: nobody waits for a batch to fill."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from recsys.data.splits import pad
from recsys.errors import ResourceError
from recsys.types import Recommender, device_of

MOST, WAITING = 64, 1024
"""Requests of a batch, and those that may wait."""


@dataclass(frozen=True)
class Asked:
    """One user's question: item ids, latest last."""

    history: tuple[int, ...]
    k: int
    exclude_seen: bool


Answer = tuple[list[int], list[float]]
"""Items, best first, and their scores."""


def rank_together(model: Recommender, asked: Sequence[Asked], *, seed: int = 0) -> list[Answer]:
    """Rank for several at once; a list does not depend on whom else it is made with.

    Raises:
        DataError, ModelError: what the recommender says.
    """
    import numpy as np

    answers: dict[int, Answer] = {}
    for seen in {one.exclude_seen for one in asked}:
        places = [at for at, one in enumerate(asked) if one.exclude_seen == seen]
        k = min(max(asked[at].k for at in places), model.n_items)
        rows = pad([np.array(asked[at].history, np.int64) for at in places]).to(device_of(model))
        with torch.inference_mode():
            found = model.recommend(rows, k, exclude_seen=seen, generator=torch.Generator().manual_seed(seed))
        items, scores = found.items.tolist(), found.scores.tolist()
        for at, ids, values in zip(places, items, scores, strict=True):
            kept = [place for place, item in enumerate(ids[: asked[at].k]) if item]
            answers[at] = [ids[place] for place in kept], [values[place] for place in kept]
    return [answers[at] for at in range(len(asked))]


class Batcher:
    """Gather questions and answer them in batches, one batch at a time, in a thread of their own."""

    def __init__(
        self, rank: Callable[[Sequence[Asked]], list[Answer]], *, told: Callable[[int], object] = lambda size: None
    ) -> None:
        self._rank, self._told = rank, told
        self._waiting: deque[tuple[Asked, asyncio.Future[Answer]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rank")
        self._busy = False

    async def ask(self, one: Asked) -> Answer:
        """Wait for the answer to one question.

        Raises:
            ResourceError: too many wait.
        """
        if len(self._waiting) >= WAITING:
            raise ResourceError(f"{WAITING} requests are waiting, as many as may; ask again in a second")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, future))
        if not self._busy:
            self._busy = True
            self._task = asyncio.create_task(self._work())
        return await future

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
                self._told(len(batch))
                try:
                    answers = await loop.run_in_executor(self._thread, self._rank, [one for one, _ in batch])
                except Exception as error:
                    await self._one_by_one(batch, error)
                    continue
                for (_, future), answer in zip(batch, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)
        finally:
            self._busy = False

    async def _one_by_one(self, batch: list[tuple[Asked, asyncio.Future[Answer]]], error: Exception) -> None:
        """Answer alone those of a batch that failed, so that one bad question spoils no other."""
        loop = asyncio.get_running_loop()
        for one, future in batch:
            try:
                if len(batch) == 1:
                    raise error
                answer = (await loop.run_in_executor(self._thread, self._rank, [one]))[0]
            except Exception as own:
                if not future.done():
                    future.set_exception(own)
            else:
                if not future.done():
                    future.set_result(answer)
