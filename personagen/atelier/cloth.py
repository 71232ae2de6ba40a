"""The look of a cloth at a point: patterns, plackets, zips, pockets, ribs and seams, in the cloth's own measures."""

from __future__ import annotations

import numpy as np

from ..vocabulary import COLOURS
from .drape import BODICE, CUTS
from .garment import GarmentSpec, waist
from .head import linear
from .surface import Array, bell


def cover(inside: Array, grain: float) -> Array:
    """Cover (N,) of what has the signed distance ``inside`` (m), its edge as soft as a sample is wide."""
    return np.clip(inside * (1.0 / grain) + 0.5, 0.0, 1.0)


def _cells(u: Array, v: Array, size: float) -> tuple[Array, Array, Array]:
    """Offsets from the centre of a staggered grid cell, and a number of the cell."""
    row = np.floor(v / size)
    col = u / size + 0.5 * (row % 2)
    at = np.floor(col)
    return (col - at - 0.5) * size, (v / size - row - 0.5) * size, at + 1.7 * row


def _bands(x: Array, period: float, share: float, grain: float) -> Array:
    """Cover (N,) of stripes, ``share`` of each ``period`` (m)."""
    off = np.abs((x / period) % 1.0 - 0.5) * period
    return cover(0.5 * share * period - off, grain)


def pattern_share(pattern: str, u: Array, v: Array, grain: float = 0.003) -> tuple[Array, Array]:
    """Share (N,) of the accent colour, and of the heart of a flower, at cloth coordinates in metres."""
    none = np.zeros_like(u)
    if pattern == "striped":
        return _bands(v, 0.084, 0.40, grain), none
    if pattern == "checked":
        return 0.5 * _bands(u, 0.100, 0.44, grain) + 0.5 * _bands(v, 0.100, 0.44, grain), none
    if pattern == "dotted":
        du, dv, _ = _cells(u, v, 0.074)
        return cover(0.0205 - np.sqrt(du * du + dv * dv), grain), none
    if pattern == "floral":
        du, dv, cell = _cells(u, v, 0.112)
        r, angle = np.sqrt(du * du + dv * dv), np.arctan2(dv, du) + cell * 1.3
        petals = cover(0.043 * (0.66 + 0.34 * np.cos(5.0 * angle)) - r, grain)
        return petals, cover(0.0125 - r, grain)
    return none, none


class _Trim:
    """A darkening (N,) that seams add to; widths in metres."""

    def __init__(self, n: int, grain: float) -> None:
        self.dark: Array = np.ones(n, np.float32)
        self.grain = grain

    def line(self, off: Array, width: float, depth: float, where: Array | float = 1.0) -> None:
        """A seam where ``off`` is 0; what is narrower than a sample is paler in turn."""
        half = max(0.5 * width, 0.25 * self.grain)
        self.dark = self.dark * (
            1.0 - depth * min(1.0, width / (2 * half)) * cover(half - np.abs(off), self.grain) * where
        )

    def area(self, inside: Array, factor: float) -> None:
        """Another shade where ``inside`` is positive."""
        self.dark = self.dark * (1.0 + (factor - 1.0) * cover(inside, self.grain))


def _trunk(trim: _Trim, spec: GarmentSpec, h: float, u: Array, v: Array, edge: Array) -> None:
    """Placket, zip, pockets, belt and hem of a top or a dress."""
    if CUTS[spec.kind].rib:
        _rib(trim, u, edge, CUTS[spec.kind].rib)
    else:
        trim.line(edge - 0.020, 0.004, 0.26)
    front = np.abs(u) < 0.30
    if spec.kind == "shirt":
        trim.line(u - 0.017, 0.004, 0.30)
        trim.line(u + 0.017, 0.003, 0.12)
        trim.dark = trim.dark * (
            1.0 - 0.62 * cover(0.0068 - np.hypot(u, ((v / 0.080) % 1.0 - 0.5) * 0.080), trim.grain)
        )
        box = np.maximum(np.abs(u - 0.080) - 0.040, np.abs(v - 0.705 * h) - 0.045)
        trim.line(box, 0.004, 0.30, u > 0)
        trim.line(np.maximum(np.abs(v - 0.705 * h - 0.032), np.abs(u - 0.080) - 0.040), 0.003, 0.2, u > 0)
    if spec.kind == "jacket":
        trim.line(u, 0.009, 0.62)
        trim.line(np.abs(u) - 0.016, 0.003, 0.28)
        slant = np.maximum(np.abs(v - 0.565 * h - 0.9 * (np.abs(u) - 0.125)), 1.2 * np.abs(np.abs(u) - 0.125) - 0.036)
        trim.line(slant, 0.010, 0.50, front)
        yoke = np.maximum(np.abs(v - 0.745 * h + 0.10 * np.abs(u)), np.abs(u) - 0.20)
        trim.line(yoke, 0.004, 0.26)
    if spec.region == "dress":
        trim.line(np.abs(v - BODICE * h) - 0.014, 0.004, 0.35)
        trim.area(0.014 - np.abs(v - BODICE * h), 0.86)


