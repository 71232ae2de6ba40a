"""Times as people write them, to microseconds: numbers of any unit, dates, date-times with a zone or without.

A number's unit goes by its size, value for value, so that seconds and milliseconds may be mixed: below 10^11 it is
seconds (up to the year 5138), below 10^14 milliseconds, below 10^17 microseconds, above nanoseconds. A date-time
without a zone is taken as UTC.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import numpy as np

UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds")
LIMITS = (10**11, 10**14, 10**17)
_ISO = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?)?"
_SHAPES = {"integer": r"^[+-]?\d{1,18}$", "naive": f"^{_ISO}$", "zoned": rf"^{_ISO}(Z|[+-]\d\d:?\d\d)$"}


def microseconds(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Read a pyarrow array of text, numbers, dates or timestamps.

    Returns microseconds since 1970 (N,) int64, and where they could be read (N,) bool; 0 where not.

    Raises:
        TypeError: a column of another type, such as lists.
    """
    import pyarrow as pa

    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _texts(column)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _numbers(column)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        unit = pa.timestamp("us", getattr(kind, "tz", None))
        values = column.cast(pa.timestamp("ms") if pa.types.is_date(kind) else kind).cast(unit, safe=False)
        return _filled(values.cast(pa.int64()))
    raise TypeError(str(kind))


def units_of(column: Any) -> set[str]:
    """Name the units of a column's whole numbers of after 1973, by the size of the least and of the largest."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        values = column.cast(pa.int64()).drop_null()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # dates, fractions, or a cell that is neither
        return set()
    values = values.filter(pc.greater(values, 10**8))
    if not len(values):
        return set()
    ends = pc.min_max(values).as_py()
    return {UNITS[int(np.searchsorted(LIMITS, ends[end], side="right"))] for end in ("min", "max")}


def looks_like_time(values: Sequence[str]) -> bool:
    """Tell whether texts are all times: dates, or numbers that are dates after March 1973; none of them is empty."""
    import pyarrow as pa

    if not values:
        return False
    found, readable = microseconds(pa.array(values, pa.string()))
    return bool(readable.all() and (np.abs(found) >= 10**14).all())


def may_be_time(values: Sequence[str]) -> bool:
    """Tell whether texts are all times, or dates such as 01/02/2026, of which it is not clear what is the month."""
    unclear = all(re.match(r"\d\d?/\d\d?/(\d\d){1,2}\b", value) for value in values)
    return bool(values) and (unclear or looks_like_time(values))


def _digits(values: np.ndarray) -> np.ndarray:
    return np.where(values == np.iinfo(np.int64).min, np.iinfo(np.int64).max, np.abs(values))


def _filled(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """A column of int64 as numbers (0 where null) and where it is not null."""
    readable = column.is_valid().to_numpy(zero_copy_only=False)
    return column.fill_null(0).to_numpy(zero_copy_only=False), readable


def _numbers(column: Any) -> tuple[np.ndarray, np.ndarray]:
    import pyarrow as pa

    if pa.types.is_integer(column.type) and column.type != pa.uint64():
        values, readable = _filled(column.cast(pa.int64()))
        return _scaled(values), readable
    values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return _from_floats(values)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Bring whole numbers to microseconds, each by its size."""
    size = _digits(values)
    if (highest := size.max(initial=0)) < LIMITS[0]:
        return values * 10**6
    if highest < LIMITS[1] and size.min() >= LIMITS[0]:
        return values * 10**3
    place = np.searchsorted(LIMITS, size, side="right")
    factor = np.array([10**6, 10**3, 1, 1])[place]
    return np.where(place == 3, values // 1000, values * factor)


def _from_floats(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    readable = np.isfinite(values) & (np.abs(values) < 9e18)
    values = np.where(readable, values, 0.0)
    place = np.searchsorted(LIMITS, np.abs(values), side="right")
    return np.rint(values * np.array([1e6, 1e3, 1.0, 1e-3])[place]).astype(np.int64), readable


def _texts(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Read texts in the quickest way that all of them allow, else shape by shape."""
    import pyarrow as pa

    for shape in ("integer", "naive"):
        try:
            return _cast(column, shape)
        except pa.ArrowInvalid:
            continue
    return _by_shape(column)


def _cast(column: Any, shape: str) -> tuple[np.ndarray, np.ndarray]:
    """Read texts of one shape; raises ArrowInvalid where one of them has another."""
    import pyarrow as pa

    if shape == "integer":
        values, readable = _filled(column.cast(pa.int64()))
        return _scaled(values), readable
    kind = pa.timestamp("ns", "UTC" if shape == "zoned" else None)
    return _filled(column.cast(kind).cast(pa.timestamp("us"), safe=False).cast(pa.int64()))


def _by_shape(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Read texts of several shapes; what has none of them, or only seems to, goes one by one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found, readable = np.zeros(len(column), np.int64), np.zeros(len(column), bool)
    rest = column.is_valid().to_numpy(zero_copy_only=False)
    for shape, pattern in _SHAPES.items():
        rows = np.flatnonzero(rest & pc.match_substring_regex(column, pattern).fill_null(False).to_numpy(False))
        try:
            found[rows], readable[rows] = _cast(column.take(pa.array(rows)), shape)
        except pa.ArrowInvalid:
            continue
        rest[rows] = False
    known: dict[str, int | None] = {}
    for row in np.flatnonzero(rest):
        text = column[int(row)].as_py()
        if text not in known:
            known[text] = _one(text)
        value = known[text]
        if value is not None:
            found[row], readable[row] = value, True
    return found, readable


def _one(text: str) -> int | None:
    """Read one text: a number, an ISO date with - or /, 31.1.2026, or the date of a mail; None where it is neither."""
    try:
        values, readable = _from_floats(np.array([float(text.replace(",", "."))]))
        return int(values[0]) if readable[0] else None
    except ValueError:
        pass
    if dotted := re.fullmatch(r"(\d\d?)\.(\d\d?)\.(\d{4})(.*)", text):
        day, month, year, rest = dotted.groups()
        text = f"{year}-{month:>02}-{day:>02}{rest}"
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text.strip().replace("/", "-", 2) if read is datetime.fromisoformat else text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return round(moment.timestamp() * 10**6)
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
    return None
