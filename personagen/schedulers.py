"""Samplers by name, for every command that paints; diffusers is imported only when one is built."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from recsys.errors import ConfigError

Sampler = Literal["ddim", "dpmpp_2m", "euler", "euler_a", "unipc", "lcm"]
CLASSES = {
    "ddim": "DDIMScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
    "dpm": "DPMSolverMultistepScheduler",  # the name of before
    "euler": "EulerDiscreteScheduler",
    "euler_a": "EulerAncestralDiscreteScheduler",
    "unipc": "UniPCMultistepScheduler",
    "lcm": "LCMScheduler",
}
NOISE = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type",
         "rescale_betas_zero_snr", "timestep_spacing", "steps_offset", "set_alpha_to_one")  # fmt: skip
"""What of a scheduler's settings belongs to the weights, and goes on to another sampler."""
LCM_STEPS = 50
"""Steps that a consistency model was distilled from; more cannot be asked of it."""
LCM_NOTE = (
    "note: scheduler lcm is for weights distilled for it (LCM, or an LCM LoRA), with 4 to 8 steps and guidance 1 to 2; "
    "with others pictures stay soft"
)


def check_sampler(name: str | None, *steps: int) -> None:
    """Refuse an unknown sampler, or more steps than it can take; None is the model's own.

    Raises:
        ConfigError: what the message names.
    """
    if name is not None and name not in get_args(Sampler):
        raise ConfigError(f"scheduler is {name!r}; allowed are {', '.join(get_args(Sampler))}")
    if name == "lcm" and max(steps, default=1) > LCM_STEPS:
        raise ConfigError(f"steps are {max(steps)} with scheduler lcm; allowed are 1 to {LCM_STEPS}, and 4 to 8 do")


def build_scheduler(name: str, config: Mapping[str, Any]) -> Any:
    """Return the sampler `name` for the noise schedule of another's config; latents are never clipped.

    Raises:
        ConfigError: another name.
    """
    import diffusers

    if name not in CLASSES:
        raise ConfigError(f"scheduler {name!r} is unknown; use one of {', '.join(CLASSES)}")
    given = {key: value for key, value in config.items() if key in NOISE}
    return getattr(diffusers, CLASSES[name]).from_config({**given, "clip_sample": False, "thresholding": False})


def use_sampler(pipe: Any, name: str | None) -> None:
    """Let a pipeline sample by name, with the noise schedule its weights were trained with; None changes nothing."""
    if name is not None:
        pipe.scheduler = build_scheduler(name, pipe.scheduler.config)


def sampler_of(pipe: Any) -> str:
    """Name a pipeline's sampler as A1111's `parameters` do, such as DDIM or EulerDiscrete."""
    return type(pipe.scheduler).__name__.removesuffix("Scheduler")
