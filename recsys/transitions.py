"""Count which item followed which, discounted by distance, and spread the counts over the items of a history.

W[a, b] = sum over pairs of one sequence, a before b by g = 1..window places, of decay^(g-1). Stored by rows: only the
pairs that occur.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Transitions:
    """A sparse matrix W (n+1, n+1), row by row."""

    starts: Tensor
    """(n+2,) int64: the entries of item a are starts[a] .. starts[a+1]."""
    follows: Tensor
    """(nnz,) int64: the item b that follows."""
    weights: Tensor
    """(nnz,) float32 or float64: W[a, b]."""

    def degrees(self) -> Tensor:
        """Sum each row: (n+1,), 0 for items that nothing follows."""
        rows = torch.repeat_interleave(torch.arange(len(self.starts) - 1), self.starts.diff())
        return torch.zeros(len(self.starts) - 1, dtype=self.weights.dtype).index_add_(0, rows, self.weights)

    def spread(self, items: Tensor, factors: Tensor, *, out: Tensor) -> Tensor:
        """Add sum_w factors[r, w] · W[items[r, w], :] to row r of out (R, n+1), in place; return it.

        items (R, w) int64, factors (R, w); a factor of 0 costs nothing.
        """
        rows, places = factors.nonzero(as_tuple=True)
        sources, factor = items[rows, places], factors[rows, places]
        lengths = self.starts[sources + 1] - self.starts[sources]
        within = torch.arange(int(lengths.sum()), device=items.device)
        within = within - torch.repeat_interleave(lengths.cumsum(0) - lengths, lengths)
        entry = torch.repeat_interleave(self.starts[sources], lengths) + within
        cells = torch.repeat_interleave(rows, lengths) * out.shape[1] + self.follows[entry]
        values = torch.repeat_interleave(factor, lengths) * self.weights[entry]
        out.view(-1).index_add_(0, cells, values.to(out.dtype))
        return out


def count_transitions(items: Tensor, owners: Tensor, n_items: int, *, decay: float, window: int) -> Transitions:
    """Count the transitions of joined sequences: items (N,) in order and the sequence each belongs to (N,), int64."""
    width = n_items + 1
    codes, weights = torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.float64)
    for gap in range(1, min(window, len(items) - 1) + 1):
        same = owners[gap:] == owners[:-gap]
        new = (items[:-gap] * width + items[gap:])[same]
        discount = torch.full((len(new),), decay ** (gap - 1), dtype=torch.float64)
        codes, inverse = torch.unique(torch.cat([codes, new]), return_inverse=True)
        weights = torch.zeros(len(codes), dtype=torch.float64).index_add_(0, inverse, torch.cat([weights, discount]))
    rows = torch.bincount(codes // width, minlength=width)
    return Transitions(torch.cat([torch.zeros(1, dtype=torch.int64), rows.cumsum(0)]), codes % width, weights)
