"""DiffuASR: the earlier items of a chain are known, so what is generated can be checked."""

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from recsys import pretrained
from recsys.data.augment import Augmented, augmented_split, without
from recsys.data.splits import Split, leave_one_out
from recsys.data.synthetic import markov_chain
from recsys.errors import ConfigError, DataError, ModelError
from recsys.models.diffuasr import DiffuASR, DiffuASRConfig, cut
from recsys.models.markov import Markov, MarkovConfig
from recsys.networks.unet import SequentialUNet
from recsys.train import TrainConfig, train
from recsys.types import Batch, Cases, Ranking, Recommender

N, TRAIN = 12, 300
CONFIG = DiffuASRConfig(
    N,
    d=16,
    length=2,
    max_len=2,
    heads=1,
    dropout=0.0,
    width=16,
    levels=2,
    T=50,
    schedule="cosine",
    weight=0.0,
    steps=20,
)


def _embeddings() -> torch.Tensor:
    table = torch.randn(N + 1, 16, generator=torch.Generator().manual_seed(1))
    table[0] = 0
    return table


def _model(**changes) -> DiffuASR:
    torch.manual_seed(0)
    return DiffuASR(dataclasses.replace(CONFIG, **changes), embeddings=_embeddings())


@functools.cache
def _chain(p):
    return markov_chain(n_items=N, n_users=TRAIN + 300, length=5, p=p, seed=0)


@functools.cache
def _trained(p, epochs):
    model = _model()
    split = Split(_chain(p).sequences[:TRAIN], Cases([], []), Cases([], []), N)
    for _ in train(model, split, TrainConfig(epochs=epochs, batch_size=100, learning_rate=5e-3)):
        pass
    return model


def _followed(model, chain) -> tuple[float, float]:
    """How often a generated item is what the chain has before its follower: the nearest, and the one before that."""
    predecessor = np.zeros(N + 1, np.int64)
    predecessor[chain.follower] = np.arange(N + 1)
    rows = np.stack(model.augment(chain.sequences[TRAIN:], length=2))
    return float((predecessor[rows[:, 2]] == rows[:, 1]).mean()), float((predecessor[rows[:, 1]] == rows[:, 0]).mean())


@pytest.mark.slow
def test_the_generated_items_are_the_true_predecessors():
    """Read backwards the chain is a chain with the same p: a calibrated draw is right with probability 0.91."""
    chain = _chain(0.9)
    near, far = _followed(_trained(0.9, 40), chain)
    assert near > 0.7 and far > 0.7  # chance is 1/12


def test_in_noise_there_is_no_predecessor_to_find():
    near, far = _followed(_trained(0.0, 10), _chain(0.0))
    assert near < 0.2 and far < 0.2


def test_real_items_stay_and_every_generated_one_is_an_item():
    sequences = [np.array([3, 4, 5]), np.zeros(0, np.int64), np.array([7])]
    for length in (1, 2):
        result = _model().augment(sequences, length=length)
        for before, after in zip(sequences, result, strict=True):
            assert after.dtype == np.int64 and np.array_equal(after[length:], before)
            assert after.min() >= 1 and after.max() <= N


def test_a_sequence_gets_the_same_items_in_any_batch_and_after_its_first_items_grew():
    model = _model(steps=5)
    sequences = [np.array([1 + i % N, 1 + (5 * i) % N]) for i in range(30)]
    generator = torch.Generator().manual_seed(3)
    whole = model.augment(sequences, length=2, generator=generator)
    torch.rand(9, generator=generator)
    alone = model.augment([np.append(sequences[7], 4)], length=2, generator=generator)[0]
    assert np.array_equal(alone[:-1], whole[7])
    chunks = model.augment(sequences, length=2, generator=generator, size=4)
    assert all(np.array_equal(a, b) for a, b in zip(whole, chunks, strict=True))
    other = model.augment(sequences, length=2, generator=torch.Generator().manual_seed(4))
    assert any(not np.array_equal(a, b) for a, b in zip(whole, other, strict=True))


def test_a_sequence_is_cut_between_what_came_before_and_what_followed_reversed():
    history = torch.tensor([[0, 0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 0, 8, 9], [0, 0, 0, 0, 0, 0, 7]])
    batch = Batch(history, torch.cat([history[:, 1:], torch.tensor([[6], [10], [0]])], dim=1))
    places = set()
    for seed in range(40):
        earlier, known = cut(batch, length=3, max_len=2, generator=torch.Generator().manual_seed(seed))
        assert len(earlier) == 2  # the third has one item
        for first, row, wanted in ((1, 0, 6), (8, 1, 10)):
            place = int(known[row, -1])
            places.add(place)
            assert known[row].tolist() == [place + 1 if place < wanted else 0, place]
            assert earlier[row].tolist() == [item if item >= first else 0 for item in range(place - 3, place)]
    assert places == {2, 3, 4, 5, 6, 9, 10}


def test_items_that_did_not_come_before_have_no_loss_and_no_influence():
    model, generator = _model(p_uncond=0.0), torch.Generator()
    batch = Batch(torch.tensor([[3]]), torch.tensor([[4]]))
    losses = []
    for change in (0.0, 5.0):
        with torch.no_grad():
            bias = model.unet.out.bias
            assert bias is not None
            bias[0] += change  # the first channel is missing here
            losses.append(float(model.loss(batch, generator=generator.manual_seed(0))["loss"]))
    assert losses[0] == losses[1]


