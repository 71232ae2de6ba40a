"""What of a person must never change, by true body parts: for masks (tryon.py) and for results (pictures.py)."""

import numpy as np

from personagen.images import erode
from personagen.person.parts import Part, split_skin

SEAM = 0.005
"""Of the photo's height: how far along their edges the true parts themselves waver."""


def identity_of(true: np.ndarray) -> dict[str, np.ndarray]:
    """Head, hands and feet by the true parts (H, W): bool (H, W) each."""
    _, hands, _, face = split_skin(true)
    return {"head": face | (true == Part.HEAD), "hands": hands, "feet": true == Part.SHOES}


def core_of(part: np.ndarray) -> np.ndarray:
    """A part of the identity, bool (H, W), but for a seam along its edge."""
    seam = max(1, round(SEAM * part.shape[0]))
    return erode(part, up=seam, down=seam, side=seam)


def identity_kept(true: np.ndarray, before: np.ndarray, results: list[np.ndarray]) -> dict[str, float]:
    """Share of results (H, W, 3) of a photo in which not a pixel of the identity changed; core: but for its seams."""
    parts = identity_of(true).values()
    changed = [(before != after).any(-1) for after in results]
    kept = lambda where: float(np.mean([not (one & where).any() for one in changed]))
    return {"identity": kept(np.logical_or.reduce([*parts])),
            "identity_core": kept(np.logical_or.reduce([core_of(part) for part in parts]))}  # fmt: skip
