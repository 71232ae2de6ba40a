"""The photo's camera: the picture's coordinates and the world's; which way a person is turned."""

import numpy as np
import pytest

from personagen.atelier.body import skeleton
from personagen.atelier.corpus import random_sitting
from personagen.atelier.render import render_person
from personagen.atelier.trace import Camera, axes
from personagen.corpora.renders import body_of_render
from personagen.figure.body import load_body, pose
from personagen.figure.facing import MOST, Stance, read_stance
from personagen.figure.lens import Lens, lens_of
from personagen.figure.maps import read_maps
from tests.personagen.figure.test_body import STANDING


def test_world_and_picture_are_each_other_s_inverse():
    points = np.random.default_rng(0).uniform([-0.5, 0, -0.3], [0.5, 1.8, 0.3], (200, 3))
    lens = Lens()
    assert np.allclose(lens.to_world(lens.to_picture(points)), points, atol=1e-6)
    assert np.allclose(lens.to_picture(points * [1, 1, 0]), points * [1, 1, 0], atol=1e-6)


def test_toes_that_a_camera_sees_below_the_heels_stand_on_the_same_ground():
    lens = lens_of(0.2)
    assert 0.05 < lens.ground < 0.06
    heel, toes = np.array([[0, lens.ground, -0.05]]), np.array([[0, lens.ground, 0.2]])
    seen = lens.to_picture(np.concatenate([heel, toes]))
    assert abs(seen[1, 1]) < 1e-6 and seen[0, 1] > 0.05
    assert np.allclose(lens.standing(seen, 1.7)[:, 1], 0, atol=1e-6)
    top = lens.standing(np.array([[0, 1.7, 0.0]]), 1.7)
    assert abs(top[0, 1] - 1.7) < 1e-6


def test_a_turned_body_keeps_its_joints_and_its_far_side_lies_behind():
    body = pose(load_body(), STANDING, height=1.7, stance=Stance(turned=0.3))
    plain = pose(load_body(), STANDING, height=1.7)
    at = lambda one, name: one.skeleton.heads[one.bone(name)]
    for name in ("LeftArm", "RightForeArm", "LeftLeg"):
        assert np.allclose(at(body, name)[:2], at(plain, name)[:2], atol=1e-5)
    assert at(body, "LeftArm")[2] < at(plain, "LeftArm")[2] < at(body, "RightArm")[2] + 0.02
    assert body.tails[body.bone("LeftFoot")][0] > plain.tails[plain.bone("LeftFoot")][0] + 0.02


@pytest.mark.parametrize("azimuth", [-16.0, 16.0])
def test_a_person_s_turn_is_read_off_feet_and_nose(azimuth):
    found = []
    for seed in range(40, 44):
        sitting = random_sitting(seed)
        plain = sitting.camera
        camera = Camera(azimuth, plain.elevation, plain.distance, plain.target, plain.extent)
        picture = render_person(sitting.body, sitting.outfit, "studio", size=(256, 192), camera=camera)
        body = body_of_render(picture, sitting.body, camera)
        assert body.joints is not None
        maps = read_maps(body.parts, body.joints, kinds={}, outline=picture.labels > 0)
        found.append(np.degrees(read_stance(maps).turned))
    assert max(np.abs(found)) <= MOST
    assert abs(np.mean(found) + azimuth) < 6  # a camera that goes to the right sees a person turned to the left


def test_a_foot_that_ends_lower_in_the_picture_stands_before_the_other():
    apart = []
    for seed in range(40, 48):
        sitting = random_sitting(seed)
        picture = render_person(sitting.body, sitting.outfit, "studio", size=(256, 192), camera=sitting.camera)
        body = body_of_render(picture, sitting.body, sitting.camera)
        assert body.joints is not None
        maps = read_maps(body.parts, body.joints, kinds={}, outline=picture.labels > 0, height=sitting.body.height)
        right, left = (
            np.asarray(at) @ axes(Camera(sitting.camera.azimuth, 0.0))[0] for at in skeleton(sitting.body).ankle
        )
        apart.append((read_stance(maps).ahead, left - right))
    read, true = np.array(apart, float).T
    assert np.abs(true - read).mean() < 0.04 < np.abs(true).mean() and np.corrcoef(read, true)[0, 1] > 0.8


def test_a_foot_stands_and_points_where_the_stance_says():
    plain = pose(load_body(), STANDING, height=1.7)
    body = pose(load_body(), STANDING, height=1.7, stance=Stance(ahead=0.2, shoes=(0.05, 0.0)))
    ankle = lambda one, side: one.skeleton.heads[one.bone(side + "Foot")]
    assert abs(ankle(body, "Left")[2] - ankle(body, "Right")[2] - 0.2) < 1e-5
    tip = lambda side: body.tails[body.bone(side + "Foot")] - ankle(body, side)
    assert tip("Left")[0] > 0.05 > 0.02 > abs(tip("Right")[0])
    reach = lambda one: np.ptp(one.vertices[one.main == one.bone("RightFoot")][:, 2])
    assert reach(body) > reach(plain) + 0.005
