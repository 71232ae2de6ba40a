"""Poses by name: limbs point where the pose says, bones keep their lengths, feet stand on the ground."""

import numpy as np
import pytest

from personagen.figure.body import load_body
from personagen.figure.mesh import Figure, Layer
from personagen.figure.poses import AS_PHOTO, POSES, bones_in, pose_named, strides_of, take_pose
from recsys.errors import ConfigError
from tests.personagen.figure.puppet import puppet, skeleton


def heads_in(name: str) -> dict[str, np.ndarray]:
    bones = skeleton()
    return {n.rpartition(":")[2]: p for n, p in zip(bones.names, bones_in(bones, POSES[name])[1])}


@pytest.mark.parametrize("name", POSES)
def test_bones_keep_their_lengths_and_turns_are_rotations(name):
    bones = skeleton()
    turns, places = bones_in(bones, POSES[name])
    assert np.allclose(turns @ turns.transpose(0, 2, 1), np.eye(3), atol=1e-6)
    assert np.allclose(np.linalg.det(turns), 1, atol=1e-6)
    for at, parent in enumerate(bones.parents):
        if parent >= 0:
            length = np.linalg.norm(bones.heads[at] - bones.heads[parent])
            assert np.linalg.norm(places[at] - places[parent]) == pytest.approx(length, abs=1e-5)


@pytest.mark.parametrize("name", POSES)
def test_the_lowest_point_stands_on_the_ground(name):
    figure = take_pose(puppet(), POSES[name])
    assert min(layer.vertices[:, 1].min() for layer in figure.layers) == pytest.approx(0.0, abs=0.01)


def test_arms_out_are_level_and_raised_arms_are_above_the_head():
    out, raised = heads_in("arms out"), heads_in("arms raised")
    for side, sign in (("Left", 1), ("Right", -1)):
        reach = out[f"{side}Hand"] - out[f"{side}Arm"]
        assert sign * reach[0] > 0.95 * np.linalg.norm(reach)
        assert raised[f"{side}Hand"][1] > raised["Head"][1] + 0.15


def test_one_hand_waves_and_the_other_hangs():
    heads = heads_in("waving")
    assert heads["RightHand"][1] > heads["Head"][1] > heads["LeftHand"][1] + 0.4


def test_hands_lie_beside_the_hips_and_elbows_stand_out():
    heads = heads_in("hands on hips")
    for side, sign in (("Left", 1), ("Right", -1)):
        hand, elbow = heads[f"{side}Hand"], heads[f"{side}ForeArm"]
        assert abs(hand[1] - heads["Hips"][1]) < 0.15 and 0.1 < sign * hand[0] < 0.3
        assert sign * elbow[0] > sign * hand[0]


def test_a_walk_swings_opposite_limbs_and_ends_as_it_began():
    bones = skeleton()
    walk = strides_of(puppet())
    names = [name.rpartition(":")[2] for name in bones.names]
    left, right, hand = (names.index(name) for name in ("LeftFoot", "RightFoot", "LeftHand"))
    first, _, third, *_ = (places for _, places in walk)
    assert first[left, 2] > first[right, 2] and third[left, 2] < third[right, 2]
    assert first[hand, 2] < third[hand, 2]
    assert np.allclose(walk[0][0], walk[-1][0]) and np.allclose(walk[0][1], walk[-1][1])


def test_both_feet_of_a_walker_reach_the_ground():
    body = load_body()
    layer = Layer("body", body.vertices, body.faces, body.vertices[:, :2], "body", body.bones, body.weights)
    walker = take_pose(Figure((layer,), puppet().texture, body.skeleton), POSES["walking"]).layers[0].vertices
    feet = np.isin(body.main, [body.bone(side + name) for side in ("Left", "Right") for name in ("Foot", "ToeBase")])
    lows = [walker[feet & side][:, 1].min() for side in (body.vertices[:, 0] > 0, body.vertices[:, 0] < 0)]
    assert abs(lows[0] - lows[1]) < 0.015


def test_the_photo_s_own_pose_moves_nothing():
    figure = puppet()
    assert take_pose(figure, POSES[AS_PHOTO]) is figure


@pytest.mark.parametrize(("name", "told"), [("sitting", "cannot sit"), ("flying", "not known")])
def test_what_cannot_be_done_is_refused_with_what_can(name, told):
    with pytest.raises(ConfigError, match=told) as caught:
        pose_named(name)
    assert "walking" in str(caught.value)
