"""Say of which kind a garment is by its photo: what lies where in it, or what somebody wears who is seen in it.

Of a garment alone the parser of garments tells the parts (`garment_parts`); their shares over a grid laid on the
garment's own box go through one linear layer, fitted to photos and renders of known kinds (`benchmarks/kinds.py`).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from recsys.errors import ModelError, shown

from ..embedded import EMBEDDED
from ..person.body import Body
from ..person.parser import Parser
from ..person.parts import Part
from ..vocabulary import KINDS, noun_phrase
from .garment_parts import garment_shares
from .worn import LEAST, WORDS, NotWorn, shows_person

AUTO = "auto"
"""Instead of a kind: that it is to be found."""
FILE = "kinds.safetensors"
GRID, AROUND = 8, 0.1
"""Cells a side of the grid, and how far it goes beyond the garment's box on each side, as a share of it."""
CLOSE = 0.5
"""Least ratio of the second likeliest kind's probability to the likeliest one's at which both are named."""
REGION_OF_PART = {Part.UPPER: "upper", Part.OUTER: "outer", Part.DRESS: "dress", Part.LOWER: "lower"}


@dataclass(frozen=True)
class FoundKind:
    """What a garment is taken for: a kind of the vocabulary, or a region where somebody wears it.

    nearly: another one that is hardly less likely. beside: what else is worn in the photo, in words.
    """

    kind: str
    nearly: str | None = None
    beside: tuple[str, ...] = ()

    def said(self) -> str:
        """Say what it is taken for, and what else it might be."""
        if self.kind not in KINDS:
            worn = WORDS[next(part for part, region in REGION_OF_PART.items() if region == self.kind)]
            also = f"; {' and '.join(self.beside)} {'are' if self.beside[1:] else 'is'} worn too" if self.beside else ""
            return f"taken for {worn} that somebody wears{also}"
        nearly = f"; {noun_phrase(self.nearly, '')} is nearly as likely" if self.nearly else ""
        return f"taken for {noun_phrase(self.kind, '')}{nearly}"


def kind_of(photo: Image.Image, *, parser: Parser | None = None) -> FoundKind:
    """Find the kind of the garment that a photo shows; of several that somebody wears, the one that covers most.

    parser: finds people; without it nobody is looked for.

    Raises:
        NotWorn: somebody is seen who wears nothing that can be put on others.
        ModelError: the parser of garments is missing or damaged.
    """
    body = None if parser is None else parser(photo)
    if body is not None and shows_person(body):
        return _worn(body)
    chances = chances_of(photo)
    order = np.argsort(-chances, kind="stable")
    close = chances[order[1]] >= CLOSE * chances[order[0]]
    return FoundKind(KINDS[order[0]], KINDS[order[1]] if close else None)


def chances_of(photo: Image.Image) -> np.ndarray:
    """Return the probabilities of `KINDS`, (8,) float, for a photo of a garment alone."""
    layer = _layer()
    return (features_of(garment_shares(photo)) @ layer["weight"].T + layer["bias"]).softmax(0).numpy()


def features_of(shares: Tensor) -> Tensor:
    """Lay a grid on the garment and average the shares (1, parts, h, w) of its parts in each cell, (features,).

    The last two are the height of its box over its width, as a logarithm, and the share of the box that is cloth.
    """
    cloth = 1 - shares[0, 0]
    inside = cloth > 0.5
    if not inside.any():
        inside = cloth >= cloth.max()
    rows, columns = inside.any(1).nonzero()[:, 0], inside.any(0).nonzero()[:, 0]
    top, left = int(rows[0]), int(columns[0])
    height, width = int(rows[-1]) - top + 1, int(columns[-1]) - left + 1
    y, x = (_places(start, side) for start, side in ((top, height), (left, width)))
    grid = torch.stack(torch.meshgrid(2 * y / cloth.shape[0] - 1, 2 * x / cloth.shape[1] - 1, indexing="ij")[::-1], -1)
    outside = torch.zeros_like(shares[:, 1:])
    outside[:] = shares[:, 1:]
    fine = F.grid_sample(outside, grid[None], mode="bilinear", padding_mode="zeros", align_corners=False)
    cells = F.avg_pool2d(fine, 4)[0].flatten()
    filled = inside[top : top + height, left : left + width].float().mean()
    return torch.cat([cells, torch.tensor([float(np.log(height / width)), float(filled)])])


def _places(start: int, side: int) -> Tensor:
    """Places (4 * GRID,) along one side of the grid, in pixels from the picture's edge."""
    steps = (torch.arange(4 * GRID) + 0.5) / (4 * GRID) * (1 + 2 * AROUND) - AROUND
    return start + steps * side


def _worn(body: Body) -> FoundKind:
    whole = int((body.parts != Part.BACKGROUND).sum())
    area = {part: int((body.parts == part).sum()) for part in REGION_OF_PART}
    worn = sorted((part for part in area if area[part] >= LEAST * whole), key=lambda part: -area[part])
    if not worn:
        raise NotWorn(
            "somebody is seen in the garment's photo, and no garment that can be cut out; give a photo of the garment "
            "alone"
        )
    return FoundKind(REGION_OF_PART[worn[0]], beside=tuple(WORDS[part] for part in worn[1:]))


@lru_cache(maxsize=1)
def _layer() -> dict[str, Tensor]:
    file = EMBEDDED["garment"] / FILE
    try:
        return {name: tensor.float() for name, tensor in load_file(file).items()}
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"the kinds of garments in {file} cannot be read ({shown(error, most=200)}); install the package again"
        ) from error
