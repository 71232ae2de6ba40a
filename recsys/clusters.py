"""Group points by k-means: one loop (Lloyd 1982), and two ways to choose the centres it starts from."""

import torch
from torch import Tensor

from .errors import ConfigError, DataError


def k_means(points: Tensor, centres: Tensor, *, rounds: int = 25) -> Tensor:
    """Move centres (k, f) to the means of the points (N, f) nearest to them, until they stay: (k, f).

    A centre that runs empty moves to the point farthest from its own.
    """
    for _ in range(rounds):
        nearest, label = squared_distances(points, centres).min(1)
        size = torch.bincount(label, minlength=len(centres))
        total = torch.zeros_like(centres).index_add_(0, label, points)
        empty = (size == 0).nonzero()[:, 0]
        moved = total / size.clamp(min=1).unsqueeze(1)
        moved[empty] = points[nearest.topk(len(empty)).indices]
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def drawn_centres(points: Tensor, k: int, *, generator: torch.Generator) -> Tensor:
    """Draw at most k of the points (N, f), far ones more likely: (k', f); k-means++ (Arthur & Vassilvitskii 2007).

    k' < k only where fewer points differ.
    """
    centres = points[torch.randint(len(points), (1,), generator=generator)]
    nearest = squared_distances(points, centres)[:, 0]
    while len(centres) < k and float(nearest.max()) > 1e-9:
        new = points[torch.multinomial(nearest, 1, generator=generator)]
        centres = torch.cat([centres, new])
        nearest = torch.minimum(nearest, squared_distances(points, new)[:, 0])
    return centres


def spread_centres(points: Tensor, k: int) -> Tensor:
    """Choose k of the points (N, f), farthest first from the one nearest to the mean; nothing is drawn: (k, f)."""
    chosen = [int(torch.cdist(points, points.mean(0, keepdim=True)).argmin())]
    distance = torch.cdist(points, points[chosen]).squeeze(1)
    while len(chosen) < k:
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, torch.cdist(points, points[chosen[-1:]]).squeeze(1))
    return points[chosen]


def groups(points: Tensor, clusters: int, *, rounds: int = 50) -> Tensor:
    """Assign points (n, f) to clusters (n,) int64 in 0..clusters-1, none empty; the same way every time.

    A cluster that is left empty takes the point that lies farthest from its centre.

    Raises:
        ConfigError: clusters outside 1..n.
        DataError: values that are not finite.
    """
    if not 1 <= clusters <= len(points):
        raise ConfigError(f"clusters = {clusters}; allowed are 1 to {len(points)}, the number of items")
    if not bool(points.isfinite().all()):
        raise DataError("the embeddings to cluster hold NaN or infinity; replace missing values by 0")
    points = points.double()
    centres = k_means(points, spread_centres(points, clusters), rounds=rounds)
    nearest, label = squared_distances(points, centres).min(1)
    return _filled(label, nearest, clusters)


def squared_distances(points: Tensor, centres: Tensor) -> Tensor:
    """Return |x - c|² for points (N, f) and centres (k, f): (N, k), never negative."""
    cross = points @ centres.T
    return (points.square().sum(1, keepdim=True) - 2 * cross + centres.square().sum(1)).clamp(min=0)


def _filled(label: Tensor, nearest: Tensor, clusters: int) -> Tensor:
    """Give each empty cluster the farthest point of a cluster that can spare one."""
    label, nearest = label.clone(), nearest.clone()
    for number in range(clusters):
        sizes = torch.bincount(label, minlength=clusters)
        if sizes[number] == 0:
            point = nearest.masked_fill(sizes[label] < 2, -1).argmax()
            label[point], nearest[point] = number, -1
    return label
