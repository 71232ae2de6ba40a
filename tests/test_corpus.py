"""The hostile files are many, small, and those that their generator writes."""

from tests.corpus.hostile import FILES, KINDS, SORTS, hostile
from tests.corpus.make import CONTENT


def test_they_are_many_and_small():
    files = hostile()
    assert len(files) >= 200
    assert sum(one.path.stat().st_size for one in files) <= 1_000_000
    assert all(len(hostile(kind)) >= 10 for kind in KINDS)


def test_they_are_what_their_generator_writes():
    assert set(CONTENT) == set(SORTS) == {folder.name for folder in FILES.iterdir()}
    for sort in SORTS:
        assert {path.name for path in (FILES / sort).iterdir()} == set(CONTENT[sort])
        if sort not in ("pictures", "masks", "labels", "interactions"):  # a library may write these another way
            assert all((FILES / sort / name).read_bytes() == data for name, data in CONTENT[sort].items())
