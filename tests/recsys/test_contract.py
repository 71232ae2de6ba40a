"""What every recommender of recsys.models promises, whatever paper it comes from."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from recsys import pretrained
from recsys.errors import ConfigError, DataError, ModelError
from recsys.models import MODELS
from recsys.models.dreamrec import DreamRecConfig
from recsys.ranking import top_k
from recsys.types import Batch, Fittable, Preparable, Recommender, Trainable
from tests.cases import cases

N, L = 40, 8
SMALL = {"d": 16, "max_len": L, "layers": 1, "heads": 2, "T": 12, "sample_steps": 6, "latent": 4, "hidden": [32]}
VARIANTS: dict[str, tuple[str, Any]] = {
    "sasrec-gru": ("sasrec", {"encoder": "gru"}),
    "sasrec-caser": ("sasrec", {"encoder": "caser"}),
    "dreamrec-draws": ("dreamrec", {"steps": 4, "draws": 3, "eta": 1.0, "weight": 1.0}),
    "dreamrec-paper": ("dreamrec", None),
    "dreamrec-prefixes": (
        "dreamrec",
        {"encoder": "bidirectional", "positions": "one", "thin_items": 0.3, "thin_rows": 0.5},
    ),
    "diffurec-noisy": ("diffurec", {"encoder": "gru", "delta": 1.0, "draws": 2}),
    "tdiffrec": ("diffrec", {"w_min": 0.1, "predict": "later", "objective": "softmax", "corrupt": 3, "steps": 2}),
    "countdiff-words": ("countdiff", {"items": "both", "n_features": 6, "words": True, "steps": 3, "draws": 2}),
    "ldiffrec-later": ("ldiffrec", {"predict": "later", "corrupt": 3, "steps": 1}),
    "ddsr-fuzzy": ("ddsr", {"objective": "digits", "kernel": "absorbing", "rank_time": 5, "draws": 3}),
    "maskedids-narrow": ("maskedids", {"beams": 4, "quantiser": "residual"}),
}


def _histories(n_users: int) -> torch.Tensor:
    """Left-padded histories of every length from 0 to L, no item twice."""
    random = np.random.default_rng(0)
    history = np.zeros((n_users, L), dtype=np.int64)
    for user in range(n_users):
        length = user % (L + 1)
        history[user, L - length :] = random.permutation(N)[:length] + 1
    return torch.from_numpy(history)


def _build(variant: str) -> Any:
    name, changes = VARIANTS.get(variant, (variant, {}))
    cls, config_class = MODELS[name]
    known = {field.name for field in dataclasses.fields(config_class)}
    if changes is None:
        return cls(dataclasses.replace(DreamRecConfig.paper(N, T=12), d=16))
    config = config_class(N, **{key: value for key, value in SMALL.items() if key in known}, **changes)
    described = "n_features" in changes
    return cls(config, features=torch.rand(N + 1, config.n_features)) if described else cls(config)


def _batch() -> Batch:
    history = _histories(18)
    target = torch.roll(history, -1, dims=1)
    target[:, -1] = torch.arange(18) + 1
    return Batch(history, target.masked_fill(history == 0, 0))


@pytest.fixture(params=cases(sorted(MODELS), slow=sorted(VARIANTS)), scope="module")
def model(request):
    torch.manual_seed(0)
    model = _build(request.param)
    if issubclass(type(model), Fittable):
        return model.fit([row[row > 0].numpy() for row in _histories(60) if (row > 0).any()])
    if issubclass(type(model), Preparable):
        model.prepare([row[row > 0].numpy() for row in _histories(60) if (row > 0).any()])
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        optimizer.zero_grad()
        model.loss(_batch(), generator=generator)["loss"].backward()
        optimizer.step()
    return model


def test_it_is_a_recommender(model):
    assert isinstance(model, Recommender) and model.n_items == N
    assert isinstance(model, Fittable) != isinstance(model, Trainable)  # it learns in one of two ways
    assert dataclasses.is_dataclass(model.config)  # pyrefly: ignore[missing-attribute]
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.config.n_items = 3  # pyrefly: ignore[missing-attribute]


def test_rankings_are_sorted_and_hold_neither_padding_nor_seen_items(model):
    history = _histories(27)
    ranking = model.recommend(history, 10)
    assert ranking.items.shape == ranking.scores.shape == (27, 10)
    assert ranking.items.dtype == torch.int64 and ranking.scores.dtype == torch.float32
    assert (ranking.scores.diff(dim=1) <= 0).all() and ranking.scores.isfinite().all()
    assert ranking.items.min() >= 1 and ranking.items.max() <= N
    for items, seen in zip(ranking.items.tolist(), history.tolist(), strict=True):
        assert len(set(items)) == 10 and not set(items) & set(seen)


def test_seen_items_are_ranked_on_request(model):
    ranking = model.recommend(_histories(9), N, exclude_seen=False)
    assert (ranking.items.sort(1).values == torch.arange(1, N + 1)).all()


def test_a_user_who_runs_out_of_items_gets_zeros_at_the_end(model):
    ranking = model.recommend(_histories(9)[-1:], N)
    assert (ranking.items[0, :-L] > 0).all() and (ranking.items[0, -L:] == 0).all()
    assert (ranking.scores[0, -L:] == -torch.inf).all()


@pytest.mark.parametrize("others", [1, 64])
def test_a_users_ranking_does_not_depend_on_the_batch_or_the_padding(model, others):
    history = _histories(64)
    whole = model.recommend(history, 5)
    for user in (0, 3, 8, 63):
        length = max(int((history[user] > 0).sum()), 1)
        wider = torch.cat(
            [torch.zeros(others, 4, dtype=torch.int64), history[user : user + 1].expand(others, -1)], dim=1
        )
        for alone in (history[user : user + 1, -length:], wider):
            ranking = model.recommend(alone, 5)
            assert torch.equal(ranking.items[0], whole.items[user])
            torch.testing.assert_close(ranking.scores[0], whole.scores[user], atol=1e-4, rtol=1e-4)


def test_the_same_generator_gives_the_same_answer_even_when_used(model):
    first, second = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    torch.rand(100, generator=second)
    before = torch.random.get_rng_state()
    one, two = model.recommend(_histories(9), 5, generator=first), model.recommend(_histories(9), 5, generator=second)
    assert torch.equal(one.items, two.items) and torch.equal(one.scores, two.scores)
    assert torch.equal(before, torch.random.get_rng_state())


def test_training_mode_does_not_change_answers_and_is_left_alone(model):
    if not issubclass(type(model), Trainable):
        return
    model.eval()
    calm = model.recommend(_histories(9), 5)
    model.train()
    assert torch.equal(model.recommend(_histories(9), 5).items, calm.items) and model.training


@pytest.mark.parametrize("k", [0, N + 1])
def test_k_outside_the_catalogue_is_refused(model, k):
    with pytest.raises(ConfigError, match=f"{k}.*{N}"):
        model.recommend(_histories(2), k)


@pytest.mark.parametrize(
    "history",
    [
        torch.tensor([[1, N + 1]]),
        torch.tensor([[-1, 2]]),
        torch.tensor([[3, 0]]),
        torch.tensor([1, 2]),
        torch.ones(1, 2),
    ],
)
def test_bad_histories_are_refused(model, history):
    with pytest.raises(DataError):
        model.recommend(history, 3)


def test_saving_and_loading_changes_nothing(model, tmp_path):
    pretrained.save(model, tmp_path / "model", run={"seed": 1})
    loaded: Any = pretrained.load(tmp_path / "model")
    one, two = model.recommend(_histories(18), 7), loaded.recommend(_histories(18), 7)
    assert torch.equal(one.items, two.items) and torch.equal(one.scores, two.scores)
    assert loaded.config == model.config
    assert json.loads((tmp_path / "model/run.json").read_text()) == {"seed": 1}


def test_loading_is_strict(model, tmp_path):
    pretrained.save(model, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    name = next(iter(tensors))
    for damaged in (
        {key: value for key, value in tensors.items() if key != name},
        {**tensors, "surplus": torch.zeros(2)},
        {key: torch.cat([value, value]) for key, value in tensors.items()},
    ):
        save_file(damaged, tmp_path / "model.safetensors")
        with pytest.raises(ModelError):
            pretrained.load(tmp_path)


def test_every_parameter_gets_a_gradient(model):
    if not issubclass(type(model), Trainable):
        return
    model.train()
    generator = torch.Generator().manual_seed(0)
    model.zero_grad()
    losses = [model.loss(_batch(), generator=generator) for _ in range(8)]  # several: a condition is dropped by chance
    torch.stack([loss["loss"] for loss in losses]).sum().backward()
    silent = [name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not silent
    assert all(value.ndim == 0 and value.isfinite() for value in losses[0].values())


def test_ties_go_to_the_lower_item_also_across_the_last_place():
    scores = torch.tensor([[9.0, 1, 2, 1, 2, 1, 1], [9, 0, 0, 0, 0, 0, 0]])
    ranking = top_k(scores, torch.zeros(2, 1, dtype=torch.int64), 4)
    assert ranking.items.tolist() == [[2, 4, 1, 3], [1, 2, 3, 4]]


def test_scores_that_are_not_numbers_are_refused():
    with pytest.raises(ModelError, match="NaN"):
        top_k(torch.full((1, 5), torch.nan), torch.zeros(1, 1, dtype=torch.int64), 2)
