"""Move a figure's surface until views of it show given normals.

DreamVTON (Xie et al., ACM MM 2024, arXiv 2407.16511) has normal maps of a prior drive the geometry, apart from colours
(Fantasia3D, Chen et al., ICCV 2023, arXiv 2303.13873), under templates that hold what the photo tells. Here a vertex i
moves along the ray r_i on which the front view sees it, by a depth d_i: x_i = x0_i + d_i r_i. So outline and pixels of
the front stay whatever is asked for, and depth alone is left to the normals, as in ECON (Xiu et al., CVPR 2023, arXiv
2212.07422). A face has the normal n where its edges lie across it (Nehab et al., Efficiently combining positions and
normals, SIGGRAPH 2005), so that with weights w, depths are the solution of linear least squares: the least of

    sum_f w_f sum_(ij in f) (n_f . (x_j - x_i))² + a sum_i (L d)_i² + sum_i b_i d_i² + c sum_ij (d_i - d_j)²

a, of the bilaplacian, smooths what is narrower than `NARROW`; b lets what is broader than `BROAD` stay: normals tell
slopes, whose errors add up over it; c ties surfaces that nearly touch, so that layers move as one. A given normal turns
a face's by as much as it is turned from the one seen there, so that a figure's own normals move nothing. Which face a
pixel sees is found anew in each round. Depths are held to a limit, inwards also to a share of the thickness.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .mesh import Figure
from .shell import Goal, Shell, Sight

NARROW, BROAD = 0.03, 0.6
"""Wavelengths in metres between which normals are followed."""
HELD = 0.3
"""As `BROAD`, where no normals are given."""
SHARP = 2
"""Power of the cosine to the camera by which normals are weighed."""
TIE = 30.0
"""How strongly surfaces that lie near each other are tied: a face that is seen straight weighs 1."""
LIMIT = 0.03
"""Most by which a vertex moves, metres."""
SOLE = 0.06
"""Height in metres up to which a figure stands still, or it would leave the ground."""
STILL = 1e4
"""How much staying weighs there."""
ROUNDS = 3
"""How often it is found anew what pixels see."""


@dataclass(frozen=True)
class Fit:
    """A figure that was moved, and by which depths (V,) in metres, the places of its shell.

    explained: share of the squared differences of normals that is gone, below 0 where they have grown. moved: root mean
    square in metres of what the goals see; limited: share of it that stopped at the limit.
    """

    figure: Figure
    depth: np.ndarray
    explained: float
    moved: float
    limited: float


def fit_normals(
    figure: Figure, goals: Sequence[Goal], *, rounds: int = ROUNDS, limit: float = LIMIT, broad: float = BROAD
) -> Fit:
    """Move a figure in depth so that it shows the goals' normals.

    limit: most by which a vertex moves, and broad: wavelength beyond which it keeps its shape, metres.
    """
    shell = Shell.of(figure)
    depth, start = np.zeros(len(shell.points)), [shell.seen(goal) for goal in goals]
    smooth = _Smoothness(shell, shell.corners(goals, start), broad)
    seen = start
    low, high = shell.bounds(limit)
    for _ in range(rounds):
        rows = [_rows(shell, depth, goal, sight) for goal, sight in zip(goals, seen, strict=True)]
        depth = smooth.solve([np.concatenate(parts) for parts in zip(*rows, strict=True)], depth).clip(low, high)
        seen = [shell.seen(goal, depth) for goal in goals]
    before, after = (sum(_apart(goal, sight) for goal, sight in zip(goals, sights)) for sights in (start, seen))
    far = np.abs(depth[shell.corners(goals, seen)])
    moved, limited = float(np.sqrt((far**2).mean())), float((far > 0.999 * limit).mean())
    return Fit(shell.moved(figure, depth), depth, 1 - after / max(before, 1e-12), moved, limited)


def _rows(shell: Shell, depth: np.ndarray, goal: Goal, sight: Sight) -> tuple[np.ndarray, ...]:
    """Equations p d_i + q d_j = s, a row each: i, j, p, q, s (n,), of the edges of faces that a goal sees."""
    some = (sight.seen.face >= 0) & (goal.weight > 0)
    face, weight = sight.seen.face[some], (goal.weight * sight.cosine**SHARP)[some]
    count = np.bincount(face, minlength=len(shell.faces))
    total = np.bincount(face, weight, len(shell.faces))
    mean = lambda of: np.stack([np.bincount(face, weight * of[some][:, k], len(shell.faces)) for k in range(3)], 1)
    now, then = _unit(mean(sight.normals)), _unit(mean(goal.normals))
    used = np.flatnonzero(total > 1e-6)
    corners = shell.faces[used]
    points = shell.points + depth[:, None] * shell.rays
    across = _unit(
        np.cross(points[corners[:, 1]] - points[corners[:, 0]], points[corners[:, 2]] - points[corners[:, 0]])
    )
    across = _turned(across, now[used], then[used])
    share, rows = np.sqrt(total[used] / count[used]), []
    for k in range(3):
        i, j = corners[:, k], corners[:, (k + 1) % 3]
        along = lambda vectors, n=across: share * (n * vectors).sum(1)
        rows.append((i, j, -along(shell.rays[i]), along(shell.rays[j]), -along(shell.points[j] - shell.points[i])))
    return tuple(np.concatenate(parts) for parts in zip(*rows))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(1e-12)


def _turned(vectors: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Vectors (n, 3) under the smallest turn that brings unit vectors to others (n, 3) each."""
    axis, cosine = np.cross(one, other), (one * other).sum(1, keepdims=True)
    along = (axis * vectors).sum(1, keepdims=True)
    return vectors * cosine + np.cross(axis, vectors) + axis * along / (1 + cosine).clip(1e-3)


