"""Lay a garment's photo over a person as a first guess for try-on: where the mask is, and in proportion to it.

The geometric half of classical try-on (warp, then refine: VITON, arXiv 1711.08447) at its simplest: two scales and one
shift. The try-on network sees the guess instead of a grey hole, so colours and patterns lie where they are needed and
what is left to learn is local: limbs, background, folds and edges.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from recsys.errors import DataError

WHITE = 0.96
"""Paler pixels, of [-1, 1], are the background of a product photo."""
TOP = 0.2
"""Share of the height, from above, whose width gives the scale: shoulders or waist, whatever the length is."""
WIDE = 0.85
"""Width of the garment as a share of that of the mask, which is wider than what is worn."""
TALL = 1.15
"""Scale of the height over that of the width: a garment that lies flat is as wide as half its girth, worn it is as wide
as the body. Both chosen on training pictures: how much of what is worn is covered (docs/log/2026-11-26.md)."""


def drape(person: Tensor, mask: Tensor, garment: Tensor) -> Tensor:
    """Return the people with the masked part grey (0) and, inside it, the garments where they would roughly hang.

    person, garment (B, 3, H, W) in [-1, 1], garments on white; mask (B, 1, H, W), 1 = repaint. The top edges and the
    centres of their upper parts are put together, and the garment's is made a little narrower than the mask's. A
    garment without a white background is laid as its whole picture; a white picture or an empty mask leaves grey.

    Raises:
        DataError: unequal shapes.
    """
    if person.shape != garment.shape or mask.shape != (len(person), 1, *person.shape[2:]):
        raise DataError(
            f"person {tuple(person.shape)}, garment {tuple(garment.shape)} and mask {tuple(mask.shape)} do not belong "
            "together; give all three at one size"
        )
    inside = mask >= 0.5
    pictures = [_laid(*one) for one in zip(garment, cloth_of(garment), inside, strict=True)]
    return torch.where(inside, torch.stack(pictures), person)


def cloth_of(garment: Tensor) -> Tensor:
    """Tell cloth from background in garments (..., 3, H, W) in [-1, 1] on white: bool (..., 1, H, W)."""
    return (garment < WHITE).any(dim=-3, keepdim=True)


def _laid(garment: Tensor, cloth: Tensor, inside: Tensor) -> Tensor:
    """Move a garment (3, H, W) with its cloth (1, H, W) into `inside` (1, H, W): its pixels, 0 where it does not reach.

    All 0 where cloth or inside is empty.
    """
    if not cloth.any() or not inside.any():
        return torch.zeros_like(garment)
    (top, centre, width), (to_top, to_centre, to_width) = _upper_part(cloth[0]), _upper_part(inside[0])
    scale = WIDE * to_width / width
    rows, columns = garment.shape[1:]
    x, y = (torch.arange(side, device=garment.device) + 0.5 for side in (columns, rows))
    x, y = (x - to_centre) / scale + centre, (y - to_top) / (TALL * scale) + top
    grid = torch.stack(torch.meshgrid(x / columns * 2 - 1, y / rows * 2 - 1, indexing="xy"), dim=-1)[None]
    picture = torch.cat([garment, cloth.to(garment)])[None]
    moved = F.grid_sample(picture, grid.to(garment), align_corners=False)[0]
    return torch.where(moved[3:] > 0.5, moved[:3], torch.zeros_like(garment))


def _upper_part(marked: Tensor) -> tuple[int, float, int]:
    """First row of a marked area (H, W), and centre and width of its upper part, in pixels."""
    rows = marked.any(1).nonzero()[:, 0]
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = marked[top : top + max(1, round((bottom - top) * TOP))].any(0).nonzero()[:, 0]
    left, right = int(columns[0]), int(columns[-1]) + 1
    return top, (left + right) / 2, right - left
