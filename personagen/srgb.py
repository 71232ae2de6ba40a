"""Colour profiles of pictures: everything is computed and shown in sRGB."""

import io
import struct

import numpy as np
from PIL import Image, ImageCms

SRGB = ImageCms.createProfile("sRGB")


ADOBE = 563 / 256
"""Exponent of Adobe RGB (1998)."""
ADOBE_TO_SRGB = ((1.39836, -0.39836, 0.0), (0.0, 1.0, 0.0), (0.0, -0.04293, 1.04293))
"""Linear Adobe RGB to linear sRGB; both have the white D65."""
ADOBE_RGB = "adobe_rgb"
"""Key of `info` under which it is kept that a picture without a profile is Adobe RGB."""
EXIF, INTEROPERABILITY, INDEX = 0x8769, 0xA005, 1


def says_adobe(exif: Image.Exif) -> bool:
    """Tell whether a camera wrote Adobe RGB: by the index of DCF alone (R03), as they leave the profile out."""
    try:
        index = exif.get_ifd(EXIF).get(INTEROPERABILITY) and exif.get_ifd(INTEROPERABILITY).get(INDEX)
    except (KeyError, ValueError, TypeError, OSError, SyntaxError, struct.error):
        return False
    return str(index or "").strip("\0 ") == "R03"


def _from_adobe(image: Image.Image) -> Image.Image:
    values = (np.arange(256, dtype=np.float32) / 255) ** ADOBE
    linear = (values[np.asarray(image)] @ np.array(ADOBE_TO_SRGB, np.float32).T).clip(0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return Image.fromarray((curved * 255).round().astype(np.uint8))


def in_srgb(image: Image.Image) -> Image.Image:
    """Convert a picture from its colour profile to sRGB; one without a profile, or with a broken one, is sRGB already.

    Relative colorimetric with black-point compensation, as browsers do it. What has no profile is Adobe RGB where its
    `info` says so (`ADOBE_RGB`).
    """
    profile = image.info.get("icc_profile")
    if profile and image.mode in ("P", "PA"):  # the palette's colours are those of the profile
        image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    if not profile and image.mode == "RGB" and image.info.get(ADOBE_RGB):
        return _from_adobe(image)
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return image
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(
            image,
            source,
            SRGB,
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            mode,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return image if converted is None else converted
