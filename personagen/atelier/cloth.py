"""The look of a cloth at a point: patterns, plackets, zips, pockets, ribs and seams, all in body coordinates."""

from __future__ import annotations

import numpy as np

from ..vocabulary import COLOURS
from .body import Parts, Skeleton
from .garment import GarmentSpec, hem, waist
from .sdf import Points


def linear(rgb: tuple[int, int, int]) -> np.ndarray:
    """sRGB 0-255 to linear light (3,)."""
    return ((np.array(rgb, np.float32) / 255.0) ** 2.2).astype(np.float32)


def cloth_coordinates(spec: GarmentSpec, skel: Skeleton, parts: Parts, p: Points) -> tuple[np.ndarray, np.ndarray]:
    """Pattern coordinates (u, v), each (N,), in metres: around and down the trunk, across and along a sleeve or leg."""
    u = np.arctan2(p.x, p.z + 0.12) * 0.22
    v = p.y.copy()
    if spec.region != "lower" and spec.sleeve > 0.0:
        for i in range(2):
            arm = np.minimum(parts.upper_arm[i], parts.forearm[i]) < parts.torso - 0.012
            axis = skel.elbow[i] - skel.shoulder[i]
            axis = axis / np.linalg.norm(axis)
            rx, ry = p.x - skel.shoulder[i][0], p.y - skel.shoulder[i][1]
            along = np.where(parts.along_fore[i] > 0, skel.upper_arm + parts.along_fore[i], parts.along_upper[i])
            u = np.where(arm, rx * -axis[1] + ry * axis[0], u)
            v = np.where(arm, skel.shoulder[i][1] - along, v)
    return u, v


def _cells(u: np.ndarray, v: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets from the centre of a staggered grid cell, and the cell's parity."""
    row = np.floor(v / size)
    col = u / size + 0.5 * (row % 2)
    return (col - np.floor(col) - 0.5) * size, (v / size - row - 0.5) * size, (np.floor(col) + row) % 2


def pattern_share(pattern: str, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share (N,) of the accent colour, and of the dark centre of a flower, at pattern coordinates in metres."""
    none = np.zeros_like(u)
    if pattern == "striped":
        return ((v / 0.088) % 1.0 < 0.36).astype(np.float32), none
    if pattern == "checked":
        a, b = (u / 0.105) % 1.0 < 0.42, (v / 0.105) % 1.0 < 0.42
        return 0.5 * a + 0.5 * b.astype(np.float32), none
    if pattern == "dotted":
        du, dv, _ = _cells(u, v, 0.078)
        return (du * du + dv * dv < 0.021**2).astype(np.float32), none
    if pattern == "floral":
        du, dv, parity = _cells(u, v, 0.120)
        r, angle = np.sqrt(du * du + dv * dv), np.arctan2(dv, du) + parity * 0.6
        petals = r < 0.043 * (0.62 + 0.38 * np.cos(5.0 * angle))
        return petals.astype(np.float32), (r < 0.012).astype(np.float32)
    return none, none


def _trim(spec: GarmentSpec, skel: Skeleton, parts: Parts, p: Points, u: np.ndarray) -> np.ndarray:
    """A darkening factor (N,) for seams, plackets, buttons, zips, pockets, belts and ribs."""
    h, y0 = skel.body.height, hem(spec, skel.body.height)
    front = p.z > -0.01
    dark = np.ones_like(u)
    dark = np.where(np.abs(p.y - y0 - 0.022) < 0.0035, 0.72, dark)
    if spec.kind == "shirt":
        line = front & (np.abs(np.abs(p.x) - 0.016) < 0.003) & (p.y < 0.84 * h)
        dark = np.where(line, 0.70, dark)
        beat = (p.y / 0.075) % 1.0 - 0.5
        dark = np.where(front & (p.x**2 + (beat * 0.075) ** 2 < 0.0075**2) & (p.y < 0.84 * h), 0.40, dark)
    if spec.kind == "jacket":
        dark = np.where(front & (np.abs(p.x) < 0.006), 0.35, dark)
        pocket = (
            front & (np.abs(p.y - 0.555 * h + 0.35 * (np.abs(p.x) - 0.1)) < 0.006) & (np.abs(np.abs(p.x) - 0.1) < 0.035)
        )
        dark = np.where(pocket, 0.45, dark)
        dark = np.where(p.y < y0 + 0.045, dark * 0.82, dark)
    if spec.kind == "sweater":
        rib = (p.y < y0 + 0.05) & (np.sin(p.x * 420.0) > 0.2)
        dark = np.where(rib, 0.82, dark)
    if spec.kind in ("trousers", "shorts"):
        dark = np.where(p.y > waist(h) - 0.032, 0.80, dark)
        dark = np.where(front & (np.abs(p.x) < 0.0045) & (p.y > 0.485 * h), 0.68, dark)
        pocket = np.abs(p.y - 0.545 * h - 0.9 * (np.abs(p.x) - 0.11)) < 0.005
        dark = np.where(front & pocket & (np.abs(p.x) > 0.085), 0.62, dark)
    if spec.kind in ("skirt", "dress"):
        band = waist(h) - 0.014 if spec.kind == "skirt" else 0.617 * h
        dark = np.where(np.abs(p.y - band) < 0.013, 0.78, dark)
    if spec.region != "lower" and spec.sleeve > 0.5:
        reach = spec.sleeve * (skel.upper_arm + skel.forearm) - skel.upper_arm
        for i in range(2):
            cuff = (parts.along_fore[i] > reach - 0.035) & (parts.forearm[i] < 0.07)
            dark = np.where(cuff, np.minimum(dark, 0.80), dark)
    return dark


def cloth_colour(spec: GarmentSpec, skel: Skeleton, parts: Parts, p: Points) -> np.ndarray:
    """Linear albedo (N, 3) of the garment at points on its surface."""
    u, v = cloth_coordinates(spec, skel, parts, p)
    accent, heart = pattern_share(spec.pattern, u, v)
    base, second = linear(COLOURS[spec.colour]), linear(COLOURS[spec.accent])
    middle = linear(COLOURS["yellow" if spec.accent != "yellow" else "red"])
    colour = base + (second - base) * accent[:, None]
    colour = colour + (middle - colour) * heart[:, None]
    weave = 1.0 + 0.05 * np.sin(p.y * 900.0) * (spec.kind == "sweater")
    return colour * (_trim(spec, skel, parts, p, u) * weave)[:, None]
