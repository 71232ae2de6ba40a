"""More to learn from for the parser: street photos without labels, renders, and garments pasted over people.

A photo without labels gets those that a finished parser gives it, where that is sure of them in the mean over mirror
images and scales (self-training; Lee, 2013; Xie et al., CVPR 2020, arXiv 1911.04252); the other pixels count for
nothing. A render's labels are exact. A garment pasted over what is worn has an exact outline, and may hang anywhere
(cut-paste; Dwibedi et al., ICCV 2017, arXiv 1708.01642).
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from recsys.errors import ConfigError, DataError
from recsys.types import Step

from ..atelier.corpus import random_sitting
from ..atelier.render import render_person
from ..corpora.leftout import LeftOut, Tell
from ..corpora.renders import parts_of_render
from ..images import fit, load_image
from ..person.network import PersonParser
from ..person.parser import shares_of
from ..person.parts import CLOTHES, Part
from .parser_data import IGNORED, Readers, write_photos

FIRST = 50_000
"""Seed of the first render."""
WORN_AS = {part: CLOTHES if part == Part.DRESS else (part, Part.DRESS) if part != Part.OUTER else (part, Part.UPPER)
           for part in CLOTHES}  # fmt: skip
"""What a garment that is pasted lies over, by its own part."""
ON_TOP = (Part.HEAD, Part.CARRIED)
"""Parts that stay before a pasted garment."""


def gather_unlabelled(
    images_root: Path, folder: Path, *, size: tuple[int, int], teacher: PersonParser, sure: float, tell: Tell
) -> Iterator[Step]:
    """Write `unlabelled` of `images_root`/people/unlabelled into `folder`, with what `teacher` is sure of.

    sure: probability from which a label counts. Yields Steps 0 with the share that is done.

    Raises:
        DataError: there is no photo, or nearly all are damaged.
    """
    where = images_root / "people" / "unlabelled"
    files = sorted(where.glob("*.jpg"))
    if not files:
        raise DataError(f"there is no photo in {where}; set parser.unlabelled to 0, or give some")
    readers: Readers = [(file.stem, partial(_taught, file, teacher, size, sure)) for file in files]
    yield from write_photos(folder, "unlabelled", readers, size, LeftOut("photos", where), tell)


def gather_renders(folder: Path, *, size: tuple[int, int], rows: int, tell: Tell) -> Iterator[Step]:
    """Write `renders` into `folder`: `rows` people of the atelier with their true parts.

    Yields Steps 0 with the share that is done.
    """
    readers: Readers = [(str(seed), partial(_render, seed, size)) for seed in range(FIRST, FIRST + rows)]
    yield from write_photos(folder, "renders", readers, size, LeftOut("renders", "the atelier"), tell)


@torch.no_grad()
def _taught(
    file: Path, teacher: PersonParser, size: tuple[int, int], sure: float
) -> tuple[Image.Image, np.ndarray, bool]:
    """A photo, brought to the size that the network reads, and the parts that a teacher is sure of."""
    photo = fit(load_image(file), size=size, fill="edge")[0]
    shares = F.interpolate(shares_of(teacher, photo)[0], size=size, mode="bilinear", align_corners=False)
    most, part = shares[0].max(0)
    return photo, torch.where(most >= sure, part, IGNORED).numpy().astype(np.uint8), False


def _render(seed: int, size: tuple[int, int]) -> tuple[Image.Image, np.ndarray, bool]:
    """One of the atelier's people, and their parts."""
    sitting = random_sitting(seed)
    seen = render_person(sitting.body, sitting.outfit, sitting.scene, size=size, camera=sitting.camera, seed=seed)
    return Image.fromarray(seen.image), parts_of_render(seen), False


def paste(
    people: tuple[Tensor, Tensor], garments: tuple[Tensor, Tensor], *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Lay garments over people of the same number; each is pictures (B, 3, H, W) and parts (B, H, W).

    A garment is brought to the box of what it would replace, up to a quarter larger or smaller and aside. Head and what
    is carried stay before it. A person who wears nothing of the kind stays as they are.
    """
    x, target = people[0].clone(), people[1].clone()
    for i, (picture, cloth) in enumerate(zip(*garments, strict=True)):
        u = torch.rand(4, generator=generator) * 2 - 1
        part = Part(int(cloth.max()))
        laid = _laid(picture, cloth > 0, torch.isin(target[i], torch.tensor(WORN_AS.get(part, ()))), u)
        if laid is not None:
            colours, shown = laid
            shown = shown & ~torch.isin(target[i], torch.tensor(ON_TOP))
            x[i] = torch.where(shown, colours, x[i])
            target[i] = torch.where(shown, int(part), target[i])
    return x, target


def _laid(picture: Tensor, cloth: Tensor, worn: Tensor, u: Tensor) -> tuple[Tensor, Tensor] | None:
    """A garment (3, H, W) at the box of what is worn (H, W), and where it then is; None where there is no box.

    cloth (H, W): where the picture shows it; u (4,): how much wider, higher, further right and lower, -1..1.
    """
    if min(int(worn.sum()), int(cloth.sum())) < 200:
        return None
    (top, left, high, wide), (y, x, h, w) = _box(cloth), _box(worn)
    tall, broad = max(8, round(h * (1 + 0.25 * float(u[0])))), max(8, round(w * (1 + 0.25 * float(u[1]))))
    y, x = round(y + 0.06 * h * float(u[2])), round(x + 0.12 * w * float(u[3]) + (w - broad) / 2)
    cut = torch.cat([picture, cloth[None].to(picture)])[None, :, top : top + high, left : left + wide]
    cut = F.interpolate(cut, size=(tall, broad), mode="bilinear", align_corners=False)[0]
    canvas = torch.zeros(4, *worn.shape)
    rows, columns = (slice(max(0, a), min(a + b, side)) for a, b, side in zip((y, x), (tall, broad), worn.shape))
    canvas[:, rows, columns] = cut[:, rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    return canvas[:3], canvas[3] > 0.5


def _box(mask: Tensor) -> tuple[int, int, int, int]:
    """Top, left, height and width of what is marked in (H, W)."""
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    top, left = int(rows[0]), int(columns[0])
    return top, left, int(rows[-1]) - top + 1, int(columns[-1]) - left + 1


def source_shares(shares: Mapping[str, float]) -> dict[str, float]:
    """Return the shares of the sources of a batch that are drawn, with what is left for `people`.

    Raises:
        ConfigError: they are more than 1.
    """
    rest = 1.0 - sum(shares.values())
    if rest < 0:
        raise ConfigError(f"the shares {dict(shares)} of parser are {1 - rest:.2f} in all; nothing is left for people")
    return {"people": rest, **{name: share for name, share in shares.items() if share > 0}}
