"""The template body: a shape between its sexes and weights, and posed to the joints of a photo.

It tells how deep a person is where one photo cannot, and carries the skeleton. MakeHuman's CC0 mesh (`bake.py`).
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from recsys.errors import ModelError

from ..person.joints import Joint
from .facing import FRONTAL, Stance
from .mesh import Skeleton

TEMPLATE = Path(__file__).with_name("body.safetensors")
STRETCH = (0.7, 1.4)
"""How much shorter and longer than the template's, by the body's height, a part may be made."""
FORESHORTENED = 0.8
"""Share of its length below which a forearm is taken to point forward."""
AHEAD = 0.1
"""How far before the elbow such a wrist is at most, metres: hands in pockets are near the hips."""
RELAXED, BEHIND = 0.06, 0.015
"""How far before the elbow the wrist of a hanging arm is, and how far behind the shoulder the elbow, in metres."""
STANCE = 0.025
"""How far before the template's the legs of one who stands straight for a picture are, in metres."""
HEEL, CAP = 1.25, 1.08
"""How much farther a shoe goes behind and before the ankle than a foot: a centimetre behind, one and a half before."""
KNEE = 0.88
"""How far a knee is before the other for a metre between the feet."""
LIMBS = ("Arm", "ForeArm", "Hand", "UpLeg", "Leg", "Foot", "ToeBase")


@dataclass(frozen=True)
class BodyMesh:
    """A body in some pose, metres, in the world of `mesh`, its pelvis where the pose puts it.

    vertices: float32 (V, 3). faces: int32 (F, 3). tails (J, 3): where each bone ends. bones: uint8 (V, 4), the bones
    that move each vertex; weights: float32 (V, 4), how much.
    """

    vertices: np.ndarray
    faces: np.ndarray
    skeleton: Skeleton
    tails: np.ndarray
    bones: np.ndarray
    weights: np.ndarray

    def bone(self, name: str) -> int:
        """The number of a bone."""
        return self.skeleton.names.index(name)

    def share(self, *names: str) -> np.ndarray:
        """How much bones of these names move each vertex (V,)."""
        return np.where(np.isin(self.bones, [self.bone(name) for name in names]), self.weights, 0).sum(1)

    @property
    def main(self) -> np.ndarray:
        """The bone that moves each vertex most (V,)."""
        return np.take_along_axis(self.bones, self.weights.argmax(1)[:, None], 1)[:, 0]


@cache
def _template() -> dict[str, np.ndarray]:
    try:
        return load_file(TEMPLATE)
    except Exception as error:
        raise ModelError(
            f"the template body {TEMPLATE.name} cannot be read ({error}); install the package again"
        ) from error


def load_body(*, build: float = 0.5, weight: float = 0.0) -> BodyMesh:
    """Return the template as it stands: arms and legs apart, its pelvis near the origin, 1.7 m tall.

    build: 0 a woman's, 1 a man's shape, between them a mixture. weight: -1 thin to 1 heavy.

    Raises:
        ModelError: the package's file is damaged.
    """
    t = _template()
    shares = {"female": 1 - build, "male": build, "thin": max(0.0, -weight), "heavy": max(0.0, weight)}

    def mixed(what: str) -> np.ndarray:
        arrays = {name: t[name + what] * (t[f"{name}.step"] if not what else 1) for name in ("base", *shares)}
        return arrays["base"] + sum(share * arrays[name] for name, share in shares.items())

    quads = t["quads"].astype(np.int32)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    names = tuple(bytes(t["names"]).decode().split("\n"))
    skeleton = Skeleton(names, t["parents"].astype(np.int32), mixed(".heads").astype(np.float32))
    weights = t["weights"].astype(np.float32)
    weights /= weights.sum(1, keepdims=True)
    vertices = mixed("").astype(np.float32)
    return BodyMesh(vertices, faces, skeleton, mixed(".tails").astype(np.float32), t["bones"], weights)


