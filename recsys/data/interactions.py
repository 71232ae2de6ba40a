"""Read a whole file of interactions into memory, compactly: ids as numbers of four bytes, sorted by user and time."""

from pathlib import Path
from typing import Any

import numpy as np

from .columns import Columns
from .splits import Interactions
from .tables import Table, open_table
from .vocabulary import Vocabulary

REPEATED = "rows that are there already, with the same user, item and time"


def read_interactions(
    path: str | Path, columns: Columns | None = None, min_rating: float | None = None
) -> Interactions:
    """Read a file of interactions of any known format; the arguments are those of `open_table`.

    Ids are taken as text and numbered from 1 in sorted order (numbers by value), so the row order matters only among
    rows of one user and time. A row that is there again, with the same user, item and time, counts once.

    Raises:
        DataError: no such file, a damaged or unknown one, a missing column, or no row is left.
    """
    return collect(open_table(path, columns, min_rating))


def collect(table: Table) -> Interactions:
    """Read all rows of an open table; afterwards its `dropped` counts repeated rows as well.

    Raises:
        DataError: as `Table.batches` does.
    """
    users, items, times = [], [], []
    for batch in table.batches():
        users.append(batch.column("user").dictionary_encode())
        items.append(batch.column("item").dictionary_encode())
        times.append(batch.column("time").to_numpy())
    user_codes, user_names = _numbered(users)
    item_codes, item_names = _numbered(items)
    moments = np.concatenate(times)
    times.clear()
    order = _order_of(user_codes, moments)
    user_codes, item_codes, moments = user_codes[order], item_codes[order], moments[order]
    again = repeated(user_codes, item_codes, moments)
    if len(again):
        table.kept -= len(again)
        table.drop(REPEATED, len(again))
        user_codes, item_codes, moments = (np.delete(array, again) for array in (user_codes, item_codes, moments))
    return Interactions(user_codes, item_codes, moments, user_names, item_names)


def joined(before: Interactions, new: Interactions) -> tuple[Interactions, np.ndarray]:
    """Join earlier and new interactions by the names of users and items; return them and which are new, (N,) bool.

    New rows that are among the earlier ones, with the same user, item and time, are left out.
    """
    columns = []
    for names, others, one, other in (
        (before.user_names, new.user_names, before.users, new.users),
        (before.item_names, new.item_names, before.items, new.items),
    ):
        every = Vocabulary(names).extended(others)
        columns.append((np.concatenate([one, every.numbers(others)[other]]), every.names))
    (users, user_names), (items, item_names) = columns
    times = np.concatenate([before.timestamps, new.timestamps])
    order = _order_of(users, times)
    order = np.delete(order, repeated(users[order], items[order], times[order]))
    fresh = order >= len(before.users)
    return Interactions(users[order], items[order], times[order], user_names, item_names), fresh


def _numbered(chunks: list[Any]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Number ids from 1 in sorted order; return the numbers (N,) int32 and the names with "" first.

    The list is emptied, to save memory.
    """
    import pyarrow as pa

    whole = pa.chunked_array(chunks).unify_dictionaries()
    chunks.clear()
    names = whole.chunk(whole.num_chunks - 1).dictionary.to_pylist()
    order = _order(names)
    number = np.empty(len(names), np.int32)
    number[order] = np.arange(1, len(names) + 1, dtype=np.int32)
    codes = np.concatenate([number[chunk.indices.to_numpy()] for chunk in whole.chunks])
    return codes, ("", *(names[at] for at in order))


def _order(names: list[str]) -> np.ndarray:
    """Return in which order names are numbered: by value where all are whole numbers, else by their letters."""
    if not all(name.isascii() and name.isdecimal() for name in names):
        return np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)
    values = [name.lstrip("0") for name in names]
    return np.array(sorted(range(len(names)), key=lambda at: (len(values[at]), values[at], names[at])), np.int64)


def _order_of(users: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return rows (N,) int64 by user and time; those of one user and time keep their order.

    Twice, number and row are packed into one whole number, since numpy sorts numbers eight times as fast as it finds
    out their order.
    """
    row = int(len(users) - 1).bit_length()
    if int(times.max()) - int(times.min()) >= 1 << 63:
        return np.lexsort((times, users))
    times = times - times.min()
    step = int(np.gcd.reduce(times)) or 1
    if int(users.max()).bit_length() + row > 63 or int(times.max() // step).bit_length() + row > 63:
        return np.lexsort((times, users))
    order = _by(times // step, row) if (times[1:] < times[:-1]).any() else np.arange(len(users))
    return order[_by(users[order], row)]


def _by(numbers: np.ndarray, row: int) -> np.ndarray:
    """Return rows by their numbers, in stable order; numbers and rows of `row` bits fit into 63 bits."""
    keys = numbers.astype(np.int64) << row
    keys |= np.arange(len(keys))
    keys.sort()
    keys &= (1 << row) - 1
    return keys


def repeated(users: np.ndarray, items: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Find the rows (N,) int64 that are there before with the same user, item and time; rows are sorted."""
    same = (users[1:] == users[:-1]) & (times[1:] == times[:-1])
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    group = np.cumsum(np.append(True, ~same))[tied]
    order = np.lexsort((items[tied], group))
    again = (np.diff(group[order]) == 0) & (np.diff(items[tied][order]) == 0)
    return np.sort(tied[order[1:][again]])
