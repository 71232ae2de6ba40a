"""The regression among CountDiff's experts: the closed form's own numbers, on the items that were taken most."""

from typing import Any

import numpy as np
import pytest
import torch

from recsys import pretrained
from recsys.data.splits import pad
from recsys.errors import ConfigError
from recsys.models import CountDiff, CountDiffConfig, Ease, EaseConfig, countdiff
from recsys.models.countdiff import SILENT
from recsys.models.regression import regress
from recsys.types import Cases

N = 12


def _sequences(count=40, seed=0):
    random = np.random.default_rng(seed)
    return [random.permutation(N - 2)[: random.integers(3, 8)] + 1 for _ in range(count)]  # the last two never occur


def _dense(found) -> torch.Tensor:
    return found.with_dense().dense


def test_its_entries_are_those_of_the_closed_form_above_zero():
    found = _dense(regress(_sequences(), N, most=N, ridge=5.0, keep=N))
    whole: Any = Ease(EaseConfig(N, ridge=5.0)).fit(_sequences()).map
    torch.testing.assert_close(found, whole.clamp(min=0), atol=1e-6, rtol=1e-5)
    assert (whole < 0).any()


def test_the_largest_entries_of_a_row_are_kept():
    every, few = (regress(_sequences(), N, most=N, ridge=5.0, keep=keep) for keep in (N, 2))
    assert int(few.starts.diff().max()) == 2
    torch.testing.assert_close(_dense(few).sum(1), _dense(every).topk(2, dim=1).values.sum(1))


def test_of_a_large_catalogue_the_most_frequent_items_are_regressed_on_each_other():
    often, seldom = [1, 4, 6], [2, 9]
    sequences = [np.array([1, 4, 6])] * 5 + [np.array([4, 1])] * 3 + [np.array([2, 9, 1])]
    found = _dense(regress(sequences, N, most=3, ridge=1.0, keep=N))
    alone: Any = Ease(EaseConfig(3, ridge=1.0)).fit(
        [np.array([1, 2, 3])] * 5 + [np.array([2, 1])] * 3 + [np.array([1])]
    )
    torch.testing.assert_close(found[often][:, often], alone.map[1:, 1:].clamp(min=0))
    assert not found[seldom].any() and not found[:, seldom].any()


def test_countdiff_learns_to_follow_it_and_saves_it(tmp_path):
    """Halves of one set each follow each other in no order: neither transitions nor a network know more than pairs."""
    random = np.random.default_rng(0)
    sequences = [random.permutation(6)[:4] + 1 + 6 * (user % 2) for user in range(60)]
    model = CountDiff(CountDiffConfig(N, d=8, max_len=10, layers=1, window=3))
    model.prepare(sequences)
    assert model.regression.filled
    model.tune(Cases([row[:-1] for row in sequences], [row[-1:] for row in sequences]))
    assert model.weights[5] > 0
    pretrained.save(model, tmp_path)
    history = pad([row[:3] for row in sequences])
    found, again = (m.recommend(history, 3) for m in (model, pretrained.load(tmp_path)))
    assert torch.equal(found.items, again.items) and torch.equal(found.scores, again.scores)


def test_it_can_be_left_out():
    model = CountDiff(CountDiffConfig(N, d=8, max_len=10, layers=1, window=3, regressed=0))
    model.prepare(_sequences())
    assert not model.regression.filled
    with pytest.raises(ConfigError, match="ridge"):
        CountDiffConfig(N, ridge=0.0)


def test_weights_of_before_the_regression_load_and_rank_as_they_did():
    sequences, history = _sequences(), torch.tensor([[0, 3, 5], [1, 2, 7]])
    silent = CountDiff(CountDiffConfig(N, d=8, max_len=10, layers=1, window=3, regressed=0))
    silent.prepare(sequences)
    silent.tune(Cases([row[:-1] for row in sequences], [row[-1:] for row in sequences]))
    before = {name: value for name, value in silent.state_dict().items() if not name.startswith("regression.")}
    before["weights"], kappa = before["weights"][:5], before["log_kappa"]
    before["log_kappa"] = torch.cat([kappa[:3], kappa[4:]])
    model = CountDiff(CountDiffConfig(N, d=8, max_len=10, layers=1, window=3))
    model.load_state_dict(before)
    assert torch.equal(model.recommend(history, 5).items, silent.recommend(history, 5).items)
    assert torch.equal(model.recommend(history, 5).scores, silent.recommend(history, 5).scores)


def test_an_expert_that_says_next_to_nothing_falls_silent_and_is_not_asked(monkeypatch):
    """The next item is told by the one before: what was taken together, in any order, adds nothing to it."""
    sequences = [np.roll(np.arange(1, N + 1), -start)[:6] for start in range(N)] * 3
    model = CountDiff(CountDiffConfig(N, d=8, max_len=10, layers=1, window=3))
    model.prepare(sequences)
    model.tune(Cases([row[:-1] for row in sequences], [row[-1:] for row in sequences]))
    weights = model.weights[2:]
    assert ((weights == 0) | (weights.abs() >= SILENT)).all()
    model.weights[2:] = torch.tensor([0.5, 0.0, 0.5, 0.0])
    asked, spread = [], countdiff.spread_back

    def watched(table, *rest, **named):
        asked.append(table)
        return spread(table, *rest, **named)

    monkeypatch.setattr(countdiff, "spread_back", watched)
    model.recommend(torch.tensor([[3, 4]]), 3)
    assert len(asked) == 1 and asked[0] is model.counts  # neither silent ones nor empty ones
