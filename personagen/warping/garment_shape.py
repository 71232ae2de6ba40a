"""Find a garment's cut in its picture: trunk, sleeves or legs as straight strips (`strips.Strip`).

A template of a few lines and widths is fitted to the silhouette by the cross-entropy method (Rubinstein 1999): draw
templates, keep those that overlap it best, draw around them again. What a garment of the kind usually measures decides
where silhouettes do not, such as sleeves that lie beside the body.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from recsys.errors import DataError

from .strips import Strip

GRID = 48
"""Rows and columns that silhouettes are compared at."""
INWARD = 0.3
"""How far a sleeve begins inside the trunk, as a share of its width there: at the seam, not at the trunk's edge."""
DRAWN = 240
"""Templates that are drawn in each round."""
KEPT = 24
"""Templates of a round, the best, that the next one is drawn around."""
ROUNDS = 16
"""Rounds of drawing."""
MARGIN = 0.05
"""How far the compared square goes beyond the garment's box on each side, as a share of it."""
SHAKE = 2e-3
"""Added to the deviations of each round, in the box's units, so that drawing never stops early."""
SKEWED = 1.3
"""Difference of both sleeves' angles, in radians, that costs as much as one deviation."""
RAISED = (1.7, 0.2)
"""Angle of a sleeve from down, in radians, above which it is unusual, and the deviation beyond it."""


@dataclass(frozen=True)
class Cut:
    """Strips of a garment in its picture's pixels: its trunk or legs, its sleeves, and how well they overlap it (IoU).

    Strips run downwards and outwards; of pairs the one on the picture's left comes first.
    """

    trunk: Strip | None
    sleeves: tuple[Strip, ...]
    legs: tuple[Strip, ...]
    overlap: float


@dataclass(frozen=True, eq=False)
class _Template:
    """Means and deviations of the numbers that are drawn, in the box's units (0..1, with the garment's aspect)."""

    mean: Tensor
    deviation: Tensor
    legs: bool = False
    sleeve: tuple[float, float] | None = None
    """Usual length of a sleeve over the width between the shoulders, and the deviation of its logarithm."""


# centre, tilt, top, half width above, below, length; sleeves: two angles from down, length, width, at the cuff
_SHORT = _Template(torch.tensor([0.5, 0.0, 0.05, 0.3, 0.32, 0.9, 0.9, 0.9, 0.2, 0.25, 0.2]),
                   torch.tensor([0.05, 0.08, 0.05, 0.1, 0.1, 0.1, 0.35, 0.35, 0.1, 0.08, 0.08]),
                   sleeve=(0.42, 0.5))  # fmt: skip
_LONG = _Template(torch.tensor([0.5, 0.0, 0.05, 0.2, 0.22, 0.9, 0.5, 0.5, 0.7, 0.2, 0.12]),
                  torch.tensor([0.05, 0.08, 0.05, 0.08, 0.1, 0.1, 0.3, 0.3, 0.2, 0.06, 0.05]),
                  sleeve=(1.3, 0.25))  # fmt: skip
_BARE = _Template(torch.tensor([0.5, 0.0, 0.02, 0.3, 0.35, 0.95]),
                  torch.tensor([0.05, 0.08, 0.05, 0.1, 0.1, 0.1]))  # fmt: skip
_SKIRT = _Template(torch.tensor([0.5, 0.0, 0.0, 0.35, 0.45, 1.0]),
                   torch.tensor([0.05, 0.08, 0.03, 0.1, 0.1, 0.05]))  # fmt: skip
# centre, tilt, top, half width at the waist, length; legs: how far apart, half width above (of half the waist), below
_LEGS = _Template(torch.tensor([0.5, 0.0, 0.0, 0.3, 1.0, 0.2, 1.0, 0.12]),
                  torch.tensor([0.05, 0.08, 0.03, 0.1, 0.05, 0.1, 0.1, 0.05]), legs=True)  # fmt: skip
TEMPLATES = {"t-shirt": (_BARE, _SHORT), "sweater": (_LONG,), "jacket": (_LONG,), "outer": (_LONG,),
             "lower": (_SKIRT, _LEGS), "skirt": (_SKIRT,), "trousers": (_LEGS,), "shorts": (_LEGS,)}  # fmt: skip
