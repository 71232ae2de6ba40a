"""Files of interactions as people have them: every format is written here, tiny, and read to the same rows."""

import gzip
import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from recsys.data.columns import Columns
from recsys.data.interactions import collect
from recsys.data.tables import open_table
from recsys.errors import DataError

ROWS = [
    ("ann", "red", 4.0, 1_700_000_000),
    ("bob", "blue", 2.0, 1_700_000_050),
    ("ann", "007", 5.0, 1_700_000_100),
    ("bob", "7", 3.5, 1_700_000_200),
]
WANTED = [(user, item, time * 10**6) for user, item, _, time in ROWS]


def separated(by, header=None, rows=ROWS):
    lines = [by.join(map(str, row)) for row in rows]
    return ("\n".join([by.join(header), *lines] if header else lines) + "\n").encode()


def lines(*names, rows=ROWS, **more):
    return "".join(json.dumps(dict(zip(names, row)) | more) + "\n" for row in rows).encode()


def zstd(data):
    return pa.compress(data, "zstd", asbytes=True)


USUAL = ("user", "item", "rating", "timestamp")
NUMBERS = [(1, 10, 4, 1_700_000_000), (2, 20, 2, 1_700_000_050), (1, 30, 5, 1_700_000_100)]
AMAZON = [("A2EFCYXHNK06IS", "5555991584", 5.0, 978_480_000), ("A1WR23ER5HMAA9", "B000000001", 4.0, 953_424_000)]
MS = [(*row[:3], row[3] * 1000) for row in ROWS]
ISO = [(*row[:3], datetime.fromtimestamp(row[3], UTC).isoformat()) for row in ROWS]
FORMATS = {
    "commas.csv": separated(",", USUAL),
    "tabs.tsv": separated("\t", USUAL),
    "semicolons.csv": separated(";", USUAL),
    "colons.dat": separated("::", USUAL),
    "bars.txt": separated("|", USUAL),
    "blanks.txt": separated(" ", USUAL),
    "crlf.csv": separated(",", USUAL).replace(b"\n", b"\r\n"),
    "no end of line.csv": separated(",", USUAL)[:-1],
    "bom.csv": b"\xef\xbb\xbf" + separated(",", USUAL),
    "utf16.csv": separated(",", USUAL).decode().encode("utf-16"),
    "utf16 without mark.csv": separated(",", USUAL).decode().encode("utf-16-le"),
    "ratings.csv (GroupLens)": separated(",", ("userId", "movieId", "rating", "timestamp")),
    "Amazon 5-core with a header.csv": separated(",", ("user_id", "parent_asin", "rating", "timestamp"), MS),
    "both asin.csv": separated(",", ("asin", "user_id", "parent_asin", "rating", "timestamp"),
                               [("x", *row) for row in MS]),
    "Amazon reviews 2014.json": lines("reviewerID", "asin", "overall", "unixReviewTime", reviewText="a, \"b\"\n{c}",
                                      helpful=[1, 2], reviewTime="09 13, 2009"),
    "Amazon reviews 2023.jsonl": lines("user_id", "parent_asin", "rating", "timestamp", rows=MS, asin="x", images=[]),
    "RecBole.inter": separated("\t", ("user_id:token", "item_id:token", "rating:float", "timestamp:float"),
                               [(*row[:3], float(row[3])) for row in ROWS]),
    "own names.csv": separated(",", ("who", "what", "stars", "when")),
    "by number.csv": separated(",", None, [("x", row[3], row[1], row[0]) for row in ROWS]),
    "dates.csv": separated(",", USUAL, ISO),
    "zones.csv": separated(",", USUAL, [(*row[:3], row[3].replace("+00:00", "Z")) for row in ISO]),
    "other zone.csv": separated(",", USUAL, [(*r[:3], datetime.fromtimestamp(r[3]).astimezone().isoformat())
                                             for r in ROWS]),
    "dotted.csv": separated(",", USUAL, [(*r[:3], datetime.fromtimestamp(r[3], UTC).strftime("%d.%m.%Y %H:%M:%S"))
                                         for r in ROWS]),
    "milliseconds.csv": separated(",", USUAL, MS),
    "nanoseconds.csv": separated(",", USUAL, [(*row[:3], row[3] * 10**9) for row in ROWS]),
    "fractions.csv": separated(",", USUAL, [(*row[:3], f"{row[3]}.0") for row in ROWS]),
    "mixed units.csv": separated(",", USUAL, [*MS[:2], *ROWS[2:]]),
    "quoted.csv": separated(",", [*USUAL, "text"], [(*row, '"a\n""b"", c"') for row in ROWS]),
    "H&M.csv": separated(",", ("t_dat", "customer_id", "article_id", "price"),
                         [(row[3][:19], row[0], row[1], ".5") for row in ISO]),
    "separator at the end.csv": separated(",", USUAL, [(*row, "") for row in ROWS]),
}  # fmt: skip
NAMED = {
    "own names.csv": Columns(user="who", item="what", time="when"),
    "by number.csv": Columns(user="4", item="3", time="2"),
}


