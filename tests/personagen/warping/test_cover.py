"""A new garment covers the old one where that is near: sideways, down to its hem, and up to the waist."""

import numpy as np

from personagen.person.joints import Joint, as_seen
from personagen.person.parts import Part
from personagen.warping.cover import covering, old_of, waist_of
from personagen.warping.ribbon import Ribbon
from personagen.warping.targets import WAIST

from ..figures import joints_of_standing

SIZE = (128, 96)
JOINTS = as_seen(joints_of_standing())[:, :2].astype(float)
MIDDLE = float(JOINTS[[Joint.LEFT_HIP, Joint.RIGHT_HIP], 0].mean())
HIPS = float(JOINTS[[Joint.LEFT_HIP, Joint.RIGHT_HIP], 1].mean())


def skirt(*, half: float = 9.0, long: float = 30.0) -> Ribbon:
    rows = np.linspace(HIPS - 8, HIPS - 8 + long, 28)
    return Ribbon(np.stack([np.full(28, MIDDLE - half), rows], 1), np.stack([np.full(28, MIDDLE + half), rows], 1))


def old_skirt(*, half: float, long: float) -> np.ndarray:
    old = np.zeros(SIZE, bool)
    old[int(HIPS - 8) : int(HIPS - 8 + long), int(MIDDLE - half) : int(MIDDLE + half)] = True
    return old


def laid(old: np.ndarray) -> Ribbon:
    return covering([(skirt(), skirt())], "skirt", JOINTS, old_of(old, JOINTS))[0][1]


def test_edges_go_out_over_an_old_garment_that_is_a_little_wider():
    found = laid(old_skirt(half=13, long=30))
    assert (found.left[8:-4, 0] < MIDDLE - 12).all() and (found.right[8:-4, 0] > MIDDLE + 12).all()
    narrow = laid(old_skirt(half=5, long=30))
    assert np.allclose(narrow.left[:, 0], MIDDLE - 9) and np.allclose(narrow.right[:, 0], MIDDLE + 9)
    wide = laid(old_skirt(half=40, long=30))
    assert (wide.left[:, 0] >= MIDDLE - 9 - 0.5 * 18 - 3).all()


def test_what_falls_does_not_become_narrow_again_below_the_old_hem():
    found = laid(old_skirt(half=13, long=18))
    assert (np.diff(found.right[6:, 0]) > -0.5).all() and found.right[-1, 0] > MIDDLE + 11


def test_a_hem_goes_down_to_an_old_one_that_is_near_and_not_to_one_that_is_far():
    assert laid(old_skirt(half=9, long=33)).left[-1, 1] > HIPS - 8 + 32.5
    assert laid(old_skirt(half=9, long=60)).left[-1, 1] == skirt().left[-1, 1]


def test_the_waist_lies_at_the_old_one_and_below_a_top_never_lower_than_usual():
    parts = np.zeros(SIZE, np.uint8)
    tall = HIPS - float(JOINTS[[Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER], 1].mean())
    assert waist_of(parts, JOINTS, parts == Part.LOWER) is None
    for row, above, least in ((HIPS - 0.5 * tall, Part.UPPER, 0.5), (HIPS - 0.15 * tall, Part.UPPER, WAIST),
                              (HIPS - 0.15 * tall, Part.SKIN, 0.15)):  # fmt: skip
        parts[:] = above
        parts[int(row) :] = Part.LOWER
        waist = waist_of(parts, JOINTS, parts == Part.LOWER)
        assert waist is not None and least <= waist < least + 0.12


def test_the_waist_lies_above_where_the_upper_part_of_a_dress_ends():
    """The old skirt of it is painted over some way beyond its edge."""
    large = JOINTS * 5
    hips, shoulders = (float(large[[Joint[f"LEFT_{name}"], Joint[f"RIGHT_{name}"]], 1].mean())
                       for name in ("HIP", "SHOULDER"))  # fmt: skip
    parts = np.full((5 * SIZE[0], 5 * SIZE[1]), Part.DRESS, np.uint8)
    old = np.zeros(parts.shape, bool)
    old[int(hips - 0.5 * (hips - shoulders)) :] = True
    waist = waist_of(parts, large, old)
    assert waist is not None and (waist - 0.5) * (hips - shoulders) > 0.012 * len(parts)
