"""Read pairs of a photographed person and the garment worn, from the published layouts of try-on data sets.

VITON-HD (Choi et al., CVPR 2021): `train_pairs.txt`, and in `train/` the folders `image`, `cloth`, `image-parse-v3` and
perhaps `agnostic-mask`. DressCode (Morelli et al., ECCV 2022): `upper_body`, `lower_body` and `dresses`, each with
`train_pairs.txt`, `images` and `label_maps`. Parsed street photos: `personagen.corpora.photos`.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from recsys.errors import ConfigError, DataError, shown
from recsys.text import is_file, read_text

from ..files import new_array, write_text
from ..images import PALEST, fit, load_image
from ..person.masks import agnostic_mask, layers_from_parts, mask_from_file
from ..person.parts import Part
from .leftout import NEARLY_ALL, Tell, silent
from .photos import is_heldout, read_labels

LIP = (
    "background hat hair glove sunglasses upper dress coat socks pants neck scarf skirt face left-arm right-arm "
    "left-leg right-leg left-shoe right-shoe"
).split()
"""Labels of VITON-HD's parsings, by value."""
DRESSCODE = (
    "background hat hair sunglasses upper skirt pants dress belt left-shoe right-shoe face left-leg right-leg left-arm "
    "right-arm bag scarf"
).split()
_PARTS = {
    Part.HEAD: "hat hair sunglasses",
    Part.SKIN: "neck face left-arm right-arm left-leg right-leg",
    Part.UPPER: "upper",
    Part.LOWER: "pants skirt belt",
    Part.DRESS: "dress",
    Part.OUTER: "coat",
    Part.LEGWEAR: "socks",
    Part.SHOES: "left-shoe right-shoe",
    Part.CARRIED: "glove scarf bag",
}
PART_OF = {name: part for part, names in _PARTS.items() for name in names.split()}
CATEGORIES = {"upper_body": "upper", "lower_body": "lower", "dresses": "dress"}
LAYOUTS = ("viton-hd", "dresscode")
SPLITS = ("train", "test")
LONGEST = 2_000
"""Letters of a line that are looked at."""
PICTURE = re.compile(r"\S.*?\.(?:jpe?g|png|webp)(?=\s|$)", re.IGNORECASE)


SHOWN = 5
"""Pairs that cannot be read and are named; of the others the number is enough."""


@dataclass(frozen=True)
class WornPair:
    """One line of a list of pairs, and where its pictures are; `labels` names the values of the parsing."""

    key: str
    person: Path
    garment: Path
    kind: str
    parsing: Path
    mask: Path | None
    labels: Sequence[str]


def read_pairs(
    root: str | Path, layout: str, *, split: str = "train", paired: bool = True, ids: str | Path | None = None
) -> list[WornPair]:
    """List the pairs of a data set; nothing but the lists is read.

    split: "train" or "test". paired: whether a person comes with the garment worn; unpaired test lists come with
    another. ids: a file of lines `person garment` to take instead of the data set's own list, so that a measurement can
    be repeated on exactly these (DressCode: `category/person garment`).

    Raises:
        ConfigError: an unknown layout or split.
        DataError: a list or a picture that it names is missing.
    """
    if layout not in LAYOUTS or split not in SPLITS:
        raise ConfigError(f"layout {layout!r} must be one of {LAYOUTS}, and split {split!r} one of {SPLITS}")
    lines = _viton_lines if layout == "viton-hd" else _dresscode_lines
    pairs = list(lines(Path(root), split, paired, Path(ids) if ids is not None else None))
    missing = [file for pair in pairs for file in (pair.person, pair.garment) if not is_file(file)]
    missing += [pair.parsing for pair in pairs if pair.mask is None and not is_file(pair.parsing)]
    if missing or not pairs:
        raise DataError(
            f"{len(missing)} of the pictures of {len(pairs)} pairs in {root} are missing, such as "
            f"{shown(missing[0], most=200) if missing else 'all'}; copy the data set whole, or list other pairs"
        )
    return pairs


def _lines(file: Path) -> Iterator[list[str]]:
    if not file.is_file():
        raise DataError(f"there is no list of pairs at {file}; give the folder that holds it")
    lines = read_text(file).split("\n")
    if not any(line.strip() for line in lines):
        raise DataError(f"{file} names no pair; expected lines such as `person.jpg garment.jpg`")
    for number, line in enumerate(lines, 1):
        words = _names(line)
        if not words:
            continue
        inside = not any(word.startswith("/") or ".." in word for word in words[:2])
        if len(words) < 2 or not inside:
            raise DataError(
                f"line {number} of {file} is {shown(line)!r}; expected `person.jpg garment.jpg`, and a tab between "
                "names with spaces"
            )
        yield words


def _names(line: str) -> list[str]:
    """Take a line apart at its tabs, else behind each picture's ending, since names have spaces, else at its spaces."""
    line = line.strip().replace("\\", "/")
    if "\t" in line:
        return [word.strip() for word in line.split("\t") if word.strip()]
    names = PICTURE.findall(line[:LONGEST])
    return names if len(names) > 1 else line.split()


