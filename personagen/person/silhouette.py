"""Whose pixels are whose: a person's own silhouette, what lies away from it, and what is somebody else's."""

from collections.abc import Sequence

import numpy as np

from ..images import dilate, pieces
from .joints import Joint, trunk_of
from .parts import Part

BONES = (
    ("NOSE", "LEFT_SHOULDER"), ("NOSE", "RIGHT_SHOULDER"), ("LEFT_SHOULDER", "RIGHT_SHOULDER"),
    ("LEFT_HIP", "RIGHT_HIP"),
    *((f"{side}_{one}", f"{side}_{other}") for side in ("LEFT", "RIGHT") for one, other in (
        ("SHOULDER", "ELBOW"), ("ELBOW", "WRIST"), ("SHOULDER", "HIP"), ("HIP", "KNEE"), ("KNEE", "ANKLE"))),
)  # fmt: skip
SURE = 0.3
"""Least probability of both ends of a bone."""
NEAR = 0.25
"""Of a trunk's length: how far a piece may lie from the others and be the same person's."""
REACH = 0.45
"""Of a trunk's length: how far from its bones a person ends, clothes and hair included."""
STRAY = 0.005
"""Of a silhouette: area of a piece away from it from which it is somebody or something else."""
RIM = 0.04
"""Of a trunk's length: how much is left around others, whose edge is not known to the pixel."""


def own_silhouette(parts: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Mark the pieces of what is no background that a person's bones run through, and those near them: bool (H, W).

    parts (H, W): small ones will do. joints (13, 3): in their pixels.
    """
    found = pieces(parts != Part.BACKGROUND)
    rows, columns = np.concatenate([_along(bone, parts.shape) for bone in _bones(joints)], 1)
    line = np.zeros(parts.shape, bool)
    line[rows, columns] = True
    own = np.zeros(parts.shape, bool)
    for piece in found:
        if line[piece].any():
            own[piece] = True
    reach = max(1, round(NEAR * trunk_of(joints).tall))
    near = dilate(own, up=reach, down=reach, side=reach)
    for piece in found:
        if near[piece].any():
            own[piece] = True
    return own


def others_of(
    parts: np.ndarray, joints: np.ndarray, others: Sequence[np.ndarray] = (), *, own: np.ndarray | None = None
) -> np.ndarray:
    """Mark what is not this person's and must not be touched, bool (H, W): of others, and what lies away from them.

    parts (H, W), joints (13, 3): of the person; others: joints of others in the same pixels. own: `own_silhouette`,
    where it is known.
    """
    own = own_silhouette(parts, joints) if own is None else own
    spared = np.zeros(parts.shape, bool)
    for piece in pieces((parts != Part.BACKGROUND) & ~own):
        if len(piece[0]) >= STRAY * own.sum():
            spared[piece] = True
    mine = distance(joints, parts.shape) if others else None
    for other in others:
        theirs = distance(other, parts.shape)
        assert mine is not None
        spared |= (theirs < REACH) & (theirs < mine)
    rim = max(1, round(RIM * trunk_of(joints).tall))
    return dilate(spared, up=rim, down=rim, side=rim) if spared.any() else spared


def distance(joints: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """How far each pixel of (H, W) is from the nearest bone of a person, in lengths of the trunk."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    nearest = np.full(size, np.inf)
    trunk = trunk_of(joints)
    for start, end in [*_bones(joints), (trunk.shoulders, trunk.hips)]:
        along, length = end - start, max(float(((end - start) ** 2).sum()), 1e-6)
        share = (((x - start[0]) * along[0] + (y - start[1]) * along[1]) / length).clip(0, 1)
        away = np.hypot(x - start[0] - share * along[0], y - start[1] - share * along[1])
        nearest = np.minimum(nearest, away)
    return nearest / trunk.tall


def touches(joints: np.ndarray, own: np.ndarray) -> bool:
    """Tell whether a silhouette (H, W) goes through the trunk of somebody else, with joints (13, 3) in its pixels."""
    trunk = trunk_of(joints)
    line = [trunk.shoulders * (1 - step) + trunk.hips * step for step in (0.2, 0.4, 0.6, 0.8)]
    inside = [(row, column) for column, row in line if 0 <= row < own.shape[0] and 0 <= column < own.shape[1]]
    return len(inside) > 2 and bool(np.mean([own[int(row), int(column)] for row, column in inside]) > 0.5)


def _bones(joints: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Both ends (column, row) of the bones that are sure; the trunk's middle line where none is."""
    ends = [(joints[Joint[one]], joints[Joint[other]]) for one, other in BONES]
    trunk = trunk_of(joints)
    sure = [(one[:2], other[:2]) for one, other in ends if min(one[2], other[2]) >= SURE]
    return sure or [(trunk.shoulders, trunk.hips)]


def _along(bone: tuple[np.ndarray, np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Rows and columns (2, n) along a bone, within (H, W)."""
    steps = np.linspace(0, 1, 40)[:, None]
    places = (bone[0] * (1 - steps) + bone[1] * steps).astype(int)
    return np.stack([places[:, 1].clip(0, size[0] - 1), places[:, 0].clip(0, size[1] - 1)])
