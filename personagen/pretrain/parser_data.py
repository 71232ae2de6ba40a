"""The photos that the parser learns from, and how they are changed each time they are shown.

Street photos have pixel-wise labels. Photos of garments get theirs from `warping.cutout` where it can be trusted:
the kind's part inside, background around it. Pictures are mirrored, moved, scaled, and recoloured as a whole and part
by part; rectangles are hidden (DeVries and Taylor, arXiv 1708.04552).
Photos: Clothing Co-Parsing (Yang et al., CVPR 2014) and the clothing dataset of A. Grigorev (CC0).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from recsys.errors import DataError
from recsys.types import Step

from ..corpora.photos import garment_photos, is_heldout, read_label_names, read_labels
from ..files import write_array, write_text
from ..images import fit, load_image
from ..person.parts import Part, parts_from_parsing
from ..vocabulary import REGION
from ..warping.cutout import garment_mask

PART_OF_REGION = {"upper": Part.UPPER, "lower": Part.LOWER, "dress": Part.DRESS}
READ_AT = 480
"""Longest side in pixels at which garments are cut out."""


@dataclass(frozen=True)
class Photos:
    """Photos (N, H, W, 3), their parts (N, H, W), uint8 both, on disk, and which are held out (N,)."""

    photos: np.ndarray
    parts: np.ndarray
    held: np.ndarray


def gather(images_root: Path, folder: Path, *, size: tuple[int, int], garments: bool) -> Iterator[Step]:
    """Write `people` and, where they are wanted, `garments` of `images_root` into `folder`, unless they are there.

    Yields Steps 0 with the share that is done.

    Raises:
        DataError: there are no such photos.
    """
    for name, wanted in (("people", True), ("garments", garments)):
        if wanted and not (folder / f"{name}-parts.npy").is_file():
            yield from _write(folder, name, _people(images_root) if name == "people" else _garments(images_root), size)


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
    return Photos(photos, parts, np.array(json.loads((folder / f"{name}-heldout.json").read_text()), bool))


Labelled = tuple[Image.Image, np.ndarray, bool]
"""A photo, its parts (H, W) or an empty array where they are not known, and whether it is held out."""


def _people(images_root: Path) -> tuple[int, Iterator[Labelled]]:
    people = images_root / "people"
    labels, files = read_label_names(people), sorted((people / "photos").glob("*.jpg"))
    if not files:
        raise DataError(f"there is no photo in {people}/photos; expected NNNN.jpg beside parsing/NNNN.png")
    parts = lambda file: parts_from_parsing(read_labels(people / "parsing" / f"{file.stem}.png"), labels)
    return len(files), ((load_image(f), parts(f), is_heldout(f"people/{f.stem}")) for f in files)


def _garments(images_root: Path) -> tuple[int, Iterator[Labelled]]:
    entries = [
        (file, kind) for file, kind, row in garment_photos(images_root) if not is_heldout(f"sender/{row['sender_id']}")
    ]
    return len(entries), (_garment(file, kind) for file, kind in entries)


def _garment(file: Path, kind: str) -> Labelled:
    photo = load_image(file)
    photo.thumbnail((READ_AT, READ_AT))
    cloth = garment_mask(photo)
    part = Part.OUTER if kind == "jacket" else PART_OF_REGION[REGION[kind]]
    return photo, np.empty((0, 0), np.uint8) if cloth is None else cloth.astype(np.uint8) * np.uint8(part), False


def _write(folder: Path, name: str, source: tuple[int, Iterator[Labelled]], size: tuple[int, int]) -> Iterator[Step]:
    """Write NAME-photos.npy, NAME-heldout.json and, last, NAME-parts.npy."""
    count, labelled = source
    photos, parts, held = [], [], []
    for i, (photo, known, out) in enumerate(labelled):
        if known.size:
            photos.append(np.asarray(fit(photo, size=size, fill="edge")[0]))
            flat = fit(Image.fromarray(known), size=size, fill=0, resample=Image.Resampling.NEAREST)[0]
            parts.append(np.asarray(flat))
            held.append(out)
        if (i + 1) % 50 == 0 or i + 1 == count:
            yield Step(0, 0.0, {}, {"cached": (i + 1) / count}, 0.0)
    write_text(folder / f"{name}-heldout.json", json.dumps(held))
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
    rows = torch.arange(len(x))[:, None, None]
    fields = torch.cat([gain[rows, target], shift[rows, target]], -1).movedim(-1, 1)
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
