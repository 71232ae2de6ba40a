"""Photos that no figure can be made of are refused with the reason."""

import numpy as np
import pytest

from personagen.figure.refuse import check_back, check_photo
from personagen.person.joints import MIRRORED, Joint
from personagen.person.parts import Part
from recsys.errors import DataError

from .test_geometry import joints_of_standing, person


def large() -> tuple[np.ndarray, np.ndarray]:
    """The standing person at four times the size."""
    return np.kron(person(), np.ones((4, 4), np.uint8)), joints_of_standing() * [4, 4, 1]


def test_a_standing_person_passes():
    assert check_photo(*large()) == (False, [])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("nobody", "no head"),
        ("two", "two people"),
        ("small", "pixels high"),
        ("behind", "from behind"),
        ("turned", "turned away"),
        ("seated", "sits"),
        ("unsure", "one whole person"),
    ],
)
def test_others_are_refused(change, says):
    parts, joints = large()
    if change == "nobody":
        parts[parts == Part.HEAD] = Part.BACKGROUND
    elif change == "two":
        parts[40:260, 0:80] = Part.UPPER
    elif change == "small":
        parts, joints = person(), joints_of_standing()
    elif change == "behind":
        joints = joints[MIRRORED]
    elif change == "turned":
        joints[[Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER], 0] = 195, 189
    elif change == "seated":
        joints[[Joint.LEFT_KNEE, Joint.RIGHT_KNEE], 1] = 270
    else:
        joints[:, 2] = 0.4
    with pytest.raises(DataError, match=says):
        check_photo(parts, joints)


def test_a_photo_that_ends_at_the_knees_gives_a_bust():
    parts, joints = large()
    joints[[Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE], 2] = 0.05
    bust, notes = check_photo(parts[:360], joints)
    assert bust and "bust" in notes[0]


def test_a_back_must_be_of_the_same_person():
    joints = joints_of_standing()
    longer = joints.copy()
    longer[[Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE], 1] += 30
    assert check_back(joints, joints) is joints
    with pytest.raises(DataError, match="trunks long"):
        check_back(longer, joints)
    with pytest.raises(DataError, match="no joints"):
        check_back(None, joints)
