"""What a rendered picture is called: one grammar for training captions, catalogues and the prompts of the stylist."""

from __future__ import annotations

from ..vocabulary import SCENE_PHRASE
from .garment import GarmentSpec

TOP_TO_BOTTOM = {"upper": 0, "dress": 0, "lower": 1}


def person_caption(outfit: tuple[GarmentSpec, ...], scene: str) -> str:
    """``a person wearing a red striped t-shirt and blue trousers on a beach``: from top to bottom, then the scene."""
    garments = sorted(outfit, key=lambda g: TOP_TO_BOTTOM[g.region])
    return f"a person wearing {' and '.join(g.phrase() for g in garments)} {SCENE_PHRASE[scene]}"
