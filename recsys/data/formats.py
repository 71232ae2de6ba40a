"""Find out how a file of interactions is written: from its content alone, whatever its name.

Known are text with a separator, one JSON object a line, one sequence a line, and Parquet (a file, or a folder of
parts); text may be compressed by gzip, zstd or bz2, and in UTF-8 or UTF-16.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import DataError, shown
from ..text import encoding_of, lines_above
from .columns import Columns, plain, role
from .times import looks_like_time

SAMPLE = 1 << 18
"""Bytes at the start of a file from which its format is judged."""
ROWS = 50
TITLES = 10
"""Lines above a header, such as titles and comments, that are looked through."""
LONGEST_TITLE = 10_000
COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
SEPARATORS = {"\t": "tabs", "::": "::", "|": "|", ";": "semicolons", ",": "commas", " ": "blanks"}
"""By what is preferred where two separate equally well."""
OTHERS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; unpack it, or save it as CSV",
    b"\x1f\x9d": "compressed by compress; unpack it, or compress it by gzip",
    b"\xfd7zXZ": "compressed by xz; unpack it, or compress it by gzip or zstd",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"\x89HDF": "an HDF5 file; save it as CSV or Parquet",
    b"SQLite": "an SQLite database; export the table as CSV",
    b"Rar!": "a rar archive; unpack it",
    b"\x80\x04": "a pickle; save it as CSV or Parquet",
}


@dataclass(frozen=True)
class Format:
    """How a file is written, and its first rows as text by column."""

    kind: Literal["text", "json", "sequences", "parquet"]
    names: tuple[str, ...]
    """The columns as the file calls them; without a header by what they are taken for, or by their numbers."""
    rows: tuple[tuple[str, ...], ...] = ()
    separator: str = ","
    header: bool = True
    quoted: bool = True
    escaped: bool = False
    """Whether a quotation mark inside a cell has a backslash before it, instead of being there twice."""
    above: int = 0
    """Lines above the header that are no rows: empty ones, titles, comments, Excel's `sep=;`."""
    compression: str | None = None
    encoding: str = "utf-8"

    def column(self, place: int) -> list[str]:
        """Return the first values of a column, without empty ones."""
        return [row[place].strip() for row in self.rows if place < len(row) and row[place].strip()]

    def __str__(self) -> str:
        kinds = {"json": "JSON lines", "sequences": "a sequence a line", "parquet": "Parquet"}
        parts = [kinds.get(self.kind) or f"separated by {SEPARATORS[self.separator]}"]
        parts += ["no header"] * (self.kind == "text" and not self.header)
        parts += [f"{self.above} lines above the header"] * (self.above > 0)
        return ", ".join([*parts, *filter(None, [self.compression]), *([self.encoding] * (self.encoding != "utf-8"))])


def recognise(path: Path, wanted: Columns) -> Format:
    """Find out how a file is written.

    Raises:
        DataError: no such file, an empty one, or one of another kind; the message says which.
    """
    if path.is_dir():
        return _parquet(path)
    if not path.is_file():
        raise DataError(f"there is no file {path}; check the path, or run from the folder it is relative to")
    with path.open("rb") as stream:
        start = stream.read(8)
    if start[:4] == b"PAR1":
        return _parquet(path)
    for magic, what in OTHERS.items():
        if start.startswith(magic):
            raise DataError(f"{path} is {what}")
    compression = next((how for magic, how in COMPRESSED.items() if start.startswith(magic)), None)
    text, encoding = _sample(path, compression)
    if not text.strip():
        raise DataError(f"{path} is empty; give at least one interaction a row")
    return _text(path, text, wanted, {"compression": compression, "encoding": encoding})


def open_text(path: Path, format: Format) -> Any:
    """Open a text file as a pyarrow stream of UTF-8, unpacked, without a byte order mark."""
    import pyarrow as pa

    stream = pa.CompressedInputStream(str(path), format.compression) if format.compression else pa.OSFile(str(path))
    if format.encoding != "utf-8":
        return pa.transcoding_input_stream(stream, format.encoding, "utf-8")
    return stream


def parts_of(path: Path) -> list[Path]:
    """List the Parquet files of a folder, or the file itself, in the order of their names."""
    if not path.is_dir():
        return [path]
    hidden = ("_", ".")
    return sorted(part for part in path.rglob("*.parquet") if not part.name.startswith(hidden) and part.is_file())