def _rib(trim: _Trim, u: Array, edge: Array, height: float) -> None:
    """A knitted band up to ``height`` over the edge."""
    inside = cover(height - edge, 0.004)
    fine = 0.5 + 0.5 * np.sin(u * (2 * np.pi / 0.011))
    fade = 1.0 if trim.grain < 0.004 else 0.35
    trim.dark = trim.dark * (1.0 - inside * (0.10 + 0.16 * fine * fade))
    trim.line(edge - height, 0.004, 0.30)


def _legs(trim: _Trim, spec: GarmentSpec, h: float, u: Array, v: Array, edge: Array) -> None:
    """Hem, waistband, fly and pockets of trousers."""
    trim.line(edge - (0.024 if spec.kind == "shorts" else 0.016), 0.004, 0.30)
    band, high = waist(h) - 0.036, v > 0.44 * h
    trim.line(v - band, 0.004, 0.36)
    trim.area(v - band, 0.93)
    trim.line(np.maximum(np.abs(u - 0.022), 0.495 * h - v), 0.003, 0.24, (v < band) & (u > 0))
    trim.line(np.maximum(np.abs(u), 0.452 * h - v), 0.004, 0.34, v < band)
    trim.dark = trim.dark * (1.0 - 0.6 * cover(0.007 - np.hypot(u, v - band - 0.018), trim.grain))
    slant = np.maximum(np.abs(v - 0.548 * h - 1.15 * (np.abs(u) - 0.132)), np.abs(np.abs(u) - 0.132) - 0.028)
    trim.line(slant, 0.005, 0.42, high)
    loops = np.maximum(np.abs(np.abs(u) - 0.078) - 0.006, np.abs(v - band - 0.018) - 0.018)
    trim.line(loops, 0.003, 0.25, high)


def trim_of(spec: GarmentSpec, zone: str, h: float, marks: Array, grain: float) -> Array:
    """Darkening (N,) by seams and edges in ``zone`` of a garment at ``marks`` (N, 4): u, v, from the edge, relief."""
    u, v, edge, relief = marks.T
    trim, cut = _Trim(len(u), grain), CUTS[spec.kind]
    if zone == "trunk":
        _trunk(trim, spec, h, u, v, edge)
    elif zone == "sleeve" and spec.sleeve > 0.5:
        if cut.rib:
            _rib(trim, u, edge, cut.rib)
        else:
            trim.line(edge - 0.055, 0.004, 0.32 if spec.kind == "shirt" else 0.0)
            trim.line(edge - 0.006, 0.003, 0.22)
    elif zone == "sleeve":
        trim.line(edge - 0.018, 0.004, 0.28)
    elif zone == "legs":
        _legs(trim, spec, h, u, v, edge)
    elif zone == "skirt":
        trim.line(v - waist(h) + 0.034, 0.004, 0.36)
        trim.area(v - waist(h) + 0.034, 0.92)
        trim.line(edge - 0.024, 0.004, 0.28)
    elif zone == "collar":
        trim.line(edge - 0.86, 0.05, 0.14)
        trim.area(0.36 - edge, 0.82)
    elif zone == "band" and spec.kind in ("t-shirt", "sweater"):
        trim.dark = trim.dark * (0.90 + 0.08 * np.sin(u * (2 * np.pi / 0.009)) * (grain < 0.004))
    return trim.dark * (1.0 + np.clip(42.0 * relief, -0.20, 0.08))


def cloth_colour(spec: GarmentSpec, zone: str, height: float, marks: Array, grain: float) -> Array:
    """Linear albedo (N, 3) of a garment at ``marks`` (N, 4) of its ``zone``; ``grain``: a sample's width in metres."""
    u, v = marks[:, 0], marks[:, 1]
    base, second = linear(COLOURS[spec.colour]), linear(COLOURS[spec.accent])
    colour = np.broadcast_to(base, (len(u), 3))
    if spec.pattern != "plain" and zone != "band":
        accent, heart = pattern_share(spec.pattern, u, v, grain)
        middle = linear(COLOURS["yellow" if spec.accent != "yellow" else "red"])
        colour = base + (second - base) * accent[:, None]
        colour = colour + (middle - colour) * heart[:, None]
    weave = 1.0
    if spec.kind == "sweater" and grain < 0.005:
        weave = 1.0 + 0.05 * np.sin(v * 720.0 + 1.6 * np.sin(u * 520.0)) * bell(np.float32(grain), 0.004)
    return colour * (trim_of(spec, zone, height, marks, grain) * weave)[:, None]
