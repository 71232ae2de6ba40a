"""A person is cut out and set into a scene: where, how large, in which light, with which shadow."""

import numpy as np
import pytest
from PIL import Image

from personagen.styling.placing import FLOOR, GAIN, TALL, cut_out, set_into
from recsys.errors import DataError

RED = (200, 30, 30)


def person(*, behind=(128, 128, 128), bottom=110):
    """A red block, 20 x (bottom - 20) pixels, in a photo of 120 x 90."""
    photo, where = Image.new("RGB", (90, 120), behind), np.zeros((120, 90), bool)
    where[20:bottom, 35:55] = True
    photo.paste(RED, (35, 20, 55, bottom))
    return photo, where


def red(picture):
    pixels = np.asarray(picture).astype(int)
    return (pixels[..., 0] > 100) & (pixels[..., 1] < 90) & (pixels[..., 2] < 90)


def test_a_person_is_cut_out_along_the_edges_of_the_photo():
    photo, where = person()
    rough = where.copy()
    rough[:, 33:35] = where[:, 40:42]  # two pixels too wide
    found = cut_out(photo, rough)
    alpha = np.asarray(found.alpha)
    assert (alpha[30:100, 40:50] == 255).all() and (alpha[:, :30] == 0).all()
    assert alpha[30:100, 33].mean() <= 128 < alpha[30:100, 36].mean()
    assert np.asarray(found.picture)[50, 36].tolist() == list(RED)
    assert found.behind == pytest.approx(np.full(3, 128 / 255), abs=0.01)


def test_a_whole_person_stands_on_the_floor_in_the_middle():
    scene = Image.new("RGB", (150, 200), (128, 128, 128))
    picture = set_into(scene, cut_out(*person()))
    rows, columns = np.nonzero(red(picture))
    assert picture.size == (150, 200)
    assert (rows.max() + 1) / 200 == pytest.approx(FLOOR, abs=0.02)
    assert (rows.max() + 1 - rows.min()) / 200 == pytest.approx(TALL, abs=0.03)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(75, abs=2)


def test_a_small_scene_is_enlarged_and_the_person_keeps_their_pixels():
    picture = set_into(Image.new("RGB", (24, 32), (128, 128, 128)), cut_out(*person()))
    assert picture.height == round(90 / TALL) and picture.width / picture.height == pytest.approx(0.75, abs=0.02)


def test_whoever_is_cut_off_by_their_photo_is_cut_off_by_the_scene():
    picture = set_into(Image.new("RGB", (150, 200), (128, 128, 128)), cut_out(*person(bottom=120)))
    rows = np.nonzero(red(picture).any(1))[0]
    assert rows.max() == 199
    assert np.asarray(picture)[150, 5].tolist() == [128, 128, 128]  # nobody stands, so nothing casts a shadow


def test_the_person_follows_the_light_within_bounds():
    lightness = lambda scene: np.asarray(set_into(Image.new("RGB", (150, 200), scene), cut_out(*person())))[
        60, 75
    ].max()
    same, dark, bright = lightness((128,) * 3), lightness((10, 10, 10)), lightness((255,) * 3)
    assert same == pytest.approx(RED[0], abs=2)
    assert dark == pytest.approx(GAIN[0] * RED[0], abs=3) and same < bright <= GAIN[1] * RED[0] + 1


def test_shadows_lie_on_the_ground_away_from_the_light():
    scene = np.full((200, 150, 3), 160, np.uint8)
    scene[:, :40] = 220  # light from the left
    picture = np.asarray(set_into(Image.fromarray(scene), cut_out(*person()))).astype(int)
    darker = (scene.astype(int) - picture).max(-1) > 12
    darker[red(picture)] = False
    floor = round(FLOOR * 200)
    assert darker[floor - 3 : floor + 4, 60:90].any()
    assert darker[floor - 25 : floor, 90:].sum() > 3 * darker[floor - 25 : floor, :60].sum()
    assert not darker[: floor - 60, :50].any() and not darker[: floor - 60, 100:].any()


def test_without_a_person_there_is_nothing_to_set():
    photo, where = person()
    with pytest.raises(DataError):
        set_into(photo, cut_out(photo, np.zeros_like(where)))
