"""Whatever lies in a file of interactions, the reader gives sound rows or one of our own errors."""

import gzip
import io
import json

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from recsys.data.columns import USUAL, Columns
from recsys.data.interactions import collect
from recsys.data.tables import open_table
from recsys.errors import DataError

HEAD = "user,item,rating,timestamp"
ROWS = ["ann,red,4,1700000000", "bob,007,2.5,2024-01-01T10:00:00Z", 'cy,"a,""b""\nc",,', "dé,x,5,1700000000000"]
PLAIN = "\n".join([HEAD, *ROWS]) + "\n"


def _parquet() -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.table({"user": ["a", "b"], "item": [1, None], "time": pa.array([1, 2], pa.timestamp("ns"))}),
                        sink)  # fmt: skip
    return sink.getvalue()


SEEDS = [
    PLAIN.encode(),
    PLAIN.encode("utf-16"),
    gzip.compress(PLAIN.encode()),
    pa.compress(PLAIN.encode(), "zstd", asbytes=True),
    PLAIN.replace(",", "\t").encode(),
    PLAIN.replace(",", "::").encode(),
    PLAIN.replace(",", ";").encode(),
    b"196\t242\t3\t881250949\n186\t302\t3\t891717742\n",
    b"1::1193::5::978300760\n1::661::3::978302109\n",
    b"1 10 20 30\n2 30 10\n3 5\n",
    b"user_id:token\titem_id:token\ttimestamp:float\n1\t2\t8.8e8\n",
    b"user,item,timestamp,user\nu1,i3,1700000001,x\n",
    b"user,item,timestamp\nu1,i3,2024-01-01 10:00:00.123456789\n",
    b'{"reviewerID": "A", "asin": "B", "overall": 5.0, "unixReviewTime": 14e8}\n{"asin": [1], "reviewerID": null}\n',
    json.dumps({"user_id": 1, "parent_asin": "x", "timestamp": 1e300}).encode() + b"\n" + b'{"user_id": 2}',
    _parquet(),
]
TOKENS = [b"", b",", b"::", b"\t", b";", b" ", b"\n", b"\r", b'"', b'""', b"\x00", b"\xff", b"\xef\xbb\xbf",
          b"\xff\xfe", b"{", b"}", b"[", b"null", b"NaN", b"-inf", b"1e309", b"9" * 25, b"9" * 5000, b"-" + b"9" * 18,
          b"2024-13-45", b"0000-00-00", b"9999-12-31T23:59:59+99:99", b"\xe2\x80\xa8", "١٢".encode(), b"PAR1",
          b"user", b"item", b"1" * 30_000, b"x" * 300_000]  # fmt: skip
NAMES = st.sampled_from([None, "", "1", "2", "9" * 30, "user", "User ID", "nothing", *(USUAL["item"][:4])])


@st.composite
def damaged(draw) -> bytes:
    """A sound file in which some bytes are cut out, put twice, or replaced."""
    data = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(0, 4))):
        low = draw(st.integers(0, len(data)))
        high = min(len(data), low + draw(st.sampled_from([0, 1, 2, 8, 64, 10**6])))
        new = draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=6), st.text(max_size=4).map(_bytes)))
        data = data[:low] + draw(st.sampled_from([new, data[low:high] * 2, b""])) + data[high:]
    return data


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogatepass")


def _read(path, columns, min_rating):
    try:
        table = open_table(path, columns, min_rating)
        batches = list(table.batches())
    except DataError as error:
        assert str(error).startswith((str(path), "there is no")) and len(str(error)) < 1500
        return
    assert table.kept == sum(batch.num_rows for batch in batches) > 0
    for batch in batches:
        users, items, times = (column.to_pylist() for column in batch.columns)
        assert all(text and text == text.strip() for text in (*users, *items)) and None not in times
    assert all(note.startswith(str(path)) for note in table.notes())
    whole = collect(open_table(path, columns, min_rating))
    assert 0 < len(whole.users) <= table.kept and sum(map(len, whole.sequences())) == len(whole.users)
    assert set(whole.item_names[1:]) == {item for batch in batches for item in batch.column("item").to_pylist()}


@pytest.mark.parametrize("examples", [150, pytest.param(1500, marks=pytest.mark.slow)])
def test_only_our_own_errors_come_out(tmp_path, examples):
    path = tmp_path / "own.dat"

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(damaged(), st.builds(Columns, NAMES, NAMES, NAMES, NAMES) | st.none(), st.none() | st.floats(0, 6))
    def check(data, columns, min_rating):
        path.write_bytes(data)
        _read(path, columns, min_rating)

    check()


def test_the_seeds_themselves_are_read(tmp_path):
    for number, data in enumerate(SEEDS):
        path = tmp_path / str(number)
        path.write_bytes(data)
        _read(path, None, None)
