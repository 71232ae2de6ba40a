"""Sequences keep time order, splits hold out the right items, and batches train every transition once."""

import numpy as np
import pytest
import torch

from recsys.data.splits import Interactions, Split, batches, leave_one_out, pad, windows
from recsys.errors import ConfigError, DataError
from recsys.types import Cases


def arrays(*lists):
    return [np.array(items, np.int64) for items in lists]


def test_sequences_are_in_time_order_and_stable():
    data = Interactions(
        np.array([2, 1, 2, 1, 4]), np.array([5, 1, 4, 2, 9]), np.array([7, 3, 1, 3, 0]), ("", "a", "b", "c", "d")
    )
    assert [s.tolist() for s in data.sequences()] == [[1, 2], [4, 5], [], [9]]
    assert data.history("b").tolist() == [4, 5] and data.n_items == 9
    with pytest.raises(DataError, match="'zoe' is not among the 3 users"):
        data.history("zoe")


def test_interactions_refuse_nonsense():
    with pytest.raises(DataError, match="one length"):
        Interactions(np.array([1]), np.array([1, 2]), np.array([1]))
    with pytest.raises(DataError, match="no interactions"):
        Interactions(np.zeros(0, int), np.zeros(0, int), np.zeros(0, int))
    with pytest.raises(DataError, match="start at 1"):
        Interactions(np.array([0]), np.array([1]), np.array([1]))


def test_leave_one_out_by_hand():
    split = leave_one_out(arrays([1, 2, 3, 4], [5, 6], [7, 8, 9], []), 9)
    assert [s.tolist() for s in split.train] == [[1, 2], [5, 6], [7]]
    assert [s.tolist() for s in split.valid.histories] == [[1, 2], [7]]
    assert [s.tolist() for s in split.valid.targets] == [[3], [8]]
    assert [s.tolist() for s in split.test.histories] == [[1, 2, 3], [7, 8]]
    assert [s.tolist() for s in split.test.targets] == [[4], [9]]


def test_a_split_checks_ids_and_names():
    with pytest.raises(DataError, match=r"test holds item ids 1..4; allowed are 1 to n_items = 3"):
        leave_one_out(arrays([1, 2, 4]), 3)
    with pytest.raises(DataError, match="2 item names for 3 items"):
        leave_one_out(arrays([1, 2, 3]), 3, item_names=("", "a"))
    assert leave_one_out(arrays([1, 2, 3]), 3, item_names=("", "a", "b", "c")).n_items == 3
    with pytest.raises(DataError, match="one of each"):
        Cases(arrays([1]), [])


def test_fingerprint_tells_data_apart():
    one, same, other = (leave_one_out(arrays(s, [1, 2]), 4) for s in ([1, 2, 3], [1, 2, 3], [1, 2, 4]))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    moved = Split(arrays([1], [2, 1]), one.valid, one.test, 4)
    assert moved.fingerprint() != Split(arrays([1, 2], [1]), one.valid, one.test, 4).fingerprint()


def test_pad_puts_recent_items_last():
    assert pad(arrays([1, 2, 3], [], [4])).tolist() == [[1, 2, 3], [0, 0, 0], [0, 0, 4]]
    assert pad(arrays([1, 2, 3]), length=2).tolist() == [[2, 3]]
    assert pad(arrays([1, 2, 3], []), length=1).tolist() == [[3], [0]]
    assert pad(arrays([])).tolist() == [[0]] and pad(arrays([1])).dtype == torch.int64
    with pytest.raises(ConfigError, match="length is 0"):
        pad(arrays([1]), length=0)


@pytest.mark.parametrize("max_length", [1, 2, 3, 50])
def test_windows_hold_every_transition_once(max_length):
    sequences = arrays(range(1, 8), [3], [], [9, 8], range(20, 31))
    pieces = windows(sequences, max_length)
    assert all(2 <= len(piece) <= max_length + 1 for piece in pieces)
    found = sorted((int(a), int(b)) for piece in pieces for a, b in zip(piece[:-1], piece[1:]))
    assert found == sorted((int(a), int(b)) for s in sequences for a, b in zip(s[:-1], s[1:]))


def test_batches_shift_by_one_and_resume_in_the_middle():
    pieces = arrays([1, 2, 3], [4, 5], [6, 7], [8, 9, 10, 11], [12, 13])
    first = next(batches(pieces, 2))
    assert first.history.tolist() == [[1, 2], [0, 4]] and first.target.tolist() == [[2, 3], [0, 5]]
    whole = list(batches(pieces, 2, generator=torch.Generator().manual_seed(1)))
    rest = list(batches(pieces, 2, generator=torch.Generator().manual_seed(1), start=1))
    assert len(whole) == 3 and len(rest) == 2
    assert all(torch.equal(a.target, b.target) for a, b in zip(whole[1:], rest))
    other = list(batches(pieces, 2, generator=torch.Generator().manual_seed(2)))
    assert any(a.target.shape != b.target.shape or not torch.equal(a.target, b.target) for a, b in zip(whole, other))
