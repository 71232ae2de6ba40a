"""Denoised item embeddings, against closed forms and embeddings whose truth is known."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from recsys import pretrained
from recsys.errors import ConfigError, ModelError
from recsys.models.markov import Markov, MarkovConfig
from recsys.models.robust import Robust, RobustConfig, neighbours, with_item_embeddings
from recsys.models.sasrec import SASRec, SASRecConfig
from recsys.types import Batch

N, D = 300, 8
CONFIG = RobustConfig(N, d=D, hidden=32, dropout=0.0, T=20)


def _table(values: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.zeros(1, values.shape[1]), values])


def _normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _fit(embeddings, context, steps: int = 300) -> Robust:
    torch.manual_seed(0)
    model = Robust(CONFIG, embeddings=embeddings, context=context)
    optimizer, generator = torch.optim.Adam(model.parameters(), 3e-3), torch.Generator().manual_seed(0)
    items = torch.arange(1, N + 1)[None]
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(Batch(items, items), generator=generator)["loss"].backward()
        optimizer.step()
    return model.eval()


def _correlation(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([found[1:].flatten(), truth[1:].flatten()]))[0, 1])


def test_one_step_is_the_wiener_filter_of_gaussian_embeddings():
    """For x0 ~ N(0, diag(s²)), E[x0 | x_t] = alpha s²/(alpha² s² + sigma²) x_t: narrow directions shrink most."""
    spread = torch.tensor([1.5, 0.3]).repeat(D // 2)
    model = _fit(_table(_normal(0, N, D) * spread), torch.zeros(N + 1, D))
    start, raw = 8, model.embedding
    alpha2 = float(model.schedule.alpha[start]) ** 2
    variance = (spread / raw[1:].std()) ** 2
    keep = alpha2 * variance / (alpha2 * variance + 1 - alpha2)
    found = model.denoised(start=start, steps=1)
    slope = (found * raw).sum(0) / raw.square().sum(0)
    torch.testing.assert_close(slope, keep, atol=0.1, rtol=0)


def test_what_neighbours_know_is_found_again_and_nothing_is_found_in_noise():
    """Embeddings are a truth and noise of the same size; c is the truth, or noise that knows nothing."""
    truth = _table(_normal(0, N, D))
    noisy = truth + _table(_normal(1, N, D))
    raw = _correlation(noisy, truth)
    assert raw == pytest.approx(0.5**0.5, abs=0.03)
    assert _correlation(_fit(noisy, truth).denoised(start=16), truth) > 0.9
    assert _correlation(_fit(noisy, _table(_normal(2, N, D))).denoised(start=16), truth) < raw + 0.02


def test_denoising_keeps_scale_padding_and_is_the_same_every_time():
    model = Robust(CONFIG, embeddings=_table(_normal(0, N, D)), context=torch.zeros(N + 1, D)).train()
    one = model.denoised()
    assert torch.equal(one, model.denoised()) and not one[0].any() and model.training and not one.requires_grad
    large = Robust(CONFIG, embeddings=100 * model.embedding, context=model.context)
    large.load_state_dict({**model.state_dict(), "embedding": 100 * model.embedding})
    torch.testing.assert_close(large.denoised(), 100 * one, rtol=1e-3, atol=1e-2)


def test_neighbours_are_averaged_on_both_sides():
    table = torch.arange(5.0).unsqueeze(1)
    found = neighbours([np.array([1, 2, 3]), np.array([2, 1])], table)
    assert found[:, 0].tolist() == [0.0, 2.0, pytest.approx(5 / 3), 2.0, 0.0]
    wider = neighbours([np.array([1, 2, 3])], table, window=2)
    assert wider[:, 0].tolist() == [0.0, 2.5, 2.0, 1.5, 0.0]


def test_a_recommender_is_copied_with_new_embeddings():
    model = SASRec(SASRecConfig(20, d=8, max_len=4, layers=1))
    before = model.item_embeddings().clone()
    changed = with_item_embeddings(model, -before)
    assert torch.equal(changed.item_embeddings(), -before) and torch.equal(model.item_embeddings(), before)
    for wrong, words in ((Markov(MarkovConfig(20)), "items = None"), (model, r"\(2, 8\)")):
        with pytest.raises(ConfigError, match=words):
            with_item_embeddings(wrong, torch.zeros(2, 8))


def test_every_parameter_gets_a_gradient():
    model = Robust(CONFIG, embeddings=_table(_normal(0, N, D)), context=_table(_normal(1, N, D)))
    history = torch.tensor([[0, 3, 4], [5, 5, 6]])
    model.loss(Batch(history, history), generator=torch.Generator().manual_seed(0))["loss"].backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]


def test_saving_and_loading_changes_nothing_and_is_strict(tmp_path):
    model = Robust(CONFIG, embeddings=_table(_normal(0, N, D)), context=_table(_normal(1, N, D)))
    pretrained.save(model, tmp_path)
    loaded: Any = pretrained.load_enhancer(tmp_path)
    assert torch.equal(loaded.denoised(), model.denoised()) and loaded.config == CONFIG
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(tensors | {"surplus": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="surplus"):
        pretrained.load_enhancer(tmp_path)


@pytest.mark.parametrize("changes", [{"start": 21}, {"steps": 11}, {"hidden": 0}, {"dropout": 1.0}])
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        dataclasses.replace(CONFIG, **changes)


def test_a_model_without_embeddings_and_other_times_are_refused():
    with pytest.raises(ConfigError, match="no item embeddings"):
        Robust(CONFIG).denoised()
    with pytest.raises(ConfigError, match=r"context has shape \(2, 8\)"):
        Robust(CONFIG, embeddings=torch.zeros(N + 1, D), context=torch.zeros(2, D))
    with pytest.raises(ConfigError, match="start = 21"):
        Robust(CONFIG, embeddings=_table(_normal(0, N, D))).denoised(start=21)
