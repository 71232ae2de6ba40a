"""Large photos, zoom, outfits and garment cut-outs: what comes back is the photo, changed where the mask says."""

import importlib
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from personagen.images import PALEST, frame, load_image, to_tensor
from personagen.person.body import Body
from personagen.person.parser import load_parser
from personagen.person.parts import Part
from personagen.tryon.dress import Piece, cut_from_photos, dress, dress_each, dress_outlined, in_order
from personagen.tryon.pictures import finish, prepare
from personagen.warping.cutout import garment_mask, garment_on_white
from personagen.warping.drape import cloth_of
from personagen.warping.worn import NoGarment, NotWorn
from recsys.errors import ConfigError
from tests.apps.tiny import SIZE, pipelines

from ..figures import joints_of_standing, standing
from ..person.test_people import person
from .test_pipeline import picture, seeded


def scene(height: int = 400, width: int = 300) -> tuple[Image.Image, np.ndarray]:
    mask = np.zeros((height, width), bool)
    mask[height // 2 : height // 2 + height // 8, width // 2 : width // 2 + width // 6] = True
    return picture(height, width), mask


def test_the_feathered_edge_is_the_same_in_strips_as_in_one_piece(monkeypatch):
    photo, mask = picture(120, 90), np.zeros((120, 90), bool)
    mask[10:110, 0:60] = True
    inputs = prepare(photo, photo, mask, size=(40, 30))
    result = inputs.person[0] * 0
    whole = np.asarray(finish(result, inputs, 0, repaint=True))
    monkeypatch.setattr("personagen.tryon.pictures.STRIP", 7)
    assert np.array_equal(np.asarray(finish(result, inputs, 0, repaint=True)), whole)
    before = np.asarray(photo)
    assert np.array_equal(whole[~mask], before[~mask]) and (whole[30:90, 5:59] == 0).all()
    assert 0.4 < whole[30:90, 59].sum() / before[30:90, 59].sum() < 0.6  # the feather: half of the photo shows


def test_a_frame_holds_the_mask_and_lies_in_the_photo():
    _, mask = scene()
    left, top, right, bottom = frame(mask, size=SIZE)
    assert (bottom - top, right - left) == pytest.approx((2 * 50, 2 * 50 * 0.75), abs=34)
    assert mask[top:bottom, left:right].sum() == mask.sum()
    mask[:] = True
    assert frame(mask, size=SIZE) == (0, 0, 300, 400)


def test_zoomed_only_the_mask_changes():
    pipe, _ = pipelines()
    pipe.set_progress_bar_config(disable=True)
    photo, mask = scene()
    out: Any = pipe(photo, picture(50, 50, seed=1), mask, num_inference_steps=1, generator=seeded(), zoom=True)
    before, after = np.asarray(photo), np.asarray(out.images[0])
    assert after.shape == before.shape and np.array_equal(after[~mask], before[~mask])
    assert (after[mask] != before[mask]).mean() > 0.5


def test_an_outfit_is_put_on_from_below():
    pieces = [Piece(picture(8, 8), kind) for kind in ("jacket", "skirt")]
    assert [piece.kind for piece in in_order(pieces)] == ["skirt", "jacket"]
    for wrong in ([], ["t-shirt", "upper"], ["dress", "skirt"]):
        with pytest.raises(ConfigError, match="outfit"):
            in_order([Piece(picture(8, 8), kind) for kind in wrong])
    worn = []

    def pipe(person, garment, mask, **settings):
        worn.append((np.asarray(person), mask))
        return SimpleNamespace(images=[Image.new("RGB", person.size, "red" if len(worn) == 1 else "blue")])

    photo = picture(10, 8)
    body = Body(np.zeros((10, 8), np.uint8), known=lambda kind: np.asarray(photo)[..., 0] > 9)
    result = dress(pipe, photo, body, pieces, composed=False)
    assert np.array_equal(worn[0][1], worn[1][1]) and (worn[1][0] == (255, 0, 0)).all()
    assert np.asarray(result)[0, 0].tolist() == [0, 0, 255]


def test_what_is_laid_is_guessed_unless_the_garment_or_the_joints_are_not_there():
    parts, joints = standing(lower=100), joints_of_standing()
    whole, whole_dress = np.zeros((128, 96), bool), np.zeros((128, 96), bool)
    whole[20:60, 34:62], whole_dress[20:118, 30:66] = True, True

    class Found(Body):
        def mask(self, kind, *, expand=1.0):
            return whole_dress if kind == "dress" else whole

    seen = []

    def pipe(person, garment, mask, **settings):
        seen.append((mask, settings["guess"]))
        return SimpleNamespace(images=[person])

    shirt = Image.new("RGB", (60, 80), "white")
    shirt.paste("red", (10, 10, 50, 75))
    photo = picture(128, 96)
    found, own = Found(parts, joints), Body(parts, joints).with_mask("upper", whole)
    for body, garment in ((found, shirt), (own, shirt), (found, picture(80, 60)), (Found(parts), shirt)):
        dress(pipe, photo, body, [Piece(garment, "upper")], composed=True)
    (grown, guess), (given, _), uncut, blind = seen
    assert (grown & ~whole).any() and not (grown & ~whole & ~whole_dress).any() and np.array_equal(given, whole)
    assert uncut[1] is None and blind[1] is None
    before, after = np.asarray(photo), np.asarray(guess.convert("RGB"))
    assert np.array_equal(after[~grown], before[~grown])
    assert (after[30:50, 44:52, 0] > 180).all() and (after[30:50, 44:52, 1] < 60).all()
    seen.clear()
    coat = Image.new("RGB", (60, 80), "white")
    for left, right in ((10, 22), (38, 50)):
        coat.paste("blue", (left, 10, right, 75))  # open in front
    paint = lambda person, garment, mask, **settings: SimpleNamespace(images=[settings["guess"].convert("RGB")])
    both = dress(paint, photo, found, [Piece(coat, "outer"), Piece(shirt, "upper")], composed=True)
    middle = np.asarray(both)[30:50, 46:50]
    assert (middle[..., 0] > 180).all() and (middle[..., 1:] < 60).all()  # the shirt that was put on shows in it


def test_each_of_several_is_dressed_as_it_is_alone():
    pipe, _ = pipelines()
    pipe.set_progress_bar_config(disable=True)
    pipe.register_to_config(prefill="garment")
    shirt, uncut = Image.new("RGB", (60, 80), "white"), picture(80, 60)
    shirt.paste("red", (10, 10, 50, 75))
    photo, body = picture(128, 96), Body(standing(lower=100), joints_of_standing())
    pieces = [Piece(shirt, "upper"), Piece(shirt, "t-shirt"), Piece(uncut, "upper")]
    several = dress_each(pipe, photo, body, pieces, num_inference_steps=1, generators=[seeded() for _ in pieces])
    for one, piece in zip(several, pieces, strict=True):
        alone = dress(pipe, photo, body, [piece], num_inference_steps=1, generator=[seeded()])
        assert np.abs(np.asarray(one).astype(int) - np.asarray(alone).astype(int)).max() <= 1
    assert (np.asarray(several[0]) != np.asarray(several[2])).any()


def flat_lay(*, ground: str = "#b08860", cloth: str = "#2040a0", noise: int = 12) -> tuple[Image.Image, np.ndarray]:
    photo, truth = Image.new("RGB", (240, 320), ground), Image.new("1", (240, 320))
    shape = [
        (70, 60),
        (170, 60),
        (220, 130),
        (190, 150),
        (170, 120),
        (170, 270),
        (70, 270),
        (70, 120),
        (50, 150),
        (20, 130),
    ]
    ImageDraw.Draw(photo).polygon(shape, fill=cloth)
    ImageDraw.Draw(truth).polygon(shape, fill=1)
    grain = np.random.default_rng(0).integers(-noise, noise + 1, (320, 240, 3))
    return Image.fromarray((np.asarray(photo).astype(int) + grain).clip(0, 255).astype(np.uint8)), np.asarray(truth)


def test_a_flat_lay_is_cut_out_and_an_unclear_one_left():
    photo, truth = flat_lay()
    mask = garment_mask(photo)
    assert mask is not None and (mask & truth).sum() / (mask | truth).sum() > 0.9
    cut, done = garment_on_white(photo, size=SIZE)
    assert done and cut.size == SIZE[::-1] and np.asarray(cut)[0, 0].tolist() == [255, 255, 255]
    noise = picture(100, 80)
    kept, done = garment_on_white(noise, size=SIZE)
    assert not done and kept.size == SIZE[::-1]
    assert garment_mask(Image.new("RGB", (50, 60), "gray")) is None


def white_shirt(shade: int) -> Image.Image:
    """A shirt of a shade of white with a red print, on white."""
    picture = Image.new("RGB", (300, 350), "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle([90, 40, 210, 310], fill=(shade, shade, shade))
    draw.polygon([(90, 40), (30, 120), (60, 150), (90, 110)], fill=(shade, shade, shade))
    draw.polygon([(210, 40), (270, 120), (240, 150), (210, 110)], fill=(shade, shade, shade))
    draw.ellipse([120, 140, 180, 190], fill=(200, 0, 0))
    return picture


def test_a_white_garment_on_white_is_cut_out_with_its_print_or_refused():
    cut, done = garment_on_white(white_shirt(252), size=SIZE, kind="t-shirt")
    assert done and (np.asarray(cut).min(-1) < 250).mean() > 0.3
    with pytest.raises(NoGarment, match="only 2% of the garment.s picture.*transparent"):
        garment_on_white(white_shirt(255), size=SIZE, kind="t-shirt")


@pytest.mark.parametrize("colour", ["white", "gray", (12, 40, 90)])
def test_a_picture_of_one_colour_is_no_garment(colour):
    with pytest.raises(NoGarment, match="nothing but one colour"):
        garment_on_white(Image.new("RGB", (300, 300), colour), size=SIZE)


def test_a_parser_is_asked_where_colours_do_not_tell():
    noise, inside = picture(100, 80), np.zeros((100, 80), np.uint8)
    inside[20:80, 20:60] = Part.DRESS
    found = lambda parts: lambda photo: Body(parts)
    cut, done = garment_on_white(noise, size=SIZE, parser=found(inside))
    assert done and np.asarray(cut)[0, 0].tolist() == [255, 255, 255]
    for parts in (np.zeros_like(inside), np.full_like(inside, Part.UPPER)):
        assert not garment_on_white(noise, size=SIZE, parser=found(parts))[1]
    pipe = SimpleNamespace(config={"height": SIZE[0], "width": SIZE[1]})
    pieces, whole = cut_from_photos([Piece(flat_lay()[0], "skirt"), Piece(noise, "t-shirt")], pipe)
    assert whole == ["t-shirt"] and [piece.kind for piece in pieces] == ["skirt", "t-shirt"]


def test_a_white_garment_on_nothing_or_on_grey_is_cut_out_and_can_be_laid(tmp_path):
    shirt = Image.new("RGBA", (220, 240), (255, 255, 255, 0))
    draw = ImageDraw.Draw(shirt)
    draw.rectangle([60, 30, 160, 220], fill=(255, 255, 255, 255))
    draw.rectangle([20, 30, 200, 80], fill=(252, 252, 252, 255))
    shirt.save(tmp_path / "nothing.png")
    grey = Image.new("RGB", shirt.size, (128, 128, 128))
    grey.paste(shirt, mask=shirt.getchannel("A"))
    grey.save(tmp_path / "grey.png")
    for name in ("nothing", "grey"):
        photo = load_image(tmp_path / f"{name}.png", palest=PALEST)
        picture, done = garment_on_white(photo, size=(256, 192))
        assert done and 0.3 < cloth_of(to_tensor(picture) * 2 - 1).float().mean() < 0.8


def test_the_outline_is_of_the_person_as_they_are_dressed(monkeypatch):
    pipe, _ = pipelines()
    pipe.register_to_config(prefill="garment")
    parts = standing(lower=100)
    wide = parts == Part.UPPER
    parts[20:60, 14:20] = Part.UPPER  # a wing, which the new garment does not have
    shirt = Image.new("RGB", (60, 80), "white")
    shirt.paste("red", (10, 10, 50, 75))
    photo, body = picture(128, 96), Body(parts, joints_of_standing())
    laid = count_calls(monkeypatch, "personagen.tryon.dress.first_guess")
    settings: Any = {"num_inference_steps": 1, "generator": seeded()}
    dressed = dress_outlined(pipe, photo, body, [Piece(shirt, "upper")], **settings)
    worn, found = dressed.image, dressed.outline
    assert len(laid) == 1  # laid once, for the picture and for the outline
    alone = dress(pipe, photo, body, [Piece(shirt, "upper")], **settings | {"generator": seeded()})
    assert np.array_equal(np.asarray(worn), np.asarray(alone))
    assert found is not None and not found[30:50, 14:18].any() and found[30:50, 44:52].all()
    assert list(dressed.covers) == ["upper"] and not (dressed.covers["upper"] & ~found).any()
    assert np.array_equal(found[105:], (parts != Part.BACKGROUND)[105:]) and wide.any()
    pipe.register_to_config(prefill="grey")
    assert dress_outlined(pipe, photo, body, [Piece(shirt, "upper")], **settings).outline is None


def count_calls(monkeypatch, name: str) -> list:
    """Let a function go on as it does, and note its calls."""
    module, _, attribute = name.rpartition(".")
    plain, calls = getattr(importlib.import_module(module), attribute), []
    monkeypatch.setattr(name, lambda *inputs, **settings: (calls.append(inputs), plain(*inputs, **settings))[1])
    return calls


def test_of_a_garment_photo_with_two_wearers_nothing_is_parsed_twice():
    small = person(5).resize((288, 384))
    photo, plain, shown = Image.new("RGB", (672, 512), (200, 200, 200)), load_parser(), []
    photo.paste(person(3), (0, 0))
    photo.paste(small, (384, 128))

    def counting(one: Image.Image) -> Body:
        shown.append((one.size, one.tobytes()))
        return plain(one)

    pipe = SimpleNamespace(config={"height": 128, "width": 96})
    with suppress(NotWorn):  # that nobody wears such a garment is known at the end
        cut_from_photos([Piece(photo, "t-shirt")], pipe, parser=counting)
    assert len(shown) > 2 and len(shown) == len(set(shown))
