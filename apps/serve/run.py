"""Open the server, and close it in an orderly way."""

import asyncio
import os
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from recsys.errors import ConfigError, check_range
from recsys.folders import alone
from recsys.text import read_text

from ..commands.config import ServeConfig
from ..commands.weights import note_sampler
from ..page.app import check_port, is_local
from ..page.keys import key_from
from ..progress import note
from .app import Server
from .gate import Limits
from .onray import replicas
from .shop import open_shop

NICE = 10
"""By how much jobs let rankings go first."""


def run(settings: ServeConfig) -> int:
    """Serve until SIGTERM or SIGINT; then finish what runs, refuse what is new, and return 0.

    Raises:
        ConfigError: a host beyond this machine without a key, or settings that contradict each other.
        DataError, ModelError: the shop's files or a model of one's own.
        ResourceError: the port is taken, another server works in `out`, or the device is not there.
    """
    check_range(
        most_jobs=(settings.most_jobs, 1, 10_000), keep_hours=(settings.keep_hours, 0.01, 24 * 365),
        grace=(settings.grace, 0, 86_400), max_body_mb=(settings.max_body_mb, 0.01, 1000),
    )  # fmt: skip
    key = key_of(settings)
    if key is None and not is_local(settings.host):
        raise ConfigError(f"host {settings.host!r} can be reached by others; allowed without --key_file is 127.0.0.1")
    check_port(settings.host, settings.port)
    if not settings.allow_download:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    note_sampler(settings.scheduler)
    folder, compute = Path(settings.out), settings.compute()
    with alone(folder, mode=0o700), _ranking(settings) as handle:
        note("reading the shop")
        shop = open_shop(settings, compute, folder / "subjects")
        limits = Limits(body=int(settings.max_body_mb * 1e6))
        server = Server(shop, folder / "jobs", key=key, limits=limits, most=settings.most_jobs,
                        keep_s=3600 * settings.keep_hours, nice=NICE, handle=handle)  # fmt: skip
        if handle is None:
            _warm(server)
        Graceful(_config(server, settings), server, grace=settings.grace).run()
    return 0


def _ranking(settings: ServeConfig) -> AbstractContextManager[Any]:
    """Open what ranks beside this process, where that is asked for; give None otherwise.

    Raises:
        ConfigError: another engine than local and ray, or no replica.
    """
    if settings.engine not in ("local", "ray"):
        raise ConfigError(f"engine is {settings.engine!r}; allowed are local and ray")
    if settings.engine == "local":
        return nullcontext()
    check_range(replicas=(settings.replicas, 1, 1024))
    note(f"starting {settings.replicas} replicas of Ray Serve")
    return replicas(settings)


def key_of(settings: ServeConfig) -> str | None:
    """Read the key from its file, else from the environment.

    Raises:
        ConfigError: it is short.
        DataError: there is no such file.
    """
    return key_from(read_text(Path(settings.key_file)) if settings.key_file else None)


def _warm(server: Server) -> None:
    """Rank once, so that the first who asks does not wait for what is made at first use."""
    from .batcher import Asked, rank_together

    rank_together(server.shop.recommender, [Asked((1,), 1, True)])


def _config(server: Server, settings: ServeConfig) -> uvicorn.Config:
    return uvicorn.Config(
        server.gate, host=settings.host, port=settings.port, http=Impatient, loop="asyncio", ws="none", lifespan="on",  # pyrefly: ignore
        log_level="warning", access_log=False, server_header=False, timeout_keep_alive=30,
        h11_max_incomplete_event_size=16_384, backlog=512, timeout_graceful_shutdown=30,
    )  # fmt: skip


class Impatient(H11Protocol):
    """HTTP whose clients must send the head of a request within some seconds once they have begun, or connected."""

    HEAD_SECONDS = 10.0

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._late: asyncio.TimerHandle | None = None
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take in bytes; a head that has come whole ends the wait."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._late is None and not self.transport.is_closing():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._late = self.loop.call_later(self.HEAD_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


class Graceful(uvicorn.Server):
    """At the first signal nothing new is taken in, and what runs ends within `grace` seconds; a second one ends all."""

    def __init__(self, config: uvicorn.Config, server: Server, *, grace: float) -> None:
        super().__init__(config)
        self._parts, self._grace, self._asked = server, grace, 0.0

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Take a signal."""
        if self._asked:
            super().handle_exit(sig, frame)
            return
        self._asked = time.monotonic()
        self._parts.gate.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: end when nothing runs any more, or its time is over."""
        if self._asked and not self.should_exit:
            self._parts.drain()
            late = time.monotonic() - self._asked > self._grace
            if late:
                self._parts.jobs.interrupt()
            if not self._parts.jobs.running and (not self._parts.gate.open or late):
                self.should_exit = True
        return await super().on_tick(counter)

    async def startup(self, sockets: list | None = None) -> None:
        """Open, and say where."""
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            place = f"[{host}]" if ":" in host else host
            print(f"serving at http://{place}:{port}  (/docs says what; Ctrl-C stops)", flush=True)
