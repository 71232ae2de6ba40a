"""Masks of one's own: what is no mask is refused, transparency is read as editors write it, what misses is said."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from personagen.images import mask_plane
from personagen.person.masks import check_levels, mask_from_file, mask_list
from personagen.person.own_mask import doubt_about
from personagen.styling.sources import atelier
from personagen.subject.data import read_region
from recsys.errors import DataError

PLACE = (slice(60, 120), slice(50, 140))


def drawn() -> np.ndarray:
    mask = np.zeros((256, 192), np.uint8)
    mask[PLACE] = 255
    return mask


def photo() -> Image.Image:
    return atelier().sitter("3").image.resize((192, 256))


def agnostic() -> Image.Image:
    picture = np.array(photo())
    picture[PLACE] = 128
    return Image.fromarray(picture)


@pytest.mark.parametrize("picture", [photo, agnostic, lambda: photo().convert("L"), lambda: Image.linear_gradient("L")])
def test_a_picture_with_many_grey_levels_is_no_mask(picture, tmp_path):
    picture().save(tmp_path / "mask.png")
    for read in (mask_from_file, lambda file: read_region(file, (64, 64))):
        with pytest.raises(DataError, match="many grey levels.*white where it may be repainted"):
            read(tmp_path / "mask.png")
    with pytest.raises(DataError, match="many grey levels"):
        mask_list(picture())


@pytest.mark.parametrize("mode", [Image.Dither.FLOYDSTEINBERG, "checked"])
def test_a_dithered_photo_is_no_mask(mode, tmp_path):
    y, x = np.mgrid[:256, :192]
    checked = Image.fromarray((x // 2 + y // 2) % 2 == 1)
    (checked if mode == "checked" else photo().convert("1", dither=mode)).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match="between black and white at [0-9]+% of its pixels, as a dithered photo"):
        mask_from_file(tmp_path / "mask.png")


def test_a_mask_of_narrow_stripes_is_one(tmp_path):
    striped = np.zeros((256, 192), np.uint8)
    striped[:, ::40] = striped[:, 1::40] = 255
    Image.fromarray(striped).save(tmp_path / "mask.png")
    assert mask_from_file(tmp_path / "mask.png").sum() == (striped > 0).sum()


@pytest.mark.parametrize("radius", [0, 1, 5])
def test_soft_edges_a_half_grey_and_jpeg_are_those_of_masks(radius, tmp_path):
    mask = Image.fromarray(drawn()).filter(ImageFilter.GaussianBlur(radius))
    for end in ("png", "jpg"):
        mask.save(tmp_path / f"mask.{end}")
        found = mask_from_file(tmp_path / f"mask.{end}")
        assert (found ^ (drawn() > 0)).mean() < 0.01
    check_levels(mask.point(lambda value: max(60, value)))


def with_alpha(colours: Image.Image, alpha: np.ndarray) -> Image.Image:
    colours = colours.convert("RGB")
    colours.putalpha(Image.fromarray(alpha))
    return colours


def test_transparency_is_read_as_editors_write_it(tmp_path):
    hole, size = 255 - drawn(), (192, 256)
    shown = {
        "hole in white": with_alpha(Image.new("RGB", size, "white"), hole),
        "hole in black": with_alpha(Image.new("RGB", size), hole),
        "hole in the photo": with_alpha(photo(), hole),
        "white strokes": with_alpha(Image.new("RGB", size, "white"), drawn()),
        "black strokes": with_alpha(Image.new("RGB", size), drawn()),
        "mask with an opaque alpha": with_alpha(Image.fromarray(drawn()), np.full_like(hole, 255)),
        "mask with holes": with_alpha(Image.fromarray(drawn()), np.where(np.arange(192) < 8, 0, 255 + 0 * hole).astype(
            np.uint8)),
    }  # fmt: skip
    for name, picture in shown.items():
        picture.save(tmp_path / "mask.png")
        for found in (
            mask_from_file(tmp_path / "mask.png"),
            mask_list(picture)[0],
            np.asarray(mask_plane(picture)) > 0,
        ):
            assert np.array_equal(found, drawn() > 0), name
        assert np.array_equal(read_region(tmp_path / "mask.png", (256, 192)) > 0.5, drawn() > 0), name


def test_an_inverted_mask_and_one_beside_the_garment_are_said_with_the_figure():
    body = atelier().sitter("3").body
    mask = body.mask("upper")
    assert not doubt_about(mask, body, "shirt")
    assert "seems inverted" in doubt_about(~mask, body, "shirt") and "0%" in doubt_about(~mask, body, "shirt")
    corner = np.zeros_like(mask)
    corner[-20:, :20] = True
    assert "covers 0% of the garment" in doubt_about(corner, body, "shirt")
    assert "inverted" not in doubt_about(corner, body, "shirt")