def _apart(goal: Goal, sight: Sight) -> float:
    """The weighted sum of squared differences between normals that are wanted and seen."""
    some = sight.seen.face >= 0
    weight = goal.weight[some] * sight.cosine[some] ** SHARP
    return float((weight * ((goal.normals - sight.normals)[some] ** 2).sum(1)).sum())


class _Smoothness:
    """What holds depths together, and the least squares with it."""

    def __init__(self, shell: Shell, shown: np.ndarray, broad: float) -> None:
        """shown: the vertices that goals see."""
        ends, size = shell.points[shell.edges], len(shell.points)
        turn = 2 * np.pi * float(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).mean())
        (a, b), degree, own = shell.edges.T, np.bincount(shell.edges.ravel(), minlength=size).clip(1), np.arange(size)
        # Faces weigh 3 k² h² |d|² at wave number k, the bilaplacian a k⁴ h⁴/16 |d|², and what stays b |d|².
        bend = np.sqrt(48) * NARROW / turn
        around, middle = np.concatenate([bend / degree[a], bend / degree[b]]), np.full(size, -bend)
        rows, columns, values = np.r_[a, b, own], np.r_[b, a, own], np.r_[around, middle]
        self.size = size
        self.bend, self.bent = _sparse(rows, columns, values, size), _sparse(columns, rows, values, size)
        stay = np.full(size, 3 * (turn / HELD) ** 2)
        stay[shown] = 3 * (turn / broad) ** 2
        stay[shell.points[:, 1] < SOLE] = STILL
        i, j = shell.ties.T
        tie = np.full(len(i), TIE)
        self.fixed = np.r_[own, i, j, i, j], np.r_[own, i, j, j, i], np.r_[stay, tie, tie, -tie, -tie]
        self.heavy = np.bincount(columns, values**2, size)

    def solve(self, rows: Sequence[np.ndarray], first: np.ndarray) -> np.ndarray:
        """Depths (V,) of least squares under equations (`_rows`), by conjugate gradients from the first ones."""
        (i, j, p, q, s), (k, l, v) = rows, self.fixed
        at, to, value = np.r_[i, j, i, j, k], np.r_[i, j, j, i, l], np.r_[p * p, q * q, p * q, p * q, v]
        straight, same = _sparse(at, to, value, self.size), at == to
        right = torch.from_numpy(np.bincount(i, p * s, self.size) + np.bincount(j, q * s, self.size))
        own = np.bincount(at[same], value[same], self.size) + self.heavy
        across = lambda x: straight @ x + self.bent @ (self.bend @ x)
        return conjugate(across, right, torch.from_numpy(first), torch.from_numpy(1 / own)).numpy()


def conjugate(
    across: Callable[[Tensor], Tensor], right: Tensor, first: Tensor, scale: Tensor,
    *, steps: int = 400, least: float = 1e-4,
) -> Tensor:  # fmt: skip
    """Solve `across(x) = right` for a symmetric positive map by conjugate gradients (Hestenes and Stiefel, 1952).

    scale: the inverse of its diagonal. least: share of the right side's length at which the rest is small enough.
    """
    x = first.clone()
    rest = right - across(x)
    ahead = scale * rest
    step, old = ahead.clone(), rest @ ahead
    goal = least * float(right.norm())
    for _ in range(steps):
        if float(rest.norm()) <= goal:
            break
        image = across(step)
        far = old / (step @ image)
        x, rest = x + far * step, rest - far * image
        ahead = scale * rest
        new = rest @ ahead
        step, old = ahead + new / old * step, new
    return x


def _sparse(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, size: int) -> Tensor:
    """A sparse matrix (size, size); values at one place add up."""
    at = torch.from_numpy(np.stack([rows, columns]))
    with warnings.catch_warnings():  # see rig.spread_weights
        warnings.simplefilter("ignore", UserWarning)
        whole = torch.sparse_coo_tensor(at, torch.from_numpy(values), (size, size), check_invariants=False)
        return whole.coalesce().to_sparse_csr()
