"""Read the public recommendation data sets by name, or your own file, into one kind of split.

Every reader gives items 1..n in time order. Where the files lie: the `root` argument, else the environment variable
PERSONAGEN_DATA, else the current folder.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import DataError, shown
from ..text import from_json
from ..types import Cases
from .columns import Columns
from .interactions import read_interactions
from .splits import Interactions, Split, leave_one_out


def load(
    name_or_path: str | Path,
    *,
    root: str | Path | None = None,
    columns: Columns | None = None,
    min_rating: float | None = None,
) -> Split:
    """Load a data set by name (see `names()`), or a file of interactions, whose columns and ratings are as asked for.

    A file is split by leave-one-out: each user's last item is the test target, the one before the validation target.

    Raises:
        DataError: neither a known name nor a file; a missing or damaged file, wrong columns.
    """
    name = str(name_or_path)
    if name in READERS:
        return _guarded(READERS[name], find(name, root=root))
    interactions = read_interactions(existing(name), columns, min_rating)
    return leave_one_out(interactions.sequences(), interactions.n_items, item_names=interactions.item_names or None)


def existing(name: str) -> Path:
    """Return the path of a file of interactions, or of a folder of Parquet files.

    Raises:
        DataError: there is none.
    """
    path = Path(name)
    if not path.exists():
        raise DataError(
            f"{name!r} is neither a known data set ({', '.join(names())}) nor a file; there is no file {path}. Check "
            "the path, or run from the folder it is relative to"
        )
    return path


def names() -> list[str]:
    """List the data sets that `load` knows by name."""
    return sorted(READERS)


def find(name: str, *, root: str | Path | None = None) -> Path:
    """Find the folder of a named data set, `name` or `recsys/name` in `root` (see above for where that is).

    Raises:
        DataError: it is at neither place.
    """
    base = Path(root or os.environ.get("PERSONAGEN_DATA") or ".")
    places = [base / name, base / "recsys" / name]
    for place in places:
        if place.is_dir():
            return place
    raise DataError(
        f"data set {name!r} is neither at {places[0]} nor at {places[1]}; put its files there, or name the folder that "
        f"holds {name}/ with root (--root) or the environment variable PERSONAGEN_DATA"
    )


def _guarded(reader: Callable[[Path], Split], folder: Path) -> Split:
    """Run a reader and turn what a damaged file raises into a DataError that names the folder."""
    try:
        return reader(folder)
    except (OSError, KeyError, ValueError, IndexError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"the files in {folder} cannot be read: {shown(error, most=200)}. Fetch them again") from error


def _integers(line: str) -> np.ndarray:
    return np.array(line.split(), np.int64)


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def _sequence_file(folder: Path) -> Split:
    """`sequences.txt`: a user, then its items in time order; `items.tsv`: id and text columns."""
    sequences = [_integers(line)[1:] for line in _lines(folder / "sequences.txt")]
    n_items = max(int(sequence.max()) for sequence in sequences)
    rows = [line.split("\t") for line in _lines(folder / "items.tsv")[1:]]
    return leave_one_out(sequences, n_items, item_names=_names(n_items, {int(row[0]): row[2] for row in rows}))


def _names(n_items: int, texts: dict[int, str]) -> tuple[str, ...]:
    return ("", *(texts.get(item, str(item)) for item in range(1, n_items + 1)))


def _movielens_100k(folder: Path) -> Split:
    """RecBole's atomic files: tab-separated, with a header of `name:type`."""
    table = np.array([line.split("\t") for line in _lines(folder / "ml-100k.inter")[1:]])
    users, items, times = (table[:, column].astype(np.int64) for column in (0, 1, 3))
    rows = [line.split("\t") for line in _lines(folder / "ml-100k.item")[1:]]
    interactions = Interactions(users, items, times)
    names = _names(interactions.n_items, {int(row[0]): row[1] for row in rows})
    return leave_one_out(interactions.sequences(), interactions.n_items, item_names=names)


