"""Tables of what goes wrong and is borne: kills, full disks, hostile files, photos of others than one person."""

import json
from collections import Counter
from collections.abc import Callable, Iterable

from grid import DASH, RESULTS, grid


def reliability() -> str:
    """One row a command: what became of it when it was killed, started twice, refused, or stopped."""
    parts = json.loads((RESULTS / "reliability.json").read_text())["parts"]
    lost = lambda d: f"{d['lost']} of {d['runs']}"
    columns: tuple[tuple[str, str, Callable[[dict], str]], ...] = (
        ("killed: runs lost", "kill", lost),
        ("steps lost (interval)", "kill", lambda d: f"{d['steps_lost']} ({d['interval']})" if d["interval"] else DASH),
        ("files half-written", "kill", lambda d: str(d["half_written"])),
        ("full disk: runs lost", "disk", lost),
        ("started twice", "two", lambda d: "refused" if d["refused"] else "lost" if d["lost"] else "both whole"),
        ("read-only folder", "readonly", lambda d: f"code {next(iter(d['codes']))} after {d['steps']} steps"),
        ("SIGTERM, SIGINT: runs lost", "sigterm", lost),
        ("resumed to the bit", "resume", lambda d: "no" if d["lost"] else "yes"),
    )
    names = dict.fromkeys(name for part in parts if part != "hostile" for name in parts[part])
    rows = [
        [name, *(say(parts[part][name]) if name in parts.get(part, {}) else DASH for _, part, say in columns)]
        for name in names
    ]
    return grid(["command", *(head for head, _, _ in columns)], rows)


def hostile() -> str:
    """One row a kind of file: what commands answered to hostile ones."""
    parts = json.loads((RESULTS / "reliability.json").read_text())["parts"]
    found = next(iter(parts["hostile"].values()))
    codes = [f"code {code}: {count}" for code, count in sorted(found["codes"].items())]
    return grid(["files", "exit codes", "tracebacks"],
                 [[f"{found['runs']} of {found['of']}", ", ".join(codes), str(found["tracebacks"])]])  # fmt: skip


def people() -> str:
    """One row a kind of picture: refused, one person alone dressed, or wrong."""
    found = json.loads((RESULTS / "people.json").read_text())
    real = {"street photos of one person, held out": found["street"], "renders": found["renders"]}
    kinds = dict(found["hostile"]["kinds"])
    train = RESULTS / "people-train.json"
    if train.is_file():
        chosen = json.loads(train.read_text())
        real["street photos of one person, of those that limits were chosen on"] = chosen["street"]
        kinds["all of these kinds, of photos that limits were chosen on"] = _total(chosen["hostile"]["kinds"].values())
    rows = [
        [label, str(one["photos"]), str(one["refused"]), str(one["photos"] - one["refused"]), DASH]
        for label, one in real.items()
    ]
    for name, row in kinds.items():
        outcomes = [str(row.get(what, 0)) for what in ("refused", "handled", "wrong")]
        rows.append([name, str(sum(row.values())), *outcomes])
    return grid(["picture", "how many", "refused", "one person read", "wrong"], rows)


def _total(rows: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row)
    return dict(total)
