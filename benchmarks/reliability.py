"""What becomes of a command that is killed, stopped, out of space, started twice or given hostile files.

    python benchmarks/reliability.py --parts kill disk two readonly sigterm hostile resume

kill: SIGKILL at twenty random places of each command, half of them at a write, and what is being written stays
half-written then. disk: each kind of write finds no space once, and the command runs on small file systems (tmpfs,
where this machine lets us mount one). two: the same command twice at once. readonly: a user who may not write. sigterm:
SIGTERM at each kind of write, it and SIGINT in each quarter of the time. resume: trainings are stopped after random
steps. hostile: the files of tests/corpus, given to every command that reads such files.

Whatever was disturbed is run again, and what it leaves is compared with what an undisturbed run leaves: pixels,
tensors, tables, and which files there are. Commands are forked from one process, so that nothing is imported twice;
settings are tiny. Writes benchmarks/results/reliability.json after each command; --resume keeps what is there.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import reliability_parts as parts  # noqa: E402
from reliability_child import import_everything  # noqa: E402
from reliability_hostile import hostile_files  # noqa: E402
from reliability_jobs import jobs, prepare  # noqa: E402
from reliability_parts import Bench  # noqa: E402
from report import RESULTS, git, write_report  # noqa: E402

PARTS: dict[str, Callable[..., dict[str, Any] | None]] = {
    "kill": parts.kill, "disk": parts.disk, "two": parts.two, "readonly": parts.readonly, "sigterm": parts.sigterm,
    "resume": parts.resume,
}  # fmt: skip
OF_EACH_FAMILY = ("kill", "resume")
"""Parts that try every recommender; for the others one that counts and one that is trained stand for all."""
OUT = RESULTS / "reliability.json"


def main() -> int:
    """Run the parts that are asked for. Returns 1 when something went wrong in one of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", nargs="+", default=[*PARTS, "hostile"], choices=[*PARTS, "hostile"])
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the names of commands")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=20, help="of each command")
    parser.add_argument("--files", type=int, default=200, help="hostile files")
    parser.add_argument("--resume", action="store_true", help="leave out what is in the results already")
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    import_everything()
    with tempfile.TemporaryDirectory(prefix="personagen-") as folder:
        os.chmod(folder, 0o755)
        place = Path(folder)
        in_a_child(lambda: prepare(place / "data"))
        return int(measure(asked, place))


def measure(asked: argparse.Namespace, place: Path) -> bool:
    """Try every command in every part; tell whether something went wrong."""
    kept: dict[str, Any] = json.loads(asked.out.read_text())["parts"] if asked.out.is_file() else {}
    failed = False
    for part, name, work in tasks(asked, place):
        if asked.resume and name in kept.get(part, {}):
            continue
        begun = time.time()
        found = work()
        if found is None:
            continue
        kept.setdefault(part, {})[name] = found | {"commit": git("rev-parse", "--short", "HEAD")}
        failed = failed or bool(found["wrong"])
        write_report(asked.out, {"seed": asked.seed, "parts": kept})
        print(f"{part:9} {name:32} {time.time() - begun:5.0f} s  {found}", flush=True)
    return failed


def tasks(asked: argparse.Namespace, place: Path) -> Iterator[tuple[str, str, Callable[[], dict[str, Any] | None]]]:
    """List what is asked for: part, command, and what measures it."""

    def seeded(bench: Bench, part: str, name: str) -> Bench:
        bench.random = np.random.default_rng(zlib.crc32(f"{part} {name} {asked.seed}".encode()))
        return bench

    for job in jobs(place / "data", place / "work" / "out"):
        bench = Bench(place)
        for part in asked.parts:
            if part == "hostile" or (job.family and part not in OF_EACH_FAMILY):
                continue
            if any(word in job.name for word in asked.only):
                measured = partial(PARTS[part], **({"kills": asked.kills} if part == "kill" else {}))
                yield part, job.name, lambda m=measured, p=part, j=job, b=bench: m(seeded(b, p, j.name), j)
    if "hostile" in asked.parts:
        name, bench = "every command", Bench(place)
        yield "hostile", name, lambda: hostile_files(seeded(bench, "hostile", name), place / "data", files=asked.files)


def in_a_child(work: Any) -> None:
    """Do something in a forked child, so that this process keeps one thread."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        finally:
            os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        sys.exit("the data could not be prepared")


if __name__ == "__main__":
    sys.exit(main())
