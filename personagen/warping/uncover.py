"""Take a garment off a photo as far as one can guess: what it hid is background, skin, or what is worn below it.

Joints say where arms, legs and trunk are; background and what is worn below come from patches of what is seen,
skin from averages (`completion`). Nothing of the garment stays.
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageChops, ImageFilter

from ..images import blur, dilate, erode
from ..person.body import Body
from ..person.joints import Joint, Trunk, trunk_of
from ..person.parts import Part
from .inpaint import complete, smooth
from .strips import Strip

LONGEST = 720
"""Longest side in pixels at which limbs are drawn."""
ARM = (0.14, 0.12, 0.085)
"""Half the width of an arm at shoulder, elbow and wrist, as shares of the distance between the shoulder joints."""
NECK = (0.165, 0.2)
"""Half the width of the neck below the chin and where it meets the shoulders, as the same shares."""
TURNED = 0.65
"""How much less the neck is beside the middle of the shoulders than the nose."""
CHIN = 0.42
"""How far the chin is from the nose, as a share of the way from there to the middle of the shoulders."""
TRUNK = (0.5, 0.48)
"""Half the width of the trunk at shoulders and hips, as the same shares."""
LEG = ((0.0, 0.25), (0.5, 0.215), (0.85, 0.165), (1.0, 0.155), (1.3, 0.165), (1.65, 0.125), (2.0, 0.09), (2.2, 0.09))
"""Places on a leg, from the hip (0) to the knee (1), the ankle (2) and beyond it, and half its width there, as the same
shares."""
LEAN, STOUT = 0.75, 1.1
"""Least and most that legs are slimmer or stouter than usual, where some of them is seen."""
NEAR = 0.006
"""Of the photo's height: how near to a part's border colours are not trusted, thrice of it for the background."""
FRINGE = 0.012
"""Of the photo's height: how far around a garment is painted over, for parts end a little inside it."""
WAIST = 0.6
"""Share of the trunk, from the shoulders down, to which it is bare below a top."""
CHEST = 0.7
"""Share of half the trunk's width to which the chest is bare below a top: beyond it are the arms."""
BELLY = 1.3
"""Share of the trunk, from the shoulders down, to which what is worn below a top may reach up from the legs."""
WIDEST = 1.15
"""Share of half the trunk's width to which that goes."""
FEW = 6
"""Least skin of arms and hands, in squares of NEAR, that bare arms take their colours from."""
WRAPPED = 0.75
"""Share of a limb's line from which a sleeve or leg holds it all."""
SHADE, ROUND = (0.3, 3.0), (0.42, 2.2)
"""How much darker skin is at the edge of an arm and of a leg, and the power with which it becomes so."""


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
    over = dilate(garment, up=wide, down=wide, side=wide)
    soft = Image.fromarray(over).convert("L").filter(ImageFilter.BoxBlur(wide / 3))
    hidden = np.zeros_like(garment) if hidden is None else hidden
    open_to_view = (np.asarray(soft) > 0) & ~hidden

    def seen(area: np.ndarray, *, far: int = 1) -> np.ndarray:
        return erode(area & ~garment, up=far * near, down=far * near, side=far * near)

    arms, chest, clad = _limbs(body, photo.size, region=region, hidden=hidden)
    skin = smooth(photo, _light(photo, seen(parts == Part.SKIN)))
    own = erode((body.skin[0] | body.skin[1]) & ~garment, up=near // 2, down=near // 2, side=near // 2)
    of_arms = smooth(photo, own) if own.sum() > FEW * near * near else skin
    worn_below = (Part.LEGWEAR, Part.LOWER, Part.DRESS) if region in ("upper", "outer") else (Part.LEGWEAR,)
    known = seen(np.isin(parts, worn_below) | body.skin[2])
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
    for limb, colours in drawn:
        filled.paste(ImageChops.multiply(colours, limb.shade), (0, 0), limb.alpha)
    return Image.composite(filled, photo, soft), empty & garment


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


@dataclass(frozen=True)
class _Limbs:
    """Where limbs are on a photo (mode L), and how light they are there (RGB), darker near their edges."""

    alpha: Image.Image
    shade: Image.Image

    @property
    def mask(self) -> np.ndarray:
        """Where they are at all, bool (H, W)."""
        return np.asarray(self.alpha) > 0

    @property
    def whole(self) -> np.ndarray:
        """Where nothing behind them shows, bool (H, W)."""
        return np.asarray(self.alpha) == 255


def _limbs(
    photographed: Body, size: tuple[int, int], *, region: str, hidden: np.ndarray
) -> tuple[_Limbs, _Limbs, _Limbs]:
    """What is bare below a garment of a region, and what is clad or may be: on a photo of `size` (width, height).

    Arms and chest are bare, legs, and below a top the belly, are clad; but a limb along which nearly all is hidden,
    bool (H, W), is in a sleeve or leg, and nothing of it shows beside. Legs are no wider than what the person wore.
    """
    assert photographed.joints is not None
    parts, shrink = photographed.parts, min(1.0, LONGEST / max(size))
    y, x = np.mgrid[: max(1, round(size[1] * shrink)), : max(1, round(size[0] * shrink))] + 0.5
    joints = photographed.joints[:, :2] * shrink
    body = trunk_of(joints)
    limb = lambda side, *names: np.stack([joints[Joint[f"{side}_{name}"]] for name in names])
    arms = [Strip(limb(side, "SHOULDER", "ELBOW", "WRIST"), np.array(ARM) * body.across) for side in ("LEFT", "RIGHT")]
    legs = _legs(photographed, joints, body.across, (x, y))
    trunk = Strip(np.stack([body.shoulders, body.hips]), np.array(TRUNK) * body.across)
    u, v = trunk.coordinates(x, y)
    chest = (np.abs(v) <= CHEST) & (u > 0) & (u <= WAIST) & (region != "lower")
    belly = (
        _belly(parts, hidden, x.shape)
        & (np.abs(v) <= WIDEST)
        & (u > WAIST)
        & (u < BELLY)
        & (region in ("upper", "outer"))
    )
    found = []
    neck = [] if region == "lower" else [_neck(joints, body)]
    for strips, more in ((arms, np.zeros_like(chest)), (neck, chest), (legs, belly)):
        shown = [strip for strip in strips if strips is neck or not _wrapped(strip, hidden, shrink)]
        edge = np.min([np.full(x.shape, np.inf), *(strip.off_middle(x, y) for strip in shown)], 0)
        dark, power = ROUND if strips is legs else SHADE
        shade = 1 - dark * np.where(edge <= 1, edge, 0) ** power
        there = (edge <= 1) if strips is not legs else (edge <= 1) & _small(parts != Part.BACKGROUND, x.shape)
        alpha = blur(torch.from_numpy(there | more)[None, None].float(), kernel=5)[0, 0].numpy()
        planes = [Image.fromarray((plane * 255 + 0.5).astype(np.uint8)) for plane in (alpha, shade)]
        large = [plane.resize(size, Image.Resampling.BICUBIC) for plane in planes]
        found.append(_Limbs(large[0], large[1].convert("RGB")))
    return found[0], found[1], found[2]


def _legs(body: Body, joints: np.ndarray, across: float, places: tuple[np.ndarray, np.ndarray]) -> list[Strip]:
    """Both legs along joints (13, 2), as stout as what is seen of them at places x, y (h, w); across: distance between
    the shoulders."""
    at, half = np.array(LEG).T
    found = []
    for side in ("LEFT", "RIGHT"):
        line = np.stack([joints[Joint[f"{side}_{name}"]] for name in ("HIP", "KNEE", "ANKLE")])
        line = np.vstack([line, 2 * line[2] - line[1]])
        points = np.stack([np.interp(at, np.arange(4), line[:, axis]) for axis in (0, 1)], 1)
        found.append(Strip(points, half * across))
    seen = _small(body.skin[2] | (body.parts == Part.LEGWEAR), places[0].shape)
    if seen.sum() < 0.02 * across**2:
        return found
    away = [np.abs(leg.coordinates(places[0][seen], places[1][seen])[1]) for leg in found]
    stout = float(np.clip(2 * np.median(np.minimum(*away)), LEAN, STOUT))
    return [Strip(leg.points, leg.half * stout) for leg in found]


def _light(photo: Image.Image, skin: np.ndarray) -> np.ndarray:
    """The lighter half of skin (H, W): without brows, lips and what the hair shades."""
    lightness = np.asarray(photo.convert("L"))
    return skin & (lightness >= np.median(lightness[skin])) if skin.any() else skin


def _belly(parts: np.ndarray, hidden: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Mark where what is worn below a top goes on upwards to what is laid on, hidden (H, W): at another size (h, w)."""
    lower, laid = _small(np.isin(parts, (Part.LOWER, Part.DRESS)), size), _small(hidden, size)
    rows = np.flatnonzero(lower.sum(1) > 0.5 * lower.sum(1).max())
    found = np.zeros(size, bool)
    if rows.size:
        columns = np.flatnonzero(lower[rows[0]])
        above = np.flatnonzero(laid[: rows[0]].any(1))
        found[
            int(above[-1]) if above.size else 0 : rows[0] + round(2 * FRINGE * size[0]), columns[0] : columns[-1] + 1
        ] = True
    return found


def _small(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at another size (h, w)."""
    return np.asarray(Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST))


def _neck(joints: np.ndarray, body: Trunk) -> Strip:
    """The neck of a person with these joints (13, 2), from below the chin to the collarbones."""
    nose = joints[Joint.NOSE]
    chin = nose + CHIN * (body.shoulders - nose)
    chin[0] += TURNED * (body.shoulders[0] - chin[0])  # the nose of a head that is turned is beside its neck
    return Strip(np.stack([chin, body.shoulders]), np.array(NECK) * body.across)


def _wrapped(limb: Strip, hidden: np.ndarray, shrink: float) -> bool:
    """Tell whether the line of a limb, on a photo made smaller by `shrink`, is nearly all in what is hidden (H, W)."""
    steps = np.linspace(0, 1, 20)
    line = [np.interp(steps, np.linspace(0, 1, len(limb.points)), limb.points[:, axis]) / shrink for axis in (1, 0)]
    row, column = (places.astype(int).clip(0, side - 1) for places, side in zip(line, hidden.shape, strict=True))
    return bool(hidden[row, column].mean() > WRAPPED)
