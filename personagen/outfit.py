"""Dress a person in several garments, one pass each, in the order in which they are put on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from recsys.errors import ConfigError

from .cutout import garment_on_white
from .drape import hem
from .images import to_tensor
from .masks import AutoMasker, KnownMasks, ground_in, parts_of, region_of, shown_below
from .parser import Parser
from .tryon_fast import FastMode

ORDER = ("dress", "lower", "upper", "outer")
"""Tops come after what they hang over."""
FINE = 1024
"""Rows that a garment is cut out at, about."""
SEAM = 0.01
"""Of the photo's height: how far below a hem is still repainted."""


@dataclass(frozen=True)
class Piece:
    """A garment's picture and its kind: a kind of the vocabulary or a region."""

    image: Image.Image
    kind: str


def in_order(outfit: Sequence[Piece]) -> list[Piece]:
    """Sort an outfit as it is put on. ConfigError on none, two of one region, or a dress with a top or bottom."""
    regions = [region_of(piece.kind) for piece in outfit]
    both = "dress" in regions and {"upper", "lower"} & set(regions)
    if not outfit or len(set(regions)) < len(regions) or both:
        raise ConfigError(
            f"An outfit of {regions or 'nothing'} cannot be worn; give one garment for each of {ORDER}, and no top or "
            "bottom with a dress."
        )
    return sorted(outfit, key=lambda piece: ORDER.index(region_of(piece.kind)))


def cut_from_photos(
    outfit: Sequence[Piece], pipeline: Any, *, parser: Parser | None = None
) -> tuple[list[Piece], list[str]]:
    """Put garments on white where they can be cut out of their photos (`cutout`), finely enough for `composed`.

    Returns the outfit and the kinds that are left as they are, since they cannot be told from their ground.
    """
    height, width = int(pipeline.config["height"]), int(pipeline.config["width"])
    finer = max(1, round(FINE / height))
    cut = [garment_on_white(piece.image, size=(finer * height, finer * width), parser=parser) for piece in outfit]
    pieces = [Piece(image, piece.kind) for (image, _), piece in zip(cut, outfit)]
    return pieces, [piece.kind for (_, done), piece in zip(cut, outfit) if not done]


def wear_outfit(
    pipeline: Any,
    person: Image.Image,
    outfit: Sequence[Piece],
    masker: AutoMasker,
    *,
    num_inference_steps: int = 20,
    guidance_scale: float = 2.5,
    fast: FastMode | None = None,
    zoom: bool = False,
    composed: bool | None = None,
    generator: torch.Generator | None = None,
) -> Image.Image:
    """Return the photo of `person` with the outfit on, at the photo's own size; what no mask covers is untouched.

    composed: take the garment's own pixels where the picture agrees with them; None: for models that are shown the
    garment laid over the person, as the embedded one is. A masker that knows the parts (`masks.Parsing`) is asked for
    the ground, and for what comes to light below a hem and stays (`masks.shown_below`), but masks that are given
    (`masks.KnownMasks`) are repainted as they are.
    Masks are found on the photo as given, so a later pass does not depend on how well an earlier one was painted.
    Raises ConfigError on an outfit that cannot be worn, and what masker and pipeline raise.
    """
    worn = person
    composed = pipeline.config.get("prefill") == "garment" if composed is None else composed
    parts = parts_of(masker, person) if composed else None
    ground = None if parts is None else ground_in(parts)
    for piece in in_order(outfit):
        worn = pipeline(
            worn,
            piece.image,
            _mask(masker, person, piece, parts),
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            fast=fast,
            zoom=zoom,
            composed=composed,
            ground=ground,
            generator=generator,
        ).images[0]
    return worn


def _mask(masker: AutoMasker, person: Image.Image, piece: Piece, parts: np.ndarray | None) -> np.ndarray:
    """What is repainted for a piece, bool (H, W): as given, or as found, without what may stay below its hem."""
    mask = masker(person, piece.kind)
    given = isinstance(masker, KnownMasks) and piece.kind in masker.masks
    return mask if parts is None or given else _spared_below(mask, parts, piece)


def _spared_below(mask: np.ndarray, parts: np.ndarray, piece: Piece) -> np.ndarray:
    """Take out of a mask (H, W) what lies below the garment's hem and may stay; never all of the mask."""
    small = piece.image.convert("RGB")
    small.thumbnail((FINE // 4, FINE // 4))
    reach = hem(to_tensor(small)[0] * 2 - 1, torch.from_numpy(mask)[None].float())
    if reach is None:
        return mask
    edge = max(0, reach + round(SEAM * mask.shape[0]))
    spared = mask & ~shown_below(parts, kind=piece.kind)
    spared[:edge] = mask[:edge]
    return spared if spared.any() else mask
