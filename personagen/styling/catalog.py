"""Look an item up: `catalog[item] -> Garment(image, kind, attributes, caption)`, items 1..n as in the recommender.

Two catalogues: `AtelierCatalog` renders specifications of the studio when they are asked for, `FolderCatalog` reads a
folder of pictures and a CSV. `attribute_matrix` turns what either knows into item features for the recommender, with
named columns.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, Self

import torch
from PIL import Image
from torch import Tensor

from recsys.errors import DataError, shown
from recsys.text import find_named, is_file, read_cells

from ..atelier.garment import GarmentSpec
from ..colours import measure_colour
from ..images import PALEST, load_image
from ..vocabulary import KIND_OF_LABEL, noun_phrase

TABLES = (".csv", ".tsv")
SYSTEM = (".", "~$")
"""How names of files begin that a system or an office program puts beside one's own, such as `._garments.csv`."""
SLOTS = ("kind", "colour", "pattern", "scene")


@dataclass(frozen=True)
class Garment:
    """One item as a person sees it: an RGB picture, its kind, its other attributes by name, and a caption."""

    image: Image.Image
    kind: str
    attributes: dict[str, str]
    caption: str


class Catalog(Protocol):
    """What the stylist needs of a catalogue; `words` is cheap and opens no picture where that can be avoided."""

    names: tuple[str, ...]

    def __len__(self) -> int: ...
    def __getitem__(self, item: int, /) -> Garment: ...
    def words(self, item: int, /) -> dict[str, str]:
        """Return the known words of an item by slot, `kind` first, then colour, pattern, scene where known."""
        ...


@dataclass(frozen=True)
class Attributes:
    """Item features: matrix (n+1, f) float32 of zeros and ones, row 0 all zero, and the f column names, `slot=word`."""

    matrix: Tensor
    columns: tuple[str, ...]


def garment_phrase(words: Mapping[str, str]) -> str:
    """Say a garment with its article, as captions do: `a red striped t-shirt`, `blue trousers`, `black shoes`."""
    kind = words.get("kind", "garment")
    phrase = noun_phrase(kind, words.get("colour", ""), words.get("pattern", "plain"))
    plural = kind.endswith("s") and not kind.endswith("ss")
    return phrase.removeprefix("a ").removeprefix("an ") if plural else phrase


def attribute_matrix(catalog: Catalog, *, slots: Sequence[str] = SLOTS) -> Attributes:
    """Return the catalogue as features (n+1, f); columns such as `kind=t-shirt`, by the order of `slots`, then by name.

    A word that an item lacks leaves its columns zero. Colours that have to be measured are measured here, once.
    """
    rows = [catalog.words(item) for item in range(1, len(catalog) + 1)]
    columns = tuple(f"{slot}={word}" for slot in slots for word in sorted({row[slot] for row in rows if slot in row}))
    place = {column: at for at, column in enumerate(columns)}
    matrix = torch.zeros(len(rows) + 1, len(columns))
    for item, row in enumerate(rows, start=1):
        for slot in slots:
            if slot in row:
                matrix[item, place[f"{slot}={row[slot]}"]] = 1.0
    return Attributes(matrix, columns)


def _check_item(item: int, size: int) -> int:
    if not 1 <= int(item) <= size:
        raise DataError(f"item {item} is not in the catalogue; items are 1 to {size}, and 0 is padding")
    return int(item)


class AtelierCatalog:
    """Show garments of the studio: item i is specs[i - 1], rendered at `size` (H, W) when first asked for."""

    def __init__(self, specs: Sequence[GarmentSpec], *, size: tuple[int, int] = (256, 192)) -> None:
        self.specs, self.size = tuple(specs), size
        self.names = tuple(str(item) for item in range(1, len(self.specs) + 1))
        self._pictures: dict[int, Image.Image] = {}

    def __len__(self) -> int:
        return len(self.specs)

    def words(self, item: int, /) -> dict[str, str]:
        """Return kind, colour, pattern and scene of an item."""
        return dict(self.specs[_check_item(item, len(self)) - 1].attributes)

    def __getitem__(self, item: int, /) -> Garment:
        words = self.words(item)
        return Garment(self._picture(item), words.pop("kind"), words, self.specs[item - 1].caption())

    def _picture(self, item: int) -> Image.Image:
        if item not in self._pictures:
            from ..atelier.render import render_garment  # words can be read without the renderer

            picture = render_garment(self.specs[item - 1], size=self.size)
            self._pictures[item] = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        return self._pictures[item]


