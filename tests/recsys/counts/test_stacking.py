"""The fit of the few numbers that stack opinions: where it ends, and how hard its start holds it."""

import pytest
import torch

from recsys.counts.stacking import SPARSE, Counted, minimise


def test_a_loss_that_says_much_is_followed_and_one_that_says_nothing_leaves_the_start():
    start = [torch.tensor([2.0, -1.0]), torch.tensor(0.5)]
    target = [torch.tensor([-3.0, 4.0]), torch.tensor(7.0)]
    far = minimise(lambda x: sum((a - b).square().sum() for a, b in zip(x, target, strict=True)), start)  # type: ignore[arg-type, return-value]
    for found, wanted in zip(far, target, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-3, rtol=0)
    same = minimise(lambda x: 0 * x[0].sum(), start)
    assert all(torch.equal(a, b) for a, b in zip(same, start, strict=True))


@pytest.mark.parametrize(("strength", "share"), [(3e-5, 1 / 2), (9e-5, 3 / 4)])
def test_the_start_holds_as_a_square_of_three_hundred_thousandths_does(strength, share):
    """The minimum of c (x - 1)² + r x² is c / (c + r): r is what the results on few cases were found with."""
    (found,) = minimise(lambda x: strength * (x[0] - 1).square().sum(), [torch.zeros(1)])
    assert float(found) == pytest.approx(share, abs=0.01)


def test_a_fit_that_runs_away_gives_the_start_back():
    start = [torch.tensor([1.0])]
    assert torch.equal(minimise(lambda x: (x[0] * float("nan")).sum(), start)[0], start[0])


@pytest.mark.parametrize(("filled", "sparse"), [(1, True), (10, True), (11, False), (100, False)])
def test_counts_are_kept_by_cell_up_to_a_tenth(filled, sparse):
    seen = torch.zeros(100)
    seen[:filled] = torch.arange(1.0, filled + 1)
    counted = Counted.of(seen.view(10, 10))
    assert SPARSE == 0.1 and (counted.cells is not None) == sparse
    assert len(counted.values) == (filled if sparse else 10)


def test_numbers_that_ran_away_are_not_taken():
    """Where the line search steps into what is no number, it may end far out, at a loss far above the start's."""
    start = [torch.tensor([0.5])]
    for steep in (1e3, 1e6, 1e9):
        loss = lambda x, steep=steep: torch.where(x[0].abs() < 1, -steep * x[0], torch.nan * x[0]).sum()
        found = minimise(loss, start)[0]
        assert found.isfinite().all() and found.abs() <= 1
