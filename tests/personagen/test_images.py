"""Reading pictures safely, fitting them to a size and back, and the arithmetic of masks."""

import io
import struct
import zlib
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from personagen.images import (
    blur,
    components,
    dilate,
    erode,
    fit,
    load_gray,
    load_image,
    picture_list,
    place,
    soft_inside,
    to_pil,
    to_tensor,
    to_uint8,
    unfit,
)  # fmt: skip
from recsys.errors import ConfigError, DataError


def noise(height: int, width: int, *, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str, **settings) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def test_png_and_lossless_webp_come_back_exactly_and_jpeg_nearly(tmp_path):
    image = noise(20, 30)
    for data in (encoded(image, "PNG"), encoded(image, "WEBP", lossless=True)):
        assert (np.asarray(load_image(data)) == np.asarray(image)).all()
    flat = Image.new("RGB", (30, 20), (200, 30, 60))
    flat.save(tmp_path / "a.jpg")
    assert np.abs(np.asarray(load_image(tmp_path / "a.jpg")).astype(int) - (200, 30, 60)).max() <= 3


def test_exif_rotation_is_applied_and_every_tag_dropped():
    image = noise(20, 30)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    for kind in ("PNG", "WEBP"):
        upright = load_image(encoded(image, kind, exif=exif, lossless=True))
        assert (np.asarray(upright) == np.rot90(np.asarray(image), -1)).all()
        assert not upright.getexif() and not upright.info


def test_other_modes_become_rgb():
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert (np.asarray(load_image(encoded(clear, "PNG"))) == 255).all()
    deep = Image.fromarray(np.full((4, 4), 65535, np.uint16))
    assert (np.asarray(load_image(encoded(deep, "PNG"))) == 255).all()
    assert load_image(encoded(Image.new("L", (4, 4), 7), "PNG")).getpixel((0, 0)) == (7, 7, 7)
    assert load_image(encoded(Image.new("P", (4, 4)), "PNG")).mode == "RGB"


