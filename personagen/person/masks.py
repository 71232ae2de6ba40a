"""Agnostic masks: which pixels of a photo to repaint so that the old garment's shape does not show through the new one.

Every automatic step returns a plain bool mask (H, W), 1 = repaint, that a person can edit and hand back as a file.
A parsing is first merged into nine body parts (`Part`), so that any parser or renderer can feed the same geometry.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from recsys.errors import ConfigError, DataError

from ..images import dilate, erode, load_gray, load_image, mask_plane, pieces
from .parts import Part, Skin, region_of, split_skin

SEAM, FEET = 0.005, 0.045
"""Of a person's height: what is left around an uncertain head, hand or shoe, and what the feet take at the bottom."""
OPEN = (0.4, 0.2)
"""Share of a coat's rows in which a top is seen between its sides, and of its area, from which it is open."""
NEAR_HAND = (0.03, 0.08)
"""Of a person's height: how far from a hand skin is spared, on limbs and garments that were found and elsewhere."""
RIM = 0.012
"""Of a person's height: how far beside garments and limbs that were found the mask may grow over what is doubtful."""
LEVELS, SPREAD = 3, 10
"""Grey levels that a mask may have, and how far around each its pixels may be."""
MANY = 0.35
"""Largest share of the pixels of a mask that have other levels: soft edges take less, photos more."""
TONE, FAINT_TONE, TONES = 0.008, 0.002, 14
"""Share of the pixels from which a run of 8 levels is one that a picture has, the same where it has
colours, and the most that a mask has."""


@dataclass(frozen=True)
class Layers:
    """What `agnostic_mask` starts from, each bool (H, W): the old garment, the limbs the new one may cover or bare,
    what must never change, and the other garments, which may change only near the border."""

    garment: np.ndarray
    limbs: np.ndarray
    identity: np.ndarray
    others: np.ndarray


def agnostic_mask(layers: Layers, *, mask_expand: float = 1.0) -> np.ndarray:
    """Cover garment and limbs, fill towards their box, grow (sideways twice as much as up, down), spare the identity.

    layers: bool (H, W) each. mask_expand 0..4: 0 is the bare contour, 1 hides sleeves, hems and waists well.
    Returns bool (H, W), 1 = repaint; empty when there is neither garment nor limb.

    Raises:
        ConfigError: outside the range.
    """
    if not 0 <= mask_expand <= 4:
        raise ConfigError(
            f"mask_expand {mask_expand} must lie in 0..4; 1 is the default, more hides more of the old shape"
        )
    contour = layers.garment | layers.limbs
    rows = np.flatnonzero(contour.any(1))
    if rows.size == 0:
        return contour
    columns = np.flatnonzero(contour.any(0))
    near = round(0.11 * (rows[-1] - rows[0] + 1) * mask_expand)
    step = round(0.012 * contour.shape[0] * mask_expand)
    box = np.zeros_like(contour)
    box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    filled = contour | (dilate(contour, up=near, down=near, side=near) & box)
    grown = dilate(filled, up=step, down=step, side=2 * step)
    kept = layers.identity | erode(layers.others, up=2 * step, down=2 * step, side=2 * step)
    return grown & ~kept


def shown_below(parts: np.ndarray, *, kind: str, skin: Skin | None = None) -> np.ndarray:
    """Mark what comes to light under the hem of a dress or a skirt and may stay as it is; bool (H, W).

    Legs and stockings; below a dress also trousers and skirts. Nothing for what is worn above.
    """
    region = region_of(kind)
    if region not in ("lower", "dress"):
        return np.zeros_like(parts, dtype=bool)
    legs = (skin or split_skin(parts))[2] | (parts == Part.LEGWEAR)
    return legs | (parts == Part.LOWER) if region == "dress" else legs


def over_it(parts: np.ndarray, *, kind: str) -> np.ndarray:
    """Mark what is worn over a garment of `kind`, and stays there, bool (H, W).

    Tops and coats over what is worn below; over a top an open coat, between whose sides the old top is seen.
    """
    region, coat = region_of(kind), parts == Part.OUTER
    if region == "lower":
        return coat | (parts == Part.UPPER)
    if region != "upper" or kind == "jacket" or not coat.any():
        return np.zeros_like(coat)
    seen = (parts == Part.UPPER) & _between(coat)
    is_open = seen.any(1).sum() > OPEN[0] * coat.any(1).sum() and seen.sum() > OPEN[1] * coat.sum()
    return coat if is_open else np.zeros_like(coat)


def _between(mask: np.ndarray) -> np.ndarray:
    """Mark what has some of a mask (H, W) on its left and on its right."""
    left = np.logical_or.accumulate(mask, 1)
    return left & np.logical_or.accumulate(mask[:, ::-1], 1)[:, ::-1]


