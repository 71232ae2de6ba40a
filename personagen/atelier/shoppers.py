"""Simulated shoppers: a latent taste over kind, colour, pattern and scene that drifts, and the purchases it causes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..vocabulary import COLOURS, KINDS, PATTERNS, SCENES
from .body import Body, random_body
from .garment import GarmentSpec, random_garment

ASPECTS: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "colour": tuple(COLOURS),
    "pattern": PATTERNS,
    "scene": SCENES,
}
"""What a taste is about, and the words it weighs."""

SHARPNESS = {"kind": 5.0, "colour": 7.0, "pattern": 4.5, "scene": 5.0}
DRIFT = 0.10


@dataclass(frozen=True)
class Shopper:
    """A person with a history of item ids (oldest first), the taste behind its last step, and the purchase held out."""

    history: np.ndarray
    target: int
    taste: dict[str, dict[str, float]]
    body: Body
    seed: int

    def favourite(self, aspect: str) -> str:
        """The word of ``aspect`` (kind, colour, pattern, scene) that this shopper likes best."""
        return max(self.taste[aspect], key=self.taste[aspect].__getitem__)


def catalogue(n: int = 300, *, seed: int = 0) -> tuple[GarmentSpec, ...]:
    """``n`` different garments; item ids are 1 + the position. Each is for a scene, as shops say "beachwear"."""
    rng = np.random.default_rng(seed)
    kinds = [KINDS[i % len(KINDS)] for i in range(n)]
    rng.shuffle(kinds)
    out, seen = [], set()
    for kind in kinds:
        while True:
            spec = random_garment(rng, kind)
            spec = replace(spec, scene=str(rng.choice(SCENES)))
            key = (spec.kind, spec.colour, spec.pattern)
            if key not in seen or n > 500:
                break
        seen.add(key)
        out.append(spec)
    return tuple(out)


def _one_hot(items: tuple[GarmentSpec, ...]) -> dict[str, np.ndarray]:
    """For each aspect the index (n,) of the word that each item carries."""
    return {a: np.array([words.index(g.attributes[a]) for g in items]) for a, words in ASPECTS.items()}


def _draw_taste(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A taste: for each aspect a direction, sharpened; one or two words stand out in each."""
    return {a: SHARPNESS[a] * rng.standard_normal(len(words)) / 2.0 for a, words in ASPECTS.items()}


def base_popularity(n: int) -> np.ndarray:
    """What everybody adds to the utility of each of ``n`` items, whatever their taste: (n,)."""
    return 0.35 * np.random.default_rng(0).standard_normal(n)


def purchase_odds(taste: dict[str, np.ndarray], index: dict[str, np.ndarray], popularity: np.ndarray) -> np.ndarray:
    """Probability (n,) of each item as the next purchase: softmax of taste plus popularity."""
    utility = popularity + sum(taste[a][index[a]] for a in ASPECTS)
    odds = np.exp(utility - utility.max())
    return odds / odds.sum()


def simulate(
    n_users: int, *, seed: int, items: tuple[GarmentSpec, ...], length: tuple[int, int] = (8, 16)
) -> list[Shopper]:
    """Simulate ``n_users`` shoppers over the catalogue ``items``; nobody buys the same item twice.

    Tastes drift by a random walk. The last purchase is held out as ``target``. Popularity is the same for all seeds.
    """
    index = _one_hot(items)
    popularity = base_popularity(len(items))
    out = []
    for user in range(n_users):
        rng = np.random.default_rng((seed, user))
        taste = _draw_taste(rng)
        previous = taste
        bought: list[int] = []
        for _ in range(int(rng.integers(length[0], length[1] + 1)) + 1):
            odds = purchase_odds(taste, index, popularity)
            odds[bought] = 0.0
            bought.append(int(rng.choice(len(items), p=odds / odds.sum())))
            previous = taste
            taste = {
                a: np.sqrt(1 - DRIFT**2) * t + DRIFT * SHARPNESS[a] / 2 * rng.standard_normal(len(t))
                for a, t in taste.items()
            }
        words = {a: {w: float(v) for w, v in zip(ASPECTS[a], previous[a], strict=True)} for a in ASPECTS}
        ids = np.array(bought, np.int64) + 1
        out.append(Shopper(ids[:-1], int(ids[-1]), words, random_body(rng), int(rng.integers(1 << 30))))
    return out
