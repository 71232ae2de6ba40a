"""What `recommend rank` costs for a million users: memory, CPU-seconds, and what a kill in the middle leaves.

    python benchmarks/rank_everyone.py --model markov --users 100000 1000000 --kills 2
    python benchmarks/rank_everyone.py --model sasrec --users 20000 100000 --kills 0

Users walk over 20,000 items, 5 to 15 interactions each; the rows of the file are in the order of time, not of users.
The recommender is fitted on the first 100,000 users. Networks are small (SMALL) and are trained for an epoch on 10,000
of them; CountDiff counts in all but 500, on whose last items its weights are fitted.
The command runs in a process of its own. `plain` is ranking alone, of histories that are ready in memory, in calls of
256 users. The last run is killed on the way (SIGKILL), as often as --kills says, and started again with the same
command; its file must be that of the run before to the byte. Writes benchmarks/results/rank-everyone.json, a row for
each model, and keeps those of the others.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import csv
from report import HERE, RESULTS, cpu, git, write_report

from recsys import pretrained
from recsys.data.splits import Split, pad
from recsys.data.vocabulary import Vocabulary
from recsys.models import MODELS
from recsys.models.countdiff import CountDiff
from recsys.rank_all import parts, users_in
from recsys.train import TrainConfig, train
from recsys.types import Cases
from tests.peak import peak_kib

ITEMS = 20_000
FITTED = 100_000
SMALL = {"d": 32, "layers": 1, "max_softmax": 1000}
COUNTING = ("popularity", "markov")
LEARNT_ON, TUNED_ON, REGRESSED = 10_000, 500, 2000
BLOCK = 50_000
"""Users whose walks are drawn at once."""


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="markov", choices=(*COUNTING, "sasrec", "countdiff"))
    parser.add_argument("--users", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--folder", default=None, help="where to work; none: a temporary folder")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        place = Path(folder)
        sequences = fitted_on()
        save(args.model, place / "model", sequences)
        row: dict[str, Any] = {"plain_cpu_s_per_1000": plain(place / "model", sequences, args.k), "runs": {}}
        users, data, out = 0, place, place
        for users in args.users:
            data, out = write(place / f"{users}.csv", users), place / f"{users}.parquet"
            row["runs"][str(users)] = once(place, data, out, users, args.k) | {
                "commit": git("rev-parse", "--short", "HEAD")
            }
            keep(args.model, row, args.k)
        if args.kills:
            found = killed(place, data, place / "killed.parquet", users, args.k, args.kills)
            row["killed"] = {
                **found,
                "commit": git("rev-parse", "--short", "HEAD"),
                "equal_to_the_uninterrupted_run": digest(place / "killed.parquet") == digest(out),
            }
            keep(args.model, row, args.k)
    return 0


def keep(model: str, row: dict[str, Any], k: int) -> None:
    """Write a model's row beside those of the others."""
    path = RESULTS / "rank-everyone.json"
    rows = json.loads(path.read_text())["models"] if path.exists() else {}
    before = rows.get(model, {})
    row = before | row | {"runs": before.get("runs", {}) | row["runs"]}
    print(write_report(path, {"items": ITEMS, "k": k, "models": rows | {model: row}, "hardware": cpu()}), flush=True)


