"""The photo's light carried round a figure: what the front shows stays, a back is darker, a lamp's side is found."""

from dataclasses import replace

import numpy as np
import pytest

from personagen.figure.light import PRIOR, carried_light, irradiance, read_light
from personagen.figure.maps import CELL, Maps
from personagen.figure.raster import render
from personagen.figure.turntable import Stage, Turntable
from personagen.person.parts import Part
from tests.personagen.figure.puppet import capsule, puppet


def test_what_faces_the_camera_keeps_its_colours_and_the_back_is_a_third_as_bright():
    across = np.array([[0, 0, 1], [0.6, 0, 0.8], [0, 0.9, 0.436], [0, 0, -1]], np.float32)
    gain = carried_light(across, PRIOR)
    assert (gain[:3] == 1).all()
    assert 0.25 < gain[3].mean() < 0.45


def test_light_has_no_step_where_front_and_back_meet():
    turn = np.radians(np.linspace(0, 180, 181))
    across = np.stack([np.sin(turn), 0 * turn, np.cos(turn)], 1).astype(np.float32)
    for aside in (-0.6, 0.0, 0.6):
        gain = carried_light(across, replace(PRIOR, direction=(aside, 0.72, 0.62)))
        assert np.abs(np.diff(gain, axis=0)).max() < 0.06


@pytest.mark.parametrize("aside", [-0.5, 0.0, 0.5])
def test_the_side_of_the_lamp_is_read_off_the_picture(aside):
    vertices, faces = capsule(np.array([0, 0.6, 0.0]), np.array([0, 1.4, 0.0]), 0.2)
    from personagen.figure.nets import Surface

    shape = (round(1.7 / CELL), round(0.6 / CELL))
    x, y = np.meshgrid(-0.3 + (np.arange(shape[1]) + 0.5) * CELL, 1.7 - (np.arange(shape[0]) + 0.5) * CELL)
    inside = (np.abs(x) < 0.195) & (y > 0.6) & (y < 1.4)
    across = np.stack([x / 0.2, 0 * x, np.sqrt((1 - (x / 0.2) ** 2).clip(0))], -1)
    lamp = replace(PRIOR, direction=(aside, 0.72, 0.62))
    picture = (255 * (0.5 * irradiance(across, lamp)).clip(0, 1) ** (1 / 2.2)).astype(np.uint8)
    maps = Maps(inside, {}, np.where(inside, Part.UPPER, 0), np.where(inside, 0, -1), np.zeros((13, 3)), -0.3, 1.7,
                100.0, 0.0, 0.0, 1.7, False, False)  # fmt: skip
    found = read_light(maps, picture, {"core": Surface(vertices, faces)}).direction[0]
    assert abs(found - aside) < 0.2


def test_a_lamp_of_the_stage_takes_the_place_of_the_photo_s_light():
    bright = puppet()
    dark = replace(bright, layers=tuple(replace(one, light=np.full_like(one.vertices, 0.3)) for one in bright.layers))
    lit, plain = (Turntable(figure, Stage(light="soft", size=(96, 72))) for figure in (dark, bright))
    assert np.array_equal(np.asarray(lit.picture(180)), np.asarray(plain.picture(180)))
    seen = [render(figure, lit.camera, size=(96, 72)) for figure in (dark, bright)]
    mask = seen[0].mask & seen[1].mask
    ratio = seen[0].image[mask].mean() / seen[1].image[mask].mean()
    assert abs(ratio - 0.3 ** (1 / 2.2)) < 0.05  # but for the outline's mixed pixels
