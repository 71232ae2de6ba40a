"""Lists are written as Parquet, CSV and JSON lines: the same rows, whatever the names are made of."""

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from recsys import ranks
from recsys.ranks import write_ranks

NAMES = ["", 'a "quoted" one', "comma, semi;", "line\nbreak", "back\\slash", "tab\tand\x01", "Zoë 😀", "007", "=1+1"]
USERS = ['o"ne', "two, too", "drei\\", " four ", "五"]


@pytest.fixture
def part(tmp_path):
    rng = np.random.default_rng(0)
    items = np.array([rng.permutation(8)[:4] + 1 for _ in USERS], np.int32)
    items[1, 2:] = 0
    scores = -np.sort(rng.exponential(size=items.shape).astype(np.float32), axis=1)
    scores[0] = [1.0, 1e-7, -0.0, -123456.789]
    table = pa.table(
        {
            "user": USERS,
            "items": pa.FixedSizeListArray.from_arrays(items.ravel(), 4),
            "scores": pa.FixedSizeListArray.from_arrays(scores.ravel(), 4),
        }
    )
    path = tmp_path / "part-00000-000000000-000000005.arrow"
    with pa.OSFile(str(path), "wb") as stream, pa.ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table)
    rows = [
        (user, place + 1, NAMES[items[u, place]], float(scores[u, place]))
        for u, user in enumerate(USERS)
        for place in range(4)
        if items[u, place]
    ]
    return path, rows


def written(part, format: str) -> bytes:
    stream = io.BytesIO()
    assert list(write_ranks([part, part], stream, names=NAMES, format=format)) == [5, 5]
    return stream.getvalue()


def test_the_three_formats_hold_the_same_rows(part, monkeypatch):
    path, rows = part
    lines = list(csv.reader(io.StringIO(written(path, ".csv").decode(), newline="")))
    assert lines[0] == ["user", "rank", "item", "score"]
    assert [(user, int(rank), item, np.float32(score)) for user, rank, item, score in lines[1:]] == rows * 2
    objects = [json.loads(line) for line in written(path, ".jsonl").decode().split("\n")[:-1]]
    assert [(*list(o.values())[:3], np.float32(o["score"])) for o in objects] == rows * 2
    assert list(objects[0]) == ["user", "rank", "item", "score"]
    monkeypatch.setattr(ranks, "ROW_GROUP", 16)
    file = parquet.ParquetFile(io.BytesIO(written(path, ".parquet")))
    table = file.read()
    assert table.schema.equals(ranks.SCHEMA) and [tuple(row.values()) for row in table.to_pylist()] == rows * 2
    groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert groups == [16, 16, len(rows) * 2 - 32]


def test_plain_names_stand_without_quotation_marks(part):
    assert "\n五,1," in written(part[0], ".csv").decode()
