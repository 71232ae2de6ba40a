"""Ranking through an index: the exact top k of what index and evidence name, and of all items if it is exact."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch

from recsys import pretrained
from recsys.counts.transitions import nearest
from recsys.errors import ConfigError, ModelError
from recsys.index import ABOUT, INDEX, Index, Indexed, best_of_union, nearly_nearest
from recsys.models.countdiff import CountDiff, CountDiffConfig
from recsys.models.sasrec import SASRec, SASRecConfig
from recsys.types import Asked, Cases, Indexable

pytest.importorskip("usearch", reason="the index needs usearch: pip install 'personagen[scale]'")
N = 300


class Exhaustive(Index):
    """An index that misses nothing."""

    def __init__(self, vectors):
        self.vectors = vectors

    def __len__(self):
        return len(self.vectors) - 1

    def nearest(self, query, count):
        scores = query @ self.vectors.T
        scores[:, 0] = -torch.inf
        return scores.topk(min(count, len(self)), dim=1).indices


def _sequences(count=200, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.integers(N) + rng.integers(0, 12, rng.integers(2, 12)).cumsum()) % N + 1 for _ in range(count)]


def _histories(count=40):
    rows = _sequences(count, seed=1)
    history = torch.zeros(count, 14, dtype=torch.int64)
    for row, items in zip(history, rows, strict=True):
        row[14 - len(items) :] = torch.from_numpy(items)
    history[0] = 0
    return history


def _countdiff(**changes) -> Any:
    torch.manual_seed(0)
    words = changes.get("words", False)
    features = torch.rand(N + 1, 6) if words else None
    if features is not None:
        changes |= {"items": "both", "n_features": 6}
        features[0] = 0
    model = CountDiff(CountDiffConfig(N, d=16, layers=1, regressed=50, **changes), features=features)
    torch.nn.init.normal_(model.net.table.id_bias)
    sequences = _sequences()
    model.prepare(sequences)
    if features is not None:
        model.set_neighbours(nearest(torch.nn.functional.normalize(features, dim=1), count=5))
    model.tune(Cases([row[:-1] for row in sequences[:150]], [row[-1:] for row in sequences[:150]]))
    model.weights[2:].clamp_(min=0)  # evidence that speaks against an item is not the theorem's
    return model.eval()


def _sasrec() -> Any:
    torch.manual_seed(0)
    model = SASRec(SASRecConfig(N, d=16, layers=1))
    torch.nn.init.normal_(model.table.id_bias)
    return model.eval()


@pytest.mark.parametrize("make", [_sasrec, _countdiff, lambda: _countdiff(words=True)])
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_with_an_index_that_misses_nothing_it_is_the_ranking_of_all_items(make, exclude_seen):
    model: Any = make()
    history = _histories()
    indexed = Indexed(model, Exhaustive(model.item_vectors()))
    assert isinstance(_sasrec(), Indexable)
    whole = model.recommend(history, 20, exclude_seen=exclude_seen)
    found = indexed.recommend(history, 20, exclude_seen=exclude_seen)
    assert torch.equal(found.items, whole.items)
    gaps = whole.scores - found.scores  # one number a user: the mass of the items that are not in the union
    torch.testing.assert_close(gaps, gaps[:, :1].expand_as(gaps), atol=2e-4, rtol=0)
    assert bool((gaps <= 1e-4).all())


def test_it_is_the_exact_top_of_the_union_whatever_the_index_names():
    """A brute-force union: every user's list is the best of the named and the known, by the full model's own scores."""
    model, history = _countdiff(), _histories()
    vectors, k = model.item_vectors(), 5
    whole = model.recommend(history, N, exclude_seen=False)
    near = torch.randint(0, N + 1, (len(history), 7), generator=torch.Generator().manual_seed(0))  # as bad as can be
    asked = model.ask(history, vectors)
    found = best_of_union(asked, vectors, near, history, k)
    for user in range(len(history)):
        known = asked.cells[asked.cells // (N + 1) == user] % (N + 1)
        union = set(near[user].tolist()) | set(known.tolist())
        union -= {0, *history[user].tolist()}
        wanted = [item for item in whole.items[user].tolist() if item in union][:k]
        assert found.items[user].tolist() == wanted + [0] * (k - len(wanted))
        assert (found.scores[user] == -torch.inf).tolist() == (found.items[user] == 0).tolist()


def test_histories_go_where_the_model_computes():
    """Callers know no device of a wrapper, so histories come from the CPU: evaluation, `rank_all`, the server."""

    class Elsewhere:
        n_items = 5

        def item_vectors(self):
            return torch.zeros(6, 3, device="meta")

        def ask(self, history, vectors, *, generator=None):
            raise RuntimeError(f"asked on {history.device}")

    with pytest.raises(RuntimeError, match="meta"):  # whose numbers nobody can look at
        Indexed(Elsewhere(), Exhaustive(torch.zeros(6, 3))).recommend(torch.tensor([[1, 2]]), 2)


def test_equal_scores_go_to_the_lower_item():
    asked = Asked(torch.zeros(1, 3), torch.tensor([], dtype=torch.int64), torch.tensor([]))
    found = best_of_union(asked, torch.zeros(9, 3), torch.tensor([[7, 2, 5, 2]]), None, 2)
    assert found.items.tolist() == [[2, 5]]


def test_the_graph_finds_nearly_all_of_the_nearest_and_is_the_same_when_read_again(tmp_path):
    model = _sasrec()
    vectors = model.item_vectors()
    index = Index.build(vectors)
    query = torch.randn(50, vectors.shape[1])
    exact = Exhaustive(vectors).nearest(query, 20)
    found = index.nearest(query, 20)
    assert np.mean([len(set(a) & set(b)) / 20 for a, b in zip(found.tolist(), exact.tolist(), strict=True)]) > 0.97
    pretrained.save(model, tmp_path)
    assert Index.load(tmp_path) is None
    index.save(tmp_path)
    again = Index.load(tmp_path)
    assert again is not None and torch.equal(again.nearest(query, 20), found)
    assert bool((index.nearest(query, N + 50)[:, N:] == 0).all()) or index.nearest(query, N + 50).shape[1] == N


def test_an_index_of_another_model_is_none_and_a_damaged_one_is_told(tmp_path):
    model = _sasrec()
    pretrained.save(model, tmp_path)
    Index.build(model.item_vectors()).save(tmp_path)
    about = json.loads((tmp_path / ABOUT).read_text())
    (tmp_path / INDEX).write_bytes(b"none")
    with pytest.raises(ModelError, match="make it again: personagen recommend index"):
        Index.load(tmp_path)
    (tmp_path / ABOUT).write_text(json.dumps(about | {"model": "another"}))
    assert Index.load(tmp_path) is None


def test_what_ranks_in_draws_has_no_vectors():
    model = _countdiff()
    model.config = dataclasses.replace(model.config, draws=2)
    assert model.item_vectors() is None
    with pytest.raises(ConfigError, match="several steps or draws"):
        Indexed(model, Exhaustive(torch.zeros(N + 1, 2)))


def test_likes_through_an_index_are_nearly_those_of_all_pairs(monkeypatch):
    features = torch.nn.functional.normalize(torch.rand(N + 1, 12) - 0.3, dim=1)
    features[0] = features[9] = 0
    exact, found = nearest(features, count=7), nearly_nearest(features, count=7)
    assert found.starts[9] == found.starts[10] and not bool((found.follows == 0).any())
    wanted = {(row, int(item)): float(like) for row in range(N + 1) for item, like in _row(exact, row)}
    both = {(row, int(item)): float(like) for row in range(N + 1) for item, like in _row(found, row)}
    assert len(both.keys() & wanted.keys()) > 0.97 * len(wanted)
    assert all(abs(both[pair] - wanted[pair]) < 1e-5 for pair in both.keys() & wanted.keys())
    assert not any(row == item for row, item in both)


def _row(table, row):
    part = slice(int(table.starts[row]), int(table.starts[row + 1]))
    return zip(table.follows[part], table.weights[part], strict=True)
