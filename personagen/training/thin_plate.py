"""Thin-plate splines (Bookstein, IEEE TPAMI 1989): the smoothest warp that takes given points to given points."""

import torch
import torch.nn.functional as F
from torch import Tensor

from recsys.errors import ConfigError


def thin_plate(points: Tensor, targets: Tensor, at: Tensor) -> Tensor:
    """Take places `at` (M, 2) along with `points` (N, 2), which move to `targets` (N, 2); returns (M, 2).

    f(x) = a + B x + sum_i w_i U(|x - p_i|) with U(r) = r^2 log r, sum w_i = 0 and sum w_i p_i = 0.

    Raises:
        ConfigError: there are fewer than three points, or all lie on one line.
    """
    count = len(points)
    corner = torch.cat([torch.ones(count, 1), points], 1)
    system = torch.zeros(count + 3, count + 3)
    system[:count, :count], system[:count, count:], system[count:, :count] = _bend(points, points), corner, corner.T
    weights, trouble = torch.linalg.solve_ex(system, torch.cat([targets, torch.zeros(3, 2)]))
    if count < 3 or int(trouble):
        raise ConfigError(f"a warp of {count} points is not defined; give three or more that are not on one line")
    return _bend(at, points) @ weights[:count] + torch.cat([torch.ones(len(at), 1), at], 1) @ weights[count:]


def _bend(a: Tensor, b: Tensor) -> Tensor:
    squared = (a[:, None] - b).square().sum(-1)
    return torch.where(squared > 0, 0.5 * squared * squared.clamp(min=1e-12).log(), 0.0)


def bend_grid(grid: Tensor, *, strength: float, generator: torch.Generator) -> Tensor:
    """Bend a sampling grid (1, H, W, 2) in [-1, 1] as cloth hangs: nine points move by up to `strength` (0..0.3)."""
    line = torch.tensor([-0.8, 0.0, 0.8])
    points = torch.cartesian_prod(line, line)
    targets = points + (torch.rand(points.shape, generator=generator) * 2 - 1) * strength
    coarse = torch.cartesian_prod(torch.linspace(-1, 1, 17), torch.linspace(-1, 1, 17)).flip(1)
    moved = (thin_plate(points, targets, coarse) - coarse).view(1, 17, 17, 2).permute(0, 3, 1, 2)
    shift = F.grid_sample(moved, grid, padding_mode="border", align_corners=True)
    return grid + shift.permute(0, 2, 3, 1)
