"""Body parts of a photographed person, and the skin among them told apart by place."""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np

from recsys.errors import ConfigError, DataError

from ..images import pieces
from ..vocabulary import REGION

REGIONS = ("upper", "lower", "dress", "outer")
"""What a mask can be for: a top, trousers or a skirt, both, or a coat, which hangs over the hips."""


Skin = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Arms, hands, legs and head, as `split_skin` tells them apart; bool (H, W) each."""


def region_of(kind: str) -> str:
    """Return the region of a garment's kind, or of a region's own name.

    Raises:
        ConfigError: another word.
    """
    if kind not in REGION and kind not in REGIONS:
        raise ConfigError(f"kind {kind!r} is unknown; use one of {sorted({*REGIONS, *REGION})}")
    return REGION.get(kind, kind)


class Part(IntEnum):
    """Body parts that a parsing is merged into."""

    BACKGROUND = 0
    HEAD = 1  # hair, hat, glasses, earrings: never repainted
    SKIN = 2
    UPPER = 3
    LOWER = 4
    DRESS = 5
    OUTER = 6
    LEGWEAR = 7  # stockings, tights, socks: repainted with the legs
    SHOES = 8
    CARRIED = 9  # bags, scarves, jewellery: never repainted


ENCLOSED, SMALL = 0.9, 0.012
"""Share of its border at which garments enclose a piece, and its largest share of the person: a print, not a bag."""
SHIN, GAP, COVERED = 0.3, 0.01, 0.5
"""Shares of a person's height: above the feet that no hand reaches, and how far cloth may lie from skin that comes out
of it; and share of the skin's columns in which it does."""
SPECK = 0.0001
"""Largest piece of skin that is no hand, in squares of a person's height."""
CLOTHES = (Part.UPPER, Part.LOWER, Part.DRESS, Part.OUTER)
"""Parts that are garments."""

_CCP = {
    Part.HEAD: "hair hat glasses sunglasses earrings",
    Part.SKIN: "skin",
    Part.UPPER: "blouse bodysuit bra hoodie jumper necklace shirt sweater sweatshirt swimwear t-shirt tie top vest",
    Part.LOWER: "jeans pants shorts skirt belt panties",
    Part.DRESS: "dress romper",
    Part.OUTER: "blazer cape cardigan coat jacket suit",
    Part.LEGWEAR: "leggings socks stockings tights",
    Part.SHOES: "boots clogs flats heels loafers pumps sandals shoes sneakers wedges",
    Part.CARRIED: "accessories bag bracelet gloves purse ring scarf wallet watch",
}


PART_OF_CCP = {name: part for part, names in _CCP.items() for name in names.split()}