def huge_png() -> bytes:
    """A header that claims 60,000 x 60,000 pixels and a few bytes of body."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (huge_png(), "50,000,000|damaged"),
        (b"", "not a JPEG"),
        (b"GIF89a" + bytes(50), "not a JPEG"),
        (encoded(noise(40, 40), "JPEG")[:600], "damaged"),
        (encoded(noise(40, 40), "PNG")[:600], "damaged"),
    ],
)
def test_bad_files_are_named_and_refused(tmp_path, data, message):
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message) as error:
        load_image(path)
    assert "photo.jpg" in str(error.value)


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_a_moving_picture_is_refused(kind):
    frames, file = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")], io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="2 frames"):
        load_image(file.getvalue())


def test_limits_and_missing_files(tmp_path):
    data = encoded(noise(40, 40), "PNG")
    with pytest.raises(DataError, match="40x40"):
        load_image(data, max_pixels=1599)
    with pytest.raises(DataError, match="bytes"):
        load_image(data, max_bytes=100)
    with pytest.raises(DataError, match=r"no\.png"):
        load_image(tmp_path / "no.png")


def test_a_transparent_mask_counts_where_it_is_opaque():
    alpha = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    alpha.putpixel((1, 2), (0, 0, 0, 255))
    marked = np.asarray(load_gray(encoded(alpha, "PNG")))
    assert marked[2, 1] == 255 and marked.sum() == 255


def test_tensors_and_pictures_convert_both_ways_without_loss():
    images = [noise(5, 7, seed=s) for s in range(3)]
    tensor = to_tensor(images)
    assert tensor.shape == (3, 3, 5, 7) and tensor.dtype == torch.float32
    assert all((np.asarray(a) == np.asarray(b)).all() for a, b in zip(images, to_pil(tensor), strict=True))
    assert (to_uint8(to_tensor(np.stack([np.asarray(i) for i in images]))) == to_uint8(tensor)).all()
    assert len(picture_list([images[0], tensor[1], np.asarray(images[2])])) == 3
    with pytest.raises(DataError, match="one size"):
        to_tensor([noise(5, 7), noise(7, 5)])
    with pytest.raises(DataError, match="scale them"):
        to_tensor(torch.full((1, 3, 2, 2), 255.0))
    with pytest.raises(DataError, match="floats"):
        to_tensor(torch.zeros(1, 1, 2, 2))
    with pytest.raises(DataError, match="uint8"):
        to_tensor(np.zeros((4, 4), np.uint8))


@pytest.mark.parametrize("original", [(10, 10), (64, 48), (333, 20), (20, 333), (1, 1), (63, 48)])
def test_what_fits_can_be_undone(original):
    image = noise(*original)
    for fill in ("edge", (255, 255, 255)):
        fitted, where = fit(image, size=(64, 48), fill=fill)
        assert (
            fitted.size == (48, 64)
            and where.height <= 64
            and where.width <= 48
            and (where.height == 64 or where.width == 48)
        )
        assert unfit(fitted, where).size == image.size
    exact, where = fit(noise(64, 30), size=(64, 48))
    assert (np.asarray(unfit(exact, where)) == np.asarray(noise(64, 30))).all()
    with pytest.raises(ConfigError):
        place((0, 3), (4, 4))


def test_padding_is_the_colour_or_the_edge():
    image = noise(8, 4)
    white, where = fit(image, size=(8, 8))
    assert (where.left, where.width) == (2, 4) and (np.asarray(white)[:, :2] == 255).all()
    edge, _ = fit(image, size=(8, 8), fill="edge")
    assert (np.asarray(edge)[:, :2] == np.asarray(image)[:, :1]).all()


def test_dilation_and_erosion_equal_scipy():
    mask = np.random.default_rng(0).random((17, 23)) < 0.1
    for up, down, side in ((0, 0, 0), (2, 0, 1), (1, 3, 2), (0, 0, 4)):
        expected = np.zeros_like(mask)
        for row, column in np.argwhere(mask):
            expected[max(0, row - up) : row + down + 1, max(0, column - side) : column + side + 1] = True
        assert (dilate(mask, up=up, down=down, side=side) == expected).all()
    square = ndimage.binary_erosion(~mask, np.ones((3, 3)), border_value=1)
    assert (erode(~mask, up=1, down=1, side=1) == square).all()


def test_blur_equals_scipy_and_keeps_constants():
    mask = torch.rand(2, 3, 12, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kernel, sigma = 5, 0.3 * ((5 - 1) * 0.5 - 1) + 0.8
    weights = np.exp(-(np.arange(-2, 3) ** 2) / (2 * sigma**2))
    expected = mask.numpy()
    for axis in (2, 3):
        expected = ndimage.correlate1d(expected, weights / weights.sum(), axis=axis, mode="nearest")
    np.testing.assert_allclose(blur(mask, kernel=kernel), expected, atol=1e-12)
    torch.testing.assert_close(blur(torch.ones(1, 1, 6, 6), kernel=7), torch.ones(1, 1, 6, 6))
    with pytest.raises(ConfigError, match="odd"):
        blur(mask, kernel=4)


def test_the_soft_edge_lies_inside_the_mask():
    mask = torch.zeros(1, 1, 30, 30)
    mask[..., 8:22, 5:25] = 1
    soft = soft_inside(mask, kernel=7)
    assert (soft[mask == 0] == 0).all() and soft.max() <= 1 and soft[0, 0, 15, 15] > 0.9999
    assert 0 < soft[0, 0, 15, 5] < soft[0, 0, 15, 7] < 1


def test_components_equal_scipy():
    for seed in range(5):
        mask = np.random.default_rng(seed).random((30, 40)) < 0.55
        labelled, count = cast(tuple[np.ndarray, int], ndimage.label(mask))
        pieces = components(mask)
        assert len(pieces) == count and (np.logical_or.reduce(pieces) == mask).all()
        assert all(len(np.unique(labelled[piece])) == 1 for piece in pieces)
        sizes = [piece.sum() for piece in pieces]
        assert sizes == sorted(sizes, reverse=True)
    assert components(np.zeros((3, 3), bool)) == []


P3 = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))


def adobe_rgb() -> bytes:
    return display_p3(ADOBE, gamma=563 / 256)


def display_p3(primaries: tuple[tuple[float, ...], ...] = P3, *, gamma: float = 2.2) -> bytes:
    """A profile with the primaries of Display P3 and a plain gamma of 2.2, in ICC's form."""
    import struct

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))

    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
    name = b"wide colours of a test\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(79)
    tags = {
        b"desc": text + bytes(-len(text) % 4),
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(*primaries[0]),
        b"gXYZ": xyz(*primaries[1]),
        b"bXYZ": xyz(*primaries[2]),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    start, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for key, value in tags.items():
        table += key + struct.pack(">II", start + len(body), len(value))
        body += value
    header = struct.pack(">I4sI4s4s4s12x4s", 0, b"test", 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    header = header.ljust(68, b"\0") + fixed(0.9642) + fixed(1.0) + fixed(0.8249)
    whole = header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", len(whole)) + whole[4:]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_of_another_profile_become_srgb(mode, tmp_path):
    """Colours of Display P3 are stronger in sRGB; what is expected follows from the two sets of primaries."""
    picture = Image.new(mode, (4, 4), (150, 100, 100, 255)[: len(mode)])
    picture.save(tmp_path / "wide.png", icc_profile=display_p3())
    red, green, blue = np.asarray(load_image(tmp_path / "wide.png"))[0, 0].astype(int)
    assert red > 153 and green < 99 and abs(blue - 98) <= 3, (red, green, blue)
    picture.save(tmp_path / "plain.png")
    assert np.asarray(load_image(tmp_path / "plain.png"))[0, 0].tolist() == [150, 100, 100]


def test_a_broken_profile_and_a_mask_with_one_change_nothing(tmp_path):
    picture = Image.new("RGB", (4, 4), (150, 100, 100))
    picture.save(tmp_path / "broken.png", icc_profile=b"nonsense")
    assert np.asarray(load_image(tmp_path / "broken.png"))[0, 0].tolist() == [150, 100, 100]
    Image.new("L", (4, 4), 100).convert("RGB").save(tmp_path / "mask.png", icc_profile=display_p3())
    assert np.asarray(load_gray(tmp_path / "mask.png"))[0, 0] == 100


def test_a_press_profile_is_converted(tmp_path):
    """CMYK without a profile is converted by the plain rule; with one that is no CMYK profile nothing fails."""
    picture = Image.new("CMYK", (4, 4), (0, 200, 200, 0))
    picture.save(tmp_path / "press.jpg", icc_profile=display_p3())
    assert load_image(tmp_path / "press.jpg").mode == "RGB"


def phone_photo(image: Image.Image, kind: str, **settings) -> bytes:
    """A photo as telephones write it: turned by EXIF, with a place in it."""
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 1 if kind == "HEIF" else 6, "camera"  # HEIC is turned by a box of its own
    exif.get_ifd(0x8825)[1] = "N"
    return encoded(image, kind, exif=exif, quality=95, **settings)


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_heic_and_avif_are_read_upright_without_tags(kind, tmp_path):
    image = Image.new("RGB", (60, 40), (20, 160, 90))
    image.paste((200, 30, 60), (0, 0, 30, 40))
    (tmp_path / "IMG_1.HEIC").write_bytes(phone_photo(image, kind))
    upright = load_image(tmp_path / "IMG_1.HEIC")
    assert not upright.getexif() and not upright.info
    turned = upright.rotate(90, expand=True) if kind == "AVIF" else upright
    assert turned.size == (60, 40)
    top, bottom = np.asarray(turned)[20, 10].astype(int), np.asarray(turned)[20, 50].astype(int)
    assert abs(top - (200, 30, 60)).max() < 12 and abs(bottom - (20, 160, 90)).max() < 12


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_damaged_heic_and_avif_are_refused_in_a_line(kind):
    data = phone_photo(noise(48, 64), kind)
    draw = np.random.default_rng(0)
    refused = 0
    for trial in range(60):
        cut = bytearray(data[: int(draw.integers(12, len(data)))] if trial % 2 else data)
        for at in draw.integers(12, len(cut), 8):
            cut[at] = int(draw.integers(256))
        try:
            load_image(bytes(cut))
        except DataError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 20


def test_large_heic_is_refused_before_it_is_decoded():
    with pytest.raises(DataError, match="scale it down"):
        load_image(phone_photo(Image.new("RGB", (400, 300)), "HEIF"), max_pixels=10_000)


def test_a_palette_with_a_profile_becomes_srgb(tmp_path):
    red = Image.new("RGB", (8, 8), (200, 40, 60))
    red.save(tmp_path / "rgb.png", icc_profile=adobe_rgb())
    red.quantize(4).save(tmp_path / "palette.png", icc_profile=adobe_rgb())
    rgb, palette = (np.asarray(load_image(tmp_path / name)).astype(int) for name in ("rgb.png", "palette.png"))
    assert abs(rgb - palette).max() <= 1 and rgb[0, 0, 0] > 205


def test_adobe_rgb_that_only_the_camera_names(tmp_path):
    exif = Image.Exif()
    exif[0x8769] = {0xA001: 65535, 0xA005: {1: "R03"}}
    red = Image.new("RGB", (16, 16), (200, 40, 60))
    red.save(tmp_path / "camera.jpg", exif=exif, quality=95)
    red.save(tmp_path / "profile.jpg", icc_profile=adobe_rgb(), quality=95)
    red.save(tmp_path / "plain.jpg", quality=95)
    camera, profile, plain = (
        np.asarray(load_image(tmp_path / f"{name}.jpg")).astype(int) for name in ("camera", "profile", "plain")
    )
    assert abs(camera - profile).max() <= 2 and abs(camera - plain).max() > 15


def test_a_photo_of_sixteen_bits_is_no_mask(tmp_path):
    Image.fromarray(np.linspace(0, 65535, 3000).reshape(60, 50).astype(np.uint16)).save(tmp_path / "deep.png")
    plane = np.asarray(load_gray(tmp_path / "deep.png"))
    assert plane.min() == 0 and abs(plane.mean() - 127) < 2
