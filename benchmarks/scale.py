"""Looks of many users on several processes: equal bytes, kills, scaling, and a simulator that is checked against them.

    python benchmarks/scale.py --users 40 --runs local ray-1 ray-2 killed-worker killed-driver
    python benchmarks/scale.py --simulate 10000000 --looks 4 --painters 64
    python benchmarks/scale.py --check true

A made-up shop of 24 garments, and a scene a user by the embedded model in two steps: figures are of the engine, not of
pictures. Every run has a process of its own and writes Parquet of looks and pictures by their hash. `equal_to_local`:
the pictures are those of `local`, byte for byte, one row a user. killed-worker: one of two painters gets SIGKILL when
eight pictures are there. killed-driver: the command gets SIGKILL then, and is given again. CPU-seconds are of the
command and all its processes (of a killed one: up to the last look at it); `share` is what they got of one core, since
the machine is shared, and `load` its load. --check gives the simulator the rate of one painter, from its first picture
to its last, and compares what it says of two with what was measured. Writes benchmarks/results/scale.json.
"""

import argparse
import hashlib
import heapq
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from pyarrow import parquet
from report import HERE, RESULTS, cpu, git, write_report

from personagen.atelier.shoppers import catalogue
from personagen.files import write_text
from personagen.provenance import write_png
from personagen.styling.catalog import AtelierCatalog
from recsys import pretrained
from recsys.data.vocabulary import Vocabulary
from recsys.models.markov import Markov, MarkovConfig

SETTINGS = ["--looks", "0", "--scenes", "1", "--steps", "2", "--stylist.sitter_in_scenes", "false"]
RUNS = ("local", "ray-1", "ray-2", "killed-worker", "killed-driver")
FILE = RESULTS / "scale.json"


def main() -> int:
    """Measure or simulate what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=40)
    parser.add_argument("--runs", nargs="+", default=[], choices=RUNS)
    parser.add_argument("--folder", default=None, help="where to work; none: a temporary folder")
    parser.add_argument("--simulate", type=int, default=0, help="users")
    parser.add_argument("--check", default="false", choices=("true", "false"))
    parser.add_argument("--looks", type=int, default=4)
    parser.add_argument("--painters", type=int, default=1)
    parser.add_argument("--plan_s", type=float, default=0.02)
    parser.add_argument("--picture_s", type=float, default=1.0)
    args = parser.parse_args()
    if args.simulate:
        found = simulate(args.simulate, looks=args.looks, plan_s=args.plan_s, picture_s=args.picture_s,
                         painters=args.painters)  # fmt: skip
        print(json.dumps(found, indent=1))
        return 0
    if args.check == "true":
        checked(args.plan_s)
        return 0
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        place = Path(folder)
        shop = write_shop(place / "shop", args.users)
        for name in args.runs:
            row = measured(name, place / name, shop)
            row["commit"] = git("rev-parse", "--short", "HEAD")
            keep(name, args.users, row, pictures(place / name))
    return 0


def write_shop(folder: Path, users: int) -> list[str]:
    """Write interactions, garments and a recommender; return the flags that name them."""
    catalog, specs = folder / "garments", catalogue(24, seed=0)
    pictures, lines = AtelierCatalog(specs, size=(128, 96)), ["file,id,kind,colour"]
    for item in range(1, len(specs) + 1):
        write_png(pictures[item].image, catalog / f"g{item}.png")
        lines.append(f"g{item}.png,sku{item},{specs[item - 1].kind},{specs[item - 1].colour}")
    write_text(catalog / "garments.csv", "\n".join(lines) + "\n")
    rng, rows, sequences = np.random.default_rng(0), ["user,item,timestamp"], []
    for user in range(users):
        sequences.append(rng.permutation(24)[:6] + 1)
        rows += [f"user-{user},sku{item},{place}" for place, item in enumerate(sequences[-1])]
    write_text(folder / "clicks.csv", "\n".join(rows) + "\n")
    names = Vocabulary(("", *(f"sku{item}" for item in range(1, 25))))
    pretrained.save(Markov(MarkovConfig(24)).fit(sequences), folder / "recommender", items=names)
    return ["--interactions", str(folder / "clicks.csv"), "--catalog", str(catalog), "--recommender",
            str(folder / "recommender")]  # fmt: skip


def keep(name: str, users: int, row: dict[str, Any], made: dict[str, str]) -> None:
    """Write a run's row beside those of the others, and say whether it made what `local` made."""
    rows = json.loads(FILE.read_text())["runs"] if FILE.exists() else {}
    digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]
    row |= {"users": users, "pictures": len(made), "digest_of_pictures": digest}
    row["equal_to_local"] = digest == (row if name == "local" else rows.get("local", {})).get("digest_of_pictures")
    print(name, write_report(FILE, {"hardware": cpu(), "runs": rows | {name: row}}) and row, flush=True)


