import math

import pytest
import torch

from recsys.diffusion.uncertainty import drop_probabilities, entropy, redundancy, thin

EMBEDDING = torch.tensor([[0.0, 0.0], [1, 0], [2, 0], [0, 1], [-1, 0], [0, 3]])
HISTORY = torch.tensor([[0, 1, 2, 3], [1, 3, 4, 5], [0, 0, 0, 2], [0, 0, 0, 0]])


def test_redundancy_is_the_softmax_of_likeness_to_the_successor():
    share = redundancy(HISTORY, EMBEDDING)
    e = math.e
    expected = [[0, e / (e + 1), 1 / (e + 1), 0], [1 / 3, 1 / 3, 1 / 3, 0], [0] * 4, [0] * 4]
    torch.testing.assert_close(share, torch.tensor(expected), atol=1e-6, rtol=1e-6)


def test_entropy_is_highest_where_all_items_are_alike_redundant():
    h = entropy(redundancy(HISTORY, EMBEDDING))
    assert h[1] == pytest.approx(math.log(3)) and 0 < h[0] < math.log(2)
    assert h[2:].tolist() == [0, 0]


def test_shares_are_scaled_to_mean_shares_and_cut_at_one():
    of_item, of_row = drop_probabilities(HISTORY, EMBEDDING, items=0.2, rows=0.5)
    torch.testing.assert_close(of_item.sum(1), torch.tensor([0.2 * 3, 0.2 * 4, 0.0, 0.0]))
    assert of_row.mean() == pytest.approx(0.5) and of_row.argmax() == 1
    of_item, of_row = drop_probabilities(HISTORY, EMBEDDING, items=1.0, rows=1.0)
    assert of_item.max() == 1 and of_row.max() == 1 and (of_item[:, -1] == 0).all()


def test_what_is_left_moves_to_the_right_in_order():
    history = HISTORY[:2].repeat(500, 1)
    thinned = thin(history, EMBEDDING, items=0.3, rows=1.0, generator=torch.Generator().manual_seed(0))
    of_item, of_row = drop_probabilities(history, EMBEDDING, items=0.3, rows=1.0)
    gone = ((history != 0).sum(1) - (thinned != 0).sum(1)).float()
    assert gone.mean() == pytest.approx(float((of_item.sum(1) * of_row).mean()), abs=0.1)
    assert (thinned[:, -1] == history[:, -1]).all()
    for before, after in zip(history.tolist()[:40], thinned.tolist()[:40], strict=True):
        left = [item for item in after if item]
        assert after == [0] * (4 - len(left)) + left
        assert [item for item in before if item in left] == left


def test_switched_off_it_draws_nothing():
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    for settings in ({"items": 0.0, "rows": 1.0}, {"items": 0.5, "rows": 0.0}):
        assert thin(HISTORY, EMBEDDING, **settings, generator=generator) is HISTORY
    assert torch.equal(generator.get_state(), state)
