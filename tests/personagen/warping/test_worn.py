"""Garments that somebody wears: only the kind asked for is cut out, and what lies flat is taken as before."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image

from personagen.atelier.body import Body as Figure
from personagen.atelier.garment import GarmentSpec
from personagen.atelier.render import render_garment, render_person
from personagen.atelier.trace import Camera
from personagen.corpora.renders import body_of_render
from personagen.person.body import Body
from personagen.person.parser import load_parser
from personagen.person.parts import Part
from personagen.warping.cutout import cut_out, garment_on_white, on_white_mask, shaped_mask
from personagen.warping.garment_shape import cut_of
from personagen.warping.worn import NotWorn, shows_person, worn_garment, worn_mask

from ..figures import joints_of_standing, standing

SIZE = (320, 240)
RED, BLUE = (200, 32, 40), (40, 84, 196)


@cache
def model(top: str = "sweater", bottom: str = "trousers", sleeve: float = 1.0) -> tuple[Image.Image, Body]:
    """A render of somebody in a red top and blue bottoms, and its exact body."""
    figure = Figure()
    outfit = (GarmentSpec(top, "red", sleeve=sleeve), GarmentSpec(bottom, "blue"))
    camera = Camera(target=(0.0, 0.5 * figure.height, 0.0), extent=1.1 * figure.height)
    render = render_person(figure, outfit, "studio", size=SIZE, camera=camera, seed=0)
    return Image.fromarray(render.image), body_of_render(render, figure, camera)


def colours(picture: Image.Image) -> tuple[float, float]:
    """Shares of red and of blue in what is not white."""
    pixels = np.asarray(picture).astype(int)
    cloth = pixels.min(-1) < 245
    red = (pixels[..., 0] > pixels[..., 2] + 40) & cloth
    blue = (pixels[..., 2] > pixels[..., 0] + 40) & cloth
    return red.sum() / cloth.sum(), blue.sum() / cloth.sum()


@pytest.mark.parametrize(("kind", "red"), [("sweater", True), ("trousers", False)])
def test_only_the_kind_asked_for_is_cut_out(kind, red):
    photo, body = model()
    picture, done = garment_on_white(photo, size=SIZE, parser=lambda photo: body, kind=kind)
    shares = colours(picture)
    assert done and shares[0 if red else 1] > 0.9 and shares[1 if red else 0] < 0.01
    assert np.asarray(picture)[0, 0].tolist() == [255, 255, 255]


def test_the_embedded_parser_sees_the_wearer_and_the_garments():
    photo, _ = model()
    body = load_parser()(photo)
    assert shows_person(body)
    for kind, at in (("sweater", 0), ("trousers", 1)):
        picture, _ = garment_on_white(photo, size=SIZE, parser=lambda photo: body, kind=kind)
        assert colours(picture)[at] > 0.85


def test_a_kind_that_is_not_worn_is_one_line_that_says_what_is():
    _, body = model()
    for kind in ("jacket", "dress"):
        with pytest.raises(NotWorn, match="a top and trousers, shorts or a skirt") as caught:
            worn_mask(body, kind)
        assert kind in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(NotWorn, match="and trousers or a long skirt"):
        worn_mask(body, "shorts")
    with pytest.raises(NotWorn, match="and trousers"):
        worn_mask(body, "skirt")
    short = model(bottom="shorts")[1]
    assert worn_mask(short, "shorts").any()
    with pytest.raises(NotWorn, match="shorts or a short skirt"):
        worn_mask(short, "trousers")
    skirt = model(bottom="skirt")[1]
    assert worn_mask(skirt, "skirt").any() and worn_mask(skirt, "lower").any()


def test_a_worn_garment_is_laid_flat():
    """The arms hang beside the body; in the garment's picture the sleeves are away from the trunk."""
    photo, body = model()
    _, flat = worn_garment(photo, body, "sweater")
    cut = cut_of(flat, "sweater")
    assert cut.overlap > 0.85 and len(cut.sleeves) == 2
    spread = [abs(np.arctan2(*(sleeve.points[-1] - sleeve.points[0]))) for sleeve in cut.sleeves]
    assert min(spread) > 0.35
    short, body = model("t-shirt", sleeve=0.34)
    _, flat = worn_garment(short, body, "t-shirt")
    arms = cut_of(flat, "t-shirt")
    assert arms.trunk is not None and cut.trunk is not None
    long = cut.sleeves[0].length / cut.trunk.half[0]
    assert not arms.sleeves or arms.sleeves[0].length / arms.trunk.half[0] < 0.7 * long


