"""Text files in the encodings that people save them in are read alike."""

import pytest

from recsys.errors import DataError, shown
from recsys.text import find_named, from_json, read_cells, read_names, read_text

TEXT = "Größe,日本\nzwei\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(encoding, tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(("id,name of the thing\n" + TEXT).encode(encoding))
    assert read_text(file) == "id,name of the thing\n" + TEXT


def test_line_ends_and_an_empty_file(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\rthree")
    assert read_text(tmp_path / "a.txt") == "one\ntwo\nthree"
    (tmp_path / "b.txt").write_bytes(b"")
    assert read_text(tmp_path / "b.txt") == ""


def test_other_bytes_are_refused_by_name(tmp_path):
    (tmp_path / "a.txt").write_bytes("Größe".encode("cp1252"))
    with pytest.raises(DataError, match="a.txt is neither UTF-8 nor UTF-16"):
        read_text(tmp_path / "a.txt")
    with pytest.raises(DataError, match="check the path"):
        read_text(tmp_path / "missing.txt")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_small_tables_are_read_whatever_separates_their_cells(separator, tmp_path):
    rows = ["ID, File ", 'a,"x\ny"', "", "b,", ",", "c,d,,"]
    (tmp_path / "a.csv").write_text("\n".join(rows).replace(",", separator), encoding="utf-16")
    columns, cells = read_cells(tmp_path / "a.csv")
    assert columns == ["id", "file"]
    assert cells == [(3, {"id": "a", "file": "x\ny"}), (5, {"id": "b", "file": ""}), (7, {"id": "c", "file": "d"})]


@pytest.mark.parametrize(
    ("text", "says"),
    [("id,id\na,b\n", "the column id twice"), ("id,file\na,b,c\n", "line 2: 3 cells, but the header has 2"),
     ("id\n" + "x" * 200_000, "field limit"), ("i\0d\n", "zero bytes")],
)  # fmt: skip
def test_tables_that_would_be_read_wrongly_are_refused(text, says, tmp_path):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=says) as error:
        read_cells(tmp_path / "a.csv")
    assert "a.csv" in str(error.value)


def test_names_of_a_list_are_found_with_spaces_and_backslashes(tmp_path):
    (tmp_path / "my photos").mkdir()
    (tmp_path / "my photos" / "a b.png").touch()
    assert find_named("my photos\\a b.png", tmp_path) == tmp_path / "my photos" / "a b.png"
    assert find_named("x" * 5_000, tmp_path) is None and find_named("a\0b", tmp_path) is None
    (tmp_path / "names.txt").write_bytes("\ufeffann b\r\n\r\n d\u2028e \r\n".encode())
    assert read_names(tmp_path / "names.txt") == ["ann b", "d\u2028e"]
    (tmp_path / "names.txt").write_bytes(b"\n")
    with pytest.raises(DataError, match="names nobody"):
        read_names(tmp_path / "names.txt")


def test_json_that_is_too_deep_is_a_value_error():
    with pytest.raises(ValueError, match="too deeply"):
        from_json("[" * 100_000)
    assert shown("a\x1b[2J\nb" + "c" * 100, most=7) == "a\\x1b[2J b" + "…"


def test_a_header_of_ten_thousands_of_columns_is_refused_at_once(tmp_path):
    wide = tmp_path / "wide.csv"
    wide.write_text("item," * 50_000 + "\n" + "x\n" * 1000, encoding="utf-8")
    with pytest.raises(DataError, match="50,001 columns"):
        read_cells(wide)
