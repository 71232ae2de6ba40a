"""Every format is read from tiny files written here, the published data have the sizes that their READMEs state where
they are at hand, and a user's own file is read or refused with a remedy."""

import json

import numpy as np
import pyarrow
import pytest
from pyarrow import csv, parquet

from recsys.data import datasets
from recsys.data.columns import Columns
from recsys.data.interactions import collect
from recsys.data.tables import open_table
from recsys.errors import DataError

SIZES = {  # training sequences, test cases, items
    "amazon-beauty": (22_363, 22_363, 12_101),
    "amazon-sports": (35_598, 35_598, 18_357),
    "ml-1m": (6_040, 6_040, 3_706),
    "ml-1m-clean": (5_949, 5_949, 2_810),
    "ml-100k": (943, 943, 1_682),
    "zhihu": (9_371, 7_911, 4_838),
    "preferdiff-beauty": (17_890, 2_237, 12_101),
    "office-products": (0, 4_866, 3_459),
}


@pytest.fixture(scope="module")
def split():
    """Load each named data set at most once, or skip where the data are not on this machine."""
    cache = {}

    def load(name):
        if name not in cache:
            try:
                datasets.find(name)
            except DataError as error:
                pytest.skip(str(error))
            cache[name] = datasets.load(name)
        return cache[name]

    return load


@pytest.mark.parametrize("name", sorted(SIZES))
def test_sizes(split, name):
    data = split(name)
    assert (len(data.train), len(data.test), data.n_items) == SIZES[name]
    assert data.item_names is None or len(data.item_names) == data.n_items + 1


def test_names_belong_to_ids(split):
    assert split("ml-100k").item_names[50] == "Star Wars"
    assert split("amazon-beauty").item_names[4] == "wawo 15 color professionl makeup eyeshadow"
    assert split("office-products").item_names[1].startswith("HP 74 Black & 75 Tri-color")


def test_known_rows(split):
    beauty = split("amazon-beauty")
    assert beauty.train[0].tolist() == [1, 2, 3] and beauty.valid.targets[0].tolist() == [4]
    assert beauty.test.histories[0].tolist() == [1, 2, 3, 4] and beauty.test.targets[0].tolist() == [5]
    office = split("office-products").valid
    assert office.histories[0].tolist() == [2123, 244, 812, 813] and office.targets[0].tolist() == [2281]


def test_zhihu_puts_sequences_together(split):
    data = split("zhihu")
    assert data.train[0].tolist() == [4701, 3161, 4378, 4532] and sum(map(len, data.train)) == 61_641
    assert len(data.test.histories[0]) == 0 and data.test.histories[1].tolist() == [4708]
    assert max(map(len, data.test.histories)) == 10


def test_temporal_split_masks_validation_items(split):
    data = split("ml-1m-clean")
    assert sum(map(len, data.train)) == 403_277 and sum(map(len, data.test.targets)) == 57_532
    assert sum(map(len, data.valid.targets)) == 110_722
    assert data.train[0][:4].tolist() == [1, 2, 3, 4] and data.valid.targets[0][:2].tolist() == [173, 176]
    case = data.test
    assert case.seen is not None and data.valid.seen is None
    assert all(not set(t) & set(s) and not set(t) & set(h) for t, s, h in zip(case.targets, case.seen, case.histories))


def _lines(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(row + "\n" for row in rows), encoding="utf-8")


def _sequences(folder):
    _lines(folder / "sequences.txt", "1 4 2 3 1", "2 2 5", "3 1 2 3")
    _lines(folder / "items.tsv", "id\tasin\ttext", "1\tB1\tred hat", "2\tB2\tblue bag", "4\tB4\tgreen coat, long")