def read(path, columns=None, min_rating=None):
    table = open_table(path, columns, min_rating)
    return [row for batch in table.batches() for row in zip(*(column.to_pylist() for column in batch.columns))], table


@pytest.mark.parametrize("packed", [None, "gzip", "zstd"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_of_text_gives_the_same_rows(tmp_path, name, packed):
    data = FORMATS[name]
    path = tmp_path / (name + (packed or ""))
    path.write_bytes({None: bytes, "gzip": gzip.compress, "zstd": zstd}[packed](data))
    rows, table = read(path, NAMED.get(name))
    assert rows == WANTED and not table.dropped
    batch = next(table.batches())
    assert [(field.name, field.type) for field in batch.schema] == [
        ("user", pa.string()), ("item", pa.string()), ("time", pa.int64())]  # fmt: skip
    assert [row for row, _ in zip(read(path, NAMED.get(name))[0], ROWS)] == WANTED


@pytest.mark.parametrize(
    ("name", "data", "wanted"),
    [
        ("u.data", separated("\t", None, NUMBERS), [(str(u), str(i), t * 10**6) for u, i, _, t in NUMBERS]),
        ("ratings.dat", separated("::", None, NUMBERS), [(str(u), str(i), t * 10**6) for u, i, _, t in NUMBERS]),
        ("ratings_Beauty.csv", separated(",", None, AMAZON), [(u, i, t * 10**6) for u, i, _, t in AMAZON]),
        ("All_Beauty.csv", separated(",", None, [(i, u, r, t) for u, i, r, t in AMAZON]),
         [(u, i, t * 10**6) for u, i, _, t in AMAZON]),
        ("pairs.csv", b"user,item\nann,red\nbob,blue\n", [("ann", "red", 0), ("bob", "blue", 1)]),
        ("sequences.txt", b"1 10 20 10\n2 30\n3  007 7 \n",
         [("1", "10", 0), ("1", "20", 1), ("1", "10", 2), ("2", "30", 3), ("3", "007", 4), ("3", "7", 5)]),
        ("one item a user.txt", b"1 10\n2 30\n", [("1", "10", 0), ("2", "30", 1)]),
    ],
)  # fmt: skip
def test_published_files_without_a_header(tmp_path, name, data, wanted):
    (tmp_path / name).write_bytes(data)
    assert read(tmp_path / name)[0] == wanted


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns", "date", "zone", "whole", "text"])
def test_parquet(tmp_path, unit):
    users, items, ratings, times = zip(*ROWS)
    moments = [datetime.fromtimestamp(time, UTC) for time in times]
    column = {
        "date": lambda: pa.array([moment.date() for moment in moments]),
        "zone": lambda: pa.array(moments, pa.timestamp("ns", "America/New_York")),
        "whole": lambda: pa.array(times, pa.int32()),
        "text": lambda: pa.array([moment.isoformat() for moment in moments]).dictionary_encode(),
    }.get(unit, lambda: pa.array([moment.replace(tzinfo=None) for moment in moments], pa.timestamp(unit)))()
    table = pa.table({"when": column, "customer_id": pa.array(users).dictionary_encode(), "sku": items})
    parquet.write_table(table.slice(0, 3), tmp_path / "part-0.parquet")
    parquet.write_table(table.slice(3), tmp_path / "part-1.parquet")
    (tmp_path / "_SUCCESS").touch()
    wanted = [(*row[:2], row[2] // (86400 * 10**6) * 86400 * 10**6) for row in WANTED] if unit == "date" else WANTED
    assert read(tmp_path, Columns(time="when"))[0] == wanted
    assert read(tmp_path / "part-1.parquet", Columns(time="when"))[0] == wanted[3:]


def test_numbers_of_parquet_and_json_are_names_without_a_point(tmp_path):
    parquet.write_table(pa.table({"user": [1.0, 2.0, None], "item": [7, 8, 9]}), tmp_path / "own.parquet")
    assert read(tmp_path / "own.parquet")[0] == [("1", "7", 0), ("2", "8", 1)]
    (tmp_path / "own.jsonl").write_text('{"user": 1, "item": "a"}\n{"user": "x", "item": 2.0}\n{"user": 3}\nno\n')
    rows, table = read(tmp_path / "own.jsonl")
    assert rows == [("1", "a", 0), ("x", "2", 1)]
    assert table.dropped == {"malformed lines": 1, "with an empty item": 1}


def test_what_is_left_out_is_counted_by_reason(tmp_path):
    (tmp_path / "own.csv").write_text(
        "user_id,item,rating,date\na,1,5,2026-01-01\n,1,5,2026-01-01\na, ,5,2026-01-01\na,2,5,soon\na,2,5,\n"
        "a,3,2,2026-01-01\na,4,,2026-01-01\na,5\na,6,4,2026-01-02,more\nb,7,4.0,2026-01-03\n"
    )
    rows, table = read(tmp_path / "own.csv", min_rating=4)
    assert [row[:2] for row in rows] == [("a", "1"), ("b", "7")]
    assert table.dropped == {
        "malformed lines": 2, "with an empty user": 1, "with an empty item": 1, "with an empty time": 1,
        "with an unreadable time": 1, "without a rating": 1, "rated below 4": 1,
    }  # fmt: skip
    description, losses = table.notes()
    assert "separated by commas; user 'user_id', item 'item', time 'date', ratings in 'rating' from 4 up" in description
    assert "left out 8 of 10 rows: 2 malformed lines, 1 with an empty user" in losses and "'soon'" in losses


def test_a_quoted_newline_far_into_a_file(tmp_path):
    row = 'a,1,1700000000,"' + "x" * 200 + '\n, ""y"""\n'
    (tmp_path / "own.csv").write_text("user,item,time,text\n" + row * 60_000)
    rows, table = read(tmp_path / "own.csv")
    assert len(rows) == 60_000 and set(rows) == {("a", "1", 17 * 10**14)} and not table.dropped


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "user,article,timestamp\n1,2,3\n",
            r"known as the item; it has 'user', 'article', 'time.*--columns.item",
        ),
        ("buyer,item,timestamp\n1,2,3\n", r"known as the user; it has 'buyer'.*--columns.user"),
        ("user,item,when\n1,2,2026-01-01\n", r"'when' could be it.*--columns.time 'when'.*--columns.time ''"),
        ("user,item,timestamp,user\n1,2,3,4\n", r"2 columns called 'user'.*number, --columns.user 1 or 4"),
        ("user,user_id,User,item\n1,2,3,4\n", None),
        ("a,b,c,d,e\n1,2,3,4,5\n", r"no column that is known as the user; it has 'a', 'b', 'c', 'd', 'e'"),
        ("1,2,3,4,5\n1,2,3,4,5\n", r"no column that is known as the user; it has '1', '2', '3', '4', '5'"),
        ("user,item,when\n1,2,01/02/2026\n", r"'when' could be it"),
        ("user,item,time\n1,2,01/02/2026\n", r"unreadable time is '01/02/2026'.*dates such as 2026-01-31"),
        ("user,item,timestamp\n", "keeps nothing: it has a header but no rows"),
        ("user,item,timestamp\n1,,3\n", "keeps nothing: left out 1 of 1 rows: 1 with an empty item"),
        ("user,item,timestamp\n1,2,soon\n", "first unreadable time is 'soon'"),
        ("", "is empty"),
        ("\n \n", "is empty"),
        ('[{"user": 1}]', "one JSON array"),
        ("<!doctype html><p>", "web page"),
        ("PK\x03\x04", "zip"),
        ("PAR1 not really", "cannot be read as Parquet"),
        ('user,item,time\na,"b,3\n' + "c,d,4\n" * 3_000_000, "quotation mark left open"),
    ],
)
def test_bad_files_are_refused_with_a_remedy(tmp_path, text, message):
    (tmp_path / "bad.csv").write_text(text)
    if message is None:
        assert read(tmp_path / "bad.csv")[0] == [("1", "4", 0)]
        return
    with pytest.raises(DataError, match=message):
        read(tmp_path / "bad.csv")


def test_bytes_that_are_no_utf8_matter_in_the_columns_that_are_read(tmp_path):
    (tmp_path / "own.csv").write_bytes("user,item,title\nann,1,Café\n".encode("latin-1"))
    assert read(tmp_path / "own.csv")[0] == [("ann", "1", 0)]
    (tmp_path / "own.csv").write_bytes("user,item,title\nZoë,1,Café\n".encode("latin-1"))
    with pytest.raises(DataError, match="not in UTF-8"):
        read(tmp_path / "own.csv")


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_a_file_that_was_cut_off_is_no_shorter_file(tmp_path, pack):
    import random

    data = pack(separated(",", USUAL, [(random.random(), *row[1:]) for row in ROWS * 100_000]))
    (tmp_path / "own.csv.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="cannot be"):
        read(tmp_path / "own.csv.gz")


def test_members_of_gzip_one_after_another_are_one_file(tmp_path):
    data = separated(",", USUAL)
    (tmp_path / "own.csv.gz").write_bytes(gzip.compress(data[:40]) + gzip.compress(data[40:]))
    assert read(tmp_path / "own.csv.gz")[0] == WANTED


def test_no_time_when_it_is_said_so(tmp_path):
    (tmp_path / "own.csv").write_text("user,item,time\na,1,9\na,2,8\n")
    assert read(tmp_path / "own.csv", Columns(time=""))[0] == [("a", "1", 0), ("a", "2", 1)]


@pytest.mark.parametrize("rest", ["", "\nuser,item\na,b\n"])
def test_a_first_cell_without_end_is_refused(rest, tmp_path):
    (tmp_path / "long.csv").write_text("x" * 200_000 + rest)
    with pytest.raises(DataError, match="begins with a cell of more than"):
        open_table(tmp_path / "long.csv")


def test_seconds_and_milliseconds_in_one_column_are_told_in_one_line(tmp_path):
    path = tmp_path / "a.csv"
    for second, told in (("1700000001", 0), ("1700000001000", 1), ("2024-01-01", 0)):
        path.write_text(f"user,item,timestamp\nu,a,1700000000\nu,b,{second}\n")
        table = open_table(path)
        whole = collect(table)
        assert np.diff(whole.timestamps).tolist() == [1_000_000] or second == "2024-01-01"
        notes = [note for note in table.notes() if "in one column" in note]
        assert len(notes) == told and all("milliseconds and seconds" in note for note in notes)


TABLE = "user,item,timestamp\n" + "".join(f"u{i % 3},i{i % 4},{1_700_000_000 + i}\n" for i in range(9))
PLAIN = [(f"u{i % 3}", f"i{i % 4}", (1_700_000_000 + i) * 10**6) for i in range(9)]


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\n" + TABLE.replace(",", ";"),
        '"sep=,"\n' + TABLE,
        "\n\n" + TABLE,
        "  \n" + TABLE,
        "Clicks of the shop,,\n,,\n" + TABLE,
        "# written on Monday\n# by the shop\n" + TABLE,
        TABLE.replace("\n", "\r"),
        TABLE.replace(",", "::").replace("user", "\nuser", 1),
    ],
)
def test_lines_above_the_header_and_old_line_ends(text, tmp_path):
    assert rows_of(tmp_path, text) == PLAIN


