"""Transition counts: against counting by hand, sparse and dense alike, and with a sequence's own part taken out."""

import numpy as np
import pytest
import torch

from recsys.data import pad
from recsys.errors import ModelError
from recsys.evidence import Discount, add_evidence, followers, likeness, others_followers, prefixes, word_counts
from recsys.models.countdiff import CountDiff, CountDiffConfig
from recsys.models.counting import flatten
from recsys.transitions import Transitions, TransitionTable, count_transitions
from recsys.types import Batch

N = 12
DISCOUNT = Discount(decay=0.7, window=3, power=0.5)


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
    found = others_followers(model.counts, batch, known, discount=DISCOUNT)
    rows, places = known.nonzero(as_tuple=True)
    for row, place, counts in zip(rows.tolist(), places.tolist(), found, strict=True):
        others = _model(sequences[:row] + sequences[row + 1 :])
        history = batch.history[row : row + 1, : place + 1]
        torch.testing.assert_close(counts, followers(others.counts, history, discount=DISCOUNT)[0])


def test_counts_are_needed_and_are_saved_with_the_weights():
    with pytest.raises(ModelError, match="prepare"):
        CountDiff(CountDiffConfig(N)).recommend(torch.ones(1, 2, dtype=torch.int64), 3)
    model, empty = _model(_sequences()), CountDiff(CountDiffConfig(N, d=8, max_len=10, layers=1, window=3))
    empty.load_state_dict(model.state_dict())
    history = torch.tensor([[3, 5]])
    assert torch.equal(empty.recommend(history, 4).items, model.recommend(history, 4).items)


def test_likeness_to_recent_items_counts_them_by_age():
    generator = torch.Generator().manual_seed(0)
    alike = torch.rand(N + 1, N + 1, generator=generator) * (torch.rand(N + 1, N + 1, generator=generator) < 0.4)
    alike[0] = 0
    table = TransitionTable(N)
    table.set(Transitions(torch.cat([torch.zeros(1), (alike > 0).sum(1).cumsum(0)]).long(),
                          alike.nonzero()[:, 1], alike[alike > 0]))  # fmt: skip
    batch = Batch(torch.tensor([[0, 3, 5, 2]]), torch.tensor([[3, 5, 2, 7]]))
    items, ages = prefixes(batch, batch.target > 0)
    assert items.tolist() == [[0, 0, 0, 0], [0, 3, 0, 0], [0, 3, 5, 0], [0, 3, 5, 2]]
    found = likeness(table, items, ages, discount=Discount(decay=0.5, window=2))
    expected = torch.stack([alike[0], alike[3], alike[5] + alike[3] / 2, alike[2] + alike[5] / 2])
    torch.testing.assert_close(found, expected)
    features = torch.rand(N + 1, 4, generator=generator)
    found = word_counts(features, items, ages, discount=Discount(decay=0.5, window=2))
    expected = torch.stack([0 * features[0], features[3], features[5] + features[3] / 2, features[2] + features[5] / 2])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("share", [0.02, 0.9])
def test_evidence_adds_to_logits_with_the_right_gradients_whether_sparse_or_dense(share):
    generator = torch.Generator().manual_seed(0)
    seen = torch.rand(6, 200, generator=generator) * (torch.rand(6, 200, generator=generator) < share)
    trust, kappa = torch.rand(6, generator=generator), torch.tensor(20.0)
    leaves = [x.requires_grad_() for x in (torch.randn(6, 200, generator=generator), trust, kappa)]
    plain = leaves[0] + leaves[1].unsqueeze(1) * torch.log1p(seen * leaves[2])
    found = add_evidence(leaves[0] * 1, seen, trust=leaves[1], kappa=leaves[2])
    torch.testing.assert_close(found, plain)
    weights = torch.randn(6, 200, generator=generator)
    wanted = torch.autograd.grad((plain * weights).sum(), leaves)
    for one, other in zip(torch.autograd.grad((found * weights).sum(), leaves), wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_a_new_item_is_ranked_by_its_text_though_nothing_followed_it():
    features, sequences = torch.randn(N + 1, 4), _sequences()
    model = CountDiff(CountDiffConfig(N, d=8, layers=1, items="both", n_features=4), features=features)
    model.prepare(sequences)
    history = torch.tensor([[3, 5]])
    before = model.recommend(history, 10, exclude_seen=False)
    grown = model.with_items(features[7:8])
    assert grown.n_items == N + 1 and torch.equal(grown.item_embeddings()[:-1], model.item_embeddings())
    found = grown.recommend(history, N + 1, exclude_seen=False)
    assert [i for i in found.items[0].tolist() if i != N + 1][:10] == before.items[0].tolist()
    likes = Transitions(torch.tensor([0] * 6 + [1] * (N - 3)), torch.tensor([N + 1]), torch.tensor([1.0]))  # 5 -> new
    ranked = model.with_items(features[7:8], neighbours=likes).recommend(history, N + 1, exclude_seen=False)
    place = (found.items[0] == N + 1).nonzero(), (ranked.items[0] == N + 1).nonzero()
    assert place[1] < place[0] or place[1] == 0


def test_what_is_generated_was_not_seen_before():
    model = _model(_sequences())
    history = torch.tensor([[3, 5, 7], [0, 0, 2]])
    generator = torch.Generator().manual_seed(0)
    drawn = (model.generate(history, draws=50, generator=generator) @ model.item_embeddings().T)[..., 1:].argmax(-1) + 1
    for seen, items in zip(history.tolist(), drawn.tolist(), strict=True):
        assert not set(seen) & set(items)
    everything = torch.arange(1, N + 1).unsqueeze(0)
    assert model.generate(everything, generator=generator).isfinite().all()
