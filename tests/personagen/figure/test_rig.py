"""Skin weights and linear blend skinning, against oracles."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from personagen.figure.body import load_body
from personagen.figure.mesh import Figure, Layer
from personagen.figure.poses import POSES, take_pose
from personagen.figure.rig import (
    PARTS,
    carried,
    nearest,
    posed,
    skin_of,
    skin_weights,
    skinned,
    spread_weights,
    stretch,
    strongest,
    surface_weights,
    welded,
)
from recsys.errors import DataError
from tests.personagen.figure.puppet import body_skin, capsule, puppet, skeleton, tubes


def test_the_nearest_points_are_those_of_a_tree():
    rng = np.random.default_rng(0)
    points, queries = rng.normal(size=(500, 3)), 2 * rng.normal(size=(300, 3))
    assert (nearest(points, queries) == KDTree(points).query(queries)[1]).all()


def test_the_parts_of_a_body_are_its_core_and_its_arms():
    body = load_body()
    skin = skin_of(body)
    left, right = (skin.vertices[skin.parts == PARTS.index(name)] for name in ("left arm", "right arm"))
    assert left[:, 0].min() > 0.1 and right[:, 0].max() < -0.1 and abs(len(left) - len(right)) < 30
    core = skin.vertices[skin.parts == 0]
    assert core[:, 1].min() == body.vertices[:, 1].min() and core[:, 1].max() == body.vertices[:, 1].max()


@pytest.mark.parametrize("name", ["arms out", "walking", "hands on hips"])
def test_no_pose_tears_the_body(name):
    body = load_body()
    bones, weights = skin_weights(body.vertices, body.faces, np.full(len(body.vertices), -1), skin_of(body))
    layer = Layer("body", body.vertices, body.faces, body.vertices[:, :2], "body", bones, weights)
    figure = Figure((layer,), puppet().texture, body.skeleton)
    assert stretch(figure.layers, take_pose(figure, POSES[name]).layers) < 2


def test_nothing_is_nearest_to_no_point():
    with pytest.raises(DataError, match="no point"):
        nearest(np.zeros((0, 3)), np.zeros((1, 3)))


def test_skinning_equals_the_mean_of_matrices():
    rng = np.random.default_rng(1)
    vertices, heads, places = (
        rng.normal(size=(50, 3)).astype(np.float32),
        rng.normal(size=(6, 3)),
        rng.normal(size=(6, 3)),
    )
    turns = Rotation.random(6, random_state=2).as_matrix()
    joints, weights = rng.integers(0, 6, (50, 4)), rng.dirichlet(np.ones(4), 50)
    moves = np.tile(np.eye(4), (6, 1, 1))
    for bone in range(6):
        moves[bone, :3, :3] = turns[bone]
        moves[bone, :3, 3] = places[bone] - turns[bone] @ heads[bone]
    wanted = [np.einsum("k,kij->ij", ws, moves[js]) @ [*v, 1.0] for v, js, ws in zip(vertices, joints, weights)]
    found = skinned(vertices, joints, weights, heads=heads, turns=turns, places=places)
    assert np.allclose(found, np.array(wanted)[:, :3], atol=1e-5)


def test_a_figure_that_is_turned_as_one_keeps_its_shape():
    figure, turn = puppet(), Rotation.from_euler("y", 70, degrees=True).as_matrix()
    turns = np.tile(turn, (len(skeleton().names), 1, 1))
    moved = posed(figure, turns, skeleton().heads @ turn.T)
    for old, new in zip(figure.layers, moved.layers):
        assert np.allclose(new.vertices, old.vertices @ turn.T, atol=1e-5)
    assert stretch(figure.layers, moved.layers) == pytest.approx(1.0, abs=1e-3)


def test_the_cloth_of_the_trunk_does_not_follow_the_arm_beside_it():
    """The arm hangs one centimetre from the trunk: the nearest vertex alone would take the arm's weights."""
    skin, (vertices, faces) = body_skin(), tubes()["trunk"]
    swollen = vertices * np.array([1.4, 1.0, 1.0], np.float32)  # a wide shirt that reaches into the arm
    bones, weights = skin_weights(swollen, faces, np.zeros(len(vertices)), skin)
    names = [name.rpartition(":")[2] for name in skeleton().names]
    followed = {names[bone] for bone in np.unique(bones[weights > 0])}
    assert followed <= {"Hips", "Spine"}
    anywhere, _ = skin_weights(swollen, faces, np.full(len(vertices), -1), skin)
    assert "LeftArm" in {names[bone] for bone in np.unique(anywhere)}


