"""Where the ribbons of a garment go on a person: the trunk follows shoulders and hips, sleeves the arms, legs the legs.

What a garment covers is as long as its own proportions say, never longer than the limb.
"""

import numpy as np

from ..person.joints import Joint, Trunk, trunk_of
from ..person.parts import Part, region_of
from .outline import FAN, Bottom, Top
from .ribbon import Ribbon

SPAN, SPAN_SLOPE, DEPTHS = 1.1, 0.35, (0.5, 1.1)
"""Distance between a garment's shoulders, above its armpits, as a share of that between the shoulder joints; how much
less it is where the armpits are deep, in distances between them from 0.62 on; and the least and most depth."""
EASE = {"sweater": 0.05, "jacket": 0.1, "outer": 0.1, "dress": -0.06}
"""How much more of it garments of a kind have. Both are fitted to garments of the atelier, whose wearer is known."""
STRAPS, BOXY = 0.9, 1.2
"""The same distance of a dress without sleeves or a top that is narrow at its straps, and of a top as wide there as at
its bust: cut square, or with sleeves that cannot be told from its trunk."""
SQUARE = (0.8, 0.95)
"""Shares of its bust between which what is narrow at the top goes over into what is wide there."""
RISE = 0.17
"""How far it lies above the joint where no silhouette tells, as the same share."""
RISES = (0.08, 0.26)
"""Least and most of that."""
ARMPIT = (0.30, 0.85)
"""Least and most depth of an armpit below the joint, as the same share."""
RAISED = (0.6, 0.5)
"""Angle of the upper arm from down, in radians, from which its armpit rises, and the share that is left at most."""
TALL = 1.48
"""Usual height from hips to shoulders over the distance between the shoulder joints: tall people wear longer sizes."""
TALLER = (0.8, 1.2)
"""Least and most that lengths are changed by that."""
HIPS = 0.51
"""Usual distance between the hip joints over that between the shoulder joints."""
HIP_EASE = (0.92, 1.15)
"""Least and most that a trunk is widened at the hips of a person whose hips are wider than usual."""
WAIST = 0.32
"""How far the waist of what is worn below lies above the hip joints, as a share of the height of hips to shoulders."""
SEAT = 0.54
"""Half the width of trousers at the hips, as a share of the distance between the shoulder joints."""
WAIST_WIDE = 0.445
"""Half the width of a skirt's waist, as the same share."""
BAND, SLOPE, NARROWER = 2, 8, 0.85
"""Cross-sections from which a skirt's waist is told: between the first and the second its sides are taken as straight
up to the waist; and least width of the waist over that at the first."""
CROTCH = 0.30
"""How far the crotch lies below the hip joints, as a share of the height of hips to shoulders."""
REACHES = {"upper": (1.15, 1.6), "outer": (1.2, 2.2), "dress": (1.9, 3.1), "lower": (0.75, 3.1)}
"""Shortest and longest garments, in heights from hips to shoulders."""
STRETCH = 1.25
"""Most that a garment is lengthened for that: what lies flat is as wide as half its girth."""
ARM = (0.17, 0.14, 0.10)
"""Least half the width of a sleeve at shoulder, elbow and wrist, as a share of the distance between the shoulders."""
PUFF, TURNS = 1.06, (0.3, 2.7)
"""How far the round of a shoulder goes beyond an ellipse through its ends, at most, and the angles between these, in
radians, at which that is asked."""
WIDE, WIDEST, WIDER = 1.12, 1.35, 0.2
"""Width of a sleeve over the least one, of tops and of what is warm, beyond which, round an arm, only that share of
what it is wider counts: what lies flat is as wide as half its girth."""
WHOLE = 0.75
"""A sleeve that covers more than this share of the arm covers it all."""
WARM = ("sweater", "jacket")
"""Kinds that seldom have sleeves of another length than the arm's."""
LONG_SLEEVES = 0.45
"""Share of the arm from which sleeves of these kinds, and of what is worn over others, cover it all."""
SLEEVED = ("shirt", "sweater", "jacket", "outer")
"""Kinds that have sleeves, also where none can be told from the trunk."""
BEGIN, SHORTEST = (0.02, 0.35), 0.06
"""Least and most share of the arm at which a sleeve leaves the armhole, and what it covers beyond, at least."""
CUFF = 0.99
"""Share of the arm, from shoulder to wrist, that a whole sleeve covers: the hand stays free."""
LONG = 0.65
"""Share of the leg from which a garment with legs is taken to reach the ankles."""
SHORTS, SHORT_TROUSERS = 0.6, 0.4
"""Largest share of it of shorts, and that from which what is called trousers reaches the ankles."""
ANKLE = 1.03
"""Share of the leg, from crotch to ankle joint, that long trousers cover: the hem lies a little below the joint."""
BLEND = 0.5
"""Share of a limb over which its first cross-section, which is that of the trunk, goes over into its own."""
Moved = tuple[Ribbon, Ribbon]
"""A ribbon of the garment's picture, and where it goes."""


