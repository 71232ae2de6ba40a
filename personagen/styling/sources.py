"""Where users, items and photos come from: the atelier's shoppers, or a file of interactions and a catalogue."""

import zlib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from recsys.data.datasets import read_interactions
from recsys.errors import ConfigError, DataError

from ..atelier import shoppers
from ..atelier.garment import GarmentSpec
from ..atelier.render import render_person
from ..atelier.trace import Camera
from ..corpora.renders import body_of_render
from ..devices import CPU, Compute
from ..images import load_image
from ..person.body import Body
from ..person.masks import mask_from_file
from ..person.parser import Parser, load_parser
from ..vocabulary import REGION
from .catalog import AtelierCatalog, Catalog, FolderCatalog

ITEMS, SHOWN = 300, 24  # the atelier's garments, and the shoppers one can choose
TRAINED, FEW = 30_000, 1500  # shoppers that the embedded recommender learnt from, and those for training on the spot
SIZE = (256, 192)
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
    """Real users: interactions (CSV or Parquet), a catalogue with a picture for every item, and maybe a photo."""

    def __init__(
        self,
        interactions: str | Path,
        catalog: str | Path,
        *,
        person: str | Path | None = None,
        mask: str | Path | None = None,
        region: str = "upper",
        compute: Compute = CPU,
    ) -> None:
        self._interactions = read_interactions(interactions)
        self.catalog = FolderCatalog(catalog).select(self._interactions.item_names[1:])
        self._sitter = sitter_from_photo(person, mask, region=region, compute=compute) if person else None

    def users(self) -> list[str]:
        """List the ids of the file."""
        return list(self._interactions.user_names[1:])

    def label(self, user: str) -> str:
        """Name a user by their id."""
        return f"User {user}"

    def history(self, user: str) -> list[int]:
        """Return a user's items in time order.

        Raises:
            DataError: an unknown user.
        """
        return [int(item) for item in self._interactions.history(user)]

    def sitter(self, user: str) -> Sitter:
        """Return the photo's sitter; without a photo, a person of the atelier drawn from the user's id."""
        if self._sitter is not None:
            return self._sitter
        specs = tuple(shoppers.catalogue(ITEMS, seed=0))
        shopper = shoppers.simulate(1, seed=zlib.crc32(user.encode()), items=specs)[0]
        return photograph(shopper, tuple(specs[int(item) - 1] for item in shopper.history))

    def sequences(self) -> list[np.ndarray]:
        """Return every user's item ids in time order, int64 (length,) each."""
        return self._interactions.sequences()


def sitter_from_photo(
    person: str | Path,
    mask: str | Path | None = None,
    *,
    region: str = "upper",
    parser: Parser | None = None,
    compute: Compute = CPU,
) -> Sitter:
    """Read a photo and find the body in it; a mask of one's own serves the kinds of `region` and no others.

    person, mask: picture files; region: upper, lower or dress; parser: the embedded one where left out,
    which then computes as `compute` says.

    Raises:
        ConfigError: another region.
        DataError: a missing or damaged file, or a mask of another size.
        ModelError: the parser cannot be loaded.
    """
    if region not in MASKED:
        raise ConfigError(f"mask_region is {region!r}; allowed are {', '.join(MASKED)}")
    image = load_image(person)
    drawn = None if mask is None else mask_from_file(mask, size=(image.height, image.width))
    body = (parser or load_parser(compute=compute))(image)
    if drawn is None:
        return Sitter(
            image, body, f"no mask for {person}: the parser finds it; --mask FILE is better where it is wrong"
        )
    nothing = np.zeros_like(drawn)
    return Sitter(image, replace(body, known=lambda kind: drawn if REGION.get(kind) == region else nothing))


def photograph(shopper: shoppers.Shopper, chosen: tuple[GarmentSpec, ...]) -> Sitter:
    """Render a shopper in the latest top and bottom they chose, where they like to be; the body is exact."""
    outfit = tuple(next((spec for spec in reversed(chosen) if spec.region == region), PLAIN[region])
                   for region in ("upper", "lower"))  # fmt: skip
    camera = Camera(target=(0.0, 0.5 * shopper.body.height, 0.0), extent=1.1 * shopper.body.height)
    scene = shopper.favourite("scene")
    render = render_person(shopper.body, outfit, scene, size=SIZE, camera=camera, seed=shopper.seed)

    return Sitter(Image.fromarray(render.image), body_of_render(render, shopper.body, camera))
