"""Pictures as tensors, as bytes and side by side."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def tensor(pictures: np.ndarray) -> Tensor:
    """Turn pictures (N, H, W, 3) uint8 into (N, 3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255.0


def as_bytes(pictures: np.ndarray) -> np.ndarray:
    """Turn pictures in [0, 1] into uint8."""
    return (pictures * 255 + 0.5).astype(np.uint8)


def write_columns(columns: list[list[np.ndarray]], path: Path) -> None:
    """Write a contact sheet, a column a case."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([np.concatenate(c, 0) for c in columns], 1)).save(path)