def rise_of(joints: np.ndarray, parts: np.ndarray | None) -> float:
    """How far the shoulders of a person lie above the joints (13, 2), as a share of the distance between these."""
    body = trunk_of(joints)
    if parts is None:
        return RISE
    found = []
    for joint in (joints[Joint.RIGHT_SHOULDER], joints[Joint.LEFT_SHOULDER]):
        column = int(np.clip(joint[0], 0, parts.shape[1] - 1))
        if parts[:, column].any() and parts[int((parts[:, column] > 0).argmax()), column] != Part.HEAD:
            found.append((joint[1] - (parts[:, column] > 0).argmax()) / body.across)
    return float(np.clip(np.mean(found), *RISES)) if found else RISE


def above(top: Top, joints: np.ndarray, *, kind: str, rise: float) -> list[Moved]:
    """Where the ribbons of a top, coat or dress go."""
    body = trunk_of(joints)
    sides = [joints[Joint.RIGHT_SHOULDER], joints[Joint.LEFT_SHOULDER]]
    aside = _unit(sides[1] - sides[0]) if sides[1][0] > sides[0][0] + 0.3 * body.tall else body.aside
    middle = (sides[0] + sides[1]) / 2
    up = np.array([aside[1], -aside[0]])
    tip = _span(top, kind) / 2
    shoulders = [middle + (sign * tip * aside + rise * up) * body.across for sign in (-1, 1)]
    scale = 2 * tip * body.across / (top.shoulders[1, 0] - top.shoulders[0, 0])
    tall = max(
        float(np.mean([side[-1, 1] for side in (top.trunk.left, top.trunk.right)]) - top.shoulders[:, 1].mean()), 1
    )
    low, high = REACHES[region_of(kind)]
    long = scale * _taller(body)
    long = float(np.clip(long, min(low * body.tall / tall, STRETCH * long), high * body.tall / tall))
    armpits = [_armpit_of(top, side, joints, long, rise, shoulders[side], -up) for side in (0, 1)]
    centre, move = top.shoulders.mean(0), np.stack([aside, -up])
    neck = Ribbon(*((side - centre) * scale @ move + (shoulders[0] + shoulders[1]) / 2
                    for side in (top.neck.left, top.neck.right)))  # fmt: skip
    neck = _joined(neck, shoulders)
    share = np.linspace(0, 1, len(top.yoke.left))[:, None]
    yoke = Ribbon(*(shoulders[side] + share * (armpits[side] - shoulders[side]) for side in (0, 1)))
    trunk = _trunk(top, joints, armpits, scale=scale, long=long, rise=rise)
    front = top.neck.then(top.yoke).then(top.trunk), neck.then(yoke).then(trunk)
    ends = lambda side: (_arm_of(joints, side), shoulders[side], armpits[side])
    reach = float(np.mean([_reach_of(own, *ends(side), long=long) for side, own in enumerate(top.sleeves)] or [0.0]))
    limbs = [
        (own, _limb(own, joints, side, shoulders[side], armpits[side], scale=scale, reach=reach, kind=kind))
        for side, own in enumerate(top.sleeves)
    ]
    return [front, *limbs]


def _unit(a: np.ndarray) -> np.ndarray:
    return a / max(float(np.hypot(*a)), 1e-6)


def _span(top: Top, kind: str) -> float:
    """How far apart a garment's shoulders lie, as a share of the distance between the shoulder joints."""
    if not top.sleeves:
        if kind in SLEEVED:
            return BOXY
        return STRAPS if kind == "dress" else float(np.interp(top.square, SQUARE, (STRAPS, BOXY)))
    wide = top.shoulders[1, 0] - top.shoulders[0, 0]
    deep = float((top.armpits[:, 1] - top.shoulders[:, 1]).mean() / max(wide, 1))
    return SPAN - SPAN_SLOPE * (float(np.clip(deep, *DEPTHS)) - 0.62) + EASE.get(kind, 0.0)


def _taller(body: Trunk) -> float:
    """How much longer than usual a garment is for its width, on this person."""
    return float(np.clip(body.tall / body.across / TALL, *TALLER))


