"""Transition counts: against counting by hand, sparse and dense alike, and with a sequence's own part taken out."""

import numpy as np
import pytest
import torch

from recsys.counts.evidence import Discount, spread_back, word_counts
from recsys.counts.stacking import Counted, opinions_of_all, pseudospherical_loss
from recsys.counts.transitions import Transitions, TransitionTable, count_together, count_transitions, thinned
from recsys.data.splits import pad
from recsys.errors import ModelError
from recsys.models.countdiff import CountDiff, CountDiffConfig
from recsys.models.counting import flatten
from recsys.types import Cases

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


def test_what_was_taken_together_counts_in_either_order_and_the_largest_are_kept():
    counted = count_together(*flatten(_sequences(), N), N, window=2)
    truth = _by_hand(_sequences(), 1.0, 2)
    truth = truth + truth.T
    dense = counted.with_dense().dense
    assert dense is not None
    torch.testing.assert_close(dense, truth.float())
    few = thinned(counted, keep=3)
    assert int(few.starts.diff().max()) == 3
    torch.testing.assert_close(few.degrees(), truth.float().topk(3, dim=1).values.sum(1))


def test_recent_items_are_discounted_by_age_and_by_the_sum_of_their_row():
    table, truth = TransitionTable(N), _by_hand(_sequences(), 0.7, 3)
    table.set(_counted(_sequences()))
    history = torch.tensor([[0, 3, 5, 2], [0, 0, 0, 0]])
    rows = truth[[2, 5, 3]] / truth.sum(1)[[2, 5, 3], None].clamp(min=1) ** 0.5
    found = spread_back(table, history, discount=DISCOUNT)
    torch.testing.assert_close(found[0], (rows[0] + 0.7 * rows[1] + 0.49 * rows[2]).float())
    assert not found[1].any()
    plain = spread_back(table, history, discount=Discount(decay=0.7, window=2), scale=2.0)
    torch.testing.assert_close(plain[0], (2 * (truth[2] + 0.7 * truth[5])).float())


def test_counts_are_needed_and_are_saved_with_the_weights():
    with pytest.raises(ModelError, match="prepare"):
        CountDiff(CountDiffConfig(N)).recommend(torch.ones(1, 2, dtype=torch.int64), 3)
    model, empty = _model(_sequences()), CountDiff(CountDiffConfig(N, d=8, max_len=10, layers=1, window=3))
    empty.load_state_dict(model.state_dict())
    history = torch.tensor([[3, 5]])
    assert torch.equal(empty.recommend(history, 4).items, model.recommend(history, 4).items)


def test_words_of_recent_items_are_counted_by_age():
    features = torch.rand(N + 1, 4)
    found = word_counts(features, torch.tensor([[3, 5, 2]]), discount=Discount(decay=0.5, window=2))
    torch.testing.assert_close(found[0], features[2] + features[5] / 2)