"""What a garment of a kind or region can look like; others have no, short or long sleeves."""
USUAL = {"upper": ((0.66, 0.2), (1.05, 0.15)), "outer": ((0.6, 0.25), (1.05, 0.15)),
         "jacket": ((0.6, 0.25), (1.05, 0.15)), "dress": ((0.42, 0.3), (1.4, 0.4))}  # fmt: skip
"""Width between the shoulders over the length, width of the hem over that between the shoulders, and the deviations of
their logarithms; of clothes for adults."""
ROOT = (0.4, 0.6)
"""Width of a sleeve at the trunk over that between the shoulders, and the deviation of its logarithm."""
CUFF = (0.6, 0.6)
"""Width of a sleeve at the cuff over that at the trunk, and the deviation of its logarithm."""
DOUBT = 0.06
"""What one squared deviation from the usual costs, in IoU."""


def cut_of(cloth: np.ndarray, kind: str) -> Cut:
    """Fit the strips of a garment of a kind, or of a region (`masks.region_of`), to its silhouette, bool (H, W).

    The same silhouette gives the same cut.

    Raises:
        DataError: the silhouette is empty.
    """
    rows, columns = np.flatnonzero(cloth.any(1)), np.flatnonzero(cloth.any(0))
    if rows.size < 2 or columns.size < 2:
        raise DataError(
            "a garment's picture shows no cloth; give one on a white background, or one that can be cut out"
        )
    top, side = rows[0], max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    middle = (columns[0] + columns[-1] + 1) / 2
    grid = (np.arange(GRID) + 0.5) / GRID * (1 + 2 * MARGIN) - MARGIN
    y, x = grid * side + top, (grid - 0.5) * side + middle
    seen = np.zeros((GRID, GRID), bool)
    inside_y, inside_x = (y >= 0) & (y < cloth.shape[0]), (x >= 0) & (x < cloth.shape[1])
    seen[np.ix_(inside_y, inside_x)] = cloth[np.ix_(y[inside_y].astype(int), x[inside_x].astype(int))]
    values, template, overlap = _best(seen.tobytes(), kind)
    to_pixels = lambda strip: Strip(
        np.stack([(strip.points[:, 0] - 0.5) * side + middle, strip.points[:, 1] * side + top], 1), strip.half * side
    )
    strips = [to_pixels(strip) for strip in _strips(values, legs=template.legs)]
    if template.legs:
        return Cut(None, (), tuple(strips), overlap)
    return Cut(strips[0], tuple(strips[1:]), (), overlap)


@lru_cache(maxsize=4096)
def _best(seen: bytes, kind: str) -> tuple[Tensor, _Template, float]:
    """Fit a silhouette, bool (GRID, GRID) as bytes: numbers (k,), the template they belong to, and the overlap.

    Kept, since a fit takes a third of a second and a garment is fitted when it is cut out and again when it is laid.
    """
    grid = torch.from_numpy((np.arange(GRID) + 0.5) / GRID * (1 + 2 * MARGIN) - MARGIN)
    places = torch.stack(torch.meshgrid(grid, grid, indexing="xy")).float()
    target = torch.from_numpy(np.frombuffer(seen, bool).reshape(GRID, GRID).copy())
    fits = [(*_fitted(one, target, places, kind), one) for one in TEMPLATES.get(kind, (_BARE, _SHORT, _LONG))]
    values, _, template = max(fits, key=lambda fit: fit[1])
    return values, template, float(_overlap(_inside(values[None], places, legs=template.legs), target)[0])


def _fitted(template: _Template, target: Tensor, places: Tensor, kind: str) -> tuple[Tensor, float]:
    """The numbers that overlap a silhouette (g, g) best, and their score."""
    random = torch.Generator().manual_seed(0)
    mean, deviation = template.mean.clone(), template.deviation.clone()
    best, score = mean, -1.0
    for _ in range(ROUNDS):
        drawn = mean + deviation * torch.randn((DRAWN, len(mean)), generator=random)
        drawn[:, 3:] = drawn[:, 3:].clamp(min=0.01)
        scores = _overlap(_inside(drawn, places, legs=template.legs), target) - _unusual(drawn, kind, template.sleeve)
        order = scores.argsort(descending=True)[:KEPT]
        if float(scores[order[0]]) > score:
            best, score = drawn[order[0]], float(scores[order[0]])
        mean, deviation = drawn[order].mean(0), drawn[order].std(0) + SHAKE
    return best, score


