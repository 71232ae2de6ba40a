"""Where users, items and photos come from: the atelier's shoppers, or a file of interactions and a catalogue."""

import zlib
from copy import copy
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from recsys.data.columns import Columns
from recsys.data.interactions import collect
from recsys.data.tables import open_table
from recsys.data.vocabulary import Vocabulary
from recsys.errors import ConfigError, DataError

from ..atelier import shoppers
from ..atelier.garment import GarmentSpec
from ..atelier.render import render_person
from ..atelier.trace import portrait
from ..corpora.renders import body_of_render
from ..devices import CPU, Compute
from ..images import load_image
from ..person.body import Body
from ..person.masks import mask_from_file
from ..person.own_mask import doubt_about
from ..person.parser import Parser, load_parser
from ..person.people import Box
from ..person.reading import read_person
from ..vocabulary import REGION, counted
from .catalog import AtelierCatalog, Catalog, FolderCatalog

ITEMS, SHOWN = 300, 24  # the atelier's garments, and the shoppers one can choose
TRAINED, FEW = 30_000, 1500  # shoppers that the embedded recommender learnt from, and those for training on the spot
SIZE = (512, 384)
MASKED = ("upper", "lower", "dress")  # what a mask of one's own can be for
PLAIN = {"upper": GarmentSpec("t-shirt", "white", sleeve=0.34), "lower": GarmentSpec("trousers", "blue")}


@dataclass(frozen=True)
class Sitter:
    """Who is dressed: a picture, what is known of the body in it, and a note for the user."""

    image: Image.Image
    body: Body
    note: str = ""


class Source(Protocol):
    """What the main job needs to know of its users."""

    @property
    def catalog(self) -> Catalog:
        """The items that users chose from."""
        ...

    def users(self) -> list[str]:
        """List the ids one can choose."""
        ...

    def label(self, user: str) -> str:
        """Name a user for people."""
        ...

    def history(self, user: str) -> list[int]:
        """Return the item ids that a user chose, latest last."""
        ...

    def sitter(self, user: str) -> Sitter:
        """Return who is dressed for this user."""
        ...

    def sequences(self) -> list[np.ndarray]:
        """Return every user's item ids in time order, int64 (length,) each, to train on."""
        ...

    def numbered_as(self, items: Vocabulary) -> "Source":
        """Return the source with its items numbered as a recommender's are, found by their names."""
        ...

    def notes(self, user: str) -> list[str]:
        """Say, a line each, what is left out for a user."""
        ...


class Atelier:
    """Simulated shoppers of the studio: users "0" to "23" can be chosen; others, of another seed, are learnt from."""

    def __init__(self) -> None:
        self.specs: tuple[GarmentSpec, ...] = tuple(shoppers.catalogue(ITEMS, seed=0))
        self.catalog = AtelierCatalog(self.specs, size=SIZE)
        self._shoppers = shoppers.simulate(SHOWN, seed=1, items=self.specs)
        self._sitters: dict[str, Sitter] = {}

    def users(self) -> list[str]:
        """List the numbers of the shoppers one can choose."""
        return [str(number) for number in range(SHOWN)]

    def label(self, user: str) -> str:
        """Name a shopper with what they like best."""
        shopper = self.shopper(user)
        return f"Shopper {user}: " + ", ".join(shopper.favourite(aspect) for aspect in ("colour", "kind", "scene"))

    def history(self, user: str) -> list[int]:
        """Return a shopper's item ids, latest last.

        Raises:
            DataError: a number that does not exist.
        """
        return [int(item) for item in self.shopper(user).history]

    def sitter(self, user: str) -> Sitter:
        """Render the shopper in the outfit they came in; parts, joints and masks are exact."""
        shopper = self.shopper(user)
        if user not in self._sitters:
            self._sitters[user] = photograph(shopper, tuple(self.specs[item - 1] for item in self.history(user)))
        return self._sitters[user]

    def sequences(self, count: int = FEW) -> list[np.ndarray]:
        """Simulate what `count` shoppers bought, int64 (length,) each, to learn from; more begin with the same ones."""
        crowd = shoppers.simulate(count, seed=0, items=self.specs)
        return [np.append(shopper.history, shopper.target).astype(np.int64) for shopper in crowd]

    def numbered_as(self, items: Vocabulary) -> "Atelier":
        """Return the atelier itself, if these are its items.

        Raises:
            DataError: they are others.
        """
        if items.names[1:] != self.catalog.names:
            raise DataError(f"the recommender knows other items than the {ITEMS} of the atelier; "
                            "give the files that it was trained on with --interactions and --catalog")  # fmt: skip
        return self

    def notes(self, user: str) -> list[str]:
        """Return nothing: the atelier is whole."""
        return []

    def shopper(self, user: str) -> shoppers.Shopper:
        """Return a simulated shopper.

        Raises:
            DataError: a number that does not exist.
        """
        if not (user.isdecimal() and int(user) < SHOWN):
            raise DataError(
                f"user {user!r} is not in the atelier; choose 0 to {SHOWN - 1}, or give --interactions FILE"
            )
        return self._shoppers[int(user)]


