"""Metrics against brute force and ir-measures; masks, chunks and intervals do what they say."""

import itertools
import math

import numpy as np
import pytest
import torch

from recsys.errors import ConfigError, DataError
from recsys.evaluate import (
    difference,
    draw_calibration,
    evaluate,
    intervals,
    intra_list_distance,
    novelty,
    rank_cases,
    score,
    sign_flip_test,
)
from recsys.ranking import top_k
from recsys.types import Cases, Ranking


class Fixed:
    """Scores that depend on the last item alone: row `last` of a table (n+1, n+1)."""

    def __init__(self, n_items, seed=0):
        self.n_items = n_items
        self.table = torch.rand(n_items + 1, n_items + 1, generator=torch.Generator().manual_seed(seed))
        self.batches = []

    def recommend(self, history, k, *, exclude_seen=True, generator=None) -> Ranking:
        self.batches.append(tuple(history.shape))
        return top_k(self.table[history[:, -1]], history, k, exclude_seen=exclude_seen)


def random_cases(n_items, count, *, seed=0, most=4):
    rng = np.random.default_rng(seed)
    histories, targets = [], []
    for _ in range(count):
        row = rng.permutation(n_items) + 1
        cut = int(rng.integers(0, n_items // 2))
        histories.append(row[:cut])
        targets.append(row[cut : cut + int(rng.integers(1, most + 1))])
    return Cases(histories, targets)


def brute_force(ranking, target, k):
    top = [int(item) for item in ranking[:k]]
    ranks = [place for place, item in enumerate(top, start=1) if item in set(target.tolist())]
    ideal = sum(1 / math.log2(1 + place) for place in range(1, min(k, len(target)) + 1))
    return {
        f"recall@{k}": len(ranks) / len(target),
        f"hit@{k}": float(bool(ranks)),
        f"ndcg@{k}": sum(1 / math.log2(1 + place) for place in ranks) / ideal,
        f"mrr@{k}": 1 / ranks[0] if ranks else 0.0,
    }


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_against_brute_force(exclude_seen):
    model, cases = Fixed(30), random_cases(30, 150)
    report = evaluate(model, cases, at=(1, 5, 10), exclude_seen=exclude_seen, batch_size=16, resamples=0)
    for k in (1, 5, 10):
        rows = []
        for history, target in zip(cases.histories, cases.targets):
            scores = model.table[history[-1] if len(history) else 0].clone()
            scores[0] = -1
            if exclude_seen:
                scores[torch.from_numpy(history)] = -1
            rows.append(brute_force(scores.argsort(descending=True), target, k))
        for name in rows[0]:
            np.testing.assert_allclose(report.per_case[name], [row[name] for row in rows], rtol=1e-12)
            assert report.metrics[name] == pytest.approx(np.mean([row[name] for row in rows]))
    assert report.n_cases == 150 and report.exclude_seen is exclude_seen


def test_against_ir_measures():
    ir = pytest.importorskip("ir_measures")
    cases = random_cases(40, 60, seed=3, most=6)
    ranked = rank_cases(Fixed(40), cases, 20)
    names = {"recall": ir.R, "hit": ir.Success, "ndcg": ir.nDCG, "mrr": ir.RR}
    measures = {f"{name}@{k}": measure @ k for name, measure in names.items() for k in (5, 20)}
    qrels = [ir.Qrel(str(c), str(item), 1) for c, target in enumerate(cases.targets) for item in target]
    run = [
        ir.ScoredDoc(str(c), str(item), float(-place))
        for c, row in enumerate(ranked)
        for place, item in enumerate(row)
        if item
    ]
    found = ir.calc_aggregate(list(measures.values()), qrels, run)
    ours = score(ranked, cases.targets, at=(5, 20))
    for name, measure in measures.items():
        assert ours[name].mean() == pytest.approx(found[measure], abs=1e-9), name


def test_result_does_not_depend_on_the_chunks():
    model, cases = Fixed(30), random_cases(30, 37)
    one, many = (evaluate(model, cases, at=(5,), batch_size=size, resamples=0) for size in (37, 5))
    assert all(np.array_equal(one.per_case[name], many.per_case[name]) for name in one.per_case)
    assert one.metrics == many.metrics and len(model.batches) == 1 + 8


def test_further_seen_items_are_masked_and_replaced():
    model = Fixed(12)
    cases = Cases([np.array([3])], [np.array([5])], [np.arange(6, 12)])
    masked = rank_cases(model, cases, 6)
    assert sorted(masked[0].tolist()) == [0, 1, 2, 4, 5, 12]
    assert not set(range(6, 12)) <= set(rank_cases(model, cases, 6, exclude_seen=False)[0].tolist())
    assert len(set(rank_cases(model, cases, 12, exclude_seen=False)[0].tolist())) == 12


def test_seen_targets_and_coverage():
    cases = Cases([np.array([1]), np.array([2])], [np.array([1]), np.array([5])])
    report = evaluate(Fixed(10), cases, at=(1, 10), exclude_seen=False, resamples=0)
    assert report.seen_targets == 0.5 and report.metrics["hit@10"] == 1.0
    assert report.metrics["coverage@10"] == 1.0 and report.metrics["coverage@1"] <= 0.2
    assert evaluate(Fixed(10), cases, at=(10,), resamples=0).metrics["hit@10"] == 0.5


def test_max_length_cuts_what_the_model_sees():
    model = Fixed(9)
    evaluate(model, Cases([np.arange(1, 7)], [np.array([8])]), at=(3,), max_length=2, resamples=0)
    assert model.batches == [(1, 2)]


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        low, high = intervals({"x": rng.random(80) < 0.3}, resamples=200, seed=trial)["x"]
        covered += low <= 0.3 <= high
    assert 178 <= covered <= 199  # 95 % of 200, and what 200 trials allow


def test_a_paired_difference_is_narrower_than_two_intervals():
    rng = np.random.default_rng(1)
    user = rng.random(400)
    first, second = user + 0.02 * rng.random(400), user
    mean, low, high = difference(first, second)
    assert low < mean < high and low > 0 and high - low < 0.01
    with pytest.raises(DataError, match="same cases"):
        difference(first, second[:9])


def test_the_sign_flip_test_is_exact_where_all_flips_can_be_listed():
    first, second = np.array([3.0, 1.0, 2.0, 5.0]), np.array([1.0, 1.0, 1.0, 1.0])
    gaps = np.array([2.0, 1.0, 4.0])
    flips = [abs(np.dot(signs, gaps)) >= 7 for signs in itertools.product((-1, 1), repeat=3)]
    assert sign_flip_test(first, second) == pytest.approx(np.mean(flips), abs=0.02)
    assert sign_flip_test(first, first) == 1.0


def test_the_sign_flip_test_is_right_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = [sign_flip_test(rng.random(60), rng.random(60), resamples=400, seed=i) < 0.1 for i in range(200)]
    assert 8 <= sum(found) <= 33  # 10 % of 200, and what 200 trials allow


def test_novelty_is_the_mean_surprise_in_bits():
    counts = np.array([0, 3, 0, 3, 6])  # one more each: shares 4, 1, 4, 7 of 16
    assert novelty(np.array([[1, 3], [2, 0]]), counts) == pytest.approx((2 + 2 + 4) / 3)


def test_distance_within_lists_is_that_of_all_pairs():
    features = np.array([[0, 0], [1, 0], [0, 2], [3, 3], [0, 0]], float)
    ranked = np.array([[1, 2, 3], [1, 4, 0], [2, 0, 0]])
    pairs = [1.0, 1 - 0.5**0.5, 1 - 0.5**0.5, 1.0]
    assert intra_list_distance(ranked, features) == pytest.approx(np.mean(pairs))
    assert intra_list_distance(np.array([[1, 1]]), features) == pytest.approx(0.0)


def test_refuses_what_cannot_be_measured():
    cases = random_cases(5, 3)
    with pytest.raises(ConfigError, match=r"cut-offs are \(6,\); allowed are 1 to n_items = 5"):
        evaluate(Fixed(5), cases, at=(6,))
    with pytest.raises(DataError, match="no cases"):
        evaluate(Fixed(5), Cases([], []), at=(1,))
    with pytest.raises(DataError, match="no target"):
        evaluate(Fixed(5), Cases([np.array([1])], [np.zeros(0, np.int64)]), at=(1,))


class Drawing:
    """Items 1..n at the corners of a simplex; what is drawn follows `p` (n,), sharpened by a power."""

    def __init__(self, p, power=1.0):
        self.p = torch.tensor(p).pow(power)

    def item_embeddings(self):
        return torch.cat([torch.zeros(1, len(self.p)), torch.eye(len(self.p))])

    def generate(self, history, *, draws=1, generator=None):
        item = torch.multinomial(self.p, len(history) * draws, replacement=True, generator=generator)
        return torch.eye(len(self.p))[item].view(len(history), draws, -1) * 0.9


@pytest.mark.parametrize(("power", "right", "same"), [(1.0, 0.38, 0.38), (2.0, 0.4211, 0.5)])
def test_draws_are_calibrated_when_they_hit_as_often_as_they_agree(power, right, same):
    p = np.array([0.5, 0.3, 0.2])
    targets = np.random.default_rng(0).choice(3, 4000, p=p) + 1
    cases = Cases([np.array([1])] * 4000, list(targets[:, None]))
    found = draw_calibration(Drawing(p, power), cases, generator=torch.Generator().manual_seed(0))
    assert found["draw_is_target"] == pytest.approx(right, abs=0.02)
    assert found["draws_agree"] == pytest.approx(same, abs=0.02)
    with pytest.raises(ConfigError, match="draws = 1"):
        draw_calibration(Drawing(p), cases, draws=1)
