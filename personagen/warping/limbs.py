"""Where arms, neck, legs and belly are on a photo of which a garment is taken off, and how light they are there.

Joints say where limbs are; what is seen of a leg says how wide it is and where it goes on, and what is seen of skin how
light falls across it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ..images import blur
from ..person.body import Body
from ..person.joints import Joint, Trunk, trunk_of
from ..person.parts import Part
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
SLOPE = (0.12, 0.12, 0.13)
"""How far the line of the shoulders begins above their middle, and half the width of what is bare along it there and at
the joint, as the same shares."""
TRUNK = (0.5, 0.48)
"""Half the width of the trunk at shoulders and hips, as the same shares."""
LEG = ((0.0, 0.25), (0.5, 0.215), (0.85, 0.165), (1.0, 0.155), (1.3, 0.165), (1.65, 0.125), (2.0, 0.09), (2.2, 0.09))
"""Places on a leg, from the hip (0) to the knee (1), the ankle (2) and beyond it, and half its width there, as the same
shares."""
LEAN, STOUT = 0.6, 1.6
"""Least and most that legs are slimmer or stouter than usual, where some of them is seen."""
BINS, LEAST, FAR, WHOLE = 40, 6, 1.7, 1.2
"""Cross-sections at which a leg is measured, least pixels of one that are seen, half widths within which they are, and
within which no garment may hide them."""
WAIST = 0.6
"""Share of the trunk, from the shoulders down, to which it is bare below a top."""
CHEST = 0.7
"""Share of half the trunk's width to which the chest is bare below a top: beyond it are the arms."""
BELLY = 1.3
"""Share of the trunk, from the shoulders down, to which what is worn below a top may reach up from the legs."""
WIDEST = 1.15
"""Share of half the trunk's width to which that goes."""
OVERLAP = 0.024
"""Of the photo's height: how far a belly goes down over what is seen of what is worn there."""
SLIVER = 0.35
"""Least share of a limb's width that lies open for it to be seen: less is what a sleeve or leg leaves at its sides."""
WRAPPED = 0.75
"""Share of a limb's line, and of its end, from which a sleeve or leg holds it all."""
SHADE, ROUND = (0.3, 3.0), (0.42, 2.2)
"""How much darker skin is at the edge of an arm and of a leg, and the power with which it becomes so."""
EVEN = 128
"""Grey of skin that is neither lighter nor darker than on the average."""
ACROSS, ENOUGH, LIGHTS = 9, 25, (0.55, 1.2)
"""Stripes along limbs in which light is measured where they are bare, least pixels of each, least and most light."""


@dataclass(frozen=True)
class Limbs:
    """Where limbs are on a photo, and how light they are there, `EVEN` on the average: mode L both, small for photos of
    millions of pixels."""

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


def limbs_of(
    photo: Image.Image, body: Body, *, region: str, hidden: np.ndarray, clad: np.ndarray, garment: np.ndarray
) -> tuple[Limbs, Limbs, Limbs]:
    """Arms, chest with neck, and legs with belly on a photo below a garment of a region; body: of the photo.

    Arms and chest are bare; legs, and below a top the belly, are as what is seen of them, clad (H, W), beside the
    garment (H, W). A limb is not shown where all but slivers of its width are hidden, bool (H, W): it is in a sleeve
    there, or in a leg.
    """
    assert body.joints is not None
    shrink = min(1.0, LONGEST / max(photo.size))
    y, x = np.mgrid[: max(1, round(photo.height * shrink)), : max(1, round(photo.width * shrink))] + 0.5
    joints = body.joints[:, :2] * shrink
    trunk = trunk_of(joints)
    small = lambda mask: _small(mask, x.shape)
    light = np.asarray(photo.convert("L").resize((x.shape[1], x.shape[0])), np.float32)
    line = lambda side, *names: np.stack([joints[Joint[f"{side}_{name}"]] for name in names])
    arms = [Strip(line(side, "SHOULDER", "ELBOW", "WRIST"), np.array(ARM) * trunk.across) for side in ("LEFT", "RIGHT")]
    off = small(garment)
    legs = [fitted(leg, own, off, (x, y)) for leg, own in _with_own(_legs(joints, trunk.across), small(clad), (x, y))]
    neck = [] if region == "lower" else [_neck(joints, trunk)]
    u, v = Strip(np.stack([trunk.shoulders, trunk.hips]), np.array(TRUNK) * trunk.across).coordinates(x, y)
    chest = ((np.abs(v) <= CHEST) & (u > 0) & (u <= WAIST) | _shoulders(joints, trunk, (x, y))) & (region != "lower")
    belly = _belly(body.parts, hidden, off) & (np.abs(v) <= WIDEST) & (u > WAIST) & (u < BELLY)
    belly &= region in ("upper", "outer")
    covered, person = small(hidden), small(body.parts != Part.BACKGROUND)
    none = np.zeros_like(chest)
    found = [
        _drawn(arms, (x, y), none, covered=covered, light=_across(arms, small(body.skin[0]), light, (x, y), SHADE)),
        _drawn(neck, (x, y), chest, covered=none, light=_round(*SHADE)),
        _drawn(legs, (x, y), belly, covered=covered, light=_across(legs, small(clad), light, (x, y), ROUND), of=person),
    ]
    grey = lambda plane, one: Image.fromarray((plane * one + 0.5).clip(0, 255).astype(np.uint8))
    large = lambda plane, one: grey(plane, one).resize(photo.size, Image.Resampling.BICUBIC)
    arm, neck_, leg = (Limbs(large(alpha, 255), large(shade, EVEN)) for alpha, shade in found)
    return arm, neck_, leg


