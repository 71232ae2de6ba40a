"""The training loop that every stage shares: warm-up, EMA, metrics, previews, checkpoints and exact resume.

All randomness of step i comes from a generator seeded by (seed, i), so a checkpoint needs no generator state.
Under torchrun a stage's loss is this process's part of it; gradients are added up, and the first process measures and
saves.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file
from torch import Tensor, nn

from recsys.checkpoint import load_latest, load_optimizer_tensors, optimizer_tensors, save_checkpoint
from recsys.errors import ModelError, ResourceError
from recsys.types import Step

from ..devices import DTYPES
from ..pretrain.config import PretrainConfig
from .processes import Processes

PATIENCE = 5  # non-finite losses in a row before the run stops


class Stage(Protocol):
    """What a stage of pretraining gives to the loop."""

    modules: dict[str, nn.Module]
    """What is trained (parameters with requires_grad) and saved."""
    rows: int
    """Training rows that make an epoch."""

    def loss(self, step: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the batch of `step` and return named scalars; "loss" is what is minimised."""
        ...

    def evaluate(self) -> dict[str, float]:
        """Measure on held-out rows; called with EMA weights in place."""
        ...

    def preview(self, path: Path) -> None:
        """Write a picture to look at; called with EMA weights in place."""
        ...

    def export(self, folder: Path) -> Path:
        """Write the finished model; called with EMA weights in place."""
        ...


def run(
    stage: Stage, config: PretrainConfig, *, precision: str | None = None, processes: Processes | None = None
) -> Iterator[Step]:
    """Train `stage` from its newest checkpoint, or from the start; yield a Step after each training step.

    precision: "no", "fp16" (the loss is scaled) or "bf16"; none: as `config.bf16` says.
    """
    if config.start_from is not None:
        load_finished(stage.modules, Path(config.start_from))
    trainer = Trainer(stage, config, precision=precision, processes=processes)
    trainer.resume()
    try:
        while trainer.step < config.steps:
            yield trainer.advance()
    except GeneratorExit:  # the caller stopped between two steps
        trainer.save()
        raise
    trainer.save()
    if trainer.processes.first:
        with trainer.averaged():
            stage.export(Path(config.output_dir))
    trainer.processes.wait()


def load_finished(modules: dict[str, nn.Module], folder: Path) -> None:
    """Fill modules with the weights of a finished model. Raises ModelError when they are missing or do not fit."""
    for name, module in modules.items():
        found = sorted((folder / name).glob("*.safetensors"))
        if not found:
            raise ModelError(f"There are no weights in {folder / name}; correct start_from, or set it to null.")
        try:
            module.load_state_dict({key: value.float() for key, value in load_file(found[0]).items()})
        except RuntimeError as error:
            raise ModelError(f"{found[0]} does not fit the sizes of this configuration: {error}") from error


