"""Cut one garment out of a photo in which somebody wears it: of all that is worn, the kind asked for alone.

Hands, arms and bags before it hide little of it; that is completed from its own cloth.
"""

import numpy as np
from PIL import Image

from recsys.errors import DataError

from ..images import dilate, erode, pieces
from ..person.body import Body
from ..person.joints import Joint
from ..person.parts import Part, region_of
from .flatten import flattened, main_pieces
from .inpaint import complete

OWN = 0.01
"""Least share of head, skin and shoes in what is not background of a photo of a person."""
SURE = 0.4
"""Least sum of that share and the mean probability of the joints. All of 130 held-out street photos reach it, and one
of 330 photos of garments alone (`benchmarks/results/worn.json`)."""
LONGEST = 1400
"""Longest side in pixels at which a garment is cut out."""
LEAST = 0.03
"""Least share of the person of a garment that counts as worn."""
SMALL = 0.06
"""Least share of the person of what is left of a garment when it is cut out."""
INSET = 0.003
"""Of the photo's height: how far inside its edge cloth is cut, where colours are not mixed with what is beside it."""
GAP = 0.012
"""Of the photo's height: half the width of a gap, such as hair or a strap leaves, that is closed."""
HOLE = 0.02
"""Largest share of the cloth of a hole that is taken for something small before it."""
SHORT, LONG = 0.15, 0.5
"""Shares of the way from knee to ankle above which a hem is short, and below which it is long."""
WORDS = {
    Part.UPPER: "a top",
    Part.OUTER: "a jacket or coat",
    Part.DRESS: "a dress",
    Part.LOWER: "trousers, shorts or a skirt",
}


class NotWorn(DataError):
    """Somebody in a photo wears no garment of the kind that is asked for, or too little of it shows."""


class NoGarment(NotWorn):
    """A picture shows nothing that could be a garment."""


def shows_person(body: Body) -> bool:
    """Tell whether a photo shows somebody, by head, skin and shoes and by the joints; a garment alone has neither."""
    cloth = body.parts != Part.BACKGROUND
    if body.joints is None or not cloth.any():
        return False
    own = np.isin(body.parts, (Part.HEAD, Part.SKIN, Part.SHOES)).sum() / cloth.sum()
    return bool(own >= OWN and own + body.joints[:, 2].mean() >= SURE)


def worn_garment(photo: Image.Image, body: Body, kind: str) -> tuple[Image.Image, np.ndarray]:
    """Return a picture of the garment, laid flat where the joints serve (`flattened`), and its mask (h, w).

    What hides little of it is completed from its own cloth; large photos are made small.

    kind: a kind of the vocabulary or a region.

    Raises:
        NotWorn: no garment of this kind is worn; the message says what is.
        ConfigError: an unknown kind.
    """
    cloth = worn_mask(body, kind)
    scale = min(1.0, LONGEST / max(photo.size))
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    small = lambda mask: np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    photo, cloth = photo.convert("RGB").resize(size, Image.Resampling.LANCZOS), small(cloth)
    inset = max(1, round(INSET * size[1]))
    cloth = erode(main_pieces(cloth), up=2 * inset, down=2 * inset, side=2 * inset)
    cloth = dilate(main_pieces(cloth), up=inset, down=inset, side=inset)
    if cloth.sum() < SMALL * small(body.parts != Part.BACKGROUND).sum():
        raise NotWorn(f"the {kind} in this photo is small or hidden; give a photo that shows more of it")
    arms, hands, *_ = body.skin
    hidden = _hidden(cloth, small(arms | hands | (body.parts == Part.CARRIED)), small(body.parts == Part.HEAD))
    photo, cloth = complete(photo, cloth, hidden) or photo, cloth | hidden
    return _straightened(photo, cloth, kind, body.joints, scale) or (photo, cloth)


def _straightened(
    photo: Image.Image, cloth: np.ndarray, kind: str, joints: np.ndarray | None, scale: float
) -> tuple[Image.Image, np.ndarray] | None:
    """Lay a garment flat in a photo that was made small by `scale`; None where the joints do not serve."""
    return None if joints is None else flattened(photo, cloth, kind, joints * [scale, scale, 1.0])


