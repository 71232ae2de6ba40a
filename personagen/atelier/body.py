"""A person: proportions, posture, skin, hair and what else tells people apart; and where the joints are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .surface import Array, Profile, profile, smooth

SKINS: tuple[tuple[int, int, int], ...] = (
    (247, 214, 192),
    (238, 197, 166),
    (228, 180, 144),
    (200, 148, 110),
    (160, 110, 78),
    (116, 78, 56),
)
HAIRS: tuple[tuple[int, int, int], ...] = (
    (40, 32, 32),
    (78, 50, 36),
    (130, 84, 50),
    (222, 180, 112),
    (146, 76, 46),
    (160, 158, 158),
)
HAIR_STYLES: tuple[str, ...] = ("short", "bob", "long", "bun", "crop", "curly")
SHOE_STYLES: tuple[str, ...] = ("sneaker", "boot", "loafer")
SHOES = ((52, 52, 60), (238, 236, 232), (134, 88, 56), (178, 48, 50), (52, 70, 120))
HEIGHTS, BUILDS = (1.58, 1.70, 1.83), (0.90, 1.0, 1.17)


@dataclass(frozen=True)
class Body:
    """Proportions in metres, angles in degrees; ``arms`` is ((abduction, elbow bend), …) for left and right.

    ``build`` thickens limbs and trunk, ``weight`` (-1 to 1) is the leg that bears the weight (0: both, 1: on the
    viewer's right), ``turn`` and ``tilt`` are those of the head. ``seed`` decides the face.
    """

    height: float = 1.72
    shoulder: float = 0.185
    waist: float = 0.125
    hip: float = 0.165
    arms: tuple[tuple[float, float], tuple[float, float]] = ((14.0, 10.0), (14.0, 10.0))
    stance: float = 0.09
    skin: tuple[int, int, int] = SKINS[1]
    hair: tuple[int, int, int] = HAIRS[1]
    hair_style: str = "short"
    shoes: tuple[int, int, int] = SHOES[0]
    seed: int = 0
    shoe_style: str = "sneaker"
    build: float = 1.0
    weight: float = 0.0
    turn: float = 0.0
    tilt: float = 0.0

    @property
    def feminine(self) -> float:
        """How feminine the figure is, from 0 to 1, by its shoulders and hips."""
        return float(np.clip((self.hip / self.build - self.shoulder + 0.040) / 0.042, 0.0, 1.0))

    @property
    def head(self) -> float:
        """Height of the head, chin to crown, in metres: a small person's is large beside the body."""
        return 0.244 * (0.45 + 0.55 * self.height / 1.7)


def random_body(rng: np.random.Generator) -> Body:
    """A body with believable proportions and a relaxed standing pose, drawn from ``rng``."""
    feminine, build = rng.random(), BUILDS[rng.integers(3)]
    wide = 20.0 * max(build - 1.0, 0.0)
    arms = tuple((wide + rng.uniform(14, 25), rng.uniform(6, 44)) for _ in range(2))  # hands clear of skirts
    skin = rng.integers(len(SKINS))
    hair = rng.choice((0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5)) if skin < 3 else rng.choice((0, 0, 0, 0, 1, 1, 1, 2, 5))
    styles = HAIR_STYLES if feminine > 0.35 else ("short", "crop", "curly")
    return Body(
        height=HEIGHTS[rng.integers(3)] + rng.uniform(-0.025, 0.025) - 0.03 * feminine,
        shoulder=(0.196 - 0.026 * feminine) * (0.6 + 0.4 * build) + rng.uniform(-0.006, 0.006),
        waist=(0.132 - 0.024 * feminine) * build + rng.uniform(-0.006, 0.006),
        hip=(0.156 + 0.016 * feminine) * build + rng.uniform(-0.004, 0.004),
        arms=arms,  # type: ignore[arg-type]
        stance=rng.uniform(0.080, 0.115),
        skin=SKINS[skin],
        hair=HAIRS[hair],
        hair_style=styles[rng.integers(len(styles))],
        shoes=SHOES[rng.integers(len(SHOES))],
        seed=int(rng.integers(1 << 30)),
        shoe_style=SHOE_STYLES[rng.integers(3)],
        build=build,
        weight=float(rng.choice((-1.0, 1.0)) * rng.uniform(0.35, 1.0)),
        turn=rng.uniform(-14.0, 14.0),
        tilt=rng.uniform(-5.0, 5.0),
    )


@dataclass(frozen=True)
class Skeleton:
    """Joint positions (3,) in metres for a body; index 0 is the viewer's left (x < 0), 1 the right."""

    body: Body
    shoulder: tuple[np.ndarray, np.ndarray]
    elbow: tuple[np.ndarray, np.ndarray]
    wrist: tuple[np.ndarray, np.ndarray]
    hand: tuple[np.ndarray, np.ndarray]
    hip: tuple[np.ndarray, np.ndarray]
    knee: tuple[np.ndarray, np.ndarray]
    ankle: tuple[np.ndarray, np.ndarray]
    toe: tuple[np.ndarray, np.ndarray]
    upper_arm: float = field(default=0.0)
    forearm: float = field(default=0.0)

    @cached_property
    def trunk(self) -> Profile:
        """The trunk of the body standing straight."""
        return trunk_profile(self.body)

    @cached_property
    def chin(self) -> Array:
        """The origin (3,) of the head: below the crown, between the ears, at the height of the chin."""
        low = np.array([0.0, self.body.height - self.body.head, 0.012], np.float32)
        return bend(self.body, low[None])[0]

    @property
    def nose(self) -> Array:
        """The tip of the nose (3,)."""
        return from_head(self, np.array([[0.0, 0.345, 0.47]], np.float32))[0]


def trunk_profile(body: Body) -> Profile:
    """The trunk from the crotch to the neck: (share of the height, half width, front, back)."""
    h, s, w, p, k = body.height, body.shoulder, body.waist, body.hip, body.build
    neck = (0.047 - 0.006 * body.feminine) * (0.7 + 0.3 * k)
    keys = (
        (0.900, neck, 0.050, 0.046),
        (0.862, neck + 0.002, 0.048, 0.056),
        (0.848, neck + 0.020, 0.050, 0.068),
        (0.838, neck + 0.054, 0.058, 0.078),
        (0.827, 0.76 * s, 0.068, 0.086),
        (0.812, s - 0.030, 0.076, 0.092),
        (0.790, s - 0.022, 0.088, 0.098),
        (0.745, s - 0.026, 0.102 * k, 0.098 * k),
        (0.710, s - 0.034, 0.102 * k, 0.092 * k),
        (0.660, 0.30 * (s - 0.04) + 0.70 * w + 0.004, 0.092 * k, 0.082 * k),
        (0.620, w, 0.088 * k, 0.078 * k),
        (0.580, 0.50 * w + 0.50 * p, 0.092 * k, 0.090 * k),
        (0.530, p, 0.094 * k, 0.114 * k),
        (0.500, p - 0.002, 0.090 * k, 0.116 * k),
        (0.470, p - 0.012, 0.080 * k, 0.096 * k),
        (0.445, p - 0.040, 0.060 * k, 0.070 * k),
    )
    table = np.array(keys)
    table[:, 0] *= h
    return profile(table)


def lean(body: Body, y: Array) -> tuple[Array, Array]:
    """Sideways shift (m) and slope of what was level, at heights ``y`` (m): the hips go out over the bearing leg."""
    h = body.height
    low, high = 1.0 - smooth(y, 0.56 * h, 0.78 * h), smooth(y, 0.64 * h, 0.80 * h)
    foot = smooth(y, 0.05 * h, 0.50 * h)
    shift = body.weight * ((0.034 * (0.3 + 0.7 * foot)) * low - 0.006 * high)
    calm = 1.0 - smooth(y, 0.83 * h, 0.88 * h)
    return shift, body.weight * (0.080 * low * foot - 0.055 * high * calm)


def bend(body: Body, p: Array) -> Array:
    """Take points (..., 3) of the straight trunk into the posture of ``body``."""
    shift, slope = lean(body, p[..., 1])
    return np.stack([p[..., 0] + shift, p[..., 1] + p[..., 0] * slope, p[..., 2]], -1).astype(np.float32)


def straighten(body: Body, p: Array) -> Array:
    """Undo `bend`, nearly."""
    shift, slope = lean(body, p[..., 1])
    x = p[..., 0] - shift
    return np.stack([x, p[..., 1] - x * slope, p[..., 2]], -1)


def from_head(skel: Skeleton, p: Array) -> Array:
    """Take points (..., 3) in heads, above the chin and before the head's axis, to metres, turned as the head is."""
    body = skel.body
    x, y, z = p[..., 0] * body.head, (p[..., 1] - 0.2) * body.head, p[..., 2] * body.head
    turn, tilt = math.radians(body.turn), math.radians(body.tilt)
    x, z = x * math.cos(turn) + z * math.sin(turn), z * math.cos(turn) - x * math.sin(turn)
    x, y = x * math.cos(tilt) - y * math.sin(tilt), y * math.cos(tilt) + x * math.sin(tilt)
    return (np.stack([x, y + 0.2 * body.head, z], -1) + skel.chin).astype(np.float32)


def _arm(body: Body, side: float, pose: tuple[float, float]) -> dict[str, Array]:
    """Shoulder, elbow, wrist and hand of one side (-1: the viewer's left)."""
    h, (abduct, fold) = body.height, pose
    a, b, lift = math.radians(abduct), math.radians(abduct - 0.42 * fold), math.radians(0.75 * fold)
    shoulder = bend(body, np.array([side * (body.shoulder - 0.023), 0.790 * h, -0.012]))
    elbow = shoulder + 0.165 * h * np.array([side * math.sin(a), -math.cos(a), -0.05])
    down = np.array([side * math.sin(b), -math.cos(b) * math.cos(lift), math.sin(lift)])
    down /= math.sqrt(float((down**2).sum()))
    wrist = elbow + 0.148 * h * down
    return {"shoulder": shoulder, "elbow": elbow, "wrist": wrist, "hand": wrist + 0.062 * h * down}


def _leg(body: Body, side: float) -> dict[str, Array]:
    """Hip, knee, ankle and toe of one side; the leg that bears less bends and steps out."""
    h = body.height
    free = max(0.0, -side * body.weight)
    hip = bend(body, np.array([side * 0.50 * body.hip, 0.510 * h, -0.004]))
    foot = side * body.stance * (1.0 - 0.10 * body.weight * side) + 0.022 * body.weight + side * 0.040 * free
    ankle = np.array([foot, 0.050 * h, -0.020 + 0.075 * free])
    reach = ankle - hip
    length, bone = math.sqrt(float((reach**2).sum())), 0.2335 * h
    bulge = math.sqrt(max(bone**2 - (length / 2) ** 2, 1e-4))
    out = np.array([side * (0.10 + 0.22 * free), 0.0, 1.0])
    knee = 0.49 * hip + 0.51 * ankle + 0.75 * bulge * out / math.sqrt(float((out**2).sum()))
    aim = math.radians(9.0 + 16.0 * free)
    toe = ankle + np.array([side * 0.13 * math.sin(aim), -0.03 * h, 0.13 * math.cos(aim)])
    return {"hip": hip, "knee": knee, "ankle": ankle, "toe": toe}


def skeleton(body: Body) -> Skeleton:
    """Place the joints of ``body``: standing, feet on y = 0, facing +z."""
    sides = [{**_arm(body, side, pose), **_leg(body, side)} for side, pose in zip((-1.0, 1.0), body.arms, strict=True)]
    pairs = {name: tuple(s[name].astype(np.float32) for s in sides) for name in sides[0]}
    return Skeleton(body=body, upper_arm=0.165 * body.height, forearm=0.148 * body.height, **pairs)  # type: ignore[arg-type]