def checked(plan_s: float) -> None:
    """Simulate two painters from the rate of one, and keep how far that is from the run of two."""
    rows = json.loads(FILE.read_text())["runs"]
    one, two = ({"s": row["last_picture_s"] - row["first_picture_s"], **row} for row in (rows["ray-1"], rows["ray-2"]))
    found = simulate(two["users"], looks=1, plan_s=plan_s, picture_s=one["s"] / one["pictures"], painters=2)
    simulator = {"painters": 2, "simulated_s": found["seconds"], "measured_s": round(two["s"], 1),
                 "off_by": round(found["seconds"] / two["s"] - 1, 3)}  # fmt: skip
    print(write_report(FILE, {"hardware": cpu(), "runs": rows, "simulator": simulator}), simulator)


def measured(name: str, out: Path, shop: list[str]) -> dict[str, Any]:
    """Run a command, killed on the way where the name says so."""
    engine, workers = ("local", 1) if name == "local" else ("ray", 1 if name == "ray-1" else 2)
    words = [sys.executable, "-m", "personagen", "style", "--engine", engine, "--workers", str(workers), "--users",
             "all", *shop, *SETTINGS, "--out", str(out)]  # fmt: skip
    if name == "killed-driver":
        first = follow(words, out, kill="driver")
        again = follow(words, out)
        return again | {"before_the_kill": first}
    return follow(words, out, kill="worker" if name == "killed-worker" else "")


def follow(words: list[str], out: Path, *, kill: str = "") -> dict[str, Any]:
    """Run a command to its end, or kill it or one of its painters when eight pictures are there."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
    begun, spent, first, last, killed = time.monotonic(), dict[int, float](), 0.0, 0.0, False
    process = subprocess.Popen(words, cwd=HERE.parent, env=environment, stderr=subprocess.DEVNULL)
    own, pictured = psutil.Process(process.pid), 0
    while process.poll() is None:
        tree = family(own)
        spent |= {one.pid: seconds(one) for one in tree}
        count = sum(1 for _ in (out / "pictures").rglob("*.png")) if out.is_dir() else 0
        if count > pictured:
            last, first = time.monotonic() - begun, first or time.monotonic() - begun
            pictured = count
        if kill and not killed and count >= 8:
            painters = [one for one in tree if "Painting" in title(one)]
            (process if kill == "driver" else painters[0]).send_signal(signal.SIGKILL)
            killed = True
        time.sleep(0.2)
    whole = time.monotonic() - begun
    return {"code": process.returncode, "seconds": round(whole, 1), "first_picture_s": round(first, 1),
            "last_picture_s": round(last, 1), "cpu_s": round(sum(spent.values()), 1),
            "share": round(sum(spent.values()) / whole, 2), "load": round(os.getloadavg()[0], 1)}  # fmt: skip


def family(own: psutil.Process) -> list[psutil.Process]:
    """A process and all that it started."""
    try:
        return [own, *own.children(recursive=True)]
    except psutil.Error:
        return []


def seconds(process: psutil.Process) -> float:
    """CPU-seconds of a process so far."""
    try:
        times = process.cpu_times()
        return times.user + times.system
    except psutil.Error:
        return 0.0


def title(process: psutil.Process) -> str:
    """What a process calls itself."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def pictures(out: Path) -> dict[str, str]:
    """Digest each user's picture; every picture on disk has its row, and everybody has one.

    Raises:
        SystemExit: somebody is there twice, or a picture without a row.
    """
    rows = parquet.read_table(out / "looks").to_pylist()
    found = {row["user"]: hashlib.sha256((out / row["path"]).read_bytes()).hexdigest() for row in rows}
    if len(found) != len(rows) or {path.stem for path in (out / "pictures").rglob("*.png")} != set(found.values()):
        raise SystemExit(f"{out}: {len(rows)} rows of {len(found)} users do not fit the pictures on disk")
    return found


def simulate(
    users: int, *, looks: int, plan_s: float, picture_s: float, painters: int, planners: int = 1, held: int = 2,
    block: int = 4, start_s: float = 0.0,
) -> dict[str, Any]:  # fmt: skip
    """Follow blocks of users through planners and painters, of which each has at most `held` blocks waiting.

    Returns seconds until all is painted, how busy both are, and the most blocks that waited between them. Large runs
    are followed for 20,000 blocks and drawn out.
    """
    blocks = max(1, -(-users // block))
    followed = min(blocks, 20_000)
    free_planners, free_painters = [0.0] * planners, [start_s] * painters
    started: list[float] = []
    planned_s, painted_s, end, deepest = plan_s * block, picture_s * looks * block, 0.0, 0
    waiting: list[float] = []
    for number in range(followed):
        room = started[number - painters * held] if number >= painters * held else 0.0  # planners wait for room
        planned = max(heapq.heappop(free_planners), room) + planned_s
        heapq.heappush(free_planners, planned)
        begun = max(heapq.heappop(free_painters), planned)
        started.append(begun)
        heapq.heappush(free_painters, begun + painted_s)
        end = max(end, begun + painted_s)
        waiting = [one for one in waiting if one > planned] + [begun]
        deepest = max(deepest, len(waiting))
    scale = blocks / followed
    busy = end - start_s
    return {"hours": round(scale * end / 3600, 3), "seconds": round(scale * end, 1), "pictures": users * looks,
            "painters_busy": round(followed * painted_s / painters / busy, 3),
            "planners_busy": round(followed * planned_s / planners / busy, 3), "blocks_waiting": deepest}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
