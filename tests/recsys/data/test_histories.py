"""Interactions are grouped by user out of memory: the same histories however few rows are held at once."""

import numpy as np
import pyarrow as pa
import pytest

from recsys.data.histories import Everyone, Listed, group, hashed, load_shard, reopen
from recsys.data.vocabulary import Vocabulary
from recsys.errors import DataError

ITEMS = Vocabulary(("", *(f"i{item}" for item in range(1, 31))))


def interactions(seed: int = 0, *, rows: int = 4000, users: int = 150) -> pa.RecordBatch:
    rng = np.random.default_rng(seed)
    return pa.record_batch(
        {
            "user": [f"user {number}" for number in rng.integers(users, size=rows)],
            "item": [f"i{item}" for item in rng.integers(1, 34, size=rows)],  # the last three are unknown
            "time": rng.integers(50, size=rows),
        }
    )


def cut(batch: pa.RecordBatch, size: int) -> list[pa.RecordBatch]:
    return [batch.slice(low, size) for low in range(0, batch.num_rows, size)]


def expected(batch: pa.RecordBatch) -> dict[str, list[int]]:
    """What plain Python finds: known items of every user by time, then by row; repeated rows count once."""
    found: dict[str, list[tuple[int, int, int]]] = {}
    seen = set()
    for row, line in enumerate(batch.to_pylist()):
        if tuple(line.values()) not in seen:
            found.setdefault(line["user"], []).append((line["time"], row, int(line["item"][1:])))
            seen.add(tuple(line.values()))
    return {user: [item for *_, item in sorted(lines) if item <= 30] for user, lines in found.items()}


def by_hand(text: str) -> int:
    x, power = 0, 0x100000001B3
    for byte in text.encode():
        x, power = (x + (byte + 1) * power) % 2**64, power * 0x100000001B3 % 2**64
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> shift)) * factor % 2**64
    return x ^ (x >> 31)


def read(grouped, users) -> dict[str, list[int]]:
    found = {}
    for number, shard in enumerate(grouped.shards):
        histories = load_shard(grouped, number, users=users)
        assert len(histories) == shard.users
        for row, user in enumerate(histories.users.to_pylist()):
            assert user not in found
            found[user] = histories.items[histories.bounds[row] : histories.bounds[row + 1]].tolist()
    return found


@pytest.mark.parametrize(("size", "rows"), [(4000, 10**6), (7, 1000), (333, 90), (4000, 50)])
def test_histories_are_those_of_plain_python_in_one_order(size, rows, tmp_path):
    batch = interactions()
    grouped = group(cut(batch, size), tmp_path / "h", items=ITEMS, users=Everyone(), rows=rows)
    found = read(grouped, Everyone())
    assert found == expected(batch) and grouped.users == len(found)
    names = pa.array(list(found))
    assert (np.diff(hashed(names).astype(float)) >= 0).all()  # the order is that of the hash, however rows are held
    if rows < 100:
        assert len(grouped.shards) > 40 and all(shard.rows <= max(rows, 60) for shard in grouped.shards)


def test_a_user_with_more_rows_than_are_held_at_once_has_a_whole_history(tmp_path):
    batch = pa.record_batch({"user": ["bot"] * 500 + ["a"], "item": ["i1"] * 499 + ["i2", "i3"], "time": range(501)})
    grouped = group(cut(batch, 50), tmp_path / "h", items=ITEMS, users=Everyone(), rows=100)
    found = read(grouped, Everyone())
    assert found == {"bot": [1] * 499 + [2], "a": [3]}


@pytest.mark.parametrize("rows", [10**6, 50])
def test_a_list_of_users_keeps_its_order_and_says_who_is_absent(rows, tmp_path):
    batch, wanted = interactions(), [f"user {number}" for number in (149, 3, 70, 3, 11)]
    users = Listed([*wanted, "nobody", "none"])
    grouped = group(cut(batch, 100), tmp_path / "h", items=ITEMS, users=users, rows=rows)
    found = read(grouped, users)
    assert list(found) == list(dict.fromkeys(wanted))
    assert found == {user: expected(batch)[user] for user in wanted}
    assert grouped.found.absent == 2 and grouped.found.absent_first == ("nobody", "none")
    assert grouped.found.rows == 4000  # of everyone


def test_what_was_found_is_counted_and_survives_reopening(tmp_path):
    batch = interactions()
    grouped = group(cut(batch, 100), tmp_path / "h", items=ITEMS, users=Everyone(), rows=500)
    assert reopen(tmp_path / "h") is None
    grouped.save()
    assert reopen(tmp_path / "h") == grouped
    unknown = [name for name in batch["item"].to_pylist() if int(name[1:]) > 30]
    found = grouped.found
    assert (found.items, found.unknown_items, found.unknown_rows) == (33, 3, len(unknown))
    assert found.unknown_first == "i31" and found.rows == 4000


def test_grouping_again_removes_what_was_there(tmp_path):
    for seed in (0, 1):
        batch = interactions(seed, rows=800)
        grouped = group(cut(batch, 100), tmp_path / "h", items=ITEMS, users=Everyone(), rows=300)
    assert read(grouped, Everyone()) == expected(batch)


def test_no_rows_are_refused(tmp_path):
    with pytest.raises(DataError, match="no interactions"):
        group([], tmp_path / "h", items=ITEMS, users=Everyone())


def test_padding_puts_the_latest_item_last(tmp_path):
    batch = pa.record_batch(
        {"user": ["a", "b", "b", "b", "c"], "item": ["i9", "i2", "i1", "i3", "zebra"], "time": [1, 2, 1, 3, 1]}
    )
    grouped = group([batch], tmp_path / "h", items=ITEMS, users=Listed(["a", "b", "c"]))
    histories = load_shard(grouped, 0, users=Listed(["a", "b", "c"]))
    assert histories.padded(np.arange(3)).tolist() == [[0, 0, 9], [1, 2, 3], [0, 0, 0]]
    assert histories.padded(np.array([2])).tolist() == [[0]] and histories.padded(np.array([0])).tolist() == [[9]]


def test_the_hash_is_fixed_and_spreads():
    """Folders outlive a version: an unfinished run goes on in the order that it began in."""
    texts = ["", "a", "anna", "Zoë", "user 1", "user 2"]
    assert hashed(pa.array(texts)).tolist() == [by_hand(text) for text in texts]
    assert hashed(pa.array(texts)[2:4]).tolist() == [by_hand(text) for text in texts[2:4]]
    assert by_hand("anna") == 17019100593038174626
    many = hashed(pa.array([f"user{number}" for number in range(20_000)]))
    assert len(np.unique(many)) == 20_000
    counts = np.bincount((many >> np.uint64(58)).astype(int), minlength=64)
    assert counts.min() > 200 and counts.max() < 430