def walks(users: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw items (B, 15) from 1 and lengths (B,) 5..15 of users, block by block, the same for every number of them."""
    for number, low in enumerate(range(0, users, BLOCK)):
        rng = np.random.default_rng(number)
        drawn = (ITEMS * rng.random((BLOCK, 15)) ** 2).astype(np.int64)  # some items are taken often, most seldom
        follows = rng.random((BLOCK, 15)) < 0.5
        for step in range(1, 15):  # every second item is one of three that follow the one before
            after = (drawn[:, step - 1] * 7 + rng.integers(1, 4, BLOCK)) % ITEMS
            drawn[:, step] = np.where(follows[:, step], after, drawn[:, step])
        count = min(BLOCK, users - low)
        yield drawn[:count] + 1, rng.integers(5, 16, BLOCK)[:count]


def fitted_on() -> list[np.ndarray]:
    """Sequences of the users whom recommenders are fitted on."""
    return [row[:length] for items, lengths in walks(FITTED) for row, length in zip(items, lengths, strict=True)]


def write(path: Path, users: int) -> Path:
    """Write a file in which a user's rows lie far apart: the first items of everybody, then the second ones, ..."""
    blocks = list(walks(users))
    items = np.concatenate([items for items, _ in blocks]).astype(np.int32)
    lengths = np.concatenate([lengths for _, lengths in blocks])
    names = pa.array([f"user-{number:07d}" for number in range(users)])
    with open(path, "wb") as stream:
        stream.write(b"user,item,timestamp\n")
        for step in range(15):
            rows = np.flatnonzero(lengths > step)
            rows = np.random.default_rng(step).permutation(rows)
            item = pa.array(items[rows, step]).cast(pa.string())
            table = pa.table([names.take(pa.array(rows)), item, pa.array(np.full(len(rows), 1_700_000_000 + step))],
                             names=["user", "item", "timestamp"])  # fmt: skip
            csv.write_csv(table, stream, csv.WriteOptions(include_header=False, quoting_style="none"))
    return path


def save(name: str, folder: Path, sequences: list[np.ndarray]) -> None:
    """Fit or train a recommender, and save it."""
    found: Any = MODELS[name]
    cls, config = found
    if name in COUNTING:
        model = cls(config(ITEMS)).fit(sequences)
    else:
        model = learnt(cls(config(ITEMS, **SMALL | ({"regressed": REGRESSED} if cls is CountDiff else {}))), sequences)
    pretrained.save(model, folder, items=Vocabulary.numbered(ITEMS))


def learnt(model: Any, sequences: list[np.ndarray]) -> Any:
    """Train a network for an epoch on some sequences, count in all of them, and fit its weights on others."""
    nobody, some = Cases([], []), sequences[TUNED_ON : TUNED_ON + LEARNT_ON]
    for _ in train(model, Split(some, nobody, nobody, ITEMS), TrainConfig(epochs=1, learning_rate=3e-3)):
        pass
    if isinstance(model, CountDiff):
        model.prepare(sequences[TUNED_ON:])
        model.tune(Cases([one[:-1] for one in sequences[:TUNED_ON]], [one[-1:] for one in sequences[:TUNED_ON]]))
    return model


def plain(folder: Path, sequences: list[np.ndarray], k: int, *, calls: int = 24) -> float:
    """CPU-seconds a 1,000 users of ranking alone; the first call fills what is kept between calls."""
    model = pretrained.load(folder)
    begun = 0.0
    for call in range(calls + 1):
        if call == 1:
            begun = time.process_time()
        model.recommend(pad(sequences[256 * call : 256 * (call + 1)]), k)
    return round((time.process_time() - begun) / (0.256 * calls), 4)


def command(place: Path, data: Path, out: Path, k: int) -> list[str]:
    """The command that is measured."""
    return [sys.executable, "-m", "apps.cli", "recommend", "rank", "--recommender", str(place / "model"), "--data",
            str(data), "--out", str(out), "--k", str(k), "--device", "cpu"]  # fmt: skip


def start(words: list[str]) -> subprocess.Popen:
    """Start a command in the folder of this checkout, on one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
    return subprocess.Popen(words, cwd=HERE.parent, env=environment)


def spent(process: subprocess.Popen, stop: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Wait for a process, or kill it when `stop` says so; give its code, its peak of memory and its CPU-seconds."""
    most = 0
    ended: tuple[int, int, Any] = (0, 0, None)
    while not ended[0]:
        most = max(most, peak_kib(process.pid))
        if stop():
            process.kill()
        time.sleep(0.1)
        ended = os.wait4(process.pid, os.WNOHANG)
    _, status, usage = ended
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = usage.ru_utime + usage.ru_stime
    return {"code": process.returncode, "peak_mib": round(most / 1024), "cpu_s": round(seconds, 1)}


def once(place: Path, data: Path, out: Path, users: int, k: int) -> dict[str, Any]:
    """Rank everyone in one go."""
    begun = time.monotonic()
    found = spent(start(command(place, data, out, k)))
    if found["code"]:
        raise SystemExit(f"the command failed with {found['code']}")
    return {
        **found,
        "cpu_s_per_1000": round(1000 * found["cpu_s"] / users, 4),
        "seconds": round(time.monotonic() - begun),
        "rows": sum(lengths.sum().item() for _, lengths in walks(users)),
        "data_mib": round(data.stat().st_size / 2**20),
        "ranks_mib": round(out.stat().st_size / 2**20),
    }


def killed(place: Path, data: Path, out: Path, users: int, k: int, kills: int) -> dict[str, Any]:
    """Rank everyone, killed on the way."""
    folder, runs = out.with_name(f"{out.name}.unfinished") / "parts", []
    for kill in range(1, kills + 1):
        due = users * kill // (kills + 1)
        runs.append(spent(start(command(place, data, out, k)), lambda due=due: ready(folder) >= due))
        runs[-1]["users_ready"] = ready(folder)
    runs.append(spent(start(command(place, data, out, k))))
    return {"runs": runs, "cpu_s": round(sum(run["cpu_s"] for run in runs), 1)}


def ready(folder: Path) -> int:
    """Count the users whose lists are saved."""
    return sum(map(users_in, parts(folder))) if folder.is_dir() else 0


def digest(path: Path) -> str:
    """Digest a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