def _movielens(folder):
    """Rows in no order; user 3 rates twice in the same second, in the order of the file."""
    _lines(folder / "ml-100k.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float",
           "1\t3\t4\t30", "3\t2\t5\t7", "1\t1\t3\t10", "3\t4\t1\t7", "1\t2\t5\t20")  # fmt: skip
    _lines(folder / "ml-100k.item", "item_id:token\tmovie_title:token_seq\trelease_year:token", "1\tToy Story\t1995",
           "3\tFour Rooms\t1995")  # fmt: skip


def _clean(folder):
    """Users and items from 0; user 1 has no validation items, user 2 neither those nor test items."""
    folder.mkdir(parents=True)
    parts = {
        "train": [(0, 0), (0, 1), (1, 2), (1, 0), (2, 4)],
        "valid": [(0, 2), (0, 3)],
        "test": [(0, 4), (1, 1), (1, 3)],
    }
    for part, pairs in parts.items():
        np.save(folder / f"{part}_list.npy", np.array(pairs, np.int32))


def _zhihu(folder):
    """Every prefix is a row, right-padded with 4838; ids from 0."""
    folder.mkdir(parents=True)
    rows = {
        "train": [([], 0), ([0], 1), ([0, 1], 2), ([], 7), ([7], 4837)],
        "val": [([], 3), ([3], 1)],
        "test": [([5, 6], 2)],
    }
    for part, cases in rows.items():
        seq = np.array([history + [4838] * (10 - len(history)) for history, _ in cases])
        np.savez(folder / f"{part}.npz", seq=seq, next=np.array([target for _, target in cases]))


def _preferdiff(folder):
    _lines(folder / "train_data.txt", "3 1 2", "2 4")
    _lines(folder / "valid_data.txt", "1 2 5")
    _lines(folder / "test_data.txt", "6 1", "2 3 4")


def _office(folder):
    """Items, users' histories and targets from 0; there is no training file."""
    folder.mkdir(parents=True)
    items = {"0": {"title": "ink"}, "1": {"title": "paper"}, "3": {"title": "Stühle, 4"}}
    (folder / "item.json").write_text(json.dumps(items, ensure_ascii=False), encoding="utf-8")
    _lines(folder / "valid.tsv", "A1\t0 1\t3", "A2\t3\t0")
    _lines(folder / "test.tsv", "A1\t0 1 3\t2")


WRITERS = {
    "amazon-beauty": _sequences,
    "amazon-sports": _sequences,
    "ml-1m": _sequences,
    "ml-100k": _movielens,
    "ml-1m-clean": _clean,
    "zhihu": _zhihu,
    "preferdiff-beauty": _preferdiff,
    "office-products": _office,
}
"""Tiny files of every public format, as their publishers write them."""


@pytest.fixture
def tiny(tmp_path):
    """Write a named data set's files and load them."""

    def load(name):
        WRITERS[name](tmp_path / name)
        return datasets.load(name, root=tmp_path)

    return load


def plain(arrays):
    return [array.tolist() for array in arrays]


def test_every_named_format_has_a_tiny_file_here():
    assert sorted(WRITERS) == datasets.names() == sorted(SIZES)


@pytest.mark.parametrize("name", [name for name, write in WRITERS.items() if write is _sequences])
def test_sequence_files(tiny, name):
    data = tiny(name)
    assert data.n_items == 5 and data.item_names == ("", "red hat", "blue bag", "3", "green coat, long", "5")
    assert plain(data.train) == [[4, 2], [2, 5], [1]]  # a user with two items only trains
    assert plain(data.valid.histories) == [[4, 2], [1]] and plain(data.valid.targets) == [[3], [2]]
    assert plain(data.test.histories) == [[4, 2, 3], [1, 2]] and plain(data.test.targets) == [[1], [3]]


def test_atomic_files_of_movielens(tiny):
    data = tiny("ml-100k")
    assert data.n_items == 4 and data.item_names == ("", "Toy Story", "2", "Four Rooms", "4")
    assert plain(data.train) == [[1], [2, 4]] and plain(data.test.histories) == [[1, 2]]
    assert plain(data.valid.targets) == [[2]] and plain(data.test.targets) == [[3]]


