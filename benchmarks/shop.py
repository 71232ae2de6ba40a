"""Held-out garment photos of shops, by the region they cover, and draws of two that differ in colour."""

from pathlib import Path

import numpy as np

from personagen.corpora.photos import garment_photos, is_heldout
from personagen.images import load_image
from personagen.metrics.fidelity import colour_distance, garment_region
from personagen.person.parser import Parser
from personagen.vocabulary import REGION
from personagen.warping.cutout import garment_on_white

Shelf = dict[str, list[tuple[str, str, Path]]]
"""Garment photos by region: label, kind and file."""


def shop_garments(images: Path) -> Shelf:
    """Held-out garment photos of adults by the region they cover: their label, kind and file."""
    shelf: Shelf = {"upper": [], "lower": [], "dress": []}
    for file, kind, entry in garment_photos(images):
        if is_heldout(f"sender/{entry['sender_id']}"):
            shelf[REGION[kind]].append((entry["label"], kind, file))
    return shelf


Worn = tuple[str, str, np.ndarray]


def two_garments(shelf: list[tuple[str, str, Path]], rng: np.random.Generator, parse: Parser) -> tuple[Worn, Worn, int]:
    """Draw two of unlike colours: label, kind and picture on white (H, W, 3) of each; and how many could not be cut
    out, which the command would say, and were drawn again."""
    uncut, garments = 0, []
    while len(garments) < 2:
        label, kind, file = shelf[int(rng.integers(len(shelf)))]
        picture, done = garment_on_white(load_image(file), size=(768, 576), parser=parse, kind=kind)
        uncut += not done
        garment = np.asarray(picture)
        colours = garment[garment_region(garment)]
        if done and all(colour_distance(colours, other[garment_region(other)]) > 10 for *_, other in garments):
            garments.append((label, kind, garment))
    return garments[0], garments[1], uncut