def test_a_header_below_empty_lines_is_no_row_where_no_time_is(tmp_path):
    text = "\n\n" + "\n".join(line.rpartition(",")[0] for line in TABLE.splitlines())
    assert [row[:2] for row in rows_of(tmp_path, text)] == [row[:2] for row in PLAIN]


def test_quotation_marks_behind_backslashes(tmp_path):
    title = lambda line: line.replace(",", ',"he said \\"yes, please\\", or so",', 1)
    head, *rows = TABLE.splitlines()
    assert rows_of(tmp_path, "\n".join([head.replace(",", ",title,", 1), *map(title, rows)])) == PLAIN


def test_a_text_with_a_separator_shifts_no_column(tmp_path):
    head, *rows = TABLE.splitlines()
    text = "\n".join([head.replace(",", ",title,", 1), *(row.replace(",", ",red, short,", 1) for row in rows)])
    with pytest.raises(DataError, match="4 names in its header and 5 cells in most rows; put a text"):
        rows_of(tmp_path, text)


def test_only_line_ends_end_a_line(tmp_path):
    assert [row[1] for row in rows_of(tmp_path, "u1 a b\x85c d\nu2 a d\n")] == ["a", "b\x85c", "d", "a", "d"]
    text = "".join(json.dumps({"user": "u", "item": f"i\u2028{i}"}, ensure_ascii=False) + "\n" for i in range(3))
    assert [row[1] for row in rows_of(tmp_path, text)] == ["i\u20280", "i\u20281", "i\u20282"]


def test_a_single_column_is_said_to_be_one(tmp_path):
    with pytest.raises(DataError, match="a single column, 'user\\^item\\^timestamp'; separate its cells by commas"):
        rows_of(tmp_path, TABLE.replace(",", "^"))


def test_a_number_that_is_missing_among_ids_and_ratings(tmp_path):
    parquet.write_table(pa.table({"user": [float("nan"), 7.0], "item": ["a", "b"]}), tmp_path / "nan.parquet")
    table = open_table(tmp_path / "nan.parquet")
    assert [row["user"] for batch in table.batches() for row in batch.to_pylist()] == ["7"]
    assert table.dropped == {"with an empty user": 1}
    (tmp_path / "inf.csv").write_text("user,item,rating\na,b,inf\na,c,4\n")
    table = open_table(tmp_path / "inf.csv", min_rating=3)
    assert [row["item"] for batch in table.batches() for row in batch.to_pylist()] == ["c"]


def rows_of(folder, text):
    (folder / "clicks.txt").write_bytes(text.encode())
    batches = open_table(folder / "clicks.txt").batches()
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]
