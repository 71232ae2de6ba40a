"""The sampled softmax is that over all items, on average; and it reads what it needs alone."""

import pytest
import torch

from recsys.errors import ConfigError
from recsys.models.dreamrec import DreamRec, DreamRecConfig
from recsys.models.sasrec import SASRec, SASRecConfig
from recsys.networks import items as items_of
from recsys.networks.items import ItemTable, exact_cross_entropy
from recsys.networks.sampled import Proposal, sampled_cross_entropy
from recsys.types import Batch

N, D = 40, 8


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _proposal(counted):
    proposal = Proposal(N)
    if counted:
        proposal.count(torch.cat([torch.arange(1, N + 1), torch.full((300,), 3), torch.full((100,), 9)]))
    return proposal


@pytest.mark.parametrize("counted", [False, True])
def test_each_item_is_drawn_as_often_as_is_said(counted):
    ids, log_expected = _proposal(counted).draw(400_000, generator=_generator())
    found = torch.bincount(ids, minlength=N + 1)[1:].double()
    said = torch.zeros(N + 1, dtype=torch.float64)
    said[ids] = log_expected.exp().double()
    assert said[1:].sum() == pytest.approx(400_000, rel=1e-5)
    assert bool(((found - said[1:]).abs() < 5 * said[1:].sqrt()).all())


@pytest.mark.parametrize("counted", [False, True])
def test_the_normaliser_of_a_sample_is_right_on_average_for_every_query(counted):
    """exp(loss) = Z'/exp s_t; its mean over samples is Z/exp s_t, the exponent of the exact loss: an unbiased Z'."""
    query, embedding, bias = torch.randn(3, D), torch.randn(N + 1, D), torch.randn(N + 1)
    target, proposal, generator = torch.tensor([3, 17, 40]), _proposal(counted), _generator()
    for row in range(3):
        one, wanted = query[row : row + 1], target[row : row + 1]
        exact = float(exact_cross_entropy(one, wanted, embedding, bias, scale=0.5).exp())
        ratios = []
        for _ in range(1500):
            drawn, log_expected = proposal.draw(20, generator=generator)
            loss = sampled_cross_entropy(one, wanted, embedding, bias, drawn, log_expected, scale=0.5)
            ratios.append(float(loss.exp()))
        ratios = torch.tensor(ratios, dtype=torch.float64)
        error = float(ratios.std()) / len(ratios) ** 0.5
        assert abs(float(ratios.mean()) - exact) < 4 * error and error < 0.05 * exact


def test_without_the_correction_it_would_not_be():
    query, embedding, bias = torch.randn(1, D), torch.randn(N + 1, D), torch.randn(N + 1)
    embedding[3], target = query[0], torch.tensor([17])  # a popular item that the query likes
    exact = float(exact_cross_entropy(query, target, embedding, bias, scale=1.0))
    drawn, log_expected = _proposal(True).draw(200_000, generator=_generator())
    corrected = float(sampled_cross_entropy(query, target, embedding, bias, drawn, log_expected, scale=1.0))
    flat = torch.full_like(log_expected, len(drawn) / N).log()
    assert corrected == pytest.approx(exact, abs=0.02)
    assert abs(float(sampled_cross_entropy(query, target, embedding, bias, drawn, flat, scale=1.0)) - exact) > 0.2


def _gradients(model, batch, seed=0):
    model.zero_grad()
    model.loss(batch, generator=_generator(seed))["loss"].backward()
    return {name: value.grad.to_dense().clone() for name, value in model.named_parameters() if value.grad is not None}


HISTORY = torch.tensor([[0, 0, 3, 4], [5, 6, 7, 8]])
BATCH = Batch(HISTORY, torch.tensor([[0, 0, 4, 9], [6, 7, 8, 10]]))


def test_loss_and_gradients_of_many_draws_are_the_exact_ones(monkeypatch):
    """SASRec's; DreamRec draws times and noise from the same generator, so its gradients are of other ones."""
    torch.manual_seed(0)
    exact = SASRec(SASRecConfig(N, d=D, layers=1, dropout=0.0))
    sampled = SASRec(SASRecConfig(N, d=D, layers=1, dropout=0.0, max_softmax=N - 1))
    sampled.load_state_dict(exact.state_dict())
    sampled.sample_from([row[row > 0].numpy() for row in HISTORY])
    draw = sampled.proposal.draw
    monkeypatch.setattr(sampled.proposal, "draw", lambda m, *, generator: draw(500_000, generator=generator))
    wanted, found = _gradients(exact, BATCH), _gradients(sampled, BATCH)
    assert wanted.keys() == found.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, atol=4e-3, rtol=0.05)


@pytest.mark.parametrize("config", [SASRecConfig(N, d=D, max_softmax=10), DreamRecConfig(N, d=D, max_softmax=10)])
def test_items_that_take_no_part_get_no_gradient(config, monkeypatch):
    monkeypatch.setattr(items_of, "SPARSE", 1)
    model = (SASRec if isinstance(config, SASRecConfig) else DreamRec)(config)
    model.loss(BATCH, generator=_generator())["loss"].backward()
    for name in ("id_embedding", "id_bias"):
        grad = dict(model.table.named_parameters())[name].grad
        assert grad is not None and grad.is_sparse and len(grad.coalesce().indices()[0]) <= 10 + 10 + 1


def test_sparse_gradients_are_the_dense_ones(monkeypatch):
    torch.manual_seed(0)
    model = SASRec(SASRecConfig(N, d=D, max_softmax=10, dropout=0.0))
    dense = _gradients(model, BATCH)
    monkeypatch.setattr(items_of, "SPARSE", 1)
    for name, value in _gradients(model, BATCH).items():
        torch.testing.assert_close(value, dense[name])


def test_rows_of_a_table_are_those_of_the_whole():
    for source, n_features in (("id", 0), ("features", 3), ("both", 3)):
        table = ItemTable(N, D, source=source, n_features=n_features)
        if n_features:
            table.set_features(torch.randn(N + 1, 3))
        ids = torch.tensor([0, 5, 7, 40])
        for some, whole in zip(table.rows(ids, generator=_generator()), table(), strict=True):
            torch.testing.assert_close(some, whole[ids])


def test_embeddings_may_be_kept_in_bfloat16_and_are_above_a_size(monkeypatch):
    assert ItemTable(N, D, source="id", dtype="bfloat16").id_embedding.dtype == torch.bfloat16
    assert ItemTable(N, D, source="id", dtype="auto").id_embedding.dtype == torch.float32
    monkeypatch.setattr(items_of, "HALVED", N - 1)
    table = ItemTable(N, D, source="id", dtype="auto")
    assert table.id_embedding.dtype == torch.bfloat16 and table()[0].dtype == torch.float32
    with pytest.raises(ConfigError, match="item_dtype = 'half'; allowed are auto, float32, bfloat16"):
        SASRec(SASRecConfig(N, item_dtype="half"))
