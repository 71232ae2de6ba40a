from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

class SchedulerMixin:
    config: Any  # a dict whose entries are attributes as well
    timesteps: Tensor
    alphas_cumprod: Tensor
    init_noise_sigma: float
    order: int
    @classmethod
    def from_pretrained(cls, source: str | Path, **settings: Any) -> Self: ...
    @classmethod
    def from_config(cls, config: Mapping[str, Any], **settings: Any) -> Self: ...
    def save_pretrained(self, folder: str | Path, **settings: Any) -> None: ...
    def set_timesteps(self, num_inference_steps: int, device: torch.device | str | None = None) -> None: ...
    def scale_model_input(self, sample: Tensor, *args: Any) -> Tensor: ...
    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor: ...
    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, **settings: Any) -> Any: ...

class _Schedule(SchedulerMixin):
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        *,
        prediction_type: str = "epsilon",
        timestep_spacing: str = ...,
        steps_offset: int = 0,
        rescale_betas_zero_snr: bool = False,
        **settings: Any,
    ) -> None: ...

class DDIMScheduler(_Schedule):
    final_alpha_cumprod: Tensor
    def get_velocity(self, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor: ...

class DDPMScheduler(_Schedule):
    def get_velocity(self, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor: ...

class DPMSolverMultistepScheduler(_Schedule): ...
class UniPCMultistepScheduler(_Schedule): ...
class EulerDiscreteScheduler(_Schedule): ...
class PNDMScheduler(_Schedule): ...
