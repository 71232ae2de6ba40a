"""Dress a person: the old garment off, each new one laid along the joints, light and shade from the model.

The one way in which `tryon wear`, the stylist and the page put garments on; several are put on in their order.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import torch
from PIL import Image

from recsys.errors import ConfigError

from ..images import WHITE_FROM
from ..person.body import Body, Inner
from ..person.parser import Parser
from ..person.parts import Part, region_of
from ..person.people import remembering
from ..warping.cutout import garment_on_white
from ..warping.first_guess import Guess, first_guess
from ..warping.garment_kind import AUTO, FoundKind, kind_of
from .fast import FastMode
from .trust import Judge, Trust, facts_of, trust_of

ORDER = ("dress", "lower", "upper", "outer")
"""Tops come after what they hang over."""
FINE = 1024
"""Rows that a garment is cut out at, about."""


@dataclass(frozen=True)
class Piece:
    """A garment's picture and its kind: a kind of the vocabulary or a region; `auto` until `with_kinds` finds it."""

    image: Image.Image
    kind: str


def in_order(outfit: Sequence[Piece]) -> list[Piece]:
    """Sort an outfit as it is put on; one piece alone may still be `auto`.

    Raises:
        ConfigError: none, two of one region, or a dress with a top or bottom.
    """
    if len(outfit) == 1 and outfit[0].kind == AUTO:
        return list(outfit)
    regions = [region_of(piece.kind) for piece in outfit]
    both = "dress" in regions and {"upper", "lower"} & set(regions)
    if not outfit or len(set(regions)) < len(regions) or both:
        raise ConfigError(
            f"an outfit of {regions or 'nothing'} cannot be worn; give one garment for each of {ORDER}, and no top or "
            "bottom with a dress"
        )
    return sorted(outfit, key=lambda piece: ORDER.index(region_of(piece.kind)))


def with_kinds(outfit: Sequence[Piece], *, parser: Parser | None = None) -> tuple[list[Piece], list[FoundKind | None]]:
    """Find the kinds of pieces that are `auto` in their pictures; return the pieces, and what was found of each.

    Raises:
        NotWorn: somebody is seen in a picture who wears nothing that can be put on others.
    """
    found = [kind_of(piece.image, parser=parser) if piece.kind == AUTO else None for piece in outfit]
    return [Piece(piece.image, one.kind) if one else piece for piece, one in zip(outfit, found, strict=True)], found


def cut_from_photos(
    outfit: Sequence[Piece], pipeline: Any, *, parser: Parser | None = None
) -> tuple[list[Piece], list[str]]:
    """Put garments on white where they can be cut out of their photos (`cutout`), finely enough for `composed`.

    Returns the outfit and the kinds that are left as they are, since they cannot be told from their background.
    """
    height, width = int(pipeline.config["height"]), int(pipeline.config["width"])
    finer = max(1, round(FINE / height))
    size = (finer * height, finer * width)
    once = None if parser is None else remembering(parser)  # several wearers are looked at more than once
    cut = [garment_on_white(piece.image, size=size, parser=once, kind=piece.kind) for piece in outfit]
    pieces = [Piece(image, piece.kind) for (image, _), piece in zip(cut, outfit)]
    return pieces, [piece.kind for (_, done), piece in zip(cut, outfit) if not done]


def dress(
    pipeline: Any,
    photo: Image.Image,
    body: Body,
    outfit: Sequence[Piece],
    *,
    mask_expand: float = 1.0,
    composed: bool | None = None,
    num_inference_steps: int = 20,
    guidance_scale: float = 2.5,
    fast: FastMode | None = None,
    zoom: bool = False,
    judge: Judge | None = None,
    generator: torch.Generator | list[torch.Generator] | None = None,
) -> Image.Image:
    """Return the photo with the outfit on its person, at the photo's own size; what no mask covers is untouched.

    body: what a parser (or a renderer) says of `photo`. outfit: garments on white (`cut_from_photos`), put on one after
    the other. composed: lay the garment's own pixels along the joints (`first_guess`) and take light and shade from the
    model's picture; None: for models that are shown the garment laid over the person, as the embedded one is. Without
    joints the model's picture is taken. A mask that was found grows where the garment hangs over more; known ones stay
    as they are. judge: is told before a garment is painted how far it can be trusted, and may raise; masks that are
    known are not judged. Masks are those of the photo as given, so a later pass does not depend on how an earlier one
    came out.

    Raises:
        ConfigError: the outfit cannot be worn, or a setting is out of range.
        DataError: there is no mask for a kind, or a picture shows no cloth.
        ModelError: the pipeline fails.
    """
    paint = partial(
        pipeline,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        fast=fast,
        zoom=zoom,
        generator=generator,
    )
    lays = _lays(pipeline, composed)
    return _dressed(paint, photo, body, outfit, mask_expand=mask_expand, lays=lays, judge=judge).image


@dataclass(frozen=True)
class Dressed:
    """A photo with an outfit on.

    image: of the photo's size. outline: where the person then is, bool (H, W); None where the model alone decides that.
    covers: where each piece lies, bool (H, W), by its kind, in the order in which they were put on; the later hide the
    earlier. Where the model alone decides, what it may have repainted.
    """

    image: Image.Image
    outline: np.ndarray | None
    covers: dict[str, np.ndarray]


def dress_outlined(
    pipeline: Any,
    photo: Image.Image,
    body: Body,
    outfit: Sequence[Piece],
    *,
    num_inference_steps: int = 20,
    guidance_scale: float = 2.5,
    judge: Judge | None = None,
    generator: torch.Generator | None = None,
) -> Dressed:
    """Return what `dress` does, and where person and garments then are.

    Raises:
        ConfigError, DataError, ModelError: as `dress` does.
    """
    paint = partial(
        pipeline, num_inference_steps=num_inference_steps, guidance_scale=guidance_scale, generator=generator
    )
    return _dressed(paint, photo, body, outfit, mask_expand=1.0, lays=_lays(pipeline, None), judge=judge)


