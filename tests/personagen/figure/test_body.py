"""The template body: closed, upright, and where a photo's joints are once it is posed."""

import numpy as np
import pytest

from personagen.figure.body import load_body, pose
from personagen.person.joints import Joint

STANDING = np.array(
    [[0, 1.55], [0.18, 1.38], [-0.18, 1.38], [0.25, 1.12], [-0.3, 1.15], [0.26, 0.87], [-0.2, 1.02],
     [0.1, 0.9], [-0.1, 0.9], [0.12, 0.48], [-0.1, 0.48], [0.13, 0.09], [-0.1, 0.09]]
)  # fmt: skip


def test_the_template_faces_the_viewer_and_its_faces_point_outwards():
    body = load_body()
    a, b, c = (body.vertices[body.faces[:, corner]].astype(float) for corner in range(3))
    litres = 1000 * (a * np.cross(b, c)).sum() / 6
    assert 45 < litres < 90
    assert body.vertices[body.main == body.bone("LeftToeBase"), 2].mean() > 0.1
    assert body.vertices[body.main == body.bone("LeftArm"), 0].mean() > 0.1
    assert np.allclose(body.weights.sum(1), 1, atol=1e-5)
    assert all(parent < child for child, parent in enumerate(body.skeleton.parents))


@pytest.mark.parametrize("weight", [-1.0, 1.0])
def test_a_heavy_body_is_wider_than_a_thin_one(weight):
    waist = lambda body: np.ptp(
        body.vertices[(np.abs(body.vertices[:, 1] - 0.25) < 0.02) & (np.abs(body.vertices[:, 0]) < 0.25), 0]
    )
    assert np.sign(waist(load_body(weight=weight)) - waist(load_body())) == weight


def test_a_posed_body_has_its_joints_where_the_photo_has_them():
    body = pose(load_body(), STANDING, height=1.7)
    for bone, joint in (
        ("LeftForeArm", Joint.LEFT_ELBOW),
        ("RightHand", Joint.RIGHT_WRIST),
        ("LeftLeg", Joint.LEFT_KNEE),
    ):
        assert np.allclose(body.skeleton.heads[body.bone(bone), :2], STANDING[joint], atol=1e-5)
    assert abs(body.vertices[:, 1].min()) < 0.03
    assert 1.6 < body.vertices[:, 1].max() < 1.75
    bent = body.skeleton.heads[body.bone("RightHand")]
    assert bent[2] > body.skeleton.heads[body.bone("RightForeArm"), 2] + 0.05  # foreshortened, so it comes forward
