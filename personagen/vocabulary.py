"""The shared words: every kind, colour, pattern and scene that a picture can show and a caption can say."""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

KINDS: tuple[str, ...] = ("t-shirt", "shirt", "sweater", "jacket", "dress", "skirt", "trousers", "shorts")
"""Garment kinds, the vocabulary shared by captions, catalogues and masks."""

REGION: dict[str, str] = {
    "t-shirt": "upper",
    "shirt": "upper",
    "sweater": "upper",
    "jacket": "upper",
    "dress": "dress",
    "skirt": "lower",
    "trousers": "lower",
    "shorts": "lower",
}
"""The part of the body a kind covers: ``upper``, ``lower`` or ``dress`` (both)."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (34, 34, 38),
    "white": (243, 243, 240),
    "gray": (134, 136, 140),
    "beige": (222, 202, 166),
    "brown": (112, 70, 44),
    "red": (200, 32, 40),
    "orange": (238, 128, 34),
    "yellow": (244, 208, 62),
    "green": (44, 130, 62),
    "teal": (30, 150, 152),
    "blue": (40, 84, 196),
    "purple": (118, 54, 156),
    "pink": (240, 146, 178),
}
"""CSS colour names and the sRGB value (0-255) of the cloth dyed in that colour."""

PATTERNS: tuple[str, ...] = ("plain", "striped", "checked", "dotted", "floral")

SCENES: tuple[str, ...] = ("studio", "street", "beach", "park", "snow", "night city")

SCENE_PHRASE: dict[str, str] = {
    "studio": "in a studio",
    "street": "on a street",
    "beach": "on a beach",
    "park": "in a park",
    "snow": "in the snow",
    "night city": "in a city at night",
}

SCENE_ALONE: dict[str, str] = {
    "studio": "an empty studio",
    "street": "an empty street",
    "beach": "an empty beach",
    "park": "an empty park",
    "snow": "an empty field in the snow",
    "night city": "an empty city at night",
}
"""How a scene is said in which nobody stands."""

PLURAL: frozenset[str] = frozenset({"trousers", "shorts"})
"""Kinds that take no article in a caption."""

LABELS: tuple[str, ...] = (
    "background",
    "hair",
    "face",
    "arms",
    "hands",
    "legs",
    "shoes",
    "upper",
    "lower",
    "dress",
    "outer",
)
"""Names of the values in a label map, in order; ``outer`` is a jacket."""

GarmentPart = IntEnum(
    "GarmentPart",
    "BACKGROUND TRUNK LEFT_SLEEVE RIGHT_SLEEVE COLLAR HOOD WAISTBAND LEFT_LEG RIGHT_LEG LINING",
    start=0,
)
"""What a pixel of a garment's photo shows. Left and right are the picture's, where the garment lies with its front up;
a sleeve that is laid across stays what it is. LINING is the inside of the back, seen through the neckline."""


def noun_phrase(kind: str, colour: str, pattern: str = "plain") -> str:
    """Say a garment: ``a red striped t-shirt``, ``blue trousers``; the pattern is left unsaid when plain."""
    words = " ".join(w for w in (colour, "" if pattern == "plain" else pattern, kind) if w)
    article = "an" if words[0] in "aeiou" else "a"
    return words if kind in PLURAL else f"{article} {words}"


SHOP_LABELS = {
    "jacket": "blazer outwear outerwear coat",
    "shirt": "blouse",
    "sweater": "longsleeve hoodie jumper sweatshirt cardigan",
    "t-shirt": "polo body top undershirt tee tshirt",
    "trousers": "pants jeans leggings",
}


KIND_OF_LABEL: Mapping[str, str] = MappingProxyType(
    {label: kind for kind, labels in SHOP_LABELS.items() for label in labels.split()}
)
"""Shops' labels, in lower case, to the kinds of the captions; a label that is not here is its own kind."""


def counted(number: int, noun: str) -> str:
    """Say how many: ``1 picture``, ``2 pictures``, ``1,000 pairs``; nouns that take an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