def _unusual(values: Tensor, kind: str, sleeve: tuple[float, float] | None) -> Tensor:
    """What is taken from the overlap of templates (n, k) for unusual proportions, (n,)."""
    if kind in ("lower", "skirt", "trousers", "shorts"):
        return torch.zeros(len(values))
    shoulders, hem = USUAL.get(kind, USUAL["upper"])
    away = (2 * values[:, 3] / values[:, 5] / shoulders[0]).log() / shoulders[1]
    flared = (values[:, 4] / values[:, 3] / hem[0]).log() / hem[1]
    cost = away.square() + flared.square()
    if sleeve is not None:
        long = (values[:, 8] / values[:, 3] / 2 / sleeve[0]).log() / sleeve[1]
        root = (values[:, 9] / values[:, 3] / 2 / ROOT[0]).log() / ROOT[1]
        cuff = (values[:, 10] / values[:, 9] / CUFF[0]).log() / CUFF[1]
        unlike = (values[:, 6] - values[:, 7]) / SKEWED
        raised = ((values[:, 6:8] - RAISED[0]).clamp(min=0) / RAISED[1]).square().sum(1)
        cost = cost + (long.square() + root.square() + cuff.square() + unlike.square()) / 2 + raised
    return DOUBT / 2 * cost


def _overlap(inside: Tensor, target: Tensor) -> Tensor:
    """Intersection over union of templates (n, g, g) with a silhouette (g, g)."""
    both = (inside & target).sum((1, 2))
    return both / (inside | target).sum((1, 2)).clamp(min=1)


def _inside(values: Tensor, places: Tensor, *, legs: bool) -> Tensor:
    """Which places (2, g, g) templates (n, k) cover, bool (n, g, g)."""
    x, y = places
    covered = torch.zeros((len(values), *x.shape), dtype=torch.bool)
    for start, axis, length, first, last in _lines(values, legs=legs):
        rx, ry = x - start[:, 0, None, None], y - start[:, 1, None, None]
        dx, dy = axis[:, 0, None, None], axis[:, 1, None, None]
        u = (rx * dx + ry * dy) / length[:, None, None]
        width = first[:, None, None] + u * (last - first)[:, None, None]
        covered |= (u >= 0) & (u <= 1) & ((rx * dy - ry * dx).abs() <= width)
    return covered


_Lines = list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]


def _lines(values: Tensor, *, legs: bool) -> _Lines:
    """Start (n, 2), direction (n, 2), length and half widths at both ends (n,) of the strips of templates (n, k)."""
    centre, tilt, top, wide = values[:, :4].unbind(1)
    down, right = torch.stack([-tilt.sin(), tilt.cos()], 1), torch.stack([tilt.cos(), tilt.sin()], 1)
    start = torch.stack([centre, top], 1)
    if legs:
        length, apart, above, below = values[:, 4:].unbind(1)
        lines: _Lines = []
        for side in (-1, 1):
            begin = start + side * right * (wide / 2)[:, None]
            end = start + side * right * apart[:, None] + down * length[:, None]
            span = (end - begin).norm(dim=1)
            lines.append((begin, (end - begin) / span[:, None], span, above * wide / 2, below))
        return lines
    lines = [(start, down, values[:, 5], wide, values[:, 4])]
    if values.shape[1] > 6:
        for side, angle in ((-1, values[:, 6]), (1, values[:, 7])):
            reach, root, cuff = values[:, 8:].unbind(1)
            axis = down * angle.cos()[:, None] + side * right * angle.sin()[:, None]
            across = down * angle.sin()[:, None] - side * right * angle.cos()[:, None]
            tip = start + side * right * wide[:, None]
            begin = tip + across * (root / 2)[:, None] - axis * (INWARD * root)[:, None]
            lines.append((begin, axis, reach + INWARD * root, root / 2, cuff / 2))
    return lines


def _strips(values: Tensor, *, legs: bool) -> list[Strip]:
    """The strips of one template (k,)."""
    strips = []
    for start, axis, length, first, last in _lines(values[None], legs=legs):
        begin = start[0].numpy().astype(float)
        points = np.stack([begin, begin + axis[0].numpy() * float(length)])
        strips.append(Strip(points, np.array([first[0], last[0]], float)))
    return strips