def test_lists_of_pairs(tiny):
    data = tiny("ml-1m-clean")
    assert data.n_items == 5 and data.item_names is None
    assert plain(data.train) == [[1, 2], [3, 1], [5]]
    assert plain(data.valid.histories) == [[1, 2]] and plain(data.valid.targets) == [[3, 4]]
    assert plain(data.test.histories) == [[1, 2], [3, 1]] and plain(data.test.targets) == [[5], [2, 4]]
    assert data.test.seen is not None and plain(data.test.seen) == [[3, 4], []] and data.valid.seen is None


def test_rows_of_prefixes(tiny):
    data = tiny("zhihu")
    assert data.n_items == 4838 and plain(data.train) == [[1, 2, 3], [8, 4838]]
    assert plain(data.valid.histories) == [[], [4]] and plain(data.valid.targets) == [[4], [2]]
    assert plain(data.test.histories) == [[6, 7]] and plain(data.test.targets) == [[3]]


def test_lines_whose_last_item_is_the_target(tiny):
    data = tiny("preferdiff-beauty")
    assert data.n_items == 6 and plain(data.train) == [[3, 1, 2], [2, 4]]
    assert plain(data.valid.histories) == [[1, 2]] and plain(data.valid.targets) == [[5]]
    assert plain(data.test.histories) == [[6], [2, 3]] and plain(data.test.targets) == [[1], [4]]


def test_titles_and_cases_without_training_rows(tiny):
    data = tiny("office-products")
    assert data.n_items == 4 and data.item_names == ("", "ink", "paper", "3", "Stühle, 4") and data.train == []
    assert plain(data.valid.histories) == [[1, 2], [4]] and plain(data.valid.targets) == [[4], [1]]
    assert plain(data.test.histories) == [[1, 2, 4]] and plain(data.test.targets) == [[3]]


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_a_damaged_or_missing_file_names_the_folder(name, tmp_path):
    folder = tmp_path / name
    WRITERS[name](folder)
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        file.write_bytes(b"not\nat all\n")
        with pytest.raises(DataError, match=f"{name} cannot be read"):
            datasets.load(name, root=tmp_path)
        file.unlink()
        with pytest.raises(DataError, match=f"{name} cannot be read"):
            datasets.load(name, root=tmp_path)
        file.write_bytes(whole)
    assert datasets.load(name, root=tmp_path).n_items


def test_where_a_data_set_is_looked_for(tmp_path, monkeypatch):
    for place, where in (("root", tmp_path / "root"), ("variable", tmp_path / "variable" / "recsys"), ("", tmp_path)):
        _preferdiff(where / "preferdiff-beauty")
        _lines(where / "preferdiff-beauty" / "train_data.txt", f"{len(place) + 10} 1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERSONAGEN_DATA", str(tmp_path / "variable"))
    assert datasets.load("preferdiff-beauty", root=tmp_path / "root").n_items == 14
    assert datasets.load("preferdiff-beauty").n_items == 18
    monkeypatch.delenv("PERSONAGEN_DATA")
    assert datasets.load("preferdiff-beauty").n_items == 10


