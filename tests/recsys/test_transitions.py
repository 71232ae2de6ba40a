"""Transition counts: against counting by hand, sparse and dense alike, and with a sequence's own part taken out."""

import numpy as np
import pytest
import torch

from recsys.data import pad
from recsys.errors import ModelError
from recsys.models.countdiff import CountDiff, CountDiffConfig
from recsys.models.counting import flatten
from recsys.transitions import Transitions, count_transitions
from recsys.types import Batch

N = 12


def _sequences(count=9, seed=0):
    random = np.random.default_rng(seed)
    return [random.permutation(N)[: random.integers(3, 8)] + 1 for _ in range(count)]


def _by_hand(sequences, decay, window) -> torch.Tensor:
    counts = torch.zeros(N + 1, N + 1, dtype=torch.float64)
    for sequence in sequences:
        for a in range(len(sequence)):
            for b in range(a + 1, min(a + window, len(sequence) - 1) + 1):
                counts[sequence[a], sequence[b]] += decay ** (b - a - 1)
    return counts


def _counted(sequences, decay=0.7, window=3) -> Transitions:
    return count_transitions(*flatten(sequences, N), N, decay=decay, window=window)


def test_counts_and_degrees_are_those_counted_by_hand():
    counted, truth = _counted(_sequences()), _by_hand(_sequences(), 0.7, 3)
    dense = counted.with_dense().dense
    assert dense is not None
    torch.testing.assert_close(dense, truth.float())
    torch.testing.assert_close(counted.degrees(), truth.sum(1))


def test_rows_are_spread_alike_from_sparse_and_dense_counts():
    counted, generator = _counted(_sequences()), torch.Generator().manual_seed(0)
    items = torch.randint(0, N + 1, (5, 4), generator=generator)
    factors = torch.rand(5, 4, generator=generator) * (items > 0)
    factors[2] = 0
    expected = torch.einsum("rw,rwn->rn", factors, _by_hand(_sequences(), 0.7, 3).float()[items])
    for table in (counted, counted.with_dense()):
        torch.testing.assert_close(table.spread(items, factors, out=torch.zeros(5, N + 1)), expected)


def _model(sequences) -> CountDiff:
    model = CountDiff(CountDiffConfig(N, d=8, max_len=10, layers=1, window=3))
    model.prepare(sequences)
    return model


def test_a_sequence_does_not_find_its_own_transitions():
    """Leaving one out equals counting all others, at every position."""
    sequences = _sequences()
    model = _model(sequences)
    batch = Batch(pad([s[:-1] for s in sequences]), pad([s[1:] for s in sequences]))
    known = batch.target > 0
    found = model._others_counts(batch, known)
    rows, places = known.nonzero(as_tuple=True)
    for row, place, counts in zip(rows.tolist(), places.tolist(), found, strict=True):
        others = _model(sequences[:row] + sequences[row + 1 :])
        torch.testing.assert_close(counts, others._counts_of(batch.history[row : row + 1, : place + 1])[0])


def test_counts_are_needed_and_are_saved_with_the_weights():
    with pytest.raises(ModelError, match="prepare"):
        CountDiff(CountDiffConfig(N)).recommend(torch.ones(1, 2, dtype=torch.int64), 3)
    model, empty = _model(_sequences()), CountDiff(CountDiffConfig(N, d=8, max_len=10, layers=1, window=3))
    empty.load_state_dict(model.state_dict())
    history = torch.tensor([[3, 5]])
    assert torch.equal(empty.recommend(history, 4).items, model.recommend(history, 4).items)
