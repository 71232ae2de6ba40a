"""Train a recommender on next items: an iterator of steps that the caller's `for` loop drives, logs and stops.

    for step in train(model, split, TrainConfig(epochs=20), folder="runs/sasrec", resume=True):
        print(step.step, step.losses["loss"], step.metrics)

Every number drawn (the order of an epoch, dropout, noise) is a function of the seed and the place in the run, never of
what ran before. Hence a run that was killed and resumed, also within an epoch, gives the same bits as one that was not.

Under `torchrun --nproc_per_node N` each process takes every N-th row of a batch and gradients are averaged, so that
batch_size stays that of one update. All processes validate, with equal results; the first one writes checkpoints.
"""

import dataclasses
import math
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn

from .adam import RowAdamW, clip_gradients
from .checkpoint import Checkpoint, load_optimizer_tensors, optimizer_tensors
from .data.splits import Split, batches, windows
from .errors import ConfigError, DataError, ModelError
from .evaluate import evaluate
from .loop import Checkpoints, Failures, drive, refuse_a_second_start
from .types import Batch, Cases, Preparable, Sampling, Step, Tunable

METRICS = ("recall", "hit", "ndcg", "mrr")
FREE_TO_CHANGE = ("epochs", "patience", "checkpoint_every")  # when a run is resumed
PLACE = ("epoch", "position", "stale")  # what a checkpoint says of where the run is


