"""`personagen recommend train | evaluate | compare`: what is read, printed and written."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch

from personagen.devices import DeviceSettings, choose_device
from personagen.files import check_place, write_text
from personagen.provenance import commit, versions
from recsys import pretrained
from recsys import train as training
from recsys.build import Training, build, model_named, trainable
from recsys.data.splits import Split, renumber
from recsys.data.vocabulary import Vocabulary
from recsys.defaults import explained, suited
from recsys.errors import ConfigError, DataError
from recsys.evaluate import difference, sign_flip_test
from recsys.evaluate import evaluate as measure
from recsys.folders import alone
from recsys.index import Indexed
from recsys.types import Cases, Recommender

from ..checked import typed
from ..progress import bar, begin_at, first_process, note
from ..signals import Patience, kept_in
from .config import CompareConfig, EvaluateConfig, TrainConfig, UpdateConfig
from .data import Data, read
from .index import indexed, save_index, with_index
from .search import searched

DECIDE = ("python", "personagen", "torch", "numpy")
"""What decides a recommender's numbers."""


LOOKED_AT = 10_000
"""Cases that are looked at for targets which cannot be found."""


def train(settings: TrainConfig) -> int:
    """Train a recommender and save it in `settings.out`; a run that was stopped goes on where it was. Returns 0.

    Raises:
        ConfigError: a setting is unknown or out of range.
        DataError: the data cannot be read, or there is nothing to learn.
        ModelError: training diverged, or the checkpoint does not fit.
        ResourceError: the disk refused a checkpoint or the model.
        Stopped: after a signal, with a checkpoint written.
    """
    with alone(settings.out):
        _train_and_keep(settings)
    if first_process():
        print(
            f"saved in {settings.out}; next: personagen recommend evaluate "
            f"--recommender {settings.out} --data {settings.data}"
        )
    return 0


def _train_and_keep(settings: TrainConfig) -> None:
    """Train, or search, and save the recommender."""
    data = read(settings.data, root=settings.root, catalog=settings.catalog, settings=settings)
    own = settings_for(settings.model, settings.settings, data.split)
    if settings.search_budget is not None and not settings.search:
        raise ConfigError(f"search_budget is {settings.search_budget}, but search is 0; set search, too")
    if settings.search:
        searched(settings, data.split, own=own, given=_given(settings), features=data.features,
                 keep=lambda model, config: _keep(model, data, settings, config))  # fmt: skip
    else:
        model = build(settings.model, data.split, own, features=data.features, seed=settings.seed)
        config = _train(model, data.split, settings)
        if first_process():
            _keep(model, data, settings, config)


def _keep(model: Any, data: Data, settings: TrainConfig, config: training.TrainConfig | None) -> None:
    """Measure a model on validation as it will rank, print that, and save it."""
    ranking = indexed(model)
    metrics = validated(ranking, data.split, seed=settings.seed)
    pretrained.save(model, settings.out, items=data.items, run=about(settings, data.split, metrics, config))
    save_index(ranking, settings.out)


def validated(model: Any, split: Split, *, seed: int) -> dict[str, float]:
    """Measure on the validation cases, print how it went, and return the metrics; none where there is no case."""
    if not len(split.valid):
        return {}
    cutoffs = _cutoffs([5, 10, 20], split.n_items)
    metrics = measure(model, split.valid, at=cutoffs, resamples=0, generator=_generator(seed)).metrics
    shown = (f"{name} {value:.4f}" for name, value in metrics.items() if name.startswith("ndcg"))
    print("validation: " + ", ".join(shown))
    return metrics


def _train(model: Any, split: Split, settings: TrainConfig) -> training.TrainConfig | None:
    """Count, or train step by step; return how it was trained."""
    if not trainable(settings.model):
        if settings.train:
            raise ConfigError(
                f"train.{next(iter(settings.train))} is set, but {settings.model} only counts; leave train out"
            )
        model.fit(split.train)
        return None
    given = _given(settings)
    config = suited(split, given)
    note(explained(split, config, given))
    folder = Path(settings.out) / "checkpoints"
    steps = training.train(model, split, config, folder=folder, resume=True)
    drive(Training(model, steps, training.planned_steps(split, config), sum(map(len, split.train))), folder)
    return config


def _given(settings: TrainConfig) -> dict[str, Any]:
    """Return the settings of the training loop that the user gave, as their types, and the seed.

    Raises:
        ConfigError: a setting is unknown or of the wrong type.
    """
    given = {"seed": settings.seed, **settings.train}
    found = typed(training.TrainConfig, given, "train")
    return {name: found[name] for name in given}