def _hips_of(joints: np.ndarray, body: Trunk) -> tuple[np.ndarray, float]:
    """The direction along the hips (2,), to the picture's right, and how much wider than usual they are."""
    across = joints[Joint.LEFT_HIP] - joints[Joint.RIGHT_HIP]
    along = _unit(across)
    wider = float(np.clip(np.hypot(*across) / body.across / HIPS, *HIP_EASE))
    return (along if along @ body.aside > 0.8 else body.aside), wider


def _joined(neck: Ribbon, shoulders: list[np.ndarray]) -> Ribbon:
    """A neck whose last cross-section lies at the shoulders, (2,) each."""
    share = np.linspace(0, 1, len(neck.left))[:, None]
    return Ribbon(*(edge + share * (to - edge[-1]) for edge, to in zip((neck.left, neck.right), shoulders)))


def _arm_of(joints: np.ndarray, side: int) -> np.ndarray:
    """Shoulder, elbow and wrist (3, 2) of the arm on the picture's left or right."""
    name = ("RIGHT", "LEFT")[side]
    return np.stack([joints[Joint[f"{name}_{part}"]] for part in ("SHOULDER", "ELBOW", "WRIST")])


def _armpit_of(
    top: Top, side: int, joints: np.ndarray, long: float, rise: float, shoulder: np.ndarray, down: np.ndarray
) -> np.ndarray:
    """Where an armpit (2,) of a garment comes to lie: as deep as its own, but higher where the arm is raised."""
    body, arm = trunk_of(joints), _arm_of(joints, side)
    axis = _unit(arm[1] - arm[0])
    angle = float(np.arccos(np.clip(axis @ body.down, -1, 1)))
    deep = float(top.armpits[side, 1] - top.shoulders[side, 1]) * long
    deep *= 1 - (1 - RAISED[1]) * float(np.clip((angle - RAISED[0]) / 1.2, 0, 1))
    if top.sleeves:
        deep = float(np.clip(deep, (ARMPIT[0] + rise) * body.across, (ARMPIT[1] + rise) * body.across))
    return shoulder + deep * _unit(body.down + down)


def _trunk(
    top: Top, joints: np.ndarray, armpits: list[np.ndarray], *, scale: float, long: float, rise: float
) -> Ribbon:
    """Where the trunk goes from the armpits down: along the spine, and straight down from the hips."""
    body = trunk_of(joints)
    hips, wider = _hips_of(joints, body)
    start = (armpits[0] + armpits[1]) / 2
    to_hips = max(float((body.hips - start) @ body.down), 0.2 * body.tall)
    hang = _unit(body.down + np.array([0.0, 1.0]))
    rows = (top.trunk.left[:, 1] + top.trunk.right[:, 1]) / 2
    half = (top.trunk.right[:, 0] - top.trunk.left[:, 0]) / 2 * scale
    down = (rows - rows[0]) * long
    share = np.clip(down / to_hips, 0, 1)[:, None]
    line = start + share * (body.hips - start) + np.maximum(down - to_hips, 0)[:, None] * hang
    half = half * (1 + (wider - 1) * share[:, 0])
    aside = body.aside + share * (hips - body.aside)
    left, right = line - half[:, None] * aside, line + half[:, None] * aside
    fade = np.maximum(0, 1 - np.linspace(0, 1, len(rows)) / BLEND)[:, None] ** 2
    return Ribbon(left + fade * (armpits[0] - left[0]), right + fade * (armpits[1] - right[0]))


def _begin_of(arm: np.ndarray, armpit: np.ndarray) -> float:
    """How far down an arm (3, 2) its sleeve leaves the armhole, as a share of the arm."""
    steps = np.hypot(*np.diff(arm, axis=0).T)
    return float(np.clip((armpit - arm[0]) @ _unit(arm[1] - arm[0]) / steps.sum(), *BEGIN))


def _reach_of(own: Ribbon, arm: np.ndarray, shoulder: np.ndarray, armpit: np.ndarray, *, long: float) -> float:
    """How far down an arm (3, 2) a sleeve goes, as a share of the arm.

    On an arm that hangs, the armhole folds: from the armpit a short sleeve would go to the elbow, from the shoulder
    hardly beyond the armpit. It ends between both.
    """
    total = float(np.hypot(*np.diff(arm, axis=0).T).sum())
    length = lambda line: float(np.hypot(*np.diff(line, axis=0).T).sum()) * long / total
    middle = (own.left[FAN - 1 :] + own.right[FAN - 1 :]) / 2
    above = float((shoulder - arm[0]) @ _unit(arm[1] - arm[0])) / total
    outer = np.vstack([own.left[:1], own.left[FAN - 1 :]])
    return (_begin_of(arm, armpit) + length(middle) + above + length(outer)) / 2


