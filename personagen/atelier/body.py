"""A person as a smooth union of capsules: proportions, arm pose, skin, hair and a simple face."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from .sdf import Points, bar, capsule, ellipsoid, smooth_min

SKINS: tuple[tuple[int, int, int], ...] = (
    (250, 220, 196),
    (240, 200, 168),
    (222, 174, 136),
    (198, 146, 106),
    (156, 106, 72),
    (112, 74, 52),
)
HAIRS: tuple[tuple[int, int, int], ...] = (
    (36, 28, 26),
    (72, 46, 32),
    (120, 78, 46),
    (206, 166, 100),
    (158, 74, 38),
    (150, 148, 146),
)
HAIR_STYLES: tuple[str, ...] = ("short", "bob", "long", "bun", "crop")


@dataclass(frozen=True)
class Body:
    """Proportions in metres, angles in degrees; ``arms`` is ((abduction, elbow bend), …) for left and right."""

    height: float = 1.72
    shoulder: float = 0.185
    waist: float = 0.125
    hip: float = 0.165
    arms: tuple[tuple[float, float], tuple[float, float]] = ((14.0, 10.0), (14.0, 10.0))
    stance: float = 0.09
    skin: tuple[int, int, int] = SKINS[1]
    hair: tuple[int, int, int] = HAIRS[1]
    hair_style: str = "short"
    shoes: tuple[int, int, int] = (60, 60, 66)
    seed: int = 0


def random_body(rng: np.random.Generator) -> Body:
    """A body with believable proportions and a relaxed standing pose, drawn from ``rng``."""
    feminine = rng.random()
    arms = tuple((rng.uniform(9, 24), rng.uniform(4, 42)) for _ in range(2))
    shoes = ((60, 60, 66), (232, 230, 226), (120, 78, 50), (170, 40, 44), (44, 60, 108))
    return Body(
        height=rng.uniform(1.60, 1.84),
        shoulder=0.196 - 0.026 * feminine + rng.uniform(-0.008, 0.008),
        waist=0.140 - 0.026 * feminine + rng.uniform(-0.010, 0.014),
        hip=0.156 + 0.016 * feminine + rng.uniform(-0.008, 0.008),
        arms=arms,  # type: ignore[arg-type]
        stance=rng.uniform(0.075, 0.12),
        skin=SKINS[rng.integers(len(SKINS))],
        hair=HAIRS[rng.integers(len(HAIRS))],
        hair_style=HAIR_STYLES[rng.integers(len(HAIR_STYLES))]
        if feminine > 0.35
        else ("short", "crop")[rng.integers(2)],
        shoes=shoes[rng.integers(len(shoes))],
        seed=int(rng.integers(1 << 30)),
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


def skeleton(body: Body) -> Skeleton:
    """Place the joints of ``body``: standing, feet on y = 0, facing +z."""
    h, joints = body.height, {k: [] for k in ("shoulder", "elbow", "wrist", "hand", "hip", "knee", "ankle", "toe")}
    upper, fore = 0.165 * h, 0.148 * h
    for side, (abduct, bend) in zip((-1.0, 1.0), body.arms, strict=True):
        a, b = math.radians(abduct), math.radians(abduct - 0.55 * bend)
        lift = math.radians(0.75 * bend)
        shoulder = np.array([side * (body.shoulder - 0.012), 0.812 * h, -0.01])
        elbow = shoulder + upper * np.array([side * math.sin(a), -math.cos(a), -0.04])
        down = np.array([side * math.sin(b), -math.cos(b) * math.cos(lift), math.sin(lift)])
        down /= np.linalg.norm(down)
        wrist = elbow + fore * down
        joints["shoulder"].append(shoulder)
        joints["elbow"].append(elbow)
        joints["wrist"].append(wrist)
        joints["hand"].append(wrist + 0.062 * h * down)
        foot = side * body.stance
        joints["hip"].append(np.array([side * (body.hip - 0.082), 0.50 * h, 0.0]))
        joints["knee"].append(np.array([side * (0.5 * (body.hip - 0.08) + 0.5 * body.stance), 0.275 * h, 0.012]))
        joints["ankle"].append(np.array([foot, 0.05 * h, -0.012]))
        joints["toe"].append(np.array([foot * 1.18, 0.022 * h, 0.115]))
    pairs = {k: (v[0].astype(np.float32), v[1].astype(np.float32)) for k, v in joints.items()}
    return Skeleton(body=body, upper_arm=upper, forearm=fore, **pairs)


@dataclass
class Parts:
    """Distances (N,) from points to every part of a body; arms and legs for (left, right)."""

    torso: np.ndarray
    neck: np.ndarray
    head: np.ndarray
    hair: np.ndarray
    upper_arm: tuple[np.ndarray, np.ndarray]
    forearm: tuple[np.ndarray, np.ndarray]
    along_upper: tuple[np.ndarray, np.ndarray]
    along_fore: tuple[np.ndarray, np.ndarray]
    hand: tuple[np.ndarray, np.ndarray]
    thigh: tuple[np.ndarray, np.ndarray]
    shin: tuple[np.ndarray, np.ndarray]
    foot: tuple[np.ndarray, np.ndarray]


def torso_distance(body: Body, p: Points) -> np.ndarray:
    """Return distances (N,) to the trunk: shoulders, chest, waist and hips as four squashed bars, blended."""
    h = body.height
    d = bar(p, 0.505 * h, body.hip - 0.098, 0.098, 1.12, -0.008)
    d = smooth_min(d, bar(p, 0.615 * h, body.waist - 0.080, 0.080, 1.08), 0.13)
    d = smooth_min(d, bar(p, 0.735 * h, 0.62 * body.shoulder - 0.02, 0.092, 1.0, 0.004), 0.12)
    d = smooth_min(d, bar(p, 0.806 * h, body.shoulder - 0.062, 0.050, 1.05, -0.01), 0.08)
    slope = np.maximum(np.abs(p.x) - 0.02, 0.0) * 0.42 + p.y - 0.862 * h
    trapezius = np.maximum(
        np.sqrt(slope * slope + ((p.z + 0.012) * 1.1) ** 2) - 0.036, np.abs(p.x) - body.shoulder * 0.72
    )
    return smooth_min(d, trapezius, 0.05)


def hair_distance(body: Body, p: Points) -> np.ndarray:
    """Return distances (N,) to the hair: a cap behind and above the face, with locks by style."""
    h = body.height
    y = 0.934 * h
    cap = ellipsoid(p, (0.0, y + 0.012, -0.012), (0.092, 0.122, 0.110))
    # cut the face free: a plane that leans forward at the brow
    face = 0.62 * (p.z - 0.040) - 0.78 * (p.y - (y + 0.050))
    cap = np.maximum(cap, face)
    if body.hair_style == "crop":
        return np.maximum(cap + 0.006, face + 0.012)
    ax = Points(np.abs(p.x), p.y, p.z)
    if body.hair_style in ("bob", "long"):
        low = y - (0.115 if body.hair_style == "bob" else 0.25)
        lock, _ = capsule(ax, np.array([0.070, y + 0.03, -0.02]), np.array([0.078, low, -0.035]), 0.034, 0.026)
        back, _ = capsule(ax, np.array([0.025, y, -0.06]), np.array([0.04, low - 0.02, -0.07]), 0.058, 0.040)
        cap = smooth_min(cap, smooth_min(lock, back, 0.03), 0.02)
    if body.hair_style == "bun":
        cap = smooth_min(cap, ellipsoid(p, (0.0, y + 0.128, -0.06), (0.052, 0.046, 0.052)), 0.02)
    return cap


def head_distance(body: Body, p: Points) -> np.ndarray:
    """Return distances (N,) to the head: skull, jaw, nose and ears, blended."""
    h = body.height
    head = ellipsoid(p, (0.0, 0.934 * h, 0.004), (0.078, 0.108, 0.092))
    jaw = ellipsoid(p, (0.0, 0.905 * h, 0.024), (0.058, 0.064, 0.064))
    nose, _ = capsule(p, np.array([0, 0.934 * h, 0.090]), np.array([0, 0.918 * h, 0.102]), 0.008, 0.014)
    ears = ellipsoid(Points(np.abs(p.x), p.y, p.z), (0.080, 0.930 * h, -0.004), (0.012, 0.028, 0.020))
    return smooth_min(smooth_min(smooth_min(head, jaw, 0.04), nose, 0.014), ears, 0.008)


def body_parts(skel: Skeleton, p: Points) -> Parts:
    """Distances from ``p`` to each part of the body; far from the head or the legs, a bound in their place."""
    body = skel.body
    h = body.height
    arms, fores, s_up, s_fo, hands, thighs, shins, feet = ([] for _ in range(8))
    above = float(p.y.min()) > 0.60 * h if len(p.y) else False
    bound = p.y - 0.55 * h
    for i in range(2):
        d, s = capsule(p, skel.shoulder[i], skel.elbow[i], 0.046, 0.037)
        arms.append(d)
        s_up.append(s * skel.upper_arm)
        d, s = capsule(p, skel.elbow[i], skel.wrist[i], 0.037, 0.026)
        fores.append(d)
        s_fo.append(s * skel.forearm)
        hands.append(capsule(p, skel.wrist[i], skel.hand[i], 0.026, 0.031)[0])
        thighs.append(bound if above else capsule(p, skel.hip[i], skel.knee[i], 0.082, 0.056)[0])
        shins.append(bound if above else capsule(p, skel.knee[i], skel.ankle[i], 0.055, 0.036)[0])
        heel = skel.ankle[i] - np.array([0, 0.012, 0.02], np.float32)
        feet.append(bound if above else capsule(p, heel, skel.toe[i], 0.044, 0.034)[0])
    if len(p.y) and float(p.y.max()) < 0.70 * h:
        neck = head = hair = 0.75 * h - p.y
    else:
        neck, _ = capsule(p, np.array([0, 0.83 * h, -0.015]), np.array([0, 0.90 * h, 0.0]), 0.052, 0.046)
        head, hair = head_distance(body, p), hair_distance(body, p)
    return Parts(
        torso=torso_distance(body, p),
        neck=neck,
        head=head,
        hair=hair,
        upper_arm=(arms[0], arms[1]),
        forearm=(fores[0], fores[1]),
        along_upper=(s_up[0], s_up[1]),
        along_fore=(s_fo[0], s_fo[1]),
        hand=(hands[0], hands[1]),
        thigh=(thighs[0], thighs[1]),
        shin=(shins[0], shins[1]),
        foot=(feet[0], feet[1]),
    )
