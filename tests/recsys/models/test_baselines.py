"""The models that count: against counts by hand and closed forms, and against figures on public data."""

from typing import Any

import numpy as np
import pytest
import torch

from recsys.data import datasets
from recsys.data.splits import pad
from recsys.errors import ConfigError, DataError, ModelError
from recsys.evaluate import evaluate
from recsys.models.ease import Ease, EaseConfig
from recsys.models.markov import Markov, MarkovConfig
from recsys.models.popularity import Popularity, PopularityConfig


def arrays(*lists):
    return [np.array(items, np.int64) for items in lists]


def random_sequences(n_items, count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(1, n_items + 1, size=int(rng.integers(1, 9))) for _ in range(count)]


def test_popularity_counts():
    model = Popularity(PopularityConfig(5)).fit(arrays([3, 3, 1], [3, 1], [5]))
    ranking = model.recommend(pad(arrays([], [3])), 3)
    assert ranking.items.tolist() == [[3, 1, 5], [1, 5, 2]] and ranking.scores[0].tolist() == [3, 2, 1]
    assert model.recommend(pad(arrays([3])), 1, exclude_seen=False).items.tolist() == [[3]]


def transitions(sequences, n, *, decay, window, power):
    """The definition in the module's docstring, pair by pair."""
    table = np.zeros((n + 1, n + 1))
    for sequence in sequences:
        for i, a in enumerate(sequence):
            for gap in range(1, window + 1):
                if i + gap < len(sequence):
                    table[a, sequence[i + gap]] += decay ** (gap - 1)
    return table / np.maximum(table.sum(1, keepdims=True), 1e-300) ** power


@pytest.mark.parametrize(("decay", "window", "power"), [(0.7, 10, 0.5), (1.0, 1, 1.0), (0.5, 3, 0.0)])
def test_markov_is_its_definition(decay, window, power):
    sequences, histories = random_sequences(12, 60), random_sequences(12, 20, seed=1)
    model = Markov(MarkovConfig(12, decay=decay, window=window, degree_power=power)).fit(sequences)
    table = transitions(sequences, 12, decay=decay, window=window, power=power)
    scores = model.scores(pad(histories)).numpy()
    for row, history in zip(scores, histories, strict=True):
        expected = sum((decay**age * table[item] for age, item in enumerate(history[::-1][:window])), np.zeros(13))
        np.testing.assert_allclose(row[1:], expected[1:], atol=2e-6)


def test_markov_falls_back_on_popularity():
    model = Markov(MarkovConfig(6)).fit(arrays([1, 2], [4], [4], [5]))
    assert model.recommend(pad(arrays([1], [])), 3).items.tolist() == [[2, 4, 5], [4, 1, 2]]


def test_markov_finds_a_chain():
    rng = np.random.default_rng(0)
    follow = np.roll(np.arange(1, 21), 1)
    sequences = []
    for _ in range(300):
        items = [int(rng.integers(1, 21))]
        while len(items) < 12:
            items.append(int(follow[items[-1] - 1]) if rng.random() < 0.8 else int(rng.integers(1, 21)))
        sequences.append(np.array(items))
    model = Markov(MarkovConfig(20, window=1)).fit(sequences)
    found = model.recommend(torch.arange(1, 21)[:, None], 1).items[:, 0]
    assert found.tolist() == follow.tolist()


def fitted_map(model):
    assert model.map is not None
    return model.map


def dense(sequences, n, weigh):
    x = np.zeros((len(sequences), n + 1))
    for row, sequence in zip(x, sequences, strict=True):
        for place, item in enumerate(sequence):
            row[item] = max(row[item], weigh(len(sequence) - 1 - place, len(sequence)))
    return x