@dataclass(frozen=True)
class TrainConfig:
    """How to train. `patience` counts validations without improvement of `metric`; `checkpoint_every` counts steps.

    The default metric is cut to the catalogue where that has fewer items; any other must fit.
    """

    epochs: int = 50
    batch_size: int = 256
    max_length: int = 50
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warmup_steps: int = 0
    clip_norm: float = 5.0
    validate_every: int = 1
    validate_cases: int | None = None
    metric: str = "ndcg@10"
    patience: int = 5
    checkpoint_every: int = 500
    max_skipped: int = 5
    seed: int = 0

    def __post_init__(self):
        for name in (
            "epochs",
            "batch_size",
            "max_length",
            "validate_every",
            "patience",
            "checkpoint_every",
            "max_skipped",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.validate_cases is not None and self.validate_cases < 1:
            raise ConfigError(f"validate_cases is {self.validate_cases}; give at least 1, or None for all")
        if self.learning_rate <= 0 or self.clip_norm <= 0:
            raise ConfigError(
                f"learning_rate is {self.learning_rate}, clip_norm {self.clip_norm}; both must be above 0"
            )
        if self.weight_decay < 0 or self.warmup_steps < 0 or not 0 <= self.seed < 2**31:
            raise ConfigError("weight_decay and warmup_steps must be 0 or more, and seed from 0 to 2^31 - 1")
        name, _, cutoff = self.metric.partition("@")
        if name not in METRICS or not cutoff.isdecimal() or int(cutoff) < 1:
            raise ConfigError(
                f"metric is {self.metric!r}; allowed are {', '.join(METRICS)} at a cut-off, such as 'ndcg@10'"
            )


@dataclass
class _Run:
    """Everything that changes while a run goes on: a `recsys.loop.Run`."""

    model: Any
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    config: TrainConfig
    pieces: list
    valid: Cases
    fingerprint: str
    failures: Failures
    step: int = 0
    epoch: int = 0
    position: int = 0  # batches of this epoch already done
    best: float = -math.inf
    stale: int = 0
    best_weights: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    coming: Iterator[Batch] = dataclasses.field(default_factory=lambda: iter(()))
    """The batches of this epoch that are still to be done; empty before the first step."""

    @property
    def finished(self) -> bool:
        return self.epoch >= self.config.epochs or self.stale >= self.config.patience

    def advance(self) -> Step:
        """Do one update; at the end of an epoch, validate."""
        begin = time.perf_counter()
        losses = _update(self, self._next_batch())
        self.step, self.position = self.step + 1, self.position + 1
        total = math.ceil(len(self.pieces) / self.config.batch_size)
        epoch, metrics = self.epoch + self.position / total, None
        if self.position == total:
            self.epoch, self.position = self.epoch + 1, 0
            metrics = _validate(self)
        return Step(self.step, epoch, losses, metrics, time.perf_counter() - begin)

    def _next_batch(self) -> Batch:
        batch = next(self.coming, None)
        if batch is None:  # an epoch begins, or a resumed run goes on within one
            order = _generator(self.config.seed, 1, self.epoch, device="cpu")
            self.coming = batches(self.pieces, self.config.batch_size, generator=order, start=self.position)
            batch = next(self.coming)
        return batch

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return weights, optimiser and the weights that were best on validation."""
        return {
            "model": self.model.state_dict(),
            "optimizer": optimizer_tensors(self.optimizer),
            "best": self.best_weights,
        }

    def state(self) -> dict[str, Any]:
        """Return configuration, data and place of the run."""
        return {
            "config": asdict(self.config),
            "fingerprint": self.fingerprint,
            **{name: getattr(self, name) for name in PLACE},
            "best": self.best if math.isfinite(self.best) else None,
            "skipped": self.failures.total,
            "skipped_in_a_row": self.failures.in_a_row,
        }

    def restore(self, found: Checkpoint) -> None:
        """Take up a checkpoint.

        Raises:
            ConfigError: other settings or data.
            ModelError: another model.
        """
        _check_same_run(self, found)
        try:
            self.model.load_state_dict(found.tensors["model"])
        except RuntimeError as error:
            raise ModelError(f"the checkpoint {found.path} does not fit this model: {error}") from error
        load_optimizer_tensors(self.optimizer, found.tensors["optimizer"])
        self.best_weights = found.tensors["best"]
        for name in PLACE:
            setattr(self, name, found.state[name])
        self.best = -math.inf if found.state["best"] is None else found.state["best"]
        self.failures.total = found.state["skipped"]
        self.failures.in_a_row = found.state["skipped_in_a_row"]


def train(
    model: nn.Module,
    split: Split,
    config: TrainConfig,
    *,
    folder: str | Path | None = None,
    resume: bool = False,
    accelerator: Accelerator | None = None,
    parent: str | None = None,
) -> Generator[Step, None, None]:
    """Train `model` (a Recommender with `loss(batch, generator=)`) on split.train; yield a Step after each update.

    A model with `prepare(sequences)` is given split.train first, for what it counts or clusters; one with `tune(cases)`
    may fit how it ranks to all of split.valid when training has come to its end (not where the loop is left before).

    At the end of an epoch the step carries the metrics on split.valid. Training stops after config.patience validations
    without improvement. However the loop ends (the end, `break`, `close()`), the model then holds the weights that were
    best on validation. With `folder`, a checkpoint is written every config.checkpoint_every steps and when the loop is
    closed early; `resume=True` goes on from the newest one, bit for bit. A caller that handles signals breaks out of
    the loop between two steps. A step whose loss or gradient is not finite is skipped and counted in losses["skipped"].

    `parent` names the model whose weights these are (its fingerprint), where training goes on from them: nothing is
    prepared again, and weights are kept only where they are better on validation than those it started with.

    Raises:
        ConfigError: `folder` holds another run, or one that was not asked to be resumed.
        DataError: there is nothing to train on.
        ModelError: config.max_skipped steps in a row were not finite, or the checkpoint does not fit the model.
    """
    run = _prepare(model, split, config, accelerator or Accelerator(), parent)
    checkpoints = _checkpoints(run, folder, resume)
    if parent is not None and run.step == 0 and len(run.valid):
        _measure(run)
    try:
        yield from drive(run, checkpoints)
    finally:
        _load_best(run)
    if isinstance(model, Tunable) and len(split.valid) > 0:
        model.tune(split.valid)


def planned_steps(split: Split, config: TrainConfig) -> int:
    """Return how many steps `train` takes on this data when nothing ends it early."""
    return config.epochs * math.ceil(len(windows(split.train, config.max_length)) / config.batch_size)


def _prepare(model: nn.Module, split: Split, config: TrainConfig, accelerator: Accelerator, parent: str | None) -> _Run:
    if accelerator.mixed_precision not in ("no", "bf16"):
        raise ConfigError(
            f"precision is {accelerator.mixed_precision!r}; allowed are 'no' and 'bf16', as fp16 overflows"
        )
    if accelerator.num_processes > config.batch_size:
        raise ConfigError(
            f"{accelerator.num_processes} processes share a batch_size of {config.batch_size}; raise it or start fewer"
        )
    beyond = int(config.metric.partition("@")[2]) > split.n_items and config.metric != TrainConfig.metric
    if model.n_items != split.n_items or beyond:
        raise ConfigError(
            f"the model ranks {model.n_items} items, the data hold {split.n_items}, the metric is {config.metric!r}: "
            "build the model for the data's items, and choose a cut-off of at most their number"
        )
    pieces = windows(split.train, config.max_length)
    if not pieces:
        raise DataError("no training sequence has two items; there is nothing to learn a next item from")
    if isinstance(model, Sampling):
        model.sample_from(split.train)
    if isinstance(model, Preparable) and parent is None:  # what is counted rather than trained
        model.prepare(split.train)
    model.to(accelerator.device)
    for tensor in model.state_dict().values():  # all processes start as the first
        broadcast(tensor, from_process=0)
    optimizer = RowAdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    valid = split.valid
    if config.validate_cases is not None and config.validate_cases < len(valid):
        order = torch.randperm(len(valid), generator=_generator(config.seed, 0, 0, device="cpu"))
        valid = valid.take(order[: config.validate_cases].tolist())
    remedy = f"Lower learning_rate (now {config.learning_rate}) and resume from the last checkpoint"
    failures = Failures(config.max_skipped, remedy)
    fingerprint = split.fingerprint() + ("" if parent is None else f" after {parent}")
    return _Run(model, optimizer, accelerator, config, pieces, valid, fingerprint, failures)


def _update(run: _Run, batch: Batch) -> dict[str, float]:
    """Make one update of the weights, or none where the loss or its gradient is not finite."""
    config, device = run.config, run.accelerator.device
    rate = config.learning_rate * min(1.0, (run.step + 1) / max(1, config.warmup_steps))
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.model.train()
    run.optimizer.zero_grad(set_to_none=True)
    batch = _own_rows(run, batch)
    stream = run.step * run.accelerator.num_processes + run.accelerator.process_index
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), run.accelerator.autocast():
        torch.manual_seed(_mix(config.seed, 2, stream))  # dropout has no generator of its own
        losses = run.model.loss(batch.to(device), generator=_generator(config.seed, 3, stream, device=device))
        if bool(losses["loss"].isfinite()):
            run.accelerator.backward(losses["loss"])
    _average_gradients(run, sound=bool(losses["loss"].isfinite()))
    norm = clip_gradients(run.model.parameters(), config.clip_norm)
    means: dict[str, Any] = {name: run.accelerator.reduce(value.detach(), "mean") for name, value in losses.items()}
    values = {name: float(value) for name, value in means.items()}
    sound = math.isfinite(values["loss"]) and bool(norm.isfinite())
    if sound:
        run.optimizer.step()
    run.failures.count(sound, step=run.step + 1)
    return values | ({"skipped": float(run.failures.total)} if run.failures.total else {})


def _own_rows(run: _Run, batch: Batch) -> Batch:
    """Take this process's share of a batch; a process left without a row takes the last one again."""
    count, index = run.accelerator.num_processes, run.accelerator.process_index
    if count == 1:
        return batch
    first = min(index, len(batch.history) - 1)
    return Batch(batch.history[first::count], batch.target[first::count])


def _average_gradients(run: _Run, *, sound: bool) -> None:
    """Average gradients over processes; one unsound loss makes all of them unsound."""
    if run.accelerator.num_processes == 1:
        return
    for parameter in run.model.parameters():
        if parameter.requires_grad:
            own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            sparse, own = own.is_sparse, own.to_dense()
            mean = run.accelerator.reduce(own if sound else own + torch.nan, "mean")
            parameter.grad = mean.to_sparse(1) if sparse else mean


def _validate(run: _Run) -> dict[str, float] | None:
    """Measure on the validation cases where they are due."""
    config = run.config
    if len(run.valid) == 0 or (run.epoch % config.validate_every and run.epoch < config.epochs):
        return None
    return _measure(run)


def _measure(run: _Run) -> dict[str, float]:
    """Measure on the validation cases, and keep the weights when they are the best so far."""
    config = run.config
    name, _, cutoff = config.metric.partition("@")
    cutoff = min(int(cutoff), run.model.n_items)
    draws = _generator(config.seed, 4, 0, device=run.accelerator.device)
    metrics = evaluate(_On(run), run.valid, at=(cutoff,), resamples=0, generator=draws).metrics
    if (found := metrics[f"{name}@{cutoff}"]) > run.best:
        run.best, run.stale = found, 0
        run.best_weights = {name: value.detach().clone() for name, value in run.model.state_dict().items()}
    else:
        run.stale += 1
    return metrics


class _On:
    """The model with histories moved to its device."""

    def __init__(self, run: _Run):
        self.n_items = run.model.n_items
        self._model = run.model
        self._device = run.accelerator.device

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ):
        return self._model.recommend(history.to(self._device), k, exclude_seen=exclude_seen, generator=generator)


