"""What a dressed picture says, on a grid of metres: where the person is, which part of the body, and what is worn."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from recsys.errors import DataError

from ..images import dilate, erode, pieces
from ..person.joints import Joint
from ..person.parts import Part, region_of

CELL, GAP = 0.0035, 0.02
"""Metres a cell of the maps."""
MARGIN = 0.06
"""Metres around the person."""
ARM_RADIUS, TRUNK_RADIUS = (0.055, 0.045, 0.05), 0.09
"""Half widths of upper arm, forearm and hand, and how far cloth goes from the trunk's bones, in metres."""
HAND = 0.17
"""Length of a hand beyond its wrist."""
SKIRT_ENDS = 0.12
"""How far above the ankle a skirt's hem is at least."""
CROTCH = 0.09
"""How far below the hip joints the legs part."""
POCKETS = 0.03
"""How far above the hip joints cloth beside a hand is that of the trunk, metres."""
GROUPS = ("head", "trunk", "left leg", "right leg", "left arm", "right arm")
SKIRTS = ("skirt", "dress")
"""Kinds that hang round both legs."""
ADMITS = {
    "upper": (Part.UPPER, Part.OUTER, Part.DRESS, Part.CARRIED),
    "outer": (Part.UPPER, Part.OUTER, Part.DRESS, Part.CARRIED),
    "lower": (Part.LOWER, Part.DRESS, Part.LEGWEAR),
    "dress": (Part.UPPER, Part.OUTER, Part.DRESS, Part.LOWER),
}
"""Parts that a parser calls a new garment of each region."""
BEYOND = 0.03
"""How far beyond where a garment was laid its cloth may still be found, in metres."""


