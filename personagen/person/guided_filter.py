"""Bring coarse maps to a picture's own edges: the guided filter.

He, Sun and Tang, ECCV 2010 and TPAMI 35(6), 2013; fitted at a low resolution and applied at a high one as in He and
Sun, arXiv 1505.00996. Within each window w the map is a linear function of the colours of the guide I,

    a = (Cov_w(I) + eps 1)^-1 Cov_w(I, p),   b = mean_w(p) - a . mean_w(I),

and a pixel takes the mean of a and b over the windows that it lies in: q = mean(a) . I + mean(b).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from recsys.errors import DataError


def guided_upsample(maps: Tensor, guide: Tensor, *, radius: int = 4, eps: float = 1e-4) -> Tensor:
    """Enlarge maps (1, C, h, w) to the size of a guide (1, 3, H, W) in [0, 1], along the guide's edges.

    radius: half a window, in pixels of the maps; eps: variance of a colour below which it is no edge. Returns
    (1, C, H, W), a little beyond the range of the maps here and there; maps that sum to one still do.

    Raises:
        DataError: other shapes.
    """
    if maps.ndim != 4 or guide.ndim != 4 or len(maps) != 1 or len(guide) != 1 or guide.shape[1] != 3:
        raise DataError(f"maps {tuple(maps.shape)} and guide {tuple(guide.shape)} must be (1, C, h, w), (1, 3, H, W)")
    count = maps.shape[1]
    small = F.interpolate(guide, size=maps.shape[2:], mode="area")
    red, green, blue = small.split(1, 1)
    products = [red * small, green * small[:, 1:], blue * blue, red * maps, green * maps, blue * maps]
    means = _mean(torch.cat([small, maps, *products], 1), radius=radius)
    colour, value, square, product = means.split([3, count, 6, 3 * count], 1)
    (r, g, b), (rr, rg, rb, gg, gb, bb) = colour.split(1, 1), square.split(1, 1)
    rr, gg, bb = rr - r * r + eps, gg - g * g + eps, bb - b * b + eps
    rg, rb, gb = rg - r * g, rb - r * b, gb - g * b
    joint = [both - one * value for both, one in zip(product.split(count, 1), (r, g, b))]
    # the inverse of a symmetric 3 x 3 matrix by its cofactors
    inverse = [[gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg],
               [rb * gb - rg * bb, rr * bb - rb * rb, rb * rg - rr * gb],
               [rg * gb - rb * gg, rb * rg - rr * gb, rr * gg - rg * rg]]  # fmt: skip
    determinant = rr * inverse[0][0] + rg * inverse[0][1] + rb * inverse[0][2]
    slopes = [(row[0] * joint[0] + row[1] * joint[1] + row[2] * joint[2]) / determinant for row in inverse]
    offset = value - slopes[0] * r - slopes[1] * g - slopes[2] * b
    mean = _mean(torch.cat([*slopes, offset], 1), radius=radius)
    *lines, offset = F.interpolate(mean, size=guide.shape[2:], mode="bilinear", align_corners=False).split(count, 1)
    for slope, channel in zip(lines, guide.split(1, 1), strict=True):
        offset = offset.addcmul(slope, channel)
    return offset


def _mean(x: Tensor, *, radius: int) -> Tensor:
    """Mean over windows of 2 radius + 1 pixels a side, which end where x (1, C, h, w) does."""
    side = 2 * radius + 1
    x = x.contiguous(memory_format=torch.channels_last)  # five times as fast on a CPU
    x = F.avg_pool2d(x, (side, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(x, (1, side), 1, (0, radius), count_include_pad=False)
