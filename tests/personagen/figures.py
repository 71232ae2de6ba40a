"""A standing person as body parts and joints, for tests of masks, of the parser and of what is laid on a person."""

import numpy as np

from personagen.person.joints import Joint
from personagen.person.parts import Part


def standing(*, lower: int = 60) -> np.ndarray:
    """Head, top and, down to row `lower`, trousers, as `Part` values (128, 96); what is below is up to the test."""
    parts = np.zeros((128, 96), np.uint8)
    parts[8:20, 40:56] = Part.HEAD
    parts[20:60, 36:60] = Part.UPPER
    parts[60:lower, 38:58] = Part.LOWER
    return parts


def joints_of_standing() -> np.ndarray:
    """Its joints (13, 3), the arms a little away from the body; left is on the picture's right."""
    places = {"NOSE": (48, 13), "SHOULDER": (9, 24), "ELBOW": (13, 42), "WRIST": (15, 58), "HIP": (5, 60),
              "KNEE": (5, 88), "ANKLE": (5, 114)}  # fmt: skip
    joints = np.ones((len(Joint), 3))
    for joint in Joint:
        side, _, name = joint.name.rpartition("_")
        x, y = places[name]
        joints[joint, :2] = (x if not side else 48 + x if side == "LEFT" else 48 - x), y
    return joints