@cache
def atelier() -> Atelier:
    """Return the one atelier of this process, so that no picture of it is rendered twice."""
    return Atelier()


class Folder:
    """Real users: interactions, a catalogue with pictures of the items, and maybe a photo.

    Interactions are a file of any format that `recsys.data.tables.open_table` knows, with its `columns` and
    `min_rating`. Items without a picture stay in histories and are not shown.
    """

    def __init__(
        self,
        interactions: str | Path,
        catalog: str | Path,
        *,
        person: str | Path | None = None,
        mask: str | Path | None = None,
        region: str = "upper",
        box: Box | None = None,
        compute: Compute = CPU,
        columns: Columns | None = None,
        min_rating: float | None = None,
    ) -> None:
        table = open_table(interactions, columns, min_rating)
        self._interactions = collect(table)
        self._read = table.notes()
        self._items = Vocabulary(self._interactions.item_names)
        self._pictures = FolderCatalog(catalog, gaps=True)
        self._sitter = sitter_from_photo(person, mask, region=region, box=box, compute=compute) if person else None

    @property
    def has_photo(self) -> bool:
        """Whether there is a photo of the user, so that nobody else is dressed."""
        return self._sitter is not None

    @cached_property
    def catalog(self) -> FolderCatalog:
        """The pictures, numbered as the items are."""
        return self._pictures.select(self._items.names[1:])

    @cached_property
    def _table(self) -> np.ndarray:
        """Where the file's items are among the items (n+1,) int64; 0: unknown."""
        return self._items.numbers(self._interactions.item_names)

    def numbered_as(self, items: Vocabulary) -> "Folder":
        """Return the same users and pictures with the items of a recommender; histories lose those it does not know."""
        other = copy(self)
        other._items = items
        for name in ("catalog", "_table"):
            other.__dict__.pop(name, None)
        return other

    def notes(self, user: str) -> list[str]:
        """Say how the file was read; count the user's unknown items, and the items without a picture."""
        names = self._interactions.item_names
        past = list(dict.fromkeys(self._interactions.history(user).tolist()))
        unknown = [names[item] for item in past if not self._table[item]]
        notes = list(self._read)
        if unknown:
            notes.append(f"{len(unknown)} of {len(past)} items of user {user!r} are unknown to the recommender, the "
                         f"first is {unknown[0]!r}; the history goes without")  # fmt: skip
        for item in range(1, len(self.catalog) + 1):
            self.catalog.words(item)  # a colour that has to be measured is measured now, and its picture read
        if damaged := self.catalog.unreadable(set(self._table[self._interactions.history(user)].tolist()) - {0}):
            first = next(iter(damaged))
            notes.append(f"{counted(len(damaged), 'picture')} of {len(self.catalog)} cannot be read, the first is that "
                         f"of item {first!r}: {damaged[first]}; they are passed over")  # fmt: skip
        if missing := self.catalog.missing():
            notes.append(f"no picture of {len(missing)} of {len(self.catalog)} items in {self._pictures.folder}, the "
                         f"first is {missing[0]!r}; they are passed over")  # fmt: skip
        return notes

    def users(self) -> list[str]:
        """List the ids of the file."""
        return list(self._interactions.user_names[1:])

    def label(self, user: str) -> str:
        """Name a user by their id."""
        return f"User {user}"

    def history(self, user: str) -> list[int]:
        """Return a user's items in time order.

        Raises:
            DataError: an unknown user, or one of whom the recommender knows no item.
        """
        past = self._table[self._interactions.history(user)]
        if not past.any():
            raise DataError(
                f"the recommender knows none of the {counted(len(past), 'item')} of user {user!r}; "
                "name items as in the data that it was trained on"
            )
        return past[past > 0].tolist()

    def sitter(self, user: str) -> Sitter:
        """Return the photo's sitter; without a photo, a person of the atelier drawn from the user's id."""
        if self._sitter is not None:
            return self._sitter
        specs = tuple(shoppers.catalogue(ITEMS, seed=0))
        shopper = shoppers.simulate(1, seed=zlib.crc32(user.encode()), items=specs)[0]
        return photograph(shopper, tuple(specs[int(item) - 1] for item in shopper.history))

    def sequences(self) -> list[np.ndarray]:
        """Return every user's item ids in time order, int64 (length,) each."""
        return [found[found > 0] for found in (self._table[past] for past in self._interactions.sequences())]


