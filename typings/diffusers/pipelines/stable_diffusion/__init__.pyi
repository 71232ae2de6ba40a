from pathlib import Path
from typing import Any

from ...models import AutoencoderKL, UNet2DConditionModel
from ...schedulers import SchedulerMixin
from ..pipeline_utils import DiffusionPipeline

class _StableDiffusion(DiffusionPipeline):
    vae: AutoencoderKL
    unet: UNet2DConditionModel
    scheduler: SchedulerMixin
    text_encoder: Any
    tokenizer: Any
    def __call__(self, *args: Any, **settings: Any) -> Any: ...  # .images
    def load_lora_weights(self, source: str | Path | dict[str, Any], **settings: Any) -> None: ...
    def unload_lora_weights(self) -> None: ...
    def fuse_lora(self, **settings: Any) -> None: ...
    def disable_lora(self) -> None: ...
    def enable_lora(self) -> None: ...

class StableDiffusionPipeline(_StableDiffusion):
    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: Any,
        tokenizer: Any,
        unet: UNet2DConditionModel,
        scheduler: SchedulerMixin,
        safety_checker: Any,
        feature_extractor: Any,
        image_encoder: Any = None,
        requires_safety_checker: bool = True,
    ) -> None: ...
