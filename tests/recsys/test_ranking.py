"""The k best items: their number, ties, what is seen, and users ranked in chunks of like length."""

import pytest
import torch

from recsys.errors import ConfigError, ModelError
from recsys.ranking import rank_in_chunks, top_k

SCORES = torch.tensor([[9.0, 1, 5, 3, 2], [9.0, 4, 4, 1, 4]])
SEEN = torch.tensor([[0, 2], [4, 1]])


def test_one_item_or_all_can_be_asked_for_and_no_other_number():
    nobody = torch.zeros(2, 1, dtype=torch.int64)
    assert top_k(SCORES, nobody, 1).items.tolist() == [[2], [1]]
    assert top_k(SCORES, nobody, 4).items.tolist() == [[2, 3, 4, 1], [1, 2, 4, 3]]
    for k in (0, 5, -1):
        with pytest.raises(ConfigError, match=f"k = {k}; allowed are 1 to 4"):
            top_k(SCORES, nobody, k)


def test_seen_items_are_left_out_unless_they_are_wanted():
    assert top_k(SCORES, SEEN, 3).items.tolist() == [[3, 4, 1], [2, 3, 0]]
    assert top_k(SCORES, SEEN, 3).scores[1].tolist() == [4, 1, -torch.inf]
    assert top_k(SCORES, SEEN, 2, exclude_seen=False).items.tolist() == [[2, 3], [1, 2]]


@pytest.mark.parametrize("item", [1, 4])
def test_one_score_that_is_no_number_is_enough_to_refuse(item):
    scores = SCORES.clone()
    scores[1, item] = torch.nan
    with pytest.raises(ModelError, match="NaN"):
        top_k(scores, torch.zeros(2, 1, dtype=torch.int64), 2)


@pytest.mark.parametrize("size", [1, 2, 256])
def test_chunks_hold_histories_of_like_length_and_cut_nothing_off(size):
    """Scores of everything in the history come out as they would for each user alone, whatever the chunks."""
    history = torch.tensor([[0, 0, 0, 7], [1, 2, 3, 4], [0, 0, 0, 0], [0, 0, 5, 6], [0, 8, 9, 1]])
    table, widths = torch.rand(11, 11, generator=torch.Generator().manual_seed(0)), []

    def score(seen, rows):
        widths.append(seen.shape[1])
        assert torch.equal(history[rows, -seen.shape[1] :], seen)
        return (table[seen] * (seen > 0).unsqueeze(-1)).sum(1)

    found = rank_in_chunks(score, history, 3, size=size)
    whole = (table[history] * (history > 0).unsqueeze(-1)).sum(1)
    wanted = top_k(whole, history, 3)
    assert torch.equal(found.items, wanted.items)
    torch.testing.assert_close(found.scores, wanted.scores)
    assert widths == {1: [1, 1, 2, 3, 4], 2: [1, 3, 4], 256: [4]}[size]
    assert not (rank_in_chunks(score, history, 3).items[1].unsqueeze(1) == history[1]).any()
    both = rank_in_chunks(score, history, 10, exclude_seen=False, size=size)
    assert (both.items.sort(1).values == torch.arange(1, 11)).all()
