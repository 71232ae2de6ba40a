"""The types of a figure."""

import numpy as np

from personagen.figure.mesh import normals


def test_the_normals_of_a_tetrahedron_point_outwards():
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
    found = normals(corners, faces)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert ((corners - corners.mean(0)) * found).sum(1).min() > 0.3
