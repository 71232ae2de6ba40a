import dataclasses
from typing import Any

import pytest
import torch

from recsys.errors import ConfigError
from recsys.models.gru4rec import GRU4Rec, GRU4RecConfig
from recsys.models.sasrec import SASRec

CONFIG = GRU4RecConfig(30, d=16, max_len=6)


def test_it_is_sasrec_with_a_gru():
    models: list[Any] = []
    for build in (lambda: GRU4Rec(CONFIG), lambda: SASRec(CONFIG.sasrec())):
        torch.manual_seed(0)
        models.append(build().eval())
    one, two = (model.recommend(torch.tensor([[0, 3, 4], [5, 6, 7]]), 9) for model in models)
    assert torch.equal(one.items, two.items) and torch.equal(one.scores, two.scores)
    assert models[1].config.encoder == "gru" and "net.encoder.gru.weight_ih_l0" in models[0].state_dict()


def test_items_can_be_known_by_features_and_added_later():
    features = torch.randn(31, 5)
    model = GRU4Rec(dataclasses.replace(CONFIG, items="both", n_features=5), features=features).eval()
    grown = model.with_items(features[7:9])
    assert grown.n_items == grown.config.n_items == 32
    assert torch.equal(grown.item_embeddings()[:31], model.item_embeddings())
    assert grown.recommend(torch.tensor([[1, 2]]), 32, exclude_seen=False).items.max() == 32


@pytest.mark.parametrize("changes", [{"layers": 0}, {"dropout": 1.0}, {"max_softmax": 1}])
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        dataclasses.replace(CONFIG, **changes)
