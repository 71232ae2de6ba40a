"""How the page bears many visitors, and how soon it starts and stops: real servers, visitors over its own requests.

    python benchmarks/page.py

Each visitor (benchmarks/visitor.py) sends what a browser's tab sends. The embedded models paint.

`start`: CPU-seconds of `personagen demo` until it says that it is open, three times. `eight`: eight visitors at once,
each with words and a seed of its own, paint two pictures in `Generate`. `queue`: thirty-four at once, so that one
works, thirty-two wait and one is sent away. Of both: seconds until the result, whether everyone got exactly their own
(prompt and seed in each file, no file of another's folder) and nothing was lost. `cancel`: pressed at random moments;
seconds from pressing until the tab is free, beside the length of a denoising step, in each tab, and while waiting, and
until another's mask is found then, for which the machine has to be free. `mask`: seconds until a mask is found while
another visitor trains. `load` says how many processes want a core: CPU-seconds hardly change with it, seconds do.
Writes benchmarks/results/page.json.
"""

import argparse
import io
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from report import HERE, RESULTS, cpu, write_report
from visitor import Visitor, line_of, patient

from personagen.atelier.corpus import random_sitting
from personagen.atelier.garment import GarmentSpec
from personagen.atelier.render import render_garment, render_person
from personagen.atelier.trace import portrait

COLOURS, KINDS = ("red", "blue", "green", "yellow", "black", "white"), ("dress", "t-shirt", "skirt", "coat", "jumper")
FREE = ("Stopped", "Nothing was made")


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--cancels", type=int, default=20, help="of each tab, and while waiting")
    parser.add_argument("--out", type=Path, default=RESULTS / "page.json")
    asked = parser.parse_args()
    result: dict[str, Any] = {"start": starts(asked.starts)}
    print(result["start"], flush=True)
    served = Served()
    try:
        result["eight"] = crowd(served, 8, pictures=2, steps=8)
        print(result["eight"], flush=True)
        result["queue"] = crowd(served, 34, pictures=1, steps=4)
        print(result["queue"], flush=True)
        result["cancel"] = cancels(served, asked.cancels)
        print(result["cancel"], flush=True)
        result["mask"] = masks_while_training(served, 8)
    finally:
        served.close()
    print(write_report(asked.out, {**result, "cpu": cpu(), "cores": os.cpu_count(), "load": _load()}))
    return 0


def _load() -> float:
    return round(os.getloadavg()[0], 1)


