"""DDSR and masked semantic ids: their mathematics, and data whose best answer is known."""

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import pytest
import torch

from recsys.data.synthetic import markov_chain, tastes
from recsys.models.ddsr import DDSR, DDSRConfig, straight
from recsys.models.maskedids import MaskedIds, MaskedIdsConfig, random_masks
from tests.cases import cases
from tests.recsys.fitting import batch_of, fit

N, LENGTH, TRAIN, TEST = 50, 12, 400, 2000
SMALL: dict[str, Any] = {"d": 32, "max_len": LENGTH, "layers": 1, "dropout": 0.1, "m": 3, "V": 8}
FUZZY = {"d": 64, "T": 10, "noise": 0.2}
VARIANTS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "ddsr": (DDSR, DDSRConfig, FUZZY),
    "digits": (DDSR, DDSRConfig, {**FUZZY, "objective": "digits", "kernel": "absorbing"}),
    "masked": (MaskedIds, MaskedIdsConfig, {}),
}


@functools.cache
def _chain(seed, p=0.8):
    return markov_chain(n_items=N, n_users=TRAIN + TEST, length=LENGTH, p=p, seed=seed)


@functools.cache
def _fitted(name, seed, p=0.8):
    torch.manual_seed(seed)
    cls, config_class, changes = VARIANTS[name]
    model = cls(config_class(N, **{**SMALL, **changes}))
    return fit(model, _chain(seed, p).sequences[:TRAIN], epochs=15 if p else 4, lr=1e-2, seed=seed)


def _histories(chain, count=TEST):
    rows = torch.from_numpy(np.stack(chain.sequences[TRAIN : TRAIN + count]))
    return rows[:, :-1], rows[:, -1]


def _hit(model, chain) -> float:
    history, target = _histories(chain)
    return float((model.recommend(history, 1, exclude_seen=False).items[:, 0] == target).float().mean())


@pytest.mark.parametrize(
    ("name", "seed"), cases([("ddsr", 0), ("masked", 0)], slow=[("ddsr", 1), ("digits", 0), ("masked", 1)])
)
def test_it_comes_within_five_percent_of_bayes_and_never_above(name, seed):
    chain = _chain(seed)
    noise = 3 * (chain.bayes_hit * (1 - chain.bayes_hit) / TEST) ** 0.5
    assert 0.95 * chain.bayes_hit < _hit(_fitted(name, seed), chain) < chain.bayes_hit + noise


def test_averaged_fuzzy_sets_rank_as_well():
    model, chain = _fitted("ddsr", 0), _chain(0)
    clean = model.config
    model.config = dataclasses.replace(clean, rank_time=3, draws=16)
    hit = _hit(model, chain)
    model.config = clean
    assert 0.95 * chain.bayes_hit < hit < chain.bayes_hit + 0.03


@pytest.mark.parametrize("name", ["ddsr", "masked"])
def test_a_draw_is_a_sample_and_near_the_sum_of_squared_probabilities(name):
    """A calibrated draw follows the chain as often as the chain does, and meets the test item Σp² of the time.

    Few epochs leave the models a little unsure, hence the room.
    """
    model, chain = _fitted(name, 0), _chain(0)
    history, target = _histories(chain, 500)
    drawn = model.sample_items(history, draws=8)
    assert drawn.shape == (500, 8) and 1 <= int(drawn.min()) and int(drawn.max()) <= N
    follower = torch.from_numpy(chain.follower)[history[:, -1]]
    assert float((drawn == follower[:, None]).float().mean()) == pytest.approx(chain.bayes_hit, abs=0.08)
    assert float((drawn == target[:, None]).float().mean()) == pytest.approx(chain.draw_hit, abs=0.08)
    again = model.sample_items(history[:7], draws=8)
    assert float((again == drawn[:7]).float().mean()) > 0.98  # a user's draws do not depend on the batch