def write(path, columns):
    table = pyarrow.table(columns)
    (csv.write_csv if path.suffix == ".csv" else parquet.write_table)(table, path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_own_file(tmp_path, suffix):
    columns = {
        "user": ["ann", "bob", "ann", "ann", "bob", "bob"],
        "item": ["red", "blue", "blue", "green", "red", "green"],
        "timestamp": [3, 1, 1, 2, 2, 9],
        "price": [1.0] * 6,
    }
    path = write(tmp_path / f"own{suffix}", columns)
    data = datasets.read_interactions(path)
    assert data.item_names == ("", "blue", "green", "red") and data.user_names == ("", "ann", "bob")
    assert [s.tolist() for s in data.sequences()] == [[1, 2, 3], [1, 3, 2]]
    split = datasets.load(path)
    assert split.n_items == 3 and split.test.targets[1].tolist() == [2] and split.item_names == data.item_names


def test_numeric_ids_sort_by_value_whatever_the_row_order(tmp_path):
    rows = [("7", "10", "2026-01-03"), ("7", "9", "2026-01-01"), ("30", "100", "2026-01-02 10:00:00")]
    for order in ([0, 1, 2], [2, 1, 0]):
        path = tmp_path / "own.csv"
        path.write_text("u,i,t\n" + "\n".join(",".join(rows[n]) for n in order))
        data = datasets.read_interactions(path, Columns("u", "i", "t"))
        assert data.item_names == ("", "9", "10", "100") and data.user_names == ("", "7", "30")
        assert [s.tolist() for s in data.sequences()] == [[1, 2], [3]]


def test_ids_are_text_even_where_they_look_like_numbers(tmp_path):
    (tmp_path / "own.csv").write_text("user,item,timestamp\n1,007,1\n1,7,2\n")
    assert datasets.read_interactions(tmp_path / "own.csv").item_names == ("", "007", "7")


def test_rows_without_an_id_or_a_time_are_left_out(tmp_path):
    (tmp_path / "own.csv").write_text("user,item,timestamp\na,1,3\na,,4\na,2,soon\na,3,\nb,9\nb,1,2\n")
    data = datasets.read_interactions(tmp_path / "own.csv")
    assert data.item_names == ("", "1") and data.user_names == ("", "a", "b")


def test_a_row_that_is_there_again_counts_once(tmp_path):
    rows = ["a,2,5", "a,1,5", "a,2,5", "a,2,6", "b,2,5", "a,1,5", "a,3,1", "b,2,5"]
    (tmp_path / "own.csv").write_text("user,item,timestamp\n" + "\n".join(rows))
    table = open_table(tmp_path / "own.csv")
    assert plain(collect(table).sequences()) == [[3, 2, 1, 2], [2]]
    assert list(table.dropped.values()) == [3] and "left out 3 of 8 rows" in table.notes()[0]
    (tmp_path / "own.csv").write_text("user,item\n" + "a,2\n" * 3)  # without a time, twice is twice
    assert plain(datasets.read_interactions(tmp_path / "own.csv").sequences()) == [[1, 1, 1]]


def test_the_whole_file_is_kept_compactly(tmp_path):
    rows = "".join(f"u{n % 700},{n % 130},{1_700_000_000 + n}\n" for n in range(5000))
    (tmp_path / "own.csv").write_text("user,item,timestamp\n" + rows)
    data = datasets.read_interactions(tmp_path / "own.csv")
    assert data.users.dtype == data.items.dtype == np.int32 and len(data.users) == 5000
    assert data.item_names[:4] == ("", "0", "1", "2")
    assert all(np.array_equal(data.history(user), found) for user, found in zip(data.user_names[1:], data.sequences()))
    with pytest.raises(DataError, match="'u700' is not among the 700 users"):
        data.history("u700")


def test_missing_things_are_named(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="there is no file"):
        datasets.load(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="neither a known data set.*nor a file"):
        datasets.load("netflix")
    with pytest.raises(DataError, match="PERSONAGEN_DATA"):
        datasets.load("zhihu", root=tmp_path)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        datasets.load(tmp_path / "bad.parquet")
    folder = tmp_path / "recsys" / "amazon-beauty"
    folder.mkdir(parents=True)
    (folder / "sequences.txt").write_text("1 1 2 3\n2 2 x\n")
    (folder / "items.tsv").write_text("id\tasin\ttext\n")
    monkeypatch.setenv("PERSONAGEN_DATA", str(tmp_path))
    with pytest.raises(DataError, match="cannot be read"):
        datasets.load("amazon-beauty")
    (folder / "sequences.txt").write_text("1 1 2 3\n2 2 3\n")
    assert np.array_equal(datasets.load("amazon-beauty").train[1], [2, 3])
