"""Contact sheets of pictures, and similarity of pictures: what one looks at while a model trains."""

from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..files import write_whole
from ..images import to_uint8


def write_grid(rows: list[Tensor], path: Path, *, gap: int = 4) -> None:
    """Write rows of pictures, each (N, 3, H, W) in [-1, 1], as one PNG on white; it replaces an older file whole."""
    lines = [
        torch.cat([F.pad(p, (0, gap, 0, gap), value=1.0) for p in row.detach().float().cpu()], dim=2) for row in rows
    ]
    width = max(line.shape[2] for line in lines)
    sheet = torch.cat([F.pad(line, (0, width - line.shape[2], 0, 0), value=1.0) for line in lines], dim=1)
    picture = Image.fromarray(to_uint8(sheet[None] / 2 + 0.5)[0])
    write_whole(path, lambda part: picture.save(part, format="PNG"))


def ssim(a: Tensor, b: Tensor, *, window: int = 7) -> Tensor:
    """Return the structural similarity (Wang et al. 2004, uniform window) of pictures in [-1, 1], as a map.

    a, b (B, C, H, W); returns (B, C, H - window + 1, W - window + 1). The measure is defined on [0, 1], where means are
    positive, and is taken there.
    """
    pool = lambda x: F.avg_pool2d(x, window, stride=1)
    a, b = a / 2 + 0.5, b / 2 + 0.5
    mu_a, mu_b = pool(a), pool(b)
    var_a, var_b, cov = pool(a * a) - mu_a**2, pool(b * b) - mu_b**2, pool(a * b) - mu_a * mu_b
    c1, c2 = 0.01**2, 0.03**2
    return (2 * mu_a * mu_b + c1) * (2 * cov + c2) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))


def psnr(a: Tensor, b: Tensor, *, data_range: float = 2.0) -> Tensor:
    """Return the peak signal-to-noise ratio in dB of each picture: (B,)."""
    return 10 * torch.log10(data_range**2 / (a - b).square().flatten(1).mean(1).clamp(min=1e-10))
