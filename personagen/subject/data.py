"""Look at a folder of pictures, decide about every file, and pair the good ones with captions and training sizes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recsys.errors import DataError
from recsys.text import from_json, is_file, read_cells, read_text

from ..images import KINDS, load_image
from ..person.masks import load_mask

PICTURES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif")
CAPTIONS = (".txt", ".caption")
MAX_CAPTION = 20_000
"""Bytes of a caption's file; the text encoder reads some 75 words of it."""
METADATA = "metadata.jsonl"
TABLE = "metadata.csv"
MASKS = (".mask", "_mask", "-mask", "-masklabel")
"""What stands behind a picture's name in that of its mask; the last is OneTrainer's."""
MIN_SIDE = 32
MIN_SHARE = 0.25
"""A picture with a side below this share of the training size is too small to learn from."""
MAX_FILES = 100_000
MAX_ASPECT = 3.0
TOO_LONG = 8.0
"""A picture so many times as long as wide is a strip, of which training would see the middle alone."""


@dataclass(frozen=True)
class Finding:
    """What was decided about one file: "used", or why not, and a word more."""

    file: str
    decision: str
    detail: str = ""
    caption: str | None = None
    size: tuple[int, int] | None = None
    """(H, W) of a readable picture, upright."""


@dataclass(frozen=True)
class Picture:
    """A picture to train on: file, its caption (none: the instance prompt), size (H, W), fingerprint, and a mask."""

    path: Path
    caption: str | None
    size: tuple[int, int]
    sha256: str
    mask: Path | None = None


