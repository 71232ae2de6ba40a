"""Contact sheets of pictures: what one looks at while a model trains."""

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
