"""What is trained of a model, for stages and subjects alike: parameters, optimiser, average, and the scale of fp16."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from recsys.checkpoint import Checkpoint, load_optimizer_tensors, optimizer_tensors
from recsys.errors import ModelError, ResourceError
from recsys.loop import Failures

DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""Precisions by the names that configurations of training use."""
PATIENCE = 5  # steps in a row that are not finite before the run stops


class Weights:
    """Named parameters and all that moves them. A class because all are saved together.

    ema_decay: of the running average of the weights; None keeps none. half: the precision of the arithmetic.
    """

    def __init__(
        self,
        named: Sequence[tuple[str, nn.Parameter]],
        optimizer: torch.optim.Optimizer,
        *,
        ema_decay: float | None,
        half: torch.dtype,
        learning_rate: float | None,
    ) -> None:
        self.names, self.parameters = [name for name, _ in named], [parameter for _, parameter in named]
        self.optimizer = optimizer
        self.ema = None if ema_decay is None else EMAModel(self.parameters, decay=ema_decay, foreach=True)
        self.scaler = torch.amp.GradScaler(self.parameters[0].device.type, enabled=half == torch.float16)
        remedy = (
            f"Lower learning_rate (now {learning_rate}) or set mixed_precision to no, then run again: training goes "
            "on from the last checkpoint"
        )
        self.failures = Failures(PATIENCE, remedy, ResourceError)

    def step(self, loss: float, *, step: int, max_grad_norm: float) -> float:
        """Change the weights by their (scaled) gradients, unless these or the loss are not finite; return their norm.

        step: the number of this step, from 1.

        Raises:
            ResourceError: five steps in a row were not finite.
        """
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, max_grad_norm)
        sound = bool(norm.isfinite()) and math.isfinite(loss)
        if sound:
            self.scaler.step(self.optimizer)
            if self.ema is not None:
                self.ema.step(self.parameters)
        self.scaler.update()
        searching = self.scaler.is_enabled() and self.scaler.get_scale() > 1  # fp16 finds its scale by overflowing
        self.failures.count(sound or searching, step=step)
        return float(norm)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Hold the averaged weights, if there are any, inside, and the trained ones again afterwards."""
        if self.ema is None:
            yield
            return
        self.ema.store(self.parameters)
        self.ema.copy_to(self.parameters)
        try:
            yield
        finally:
            self.ema.restore(self.parameters)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return the groups of a checkpoint: model, optimizer and, where there is an average, ema."""
        groups: dict[str, dict[str, Tensor]] = {
            "model": dict(zip(self.names, self.parameters)),
            "optimizer": optimizer_tensors(self.optimizer),
        }
        return groups if self.ema is None else groups | {"ema": dict(zip(self.names, self.ema.shadow_params))}

    def state(self) -> dict[str, Any]:
        """Return what else a checkpoint needs, as JSON values."""
        return {
            "ema_step": 0 if self.ema is None else self.ema.optimization_step,
            "failures": self.failures.in_a_row,
            "scaler": self.scaler.state_dict(),
        }

    @torch.no_grad()
    def restore(self, found: Checkpoint) -> None:
        """Put back what `tensors` and `state` gave.

        Raises:
            ModelError: the checkpoint was written by another model.
        """
        pairs = [("model", self.parameters)] + ([] if self.ema is None else [("ema", self.ema.shadow_params)])
        for group, own in pairs:
            self._check_shapes(found, group)
            for name, parameter in zip(self.names, own):
                parameter.copy_(found.tensors[group][name])
        load_optimizer_tensors(self.optimizer, found.tensors["optimizer"])
        if self.ema is not None:
            self.ema.optimization_step = found.state["ema_step"]
        self.failures.in_a_row = found.state["failures"]
        if self.scaler.is_enabled() and found.state["scaler"]:
            self.scaler.load_state_dict(found.state["scaler"])

    def _check_shapes(self, found: Checkpoint, group: str) -> None:
        shapes = {name: tuple(parameter.shape) for name, parameter in zip(self.names, self.parameters)}
        if {name: tuple(tensor.shape) for name, tensor in found.tensors[group].items()} != shapes:
            raise ModelError(
                f"{found.path} was written by another base model, or one of other sizes; "
                "use the model and settings it was written with, or another output_dir"
            )