@dataclass(frozen=True)
class _Row:
    """One line of the table: the item's own id, its picture (None: missing), the words and title of the table."""

    name: str
    path: Path | None
    words: dict[str, str] = field(default_factory=dict)
    title: str = ""


class FolderCatalog:
    """Show a folder of pictures described by a CSV with a header.

    Columns: `file` (needed; a path below the folder or below its `images`), `kind` or `label` (needed), and, optional,
    `id` (default: the file's name without its ending), `colour`, `pattern`, `scene`, `title`. Items are numbered in the
    table's order. `table` may be left out when the folder holds exactly one CSV or TSV. A colour that is not given is
    measured in the picture. gaps: allow items without a picture, as long as there is one of some; they have no words.

    Raises:
        DataError: a table, column or picture is missing; the message names it.
    """

    def __init__(
        self, folder: str | os.PathLike[str], table: str | os.PathLike[str] | None = None, *, gaps: bool = False
    ) -> None:
        self.folder, self.gaps = Path(folder), gaps
        self.table = _find_table(self.folder, table)
        self._rows = _read_rows(self.folder, self.table, gaps=gaps)
        self.names = tuple(row.name for row in self._rows)
        self._damaged: dict[str, str] = {}

    def missing(self) -> list[str]:
        """List the items without a picture; those of which it is damaged are not among them."""
        return [row.name for row in self._rows if row.path is None and row.name not in self._damaged]

    def unreadable(self, items: Iterable[int]) -> dict[str, str]:
        """Read the pictures of some items; one that is damaged is missing from now on. Returns item -> what is wrong.

        Pictures of the others, of which a colour had to be measured, are among them as far as they were read.

        Raises:
            DataError: a picture is damaged, where no gaps are allowed.
        """
        for item in items:
            if self.words(item):
                try:
                    load_image(self._rows[item - 1].path or "")
                except DataError as error:
                    if not self.gaps:
                        raise
                    self._leave_out(item, str(error))
        return self._damaged

    def _leave_out(self, item: int, why: str) -> None:
        row = self._rows[item - 1]
        self._damaged[row.name] = why
        self._rows[item - 1] = replace(row, path=None)

    def select(self, names: Sequence[str], *, keep_rest: bool = False) -> Self:
        """Return the catalogue renumbered so that item i is names[i - 1], as a recommender's data counts its items.

        keep_rest: append the items that `names` does not mention (new arrivals) behind them.

        Raises:
            DataError: an unknown name, or with `gaps` nothing but items without a picture.
        """
        by_name = {row.name: row for row in self._rows}
        missing = [name for name in names if name not in by_name or by_name[name].path is None]
        if missing and not (self.gaps and len(missing) < len(names)):
            lack = "have no picture in" if self.gaps else "are not in"
            raise DataError(
                f"{len(missing)} of {len(names)} items {lack} {self.table}, the first is {missing[0]!r}; "
                f"add them to the table, or drop their interactions (its ids look like {self.names[0]!r})"
            )
        chosen = object.__new__(type(self))
        chosen.folder, chosen.table, chosen.gaps = self.folder, self.table, self.gaps
        mentioned = set(names)
        rest = [row for row in self._rows if row.name not in mentioned] if keep_rest else []
        chosen._rows = [*(by_name.get(name) or _Row(name, None) for name in names), *rest]
        chosen.names = tuple(row.name for row in chosen._rows)
        chosen._damaged = {}
        return chosen

    def __len__(self) -> int:
        return len(self._rows)

    def words(self, item: int, /) -> dict[str, str]:
        """Return the table's words for an item, none without a picture; measures a colour, once, that is not there."""
        row = self._rows[_check_item(item, len(self)) - 1]
        if row.path is None:
            return {}
        if "colour" not in row.words:
            try:
                row.words["colour"] = measure_colour(load_image(row.path))
            except DataError as error:
                if not self.gaps:
                    raise
                self._leave_out(item, str(error))
                return {}
        return {slot: row.words[slot] for slot in SLOTS if slot in row.words}

    def title(self, item: int, /) -> str:
        """Return what the table calls an item; empty where it says nothing."""
        return self._rows[_check_item(item, len(self)) - 1].title

    def __getitem__(self, item: int, /) -> Garment:
        words, row = self.words(item), self._rows[item - 1]
        if row.path is None:
            raise DataError(f"{self.folder} has no picture of {row.name!r}; add one, and a line to {self.table}")
        caption = row.title or f"a product photo of {garment_phrase(words)}"
        return Garment(load_image(row.path, palest=PALEST), words.pop("kind"), words, caption)


