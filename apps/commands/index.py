"""`personagen recommend index`, and what ranks through an index where a large catalogue has one."""

from pathlib import Path
from typing import Any

from recsys import pretrained
from recsys.errors import ConfigError
from recsys.index import LARGE, UNFIT, Index, Indexed, installed
from recsys.types import Indexable, Recommender

from ..extras import remedy
from ..progress import first_process, note
from .config import IndexConfig


def index(settings: IndexConfig) -> int:
    """Make the index of a saved recommender, of whatever size, and save it beside the model. Returns 0.

    Raises:
        ConfigError: the package is missing, or the recommender ranks in no way that an index could serve.
        ModelError: the folder holds no sound recommender.
        ResourceError: the disk refuses.
    """
    if not installed():
        raise ConfigError(f"recommend index needs usearch, which is not installed; run: {remedy('usearch')}")
    model = pretrained.load(settings.recommender)
    if not save_index(indexed(model, least=1), settings.recommender):
        raise ConfigError(UNFIT)
    print(f"indexed {model.n_items:,} items in {settings.recommender}")
    return 0


def indexed(model: Any, *, least: int = LARGE) -> Any:
    """Return a recommender that ranks through an index made now, if it has `least` items; else itself."""
    if not (first_process() and model.n_items >= least and isinstance(model, Indexable)):
        return model
    if not installed():
        note(f"{model.n_items:,} items are ranked faster through an index; run: {remedy('usearch')}")
        return model
    vectors = model.item_vectors()
    if vectors is None:
        return model
    note(f"indexing {model.n_items:,} items")
    return Indexed(model, Index.build(vectors))


def save_index(model: Any, folder: str) -> bool:
    """Save the index of a recommender that was saved in `folder`, if it ranks through one; tell whether that was done.

    Raises:
        ResourceError: the disk refuses.
    """
    if not isinstance(model, Indexed):
        return False
    model.index.save(Path(folder))
    return True


def with_index(model: Recommender, folder: str | None, *, exact: bool = False) -> Recommender:
    """Return a recommender that ranks through the index in its folder, or itself where that has none.

    Raises:
        ModelError: the index is damaged.
    """
    if exact or folder is None or not isinstance(model, Indexable):
        return model
    found = Index.load(Path(folder)) if installed() else None
    if found is not None and model.item_vectors() is not None:
        return Indexed(model, found)
    if model.n_items >= LARGE and model.item_vectors() is not None:
        run = f"personagen recommend index --recommender {folder}" if installed() else remedy("usearch")
        note(f"each of {model.n_items:,} items is scored for every user; an index would spare that: {run}")
    return model