Places = tuple[np.ndarray, np.ndarray]
"""Columns and rows of pixels, (h, w) each."""


def _drawn(
    strips: list[Strip],
    places: Places,
    more: np.ndarray,
    *,
    covered: np.ndarray,
    light: np.ndarray,
    of: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """How much of each pixel is limb, and how light that is, (h, w) each: strips that are not covered, and more (h, w).

    light (n,): across a limb from one side to the other. of (h, w): nowhere else.
    """
    there, shade = np.zeros(more.shape, bool), np.ones(more.shape, np.float32)
    at = np.linspace(-1, 1, len(light))
    nearest = np.full(more.shape, np.inf)
    for strip in strips:
        if _wrapped(strip, covered):
            continue
        off, (u, v) = strip.off_middle(*places), strip.coordinates(*places)
        own = (off <= 1) & _open(u, off <= 1, covered)
        there |= own
        closer = off < np.minimum(nearest, 1)
        shade = np.where(closer, np.interp(v, at, light), shade)
        nearest = np.where(closer, off, nearest)
    if of is not None:
        there &= of
    return blur(torch.from_numpy(there | more)[None, None].float(), kernel=5)[0, 0].numpy(), shade


def _wrapped(limb: Strip, covered: np.ndarray) -> bool:
    """Tell whether the line of a limb is nearly all covered, bool (h, w), down to its end: it is in a sleeve or leg."""
    steps = np.linspace(0, 1, 20)
    columns, rows = limb.at(steps, np.zeros_like(steps))
    row, column = (places.astype(int).clip(0, side - 1) for places, side in zip((rows, columns), covered.shape))
    there = covered[row, column]
    return bool(there.mean() > WRAPPED and there[-5:].mean() > WRAPPED)


def _open(u: np.ndarray, inside: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Tell where cross-sections of a limb, at u (h, w) of its line, lie open by more than slivers, bool (h, w)."""
    if not inside.any() or not covered.any():
        return np.ones_like(inside)
    place = (u * BINS).astype(int).clip(0, BINS)
    count = np.bincount(place[inside], minlength=BINS + 1)
    bare = np.bincount(place[inside & ~covered], minlength=BINS + 1)
    near = np.convolve(bare, np.ones(3), "same") / np.maximum(np.convolve(count, np.ones(3), "same"), 1)
    return (near > SLIVER)[place]


def _round(dark: float, power: float) -> np.ndarray:
    """Light across a limb that is lit from the front, (ACROSS,), 1 in its middle."""
    return 1 - dark * np.abs(np.linspace(-1, 1, ACROSS)) ** power


def _across(
    strips: list[Strip], seen: np.ndarray, light: np.ndarray, places: Places, else_: tuple[float, float]
) -> np.ndarray:
    """Light across limbs, (ACROSS,), 1 on the average, by what is seen of them (h, w); else as lit from the front."""
    total, count = np.zeros(ACROSS), np.zeros(ACROSS)
    for strip in strips:
        u, v = strip.coordinates(*places)
        own = seen & (np.abs(v) < 1) & (u > 0) & (u < 1)
        if not own.any():
            continue
        stripe = ((v[own] + 1) / 2 * ACROSS).astype(int).clip(0, ACROSS - 1)
        total += np.bincount(stripe, light[own] / max(float(light[own].mean()), 1.0), ACROSS)
        count += np.bincount(stripe, minlength=ACROSS)
    if count.min() < ENOUGH:
        return _round(*else_)
    found = np.convolve(np.pad(total / count, 1, mode="edge"), (0.25, 0.5, 0.25), "valid")
    return (found / found.mean()).clip(*LIGHTS)


def _legs(joints: np.ndarray, across: float) -> list[Strip]:
    """Both legs along joints (13, 2), as wide as usual; across: distance between the shoulders."""
    at, half = np.array(LEG).T
    found = []
    for side in ("LEFT", "RIGHT"):
        line = np.stack([joints[Joint[f"{side}_{name}"]] for name in ("HIP", "KNEE", "ANKLE")])
        line = np.vstack([line, 2 * line[2] - line[1]])
        points = np.stack([np.interp(at, np.arange(4), line[:, axis]) for axis in (0, 1)], 1)
        found.append(Strip(points, half * across))
    return found


def _with_own(legs: list[Strip], seen: np.ndarray, places: Places) -> list[tuple[Strip, np.ndarray]]:
    """Both legs, and what is seen of each, bool (h, w): the nearest."""
    away = np.stack([np.abs(leg.coordinates(*places)[1]) for leg in legs])
    return [(leg, seen & (away.argmin(0) == at) & (away[at] < FAR)) for at, leg in enumerate(legs)]


def fitted(leg: Strip, seen: np.ndarray, garment: np.ndarray, places: Places) -> Strip:
    """A leg whose sides go on where those of what is seen of it, (h, w), end; up to the hip it becomes as usual.

    Cross-sections that the garment (h, w) hides a part of do not tell how wide it is.
    """
    u, v = leg.coordinates(*places)
    whole = np.bincount((u[garment & (np.abs(v) < WHOLE) & (u > 0)] * BINS).astype(int), minlength=BINS) == 0
    place, v = (u[seen] * BINS).astype(int), v[seen]
    low, high, known = [], [], []
    for at in range(BINS):
        own = v[place == at]
        if own.size >= LEAST and whole[at]:
            known.append((at + 0.5) / BINS)
            low.append(float(np.quantile(own, 0.03)))
            high.append(float(np.quantile(own, 0.97)))
    if len(known) < 2:
        return leg
    low, high, known = (np.array(one) for one in (low, high, known))
    low, high = (np.convolve(np.pad(one, 1, mode="edge"), np.ones(3) / 3, "valid") for one in (low, high))
    stout = float(np.clip(np.median(high - low) / 2, LEAN, STOUT))
    at = np.append(np.linspace(0, 1, BINS + 1), known)
    at = np.unique(at)
    fade = np.clip(at / max(known[0], 1e-3), 0, 1) ** 2  # from the hip to where it is seen first
    wide = np.interp(at, known, (high - low) / 2).clip(0.4 * stout, 1.6 * stout)
    aside = np.interp(at, known, (high + low) / 2)
    wide = np.clip(stout, 0.85, 1.15) + fade * (wide - np.clip(stout, 0.85, 1.15))
    half = np.interp(at, _ends(leg), leg.half)
    points = np.stack(leg.at(at, fade * aside), 1)
    return Strip(points, half * wide)


def _ends(strip: Strip) -> np.ndarray:
    """Places of a strip's points along it, 0 to 1."""
    steps = np.hypot(*np.diff(strip.points, axis=0).T)
    return np.concatenate([[0], np.cumsum(steps)]) / max(steps.sum(), 1e-6)


def _belly(parts: np.ndarray, hidden: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Mark where what is worn below a top goes on upwards to what is laid on, hidden (H, W): at another size (h, w).

    off (h, w): what is taken off, which may be the upper part of what is worn below.
    """
    size = off.shape
    lower, laid = _small(np.isin(parts, (Part.LOWER, Part.DRESS)), size) & ~off, _small(hidden, size)
    rows = np.flatnonzero(lower.sum(1) > 0.5 * lower.sum(1).max())
    found = np.zeros(size, bool)
    if rows.size:
        columns = np.flatnonzero(lower[rows[0]])
        across = slice(columns[0], columns[-1] + 1)
        above = laid[: rows[0], across]
        hems = rows[0] - np.flip(above, 0).argmax(0)[above.any(0)] if above.any() else np.zeros(1)
        found[int(np.median(hems)) : rows[0] + round(OVERLAP * size[0]), across] = True  # sleeves may go lower
    return found


def _small(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at another size (h, w)."""
    return np.asarray(Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST))


def _shoulders(joints: np.ndarray, body: Trunk, places: Places) -> np.ndarray:
    """Mark what slopes from the neck to both arms, bool (h, w), for a body with these joints (13, 2)."""
    base = body.shoulders - SLOPE[0] * body.across * body.down
    half = np.array(SLOPE[1:]) * body.across
    ends = [joints[Joint.LEFT_SHOULDER], joints[Joint.RIGHT_SHOULDER]]
    return np.logical_or.reduce([Strip(np.stack([base, end]), half).off_middle(*places) <= 1 for end in ends])


def _neck(joints: np.ndarray, body: Trunk) -> Strip:
    """The neck of a person with these joints (13, 2), from below the chin to the collarbones."""
    nose = joints[Joint.NOSE]
    chin = nose + CHIN * (body.shoulders - nose)
    chin[0] += TURNED * (body.shoulders[0] - chin[0])  # the nose of a head that is turned is beside its neck
    return Strip(np.stack([chin, body.shoulders]), np.array(NECK) * body.across)