def _limb(
    own: Ribbon,
    joints: np.ndarray,
    side: int,
    shoulder: np.ndarray,
    armpit: np.ndarray,
    *,
    scale: float,
    reach: float,
    kind: str,
) -> Ribbon:
    """Where a sleeve goes: around the shoulder, and along the arm as far as it reaches, as a share of the arm."""
    arm, body = _arm_of(joints, side), trunk_of(joints)
    middle = (own.left[FAN - 1 :] + own.right[FAN - 1 :]) / 2
    along = np.cumsum(np.hypot(*np.diff(middle, axis=0).T))
    steps = np.hypot(*np.diff(arm, axis=0).T)
    begin = _begin_of(arm, armpit)
    warm = region_of(kind) == "outer" or kind in WARM
    whole = reach > (LONG_SLEEVES if warm else WHOLE)
    end = CUFF if whole else max(min(reach, CUFF), begin + SHORTEST)
    places = np.concatenate([[begin], begin + along * (end - begin) / max(along[-1], 1e-6)]) * steps.sum()
    line, across = _bent(arm, places, (-1, 1)[side])
    share = np.clip(places / steps.sum(), 0, 1)
    least = np.interp(share, [0, steps[0] / steps.sum(), 1], ARM) * body.across
    wide = np.hypot(*(own.left[FAN - 1 :] - own.right[FAN - 1 :]).T) / 2 * scale
    wide = _worn(wide, least, most=WIDEST if warm else WIDE)[:, None]
    left, right = line + wide * across, line - wide * across
    fade = np.maximum(0, 1 - np.linspace(0, 1, len(left)) / BLEND)[:, None] ** 2
    right = right + fade * (armpit - right[0])
    outer = _round(own, shoulder, armpit, left[0])
    return Ribbon(np.concatenate([outer[:-1], left]), np.concatenate([np.repeat(armpit[None], FAN - 1, 0), right]))


def _worn(flat: np.ndarray, least: np.ndarray, *, most: float) -> np.ndarray:
    """How wide a sleeve is round an arm, half of it, that lies `flat` so wide, by the least it can be there, (n,) each.

    most: how much wider it may be for nothing to be taken off.
    """
    usual = most * least
    return np.maximum(least, np.where(flat > usual, usual + WIDER * (flat - usual), flat))


def _bent(line: np.ndarray, at: np.ndarray, sign: int) -> tuple[np.ndarray, np.ndarray]:
    """Places (n, 2) at lengths `at` (n,) along a line (k, 2), and the directions across it there, rounded at bends."""
    steps = np.hypot(*np.diff(line, axis=0).T)
    ends = np.concatenate([[0], np.cumsum(steps)])
    beyond = np.maximum(at - ends[-1], 0)[:, None] * _unit(line[-1] - line[-2])
    on = lambda places: np.stack([np.interp(places, ends, line[:, axis]) for axis in (0, 1)], 1)
    near = 0.09 * ends[-1]
    smooth = (on(np.maximum(at - near / 2, 0)) + 2 * on(at) + on(np.minimum(at + near / 2, ends[-1]))) / 4
    smooth = np.where(((at < near / 2) | (at > ends[-1] - near / 2))[:, None], on(at), smooth)
    ways = on(np.minimum(at + near, ends[-1])) - on(np.clip(at - near, 0, ends[-1] - 2 * near))
    ways /= np.maximum(np.hypot(*ways.T), 1e-6)[:, None]
    return smooth + beyond, sign * np.stack([ways[:, 1], -ways[:, 0]], 1)


def _round(own: Ribbon, shoulder: np.ndarray, armpit: np.ndarray, opposite: np.ndarray) -> np.ndarray:
    """The outer edge (FAN, 2) around a shoulder, as round as the garment's own."""
    rays = own.left[:FAN] - own.right[:FAN]
    size = np.hypot(*rays.T)
    a, b = shoulder - armpit, opposite - armpit
    turn = np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b)
    share = np.linspace(0, 1, FAN)
    grown = (1 - share) * np.hypot(*a) / max(size[0], 1e-6) + share * np.hypot(*b) / max(size[-1], 1e-6)
    grown = grown.clip(0.25 * grown[0], 4 * grown[0])
    angle = np.arctan2(a[1], a[0]) + share * turn
    ways = np.stack([np.cos(angle), np.sin(angle)], 1)
    far = size * grown
    if TURNS[0] < abs(turn) < TURNS[1]:  # no farther than an ellipse through both ends: a shoulder does not puff
        both = np.linalg.solve(np.stack([a, b], 1), ways.T)
        far[1:-1] = np.minimum(far, PUFF / np.hypot(*both))[1:-1]
    return armpit + far[:, None] * ways