def _sample(path: Path, compression: str | None) -> tuple[str, str]:
    """Return the start of a text file, whole lines of it, and its encoding."""
    import pyarrow as pa

    try:
        with pa.CompressedInputStream(str(path), compression) if compression else pa.OSFile(str(path)) as stream:
            data = stream.read(SAMPLE)
            whole = len(data) < SAMPLE
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be unpacked by {compression}: {error}. Is it complete?") from error
    encoding = encoding_of(data).removesuffix("-sig")
    text = data.decode(encoding, errors="replace").removeprefix("\ufeff")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\x00" in text[:1000]:
        raise DataError(f"{path} is neither text nor Parquet; save it as CSV in UTF-8, or as Parquet")
    return (text if whole or "\n" not in text else text[: text.rindex("\n")]), encoding


def _text(path: Path, text: str, wanted: Columns, how: dict[str, Any]) -> Format:
    first = text.lstrip()[:200]
    if first.startswith("{"):
        return _json(path, text, how)
    if first.startswith("[") and "{" in first:
        raise DataError(f"{path} is one JSON array; write one object a line (jq -c '.[]' FILE > LINES)")
    if first[:1] == "<":
        raise DataError(f"{path} looks like a web page, not like data; fetch it again")
    return _separated(path, text, wanted, how)


def _json(path: Path, text: str, how: dict[str, Any]) -> Format:
    found = []
    for line in text.split("\n")[: 4 * ROWS]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(value)
    if not found:
        raise DataError(f"{path} starts with {{ and holds no JSON object a line; write one object a line")
    names = tuple(dict.fromkeys(name for value in found for name in value))
    rows = tuple(tuple("" if value.get(name) is None else str(value[name]) for name in names) for value in found[:ROWS])
    return Format("json", names, rows, **how)


def _separated(path: Path, text: str, wanted: Columns, how: dict[str, Any]) -> Format:
    """Choose the separator whose columns are named as expected, else the one that gives most rows one width.

    Raises:
        DataError: the first cell is longer than any cell of a table is.
    """
    given = {plain(name) for name in (wanted.user, wanted.item, wanted.time, wanted.rating) if name}
    above = _above(text, {name for name in given if not name.isdecimal()})
    text = text.split("\n", above)[-1]
    best: tuple[Any, str, list[list[str]]] = (None, "", [])
    for preference, separator in enumerate(SEPARATORS):
        rows = split(text, separator)
        width, share = _width(rows)
        if width < 2 or share < 0.5:
            continue
        known = len({role(name) for name in rows[0]} - {None}) + len({plain(name) for name in rows[0]} & given)
        score = (min(known, 2), share > 0.9, -preference)
        if best[0] is None or score > best[0]:
            best = (score, separator, rows)
    score, separator, rows = best
    blanks = separator in ("", " ", "\t") and not (score and score[0])
    if blanks and _is_sequences(text, separator, rows):
        return Format("sequences", ("user", "items"), (), " ", False, False, **how)
    if score is None:  # a single column, or lines of any width: the columns' message will say what is there
        separator, rows = ",", split(text, ",")
    if not rows:
        longest = csv.field_size_limit()
        raise DataError(f"{path} begins with a cell of more than {longest:,} letters; give a table with a header")
    found = _escaped(text, separator, rows) if separator in ",;|" else None
    rows, escaped = found or rows, found is not None
    names, header = _names(path, rows, given)
    quoted = separator in ",;|" or (separator != "::" and re.search(rf'(^|\n|{separator})"', text) is not None)
    return Format("text", names, tuple(map(tuple, rows[header:])), separator, header, quoted, escaped, above, **how)


def _above(text: str, given: set[str]) -> int:
    """Count the lines above the header: those of `lines_above`, and titles where the header names user and item."""
    above = lines_above(text)
    for at, line in enumerate(text.split("\n")[above : above + TITLES], above):
        if len(line) > LONGEST_TITLE:
            break
        for separator in SEPARATORS:
            cells = next(iter(split(line, separator)), [])
            if len(({role(cell) for cell in cells} & {"user", "item"}) | ({plain(cell) for cell in cells} & given)) > 1:
                return at
    return above


def _escaped(text: str, separator: str, rows: list[list[str]]) -> list[list[str]] | None:
    """Split a text whose quotation marks have backslashes before them; None where that gives no better table."""
    if '\\"' not in text:
        return None
    found = split(text, separator, escape="\\")
    fitting = [sum(len(row) == len(table[0]) for row in table) for table in (rows, found)]
    return found if fitting[1] > fitting[0] else None


def split(text: str, separator: str, *, escape: str | None = None) -> list[list[str]]:
    """Split the first lines of a text into cells."""
    if len(separator) > 1 or separator == " ":
        lines = [line for line in text.split("\n")[: 2 * ROWS] if line.strip()]
        return [line.split(separator) if separator != " " else line.split() for line in lines[:ROWS]]
    rows = []
    try:
        for row in csv.reader(io.StringIO(text), delimiter=separator, escapechar=escape):
            if any(cell.strip() for cell in row):
                rows.append(row)
            if len(rows) == ROWS:
                break
    except csv.Error:
        pass
    return rows


