"""Try several settings of a recommender on validation cases, keep the best: `recommend train --search N`.

    for progress in search("sasrec", split, plan=SearchPlan(trials=20, budget=3600), folder="runs/sasrec"):
        if progress.leads:
            pretrained.save(progress.model, "runs/sasrec")

The first trial is what the rule of `defaults.py` chooses, so the best is never below it on validation. The others are
drawn by optuna's tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011); one that is below the median of
earlier trials after the same number of validations is given up. What is drawn is a function of the seed and the trials
before it: a search that was stopped goes on, with the same result. The test cases are never looked at.
"""

import csv
import hashlib
import json
import shutil
import statistics
import time
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .build import build, model_named, trainable
from .data.splits import Split
from .data.whole import whole
from .defaults import suited
from .errors import ConfigError, DataError, ModelError, ResourceError
from .evaluate import evaluate
from .train import TrainConfig, planned_steps, train
from .types import Step, Tunable, device_of

FILE, NOTES = "search.csv", "notes.json"
FIXED = ("search", "trial", "state", "figure", "epochs", "cpu_seconds", "curve")
RATES, DROPOUTS, LAYERS = (3e-4, 2e-2), (0.0, 0.5), 3
BATCHES = (16, 32, 64, 128, 256, 512)
EARLY = 5  # validations, and trials, before any is given up


@dataclass(frozen=True)
class SearchPlan:
    """How much to try: `trials` in all, and CPU-seconds after which no trial begins and the running one is cut off."""

    trials: int
    budget: float | None = None
    seed: int = 0

    def __post_init__(self):
        if self.trials < 1:
            raise ConfigError(f"search is {self.trials}; give the number of settings to try, 1 or more")
        if self.budget is not None and self.budget <= 0:
            raise ConfigError(f"search_budget is {self.budget}; it must be above 0, or left out")


@dataclass(frozen=True)
class Trial:
    """What was tried and came out: `figure` of the metric, `curve` of it over the validations.

    state: "done", "given up" (below the median), "cut off" (the budget was spent) or "failed" (it diverged).
    """

    settings: dict[str, float]
    state: str
    figure: float
    epochs: int
    cpu_seconds: float
    curve: list[float]


@dataclass(frozen=True)
class Progress:
    """Where a search is: a step of trial `number`, from 0, of `total` steps at most; with its end, what came out.

    leads: the trial has ended and is the best so far; `model` then ranks by its best weights.
    """

    number: int
    step: Step | None
    total: int
    model: Any
    config: TrainConfig
    ended: Trial | None = None
    leads: bool = False


def search(
    name: str, split: Split, *, plan: SearchPlan, settings: Mapping[str, Any] | None = None,
    given: Mapping[str, Any] | None = None, features: Tensor | None = None, folder: str | Path | None = None,
) -> Generator[Progress, None, None]:  # fmt: skip
    """Try settings of the model `name`; yield a Progress after each step and at the end of each trial.

    settings (the model's) and given (those of TrainConfig) stay as they are. Searched is what they leave open of rate
    and batch size, and of dropout and layers where the model has them. With `folder`, trials are kept in its
    search.csv, and those that are there count as tried; a trial is written once its end has been taken from the loop.

    Raises:
        ConfigError: the model only counts, nothing is left to search, or search.csv is of another search.
        DataError: there are no validation cases.
        ResourceError: optuna is not installed, or search.csv cannot be written.
    """
    if not trainable(name):
        raise ConfigError(f"search is set, but {name} only counts and has nothing to train; leave search out")
    if not len(split.valid):
        raise DataError("a search needs validation cases; give users with three items or more")
    _optuna()
    run = _Search(name, split, plan, dict(settings or {}), {"seed": plan.seed, **(given or {})}, features)
    place = None if folder is None else Path(folder)
    tried = [] if place is None else run.read(place)
    _remove_trials(place, len(tried))  # a run that was killed may have left the last one
    while len(tried) < plan.trials and not run.spent(tried):
        trial = yield from run.attempt(tried, place)
        tried.append(trial)
        if place is not None:
            run.write(place, tried)
            _remove_trials(place, len(tried))


