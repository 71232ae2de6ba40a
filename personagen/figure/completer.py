"""The view completer: a try-on network that paints what a photo does not show of a figure, from its front."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from recsys.errors import ModelError

from ..devices import CPU, Compute
from ..embedded import EMBEDDED
from ..images import to_tensor
from ..models import load_tryon
from ..models.base import load_unet_lora
from ..quiet import quiet
from ..tryon.pipeline import TryOnPipeline

FILE = "model.safetensors"
"""The LoRA that the stage view writes."""

STEPS, SAMPLES = 1, 1
"""Denoising steps, and paintings that are averaged. One step gives the mean of what may be there, which is what light
and colour need; four paintings, or four steps, were no nearer to the truth."""


class Completer:
    """Paint views: `Completer(pipe)(front, guess, hidden)`.

    pipe: a `TryOnPipeline` whose UNet was trained on pairs of views. It stays as it is.
    """

    def __init__(self, pipe: Any, *, steps: int = STEPS, samples: int = SAMPLES) -> None:
        self.pipe = TryOnPipeline(
            pipe.vae, pipe.unet, pipe.scheduler, variant=pipe.config["variant"], prefill="garment",
            cross_attention=pipe.config["cross_attention"],
        )  # fmt: skip
        self.pipe.set_progress_bar_config(disable=True)
        self.size = (int(pipe.config["height"]), int(pipe.config["width"]))
        self.steps, self.samples = steps, samples

    @torch.no_grad()
    def __call__(
        self, front: Image.Image, guess: Image.Image, hidden: np.ndarray, generator: torch.Generator | None = None
    ) -> np.ndarray:
        """Return how a view changes, (H, W, 3) in [-1, 1], against the guess as the autoencoder gives it back.

        front, guess: the figure from the front and as it is seen, of `size`. hidden: what to paint, bool (H, W).
        """
        count = self.samples
        latents: Any = self.pipe(
            guess, [front] * count, hidden, guess=[guess.convert("RGBA")] * count, height=self.size[0],
            width=self.size[1], num_inference_steps=self.steps, guidance_scale=1.0, generator=generator,
            output_type="latent",
        ).images  # fmt: skip
        return (self._seen(latents).mean(0) - self._seen(self._latents(guess))[0]).permute(1, 2, 0).numpy()

    def _latents(self, picture: Image.Image) -> Tensor:
        vae = self.pipe.vae
        x = (to_tensor(picture) * 2 - 1).to(self.pipe._execution_device, vae.dtype)
        return (vae.encode(x).latent_dist.mode() - (vae.config.shift_factor or 0.0)) * vae.config.scaling_factor

    def _seen(self, latents: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) float32 in [0, 1] of scaled latents."""
        vae = self.pipe.vae
        plain = latents.to(vae.dtype) / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)
        return (vae.decode(plain).sample.float() / 2 + 0.5).clamp(0, 1).cpu()


def load_completer(
    source: str | Path = "embedded", *, tryon: str | Path = "embedded", compute: Compute = CPU
) -> Completer:
    """Load a view completer: the embedded one, or a folder of the stage view, laid over the try-on model it began from.

    compute: on which device and in which precision.

    Raises:
        ModelError: it is missing or damaged, or does not fit the try-on model.
    """
    folder = EMBEDDED["view"] if source == "embedded" else Path(source)
    if not (folder / FILE).is_file():
        raise ModelError(
            f"there is no view completer in {folder}; train it (personagen pretrain configs/pretrain/view.yaml), or "
            "name the folder `view` of that stage"
        )
    pipe = load_tryon(tryon, compute=compute.at_first())
    load_unet_lora(pipe.unet, folder / FILE)
    with quiet():
        pipe.unet.fuse_lora()
        pipe.unet.unload_lora()
    return Completer(compute.place(pipe))
