"""K-means: its loop, its two starts, and groups of which none is empty."""

import pytest
import torch

from recsys.clusters import drawn_centres, groups, k_means, squared_distances
from recsys.errors import ConfigError, DataError


def test_k_means_finds_blobs_that_lie_apart_and_lowers_the_distance():
    centres = torch.tensor([[0.0, 0], [10, 0], [0, 10]])
    points = centres.repeat(20, 1) + 0.1 * torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    found = k_means(points, drawn_centres(points, 3, generator=torch.Generator().manual_seed(0)))
    assert float(squared_distances(centres, found).amin(1).max()) < 0.1
    assert len(drawn_centres(torch.ones(5, 2), 3, generator=torch.Generator().manual_seed(0))) == 1


def test_groups_that_lie_apart_are_found_and_leave_no_cluster_empty():
    generator = torch.Generator().manual_seed(0)
    group = torch.arange(60) % 3
    points = torch.eye(3)[group] * 5 + torch.randn(60, 3, generator=generator) * 0.3
    found = groups(points, 3)
    assert len({(a, b) for a, b in zip(found.tolist(), group.tolist(), strict=True)}) == 3
    assert torch.equal(found, groups(points, 3))
    assert sorted(groups(torch.zeros(4, 2), 4).tolist()) == [0, 1, 2, 3]
    assert groups(points, 1).tolist() == [0] * 60
    for clusters in (0, 61):
        with pytest.raises(ConfigError, match=f"clusters = {clusters}.*1 to 60"):
            groups(points, clusters)
    with pytest.raises(DataError, match="NaN"):
        groups(torch.full((3, 2), torch.nan), 2)


def test_groups_are_a_local_minimum():
    points = torch.randn(40, 2, generator=torch.Generator().manual_seed(3)).double()
    found = groups(points, 4)
    centres = torch.stack([points[found == number].mean(0) for number in range(4)])
    assert torch.equal(torch.cdist(points, centres).argmin(1), found)


def test_a_centre_that_runs_empty_moves_to_the_farthest_point():
    points = torch.tensor([[0.0], [1.0], [9.0]])
    assert sorted(k_means(points, torch.tensor([[0.4], [50.0]])).flatten().tolist()) == [0.5, 9.0]