def evaluate(settings: EvaluateConfig) -> int:
    """Measure a recommender by ranking the whole catalogue, and print or write the figures as JSON. Returns 0.

    It ranks as `recommend rank` does: through its index where it has one, unless settings.exact.
    """
    device = device_for(settings)
    _check_out(settings.out)
    data = read(settings.data, root=settings.root, catalog=None, settings=settings)
    model, _, table = load(settings.recommender, data, device=device)
    model = with_index(model, settings.recommender, exact=settings.exact)
    (cases,), _ = cases_for(data, settings.part, [table])
    cutoffs = settings.cutoffs or _cutoffs([5, 10, 20], model.n_items)
    report = measure(model, cases, at=cutoffs, generator=_generator(settings.seed))
    figures = {
        "settings": asdict(settings),
        "cases": report.n_cases,
        "metrics": report.metrics,
        "intervals": report.intervals,
        "seen_targets": report.seen_targets,
        "index": isinstance(model, Indexed),
        "recommender": pretrained.fingerprint(settings.recommender),
        "data": data.split.fingerprint(),
        "versions": versions(DECIDE),
    }
    if settings.out is None:
        print(json.dumps(figures, indent=2))
    else:
        _write_json(figures, settings.out)
    return 0


def compare(settings: CompareConfig) -> int:
    """Measure two recommenders on the same cases; print each metric of both, the difference, its interval and p.

    Intervals come from a paired bootstrap over cases, p from a sign-flip test. Returns 0.
    """
    device = device_for(settings)
    _check_out(settings.out)
    data = read(settings.data, root=settings.root, catalog=None, settings=settings)
    folders = (settings.first, settings.second)
    models, _, tables = zip(*(load(folder, data, device=device) for folder in folders), strict=True)
    models = [with_index(model, folder, exact=settings.exact) for model, folder in zip(models, folders, strict=True)]
    both, rows = cases_for(data, settings.part, tables)
    cutoffs = settings.cutoffs or _cutoffs([10, 20], min(model.n_items for model in models))
    reports = [
        measure(model, cases, at=cutoffs, generator=_generator(settings.seed), resamples=0)
        for model, cases in zip(models, both, strict=True)
    ]
    figures = {}
    print(f"{'':10} {'first':>8} {'second':>8} {'difference':>11} {'95 % interval':>19} {'p':>7}")
    for name in reports[0].per_case:
        one, two = (report.per_case[name] for report in reports)
        gap, low, high = difference(one, two, seed=settings.seed)
        p = sign_flip_test(one, two, seed=settings.seed)
        figures[name] = {
            "first": one.mean(),
            "second": two.mean(),
            "difference": gap,
            "interval_95": [low, high],
            "p": p,
        }
        print(f"{name:10} {one.mean():8.4f} {two.mean():8.4f} {gap:+11.4f} {f'{low:+.4f} to {high:+.4f}':>19} {p:7.4f}")
    if settings.out is not None:
        _write_json({"settings": asdict(settings), "cases": len(rows), "metrics": figures,
                     "recommenders": [pretrained.fingerprint(folder) for folder in folders],
                     "data": data.split.fingerprint(), "versions": versions(DECIDE)}, settings.out)  # fmt: skip
    return 0


def cases_for(data: Data, part: str, tables: Sequence[np.ndarray]) -> tuple[list[Cases], np.ndarray]:
    """Return the cases of which every recommender knows a target and some history, and their rows in the data.

    tables (n+1,): where each recommender has the items of the data. Each gets its list of cases, in its own numbers.

    Raises:
        ConfigError: another part than valid and test.
        DataError: there is no such case.
    """
    if part not in ("valid", "test"):
        raise ConfigError(f"part is {part!r}; allowed are valid and test")
    every = data.split.test if part == "test" else data.split.valid
    found = [renumber(every, table) for table in tables]
    rows = reduce(np.intersect1d, [kept for _, kept in found])
    if not len(rows):
        raise DataError(
            f"{data.name} has {len(every)} cases, and none with a target and a history that the recommender knows; "
            "give users with three items or more, named as in the data that it was trained on"
        )
    if left := len(every) - len(rows):
        note(f"{left:,} of {len(every):,} cases are passed over: no target or nothing of the history is known")
    _tell_seen(every.take(rows[:LOOKED_AT]))
    return [cases.take(np.searchsorted(kept, rows)) for cases, kept in found], rows


