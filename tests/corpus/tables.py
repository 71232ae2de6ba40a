"""Hostile files of interactions, catalogues, mappings, and lists of users and of pairs."""

import gzip
import io

import pyarrow as pa
from pyarrow import parquet

HEAD = "user,item,timestamp"
GOOD = [
    f"u{user},i{(user + 3 * step) % 11},{1_700_000_000 + 100 * step + user}" for user in range(6) for step in range(5)
]
KINDS = ("t-shirt", "trousers", "dress")


def lines(*rows: str, head: str | None = HEAD) -> bytes:
    """A text of lines."""
    return ("\n".join(rows if head is None else (head, *rows)) + "\n").encode()


def rewritten(change: str, into: str) -> bytes:
    """The sound file with one text for another."""
    return lines(*(row.replace(change, into) for row in GOOD))


def table(**columns: list | pa.Array) -> bytes:
    """A Parquet file."""
    sink = io.BytesIO()
    parquet.write_table(pa.table(columns), sink)
    return sink.getvalue()


def content() -> dict[str, dict[str, bytes]]:
    """Sort -> name -> bytes."""
    return {
        "interactions": {**_texts(), **_cells(), **_binary()},
        "catalogs": _catalogs(),
        "mappings": _mappings(),
        "users": _users(),
        "pairs": _pairs(),
    }


def _texts() -> dict[str, bytes]:
    good = lines(*GOOD)
    return {
        "good.csv": good,
        "header_alone.csv": lines(),
        "no_header.csv": lines(*GOOD, head=None),
        "no_last_newline.csv": good.rstrip(),
        "old_mac_newlines.csv": good.replace(b"\n", b"\r"),
        "utf16.csv": good.decode().encode("utf-16"),
        "byte_order_mark.csv": b"\xef\xbb\xbf" + good,
        "latin1.csv": good.replace(b"i3", "ü".encode("latin-1")),
        "semicolons.csv": good.replace(b",", b";"),
        "tabs.tsv": good.replace(b",", b"\t"),
        "pipes.csv": good.replace(b",", b"|"),
        "mixed_separators.csv": good.replace(b",", b";", 20),
        "blank_lines.csv": good.replace(b"\n", b"\n\n"),
        "comment_first.csv": b"# exported on Monday\n" + good,
        "user_column_twice.csv": lines(*(row + ",x" for row in GOOD), head=HEAD + ",user"),
        "columns_of_other_names.csv": lines(*GOOD, head="a,b,c"),
        "no_item_column.csv": lines(*(row.rsplit(",", 2)[0] for row in GOOD), head="user"),
        "quoted_newlines.csv": lines(*('"u\n1",' + row.split(",", 1)[1] for row in GOOD)),
        "quote_left_open.csv": lines('"' + GOOD[0], *GOOD[1:]),
        "more_cells_than_columns.csv": lines(GOOD[0] + ",9,9", *GOOD[1:]),
        "fewer_cells_than_columns.csv": lines("u1", *GOOD[1:]),
        "endless_cell.csv": lines("u" * 1_000 + ",i1,1", head="x" * 1_000),
        "nul_bytes.csv": good.replace(b"i3", b"i\x003"),
        "control_letters.csv": good.replace(b"i3", b"i\x1b[31m3"),
        "one_line.csv": lines(GOOD[0]),
        "one_user.csv": lines(*GOOD[:5]),
        "one_item.csv": lines(*(f"u{n},i0,{n}" for n in range(20))),
        "nine_items.csv": lines(*(f"u{n // 4},i{n % 9},{n}" for n in range(40))),
        "every_row_twice.csv": lines(*GOOD, *GOOD),
        "same_item_again_and_again.csv": lines(*(f"u{n // 10},i{n // 10},{n}" for n in range(60))),
        "sequences.txt": lines("1 10 20 30", "2 30 10", "3 5", head=None),
        "html.csv": b"<!DOCTYPE html><html><body>Sign in to continue</body></html>\n",
        "json_list.json": b'[{"user": 1, "item": 2}, {"user": 1, "item": 3}]',
        "json_lines.jsonl": b'{"user": 1, "item": 2}\n{"user": null, "item": [3]}\n{"item": {}}\n',
        "._of_a_mac.csv": b"\0\x05\x16\x07" + bytes(100),
        "pickle_named.csv": b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x02os\x8c\x06system\x93.",
    }


