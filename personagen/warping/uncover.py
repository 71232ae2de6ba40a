"""Take a garment off a photo as far as one can guess: what it hid is background, skin, or what is worn below it.

Joints say where arms, legs and trunk are; background and what is worn below come from patches of what is seen,
skin from averages (`completion`). Nothing of the garment stays.
"""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image, ImageFilter

from ..images import blur, dilate, erode
from ..person.body import Body
from ..person.joints import Joint
from ..person.parts import CLOTHES, Part
from .inpaint import complete, smooth
from .limbs import EVEN, Limbs, limbs_of

NEAR = 0.006
"""Of the photo's height: how near to a part's border colours are not trusted, thrice of it for the background."""
FRINGE = 0.012
"""Of the photo's height: how far around a garment is painted over, for parts end a little inside it."""
TILE = 256
"""Rows of a photo that are computed at a time, and pixels a side of the grain."""
GRAIN = 1.2
"""Deviation of the grain over the lower quartile of the fine detail of skin, a third of what noise alone would have."""
FEW = 6
"""Least skin of arms and hands, in squares of NEAR, that bare arms take their colours from."""


def uncover(
    photo: Image.Image,
    body: Body,
    garment: np.ndarray,
    *,
    region: str,
    hidden: np.ndarray | None = None,
) -> tuple[Image.Image, np.ndarray]:
    """Paint over a garment of a region, bool (H, W), in a photo; body: of the photo, with joints.

    Returns the photo, and where only the background is left, bool (H, W).

    Arms are bare under it. Under a top or coat, trunk and legs show what is worn below, where that is seen, under other
    garments legs show stockings or skin. Everything else is background. hidden (H, W): what need not be painted,
    since something will lie over it.
    """
    assert body.joints is not None
    photo, parts = photo.convert("RGB"), body.parts
    wide, near = max(1, round(FRINGE * photo.height)), max(1, round(NEAR * photo.height))
    over = dilate(garment, up=wide, down=wide, side=wide) & ~_stays(parts, garment, near)
    soft = Image.fromarray(over).convert("L").filter(ImageFilter.BoxBlur(wide / 3))
    hidden = np.zeros_like(garment) if hidden is None else hidden
    open_to_view = (np.asarray(soft) > 0) & ~hidden

    def seen(area: np.ndarray, *, far: int = 1) -> np.ndarray:
        return erode(area & ~garment, up=far * near, down=far * near, side=far * near)

    worn_below = _worn_below(parts, garment, region)
    legs = np.isin(parts, worn_below) | body.skin[2]
    arms, chest, clad = limbs_of(photo, body, region=region, hidden=hidden, clad=legs & ~garment, garment=garment)
    bare = seen(parts == Part.SKIN)
    skin = smooth(photo, _light(photo, bare))
    own = erode((body.skin[0] | body.skin[1]) & ~garment, up=near // 2, down=near // 2, side=near // 2)
    of_arms = smooth(photo, own) if own.sum() > FEW * near * near else skin
    known = seen(legs)
    below = _below(photo, known & ~over, open_to_view & clad.mask, bare=_are_bare(parts, worn_below))
    if below is None:
        ankles = erode(_ankles(body) & ~garment, up=near // 2, down=near // 2, side=near // 2)
        below = smooth(photo, ankles) if ankles.sum() > FEW * near * near else of_arms
    found = ((clad, below), (chest, skin), (arms, of_arms))
    drawn = [(limb, colours) for limb, colours in found if colours is not None]
    empty = open_to_view.copy()
    for limb, _ in drawn:
        empty &= ~limb.whole
    behind = parts == Part.BACKGROUND if body.others is None else (parts == Part.BACKGROUND) & ~body.others
    filled = complete(photo, seen(behind, far=3) & ~over, empty) or photo.copy()
    grain = _grain(photo, bare)
    for limb, colours in drawn:
        filled.paste(_lit(colours, limb, grain), (0, 0), limb.alpha)
    return Image.composite(filled, photo, soft), empty & garment


def _stays(parts: np.ndarray, garment: np.ndarray, near: int) -> np.ndarray:
    """Mark other clothes than a garment (H, W), but `near` pixels at their edges: they would be painted over for
    nothing."""
    return erode(np.isin(parts, CLOTHES) & ~garment, up=near, down=near, side=near)


def _worn_below(parts: np.ndarray, garment: np.ndarray, region: str) -> tuple[Part, ...]:
    """What comes to light on legs below a garment (H, W) of a region; below a dress also trousers that stay on."""
    if region in ("upper", "outer"):
        return Part.LEGWEAR, Part.LOWER, Part.DRESS
    stays = (parts == Part.LOWER) & ~garment
    return (Part.LEGWEAR, Part.LOWER) if region == "dress" and stays.any() else (Part.LEGWEAR,)


def _grain(photo: Image.Image, skin: np.ndarray) -> np.ndarray:
    """A tile of grain (TILE, TILE), a part of that of skin (H, W) in strength: paint without any looks like plastic."""
    found = [np.zeros(1, np.float32)]
    for rows in _bands(len(skin)):
        if skin[rows].any():
            band = np.asarray(photo.crop((0, rows.start, photo.width, rows.stop)).convert("L"), np.float32)
            fine = band - blur(torch.from_numpy(band)[None, None], kernel=3)[0, 0].numpy()
            found.append(np.abs(fine[skin[rows]]))
    strength = GRAIN * float(np.quantile(np.concatenate(found), 0.25))
    noise = torch.randn(1, 1, TILE, TILE, generator=torch.Generator().manual_seed(0))
    soft = blur(noise, kernel=3)[0, 0].numpy()
    return soft * (strength / float(soft.std()))


def _lit(colours: Image.Image, limb: Limbs, grain: np.ndarray) -> Image.Image:
    """Colours with the light of a limb and a tile of grain."""
    lit = colours.copy()
    tile = np.tile(grain, (1, -(-colours.width // TILE)))[:, : colours.width, None]
    for rows in _bands(colours.height):
        box = (0, rows.start, colours.width, rows.stop)
        light = np.asarray(limb.shade.crop(box), np.float32)[..., None] / EVEN
        band = np.asarray(colours.crop(box), np.float32) * light + tile[: rows.stop - rows.start]
        lit.paste(Image.fromarray((band.clip(0, 255) + 0.5).astype(np.uint8)), box)
    return lit


def _bands(height: int) -> Iterator[slice]:
    """Rows of a photo, TILE at a time: photos of phones are large."""
    for first in range(0, height, TILE):
        yield slice(first, min(height, first + TILE))


def _ankles(body: Body) -> np.ndarray:
    """Mark skin below the knees, bool (H, W)."""
    assert body.joints is not None
    knees = body.joints[[Joint.LEFT_KNEE, Joint.RIGHT_KNEE], 1].mean()
    return (body.parts == Part.SKIN) & (np.arange(len(body.parts))[:, None] > knees)


def _are_bare(parts: np.ndarray, worn: tuple[Part, ...]) -> bool:
    """Tell whether legs are bare: nothing of what may be worn on them is seen in parts (H, W)."""
    return not np.isin(parts, worn).any()


def _below(photo: Image.Image, known: np.ndarray, wanted: np.ndarray, *, bare: bool) -> Image.Image | None:
    """Colours of legs, or of what is worn on them, where they are wanted, bool (H, W); None where none are known."""
    return smooth(photo, known) if bare and known.any() else complete(photo, known, wanted)


def _light(photo: Image.Image, skin: np.ndarray) -> np.ndarray:
    """The lighter half of skin (H, W): without brows, lips and what the hair shades."""
    lightness = np.asarray(photo.convert("L"))
    return skin & (lightness >= np.median(lightness[skin])) if skin.any() else skin
