"""Garments: what each kind is, how one is drawn by chance, and where it ends on the body."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..vocabulary import COLOURS, KINDS, PATTERNS, REGION, noun_phrase

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
    return 0.600 * height