def _cells() -> dict[str, bytes]:
    times = lambda *values: lines(*(f"u{n // 5},i{n % 11},{values[n % len(values)]}" for n in range(40)))
    return {
        "times_missing.csv": times(""),
        "times_of_words.csv": times("yesterday"),
        "times_nan_and_infinite.csv": times("nan", "inf", "1700000000"),
        "times_beyond_all_bounds.csv": times("1e300", "-9223372036854775809", "1700000000"),
        "times_negative.csv": times("-1", "-1700000000"),
        "times_of_seconds_and_milliseconds.csv": times("1700000000", "1700000000000"),
        "times_of_nanoseconds.csv": times("2024-01-01 10:00:00.123456789", "2024-01-02 10:00:00.123456789"),
        "times_in_many_zones.csv": times("2024-01-01T10:00:00+05:30", "2024-01-01T10:00:00Z", "2024-01-01 10:00"),
        "times_of_impossible_days.csv": times("2024-02-30", "2024-13-45", "0000-00-00"),
        "times_day_first.csv": times("31/12/2024 10:00", "01/02/2024 10:00"),
        "times_all_equal.csv": times("1700000000"),
        "ids_empty.csv": rewritten("i3", ""),
        "ids_of_spaces.csv": rewritten("i3", "  "),
        "ids_quoted.csv": rewritten("i3", '"i,3"'),
        "ids_with_leading_zeros.csv": lines(*(row.replace("u", "00").replace("i", "0") for row in GOOD)),
        "ids_of_20_digits.csv": rewritten("i3", "9" * 20),
        "ids_like_floats.csv": rewritten("i3", "3.0"),
        "ids_like_formulas.csv": rewritten("i3", '"=HYPERLINK(""x"")"'),
        "ids_that_climb.csv": rewritten("u3", "../../etc"),
        "ids_of_dots.csv": rewritten("u3", ".."),
        "ids_of_1000_letters.csv": rewritten("i3", "x" * 1_000),
        "ids_of_emoji_and_arabic.csv": rewritten("i3", "👗١٢\u202e"),
        "ids_named_null.csv": rewritten("i3", "null"),
        "ratings_of_words.csv": lines(*(row + ",good" for row in GOOD), head=HEAD + ",rating"),
    }


