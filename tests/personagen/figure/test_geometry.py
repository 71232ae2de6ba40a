"""From masks to closed surfaces: inflation, fields, nets, and the places that a texture is read at."""

import numpy as np
import pytest
from PIL import Image

from personagen.figure.atlas import Fold, sampled
from personagen.figure.body import load_body, pose
from personagen.figure.layers import components
from personagen.figure.lens import lens_of
from personagen.figure.maps import CELL, Maps, read_maps
from personagen.figure.nets import Box, meshed, open_edges, parted, volume_of
from personagen.figure.paint import nearest
from personagen.figure.relief import distance_outside, inflate
from personagen.figure.volume import core_surface, united
from personagen.person.parts import Part

from ..figures import joints_of_standing, standing


def test_a_strip_is_inflated_to_a_round_one():
    mask = np.zeros((200, 40), bool)
    mask[:, 10:30] = True
    middle = inflate(mask)[100, 10:30]
    off = (np.arange(10, 30) + 0.5 - 20) * CELL
    assert np.allclose(middle, (10.5 * CELL) ** 2 - off**2, rtol=0.06, atol=2e-5)


def test_distances_to_a_mask_are_euclidean_as_far_as_they_are_known():
    mask = np.zeros((31, 31), bool)
    mask[15, 15] = True
    y, x = np.mgrid[:31, :31] - 15
    true = np.minimum(np.hypot(x, y), 11) * CELL
    near = np.hypot(x, y) <= 10
    assert np.allclose(distance_outside(mask)[near], true[near], atol=1e-6)


def ball(radius: float, side: float = 0.02):
    grid = (np.arange(60) + 0.5) * side - 0.6
    y, x, z = np.meshgrid(-grid, grid, grid, indexing="ij")
    return (np.sqrt(x**2 + y**2 + z**2) - radius).astype(np.float32), Box(-0.6, 0.6, -0.6, side)


def test_the_mesh_of_a_ball_is_closed_has_its_volume_and_its_place():
    surface = meshed(*ball(0.4))
    assert open_edges(surface.faces) == 0
    assert volume_of(surface) == pytest.approx(4 / 3 * np.pi * 0.4**3, rel=0.02)
    assert np.abs(np.linalg.norm(surface.vertices, axis=1) - 0.4).max() < 0.01


def test_fields_grow_together_where_they_are_near():
    a, b = np.array([0.1, 0.01, -0.1], np.float32), np.array([0.5, 0.01, -0.1], np.float32)
    assert united(a, b, 0.02)[0] == np.float32(0.1) and united(a, b, 0.02)[1] < 0.01


def test_four_faces_at_an_edge_are_parted():
    two = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    corners = np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [-1, 0, 0], [0, 0, -1]], np.float32)
    other = np.array([[0, 1, 4], [0, 5, 1], [0, 4, 5], [1, 5, 4]])
    both = np.concatenate([two, other])
    assert open_edges(both) > 0
    assert open_edges(parted(corners, both)[0].faces) == 0


def test_pieces_of_a_mesh_share_no_corner():
    assert components(np.array([[0, 1, 2], [5, 6, 7], [2, 3, 4]])).tolist() == [0, 1, 0]


def test_every_cell_takes_the_nearest_known_value():
    rng = np.random.default_rng(0)
    known = rng.random((24, 17)) < 0.05
    found = nearest(np.arange(known.size).reshape(known.shape), known)
    rows, columns = np.nonzero(known)
    y, x = np.mgrid[: known.shape[0], : known.shape[1]]
    least = ((y[..., None] - rows) ** 2 + (x[..., None] - columns) ** 2).min(-1)
    at = np.divmod(found, known.shape[1])
    assert ((at[0] - y) ** 2 + (at[1] - x) ** 2 == least).mean() > 0.98  # jump flooding errs now and then


def maps_of(parts: np.ndarray, **covers: np.ndarray) -> Maps:
    return read_maps(parts, joints_of_standing(), kinds=covers, outline=None)


def person() -> np.ndarray:
    """The standing person with bare legs and arms apart from the trunk."""
    parts = standing(lower=64)
    parts[64:118, 40:47] = parts[64:118, 49:56] = Part.SKIN
    parts[112:118, 38:47] = parts[112:118, 49:58] = Part.SHOES
    parts[24:62, 31:34] = parts[24:62, 62:65] = Part.SKIN
    parts[22:27, 31:65] = Part.UPPER
    return parts


