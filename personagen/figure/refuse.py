"""Say which photos no figure can be made of, and why: nobody whole, seated, turned away, from behind, too small.

Limits were set on street photos, on photos cut at the hips, on two people side by side and on other things: the mean
probability of a whole person's joints is .61 to .78 for nine in ten, of two people's .30 to .49, of things' below .33.
"""

import numpy as np

from recsys.errors import DataError

from ..images import pieces
from ..person.joints import Joint, trunk_of
from ..person.parts import Part
from ..person.whole import seen_in

SMALLEST = 250
"""Least height of a person in pixels."""
WHOLE, UNSURE = 0.56, 0.16
"""Least mean probability of the joints of a whole person, and of each one."""
FACE = 0.001
"""Least share of the picture of a head."""
SECOND = 0.2
"""Largest share of the person of another piece of people."""
SEATED = 0.6
"""Least height of thighs over that of the trunk of somebody who stands."""
TURNED, ASKEW = 0.42, 0.50
"""Distance of the shoulders over the trunk below which somebody is turned away, and from which they are frontal."""
HIDDEN = 0.25
"""Share of joints off the person from which too much is hidden."""
CARRIED = 0.15
"""Share of the trunk that bags and scarves may hide."""
UNLIKE = 0.15
"""How far shares of a photo from behind may be from those of the front."""


def check_photo(parts: np.ndarray, joints: np.ndarray | None, *, name: str = "this photo") -> tuple[bool, list[str]]:
    """Check that a figure can be made of a person, by parts (H, W) and joints (13, 3).

    Returns whether it must be a bust, since the picture ends above the feet, and what the user should know.

    Raises:
        DataError: it cannot; the message says why and what would help.
    """
    if joints is None:
        raise DataError(f"no joints were found in {name}; a figure needs the embedded parser")
    person = parts != Part.BACKGROUND
    if (parts == Part.HEAD).sum() < FACE * parts.size:
        raise DataError(f"no head was found in {name}; give a photo of one standing person from head to feet")
    tall = int(np.ptp(np.flatnonzero(person.any(1)))) + 1
    if tall < SMALLEST:
        raise DataError(f"the person in {name} is {tall} pixels high; a figure needs {SMALLEST} and more")
    found = [len(rows) for rows, _ in pieces(person)[:2]]
    if len(found) == 2 and found[1] >= SECOND * found[0]:
        raise DataError(f"{name} shows two people, or one in pieces; crop it to one, or name them with --box")
    bust = _ends_above_feet(person, joints)
    _check_pose(parts, joints, bust, name)
    return bust, _notes(parts, joints, bust, name)


def _ends_above_feet(person: np.ndarray, joints: np.ndarray) -> bool:
    """Tell whether the picture ends above the feet: the person reaches its lower edge, and ankles are not sure."""
    ankles = joints[[Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE]]
    at_edge = bool(person[-max(2, len(person) // 100) :].any())
    return at_edge and bool(ankles[:, 2].mean() < 0.4 or ankles[:, 1].max() > 0.985 * len(person))


def _check_pose(parts: np.ndarray, joints: np.ndarray, bust: bool, name: str) -> None:
    trunk = trunk_of(joints)
    apart = joints[Joint.LEFT_SHOULDER, 0] - joints[Joint.RIGHT_SHOULDER, 0]
    if apart < -0.2 * trunk.tall:
        raise DataError(f"{name} shows somebody from behind; give one from the front, and this one as --person_back")
    if abs(apart) < TURNED * trunk.tall:
        raise DataError(
            f"the person in {name} is turned away (shoulders {abs(apart) / trunk.tall:.2f} of the trunk, not "
            f"{TURNED}); give a photo from the front"
        )
    seen = seen_in(parts, joints)
    if bust:
        if not seen.top:
            raise DataError(f"{name} shows too little of a person for a bust; give one from head to the hips or knees")
        return
    if (sure := joints[:, 2].mean()) < WHOLE or joints[:, 2].min() < UNSURE:
        raise DataError(
            f"{name} does not show one whole person well (joints {sure:.2f}, least {joints[:, 2].min():.2f}; "
            f"{WHOLE} and {UNSURE} are needed); give a photo of one standing person from head to feet"
        )
    pair = lambda joint: joints[[Joint[f"LEFT_{joint}"], Joint[f"RIGHT_{joint}"]], 1].mean()
    if (thighs := (pair("KNEE") - pair("HIP")) / trunk.tall) < SEATED:
        raise DataError(
            f"the person in {name} sits or crouches (thighs {thighs:.2f} of the trunk); give one who stands"
        )
    if (off := _off(parts, joints)) > HIDDEN:
        raise DataError(f"much of the body in {name} is hidden ({off:.0%} of its joints); give a photo that shows it")


def _off(parts: np.ndarray, joints: np.ndarray) -> float:
    """Share of joints that are not on the person."""
    rows = joints[:, 1].astype(int).clip(0, parts.shape[0] - 1)
    return float((parts[rows, joints[:, 0].astype(int).clip(0, parts.shape[1] - 1)] == Part.BACKGROUND).mean())


def _notes(parts: np.ndarray, joints: np.ndarray, bust: bool, name: str) -> list[str]:
    trunk, notes = trunk_of(joints), []
    if bust:
        notes.append(f"{name} ends above the feet, so a bust is made: what it shows, without the rest")
    apart = abs(joints[Joint.LEFT_SHOULDER, 0] - joints[Joint.RIGHT_SHOULDER, 0]) / trunk.tall
    if apart < ASKEW:
        notes.append(f"the person in {name} is a little turned; the figure is made as if seen from the front")
    middle = (trunk.shoulders + trunk.hips) / 2
    top, bottom = (max(0, int(middle[1] + sign * trunk.tall / 2)) for sign in (-1, 1))
    left, right = (max(0, int(middle[0] + sign * trunk.across / 2)) for sign in (-1, 1))
    box = parts[top:bottom, left:right]
    if box.size and (box == Part.CARRIED).mean() > CARRIED:
        notes.append(f"a bag or scarf hides much of the trunk in {name}; it becomes part of the clothes")
    return notes


def check_back(joints: np.ndarray | None, front: np.ndarray, *, name: str = "the photo from behind") -> np.ndarray:
    """Check that a photo from behind fits one from the front; return its joints (13, 3).

    Raises:
        DataError: no joints are found, or the person's shares differ too much.
    """
    if joints is None:
        raise DataError(f"no joints were found in {name}; give a photo of the same person from behind, head to feet")
    shares = []
    for one in (front, joints):
        trunk = trunk_of(one)
        ankles = one[[Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE], 1].mean()
        shares.append((ankles - trunk.hips[1]) / trunk.tall)
    if abs(shares[1] / shares[0] - 1) > UNLIKE:
        raise DataError(
            f"legs are {shares[0]:.2f} trunks long in the photo from the front and {shares[1]:.2f} in {name}; give two "
            "photos of one person, both whole and upright"
        )
    return joints