def _dressed(
    paint: Callable[..., Any],
    photo: Image.Image,
    body: Body,
    outfit: Sequence[Piece],
    *,
    mask_expand: float,
    lays: bool,
    judge: Judge | None = None,
) -> Dressed:
    """Put an outfit on, each garment laid once."""
    if body.inner is not None:
        inner, size = body.inner, body.parts.shape[:2]
        part = _dressed(
            paint, photo.crop(inner.box), inner.body, outfit, mask_expand=mask_expand, lays=lays, judge=judge
        )
        outline = None if part.outline is None else inner.laid(part.outline, size)
        covers = {kind: inner.laid(cover, size) for kind, cover in part.covers.items()}
        return Dressed(_put_back(photo, part.image, inner), outline, covers)
    worn, kept, covers = photo, np.zeros((photo.height, photo.width), bool), {}
    found: np.ndarray | None = body.parts != Part.BACKGROUND
    for piece in in_order(outfit):
        guess, mask = _laid(worn, body, piece, mask_expand=mask_expand, lays=lays, kept=kept)
        if judge is not None and _is_judged(body, piece, lays):
            judge(trust_of(facts_of(body, piece.image, piece.kind, guess), kind=piece.kind))
        if guess is None:
            found, covers[piece.kind] = None, mask
        else:
            covered = covers[piece.kind] = _covered(guess)
            kept |= covered
            found = None if found is None else (found & ~guess.bare) | covered
        worn = paint(worn, piece.image, mask, guess=None if guess is None else guess.picture).images[0]
    return Dressed(worn, found, covers)


def dress_each(
    pipeline: Any,
    photo: Image.Image,
    body: Body,
    pieces: Sequence[Piece],
    *,
    num_inference_steps: int = 20,
    guidance_scale: float = 2.5,
    judge: Callable[[int, Trust], None] | None = None,
    generators: list[torch.Generator],
) -> list[Image.Image]:
    """Return one photo for each piece, as `dress` makes it of that piece alone, painted in one batch.

    generators: one a piece. judge: is told the place of a piece and the trust in it, where its mask is not known.

    Raises:
        ConfigError, DataError, ModelError: as `dress` does.
    """
    if body.inner is not None:
        parts = dress_each(
            pipeline,
            photo.crop(body.inner.box),
            body.inner.body,
            pieces,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            judge=judge,
            generators=generators,
        )
        return [_put_back(photo, part, body.inner) for part in parts]
    lays, kept = _lays(pipeline, None), np.zeros((photo.height, photo.width), bool)
    laid = [_laid(photo, body, piece, mask_expand=1.0, lays=lays, kept=kept) for piece in pieces]
    for at, (piece, (guess, _)) in enumerate(zip(pieces, laid, strict=True)):
        if judge is not None and _is_judged(body, piece, lays):
            judge(at, trust_of(facts_of(body, piece.image, piece.kind, guess), kind=piece.kind))
    painted: list[Image.Image] = []
    for group in _alike([guess is None for guess, _ in laid]):
        guesses = [laid[at][0] for at in group]
        painted += pipeline(
            person=[photo] * len(group),
            garment=[pieces[at].image for at in group],
            mask=[laid[at][1] for at in group],
            guess=[guess.picture for guess in guesses if guess] or None,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            generator=[generators[at] for at in group],
        ).images
    return painted


def _covered(guess: Guess) -> np.ndarray:
    """Where a garment lies, bool (H, W)."""
    return guess.mask & (np.asarray(guess.picture.getchannel("A")) > 0)


def _put_back(photo: Image.Image, part: Image.Image, inner: Inner) -> Image.Image:
    """Put a part that was dressed back into its photo."""
    whole = photo.copy()
    whole.paste(part, inner.box[:2])
    return whole


def _lays(pipeline: Any, composed: bool | None) -> bool:
    """Tell whether garments are laid on before the model paints."""
    return pipeline.config.get("prefill") == "garment" if composed is None else composed


def _laid(
    photo: Image.Image, body: Body, piece: Piece, *, mask_expand: float, lays: bool, kept: np.ndarray
) -> tuple[Guess | None, np.ndarray]:
    """Return the first guess, where there is one, and the mask (H, W) of a piece; kept (H, W): worn already."""
    mask = body.mask(piece.kind, expand=mask_expand)
    if not (lays and body.lays(piece.kind) and _on_white(piece.image)):
        return None, mask
    further = None if body.fixed(piece.kind) or not body.lays("dress") else body.mask("dress", expand=mask_expand)
    guess = first_guess(photo, piece.image, piece.kind, mask, body=body, kept=kept, further=further)
    return guess, guess.mask


def _is_judged(body: Body, piece: Piece, lays: bool) -> bool:
    """Tell whether there is anything to judge: a garment that is to be laid where the mask is not known."""
    return lays and not body.fixed(piece.kind) and body.lays(piece.kind)


def _alike(flags: Sequence[bool]) -> Iterator[list[int]]:
    """Cut places into runs of equal flags."""
    for _, run in groupby(range(len(flags)), key=flags.__getitem__):
        yield list(run)


def _on_white(garment: Image.Image) -> bool:
    """Tell whether a garment is cut out: most of the picture's border is white."""
    white = np.asarray(garment.convert("L")) >= WHITE_FROM
    return bool(np.concatenate([white[0], white[-1], white[:, 0], white[:, -1]]).mean() > 0.5)
