"""Garments as offset shells of the body and cones around it: what each kind is, and its distance field."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..vocabulary import COLOURS, KINDS, PATTERNS, REGION, noun_phrase
from .body import Parts, Skeleton
from .sdf import Points, ellipsoid, ring, smooth_min

EASE = {
    "t-shirt": 0.014,
    "shirt": 0.017,
    "sweater": 0.026,
    "jacket": 0.030,
    "dress": 0.012,
    "skirt": 0.014,
    "trousers": 0.014,
    "shorts": 0.020,
}
"""How far the cloth of each kind stands off the body, in metres."""

ACCENTS = ("white", "black", "yellow", "red", "teal", "beige")


@dataclass(frozen=True)
class GarmentSpec:
    """A garment: ``sleeve`` is the share of the arm covered, ``length`` the share of the kind's range of hems."""

    kind: str
    colour: str
    pattern: str = "plain"
    accent: str = "white"
    sleeve: float = 0.0
    length: float = 0.5
    neckline: str = "crew"
    flare: float = 0.5
    seed: int = 0
    scene: str = "studio"

    def __post_init__(self) -> None:
        for value, allowed, name in (
            (self.kind, KINDS, "kind"),
            (self.colour, COLOURS, "colour"),
            (self.pattern, PATTERNS, "pattern"),
            (self.accent, COLOURS, "accent"),
        ):
            if value not in allowed:
                raise ValueError(f"{name} {value!r} is not known; choose one of: {', '.join(allowed)}")

    @property
    def region(self) -> str:
        """The part of the body it covers: ``upper``, ``lower`` or ``dress``."""
        return REGION[self.kind]

    @property
    def attributes(self) -> dict[str, str]:
        """What a shop would write on the tag."""
        return {"kind": self.kind, "colour": self.colour, "pattern": self.pattern, "scene": self.scene}

    def phrase(self) -> str:
        """``a red striped t-shirt``."""
        return noun_phrase(self.kind, self.colour, self.pattern)

    def caption(self) -> str:
        """The caption of its product photo."""
        return f"a product photo of {self.phrase()}"


def contrasting(colour: str, rng: np.random.Generator) -> str:
    """An accent colour that stands out against ``colour`` in lightness or hue."""
    base = np.array(COLOURS[colour], float)
    good = [a for a in ACCENTS if np.linalg.norm(np.array(COLOURS[a], float) - base) > 150]
    return str(rng.choice(good or ["white"]))


def random_garment(rng: np.random.Generator, kind: str | None = None, *, plain: float = 0.4) -> GarmentSpec:
    """A garment with shape, colour and pattern drawn from ``rng``; ``plain`` is the chance of no pattern."""
    kind = kind or str(rng.choice(KINDS))
    colour = str(rng.choice(list(COLOURS)))
    pattern = "plain" if rng.random() < plain else str(rng.choice(PATTERNS[1:]))
    sleeve = {
        "t-shirt": rng.uniform(0.26, 0.42),
        "shirt": 0.97,
        "sweater": 0.97,
        "jacket": 0.98,
        "dress": float(rng.choice([0.0, 0.30, 0.97])),
    }.get(kind, 0.0)
    return GarmentSpec(
        kind=kind,
        colour=colour,
        pattern=pattern,
        accent=contrasting(colour, rng),
        sleeve=float(sleeve),
        length=float(rng.uniform(0.0, 1.0)),
        neckline=str(rng.choice(["crew", "v", "boat"])) if kind in ("t-shirt", "sweater", "dress") else "collar",
        flare=float(rng.uniform(0.1, 1.0)),
        seed=int(rng.integers(1 << 30)),
    )


def recolour(spec: GarmentSpec, colour: str, pattern: str, rng: np.random.Generator) -> GarmentSpec:
    """The same cut in another colour and pattern."""
    return replace(spec, colour=colour, pattern=pattern, accent=contrasting(colour, rng))