def pose(
    body: BodyMesh, joints: np.ndarray, *, height: float, ground: float | None = 0.0, stance: Stance = FRONTAL
) -> BodyMesh:  # fmt: skip
    """Move a body to joints that a photo shows (13, 2): x and y in metres, y from the ground up.

    height: of the person in metres. ground: height of what the feet stand on; None: they are not in the picture.
    Trunk and head are stretched row by row, each limb is turned and stretched along its bone; depth is the template's,
    as the stance turns it.
    """
    size = height / float(np.ptp(body.vertices[:, 1]))
    caged = _Cage(body, joints, size, stance.turned)
    heads, tails = caged(body.skeleton.heads), caged(body.tails)
    for side in ("Left", "Right"):
        _place_arm(body, joints, heads, tails, side, size, turned=stance.turned)
        _place_leg(body, joints, heads, tails, side, size, ground=ground, stance=stance)
    vertices = np.zeros_like(body.vertices, dtype=np.float64)
    trunk = caged(body.vertices)
    for number, name in enumerate(body.skeleton.names):
        share = body.share(name)
        some = np.flatnonzero(share > 0)
        if name.removeprefix("Left").removeprefix("Right") in LIMBS:
            old = body.skeleton.heads[number], body.tails[number]
            moved = _along(body.vertices[some], old, (heads[number], tails[number]), size)
        else:
            moved = trunk[some]
        vertices[some] += share[some, None] * moved
    if stance.shoes is not None:
        _put_on_shoes(body, vertices, heads, stance)
    skeleton = replace(body.skeleton, heads=heads.astype(np.float32))
    return replace(body, vertices=vertices.astype(np.float32), skeleton=skeleton, tails=tails.astype(np.float32))


