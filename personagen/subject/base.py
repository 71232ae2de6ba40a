"""What training asks of a base model: its noise schedule, its size, its words, and that it is sound."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from recsys.errors import ConfigError, ModelError

from ..adapters.adapter import PARTS
from ..adapters.embeddings import ENCODERS
from ..devices import CPU, Compute
from ..models import load_text2image
from ..models.config import OwnWeights
from ..quiet import quiet


@dataclass(frozen=True)
class Text:
    """Encoded prompts: what cross-attention reads, and, for SDXL, the pooled vector."""

    context: Tensor
    """(B, L, d)"""
    pooled: Tensor | None = None
    """(B, p)"""

    def rows(self, index: Sequence[int] | Tensor) -> "Text":
        """Choose rows."""
        return Text(self.context[index], None if self.pooled is None else self.pooled[index])

    def to(self, device: torch.device) -> "Text":
        """Move to a device."""
        return Text(self.context.to(device), None if self.pooled is None else self.pooled.to(device))


@dataclass(frozen=True)
class Noise:
    """The noise schedule trained with: abar (T,) float32, abar_t = alpha_t², and what the UNet predicts."""

    abar: Tensor
    prediction: str


def noise_schedule(pipe: Any, *, zero_snr: bool | None = None) -> Noise:
    """Read the schedule a model was trained with; zero_snr: rescale it to zero terminal SNR, or as the model says.

    Raises:
        ConfigError: zero terminal SNR is asked of a model that predicts the noise, which says nothing there.
    """
    given = {} if zero_snr is None else {"rescale_betas_zero_snr": zero_snr}
    scheduler = DDPMScheduler.from_config(pipe.scheduler.config, **given)
    prediction = scheduler.config.prediction_type
    if scheduler.config.rescale_betas_zero_snr and prediction == "epsilon":
        raise ConfigError(
            "rescale_betas_zero_snr needs a model that predicts v, this one predicts the noise; leave it out"
        )
    return Noise(scheduler.alphas_cumprod, prediction)


def use_schedule(pipe: Any, *, zero_snr: bool | None) -> None:
    """Let a pipeline sample with the schedule it is trained with; nothing changes where that is the model's own."""
    if zero_snr is not None and zero_snr != pipe.scheduler.config.get("rescale_betas_zero_snr", False):
        spacing = "trailing" if zero_snr else pipe.scheduler.config.get("timestep_spacing", "leading")
        settings = {"rescale_betas_zero_snr": zero_snr, "timestep_spacing": spacing}
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, **settings)


def open_base(source: str | Path, own: OwnWeights, *, compute: Compute = CPU) -> Any:
    """Load a base model as training sees it: its LoRAs are added into its weights. On the CPU, to be placed later.

    Raises:
        ConfigError, ModelError: as `load_text2image` does.
    """
    pipe = load_text2image(source, own=own, compute=compute.at_first())
    if own.loras:
        add_in(pipe)
    return pipe


def add_in(pipe: Any) -> None:
    """Add the adapters that are switched on into a pipeline's weights, and take them off."""
    with quiet():
        pipe.fuse_lora(components=[part for part in PARTS if getattr(getattr(pipe, part, None), "peft_config", None)])
        pipe.unload_lora_weights()


@contextmanager
def without_adapter(pipe: Any) -> Iterator[None]:
    """Switch the adapter off inside."""
    pipe.disable_lora()
    try:
        yield
    finally:
        pipe.enable_lora()


def scale_factor(pipe: Any) -> int:
    """Return how many pixels a latent cell covers in each direction."""
    return 2 ** (len(pipe.vae.config.block_out_channels) - 1)


def native_size(pipe: Any) -> tuple[int, int]:
    """Return the size (H, W) in pixels of the pictures a model paints unasked."""
    size, factor = pipe.unet.config.sample_size, scale_factor(pipe)
    height, width = (size, size) if isinstance(size, int) else size
    return height * factor, width * factor


def check_finite(pipe: Any) -> None:
    """Raise ModelError where a weight of the base model is not a finite number."""
    for part in ("unet", "text_encoder", "text_encoder_2", "vae"):
        module = getattr(pipe, part, None)
        for name, parameter in module.named_parameters() if module is not None else ():
            if not parameter.isfinite().all():
                raise ModelError(f"the base model's {part} holds values in {name} that are not finite; fetch it again")


def encode_prompts(pipe: Any, prompts: Sequence[str]) -> Text:
    """Encode prompts as the pipelines do: the last hidden states, or for SDXL the last but one of both encoders.

    Where the model replaces the empty prompt by zeros (SDXL), so does this.
    """
    if getattr(pipe, "text_encoder_2", None) is None:
        return Text(pipe.text_encoder(_ids(pipe, "tokenizer", prompts, pipe.text_encoder.device))[0])
    outputs = [
        getattr(pipe, encoder)(_ids(pipe, tokenizer, prompts, getattr(pipe, encoder).device), output_hidden_states=True)
        for encoder, tokenizer in ENCODERS
    ]
    context = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
    pooled = outputs[1][0]
    if pipe.config.get("force_zeros_for_empty_prompt") and "" in prompts:
        kept = torch.tensor([prompt != "" for prompt in prompts], device=context.device)
        return Text(context * kept[:, None, None], pooled * kept[:, None])
    return Text(context, pooled)


def _ids(pipe: Any, name: str, prompts: Sequence[str], device: torch.device) -> Tensor:
    """Tokenize prompts; a word of several vectors is spelt out as the pipelines do."""
    tokenizer = getattr(pipe, name)
    spelt = [pipe.maybe_convert_prompt(prompt, tokenizer) for prompt in prompts]
    ids = tokenizer(
        spelt, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    ).input_ids
    return ids.to(device)


def predict(unet: Any, x_t: Tensor, t: Tensor, text: Text, time_ids: Tensor | None) -> Tensor:
    """Run the UNet. x_t (B, C, h, w), t (B,); time_ids (B, 6) for SDXL: original size, corner, size trained at."""
    added = None if text.pooled is None else {"text_embeds": text.pooled, "time_ids": time_ids}
    return unet(x_t, t, encoder_hidden_states=text.context, added_cond_kwargs=added, return_dict=False)[0]
