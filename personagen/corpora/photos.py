"""Write training corpora from real photos: people whose clothes are parsed pixel by pixel, and garments alone.

A corpus is a folder: `meta.jsonl` (one row a picture), `image.npy` (N, H, W, 3) uint8, and for try-on pairs
`garment.npy` (N, H, W, 3) uint8 and `mask.npy` (N, H, W) uint8, 1 = repaint. Faces are made unrecognisable before
anything is written.
Photos: Clothing Co-Parsing (Yang et al., CVPR 2014) and the clothing dataset of A. Grigorev (CC0).
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from recsys.errors import DataError, shown
from recsys.text import from_json, read_text

from ..colours import measure_colour, to_lab
from ..files import write_array, write_text
from ..images import MAX_PIXELS, components, dilate, fit, frame, load_image
from ..person.masks import agnostic_mask, layers_from_parts
from ..person.parts import Part, parts_from_parsing, split_skin
from ..vocabulary import COLOURS, KIND_OF_LABEL, REGION, noun_phrase
from ..warping.cutout import cut_out
from .leftout import LeftOut, Tell, silent

_CCP_KINDS = {
    "t-shirt": "t-shirt top",
    "shirt": "shirt blouse",
    "sweater": "sweater sweatshirt hoodie jumper cardigan",
    "jacket": "jacket blazer coat",
    "dress": "dress romper",
    "skirt": "skirt",
    "trousers": "pants jeans leggings",
    "shorts": "shorts",
}
KIND_OF_CCP = {label: kind for kind, labels in _CCP_KINDS.items() for label in labels.split()}
DROPPED_LABELS = frozenset({"Body", "Hat", "Shoes", "Undershirt"})


@dataclass(frozen=True)
class Pair:
    """One try-on example: person (H, W, 3), cut-out garment on white (H, W, 3), mask (H, W), and its row of words."""

    person: np.ndarray
    garment: np.ndarray
    mask: np.ndarray
    row: dict[str, str]


def is_heldout(key: str) -> bool:
    """Tell whether a photo or sender belongs to the fixed held-out fifth, by a hash of its id."""
    return hashlib.sha256(key.encode()).digest()[0] % 5 == 0


def write_people_corpus(
    images_root: str | Path,
    out: str | Path,
    *,
    size: tuple[int, int],
    limit: int | None = None,
    zoom: bool = False,
    tell: Tell = silent,
) -> int:
    """Write try-on pairs from the parsed street photos: one for each usable garment. Returns their number.

    images_root: the folder that holds `people/photos`, `people/parsing` and `people/labels.json`. size: (H, W).
    limit: stop after so many photos. zoom: show the mask's surroundings, as `TryOnPipeline` does with zoom, instead of
    the whole photo. tell: takes a line about the photos that cannot be read.

    Raises:
        DataError: the photos are not there, or nearly all are damaged.
    """
    people = Path(images_root) / "people"
    labels = read_label_names(people)
    files = sorted((people / "photos").glob("*.jpg"))[:limit]
    pairs: list[Pair] = []
    left = LeftOut("photos", people)
    for file in files:
        found = photo_pairs(file, people / "parsing" / f"{file.stem}.png", labels, size=size, zoom=zoom)
        pairs += left.read(partial(list, found)) or []
    left.end(tell)
    if not pairs:
        raise DataError(f"no usable photo with a parsing in {people}; expected photos/NNNN.jpg beside parsing/NNNN.png")
    _write(
        out,
        [pair.row for pair in pairs],
        image=[p.person for p in pairs],
        garment=[p.garment for p in pairs],
        mask=[p.mask.astype(np.uint8) for p in pairs],
    )
    return len(pairs)


def read_label_names(people: Path) -> list[str]:
    """Read labels.json of the parsed street photos: the name of each value.

    Raises:
        DataError: it is missing or damaged.
    """
    file = people / "labels.json"
    if not file.is_file():
        raise DataError(f"there is no {file}; give the folder that holds people/ with photos and parsings")
    try:
        labels = from_json(read_text(file))
    except ValueError as error:
        raise DataError(f"{file} is no list of names ({shown(error, most=200)}); copy it again") from error
    if not isinstance(labels, list) or not all(isinstance(name, str) for name in labels):
        raise DataError(f"{file} is no list of names; copy it again")
    return labels


def read_labels(file: str | Path, *, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a label map (H, W) uint8, palette or grey; size: (H, W) to bring it to.

    Raises:
        DataError: it is missing, damaged, too large, or has no one value a pixel.
    """
    try:
        with Image.open(file, formats=("PNG",)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"{file} has {image.width * image.height:,} pixels, more than {MAX_PIXELS:,}; scale it down"
                )
            if image.mode not in ("P", "L"):
                raise DataError(f"{file} is of mode {image.mode}; a label map has one value a pixel (P or L)")
            flat = image if size is None else image.resize((size[1], size[0]), Image.Resampling.NEAREST)
            return np.array(flat)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"the label map {file} cannot be read ({shown(error, most=200)}); copy it again") from error


