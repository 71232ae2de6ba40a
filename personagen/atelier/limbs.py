"""Skin and shoes: trunk, arms, legs, hands and feet as surfaces; clothes are offsets of the same tubes."""

from __future__ import annotations

import numpy as np

from .body import Body, Skeleton, bend, straighten
from .surface import (
    Array,
    Patch,
    around,
    bell,
    bent_path,
    capsule_gap,
    fillet,
    grid_normals,
    patch,
    ramp,
    smooth,
    stack,
    tube,
    unit,
)

AHEAD = np.array([0.0, 0.0, 1.0], np.float32)
ARM = np.array([(0, 0.046), (0.12, 0.044), (0.3, 0.038), (0.5, 0.0325), (0.62, 0.033), (0.8, 0.0265), (1, 0.0205)])
LEG = np.array(
    [(0, 0.083), (0.12, 0.080), (0.3, 0.065), (0.47, 0.048), (0.54, 0.0445), (0.64, 0.0485), (0.72, 0.0465),
     (0.86, 0.0335), (1, 0.029)]
)  # fmt: skip
"""Radii in metres by the share of the limb."""


def arm_radius(body: Body, share: Array) -> Array:
    """Radius of the arm at these shares of the way from shoulder to wrist."""
    return (
        np.interp(share, ARM[:, 0], ARM[:, 1]) * ((0.45 + 0.55 * body.build) * (1.04 - 0.12 * body.feminine))
    ).astype(np.float32)


def leg_radius(body: Body, share: Array) -> Array:
    """Radius of the leg at these shares of the way from hip to ankle."""
    return (np.interp(share, LEG[:, 0], LEG[:, 1]) * (0.35 + 0.65 * body.build)).astype(np.float32)


def arm_length(skel: Skeleton) -> float:
    """Length of the arm from shoulder to wrist in metres."""
    return skel.upper_arm + skel.forearm


def leg_length(skel: Skeleton, side: int) -> float:
    """Length of the leg from hip to ankle in metres."""
    joints = (skel.hip[side], skel.knee[side], skel.ankle[side])
    return sum(float(np.sqrt(((b - a) ** 2).sum())) for a, b in zip(joints[:-1], joints[1:], strict=True))


def cap(radius: Array, s: Array) -> Array:
    """Round off a tube (R, 1) that begins before its joint, where ``s`` (R, 1) is below 0."""
    return radius * np.maximum(1.0 - (np.minimum(s, 0.0) / s[0, 0]) ** 2, 1e-5) ** 0.75


def arm_tube(skel: Skeleton, side: int, s: Array, radius: Array, angle: Array, ease: float = 0.0) -> Array:
    """Points (R, C, 3) around the arm at lengths ``s`` (R, 1) from the shoulder, at ``radius`` (R, 1) or (R, C).

    Near the shoulder they bulge to run into the trunk, whose cloth stands off by ``ease``.
    """
    path, along = bent_path(skel.shoulder[side], skel.elbow[side], skel.wrist[side], s[:, 0], 0.05)
    p = tube(path, along, radius, radius, angle, AHEAD)
    rows = max(int((s[:, 0] < 0.22).sum()), 1)
    q = p[:rows]
    gap = skel.trunk.gap(straighten(skel.body, q)) - ease
    bulge = fillet(gap, 0.085) * (1.0 - smooth(s[:rows], 0.05, 0.17))
    p[:rows] += unit(q - path[:rows, None]) * bulge[..., None]
    return p


def leg_tube(skel: Skeleton, side: int, s: Array, radius: Array, angle: Array) -> Array:
    """Points (R, C, 3) around the leg at lengths ``s`` (R, 1) from the hip, at ``radius`` (R, 1) or (R, C)."""
    path, along = bent_path(skel.hip[side], skel.knee[side], skel.ankle[side], s[:, 0], 0.06)
    return tube(path, along, radius, radius, angle, AHEAD)


def into_legs(skel: Skeleton, p: Array, ease: float) -> Array:
    """Bulge points (R, C, 3) of the seat, in posture, where the thighs begin, so that the legs run into it."""
    off = np.zeros(p.shape[:2], np.float32)
    for side in range(2):
        low = skel.hip[side] + 0.35 * (skel.knee[side] - skel.hip[side])
        radii = leg_radius(skel.body, np.array([0.0, 0.17])) + ease
        off += fillet(capsule_gap(p, skel.hip[side], low, float(radii[0]), float(radii[1])), 0.07)
    return p + grid_normals(p) * off[..., None]


