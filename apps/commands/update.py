"""`personagen recommend update`: what happened since training is taken in; the counts are those of counting anew."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import torch
from torch import Tensor

from personagen.vocabulary import counted
from recsys import pretrained
from recsys import train as training
from recsys import update as updating
from recsys.build import Training
from recsys.data import datasets
from recsys.data.changes import Continued
from recsys.data.interactions import joined
from recsys.data.splits import Interactions, Split, leave_one_out, windows
from recsys.data.times import microseconds
from recsys.errors import ConfigError, DataError
from recsys.folders import alone
from recsys.types import Countable, Preparable, Tunable

from ..checked import checked
from ..progress import first_process, note
from .config import UpdateConfig
from .data import collected
from .index import indexed, save_index
from .recommend import about, drive, validated

SLOWER = 0.3  # of the learning rate that the network was trained with
SHORT = {"epochs": 10, "patience": 2}
KEPT = ("batch_size", "max_length", "weight_decay", "clip_norm", "validate_every", "validate_cases", "metric")
"""What an update trains with as the training before it did."""


def update(settings: UpdateConfig) -> int:
    """Let a recommender take in new interactions, and save it in `settings.out`; a run that was stopped goes on.

    Returns 0.

    Raises:
        ConfigError: the model cannot be updated, or a setting is unknown or out of range.
        DataError: the data cannot be read, or the earlier rows are not those of training.
        ModelError: the folder holds no sound recommender, or not all that an update needs.
        ResourceError: the disk refused a checkpoint or the model.
        Stopped: after a signal, with a checkpoint written.
    """
    parent = _parent(settings)
    with alone(settings.out):
        _update(settings, *parent)
    if first_process():
        print(f"saved in {settings.out}; {settings.recommender} is as it was")
    return 0


def _update(settings: UpdateConfig, model: Any, run: dict[str, Any]) -> None:
    """Take in what is new, and save the result."""
    continued = _continued(settings, model, run)
    _tell(continued)
    split = leave_one_out(continued.after, len(continued.items), item_names=continued.items.names)
    parent = pretrained.fingerprint(settings.recommender)
    plan = {}
    if continued.gone_on:
        model = updating.taken_in(model, continued, features=_features(settings.catalog, model, continued))
        if not isinstance(model, Countable):
            plan = run.get("training") or _trained_with(run)
            _go_on(model, continued, split, _config(settings, plan), Path(settings.out) / "checkpoints", parent)
    if first_process():
        ranking = indexed(model)
        metrics = validated(ranking, split, seed=settings.seed)
        before = leave_one_out(continued.before, model.n_items - continued.new_items).fingerprint()
        came_about = about(settings, split, metrics) | {"parent": parent, "before": before, "training": plan}
        pretrained.save(model, settings.out, items=continued.items, run=came_about)
        save_index(ranking, settings.out)


def _parent(settings: UpdateConfig) -> tuple[Any, dict[str, Any]]:
    """Load the recommender that is updated, with what it counted and what its run.json says."""
    if Path(settings.out).resolve() == Path(settings.recommender).resolve():
        raise ConfigError(f"out is {settings.out}, the recommender itself; name another folder, so that both are there")
    if settings.before is not None and settings.since is not None:
        raise ConfigError("--before and --since both tell what is new; leave one of them out")
    model: Any = pretrained.load(settings.recommender)
    name = updating.name_of(model)
    if isinstance(model, Countable):
        if settings.train:
            raise ConfigError(f"train.{next(iter(settings.train))} is set, but {name} only counts; leave train out")
        model.tally = pretrained.load_tally(settings.recommender)
    if isinstance(model, Preparable) and settings.before is None and settings.since is None:
        raise ConfigError(f"a {name} is counted anew; give --before FILE with all that it was trained on, or --since")
    return model, json.loads((Path(settings.recommender) / "run.json").read_text(encoding="utf-8"))


def _continued(settings: UpdateConfig, model: Any, run: dict[str, Any]) -> Continued:
    """Read the histories, and say where they are not what one would expect."""
    every, fresh = _read(settings)
    earlier, counted_then = int((~fresh).sum()), run.get("interactions")
    whole = isinstance(model, Preparable)
    if (whole or settings.since is not None) and counted_then not in (None, earlier):
        right = "counts will be those of these rows" if whole else "right where users with new rows have all of theirs"
        note(
            f"{settings.before or settings.data} is not what {settings.recommender} was trained on "
            f"({earlier:,} earlier rows, {counted_then:,} then); {right}"
        )
    return Continued.of(every, fresh, model.vocabulary)


def _read(settings: UpdateConfig) -> tuple[Interactions, np.ndarray]:
    """Read all rows, and tell which are new: (N,) bool."""
    since = None if settings.since is None else _time(settings.since)
    new, timed = _interactions(settings.data, settings)
    if since is not None:
        if not timed:
            raise ConfigError(f"{settings.data} has no times, so --since cannot split it; give --before FILE instead")
        return new, new.timestamps >= since
    if settings.before is None:
        note(f"every user of {settings.data} is taken for a new one; give --before FILE for rows that came earlier")
        return new, np.ones(len(new.users), bool)
    before, before_timed = _interactions(settings.before, settings)
    if timed != before_timed:
        raise DataError(f"only one of {settings.before} and {settings.data} has times; give both, or neither, a time")
    if not timed:  # rows in time order, numbered anew in each file
        new = replace(new, timestamps=new.timestamps + before.timestamps.max() + 1)
    return joined(before, new)


def _interactions(path: str, settings: UpdateConfig) -> tuple[Interactions, bool]:
    """Read a file; tell whether its rows have times."""
    if path in datasets.names() or path == "atelier":
        raise DataError(f"{path} is no file; an update takes a file of interactions, with names of users and items")
    found, table = collected(path, settings)
    return found, table.places.time is not None


def _time(text: str) -> int:
    """Read a time as the files' are read: microseconds since 1970."""
    values, readable = microseconds(pyarrow.array([text]))
    if not readable.all():
        raise ConfigError(f"since is {text!r}; give a date such as 2026-11-30, a date-time, or a number as in the file")
    return int(values[0])