def test_arms_legs_and_head_are_told_apart_and_the_soles_stand_on_the_ground():
    maps = maps_of(person(), upper=person() == Part.UPPER)
    groups = maps.groups
    assert all(groups[name].any() for name in groups)
    x = np.meshgrid(maps.x, maps.y)[0]
    assert x[groups["left arm"]].min() > 0.1 and x[groups["right arm"]].max() < -0.1
    assert x[groups["left leg"]].min() > -0.01
    assert (np.meshgrid(maps.x, maps.y)[1][maps.person]).min() == pytest.approx(0, abs=2 * CELL)
    assert maps.person.any(1).sum() * CELL == pytest.approx(1.7, abs=0.02)
    cloth = maps.parts == Part.UPPER
    assert (maps.label[cloth] == 1).mean() > 0.95 and (maps.label[maps.parts == Part.HEAD] == 0).all()


def test_a_skirt_hangs_from_the_trunk_and_trousers_do_not():
    parts = person()
    parts[58:90, 34:62] = Part.LOWER
    hem = lambda maps: maps.y[np.flatnonzero(maps.groups["trunk"].any(1))[-1]]
    skirt, trousers = (maps_of(parts, **{kind: parts == Part.LOWER}) for kind in ("skirt", "trousers"))
    assert skirt.skirt and not trousers.skirt
    assert hem(skirt) < 0.6 < hem(trousers)


def test_places_near_an_outline_are_read_farther_inside():
    maps = maps_of(person())
    mask = maps.groups["trunk"]
    row = np.flatnonzero(mask.any(1))[len(np.flatnonzero(mask.any(1))) // 2]
    columns = np.flatnonzero(mask[row])
    points = np.stack([maps.x[columns], np.full(len(columns), maps.y[row])], 1)
    moved = Fold(maps, mask)(points)[:, 0]
    edge, middle = points[:, 0] > points[-1, 0] - 0.003, len(points) // 2
    assert (moved[edge] < points[edge, 0] - 0.004).all() and moved[middle] == pytest.approx(points[middle, 0], abs=1e-6)


def test_planes_are_read_between_cells():
    assert sampled(np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([0.5]), np.array([0.25]))[0] == pytest.approx(1.25)


def test_a_picture_goes_on_beyond_its_edge():
    from personagen.figure.paint import Canvas

    maps = maps_of(person())
    canvas = Canvas(maps, Image.new("RGB", (96, 128), "red"), ())
    assert (canvas.picture == [255, 0, 0]).all()


def core_of(parts: np.ndarray, **covers: np.ndarray):
    """The core's vertices in the world, of a picture."""
    maps, lens = maps_of(parts, **covers), lens_of(0.2)
    body = pose(load_body(), maps.joints, height=1.7)
    return lens.standing(core_surface(maps, body, lens).vertices, 1.7)


def test_a_skirt_hangs_straight_to_a_level_hem():
    parts = person()
    for row in range(58, 92):
        wide = 11 + (row - 58) // 4
        parts[row, 48 - wide : 48 + wide] = Part.LOWER
    points = core_of(parts, skirt=parts == Part.LOWER)
    middle = points[np.abs(points[:, 0]) < 0.04]
    deep = lambda y: np.ptp(middle[np.abs(middle[:, 1] - y) < 0.02][:, 2])
    hem = 1.7 * (118 - 92) / 110
    assert deep(hem + 0.05) > deep(hem + 0.2) > 0.25  # a cone, which does not close below
    sides = [middle[(sign * middle[:, 2] > 0.12) & (np.abs(middle[:, 1] - 0.6) < 0.3)][:, 1].min() for sign in (1, -1)]
    assert abs(sides[0] - sides[1]) < 0.02


def test_legs_are_as_slim_as_their_outline():
    plain, slim = person(), person()
    slim[66:110, 40:42] = slim[66:110, 45:47] = slim[66:110, 49:51] = slim[66:110, 54:56] = Part.BACKGROUND
    deep = []
    for parts in (plain, slim):
        points = core_of(parts)
        deep.append(np.ptp(points[np.abs(points[:, 1] - 0.5) < 0.02][:, 2]))
    assert 0.4 < deep[1] / deep[0] < 0.7


def test_a_crown_of_much_hair_is_round_from_the_side():
    parts = person()
    y, x = np.mgrid[:128, :96]
    parts[np.hypot(y - 13, x - 47.5) < 13] = Part.HEAD
    points = core_of(parts)
    top = points[:, 1].max()
    deep = [np.ptp(points[np.abs(points[:, 1] - top + down) < 0.012][:, 2]) for down in (0.03, 0.12)]
    assert deep[0] > 0.5 * deep[1]  # a ball's are as 0.58 to 1