def _viton_lines(root: Path, split: str, paired: bool, ids: Path | None) -> Iterator[WornPair]:
    folder = root / split
    for person, garment, *_ in _lines(ids or root / f"{split}_pairs.txt"):
        if paired and ids is None:
            garment = person  # test_pairs.txt is the unpaired list; the garment worn has the person's name
        stem, masked = Path(person).stem, folder / "agnostic-mask"
        mask = next((file for end in ("_mask", "") if is_file(file := masked / f"{stem}{end}.png")), None)
        parsing = folder / "image-parse-v3" / f"{stem}.png"
        cloth = folder / "cloth" / garment
        yield WornPair(f"{stem}+{cloth.stem}", folder / "image" / person, cloth, "upper", parsing, mask, LIP)


def _dresscode_lines(root: Path, split: str, paired: bool, ids: Path | None) -> Iterator[WornPair]:
    name = "train_pairs.txt" if split == "train" else f"test_pairs_{'paired' if paired else 'unpaired'}.txt"
    if ids is not None:
        entries = [(*words[0].split("/", 1), words[1]) for words in _lines(ids) if "/" in words[0]]
    else:
        found = [category for category in CATEGORIES if (root / category / name).is_file()]
        if not found:
            raise DataError(f"there is no {name} in any of {', '.join(CATEGORIES)} of {root}; give that folder")
        entries = [(category, words[0], words[1]) for category in found for words in _lines(root / category / name)]
    for category, person, garment in entries:
        if category not in CATEGORIES:
            raise DataError(f"category {category!r} of pair {person} is unknown; use one of {list(CATEGORIES)}")
        folder, stem = root / category, Path(person).stem
        parsing = folder / "label_maps" / f"{stem.removesuffix('_0')}_4.png"
        yield WornPair(
            f"{category}/{stem}+{Path(garment).stem}", folder / "images" / person, folder / "images" / garment,
            CATEGORIES[category], parsing, None, DRESSCODE,
        )  # fmt: skip


def load_pair(pair: WornPair) -> tuple[Image.Image, Image.Image, np.ndarray]:
    """Read one pair: person, garment, and the mask (H, W), the data set's own or made from its parsing.

    Raises:
        DataError: a picture is damaged or nothing is to be repainted.
    """
    person, garment = load_image(pair.person), load_image(pair.garment, palest=PALEST)
    if pair.mask is not None:
        return person, garment, mask_from_file(pair.mask, size=(person.height, person.width))
    values = read_labels(pair.parsing, size=(person.height, person.width))
    table = np.zeros(256, np.uint8)
    table[: len(pair.labels)] = [PART_OF.get(name, Part.BACKGROUND) for name in pair.labels]
    mask = agnostic_mask(layers_from_parts(table[values], kind=pair.kind))
    if not mask.any():
        raise DataError(f"the parsing {pair.parsing} marks no garment of kind {pair.kind!r}; leave pair {pair.key} out")
    return person, garment, mask


def readable(pairs: Sequence[WornPair], tell: Tell) -> list[WornPair]:
    """Read the pictures of every pair once; leave out those that cannot be read, tell the first of them and how many.

    Raises:
        DataError: nearly none can.
    """
    found, left = [], 0
    for pair in pairs:
        try:
            load_pair(pair)
            found.append(pair)
        except DataError as error:
            left += 1
            if left <= SHOWN:
                tell(f"left out pair {pair.key}: {error}")
    if not found or left > NEARLY_ALL * len(pairs):
        share = f"{left} of {len(pairs)} pairs cannot" if found else f"none of {len(pairs)} pairs can"
        raise DataError(f"{share} be read; what is wrong with the first is said above")
    if left:
        tell(f"{left} of {len(pairs)} pairs are left out")
    return found


def write_pairs_corpus(
    pairs: Sequence[WornPair], out: str | Path, *, size: tuple[int, int], tell: Tell = silent
) -> Iterator[float]:
    """Write pairs as a corpus for training, in the form of `personagen.corpora.photos`; yield the share done.

    A fixed fifth, by a hash of the person's name, is held out. Written row by row, the table last. Pairs that cannot be
    read are left out and told.

    Raises:
        DataError: no pair can be read.
    """
    pairs = readable(pairs, tell)
    folder, shapes = Path(out), {"image": (*size, 3), "garment": (*size, 3), "mask": size}
    (folder / "meta.jsonl").unlink(missing_ok=True)
    rows = []
    with ExitStack() as stack:
        arrays = {
            name: stack.enter_context(new_array(folder / f"{name}.npy", shape=(len(pairs), *shape), dtype=np.uint8))
            for name, shape in shapes.items()
        }
        for i, pair in enumerate(pairs):
            person, garment, mask = load_pair(pair)
            arrays["image"][i] = np.asarray(fit(person, size=size, fill="edge")[0])
            arrays["garment"][i] = np.asarray(fit(garment, size=size)[0])
            grey = Image.fromarray(mask).convert("L")
            arrays["mask"][i] = np.asarray(fit(grey, size=size, fill=0, resample=Image.Resampling.NEAREST)[0]) > 127
            held = is_heldout(pair.person.name)
            rows.append({"kind": pair.kind, "source": pair.key, "split": "heldout" if held else "train"})
            yield (i + 1) / len(pairs)
    write_text(folder / "meta.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
