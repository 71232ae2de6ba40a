"""Diffusion on interaction rows: its mathematics against brute force, and data whose best answer is known."""

import itertools

import numpy as np
import pytest
import torch

from recsys.data.splits import Split, pad
from recsys.data.synthetic import markov_chain, tastes
from recsys.diffusion.gaussian import posterior_mean
from recsys.diffusion.schedule import linear_variance
from recsys.errors import ConfigError, ModelError
from recsys.models.diffrec import DiffRec, DiffRecConfig
from recsys.models.interactions import (
    KEPT,
    ImportanceSteps,
    complete,
    cut,
    drop,
    interaction_embeddings,
    likelihood_loss,
    recency,
    snr_weights,
    to_rows,
    training_rows,
    user_sequences,
)
from recsys.models.ldiffrec import LDiffRec, LDiffRecConfig
from recsys.train import TrainConfig, train
from recsys.types import Batch, Cases, Preparable
from tests.cases import cases

SCHEDULE = linear_variance(5, scale=0.1, low=0.1, high=0.5)


def arrays(*lists):
    return [np.array(items, np.int64) for items in lists]


def _batch(sequences) -> Batch:
    rows = pad(sequences)
    return Batch(rows[:, :-1], rows[:, 1:].masked_fill(rows[:, :-1] == 0, 0))


def _fit(model, sequences, *, epochs, lr=5e-3, size=64):
    if issubclass(type(model), Preparable):
        model.prepare(sequences)
    batch, generator = _batch(sequences), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for _ in range(epochs):
        for rows in torch.randperm(len(batch.history), generator=generator).split(size):
            optimizer.zero_grad()
            model.loss(Batch(batch.history[rows], batch.target[rows]), generator=generator)["loss"].backward()
            optimizer.step()
    return model


# --- rows ---


