"""Samplers of try-on by name."""

from typing import Any

from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, SchedulerMixin, UniPCMultistepScheduler

from recsys.errors import ConfigError

SCHEDULERS = {"ddim": DDIMScheduler, "dpm": DPMSolverMultistepScheduler, "unipc": UniPCMultistepScheduler}


def build_scheduler(name: str, config: dict[str, Any]) -> SchedulerMixin:
    """Return the sampler `name` ("ddim", "dpm": DPM-Solver++, "unipc") for the noise schedule of another's config.

    Latents are never clipped.

    Raises:
        ConfigError: another name.
    """
    if name not in SCHEDULERS:
        raise ConfigError(f"scheduler {name!r} is unknown; use one of {sorted(SCHEDULERS)}")
    given = {
        key: value for key, value in config.items() if key != "_use_default_values"
    }  # which would undo what is set
    return SCHEDULERS[name].from_config({**given, "clip_sample": False, "thresholding": False})