def layers_from_parts(parts: np.ndarray, *, kind: str, skin: Skin | None = None) -> Layers:
    """Sort the body parts (H, W) of one person into the layers for repainting a garment of `kind`.

    kind: a garment's, or a region (`REGIONS`); what is worn may be of another one (a dress, when a top is wanted).
    skin: `split_skin(parts)`, where it is known already.
    Skin is told apart by place: above the collar it is the head, beyond the hem it is a leg that ends in a foot,
    otherwise an arm that ends in a hand.

    Raises:
        ConfigError: an unknown kind.
    """
    region = region_of(kind)
    upper = np.isin(parts, (Part.UPPER, Part.OUTER))
    lower, dress = parts == Part.LOWER, parts == Part.DRESS
    if upper.any() and dress.any() and np.flatnonzero(dress.any(1))[0] > np.nonzero(upper)[0].mean():
        lower, dress = lower | dress, np.zeros_like(dress)  # what hangs below a top is a skirt
    over = over_it(parts, kind=kind)
    upper = upper & ~over
    bust = _above_waist(dress)
    arms, hands, legs, head = skin or split_skin(parts)
    legs = legs | (parts == Part.LEGWEAR)
    top = upper | bust
    hips = _below(top) & (lower | dress) if region == "outer" else np.zeros_like(top)
    garment = {"upper": top, "outer": top | hips, "lower": lower | (dress & ~bust), "dress": upper | lower | dress}[
        region
    ]
    limbs = {"upper": arms, "outer": arms, "lower": legs, "dress": arms | legs}[region]
    identity = head | np.isin(parts, (Part.HEAD, Part.SHOES, Part.CARRIED)) | hands
    if region in ("upper", "outer"):
        identity = identity | legs
    if region == "lower":
        identity = identity | arms
    if over.any():
        seam = max(1, round(SEAM * parts.shape[0]))
        identity = identity | erode(over, up=seam, down=seam, side=seam)
    return Layers(garment, limbs, identity, (upper | lower | dress) & ~garment)


def guarded(
    layers: Layers, parts: np.ndarray, might: np.ndarray, faint: np.ndarray, *, skin: Skin | None = None
) -> Layers:
    """Spare, too, what may be head, hand or shoe although the parser decided otherwise, and a seam around it.

    parts (H, W): `Part`. might (3, H, W): bool, where head, skin and shoes are possible. Skin counts near the face and
    the hands that were found. The lowest rows of a person who stands clear of the picture's edge are feet. faint
    (H, W): bool, where one of the three cannot be ruled out; the mask may lie there on garment and limbs that were
    found, but does not grow over it. skin: `split_skin(parts)`, where it is known already.
    """
    rows = np.flatnonzero((parts != Part.BACKGROUND).any(1))
    if rows.size == 0:
        return layers
    _, hands, _, face = skin or split_skin(parts)

    def grow(mask: np.ndarray, share: float) -> np.ndarray:
        reach = round(share * rows.size)
        return dilate(mask, up=reach, down=reach, side=reach)

    head, bare, shoes = might
    head, shoes = _touching(head, parts == Part.HEAD), _touching(shoes, parts == Part.SHOES)
    read = layers.limbs | layers.garment
    hand = (grow(hands, NEAR_HAND[0]) | (grow(hands, NEAR_HAND[1]) & ~read)) & bare
    found = head | (grow(face, 0.03) & bare) | shoes | hand
    spared = found | (grow(found, SEAM) & ~layers.garment)
    spared |= grow(faint, SEAM) & ~grow(read, RIM)
    if rows[-1] < parts.shape[0] - 1 - 0.01 * rows.size:
        feet = slice(rows[-1] + 1 - round(FEET * rows.size), None)
        spared[feet] |= ~layers.garment[feet] | ~(parts == Part.SHOES).any()
    return replace(layers, identity=layers.identity | spared)


