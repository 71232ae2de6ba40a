"""Thin-plate warps: exact at their points, affine where the points move so, smooth and gentle on a grid."""

import pytest
import torch
import torch.nn.functional as F
from scipy.interpolate import RBFInterpolator

from personagen.training.thin_plate import bend_grid, thin_plate
from recsys.errors import ConfigError


def test_it_equals_scipy_and_goes_through_its_points():
    rng = torch.Generator().manual_seed(0)
    points, targets, at = (torch.rand(n, 2, generator=rng) for n in (8, 8, 50))
    assert torch.allclose(thin_plate(points, targets, points), targets, atol=1e-4)
    wanted = RBFInterpolator(points.double(), targets.double(), kernel="thin_plate_spline")(at.double())
    assert torch.allclose(thin_plate(points, targets, at), torch.from_numpy(wanted).float(), atol=1e-3)


def test_an_affine_move_stays_affine_and_a_line_is_refused():
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    at = torch.tensor([[0.3, 0.9], [2.0, -1.0]])
    assert torch.allclose(thin_plate(points, 2 * points + 1, at), 2 * at + 1, atol=1e-4)
    for few in (points[:2], torch.arange(5.0)[:, None].expand(-1, 2)):
        with pytest.raises(ConfigError, match="one line"):
            thin_plate(few, few, at)


def test_a_bent_grid_moves_no_further_than_about_its_strength():
    grid = F.affine_grid(torch.eye(2, 3)[None], [1, 3, 40, 30], align_corners=False)
    bent = bend_grid(grid, strength=0.06, generator=torch.Generator().manual_seed(1))
    moved = (bent - grid).abs()
    assert bent.shape == grid.shape and 0.01 < moved.max() < 0.12
    again = bend_grid(grid, strength=0.06, generator=torch.Generator().manual_seed(1))
    assert torch.equal(bent, again)
    assert torch.allclose(bend_grid(grid, strength=0.0, generator=torch.Generator().manual_seed(1)), grid, atol=1e-4)
