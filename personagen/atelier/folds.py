"""The folds of a cloth as heights over its surface, in metres: where it is pulled, pressed together, or hangs free."""

from __future__ import annotations

import numpy as np

from .body import Skeleton
from .garment import GarmentSpec
from .limbs import arm_length, leg_length
from .surface import Array, bell, smooth

STIFF = {"sweater": 1.15, "jacket": 1.1, "t-shirt": 0.9, "shirt": 1.0, "dress": 0.8}


def ridge(phase: Array) -> Array:
    """Rounded ridges between narrower valleys, from -1 to 1, a period of 2 pi."""
    c = np.cos(phase)
    return c + 0.30 * (c * c - 0.5)


def phases(spec: GarmentSpec) -> tuple[float, float, float]:
    """Three angles that differ from garment to garment."""
    return (spec.seed % 97) * 0.13, (spec.seed % 31) * 0.41, (spec.seed % 53) * 0.23


def trunk(spec: GarmentSpec, skel: Skeleton, p: Array, angle: Array, y0: float) -> Array:
    """Folds (R, C) on the trunk of a top or a dress at its points (R, C, 3), standing straight."""
    h, s = skel.body.height, skel.body.shoulder
    a, b, c = phases(spec)
    x, y = p[..., 0], p[..., 1]
    ax = np.abs(x)
    pull = ridge((0.62 * ax + y) * (2 * np.pi / 0.085) + a) * bell(ax - 0.72 * s, 0.065) * bell(y - 0.690 * h, 0.055)
    pressed = ridge((y + 0.40 * ax) * (2 * np.pi / 0.062) + 1.4 * np.sin(x * 17.0 + b)) * bell(y - 0.612 * h, 0.055)
    pressed = pressed * smooth(ax, 0.015, 0.11)
    long = np.sin(angle * 6.0 + 5.0 * y + c) * smooth(-y, -0.72 * h, -0.56 * h) * 0.7
    across = ridge((0.8 * x + y) * (2 * np.pi / 0.12) + b) * bell(y - 0.655 * h, 0.075) * 0.45
    relief = STIFF[spec.kind] * 0.0042 * (pull + pressed + long + across)
    if spec.region == "dress":
        return relief * smooth(y, 0.60 * h, 0.63 * h) + pleats(spec, y, angle, 0.62 * h, h)
    flutter = 0.0050 * np.sin(angle * 5.0 + a) * (1.0 - smooth(y, y0, y0 + 0.14))
    return relief + (flutter if spec.kind in ("t-shirt", "shirt") else 0.0)


def sleeve(spec: GarmentSpec, skel: Skeleton, side: int, s: Array, angle: Array, reach: float) -> Array:
    """Folds (R, C) on a sleeve at lengths ``s`` (R, 1) and angles (C,)."""
    a, b, c = phases(spec)
    elbow = skel.upper_arm
    inside = 0.55 + 0.45 * np.cos(angle + (0.6 if side else -0.6))
    rings = ridge(s * (2 * np.pi / 0.040) + 0.9 * np.sin(angle + a)) * bell(s - elbow, 0.060) * inside
    cuff = ridge(s * (2 * np.pi / 0.034) + 0.8 * np.sin(angle + b + side)) * bell(s - reach + 0.105, 0.050)
    twist = np.sin(angle * 2.0 + s * 26.0 + c + side) * smooth(s, 0.02, 0.10) * 0.55
    pit = ridge((s + 0.03 * angle * (-1 if side else 1)) * (2 * np.pi / 0.050) + c) * bell(s - 0.08, 0.05) * 0.6
    far = (reach > 0.6 * arm_length(skel)) * cuff
    calm = smooth(reach - s, 0.0, 0.07 if reach > elbow else 0.02)
    return STIFF[spec.kind] * 0.0031 * (rings + far + twist + pit) * calm


def pleats(spec: GarmentSpec, y: Array, angle: Array, top: float, height: float) -> Array:
    """Folds (R, C) of a skirt that deepen from its waist at ``top`` (m) down."""
    a, b, _ = phases(spec)
    down = np.clip((top - y) / (top - 0.2 * height), 0.0, 1.2)
    count = 8 + spec.seed % 5
    wave = angle * count + a + 0.9 * np.sin(angle * 2.0 + b) + 0.5 * np.sin(down * 2.0 + b)
    fine = ridge(angle * (2 * count + 3) + b) * bell(down - 0.10, 0.12) * 0.12
    return 0.0150 * (0.30 + 0.9 * spec.flare) * (down**0.8 * ridge(wave) * 0.8 + fine)


def seat(spec: GarmentSpec, skel: Skeleton, p: Array) -> Array:
    """Folds (R, C) that spread from the crotch over the seat of trousers."""
    h, (a, _, _) = skel.body.height, phases(spec)
    x, y = p[..., 0], p[..., 1]
    ax = np.abs(x)
    fan = ridge((y - 0.75 * ax) * (2 * np.pi / 0.048) + 0.4 * np.sin(a + 9.0 * x))
    return 0.0036 * fan * bell(y - 0.478 * h, 0.030) * bell(ax - 0.070, 0.060)


def leg(spec: GarmentSpec, skel: Skeleton, side: int, s: Array, angle: Array, end: float) -> Array:
    """Folds (R, C) on a trouser leg at lengths ``s`` (R, 1) and angles (C,)."""
    a, b, c = phases(spec)
    knee = 0.49 * leg_length(skel, side)
    ring = ridge(s * (2 * np.pi / 0.055) + 0.9 * np.sin(angle + a + side)) * bell(s - knee, 0.070) * 0.85
    inner = 0.5 - 0.5 * np.sin(angle) * (1 if side else -1)
    fan = ridge((s + 0.045 * np.abs(angle)) * (2 * np.pi / 0.052) + b) * bell(s - 0.075, 0.05) * inner
    low = ridge(s * (2 * np.pi / 0.046) + 1.3 * np.sin(angle + c + 2 * side)) * bell(s - end + 0.065, 0.055)
    long = np.sin(angle * 2.0 + s * 7.0 + a + side) * 0.4
    if spec.kind == "shorts":
        return 0.0040 * (0.8 * fan + long + np.sin(angle * 4.0 + a) * smooth(s, 0.5 * end, end))
    return 0.0042 * (ring + 0.8 * fan + 1.1 * low + long) * smooth(end - s, 0.0, 0.02)