def test_without_joints_that_can_be_trusted_it_stays_as_it_is_worn():
    photo, body = model()
    joints = np.array(body.joints)
    joints[:, 2] = 0.1
    picture, mask = worn_garment(photo, Body(body.parts, joints), "sweater")
    worn = worn_mask(body, "sweater")
    more = mask & ~worn  # the small gaps between arms and trunk are closed
    assert picture.size == photo.size and more.sum() < 0.003 * worn.sum()
    assert not (more & ~np.isin(body.parts, (Part.BACKGROUND, Part.SKIN))).any()


def test_a_hand_before_the_garment_is_completed_from_its_cloth():
    parts = standing(lower=120)
    parts[45:52, 44:52] = Part.SKIN  # an arm across a top
    photo = Image.fromarray(np.where((parts == Part.UPPER)[..., None], RED, (250, 220, 190)).astype(np.uint8))
    joints = joints_of_standing()
    joints[:, 2] = 0.1
    picture, mask = worn_garment(photo, Body(parts, joints), "upper")
    assert mask[48, 45:51].all()
    assert np.abs(np.asarray(picture)[48, 45:51].astype(int) - RED).max() < 30


def test_scraps_of_a_garment_are_refused():
    parts = standing(lower=120)
    parts[22:60, 37:59] = Part.OUTER  # the top below an open coat
    with pytest.raises(NotWorn, match="upper|t-shirt"):
        worn_garment(Image.new("RGB", (96, 128), "red"), Body(parts, joints_of_standing()), "t-shirt")


def test_a_large_photo_is_made_small():
    parts, joints = np.kron(standing(lower=120), np.ones((12, 12), np.uint8)), joints_of_standing()
    joints[:, :2] *= 12
    picture, mask = worn_garment(Image.new("RGB", (1152, 1536), "red"), Body(parts, joints), "upper")
    assert max(picture.size) < 1536 and mask.shape == (picture.height, picture.width)


def test_a_garment_laid_flat_is_taken_as_before():
    """Alone, without head, skin or joints: what is cut out is the same to the bit."""
    parser = load_parser()
    for spec in (GarmentSpec("t-shirt", "red"), GarmentSpec("trousers", "blue")):
        photo = Image.fromarray(render_garment(spec, size=(256, 192)))
        body = parser(photo)
        assert not shows_person(body)
        mask = shaped_mask(photo, body, spec.kind)
        alone: Any = on_white_mask(photo) if mask is None else mask
        before = cut_out(photo, alone, size=SIZE)
        picture, done = garment_on_white(photo, size=SIZE, parser=lambda photo, body=body: body, kind=spec.kind)
        assert done and picture.tobytes() == before.tobytes()


def test_somebody_is_seen_by_skin_and_joints_together():
    parts, joints = standing(lower=120), joints_of_standing()
    assert shows_person(Body(parts, joints)) and not shows_person(Body(parts))
    joints[:, 2] = 0.2
    assert not shows_person(Body(parts, joints))
    alone = np.where(parts == Part.HEAD, Part.BACKGROUND, parts)
    assert not shows_person(Body(alone.astype(np.uint8), joints_of_standing()))
    assert not shows_person(Body(np.zeros_like(parts), joints_of_standing()))
