"""Few items a case: what they stand for, and that a fit among them is the fit among all."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from recsys.counts import candidates
from recsys.counts.candidates import TARGET, few
from recsys.counts.evidence import Discount, evidence_at, spread_back
from recsys.models import countdiff
from recsys.models.countdiff import CountDiff, CountDiffConfig
from recsys.types import Cases

N, L = 300, 8


def _sequences(count=250, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.integers(N) + rng.integers(1, 9, rng.integers(3, 9)).cumsum()) % N + 1 for _ in range(count)]


def _model(*, words=False):
    torch.manual_seed(0)
    features = torch.rand(N + 1, 5) if words else None
    settings: dict[str, Any] = {"items": "both", "n_features": 5, "words": True} if words else {}
    model = CountDiff(CountDiffConfig(N, d=8, layers=1, max_len=L, regressed=50, **settings), features=features)
    torch.nn.init.normal_(model.net.table.id_bias)
    model.prepare(_sequences())
    return model


def _cases():
    rows = _sequences(120, seed=1)
    return Cases([row[:-1] for row in rows], [row[-1:] for row in rows])


def _history():
    history = torch.zeros(40, L, dtype=torch.int64)
    for row, items in zip(history, _cases().histories):
        row[L - len(items) :] = torch.from_numpy(items)
    return history


def _chosen(monkeypatch, drawn):
    monkeypatch.setattr(candidates, "NEAR", 20)
    monkeypatch.setattr(candidates, "KNOWN", 30)
    monkeypatch.setattr(candidates, "DRAWN", drawn)
    model, history = _model(), _history()
    target = torch.tensor([int(found[0]) for found in _cases().targets[:40]])
    banned = history.masked_fill(history == target.unsqueeze(1), 0)
    experts = [(*expert, 1.0, 10.0) for expert in model.experts]
    query = torch.randn(40, 8)
    items, log_weight = few(query, *model.net._items(), experts, history, target, banned)
    return model, query, history, target, banned, items, log_weight


def test_each_item_counts_once_the_drawn_ones_for_their_kind_and_banned_ones_never(monkeypatch):
    _, _, _, target, banned, items, log_weight = _chosen(monkeypatch, 40)
    assert bool((items[:, 0] == 0).all()) and torch.equal(items[:, TARGET], target)
    assert bool((log_weight[:, TARGET] == 0).all())
    for row in range(len(items)):
        counted = items[row][log_weight[row].isfinite()].tolist()
        assert len(counted) == len(set(counted)) and not {0, *banned[row].tolist()} & set(counted)
    kinds = log_weight[log_weight.isfinite()].unique()  # ascending
    torch.testing.assert_close(kinds, torch.tensor([0.0, math.log(N / 40)]))


def test_near_and_known_items_are_the_first_of_each_kind(monkeypatch):
    model, query, history, _, _, items, _ = _chosen(monkeypatch, 40)
    embedding, bias = model.net._items()
    scores = query @ embedding.T + bias
    scores[:, 0] = -torch.inf
    assert torch.equal(items[:, 2:22].sort().values, scores.topk(20).indices.sort().values)
    known = torch.zeros(40, N + 1)
    for table, discount in model.experts:
        known += torch.log1p(10 * spread_back(table, history, discount=discount)) if table.filled else 0
    known[:, 0] = 0.0
    for row in range(len(items)):
        found = items[row, 22:52]
        wanted = known[row].topk(30).values
        torch.testing.assert_close(known[row][found[found > 0]], wanted[wanted > 0])


def test_where_every_item_is_drawn_the_sample_is_the_catalogue(monkeypatch):
    _, _, _, _, banned, items, log_weight = _chosen(monkeypatch, 10 * N)
    for row in range(len(items)):
        assert set(items[row][log_weight[row] == 0].tolist()) == set(range(1, N + 1)) - set(banned[row].tolist())


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_evidence_of_some_items_is_that_of_all(power):
    model, history = _model(), _history()
    items = torch.randint(0, N + 1, (40, 25), generator=torch.Generator().manual_seed(0))
    discount = Discount(0.8, 5, power)
    wanted = spread_back(model.counts, history, discount=discount).gather(1, items)
    torch.testing.assert_close(evidence_at(model.counts, history, items, discount=discount), wanted)
    assert not evidence_at(model.counts, torch.zeros_like(history), items, discount=discount).any()


@pytest.mark.parametrize("words", [False, True])
def test_a_fit_among_all_of_them_is_the_fit_and_among_few_nearly(words, monkeypatch):
    whole = _model(words=words)
    whole.tune(_cases())
    monkeypatch.setattr(countdiff, "MANY", N - 1)
    monkeypatch.setattr(countdiff, "opinions_of_all", None)  # no score of every item for every expert
    monkeypatch.setattr(candidates, "DRAWN", N)
    same = _model(words=words)
    same.tune(_cases())
    for name in ("weights", "log_kappa", "word_weights"):
        torch.testing.assert_close(getattr(same, name), getattr(whole, name), atol=0.03, rtol=0.03)
    for name, count in (("NEAR", 30), ("KNOWN", 60), ("DRAWN", 60)):
        monkeypatch.setattr(candidates, name, count)
    some = _model(words=words)
    some.tune(_cases())
    lists = [model.recommend(_history(), 5).items for model in (whole, some)]
    assert float((lists[0] == lists[1]).float().mean()) > 0.8


def test_arrivals_of_a_large_catalogue_are_fitted_on_fewer_cases(monkeypatch):
    from recsys.counts.transitions import nearest

    def tuned():
        model = _model(words=True)
        model.set_neighbours(nearest(torch.nn.functional.normalize(model.net.table.features, dim=1), count=5))
        model.tune(_cases())
        return model

    whole = tuned()
    monkeypatch.setattr(countdiff, "MANY", N - 1)
    monkeypatch.setattr(candidates, "DRAWN", N)
    torch.testing.assert_close(tuned().arrival, whole.arrival, atol=0.05, rtol=0.05)
    monkeypatch.setattr(countdiff, "CELLS", 50 * (N + 1))
    few = tuned()
    assert bool(few.arrival.isfinite().all()) and bool(few.arrival.any())
