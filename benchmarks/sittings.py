"""Held-out sittings of the atelier: who is dressed, in what, and nineteen other garments to be told from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from personagen.atelier.corpus import HELDOUT_SEED, Sitting, random_sitting
from personagen.atelier.garment import GarmentSpec, random_garment
from personagen.atelier.render import Render, render_person
from personagen.vocabulary import COLOURS, KINDS, REGION

SIZE = (192, 144)


Case = tuple[Sitting, GarmentSpec, list[GarmentSpec]]


def worn_with(sitting: Sitting, garment: GarmentSpec) -> tuple[GarmentSpec, ...]:
    """The sitting's outfit with ``garment`` in place of what covers its region."""
    return tuple(g for g in sitting.outfit if g.region != garment.region) + (garment,)


def render_sitting(sitting: Sitting, outfit: tuple[GarmentSpec, ...]) -> Render:
    return render_person(sitting.body, outfit, sitting.scene, size=SIZE, camera=sitting.camera, seed=sitting.seed)


def draw_cases(n: int) -> list[Case]:
    """Held-out sittings, the garment to put on, and nineteen others of its region (the first is worn before)."""
    cases: list[Case] = []
    for seed in range(HELDOUT_SEED + 50_000, HELDOUT_SEED + 50_000 + n):
        sitting, rng = random_sitting(seed), np.random.default_rng(seed)
        garment = sitting.outfit[int(rng.integers(len(sitting.outfit)))]
        kinds = [k for k in KINDS if REGION[k] == garment.region]
        others = []
        for _ in range(19):
            other = random_garment(rng, str(rng.choice(kinds)))
            if (other.kind, other.colour, other.pattern) == (garment.kind, garment.colour, garment.pattern):
                other = replace(other, colour=str(rng.choice([c for c in COLOURS if c != garment.colour])))
            others.append(other)
        cases.append((sitting, garment, others))
    return cases
