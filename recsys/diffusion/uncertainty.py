"""Uncertainty-aware guidance: in training, drop the redundant part of some histories before they are encoded.

TDM, "DreamMiss" (SIGIR 2025): a Thompson-style double dropout. With s_c = softmax over c of cos(e_c, e_{c+1}), item c
of a history of L items is dropped with probability s_c·p2·L, and this is done to a history with probability
softmax over the batch of H·p1·B, H the entropy of its s. So about a share p2 of the items of about a share p1 of the
histories goes, most readily an item that resembles its successor.
Chosen here: probabilities are cut at 1; the most recent item has no successor and stays; a history of fewer than two
items has nothing to drop; what is left moves together, so that padding stays on the left.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..types import PAD


def redundancy(history: Tensor, embedding: Tensor) -> Tensor:
    """Share out 1 over each history's items by likeness to their successor: s (B, L), 0 at padding and the last item.

    s = softmax over positions of cos(e_c, e_{c+1}); history (B, L), embedding (n+1, d). A history of fewer than two
    items is all zero.
    """
    x = embedding[history]
    likeness = F.cosine_similarity(x[:, :-1], x[:, 1:], dim=-1)
    pairs = (history[:, :-1] != PAD) & (history[:, 1:] != PAD)
    share = likeness.masked_fill(~pairs, -torch.inf).softmax(1)
    return F.pad(torch.where(pairs, share, 0.0), (0, 1))


def entropy(share: Tensor) -> Tensor:
    """Entropy -Σ s log s (B,) in nats of each row of share (B, L)."""
    return -torch.xlogy(share, share).sum(1)


def drop_probabilities(history: Tensor, embedding: Tensor, *, items: float, rows: float) -> tuple[Tensor, Tensor]:
    """Probability (B, L) that an item is dropped where its history is thinned, and (B,) that the history is.

    `items` is the paper's p2, `rows` its p1; both are mean shares, cut at probability 1.
    """
    share = redundancy(history, embedding)
    length = (history != PAD).sum(1, keepdim=True)
    of_row = entropy(share).softmax(0) * rows * len(history)
    return (share * items * length).clamp(max=1), of_row.clamp(max=1)


def thin(history: Tensor, embedding: Tensor, *, items: float, rows: float, generator: torch.Generator) -> Tensor:
    """Drop redundant items of uncertain histories (B, L); the rest moves to the right, padding to the left.

    With `items` or `rows` at 0 the history comes back as it is and nothing is drawn.
    """
    if items == 0 or rows == 0:
        return history
    of_item, of_row = drop_probabilities(history, embedding.detach(), items=items, rows=rows)
    goes = torch.rand(of_item.shape, generator=generator, device=history.device) < of_item
    chosen = torch.rand(of_row.shape, generator=generator, device=history.device) < of_row
    kept = history.masked_fill(goes & chosen.unsqueeze(1), PAD)
    return kept.gather(1, (kept != PAD).int().argsort(dim=1, stable=True))
