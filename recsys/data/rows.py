"""Read the rows of a file of interactions in blocks, as they are written: columns user, item, time and rating.

A reader for each kind of file takes (path, format, places, drop) and yields dicts of pyarrow arrays; `drop(reason,
count)` counts lines that are no rows.
"""

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError
from .columns import Places
from .formats import Format, open_text, parts_of

BLOCK = 1 << 23
"""Bytes of text that are read at once."""
CELL = 1 << 20
"""The same for text with a separator, of which pyarrow reads up to 32 ahead; a row must fit."""
ROWS = 1 << 18
"""Rows of Parquet that are read at once."""
UNIT = "\x1f"
"""Stands for a separator of several bytes, since pyarrow's is one byte."""
STANDS_FOR = {"::": re.compile(b"::"), " ": re.compile(b" +")}
MALFORMED = "malformed lines"

Drop = Callable[[str, int], None]
Columns = dict[str, Any]


def read_rows(path: Path, format: Format, places: Places, drop: Drop) -> Iterator[Columns]:
    """Read a file's columns user, item, time and rating in blocks; those without a place are missing."""
    yield from READERS[format.kind](path, format, places, drop)


def _roles(places: Places) -> dict[str, int]:
    """Where the columns are that are read, by role."""
    return {role: place for role, place in vars(places).items() if place is not None}


def _text(path: Path, format: Format, places: Places, drop: Drop) -> Iterator[Columns]:
    """Text with a separator; lines with another number of cells are counted and left out."""
    import pyarrow as pa
    from pyarrow import csv

    def malformed(row: Any) -> str:
        drop(MALFORMED, 1)
        return "skip"

    stream, separator = open_text(path, format), format.separator
    if separator in STANDS_FOR:
        stream, separator = pa.PythonFile(_Replaced(stream, separator), mode="r"), UNIT
    names = [str(place) for place in range(len(format.names))]
    wanted = sorted(set(_roles(places).values()))
    quotes = {"quote_char": '"' if format.quoted else False, "newlines_in_values": format.quoted}
    quotes |= {"escape_char": "\\"} if format.escaped else {}
    batches = csv.open_csv(
        stream,
        csv.ReadOptions(column_names=names, skip_rows_after_names=format.above + format.header, block_size=CELL),
        csv.ParseOptions(delimiter=separator, invalid_row_handler=malformed, **quotes),
        csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), include_columns=[names[place] for place in wanted],
            strings_can_be_null=True, null_values=[""],
        ),
    )  # fmt: skip
    for batch in batches:
        yield {role: batch.column(wanted.index(place)) for role, place in _roles(places).items()}


