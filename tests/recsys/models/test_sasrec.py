import dataclasses

import pytest
import torch

from recsys.errors import ConfigError
from recsys.models.sasrec import SASRec, SASRecConfig
from recsys.networks.items import ItemTable, grow, with_first_items
from recsys.types import Batch

CONFIG = SASRecConfig(30, d=16, max_len=6, layers=1)
BATCH = Batch(torch.tensor([[0, 0, 3, 4], [5, 6, 7, 8]]), torch.tensor([[0, 0, 4, 9], [6, 7, 8, 10]]))


def _loss(model, batch, seed=0):
    return model.loss(batch, generator=torch.Generator().manual_seed(seed))["loss"].item()


def test_the_loss_is_the_cross_entropy_of_each_next_item_under_its_own_prefix():
    """Closed form: rank every prefix alone, as at test time, and read off the log-probability of its next item."""
    model = SASRec(CONFIG).eval()
    prefixes = [([], 3), ([3], 4), ([3, 4], 9), ([5], 6), ([5, 6], 7), ([5, 6, 7], 8), ([5, 6, 7, 8], 10)]
    dict(model.named_parameters())[
        "encoder.position"
    ].data.zero_()  # positions count from the recent end: a prefix inside a row sits elsewhere
    log_p = []
    for prefix, item in prefixes:
        ranking = model.recommend(torch.tensor([[0, *prefix]]), 30, exclude_seen=False)
        log_p.append(float(ranking.scores[ranking.items == item]))
        assert float(ranking.scores.exp().sum()) == pytest.approx(1, abs=1e-5)
    assert _loss(model, BATCH) == pytest.approx(-sum(log_p) / len(log_p), abs=1e-5)


def test_histories_longer_than_max_len_use_the_recent_part_but_exclude_all():
    model, long = SASRec(CONFIG), torch.arange(1, 11).unsqueeze(0)
    ranking = model.recommend(long, 20)
    recent = model.recommend(long[:, -6:], 30, exclude_seen=False)
    kept = [item for item in recent.items[0].tolist() if item > 10]
    assert ranking.items[0].tolist() == kept


def test_first_items_are_targets_of_the_empty_history():
    filled = with_first_items(BATCH)
    assert filled.target.tolist() == [[0, 3, 4, 9], [6, 7, 8, 10]]
    assert BATCH.target[0, 1] == 0


def test_a_batch_with_targets_after_nothing_trains_the_empty_history():
    model = SASRec(CONFIG)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    batch = Batch(torch.zeros(8, 2, dtype=torch.int64), torch.tensor([[0, 11]] * 8))
    for _ in range(20):
        optimizer.zero_grad()
        model.loss(batch, generator=torch.Generator().manual_seed(0))["loss"].backward()
        optimizer.step()
    assert model.recommend(torch.zeros(1, 1, dtype=torch.int64), 1).items.item() == 11


def test_large_catalogues_are_trained_on_a_sample():
    model = SASRec(dataclasses.replace(CONFIG, max_softmax=10, dropout=0.0))
    assert _loss(model, BATCH, 0) != _loss(model, BATCH, 1)
    full = SASRec(dataclasses.replace(CONFIG, dropout=0.0))
    assert _loss(full, BATCH, 0) == _loss(full, BATCH, 1)


def test_items_can_be_known_by_features_and_added_later():
    features = torch.randn(31, 5)
    for source in ("features", "both"):
        model = SASRec(dataclasses.replace(CONFIG, items=source, n_features=5), features=features).eval()
        twin = model.with_items(features[7:8])
        assert twin.n_items == 31 and model.n_items == 30
        embedding = twin.item_embeddings()
        assert torch.equal(embedding[:31], model.item_embeddings())
        if source == "features":
            torch.testing.assert_close(embedding[31], embedding[7])
        assert 31 in twin.recommend(torch.tensor([[1, 2]]), 29).items


def test_ids_are_dropped_in_training_only():
    table = ItemTable(200, 4, source="both", n_features=3, id_dropout=0.5)
    plain, dropped = table()[0], table(generator=torch.Generator().manual_seed(0))[0]
    changed = (plain != dropped).any(1)[1:].float().mean()
    assert 0.35 < changed < 0.65


@pytest.mark.parametrize(
    "changes",
    [
        {"dropout": 1.0},
        {"d": 0},
        {"items": "text"},
        {"items": "both"},
        {"n_features": 3},
        {"encoder": "rnn"},
        {"layers": 0},
    ],
)
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        SASRec(dataclasses.replace(CONFIG, **changes))


def test_features_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="features"):
        SASRec(CONFIG, features=torch.zeros(31, 2))
    with pytest.raises(ConfigError, match="by id only"):
        SASRec(CONFIG).with_items(torch.zeros(1, 2))
    with pytest.raises(ConfigError, match="new items, 2"):
        grow({"table.features": torch.zeros(31, 2)}, torch.zeros(1, 3))
