"""A dressed person, or a garment alone, as surfaces; and what colour they have where a picture sees them."""

from __future__ import annotations

import numpy as np

from .body import Body, Skeleton, skeleton
from .cloth import cloth_colour
from .drape import drape
from .garment import GarmentSpec, hem
from .hair import hair_patches
from .head import head_patches, linear, paint_face
from .light import Matter
from .limbs import arm_length, arm_skin, hand, leg_length, leg_skin, shoe, trunk_skin
from .raster import Samples
from .surface import Array, Patch, bell, smooth

SKIN_WRAP = np.array([0.34, 0.20, 0.15], np.float32)
CLOTH_WRAP = np.array([0.16, 0.16, 0.16], np.float32)


def surfaces(body: Body, outfit: tuple[GarmentSpec, ...], *, ghost: bool = False) -> list[Patch]:
    """Everything of a dressed body that may be seen; ``ghost``: the garments alone."""
    skel = skeleton(body)
    cloth = [s for number, spec in enumerate(outfit) for s in drape(spec, skel, number, outfit)]
    return cloth if ghost else cloth + _person(skel, outfit)


def _person(skel: Skeleton, outfit: tuple[GarmentSpec, ...]) -> list[Patch]:
    """The person in an outfit, without what the clothes hide for sure."""
    h = skel.body.height
    upper = any(g.region != "lower" for g in outfit)
    out = head_patches(skel) + hair_patches(skel) + [trunk_skin(skel, 0.69 if upper else 0.446)]
    sleeve = max([g.sleeve for g in outfit], default=0.0) * arm_length(skel)
    lowest = min([hem(g, h) for g in outfit if g.region != "upper"], default=h)
    for side in range(2):
        out.append(arm_skin(skel, side, sleeve - 0.05 if sleeve else -0.046))
        out += hand(skel, side) + shoe(skel, side)
        hip, ankle = float(skel.hip[side][1]), float(skel.ankle[side][1])
        begin = leg_length(skel, side) * (hip - lowest - 0.035) / (hip - ankle)
        out.append(leg_skin(skel, side, max(begin, -0.02)))
    return out


def matter_of(body: Body, outfit: tuple[GarmentSpec, ...], patches: list[Patch], seen: Samples, grain: float) -> Matter:
    """Colour and gloss of the samples of ``patches``; ``grain``: a sample's width in metres."""
    n = len(seen.index)
    out = Matter(
        albedo=np.zeros((n, 3), np.float32),
        wrap=np.repeat(CLOTH_WRAP[None], n, 0),
        gloss=np.full(n, 0.02, np.float32),
        sharp=np.full(n, 14.0, np.float32),
        fuzz=np.full(n, 1.0, np.float32),
        strand=np.zeros(n, np.float32),
    )
    groups: dict[tuple[str, int], list[int]] = {}
    for number, s in enumerate(patches):
        groups.setdefault((s.zone, s.spec), []).append(number)
    table = np.zeros(len(patches), np.int32)
    for g, numbers in enumerate(groups.values()):
        table[numbers] = g
    member = table[seen.which]
    for g, (zone, spec) in enumerate(groups):
        on = np.flatnonzero(member == g)
        if len(on):
            cloth = None if spec < 0 else outfit[spec]
            _colour(out, on, zone, cloth, body, seen.marks[on], grain)
    return out


def _colour(
    out: Matter, on: Array, zone: str, cloth: GarmentSpec | None, body: Body, marks: Array, grain: float
) -> None:
    """Fill in the samples ``on`` of one zone."""
    if cloth is not None:
        out.albedo[on] = cloth_colour(cloth, zone, body.height, marks, grain)
        out.fuzz[on] = 1.25 if cloth.kind == "sweater" else 0.9
    elif zone in ("skin", "face"):
        skin = linear(body.skin)
        out.albedo[on] = paint_face(body, marks, skin, grain / body.head) if zone == "face" else skin
        out.wrap[on], out.gloss[on], out.sharp[on] = SKIN_WRAP, 0.045, 18.0
    elif zone == "hair":
        out.albedo[on] = hair_colour(body, marks, grain)
        out.gloss[on], out.sharp[on], out.strand[on], out.fuzz[on] = (
            0.16 if body.hair_style != "curly" else 0.05,
            44.0,
            1,
            0.8,
        )
    elif zone == "shoe":
        out.albedo[on] = shoe_colour(body, marks, grain)
        out.gloss[on], out.sharp[on] = (0.05, 20.0) if body.shoe_style == "sneaker" else (0.22, 36.0)
    else:
        out.albedo[on] = sole_colour(body)


