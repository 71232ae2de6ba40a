"""Limbs that come to light: as wide as what is seen of them, lit like it, and clad where trousers stay on."""

import numpy as np
import pytest
from PIL import Image

from personagen.person.body import Body
from personagen.person.joints import Joint
from personagen.person.parts import Part
from personagen.warping.first_guess import first_guess
from personagen.warping.limbs import fitted
from personagen.warping.strips import Strip
from personagen.warping.uncover import uncover

from ..figures import joints_of_standing, standing

PAINT = np.array([[90, 120, 90], [60, 30, 10], [240, 190, 150], [200, 20, 20], [20, 20, 200], [200, 20, 20],
                  [200, 20, 20], [30, 30, 30], [5, 5, 5], [9, 9, 9]], np.uint8)  # fmt: skip
SCALE = 4


def large(parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parts (H, W) and joints of a person who is standing, four times as large."""
    return np.kron(parts, np.ones((SCALE, SCALE), np.uint8)), joints_of_standing() * [SCALE, SCALE, 1]


def in_a_skirt(half: int) -> np.ndarray:
    """A person in a skirt to the knees, with legs of `half` their width below it."""
    parts = standing(lower=90)
    for x in (43, 53):
        parts[90:116, x - half : x + half] = Part.SKIN
    parts[14:20, 44:52] = Part.SKIN
    return parts


@pytest.mark.parametrize("half", [2, 3])
def test_a_leg_goes_on_as_wide_as_it_is_below_the_hem(half):
    parts, joints = large(in_a_skirt(half))
    photo, skirt = Image.fromarray(PAINT[parts]), parts == Part.LOWER
    bare = np.asarray(uncover(photo, Body(parts, joints), skirt, region="lower")[0])
    legs = (bare[..., 0].astype(int) > 130) & (np.arange(parts.shape[1]) > SCALE * 48)
    above, below = legs[SCALE * 86 : SCALE * 89].sum(1).mean(), legs[SCALE * 94 : SCALE * 97].sum(1).mean()
    assert abs(above - below) < 0.25 * below


def test_a_leg_of_which_a_part_is_hidden_is_as_wide_as_usual():
    leg = Strip(np.array([[20.0, 0.0], [20.0, 100.0]]), np.array([10.0, 10.0]))
    x, y = np.meshgrid(np.arange(40) + 0.5, np.arange(100) + 0.5)
    seen = (np.abs(x - 20) < 3) & (y > 60)
    whole = fitted(leg, seen, np.zeros_like(seen), (x, y))
    assert np.interp(60, whole.points[:, 1], whole.half) == pytest.approx(3, abs=0.7)
    assert np.interp(0, whole.points[:, 1], whole.half) == pytest.approx(8.5, abs=0.2)  # at the hip
    hidden = (np.abs(x - 20) >= 3) & (np.abs(x - 20) < 9)
    assert np.array_equal(fitted(leg, seen, hidden, (x, y)).half, leg.half)


def test_trousers_below_a_dress_go_on_and_are_not_skin():
    parts = standing(lower=116)
    parts[60:90, 38:58] = Part.OUTER  # a long coat over them comes off with the top
    parts[14:20, 44:52] = Part.SKIN
    parts, joints = large(parts)
    garment = np.isin(parts, (Part.UPPER, Part.OUTER))
    found = np.asarray(uncover(Image.fromarray(PAINT[parts]), Body(parts, joints), garment, region="dress")[0])
    legs = found[SCALE * 75 : SCALE * 85, SCALE * 42 : SCALE * 44].astype(int)
    assert (legs[..., 2] > 120).all() and (legs[..., 0] < 100).all()


def test_an_arm_beside_a_wide_top_is_seen_down_to_its_wrist():
    parts, joints = large(standing(lower=108))
    parts[SCALE * 26 : SCALE * 58, SCALE * 56 : SCALE * 72] = Part.UPPER
    parts[SCALE * 14 : SCALE * 20, SCALE * 44 : SCALE * 52] = Part.SKIN
    hidden = np.zeros(parts.shape, bool)
    elbow, wrist = joints[Joint.LEFT_ELBOW], joints[Joint.LEFT_WRIST]
    for y in range(SCALE * 20, SCALE * 54):  # up to the line of the arm and a little beyond it
        x = round(np.interp(y, [SCALE * 24, elbow[1], wrist[1]], [joints[Joint.LEFT_SHOULDER, 0], elbow[0], wrist[0]]))
        hidden[y, : x + 2] = True
    photo = Image.fromarray(PAINT[parts])
    found = np.asarray(uncover(photo, Body(parts, joints), parts == Part.UPPER, region="upper", hidden=hidden)[0])
    row = SCALE * 46
    x = round(np.interp(row, [elbow[1], wrist[1]], [elbow[0], wrist[0]]))
    assert (found[row, x + 4 : x + 7, 0] > 150).all()


def test_what_is_painted_has_the_grain_of_skin():
    parts, joints = large(in_a_skirt(3))
    picture = PAINT[parts].astype(int)
    noise = np.random.default_rng(0).normal(0, 6, parts.shape)[..., None]
    noisy = Image.fromarray((picture + noise).clip(0, 255).astype(np.uint8))
    rough = []
    for photo in (Image.fromarray(picture.astype(np.uint8)), noisy):
        bare = np.asarray(uncover(photo, Body(parts, joints), parts == Part.LOWER, region="lower")[0]).astype(int)
        rough.append(np.abs(np.diff(bare[SCALE * 75 : SCALE * 85, SCALE * 52 : SCALE * 54, 0], axis=0)).mean())
    assert rough[1] > rough[0] + 0.5


def test_no_background_stays_around_a_hand_before_a_garment():
    parts = standing(lower=108)
    parts[50:56, 34:38] = Part.SKIN
    parts[14:20, 44:52] = Part.SKIN
    parts, joints = large(parts)
    mask = np.zeros(parts.shape, bool)
    mask[SCALE * 24 : SCALE * 70, SCALE * 36 : SCALE * 60] = True
    covered = Image.new("RGB", (160, 160), "white")
    covered.paste((20, 150, 60), (30, 20, 130, 150))
    guess = first_guess(
        Image.fromarray(PAINT[parts]), covered, "t-shirt", mask, body=Body(parts, joints),
        kept=np.zeros_like(mask), further=mask,
    )  # fmt: skip
    assert not (guess.mask & (parts == Part.SKIN) & ~mask).any()
    grown = guess.mask & ~mask
    assert grown.any() and (parts[grown] == Part.BACKGROUND).all()


def test_a_dress_goes_on_up_to_a_short_top_although_its_sleeves_go_lower():
    parts = standing()
    parts[20:100, 36:60] = Part.DRESS
    parts[14:20, 44:52] = Part.SKIN
    parts, joints = large(parts)
    bust, hidden = (parts == Part.DRESS) & (np.arange(len(parts))[:, None] < SCALE * 60), np.zeros(parts.shape, bool)
    hidden[SCALE * 20 : SCALE * 50, SCALE * 38 : SCALE * 58] = True
    hidden[SCALE * 20 : SCALE * 60, SCALE * 57 : SCALE * 64] = True  # a sleeve
    found, bare = uncover(Image.fromarray(PAINT[parts]), Body(parts, joints), bust, region="upper", hidden=hidden)
    between = (slice(SCALE * 52, SCALE * 58), slice(SCALE * 42, SCALE * 54))
    assert not bare[between].any()
    assert (np.asarray(found)[between][..., 0] > 150).all()


def test_clothes_that_stay_are_not_painted_over_beside_the_old_garment():
    parts, joints = large(standing(lower=108))
    parts[SCALE * 14 : SCALE * 20, SCALE * 44 : SCALE * 52] = Part.SKIN
    picture = PAINT[parts]
    found = np.asarray(uncover(Image.fromarray(picture), Body(parts, joints), parts == Part.LOWER, region="lower")[0])
    top = (slice(SCALE * 20, SCALE * 60 - 5), slice(SCALE * 40, SCALE * 56))
    assert np.abs(found[top].astype(int) - picture[top]).max() < 10


def test_bare_shoulders_slope_from_the_neck_to_the_arms():
    parts, joints = large(standing(lower=108))
    parts[SCALE * 14 : SCALE * 20, SCALE * 44 : SCALE * 52] = Part.SKIN
    found = np.asarray(
        uncover(Image.fromarray(PAINT[parts]), Body(parts, joints), parts == Part.UPPER, region="upper")[0]
    )
    row = SCALE * 22 + 2  # above the joints
    assert (found[row, SCALE * 42 : SCALE * 54, 0] > 150).all()


def test_trousers_lie_behind_a_forearm():
    parts = standing(lower=108)
    parts[14:20, 44:52] = Part.SKIN
    parts[44:62, 34:38] = Part.SKIN
    parts[58:66, 36:46] = Part.SKIN
    parts, joints = large(parts)
    everything = np.ones(parts.shape, bool)
    body, trousers = Body(parts, joints), Image.new("RGB", (160, 240), "white")
    trousers.paste((20, 150, 60), (40, 20, 120, 230))
    guess = first_guess(
        Image.fromarray(PAINT[parts]), trousers, "trousers", parts == Part.LOWER, body=body,
        kept=np.zeros_like(everything), further=everything,
    )  # fmt: skip
    laid = np.asarray(guess.picture.getchannel("A")) > 0
    assert (laid & body.skin[0]).any() and not (guess.mask & body.skin[0]).any()