@pytest.mark.slow
def test_draws_have_the_probabilities_of_the_ranking_however_many_steps_there_are():
    model, chain = _fitted("ddsr", 0), _chain(0)
    history, _ = _histories(chain, 2)
    ranking, config = model.recommend(history, N, exclude_seen=False), model.config
    for steps in (1, 4):
        model.config = dataclasses.replace(config, sample_steps=steps)
        drawn = model.sample_items(history, draws=2000)
        for user in range(2):
            share = torch.bincount(drawn[user], minlength=N + 1)[ranking.items[user]] / 2000
            torch.testing.assert_close(share, ranking.scores[user].exp(), atol=0.04, rtol=0)
    model.config = config


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddsr", "masked"])
def test_in_noise_there_is_nothing_to_find(name):
    chance, spread = 1 / N, 3 * (1 / N * (1 - 1 / N) / TEST) ** 0.5
    assert abs(_hit(_fitted(name, 0, 0.0), _chain(0, 0.0)) - chance) < spread


def test_the_schedule_ends_where_it_should():
    s = straight(4, noise=0.6)
    torch.testing.assert_close(s.alpha**2, torch.tensor([1, 0.85, 0.7, 0.55, 0.4], dtype=torch.float64))


def test_masks_are_as_many_as_drawn_and_the_loss_is_a_bound_in_nats():
    """A model that knows nothing must pay log V for every digit: m log V in all, however many are masked."""
    masks = random_masks(30_000, 3, generator=torch.Generator().manual_seed(0))
    share = torch.bincount(masks.sum(1), minlength=4) / 30_000
    torch.testing.assert_close(share, torch.tensor([0, 1 / 3, 1 / 3, 1 / 3]), atol=0.01, rtol=0)
    torch.testing.assert_close(masks.float().mean(0), torch.full((3,), 2 / 3), atol=0.01, rtol=0)
    model = MaskedIds(MaskedIdsConfig(N, **SMALL))
    for parameter in (model.digits.table, model.digits.bias):
        torch.nn.init.zeros_(parameter)
    batch = batch_of(_chain(0).sequences[:64])
    loss = model.loss(batch, generator=torch.Generator().manual_seed(0))["loss"]
    assert float(loss.detach()) == pytest.approx(3 * math.log(8), rel=1e-5)


def test_drawing_the_number_of_masks_equals_drawing_the_time():
    """∫ (1/t) t^r (1-t)^(m-r) dt summed over the subsets of size r is 1/r: every r weighs m/r with chance 1/m."""
    t = torch.linspace(5e-5, 1 - 5e-5, 10_000, dtype=torch.float64)
    for m in (1, 3, 4):
        for r in range(1, m + 1):
            integral = math.comb(m, r) * float((t ** (r - 1) * (1 - t) ** (m - r)).mean())
            assert integral == pytest.approx((1 / m) * (m / r), rel=1e-3)


def test_beams_are_on_top_and_the_rest_follows():
    """A beam as wide as the catalogue ranks as a narrow one does at its top."""
    model, chain = _fitted("masked", 0), _chain(0)
    history, _ = _histories(chain, 100)
    whole = model.recommend(history, N, exclude_seen=False)
    assert 0.6 < float(whole.scores.exp().sum(1).mean()) <= 1.001  # most probability is on valid tuples
    config = model.config
    model.config = dataclasses.replace(config, beams=8)
    narrow = model.recommend(history, N, exclude_seen=False)
    model.config = config
    assert torch.equal(narrow.items[:, 0], whole.items[:, 0])
    assert (narrow.items.sort(1).values == torch.arange(1, N + 1)).all()


@pytest.mark.parametrize(("cls", "config_class"), [(DDSR, DDSRConfig), (MaskedIds, MaskedIdsConfig)])
def test_codes_of_features_are_used_and_saved(cls, config_class, tmp_path):
    from recsys import pretrained

    data = tastes(n_users=60)
    config = config_class(60, items="features", n_features=10, d=8, layers=1, m=2, V=16)
    model = cls(config, features=data.features)
    model.prepare(data.sequences)
    assert bool(model.ids.coded)
    loaded = pretrained.load(pretrained.save(model, tmp_path))
    assert torch.equal(loaded.ids.codes, model.ids.codes)  # type: ignore[attr-defined]
