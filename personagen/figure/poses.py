"""Poses of a figure by name, and the strides of a walk, as turns of its bones.

A pose says where limbs point, in the person's own axes, so that it is the same whatever the photo's pose was. Each bone
of a limb follows the bone that it hangs on, and is turned from there by the smallest rotation that brings it to its
aim.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from recsys.errors import ConfigError

from .mesh import Figure, Skeleton
from .rig import checked_skeleton, plain, posed

Vector = tuple[float, float, float]
NEXT = {"Arm": "ForeArm", "ForeArm": "Hand", "UpLeg": "Leg", "Leg": "Foot", "Shoulder": "Arm", "Foot": "ToeBase"}
"""The bone that each bone of a limb points to."""
AS_PHOTO = "photo"
HIP_REACH = 0.012
"""How far a hand stays off the hip, as a share of the height."""


@dataclass(frozen=True)
class Pose:
    """Where bones of the left side point and, where they differ, those of the right; a vector's x goes outwards.

    lean: degrees by which the spine bends forward. hips: whether the hands are laid on the hips.
    """

    left: Mapping[str, Vector] = field(default_factory=dict)
    right: Mapping[str, Vector] | None = None
    lean: float = 0.0
    hips: bool = False

    def side(self, name: str) -> Mapping[str, Vector]:
        """Return where the bones of "Left" or "Right" point."""
        return self.left if name == "Left" or self.right is None else self.right


HANGING: dict[str, Vector] = {"Arm": (0.26, -1.0, 0.0), "ForeArm": (0.16, -1.0, 0.14), "Hand": (0.1, -1.0, 0.1)}
STRAIGHT: dict[str, Vector] = {"UpLeg": (0.07, -1.0, 0.0), "Leg": (0.05, -1.0, -0.03)}
STRIDE_AHEAD: dict[str, Vector] = {"UpLeg": (0.05, -1.0, 0.42), "Leg": (0.04, -1.0, 0.06), "Foot": (0.08, -0.2, 0.98)}
STRIDE_BACK: dict[str, Vector] = {"UpLeg": (0.05, -1.0, -0.22), "Leg": (0.04, -1.0, -0.75), "Foot": (0.08, -0.62, 0.78)}
SWING_AHEAD: dict[str, Vector] = {"Arm": (0.22, -1.0, 0.34), "ForeArm": (0.10, -1.0, 0.62)}
SWING_BACK: dict[str, Vector] = {"Arm": (0.24, -1.0, -0.34), "ForeArm": (0.16, -1.0, -0.04)}
PASSING: dict[str, Vector] = {"UpLeg": (0.05, -1.0, 0.02), "Leg": (0.04, -1.0, -0.02)}
LIFTED: dict[str, Vector] = {"UpLeg": (0.05, -1.0, 0.26), "Leg": (0.04, -1.0, -0.55)}

POSES: dict[str, Pose] = {
    AS_PHOTO: Pose(),
    "standing": Pose({**HANGING, **STRAIGHT}),
    "arms out": Pose({"Arm": (1.0, -0.05, 0.0), "ForeArm": (1.0, -0.02, 0.04), "Hand": (1.0, 0.0, 0.0), **STRAIGHT}),
    "arms raised": Pose(
        {"Shoulder": (1.0, 0.05, 0.0), "Arm": (0.62, 0.8, 0.0), "ForeArm": (0.35, 1.0, 0.05), "Hand": (0.2, 1.0, 0.0),
         **STRAIGHT}
    ),
    "hands on hips": Pose(STRAIGHT, hips=True),
    "waving": Pose(
        {**HANGING, **STRAIGHT},
        {"Shoulder": (1.0, 0.0, 0.0), "Arm": (1.0, 0.12, 0.1), "ForeArm": (0.32, 1.0, 0.12), "Hand": (0.1, 1.0, 0.1),
         **STRAIGHT},
    ),
    "walking": Pose({**STRIDE_AHEAD, **SWING_BACK}, {**STRIDE_BACK, **SWING_AHEAD}),
}  # fmt: skip
"""What `--pose` takes."""
STRIDES: tuple[Pose, ...] = (
    POSES["walking"],
    Pose({**PASSING, **HANGING}, {**LIFTED, **HANGING}),
    Pose({**STRIDE_BACK, **SWING_AHEAD}, {**STRIDE_AHEAD, **SWING_BACK}),
    Pose({**LIFTED, **HANGING}, {**PASSING, **HANGING}),
)
"""The key poses of a walk, which begins again after the last."""


def pose_named(name: str) -> Pose:
    """Return a pose by its name.

    Raises:
        ConfigError: there is none; a rig made from one photo cannot sit.
    """
    if name in POSES:
        return POSES[name]
    if "sit" in name:
        raise ConfigError(f"pose {name!r}: a figure made from a standing photo cannot sit; choose one of {_names()}")
    raise ConfigError(f"pose {name!r} is not known; choose one of {_names()}")


def _names() -> str:
    return ", ".join(POSES)


def take_pose(figure: Figure, pose: Pose) -> Figure:
    """Return the figure in a pose, its layers moved with their bones and its feet on the ground.

    Raises:
        DataError: it has no skeleton.
    """
    return figure if pose == POSES[AS_PHOTO] else posed(figure, *placed(figure, pose))


def placed(figure: Figure, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Return how a figure's bones stand in a pose: `bones_in`, with its lowest point as high as it was.

    Raises:
        DataError: it has no skeleton.
    """
    turns, places = bones_in(checked_skeleton(figure), pose)
    if pose == POSES[AS_PHOTO]:
        return turns, places
    lowest = [_lowest(one) for one in (figure, posed(figure, turns, places))]
    return turns, places + [0.0, lowest[0] - lowest[1], 0.0]