def _tell(continued: Continued) -> None:
    if not first_process():
        return
    if not continued.gone_on:
        print("nothing is new; the recommender is saved as it is")
        return
    rows = sum(map(len, continued.after)) - sum(map(len, continued.before))
    fresh = sum(not len(one) for one in continued.before)
    print(
        f"{counted(rows, 'new interaction')} of {counted(continued.gone_on, 'user')}, {fresh:,} of them new; "
        f"{counted(continued.new_items, 'new item')}"
    )


def _features(catalog: str | None, model: Any, continued: Continued) -> Tensor | None:
    """Describe the new items (m, f) as the old ones are described; None where they are not."""
    if catalog is None or not getattr(model.config, "n_features", 0) or not continued.new_items:
        return None
    from personagen.styling.catalog import FolderCatalog, attribute_matrix

    names, n = continued.items.names[1:], model.n_items
    old, every = (attribute_matrix(FolderCatalog(catalog).select(some)) for some in (names[:n], names))
    known = next(value for name, value in model.state_dict().items() if name.split(".")[-1] == "features")
    if old.matrix.shape != known.shape or not bool((old.matrix == known).all()):
        raise ConfigError(f"{catalog} describes the known items otherwise than in training; restore it, or train anew")
    return every.matrix[n + 1 :, [every.columns.index(column) for column in old.columns]]


def _trained_with(run: dict[str, Any]) -> dict[str, Any]:
    """Tell how the training loop was set by what the command was given then."""
    given = run.get("command", {}).get("train", {})
    return asdict(checked(training.TrainConfig, given, "train"))


def _config(settings: UpdateConfig, plan: dict[str, Any]) -> training.TrainConfig:
    """Set the training loop: as before, but slower and shorter."""
    rate = SLOWER * plan["learning_rate"]
    given = {name: plan[name] for name in KEPT} | {"learning_rate": rate, "seed": settings.seed} | SHORT
    return checked(training.TrainConfig, given | settings.train, "train")


def _go_on(
    model: Any, continued: Continued, split: Split, config: training.TrainConfig, folder: Path, parent: str
) -> None:
    """Train a network on what is new."""
    news = updating.going_on(continued, max_length=config.max_length)
    if windows(news.train, config.max_length):
        start = [parameter.detach().clone() for parameter in model.parameters()]
        steps = training.train(model, news, config, folder=folder, resume=True, parent=parent)
        drive(Training(model, steps, training.planned_steps(news, config), sum(map(len, news.train))), folder)
        if all(torch.equal(one, other) for one, other in zip(start, model.parameters(), strict=True)):
            note("no epoch was better on validation than the network as it was, so it stays; --train sets other rates")
    elif isinstance(model, Tunable) and len(split.valid):
        model.tune(split.valid)
