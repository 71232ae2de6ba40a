"""How fast the server ranks, and what it withstands: a bounded loop against loopback, the server in its own process.

    python benchmarks/serve.py --model countdiff --requests 2000

Users walk over 20,000 items (benchmarks/rank_everyone.py). Each of 1, 8 and 32 clients keeps one connection open and
asks again as soon as it has its answer; p50, p95 and p99 are of the seconds from sending to the whole answer.
CPU-seconds are the server's own. `single` is `recommend` alone, called in this process for one user at a time.
`restart`: the server gets SIGTERM in the middle of the requests and is started again on the same port, clients ask
again until they have an answer, and every answer is compared with that of the recommender. `abuse`: wrong keys, bodies
that are too large, slow clients, while one client asks properly. `load` is the machine's (os.getloadavg), others' work
included. Writes benchmarks/results/serve.json, a row for each model.
"""

import argparse
import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rank_everyone import fitted_on, save
from report import HERE, RESULTS, cpu, git, write_report

from recsys import pretrained

K = 10
Ask = Callable[[int], Awaitable[tuple[int, bytes]]]


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="countdiff", choices=("popularity", "markov", "sasrec", "countdiff"))
    parser.add_argument("--requests", type=int, default=2000, help="of each number of clients")
    parser.add_argument("--replicas", type=int, default=0, help="of Ray Serve; 0: rank in the server's own process")
    parser.add_argument("--restart", type=int, default=10_000, help="requests around a restart; 0: none")
    args = parser.parse_args()
    torch.set_num_threads(1)
    Served.more = ["--engine", "ray", "--replicas", str(args.replicas)] if args.replicas else []
    name = f"{args.model}, {args.replicas} replicas" if args.replicas else args.model
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        sequences = fitted_on()
        save(args.model, place / "model", sequences)
        histories = [sequence.tolist() for sequence in sequences[:2000]]
        row: dict[str, Any] = {"single_ms": single(place / "model", sequences[:200]), "load": os.getloadavg()[0]}
        row["clients"] = asyncio.run(loads(place, histories, args.requests))
        if not args.replicas:
            row["abuse"] = asyncio.run(abuse(place, histories))
        if args.restart:
            row["restart"] = asyncio.run(restart(place, histories, args.restart))
        row["commit"] = git("rev-parse", "--short", "HEAD")
        path = RESULTS / "serve.json"
        rows = json.loads(path.read_text())["models"] if path.exists() else {}
        print(write_report(path, {"items": 20_000, "k": K, "hardware": cpu(), "models": rows | {name: row}}))
    return 0


def single(folder: Path, sequences: Sequence[np.ndarray]) -> dict[str, float]:
    """Milliseconds of `recommend` for one user, on the clock and of the processor."""
    model = pretrained.load(folder)
    wall, spent = [], []
    with torch.inference_mode():
        for sequence in sequences:
            begun, cpu_begun = time.perf_counter(), time.process_time()
            model.recommend(torch.from_numpy(sequence).unsqueeze(0), K)
            wall.append(time.perf_counter() - begun)
            spent.append(time.process_time() - cpu_begun)
    return {"p50": _ms(wall, 50), "p95": _ms(wall, 95), "cpu_p50": _ms(spent, 50), "cpu_p95": _ms(spent, 95)}


class Served:
    """A server in a process of its own, on one thread; CPU-seconds are its own, not those of replicas."""

    more: list[str] = []

    def __init__(self, place: Path, port: int = 0, key: str = "") -> None:
        self.place, self.port, self.key = place, port, key
        self.process = self.open()

    def open(self) -> subprocess.Popen:
        """Start it, and wait until it takes requests."""
        words = [sys.executable, "-m", "personagen", "serve", "--recommender", str(self.place / "model"), "--port",
                 str(self.port), "--out", str(self.place / "serve"), *self.more]  # fmt: skip
        paths = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
        given = {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "PERSONAGEN_KEY": self.key}
        process = subprocess.Popen(words, cwd=HERE.parent, env=os.environ | given, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        line = next(line for line in process.stdout if "serving at" in line)
        self.port = int(line.split("  ")[0].rpartition(":")[2])
        return process

    def spent(self) -> float:
        """CPU-seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> int:
        """Stop it; give its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


class Client:
    """One open connection."""

    def __init__(self, port: int, histories: list[list[int]], key: str = "") -> None:
        self.port, self.histories, self.key = port, histories, key
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, number: int) -> tuple[int, bytes]:
        """Ask for the list of one history."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        body = json.dumps({"history": self.histories[number % len(self.histories)], "k": K}).encode()
        head = (
            f"POST /rank HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        self.writer.write(f"{head}\r\nAuthorization: Bearer {self.key}\r\n\r\n".encode() + body)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length:")[2].split()[0])
        content = await self.reader.readexactly(length)
        if b"connection: close" in answer.lower():
            self.close()
        return int(answer.split()[1]), content

    def close(self) -> None:
        """Let the connection go."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None