def worn_mask(body: Body, kind: str) -> np.ndarray:
    """Mark the garment of a kind, or of a region, that a person wears: bool (H, W).

    Raises:
        NotWorn: none is worn; the message says what is.
        ConfigError: an unknown kind.
    """
    region = "outer" if kind == "jacket" else region_of(kind)
    least = LEAST * (body.parts != Part.BACKGROUND).sum()
    area = {part: int((body.parts == part).sum()) for part in WORDS}
    worn = [part for part in WORDS if area[part] >= least]
    found = _part(body.parts, kind, region, area, worn)
    wrong = None if found is None or region != "lower" else _other_length(body, found, kind)
    if found is None or wrong is not None:
        seen = [WORDS[part] for part in worn if part is not Part.LOWER or wrong is None] + ([wrong] if wrong else [])
        listed = " and ".join(seen) or "nothing that can be cut out"
        raise NotWorn(f"the person in this photo wears {listed}, no {kind}; name another kind, or give a photo of the "
                      "garment alone")  # fmt: skip
    return found


def _part(parts: np.ndarray, kind: str, region: str, area: dict[Part, int], worn: list[Part]) -> np.ndarray | None:
    """Choose the parts (H, W) of a garment among those that are worn; None where there are none.

    A dress below a top is a skirt, one above trousers is a long top: a parser sees little difference.
    """
    rows = lambda part: np.nonzero(parts == part)[0].mean()
    tops = [part for part in (Part.UPPER, Part.OUTER) if part in worn]
    if region == "outer":
        chosen = Part.OUTER if Part.OUTER in worn else None
    elif region == "dress":
        chosen = Part.DRESS if Part.DRESS in worn else None
    elif region == "lower":
        skirt = Part.DRESS in worn and tops and np.flatnonzero((parts == Part.DRESS).any(1))[0] > rows(tops[0])
        if skirt and kind in ("skirt", "lower"):
            return np.isin(parts, (Part.LOWER, Part.DRESS))
        chosen = Part.LOWER if Part.LOWER in worn else None
    elif kind == "upper":
        chosen = max(tops, key=area.__getitem__) if tops else None
    else:
        chosen = Part.UPPER if Part.UPPER in worn else None
        if chosen is None and Part.OUTER in worn and kind != "t-shirt":
            chosen = Part.OUTER  # a cardigan, or a shirt over another top
    if chosen is None and region == "upper" and {Part.DRESS, Part.LOWER} <= set(worn):
        chosen = Part.DRESS if rows(Part.DRESS) < rows(Part.LOWER) else None
    return None if chosen is None else parts == chosen


def _other_length(body: Body, cloth: np.ndarray, kind: str) -> str | None:
    """Say what trousers, shorts or a skirt (H, W) are where their length, or their legs, are not those of the kind."""
    if body.joints is None or kind == "lower":
        return None
    knees, ankles = (
        body.joints[[Joint[f"LEFT_{name}"], Joint[f"RIGHT_{name}"]], 1:].mean(0) for name in ("KNEE", "ANKLE")
    )
    if min(knees[1], ankles[1]) < SURE:
        return None
    down = (np.quantile(np.nonzero(cloth)[0], 0.98) - knees[0]) / max(ankles[0] - knees[0], 1.0)
    if kind == "trousers" and down < SHORT:
        return "shorts or a short skirt"
    if kind == "shorts" and down > LONG:
        return "trousers or a long skirt"
    if kind == "skirt" and down > LONG and _parted(cloth[int(knees[0]) : int(ankles[0])]):
        return "trousers"
    return None


def _parted(cloth: np.ndarray) -> bool:
    """Tell whether most rows of cloth (H, W) hold two legs."""
    starts = (np.diff(np.pad(cloth, ((0, 0), (1, 0))).astype(np.int8), axis=1) == 1).sum(1)
    return bool(cloth.any() and (starts[cloth.any(1)] >= 2).mean() > 0.5)


def _hidden(cloth: np.ndarray, before: np.ndarray, hair: np.ndarray) -> np.ndarray:
    """Mark what is before a garment (H, W): things between its edges in both directions, and narrow gaps of hair."""
    gap = max(1, round(GAP * cloth.shape[0]))
    closed = erode(dilate(cloth, up=gap, down=gap, side=gap), up=gap, down=gap, side=gap)
    hidden = ~cloth & ((before & _between(cloth, 0) & _between(cloth, 1)) | ((hair | before) & closed))
    for rows, columns in pieces(~(cloth | hidden)):
        if rows.size <= HOLE * cloth.sum():
            hidden[rows, columns] = True
    return hidden


def _between(mask: np.ndarray, axis: int) -> np.ndarray:
    """Mark what has some of a mask (H, W) on both sides along an axis."""
    ahead = np.logical_or.accumulate(mask, axis)
    return ahead & np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis), axis)
