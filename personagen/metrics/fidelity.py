"""Measure try-on and personalisation without a pretrained network: fidelity, colours, swaps, retrieval, permutations.

Pictures are float tensors (B, 3, H, W) in [0, 1] or uint8 arrays (H, W, 3); masks are (B, 1, H, W) or bool (H, W).
Every function is pure and gives one value a picture, so that a caller can average, compare and bootstrap.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recsys.errors import ConfigError, DataError

from ..colours import to_lab
from ..images import dilate, mask_box


def l1(a: Tensor, b: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Mean absolute difference (B,) of pictures a, b (B, 3, H, W); with mask (B, 1, H, W) 0/1 only where it is 1.

    Raises:
        DataError: unequal shapes or a mask that marks nothing.
    """
    return _mean_power(a, b, mask, power=1)


def psnr(a: Tensor, b: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio (B,) in dB for values in [0, 1]: -10 log10 MSE; infinite when equal. As `l1`."""
    return -10 * torch.log10(_mean_power(a, b, mask, power=2))


def _mean_power(a: Tensor, b: Tensor, mask: Tensor | None, *, power: int) -> Tensor:
    if a.shape != b.shape or a.ndim != 4:
        raise DataError(f"pictures {tuple(a.shape)} and {tuple(b.shape)} must have one shape (B, C, H, W)")
    values = (a - b).abs() ** power
    if mask is None:
        return values.mean((1, 2, 3))
    if mask.shape != (a.shape[0], 1, *a.shape[2:]):
        raise DataError(f"a mask {tuple(mask.shape)} must be (B, 1, H, W) for pictures {tuple(a.shape)}")
    count = mask.sum((1, 2, 3)) * a.shape[1]
    if not (count > 0).all():
        raise DataError("a mask marks nothing, so there is nothing to compare; leave that picture out")
    return (values * mask).sum((1, 2, 3)) / count


def ssim(a: Tensor, b: Tensor, *, window: int = 11, sigma: float = 1.5) -> Tensor:
    """Structural similarity (B,) of pictures (B, C, H, W) in [0, 1], mean over channels and whole windows.

    Wang et al., IEEE TIP 2004, eq. 13: Gaussian window, K1 = .01, K2 = .03, no padding.

    Raises:
        DataError: pictures smaller than the window or of unequal shapes.
    """
    if a.shape != b.shape or a.ndim != 4 or min(a.shape[2:]) < window:
        raise DataError(f"pictures {tuple(a.shape)}, {tuple(b.shape)} must have one shape, at least {window} a side")
    x = torch.arange(window, dtype=torch.float64) - (window - 1) / 2
    weights = torch.exp(-(x**2) / (2 * sigma**2))
    weights = weights / weights.sum()

    def smooth(values: Tensor) -> Tensor:
        flat = values.double().flatten(0, 1).unsqueeze(1)
        return F.conv2d(F.conv2d(flat, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))

    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a.double() ** 2) - mean_a**2, smooth(b.double() ** 2) - mean_b**2
    covariance = smooth(a.double() * b.double()) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return similarity.view(a.shape[0], -1).mean(1)


def ssim_in_box(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Structural similarity (B,) inside the bounding box of each mask (B, 1, H, W); pictures (B, 3, H, W) in [0, 1]."""
    values = []
    for i in range(len(a)):
        top, bottom, left, right = mask_box(mask[i, 0].bool().cpu().numpy(), at_least=11)
        values.append(ssim(a[i : i + 1, :, top:bottom, left:right], b[i : i + 1, :, top:bottom, left:right]))
    return torch.cat(values)


def laplacian_energy(pictures: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Mean squared Laplacian (B,) of the brightness of pictures (B, 3, H, W) in [0, 1]: edges and fine cloth, not fog.

    Brightness by ITU-R BT.601; the Laplacian of four neighbours, inside the picture's rim and the mask (B, 1, H, W), if
    any. A blur lowers it, noise raises it, so it is read against that of true pictures. 0 where the mask is empty.
    """
    weights = pictures.new_tensor([0.299, 0.587, 0.114])
    y = (pictures * weights[:, None, None]).sum(1)
    around = y[:, :-2, 1:-1] + y[:, 2:, 1:-1] + y[:, 1:-1, :-2] + y[:, 1:-1, 2:]
    power = (around - 4 * y[:, 1:-1, 1:-1]).square()
    inside = torch.ones_like(power) if mask is None else mask[:, 0, 1:-1, 1:-1].to(power)
    return (power * inside).flatten(1).sum(1) / inside.flatten(1).sum(1).clamp(min=1)


def unchanged_outside(before: Tensor, after: Tensor, mask: Tensor) -> Tensor:
    """Tell for each picture (B,) whether every pixel (B, 3, H, W) outside the mask (B, 1, H, W) is exactly the same."""
    return ((before == after) | (mask > 0)).flatten(1).all(1)


def garment_region(picture: np.ndarray, *, white: int = 245) -> np.ndarray:
    """Mark the garment (bool (H, W)) on a product photo (H, W, 3) uint8 with a white background: what is not white.

    White cloth keeps its shaded pixels only; when less than 2 % is left, the photo's middle half counts.
    """
    region = picture.min(-1) < white
    region = region & ~dilate(~region, up=1, down=1, side=1)  # without the blended rim
    if region.mean() < 0.02:
        height, width = region.shape
        region = np.zeros_like(region)
        region[height // 4 : -(-3 * height // 4), width // 4 : -(-3 * width // 4)] = True
    return region


def colour_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Distance between the colours of two sets of pixels (n, 3), (m, 3) uint8 in CIE Lab units (2 is just noticeable).

    The mean over L, a and b of the 1-Wasserstein distance between their distributions: it sees stripes and prints, not
    their places.

    Raises:
        DataError: an empty set.
    """
    if len(a) == 0 or len(b) == 0:
        raise DataError(f"sets of {len(a)} and {len(b)} pixels cannot be compared; both must hold pixels")
    levels = (np.arange(100) + 0.5) / 100
    quantiles = [np.quantile(to_lab(pixels), levels, axis=0) for pixels in (a, b)]
    return float(np.abs(quantiles[0] - quantiles[1]).mean())


def takes_the_colours(
    result: np.ndarray, region: np.ndarray, garment: np.ndarray, others: list[np.ndarray]
) -> tuple[bool, float]:
    """The swap test: is the repainted region nearer in colour to the given garment than to every other one?

    result (H, W, 3) uint8, region bool (H, W), garment and others: product photos on white. Returns the answer and
    the margin in Lab units, positive when right.
    """
    worn = result[region]
    own = colour_distance(worn, garment[garment_region(garment)])
    nearest = min(colour_distance(worn, other[garment_region(other)]) for other in others)
    return own < nearest, nearest - own


def region_features(picture: np.ndarray, mask: np.ndarray, *, grid: tuple[int, int] = (16, 12)) -> np.ndarray:
    """Describe what a mask (bool (H, W)) shows of a picture (H, W, 3) uint8: its box, in Lab, averaged on a grid.

    Returns (grid rows · grid columns · 3,) float64; cells without marked pixels are zero. For pictures under one mask.
    """
    top, bottom, left, right = mask_box(mask)
    lab = np.where(mask[..., None], to_lab(picture), 0.0)[top:bottom, left:right]
    stacked = torch.from_numpy(np.concatenate([lab, mask[top:bottom, left:right, None]], axis=-1)).permute(2, 0, 1)[
        None
    ]
    pooled = F.adaptive_avg_pool2d(stacked, grid)[0]
    return (pooled[:3] / pooled[3:].clamp_min(1e-9)).flatten().numpy()


def retrieval_ranks(queries: np.ndarray, gallery: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rank (N,), from 1, of the right answer among G candidates by Euclidean distance; a tie counts against it.

    queries (N, f); gallery (N, G, f), or (G, f) for all; target (N,) index into G. Top-1 is `(ranks == 1).mean()`.

    Raises:
        DataError: an index outside 0..G-1 or shapes that do not fit.
    """
    shelves = np.broadcast_to(gallery, (len(queries), *gallery.shape[-2:])) if gallery.ndim == 2 else gallery
    if shelves.shape[0] != len(queries) or shelves.shape[2] != queries.shape[1] or target.shape != (len(queries),):
        raise DataError(f"queries {queries.shape}, gallery {gallery.shape}, target {target.shape} do not fit together")
    if target.size and not (0 <= target.min() and target.max() < shelves.shape[1]):
        raise DataError(f"targets {target.min()}..{target.max()} must lie in 0..{shelves.shape[1] - 1}")
    distances = ((shelves - queries[:, None]) ** 2).sum(-1)
    own = np.take_along_axis(distances, target[:, None], axis=1)
    return (distances <= own).sum(1)


@dataclass(frozen=True)
class Permutation:
    """A permutation test: the observed mean, the mean and spread when users are shuffled, and the one-sided p."""

    observed: float
    null_mean: float
    null_std: float
    p: float


def permutation_test(
    agreement: np.ndarray, *, permutations: int = 9_999, generator: torch.Generator | None = None
) -> Permutation:
    """Test whether users' looks agree with their own taste more than with another's.

    agreement (U, U): how well the looks of user i (row) agree with the taste of user j (column). The statistic is the
    mean of the diagonal; the null shuffles the columns. p = (1 + number at least as large) / (1 + permutations).

    Raises:
        DataError: the matrix is not square or U < 2.
        ConfigError: permutations < 1.
    """
    if agreement.ndim != 2 or agreement.shape[0] != agreement.shape[1] or len(agreement) < 2:
        raise DataError(f"an agreement matrix {agreement.shape} must be square, with at least two users")
    if permutations < 1:
        raise ConfigError(f"permutations {permutations} must be at least 1; 9,999 resolves p = .0001")
    users = np.arange(len(agreement))
    observed = float(agreement[users, users].mean())
    null = np.empty(permutations)
    for i in range(permutations):
        null[i] = agreement[users, torch.randperm(len(users), generator=generator).numpy()].mean()
    at_least = int((null >= observed - 1e-12).sum())
    return Permutation(observed, float(null.mean()), float(null.std()), (1 + at_least) / (1 + permutations))


def bootstrap_interval(
    values: np.ndarray, *, level: float = 0.95, draws: int = 2_000, generator: torch.Generator | None = None
) -> tuple[float, float]:
    """Percentile interval (low, high) of the mean of values (N,) by resampling.

    Raises:
        DataError: no values.
        ConfigError: a level outside (0, 1).
    """
    if values.ndim != 1 or len(values) == 0:
        raise DataError(f"values of shape {values.shape} have no mean to bound; give (N,) with N >= 1")
    if not 0 < level < 1 or draws < 1:
        raise ConfigError(f"level {level} must lie between 0 and 1 and draws {draws} be at least 1")
    chosen = torch.randint(len(values), (draws, len(values)), generator=generator).numpy()
    low, high = np.quantile(values.astype(np.float64)[chosen].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
