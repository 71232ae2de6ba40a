"""Settings of the training loop; no heavy import, so that `--help` is quick."""

from dataclasses import dataclass
from typing import Literal

from recsys.errors import ConfigError

Precision = Literal["auto", "no", "fp16", "bf16"]
COUNTS = ("steps", "batch_size", "evaluate_every", "preview_every", "checkpoint_every", "heldout_rows")


@dataclass(frozen=True)
class LoopConfig:
    """How long to train, how fast, on what device, and when to measure, draw and save."""

    steps: int = 4000
    batch_size: int = 8
    learning_rate: float = 5e-4
    warmup_steps: int = 200
    decay_fraction: float = 0.3
    """Share of the steps, at the end, over which the learning rate falls linearly to 1 % of its value."""
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    ema_decay: float = 0.999
    mixed_precision: Precision = "auto"
    """Precision of the arithmetic: auto (bf16 where the device multiplies in it, else no), no, fp16 or bf16. Weights
    stay in float32; losses are scaled under fp16."""
    device: str = "auto"
    seed: int = 0
    evaluate_every: int = 500
    preview_every: int = 500
    checkpoint_every: int = 500
    heldout_rows: int = 32
    """Held-out rows that the metrics are measured on."""

    def __post_init__(self) -> None:
        for name in COUNTS:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("decay_fraction", "ema_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must lie in 0..1")