def scan(folder: str | Path, *, resolution: int | None = None) -> tuple[list[Picture], list[Finding]]:
    """Read every file of a folder, and say of each what was decided; a stray file never stops it.

    resolution: side in pixels of the training pictures, which tells what is too small, where it is known. Sub-folders
    are named, not entered; links that lead out of the folder are not followed.

    Raises:
        DataError: the folder is not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give a folder with pictures of the subject")
    rows, findings = _metadata(folder)
    pictures: list[Picture] = []
    hashes: dict[str, str] = {}
    files = sorted(folder.iterdir())
    if len(files) > MAX_FILES:
        raise DataError(f"{folder} holds {len(files):,} files, more than {MAX_FILES:,}; give a folder of one subject")
    captions = {file.stem + file.suffix.lower(): file for file in files if file.suffix.lower() in CAPTIONS}
    masks = _masks(files)
    beside = {*masks.values(), *(row[1] for row in rows.values() if row[1])}
    for path in files:
        apart = path.name in (METADATA, TABLE) or path.suffix.lower() in CAPTIONS or path.name.startswith("._")
        if apart or path in beside:
            continue
        if path.stem.lower().endswith(MASKS[0]):
            findings.append(
                Finding(path.name, "mask of no picture", "call it as its picture, NAME.mask.png for NAME.jpg")
            )
            continue
        finding, picture = _examine(path, folder, rows, captions, masks, hashes, resolution)
        findings.append(finding)
        pictures += [picture] if picture else []
    return pictures, findings


def usable(folder: str | Path, *, resolution: int | None = None) -> tuple[list[Picture], list[Finding]]:
    """Scan a folder as `scan` does.

    Raises:
        DataError: none can be used; it says what is wrong with each.
    """
    pictures, findings = scan(folder, resolution=resolution)
    if not pictures:
        reasons = "; ".join(f"{f.file}: {f.decision}" for f in findings[:5]) or "it is empty"
        raise DataError(f"no picture in {folder} can be used ({reasons}); give at least one {KINDS} picture")
    return pictures, findings


def _examine(
    path: Path,
    folder: Path,
    rows: dict[str, tuple[str | None, Path | None]],
    captions: dict[str, Path],
    masks: dict[Path, Path],
    hashes: dict[str, str],
    resolution: int | None,
) -> tuple[Finding, Picture | None]:
    name = path.name
    if path.is_symlink() and not _inside(path, folder):
        return Finding(name, "link leads out", "copy the picture into the folder"), None
    if not path.is_file():
        return Finding(name, "not a picture", "a folder" if path.is_dir() else "not a file"), None
    if path.suffix.lower() not in PICTURES:
        return Finding(name, "not a picture", f"{KINDS} is read"), None
    try:
        image = load_image(path)
        digest = hashlib.sha256(np.asarray(image).tobytes() + repr(image.size).encode()).hexdigest()
    except (DataError, OSError, MemoryError) as error:
        known = "not a picture" if "is not a JPEG" in str(error) else "damaged"
        return Finding(name, "too large" if "allowed" in str(error) else known, str(error)), None
    size = (image.height, image.width)
    least = MIN_SIDE if resolution is None else max(8, round(MIN_SHARE * resolution))
    if min(size) < least:
        return Finding(name, "too small", f"{size[1]}x{size[0]}; sides of at least {least} are needed", size=size), None
    if digest in hashes:
        return Finding(name, "duplicate", f"the same picture as {hashes[digest]}", size=size), None
    if image.getextrema() == ((255, 255),) * 3:
        return Finding(name, "empty", "it is white or transparent all over", size=size), None
    if max(size) > TOO_LONG * min(size):
        return Finding(name, "too narrow", f"{size[1]}x{size[0]}; cut out the part with the subject", size=size), None
    try:
        caption, mask = rows.get(name) or (_sidecar(path, captions), None)
        mask = mask or masks.get(path)
    except DataError as error:
        return Finding(name, "caption not read", str(error), size=size), None
    try:
        if mask is not None:
            load_mask(mask)
    except (DataError, OSError, MemoryError) as error:
        return Finding(name, "mask not read", str(error), size=size), None
    hashes[digest] = name
    note = f"{size[1]}x{size[0]}" + (", smaller than the training size" if min(size) < (resolution or 0) else "")
    return Finding(name, "used", note, caption, size), Picture(path, caption, size, digest, mask)


def _metadata(folder: Path) -> tuple[dict[str, tuple[str | None, Path | None]], list[Finding]]:
    """Read metadata.jsonl, {"file_name": ..., "text": ..., "mask": ...} a line, or metadata.csv with these columns.

    Lines that cannot be used are told.
    """
    file = next((file for file in (folder / METADATA, folder / TABLE) if file.is_file()), None)
    rows: dict[str, tuple[str | None, Path | None]] = {}
    findings: list[Finding] = []
    if file is None:
        return rows, findings
    lines: list[tuple[int, Any]]
    try:
        if file.name == TABLE:
            lines = [
                (number, {key: cell or None for key, cell in cells.items()}) for number, cells in read_cells(file)[1]
            ]
        else:
            lines = list(enumerate(read_text(file).split("\n"), 1))
    except DataError as error:
        return rows, [Finding(file.name, "not read", str(error))]
    for number, line in lines:
        try:
            if isinstance(line, str) and not line.strip():
                continue
            row = from_json(line) if isinstance(line, str) else line
            name, text, mask = _row(row, folder)
            rows[name] = (text, mask)
        except (ValueError, TypeError) as error:
            findings.append(Finding(f"{file.name}:{number}", "line not used", str(error)))
    return rows, findings


def _row(row: Any, folder: Path) -> tuple[str, str | None, Path | None]:
    """Return the picture, caption and mask that a line of metadata names.

    Raises:
        ValueError: it names none of this folder, or is of another form.
    """
    if not isinstance(row, dict):
        raise ValueError('it is no object such as {"file_name": ..., "text": ...}')
    name = row.get("file_name") or row.get("image")
    if not isinstance(name, str):
        raise ValueError("it names no file_name")
    name = name.replace("\\", "/").removeprefix("./")
    text, mask = row.get("text") or row.get("caption") or row.get("prompt"), row.get("mask")
    named = [each for each in (name, mask) if each is not None]
    inside = all(Path(each).name == each and _inside(folder / each, folder) for each in named)
    if not isinstance(text, str | None) or not inside:
        raise ValueError("it must name files of this folder, and a text")
    return name, text, folder / mask if mask else None


def _inside(file: Path, folder: Path) -> bool:
    return is_file(file) and file.resolve().is_relative_to(folder.resolve())


def _sidecar(path: Path, captions: dict[str, Path]) -> str | None:
    """Read the caption beside a picture: NAME.txt or NAME.caption, or the same behind the picture's whole name.

    Raises:
        DataError: it is a link, too long or no text.
    """
    names = [name + ending for name in (path.stem, path.name) for ending in CAPTIONS]
    there = [captions[name] for name in names if name in captions and captions[name].is_file()]
    file = next((each for each in there if each.stat().st_size), next(iter(there), None))
    if file is None:
        return None
    if file.is_symlink():
        raise DataError(f"{file.name} is a link; copy the caption into the folder")
    if file.stat().st_size > MAX_CAPTION:
        raise DataError(f"{file.name} has {file.stat().st_size:,} bytes; captions of {MAX_CAPTION:,} at most are read")
    return " ".join(read_text(file).split()) or None


def _masks(files: Sequence[Path]) -> dict[Path, Path]:
    """Find the masks beside pictures, as different tools call them, in any case: picture -> mask."""
    named = {path.name.lower(): path for path in files if not path.is_symlink()}
    found = {}
    for path in files:
        if path.suffix.lower() not in PICTURES:
            continue
        names = [
            f"{stem}{mark}{ending}".lower()
            for stem in (path.stem, path.name)
            for mark in MASKS
            for ending in (".png", *PICTURES)
        ]
        mask = next((named[name] for name in names if name in named), None)
        if mask is not None and mask != path:
            found[path] = mask
    return found


def bucket_size(size: tuple[int, int], *, resolution: int, multiple: int, buckets: bool = True) -> tuple[int, int]:
    """Choose the training size (H, W) of a picture: about resolution² pixels, sides multiples, proportions kept.

    Proportions beyond 3:1 are cut to that; without buckets every picture gets a square.
    """
    aspect = min(MAX_ASPECT, max(1 / MAX_ASPECT, size[1] / size[0])) if buckets else 1.0
    step = lambda value: max(multiple, round(value / multiple) * multiple)
    return step(resolution / aspect**0.5), step(resolution * aspect**0.5)


def cover(image: Image.Image, size: tuple[int, int]) -> tuple[Image.Image, tuple[int, int]]:
    """Scale a picture to cover `size` (H, W) and cut the middle out; return it and the cut's corner (top, left)."""
    scale = max(size[0] / image.height, size[1] / image.width)
    width, height = max(size[1], round(image.width * scale)), max(size[0], round(image.height * scale))
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    scaled = image.resize((width, height), Image.Resampling.LANCZOS)
    return scaled.crop((left, top, left + size[1], top + size[0])), (top, left)


def read_region(mask: Path, size: tuple[int, int]) -> np.ndarray:
    """Read a mask, white where the subject is, covered to `size` (H, W), as floats (H, W) in [0, 1].

    Raises:
        DataError: it cannot be read, or is a photo rather than a mask.
    """
    image, _ = cover(load_mask(mask), size)
    return np.asarray(image, dtype=np.float32) / 255
