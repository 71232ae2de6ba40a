"""Codes are unique, deterministic and mean something; the trie gives valid tuples only; beams find the best ones."""

import itertools
import json

import numpy as np
import pytest
import torch

from recsys.counts.texts import text_features
from recsys.data.synthetic import tastes
from recsys.errors import ConfigError, DataError
from recsys.ids import semantic_ids as ids
from recsys.ids.codes import CodeEmbedding, ItemCodes


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _vectors(n=60, f=6, seed=0):
    return torch.randn(n + 1, f, generator=_generator(seed))


def _unique(codes):
    return len(torch.unique(codes[1:], dim=0)) == len(codes) - 1


@pytest.mark.parametrize("name", sorted(ids.QUANTISERS))
def test_codes_are_unique_deterministic_and_in_range(name):
    vectors = _vectors()
    vectors[41:] = vectors[1:21]  # twenty pairs of equal items
    codes = ids.QUANTISERS[name](vectors, m=3, V=8, generator=_generator())
    assert codes.shape == (61, 3) and codes.dtype == torch.int64 and not codes[0].any()
    assert 0 <= int(codes.min()) and int(codes.max()) < 8 and _unique(codes)
    assert torch.equal(codes, ids.QUANTISERS[name](vectors, m=3, V=8, generator=_generator()))
    agree = (codes[1:21] == codes[41:61]).sum(1)
    assert float((agree == 2).float().mean()) > 0.7  # a twin differs in one digit where one is free


def test_residual_digits_go_from_coarse_to_fine():
    vectors = _vectors(300)
    codes = ids.residual_codes(vectors, m=3, V=8, generator=_generator())[1:]
    left = [float(vectors[1:].var(0, correction=0).sum())]
    for digits in (1, 2):
        groups = torch.unique(codes[:, :digits], dim=0, return_inverse=True)[1]
        spread = [vectors[1:][groups == g].var(0, correction=0).sum() * (groups == g).sum() for g in groups.unique()]
        left.append(float(torch.stack(spread).sum() / 300))
    assert left[1] < 0.6 * left[0] and left[2] < 0.5 * left[1]


def test_the_rotation_is_one_and_balances_the_parts():
    x = torch.randn(500, 7, generator=_generator()) * torch.tensor([8.0, 4, 4, 2, 2, 1, 1])
    turned = ids.balanced_rotation(x, 4)
    assert turned.shape == (500, 8)
    torch.testing.assert_close(torch.cdist(turned[:9], turned[:9]), torch.cdist(x[:9], x[:9]), atol=1e-3, rtol=1e-3)
    strongest = sorted(float(part.var(0).max()) for part in turned.chunk(4, dim=1))
    assert strongest[0] > 3  # the four widest axes lie in four different parts


def test_collisions_take_the_cheapest_free_tuple():
    cost = torch.tensor([[[0.0, 1, 9], [0, 2, 9]]]).repeat(4, 1, 1)  # four items, two digits of three codes
    assert ids.unique_codes(cost)[1:].tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]
    full = torch.zeros(9, 2, 3)
    assert _unique(ids.unique_codes(full))
    with pytest.raises(ConfigError, match="9 tuples.*10"):
        ids.unique_codes(torch.zeros(10, 2, 3))


def test_an_extra_digit_counts_equal_codes():
    codes = torch.tensor([[0, 0], [1, 1], [1, 1], [2, 0], [1, 1]])
    assert ids.with_extra_digit(codes, V=3)[1:, 2].tolist() == [0, 1, 0, 2]
    with pytest.raises(ConfigError, match="3 items.*V = 2"):
        ids.with_extra_digit(codes, V=2)


@pytest.mark.parametrize(("n", "m", "V"), [(5, 4, 64), (64, 3, 4), (1000, 3, 16), (7, 1, 7)])
def test_codes_without_meaning_are_unique_and_balanced(n, m, V):
    codes = ids.spread_codes(n, m=m, V=V)
    assert _unique(codes) and int(codes.max()) < V
    if n >= 10 * V:
        for digit in codes[1:].T:
            share = torch.bincount(digit, minlength=V) / n
            assert float(share.max()) < 1.5 / V and float(share.min()) > 0.5 / V


def test_items_that_are_taken_together_lie_together():
    data = tastes()
    vectors = ids.vectors_from_sequences(data.sequences, 60, 16)
    assert vectors.shape == (61, 16) and not vectors[0].any()
    torch.testing.assert_close(vectors[1:].norm(dim=1), torch.ones(60))
    near = (vectors[1:] @ vectors[1:].T).fill_diagonal_(-1).argmax(1)
    assert float((data.kinds[1:][near] == data.kinds[1:]).mean()) > 0.9
    more = ids.vectors_from_sequences(data.sequences, 62, 80)
    assert more.shape == (63, 80) and not more[61:].any()
    with pytest.raises(DataError, match="60"):
        ids.vectors_from_sequences([np.array([1, 61])], 60, 4)


def test_items_of_like_words_share_a_digit():
    texts = ["", "red nail polish", "blue nail polish", "hair brush", "wooden hair brush"]
    codes = ids.residual_codes(text_features(texts, dimensions=2), m=2, V=2, generator=_generator())
    assert codes[1, 0] == codes[2, 0] != codes[3, 0] == codes[4, 0]


def test_codes_are_read_from_json(tmp_path):
    place = tmp_path / "codes.json"
    place.write_text(json.dumps({"1": ["<a_183>", "<b_7>"], "2": ["<a_5>", "<b_0>"]}))
    assert ids.read_codes(place, 2).tolist() == [[0, 0], [183, 7], [5, 0]]
    with pytest.raises(DataError, match="1..3"):
        ids.read_codes(place, 3)