def _touching(possible: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Keep the pieces of what is possible, bool (H, W), that hang together with what was found, bool (H, W).

    Prints on a garment may be hair or shoes as well; they lie apart from these. All is kept where nothing was found.
    """
    if not found.any() or not possible.any():
        return possible
    kept = np.zeros_like(possible)
    for rows, columns in pieces(possible):
        kept[rows, columns] = found[rows, columns].any()
    return kept


def _below(top: np.ndarray) -> np.ndarray:
    """The band below a top, half as high as it is, where a coat hangs."""
    rows = np.flatnonzero(top.any(1))
    band = np.zeros_like(top)
    if rows.size:
        band[rows[-1] : rows[-1] + (rows[-1] - rows[0] + 1) // 2] = True
    return band


def _above_waist(dress: np.ndarray) -> np.ndarray:
    """The upper 45 % of a dress's height, where its waist usually is."""
    rows = np.flatnonzero(dress.any(1))
    if rows.size == 0:
        return dress
    waist = rows[0] + round(0.45 * (rows[-1] - rows[0] + 1))
    above = dress.copy()
    above[waist:] = False
    return above


SPECKLED, DITHERED = 0.15, 4096
"""Share of pixels unlike their left neighbour from which a file is no mask, and least pixels that tell: masks have .01,
dithered photos .3 and more."""


def mask_from_file(path: str | Path, *, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a user's own mask: bright pixels (>= 50 %) are repainted. Returns bool (H, W).

    Transparency is read as editors write it (`mask_plane`): a hole that was erased is repainted.
    size: (H, W) of the photo the mask belongs to; a mask of another size but the same aspect is scaled (nearest).

    Raises:
        DataError: the file cannot be read, it is a photo rather than a mask, the aspect differs by more than 2 %, or
            nothing or all is marked.
    """
    image = load_mask(path)
    if size is not None and (image.height, image.width) != tuple(size):
        ratio = (image.width / image.height) / (size[1] / size[0])
        if not 0.98 <= ratio <= 1.02:
            raise DataError(
                f"the mask {path} is {image.width}x{image.height}, the photo {size[1]}x{size[0]}; draw it on it"
            )
        image = image.resize((size[1], size[0]), Image.Resampling.NEAREST)
    mask = np.asarray(image) >= 128
    check_mask(mask, name=f"the mask {path}")
    return mask


def load_mask(path: str | Path) -> Image.Image:
    """Read a mask file as one channel (mode L), transparency as `mask_plane` says.

    Raises:
        DataError: the file cannot be read, or is a photo rather than a mask.
    """
    plane = load_gray(path)
    check_levels(plane, name=f"the mask {path}", picture=load_image(path))
    _check_filled(np.asarray(plane) >= 128, name=f"the mask {path}")
    return plane


def _check_filled(marked: np.ndarray, *, name: str) -> None:
    """Refuse a plane, bool (H, W), of single pixels rather than areas, as dithered photos have them. DataError."""
    speckled = float((marked[:, 1:] != marked[:, :-1]).mean()) if marked.size >= DITHERED else 0.0
    if speckled > SPECKLED:
        raise DataError(
            f"{name} changes between black and white at {speckled:.0%} of its pixels, as a dithered photo; fill what "
            "may be repainted with white and the rest with black (`personagen tryon mask` writes one)"
        )


def check_levels(plane: Image.Image, *, name: str = "a mask", picture: Image.Image | None = None) -> None:
    """Refuse a plane (mode L) with many grey levels, as photos and half-grey ones have. DataError.

    Soft edges, and a grey that covers much, are those of masks. picture: RGB, what the plane is the lightness of; where
    it has colours, far fewer levels are those of a mask.
    """
    counts = np.asarray(plane.histogram(), np.float64)
    left = counts.copy()
    for _ in range(LEVELS):
        most = int(left.argmax())
        left[max(0, most - SPREAD) : most + SPREAD + 1] = 0
    share = left.sum() / counts.sum()
    tone = FAINT_TONE if picture is not None and _coloured(picture, plane) else TONE
    tones = int((counts.reshape(32, 8).sum(1) >= tone * counts.sum()).sum())
    if share > MANY or tones > TONES:
        raise DataError(
            f"{name} has many grey levels, {share:.0%} of its pixels apart from its {LEVELS} commonest, as a photo; "
            "a mask is white where it may be repainted and black elsewhere (`personagen tryon mask` writes one)"
        )


def _coloured(picture: Image.Image, plane: Image.Image) -> bool:
    """Tell whether a plane is the lightness of a picture with colours."""
    channels = np.asarray(picture).astype(np.int16)
    if not np.array_equal(np.asarray(picture.convert("L")), np.asarray(plane)):
        return False
    return bool((channels.max(-1) - channels.min(-1) > 16).mean() > 0.01)


def check_mask(mask: np.ndarray, *, name: str = "a mask") -> None:
    """Refuse a mask (H, W) that marks nothing, or everything, which would leave nothing of the person. DataError."""
    if not mask.any():
        raise DataError(f"{name} marks nothing; paint the old garment and the limbs white on black")
    if mask.all():
        raise DataError(f"{name} marks everything; leave face, hands and surroundings black, so that they are kept")


def mask_list(masks: Image.Image | np.ndarray | Tensor | Sequence) -> list[np.ndarray]:
    """Read what a pipeline takes as masks into bool arrays (H, W), true = repaint: PIL, arrays, tensors, lists.

    Raises:
        DataError: anything else.
    """
    several = masks if isinstance(masks, (list, tuple)) else [masks]
    arrays: list[np.ndarray] = []
    for one in several:
        if isinstance(one, Image.Image):
            plane = mask_plane(one)
            check_levels(plane)
            one = np.asarray(plane) >= 128
        elif isinstance(one, Tensor):
            one = one.detach().cpu().numpy()
        if not isinstance(one, np.ndarray) or one.ndim not in (2, 3, 4):
            raise DataError(
                f"a mask must be a PIL image, an array (H, W) or a tensor (B, 1, H, W), not {type(one).__name__}"
            )
        flat = one.reshape(-1, *one.shape[-2:])
        bright = flat if flat.dtype == bool else flat >= (0.5 if flat.max(initial=0) <= 1 else 128)
        arrays += list(bright)
    return arrays