def _remove_trials(folder: Path | None, count: int) -> None:
    """Remove the checkpoints of the first trials, which are in search.csv."""
    if folder is not None:
        for number in range(count):
            shutil.rmtree(folder / f"trial-{number}", ignore_errors=True)


@dataclass
class _Search:
    name: str
    split: Split
    plan: SearchPlan
    settings: dict[str, Any]
    given: dict[str, Any]
    features: Tensor | None
    plain: dict[str, Any] = field(default_factory=dict)
    """What the rule and the model's defaults are, of what is searched."""

    def __post_init__(self):
        config = suited(self.split, self.given)
        own = {one.name: one.default for one in fields(model_named(self.name)[1])}
        plain = {"learning_rate": config.learning_rate, "batch_size": config.batch_size}
        self.plain = {key: value for key, value in plain.items() if key not in self.given}
        self.plain |= {key: own[key] for key in ("dropout", "layers") if key in own and key not in self.settings}
        if not self.plain:
            raise ConfigError("rate, batch size, dropout and layers are all given, so that nothing is left to search")

    def spent(self, tried: list[Trial], more: float = 0.0) -> bool:
        return self.plan.budget is not None and sum(t.cpu_seconds for t in tried) + more >= self.plan.budget

    def attempt(self, tried: list[Trial], folder: Path | None) -> Generator[Progress, None, Trial]:
        """Train once with the settings that are next; a trial that was stopped in `folder` goes on where it was."""
        number, drawn = len(tried), self._draw(tried)
        place = None if folder is None else folder / f"trial-{number}"
        own = {key: value for key, value in drawn.items() if key in ("dropout", "layers")}
        loop = {key: value for key, value in drawn.items() if key not in own}
        model = build(self.name, self.split, self.settings | own, features=self.features, seed=self.plan.seed)
        config, notes, state = suited(self.split, self.given | loop), _Notes.read(place), "done"
        total = planned_steps(self.split, config)
        steps = train(model, self.split, config, folder=place, resume=place is not None)
        try:
            for step in steps:
                if step.metrics:
                    notes.add(step.epoch, step.metrics[config.metric])
                    notes.write(place)
                    state = self._verdict(notes.figures, tried, notes.seconds())
                yield Progress(number, step, total, model, config)
                if state != "done":
                    break
        except ModelError:
            state = "failed"
        finally:  # also where the caller leaves the loop: a checkpoint is written then
            steps.close()
            notes.write(place)
        figure, seconds = self._figure(model, config, notes.figures, state), notes.seconds()
        trial = Trial(drawn, state, figure, round(notes.epoch), round(seconds, 2), notes.figures)
        leads = state in ("done", "cut off") and all(figure > other.figure for other in tried)
        yield Progress(number, None, total, model, config, trial, leads)
        return trial

    def _verdict(self, curve: list[float], tried: list[Trial], seconds: float) -> str:
        if self.spent(tried, seconds):
            return "cut off"
        others = [max(t.curve[: len(curve)]) for t in tried if t.curve]
        hopeless = min(len(curve), len(others)) >= EARLY and max(curve) < statistics.median(others)
        return "given up" if hopeless else "done"

    def _figure(self, model: Any, config: TrainConfig, curve: list[float], state: str) -> float:
        """The metric on all validation cases, of a trial that may be kept; else the best of its curve."""
        if state in ("failed", "given up"):
            return max(curve, default=0.0)
        if state == "cut off" and isinstance(model, Tunable):
            model.tune(self.split.valid)  # as a trial is that comes to its end
        cutoff, draws = int(config.metric.partition("@")[2]), torch.Generator(device_of(model)).manual_seed(config.seed)
        found = evaluate(model, self.split.valid, at=(cutoff,), resamples=0, generator=draws)
        return found.metrics[config.metric]

    def _draw(self, tried: list[Trial]) -> dict[str, Any]:
        """What is tried next: the rule's settings first, then what the trials so far suggest."""
        if not tried:
            return dict(self.plain)
        optuna = _optuna()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        floats, whole = optuna.distributions.FloatDistribution, optuna.distributions.IntDistribution
        known = {
            "learning_rate": floats(*RATES, log=True),
            "batch_size": optuna.distributions.CategoricalDistribution(BATCHES),
            "dropout": floats(*DROPOUTS),
            "layers": whole(1, max(LAYERS, self.plain.get("layers", 1))),
        }
        space = {name: known[name] for name in self.plain}
        sampler = optuna.samplers.TPESampler(seed=1000 * self.plan.seed + len(tried), n_startup_trials=EARLY)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for trial in tried:
            study.add_trial(optuna.trial.create_trial(params=trial.settings, distributions=space, value=trial.figure))
        return study.ask(space).params

    def _identity(self) -> str:
        """A digest of all that decides what a trial gives, except how many there are."""
        what = [self.name, self.split.fingerprint(), self.settings, self.given, self.plan.seed, self.plain]
        return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:8]

    def read(self, folder: Path) -> list[Trial]:
        """Read the trials of this search.

        Raises:
            ConfigError: the file is damaged, or of another search.
        """
        path = folder / FILE
        if not path.is_file():
            return []
        try:
            with path.open(newline="", encoding="utf-8") as stream:
                rows = list(csv.DictReader(stream))
            strangers = {row["search"] for row in rows} - {self._identity()}
            trials = [self._parsed(row) for row in rows]
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"cannot read {path}: {error}; remove it to search anew") from error
        if strangers:
            raise ConfigError(f"{path} is of a search with other data or settings; name another folder, or remove it")
        return trials

    def _parsed(self, row: dict[str, str]) -> Trial:
        settings = {key: type(value)(row[key]) for key, value in self.plain.items()}
        return Trial(settings, row["state"], float(row["figure"]), int(row["epochs"]), float(row["cpu_seconds"]),
                     [float(figure) for figure in row["curve"].split()])  # fmt: skip

    def write(self, folder: Path, tried: list[Trial]) -> None:
        """Write all trials, whole or not at all.

        Raises:
            ResourceError: the disk refused.
        """
        path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with whole(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
                out = csv.DictWriter(stream, [*FIXED[:-1], *self.plain, FIXED[-1]])
                out.writeheader()
                for number, trial in enumerate(tried):
                    row = asdict(trial) | trial.settings | {"search": self._identity(), "trial": number}
                    row["curve"] = " ".join(map(repr, trial.curve))
                    out.writerow({key: row[key] for key in out.fieldnames})
        except OSError as error:
            raise ResourceError(f"cannot write {path}: {error}; free space or choose another folder") from error


@dataclass
class _Notes:
    """What a checkpoint does not hold of a trial: its figures by epoch and the CPU-seconds of earlier processes."""

    curve: dict[float, float] = field(default_factory=dict)
    before: float = 0.0
    begin: float = field(default_factory=time.process_time)

    @classmethod
    def read(cls, folder: Path | None) -> "_Notes":
        path = None if folder is None else folder / NOTES
        if path is None or not path.is_file():
            return cls()
        found = json.loads(path.read_text())
        return cls({float(epoch): figure for epoch, figure in found["curve"].items()}, found["cpu_seconds"])

    def add(self, epoch: float, figure: float) -> None:
        """Note a validation; those after it are of a run that went on from an earlier checkpoint, and go."""
        self.curve = {known: value for known, value in self.curve.items() if known < epoch} | {epoch: figure}

    @property
    def figures(self) -> list[float]:
        return list(self.curve.values())

    @property
    def epoch(self) -> float:
        return max(self.curve, default=0.0)

    def seconds(self) -> float:
        return self.before + time.process_time() - self.begin

    def write(self, folder: Path | None) -> None:
        if folder is not None and folder.is_dir():
            with whole(folder / NOTES) as path:
                path.write_text(json.dumps({"curve": self.curve, "cpu_seconds": self.seconds()}))


def _optuna() -> Any:
    """Import optuna, which is an extra.

    Raises:
        ResourceError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ResourceError("a search needs optuna; run: pip install 'personagen[search]'") from error
    return optuna
