"""What a server answers from: a recommender with the names of its items, and a studio where pictures can be made."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from personagen.devices import Compute
from personagen.styling.config import StyleConfig
from personagen.styling.studio import Studio
from recsys import pretrained
from recsys.data.vocabulary import Vocabulary
from recsys.errors import ConfigError, DataError
from recsys.types import Recommender

from ..commands.config import ServeConfig
from ..commands.index import with_index
from ..commands.shop import open_studio

RANKS_ONLY = "this server ranks and makes no pictures; start it with --interactions and --catalog for them"


@dataclass(frozen=True)
class Shop:
    """Recommender, item names and studio; without a studio it ranks alone."""

    recommender: Recommender
    items: Vocabulary
    studio: Studio | None
    style: StyleConfig = StyleConfig()
    subjects: Path = Path("subjects")

    def pictures(self) -> Studio:
        """Return the studio.

        Raises:
            ConfigError: there is none.
        """
        if self.studio is None:
            raise ConfigError(RANKS_ONLY)
        return self.studio

    def history(self, user: str | int | None, names: Sequence[str | int] | None) -> tuple[tuple[int, ...], int]:
        """Return the items of a user or of a list of names, and how many names are unknown.

        Raises:
            DataError: neither or both are given, the user is unknown, or no item is known.
        """
        if (user is None) == (names is None):
            raise DataError("give user or history, one of them")
        if names is None:
            if self.studio is None:
                raise DataError("this server knows no users; give history")
            return tuple(self.studio.history(str(user))), 0
        found = self.items.numbers([str(name) for name in names])
        known = tuple(int(item) for item in found if item)
        if not known:
            raise DataError(f"the recommender knows none of the {len(names)} items of the history; name items as in "
                            "the data that it was trained on")  # fmt: skip
        return known, len(names) - len(known)


def open_shop(settings: ServeConfig, compute: Compute, subjects: Path) -> Shop:
    """Load the recommender, and open the studio where the settings give it items with pictures.

    Raises:
        ConfigError, DataError, ModelError: what the message names.
    """
    if settings.recommender and not settings.interactions and not settings.catalog:
        items = pretrained.load_vocabulary(settings.recommender)
        own = Studio(compute=compute).source.catalog.names  # the atelier's
        if items.names[1:] != tuple(own):
            model = pretrained.load(settings.recommender, device=compute.recommender_device)
            return Shop(with_index(model, settings.recommender, exact=settings.exact), items, None)
    studio = open_studio(settings, compute)
    model = with_index(studio.recommender, settings.recommender, exact=settings.exact)
    items = Vocabulary(("", *studio.source.catalog.names))
    return Shop(model, items, studio, settings.stylist, subjects)
