"""From scores to rankings: the checks and the exact top-k that every recommender shares."""

from collections.abc import Callable

import torch
from torch import Tensor

from .errors import ConfigError, DataError, ModelError
from .types import PAD, Ranking


def check_history(history: Tensor, n_items: int) -> None:
    """Refuse a history that is not (B, L) int64 with ids in 0..n_items and padding on the left only.

    Raises:
        DataError: it is anything else.
    """
    if history.ndim != 2 or history.dtype != torch.int64:
        raise DataError(
            f"history is {history.dtype} of shape {tuple(history.shape)}; give int64 of shape (users, length)"
        )
    if history.numel() == 0:
        raise DataError(f"history has shape {tuple(history.shape)}; give a user and a position (0 = padding) at least")
    low, high = int(history.min()), int(history.max())
    if low < 0 or high > n_items:
        raise DataError(f"history holds item ids {low}..{high}; allowed are 0 (padding) to {n_items}")
    real = history != PAD
    if bool((real[:, :-1] & ~real[:, 1:]).any()):
        raise DataError("history has padding after an item; pad on the left, most recent item last")


def top_k(scores: Tensor, history: Tensor, k: int, *, exclude_seen: bool = True) -> Ranking:
    """Rank the k best items of full score rows, never padding and, by default, never a seen item.

    scores (B, n+1) float, column 0 is padding; history (B, L). Equal scores go to the lower id. A user for whom fewer
    than k items are left gets 0 with score -inf at the end.

    Raises:
        ConfigError: k is not in 1..n.
        ModelError: a score is not a number.
    """
    check_k(k, scores.shape[1] - 1)
    scores = scores.float().clone()
    scores[:, PAD] = -torch.inf
    if exclude_seen:
        scores.scatter_(1, history, -torch.inf)
    best, items = _stable_top_k(scores, k)
    return Ranking(torch.where(best == -torch.inf, PAD, items), best)


def check_k(k: int, n_items: int) -> None:
    """Refuse k outside 1..n_items.

    Raises:
        ConfigError: k is outside 1..n_items.
    """
    if not 1 <= k <= n_items:
        raise ConfigError(f"k = {k}; allowed are 1 to {n_items}, the number of items in the catalogue")


def _stable_top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """torch.topk with ties to the lower id, also where the tie crosses the k-th place."""
    best, items = scores.topk(k + 1, dim=1)  # column 0, padding, makes k + 1 <= n + 1
    if bool(best[:, 0].isnan().any()):  # NaN comes before every number
        raise ModelError("scores hold NaN; the model diverged: train again with a lower learning rate")
    crossing = (best[:, k - 1] == best[:, k]).nonzero()[:, 0]
    items, last = items[:, :k], best[:, k - 1 : k]
    if len(crossing):
        rows, last = scores[crossing], last[crossing]
        above, tied = rows > last, rows == last
        kept = above | (tied & (tied.cumsum(1) <= k - above.sum(1, keepdim=True)))
        items[crossing] = kept.nonzero()[:, 1].view(-1, k)
    items = items.sort(dim=1).values
    best, order = scores.gather(1, items).sort(dim=1, descending=True, stable=True)
    return best, items.gather(1, order)


def rank_in_chunks(
    score: Callable[[Tensor, Tensor], Tensor], history: Tensor, k: int, *, exclude_seen: bool = True, size: int = 256
) -> Ranking:
    """Rank users of similar history length together, so that short histories do not pay for long ones.

    score(history (b, l), rows (b,)) -> (b, n+1); history (B, L) is cut to the longest of a chunk, rows are the chunk's
    places in the batch. At most `size` score rows are held at once.
    """
    lengths = (history != PAD).sum(1)
    parts, order = [], lengths.argsort(stable=True)
    for rows in order.split(size):
        length = max(int(lengths[rows].max()), 1)
        seen = history[rows, -length:]
        parts.append(top_k(score(seen, rows), seen, k, exclude_seen=exclude_seen))
    back = order.argsort()
    items = torch.cat([p.items for p in parts])
    scores = torch.cat([p.scores for p in parts])
    return Ranking(items[back], scores[back])