def below(bottom: Bottom, joints: np.ndarray, *, kind: str, waist: float = WAIST) -> list[Moved]:
    """Where a skirt goes, or trousers down to the ankles, or shorts, and what is one or the other by its shape.

    waist: how far it lies above the hip joints, as a share of the height of hips to shoulders.
    """
    body, seat = trunk_of(joints), bottom.seat
    hips, wider = _hips_of(joints, body)
    start = body.hips - waist * body.tall * body.down
    half = (seat.right[:, 0] - seat.left[:, 0]) / 2
    rows = seat.left[:, 1] - seat.left[0, 1]
    if not bottom.legs:
        waist_half = _waist_of(half)
        scale = WAIST_WIDE * body.across / waist_half
        low, high = REACHES["lower"]
        long = scale * _taller(body)
        down = rows * float(np.clip(long, low * body.tall / rows[-1], high * body.tall / rows[-1]))
        hang = _unit(body.down + 2 * np.array([0.0, 1.0]))
        share = np.clip(down / (waist * body.tall), 0, 1)[:, None]
        line = start + share * (body.hips - start) + np.maximum(down - waist * body.tall, 0)[:, None] * hang
        wide = (scale * waist_half + long * (half - waist_half) + (wider - 1) * WAIST_WIDE * body.across)[:, None]
        return [(seat, Ribbon(line - wide * hips, line + wide * hips))]
    scale = SEAT * body.across / max(float(half[: int(0.6 * len(half))].max()), 1)
    crotch = body.hips + CROTCH * body.tall * body.down
    share = (rows / rows[-1])[:, None]
    line = start + share * (crotch - start)
    wide = (scale * half + (wider - 1) * SEAT * body.across)[:, None]
    upper = Ribbon(line - wide * hips, line + wide * hips)
    legs = [
        (own, _leg(own, joints, side, upper, scale=scale, long=scale * _taller(body), kind=kind))
        for side, own in enumerate(bottom.legs)
    ]
    return [*legs, (seat, upper)]


def _waist_of(half: np.ndarray) -> float:
    """Half the width of a skirt's waist: its first rows may show a loop, or one end of a waistband that lies askew."""
    rows = np.arange(BAND, SLOPE)
    slope, start = np.polyfit(rows, half[BAND:SLOPE], 1)
    return max(float(np.clip(start, NARROWER * half[BAND], half[BAND])), 1.0)


def _leg(own: Ribbon, joints: np.ndarray, side: int, seat: Ribbon, *, scale: float, long: float, kind: str) -> Ribbon:
    """Where a leg goes, from the crotch down."""
    name = ("RIGHT", "LEFT")[side]
    hip, knee, ankle = (joints[Joint[f"{name}_{part}"]] for part in ("HIP", "KNEE", "ANKLE"))
    crotch = (seat.left[-1] + seat.right[-1]) / 2
    outer = (seat.left, seat.right)[side][-1]
    line = np.stack([hip, knee, ankle])
    begin = float(np.clip((crotch - hip) @ _unit(knee - hip), 0, 0.5 * np.hypot(*(knee - hip))))
    total = float(np.hypot(*np.diff(line, axis=0).T).sum()) - begin
    middle = (own.left + own.right) / 2
    straight = np.allclose(own.left[:, 1], own.right[:, 1])  # its cross-sections are rows
    steps = np.abs(np.diff(middle[:, 1])) if straight else np.hypot(*np.diff(middle, axis=0).T)
    rows = np.concatenate([[0.0], np.cumsum(steps)])
    share = min(rows[-1] * long / total, SHORTS if kind == "shorts" else np.inf)
    whole = share > (SHORT_TROUSERS if kind == "trousers" else LONG)
    down = rows / max(rows[-1], 1) * (ANKLE if whole else share) * total
    centre, across = _bent(line, begin + down, (-1, 1)[side])
    level = (-1, 1)[side] * _unit(seat.right[-1] - seat.left[-1])
    across = (across + level) / np.maximum(np.hypot(*(across + level).T), 1e-6)[:, None]
    half = np.hypot(*(own.right - own.left).T) / 2 * scale
    out, inner = centre + half[:, None] * across, centre - half[:, None] * across
    fade = np.maximum(0, 1 - np.linspace(0, 1, len(rows)) / BLEND)[:, None] ** 2
    return Ribbon(out + fade * (outer - out[0]), inner + fade * (crotch - inner[0]))
