"""Tables in Markdown, and where their figures lie."""

from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"

DASH = "–"


def row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def grid(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join([row(head), row(["---"] + ["---:"] * (len(head) - 1)), *map(row, rows)])


def bounded(value: dict, digits: int = 3) -> str:
    """``.123 (.110 – .136)``."""
    low, high = value.get("interval_95") or value["interval"]
    return f"{value['mean']:.{digits}f} ({low:.{digits}f} {DASH} {high:.{digits}f})"