class Served:
    """The page in a process of its own; `started` is what its start cost in CPU-seconds."""

    def __init__(self) -> None:
        words = [sys.executable, "-m", "personagen", "demo", "--port", "0"]
        given = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
        begun = time.monotonic()
        self.process = subprocess.Popen(
            words, cwd=HERE.parent, env=os.environ | given, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.started, self.seconds = self.spent(), time.monotonic() - begun
        self.address = line.split("at ", 1)[1].split()[0]

    def spent(self) -> float:
        """CPU-seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Stop it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def starts(count: int) -> dict[str, Any]:
    """Start the page some times; the first one may find nothing in the machine's file cache."""
    spent, seconds = [], []
    for _ in range(count):
        served = Served()
        spent.append(round(served.started, 2))
        seconds.append(round(served.seconds, 1))
        served.close()
    return {"cpu_s": spent, "cpu_s_median": statistics.median(spent), "seconds": seconds, "load": _load()}


def crowd(served: Served, count: int, *, pictures: int, steps: int) -> dict[str, Any]:
    """Let some visitors press Paint at once; return how long they waited and what was wrong."""
    visitors = [Visitor(served.address) for _ in range(count)]
    rows: list[dict[str, Any]] = [{} for _ in visitors]
    gate, spent = threading.Barrier(count), served.spent()

    def work(at: int) -> None:
        row, visitor = rows[at], visitors[at]
        row["prompt"] = f"a person wearing a {COLOURS[at % 6]} {KINDS[at % 5]} number {at}"
        gate.wait()
        begun = time.monotonic()

        def heard(_: dict[int, Any]) -> None:
            line = line_of(visitor.read("generate-state"))
            if line.startswith("Waiting") or "others are waiting" in line:
                row.setdefault("told", line)
                row.setdefault("told_s", time.monotonic() - begun)
            elif "step" in line:
                row.setdefault("waited_s", time.monotonic() - begun)

        try:
            visitor.press("generate-go", heard=heard, generate_prompt=row["prompt"], generate_seed=1000 * at,
                          generate_count=pictures, generate_steps=steps)  # fmt: skip
        except Exception as error:
            row["error"] = repr(error)
        row["seconds"], row["line"] = time.monotonic() - begun, line_of(visitor.read("generate-state"))

    together([lambda at=at: work(at) for at in range(count)])
    found = [checked(visitor, row, 1000 * at, pictures) for at, (visitor, row) in enumerate(zip(visitors, rows))]
    for visitor in visitors:
        visitor.press("forget")
        visitor.close()
    served_rows = [row for row in rows if "waited_s" in row]
    return {
        "visitors": count, "pictures_each": pictures, "steps": steps,
        "with_their_own": found.count("own"), "sent_away_with_a_sentence": found.count("sent away"),
        "lost": found.count("lost"), "anothers": found.count("another's"),
        "told_their_place": sum("told" in row for row in served_rows),
        "until_told_s_max": round(max((row["told_s"] for row in rows if "told_s" in row), default=0.0), 2),
        "waited_s_median": round(statistics.median(row["waited_s"] for row in served_rows), 1),
        "waited_s_max": round(max(row["waited_s"] for row in served_rows), 1),
        "seconds_max": round(max(row["seconds"] for row in rows), 1),
        "cpu_s": round(served.spent() - spent, 1), "load": _load(),
    }  # fmt: skip


def checked(visitor: Visitor, row: dict[str, Any], seed: int, pictures: int) -> str:
    """Say what a visitor got: "own", "sent away", "lost" or "another's"."""
    shown = [one["image"]["path"] for one in visitor.read("generate-gallery") or []]
    folders, read = {Path(path).parent.name for path in shown}, []
    for path in shown:
        with Image.open(io.BytesIO(visitor.file(path))) as image:
            settings = json.loads(image.info["personagen"])["page"]["settings"]
            read.append((settings["prompt"], settings["seed"]))
    own = {(row["prompt"], seed + at) for at in range(pictures)}
    if set(read) - own or len(folders) > 1:
        return "another's"
    if set(read) == own and len(read) == pictures:
        return "own"
    return "sent away" if "press again" in row["line"] and not read else "lost"


def together(tasks: Sequence[Callable[[], None]]) -> None:
    """Do all of them at once."""
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def cancels(served: Served, count: int) -> dict[str, Any]:
    """Press Cancel at random moments of each tab's work, and while waiting."""
    moments = random.Random(0)
    visitor, other = Visitor(served.address), Visitor(served.address)
    person, _ = pictures()
    give(other, "wear-person", "other.png", person)
    rows = {}
    for name, prepare in (("generate", _words), ("tryon", _wear), ("looks", _looks), ("teach", _teach)):
        ask, tab, longest = prepare(visitor)
        found, free = [], []
        for _ in range(count):
            found.append(_cancel(visitor, ask, tab, moments.uniform(0.1, longest)))
            free.append(found[-1][0] + _timed(lambda: other.press("wear-kind", "change")))
        rows[name] = _summary(found, [step for _, steps in found for step in steps])
        rows[name]["until_anothers_mask_p95_s"] = round(_p95(free), 2)
        print(name, rows[name], flush=True)
    rows["waiting"] = _summary(_cancels_while_waiting(visitor, other, count, moments), [])
    for one in (visitor, other):
        one.press("forget")
        one.close()
    return rows


def _summary(found: Sequence[tuple[float, list[float]]], steps: Sequence[float]) -> dict[str, Any]:
    seconds = sorted(one for one, _ in found)
    row = {"n": len(seconds), "median_s": round(statistics.median(seconds), 2),
           "p95_s": round(_p95(seconds), 2),
           "max_s": round(seconds[-1], 2), "load": _load()}  # fmt: skip
    if steps:
        row["step_s_median"] = round(statistics.median(steps), 2)
        row["step_s_p95"] = round(_p95(steps), 2)
    return row


def _p95(seconds: Sequence[float]) -> float:
    return sorted(seconds)[round(0.95 * (len(seconds) - 1))]


Ask = Callable[[Callable[[dict[int, Any]], None]], None]


def _cancel(visitor: Visitor, ask: Ask, tab: tuple[str, str], after: float) -> tuple[float, list[float]]:
    """Begin work, cancel it after some seconds of work; return the seconds until it ended, and those of each step."""
    state, stop = tab
    steps, last, ended = [], [0.0, ""], threading.Event()

    def heard(_: dict[int, Any]) -> None:
        line, now = line_of(visitor.read(state)), time.monotonic()
        if "tep" in line and "tep" in str(last[1]) and line != last[1]:
            steps.append(now - float(last[0]))
        last[:] = [now, line]

    def work() -> None:
        ask(heard)
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    patient(lambda: bool(last[1]) and "Beginning" not in str(last[1]) or ended.is_set())
    time.sleep(after)
    if ended.is_set():
        raise RuntimeError(f"done before it was cancelled: {line_of(visitor.read(state))}")
    begun, quick = time.monotonic(), Visitor.__new__(Visitor)
    quick.__dict__.update(visitor.__dict__ | {"values": dict(visitor.values)})
    quick.press(stop)
    thread.join()
    took, line = time.monotonic() - begun, line_of(visitor.read(state))
    if not any(word in line for word in FREE):
        raise RuntimeError(f"not stopped: {line}")
    return took, steps


def _words(visitor: Visitor) -> tuple[Ask, tuple[str, str], float]:
    def ask(heard: Callable[[dict[int, Any]], None]) -> None:
        visitor.press("generate-go", heard=heard, generate_prompt="a person wearing a red dress on a beach",
                      generate_count=8, generate_steps=40)  # fmt: skip

    return ask, ("generate-state", "generate-stop"), 6.0


def pictures() -> tuple[bytes, bytes]:
    """Render a person and a garment that are in no training: PNG bytes."""
    sitting = random_sitting(80)
    image = render_person(sitting.body, sitting.outfit, "studio", size=(512, 384),
                          camera=portrait(sitting.body.height)).image  # fmt: skip
    garment = render_garment(GarmentSpec("t-shirt", "green"), size=(256, 192))
    return _png(Image.fromarray(image)), _png(Image.fromarray(garment))


def _png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def give(visitor: Visitor, elem_id: str, name: str, data: bytes) -> None:
    """Give a picture as a browser does."""
    given: Any = {elem_id: visitor.upload(name, data)}
    visitor.press(elem_id, "upload", **given)


def _wear(visitor: Visitor) -> tuple[Ask, tuple[str, str], float]:
    person, garment = pictures()
    give(visitor, "wear-person", "me.png", person)
    give(visitor, "wear-garment", "tee.png", garment)

    def ask(heard: Callable[[dict[int, Any]], None]) -> None:
        visitor.press("wear-go", heard=heard, wear_steps=50)

    return ask, ("wear-state", "wear-stop"), 6.0


def _looks(visitor: Visitor) -> tuple[Ask, tuple[str, str], float]:
    def ask(heard: Callable[[dict[int, Any]], None]) -> None:
        visitor.press("go", heard=heard, looks=8, scenes=4, steps=50)

    return ask, ("state", "stop"), 8.0


def _teach(visitor: Visitor) -> tuple[Ask, tuple[str, str], float]:
    _, garment = pictures()
    visitor.press("subject-files", "upload",
                  subject_files=[visitor.upload(f"{at}.png", _shifted(garment, at)) for at in range(4)])  # fmt: skip

    def ask(heard: Callable[[dict[int, Any]], None]) -> None:
        visitor.press("subject-train", heard=heard, subject_name="shirt", subject_preset="garment", subject_steps=400)

    return ask, ("subject-state", "subject-stop"), 8.0


def _shifted(data: bytes, at: int) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return _png(image.rotate(4 * at, fillcolor="white"))


def _cancels_while_waiting(
    visitor: Visitor, other: Visitor, count: int, moments: random.Random
) -> list[tuple[float, list[float]]]:
    """Cancel in the line, while another works."""
    ask, tab, _ = _words(visitor)
    holding, _, _ = _words(other)
    found = []
    while len(found) < count:
        held = threading.Thread(target=lambda: holding(lambda _: None))
        held.start()
        patient(lambda: "step" in line_of(other.read("generate-state")))
        for _ in range(min(5, count - len(found))):
            found.append(_cancel(visitor, ask, tab, moments.uniform(0.1, 1.0)))
        other.press("generate-stop")
        held.join()
    return found


def masks_while_training(served: Served, count: int) -> dict[str, Any]:
    """Find masks while another visitor trains: quick work goes first, between two of its steps."""
    teacher, visitor = Visitor(served.address), Visitor(served.address)
    ask, (state, stop), _ = _teach(teacher)
    person, _ = pictures()
    alone = _timed(lambda: give(visitor, "wear-person", "me.png", person))
    thread = threading.Thread(target=lambda: ask(lambda _: None))
    thread.start()
    patient(lambda: "tep" in line_of(teacher.read(state)))
    seconds = [_timed(lambda: give(visitor, "wear-person", "me.png", person)) for _ in range(count)]
    training = thread.is_alive()
    teacher.press(stop)
    thread.join()
    for one in (teacher, visitor):
        one.press("forget")
        one.close()
    return {"n": count, "alone_s": round(alone, 2), "median_s": round(statistics.median(seconds), 2),
            "max_s": round(max(seconds), 2), "still_training": training, "load": _load()}  # fmt: skip


def _timed(act: Callable[[], None]) -> float:
    begun = time.monotonic()
    act()
    return time.monotonic() - begun


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = folder
        sys.exit(main())