class Trainer:
    """Optimiser, average and position of one run. A class because all three are saved together."""

    def __init__(
        self, stage: Stage, config: PretrainConfig, *, precision: str | None = None, processes: Processes | None = None
    ) -> None:
        self.stage, self.config, self.step, self.saved, self.failures = stage, config, 0, -1, 0
        self.folder, self.processes = Path(config.output_dir), processes or Processes()
        self.half = DTYPES[precision or ("bf16" if config.bf16 else "no")]
        named = [(f"{name}.{key}", p) for name, module in stage.modules.items() for key, p in module.named_parameters()]
        self.names = [name for name, p in named if p.requires_grad]
        self.parameters = [p for _, p in named if p.requires_grad]
        decayed = [p for p in self.parameters if p.ndim > 1]
        plain = [p for p in self.parameters if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99), fused=True)
        self.ema = EMAModel(self.parameters, decay=config.ema_decay, foreach=True)
        self.scaler = torch.amp.GradScaler(self.parameters[0].device.type, enabled=self.half == torch.float16)

    def advance(self) -> Step:
        """Do one training step, and what falls due after it."""
        begun, config = time.perf_counter(), self.config
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, config)
        self.optimizer.zero_grad(set_to_none=True)
        device = self.parameters[0].device
        with torch.autocast(device.type, dtype=self.half, enabled=self.half != torch.float32):
            losses = self.stage.loss(self.step, generator=generator)
        self.scaler.scale(losses["loss"]).backward()
        values = {name: float(value.detach()) for name, value in losses.items()}
        values["loss"] = self.processes.add_up(self.parameters, values["loss"])
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, config.max_grad_norm)
        if norm.isfinite():
            self.scaler.step(self.optimizer)
            self.ema.step(self.parameters)
        self.scaler.update()
        self._count_failure(bool(norm.isfinite()))
        self.step += 1
        metrics = self._due()
        epoch = self.step * config.batch_size / max(1, self.stage.rows)
        return Step(self.step, epoch, values | {"grad_norm": float(norm)}, metrics, time.perf_counter() - begun)

    def _due(self) -> dict[str, float] | None:
        """Evaluate, draw a preview and save where the step number says so."""
        config, last, metrics = self.config, self.step == self.config.steps, None
        evaluate, show = self.step % config.evaluate_every == 0 or last, self.step % config.preview_every == 0 or last
        if self.processes.first and (evaluate or show):
            with self.averaged():
                metrics = self.stage.evaluate() if evaluate else None
                if show:
                    (self.folder / "previews").mkdir(parents=True, exist_ok=True)
                    self.stage.preview(self.folder / "previews" / f"step-{self.step:06d}.png")
        if self.step % config.checkpoint_every == 0:
            self.save()
        return metrics

    def _count_failure(self, finite: bool) -> None:
        overflow = self.scaler.is_enabled() and self.scaler.get_scale() > 1  # fp16 finds its scale by overflowing
        self.failures = 0 if finite or overflow else self.failures + 1
        if self.failures >= PATIENCE:
            raise ResourceError(
                f"The loss was not finite in {PATIENCE} steps in a row, up to step {self.step}; lower "
                f"learning_rate {self.config.learning_rate} or train in full precision, then run again: "
                "training goes on from the last good checkpoint."
            )

    def averaged(self) -> "Averaged":
        """Context in which the modules hold the averaged weights and are in evaluation mode."""
        return Averaged(self.ema, self.parameters, self.stage.modules.values())

    def save(self) -> None:
        """Write a checkpoint of the present step, unless it is written already; the first process alone does."""
        if self.saved == self.step or not self.processes.first:
            return
        tensors = {
            "model": dict(zip(self.names, self.parameters)),
            "ema": dict(zip(self.names, self.ema.shadow_params)),
            "optimizer": optimizer_tensors(self.optimizer),
        }
        state = {"config": asdict(self.config), "ema_step": self.ema.optimization_step, "failures": self.failures,
                 "scaler": self.scaler.state_dict()}  # fmt: skip
        save_checkpoint(self.folder / "checkpoints", self.step, tensors, state)
        self.saved = self.step

    def resume(self) -> None:
        """Load the newest sound checkpoint, if there is one. Raises ModelError when it is of another model."""
        found = load_latest(self.folder / "checkpoints")
        if found is None:
            return
        shapes = {name: tuple(p.shape) for name, p in zip(self.names, self.parameters)}
        for group in ("model", "ema"):
            if {name: tuple(t.shape) for name, t in found.tensors[group].items()} != shapes:
                raise ModelError(
                    f"{found.path} was written by a model of other sizes; use another output_dir, or its settings."
                )
        with torch.no_grad():
            for name, p, shadow in zip(self.names, self.parameters, self.ema.shadow_params):
                p.copy_(found.tensors["model"][name])
                shadow.copy_(found.tensors["ema"][name])
        load_optimizer_tensors(self.optimizer, found.tensors["optimizer"])
        self.ema.optimization_step, self.failures = found.state["ema_step"], found.state["failures"]
        if self.scaler.is_enabled() and found.state.get("scaler"):
            self.scaler.load_state_dict(found.state["scaler"])
        self.step = self.saved = found.step


class Averaged:
    """Swap the averaged weights in on entry, and the trained ones back on exit."""

    def __init__(self, ema: EMAModel, parameters: list[nn.Parameter], modules: Iterable[nn.Module]) -> None:
        self.ema, self.parameters, self.modules = ema, parameters, list(modules)

    def __enter__(self) -> None:
        self.ema.store(self.parameters)
        self.ema.copy_to(self.parameters)
        for module in self.modules:
            module.eval()

    def __exit__(self, *_) -> None:
        self.ema.restore(self.parameters)
        for module in self.modules:
            module.train()


def learning_rate(step: int, config: PretrainConfig) -> float:
    """Rise linearly for `warmup_steps`, stay, then fall linearly to 1 % over the last `decay_fraction` of the steps."""
    rise = min(1.0, (step + 1) / max(1, config.warmup_steps))
    left = (config.steps - step) / max(1.0, config.decay_fraction * config.steps)
    return config.learning_rate * rise * max(0.01, min(1.0, left))
