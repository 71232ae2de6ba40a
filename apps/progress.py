"""Progress bars with rate and time left, on stderr; seldom redrawn where stderr is a file."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def bar(items: Iterable | None, *, total: int | None, label: str, unit: str, shown: bool = True) -> Any:
    """Wrap `items` in a bar that shows count, rate and time left; with None the caller moves it."""
    seldom = not sys.stderr.isatty()
    return tqdm(
        items,
        total=total,
        desc=label,
        unit=unit,
        file=sys.stderr,
        disable=not (shown and first_process()),
        dynamic_ncols=True,
        mininterval=15.0 if seldom else 0.2,
        smoothing=0.1,
    )


def begin_at(progress: Any, done: int) -> None:
    """Move a bar to where a run goes on, so that rate and time left count from there."""
    progress.initial = progress.n = progress.last_print_n = done
    progress.refresh()


def note(text: str) -> None:
    """Say one line on stderr without tearing a bar apart."""
    if first_process():
        tqdm.write(text, file=sys.stderr)


def first_process() -> bool:
    """Say whether this process is the one that prints and saves; torchrun numbers its processes."""
    return os.environ.get("RANK", "0") == "0"
