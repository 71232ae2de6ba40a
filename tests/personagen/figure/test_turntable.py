"""Turning a figure: frames, files, the sheet, and maps of depth and normals."""

import json

import numpy as np
import pytest
from PIL import Image, ImageSequence

from personagen.atelier.light import Light
from personagen.figure.gltf import smooth_normals
from personagen.figure.light import irradiance
from personagen.figure.turntable import (
    VIEWS,
    Stage,
    Turntable,
    contact_sheet,
    gains,
    maps,
    write_maps,
    write_turntable,
)
from recsys.errors import ConfigError
from tests.personagen.figure.puppet import puppet

SMALL = (96, 72)


def table(**stage) -> Turntable:
    return Turntable(puppet(), Stage(size=SMALL, **stage))


def test_the_camera_sees_all_of_the_figure_from_every_side():
    turn = table()
    for azimuth in VIEWS:
        mask = turn.look(azimuth).mask
        assert mask.any() and not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def test_a_turn_begins_with_the_stage_s_view_and_goes_round():
    turn = table(view=90.0)
    frames = list(turn.frames(4))
    assert len(frames) == 4 and all(frame.size == SMALL[::-1] for frame in frames)
    assert np.array_equal(np.asarray(frames[0]), np.asarray(turn.picture(90.0)))
    assert np.array_equal(np.asarray(frames[1]), np.asarray(turn.picture(180.0)))


@pytest.mark.parametrize(("name", "kind"), [("turn.webp", "WEBP"), ("turn.gif", "GIF")])
def test_an_animation_holds_every_frame_goes_round_for_ever_and_says_how_it_was_made(tmp_path, name, kind):
    frames = list(table(scene="park").frames(6))
    path = write_turntable(frames, tmp_path / name, record={"seed": 3, "prompt": "a <b> & c"})
    with Image.open(path) as image:
        assert image.format == kind and getattr(image, "n_frames", 1) == 6 and image.info["loop"] == 0
        for frame, seen in zip(frames, ImageSequence.Iterator(image)):
            apart = np.abs(np.asarray(seen.convert("RGB"), float) - np.asarray(frame, float))
            assert apart.mean() < 6
    data = path.read_bytes()
    text = data.decode("latin-1")
    start = text.index("{&quot;") if "{&quot;" in text else text.index('{"')
    record = json.JSONDecoder().raw_decode(
        text[start:].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    )[0]
    assert record["seed"] == 3 and record["prompt"] == "a <b> & c" and record["schema"] == "personagen/1"


def test_another_kind_of_animation_is_refused_before_it_is_written(tmp_path):
    with pytest.raises(ConfigError, match=r"\.webp or \.gif"):
        write_turntable([], tmp_path / "turn.mp4")
    assert list(tmp_path.iterdir()) == []


def test_the_place_stands_still_while_the_figure_turns():
    turn = table(scene="street")
    front, side = turn.picture(0.0), turn.picture(90.0)
    upper = np.zeros(SMALL, bool)
    upper[: SMALL[0] // 2] = True  # the ground has the shadow, which turns too
    outside = upper & ~turn.look(0.0).mask & ~turn.look(90.0).mask
    outside &= ~np.roll(~outside & upper, 1, 1) & ~np.roll(~outside & upper, -1, 1)
    assert outside.sum() > 500
    assert np.array_equal(np.asarray(front)[outside], np.asarray(side)[outside])


def test_the_lamp_stands_with_the_camera():
    """From wherever one looks, the side that the lamp is on is the brighter one."""
    lamp = Light((-1.0, 0.2, 0.3), (1.0, 1.0, 1.0), (0.2, 0.2, 0.2), (0.1, 0.1, 0.1))
    turn = table()
    for azimuth in (0.0, 90.0, 200.0):
        seen = turn.look(azimuth)
        gain, inside = gains(seen, lamp, azimuth).mean(-1), seen.layer >= 0
        columns = np.nonzero(inside)[1]
        middle = columns.mean()
        left, right = np.arange(gain.shape[1]) < middle - 4, np.arange(gain.shape[1]) > middle + 4
        assert gain[inside & left].mean() > gain[inside & right].mean() + 0.05
        assert (gain[~inside] == 1).all()


def test_irradiance_is_the_sum_of_key_sky_and_ground():
    lamp = Light((0.0, 1.0, 0.0), (1.0, 0.5, 0.0), (0.2, 0.2, 0.4), (0.1, 0.0, 0.0))
    up, down = irradiance(np.array([[0, 1, 0], [0, -1, 0]], np.float32), lamp)
    assert np.allclose(up, [1.2, 0.7, 0.4], atol=1e-6) and np.allclose(down, [0.1, 0.0, 0.0], atol=1e-6)


def test_the_sheet_shows_eight_views():
    sheet = contact_sheet(table())
    assert sheet.width == 4 * (SMALL[1] + 8) + 8 and sheet.height == 2 * (SMALL[0] + 26) + 8
    first = sheet.crop((8, 8, 8 + SMALL[1], 8 + SMALL[0]))
    assert np.array_equal(np.asarray(first), np.asarray(table().picture(0.0)))


def test_maps_tell_millimetres_and_normals_as_the_camera_sees_them(tmp_path):
    turn = table()
    folder = write_maps(turn, tmp_path / "maps", views=(0, 90))
    names = ["depth-000.png", "depth-090.png", "normal-000.png", "normal-090.png"]
    assert sorted(path.name for path in folder.iterdir()) == names
    depth = np.asarray(Image.open(folder / "depth-000.png"))
    normal = np.asarray(Image.open(folder / "normal-000.png")).astype(float) / 127.5 - 1
    inside = depth > 0
    camera = 1000 * turn.camera.distance
    assert inside.any() and (np.abs(depth[inside] - camera) < 400).all()
    assert np.allclose(np.linalg.norm(normal[inside], axis=1), 1, atol=0.1)
    assert normal[inside][:, 2].min() > -0.2 and normal[inside][:, 2].mean() > 0.5  # what is seen faces the camera
    assert (np.asarray(Image.open(folder / "normal-000.png"))[~inside] == 128).all()
    assert maps(turn, 0)[0].mode.startswith("I;16")
    assert len(smooth_normals(turn.figure.layers[0])) == len(turn.figure.layers[0].vertices)
