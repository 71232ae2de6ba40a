"""Save a recommender and the names of its items, and load them back strictly; nothing is pickled."""

from pathlib import Path
from typing import cast

import torch
from torch import nn

from .data.vocabulary import Vocabulary
from .errors import ModelError
from .models import ENHANCERS, MODELS
from .saved import fingerprint, load_tally, load_vocabulary, read, write
from .types import Recommender

__all__ = ["fingerprint", "load", "load_enhancer", "load_tally", "load_vocabulary", "save"]


def save(
    model: Recommender | nn.Module, folder: str | Path, *, items: Vocabulary | None = None, run: dict | None = None
) -> Path:
    """Write a recommender or enhancer of recsys.models to `folder`, replacing its files there; return the folder.

    `items` are the names of the model's items; left out, those it was read with, else their numbers. `run` tells how
    the model came about (configuration, versions, seed, commit, data, metrics), as JSON values; its "validation" and
    "versions" are shown in the model card. The files are written beside the folder first, so a failed write leaves the
    old ones.

    Raises:
        ModelError: a class outside recsys.models, another number of items, or a run that is not JSON.
        ResourceError: the files cannot be written.
    """
    known = MODELS | ENHANCERS
    name = next((name for name, (cls, _) in known.items() if type(model) is cls), None)
    if name is None:
        raise ModelError(f"cannot save a {type(model).__name__}; allowed are {', '.join(known)}")
    return write(model, name, Path(folder), items=items, run=run)


def load(folder: str | Path, *, device: torch.device | str = "cpu") -> Recommender:
    """Read a recommender that `save` wrote, ready to recommend on a device.

    Raises:
        ModelError: something is missing, damaged, unknown or of the wrong shape; the message names it.
    """
    return cast(Recommender, read(Path(folder), MODELS, device=device))


def load_enhancer(folder: str | Path) -> nn.Module:
    """Read a model of recsys.models.ENHANCERS that `save` wrote, on the CPU.

    Raises:
        ModelError: as `load` does.
    """
    return cast(nn.Module, read(Path(folder), ENHANCERS))
