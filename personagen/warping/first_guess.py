"""Guess a try-on before any network does: the old garment taken off (`uncover`), the new one laid on (`lay`)."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from recsys.errors import DataError

from ..images import dilate
from ..person.body import Body
from ..person.parts import Part, region_of
from .lay import lay
from .uncover import uncover

HALO = 0.015
"""Of the photo's height: how far from the mask background goes that is covered, too, where a garment lies on it."""


@dataclass(frozen=True)
class Guess:
    """A photo with a garment laid on.

    picture: RGBA; alpha is that of the garment alone, under it and elsewhere the colours are those of the whole guess.
    mask (H, W): what may be repainted, with what the garment hangs over beyond it. bare (H, W): where the person was
    and only the background is left.
    """

    picture: Image.Image
    mask: np.ndarray
    bare: np.ndarray


def _halo(mask: np.ndarray, covered: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Mark background, bool (H, W), that a garment would leave around hands and hair that a mask (H, W) keeps clear of.

    covered (H, W): 255 where the garment lies; parts (H, W): `Part`.
    """
    near = max(1, round(HALO * len(mask)))
    return dilate(mask, up=near, down=near, side=near) & (covered == 255) & (parts == Part.BACKGROUND)


def first_guess(
    photo: Image.Image,
    garment: Image.Image,
    kind: str,
    mask: np.ndarray,
    *,
    body: Body,
    kept: np.ndarray,
    further: np.ndarray | None = None,
) -> Guess:
    """Lay a garment on a photo, the old one taken off.

    garment: on white; kind: a kind of the vocabulary or a region; mask (H, W): what may be repainted; body: of the
    photo, with joints; kept (H, W): what was put on before and is not taken off; further (H, W): where the
    mask may grow to. Outside the mask the photo stays, inside it background, bare skin and other garments do too.

    Raises:
        DataError: the picture shows no cloth.
    """
    if body.joints is None:
        raise DataError("the parser found no joints in this photo; a garment cannot be laid along them")
    comes_off = body.comes_off(kind) & ~kept
    near = None if further is None else comes_off  # a mask that is known tells how far the garment may go
    layer = lay(garment, kind, body.joints, (photo.height, photo.width), parts=body.parts, old=near)
    covered = np.asarray(layer.getchannel("A"))
    over = body.stays_over(kind)
    if region_of(kind) == "lower":
        over = over | body.skin[0]  # arms hang before it
    if further is not None and not (over.any() and region_of(kind) == "upper"):
        mask = mask | (further & (covered > 0) & ~over)
        mask = mask | _halo(mask, covered, body.parts)
    old = comes_off & mask
    guess, bare = uncover(photo, body, old, region=region_of(kind), hidden=covered == 255)
    guess.paste(layer, (0, 0), layer)
    guess = Image.composite(guess, photo.convert("RGB"), Image.fromarray(mask))
    guess.putalpha(layer.getchannel("A"))
    return Guess(guess, mask, bare & mask & (covered < 128))
