"""The item-item regression (ease.py) as counts that CountDiff can weigh: what is above 0 in its map, row by row.

Its score of an item is a sum over the items of the history, like any other count's. Entries below 0 say "less likely
than others", which the logarithm of a count cannot say; the loss of leaving them out is within the noise.
"""

import numpy as np
import torch
from torch import Tensor

from ..counts.transitions import Transitions
from .counting import flatten
from .ease import Ease, EaseConfig


def regress(sequences: list[np.ndarray], n_items: int, *, most: int, ridge: float, keep: int) -> Transitions:
    """Regress each of the `most` most frequent items on the others: (n+1, n+1), up to `keep` entries a row.

    Needs about 12·most² bytes.

    Raises:
        DataError: no sequences or ids outside 1..n_items.
        ResourceError: memory does not suffice.
    """
    frequent = _frequent(flatten(sequences, n_items)[0], most)
    number = np.zeros(n_items + 1, np.int64)
    number[frequent] = np.arange(1, len(frequent) + 1)
    shorter = [known[known > 0] for known in (number[sequence] for sequence in sequences)]
    weights = Ease(EaseConfig(len(frequent), ridge=ridge)).fit(shorter).map
    assert weights is not None
    return _largest(weights[1:, 1:], torch.from_numpy(frequent), n_items, keep)


def _frequent(items: Tensor, most: int) -> np.ndarray:
    """The ids of the `most` items that occur most often, those that never do left out, in ascending order."""
    counts = torch.bincount(items)
    order = counts.argsort(descending=True, stable=True)[: min(most, int((counts > 0).sum()))]
    return order.sort().values.numpy()


def _largest(weights: Tensor, ids: Tensor, n_items: int, keep: int) -> Transitions:
    """Keep the largest entries of each row of weights (m, m), those above 0, as entries between `ids` (m,)."""
    codes, values = [], []
    for rows in torch.arange(len(ids)).split(512):
        columns = weights[rows].topk(min(keep, len(ids)), dim=1).indices.sort(dim=1).values
        best = weights[rows].gather(1, columns)
        codes.append((ids[rows].unsqueeze(1) * (n_items + 1) + ids[columns])[best > 0])
        values.append(best[best > 0])
    code = torch.cat(codes)
    lengths = torch.bincount(code // (n_items + 1), minlength=n_items + 1)
    return Transitions(torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]), code % (n_items + 1), torch.cat(values))
