"""Dress a person in several garments, one pass each, in the order in which they are put on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from recsys.errors import ConfigError

from .cutout import garment_on_white
from .masks import AutoMasker, ground_of, region_of
from .tryon_fast import FastMode

ORDER = ("dress", "lower", "upper", "outer")
"""Tops come after what they hang over."""
FINE = 1024
"""Rows that a garment is cut out at, about."""


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


def cut_from_photos(outfit: Sequence[Piece], pipeline: Any) -> list[Piece]:
    """Put garments on white where they can be cut out of their photos (`cutout`), finely enough for `composed`."""
    height, width = int(pipeline.config["height"]), int(pipeline.config["width"])
    finer = max(1, round(FINE / height))
    size = (finer * height, finer * width)
    return [Piece(garment_on_white(piece.image, size=size)[0], piece.kind) for piece in outfit]


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
    garment laid over the person, as the embedded one is. A masker that knows the ground (`masks.Grounded`) is asked.
    Masks are found on the photo as given, so a later pass does not depend on how well an earlier one was painted.
    Raises ConfigError on an outfit that cannot be worn, and what masker and pipeline raise.
    """
    worn = person
    if composed is None:
        composed = pipeline.config.get("prefill") == "garment"
    ground = ground_of(masker, person) if composed else None
    for piece in in_order(outfit):
        worn = pipeline(
            worn,
            piece.image,
            masker(person, piece.kind),
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            fast=fast,
            zoom=zoom,
            composed=composed,
            ground=ground,
            generator=generator,
        ).images[0]
    return worn
