"""Every reader gives the sizes its README states; a user's own file is read or refused with a remedy."""

import numpy as np
import pyarrow
import pytest
from pyarrow import csv, parquet

from recsys.data import datasets
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
        data = datasets.read_interactions(path, user="u", item="i", timestamp="t")
        assert data.item_names == ("", "9", "10", "100") and data.user_names == ("", "7", "30")
        assert [s.tolist() for s in data.sequences()] == [[1, 2], [3]]


def test_ids_are_text_even_where_they_look_like_numbers(tmp_path):
    (tmp_path / "own.csv").write_text("user,item,timestamp\n1,007,1\n1,7,2\n")
    assert datasets.read_interactions(tmp_path / "own.csv").item_names == ("", "007", "7")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,article,timestamp\n1,2,3\n", r"no column 'item'; it has 'user', 'article', 'timestamp'.*item="),
        ("user,item,timestamp\n", "header but no rows"),
        ("user,item,timestamp\n1,,3\n", "column 'item' has 1 empty"),
        ("user,item,timestamp\n1,2,soon\n", "'soon'; give seconds as numbers"),
        ("user,item,timestamp\n1,2,\n1,2,4\n", "column 'timestamp' has 1 empty"),
        ("user,item,timestamp\n1,2\n", "cannot be read as csv"),
        ("", "cannot be read as csv"),
    ],
)
def test_bad_files_are_refused_with_a_remedy(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        datasets.read_interactions(path)


def test_missing_things_are_named(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="there is no file"):
        datasets.load(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="neither a known data set"):
        datasets.load("netflix")
    with pytest.raises(DataError, match="PERSONAGEN_DATA"):
        datasets.load("zhihu", root=tmp_path)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match="cannot be read as parquet"):
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
