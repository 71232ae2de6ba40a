"""Hostile pictures, masks and label maps."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

GREY, RGB, PALETTE, RGBA = 0, 2, 3, 6
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="64" height="64" fill="red"/></svg>'
HTML = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(64)


def chunk(name: bytes, data: bytes, *, crc: int | None = None) -> bytes:
    """One chunk of a PNG."""
    return (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data) if crc is None else crc)
    )


def png(
    width: int, height: int, *, colour: int = RGB, depth: int = 8, rows: bytes | None = None, extra: bytes = b"",
    behind: bytes = b"",
) -> bytes:  # fmt: skip
    """A PNG by hand; rows: its bytes before compression, a plain colour where left out; extra: chunks before them."""
    bands = {GREY: 1, RGB: 3, PALETTE: 1, RGBA: 4}[colour]
    if rows is None:
        rows = (b"\0" + b"\x55" * -(-width * bands * depth // 8)) * height
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return (b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(rows, 9)) + behind
            + chunk(b"IEND", b""))  # fmt: skip


def drawn(size: tuple[int, int] = (48, 64), mode: str = "RGB", *, seed: int = 0) -> Image.Image:
    """A blurred noise (width, height) that looks like no plain colour, in a mode of Pillow's."""
    values = np.random.default_rng(seed).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    image = Image.fromarray(values).resize(size, Image.Resampling.BILINEAR)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.linear_gradient("L").resize(size))
    return image.convert(mode)


def saved(image: Image.Image, form: str = "PNG", **settings: Any) -> bytes:
    """The bytes of a picture in a format of Pillow's."""
    sink = io.BytesIO()
    image.save(sink, form, **settings)
    return sink.getvalue()


def animated(form: str) -> bytes:
    """Three frames."""
    first, *others = [drawn(seed=seed) for seed in range(3)]
    return saved(first, form, save_all=True, append_images=others, duration=100)


