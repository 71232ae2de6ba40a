"""In what precision a training computes: what "auto" means, decided once, when it begins."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from recsys.checkpoint import recorded_state

from ..devices import choose_device, multiplies_in_bfloat16
from .config import Precision

if TYPE_CHECKING:
    import torch

    from .loop import StageConfig

SETTLED: tuple[Precision, ...] = ("no", "fp16", "bf16")
Config = TypeVar("Config", bound="StageConfig")


def settled(
    asked: Precision, *, device: "torch.device", checkpoints: Path | None = None, keys: tuple[str, ...] = ()
) -> Precision:
    """Decide what "auto" is: what a run began with, else bf16 where the device multiplies in it, else no.

    checkpoints: the run's folder of them; a run that goes on elsewhere is still the same to the bit as far as the
    machine lets it. keys: where the precision lies in the settings that they record.
    """
    if asked != "auto":
        return asked
    found: Any = recorded_state(checkpoints) if checkpoints is not None else {}
    for key in ("config", *keys, "mixed_precision"):
        found = found.get(key) if isinstance(found, dict) else None
    for precision in SETTLED:
        if found == precision:
            return precision
    return "bf16" if multiplies_in_bfloat16(device) else "no"


def with_precision(config: Config) -> Config:
    """Settle the precision of a stage's loop.

    Raises:
        ConfigError, ResourceError: as `choose_device` does.
    """
    loop = config.loop
    if loop.mixed_precision != "auto":
        return config
    precision = settled(
        "auto",
        device=choose_device(loop.device),
        checkpoints=Path(config.output_dir) / "checkpoints",
        keys=("loop",),
    )
    return replace(config, loop=replace(loop, mixed_precision=precision))  # type: ignore[type-var]
