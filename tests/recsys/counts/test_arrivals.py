"""Items that arrive after training: the fit against a plain restatement, and what it is for."""

import numpy as np
import torch

from recsys.counts.arrivals import START, arrival_logits, fit_arrivals, hidden_items
from recsys.counts.stacking import minimise, pseudospherical_loss
from recsys.counts.transitions import Transitions, split_columns
from recsys.models.countdiff import CountDiff, CountDiffConfig
from recsys.types import Cases

N, ROWS = 40, 4000


def test_the_fit_equals_that_over_all_items():
    generator = torch.Generator().manual_seed(0)
    old, hidden = torch.randn(ROWS, N + 1, generator=generator), hidden_items(N)
    old[:, 0] = -torch.inf
    likeness = torch.rand(ROWS, int(hidden.sum()), generator=generator)
    own = torch.randn(likeness.shape, generator=generator)
    logits, truth = old.clone(), torch.tensor([1.5, 2.0, 0.7])
    logits[:, hidden] = own + truth[0] * torch.log1p(truth[1].exp() * likeness) + truth[2]
    target = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]

    def plain(order):
        return lambda numbers: score(numbers[0], order)

    def score(numbers, order):
        weight, log_kappa, offset = numbers
        logits = old.clone()
        logits[:, hidden] = own + weight * torch.log1p(log_kappa.exp() * likeness) + offset
        return pseudospherical_loss(logits, target, order=order)

    start = torch.tensor([*START, old[:, ~hidden][:, 1:].mean() - own.mean()])
    expected = minimise(plain(2.0), minimise(plain(1.0), [start]))[0]
    found = fit_arrivals(old, own, likeness, target, hidden, order=2.0)
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)
    said = [numbers[0] * torch.log1p(numbers[1].exp() * likeness) + numbers[2] for numbers in (found, truth)]
    assert float((said[0] - said[1]).abs().mean()) < 0.2


def test_likeness_that_says_nothing_gets_no_weight_and_likeness_that_knows_gets_much():
    generator = torch.Generator().manual_seed(1)
    hidden = hidden_items(N)
    new = hidden.nonzero()[:, 0]
    target = new[torch.randint(0, len(new), (ROWS,), generator=generator)]
    old, own = torch.zeros(ROWS, N + 1), torch.zeros(ROWS, len(new))
    right = (target.unsqueeze(1) == new).float()
    noise = right[torch.randperm(ROWS, generator=generator)]
    for likeness, least, most in ((right, 1.0, 100.0), (noise, -0.5, 0.5)):
        numbers = fit_arrivals(old, own, likeness, target, hidden, order=2.0)
        gain = arrival_logits(own, likeness, numbers) - numbers[2]
        assert least < float(gain[likeness > 0].mean()) < most


def test_columns_are_split():
    table = Transitions(torch.tensor([0, 0, 2, 3, 3]), torch.tensor([1, 3, 2]), torch.tensor([1.0, 2.0, 3.0]))
    early, late = split_columns(table, 2)
    assert early.follows.tolist() == [1, 2] and late.follows.tolist() == [3]
    assert early.starts.tolist() == [0, 0, 1, 2, 2] and late.starts.tolist() == [0, 0, 1, 1, 1]


def test_new_items_are_found_where_their_likes_were_taken():
    """Items come in pairs alike; users take the twin of what they took. The twins of some items arrive later."""
    pairs, rng = 30, np.random.default_rng(0)
    n = 2 * pairs
    twin = np.concatenate([[0], np.arange(pairs) + pairs + 1, np.arange(pairs) + 1])
    sequences = [np.array([a, twin[a]]) for a in rng.integers(1, n - 5, 900) if twin[a] <= n - 6]
    features = torch.zeros(n + 1, pairs)
    features[torch.arange(1, n + 1), torch.arange(n) % pairs] = pairs**0.5
    old = n - 6
    likes = Transitions(torch.tensor([0, *range(n + 1)]), torch.from_numpy(twin[1:]), torch.ones(n))
    known = [a for a in range(1, n + 1) if a <= old and twin[a] <= old]
    starts = torch.tensor([0, 0, *np.cumsum([a in known for a in range(1, old + 1)])])
    warm_likes = Transitions(starts, torch.tensor([int(twin[a]) for a in known]), torch.ones(len(known)))
    config = CountDiffConfig(old, d=8, max_len=10, layers=1, window=3, items="both", n_features=pairs)
    model = CountDiff(config, features=features[: old + 1])
    model.prepare(sequences)
    model.set_neighbours(warm_likes)
    model.tune(Cases([row[:1] for row in sequences], [row[1:] for row in sequences]))
    grown = model.with_items(features[old + 1 :], neighbours=likes)
    again = CountDiff(grown.config)
    again.load_state_dict(grown.state_dict())
    history = torch.tensor([[int(twin[a])] for a in range(old + 1, n + 1)])
    assert grown.config.new_items == 6
    for one in (grown, again):
        assert one.recommend(history, 1).items[:, 0].tolist() == list(range(old + 1, n + 1))
