"""Limbs of garments are found where they lie, also across the trunk, by parts that are known exactly."""

import numpy as np
import pytest
from PIL import Image

from personagen.atelier.flat import render_pieces
from personagen.atelier.garment import GarmentSpec
from personagen.person.joints import Joint
from personagen.pretrain import garment_scenes
from personagen.pretrain.garment_scenes import SIDE
from personagen.vocabulary import GarmentPart
from personagen.warping.lay import lay
from personagen.warping.parted import along, bottom_of_parts, tidy, top_of_parts

from ..figures import joints_of_standing

RNG = np.random.default_rng


def stacked(spec: GarmentSpec, *angles: list[float]) -> tuple[Image.Image, np.ndarray]:
    """A garment of the atelier on white, its limbs at these angles, and its parts."""
    trunk, *limbs = render_pieces(spec, arms=25.0)
    layers = [garment_scenes._Layer(trunk.picture.astype(np.float32) / 255, trunk.parts)]
    layers += [garment_scenes._moved(limb, angle, RNG(0)) for limb, angle in zip(limbs, angles)]
    colours, parts = garment_scenes._stacked(layers, RNG(0))
    picture = 1 + colours[..., 3:] * (np.minimum(colours[..., :3], 0.9) - 1)
    return Image.fromarray((picture * 255).astype(np.uint8)), parts


SWEATER = GarmentSpec("sweater", "red", pattern="striped", accent="white", sleeve=0.97)
APART, ACROSS = ([0.9, 0.9], [0.9, 0.9]), ([-0.7, -0.7], [-0.7, -0.7])


@pytest.mark.parametrize("angles", [APART, ACROSS], ids=["apart", "across"])
def test_a_top_is_read_alike_wherever_its_sleeves_lie(angles):
    _, parts = stacked(SWEATER, *angles)
    found = top_of_parts(parts > 0, tidy(parts, parts > 0))
    assert found is not None
    top, trunk = found.top, parts == GarmentPart.TRUNK
    columns = np.flatnonzero(trunk.any(0))
    assert top.shoulders[0, 0] == pytest.approx(columns[0], abs=0.06 * SIDE)
    assert top.shoulders[1, 0] == pytest.approx(columns[-1], abs=0.06 * SIDE)
    assert (top.armpits[:, 1] > top.shoulders[:, 1] + 8).all()
    for side, sign in ((0, -1), (1, 1)):
        sleeve = top.sleeves[side]
        middle = (sleeve.left + sleeve.right) / 2
        length = np.hypot(*np.diff(middle[8:], axis=0).T).sum()
        assert length > 0.15 * SIDE
        outwards = sign * (middle[-1, 0] - middle[8, 0]) > 0
        assert outwards == (angles is APART)
    assert found.behind.any() == (angles is ACROSS)


def test_crossed_sleeves_are_unfolded_and_the_trunk_is_whole():
    joints = joints_of_standing() * [4, 4, 1]
    picture, parts = stacked(SWEATER, *ACROSS)
    layer = np.asarray(lay(picture, "sweater", joints, (512, 384), shown=parts))
    for name in ("LEFT_ELBOW", "RIGHT_ELBOW"):
        x, y = joints[Joint[name], :2].astype(int)
        assert layer[y, x, 3] > 200
    hips = joints[[Joint.LEFT_HIP, Joint.RIGHT_HIP], :2].mean(0)
    shoulders = joints[[Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER], :2].mean(0)
    rows = slice(int(shoulders[1]) + 20, int(hips[1]) - 20)
    assert (layer[rows, int(hips[0]) - 12 : int(hips[0]) + 12, 3] > 200).all()
    fused = np.asarray(lay(picture, "sweater", joints, (512, 384), shown=np.zeros_like(parts)))
    assert fused[y, x, 3] < 200  # from the silhouette alone there is no sleeve


def test_legs_that_lie_askew_are_two_legs():
    picture, parts = stacked(GarmentSpec("trousers", "blue"), [0.9, 0.9], [0.9, 0.9])
    found = bottom_of_parts(parts > 0, tidy(parts, parts > 0))
    assert found is not None and len(found.legs) == 2
    for leg, sign in zip(found.legs, (-1, 1)):
        middle = (leg.left + leg.right) / 2
        assert sign * (middle[-1, 0] - middle[0, 0]) > 0.2 * SIDE
        assert sign * (leg.left[5:-5, 0] - leg.right[5:-5, 0]).mean() > 0  # the outer edge comes first
    joints = joints_of_standing() * [4, 4, 1]
    layer = np.asarray(lay(picture, "trousers", joints, (512, 384), shown=parts))[..., 3] > 200
    for name in ("LEFT_KNEE", "RIGHT_KNEE"):
        x, y = joints[Joint[name], :2].astype(int)
        assert layer[y, x]
    between = joints[[Joint.LEFT_KNEE, Joint.RIGHT_KNEE], :2].mean(0).astype(int)
    assert not layer[between[1] + 20, between[0]]


def test_without_both_limbs_nothing_is_said():
    parts = np.zeros((60, 60), np.uint8)
    parts[10:50, 20:40] = GarmentPart.TRUNK
    assert top_of_parts(parts > 0, parts) is None and bottom_of_parts(parts > 0, parts) is None
    parts[12:40, 10:20] = GarmentPart.LEFT_SLEEVE
    assert top_of_parts(parts > 0, parts) is None


def test_a_line_goes_along_a_bent_limb():
    own = np.zeros((120, 120), bool)
    own[10:80, 20:32] = True
    own[68:80, 20:90] = True
    line, high, low = along(own, np.array([26.0, 10.0]), 16)
    assert line[0] == pytest.approx([26, 13], abs=5) and line[-1] == pytest.approx([88, 74], abs=5)
    assert np.abs(line[6] - [26, 60]).max() < 8 and (high - low)[3:12] == pytest.approx(12, abs=4)


def test_shreds_of_limbs_become_the_trunk():
    parts = np.full((40, 40), GarmentPart.TRUNK, np.uint8)
    parts[:20, :10], parts[30:33, 30:33] = GarmentPart.LEFT_SLEEVE, GarmentPart.LEFT_SLEEVE
    cloth = np.ones_like(parts, bool)
    cloth[:, 39] = False
    found = tidy(parts, cloth)
    assert (found[30:33, 30:33] == GarmentPart.TRUNK).all() and (found[:20, :10] == GarmentPart.LEFT_SLEEVE).all()
    assert not found[:, 39].any()
