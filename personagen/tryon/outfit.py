"""Dress a person in several garments, one pass each, in the order in which they are put on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from recsys.errors import ConfigError

from ..images import GROUND
from ..person.masks import AutoMasker, KnownMasks, body_of, region_of
from ..person.parser import Parser
from ..warping.cutout import garment_on_white
from ..warping.first_guess import first_guess
from .fast import FastMode

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


def cut_from_photos(
    outfit: Sequence[Piece], pipeline: Any, *, parser: Parser | None = None
) -> tuple[list[Piece], list[str]]:
    """Put garments on white where they can be cut out of their photos (`cutout`), finely enough for `composed`.

    Returns the outfit and the kinds that are left as they are, since they cannot be told from their ground.
    """
    height, width = int(pipeline.config["height"]), int(pipeline.config["width"])
    finer = max(1, round(FINE / height))
    size = (finer * height, finer * width)
    cut = [garment_on_white(piece.image, size=size, parser=parser, kind=piece.kind) for piece in outfit]
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

    composed: lay the garment's own pixels on the person (`guess`) and take light and shade from the picture; None: for
    models that are shown the garment laid over the person, as the embedded one is. It needs a masker that knows parts
    and joints (`masks.Parsing`); without one the model's picture is taken. The mask then grows where the garment hangs
    over more, but masks that are given (`masks.KnownMasks`) stay as they are.
    Masks are found on the photo as given, so a later pass does not depend on how well an earlier one was painted.
    Raises ConfigError on an outfit that cannot be worn, and what masker and pipeline raise.
    """
    settings = {"num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale, "fast": fast,
                "zoom": zoom, "generator": generator}  # fmt: skip
    worn = person
    composed = pipeline.config.get("prefill") == "garment" if composed is None else composed
    body = body_of(masker, person) if composed else None
    kept = np.zeros((person.height, person.width), bool)
    for piece in in_order(outfit):
        mask, guess = masker(person, piece.kind), None
        if body is not None and _on_white(piece.image):
            guess, mask = first_guess(worn, piece.image, piece.kind, mask, parts=body[0], joints=body[1], kept=kept,
                                      further=_further(masker, person, piece.kind))  # fmt: skip
            kept |= mask & (np.asarray(guess.getchannel("A")) > 0)
        worn = pipeline(worn, piece.image, mask, guess=guess, **settings).images[0]
    return worn


def _further(masker: AutoMasker, person: Image.Image, kind: str) -> np.ndarray | None:
    """Where a mask may grow to (H, W): what is repainted for a dress; nowhere for a mask that was given."""
    given = isinstance(masker, KnownMasks) and kind in masker.masks
    return None if given else masker(person, "dress")


def _on_white(garment: Image.Image) -> bool:
    """Tell whether a garment is cut out: most of the picture's border is white."""
    white = np.asarray(garment.convert("L")) >= GROUND
    return bool(np.concatenate([white[0], white[-1], white[:, 0], white[:, -1]]).mean() > 0.5)
