"""Tests of the guided filter against a least-squares fit in every window."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from personagen.person.guided_filter import guided_upsample
from recsys.errors import DataError


def plain(maps: np.ndarray, guide: np.ndarray, *, radius: int, eps: float) -> np.ndarray:
    """Fit every window by ridge regression on centred colours, then average; (C, h, w) and (3, h, w) of one size."""
    count, height, width = maps.shape
    windows = lambda i, j: (slice(max(0, i - radius), i + radius + 1), slice(max(0, j - radius), j + radius + 1))
    a, b = np.zeros((count, 3, height, width)), np.zeros((count, height, width))
    for i in range(height):
        for j in range(width):
            colours = guide[(slice(None), *windows(i, j))].reshape(3, -1)
            values = maps[(slice(None), *windows(i, j))].reshape(count, -1)
            centred = colours - colours.mean(1, keepdims=True)
            covariance = centred @ centred.T / centred.shape[1] + eps * np.eye(3)
            a[:, :, i, j] = np.linalg.solve(covariance, centred @ values.T / centred.shape[1]).T
            b[:, i, j] = values.mean(1) - a[:, :, i, j] @ colours.mean(1)
    out = np.zeros_like(maps)
    for i in range(height):
        for j in range(width):
            here = windows(i, j)
            slope = a[(slice(None), slice(None), *here)].mean((2, 3))
            out[:, i, j] = slope @ guide[:, i, j] + b[(slice(None), *here)].mean((1, 2))
    return out


def test_equals_a_least_squares_fit_in_every_window():
    rng = np.random.default_rng(0)
    maps, guide = rng.random((2, 7, 9)), rng.random((3, 7, 9))
    wanted = plain(maps, guide, radius=2, eps=0.01)
    found = guided_upsample(torch.from_numpy(maps)[None], torch.from_numpy(guide)[None], radius=2, eps=0.01)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found[0].numpy(), wanted, atol=1e-10)


def test_a_coarse_border_moves_to_the_edge_of_the_guide():
    guide = torch.full((1, 3, 96, 96), 0.2)
    guide[..., 41:] = 0.8  # not a border of the coarse cells, which are 4 wide
    true = (torch.arange(96) >= 41).float().expand(1, 1, 96, 96)
    coarse = F.avg_pool2d(F.interpolate(true, scale_factor=0.25, mode="area"), 5, 1, 2, count_include_pad=False)
    blunt = F.interpolate(coarse, size=(96, 96), mode="bilinear")
    found = guided_upsample(coarse, guide)
    assert ((blunt - true).abs() > 0.3).float().mean() > 0.05
    assert (found - true).abs().max() < 0.3


def test_shares_still_sum_to_one():
    shares = torch.rand(1, 4, 12, 10).softmax(1)
    found = guided_upsample(shares, torch.rand(1, 3, 50, 41))
    assert found.shape == (1, 4, 50, 41)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 50, 41), atol=1e-4, rtol=0)


@pytest.mark.parametrize("maps, guide", [((2, 1, 4, 4), (2, 3, 8, 8)), ((1, 1, 4, 4), (1, 1, 8, 8))])
def test_other_shapes_are_refused(maps, guide):
    with pytest.raises(DataError, match=r"must be \(1, C, h, w\)"):
        guided_upsample(torch.zeros(maps), torch.zeros(guide))
