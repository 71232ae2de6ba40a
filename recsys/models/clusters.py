"""Group items: deterministic k-means, and embeddings from who took what where no others are known."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, DataError
from ..types import PAD
from .counting import flatten


def k_means(points: Tensor, clusters: int, *, rounds: int = 50) -> Tensor:
    """Assign points (n, f) to clusters (n,) int64 in 0..clusters-1, none empty; equal points give equal answers.

    Lloyd's algorithm from centres chosen farthest first, beginning at the point nearest to the mean. A cluster that
    runs empty takes the point that lies farthest from its centre.
    Raises: ConfigError for clusters outside 1..n, DataError for values that are not finite.
    """
    if not 1 <= clusters <= len(points):
        raise ConfigError(f"clusters = {clusters}; allowed are 1 to {len(points)}, the number of items")
    if not bool(points.isfinite().all()):
        raise DataError("the embeddings to cluster hold NaN or infinity; replace missing values by 0")
    points = points.double()
    centres, cluster = _spread(points, clusters), None
    for _ in range(rounds):
        distance = torch.cdist(points, centres)
        nearest, assigned = distance.min(1)
        assigned = _fill(assigned, nearest, clusters)
        if cluster is not None and torch.equal(assigned, cluster):
            break
        cluster = assigned
        one_hot = torch.nn.functional.one_hot(cluster, clusters).double()
        centres = one_hot.T @ points / one_hot.sum(0).unsqueeze(1)
    return assigned  # pyrefly: ignore[unbound-name]


def interaction_embeddings(sequences: Sequence[np.ndarray], n_items: int, *, d: int = 32, rounds: int = 4) -> Tensor:
    """Embed items (n+1, d) by the truncated SVD of users x items, each entry divided by the root of both degrees.

    Randomised subspace iteration (Halko et al. 2011) from fixed numbers; row 0 and items that nobody took are zero.
    Raises: DataError for no sequences or ids outside 1..n_items.
    """
    items, users = flatten(list(sequences), n_items)
    size = (len(sequences), n_items + 1)
    codes = torch.unique(users * (n_items + 1) + items)  # each pair once
    taken = torch.stack([codes // (n_items + 1), codes % (n_items + 1)])
    degrees = [torch.bincount(index, minlength=length).float().rsqrt() for index, length in zip(taken, size)]
    x = torch.sparse_coo_tensor(taken, degrees[0][taken[0]] * degrees[1][taken[1]], size, check_invariants=False)
    basis = torch.randn(n_items + 1, min(d, n_items), generator=torch.Generator().manual_seed(0))
    for _ in range(rounds):
        basis = torch.linalg.qr(x.T @ (x @ basis)).Q
    _, values, right = torch.linalg.svd(x @ basis, full_matrices=False)
    embedding = basis @ right.T * values
    embedding[PAD] = 0  # rounding leaves a trace
    return embedding


def _spread(points: Tensor, clusters: int) -> Tensor:
    """Choose points far from each other: (clusters, f)."""
    chosen = [int(torch.cdist(points, points.mean(0, keepdim=True)).argmin())]
    distance = torch.cdist(points, points[chosen]).squeeze(1)
    while len(chosen) < clusters:
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, torch.cdist(points, points[chosen[-1:]]).squeeze(1))
    return points[chosen]


def _fill(assigned: Tensor, nearest: Tensor, clusters: int) -> Tensor:
    """Give each empty cluster the farthest point of a cluster that can spare one."""
    assigned, nearest = assigned.clone(), nearest.clone()
    for number in range(clusters):
        sizes = torch.bincount(assigned, minlength=clusters)
        if sizes[number] == 0:
            point = nearest.masked_fill(sizes[assigned] < 2, -1).argmax()
            assigned[point], nearest[point] = number, -1
    return assigned