@dataclass(frozen=True)
class Maps:
    """A picture's person on a grid (h, w) of cells of `CELL` metres, y from the ground up, row 0 the highest.

    person: bool; groups: bool by the names of `GROUPS`, which overlap where one hides another; parts: `Part`; label:
    int8, 0 what is the person's own, from 1 on the garments in order, -1 nobody. joints (13, 3): metres and
    probability. left: x of the grid's left edge, top: y of its upper edge. metre: pixels of the picture a metre;
    middle, ground: column and row of the picture of x = y = 0. bust: the picture ends above the feet. skirt: what is
    worn below hangs round both legs.
    """

    person: np.ndarray
    groups: Mapping[str, np.ndarray]
    parts: np.ndarray
    label: np.ndarray
    joints: np.ndarray
    left: float
    top: float
    metre: float
    middle: float
    ground: float
    height: float
    bust: bool
    skirt: bool

    @property
    def x(self) -> np.ndarray:
        """Middles of the columns (w,), metres."""
        return self.left + (np.arange(self.person.shape[1]) + 0.5) * CELL

    @property
    def y(self) -> np.ndarray:
        """Middles of the rows (h,), metres."""
        return self.top - (np.arange(self.person.shape[0]) + 0.5) * CELL

    def level(self, name: str) -> float:
        """The mean height of the left and the right joint of a name such as "HIP", metres."""
        return float(self.joints[[Joint[f"{side}_{name}"] for side in ("LEFT", "RIGHT")], 1].mean())

    def at(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns (n,) of the cells of points (n, 2 or 3) in metres, the nearest where they are outside."""
        rows = ((self.top - points[:, 1]) / CELL).astype(int).clip(0, self.person.shape[0] - 1)
        return rows, ((points[:, 0] - self.left) / CELL).astype(int).clip(0, self.person.shape[1] - 1)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Columns and rows (n, 2) in the picture of points (n, 2 or 3) in metres."""
        return np.stack([self.middle + points[:, 0] * self.metre, self.ground - points[:, 1] * self.metre], 1)


def read_maps(
    parts: np.ndarray,
    joints: np.ndarray,
    *,
    kinds: Mapping[str, np.ndarray],
    outline: np.ndarray | None,
    height: float = 1.7,
    bust: bool = False,
) -> Maps:
    """Lay a dressed picture on a grid of metres.

    parts: `Part`s (H, W) of the picture as it is dressed. joints (13, 3) in its pixels. kinds: where each garment was
    laid, bool (H, W), by its kind, the later before the earlier. outline: where the person is, bool (H, W); None: where
    the parts say so. height: of the person in metres.
    """
    person = _one(_without_bags(parts, outline))
    rows = np.flatnonzero(person.any(1))
    hips = joints[[Joint.LEFT_HIP, Joint.RIGHT_HIP]].mean(0)
    shoulders = joints[[Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER]].mean(0)
    if bust:  # a trunk is three tenths of a person, and what is not in the picture hangs in the air
        metre = abs(hips[1] - shoulders[1]) / (0.29 * height)
        ground = float(rows[-1] + 1)
    else:
        metre, ground = (rows[-1] + 1 - rows[0]) / height, float(rows[-1] + 1)
    middle = float((hips[0] + shoulders[0]) / 2)
    grid = _Grid(person, metre, middle, ground)
    places = joints.astype(float).copy()
    places[:, 0], places[:, 1] = (joints[:, 0] - middle) / metre, (ground - joints[:, 1]) / metre
    small = {"person": grid(person), "parts": grid(parts)}
    covers = {kind: grid(cover) for kind, cover in kinds.items()}
    label = _labels(small["person"], small["parts"], covers)
    hanging, skirt = _hanging(small["person"], small["parts"], label, places, grid.y, tuple(kinds))
    groups = _groups(small["person"], small["parts"], places, grid, hanging)
    _check_one_piece(groups)
    return Maps(
        person=small["person"],
        groups=groups,
        parts=small["parts"],
        label=label,
        joints=places,
        left=grid.left,
        top=grid.top,
        metre=metre,
        middle=middle,
        ground=ground,
        height=height,
        bust=bust,
        skirt=skirt,
    )


def _check_one_piece(groups: Mapping[str, np.ndarray]) -> None:
    """Refuse a person between whose parts rows are empty. DataError."""
    rows = np.flatnonzero(np.logical_or.reduce([*groups.values()]).any(1))
    gap = float(np.diff(rows).max(initial=1) - 1) * CELL
    if gap > GAP:
        raise DataError(f"the person comes apart: {100 * gap:.0f} cm of them are not told from the background; give a "
                        "photo in which clothes and background differ, or another garment")  # fmt: skip


class _Grid:
    """Samples planes of a picture at the cells of a grid."""

    def __init__(self, person: np.ndarray, metre: float, middle: float, ground: float) -> None:
        rows, columns = np.flatnonzero(person.any(1)), np.flatnonzero(person.any(0))
        self.left = (columns[0] - middle) / metre - MARGIN
        self.top = (ground - rows[0]) / metre + MARGIN
        wide = int(np.ceil(((columns[-1] + 1 - middle) / metre + MARGIN - self.left) / CELL))
        tall = int(np.ceil((self.top - (ground - rows[-1] - 1) / metre + MARGIN) / CELL))
        self.x = self.left + (np.arange(wide) + 0.5) * CELL
        self.y = self.top - (np.arange(tall) + 0.5) * CELL
        self.columns = np.floor(middle + self.x * metre).astype(int)
        self.rows = np.floor(ground - self.y * metre).astype(int)

    def __call__(self, plane: np.ndarray) -> np.ndarray:
        """The plane (H, W) at the cells (h, w); 0 beyond its edges."""
        inside = ((self.rows >= 0) & (self.rows < plane.shape[0]))[:, None]
        inside = inside & ((self.columns >= 0) & (self.columns < plane.shape[1]))
        found = plane[self.rows.clip(0, plane.shape[0] - 1)][:, self.columns.clip(0, plane.shape[1] - 1)]
        return np.where(inside, found, np.zeros((), plane.dtype))


def _without_bags(parts: np.ndarray, outline: np.ndarray | None) -> np.ndarray:
    """Where the person is, bool (H, W), without what is carried beside them."""
    found = parts != Part.BACKGROUND if outline is None else outline
    carried = parts == Part.CARRIED
    reach = max(2, round(0.012 * parts.shape[0]))
    rest = found & ~carried
    kept = dilate(erode(rest, up=1, down=1, side=1), up=reach, down=reach, side=reach)
    return rest | (carried & kept)


def _one(person: np.ndarray) -> np.ndarray:
    """The largest piece of a person and those near its size, with pinholes closed."""
    closed = erode(dilate(person, up=1, down=1, side=1), up=1, down=1, side=1)
    found = pieces(closed)
    out = np.zeros_like(person)
    for rows, columns in found[:3]:
        if len(rows) > 0.02 * len(found[0][0]):
            out[rows, columns] = True
    least = 0.0008 * out.sum()
    for rows, columns in pieces(~out):
        if len(rows) < least:
            out[rows, columns] = True
    return out


def _labels(person: np.ndarray, parts: np.ndarray, covers: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which garment each cell shows: where it was laid, and what the parser calls so close to that."""
    label = np.where(person, 0, -1).astype(np.int8)
    reach = round(BEYOND / CELL)
    for number, (kind, cover) in enumerate(covers.items(), 1):
        near = dilate(cover, up=reach, down=reach, side=reach)
        cloth = np.isin(parts, ADMITS[region_of(kind)])
        label[person & (cover & ~np.isin(parts, (Part.HEAD, Part.SHOES)) | (near & cloth & (label <= 0)))] = number
    return _tidy(label)


def _tidy(label: np.ndarray) -> np.ndarray:
    """Let small islands of a label take the one around them."""
    out = label.copy()
    for number in np.unique(label[label >= 0]):
        for rows, columns in pieces(label == number):
            if len(rows) * CELL**2 < 0.0012:  # less than 12 square centimetres
                box = (
                    slice(max(0, rows.min() - 1), rows.max() + 2),
                    slice(max(0, columns.min() - 1), columns.max() + 2),
                )
                around = out[box][(out[box] >= 0) & (out[box] != number)]
                if around.size:
                    out[rows, columns] = np.bincount(around).argmax()
    return out


def _hanging(
    person: np.ndarray, parts: np.ndarray, label: np.ndarray, joints: np.ndarray, y: np.ndarray, kinds: tuple[str, ...]
) -> tuple[np.ndarray, bool]:
    """Mark cloth that hangs from the trunk, bool (h, w), and tell whether it is a skirt: by the garment's kind, or one
    run of cloth at a hem well above the ankles."""
    cloth = person & np.isin(parts, (Part.LOWER, Part.DRESS))
    hanging = person & np.isin(parts, (Part.UPPER, Part.OUTER, Part.DRESS))
    skirt = False
    if not set(kinds) & set(SKIRTS):
        skirt = (
            region_of(kinds[-1]) != "lower" and _is_skirt(cloth, joints, y) if kinds else _is_skirt(cloth, joints, y)
        )
        hanging |= cloth if skirt else False
    for number, kind in enumerate(kinds, 1):
        if kind in SKIRTS:
            skirt, hanging = True, hanging | (label == number)
        elif region_of(kind) == "lower":
            hanging &= label != number
    reach = round(0.012 / CELL)
    return dilate(erode(hanging, up=reach, down=reach, side=reach), up=reach, down=reach, side=reach) & person, skirt


def _is_skirt(cloth: np.ndarray, joints: np.ndarray, y: np.ndarray) -> bool:
    """Tell whether cloth (h, w) below the hips ends in one run, well above the ankles."""
    crotch = joints[[Joint.LEFT_HIP, Joint.RIGHT_HIP], 1].mean() - CROTCH
    rows = np.flatnonzero((cloth.sum(1) * CELL > 0.08) & (y < crotch))
    if not rows.size:
        return False
    ankle = joints[[Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE], 1].mean()
    hem = rows[-1]
    last = cloth[max(rows[0], hem - round(0.04 / CELL)) : hem + 1]
    runs = (np.diff(np.pad(last, ((0, 0), (1, 0))).astype(np.int8), axis=1) == 1).sum(1)
    return bool(y[hem] > ankle + SKIRT_ENDS and np.median(runs) == 1)


def _groups(
    person: np.ndarray, parts: np.ndarray, joints: np.ndarray, grid: _Grid, hangs: np.ndarray
) -> dict[str, np.ndarray]:
    """Which parts of the body a cell shows, and which it hides."""
    x, y = np.meshgrid(grid.x, grid.y)
    seen = lambda name: joints[Joint[name], :2]
    hips = (seen("LEFT_HIP") + seen("RIGHT_HIP")) / 2
    shoulders = (seen("LEFT_SHOULDER") + seen("RIGHT_SHOULDER")) / 2
    neck = shoulders[1] + 0.36 * (joints[Joint.NOSE, 1] - shoulders[1])
    quad = _trunk_distance(x, y, joints)
    arms = {side: _arm(x, y, joints, side) for side in ("LEFT", "RIGHT")}
    head = person & (y > neck)
    skin, cloth_low = parts == Part.SKIN, np.isin(parts, (Part.LOWER, Part.LEGWEAR, Part.SHOES))
    skirts = cloth_low | np.isin(parts, (Part.DRESS, Part.UPPER, Part.OUTER)) & (y < hips[1] + POCKETS)
    own = {}
    for side, (share, inner) in arms.items():
        outside = (share < quad / TRUNK_RADIUS) & (share < 2.6) & ~(skirts & (share > 0.8))
        crossing = (quad <= 0.02) & inner & (skin | (share < 0.8)) & ~cloth_low
        other = arms["RIGHT" if side == "LEFT" else "LEFT"][0]
        own[side] = person & ~head & (outside | crossing) & (share <= other) & (parts != Part.SHOES)
    rest = person & ~head & ~own["LEFT"] & ~own["RIGHT"]
    low = y < hips[1] - CROTCH
    trunk = rest & (~low | hangs)
    legs = rest & low & ~hangs
    right_of = x > _between(joints, y, "KNEE", "ANKLE", hips)
    out = {"head": head, "trunk": _filled(trunk, person), "left arm": own["LEFT"], "right arm": own["RIGHT"]}
    for side, mine in (("left leg", right_of), ("right leg", ~right_of)):
        out[side] = legs & mine
    return {name: _largest(out[name]) for name in GROUPS}


def _trunk_distance(x: np.ndarray, y: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """How far cells are from the trunk between shoulders and hips, metres; 0 inside."""
    places = [joints[Joint[name], :2] for name in ("LEFT_SHOULDER", "LEFT_HIP", "RIGHT_HIP", "RIGHT_SHOULDER")]
    middle = np.mean(places, 0)
    corners = [place + (middle - place) * [0.25 if at in (0, 3) else -0.15, 0.0] for at, place in enumerate(places)]
    inside, far = np.ones_like(x, bool), np.full_like(x, np.inf)
    for a, b in zip(corners, corners[1:] + corners[:1]):
        far = np.minimum(far, _to_line(x, y, a, b))
        turn = (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])
        inside &= turn * np.sign((b[0] - a[0]) * (middle[1] - a[1]) - (b[1] - a[1]) * (middle[0] - a[0])) >= 0
    return np.where(inside, 0.0, far)


def _arm(x: np.ndarray, y: np.ndarray, joints: np.ndarray, side: str) -> tuple[np.ndarray, np.ndarray]:
    """How far cells are from an arm's bones, in its half widths, and whether they are beside forearm or hand."""
    shoulder, elbow, wrist = (joints[Joint[f"{side}_{name}"], :2] for name in ("SHOULDER", "ELBOW", "WRIST"))
    along = (wrist - elbow) / max(float(np.linalg.norm(wrist - elbow)), 1e-6)
    lines = ((shoulder, elbow), (elbow, wrist), (wrist, wrist + HAND * along))
    shares = [_to_line(x, y, *line) / radius for line, radius in zip(lines, ARM_RADIUS)]
    return np.minimum.reduce(shares), np.minimum(shares[1], shares[2]) < 1.15


def _to_line(x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances of cells to the line from a to b."""
    d = b - a
    t = (((x - a[0]) * d[0] + (y - a[1]) * d[1]) / max(float(d @ d), 1e-9)).clip(0, 1)
    return np.hypot(x - a[0] - t * d[0], y - a[1] - t * d[1])


def _between(joints: np.ndarray, y: np.ndarray, upper: str, lower: str, hips: np.ndarray) -> np.ndarray:
    """The x between both legs at rows y."""
    middle = lambda name: joints[[Joint[f"LEFT_{name}"], Joint[f"RIGHT_{name}"]], :2].mean(0)
    places = sorted([middle(lower), middle(upper), hips], key=lambda place: place[1])
    return np.interp(y, [place[1] for place in places], [place[0] for place in places])


def _filled(trunk: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Fill what lies between cells of the trunk in a row and is the person, such as an arm before it."""
    left = np.maximum.accumulate(trunk, 1)
    right = np.maximum.accumulate(trunk[:, ::-1], 1)[:, ::-1]
    return trunk | (left & right & person)


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest piece of a mask and those of a twentieth of it."""
    found = pieces(mask)
    out = np.zeros_like(mask)
    for rows, columns in found:
        if len(rows) >= 0.05 * len(found[0][0]):
            out[rows, columns] = True
    return out


def picture_of(maps: Maps, picture: Image.Image) -> np.ndarray:
    """The colours of a picture at the cells, uint8 (h, w, 3)."""
    x, y = np.meshgrid(maps.x, maps.y)
    at = maps.pixels(np.stack([x.ravel(), y.ravel()], 1))
    pixels = np.asarray(picture.convert("RGB"))
    rows, columns = at[:, 1].astype(int).clip(0, pixels.shape[0] - 1), at[:, 0].astype(int).clip(0, pixels.shape[1] - 1)
    return pixels[rows, columns].reshape(*x.shape, 3)
