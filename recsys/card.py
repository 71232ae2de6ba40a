"""Model cards: the README.md of a result folder, with the YAML head that hubs read."""

import json
from collections.abc import Mapping, Sequence

LICENCE = {"license": "other", "license_name": "chosen-by-who-trained-it"}
"""Of what somebody trained: theirs to choose."""


def card(head: Mapping[str, str | Sequence[str] | None], lines: Sequence[str]) -> str:
    """Write a card of a YAML head and lines of Markdown; None and empty entries of the head are left out.

    Texts are quoted as JSON, which is YAML too, so that no title or prompt can break the head.
    """
    entries = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in head.items() if value]
    return "\n".join(["---", *entries, "---", "", *lines]) + "\n"


def table(measure: str, values: Mapping[str, object]) -> list[str]:
    """Lines of a table with two columns, none where there is nothing to show."""
    rows = [f"| {name} | {value:.4g} |" if isinstance(value, float) else f"| {name} | {value} |"
            for name, value in values.items()]  # fmt: skip
    return [f"| {measure} | value |", "| --- | --- |", *rows, ""] if rows else []
