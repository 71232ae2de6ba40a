"""Read text files as people save them: UTF-8 with or without a byte order mark, or UTF-16; tables and JSON in them."""

import csv
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from .errors import DataError, shown

SEPARATORS = ",;\t|"


def encoding_of(data: bytes) -> str:
    """Name the encoding of a text from its first bytes: "utf-8-sig", "utf-16", "utf-16-le" or "utf-16-be"."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if len(data) >= 8:
        for encoding, zeros in (("utf-16-le", data[1:400:2]), ("utf-16-be", data[0:400:2])):
            if zeros.count(0) > 0.7 * len(zeros):
                return encoding
    return "utf-8-sig"


def read_text(path: str | Path) -> str:
    """Read a text file that a person wrote; lines end in a newline, whatever they ended in.

    Raises:
        DataError: it cannot be read, or is neither UTF-8 nor UTF-16.
    """
    try:
        data = Path(path).read_bytes()
        text = data.decode(encoding_of(data))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is neither UTF-8 nor UTF-16 text ({error.reason}); save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); check the path") from error
    if "\0" in text:
        raise DataError(f"{path} is neither UTF-8 nor UTF-16 text (it holds zero bytes); save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_names(path: str | Path) -> list[str]:
    """Read a list of names, one a line; empty lines are none.

    Raises:
        DataError: as `read_text`, or it names nobody.
    """
    names = [line.strip() for line in read_text(path).split("\n") if line.strip()]
    if not names:
        raise DataError(f"{path} names nobody; give a text file with one name a line")
    return names


def lines_above(text: str) -> int:
    """Count the lines above a table that are none of it: empty ones, and the `sep=;` that Excel writes first."""
    above = 0
    for line in text.split("\n"):
        if line.strip() and not re.fullmatch(r"sep=.?", line.strip().strip('"').lower()):
            break
        above += 1
    return above


MOST_COLUMNS = 1000
"""Columns of a small table; each line has a cell for each of them."""


def read_cells(path: str | Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Read a small table with a header: its columns in lower case, and of each line its number and its cells.

    Commas, semicolons, tabs and bars separate cells, whichever the header has most of. Missing cells are empty, and
    empty lines above the header are skipped.

    Raises:
        DataError: as `read_text`; or it is no table, a column is there twice, or a line has more cells than the header.
    """
    text = read_text(path)
    above = lines_above(text)
    text = text.split("\n", above)[-1]
    head = text.split("\n", 1)[0]
    separator = max(SEPARATORS, key=head.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
        columns = [cell.strip().lower() for cell in next(reader, [])]
        lines = [(above + reader.line_num, [cell.strip() for cell in line]) for line in reader if line]
    except csv.Error as error:
        raise DataError(f"cannot read {path} as a CSV: {error}; save it again as UTF-8 CSV") from error
    if len(columns) > MOST_COLUMNS:
        raise DataError(f"{path} has {len(columns):,} columns; keep those that are read, at most {MOST_COLUMNS:,}")
    if twice := sorted(name for name, times in Counter(columns).items() if name and times > 1):
        raise DataError(f"{path} has the column {shown(twice[0])} twice; keep one of them")
    for number, cells in lines:
        if any(cells[len(columns) :]):
            raise DataError(
                f"{path}, line {number}: {len(cells)} cells, but the header has {len(columns)}; "
                "put a text with a separator in it into quotes"
            )
    rows = [(number, dict(zip(columns, cells + [""] * len(columns)))) for number, cells in lines]
    return columns, [(number, row) for number, row in rows if any(row.values())]


def from_json(text: str) -> Any:
    """Read JSON of unknown origin.

    Raises:
        ValueError: it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def is_file(path: str | Path) -> bool:
    """Tell whether a path from a user's list is a file; a name that no disk can hold is none."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def find_named(name: str, *folders: Path) -> Path | None:
    """Find the file or folder that a line of a user's list names, in one of the folders; None where there is none.

    Backslashes separate folders too, as Windows writes them.
    """
    for spelled in dict.fromkeys((name, name.replace("\\", "/"))):
        for folder in folders:
            try:
                if (folder / spelled).exists():
                    return folder / spelled
            except (OSError, ValueError):
                pass
    return None
