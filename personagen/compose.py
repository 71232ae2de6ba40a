"""Take real pixels where they fit: the garment's own where the network's picture says the same, and the ground's.

A small network paints colours and shapes well and blurs what is finer. Where its picture, blurred, equals the garment
laid over the person (drape.py), the garment's pixels come instead, at the photo's resolution and in the network's
shade; elsewhere what is surely the photo's ground stays. Nothing of what was worn before is used. VITON (arXiv
1711.08447, section 3.3) composes a warped garment and a coarse result by a mask that a network has learnt; the rule
here needs no training.
"""

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from .drape import Laid, cloth_of, laid, sample
from .images import Placement, blur, to_tensor

AGREE, DIFFER = 0.12, 0.28
"""Mean difference of the blurred colours, of 1, up to which the garment's pixels are taken whole, and from which not at
all."""
SHADE = 0.5
"""Share of the difference in lightness that is added to the garment's pixels; their hue stays."""


@dataclass(frozen=True)
class Composition:
    """What is taken of the garment and of the ground, the shade to add, (1, h, w) each, and how the garment lies."""

    garment: Tensor
    ground: Tensor
    shade: Tensor
    laid: Laid


def compose(result: Tensor, garment: Tensor, mask: Tensor, *, ground: Tensor | None = None) -> Composition | None:
    """Compare a result with a garment, (3, h, w) in [0, 1], inside the mask (1, h, w); None without cloth.

    ground (1, h, w): 1 where the photo shows neither the person nor what is worn; without it nothing of it stays.
    """
    inside = mask >= 0.5
    how = laid(cloth_of(garment * 2 - 1), inside)
    if how is None:
        return None
    cloth, cover = how.lay(garment, inside=inside)
    kernel = max(3, result.shape[1] // 12) // 2 * 2 + 1
    seen, own = _low(result, cover, kernel=kernel), _low(cloth, cover, kernel=kernel)
    alike = ((DIFFER - (seen - own).abs().mean(0, keepdim=True)) / (DIFFER - AGREE)).clamp(0, 1)
    taken = blur((alike * cover)[None], kernel=3)[0]
    stays = torch.zeros_like(taken) if ground is None else (1 - taken) * (ground >= 0.5) * inside
    return Composition(taken, stays, SHADE * (seen - own).mean(0, keepdim=True), how)


def _low(picture: Tensor, where: Tensor, *, kernel: int) -> Tensor:
    """Blur a picture (3, h, w) over the places `where` (1, h, w) alone."""
    both = blur(torch.cat([picture * where, where])[None], kernel=kernel)[0]
    return both[:3] / both[3:].clamp(min=1e-4)


@dataclass(frozen=True)
class Canvas:
    """Where a part of a photo lies on the model's canvas: its box in the photo (left, top, right, bottom) and place."""

    frame: tuple[int, int, int, int]
    place: Placement

    def at(self, box: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
        """Columns and rows of the pixels of a box of the photo, in pixels of the canvas."""
        left, top, right, bottom = self.frame
        x = torch.arange(box[0], box[2]) + 0.5 - left
        y = torch.arange(box[1], box[3]) + 0.5 - top
        return (x * self.place.width / (right - left) + self.place.left,
                y * self.place.height / (bottom - top) + self.place.top)  # fmt: skip


class Cloth:
    """A garment's picture, made small enough to be sampled without aliasing, and where the model saw it."""

    def __init__(self, image: Image.Image, place: Placement, *, scale: float):
        """scale: pixels of the photo for a pixel of the model's garment canvas."""
        share = min(1.0, scale * place.width / image.width)
        small = image.convert("RGB").resize((max(1, round(image.width * share)), max(1, round(image.height * share))))
        self.picture, self.place = to_tensor(small)[0], place
        self.alpha = cloth_of(self.picture * 2 - 1).float()

    def sample(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (3, H, W) and cover (1, H, W) at columns x (W,) and rows y (H,) of the model's garment canvas."""
        x, y = (x - self.place.left) / self.place.width, (y - self.place.top) / self.place.height
        found = sample(torch.cat([self.picture, self.alpha]), x, y)
        return found[:3], ((found[3:] - 0.5) / 0.4).clamp(0, 1)


def put_back(
    new: Tensor, old: Tensor, how: Composition, cloth: Cloth, canvas: Canvas, box: tuple[int, int, int, int]
) -> Tensor:
    """Compose a box (left, top, right, bottom) of the photo from result and photo there, (1, 3, H, W) in [0, 1]."""
    x, y = canvas.at(box)
    height, width = how.garment.shape[1:]
    maps = sample(torch.cat([how.garment, how.ground, how.shade]), x / width, y / height, padding="border")
    pixels, cover = cloth.sample(*how.laid.back(x, y))
    taken = maps[:1] * cover
    mixed = new[0] + maps[1:2] * (old[0] - new[0])
    return (mixed + taken * (pixels + maps[2:] - mixed)).clamp(0, 1)[None]
