"""Teach a text-to-image model a subject from a few pictures: DreamBooth (arXiv 2208.12242) as LoRA, tokens or whole."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .config import PRESETS, SubjectConfig, check_config, resolve

if TYPE_CHECKING:
    from recsys.types import Step

    from .data import Finding

__all__ = ["PRESETS", "SubjectConfig", "check_config", "resolve", "train_subject"]


def train_subject(config: SubjectConfig, *, tell: "Callable[[Finding], None] | None" = None) -> "Iterator[Step]":
    """Learn a subject, yielding a Step after each training step; stop when you like, resume later exactly there.

    While class pictures are painted and pictures are encoded, Steps 0 with metrics {"class_images": share} and
    {"cached": share} come first. The last Step carries {"reload": ..., "reload_kohya": ..., "drift": ...}: the largest
    pixel difference between what was trained and what the saved files paint in a fresh pipeline.
    tell: is given every file that is left out, and why, before the work begins.
    In `output_dir`: `pytorch_lora_weights.safetensors` (any diffusers pipeline), NAME.safetensors (web UIs),
    `learned_embeds.safetensors`, `model/`, README.md, run.json, samples/, loss.png, checkpoints/.

    Raises:
        ConfigError: settings cannot work, or the folder holds a run that is not asked to go on.
        DataError: no picture can be used.
        ModelError: the base model cannot be used.
        ResourceError: memory or disk ran out, or steps stay non-finite.
    """
    from .run import run

    return run(config, tell=tell)