def photo_pairs(
    photo: Path, parsing: Path, labels: list[str], *, size: tuple[int, int], zoom: bool = False
) -> Iterator[Pair]:
    """Yield the try-on pairs of one photo: upper body, dress, lower body, where a garment is whole enough.

    Nothing where the head is not marked, since its face could not be hidden.

    Raises:
        DataError: the sizes differ.
    """
    image, values = load_image(photo), read_labels(parsing)
    if values.shape != (image.height, image.width):
        raise DataError(f"{parsing} is {values.shape} but {photo} is {(image.height, image.width)}; they must match")
    parts = parts_from_parsing(values, labels)
    head = head_of(parts)
    if head.sum() < 0.005 * head.size:
        return  # the parsing left the head out: a face that is not found cannot be hidden
    worn = worn_garments(values, labels)
    colours = {kind: cloth_colour(np.asarray(image), label) for kind, label in worn.items()}
    caption = _person_caption(colours)
    safe = hide_face(image, head)
    for kind, label in worn.items():
        if label.sum() < 0.6 * layers_from_parts(parts, kind=kind).garment.sum():
            continue  # most of what would be repainted is another garment, such as a coat over the dress
        person, mask = _framed(safe, parts, kind, size=size, zoom=zoom)
        row = {
            "caption": caption,
            "garment_caption": f"a photo of {noun_phrase(kind, colours[kind])}",
            "kind": kind,
            "colour": colours[kind],
            "pattern": "",
            "scene": "",
            "source": f"people/{photo.stem}",
            "split": "heldout" if is_heldout(f"people/{photo.stem}") else "train",
        }
        yield Pair(person, np.asarray(cut_out(image, label, size=size)), mask, row)