def parts_from_parsing(parsing: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Merge a Clothing Co-Parsing label map (H, W) into `Part` values (H, W) uint8.

    labels: the label names by index (`labels.json`).

    Raises:
        DataError: a pixel's value has no name.
    """
    if parsing.ndim != 2 or int(parsing.max(initial=0)) >= len(labels):
        raise DataError(
            f"a parsing {parsing.shape} with values up to {parsing.max(initial=0)} must be (H, W) below {len(labels)}"
        )
    return np.array([PART_OF_CCP.get(name, Part.BACKGROUND) for name in labels], dtype=np.uint8)[parsing]


def with_prints(parts: np.ndarray) -> np.ndarray:
    """Give small pieces that one garment encloses to it: prints and badges are parsed as bags, hair or background.

    parts (H, W) uint8; what touches skin, such as a phone in a hand, stays what it is.
    """
    step = max(1, round(max(parts.shape) / 400))
    small = parts[step // 2 :: step, step // 2 :: step]
    found, most = parts, SMALL * (small != Part.BACKGROUND).sum()
    for part in (Part.BACKGROUND, Part.HEAD, Part.CARRIED, *CLOTHES):
        for rows, columns in pieces(small == part):
            if rows.size > most:
                continue
            owner = _owner(small, part, rows, columns)
            if owner is not None:
                found = found.copy() if found is parts else found
                box = (slice(max(0, (rows.min() - 1) * step), (rows.max() + 2) * step),
                       slice(max(0, (columns.min() - 1) * step), (columns.max() + 2) * step))  # fmt: skip
                window = found[box]
                window[window == part] = owner
    return found


def _owner(parts: np.ndarray, part: Part, rows: np.ndarray, columns: np.ndarray) -> Part | None:
    """The garment that encloses a piece, given by its rows and columns; None where none does."""
    around = [(rows + down, columns + aside) for down, aside in ((-1, 0), (1, 0), (0, -1), (0, 1))]
    y, x = (np.concatenate(side) for side in zip(*around, strict=True))
    inside = (y >= 0) & (x >= 0) & (y < parts.shape[0]) & (x < parts.shape[1])
    if not inside.all():
        return None
    near = parts[y, x]
    near = near[near != part]
    if not near.size or (near == Part.SKIN).any():
        return None
    owner = Part(int(np.bincount(near).argmax()))
    return owner if owner in CLOTHES and (near == owner).mean() >= ENCLOSED else None


def split_skin(parts: np.ndarray) -> Skin:
    """Tell (arms, hands, legs, head) apart in the skin of one standing person; bool (H, W) each, disjoint.

    Bare feet, which are never repainted either, are among the hands.
    """
    height = parts.shape[0]
    skin, person = parts == Part.SKIN, parts != Part.BACKGROUND
    clothes = np.isin(parts, (Part.UPPER, Part.OUTER, Part.DRESS))
    collar, hem = _collar(clothes), _hem(np.isin(parts, (Part.LOWER, Part.DRESS)), height)
    row = np.arange(height)[:, None]
    head = skin & (row < collar)
    arms, hands, legs = np.zeros_like(skin), np.zeros_like(skin), np.zeros_like(skin)
    tall = max(1, np.count_nonzero(person.any(1)))
    lowest = np.flatnonzero(person.any(1)).max(initial=0)
    columns = np.flatnonzero(clothes.any(0))
    middle = columns.mean() if columns.size else parts.shape[1] / 2
    low = np.isin(parts, (Part.LOWER, Part.DRESS, Part.LEGWEAR))
    for rows, cols in pieces(skin & ~head):
        long = rows.max() > lowest - SHIN * tall  # no hand hangs so low
        if rows.mean() > hem or (long and _out_of(rows, cols, low, near=max(1, round(GAP * tall)))):
            feet = rows > lowest - 0.045 * tall
            hands[rows[feet], cols[feet]] = True
            legs[rows[~feet], cols[~feet]] = True
            continue
        reach = np.hypot(rows - min(collar, height), cols - middle)
        far = reach > reach.max() - 0.055 * tall
        # nothing but a hand shows below a long sleeve; what begins at the collar is a neckline
        size = rows.size / tall**2
        whole = SPECK < size < 0.0025 and reach.min() > 0.06 * tall
        end = (reach.max() > 0.25 * tall) & far | whole
        hands[rows[end], cols[end]] = True
        arms[rows[~end], cols[~end]] = True
    return arms, hands, legs, head


def _out_of(rows: np.ndarray, columns: np.ndarray, cloth: np.ndarray, *, near: int) -> bool:
    """Tell whether a piece of skin at rows and columns, (n,) each, comes out of cloth (H, W), whose hem may be lower
    elsewhere: cloth lies on most of it, and under little of it, within `near` rows."""
    first, last = np.full(cloth.shape[1], len(cloth)), np.full(cloth.shape[1], -1)
    np.minimum.at(first, columns, rows)
    np.maximum.at(last, columns, rows)
    own = np.flatnonzero(last >= 0)
    on = np.mean([cloth[max(0, first[at] - near) : first[at], at].any() for at in own])
    under = np.mean([cloth[last[at] + 1 : last[at] + 1 + near, at].any() for at in own])
    return bool(on > COVERED and under < 1 - COVERED)


def _collar(clothes: np.ndarray) -> int:
    """First row where the clothes have a quarter of their greatest width; skin above it is face and neck."""
    widths = clothes.sum(1)
    return int(np.argmax(widths >= max(1, widths.max() / 4))) if widths.any() else clothes.shape[0]


def _hem(garments: np.ndarray, height: int) -> int:
    rows = np.flatnonzero(garments.any(1))
    return int(rows[0] + 0.9 * (rows[-1] - rows[0])) if rows.size else round(0.6 * height)