def _width(rows: list[list[str]]) -> tuple[int, float]:
    """Return how many cells most rows have, and their share."""
    if not rows:
        return 0, 0.0
    width, count = Counter(map(len, rows)).most_common(1)[0]
    return width, count / len(rows)


def _is_sequences(text: str, separator: str, rows: list[list[str]]) -> bool:
    """Tell one sequence a line from columns separated by blanks or tabs without a header."""
    if separator == "\t":
        return _width(rows)[0] == 2 and any(" " in row[1].strip() for row in rows if len(row) == 2)
    rows = split(text, " ")
    width, share = _width(rows)
    if sum(len(row) > 1 for row in rows) < 0.5 * len(rows) or any(mark in text for mark in ",;|"):
        return False
    columns = width in (3, 4) and share == 1 and looks_like_time([row[-1] for row in rows])
    return not columns


def _names(path: Path, rows: list[list[str]], given: set[str]) -> tuple[tuple[str, ...], bool]:
    """Name the columns by the header, or by what they hold where there is none; and tell which.

    Raises:
        DataError: rows have a cell more than the header, which is neither empty at their end nor a row's number.
    """
    first, rest = rows[0], rows[1:]
    width = _width(rest or rows)[0]
    if _is_header(first, rest, given):
        names = [re.sub(r"^(\w+):(token|float|token_seq|float_seq)$", r"\1", name.strip()) for name in first]
        if width == len(names) + 1:  # a separator at the end of each row, or row numbers without a name
            whole = [row for row in rest if len(row) == width]
            at_end = all(not row[-1].strip() for row in whole)
            numbers = [row[0].strip() for row in whole]
            if not at_end and not (all(map(str.isdecimal, numbers)) and len(set(numbers)) == len(numbers)):
                raise DataError(
                    f"{path} has {len(names)} names in its header and {width} cells in most rows; put a text with a "
                    "separator in it into quotes, and write quotation marks inside it twice"
                )
            names = [*names, ""] if at_end else ["", *names]
        return tuple(names), True
    return _guessed(rows, width), False


def _is_header(first: Sequence[str], rest: Sequence[Sequence[str]], given: set[str]) -> bool:
    if any(_is_number(cell) or looks_like_time([cell.strip()]) for cell in first):
        return False
    if any(role(cell.split(":")[0]) or plain(cell) in given for cell in first):
        return True
    columns = zip(first, *(row for row in rest if len(row) == len(first)), strict=True)
    numbers = any(len(column) > 1 and all(map(_is_number, column[1:])) for column in columns)
    return numbers or not any(name.isdecimal() for name in given)


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"\s*[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?\s*", cell) is not None


def _guessed(rows: list[list[str]], width: int) -> tuple[str, ...]:
    """Name the columns of a file without a header: user, item, rating and time as published files have them."""
    whole = [row for row in rows if len(row) == width]
    times = [looks_like_time([row[at].strip() for row in whole]) for at in range(width)]
    numbers = tuple(str(at + 1) for at in range(width))
    if width == 2:
        return ("user", "item")
    if width == 3 and times[2]:
        return ("user", "item", "timestamp")
    if width == 3 and all(_is_number(row[2]) and abs(float(row[2].replace(",", "."))) <= 10 for row in whole):
        return ("user", "item", "rating")
    if width == 4 and times[3]:
        swapped = all(re.fullmatch(r"[0-9A-Z]{10}", row[0]) and re.fullmatch(r"A\w{10,}", row[1]) for row in whole)
        return (*(("item", "user") if swapped else ("user", "item")), "rating", "timestamp")
    if width == 4 and times[2]:
        return ("user", "item", "timestamp", "4")
    return numbers


def _parquet(path: Path) -> Format:
    import pyarrow as pa
    from pyarrow import parquet

    parts = parts_of(path)
    if not parts:
        raise DataError(f"{path} is a folder without Parquet files; give a file, or a folder of *.parquet")
    try:
        with parquet.ParquetFile(parts[0]) as file:
            names = tuple(file.schema_arrow.names)
            batch = next(file.iter_batches(ROWS), None)
            columns = [] if batch is None else [column.to_pylist() for column in batch.columns]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{parts[0]} cannot be read as Parquet: {shown(error, most=200)}. Is it complete?") from error
    rows = tuple(tuple("" if cell is None else str(cell) for cell in row) for row in zip(*columns, strict=True))
    return Format("parquet", names, rows)