def _find_table(folder: Path, table: str | os.PathLike[str] | None) -> Path:
    if not folder.is_dir():
        raise DataError(f"catalogue folder {folder} does not exist; give a folder with pictures and a CSV")
    if table is None:
        found = [
            path
            for path in sorted(folder.iterdir())
            if path.suffix.lower() in TABLES and not path.name.startswith(SYSTEM) and path.is_file()
        ]
        if len(found) != 1:
            raise DataError(
                f"{folder} holds {len(found)} CSV or TSV files, not one; name the one that is meant, or keep it alone"
            )
        return found[0]
    path = next((path for path in (folder / table, Path(table)) if path.is_file()), None)
    if path is None:
        raise DataError(
            f"table {table} exists neither in {folder} nor by itself; give a CSV with the columns file and kind"
        )
    return path


def _read_rows(folder: Path, table: Path, *, gaps: bool) -> list[_Row]:
    columns, lines = read_cells(table)
    if "file" not in columns or not {"kind", "label"} & set(columns):
        there = shown(", ".join(columns), most=200) or "none"
        raise DataError(f"{table} has the columns {there}; it needs file, and kind or label")
    if not lines:
        raise DataError(f"{table} has a header and no line below it; add one line for each picture")
    rows = [_row(folder, table, number, line) for number, line in lines]
    _check_names(rows, table)
    return _with_pictures(rows, table, gaps=gaps)


def _row(folder: Path, table: Path, number: int, line: dict[str, str]) -> _Row:
    file, label = line["file"], (line.get("kind") or line.get("label") or "").lower()
    if not file or not label:
        raise DataError(
            f"{table}, line {number}: {'file' if not file else 'kind'} is empty; fill it in or delete the line"
        )
    path = find_named(file, folder, folder / "images") or folder / file
    if not _inside(path, folder):
        raise DataError(
            f"{table}, line {number}: {shown(file)} lies outside {folder}; give a path inside the catalogue's folder"
        )
    words = {"kind": KIND_OF_LABEL.get(label, label)}
    given = {
        "colour": line.get("colour") or line.get("color"),
        "pattern": line.get("pattern"),
        "scene": line.get("scene"),
    }
    words |= {slot: word.lower() for slot, word in given.items() if word}
    return _Row(line.get("id") or path.stem, path, words, line.get("title", ""))


def _inside(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):  # a name that no disk can hold
        return False


def _with_pictures(rows: list[_Row], table: Path, *, gaps: bool) -> list[_Row]:
    found = [row if row.path and is_file(row.path) else replace(row, path=None) for row in rows]
    missing = [row.path for row, now in zip(rows, found, strict=True) if now.path is None]
    if missing and not (gaps and len(missing) < len(rows)):
        raise DataError(
            f"{len(missing)} pictures of {table} are missing, the first is {shown(missing[0], most=200)}; "
            "copy them there or delete their lines"
        )
    return found


def _check_names(rows: list[_Row], table: Path) -> None:
    names = [row.name for row in rows]
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise DataError(f"{table} names the item {shown(twice)!r} twice; give every line its own id")