def into_arms(skel: Skeleton, p: Array, ease: float) -> Array:
    """Bulge trunk points (R, C, 3), in posture, where the shoulders begin, so that the arms run into them."""
    off = np.zeros(p.shape[:2], np.float32)
    for side in range(2):
        near = skel.shoulder[side] + 0.5 * (skel.elbow[side] - skel.shoulder[side])
        radius = float(arm_radius(skel.body, np.zeros(1))[0]) + ease
        off += fillet(capsule_gap(p, skel.shoulder[side], near, radius, radius), 0.085)
    return p + grid_normals(p) * off[..., None]


def chest_bumps(body: Body, p: Array) -> Array:
    """Let the chest stand out: points (R, C, 3) of the straight trunk, moved forward."""
    h, x = body.height, np.abs(p[..., 0])
    bust = (
        0.030
        * body.feminine**1.5
        * body.build
        * bell(x - 0.40 * body.shoulder, 0.058)
        * bell(p[..., 1] - 0.725 * h, 0.048)
    )
    p[..., 2] += np.where(p[..., 2] > 0, bust, 0.0)
    return p


def trunk_skin(skel: Skeleton, low: float) -> Patch:
    """The neck and the trunk down to ``low``, a share of the height."""
    h, angle = skel.body.height, around(45, 0.3)
    top, bottom = np.full(45, 0.895 * h, np.float32), np.full(45, low * h, np.float32)
    y = skel.trunk.spread(top, bottom, 28)
    p = bend(skel.body, chest_bumps(skel.body, skel.trunk.shell(y, angle, 0.90)))
    p = into_arms(skel, p, 0.0)
    if low < 0.5:
        p = into_legs(skel, p, 0.0)
    return patch(p, stack(y / h, p[..., 0]), "face", "skin")


def arm_skin(skel: Skeleton, side: int, start: float) -> Patch:
    """An arm from ``start``, in metres below the shoulder, to the wrist."""
    length = arm_length(skel)
    s = start + (length + 0.015 - start) * ramp(34)
    radius = arm_radius(skel.body, s / length)
    if start < 0:
        radius = cap(radius, s)
    return patch(arm_tube(skel, side, s, radius, around(25)), stack(s), "arms", "skin")


def leg_skin(skel: Skeleton, side: int, start: float) -> Patch:
    """A leg from ``start``, in metres below the hip, to the ankle; calf and knee stand out a little."""
    length, angle = leg_length(skel, side), around(29)
    s = start + (length + 0.03 - start) * ramp(40)
    share = s / length
    radius = leg_radius(skel.body, share) + 0.007 * bell(share - 0.66, 0.10) * -np.cos(angle)
    radius = radius + 0.004 * bell(share - 0.50, 0.035) * np.maximum(np.cos(angle), 0)
    return patch(leg_tube(skel, side, s, radius, angle), stack(s), "legs", "skin")


def _finger(root: Array, way: Array, curl: Array, length: float, radius: float) -> Array:
    """Points of a finger from ``root`` in direction ``way``, that bends towards ``curl``."""
    t = ramp(9)
    path = root + length * (t * way + 0.38 * t * t * curl)
    along = unit(way + 0.76 * t * curl)
    wide = radius * (1.0 - 0.22 * t) * np.sqrt(np.maximum(1.0 - np.clip((t - 0.80) / 0.20, 0, 1) ** 2, 1e-4))
    return tube(path, along, wide, wide, around(11), AHEAD)


def hand(skel: Skeleton, side: int) -> list[Patch]:
    """A relaxed hand, thumb forward: palm, four fingers and a thumb."""
    body, out = skel.body, np.float32(-1.0 if side == 0 else 1.0)
    k = (0.80 + 0.20 * body.build) * (1.04 - 0.10 * body.feminine) * body.height / 1.7
    down = unit(skel.hand[side] - skel.wrist[side])
    broad = unit(np.array([-0.62 * out, 0.0, 0.80], np.float32))  # towards the thumb
    broad = unit(broad - (broad * down).sum() * down)
    inward = unit(np.array([-out, 0.0, -0.75], np.float32))  # where the palm looks
    t = ramp(14)
    path = skel.wrist[side] + down * (0.088 * k * t - 0.006)
    wide = k * (0.023 + 0.016 * smooth(t, 0.0, 0.62)) * np.sqrt(1.0 - np.clip((t - 0.84) / 0.17, 0, 1) ** 2 + 1e-4)
    thick = k * (0.021 - 0.007 * t) * np.sqrt(1.0 - np.clip((t - 0.84) / 0.17, 0, 1) ** 2 + 1e-4)
    along = np.repeat(down[None], 14, 0)
    parts = [tube(path, along, thick, wide, around(19), broad)]
    for number, size in enumerate((0.92, 1.0, 0.94, 0.76)):
        across = 0.030 - 0.0195 * number
        root = skel.wrist[side] + down * (0.074 * k) + broad * (across * k)
        way = unit(down + broad * (0.10 - 0.075 * number))
        parts.append(_finger(root, way, inward * (0.55 + 0.16 * number), 0.074 * k * size, 0.0100 * k))
    root = skel.wrist[side] + down * (0.022 * k) + broad * (0.020 * k) + inward * (0.004 * k)
    way = unit(down * 0.80 + broad * 0.52 + inward * 0.22)
    parts.append(_finger(root, way, unit(down - 0.6 * broad) * 0.5, 0.064 * k, 0.0122 * k))
    return [patch(p, stack(0.0), "hands", "skin") for p in parts]