def upright(orientation: int) -> Image.Exif:
    """EXIF data that turn a picture, with a place and a thumbnail's tag."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "x" * 200
    return exif


def texts(size: int) -> PngImagePlugin.PngInfo:
    """A text that unpacks to `size` bytes."""
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "x" * size, zip=True)
    return info


def icc(data: bytes) -> bytes:
    """An iCCP chunk."""
    return chunk(b"iCCP", b"p\0\0" + zlib.compress(data))


def flipped(data: bytes, *, at: float, value: int = 0xFF) -> bytes:
    """The bytes with one changed, at a share of their length."""
    place = int(at * len(data))
    return data[:place] + bytes([data[place] ^ value]) + data[place + 1 :]


def content() -> dict[str, dict[str, bytes]]:
    """Sort -> name -> bytes."""
    return {"pictures": {**_damaged(), **_odd(), **_other_formats()}, "masks": _masks(), "labels": _labels()}


def _damaged() -> dict[str, bytes]:
    whole, jpeg, webp = saved(drawn()), saved(drawn(), "JPEG"), saved(drawn(), "WEBP")
    forms = ((".png", whole), (".jpg", jpeg), (".webp", webp))
    cut = {f"cut_{share}_percent{end}": data[: len(data) * share // 100]
           for end, data in forms for share in (5, 50, 95)}  # fmt: skip
    flips = {f"flipped_{int(100 * at)}_percent{end}": flipped(data, at=at)
             for end, data in forms for at in (0.02, 0.3, 0.7)}  # fmt: skip
    return {
        **cut,
        **flips,
        "empty.png": b"",
        "empty.jpg": b"",
        "one_byte.png": b"\x89",
        "signature_alone.png": b"\x89PNG\r\n\x1a\n",
        "zeros.jpg": bytes(3000),
        "noise.jpg": np.random.default_rng(1).bytes(3000),
        "zero_wide.png": png(0, 64),
        "zero_high.png": png(64, 0),
        "zero_by_zero.png": png(0, 0),
        "negative_width.png": png(2**32 - 1, 4, rows=b"\0" * 16),
        "bomb_60000x60000.png": png(60_000, 60_000, colour=GREY, depth=1, rows=b"\0" * 7501 * 20),
        "bomb_8000x8000.png": png(8_000, 8_000, colour=GREY, depth=1),
        "long_line_1x60000.png": png(60_000, 1, colour=GREY),
        "tall_line_60000x1.png": png(1, 60_000, colour=GREY),
        "too_few_rows.png": png(64, 64, rows=(b"\0" + bytes(192)) * 5),
        "too_many_rows.png": png(8, 8, rows=(b"\0" + bytes(24)) * 500),
        "filter_of_no_kind.png": png(8, 8, rows=(b"\x09" + bytes(24)) * 8),
        "no_pixels.png": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
        + chunk(b"IEND", b""),
        "depth_of_3.png": png(8, 8, depth=3),
        "palette_missing.png": png(8, 8, colour=PALETTE),
        "palette_too_short.png": png(8, 8, colour=PALETTE, extra=chunk(b"PLTE", b"\xff\0\0\0\xff\0")),
        "palette_of_4_bytes.png": png(8, 8, colour=PALETTE, extra=chunk(b"PLTE", b"\xff\0\0\0")),
        "wrong_checksum.png": png(64, 64, extra=chunk(b"gAMA", b"\0\0\xb1\x8f", crc=1)),
        "chunk_of_4_gigabytes.png": png(8, 8)[:33] + struct.pack(">I", 2**32 - 2) + b"tEXt" + bytes(20),
        "text_of_5_megabytes.png": saved(drawn(), pnginfo=texts(5_000_000)),
        "broken_profile.png": png(64, 64, extra=icc(b"not a profile" * 20)),
        "broken_exif.jpg": jpeg[:2] + b"\xff\xe1\x00\x20Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(14) + jpeg[20:],
        "junk_behind.png": whole + b"<?php ?>" * 50,
        "two_in_one.jpg": jpeg + jpeg,
    }  # fmt: skip


def _odd() -> dict[str, bytes]:
    palette = drawn().quantize(16)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    return {
        "one_pixel.png": png(1, 1),
        "two_pixels.png": png(2, 1),
        "strip_60x2000.png": png(60, 2000),
        "strip_2000x60.jpg": saved(drawn((2000, 60)), "JPEG", quality=30),
        "grey_16_bit.png": saved(Image.fromarray(np.linspace(0, 65535, 48 * 64).reshape(64, 48).astype(np.uint16))),
        "rgb_16_bit.png": png(48, 64, depth=16),
        "grey_1_bit.png": png(48, 64, colour=GREY, depth=1),
        "grey.jpg": saved(drawn(mode="L"), "JPEG"),
        "grey_alpha.png": saved(drawn(mode="LA")),
        "cmyk.jpg": saved(drawn(mode="CMYK"), "JPEG"),
        "ycck_of_adobe.jpg": saved(drawn(mode="CMYK"), "JPEG", quality=60, subsampling=2),
        "palette.png": saved(palette),
        "palette_bytes_transparent.png": saved(palette, transparency=bytes(range(0, 256, 16))),
        "palette_one_transparent.png": saved(palette, transparency=0),
        "palette_all_transparent.png": saved(palette, transparency=bytes(16)),
        "rgb_one_transparent.png": saved(drawn(), transparency=(255, 0, 0)),
        "transparent_all_over.png": saved(Image.new("RGBA", (64, 64))),
        "transparent_white.webp": saved(Image.new("RGBA", (64, 64), (255, 255, 255, 0)), "WEBP", lossless=True),
        "white_all_over.png": saved(Image.new("RGB", (64, 64), "white")),
        "black_all_over.png": saved(Image.new("RGB", (64, 64))),
        "turned_by_exif.jpg": saved(drawn((80, 40)), "JPEG", exif=upright(6)),
        "exif_of_no_kind.jpg": saved(drawn((80, 40)), "JPEG", exif=upright(99)),
        "srgb_profile.png": saved(drawn(), icc_profile=srgb),
        "profile_of_another_space.png": saved(drawn(), icc_profile=lab),
        "animated.png": animated("PNG"),
        "animated.webp": animated("WEBP"),
        "progressive.jpg": saved(drawn(), "JPEG", progressive=True),
        "interlaced_name.PNG": png(64, 64),
        "no_ending": saved(drawn(), "JPEG"),
        "png_named.jpg": saved(drawn()),
        "jpeg_named.png": saved(drawn(), "JPEG"),
        "webp_named.jpeg": saved(drawn(), "WEBP"),
        "näme with späce, comma.png": png(64, 64),
        "-leading-dash.png": png(64, 64),
        "._of_a_mac.jpg": b"\0\x05\x16\x07" + bytes(100),
    }


def _other_formats() -> dict[str, bytes]:
    return {
        "gif_named.png": saved(drawn(mode="P"), "GIF"),
        "really.gif": saved(drawn(mode="P"), "GIF"),
        "svg_named.png": SVG,
        "html_named.jpg": HTML,
        "heic_named.jpg": HEIC,
        "really.heic": HEIC,
        "bmp_named.png": saved(drawn(), "BMP"),
        "tiff_named.jpg": saved(drawn((16, 16)), "TIFF"),
        "pdf_named.png": b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF",
        "eps_named.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n0 0 64 64 rectfill\n",
        "zip_named.png": b"PK\x05\x06" + bytes(18),
        "safetensors_named.png": struct.pack("<Q", 2) + b"{}",
        "named.txt.jpg": b"this is a caption, no picture\n",
    }


def _masks() -> dict[str, bytes]:
    halves = Image.new("L", (48, 64))
    halves.paste(255, (8, 16, 40, 48))
    erased = Image.new("RGBA", (48, 64), (90, 60, 30, 255))
    erased.paste((90, 60, 30, 0), (8, 16, 40, 48))
    return {
        "mask.png": saved(halves),
        "black_all_over.png": saved(Image.new("L", (48, 64))),
        "white_all_over.png": saved(Image.new("L", (48, 64), 255)),
        "one_pixel_white.png": saved(Image.frombytes("L", (48, 64), bytes(500) + b"\xff" + bytes(48 * 64 - 501))),
        "other_size.png": saved(halves.resize((96, 128))),
        "other_aspect.png": saved(halves.resize((64, 48))),
        "of_grey_levels.png": saved(drawn(mode="L")),
        "photo.jpg": saved(drawn(), "JPEG"),
        "hole_in_alpha.png": saved(erased),
        "of_16_bit.png": saved(Image.fromarray(np.asarray(halves).astype(np.uint16) * 257)),
        "of_1_bit.png": saved(halves.convert("1")),
        "palette.png": saved(halves.convert("P")),
        "agnostic_grey.png": saved(halves.point([127 if v else 200 for v in range(256)])),
        "lossy.webp": saved(halves.convert("RGB"), "WEBP", quality=1),
    }


def _labels() -> dict[str, bytes]:
    values = np.zeros((64, 48), np.uint8)
    values[16:48, 8:40] = 5
    of = lambda array, mode="L": saved(Image.fromarray(array).convert(mode))
    return {
        "labels.png": of(values),
        "beyond_the_labels.png": of(np.where(values > 0, 250, 0).astype(np.uint8)),
        "all_of_one.png": of(values * 0),
        "rgb.png": of(values, "RGB"),
        "rgba.png": of(values, "RGBA"),
        "of_16_bit.png": saved(Image.fromarray(values.astype(np.uint16))),
        "one_pixel.png": of(values[:1, :1]),
        "cut.png": of(values)[:60],
        "jpeg_named.png": saved(Image.fromarray(values), "JPEG"),
        "zero_wide.png": png(0, 64, colour=GREY),
        "bomb.png": png(60_000, 60_000, colour=GREY, rows=bytes(2000)),
    }