class _Cage:
    """Stretch trunk and head in height between hips, shoulders and nose, and in width row by row."""

    def __init__(self, body: BodyMesh, joints: np.ndarray, size: float, turned: float) -> None:
        at = lambda name: body.skeleton.heads[body.bone(name)]
        pair = lambda name: joints[[Joint[f"LEFT_{name}"], Joint[f"RIGHT_{name}"]], :2]
        hips, shoulders, nose = pair("HIP"), pair("SHOULDER"), joints[Joint.NOSE, :2]
        face = body.vertices[body.main == body.bone("Head")]
        tip = face[face[:, 2].argmax()]
        self.size, self.cos, self.sin = size, float(np.cos(turned)), float(np.sin(turned))
        self.rows = np.array([at("LeftUpLeg")[1], at("LeftArm")[1], tip[1]], float)
        steps = np.diff([hips[:, 1].mean(), shoulders[:, 1].mean(), nose[1]]) / (np.diff(self.rows) * size)
        steps = steps.clip(*STRETCH) * np.diff(self.rows) * size
        self.places = hips[:, 1].mean() + np.concatenate([[0], np.cumsum(steps)])
        neck = shoulders[:, 0].mean()
        self.middles = np.array([hips[:, 0].mean(), neck, neck + 0.8 * (nose[0] - neck)])
        wide = lambda two, name: np.clip(abs(two[0, 0] - two[1, 0]) / (2 * size * self.cos * at(name)[0]), 0.8, 1.25)
        self.widths = size * np.array([wide(hips, "LeftUpLeg"), wide(shoulders, "LeftArm"), 1.0])

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Move points (n, 3) of the template."""
        y = points[:, 1]
        below, above = np.minimum(y - self.rows[0], 0) * self.size, np.maximum(y - self.rows[2], 0) * self.size
        rows = np.interp(y, self.rows, self.places) + below + above
        side, ahead = points[:, 0] * np.interp(y, self.rows, self.widths), points[:, 2] * self.size
        x = np.interp(y, self.rows, self.middles) + side * self.cos + ahead * self.sin
        return np.stack([x, rows, ahead * self.cos - side * self.sin], 1)


def _place_arm(
    body: BodyMesh, joints: np.ndarray, heads: np.ndarray, tails: np.ndarray, side: str, size: float, *, turned: float
) -> None:
    """Write where the bones of an arm begin and end."""
    arm, fore, hand = (body.bone(side + name) for name in ("Arm", "ForeArm", "Hand"))
    seen = [joints[Joint[f"{side.upper()}_{name}"], :2] for name in ("SHOULDER", "ELBOW", "WRIST")]
    lengths = [size * np.linalg.norm(body.tails[bone] - body.skeleton.heads[bone]) for bone in (arm, fore, hand)]
    depth = heads[arm, 2]
    flat = float(np.linalg.norm(seen[2] - seen[1]))
    ahead = RELAXED
    if flat < FORESHORTENED * lengths[1]:
        ahead = max(RELAXED, min(AHEAD, float(np.sqrt(lengths[1] ** 2 - flat**2))))
    away = [np.tan(turned) * (seen[0][0] - at[0]) for at in seen]
    places = [np.array([*at, depth + z]) for at, z in zip(seen, (0.0, away[1] - BEHIND, away[2] - BEHIND + ahead))]
    heads[arm], heads[fore], heads[hand] = places
    tails[arm], tails[fore] = places[1:]
    along = (places[2] - places[1]) / max(float(np.linalg.norm(places[2] - places[1])), 1e-6)
    tails[hand] = places[2] + along * lengths[2]


def _place_leg(
    body: BodyMesh, joints: np.ndarray, heads: np.ndarray, tails: np.ndarray, side: str, size: float,
    *, ground: float | None, stance: Stance,
) -> None:  # fmt: skip
    """Write where the bones of a leg begin and end."""
    thigh, shin, foot, toes = (body.bone(side + name) for name in ("UpLeg", "Leg", "Foot", "ToeBase"))
    rest = body.skeleton.heads
    seen = [joints[Joint[f"{side.upper()}_{name}"], :2] for name in ("HIP", "KNEE", "ANKLE")]
    middle, turned = joints[[Joint.LEFT_HIP, Joint.RIGHT_HIP], 0].mean(), stance.turned
    away = [-(at[0] - middle) * np.tan(turned) for at in seen]
    if stance.ahead is not None:
        half = stance.ahead / 2 if side == "Left" else -stance.ahead / 2
        away[1:] = KNEE * half, half
    places = [np.array([*at, (size * rest[bone, 2] + STANCE) / np.cos(turned) + z])
              for at, bone, z in zip(seen, (thigh, shin, foot), away)]  # fmt: skip
    heads[thigh], heads[shin], heads[foot] = places
    tails[thigh], tails[shin] = places[1:]
    ahead, points = size * (body.tails[foot] - rest[foot]), stance.points(side)
    tails[foot] = places[2] + _about(ahead * [0.5, 1.0, 1.0], points)
    if ground is not None:
        tails[foot, 1] = ground + size * (body.tails[foot, 1] - body.vertices[:, 1].min())
    heads[toes] = tails[foot]
    tails[toes] = tails[foot] + _about(np.array([0, 0, size * (body.tails[toes, 2] - rest[toes, 2])]), points)


def _put_on_shoes(body: BodyMesh, vertices: np.ndarray, heads: np.ndarray, stance: Stance) -> None:
    """Lengthen the feet among vertices (V, 3), in place."""
    for side in ("Left", "Right"):
        along = _about(np.array([0.0, 0.0, 1.0]), stance.points(side))
        ahead = (vertices - heads[body.bone(side + "Foot")]) @ along
        more = body.share(side + "Foot", side + "ToeBase") * ahead * np.where(ahead < 0, HEEL - 1, CAP - 1)
        vertices += more[:, None] * along


def _about(v: np.ndarray, turned: float) -> np.ndarray:
    """A direction (3,) of the body, as it is turned towards the picture's right."""
    c, s = np.cos(turned), np.sin(turned)
    return np.array([v[0] * c + v[2] * s, v[1], v[2] * c - v[0] * s])


def _along(
    points: np.ndarray, old: tuple[np.ndarray, np.ndarray], new: tuple[np.ndarray, np.ndarray], size: float
) -> np.ndarray:
    """Turn and stretch points (n, 3) as a bone goes from its old head and tail to its new ones."""
    before, after = old[1] - old[0], new[1] - new[0]
    long, now = float(np.linalg.norm(before)), max(float(np.linalg.norm(after)), 1e-6)
    a, b = before / long, after / now
    offset = points - old[0]
    along = offset @ a
    across = size * (offset - along[:, None] * a) @ turn(a, b).T
    return new[0] + across + (along * np.clip(now / long, size * STRETCH[0], size * STRETCH[1]))[:, None] * b


def turn(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest rotation (3, 3) that brings unit vector a to b."""
    v, c = np.cross(a, b), float(a @ b)
    skew = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + skew + skew @ skew / max(1 + c, 1e-6)