def test_a_row_is_the_whole_sequence_weighted_in_time_order():
    sequence = user_sequences(_batch(arrays([4, 2, 5], [3, 1], [6, 6, 1, 2])))
    assert sequence.tolist() == [[0, 4, 2, 5], [0, 0, 3, 1], [6, 6, 1, 2]]
    weights = recency(sequence != 0, 0.1)
    np.testing.assert_allclose(weights[0], [0, 0.1, 0.55, 1], atol=1e-6)
    np.testing.assert_allclose(weights[2], np.linspace(0.1, 1, 4), atol=1e-6)
    assert recency(torch.tensor([[False, True]]), 0.1).tolist() == [[0, 1]]
    rows = to_rows(sequence, weights, 6)
    np.testing.assert_allclose(rows[0], [0, 0.55, 0, 0.1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(rows[2], [0.7, 1, 0, 0, 0, 0.4], atol=1e-6)  # item 6 twice: the newest counts


def test_a_cut_divides_every_row_in_time_and_is_uniform():
    real = torch.tensor([[0, 1, 1, 1, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]).bool()
    generator, sizes = torch.Generator().manual_seed(0), []
    for _ in range(600):
        past, later = cut(real, generator=generator)
        assert torch.equal(past | later, real) and not (past & later).any()
        assert later[0, -1] and past[0, 1] and (past[0].int().diff()[1:] <= 0).all()
        assert later[1, -1]  # a single item comes after: a user without history
        sizes.append(int(past[0].sum()))
    assert np.abs(np.bincount(sizes, minlength=4)[1:] / 600 - 1 / 3).max() < 0.07


def test_later_rows_want_only_what_was_not_there_before():
    sequence = torch.tensor([[0, 1, 2, 1, 3]])
    generator = torch.Generator().manual_seed(0)
    found = set()
    for _ in range(40):
        given, wanted, counts = training_rows(sequence, 4, predict="later", w_min=0.5, generator=generator)
        found.add((tuple(given[0].tolist()), tuple(wanted[0].tolist()), tuple(counts[0].tolist())))
    assert found == {
        ((1, 0, 0, 0), (0, 1, 0.5, 0), (0, 1, 1, 1)),  # wanted 2, 1, 3 at weights 1, .75, .5
        ((0.5, 1, 0, 0), (0, 0, 0.5, 0), (0, 0, 1, 1)),
        ((1, 0.75, 0, 0), (0, 0, 1, 0), (0, 0, 1, 1)),
    }


def test_dropout_keeps_the_mean():
    x = torch.ones(200, 200)
    kept = drop(x, 0.4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(kept.unique(), torch.tensor([0, 1 / 0.6]))
    assert float(kept.mean()) == pytest.approx(1, abs=0.02)
    assert torch.equal(drop(x, 0.0, generator=torch.Generator()), x)


# --- diffusion ---


def test_snr_weights_by_hand():
    schedule = linear_variance(3, scale=1.0, low=0.1, high=0.3)  # variances .1 .2 .3: snr 9, 4, 7/3
    np.testing.assert_allclose(snr_weights(schedule), [1, 9 - 4, 4 - 7 / 3], rtol=1e-9)
    assert snr_weights(linear_variance(1, scale=1.0, low=0.1, high=0.1)).tolist() == [1]


def test_ranking_walks_the_posterior_means():
    x = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    matrix = torch.randn(7, 7, generator=torch.Generator().manual_seed(1)) * 0.3

    def denoise(x, t):
        return (x @ matrix + t.unsqueeze(1) * 0.1).tanh()

    expected = x
    for t in range(5, 0, -1):
        time = torch.full((4,), t)
        expected = posterior_mean(denoise(expected, time), expected, time, schedule=SCHEDULE)
    torch.testing.assert_close(complete(denoise, x, schedule=SCHEDULE, steps=None), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(complete(denoise, x, schedule=SCHEDULE, steps=1), denoise(x, torch.full((4,), 5)))


def test_a_posterior_mean_is_that_of_bayes_rule():
    """Integrate q(x_{t-1} | x0) q(x_t | x_{t-1}) over a fine grid of x_{t-1}."""
    grid = torch.linspace(-4, 4, 20001, dtype=torch.float64)
    x0, x_t, t = 0.8, 0.3, 3
    alpha, sigma = SCHEDULE.alpha, SCHEDULE.sigma
    ratio = alpha[t] / alpha[t - 1]
    before = torch.exp(-((grid - alpha[t - 1] * x0) ** 2) / (2 * sigma[t - 1] ** 2))
    density = before * torch.exp(-((x_t - ratio * grid) ** 2) / (2 * (1 - ratio**2)))
    found = posterior_mean(
        torch.tensor([[x0]]).double(), torch.tensor([[x_t]]).double(), torch.tensor([t]), schedule=SCHEDULE
    )
    assert float(found) == pytest.approx(float((grid * density).sum() / density.sum()), abs=1e-6)


# --- importance sampling of steps ---


def test_steps_are_uniform_until_every_one_has_its_losses_then_follow_the_root_mean_square():
    steps = ImportanceSteps(3)
    for t in (1, 2):
        steps.remember(torch.full((KEPT,), t), torch.full((KEPT,), float(t)))
    steps.remember(torch.full((KEPT - 1,), 3), torch.ones(KEPT - 1))
    assert steps.probabilities().tolist() == pytest.approx([1 / 3] * 3)
    steps.remember(torch.tensor([3]), torch.tensor([1.0]))
    assert steps.probabilities().tolist() == pytest.approx([0.25, 0.5, 0.25], abs=1e-3)
    losses = torch.tensor([3.0, 4.0])
    steps.remember(torch.tensor([1]).repeat(2 * KEPT), losses.repeat(KEPT))
    assert steps.probabilities()[0] == pytest.approx(12.5**0.5 / (12.5**0.5 + 3), abs=2e-3)


def test_only_the_newest_losses_count_however_they_arrive():
    random = np.random.default_rng(0)
    t, loss = torch.from_numpy(random.integers(1, 5, 300)), torch.from_numpy(random.random(300)).float()
    steps = ImportanceSteps(4)
    for part in torch.arange(300).split(37):
        steps.remember(t[part], loss[part])
    for step in range(1, 5):
        newest = loss[t == step][-KEPT:].square()
        torch.testing.assert_close(steps.squares[step - 1].sort().values, newest.sort().values)
    assert steps.count.tolist() == torch.bincount(t, minlength=5)[1:].tolist()


def test_importance_sampling_is_unbiased():
    steps = ImportanceSteps(4)
    for t in range(1, 5):
        steps.remember(torch.full((KEPT,), t), torch.full((KEPT,), 0.1 * 4.0**t))
    loss, p = torch.tensor([0.0, 2.0, 1.0, 3.0, 5.0]), steps.probabilities()
    assert float(p.sum()) == pytest.approx(1) and float(p.max() / p.min()) > 20
    t, factor = steps.draw(40_000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(factor, 1 / (4 * p[t - 1]))
    value = loss[t] * factor
    assert float(value.mean()) == pytest.approx(2.75, abs=4 * float(value.std()) / 200)
    assert float((p * loss[1:] / (4 * p)).sum()) == pytest.approx(2.75)


@pytest.mark.parametrize("model", ["diffrec", "ldiffrec"])
def test_a_resumed_run_draws_the_same_steps(model, tmp_path):
    sequences = tastes(n_users=60).sequences
    split = Split(sequences, Cases([s[:-1] for s in sequences], [s[-1:] for s in sequences]), Cases([], []), 60)
    config = TrainConfig(epochs=3, batch_size=20, max_length=10, metric="ndcg@3")

    def fresh(seed):
        torch.manual_seed(seed)
        if model == "diffrec":
            return DiffRec(DiffRecConfig(60, hidden=(16,), T=3, predict="later"))
        return LDiffRec(LDiffRecConfig(60, latent=4, hidden=(16,), T=3))

    whole = list(train(fresh(0), split, config))
    first = train(fresh(0), split, config, folder=tmp_path)
    before = [next(first) for _ in range(5)]
    first.close()
    resumed = fresh(1)
    after = list(train(resumed, split, config, folder=tmp_path, resume=True))
    assert [step.losses for step in before + after] == [step.losses for step in whole]
    assert int(resumed.importance.count.min()) >= KEPT


def test_looking_at_the_loss_does_not_change_the_step_history():
    model = DiffRec(DiffRecConfig(6, hidden=(4,), T=2)).eval()
    model.loss(_batch(arrays([1, 2, 3])), generator=torch.Generator().manual_seed(0))
    assert int(model.importance.count.sum()) == 0


def test_interaction_embeddings_are_the_truncated_svd():
    random = np.random.default_rng(0)
    sequences = [random.permutation(12)[: random.integers(3, 8)] + 1 for _ in range(80)]
    x = np.zeros((80, 13))
    for row, sequence in zip(x, sequences, strict=True):
        row[sequence] = 1
    scaled = x / np.sqrt(x.sum(1, keepdims=True)) / np.sqrt(np.maximum(x.sum(0, keepdims=True), 1))
    found = interaction_embeddings(sequences, 12, d=12, rounds=60).double().numpy()
    np.testing.assert_allclose(found @ found.T, scaled.T @ scaled, atol=1e-4)
    assert not found[0].any()


def test_clusters_come_from_features_or_from_preparation_and_are_needed():
    data = tastes(n_kinds=3)
    model = LDiffRec(LDiffRecConfig(60, clusters=3, latent=4))
    with pytest.raises(ModelError, match="prepare"):
        model.loss(_batch(data.sequences), generator=torch.Generator().manual_seed(0))
    model.prepare(data.sequences)
    kinds = torch.from_numpy(data.kinds[1:])
    groups = [(model.cluster == number).sum() for number in range(3)]
    agreement = max(
        float((torch.tensor(order)[model.cluster] == kinds).float().mean())
        for order in itertools.permutations(range(3))
    )
    assert agreement > 0.9 and min(groups) > 10
    given = LDiffRec(LDiffRecConfig(60, clusters=3, latent=4), features=data.features[:, :3])
    assert len({(a, b) for a, b in zip(given.cluster.tolist(), kinds.tolist(), strict=True)}) == 3
    before = given.cluster.clone()
    assert torch.equal(given.prepare(data.sequences[:5]).cluster, before)
    with pytest.raises(ConfigError, match=r"\(61, f\)"):
        LDiffRec(LDiffRecConfig(60), features=data.features[1:])


def test_a_cluster_is_encoded_and_decoded_by_its_own_items_only():
    model = LDiffRec(LDiffRecConfig(8, clusters=2, latent=3))
    model.cluster.copy_(torch.tensor([0, 1, 1, 0, 1, 0, 0, 1]))
    rows = torch.rand(5, 8)
    changed = rows + (model.cluster == 0)
    mean, other = model._encode(rows)[0], model._encode(changed)[0]
    assert torch.equal(mean[:, 3:], other[:, 3:]) and not torch.isclose(mean[:, :3], other[:, :3]).any()
    logits = model._decode(mean)
    for item in range(8):
        number = int(model.cluster[item])
        expected = mean[:, 3 * number : 3 * number + 3] @ model.decode_items[item] + model.decode_bias[item]
        torch.testing.assert_close(logits[:, item], expected)


def test_the_likelihood_counts_only_what_can_be_wanted():
    logits = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    wanted, counts = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    expected = -np.log(np.exp([1, 2]) / np.exp([1, 2]).sum()).mean()
    assert likelihood_loss(logits, wanted, counts).tolist() == pytest.approx(
        [expected, 0], rel=1e-5
    )  # 2nd: nothing wanted


# --- known answers ---

MODELS = {
    "diffrec": lambda n: DiffRec(DiffRecConfig(n, hidden=(32,), T=10)),
    "diffrec-later": lambda n: DiffRec(DiffRecConfig(n, hidden=(32,), T=10, predict="later", steps=1)),
    "diffrec-softmax": lambda n: DiffRec(DiffRecConfig(n, hidden=(32,), T=10, objective="softmax", steps=3)),
    "ldiffrec": lambda n: LDiffRec(LDiffRecConfig(n, latent=8, hidden=(32,), T=10, anneal=50)),
}


@pytest.mark.parametrize("name", cases(["diffrec-later", "ldiffrec"], slow=["diffrec", "diffrec-softmax"]))
def test_users_of_one_kind_get_items_of_that_kind(name):
    data = tastes(n_users=300, length=7)  # 6 kinds of 10 items
    model = _fit(MODELS[name](60), data.sequences[:200], epochs=50)
    history, likes = pad(data.sequences[200:]), torch.from_numpy(data.likes[200:])
    items = model.recommend(history, 3).items
    own = torch.from_numpy(data.kinds)[items] == likes[:, None]
    assert float(own.float().mean()) > 0.95


@pytest.mark.parametrize("name", cases(["diffrec"], slow=["diffrec-later", "diffrec-softmax", "ldiffrec"]))
def test_in_noise_there_is_nothing_to_find(name):
    random = np.random.default_rng(0)
    sequences = [random.permutation(30)[:8] + 1 for _ in range(1200)]
    model = _fit(MODELS[name](30), sequences[:200], epochs=5)
    history, target = pad([s[:-1] for s in sequences[200:]]), torch.tensor([int(s[-1]) for s in sequences[200:]])
    hit = float((model.recommend(history, 1).items[:, 0] == target).float().mean())
    assert abs(hit - 1 / 23) < 3 * (1 / 23 / 1000) ** 0.5


def _order_blind_bayes(chain, pairs) -> np.ndarray:
    """The best guess of what follows when only the set of the last two items is known, not their order."""
    n = len(chain.follower) - 1
    chance = np.full((n + 1, n + 1), (1 - chain.p) / n)
    chance[np.arange(n + 1), chain.follower] += chain.p
    a, b = pairs.T
    belief = chance[a, b, None] * chance[b] + chance[b, a, None] * chance[a]
    belief[:, 0] = 0
    belief[np.arange(len(pairs)), a] = belief[np.arange(len(pairs)), b] = 0  # seen items are not ranked
    return belief.argmax(1)


@pytest.mark.parametrize(
    ("w_min", "objective"), cases([(1.0, "softmax"), (0.1, "softmax")], slow=[(1.0, "mse"), (0.1, "mse")])
)
def test_a_chain_is_followed_as_far_as_a_set_can_tell_and_with_recency_as_far_as_anyone_can(w_min, objective):
    """Three steps of a Markov chain; the order of two items decides which of them is continued."""
    chain = markov_chain(n_items=12, n_users=6000, length=3, seed=0)
    rows = np.stack([s for s in chain.sequences if len(set(s)) == 3])
    train_rows, test_rows = rows[:2000], rows[2000:]
    blind = float((_order_blind_bayes(chain, test_rows[:, :2]) == test_rows[:, 2]).mean())
    follower = chain.follower[test_rows[:, 1]]
    ordered = float((follower == test_rows[:, 2]).mean())
    config = DiffRecConfig(
        12, hidden=(64,), T=10, dropout=0.0, w_min=w_min, predict="later", objective=objective, steps=1
    )
    model = _fit(DiffRec(config), list(train_rows), epochs=20, lr=1e-2, size=100)
    found = model.recommend(torch.from_numpy(test_rows[:, :2]), 1).items[:, 0]
    hit = float((found == torch.from_numpy(test_rows[:, 2])).float().mean())
    ceiling, noise = (blind, ordered)[w_min < 1], 2 / len(test_rows) ** 0.5 / 2
    assert ordered > blind + 0.04
    assert 0.95 * ceiling < hit < ceiling + noise


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": []}, None),
        ({"hidden": [0]}, "hidden"),
        ({"hidden": "600"}, "hidden"),
        ({"predict": "next"}, "row, later"),
        ({"corrupt": 41}, "corrupt = 41"),
        ({"steps": 41}, "steps = 41"),
        ({"w_min": -0.1}, "w_min"),
    ],
)
@pytest.mark.parametrize("config", [DiffRecConfig, LDiffRecConfig])
def test_settings_out_of_range_are_refused(config, settings, message):
    if message is None:
        assert config(5, **settings).hidden == ()
        return
    with pytest.raises(ConfigError, match=message):
        config(5, **settings)
