"""Optimisers by name, their learning rate over time, and their settings as JSON."""

from typing import Any

import torch
from torch import nn

from recsys.errors import ConfigError

from .config import SubjectConfig


def build_optimizer(
    config: SubjectConfig, groups: dict[str, list[nn.Parameter]], rates: dict[str, float | None]
) -> torch.optim.Optimizer:
    """Build the optimiser over groups of parameters, each with its own rate; new tokens are not decayed.

    Raises:
        ConfigError: the package of the optimiser asked for is not installed.
    """
    settings: list[dict[str, Any]] = [
        {
            "params": parameters,
            "lr": rates[name],
            "base_lr": rates[name],
            "weight_decay": 0.0 if name == "tokens" else config.adam_weight_decay,
        }
        for name, parameters in groups.items()
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(settings, betas=(0.9, 0.999), eps=1e-8, fused=True)
    package, kind = {"adamw8bit": ("bitsandbytes.optim", "AdamW8bit"), "prodigy": ("prodigyopt", "Prodigy")}[
        config.optimizer
    ]
    import importlib

    try:
        return getattr(importlib.import_module(package), kind)(settings)
    except ImportError as error:
        name = package.partition(".")[0]
        raise ConfigError(f"optimizer {config.optimizer} needs {name}; pip install {name}, or use adamw") from error


def rate_factor(step: int, config: SubjectConfig) -> float:
    """Return what the learning rates are multiplied by at a step: a linear rise, then the schedule asked for."""
    import math

    rise = min(1.0, (step + 1) / max(1, config.lr_warmup_steps))
    span = max(1, int(config.max_train_steps or 1) - config.lr_warmup_steps)
    done = min(1.0, max(0, step - config.lr_warmup_steps) / span)
    fall = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}[
        config.lr_scheduler or "constant"
    ]
    return rise * fall


def settings_of(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Return the settings of each group that JSON can hold, among them what Prodigy has estimated."""
    plain = (bool, int, float, str, type(None))
    return [{key: v for key, v in group.items() if isinstance(v, plain)} for group in optimizer.param_groups]