def sitter_from_photo(
    person: str | Path,
    mask: str | Path | None = None,
    *,
    region: str = "upper",
    box: Box | None = None,
    parser: Parser | None = None,
    compute: Compute = CPU,
) -> Sitter:
    """Read a photo and find the body in it; a mask of one's own serves the kinds of `region` and no others.

    person, mask: picture files; region: upper, lower or dress; box: whom to dress of several people; parser: the
    embedded one where left out, which then computes as `compute` says.

    Raises:
        ConfigError: another region, or a box outside the photo.
        DataError: a missing or damaged file, a mask of another size, or nobody who can be dressed.
        ModelError: the parser cannot be loaded.
    """
    if region not in MASKED:
        raise ConfigError(f"mask_region is {region!r}; allowed are {', '.join(MASKED)}")
    image = load_image(person)
    drawn = None if mask is None else mask_from_file(mask, size=(image.height, image.width))
    reading = read_person(
        image, parser or load_parser(compute=compute), box=box, masked=drawn is not None, name=str(person)
    )
    if drawn is None:
        line = f"no mask for {person}: the parser finds it; --mask FILE is better where it is wrong"
        return Sitter(image, reading.body, f"{line}; {reading.note}" if reading.note else line)
    kinds = [kind for kind, other in REGION.items() if other == region]
    body, nothing = reading.body, np.zeros_like(drawn)
    for kind in kinds:
        body = body.with_mask(kind, drawn)
    lines = [reading.note, doubt_about(drawn, reading.body, region)]
    body = replace(body, known=lambda kind: drawn if kind in kinds else nothing)
    return Sitter(image, body, "; ".join(filter(None, lines)))


def photograph(shopper: shoppers.Shopper, chosen: tuple[GarmentSpec, ...]) -> Sitter:
    """Render a shopper in the latest top and bottom they chose, where they like to be; the body is exact."""
    outfit = tuple(next((spec for spec in reversed(chosen) if spec.region == region), PLAIN[region])
                   for region in ("upper", "lower"))  # fmt: skip
    camera = portrait(shopper.body.height)
    scene = shopper.favourite("scene")
    render = render_person(shopper.body, outfit, scene, size=SIZE, camera=camera, seed=shopper.seed)

    return Sitter(Image.fromarray(render.image), body_of_render(render, shopper.body, camera))
