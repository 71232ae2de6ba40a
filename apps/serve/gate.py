"""What every request passes before it is looked at: key, origin, size, time, and whether the server still takes work.

Plain ASGI. A body is read whole, within its limits, before anything is done with it.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..page.keys import Lock
from .meters import Meters

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
LOCAL = ("localhost", "127.0.0.1", "::1")
FREE = "/health"
"""Needs no key, and answers to the end."""
READING = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Limits:
    """Bytes of a body, of one to /rank, seconds for it to come and for an answer to go, and requests at a time."""

    body: int = 16_000_000
    rank: int = 256_000
    seconds: float = 20.0
    requests: int = 512


class Refused(Exception):
    """A request that is not let in: status and sentence."""

    def __init__(self, status: int, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status, self.headers = status, headers


class Gate:
    """Let in what may be answered; count all. `draining`: only reading is still let in."""

    def __init__(self, app: Any, *, key: str | None, meters: Meters, limits: Limits = Limits()) -> None:
        self.app, self.meters, self.limits = app, meters, limits
        self._lock = None if key is None else Lock(key)
        self.draining, self.open = False, 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.monotonic(), 500
        self.open += 1
        self.meters.open.set(self.open)

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await asyncio.wait_for(send(message), self.limits.seconds)  # who does not read does not hold us

        try:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            self._check(scope, headers)
            body = await self._body(scope, headers, receive)
            await self.app(scope, _replayed(body, receive), sent)
        except Refused as refused:
            await _refuse(refused, sent)
        except (TimeoutError, ConnectionError):
            status = 499  # the client is gone, or reads no more
        finally:
            self.open -= 1
            self.meters.open.set(self.open)
            route = getattr(scope.get("route"), "path", "none")
            self.meters.requests.labels(route, scope["method"], str(status)).inc()
            self.meters.seconds.labels(route).observe(time.monotonic() - begun)

    def _check(self, scope: Message, headers: dict[str, str]) -> None:
        """Refuse what lacks the key, comes from another site's page, or comes too late."""
        if scope["path"] == FREE:
            return
        host = headers.get("host", "")
        if self._lock is None and _name_of(host) not in LOCAL:  # a name that was made to point here
            raise Refused(403, "this server answers to localhost alone; give it a key to be asked by another name")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise Refused(403, "pages of other sites may not ask this server")
        if self._lock is not None and not self._knows(headers):
            raise Refused(401, "the key is missing or wrong; send it as Authorization: Bearer KEY",
                          **{"www-authenticate": "Bearer"})  # fmt: skip
        if self.draining and scope["method"] not in READING:
            raise Refused(503, "the server is stopping; ask again in a moment", **{"retry-after": "1"})
        if self.open > self.limits.requests:
            raise Refused(503, "too many requests at a time; ask again in a moment", **{"retry-after": "1"})

    def _knows(self, headers: dict[str, str]) -> bool:
        return self._lock is not None and self._lock.opens(headers.get("authorization", ""))

    async def _body(self, scope: Message, headers: dict[str, str], receive: Receive) -> bytes:
        """Read the body within its limits of size and time."""
        if scope["method"] in READING:
            return b""
        most = self.limits.rank if scope["path"] == "/rank" else self.limits.body
        large = Refused(413, f"the body is larger than the {most:,} bytes allowed; send less", connection="close")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > most:
            raise large
        parts, total = [], 0
        try:
            async with asyncio.timeout(self.limits.seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ConnectionError("the client left")
                    parts.append(message.get("body", b""))
                    total += len(parts[-1])
                    if total > most:
                        raise large
                    if not message.get("more_body"):
                        return b"".join(parts)
        except TimeoutError:
            raise Refused(408, f"the body did not come within {self.limits.seconds:g} seconds; send it faster",
                          connection="close") from None  # fmt: skip


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Give a body that has been read, then what comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _refuse(refused: Refused, send: Send) -> None:
    content = json.dumps({"error": str(refused)}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(content)), **refused.headers}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": pairs})
    await send({"type": "http.response.body", "body": content})


def _name_of(host: str) -> str:
    """Take the port off a Host header."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