def hair_colour(body: Body, marks: Array, grain: float) -> Array:
    """Linear albedo (N, 3) of hair at ``marks`` (N, 4): angle around the crown, way down, place."""
    angle, way, high, relief = marks.T
    base = linear(body.hair)
    if body.hair_style == "curly":
        tone = 0.92 + 0.75 * np.clip(relief, -0.35, 0.30)
    else:
        fade = 1.0 if grain < 0.004 else 0.55
        fine = np.sin(angle * 67.0 + 5.0 * np.sin(angle * 7.0) + 2.0 * way) + np.sin(angle * 41.0 + 1.3)
        broad = np.sin(angle * 15.0 + 2.5 * np.sin(angle * 3.0) + 1.2 * way)
        tone = 0.97 + 0.055 * fade * fine + 0.085 * broad
        tone = tone * (0.74 + 0.26 * smooth(way, 0.0, 0.18))
    warm = np.array([1.0, 0.93, 0.86], np.float32)
    light = smooth(high, 0.2, 1.0)[:, None] * 0.18
    return base * (tone[:, None] * (1.0 + light)) * warm ** (tone[:, None] - 0.8)


def sole_colour(body: Body) -> Array:
    """Linear albedo (3,) of the sole."""
    if body.shoe_style == "sneaker":
        return linear((236, 234, 228)) if sum(body.shoes) < 600 else linear((206, 200, 190))
    return linear((58, 46, 40)) if sum(body.shoes) > 240 else linear((28, 26, 28))


def shoe_colour(body: Body, marks: Array, grain: float) -> Array:
    """Linear albedo (N, 3) of a shoe at ``marks`` (N, 4): share of its length, height and side in metres."""
    t, high, side = marks[:, 0], marks[:, 1], marks[:, 2]
    base = linear(body.shoes)
    colour = np.broadcast_to(base, (len(t), 3)).copy()
    soft = max(grain, 0.002)

    def lay(inside: Array, rgb: Array, share: float = 1.0) -> None:
        cover = share * np.clip(inside / soft + 0.5, 0.0, 1.0)
        colour[:] = colour + (rgb - colour) * cover[:, None]

    if body.shoe_style == "sneaker":
        white = linear((244, 242, 238)) if sum(body.shoes) < 600 else linear((120, 124, 132))
        lay((t - 0.835) * 0.26, base * 0.5 + 0.5 * white, 0.9)
        tongue = np.minimum(0.024 - np.abs(side), (0.10 - np.abs(t - 0.52) * 0.26 * 2.4))
        lay(tongue, base * 0.62)
        laces = np.minimum(np.abs((t * 26.0) % 1.0 - 0.5) * 0.010 - 0.0020, 0.021 - np.abs(side))
        lay(np.where(np.abs(t - 0.52) < 0.17, laces, -1.0), white)
        lay(0.0028 - np.abs(np.abs(side) - 0.030), base * 0.7, 0.6 * 1.0)
    elif body.shoe_style == "loafer":
        lay(0.009 - np.abs(t - 0.50) * 0.262, base * 0.60)
        lay(0.0022 - np.abs(np.hypot(side / 1.0, (t - 0.60) * 0.20) - 0.030), base * 0.62, 0.8)
    else:
        lay(0.0022 - np.abs(t - 0.80) * 0.262, base * 0.6, 0.8)
        laces = np.minimum(np.abs((t * 22.0) % 1.0 - 0.5) * 0.011 - 0.0022, 0.018 - np.abs(side))
        lay(np.where((np.abs(t - 0.50) < 0.18) & (high < 0.2), laces, -1.0), base * 0.45)
    return colour * (1.0 - 0.25 * bell(high - 0.03, 0.012))[:, None]