@pytest.mark.parametrize("share", [0.02, 0.9])
def test_what_was_counted_adds_to_logits_with_the_right_gradients_whether_sparse_or_dense(share):
    generator = torch.Generator().manual_seed(0)
    seen = torch.rand(6, 200, generator=generator) * (torch.rand(6, 200, generator=generator) < share)
    leaves = [
        x.requires_grad_() for x in (torch.randn(6, 200, generator=generator), torch.tensor(0.7), torch.tensor(20.0))
    ]
    plain = leaves[0] + leaves[1] * torch.log1p(seen * leaves[2])
    found = Counted.of(seen).add_to(leaves[0] * 1, weight=leaves[1], kappa=leaves[2])
    torch.testing.assert_close(found, plain)
    weights = torch.randn(6, 200, generator=generator)
    wanted = torch.autograd.grad((plain * weights).sum(), leaves)
    for one, other in zip(torch.autograd.grad((found * weights).sum(), leaves), wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_ranking_adds_in_place_what_was_fitted():
    model, history = _model(_sequences()), torch.tensor([[0, 3, 5], [1, 2, 7]])
    model.weights.copy_(torch.tensor([1.0, 1.0, 0.7, 0.3, 0.2, 0.4]))
    numbers = (model.weights, model.log_kappa, model.word_weights)
    own, bias, target = torch.zeros(2, N + 1), torch.zeros(N + 1), torch.tensor([1, 1])
    said = opinions_of_all(own, bias, model.experts, history, target, None, None, None)
    wanted = said.logits(numbers)
    found = torch.zeros(2, N + 1)
    model._add_evidence(found, history)
    torch.testing.assert_close(found[:, 1:], wanted[:, 1:])
    assert float(found.abs().max()) > 0.1


@pytest.mark.parametrize("order", [1.0, 1.5, 2.0, 4.0])
def test_the_pseudospherical_score_is_proper_and_is_the_spherical_one_at_order_two(order):
    """Its expectation is least where the probabilities are the true ones."""
    truth = torch.tensor([0.5, 0.3, 0.15, 0.05])

    def expected(logits):
        losses = [pseudospherical_loss(logits.unsqueeze(0), torch.tensor([i]), order=order) for i in range(4)]
        return torch.stack(losses) @ truth

    start = truth.log().requires_grad_()
    (gradient,) = torch.autograd.grad(expected(start), start)
    assert gradient.abs().max() < 1e-6
    assert expected(truth.log()) < expected(1.3 * truth.log()) and expected(truth.log()) < expected(0.7 * truth.log())
    spherical = truth / truth.norm()
    if order == 2.0:
        torch.testing.assert_close(expected(truth.log()), 2 * (1 - (spherical * truth).sum()))


def test_stacking_finds_whom_to_trust():
    """Of a network that is wrong and counts that are right, the counts get the weight."""
    sequences = [np.roll(np.arange(1, N + 1), -start)[:6] for start in range(N)] * 3
    model = CountDiff(CountDiffConfig(N, d=8, max_len=10, layers=1, window=3))
    model.prepare(sequences)
    cases = Cases([row[:-1] for row in sequences], [row[-1:] for row in sequences])
    model.tune(cases)
    assert model.weights[2] > 3 * model.weights[0].abs()
    top = model.recommend(pad(cases.histories), 1).items[:, 0]
    assert torch.equal(top, torch.tensor([int(row[-1]) for row in sequences]))
    before = model.state_dict()["weights"].clone()
    model.tune(cases)
    assert torch.equal(model.weights, before)


def test_a_new_item_is_ranked_by_its_text_though_nothing_followed_it():
    features, sequences = torch.randn(N + 1, 4), _sequences()
    model = CountDiff(CountDiffConfig(N, d=8, layers=1, items="both", n_features=4), features=features)
    model.prepare(sequences)
    model.weights.fill_(1.0)
    model.arrival[0] = 1.0
    history = torch.tensor([[3, 5]])
    before = model.recommend(history, 10, exclude_seen=False)
    grown = model.with_items(features[7:8])
    assert grown.n_items == N + 1 and torch.equal(grown.item_embeddings()[:-1], model.item_embeddings())
    found = grown.recommend(history, N + 1, exclude_seen=False)
    assert [i for i in found.items[0].tolist() if i != N + 1][:10] == before.items[0].tolist()
    likes = Transitions(torch.tensor([0] * 6 + [1] * (N - 3)), torch.tensor([N + 1]), torch.tensor([1.0]))  # 5 -> new
    ranked = model.with_items(features[7:8], neighbours=likes).recommend(history, N + 1, exclude_seen=False)
    assert ranked.scores[ranked.items == N + 1] > found.scores[found.items == N + 1] + 0.5


def test_what_is_generated_was_not_seen_before():
    model = _model(_sequences())
    history = torch.tensor([[3, 5, 7], [0, 0, 2]])
    generator = torch.Generator().manual_seed(0)
    drawn = (model.generate(history, draws=50, generator=generator) @ model.item_embeddings().T)[..., 1:].argmax(-1) + 1
    for seen, items in zip(history.tolist(), drawn.tolist(), strict=True):
        assert not set(seen) & set(items)
    everything = torch.arange(1, N + 1).unsqueeze(0)
    assert model.generate(everything, generator=generator).isfinite().all()


def test_two_hundred_companions_of_an_item_are_remembered_and_they_are_the_most_frequent():
    often = [np.array([1, item]) for item in range(2, 202)]
    once = [np.array([1, item]) for item in range(202, 252)]
    model = CountDiff(CountDiffConfig(260, d=8, max_len=10, layers=1, window=3))
    model.prepare(often * 2 + once)
    starts, follows = model.together.starts, model.together.follows
    assert follows[starts[1] : starts[2]].tolist() == list(range(2, 202))
    assert follows[starts[251] : starts[252]].tolist() == [1]


@pytest.mark.parametrize("keep", [1, 3, 50])
def test_the_largest_entries_are_those_of_the_full_matrix(keep):
    generator = torch.Generator().manual_seed(0)
    items, owners = torch.randint(1, 40, (3000,), generator=generator), torch.arange(3000) // 8
    counted = count_together(items, owners, 40, window=5)
    full = torch.zeros(41, 41)
    full[torch.repeat_interleave(torch.arange(41), counted.starts.diff()), counted.follows] = counted.weights.float()
    best, place = full.sort(dim=1, descending=True, stable=True)
    want = torch.zeros(41, 41).scatter_(1, place[:, :keep], best[:, :keep])
    few = thinned(counted, keep=keep)
    found = torch.zeros(41, 41)
    found[torch.repeat_interleave(torch.arange(41), few.starts.diff()), few.follows] = few.weights
    assert torch.equal(found, want)
    assert all(bool((few.follows[a:b].diff() > 0).all()) for a, b in zip(few.starts[:-1], few.starts[1:]))


def test_thinning_a_large_catalogue_takes_no_room_for_its_cells():
    """A million items: their cells would be 4 terabytes."""
    counted = count_together(torch.tensor([1, 999_999, 5, 5]), torch.zeros(4, dtype=torch.int64), 10**6, window=3)
    few = thinned(counted, keep=1)
    assert few.starts[5 + 1] - few.starts[5] == 1 and len(few.starts) == 10**6 + 2
