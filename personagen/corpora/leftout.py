"""A folder of many pictures of which some are damaged: those are left out, counted and told in one line."""

from collections.abc import Callable
from typing import TypeVar

from recsys.errors import DataError, shown

NEARLY_ALL = 0.9
"""Share of pictures that cannot be read beyond which a folder is refused."""
Read = TypeVar("Read")
Tell = Callable[[str], object]
"""Takes a line about what is left out."""


def silent(line: str) -> None:
    """Say nothing."""


class LeftOut:
    """What could not be read of a folder. what: its pictures, in the plural; where: the folder or list."""

    def __init__(self, what: str, where: object) -> None:
        self.what, self.where, self.total = what, where, 0
        self.reasons: list[str] = []

    def read(self, reader: Callable[[], Read]) -> Read | None:
        """Return what `reader` reads; None, and count it, where that is damaged."""
        self.total += 1
        try:
            return reader()
        except DataError as error:
            self.reasons.append(shown(error, most=300))
            return None

    def end(self, tell: Tell) -> None:
        """Say how many are left out, if any.

        Raises:
            DataError: nearly all are.
        """
        count = len(self.reasons)
        if not count:
            return
        others = f"; and {count - 1:,} more" if count > 1 else ""
        if count > NEARLY_ALL * self.total:
            raise DataError(
                f"{count:,} of {self.total:,} {self.what} in {self.where} cannot be used: {self.reasons[0]}{others}; "
                "copy them again"
            )
        tell(f"left out {count:,} of {self.total:,} {self.what}: {self.reasons[0]}{others}")