class _Replaced(io.RawIOBase):
    """A stream in which a separator of several bytes, :: or any number of blanks, is one byte."""

    def __init__(self, stream: Any, separator: str) -> None:
        self._stream, self._last, self._pattern = stream, separator[-1].encode(), STANDS_FOR[separator]

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return about `size` bytes, none at the end; no separator is cut in two."""
        data = self._stream.read(None if size < 0 else size)
        while data.endswith(self._last) and (more := self._stream.read(1)):
            data += more
        return self._pattern.sub(UNIT.encode(), data)


def _lines(path: Path, format: Format) -> Iterator[bytes]:
    """Yield blocks of whole lines."""
    left = b""
    with open_text(path, format) as stream:
        while data := stream.read(BLOCK):
            data = left + data
            end = data.rfind(b"\n") + 1
            left = data[end:]
            if len(left) > 8 * BLOCK:
                raise DataError(f"{path} holds a line above {8 * BLOCK >> 20} MB; is it one row a line?")
            if end:
                yield data[:end]
    if left.strip():
        yield left


def _json(path: Path, format: Format, places: Places, drop: Drop) -> Iterator[Columns]:
    """One JSON object a line."""
    names = {role: format.names[place] for role, place in _roles(places).items()}
    for block in _lines(path, format):
        yield _json_quickly(block, names) or _json_by_line(block, names, drop)


def _json_quickly(block: bytes, names: dict[str, str]) -> Columns | None:
    """Read a block in which every line is an object and a column has one type; None where that is not so."""
    import pyarrow as pa
    from pyarrow import json as arrow

    try:
        first = json.loads(block.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0])
        kinds = {name: _KINDS[type(first[name])]() for name in names.values()}
        options = arrow.ParseOptions(explicit_schema=pa.schema(list(kinds.items())), unexpected_field_behavior="ignore")
        table = arrow.read_json(
            io.BytesIO(block), read_options=arrow.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=options,
        ).combine_chunks()  # fmt: skip
    except (pa.ArrowException, ValueError, KeyError, TypeError, RecursionError):
        return None
    return {role: table.column(name).combine_chunks() for role, name in names.items()}


def _string() -> Any:
    import pyarrow as pa

    return pa.string()


def _int64() -> Any:
    import pyarrow as pa

    return pa.int64()


def _float64() -> Any:
    import pyarrow as pa

    return pa.float64()


_KINDS: dict[type, Callable[[], Any]] = {str: _string, int: _int64, float: _float64}


def _json_by_line(block: bytes, names: dict[str, str], drop: Drop) -> Columns:
    """Read a block line by line; what is no object is counted."""
    import pyarrow as pa

    cells: dict[str, list[str | None]] = {role: [] for role in names}
    for line in block.removeprefix(b"\xef\xbb\xbf").splitlines():
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found = [_cell(row.get(name)) for name in names.values()]
        except (ValueError, AttributeError, TypeError, RecursionError):
            drop(MALFORMED, 1)
            continue
        for column, cell in zip(cells.values(), found, strict=True):
            column.append(cell)
    return {role: pa.array(column, pa.string()) for role, column in cells.items()}


def _cell(value: Any) -> str | None:
    """A JSON value as text; raises TypeError for what is neither text nor number."""
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return str(int(value)) if value == value // 1 else str(value)


def _sequences(path: Path, format: Format, places: Places, drop: Drop) -> Iterator[Columns]:
    """A user, then items in time order, separated by blanks."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for block in _lines(path, format):
        lines = pa.array(block.decode("utf-8").removeprefix("\ufeff").replace("\r", "\n").split("\n"), pa.string())
        lines = pc.utf8_trim_whitespace(lines)
        cells = pc.ascii_split_whitespace(lines.filter(pc.not_equal(lines, "")))
        users, items = pc.list_element(cells, 0), pc.list_slice(cells, 1)
        drop("users without an item", int(pc.sum(pc.equal(pc.list_value_length(items), 0)).as_py() or 0))
        yield {"user": users.take(pc.list_parent_indices(items)), "item": pc.list_flatten(items)}


def _parquet(path: Path, format: Format, places: Places, drop: Drop) -> Iterator[Columns]:
    """A Parquet file, or a folder of them; each must have the columns."""
    from pyarrow import parquet

    names = {role: format.names[place] for role, place in _roles(places).items()}
    for part in parts_of(path):
        with parquet.ParquetFile(part) as file:
            lacking = [name for name in names.values() if file.schema_arrow.names.count(name) != 1]
            if lacking:
                raise DataError(f"{part} has column {lacking[0]!r} {file.schema_arrow.names.count(lacking[0])} times; "
                                "every part needs each column once")  # fmt: skip
            for batch in file.iter_batches(ROWS, columns=list(names.values()), use_threads=False):
                yield {role: _decoded(batch.column(name)) for role, name in names.items()}


def _decoded(column: Any) -> Any:
    """Write out a column that is kept as numbers of a dictionary, and texts of other types as strings."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    binary = (pa.types.is_large_string, pa.types.is_string_view, pa.types.is_binary, pa.types.is_large_binary)
    return column.cast(pa.string()) if any(test(column.type) for test in binary) else column


READERS = {"text": _text, "json": _json, "sequences": _sequences, "parquet": _parquet}
