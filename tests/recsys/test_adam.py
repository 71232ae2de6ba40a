"""The optimiser: dense as torch's, sparse as torch's lazy one, bfloat16 right on average."""

import pytest
import torch

from recsys.adam import RowAdamW, clip_gradients, rounded
from recsys.checkpoint import load_optimizer_tensors, optimizer_tensors

ROWS = (torch.tensor([1, 4]), torch.tensor([4, 2]), torch.tensor([1, 1]))


def _sparse(rows, seed):
    values = torch.randn(len(rows), 3, generator=torch.Generator().manual_seed(seed))
    return torch.sparse_coo_tensor(rows.unsqueeze(0), values, (6, 3), check_invariants=True)


def _trained(optimizer_class, gradients, dtype=torch.float32, **settings):
    table = torch.nn.Parameter(torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).to(dtype))
    optimizer = optimizer_class([table], lr=0.01, **settings)
    for grad in gradients:
        table.grad = grad.to(dtype)
        optimizer.step()
    return table.detach(), optimizer


def test_dense_gradients_of_float32_are_adamws_to_the_bit():
    gradients = [_sparse(rows, seed).to_dense() for seed, rows in enumerate(ROWS)]
    own, torchs = (_trained(cls, gradients, weight_decay=0.1)[0] for cls in (RowAdamW, torch.optim.AdamW))
    assert torch.equal(own, torchs)


def test_sparse_gradients_are_those_of_torchs_sparse_adam():
    gradients = [_sparse(rows, seed) for seed, rows in enumerate(ROWS)]
    own = _trained(RowAdamW, gradients, weight_decay=0.0)[0]
    torch.testing.assert_close(own, _trained(torch.optim.SparseAdam, gradients)[0])
    start = _trained(RowAdamW, [])[0]
    assert torch.equal(own[[0, 3, 5]], start[[0, 3, 5]])  # what is not touched stays, whatever its moments


def test_every_row_in_a_sparse_gradient_is_the_dense_update():
    gradients = [torch.randn(6, 3) for _ in range(5)]
    own = _trained(RowAdamW, [grad.to_sparse(1) for grad in gradients], weight_decay=0.1)[0]
    torch.testing.assert_close(own, _trained(torch.optim.AdamW, gradients, weight_decay=0.1)[0])


def test_rounding_at_random_is_right_on_average_and_never_off_by_more_than_a_place():
    values = torch.randn(50)
    found = torch.stack(
        [rounded(values, generator=torch.Generator().manual_seed(seed)).float() for seed in range(3000)]
    )
    place = 2.0**-7 * values.abs()
    assert bool(((found - values).abs() <= place).all())
    assert bool(((found.mean(0) - values).abs() < 0.04 * place).all())


def test_changes_below_a_place_add_up_in_bfloat16():
    """Below one, numbers lie 2^-8 apart; a hundred steps of 1e-4 are 1e-2, which rounding to the nearest loses."""
    table = torch.nn.Parameter(torch.ones(2000, 1, dtype=torch.bfloat16))
    optimizer = RowAdamW([table], lr=1e-4, weight_decay=0.0)
    for _ in range(100):
        table.grad = torch.ones_like(table)
        optimizer.step()
    assert float(table.detach().float().mean()) == pytest.approx(0.99, abs=1e-3)


def test_a_saved_optimizer_goes_on_to_the_same_bits():
    for dtype in (torch.float32, torch.bfloat16):
        gradients = [_sparse(rows, seed) for seed, rows in enumerate(ROWS)]
        whole, _ = _trained(RowAdamW, gradients, dtype)
        half, optimizer = _trained(RowAdamW, gradients[:2], dtype)
        table = torch.nn.Parameter(half.clone())
        other = RowAdamW([table], lr=0.01)
        load_optimizer_tensors(other, optimizer_tensors(optimizer))
        table.grad = gradients[2].to(dtype)
        other.step()
        assert torch.equal(table.detach(), whole)


def test_clipping_is_torchs_and_counts_sparse_gradients_in():
    dense, sparse = (torch.nn.Parameter(torch.zeros(6, 3)) for _ in range(2))
    dense.grad, sparse.grad = torch.randn(6, 3), _sparse(ROWS[2], 0)
    twin = [torch.nn.Parameter(torch.zeros(6, 3)) for _ in range(2)]
    twin[0].grad, twin[1].grad = dense.grad.clone(), sparse.grad.to_dense()
    for most in (100.0, 0.5):
        norm = clip_gradients([dense, sparse], most)
        torch.testing.assert_close(norm, torch.nn.utils.clip_grad_norm_(twin, most))
        torch.testing.assert_close(sparse.grad.to_dense(), twin[1].grad)
        assert torch.equal(dense.grad, twin[0].grad)
