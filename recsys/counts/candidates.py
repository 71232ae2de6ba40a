"""Few items a case, for a fit over a catalogue too large to score item by item at every step of it.

A case gets the items that its sum of exponents hangs on: the target, those nearest to what the network looks for, and
those that the counts speak for most. A sample stands for all others, m items drawn uniformly, each weighing n/m; a draw
that is there already weighs nothing. So any sum over items is right on average, and what the large terms say is exact.

What is scored for it, once, are all items for what the network looks for; nothing else grows with the catalogue.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..types import PAD
from .evidence import Discount, evidence_at, sparse_evidence
from .stacking import Counted, Opinions
from .transitions import TransitionTable

NEAR, KNOWN, DRAWN = 256, 512, 256
"""Items of each kind a case."""
AT_ONCE = 64
"""Cases that are looked at together: they hold a score for every item."""
COLUMNS = 2 + NEAR + KNOWN + DRAWN
TARGET = 1
"""The column of the target; that of padding is 0."""
Expert = tuple[TransitionTable, Discount, float, float]
"""A table, how it is read, and by which weight and scale it finds candidates."""


def opinions_of_few(
    query: Tensor, items: tuple[Tensor, Tensor], experts: Sequence[Expert], history: Tensor, target: Tensor,
    banned: Tensor | None, words: Tensor | None, features: Tensor | None,
) -> Opinions:  # fmt: skip
    """Ask the network and every expert about each case's own items, up to COLUMNS; the same way every time.

    query (N, d), embeddings (n+1, d) and biases (n+1,) are the network's; history (N, L), target (N,), banned (N, l),
    words (N, f), features (n+1, f).
    """
    (embedding, bias), parts, own = items, [], []
    found, log_weight = few(query, embedding, bias, experts, history, target, banned)
    said: list[list[Tensor]] = [[] for _ in experts]
    for rows in torch.arange(len(query), device=query.device).split(AT_ONCE):
        own.append(torch.einsum("nd,ncd->nc", query[rows], embedding[found[rows]]))
        for parts, (table, discount, _, _) in zip(said, experts, strict=True):
            if table.filled:
                parts.append(evidence_at(table, history[rows], found[rows], discount=discount))
    counted = [Counted.of(torch.cat(parts)) if parts else None for parts in said]
    described = None if features is None else features[found]
    return Opinions(torch.cat(own), bias[found], (counted, words), described, torch.full_like(target, TARGET),
                    log_weight=log_weight)  # fmt: skip


def few(
    query: Tensor, embedding: Tensor, bias: Tensor, experts: Sequence[Expert], history: Tensor, target: Tensor,
    banned: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Choose the items of each case, and say how many each stands for.

    Returns items (N, c), padding and the target first, and the logarithm (N, c), -inf for padding, for what stands
    further left already and for what is banned.
    """
    n, device, parts = len(embedding) - 1, query.device, []
    drawn = torch.randperm(n, generator=torch.Generator().manual_seed(0))[:DRAWN].to(device) + 1
    able = [expert for expert in experts if expert[0].filled]
    for rows in torch.arange(len(query), device=device).split(AT_ONCE):
        near = torch.addmm(bias, query[rows], embedding.T)
        near[:, PAD] = -torch.inf
        near = near.topk(min(NEAR, n), dim=1).indices
        first = torch.stack([torch.zeros_like(rows), target[rows]], dim=1)
        known = _most_known(able, history[rows], n + 1)
        parts.append(torch.cat([first, near, known, drawn.expand(len(rows), -1)], dim=1))
    items = torch.cat(parts)
    log_weight = torch.zeros(items.shape, device=device)
    log_weight[:, -len(drawn) :] = math.log(n / len(drawn))
    out = _there_before(items) | (items == PAD)
    if banned is not None:  # a target never is
        out |= _among(items, banned, n + 1)
    return items, log_weight.masked_fill_(out, -torch.inf)


def _most_known(experts: Sequence[Expert], history: Tensor, width: int) -> Tensor:
    """The KNOWN items that experts speak for most after history (B, L): (B, KNOWN), 0 where there are fewer."""
    cells, values = sparse_evidence(experts, history)
    rows = cells // width
    starts = torch.searchsorted(rows, torch.arange(len(history), device=rows.device))
    column = torch.arange(len(cells), device=rows.device) - starts[rows]
    longest = max(KNOWN, int(torch.bincount(rows, minlength=1).max()))
    table, names = values.new_full((len(history), longest), -torch.inf), cells.new_zeros(len(history), longest)
    table[rows, column], names[rows, column] = values, cells % width
    return names.gather(1, table.topk(KNOWN, dim=1).indices)


def _there_before(items: Tensor) -> Tensor:
    """Tell which of each row's items (N, c) stands further left already: (N, c) bool."""
    ordered, order = items.sort(dim=1, stable=True)
    again = torch.zeros_like(items, dtype=torch.bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    return torch.zeros_like(again).scatter_(1, order, again)


def _among(items: Tensor, others: Tensor, width: int) -> Tensor:
    """Tell which of each row's items (N, c) are among its others (N, l): (N, c) bool."""
    own = torch.arange(len(items), device=items.device).unsqueeze(1) * width
    return torch.isin(own + items, own + others)