def _tell_seen(cases: Cases) -> None:
    """Say where most targets cannot be found, since what a user has seen is not ranked again."""
    seen = sum(bool(np.isin(target, past).all()) for past, target in zip(cases.histories, cases.targets, strict=True))
    if seen > len(cases) / 2:
        note(
            f"{seen:,} of {len(cases):,} targets are in their own history; what was seen is not ranked again, so each "
            "counts as missed. Rows of one item again and again are best left out"
        )


def _check_out(out: str | None) -> None:
    if out is not None:
        check_place(Path(out))


def _write_json(figures: dict[str, Any], out: str) -> None:
    write_text(Path(out), json.dumps(figures, indent=2) + "\n")
    note(f"wrote {out}")


def settings_for(model: str, given: dict[str, Any], split: Split) -> dict[str, Any]:
    """Return the settings of a model as its configuration's types, refusing unknown keys.

    Raises:
        ConfigError: a setting is unknown or of the wrong type.
    """
    _, config_class = model_named(model)
    found = typed(config_class, {"n_items": split.n_items, **given}, "settings")
    return {key: found[key] for key in given}


def drive(training: Training, folder: Path | None = None) -> None:
    """Train to the end with a bar; after a signal finish the step, write a checkpoint, and raise Stopped."""
    with Patience() as patience, bar(None, total=training.total, label="train", unit="step") as progress:
        for step in training.steps:
            if not progress.n:
                begin_at(progress, step.step - 1)
            progress.n = step.step
            progress.set_postfix_str(f"loss {step.losses['loss']:.3f}", refresh=False)
            progress.update(0)
            if step.metrics:
                note(
                    f"epoch {step.epoch:.0f}: "
                    + ", ".join(f"{name} {value:.4f}" for name, value in step.metrics.items())
                )
            if patience.asked:
                training.steps.close()
                break
    patience.end(kept_in(folder) if folder else "")


def drive_on_the_spot(training: Training) -> None:
    """Train a recommender that the main job lacks, and say so.

    Raises:
        Stopped: after a signal.
    """
    note(f"training a recommender on {training.interactions} interactions")
    drive(training)


def load(folder: str, data: Data, *, device: torch.device) -> tuple[Recommender, Vocabulary, np.ndarray]:
    """Load a recommender, its items' names, and where it has the items of the data (n+1,) int64, 0 for unknown ones.

    Unknown items are counted in a line on stderr.

    Raises:
        ModelError: the folder holds no sound recommender.
        DataError: the data have no names of their own, and the recommender was trained on others.
    """
    model, items = pretrained.load(folder, device=device), pretrained.load_vocabulary(folder)
    if not data.named and items != data.items:
        raise DataError(f"the recommender in {folder} knows other items than {data.name}; "
                        "use the data that it was trained on, or a file that names its items")  # fmt: skip
    table = items.numbers(data.items.names)
    unknown = np.flatnonzero(table[1:] == 0) + 1
    if len(unknown):
        note(
            f"{len(unknown):,} of {len(data.items):,} items of {data.name} are unknown to the recommender in "
            f"{folder}, the first is {data.items.names[unknown[0]]!r}; they are left out of histories"
        )
    return model, items, table


def device_for(settings: DeviceSettings) -> torch.device:
    """Choose the device of a recommender.

    Raises:
        ConfigError: an unknown device, or mps, which lacks the float64 of a recommender's noise.
        ResourceError: it is not there.
    """
    if settings.device == "mps":
        raise ConfigError("device mps computes no float64, which recommenders need; use cpu, cuda or auto")
    return choose_device(settings.device)


def about(
    settings: TrainConfig | UpdateConfig, split: Split, metrics: dict[str, float],
    config: training.TrainConfig | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Tell how a model came about, ready for run.json; `config` is how it was trained, None where it only counts."""
    return {"command": asdict(settings), "training": None if config is None else asdict(config),
            "versions": versions(DECIDE), "commit": commit(), "data": split.fingerprint(),
            "interactions": sum(map(len, split.train + split.valid.targets + split.test.targets)),
            "machine": platform.processor() or platform.machine(), "validation": metrics}  # fmt: skip


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _cutoffs(wanted: Sequence[int], n_items: int) -> list[int]:
    return [k for k in wanted if k <= n_items] or [n_items]
