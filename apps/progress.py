"""Progress bars with rate and time left, on stderr; seldom redrawn where stderr is a file."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from recsys.errors import ConfigError

T = TypeVar("T")


def bar(items: Iterable[T], *, total: int | None, label: str, unit: str) -> "tqdm[T]":
    """Wrap `items` in a bar that shows count, rate and time left."""
    seldom = not sys.stderr.isatty()
    return tqdm(
        items,
        total=total,
        desc=label,
        unit=unit,
        file=sys.stderr,
        dynamic_ncols=True,
        mininterval=15.0 if seldom else 0.2,
        smoothing=0.1,
    )


def note(text: str) -> None:
    """Say one line on stderr without tearing a bar apart."""
    tqdm.write(text, file=sys.stderr)


def at_most(items: Iterable[T], count: int) -> Iterator[T]:
    """Yield the first `count` items and close the source, so that it can save what it holds open."""
    if count < 1:
        raise ConfigError(f"count = {count}; allowed are 1 and more")
    for index, item in enumerate(items, start=1):
        yield item
        if index == count:
            close = getattr(items, "close", None)
            if close:
                close()
            return
