"""Text files in the encodings that people save them in are read alike."""

import pytest

from recsys.errors import DataError
from recsys.text import read_text

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