def _binary() -> dict[str, bytes]:
    good = lines(*GOOD)
    users, items = [row.split(",")[0] for row in GOOD], [row.split(",")[1] for row in GOOD]
    moments = pa.array(range(len(GOOD)), pa.timestamp("ns"))
    whole = table(user=users, item=items, timestamp=moments)
    return {
        "empty.csv": b"",
        "empty.parquet": b"",
        "gzip.csv.gz": gzip.compress(good, mtime=0),
        "gzip_cut.csv.gz": gzip.compress(good, mtime=0)[:-30],
        "gzip_named.csv": gzip.compress(good, mtime=0),
        "gzip_of_20_megabytes_of_zeros.csv.gz": gzip.compress(bytes(20_000_000), mtime=0),
        "zstd_cut.csv.zst": pa.compress(good, "zstd", asbytes=True)[:-9],
        "zip_named.csv": b"PK\x05\x06" + bytes(18),
        "nanoseconds.parquet": whole,
        "cut.parquet": whole[: len(whole) // 2],
        "magic_alone.parquet": b"PAR1PAR1",
        "csv_named.parquet": good,
        "parquet_named.csv": whole,
        "no_rows.parquet": table(user=pa.array([], pa.string()), item=pa.array([], pa.string())),
        "nulls.parquet": table(user=["a", None, "b"], item=pa.array([None, None, None], pa.int64())),
        "lists.parquet": table(user=["a", "b"], item=[["x"], ["y", "z"]]),
        "floats_as_ids.parquet": table(user=[1.0, float("nan")], item=[2.5, float("inf")]),
        "bytes_as_ids.parquet": table(user=[b"a", b"\xff"], item=[b"x", b"y"]),
    }


def _catalogs() -> dict[str, bytes]:
    """They describe pictures a.png to k.png; ids i0 to i10 are those of the sound file of interactions."""
    head, rows = "id,file,kind,title", [f"i{n},{'abcdefghijk'[n]}.png,{KINDS[n % 3]},no. {n}" for n in range(11)]
    of = lambda *some, head=head: lines(*some, head=head)
    return {
        "good.csv": of(*rows),
        "semicolons.csv": of(*rows).replace(b",", b";"),
        "tabs.csv": of(*rows).replace(b",", b"\t"),
        "utf16.csv": of(*rows).decode().encode("utf-16"),
        "byte_order_mark.csv": b"\xef\xbb\xbf" + of(*rows),
        "latin1.csv": of(*rows).replace(b"no.", "für".encode("latin-1")),
        "spaces_round_everything.csv": of(*(row.replace(",", " , ") for row in rows), head="id , file , kind , title "),
        "capital_heads.csv": of(*rows, head="ID,File,Kind,Title"),
        "backslash_paths.csv": of(*(row.replace(",a.png", ",images\\a.png") for row in rows)),
        "absolute_path.csv": of(rows[0].replace("a.png", "/etc/passwd"), *rows[1:]),
        "climbing_path.csv": of(rows[0].replace("a.png", "../a.png"), *rows[1:]),
        "id_twice.csv": of(*rows, rows[0]),
        "file_twice.csv": of(*rows, rows[0].replace("i0", "i99")),
        "file_missing.csv": of(rows[0].replace("a.png", "no_such.png"), *rows[1:]),
        "all_files_missing.csv": of(*(row.replace(".png", ".jpg") for row in rows)),
        "kind_empty.csv": of(rows[0].replace("t-shirt", ""), *rows[1:]),
        "kind_of_no_garment.csv": of(*(row.replace("t-shirt", "lawn mower") for row in rows)),
        "kinds_all_unknown.csv": of(*(row.replace(KINDS[n % 3], "teapot") for n, row in enumerate(rows))),
        "no_kind_column.csv": of(*rows, head="id,file,sort,title"),
        "kind_column_twice.csv": of(*(row + ",dress" for row in rows), head=head + ",kind"),
        "no_file_column.csv": of(*rows, head="id,picture,kind,title"),
        "header_alone.csv": of(),
        "empty.csv": b"",
        "more_cells_than_columns.csv": of(*(row + ",x,y" for row in rows)),
        "fewer_cells_than_columns.csv": of("i0", *rows[1:]),
        "quote_left_open.csv": of('"' + rows[0], *rows[1:]),
        "endless_cell.csv": of(rows[0] + "x" * 140_000, *rows[1:]),
        "nul_bytes.csv": of(*rows).replace(b"no.", b"n\0o"),
        "file_is_a_folder.csv": of(rows[0].replace("a.png", "."), *rows[1:]),
        "name_too_long.csv": of(rows[0].replace("a.png", "x" * 5_000), *rows[1:]),
    }  # fmt: skip


def _mappings() -> dict[str, bytes]:
    """They name the folder `subject` and the photo `a.png` beside them, for users of the sound interactions."""
    head = "user,subject,person"
    return {
        "good.csv": lines("u1,subject,a.png", "u2,subject,", head=head),
        "backslash_paths.csv": lines("u1,.\\subject,.\\a.png", head=head),
        "user_twice.csv": lines("u1,subject,", "u1,subject,", head=head),
        "user_unknown.csv": lines("nobody,subject,", head=head),
        "user_empty.csv": lines(",subject,", head=head),
        "subject_missing.csv": lines("u1,no_such_folder,", head=head),
        "subject_is_a_picture.csv": lines("u1,a.png,", head=head),
        "person_is_a_folder.csv": lines("u1,,subject", head=head),
        "name_too_long.csv": lines("u1," + "x" * 5_000 + ",", head=head),
        "nul_in_a_name.csv": lines("u1,sub\0ject,", head=head),
        "header_alone.csv": lines(head=head),
        "unknown_column.csv": lines("u1,subject,x", head="user,subject,photo"),
        "utf16.csv": lines("u1,subject,", head=head).decode().encode("utf-16"),
        "latin1.csv": lines("ü,subject,", head=head).decode().encode("latin-1"),
        "semicolons.csv": lines("u1;subject;a.png", head="user;subject;person"),
        "endless_cell.csv": lines("u1," + "x" * 140_000 + ",", head=head),
        "fewer_cells_than_columns.csv": lines("u1", head=head),
    }


def _users() -> dict[str, bytes]:
    return {
        "good.txt": b"u1\nu2\n",
        "byte_order_mark.txt": b"\xef\xbb\xbfu1\n",
        "utf16.txt": "u1\nu2\n".encode("utf-16"),
        "latin1.txt": "ü\n".encode("latin-1"),
        "old_mac_newlines.txt": b"u1\ru2\r",
        "twice.txt": b"u1\nu1\n",
        "unknown.txt": b"nobody\n",
        "one_of_1000_letters.txt": b"u" * 1_000 + b"\n",
        "with_commas.csv": b"u1,u2\n",
        "with_a_header.csv": b"user\nu1\n",
        "nul_bytes.txt": b"u\x001\n",
        "line_separators.txt": "u1\u2028u2\x0bu3\n".encode(),
        "climbing.txt": b"../u1\n..\n",
    }


def _pairs() -> dict[str, bytes]:
    """They name the photos a.jpg and b.jpg and the garments c.jpg and d.jpg."""
    return {
        "good.txt": b"a.jpg c.jpg\nb.jpg d.jpg\n",
        "names_with_spaces.txt": b"a photo.jpg a shirt.jpg\n",
        "tabs.txt": b"a.jpg\tc.jpg\n",
        "commas.csv": b"a.jpg,c.jpg\n",
        "backslash_paths.txt": b"image\\a.jpg cloth\\c.jpg\n",
        "one_name_a_line.txt": b"a.jpg\nb.jpg\n",
        "absolute.txt": b"/etc/passwd c.jpg\n",
        "climbing.txt": b"../a.jpg c.jpg\n",
        "no_such_file.txt": b"x.jpg y.jpg\n",
        "twice.txt": b"a.jpg c.jpg\na.jpg c.jpg\n",
        "utf16.txt": "a.jpg c.jpg\n".encode("utf-16"),
        "name_too_long.txt": b"x" * 5_000 + b" c.jpg\n",
        "nul_bytes.txt": b"a\0.jpg c.jpg\n",
    }