async def loads(place: Path, histories: list[list[int]], requests: int) -> dict[str, Any]:
    """Measure 1, 8 and 32 clients."""
    served, rows = Served(place), {}
    try:
        for clients in (1, 8, 32):
            rows[str(clients)] = await load(served, histories, clients, requests)
            print(clients, rows[str(clients)], flush=True)
    finally:
        served.close()
    return rows


async def load(served: Served, histories: list[list[int]], clients: int, requests: int) -> dict[str, float]:
    """Ask with some clients at a time."""
    seconds: list[float] = []
    numbers = iter(range(requests))

    async def work() -> None:
        client = Client(served.port, histories)
        for number in numbers:
            begun = time.perf_counter()
            status, _ = await client.ask(number)
            seconds.append(time.perf_counter() - begun)
            assert status == 200, status
        client.close()

    spent, begun = served.spent(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(clients)))
    whole = time.perf_counter() - begun
    return {
        "p50_ms": _ms(seconds, 50), "p95_ms": _ms(seconds, 95), "p99_ms": _ms(seconds, 99),
        "per_second": round(requests / whole, 1), "server_cpu_ms": round(1e3 * (served.spent() - spent) / requests, 2),
        "server_share_of_a_core": round((served.spent() - spent) / whole, 2), "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


async def restart(place: Path, histories: list[list[int]], requests: int) -> dict[str, Any]:
    """Stop and start the server in the middle of the requests of eight clients, who ask again."""
    model = pretrained.load(place / "model")
    names = pretrained.load_vocabulary(place / "model").names
    expected = {}
    with torch.inference_mode():
        for number, history in enumerate(histories):
            found = model.recommend(torch.tensor([history]), K, generator=torch.Generator().manual_seed(0))
            expected[number] = [names[item] for item in found.items[0].tolist()]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    served, numbers = Served(place, port), iter(range(requests))
    counts = {"answered": 0, "asked_again": 0, "refused_with_503": 0, "connections_lost": 0, "other": 0, "wrong": 0}

    async def work() -> None:
        client = Client(port, histories)
        for number in numbers:
            status, content = 0, b""
            while status != 200:
                try:
                    status, content = await client.ask(number)
                except (OSError, asyncio.IncompleteReadError):
                    client.close()
                    counts["connections_lost"] += 1
                    status = 0
                if status != 200:
                    counts["asked_again"] += 1
                    counts["refused_with_503"] += status == 503
                    counts["other"] += status not in (0, 503)
                    await asyncio.sleep(0.1)
            counts["answered"] += 1
            counts["wrong"] += json.loads(content)["items"] != expected[number % len(histories)]

    async def again() -> int:
        while counts["answered"] < requests // 2:
            await asyncio.sleep(0.05)
        code = await asyncio.to_thread(served.close)
        served.process = await asyncio.to_thread(served.open)
        return code

    *_, code = await asyncio.gather(*(work() for _ in range(8)), again())
    served.close()
    return {"requests": requests, **counts, "exit_code": code}


async def abuse(place: Path, histories: list[list[int]]) -> dict[str, Any]:
    """Ask with wrong keys, bodies that are too large and heads that never end, while one client asks properly."""
    key = secrets.token_hex(16)
    served, found = Served(place, key=key), {}
    try:
        client, wrong = Client(served.port, histories, key), Client(served.port, histories, key[:-1] + "x")
        slow = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(200)]
        for _, writer in slow:
            writer.write(b"POST /rank HT")
        found["wrong_keys"] = sorted({(await wrong.ask(number))[0] for number in range(500)})
        large = Client(served.port, [list(range(1, 20_000)) * 4], key)
        statuses = set()
        for number in range(20):
            statuses.add((await large.ask(number))[0])
        found["too_large"] = sorted(statuses)
        seconds = []
        for number in range(200):
            begun = time.perf_counter()
            status, _ = await client.ask(number)
            seconds.append(time.perf_counter() - begun)
            assert status == 200
        found["beside_200_slow_clients"] = {"p50_ms": _ms(seconds, 50), "p95_ms": _ms(seconds, 95)}
        begun = time.monotonic()
        await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in slow)), 30)
        found["slow_clients_closed_after_s"] = round(time.monotonic() - begun, 1)
    finally:
        served.close()
    return found


def _ms(seconds: Sequence[float], share: float) -> float:
    return round(1000 * float(np.percentile(seconds, share)), 2)


if __name__ == "__main__":
    sys.exit(main())
