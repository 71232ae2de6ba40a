"""Read what a command of the recommenders is given: a data set by name, a file of interactions, or the atelier."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from torch import Tensor

from recsys.data import datasets
from recsys.data.interactions import collect
from recsys.data.splits import Interactions, Split, leave_one_out
from recsys.data.tables import Table, open_table
from recsys.data.vocabulary import Vocabulary
from recsys.errors import ConfigError, DataError

from ..progress import note
from .config import FileSettings


@dataclass(frozen=True)
class Data:
    """A split, item features (n+1, f) where the items have words, and `history(user)` for users spelled as text."""

    name: str
    split: Split
    features: Tensor | None
    users: list[str]
    history: Callable[[str], np.ndarray]
    items: Vocabulary
    named: bool = False
    """The items' names mean the same in any file; otherwise they are numbers of this data set alone."""


def read(name: str, *, root: str | None, catalog: str | None, settings: FileSettings | None = None) -> Data:
    """Read a data set by name, a file of interactions as the settings say, or the atelier.

    How a file was read, and what was left out, is said on stderr.

    Raises:
        DataError: unknown name, missing or damaged file, wrong columns.
        ConfigError: a catalogue, columns or a lowest rating are given for data that have none.
    """
    settings = settings or FileSettings()
    if name != "atelier" and name not in datasets.names():
        return _file(name, settings, catalog)
    given = {"catalog": catalog, "min_rating": settings.min_rating}
    given |= {f"columns.{role}": value for role, value in asdict(settings.columns).items()}
    for key, value in given.items():
        if value is not None:
            raise ConfigError(f"{key} is {value}, but {name} is no file, and files alone have such; leave it out")
    return _atelier() if name == "atelier" else _named(name, root)


def _named(name: str, root: str | None) -> Data:
    split = datasets.load(name, root=root)
    numbers = [str(number) for number in range(1, len(split.test) + 1)]

    def history(user: str) -> np.ndarray:
        if user not in numbers:
            raise DataError(f"user {user!r} is unknown; {name} has the users 1 to {len(numbers)}")
        case = int(user) - 1
        return np.concatenate([split.test.histories[case], split.test.targets[case]])

    return Data(name, split, None, numbers, history, Vocabulary.numbered(split.n_items))


def _atelier() -> Data:
    from personagen.styling.catalog import attribute_matrix
    from personagen.styling.sources import TRAINED, atelier

    source = atelier()
    names = ("", *source.catalog.names)
    split = leave_one_out(source.sequences(TRAINED), len(source.catalog), item_names=names)
    features = attribute_matrix(source.catalog).matrix
    return Data(
        "the atelier", split, features, source.users(), lambda user: np.asarray(source.history(user), np.int64),
        Vocabulary(names),
    )  # fmt: skip


def _file(name: str, settings: FileSettings, catalog: str | None) -> Data:
    interactions, _ = collected(name, settings)
    split = leave_one_out(interactions.sequences(), interactions.n_items, item_names=interactions.item_names)
    features = None
    if catalog is not None:
        from personagen.styling.catalog import FolderCatalog, attribute_matrix

        features = attribute_matrix(FolderCatalog(catalog).select(interactions.item_names[1:])).matrix
    users, items = list(interactions.user_names[1:]), Vocabulary(interactions.item_names)
    return Data(name, split, features, users, interactions.history, items, named=True)


def collected(name: str, settings: FileSettings) -> tuple[Interactions, Table]:
    """Read a file of interactions, and say on stderr how it was read and what was left out.

    Raises:
        DataError: as `read` does.
    """
    table = open_table(datasets.existing(name), settings.columns, settings.min_rating)
    interactions = collect(table)
    for line in table.notes():
        note(line)
    return interactions, table
