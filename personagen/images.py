"""Pictures and masks: read them safely, turn them into tensors and back, fit them to a size and undo it.

A picture is an RGB PIL image or a float tensor (B, 3, H, W) in [0, 1]; a mask is a bool array (H, W) or a float tensor
(B, 1, H, W) in [0, 1], 1 = repaint. Sizes are (H, W). Everything here is pure except the reading of files.
"""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from recsys.errors import ConfigError, DataError, shown

from .srgb import ADOBE_RGB, in_srgb, says_adobe

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF")
"""Those that Pillow reads itself."""
KINDS = "JPEG, PNG, WebP, AVIF or HEIC"
"""Pictures that are read, as messages name them."""
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""How a HEIC file says what it is, behind `ftyp`."""
MAX_PIXELS = 50_000_000
MAX_BYTES = 50_000_000
WHITE = (255, 255, 255)
PALEST = 244
"""Lightest that a garment on white may be."""
SURE = 40
"""How far from black or white a pixel of a mask may be and still be one of them."""
WHITE_FROM = 250
"""Lightness from which a pixel of a picture on white is its background."""
Resample = Image.Resampling
Fill = tuple[int, int, int] | int | Literal["edge"]


def load_image(
    source: str | Path | bytes, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES, palest: int = 255
) -> Image.Image:
    """Read a JPEG, PNG, WebP, AVIF or HEIC as RGB in sRGB, upright, every tag (EXIF, position, profile) left behind.

    source: a path or the bytes of a file. The size is checked before a pixel is decoded, the whole picture is decoded
    (a truncated file is found here, not later), EXIF rotation is applied, colours of another profile (Display P3,
    Adobe RGB, a press's CMYK) are converted, transparency is laid on white.
    palest: of what a picture with transparency shows, so that a white garment can be told from the white (`PALEST`).

    Raises:
        DataError: the file, which it names, is missing, too large, damaged, animated or of another format.
    """
    name, data = _read(source, max_bytes=max_bytes)
    return as_rgb(in_srgb(_open(name, data, max_pixels=max_pixels)), palest=palest)


def load_gray(source: str | Path | bytes, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> Image.Image:
    """Read a mask file as one channel (mode L), its transparency as `mask_plane` says. Errors as `load_image`."""
    name, data = _read(source, max_bytes=max_bytes)
    return mask_plane(_open(name, data, max_pixels=max_pixels))


def mask_plane(image: Image.Image) -> Image.Image:
    """Return the one channel (mode L) of a mask, whose transparency is read as editors write it.

    Without transparency it is the grey value. A hole that was erased in what is opaque, along most of the picture's
    border, is what is marked; strokes on what is transparent there are marked where they are opaque. Where the opaque
    part is itself a mask, black and white, what is transparent is not marked.
    """
    if image.mode not in ("LA", "RGBA", "PA") and "transparency" not in image.info:
        return (as_rgb(image) if image.mode.startswith("I") or image.mode == "F" else image).convert("L")
    rgba = image.convert("RGBA")
    alpha, grey = np.asarray(rgba.getchannel("A")), np.asarray(rgba.convert("RGB").convert("L"))
    if alpha.min(initial=255) == 255:
        return rgba.convert("RGB").convert("L")
    opaque = grey[alpha >= 128]
    dark, bright = ((opaque < SURE).mean(), (opaque > 255 - SURE).mean()) if opaque.size else (0.0, 0.0)
    if min(dark, bright) > 0.01 and dark + bright > 0.9:
        return Image.fromarray((grey * (alpha / 255.0)).round().astype(np.uint8))
    border = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
    return Image.fromarray(255 - alpha if (border >= 128).mean() > 0.5 else alpha)


def _read(source: str | Path | bytes, *, max_bytes: int) -> tuple[str, bytes]:
    if isinstance(source, bytes):
        name, data, size = "the picture given", source, len(source)
    else:
        path = Path(source)
        if not path.is_file():
            raise DataError(f"there is no picture at {path}; give the path of a {KINDS} file")
        name, data, size = str(path), None, path.stat().st_size
    if size > max_bytes:
        raise DataError(f"{name} has {size:,} bytes, more than the {max_bytes:,} allowed; save it smaller")
    return name, Path(name).read_bytes() if data is None else data


def _open(name: str, data: bytes, *, max_pixels: int) -> Image.Image:
    """Open, check the size from the header, then decode; return the upright picture in its own mode."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is the stricter one
            warnings.simplefilter("ignore", UserWarning)  # EXIF data that are damaged
            image = Image.open(io.BytesIO(data), formats=_formats(name, data))
        if image.width * image.height > max_pixels:
            raise DataError(
                f"{name} is {image.width}x{image.height}, more than the {max_pixels:,} pixels allowed; scale it down"
            )
        frames = getattr(image, "n_frames", 1)
        if image.format in ("PNG", "WEBP", "AVIF") and frames > 1:  # others of a JPEG or HEIC go with the first
            raise DataError(f"{name} is animated ({frames} frames); save the one you want as a picture")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # EXIF data that are damaged turn nothing
            image.load()
            upright = ImageOps.exif_transpose(image)
            upright.info[ADOBE_RGB] = says_adobe(image.getexif())
            return upright
    except UnidentifiedImageError as error:
        raise DataError(f"{name} is not a {KINDS} picture; convert it to one of these") from error
    except (OSError, SyntaxError, ValueError, EOFError, RuntimeError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{name} is damaged ({shown(error, most=200)}); open it in an editor and save it again"
        ) from error


def _formats(name: str, data: bytes) -> tuple[str, ...]:
    """Say what may be read; of a HEIC file, let pillow-heif read it.

    Raises:
        DataError: pillow-heif is not installed.
    """
    brands = (data[8:12], *(data[at : at + 4] for at in range(16, min(len(data), 64), 4)))
    if data[4:8] != b"ftyp" or b"avif" in brands or not set(brands) & set(HEIC):
        return FORMATS
    try:
        import pillow_heif
    except ImportError as error:
        raise DataError(f"{name} is HEIC; pip install pillow-heif, or save it as JPEG") from error
    pillow_heif.register_heif_opener()
    return (*FORMATS, "HEIF")


def as_rgb(image: Image.Image, *, palest: int = 255) -> Image.Image:
    """Return a fresh RGB copy without metadata; 16-bit grey is scaled, transparency is laid on white, and what is seen
    of such a picture is `palest` at most."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float32)
        top = 255.0 if values.max(initial=0) <= 255 else 65535.0
        image = Image.fromarray((values.clip(0, top) * (255.0 / top)).round().astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        canvas = Image.new("RGB", rgba.size, WHITE)
        canvas.paste(no_paler_than(rgba.convert("RGB"), palest), mask=rgba.getchannel("A"))
        return canvas
    rgb = image.convert("RGB")
    clean = Image.new("RGB", rgb.size)
    clean.paste(rgb)
    return clean


def no_paler_than(image: Image.Image, palest: int) -> Image.Image:
    """Return a picture whose channels are `palest` at most."""
    return image.point([min(value, palest) for value in range(256)] * len(image.getbands()))


def to_tensor(images: Image.Image | np.ndarray | Tensor | Sequence[Image.Image | np.ndarray]) -> Tensor:
    """Turn pictures of one size into a float32 tensor (B, 3, H, W) in [0, 1].

    Takes a PIL image, a uint8 array (H, W, 3) or (B, H, W, 3), a sequence of these, or a float tensor (3, H, W) or
    (B, 3, H, W) in [0, 1], which is checked and passed on.

    Raises:
        DataError: another shape, range or mixed sizes.
    """
    if isinstance(images, Tensor):
        batch = images.unsqueeze(0) if images.ndim == 3 else images
        if batch.ndim != 4 or batch.shape[1] != 3 or not batch.is_floating_point():
            raise DataError(
                f"a picture tensor of {images.dtype} {tuple(images.shape)} must be floats (B, 3, H, W) in [0, 1]"
            )
        low, high = batch.aminmax()
        if not (low >= 0 and high <= 1):
            raise DataError(f"a picture tensor holds values from {low:.3g} to {high:.3g}; scale them to [0, 1]")
        return batch.float()
    if isinstance(images, np.ndarray) and images.ndim == 4:
        images = list(images)
    several = images if isinstance(images, Sequence) else [images]
    arrays = [_array(image) for image in several]
    if not arrays or any(array.shape != arrays[0].shape for array in arrays):
        raise DataError(
            f"pictures of sizes {[a.shape[:2] for a in arrays]} cannot form one batch; fit them to one size"
        )
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float().div(255)


def _array(image: Image.Image | np.ndarray) -> np.ndarray:
    array = np.asarray(as_rgb(image)) if isinstance(image, Image.Image) else image
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise DataError(f"a picture array of {array.dtype} {array.shape} must be uint8 (H, W, 3)")
    return array


def picture_list(pictures: Image.Image | np.ndarray | Tensor | Sequence) -> list[Image.Image]:
    """Read what a pipeline takes as pictures into RGB images.

    pictures: PIL, uint8 arrays (H, W, 3), float tensors (B, 3, H, W) in [0, 1], or a list of these.

    Raises:
        DataError: anything else, or an empty list.
    """
    several = pictures if isinstance(pictures, (list, tuple)) else [pictures]
    images: list[Image.Image] = []
    for one in several:
        if isinstance(one, Image.Image):
            images.append(as_rgb(one))
        elif isinstance(one, (np.ndarray, Tensor)):
            images += to_pil(to_tensor(one))
        else:
            raise DataError(f"a picture cannot be a {type(one).__name__}; give a PIL image, an array or a tensor")
    if not images:
        raise DataError("no picture was given; give at least one person and one garment")
    return images


def to_uint8(pictures: Tensor) -> np.ndarray:
    """Round a tensor (B, 3, H, W) in [0, 1] to uint8 (B, H, W, 3); values are clamped. Undoes `to_tensor`."""
    return pictures.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def to_pil(pictures: Tensor) -> list[Image.Image]:
    """Turn a tensor (B, 3, H, W) in [0, 1] into PIL images; values outside are clamped."""
    return [Image.fromarray(array) for array in to_uint8(pictures)]


@dataclass(frozen=True)
class Placement:
    """Where a picture of `original` (H, W) lies on a canvas after `fit`: its corner and its size there, in pixels."""

    original: tuple[int, int]
    top: int
    left: int
    height: int
    width: int


def place(original: tuple[int, int], size: tuple[int, int]) -> Placement:
    """Centre a picture of `original` (H, W) on a canvas of `size`, as large as it fits; ConfigError on sizes < 1."""
    (h, w), (height, width) = original, size
    if min(h, w, height, width) < 1:
        raise ConfigError(f"a picture of {original} cannot be fitted to {size}; every side must be at least 1")
    scale = min(height / h, width / w)
    inner_h, inner_w = max(1, round(h * scale)), max(1, round(w * scale))
    return Placement(original, (height - inner_h) // 2, (width - inner_w) // 2, inner_h, inner_w)


def fit(
    image: Image.Image, *, size: tuple[int, int], fill: Fill = WHITE, resample: Resample = Resample.LANCZOS
) -> tuple[Image.Image, Placement]:
    """Scale a picture to fit into `size` (H, W), keeping its aspect, and pad the rest; `unfit` undoes it.

    fill: a colour, or "edge" to repeat the border pixels (for photos, so that no hard edge appears).
    """
    where = place((image.height, image.width), size)
    inner = image if image.size == (where.width, where.height) else image.resize((where.width, where.height), resample)
    pad = ((where.top, size[0] - where.top - where.height), (where.left, size[1] - where.left - where.width))
    if fill == "edge":
        array = np.asarray(inner)
        return Image.fromarray(np.pad(array, (*pad, (0, 0))[: array.ndim], mode="edge")), where
    canvas = Image.new(image.mode, (size[1], size[0]), fill)
    canvas.paste(inner, (where.left, where.top))
    return canvas, where


def unfit(image: Image.Image, where: Placement, *, resample: Resample = Resample.LANCZOS) -> Image.Image:
    """Crop the padding of `fit` away and scale back to the original size."""
    inner = image.crop((where.left, where.top, where.left + where.width, where.top + where.height))
    height, width = where.original
    return inner if inner.size == (width, height) else inner.resize((width, height), resample)


def blur(mask: Tensor, *, kernel: int) -> Tensor:
    """Blur (B, C, H, W) with a Gaussian of odd width `kernel` (sigma as OpenCV chooses it); borders are replicated."""
    if kernel < 1 or kernel % 2 == 0:
        raise ConfigError(f"a blur of width {kernel} is not possible; use an odd number of at least 1")
    sigma = 0.3 * ((kernel - 1) * 0.5 - 1) + 0.8
    x = torch.arange(kernel, dtype=mask.dtype, device=mask.device) - kernel // 2
    weights = torch.exp(-(x**2) / (2 * sigma**2))
    weights = (weights / weights.sum()).expand(mask.shape[1], 1, 1, kernel)
    half, groups = kernel // 2, mask.shape[1]
    rows = F.conv2d(F.pad(mask, (half, half, 0, 0), mode="replicate"), weights, groups=groups)
    return F.conv2d(F.pad(rows, (0, 0, half, half), mode="replicate"), weights.transpose(2, 3), groups=groups)


def soft_inside(mask: Tensor, *, kernel: int) -> Tensor:
    """Soften the edge of a 0/1 mask (B, 1, H, W) towards its inside only: exactly 0 wherever the mask is 0.

    The blurred mask is 1/2 on the edge, so 2·blur − 1 rises from 0 on the edge to 1 about half a kernel inside.
    """
    return (2 * blur(mask, kernel=kernel) - 1).clamp(0, 1) * mask


def dilate(mask: np.ndarray, *, up: int = 0, down: int = 0, side: int = 0) -> np.ndarray:
    """Grow a bool mask (H, W) by a box: `up` and `down` pixels in height, `side` pixels to the left and right."""
    return _grow(_grow(mask, before=side, after=side).T, before=down, after=up).T


def _grow(mask: np.ndarray, *, before: int, after: int) -> np.ndarray:
    """Mark each pixel of a row with a marked one from `before` to its left to `after` to its right; by running sums."""
    sums = np.cumsum(np.pad(mask, ((0, 0), (before + 1, after))), 1, dtype=np.int32)
    return sums[:, before + after + 1 :] > sums[:, : mask.shape[1]]


def erode(mask: np.ndarray, *, up: int = 0, down: int = 0, side: int = 0) -> np.ndarray:
    """Shrink a bool mask (H, W): the complement grows by the same box (the picture's border does not eat into it)."""
    return ~dilate(~mask, up=down, down=up, side=side)


def components(mask: np.ndarray) -> list[np.ndarray]:
    """Split a bool mask (H, W) into its 4-connected pieces, largest first."""
    masks = []
    for rows, columns in pieces(mask):
        masks.append(np.zeros_like(mask))
        masks[-1][rows, columns] = True
    return masks


def pieces(mask: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Find the 4-connected pieces of a bool mask (H, W), largest first: the rows and columns of their pixels."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, first = np.nonzero(edges == 1)
    last = np.nonzero(edges == -1)[1]  # one past each run of a row
    parent = list(range(len(row)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    runs = list(zip(row.tolist(), first.tolist(), last.tolist(), strict=True))
    above = 0
    for i, (line, begin, end) in enumerate(runs):
        while runs[above][0] < line - 1 or (runs[above][0] == line - 1 and runs[above][2] <= begin):
            above += 1
        j = above
        while runs[j][0] == line - 1 and runs[j][1] < end:
            parent[root(i)] = root(j)
            j += 1
    lengths = last - first
    piece = np.repeat([root(i) for i in range(len(runs))], lengths)
    rows = np.repeat(row, lengths)
    columns = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths - first, lengths)
    order = np.argsort(piece, kind="stable")
    cuts = np.flatnonzero(np.diff(piece[order])) + 1
    found = list(zip(np.split(rows[order], cuts), np.split(columns[order], cuts), strict=True)) if runs else []
    return sorted(found, key=lambda one: -len(one[0]))


def mask_box(mask: np.ndarray, *, at_least: int = 1) -> tuple[int, int, int, int]:
    """Bounding box (top, bottom, left, right), ends excluded, of a bool mask (H, W), at least `at_least` a side.

    Raises:
        DataError: nothing is marked or the picture is smaller than `at_least`.
    """
    if not mask.any() or min(mask.shape) < at_least:
        raise DataError(f"a mask of {mask.shape} with {int(mask.sum())} marked pixels has no box of {at_least} a side")
    sides: list[int] = []
    for axis, size in ((1, mask.shape[0]), (0, mask.shape[1])):
        marked = np.flatnonzero(mask.any(axis))
        first, last = int(marked[0]), int(marked[-1]) + 1
        first = max(0, min(first - max(0, at_least - (last - first)) // 2, size - at_least))
        sides += [first, max(last, first + at_least)]
    return sides[0], sides[1], sides[2], sides[3]


def frame(mask: np.ndarray, *, size: tuple[int, int], share: float = 0.5) -> tuple[int, int, int, int]:
    """Box (left, top, right, bottom) of the aspect of `size` (H, W) around a mask, of whose height it takes `share`.

    It lies within the picture as far as that is large enough, and always holds the whole mask.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    aspect = size[1] / size[0]
    tall = max((rows[-1] - rows[0] + 1) / share, (columns[-1] - columns[0] + 1) / (share * aspect))
    sides = []
    for marked, length, whole in ((columns, tall * aspect, mask.shape[1]), (rows, tall, mask.shape[0])):
        length = min(round(length), whole)
        first = round((marked[0] + marked[-1] + 1 - length) / 2)
        first = max(0, min(first, whole - length))
        sides.append((first, first + length))
    (left, right), (top, bottom) = sides
    return left, top, right, bottom