def test_what_is_cut_out_of_a_surface_moves_with_it():
    (trunk, _), (arm, _) = tubes()["trunk"], tubes()["left arm"]
    rng = np.random.default_rng(0)
    whole = [strongest(rng.dirichlet(np.ones(6), len(points)).astype(np.float32)) for points in (trunk, arm)]
    some, owner = np.concatenate([trunk[::7], arm[::5]]), np.repeat([0, 1], [len(trunk[::7]), len(arm[::5])])
    bones, weights = carried(some + np.float32(1e-4), owner, [trunk, arm], whole)
    assert (bones == np.concatenate([whole[0][0][::7], whole[1][0][::5]])).all()
    assert (weights == np.concatenate([whole[0][1][::7], whole[1][1][::5]])).all()


def test_a_skirt_hangs_round_both_legs_and_is_not_torn_by_a_stride():
    """A tube from the hips to the knees: each half would else follow its own leg, and the seam between them tear."""
    body = load_body()
    heads = {name: body.skeleton.heads[body.bone(name)] for name in ("LeftUpLeg", "RightUpLeg", "LeftLeg")}
    middle = (heads["LeftUpLeg"] + heads["RightUpLeg"]) / 2
    vertices, faces = capsule(np.array([0.0, heads["LeftLeg"][1], middle[2]]), middle.astype(float) + [0, 0.05, 0], 0.2,
                              rings=70, around=180)  # fmt: skip
    ratios = []
    for hem in (None, float(vertices[:, 1].min())):
        bones, weights = surface_weights("core", vertices, faces, body, hem=hem)
        layer = Layer("skirt", vertices, faces, vertices[:, :2], "skirt", bones, weights)
        figure = Figure((layer,), puppet().texture, body.skeleton)
        ratios.append(stretch(figure.layers, take_pose(figure, POSES["walking"]).layers))
    assert ratios[1] < 1.7 < ratios[0]


def test_the_shoulders_of_the_trunk_go_with_the_upper_arms_and_not_with_the_hands():
    """A trunk as wide as cloth makes it, which reaches the upper arms."""
    body = load_body()
    shoulder = body.skeleton.heads[body.bone("LeftArm")].astype(float)
    low, high = np.array([0.0, shoulder[1] - 0.5, shoulder[2]]), np.array([0.0, shoulder[1], shoulder[2]])
    vertices, faces = capsule(low, high, 0.2, rings=60, around=80)
    bones, weights = surface_weights("core", vertices, faces, body)
    share = np.where(bones == body.bone("LeftArm"), weights, 0).sum(1)
    near = np.linalg.norm(vertices - shoulder, axis=1)
    assert share[near < 0.05].mean() > 0.2 and share[near > 0.35].max() < 0.05
    others = [body.bone(name) for name in ("LeftForeArm", "LeftHand")]
    assert weights[np.isin(bones, others)].max(initial=0) < 0.05


def test_four_bones_at_most_and_weights_of_one():
    rng = np.random.default_rng(3)
    joints, weights = strongest(rng.dirichlet(np.ones(9) * 0.3, 200).astype(np.float32))
    assert joints.dtype == np.uint8 and joints.shape == weights.shape == (200, 4)
    assert np.allclose(weights.sum(1), 1, atol=1e-6)
    assert (joints[weights == 0] == 0).all()


def test_both_sides_of_a_seam_get_the_same_weights():
    vertices, faces = capsule(np.zeros(3), np.array([0.0, 1.0, 0.0]), 0.1)
    torn = vertices[faces.reshape(-1)]
    place, edges = welded(torn, np.arange(len(torn)).reshape(-1, 3))
    assert len(np.unique(place)) == len(vertices) and len(edges) == len(vertices) + len(faces) - 2  # Euler
    dense = (torn[:, 1:2] > 0.5) * np.array([[1.0, 0.0]]) + (torn[:, 1:2] <= 0.5) * np.array([[0.0, 1.0]])
    found = spread_weights(torn, np.arange(len(torn)).reshape(-1, 3), dense.astype(np.float32), rounds=5)
    for column in found.T:
        low, high = np.full(len(vertices), np.inf), np.full(len(vertices), -np.inf)
        np.minimum.at(low, place, column)
        np.maximum.at(high, place, column)
        assert np.allclose(low, high)
    assert 0.05 < found[:, 0].mean() < 0.95 and np.allclose(found.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("name", ["arms out", "walking", "hands on hips"])
def test_no_pose_tears_the_puppet(name):
    figure = puppet()
    assert stretch(figure.layers, take_pose(figure, POSES[name]).layers) < 3


def test_stretch_is_the_largest_ratio_of_edges():
    (layer, *_) = puppet().layers
    assert stretch([layer], [replace(layer, vertices=layer.vertices * np.float32(2.5))]) == pytest.approx(2.5, rel=1e-4)
    assert stretch([layer], [replace(layer, vertices=layer.vertices * np.float32(0.5))]) == 1.0


def test_a_figure_without_skeleton_is_not_posed():
    with pytest.raises(DataError, match="no skeleton"):
        take_pose(replace(puppet(), skeleton=None), POSES["walking"])
