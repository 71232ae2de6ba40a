"""One reader for files of interactions: it streams user, item and time, and counts what it leaves out.

What a file may look like is in `formats`, what columns may be called in `columns`, how times are read in `times`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, shown
from .columns import Columns, Places, find_columns, quoted
from .formats import Format, recognise
from .rows import CELL, read_rows
from .times import may_be_time, microseconds, units_of


class Table:
    """A file of interactions, opened by `open_table`; its format and columns are known, its rows not yet read.

    path, format, names: the file, how it is written, its columns. dropped: reason -> rows left out so far.
    """

    def __init__(self, path: Path, format: Format, places: Places, min_rating: float | None) -> None:
        self.path, self.format, self.places, self.min_rating = path, format, places, min_rating
        self.rows = self.kept = 0
        self.dropped: dict[str, int] = {}
        self._example: str = ""
        self._units: set[str] = set()

    @property
    def description(self) -> str:
        """Say in a line how the file is read."""
        names, places = self.format.names, self.places
        if self.format.kind == "sequences":
            return f"{self.path}: {self.format}; a user, then items in time order"
        time = "no time, so rows in their order" if places.time is None else f"time {quoted(names[places.time])}"
        parts = [f"user {quoted(names[places.user])}", f"item {quoted(names[places.item])}", time]
        if places.rating is not None:
            parts.append(f"ratings in {quoted(names[places.rating])} from {self.min_rating:g} up")
        return f"{self.path}: {self.format}; {', '.join(parts)}"

    def notes(self) -> list[str]:
        """Say, a line each, how the file was read, unless nothing had to be guessed, and what was left out."""
        names = [self.format.names[place] for place in vars(self.places).values() if place is not None]
        guessed = str(self.format) != "separated by commas" or names != ["user", "item", "timestamp"]
        notes = [self.description] if guessed else []
        if len(self._units) > 1:
            units = " and ".join(sorted(self._units))
            notes.append(f"{self.path}: times are in {units} in one column; each is read by its size")
        return [*notes, f"{self.path}: left out {self._losses()}"] if self.dropped else notes

    def batches(self) -> Iterator[Any]:
        """Read the file from its start: pyarrow batches of user (string), item (string) and time (int64), in order.

        time is microseconds since 1970, or the number of the row where rows are in time order. Batches are bounded in
        bytes and the same every time. `dropped` is whole when they have ended.

        Raises:
            DataError: the file is damaged, or nothing of it is left.
        """
        self.rows = self.kept = 0
        self.dropped, self._example, self._units = {}, "", set()
        with _guarded(self.path):
            for raw in read_rows(self.path, self.format, self.places, self.drop):
                batch = self._clean(raw)
                if batch.num_rows:
                    self.kept += batch.num_rows
                    yield batch
        if not self.kept:
            why = f"left out {self._losses()}" if self.dropped else "it has a header but no rows"
            dates = ", and dates such as 2026-01-31" if "with an unreadable time" in self.dropped else ""
            raise DataError(f"{self.path} keeps nothing: {why}; give at least one row with user, item and time{dates}")

    def drop(self, reason: str, count: int, example: str = "") -> None:
        """Count rows that are left out for a reason."""
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + int(count)
            self._example = self._example or example

    def _losses(self) -> str:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in self.dropped.items())
        rows = self.kept + sum(self.dropped.values())
        example = f" (the first unreadable time is {self._example!r})" if self._example else ""
        return f"{sum(self.dropped.values()):,} of {rows:,} rows: {counts}{example}"

    def _clean(self, raw: dict[str, Any]) -> Any:
        """Bring columns user, item, time and rating to text and microseconds, without the rows that lack something."""
        import pyarrow as pa

        users, items = (_text(self.path, raw[role], role) for role in ("user", "item"))
        keep = self._filled(users, "with an empty user", np.ones(len(users), bool))
        keep = self._filled(items, "with an empty item", keep)
        if raw.get("time") is None:
            times = np.arange(self.rows, self.rows + len(users), dtype=np.int64)
        else:
            times, keep = self._times(raw["time"], keep)
        if raw.get("rating") is not None:
            keep = self._rated(raw["rating"], keep)
        self.rows += len(users)
        batch = pa.record_batch([users, items, pa.array(times)], names=["user", "item", "time"])
        return batch if keep.all() else batch.filter(pa.array(keep))

    def _filled(self, column: Any, reason: str, keep: np.ndarray) -> np.ndarray:
        import pyarrow.compute as pc

        filled = pc.fill_null(pc.not_equal(column, ""), False).to_numpy(zero_copy_only=False)
        self.drop(reason, (keep & ~filled).sum())
        return keep & filled

    def _times(self, column: Any, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import pyarrow.compute as pc

        try:
            times, readable = microseconds(column)
        except TypeError as error:
            raise DataError(f"{self.path}: the time is of type {error}; give numbers or dates") from error
        self._units |= units_of(column)
        if readable.all():
            return times, keep
        empty = pc.is_null(column).to_numpy(zero_copy_only=False)
        self.drop("with an empty time", (keep & empty).sum())
        wrong = np.flatnonzero(keep & ~empty & ~readable)
        self.drop("with an unreadable time", len(wrong), str(column[int(wrong[0])].as_py())[:40] if len(wrong) else "")
        return times, keep & readable

    def _rated(self, column: Any, keep: np.ndarray) -> np.ndarray:
        import pyarrow as pa

        values = np.array([_number(value) for value in column.to_pylist()]) if pa.types.is_string(column.type) else (
            column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        )  # fmt: skip
        values = np.where(np.isfinite(values), values, np.nan)
        self.drop("without a rating", (keep & np.isnan(values)).sum())
        self.drop(f"rated below {self.min_rating:g}", (keep & (values < self.min_rating)).sum())
        return keep & (values >= self.min_rating)


def open_table(path: str | Path, columns: Columns | None = None, min_rating: float | None = None) -> Table:
    """Open a file of interactions of any known format: find out how it is written and which columns hold what.

    columns: names of columns that are not found by themselves. min_rating: leave out rows that are rated lower.

    Raises:
        DataError: no such file, an unknown format, or a column that is missing or not clear.
    """
    path, wanted = Path(path), columns or Columns()
    format = recognise(path, wanted)
    if format.kind == "sequences":
        return Table(path, format, Places(0, 1), None)
    places = find_columns(str(path), format.names, wanted, rating=min_rating is not None,
                          is_time=lambda place: may_be_time(format.column(place)))  # fmt: skip
    return Table(path, format, places, min_rating)


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """Turn what a damaged file raises into a DataError that names the file."""
    import pyarrow as pa

    try:
        yield
    except DataError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = shown(error, most=200)
        if "UTF8" in reason or "utf-8" in reason:
            reason = f"it is not in UTF-8 ({reason}); save it again as UTF-8"
        elif "runcated" in reason:
            reason = f"{reason}. Is it complete?"
        elif "straddling" in reason:
            reason = f"a cell goes on for {CELL >> 20} MB; is a quotation mark left open?"
        raise DataError(f"{path} cannot be read: {reason}") from error


def _text(path: Path, column: Any, role: str) -> Any:
    """Bring ids to text without blanks around it; whole numbers in a column of floats lose their point.

    Raises:
        DataError: ids are no text and no whole numbers.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        column, kind = _whole(path, column, role), pa.int64()
    if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_null(kind)):
        raise DataError(f"{path}: the {role} is of type {kind}; give text or whole numbers")
    return pc.utf8_trim_whitespace(column.cast(pa.string()))


def _whole(path: Path, column: Any, role: str) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(column.type):  # as pandas writes a number that is missing
        column = pc.if_else(
            pc.is_nan(column.cast(pa.float64())), pa.scalar(None, pa.float64()), column.cast(pa.float64())
        )
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: the {role} holds numbers with a fraction; give text or whole numbers") from error


def _number(text: str | None) -> float:
    """A rating as a number, with a point or a comma; NaN where it is none."""
    try:
        return float((text or "").replace(",", "."))
    except ValueError:
        return float("nan")
