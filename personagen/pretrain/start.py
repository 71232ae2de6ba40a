"""Start a stage: from nothing, from its newest checkpoint, or with the weights of a finished model."""

from collections.abc import Iterator
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from recsys.errors import ModelError, shown
from recsys.types import Step

from ..training.loop import Stage, run
from .config import PretrainConfig


def run_stage(stage: Stage, config: PretrainConfig) -> Iterator[Step]:
    """Train a stage to its end, from `start_from` where that is given; yield a Step after each training step.

    Raises:
        ModelError: weights are missing or do not fit.
        ResourceError: steps stay non-finite, or the disk is full.
    """
    if config.start_from is not None:
        load_finished(stage.modules, Path(config.start_from))
    yield from run(stage)


def load_finished(modules: dict[str, nn.Module], folder: Path) -> None:
    """Fill modules with the weights of a finished model.

    Raises:
        ModelError: weights are missing or do not fit.
    """
    for name, module in modules.items():
        found = sorted((folder / name).glob("*.safetensors"))
        if not found:
            raise ModelError(f"there are no weights in {folder / name}; correct start_from, or set it to null")
        try:
            module.load_state_dict({key: value.float() for key, value in load_file(found[0]).items()})
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = shown(error, most=300)
            raise ModelError(f"{found[0]} does not fit the sizes of this configuration: {reason}") from error


def load_unet(folder: str, *, setting: str) -> UNet2DConditionModel:
    """Load a UNet to start from, in float32.

    Raises:
        ModelError: the folder, which the setting named gives, holds none.
    """
    if not (Path(folder) / "config.json").is_file():
        raise ModelError(
            f"there is no UNet in {folder}; run the text2image stage first, correct {setting}, or set it to null"
        )
    return UNet2DConditionModel.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
    )
