"""Count which item followed which, discounted by distance, and spread the counts over the items of a history.

W[a, b] = sum over pairs of one sequence, a before b by g = 1..window places, of decay^(g-1). Stored by rows: only the
pairs that occur.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError, ModelError

ROUNDING = 1e-10  # what adding and taking away may leave of nothing
DENSE = 0.02  # from this share of filled entries on, whole rows are added: fewer steps for more numbers


@dataclass(frozen=True)
class Transitions:
    """A sparse matrix W (n+1, n+1), row by row."""

    starts: Tensor
    """(n+2,) int64: the entries of item a are starts[a] .. starts[a+1]."""
    follows: Tensor
    """(nnz,) int64: the item b that follows."""
    weights: Tensor
    """(nnz,) float32 or float64: W[a, b]."""
    dense: Tensor | None = None
    """(n+1, n+1) float32: W in full, where `with_dense` found that this pays."""

    def with_dense(self) -> "Transitions":
        """Add the full matrix where at least a share DENSE of it is filled."""
        n = len(self.starts) - 1
        if len(self.follows) < DENSE * n * n:
            return self
        dense = torch.zeros(n, n, device=self.follows.device)
        dense[_rows_of(self), self.follows] = self.weights.float()
        return replace(self, dense=dense)

    def degrees(self) -> Tensor:
        """Sum each row: (n+1,), 0 for items that nothing follows."""
        sums = torch.zeros(len(self.starts) - 1, dtype=self.weights.dtype, device=self.weights.device)
        return sums.index_add_(0, _rows_of(self), self.weights)

    def spread(self, items: Tensor, factors: Tensor, *, out: Tensor) -> Tensor:
        """Add sum_w factors[r, w] · W[items[r, w], :] to row r of out (R, n+1), in place; return it.

        items (R, w) int64, factors (R, w); a factor of 0 costs nothing.
        """
        rows, places = factors.nonzero(as_tuple=True)
        sources, factor = items[rows, places], factors[rows, places]
        if self.dense is not None:
            bags = torch.searchsorted(rows, torch.arange(len(items), device=items.device))
            return out.add_(F.embedding_bag(sources, self.dense, bags, mode="sum", per_sample_weights=factor.float()))
        cells, values = self._cells(rows, sources, factor)
        out.view(-1).index_add_(0, cells, values.to(out.dtype))
        return out

    def cells(self, items: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `spread` adds, and where: cells r·(n+1) + b (C,), some more than once, and values (C,)."""
        rows, places = factors.nonzero(as_tuple=True)
        return self._cells(rows, items[rows, places], factors[rows, places])

    def _cells(self, rows: Tensor, sources: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
        first = self.starts[sources]
        lengths = self.starts[sources + 1] - self.starts[sources]
        total, before = int(lengths.sum()), lengths.cumsum(0) - lengths

        def each(values: Tensor) -> Tensor:
            return torch.repeat_interleave(values, lengths, output_size=total)

        entry = each(first - before).add_(torch.arange(total, device=rows.device))
        cells = each(rows * (len(self.starts) - 1)).add_(self.follows.index_select(0, entry))
        return cells, each(factor).mul_(self.weights.index_select(0, entry))


def count_transitions(
    items: Tensor, owners: Tensor, n_items: int, *, decay: float, window: int, fresh: Tensor | None = None
) -> Transitions:
    """Count the transitions of joined sequences: items (N,) in order and the sequence each belongs to (N,), int64.

    Where fresh (N,) bool is given, only transitions to fresh items count.
    """
    width = n_items + 1
    codes = torch.zeros(0, dtype=torch.int64)
    weights = torch.zeros(0, dtype=torch.float64)
    for gap in range(1, min(window, len(items) - 1) + 1):
        same = owners[gap:] == owners[:-gap]
        if fresh is not None:
            same &= fresh[gap:]
        new = (items[:-gap] * width + items[gap:])[same]
        discount = torch.full((len(new),), decay ** (gap - 1), dtype=torch.float64)
        codes, inverse = torch.unique(torch.cat([codes, new]), return_inverse=True)
        weights = torch.zeros(len(codes), dtype=torch.float64).index_add_(0, inverse, torch.cat([weights, discount]))
    return _by_row(codes, weights, width)


def recounted(counted: Transitions, plus: Transitions, minus: Transitions) -> Transitions:
    """Return counted + plus - minus over the items of `plus`; `counted` may know fewer, the last ones being new.

    Weights are float64. An entry of which only a rounding error is left goes.
    """
    width = len(plus.starts) - 1
    parts = (counted, plus, minus)
    codes = torch.cat([_rows_of(part) * width + part.follows for part in parts])
    weights = torch.cat([counted.weights, plus.weights, -minus.weights])
    codes, inverse = torch.unique(codes, return_inverse=True)
    weights = torch.zeros(len(codes), dtype=torch.float64).index_add_(0, inverse, weights)
    kept = weights > ROUNDING
    return _by_row(codes[kept], weights[kept], width)


def _rows_of(counted: Transitions) -> Tensor:
    """The row of each entry: (nnz,)."""
    n, device = len(counted.starts) - 1, counted.starts.device
    return torch.repeat_interleave(torch.arange(n, device=device), counted.starts.diff())


def count_together(items: Tensor, owners: Tensor, n_items: int, *, window: int) -> Transitions:
    """Count the pairs of items at most `window` places apart, in either order: symmetric, (n+1, n+1).

    items (N,) int64 are joined sequences, owners (N,) int64 the sequence each belongs to.
    """
    forth = count_transitions(items, owners, n_items, decay=1.0, window=window)
    rows = _rows_of(forth)
    codes = torch.cat([rows * (n_items + 1) + forth.follows, forth.follows * (n_items + 1) + rows])
    codes, inverse = torch.unique(codes, return_inverse=True)
    weights = torch.zeros(len(codes), dtype=torch.float64).index_add_(0, inverse, forth.weights.repeat(2))
    return _by_row(codes, weights, n_items + 1)


def thinned(counted: Transitions, *, keep: int) -> Transitions:
    """Keep the largest `keep` entries above 0 of each row, of equal ones those of the lowest items; weights float32.

    Two sorts of the entries: time and memory grow with their number, not with that of the cells.
    """
    rows, weights = _rows_of(counted), counted.weights.float()
    order = weights.argsort(stable=True, descending=True)
    order = order[rows[order].argsort(stable=True)]  # by row, then by weight, then by item
    place = torch.arange(len(rows), device=rows.device) - counted.starts[rows]  # within the row: order keeps rows
    kept = order[(place < keep) & (weights[order] > 0)].sort().values
    n = len(counted.starts) - 1
    return _by_row(rows[kept] * n + counted.follows[kept], weights[kept], n)


def _by_row(codes: Tensor, weights: Tensor, n: int) -> Transitions:
    """Make a matrix of n rows of entries by their codes row·n + column, the rows in ascending order."""
    rows = torch.bincount(codes // n, minlength=n)
    return Transitions(torch.cat([rows.new_zeros(1), rows.cumsum(0)]), codes % n, weights)


def nearest(features: Tensor, *, count: int = 50) -> Transitions:
    """Find the `count` items most like each, itself left out: row i holds them, weights the inner product in (0, 1].

    Time grows with the square of the items; `recsys.index.nearly_nearest` is for many.

    features (n+1, f), dense or sparse, rows of unit norm or zero; row 0 is padding, which has and is no neighbour.

    Raises:
        ConfigError: a count outside 1 to the number of items less one.
    """
    n = len(features) - 1
    if not 1 <= count < n:
        raise ConfigError(f"count is {count}; {n} items allow 1 to {n - 1} neighbours")
    codes, likes = [], []
    for rows in torch.arange(n + 1, device=features.device).split(512):
        chosen = features.index_select(0, rows)
        cosine = torch.mm(features, (chosen.to_dense() if chosen.is_sparse else chosen).T).T  # (512, n+1)
        cosine[torch.arange(len(rows)), rows] = 0
        like, item = cosine.topk(count, dim=1)
        codes.append((rows.unsqueeze(1) * (n + 1) + item)[like > 0])
        likes.append(like[like > 0].clamp(max=1.0))
    return _by_row(torch.cat(codes), torch.cat(likes), n + 1)


def named_rows(items: Tensor, likes: Tensor) -> Transitions:
    """Make a matrix of n+1 rows whose row i holds items (n+1, c), each once and 0 for none, by their likes above 0."""
    rows = torch.arange(len(items), device=items.device).unsqueeze(1).expand_as(items)
    kept = (items > 0) & (likes > 0)
    codes, order = (rows * len(items) + items)[kept].sort()
    return _by_row(codes, likes[kept][order], len(items))


def split_columns(counted: Transitions, after: int) -> tuple[Transitions, Transitions]:
    """Split W by columns: entries W[a, b] with b <= after, and those with b > after; both keep the shape."""
    n = len(counted.starts) - 1
    codes, early = _rows_of(counted) * n + counted.follows, counted.follows <= after
    return _by_row(codes[early], counted.weights[early], n), _by_row(codes[~early], counted.weights[~early], n)


class TransitionTable(nn.Module):
    """Transitions that are saved with a model, whatever their number; empty at first."""

    def __init__(self, n_items: int):
        super().__init__()
        self.starts: Tensor
        self.follows: Tensor
        self.weights: Tensor
        self.register_buffer("starts", torch.zeros(n_items + 2, dtype=torch.int64))
        self.register_buffer("follows", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("weights", torch.zeros(0))
        self._table: Transitions | None = None
        self._degrees = torch.zeros(n_items + 1)

    @property
    def degrees(self) -> Tensor:
        """Sum each item's row: (n+1,).

        Raises:
            ModelError: as `table`.
        """
        self.table()
        return self._degrees

    @property
    def filled(self) -> bool:
        """Tell whether anything was counted."""
        return len(self.follows) > 0

    def set(self, counted: Transitions) -> None:
        """Take over counted transitions."""
        device = self.starts.device
        self.starts = counted.starts.to(device)
        self.follows = counted.follows.to(device)
        self.weights, self._table = counted.weights.float().to(device), None

    def table(self) -> Transitions:
        """Return them.

        Raises:
            ModelError: nothing was counted.
        """
        if not self.filled:
            raise ModelError("there are no counts; call prepare(sequences), or load saved weights, first")
        if self._table is None or self._table.weights is not self.weights:
            self._table = Transitions(self.starts, self.follows, self.weights).with_dense()
            self._degrees = self._table.degrees()
        return self._table

    def _load_from_state_dict(self, state_dict, prefix, *rest):  # pyrefly: ignore[bad-override]
        for name in ("follows", "weights"):  # their length is that of the data
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=self.starts.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)
