"""Training on prefixes: what a model learns from that can only look at one history at a time."""

import torch
from torch import Tensor

from ..types import PAD, Batch


def random_prefixes(batch: Batch, *, max_len: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Cut one random prefix out of each row of Batch (B, L) that has a target, and look up what followed it.

    Returns histories (N, min(L, max_len)) int64, padded on the left, and targets (N,). A target at a padded position
    (`items.with_first_items`) gives an empty history.
    """
    known = batch.target != PAD
    draw = torch.rand(known.shape, generator=generator, device=known.device).masked_fill(~known, -1)
    rows = known.any(1).nonzero()[:, 0]
    place = draw.argmax(1)[rows]
    window = place.unsqueeze(1) + torch.arange(1 - min(max_len, known.shape[1]), 1, device=place.device)
    history = batch.history[rows.unsqueeze(1), window.clamp(min=0)].masked_fill(window < 0, PAD)
    return history, batch.target[rows, place]
