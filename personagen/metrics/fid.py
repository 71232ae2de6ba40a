"""Distances between sets of pictures in the features of a network whose weights the user has.

FID: Heusel et al., NeurIPS 2017. KID: Binkowski et al., ICLR 2018. Both depend on the network: published figures use
Inception-v3, so these compare models measured with one backbone, not with papers.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from recsys.errors import DataError, ModelError, shown

from ..images import to_tensor

Features = Callable[[Sequence[Image.Image]], Tensor]
"""From pictures of one size to their features (N, D)."""
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Of ImageNet, as most backbones' pictures are normalised."""


def load_features(folder: str | Path, *, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> Features:
    """Load an image backbone in transformers' layout (ViT, DINOv2, ConvNeXt, CLIP's image half) from a local folder.

    mean, std: how its pictures are normalised. Features are its pooled output, or else the mean of its tokens.

    Raises:
        ModelError: the model is missing, damaged, or reads no pictures.
    """
    from transformers import AutoModel

    try:
        model: Any = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
        side = model.config.image_size if model.main_input_name == "pixel_values" else None
    except Exception as error:  # transformers, safetensors and huggingface_hub each have errors of their own
        raise ModelError(
            f"the backbone {folder} cannot be loaded ({shown(error, most=200)}); give a folder in transformers' layout"
        ) from error
    if side is None:
        raise ModelError(f"the backbone {folder} reads no pictures; give an image model such as DINOv2 or a ViT")
    size = (side, side) if isinstance(side, int) else tuple(side)
    norm = [torch.tensor(values)[:, None, None] for values in (mean, std)]

    @torch.no_grad()
    def features(pictures: Sequence[Image.Image]) -> Tensor:
        x = F.interpolate(to_tensor(pictures), size=size, mode="bicubic", align_corners=False, antialias=True)
        output = model(pixel_values=(x.clamp(0, 1) - norm[0]) / norm[1])
        pooled = getattr(output, "pooler_output", None)
        return pooled.flatten(1) if pooled is not None else output.last_hidden_state.flatten(2).mean(1)

    return features


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """FID of features a (N, D) and b (M, D): |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)).

    Raises:
        DataError: fewer than two pictures on a side; below some thousand it is biased upwards.
    """
    a, b = _checked(a, b)
    moved = (a.mean(0) - b.mean(0)).square().sum()
    c_a, c_b = torch.cov(a.T).reshape(a.shape[1], -1), torch.cov(b.T).reshape(a.shape[1], -1)
    roots = torch.linalg.eigvals(c_a @ c_b).real.clamp(min=0).sqrt().sum()
    return float((moved + c_a.trace() + c_b.trace() - 2 * roots).clamp(min=0))


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """KID of features a (N, D) and b (M, D): the unbiased squared MMD of the kernel (x y / D + 1)^3; may be below 0.

    Raises:
        DataError: fewer than two pictures on a side.
    """
    a, b = _checked(a, b)
    kernel = lambda x, y: (x @ y.T / a.shape[1] + 1) ** 3
    within = lambda x: (kernel(x, x).sum() - kernel(x, x).trace()) / (len(x) * (len(x) - 1))
    return float(within(a) + within(b) - 2 * kernel(a, b).mean())


def _checked(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.shape[1:] != b.shape[1:] or min(len(a), len(b)) < 2:
        raise DataError(f"features {tuple(a.shape)} and {tuple(b.shape)} must be (N, D), (M, D) with two rows or more")
    return a.double(), b.double()