def _lowest(figure: Figure) -> float:
    return min((float(layer.vertices[:, 1].min()) for layer in figure.layers if len(layer.vertices)), default=0.0)


def bones_in(skeleton: Skeleton, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Return how a skeleton's bones stand in a pose: turns (J, 3, 3) in the figure's axes, and heads (J, 3)."""
    aims = _aims(skeleton, pose)
    turns, places = np.zeros((len(skeleton.names), 3, 3)), np.zeros((len(skeleton.names), 3))
    index = {plain(name): at for at, name in enumerate(skeleton.names)}
    for at, parent in enumerate(skeleton.parents):
        above = np.eye(3) if parent < 0 else turns[parent]
        start = skeleton.heads[at].astype(np.float64)
        places[at] = start if parent < 0 else places[parent] + above @ (start - skeleton.heads[parent])
        name = plain(skeleton.names[at])
        turns[at] = above
        if name in aims:
            tip = index.get(_next(name))
            along = aims[name][0] if tip is None else skeleton.heads[tip] - start
            turns[at] = _between(above @ along, aims[name][1]) @ above
        elif name == "Spine" and pose.lean:
            turns[at] = _about_x(pose.lean) @ above
    return turns, places


def _next(name: str) -> str:
    for side in ("Left", "Right"):
        if name.startswith(side):
            return side + NEXT.get(name.removeprefix(side), "")
    return ""


def _aims(skeleton: Skeleton, pose: Pose) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Bone -> (direction of an end bone at rest, direction in the pose); unit vectors of the figure."""
    heads = {plain(name): skeleton.heads[at].astype(np.float64) for at, name in enumerate(skeleton.names)}
    aims = {}
    for side, out in (("Left", 1.0), ("Right", -1.0)):
        wanted = dict(pose.side(side))
        if pose.hips:
            wanted |= _hand_on_hip(heads, side, out)
        for bone, (x, y, z) in wanted.items():
            if side + bone not in heads:
                continue
            before = heads.get(side + "ForeArm", np.zeros(3)) if bone == "Hand" else np.zeros(3)
            rest = heads[side + bone] - before if bone == "Hand" else np.array([0.0, -1.0, 0.0])
            aims[side + bone] = (_unit(rest), _unit(np.array([out * x, y, z])))
    return aims


def _hand_on_hip(heads: Mapping[str, np.ndarray], side: str, out: float) -> dict[str, Vector]:
    """Where the arm's two bones point so that the hand lies on the hip and the elbow stands out."""
    shoulder, elbow, hand = (heads[side + bone] for bone in ("Arm", "ForeArm", "Hand"))
    hip, other = heads["LeftUpLeg"], heads["RightUpLeg"]
    height = heads["Head"][1] - heads[side + "Foot"][1]
    wide = 0.5 * abs(hip[0] - other[0]) + (0.075 + HIP_REACH) * height
    target = np.array([0.5 * (hip[0] + other[0]) + out * wide, hip[1] + 0.095 * height, hip[2] + 0.02 * height])
    upper, lower = np.linalg.norm(elbow - shoulder), np.linalg.norm(hand - elbow)
    ahead = target - shoulder
    far = float(np.clip(np.linalg.norm(ahead), abs(upper - lower) + 1e-3, upper + lower - 1e-3))
    ahead = _unit(ahead)
    along = (upper**2 - lower**2 + far**2) / (2.0 * far)
    aside = np.array([out, 0.0, -0.35])
    aside = _unit(aside - ahead * (aside @ ahead))
    bend = shoulder + ahead * along + aside * np.sqrt(max(upper**2 - along**2, 0.0))
    first, second = _unit(bend - shoulder), _unit(shoulder + ahead * far - bend)
    first[0], second[0] = out * first[0], out * second[0]
    return {"Arm": _vector(first), "ForeArm": _vector(second), "Hand": (-0.25, -1.0, 0.35)}


def _vector(v: np.ndarray) -> Vector:
    return float(v[0]), float(v[1]), float(v[2])


def _unit(v: np.ndarray) -> np.ndarray:
    return np.asarray(v, np.float64) / max(float(np.linalg.norm(v)), 1e-9)


def _between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest rotation (3, 3) that brings direction `a` to direction `b`; between opposite ones, about z."""
    a, b = _unit(a), _unit(b)
    across, cosine = np.cross(a, b), float(a @ b)
    if cosine < -0.9999:
        return np.diag([-1.0, -1.0, 1.0])
    k = np.array([[0.0, -across[2], across[1]], [across[2], 0.0, -across[0]], [-across[1], across[0], 0.0]])
    return np.eye(3) + k + k @ k / (1.0 + cosine)


def _about_x(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def strides_of(figure: Figure, poses: Sequence[Pose] = STRIDES) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the turns and heads of a figure's bones in each pose of a walk, the first one again at the end.

    Raises:
        DataError: it has no skeleton.
    """
    keys = [placed(figure, pose) for pose in poses]
    return [*keys, keys[0]]