def hem(spec: GarmentSpec, height: float) -> float:
    """Height of the lower hem above the ground, in metres."""
    low, high = {
        "upper": (0.455, 0.520),
        "skirt": (0.20, 0.38),
        "dress": (0.20, 0.36),
        "shorts": (0.33, 0.40),
        "trousers": (0.050, 0.075),
    }["upper" if spec.region == "upper" else spec.kind]
    return height * (high + (low - high) * spec.length)


def waist(height: float) -> float:
    """Height of the waistband of lower garments above the ground, in metres."""
    return 0.585 * height


def _sleeves(spec: GarmentSpec, skel: Skeleton, parts: Parts, ease: float) -> np.ndarray | None:
    """Distance to both sleeves, open at the end that ``spec.sleeve`` sets; None without sleeves."""
    if spec.sleeve <= 0.0:
        return None
    reach = spec.sleeve * (skel.upper_arm + skel.forearm)
    out = None
    for i in range(2):
        wide = ease + (0.014 if spec.sleeve < 0.5 else 0.004)
        d = np.maximum(parts.upper_arm[i] - wide, parts.along_upper[i] - reach)
        if reach > skel.upper_arm:
            fore = np.maximum(parts.forearm[i] - ease - 0.006, parts.along_fore[i] - (reach - skel.upper_arm))
            d = smooth_min(d, fore, 0.03)
        out = d if out is None else np.minimum(out, d)
    return out


def _cut_neck(spec: GarmentSpec, skel: Skeleton, p: Points, d: np.ndarray) -> np.ndarray:
    """Open the neck: a round, wide or V-shaped hole; a collar adds a ring instead."""
    h = skel.body.height
    wide, deep = {"crew": (0.080, 0.092), "v": (0.078, 0.086), "boat": (0.122, 0.080), "collar": (0.062, 0.070)}[
        spec.neckline
    ]
    d = np.maximum(d, -ellipsoid(p, (0.0, 0.884 * h, 0.020), (wide, deep, 0.120)))
    if spec.neckline == "v":
        vee = 0.50 * (p.y - 0.770 * h) - np.abs(p.x)
        d = np.maximum(d, np.minimum(vee, p.z + 0.02) * 0.8)
    if spec.neckline == "collar":
        height, thick = (0.862, 0.016) if spec.kind == "shirt" else (0.868, 0.020)
        d = smooth_min(d, ring(p, height * h, 0.063, thick, 0.95, 0.35), 0.012)
    if spec.kind == "sweater" and spec.neckline == "crew":
        d = smooth_min(d, ring(p, 0.852 * h, 0.070, 0.014, 0.95, 0.35), 0.010)
    return d


def upper_distance(spec: GarmentSpec, skel: Skeleton, parts: Parts, p: Points) -> np.ndarray:
    """Return distances (N,) to a top or jacket: the trunk and arms, offset, cut at neck, hem and cuff."""
    h, ease = skel.body.height, EASE[spec.kind]
    y0 = hem(spec, h)
    loose = ease + 0.012 * np.clip((0.70 * h - p.y) * 5.0, 0.0, 1.0)
    d = parts.torso - loose
    seat = np.minimum(parts.thigh[0], parts.thigh[1]) - ease - 0.016
    d = smooth_min(d, seat, 0.07)
    sleeves = _sleeves(spec, skel, parts, ease)
    if sleeves is not None:
        d = smooth_min(d, sleeves, 0.035)
    d = _cut_neck(spec, skel, p, d)
    return np.maximum(d, y0 - p.y)