def _log_table(m, V, users=3, seed=0):
    """One distribution for every prefix: (users, V, …, V, V) by number of digits known."""
    tables = [torch.randn(users, *[V] * (j + 1), generator=_generator(seed + j)).log_softmax(-1) for j in range(m)]

    def ask(prefix):
        rows = torch.arange(users).unsqueeze(1).expand(prefix.shape[:2])
        return tables[prefix.shape[-1]][(rows, *prefix.unbind(-1))]

    return tables, ask


def test_the_trie_knows_every_prefix_and_nothing_else():
    codes = ids.residual_codes(_vectors(20), m=3, V=4, generator=_generator())
    trie = ids.build_trie(codes, V=4)
    valid = {tuple(row) for row in codes[1:].tolist()}
    for length in range(3):
        for prefix in itertools.product(range(4), repeat=length):
            node = torch.tensor(0)
            for code in prefix:
                node = ids.children(trie, node)[code]
            after = {code for code in range(4) if int(ids.children(trie, node)[code]) >= 0}
            assert after == {row[length] for row in valid if row[:length] == prefix}
    assert ids.find_items(trie, codes[1:]).tolist() == list(range(1, 21))
    missing = next(row for row in itertools.product(range(4), repeat=3) if row not in valid)
    assert int(ids.find_items(trie, torch.tensor(missing))) == 0


def test_a_wide_beam_finds_the_exact_ranking_and_a_narrow_one_valid_items():
    m, V, users = 3, 4, 3
    codes = ids.residual_codes(_vectors(20), m=m, V=V, generator=_generator())
    tables, ask = _log_table(m, V, users)
    exact = torch.stack([tables[j][(slice(None), *codes[1:, : j + 1].T)] for j in range(m)]).sum(0)
    items, scores = ids.beam_search(ask, ids.build_trie(codes, V=V), users=users, beams=50)
    assert torch.equal(items[:, :20], exact.argsort(1, descending=True) + 1)
    torch.testing.assert_close(scores[:, :20], exact.sort(1, descending=True).values)
    assert not items[:, 20:].any() and (scores[:, 20:] == -torch.inf).all()
    few, few_scores = ids.beam_search(ask, ids.build_trie(codes, V=V), users=users, beams=5)
    assert few.shape == (3, 5) and (few > 0).all() and all(len(set(row)) == 5 for row in few.tolist())
    torch.testing.assert_close(few_scores, exact.gather(1, few - 1))


def test_drawn_items_have_their_probabilities_among_valid_ones():
    codes = ids.spread_codes(12, m=2, V=4)
    tables, ask = _log_table(2, 4, users=1)
    trie = ids.build_trie(codes, V=4)
    valid = torch.zeros(4, 4)
    valid[codes[1:, 0], codes[1:, 1]] = 1
    first = tables[0][0].exp() * valid.any(1)
    second = tables[1][0].exp() * valid
    chance = (first / first.sum())[:, None] * second / second.sum(1, keepdim=True).clamp(min=1e-9)
    drawn = ids.draw_items(ask, trie, torch.rand(1, 20_000, 2, generator=_generator()))
    share = torch.bincount(drawn[0], minlength=13)[1:] / 20_000
    torch.testing.assert_close(share, chance[codes[1:, 0], codes[1:, 1]], atol=0.012, rtol=0)
    edges = ids.draw_items(ask, trie, torch.ones(1, 1, 2, dtype=torch.float64))
    assert int(edges) > 0


def test_item_codes_are_made_once_of_what_they_are_told_to_use():
    data = tastes()
    for source, f in (("id", 0), ("features", 6), ("both", 6)):
        table = ItemCodes(60, m=2, V=16, quantiser="residual", source=source, n_features=f)
        before = table.codes.clone()
        if f:
            table.set_features(data.features[:, :6])
        table.prepare(data.sequences)
        assert not torch.equal(table.codes, before) and _unique(table.codes)
        same = [data.kinds[1:][(table.codes[1:, 0] == code).numpy()] for code in range(16)]
        pure = sum(int(np.bincount(kinds).max()) for kinds in same if len(kinds)) / 60
        assert pure > 0.85, source  # the first digit tells the kind
        made = table.codes.clone()
        table.prepare(data.sequences[:50])
        assert torch.equal(table.codes, made)


def test_codes_that_do_not_fit_are_refused():
    table = ItemCodes(6, m=2, V=4, quantiser="residual")
    for wrong in (torch.zeros(7, 2, dtype=torch.int64), torch.zeros(5, 2, dtype=torch.int64), 5 * table.codes):
        with pytest.raises(ConfigError):
            table.set_codes(wrong)
    with pytest.raises(ConfigError, match="16 tuples.*17"):
        ItemCodes(17, m=2, V=4, quantiser="residual")
    with pytest.raises(ConfigError, match="'rq'.*residual, product"):
        ItemCodes(6, m=2, V=4, quantiser="rq")
    with pytest.raises(ConfigError, match="n_features = 0"):
        ItemCodes(6, m=2, V=4, quantiser="residual", source="both")


def test_an_items_score_is_the_sum_of_its_digits_scores():
    codes = ids.spread_codes(12, m=2, V=4)
    digits, query = CodeEmbedding(6, m=2, V=4, extra=1), torch.randn(3, 6)
    torch.nn.init.normal_(digits.bias)
    embedding, bias = digits.items(codes)
    summed = sum(digits.logits(query, j)[:, codes[:, j]] for j in range(2))
    torch.testing.assert_close(query @ embedding.T + bias, summed)
