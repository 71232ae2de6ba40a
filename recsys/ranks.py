"""Write the parts of `recsys.rank_all` as one file of user, rank (from 1), item (by name) and score.

Parquet (.parquet, in row groups of one size), CSV (.csv) or JSON lines (.jsonl): the same rows in the same order.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from .errors import ConfigError
from .rank_all import users_in

SCHEMA = pa.schema([("user", pa.string()), ("rank", pa.int32()), ("item", pa.string()), ("score", pa.float32())])
ROW_GROUP = 1 << 17


def check_format(path: str | Path) -> Path:
    """Refuse a file whose ending names no format.

    Raises:
        ConfigError: it ends otherwise.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise ConfigError(f"{path} ends in {Path(path).suffix!r}; allowed are {', '.join(FORMATS)}")
    return Path(path)


def write_ranks(parts: Sequence[Path], stream: BinaryIO, *, names: Sequence[str], format: str) -> Iterator[int]:
    """Write the lists in `parts` to a stream, a part at a time; yield how many users each held.

    names[i] names item i; format: an ending in FORMATS.
    """
    items = pa.array(names, pa.string())
    tables = (_rows(_read(path), items) for path in parts)
    for path, _ in zip(parts, FORMATS[format](tables, stream), strict=True):
        yield users_in(path)


def write_skipped(parts: Sequence[Path], stream: BinaryIO) -> int:
    """Write the names of the users without a list, one a line, and count them."""
    count = 0
    for path in parts:
        part = _read(path)
        names = part.filter(pc.is_null(part["items"]))["user"].to_pylist()
        stream.write("".join(f"{name}\n" for name in names).encode())
        count += len(names)
    return count


def _read(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as stream, pa.ipc.open_file(stream) as reader:
        return reader.read_all()


def _rows(part: pa.Table, names: pa.Array) -> pa.Table:
    """Turn a row for each user into one for each place in the list."""
    part = part.filter(pc.is_valid(part["items"])).combine_chunks()
    if not part.num_rows:
        return SCHEMA.empty_table()
    items = pc.list_flatten(part["items"]).to_numpy()
    k = len(items) // part.num_rows
    kept = items > 0
    owners = np.repeat(np.arange(part.num_rows), k)[kept]
    places = np.tile(np.arange(1, k + 1, dtype=np.int32), part.num_rows)[kept]
    columns = [
        part["user"].take(pa.array(owners)), pa.array(places), names.take(pa.array(items[kept])),
        pa.array(pc.list_flatten(part["scores"]).to_numpy()[kept]),
    ]  # fmt: skip
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _parquet(tables: Iterable[pa.Table], stream: BinaryIO) -> Iterator[None]:
    """Write row groups of ROW_GROUP rows, whatever the size of the tables."""
    held = SCHEMA.empty_table()
    columns = ["user", "rank", "item"]
    with parquet.ParquetWriter(stream, SCHEMA, compression="zstd", use_dictionary=columns) as writer:
        for table in tables:
            held = pa.concat_tables([held, table])
            while held.num_rows >= ROW_GROUP:
                writer.write_table(held.slice(0, ROW_GROUP), row_group_size=ROW_GROUP)
                held = held.slice(ROW_GROUP)
            yield
        if held.num_rows:
            writer.write_table(held, row_group_size=ROW_GROUP)


def _csv(tables: Iterable[pa.Table], stream: BinaryIO) -> Iterator[None]:
    stream.write(",".join(SCHEMA.names).encode() + b"\n")
    for table in tables:
        for user, rank, item, score in _texts(table):
            _write_lines(stream, _quoted(user), ",", rank, ",", _quoted(item), ",", score)
        yield


def _jsonl(tables: Iterable[pa.Table], stream: BinaryIO) -> Iterator[None]:
    for table in tables:
        for user, rank, item, score in _texts(table):
            _write_lines(
                stream, '{"user": ', _spelled(user), ', "rank": ', rank, ', "item": ', _spelled(item), ', "score": ',
                score, "}",
            )  # fmt: skip
        yield


def _texts(table: pa.Table) -> Iterator[list[pa.StringArray]]:
    """Give the columns as text, some rows at a time: an array of text holds two gigabytes at most."""
    for batch in table.to_batches(max_chunksize=ROW_GROUP):
        yield [column.cast(pa.string()) for column in batch.columns]


def _write_lines(stream: BinaryIO, *parts: Any) -> None:
    """Write a line for each row, of texts (N,) and what stands between them."""
    lines = pc.binary_join_element_wise(*parts, "\n", "")
    stream.write(pc.binary_join(pa.ListArray.from_arrays([0, len(lines)], lines), "")[0].as_buffer())


def _quoted(texts: pa.StringArray) -> pa.StringArray:
    """Put texts (N,) in quotation marks where CSV needs them."""
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(texts, '"', '""'), '"', "")
    return pc.if_else(pc.match_substring_regex(texts, '[",\r\n]'), quoted, texts)


def _spelled(texts: pa.StringArray) -> pa.StringArray:
    """Spell texts (N,) as JSON does; only those with unusual characters cost a step of Python each."""
    strange = pc.match_substring_regex(texts, r'["\\\x00-\x1f]')
    if pc.any(strange).as_py():
        spelled = [json.dumps(text, ensure_ascii=False)[1:-1] for text in texts.filter(strange).to_pylist()]
        texts = pc.replace_with_mask(texts, strange, pa.array(spelled, pa.string()))
    return pc.binary_join_element_wise('"', texts, '"', "")


FORMATS: dict[str, Callable[[Iterable[pa.Table], BinaryIO], Iterator[None]]] = {
    ".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl,
}  # fmt: skip