def _framed(
    photo: Image.Image, parts: np.ndarray, kind: str, *, size: tuple[int, int], zoom: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The photo (H, W, 3) and what to repaint of it (H, W), as the model sees them: whole, or close to the mask."""
    flat = {"fill": int(Part.BACKGROUND), "resample": Image.Resampling.NEAREST}
    if not zoom:
        small = np.asarray(fit(Image.fromarray(parts), size=size, **flat)[0])
        return np.asarray(fit(photo, size=size, fill="edge")[0]), agnostic_mask(layers_from_parts(small, kind=kind))
    mask = agnostic_mask(layers_from_parts(parts, kind=kind))
    box = frame(mask, size=size)
    marked = fit(Image.fromarray(mask.astype(np.uint8)).crop(box), size=size, **flat)[0]
    return np.asarray(fit(photo.crop(box), size=size, fill="edge")[0]), np.asarray(marked) > 0


def worn_garments(values: np.ndarray, labels: list[str]) -> dict[str, np.ndarray]:
    """Find the garments that can be cut out, kind -> bool (H, W).

    For each body region the largest one counts, if it is most of what is worn there, covers 1.2 % of the photo, is in
    few pieces and not a mere outline.
    """
    masks: dict[str, np.ndarray] = {}
    for value in np.unique(values).tolist():
        kind = KIND_OF_CCP.get(labels[value])
        if kind:
            masks[kind] = masks.get(kind, np.zeros(values.shape, bool)) | (values == value)
    found = {}
    for region in ("upper", "dress", "lower"):
        worn = {kind: mask for kind, mask in masks.items() if REGION[kind] == region}
        if not worn:
            continue
        kind = max(worn, key=lambda k: worn[k].sum())
        share = worn[kind].sum() / sum(mask.sum() for mask in worn.values())
        mask = _whole(worn[kind])
        if mask is not None and share > 0.6:
            found[kind] = mask
    return found


def _whole(mask: np.ndarray) -> np.ndarray | None:
    """Keep the main pieces of a garment; None when it is tiny, in shreds or thin."""
    pieces = components(mask)
    kept = [piece for piece in pieces if piece.sum() > 0.1 * pieces[0].sum()]
    whole = np.logical_or.reduce(kept)
    rows, columns = np.flatnonzero(whole.any(1)), np.flatnonzero(whole.any(0))
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    large = whole.sum() > 0.012 * mask.size and height > 0.1 * mask.shape[0]
    compact = len(kept) <= 3 and pieces[0].sum() > 0.45 * mask.sum() and whole.sum() > 0.3 * height * width
    return whole if large and compact else None


def head_of(parts: np.ndarray) -> np.ndarray:
    """The head of one photographed person, bool (H, W): hair, hat, glasses, skin above the collar; parts: `Part`."""
    return split_skin(parts)[3] | (parts == Part.HEAD)


def hide_face(image: Image.Image, head: np.ndarray) -> Image.Image:
    """Blur a head (bool (H, W)) beyond recognition: a Gaussian of radius height / 60."""
    step = max(1, image.height // 160)
    soft = Image.fromarray(dilate(head, up=step, side=step)).convert("L").filter(ImageFilter.GaussianBlur(1))
    return Image.composite(image.filter(ImageFilter.GaussianBlur(image.height / 60)), image, soft)


def cloth_colour(picture: np.ndarray, mask: np.ndarray) -> str:
    """Name the colour of a photo (H, W, 3) in a mask (H, W): each pixel votes for its nearest word in CIE Lab.

    Worn cloth is duller than the words' reference colours, so chroma is compared compressed (power 0.3) and lightness
    at half weight.
    """
    names = list(COLOURS)
    words, pixels = _cloth_space(np.array([COLOURS[name] for name in names])), _cloth_space(picture[mask])
    nearest = ((pixels[:, None] - words) ** 2).sum(-1).argmin(1)
    return names[int(np.bincount(nearest, minlength=len(names)).argmax())]


def _cloth_space(rgb: np.ndarray) -> np.ndarray:
    lab = to_lab(rgb)
    chroma = np.hypot(lab[..., 1], lab[..., 2])[..., None]
    dull = 20 * np.maximum(chroma - 4, 0) ** 0.3  # the first 4 are camera tints of white and black cloth
    return np.concatenate([0.5 * lab[..., :1], lab[..., 1:] / np.maximum(chroma, 1e-6) * dull], axis=-1)


def _person_caption(colours: dict[str, str]) -> str:
    worn = " and ".join(noun_phrase(kind, colour) for kind, colour in colours.items())
    return f"a photo of a person wearing {worn}"


def garment_photos(images_root: str | Path, *, limit: int | None = None) -> Iterator[tuple[Path, str, dict[str, str]]]:
    """Yield the garment photos of adults' sizes that cover a region: file, kind, and the row of the table.

    Arguments and errors as those of `write_garments_corpus`.
    """
    folder = Path(images_root) / "garments"
    if not (folder / "garments.csv").is_file():
        raise DataError(
            f"there is no garments/garments.csv in {images_root}; give the folder that holds the garment photos"
        )
    table = csv.DictReader(io.StringIO(read_text(folder / "garments.csv")))
    for name in ("file", "label", "sender_id", "kids"):
        if name not in (table.fieldnames or ()):
            raise DataError(f"{folder}/garments.csv has no column {name!r}; copy the table of the data set again")
    try:
        entries = [{name: text or "" for name, text in row.items() if name} for row in table][:limit]
    except csv.Error as error:
        raise DataError(f"{folder}/garments.csv is no table ({error}); copy it again") from error
    for entry in entries:
        kind = KIND_OF_LABEL.get(entry["label"].lower(), entry["label"].lower())
        if entry["kids"] == "False" and entry["label"] not in DROPPED_LABELS and kind in REGION:
            yield folder / "images" / entry["file"], kind, entry


def write_garments_corpus(
    images_root: str | Path, out: str | Path, *, size: tuple[int, int], limit: int | None = None, tell: Tell = silent
) -> int:
    """Write a text-only corpus from the garment photos, padded white, adults' sizes. Returns their number.

    images_root: the folder that holds `garments/garments.csv` and `garments/images`. size: (H, W). limit: so many rows
    of it. tell: takes a line about the photos that cannot be read.

    Raises:
        DataError: the table is not there, or nearly all photos are damaged.
    """
    rows, pictures, left = [], [], LeftOut("photos of garments", f"{images_root}/garments")
    for file, kind, entry in garment_photos(images_root, limit=limit):
        image = left.read(partial(load_image, file))
        if image is not None:
            rows.append(_garment_row(image, kind, entry))
            pictures.append(np.asarray(fit(image, size=size)[0]))
    left.end(tell)
    if not rows:
        raise DataError(
            f"no usable garment in {images_root}/garments/garments.csv; expected kinds such as T-Shirt, Dress or Pants"
        )
    _write(out, rows, image=pictures)
    return len(rows)


def _garment_row(image: Image.Image, kind: str, entry: dict[str, str]) -> dict[str, str]:
    colour = measure_colour(image)
    caption = f"a photo of {noun_phrase(kind, colour)}"
    return {
        "caption": caption,
        "garment_caption": caption,
        "kind": kind,
        "colour": colour,
        "pattern": "",
        "scene": "",
        "source": f"garments/{entry['file']}",
        "split": "heldout" if is_heldout(f"sender/{entry['sender_id']}") else "train",
    }


def _write(out: str | Path, rows: list[dict[str, str]], **arrays: list[np.ndarray]) -> None:
    """Write the arrays first and the table last, each by renaming, so that a folder with a table is complete."""
    folder = Path(out)
    (folder / "meta.jsonl").unlink(missing_ok=True)
    for name, pictures in arrays.items():
        write_array(folder / f"{name}.npy", np.stack(pictures))
    write_text(folder / "meta.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
