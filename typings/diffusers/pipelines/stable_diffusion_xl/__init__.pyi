from typing import Any

from ...models import AutoencoderKL, UNet2DConditionModel
from ...schedulers import SchedulerMixin
from ..stable_diffusion import _StableDiffusion

class StableDiffusionXLPipeline(_StableDiffusion):
    text_encoder_2: Any
    tokenizer_2: Any
    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: Any,
        text_encoder_2: Any,
        tokenizer: Any,
        tokenizer_2: Any,
        unet: UNet2DConditionModel,
        scheduler: SchedulerMixin,
        image_encoder: Any = None,
        feature_extractor: Any = None,
        force_zeros_for_empty_prompt: bool = True,
        add_watermarker: bool | None = None,
    ) -> None: ...