def _movielens_1m_clean(folder: Path) -> Split:
    """DiffRec's temporal split 7:1:2 of ratings from 4 up: `*_list.npy` rows (user, item), both from 0, in time order.

    A validation case is a user's training items against all their validation items; a test case has the same history,
    and the validation items may not be ranked.
    """
    parts = {}
    n_users = n_items = 0
    for part in ("train", "valid", "test"):
        pairs = np.load(folder / f"{part}_list.npy", allow_pickle=False).astype(np.int64)
        n_users = max(n_users, int(pairs[:, 0].max()) + 1)
        n_items = max(n_items, int(pairs[:, 1].max()) + 1)
        parts[part] = pairs
    lists = {part: _by_user(pairs, n_users) for part, pairs in parts.items()}
    rows = {part: [u for u in range(n_users) if len(lists[part][u])] for part in ("valid", "test")}
    train, valid, test = lists["train"], lists["valid"], lists["test"]
    return Split(
        [sequence for sequence in train if len(sequence)],
        Cases([train[u] for u in rows["valid"]], [valid[u] for u in rows["valid"]]),
        Cases([train[u] for u in rows["test"]], [test[u] for u in rows["test"]], [valid[u] for u in rows["test"]]),
        n_items,
    )


def _by_user(pairs: np.ndarray, n_users: int) -> list[np.ndarray]:
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    bounds = np.searchsorted(pairs[:, 0], np.arange(n_users + 1))
    return [pairs[low:high, 1] + 1 for low, high in zip(bounds[:-1], bounds[1:], strict=True)]


def _zhihu(folder: Path) -> Split:
    """DreamRec's rows: `seq` (n, 10) right-padded with 4838, `next`; ids from 0; every prefix is a row, even the empty.

    The training sequences are put together again from the prefixes; validation and test keep every row.
    """
    padding = 4838
    cases = {}
    for part in ("train", "val", "test"):
        with np.load(folder / f"{part}.npz", allow_pickle=False) as file:
            seq = file["seq"].astype(np.int64)
            target = file["next"].astype(np.int64) + 1
        histories = [row[row != padding] + 1 for row in seq]
        cases[part] = Cases(histories, list(target[:, None]))
    starts = [row for row, history in enumerate(cases["train"].histories) if len(history) == 0]
    train = np.split(np.concatenate(cases["train"].targets), starts[1:])
    return Split(train, cases["val"], cases["test"], padding)


def _preferdiff(folder: Path) -> Split:
    """PreferDiff's files: one user a line, the last item is the target; users are split 8:1:1."""
    rows = {
        part: [_integers(line) for line in _lines(folder / f"{part}_data.txt")] for part in ("train", "valid", "test")
    }
    n_items = max(int(row.max()) for part in rows.values() for row in part)
    held = {
        part: Cases([row[:-1] for row in rows[part]], [row[-1:] for row in rows[part]]) for part in ("valid", "test")
    }
    return Split(rows["train"], held["valid"], held["test"], n_items)


def _office(folder: Path) -> Split:
    """Amazon Office: `item.json` with texts, `valid.tsv` and `test.tsv` with user, history, target; ids from 0.

    There is no training file: it serves models that rank by text alone, and `train` is empty.
    """
    items = from_json((folder / "item.json").read_text(encoding="utf-8"))
    n_items = max(map(int, items)) + 1
    held = {}
    for part in ("valid", "test"):
        rows = [line.split("\t") for line in _lines(folder / f"{part}.tsv")]
        held[part] = Cases([_integers(row[1]) + 1 for row in rows], [_integers(row[2]) + 1 for row in rows])
    names = _names(n_items, {int(key) + 1: value["title"] for key, value in items.items()})
    return Split([], held["valid"], held["test"], n_items, names)


READERS: dict[str, Callable[[Path], Split]] = {
    "amazon-beauty": _sequence_file,
    "amazon-sports": _sequence_file,
    "ml-1m": _sequence_file,
    "ml-1m-clean": _movielens_1m_clean,
    "ml-100k": _movielens_100k,
    "zhihu": _zhihu,
    "preferdiff-beauty": _preferdiff,
    "office-products": _office,
}
