"""Every measure against a brute-force formula or a case whose answer is known."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from personagen.colours import to_lab
from personagen.images import mask_box  # fmt: skip
from personagen.metrics.fidelity import (
    bootstrap_interval,
    colour_distance,
    garment_region,
    l1,
    laplacian_energy,
    permutation_test,
    psnr,
    region_features,
    retrieval_ranks,
    ssim,
    ssim_in_box,
    takes_the_colours,
    unchanged_outside,
)
from recsys.errors import ConfigError, DataError


def pictures(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_l1_and_psnr_equal_their_formulas_in_and_out_of_the_mask():
    a, b = pictures(2, 3, 8, 9), pictures(2, 3, 8, 9, seed=1)
    mask = torch.zeros(2, 1, 8, 9, dtype=torch.float64)
    mask[:, :, 2:5, 3:7] = 1
    for i in range(2):
        inside, both = (a[i, :, 2:5, 3:7], b[i, :, 2:5, 3:7]), (a[i], b[i])
        assert float(l1(a, b, mask=mask)[i]) == pytest.approx(float((inside[0] - inside[1]).abs().mean()))
        assert float(l1(a, b)[i]) == pytest.approx(float((both[0] - both[1]).abs().mean()))
        mse = float(((inside[0] - inside[1]) ** 2).mean())
        assert float(psnr(a, b, mask=mask)[i]) == pytest.approx(10 * np.log10(1 / mse))
    assert torch.isinf(psnr(a, a)).all()
    with pytest.raises(DataError, match="one shape"):
        l1(a, b[:, :, 1:])
    with pytest.raises(DataError, match="marks nothing"):
        l1(a, b, mask=torch.zeros_like(mask))
    with pytest.raises(DataError, match="B, 1, H, W"):
        l1(a, b, mask=mask[:1])


def test_ssim_equals_the_window_by_window_formula():
    a = pictures(1, 3, 14, 13)
    b = (0.7 * a + 0.3 * pictures(1, 3, 14, 13, seed=1)).clamp(0, 1)
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for channel, row, column in itertools.product(range(3), range(4), range(3)):
        x, y = (p[0, channel, row : row + 11, column : column + 11].numpy() for p in (a, b))
        mx, my = (window * x).sum(), (window * y).sum()
        vx, vy, c = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum(), (window * (x - mx) * (y - my)).sum()
        values.append((2 * mx * my + 1e-4) * (2 * c + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)))
    assert float(ssim(a, b)[0]) == pytest.approx(np.mean(values), abs=1e-12)
    torch.testing.assert_close(ssim(a, a), torch.ones(1, dtype=torch.float64))
    with pytest.raises(DataError, match="at least 11"):
        ssim(a[:, :, :10], b[:, :, :10])


def test_the_energy_of_the_laplacian_sees_blur_and_noise():
    x = pictures(2, 3, 24, 18)
    y = 0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2]
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=x.dtype)
    expected = torch.nn.functional.conv2d(y[:, None], kernel[None, None]).square().mean((1, 2, 3))
    torch.testing.assert_close(laplacian_energy(x), expected)
    assert laplacian_energy(torch.full((1, 3, 9, 9), 0.4)).item() == pytest.approx(0, abs=1e-12)
    smooth = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    assert (laplacian_energy(smooth) < 0.3 * laplacian_energy(x)).all()
    half = torch.zeros(2, 1, 24, 18)
    half[:, :, :, :9] = 1
    flat = x.clone()
    flat[:, :, :, :10] = 0.5
    assert (laplacian_energy(flat, mask=half) == 0).all() and (laplacian_energy(flat) > 0).all()
    assert (laplacian_energy(x, mask=torch.zeros_like(half)) == 0).all()


def test_the_box_of_a_mask_and_the_similarity_in_it():
    mask = np.zeros((30, 20), bool)
    mask[10:25, 3:15] = True
    assert mask_box(mask) == (10, 25, 3, 15)
    small = np.zeros((30, 20), bool)
    small[0, 19] = True
    assert mask_box(small, at_least=11) == (0, 11, 9, 20)
    a, b = pictures(2, 3, 30, 20), pictures(2, 3, 30, 20, seed=1)
    both = torch.from_numpy(np.stack([mask, small]))[:, None]
    got = ssim_in_box(a, b, both)
    torch.testing.assert_close(got[:1], ssim(a[:1, :, 10:25, 3:15], b[:1, :, 10:25, 3:15]))
    torch.testing.assert_close(got[1:], ssim(a[1:, :, 0:11, 9:20], b[1:, :, 0:11, 9:20]))
    with pytest.raises(DataError, match="no box"):
        mask_box(np.zeros((5, 5), bool))


def test_a_single_changed_pixel_outside_is_seen():
    a, mask = pictures(2, 3, 6, 6), torch.zeros(2, 1, 6, 6)
    mask[:, :, :3] = 1
    b = a.clone()
    b[:, :, :3] += 0.1
    b[1, 2, 5, 5] += 1e-9
    assert unchanged_outside(a, b, mask).tolist() == [True, False]


def test_colour_distance_is_the_mean_wasserstein_distance_in_lab():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (300, 3), dtype=np.uint8), rng.integers(0, 120, (200, 3), dtype=np.uint8)
    exact = np.mean([stats.wasserstein_distance(to_lab(a)[:, i], to_lab(b)[:, i]) for i in range(3)])
    assert colour_distance(a, b) == pytest.approx(exact, rel=0.02)
    assert colour_distance(a, a) == 0 and colour_distance(a, b) == colour_distance(b, a)
    with pytest.raises(DataError, match="0"):
        colour_distance(a, b[:0])


def product(rgb: tuple[int, int, int]) -> np.ndarray:
    photo = np.full((20, 16, 3), 255, np.uint8)
    photo[4:16, 3:13] = rgb
    return photo


def test_the_swap_test_knows_whose_colours_are_worn():
    red, blue, green = product((200, 30, 40)), product((40, 80, 200)), product((40, 130, 60))
    assert garment_region(red).sum() == 10 * 8 and not garment_region(red)[4].any()
    result, region = np.full((20, 16, 3), 128, np.uint8), np.zeros((20, 16), bool)
    region[5:15, 5:12] = True
    result[region] = (190, 45, 50)
    right, margin = takes_the_colours(result, region, red, [blue, green])
    wrong, other = takes_the_colours(result, region, blue, [red])
    assert right and margin > 20 and not wrong and other < -20
    assert garment_region(product((255, 255, 255))).sum() == 80  # a white garment: the middle half


def test_retrieval_finds_the_garment_by_the_repainted_region():
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 30), bool)
    mask[8:33, 5:24] = True
    mask[8:12, 5:9] = False
    truths = [rng.integers(0, 256, (40, 30, 3), dtype=np.uint8) for _ in range(6)]
    gallery = np.stack([region_features(t, mask) for t in truths])
    noisy = [np.clip(t.astype(int) + rng.integers(-20, 21, t.shape), 0, 255).astype(np.uint8) for t in truths]
    for outside in noisy:
        outside[~mask] = 0  # what lies outside must not count
    queries = np.stack([region_features(n, mask) for n in noisy])
    assert retrieval_ranks(queries, gallery, np.arange(6)).tolist() == [1] * 6


def test_ranks_equal_sorting_and_a_tie_counts_against():
    rng = np.random.default_rng(1)
    queries, gallery, target = rng.normal(size=(7, 4)), rng.normal(size=(7, 5, 4)), rng.integers(0, 5, 7)
    for i, rank in enumerate(retrieval_ranks(queries, gallery, target)):
        order = np.argsort(np.linalg.norm(gallery[i] - queries[i], axis=1)).tolist()
        assert rank == order.index(target[i]) + 1
    assert retrieval_ranks(np.zeros((1, 2)), np.zeros((3, 2)), np.array([0])).tolist() == [3]
    with pytest.raises(DataError, match=r"0\.\.4"):
        retrieval_ranks(queries, gallery, np.full(7, 5))
    with pytest.raises(DataError, match="fit together"):
        retrieval_ranks(queries, gallery[:3], target)


def test_flat_regions_average_to_their_colour():
    mask = np.zeros((32, 24), bool)
    mask[:, 4:20] = True
    features = region_features(np.full((32, 24, 3), (200, 30, 40), np.uint8), mask).reshape(3, -1)
    np.testing.assert_allclose(features, np.repeat(to_lab(np.array([200, 30, 40]))[:, None], features.shape[1], 1))


def test_the_permutation_test_has_the_exact_p_on_a_small_case():
    matrix = np.random.default_rng(0).normal(size=(5, 5)) + np.eye(5)
    observed = np.trace(matrix) / 5
    every = [np.mean([matrix[i, p[i]] for i in range(5)]) for p in itertools.permutations(range(5))]
    exact = np.mean([value >= observed - 1e-12 for value in every])
    got = permutation_test(matrix, permutations=4000, generator=torch.Generator().manual_seed(0))
    assert got.observed == pytest.approx(observed) and got.p == pytest.approx(exact, abs=0.01)
    assert got.null_mean == pytest.approx(np.mean(every), abs=0.02) and got.null_std == pytest.approx(
        np.std(every), rel=0.1
    )


def test_p_is_uniform_without_personalisation_and_small_with_it():
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    ps = [permutation_test(rng.normal(size=(12, 12)), permutations=99, generator=generator).p for _ in range(150)]
    assert stats.kstest(ps, "uniform").pvalue > 0.01
    strong = permutation_test(rng.normal(size=(30, 30)) + 2 * np.eye(30), permutations=999, generator=generator)
    assert strong.p == 0.001
    with pytest.raises(DataError, match="square"):
        permutation_test(np.zeros((2, 3)))
    with pytest.raises(ConfigError, match="at least 1"):
        permutation_test(np.eye(3), permutations=0)


def test_the_interval_is_the_normal_one_for_many_values_and_covers_the_mean():
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = bootstrap_interval(values, generator=torch.Generator().manual_seed(0))
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.05) and high == pytest.approx(
        values.mean() + half, abs=0.05
    )
    with pytest.raises(DataError, match="N >= 1"):
        bootstrap_interval(np.zeros(0))
    with pytest.raises(ConfigError, match="level"):
        bootstrap_interval(values, level=95)