@pytest.mark.parametrize(
    ("recency", "weigh"),
    [
        ("none", lambda age, length: 1.0),
        ("linear", lambda age, length: 1 - 0.9 * age / max(length - 1, 1)),
        ("geometric", lambda age, length: 0.7**age),
    ],
)
def test_ease_is_its_closed_form(recency, weigh):
    sequences = random_sequences(15, 300)  # more than two blocks of users
    model = Ease(EaseConfig(15, ridge=5.0, recency=recency)).fit(sequences)
    weighted = model.rows(pad(sequences))
    np.testing.assert_allclose(weighted.numpy(), dense(sequences, 15, weigh), atol=1e-6)
    ranking = model.recommend(pad(sequences), 15, exclude_seen=False)
    expected = (weighted @ fitted_map(model)).gather(1, ranking.items)
    assert torch.allclose(ranking.scores, expected, atol=1e-5)
    x = dense(sequences, 15, lambda age, length: 1.0)
    inverse = np.linalg.inv(x[:, 1:].T @ x[:, 1:] + 5.0 * np.eye(15))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(fitted_map(model)[1:, 1:].numpy(), expected, atol=2e-5)
    assert float(fitted_map(model)[0].abs().sum() + fitted_map(model)[:, 0].abs().sum()) == 0


def test_ease_minimises_its_objective():
    sequences = random_sequences(8, 80)
    model = Ease(EaseConfig(8, ridge=3.0)).fit(sequences)
    x = torch.from_numpy(dense(sequences, 8, lambda age, length: 1.0)[:, 1:]).float()

    def cost(b):
        return float((x - x @ b).square().sum() + 3.0 * b.square().sum())

    best = fitted_map(model)[1:, 1:]
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        nudge = 0.05 * torch.randn(8, 8, generator=generator).fill_diagonal_(0)
        assert cost(best + nudge) > cost(best)


MODELS = [
    Popularity(PopularityConfig(12)),
    Markov(MarkovConfig(12)),
    Ease(EaseConfig(12, recency="linear")),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_one_user_or_many_and_after_a_round_trip(model):
    model.fit(random_sequences(12, 50))
    histories = random_sequences(12, 33, seed=2)
    ranking = model.recommend(pad(histories), 5)
    for row, history in enumerate(histories):
        alone = model.recommend(pad([history], length=40), 5)
        assert torch.equal(alone.items[0], ranking.items[row])
    copy = type(model)(model.config)
    with pytest.raises(ModelError, match="not been fitted"):
        copy.recommend(pad(histories), 5)
    copy.load_state_dict(model.state_dict())
    assert torch.equal(copy.recommend(pad(histories), 5).scores, ranking.scores)
    with pytest.raises(ModelError, match="needs exactly"):
        copy.load_state_dict({**model.state_dict(), "more": torch.zeros(1)})
    with pytest.raises(ModelError, match="has shape"):
        copy.load_state_dict({name: value[:-1] for name, value in model.state_dict().items()})


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_refuse_data_that_do_not_fit(model):
    with pytest.raises(DataError, match="no training sequences"):
        model.fit([])
    with pytest.raises(DataError, match="1..13; allowed are 1 to n_items = 12"):
        model.fit(arrays([1, 13]))


def test_refuse_settings_out_of_range():
    bad: dict[str, Any]
    for bad in ({"decay": 0.0}, {"window": 0}, {"degree_power": 1.5}):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            MarkovConfig(3, **bad)
    for bad in ({"ridge": 0.0}, {"recency": "yes"}, {"floor": 2.0}):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            EaseConfig(3, **bad)


def measured(name, model_of, at, metric):
    try:
        split = datasets.load(name)
    except DataError as error:
        pytest.skip(str(error))
    return evaluate(model_of(split.n_items).fit(split.train), split.test, at=at, resamples=0).metrics[metric]


@pytest.mark.slow
def test_markov_on_beauty():
    assert measured("amazon-beauty", lambda n: Markov(MarkovConfig(n)), (10,), "recall@10") == pytest.approx(
        0.0862, abs=2e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize(("recency", "recall"), [("none", 0.1816), ("linear", 0.2150)])
def test_ease_on_movielens(recency, recall):
    config = {"ridge": 1000, "recency": recency}
    found = measured("ml-1m-clean", lambda n: Ease(EaseConfig(n, **config)), (20,), "recall@20")
    assert found == pytest.approx(recall, abs=2e-4)
