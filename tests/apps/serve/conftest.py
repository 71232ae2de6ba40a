"""A server over the atelier with tiny real models, on a port of its own."""

import json
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from apps.serve.app import Server
from apps.serve.gate import Limits
from apps.serve.run import Impatient
from apps.serve.shop import Shop
from personagen.styling.config import StyleConfig
from personagen.styling.studio import Studio
from recsys.data.vocabulary import Vocabulary

QUICK = StyleConfig(sitter_in_scenes=False, scene_steps=2)
KEY, PLENTY = "a key of the tests", Limits()


@dataclass
class Client:
    """Asks a server; errors are answers, too."""

    port: int
    key: str | None = None

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.key}"} if self.key else {})}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", content, given | headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, _read(answer)
        except urllib.error.HTTPError as error:
            return error.code, _read(error)

    def finished(self, id: str) -> dict[str, Any]:
        """Wait for a job's end."""
        for _ in range(600):
            state = self("GET", f"/jobs/{id}")[1]
            if state["state"] in ("done", "failed", "stopped"):
                return state
            time.sleep(0.1)
        raise AssertionError("the job did not end")


def _read(answer: Any) -> Any:
    content = answer.read()
    return json.loads(content) if content and "json" in answer.headers.get("content-type", "") else content


@dataclass
class Opened:
    """A running server and a client of it."""

    server: Server
    uvicorn: uvicorn.Server
    ask: Client


def serve(studio: Studio, folder: Path, *, key: str | None = None, limits: Limits = PLENTY, most: int = 4) -> Opened:
    """Open a server in a thread."""
    shop = Shop(studio.recommender, Vocabulary(("", *studio.source.catalog.names)), studio, QUICK, folder / "subjects")
    parts = Server(shop, folder / "jobs", key=key, limits=limits, most=most, keep_s=3600)
    config = uvicorn.Config(parts.gate, port=0, http=Impatient, ws="none", lifespan="on", log_level="warning",
                            access_log=False)  # fmt: skip
    running = uvicorn.Server(config)
    threading.Thread(target=running.run, daemon=True).start()
    while not running.started:
        time.sleep(0.02)
    return Opened(parts, running, Client(running.servers[0].sockets[0].getsockname()[1], key))


@pytest.fixture(scope="module")
def opened(studio: Studio, tmp_path_factory: pytest.TempPathFactory):
    """A server with a key."""
    made = serve(studio, tmp_path_factory.mktemp("serve"), key=KEY, limits=Limits(body=400_000, rank=20_000, seconds=1))
    yield made
    made.uvicorn.should_exit = True
