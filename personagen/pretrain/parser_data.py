"""The photos that the parser learns from, and how they are changed each time they are shown.

Street photos have pixel-wise labels. Photos of garments get theirs from `warping.cutout` where it can be trusted:
the kind's part inside, background around it. Pictures are mirrored, moved, scaled, and recoloured as a whole and part
by part; rectangles are hidden (DeVries and Taylor, arXiv 1708.04552).
Photos: Clothing Co-Parsing (Yang et al., CVPR 2014) and the clothing dataset of A. Grigorev (CC0).
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from recsys.errors import DataError
from recsys.types import Step

from ..corpora.leftout import LeftOut, Tell, silent
from ..corpora.photos import garment_photos, is_heldout, read_label_names, read_labels
from ..files import write_array, write_text
from ..images import fit, load_image
from ..person.parts import Part, parts_from_parsing
from ..vocabulary import REGION
from ..warping.cutout import garment_mask

PART_OF_REGION = {"upper": Part.UPPER, "lower": Part.LOWER, "dress": Part.DRESS}
READ_AT = 480
"""Longest side in pixels at which garments are cut out."""
IGNORED = 255
"""Label of pixels that count for nothing."""


@dataclass(frozen=True)
class Photos:
    """Photos (N, H, W, 3), their parts (N, H, W), uint8 both, on disk, which are held out (N,), and their names."""

    photos: np.ndarray
    parts: np.ndarray
    held: np.ndarray
    names: tuple[str, ...]


def gather(
    images_root: Path, folder: Path, *, size: tuple[int, int], garments: bool, tell: Tell = silent
) -> Iterator[Step]:
    """Write `people` and, where they are wanted, `garments` of `images_root` into `folder`, unless they are there.

    Yields Steps 0 with the share that is done. tell: takes a line about photos that cannot be read.

    Raises:
        DataError: there are no such photos, or nearly all are damaged.
    """
    for name, wanted in (("people", True), ("garments", garments)):
        if wanted:
            readers = _people(images_root) if name == "people" else _garments(images_root)
            left = LeftOut("photos" if name == "people" else "photos of garments", images_root / name)
            yield from write_photos(folder, name, readers, size, left, tell)


def read(folder: Path, name: str, *, size: tuple[int, int]) -> Photos:
    """Open what `gather` wrote.

    Raises:
        DataError: it is of another size.
    """
    photos, parts = (np.load(folder / f"{name}-{what}.npy", mmap_mode="r") for what in ("photos", "parts"))
    if photos.shape[1:3] != size or len(photos) != len(parts):
        raise DataError(
            f"{folder}/{name}-photos.npy holds pictures of {photos.shape[1:3]}, not {size}; remove it and "
            f"{name}-parts.npy, or set height and width to its size"
        )
    held, names = (json.loads((folder / f"{name}-{what}.json").read_text()) for what in ("heldout", "names"))
    return Photos(photos, parts, np.array(held, bool), tuple(names))


Labelled = tuple[Image.Image, np.ndarray, bool]
"""A photo, its parts (H, W) or an empty array where they are not known, and whether it is held out."""


Readers = list[tuple[str, Callable[[], Labelled]]]
"""The names of photos, and what reads each."""


def _people(images_root: Path) -> Readers:
    people = images_root / "people"
    labels, files = read_label_names(people), sorted((people / "photos").glob("*.jpg"))
    if not files:
        raise DataError(f"there is no photo in {people}/photos; expected NNNN.jpg beside parsing/NNNN.png")
    return [(file.stem, partial(_person, file, labels)) for file in files]


def _person(file: Path, labels: list[str]) -> Labelled:
    parsing = file.parents[1] / "parsing" / f"{file.stem}.png"
    return load_image(file), parts_from_parsing(read_labels(parsing), labels), is_heldout(f"people/{file.stem}")


def _garments(images_root: Path) -> Readers:
    return [
        (file.stem, partial(_garment, file, kind))
        for file, kind, row in garment_photos(images_root)
        if not is_heldout(f"sender/{row['sender_id']}")
    ]


def _garment(file: Path, kind: str) -> Labelled:
    photo = load_image(file)
    photo.thumbnail((READ_AT, READ_AT))
    cloth = garment_mask(photo)
    part = Part.OUTER if kind == "jacket" else PART_OF_REGION[REGION[kind]]
    return photo, np.empty((0, 0), np.uint8) if cloth is None else cloth.astype(np.uint8) * np.uint8(part), False


def write_photos(
    folder: Path, name: str, readers: Readers, size: tuple[int, int], left: LeftOut, tell: Tell
) -> Iterator[Step]:
    """Write NAME-photos.npy, NAME-heldout.json, NAME-names.json and, last, NAME-parts.npy, unless they are there.

    Yields Steps 0 with the share that is done.

    Raises:
        DataError: nearly all photos are damaged.
    """
    if all((folder / f"{name}-{what}").is_file() for what in ("names.json", "parts.npy")):
        return
    photos, parts, held, names = [], [], [], []
    for i, (stem, reader) in enumerate(readers):
        found = left.read(reader)
        if found is not None and found[1].size:
            photo, known, out = found
            photos.append(np.asarray(fit(photo, size=size, fill="edge")[0]))
            flat = fit(Image.fromarray(known), size=size, fill=0, resample=Image.Resampling.NEAREST)[0]
            parts.append(np.asarray(flat))
            held.append(out)
            names.append(stem)
        if (i + 1) % 50 == 0 or i + 1 == len(readers):
            yield Step(0, 0.0, {}, {"cached": (i + 1) / len(readers)}, 0.0)
    left.end(tell)
    if not photos:
        raise DataError(f"no photo in {left.where} can be learnt from; give others")
    (folder / f"{name}-parts.npy").unlink(missing_ok=True)
    for what, rows in (("heldout", held), ("names", names)):
        write_text(folder / f"{name}-{what}.json", json.dumps(rows))
    for what, arrays in (("photos", photos), ("parts", parts)):
        write_array(folder / f"{name}-{what}.npy", np.stack(arrays))


def change(x: Tensor, target: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Mirror, scale, turn, shift and recolour pictures x (B, 3, H, W), and move their labels (B, H, W) along.

    Returns both and where each new place was in the old picture, (B, 2, 3) as of `torch.nn.functional.affine_grid`.
    """
    u = torch.rand((9, len(x)), generator=generator) * 2 - 1
    mirror, scale, angle = u[0].sign(), 1 + 0.35 * u[1], 0.2 * u[2]
    aspect = x.shape[2] / x.shape[3]
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack(
        [torch.stack([cos * mirror, -sin * aspect, 0.15 * u[3]], 1),
         torch.stack([sin * mirror / aspect, cos, 0.15 * u[4]], 1)], 1
    )  # fmt: skip
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    moved = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    labels = F.grid_sample(target[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    tint = 0.12 * (torch.rand((len(x), 3), generator=generator) * 2 - 1)
    grey = moved.mean(1, keepdim=True)
    expand = lambda value: value[:, None, None, None]
    moved = grey + (moved - grey) * expand(1 + 0.5 * u[5])
    moved = moved * expand(1 + 0.3 * u[6]) + expand(0.25 * u[7]) + tint[:, :, None, None]
    return moved.clamp(-1, 1), labels[:, 0].long(), theta


def recolour(x: Tensor, target: Tensor, *, generator: torch.Generator) -> Tensor:
    """Give garments, hair and surroundings of x (B, 3, H, W) other colours, part by part of target (B, H, W).

    Half of the pictures, and half of the parts in them; skin keeps its colour. The borders of the change are soft.
    """
    count = len(Part)
    chosen = (torch.rand((len(x), 1), generator=generator) < 0.5) & (
        torch.rand((len(x), count), generator=generator) < 0.5
    )
    chosen[:, Part.SKIN] = False
    gain = 1 + 0.4 * (torch.rand((len(x), count, 3), generator=generator) * 2 - 1) * chosen[..., None]
    shift = 0.5 * (torch.rand((len(x), count, 3), generator=generator) * 2 - 1) * chosen[..., None]
    rows, known = torch.arange(len(x))[:, None, None], torch.where(target == IGNORED, int(Part.BACKGROUND), target)
    fields = torch.cat([gain[rows, known], shift[rows, known]], -1).movedim(-1, 1)
    gain_at, shift_at = F.avg_pool2d(fields, 5, 1, 2, count_include_pad=False).chunk(2, 1)
    return x * gain_at + shift_at


def hide(x: Tensor, *, generator: torch.Generator) -> Tensor:
    """Fill one rectangle in half of the pictures x (B, 3, H, W) with one colour, up to a third of each side.

    The labels stay, so that parts are also told by what is around them.
    """
    height, width = x.shape[2:]
    u = torch.rand((7, len(x), 1, 1), generator=generator)
    rows, columns = torch.arange(height)[:, None] / height, torch.arange(width) / width
    inside = ((rows - u[0]).abs() < u[1] / 6) & ((columns - u[2]).abs() < u[3] / 6)
    inside = (inside & (torch.rand((len(x), 1, 1), generator=generator) < 0.5))[:, None]
    return torch.where(inside, 2 * u[4:].movedim(0, 1) - 1, x)
