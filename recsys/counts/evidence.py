"""What counts say about the next item: one number an item, from the recent items of a history.

s_i(h) = sum_w decay^w · W[h_w, i] / degree(h_w)^power, with h_w the item w places back, w < window. W holds the
transitions of the training sequences, or how alike items are (transitions.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..types import PAD
from .transitions import TransitionTable


@dataclass(frozen=True)
class Discount:
    """How much an item counts: decay^w if it is w < window places back, divided by its row's sum to `power`."""

    decay: float
    window: int
    power: float = 0.0


def spread_back(
    table: TransitionTable, history: Tensor, *, discount: Discount, scale: float = 1.0, out: Tensor | None = None
) -> Tensor:
    """Score every item by the rows that `table` has for the recent items of history (B, L): (B, n+1), 0 for nothing.

    All scores are multiplied by `scale`; they are written to `out`, where that is given, whatever was there.
    """
    recent, factors = _factors(table, history, discount, scale)
    out = factors.new_zeros(len(history), len(table.starts) - 1) if out is None else out.zero_()
    return table.table().spread(recent, factors, out=out)


def sparse_evidence(
    experts: Iterable[tuple[TransitionTable, Discount, float, float]], history: Tensor
) -> tuple[Tensor, Tensor]:
    """Sum weight·log(1 + scale·s) of experts (table, discount, weight, scale) over the items that they know of.

    Returns cells row·(n+1) + item of history (B, L), (C,) int64, ascending, each once, and their sums (C,). What it
    costs grows with the counts of the items in the histories, not with the catalogue.
    """
    found = [(*table.table().cells(*_factors(table, history, discount, scale)), weight)
             for table, discount, weight, scale in experts]  # fmt: skip
    if not found:
        return history.new_zeros(0), torch.zeros(0, device=history.device)
    cells, places = torch.cat([codes for codes, _, _ in found]).unique(return_inverse=True)
    total = torch.zeros(len(cells), device=history.device)
    parts = places.split([len(codes) for codes, _, _ in found])
    for (_, values, weight), place in zip(found, parts, strict=True):
        total.add_(torch.zeros_like(total).index_add_(0, place, values.float()).log1p_(), alpha=weight)
    return cells, total


def evidence_at(table: TransitionTable, history: Tensor, items: Tensor, *, discount: Discount) -> Tensor:
    """Score some items (B, c) of each history (B, L) as `spread_back` scores all: (B, c)."""
    cells, values = table.table().cells(*_factors(table, history, discount, 1.0))
    if not len(cells):
        return values.new_zeros(items.shape)
    codes, places = cells.unique(return_inverse=True)
    sums = values.new_zeros(len(codes)).index_add_(0, places, values)
    wanted = items + torch.arange(len(items), device=items.device).unsqueeze(1) * (len(table.starts) - 1)
    found = torch.searchsorted(codes, wanted).clamp(max=len(codes) - 1)
    return sums[found] * (codes[found] == wanted)


def word_counts(features: Tensor, history: Tensor, *, discount: Discount) -> Tensor:
    """Count the words of the recent items of history (B, L) by features (n+1, f) >= 0: (B, f)."""
    recent = history[:, -discount.window :]
    return torch.einsum("nl,nlf->nf", _weights(recent, discount), features[recent])


def _factors(table: TransitionTable, history: Tensor, discount: Discount, scale: float) -> tuple[Tensor, Tensor]:
    """The recent items of history (B, L), and by how much each one's row counts, both (B, w)."""
    recent = history[:, -discount.window :]
    return recent, scale * _weights(recent, discount) / table.degrees[recent].clamp(min=1.0) ** discount.power


def _weights(recent: Tensor, discount: Discount) -> Tensor:
    age = torch.arange(recent.shape[1] - 1, -1, -1, device=recent.device)
    return discount.decay**age * (recent != PAD)