def test_embeddings_are_scaled_frozen_and_rounded_to_the_nearest_item():
    model = DiffuASR(CONFIG, embeddings=7 * _embeddings())
    assert "embedding" not in dict(model.named_parameters()) and float(model.embedding[1:].std()) == pytest.approx(1)
    items = torch.arange(1, N + 1)
    near = model.embedding[items] + 0.1 * torch.randn(N, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.nearest(near), items)
    assert model.nearest(torch.zeros(1, 16)).item() >= 1


def test_every_parameter_gets_a_gradient():
    model, generator = _model(p_uncond=0.5), torch.Generator().manual_seed(0)
    rows = torch.from_numpy(np.stack(_chain(0.9).sequences[:40]))
    model.loss(Batch(rows[:, :-1], rows[:, 1:]), generator=generator)["loss"].backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]


def test_the_unet_sees_an_embedding_as_a_square_and_items_as_channels():
    net = SequentialUNet(64, 10, width=8, levels=4)
    assert net(torch.randn(3, 10, 64), torch.tensor([1, 5, 9]), torch.randn(3, 64)).shape == (3, 10, 64)
    with pytest.raises(ConfigError, match="d = 60.*64"):
        SequentialUNet(60, 10, width=8, levels=4)
    with pytest.raises(ConfigError, match="levels = 4"):
        SequentialUNet(16, 10, width=8, levels=4)


def test_saving_and_loading_changes_nothing_and_is_strict(tmp_path):
    model = _model()
    pretrained.save(model, tmp_path)
    loaded: Any = pretrained.load_enhancer(tmp_path)
    sequences = [np.array([3, 4]), np.array([5])]
    for one, two in zip(model.augment(sequences, length=2), loaded.augment(sequences, length=2), strict=True):
        assert np.array_equal(one, two)
    assert loaded.config == model.config and not loaded.training
    with pytest.raises(ModelError, match="'diffuasr'; allowed are popularity"):
        pretrained.load(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({key: value for key, value in tensors.items() if key != "embedding"}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="embedding"):
        pretrained.load_enhancer(tmp_path)


@pytest.mark.parametrize("changes", [{"length": 0}, {"weight": -1.0}, {"steps": 51}, {"d": 15}, {"width": 0}])
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        dataclasses.replace(CONFIG, **changes)


def test_a_model_without_embeddings_and_bad_sequences_are_refused():
    with pytest.raises(ConfigError, match="no item embeddings"):
        DiffuASR(CONFIG).augment([np.array([1])], length=1)
    with pytest.raises(ConfigError, match=r"\(3, 16\)"):
        DiffuASR(CONFIG, embeddings=torch.zeros(3, 16))
    with pytest.raises(ConfigError, match="length = 3"):
        _model().augment([np.array([1])], length=3)
    with pytest.raises(DataError, match="13"):
        _model().augment([np.array([1, 13])], length=2)
    with pytest.raises(DataError, match="two items"):
        cut(Batch(torch.tensor([[0]]), torch.tensor([[4]])), length=2, max_len=2, generator=torch.Generator())


def _nines(sequences):
    return [np.concatenate([np.array([9, 9]), s]) for s in sequences]


def test_a_split_is_augmented_without_touching_its_targets():
    split = leave_one_out([np.arange(1, 6), np.arange(2, 5)], N)
    longer = augmented_split(split, _nines)
    assert longer.train[0].tolist() == [9, 9, 1, 2, 3] and longer.test.histories[1].tolist() == [9, 9, 2, 3]
    assert longer.valid.histories[0].tolist() == [9, 9, 1, 2, 3] and longer.test.targets[0].tolist() == [5]
    assert augmented_split(split, _nines, cases=False).test is split.test
    with pytest.raises(ModelError, match="only put items in front"):
        augmented_split(split, lambda sequences: [s[::-1] for s in sequences])


def test_an_augmented_recommender_masks_real_items_alone():
    base = Markov(MarkovConfig(N)).fit(_chain(0.9).sequences[:TRAIN])
    model = Augmented(base, _nines)
    assert isinstance(model, Recommender)
    history = torch.tensor([[0, 3, 4], [5, 6, 7]])
    ranking = model.recommend(history, N)
    for items, scores, seen in zip(ranking.items, ranking.scores, history, strict=True):
        assert 9 in items.tolist() and not set(items[items > 0].tolist()) & set(seen.tolist())
        left = N - len(set(seen[seen > 0].tolist()))
        assert (items[:left] > 0).all() and not items[left:].any() and (scores[:left].diff() <= 0).all()
    assert model.recommend(history, N, exclude_seen=False).items.sort(1).values.tolist() == [list(range(1, N + 1))] * 2
    alone = model.recommend(history[:1, 1:], N)
    assert torch.equal(alone.items[0], ranking.items[0])


def test_rankings_without_the_history_end_in_zeros():
    ranking = Ranking(torch.tensor([[4, 2, 3], [1, 2, 3]]), torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]))
    found = without(ranking, torch.tensor([[0, 2], [3, 1]]), 2)
    assert found.items.tolist() == [[4, 3], [2, 0]] and found.scores.tolist() == [[3.0, 1.0], [2.0, -torch.inf]]