def cone_distance(spec: GarmentSpec, skel: Skeleton, p: Points, top: float) -> np.ndarray:
    """Return distances (N,) to a flared, pleated cone from the waist at ``top``, in metres, down to the hem."""
    body, h = skel.body, skel.body.height
    y0 = hem(spec, h)
    down = np.clip((top - p.y) / (top - 0.2 * h), 0.0, 1.2)
    hips = np.minimum(down * 4.0, 1.0)
    wide = (
        body.waist + 0.012 + (body.hip - body.waist + 0.022) * hips * (2.0 - hips) + (0.05 + 0.17 * spec.flare) * down
    )
    depth = 0.80 + 0.12 * np.minimum(down, 1.0)
    theta = np.arctan2(p.x, p.z)
    pleat = 0.013 * (0.35 + spec.flare) * down * np.sin(theta * (9 + spec.seed % 5) + spec.seed % 7)
    radial = np.sqrt(p.x * p.x + (p.z / depth) ** 2)
    d = (radial - wide - pleat) * 0.72
    return np.maximum(d, np.maximum(y0 - p.y, p.y - top))


def dress_distance(spec: GarmentSpec, skel: Skeleton, parts: Parts, p: Points) -> np.ndarray:
    """Return distances (N,) to a dress: a fitted bodice, with or without sleeves, blended into a flared skirt."""
    h, ease = skel.body.height, EASE["dress"]
    bodice = np.maximum(parts.torso - ease, 0.56 * h - p.y)
    if spec.sleeve <= 0.0:
        bodice = np.maximum(bodice, np.abs(p.x) - skel.body.shoulder * 0.80)
    sleeves = _sleeves(spec, skel, parts, ease)
    if sleeves is not None:
        bodice = smooth_min(bodice, sleeves, 0.035)
    bodice = _cut_neck(spec, skel, p, bodice)
    return smooth_min(bodice, cone_distance(spec, skel, p, 0.625 * h), 0.03)


def leg_distance(spec: GarmentSpec, skel: Skeleton, parts: Parts, p: Points) -> np.ndarray:
    """Return distances (N,) to trousers or shorts: hips and legs, offset, wider at the hem, cut at waist and hem."""
    h, ease = skel.body.height, EASE[spec.kind]
    y0, top = hem(spec, h), waist(h)
    loose = ease + (0.010 + 0.020 * spec.flare) * np.clip((0.45 * h - p.y) / (0.40 * h), 0.0, 1.0)
    legs = [smooth_min(t, s, 0.04) for t, s in zip(parts.thigh, parts.shin, strict=True)]
    d = np.minimum(legs[0], legs[1]) - loose
    d = smooth_min(d, parts.torso - ease, 0.05)
    return np.maximum(d, np.maximum(y0 - p.y, p.y - top))


def garment_distance(spec: GarmentSpec, skel: Skeleton, parts: Parts, p: Points) -> np.ndarray:
    """Distance (N,) from points to the garment as worn by the body of ``skel``, in metres."""
    if spec.region == "upper":
        return upper_distance(spec, skel, parts, p)
    if spec.kind == "dress":
        return dress_distance(spec, skel, parts, p)
    if spec.kind == "skirt":
        return cone_distance(spec, skel, p, waist(skel.body.height))
    return leg_distance(spec, skel, parts, p)


def fold_height(spec: GarmentSpec, skel: Skeleton, p: Points) -> np.ndarray:
    """Height (N,) in metres of the folds in the cloth: gathers at the waist, creases across sleeves and knees."""
    h = skel.body.height
    a, b = (spec.seed % 97) * 0.13, (spec.seed % 31) * 0.41
    soft = {"sweater": 0.6, "jacket": 0.9}.get(spec.kind, 1.0)
    long = np.sin(p.x * 38.0 + 9.0 * p.y + 2.0 * np.sin(p.y * 9.0 + a) + b)
    cross = np.sin(p.y * 55.0 + 26.0 * np.abs(p.x) + 2.5 * np.sin(p.x * 17.0 + b))
    centre = 0.62 * h if spec.region != "lower" else 0.30 * h
    near = np.exp(-(((p.y - centre) * 6.0) ** 2))
    return soft * (0.0022 * long * (0.35 + near) + 0.0016 * cross * near)