def _checkpoints(run: _Run, folder: str | Path | None, resume: bool) -> Checkpoints:
    """Take up the newest checkpoint of `folder`, or make sure that there is none; return where they are kept."""
    place = None if folder is None else Path(folder)
    checkpoints = Checkpoints(place, run.config.checkpoint_every, first=run.accelerator.is_main_process)
    if resume and place is None:
        raise ConfigError("resume=True needs the folder of the checkpoints; give folder=…")
    if resume:
        checkpoints.resume(run)
    elif place is not None:
        refuse_a_second_start(place, remedy="give resume=True")
    return checkpoints


def _check_same_run(run: _Run, found: Checkpoint) -> None:
    now = asdict(run.config)
    then = found.state["config"]
    folder = found.path.parent
    changed = [name for name in now if now[name] != then.get(name) and name not in FREE_TO_CHANGE]
    if changed:
        words = ", ".join(f"{name} was {then.get(name)!r} and is {now[name]!r}" for name in changed)
        raise ConfigError(f"{folder} holds a run with other settings: {words}. Use those, or another folder")
    known = found.state["fingerprint"]
    if known != run.fingerprint:
        raise ConfigError(f"{folder} holds a run on other data ({known}, now {run.fingerprint})")


def _load_best(run: _Run) -> None:
    if run.best_weights:
        run.model.load_state_dict(run.best_weights)


def _mix(seed: int, stream: int, index: int) -> int:
    """Spread (seed, stream, index) over 63 bits, so that no two streams or places share a generator's seed."""
    value = (seed * 8 + stream) * 2**31 + index
    for _ in range(3):
        value = (value ^ (value >> 31)) * 0x9E3779B97F4A7C15 % 2**64
    return value >> 1


def _generator(seed: int, stream: int, index: int, *, device: torch.device | str) -> torch.Generator:
    return torch.Generator(device=device).manual_seed(_mix(seed, stream, index))
