"""Let a photo's own colours speak: what has the colour of this person's hair is rather hair than cloth.

Each part's colours are counted in the photo, weighted by how sure its pixels are of it; by Bayes' rule a pixel's
probabilities are then multiplied by how common its colour is in each part, to a power, since neighbours are not
independent. Colour models fitted to one picture: GrabCut (Rother, Kolmogorov and Blake, SIGGRAPH 2004), with
histograms as in Boykov and Jolly (ICCV 2001).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

POWER = 0.6
BINS, REACH = (12, 24, 24), (1.0, 0.6, 0.6)
"""Cells of the histograms in lightness, red less green and yellow less blue, and the span of each, around grey."""
OPPONENT = ((0.3, 0.59, 0.11), (0.5, -0.5, 0.0), (0.25, 0.25, -0.5))
PRIOR = 50.0
"""Pixels that a part must have before its colours count in full."""


def by_own_colours(shares: Tensor, picture: Tensor, *, power: float = POWER) -> Tensor:
    """Return probabilities of parts (1, C, h, w) after a look at the colours of the picture (1, 3, h, w) in [0, 1]."""
    shares = shares / shares.sum(1, keepdim=True).clamp(min=1e-8)
    cells = _cells(picture[0])
    flat = shares[0].flatten(1)
    counts = torch.zeros(len(flat), BINS[0] * BINS[1] * BINS[2]).index_add_(1, cells, flat * flat)
    smooth = _smooth(counts.view(len(flat), 1, *BINS)).flatten(1)
    common = (smooth + 1e-4) / (smooth.sum(1, keepdim=True) + PRIOR) + 1e-7
    weight = (common / common.max(0, keepdim=True).values) ** power
    weighted = shares * weight.index_select(1, cells).view_as(shares)
    return weighted / weighted.sum(1, keepdim=True)


def _cells(picture: Tensor) -> Tensor:
    """Number of the histogram's cell of each pixel of a picture (3, h, w): (h * w,)."""
    bins, reach = torch.tensor(BINS), torch.tensor(REACH)
    lowest = torch.tensor([0.0, -REACH[1] / 2, -REACH[2] / 2])
    cell = ((picture.flatten(1).T @ torch.tensor(OPPONENT).T - lowest) / reach * bins).long()
    cell = torch.minimum(cell.clamp(min=0), bins - 1)
    return (cell[:, 0] * BINS[1] + cell[:, 1]) * BINS[2] + cell[:, 2]


def _smooth(counts: Tensor) -> Tensor:
    """Spread histograms (C, 1, l, a, b) over neighbouring cells, a quarter to each side, in each direction."""
    kernel = torch.tensor([0.25, 0.5, 0.25])
    for shape, border in (((1, 1, 3, 1, 1), (1, 0, 0)), ((1, 1, 1, 3, 1), (0, 1, 0)), ((1, 1, 1, 1, 3), (0, 0, 1))):
        counts = F.conv3d(counts, kernel.view(shape), padding=border)
    return counts