FOOT = np.array([
    (0.00, 0.001, 0.062), (0.01, 0.018, 0.068), (0.04, 0.030, 0.076), (0.14, 0.036, 0.084), (0.30, 0.036, 0.086),
    (0.46, 0.038, 0.074), (0.62, 0.044, 0.058), (0.76, 0.047, 0.048), (0.88, 0.042, 0.043), (0.95, 0.031, 0.037),
    (0.985, 0.018, 0.028), (1.00, 0.001, 0.012),
])  # fmt: skip
"""A shoe by the share of its length: half width and height in metres."""


def _last(skel: Skeleton, side: int) -> tuple[Array, Array, float]:
    """Where a shoe's heel stands (3,), its direction (3,), both on the ground, and its scale."""
    body = skel.body
    way = skel.toe[side] - skel.ankle[side]
    way = unit(np.array([way[0], 0.0, way[2]], np.float32))
    k = (0.55 + 0.45 * body.height / 1.7) * (1.05 - 0.10 * body.feminine)
    heel = skel.ankle[side] * np.array([1, 0, 1], np.float32) - way * (0.068 * k)
    return heel, way, k


def shoe(skel: Skeleton, side: int) -> list[Patch]:
    """A shoe on the ground: upper, sole, and a shaft for boots."""
    style, (heel, way, k) = skel.body.shoe_style, _last(skel, side)
    right = np.array([way[2], 0.0, -way[0]], np.float32)
    length, lift = 0.262 * k, {"sneaker": 0.024, "boot": 0.026, "loafer": 0.014}[style]
    t = 0.5 - 0.5 * np.cos(np.pi * ramp(26))
    wide, tall = (np.interp(t, FOOT[:, 0], FOOT[:, i]) * k for i in (1, 2))
    tall = tall + lift * 0.7 - (0.016 * k * bell(t - 0.2, 0.3) if style == "loafer" else 0.0)
    angle = around(27)
    cos, sin = np.cos(angle), np.sin(angle)
    up = np.where(cos > 0, tall * np.abs(cos) ** 0.80, 0.004) + 0.6 * lift
    across = wide * np.sign(sin) * np.abs(sin) ** 0.75
    place = heel + (t * length)[..., None] * way
    p = place + across[..., None] * right
    p[..., 1] = np.minimum(up, tall + 0.6 * lift)
    marks = stack(np.broadcast_to(t, p.shape[:2]), p[..., 1] / k, across / k)
    out = [patch(p, marks, "shoes", "shoe")]
    out.append(_sole(place, right, wide, t, lift, style))
    if style == "boot":
        out.append(_shaft(skel, side))
    return out


def _sole(place: Array, right: Array, wide: Array, t: Array, lift: float, style: str) -> Patch:
    """The sole under a shoe of half widths ``wide`` (R, 1): its rim and its upper edge."""
    angle = around(27)
    sin, cos = np.sin(angle), np.cos(angle)
    grow = (wide + 0.0055) * np.sign(sin) * np.abs(sin) ** 0.35
    grow[[0, -1]] = 0.0
    p = place + grow[..., None] * right
    heel_up = lift * (1.0 + 0.25 * (1.0 - smooth(t, 0.25, 0.5)) * (style != "sneaker"))
    p[..., 1] = np.where(cos > 0, heel_up * np.abs(cos) ** 0.25, 0.0)
    way = unit(place[-1] - place[0])
    p = p + (0.006 * (smooth(t, 0.9, 1.0) - smooth(-t, -0.1, 0.0)))[..., None] * way
    return patch(p, stack(t, p[..., 1]), "shoes", "sole")


def _shaft(skel: Skeleton, side: int) -> Patch:
    """The shaft of a boot around the ankle."""
    length = leg_length(skel, side)
    s = (length - 0.125) + 0.15 * ramp(14)
    radius = np.maximum(leg_radius(skel.body, s / length) + 0.011, 0.047)
    radius = radius + 0.003 * bell(s - length + 0.02, 0.012) - 0.002 * bell(s - length + 0.125, 0.008)
    p = leg_tube(skel, side, s, radius, around(23))
    return patch(p, stack(0.2, 0.2 + 0 * p[..., 1], 0.0), "shoes", "shoe", double=True)
