"""What counts say about the next item: one number an item, from the recent items of a history.

s_i(h) = sum_w decay^w · W[h_w, i] / degree(h_w)^power, with h_w the item w places back, w < window. W holds the
transitions of the training sequences, or how alike items are (transitions.py).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .transitions import TransitionTable
from .types import PAD, Batch

SPARSE = 0.1  # up to this share of filled cells, visiting them alone is faster


@dataclass(frozen=True)
class Discount:
    """How much an item counts: decay^w if it is w < window places back, divided by its row's sum to `power`."""

    decay: float
    window: int
    power: float = 0.0


@dataclass(frozen=True)
class Evidence:
    """What was counted for N histories: transitions (N, n+1), likeness (N, n+1), words (N, f); None: not looked at."""

    counts: Tensor
    alike: Tensor | None = None
    words: Tensor | None = None

    def repeat(self, times: int) -> "Evidence":
        """Give each history's numbers `times` times, side by side."""
        parts = (self.counts, self.alike, self.words)
        return Evidence(*(part if part is None else part.repeat_interleave(times, dim=0) for part in parts))  # type: ignore


def followers(table: TransitionTable, history: Tensor, *, discount: Discount) -> Tensor:
    """Score what followed the recent items of history (B, L) in all sequences: (B, n+1), 0 where nothing did."""
    counted, recent = table.table(), history[:, -discount.window :]
    age = torch.arange(recent.shape[1] - 1, -1, -1, device=recent.device)
    factors = discount.decay**age * (recent != PAD) / _power(table.degrees[recent], discount.power)
    return counted.spread(recent, factors, out=_nothing(recent, table))


@torch.no_grad()
def others_followers(table: TransitionTable, batch: Batch, known: Tensor, *, discount: Discount) -> Tensor:
    """Score the same at every `known` (B, L) place of batch (B, L), without the row's own transitions: (N, n+1).

    A sequence that finds its own transitions in the counts sees the answer; this is what all others would say (leave
    one out), exact for rows that hold no item twice and whole sequences.
    """
    counted, decay, window = table.table(), discount.decay, discount.window
    piece = torch.cat([batch.history, batch.target[:, -1:]], dim=1)  # (B, L+1)
    place = torch.arange(piece.shape[1], device=piece.device)
    gap = place - place.unsqueeze(1)  # gap[a, b] = b - a
    own = torch.where((gap >= 1) & (gap <= window), decay ** (gap - 1).clamp(min=0).float(), 0.0)
    own = own * ((piece != PAD).unsqueeze(2) & (piece != PAD).unsqueeze(1))  # (B, L+1, L+1)
    degree = (table.degrees[piece] - own.sum(2)).clamp(min=0)
    age = place[:-1].unsqueeze(1) - place[:-1]  # age[l, a] = l - a
    recent = torch.where((age >= 0) & (age < window), decay ** age.clamp(min=0).float(), 0.0)
    factors = recent * ((batch.history != PAD) / _power(degree[:, :-1], discount.power)).unsqueeze(1)  # (B, L, L)
    rows, at = known.nonzero(as_tuple=True)
    history = batch.history[rows]
    out = counted.spread(history, factors[rows, at], out=_nothing(history, table))
    mine = torch.bmm(factors, own[:, :-1])[rows, at]  # (N, L+1): what the row itself added, by place
    return out.scatter_add_(1, piece[rows], -mine).clamp_(min=0)


def likeness(table: TransitionTable, items: Tensor, ages: Tensor, *, discount: Discount) -> Tensor:
    """Score how alike every item is to items (N, L) of `ages` (N, L), 0 for the last one, < 0 for none: (N, n+1)."""
    near = (items != PAD) & (ages >= 0) & (ages < discount.window)
    factors = torch.where(near, discount.decay ** ages.clamp(min=0).float(), 0.0)
    return table.table().spread(items, factors, out=_nothing(items, table))


def word_counts(features: Tensor, items: Tensor, ages: Tensor, *, discount: Discount) -> Tensor:
    """Count the words of items (N, L) of `ages` (N, L), < 0 for none, by features (n+1, f) >= 0: (N, f)."""
    near = (items != PAD) & (ages >= 0) & (ages < discount.window)
    factors = torch.where(near, discount.decay ** ages.clamp(min=0).float(), 0.0)
    return torch.einsum("nl,nlf->nf", factors, features[items])


def prefixes(batch: Batch, known: Tensor) -> tuple[Tensor, Tensor]:
    """List the items (N, L) up to every known place of a batch, later ones as padding, and their ages (N, L)."""
    rows, at = known.nonzero(as_tuple=True)
    ages = at.unsqueeze(1) - torch.arange(known.shape[1], device=at.device)
    return batch.history[rows].masked_fill(ages < 0, PAD), ages


def add_evidence(logits: Tensor, seen: Tensor, *, trust: Tensor, kappa: Tensor) -> Tensor:
    """Return logits + trust·log(1 + kappa·seen) for logits and seen (N, n+1), trust (N,), kappa (); changes logits."""
    rows, items = seen.nonzero(as_tuple=True)
    if len(rows) > SPARSE * seen.numel():
        return logits + trust.unsqueeze(1) * torch.log1p(seen * kappa)
    return logits.index_put_((rows, items), trust[rows] * torch.log1p(seen[rows, items] * kappa), accumulate=True)


def _nothing(rows: Tensor, table: TransitionTable) -> Tensor:
    return torch.zeros(len(rows), len(table.starts) - 1, device=rows.device)


def _power(degree: Tensor, power: float) -> Tensor:
    return degree.clamp(min=1.0) ** power
