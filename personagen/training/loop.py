"""The training loop that every stage shares: warm-up, EMA, metrics, previews, and exact resume (`recsys.loop`).

All randomness of step i comes from a generator seeded by (seed, i), so a checkpoint needs no generator state.
Under torchrun a stage's loss is this process's part of it; gradients are added up, and the first process measures and
saves.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from recsys.checkpoint import Checkpoint
from recsys.loop import Checkpoints, drive
from recsys.types import Step

from ..files import write_folder
from .config import LoopConfig
from .processes import Processes
from .weights import DTYPES, Weights


class StageConfig(Protocol):
    """The settings of a stage: a frozen dataclass with these two and its own."""

    @property
    def output_dir(self) -> str:
        """Folder for checkpoints, previews and the result."""
        ...

    @property
    def loop(self) -> LoopConfig:
        """Settings of the loop."""
        ...


class Stage(Protocol):
    """What a stage gives to the loop."""

    modules: dict[str, nn.Module]
    """What is trained (parameters with requires_grad) and saved."""
    rows: int
    """Training rows that make an epoch."""

    @property
    def config(self) -> StageConfig:
        """Its settings, which a checkpoint records."""
        ...

    def loss(self, step: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the batch of `step` and return named scalars (); "loss" is what is minimised."""
        ...

    def evaluate(self) -> dict[str, float]:
        """Measure on held-out rows; called with EMA weights in place."""
        ...

    def preview(self, path: Path) -> None:
        """Write a picture to look at; called with EMA weights in place."""
        ...

    def export(self, folder: Path) -> Path:
        """Write the finished model to a folder below `folder`, and return it; called with EMA weights in place."""
        ...


def run(stage: Stage, *, processes: Processes | None = None) -> Iterator[Step]:
    """Train `stage` from its newest checkpoint, or from the start; yield a Step after each training step.

    Raises:
        ModelError: the checkpoint was written by another model.
        ResourceError: five steps in a row were not finite, or the disk is full.
    """
    trainer = Trainer(stage, processes=processes)
    checkpoints = Checkpoints(
        trainer.folder / "checkpoints", trainer.config.checkpoint_every, first=trainer.processes.first
    )
    checkpoints.resume(trainer)
    yield from drive(trainer, checkpoints)
    if trainer.processes.first:
        with trainer.averaged():
            write_folder(trainer.folder, stage.export)
    trainer.processes.wait()


def autocast(device: torch.device, config: LoopConfig) -> torch.autocast:
    """Return the context in which a model computes in the precision asked for."""
    half = DTYPES[config.mixed_precision]
    return torch.autocast(device.type, dtype=half, enabled=half != torch.float32)


class Trainer:
    """A stage's weights and place in its run: the `recsys.loop.Run` of all stages."""

    def __init__(self, stage: Stage, *, processes: Processes | None = None) -> None:
        self.stage, self.config, self.step = stage, stage.config.loop, 0
        self.folder, self.processes = Path(stage.config.output_dir), processes or Processes()
        named = [(f"{name}.{key}", p) for name, module in stage.modules.items() for key, p in module.named_parameters()]
        named = [(name, p) for name, p in named if p.requires_grad]
        self.weights = Weights(
            named,
            build_optimizer([p for _, p in named], self.config),
            ema_decay=self.config.ema_decay,
            half=DTYPES[self.config.mixed_precision],
            learning_rate=self.config.learning_rate,
        )

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.config.steps

    def advance(self) -> Step:
        """Do one training step; measure and draw where that is due after it."""
        begun, config, weights = time.perf_counter(), self.config, self.weights
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + self.step)
        for group in weights.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, config)
        weights.optimizer.zero_grad(set_to_none=True)
        with autocast(weights.parameters[0].device, config):
            losses = self.stage.loss(self.step, generator=generator)
        weights.scaler.scale(losses["loss"]).backward()
        values = {name: float(value.detach()) for name, value in losses.items()}
        values["loss"] = self.processes.add_up(weights.parameters, values["loss"])
        norm = weights.step(values["loss"], step=self.step + 1, max_grad_norm=config.max_grad_norm)
        self.step += 1
        metrics = self._measure()
        epoch = self.step * config.batch_size / max(1, self.stage.rows)
        return Step(self.step, epoch, values | {"grad_norm": norm}, metrics, time.perf_counter() - begun)

    def _measure(self) -> dict[str, float] | None:
        """Evaluate and draw a preview where the step number says so; the first process alone does."""
        config, metrics = self.config, None
        evaluate = self.finished or self.step % config.evaluate_every == 0
        show = self.finished or self.step % config.preview_every == 0
        if self.processes.first and (evaluate or show):
            with self.averaged():
                metrics = self.stage.evaluate() if evaluate else None
                if show:
                    (self.folder / "previews").mkdir(parents=True, exist_ok=True)
                    self.stage.preview(self.folder / "previews" / f"step-{self.step:06d}.png")
        return metrics

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Hold the averaged weights in the modules, in evaluation mode, inside."""
        modules = self.stage.modules.values()
        try:
            with self.weights.averaged():
                for module in modules:
                    module.eval()
                yield
        finally:
            for module in modules:
                module.train()

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return the groups of a checkpoint: model, ema and optimizer."""
        return self.weights.tensors()

    def state(self) -> dict[str, Any]:
        """Return the settings and what else a checkpoint needs."""
        return {"config": asdict(self.stage.config), **self.weights.state()}  # type: ignore[call-overload]

    def restore(self, found: Checkpoint) -> None:
        """Take up a checkpoint.

        Raises:
            ModelError: it is of another model.
        """
        self.weights.restore(found)


def build_optimizer(parameters: list[nn.Parameter], config: LoopConfig) -> torch.optim.Optimizer:
    """Build AdamW; matrices and kernels are decayed, biases and scales are not."""
    decayed, plain = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99), fused=True)


def learning_rate(step: int, config: LoopConfig) -> float:
    """Rise linearly for `warmup_steps`, stay, then fall linearly to 1 % over the last `decay_fraction` of the steps."""
    rise = min(1.0, (step + 1) / max(1, config.warmup_steps))
    left = (config.steps - step) / max(1.0, config.decay_fraction * config.steps)
    return config.learning_rate * rise * max(0.01, min(1.0, left))
