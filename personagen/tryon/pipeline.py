"""Virtual try-on: repaint a person inside a mask with a given garment, by spatial concatenation.

Source of the mechanism: CatVTON (arXiv 2407.15886); the default is the corrected variant of Re-CatVTON (arXiv
2511.18775): the garment half of the sample is the clean garment latent at every step, and only the person half is
denoised. Written from the papers' descriptions; no code of either is used.
"""

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    SchedulerMixin,
    UNet2DConditionModel,
)
from diffusers.hooks.group_offloading import _is_group_offload_enabled
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from torch import Tensor
from transformers.image_processing_base import ImageProcessingMixin

from recsys.errors import ConfigError, ModelError

from ..warping.drape import drape
from .attention import set_cross_attention, size_conditions
from .fast import FastMode, GarmentMemory, extrapolate, plan_steps
from .pictures import Prepared, as_type, finish, prepare

VARIANTS = ("corrected", "plain")
PREFILLS = ("grey", "garment")
OUTPUT_TYPES = ("pil", "np", "pt", "latent")


def unet_input(
    noisy: Tensor, masked: Tensor, garment: Tensor, mask: Tensor, *, garment_sample: Tensor | None = None
) -> Tensor:
    """Lay person and garment latents out as the try-on UNet reads them: person on top, garment below.

    noisy (B, C, h, w): the person half of the sample; masked (B, C, h, w): latents of the person with the mask painted
    over; garment (B, C, h, w): clean garment latents, zeros for "no garment"; mask (B, 1, h, w): 1 = repaint.
    garment_sample (B, C, h, w): the garment half of the sample; left out, it is `garment` itself (the corrected
    variant).
    Returns (B, 2C+1, 2h, w), channels [sample | mask | condition] as in Stable Diffusion 1.5 inpainting.

    Raises:
        ConfigError: the shapes do not belong together.
    """
    if noisy.shape != masked.shape or noisy.shape != garment.shape:
        raise ConfigError(
            f"noisy {tuple(noisy.shape)}, masked {tuple(masked.shape)} and garment {tuple(garment.shape)} "
            "must have one shape (B, C, h, w); encode them at the same size"
        )
    if mask.shape != (noisy.shape[0], 1, *noisy.shape[2:]):
        raise ConfigError(
            f"mask {tuple(mask.shape)} must be {(noisy.shape[0], 1, *noisy.shape[2:])}: "
            "one channel at the size of the latents"
        )
    below = garment if garment_sample is None else garment_sample
    sample = torch.cat([noisy, below], dim=2)
    condition = torch.cat([masked, garment], dim=2)
    repaint = torch.cat([mask, torch.zeros_like(mask)], dim=2)
    return torch.cat([sample, repaint, condition], dim=1)


def paint_out(person: Tensor, mask: Tensor) -> Tensor:
    """Scale the person (B, 3, H, W) from [0, 1] to [-1, 1] and set it to zero where the mask (B, 1, H, W) is 1."""
    return (person * 2 - 1) * (mask < 0.5)


def latent_mask(mask: Tensor, *, size: tuple[int, int]) -> Tensor:
    """Resize a 0/1 mask (B, 1, H, W) to the latents' size (h, w) by the nearest pixel, in training as in sampling."""
    return F.interpolate(mask, size=size, mode="nearest")


def spawn_generators(generator: torch.Generator | list[torch.Generator] | None, *, count: int) -> list[torch.Generator]:
    """Return one generator a picture, so that its noise does not depend on the batch it is made in.

    A single generator is asked for one seed a picture, in order: a batch equals its pictures made one after the other.
    A list is used as it is.

    Raises:
        ConfigError: the list has another length than `count.
    """
    if isinstance(generator, list):
        if len(generator) != count:
            raise ConfigError(f"{len(generator)} generators were given for {count} pictures; give one, or one each")
        return generator
    device = generator.device if generator is not None else torch.device("cpu")
    seeds = torch.randint(2**62, (count,), generator=generator, device=device).tolist()
    return [torch.Generator(device=device).manual_seed(seed) for seed in seeds]


@dataclass(frozen=True)
class _Known:
    """What the UNet is told in every step, latents (B, C, h, w) and cells (B, 1, h, w).

    masked: the person without the masked part, for unguided rows; shown: the same with the garment laid over, or not;
    worn: the garment; cells: the mask.
    """

    masked: Tensor
    shown: Tensor
    worn: Tensor
    cells: Tensor


class TryOnPipeline(DiffusionPipeline):
    """Dress a photographed person in a given garment: repaint inside a mask, leave everything else as it is.

    vae, unet (2C+1 input channels), scheduler: diffusers' own classes. safety_checker, feature_extractor: Stable
    Diffusion's own, or none. variant: "corrected" (default) or "plain", as the weights were trained. cross_attention:
    "zero" for models trained here, "identity" for published CatVTON weights; it is set on the UNet. height, width: the
    size in pixels the model works at. prefill: what the UNet is shown inside the mask, "grey" as published, or the
    "garment" laid over it (`drape`). eta: noise added in each step, 0 DDIM to 1 DDPM. All six are saved with the
    pipeline.

    Raises:
        ConfigError: an unknown variant, cross-attention or prefill.
        ModelError: UNet and VAE do not fit together.
    """

    model_cpu_offload_seq = "vae->unet->vae"
    _callback_tensor_inputs = ["latents"]
    _optional_components = ["safety_checker", "feature_extractor"]
    _exclude_from_cpu_offload = ["safety_checker"]

    def __init__(
        self,
        vae: AutoencoderKL,
        unet: UNet2DConditionModel,
        scheduler: SchedulerMixin,
        variant: str = "corrected",
        cross_attention: str = "zero",
        height: int = 256,
        width: int = 192,
        prefill: str = "grey",
        eta: float = 0.0,
        safety_checker: StableDiffusionSafetyChecker | None = None,
        feature_extractor: ImageProcessingMixin | None = None,
    ) -> None:
        super().__init__()
        _check_variant(variant)
        if prefill not in PREFILLS:
            raise ConfigError(f"prefill {prefill!r} is unknown; use one of {PREFILLS}")
        channels = vae.config["latent_channels"]
        if unet.config["in_channels"] != 2 * channels + 1 or unet.config["out_channels"] != channels:
            raise ModelError(
                f"a UNet of {unet.config['in_channels']} to {unet.config['out_channels']} channels does not suit a VAE "
                f"of {channels} channels; try-on needs {2 * channels + 1} and {channels}"
            )
        set_cross_attention(unet, cross_attention)
        self.register_modules(
            vae=vae, unet=unet, scheduler=scheduler, safety_checker=safety_checker, feature_extractor=feature_extractor
        )
        self.register_to_config(
            variant=variant, cross_attention=cross_attention, height=height, width=width, prefill=prefill, eta=eta
        )

    def set_attention_slice(self, slice_size: Any) -> None:
        """Slice self-attention as diffusers does, and keep the cross-attention that the weights expect."""
        super().set_attention_slice(slice_size)
        set_cross_attention(self.unet, str(self.config["cross_attention"]))

    @property
    def vae_scale_factor(self) -> int:
        """Pixels a latent cell covers in each direction."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @torch.no_grad()
    def __call__(
        self,
        person,
        garment,
        mask,
        *,
        num_inference_steps: int = 20,
        guidance_scale: float = 2.5,
        eta: float | None = None,
        height: int | None = None,
        width: int | None = None,
        variant: str | None = None,
        fast: FastMode | None = None,
        zoom: bool = False,
        repaint: bool = True,
        guess=None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        output_type: str = "pil",
        callback_on_step_end: Callable[..., dict] | None = None,
    ) -> ImagePipelineOutput:
        """Return one picture for each garment: `person` wearing it, at the size and aspect of the person's photo.

        person, garment: a PIL image, a uint8 array (H, W, 3), a float tensor (B, 3, H, W) in [0, 1], or lists;
        mask: a PIL image, a bool or uint8 array (H, W), a tensor (H, W) or (B, 1, H, W), or a list; >= 0.5 (128) is
        repainted. One person or mask serves several garments, and the reverse. Each photo is fitted to the model's
        size by padding and cropped back. guidance_scale 1 switches guidance off; eta 0 is DDIM, 1 adds noise as DDPM
        (DDIM scheduler only; left out, the pipeline's own). fast: leaves work out (`FastMode`; its refresh above 1 is
        for the corrected variant). zoom: work on the surroundings of the mask, where the person is small in the photo.
        repaint: outside the mask the photo's pixels come back exactly. guess: photos of the same sizes with the garment
        laid on (PIL, RGBA, of `guess.first_guess`), which a model with prefill "garment" is shown; light and shade on
        the garment then come from the model's picture and everything else from the guess (`compose`).
        output_type: "pil", "np" (H, W, 3) in [0, 1], "pt" (both need photos of one size), or "latent" (B, C, h, w).
        callback_on_step_end(pipeline, step, timestep, {"latents": latents}) may return replaced latents; what it
        raises stops the run.

        Raises:
            ConfigError: settings.
            DataError: pictures and masks.
            ModelError: the model yields non-finite latents or its safety checker refuses a picture.
        """
        # 1. Check the settings
        variant = variant or str(self.config["variant"])
        size = (height or int(self.config["height"]), width or int(self.config["width"]))
        _check_variant(variant)
        self._check_settings(num_inference_steps, guidance_scale, eta, size, output_type)
        self._check_fast(fast, variant, size)

        # 2. Fit photos, garments and masks to the model's size
        inputs = prepare(person, garment, mask, size=size, zoom=zoom, guess=guess)

        # 3. Encode the masked person and the garment
        known = self._encode_all(inputs)

        # 4. Step from noise, one generator a picture, to latents
        generators = spawn_generators(generator, count=len(known.masked))
        self.scheduler.set_timesteps(num_inference_steps, device=known.masked.device)
        settings = self._step_settings(float(self.config["eta"]) if eta is None else eta, generators)
        latents = self._start(known, variant, generators)
        latents = self._denoise(latents, known, guidance_scale, fast, settings, callback_on_step_end)

        # 5. Decode, repaint and crop back
        if output_type == "latent":
            self.maybe_free_model_hooks()
            return ImagePipelineOutput(images=cast(Any, latents))
        pictures = self._decode(latents)
        self.maybe_free_model_hooks()
        results = [finish(picture, inputs, i, repaint=repaint) for i, picture in enumerate(pictures)]

        # 6. Hand over in the type asked for
        self._check_safety(results)
        return ImagePipelineOutput(images=cast(Any, as_type(results, output_type)))

    def _encode_all(self, inputs: Prepared) -> _Known:
        masked = self._encode(paint_out(inputs.person, inputs.mask))
        worn = self._encode(inputs.garment * 2 - 1)
        shown = masked
        if self.config["prefill"] == "garment":
            shown = self._encode(_shown(inputs))
        cells = latent_mask(inputs.mask, size=(masked.shape[2], masked.shape[3])).to(masked)
        return _Known(masked, shown, worn, cells)

    def _start(self, known: _Known, variant: str, generators: list[torch.Generator]) -> Tensor:
        """Draw the noise to step from: the person half (B, C, h, w), or both halves (B, C, 2h, w) if plain."""
        count, channels, rows, columns = known.masked.shape
        shape = (count, channels, (2 if variant == "plain" else 1) * rows, columns)
        like = known.masked
        return randn_tensor(shape, generator=generators, device=like.device, dtype=like.dtype) * float(
            self.scheduler.init_noise_sigma
        )

    def _denoise(
        self,
        latents: Tensor,
        known: _Known,
        guidance_scale: float,
        fast: FastMode | None,
        step_settings: dict,
        callback: Callable[..., dict] | None,
    ) -> Tensor:
        """Run the scheduler's timesteps from noise; return the person half of the latents (B, C, h, w)."""
        plan = plan_steps(len(self.scheduler.timesteps), fast, guided=guidance_scale != 1)
        leads: list[tuple[int, Tensor]] = []  # of what is guided over what is not, in the last two such steps
        with GarmentMemory(self.unet) if any(step.reuse for step in plan) else nullcontext() as memory:
            for i, (t, step) in enumerate(zip(self.scheduler.timesteps, plan, strict=True)):
                sample = self.scheduler.scale_model_input(latents, t)
                if memory is not None:
                    memory.mode = "reuse" if step.reuse else "record"
                output, without = self._predict(sample, t, known, both=step.guided, alone=step.reuse)
                if without is not None:
                    leads = [*leads[-1:], (i, output - without)]
                if step.guided or step.led:
                    output = output + (guidance_scale - 1) * extrapolate(leads, i)
                latents = self.scheduler.step(output, t, latents, **step_settings).prev_sample
                if callback is not None:
                    latents = (callback(self, i, t, {"latents": latents}) or {}).pop("latents", latents)
        latents = latents[:, :, : known.masked.shape[2]]
        if not latents.isfinite().all():
            raise ModelError(f"the model gave non-finite values in {latents.dtype}; use float32 or sounder weights")
        return latents

    def _predict(
        self, sample: Tensor, t: Tensor, known: _Known, *, both: bool, alone: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Run the UNet with the garment and, for both, without. sample (B, C, h, w), or (B, C, 2h, w) if plain.

        alone: give the UNet the person half only (within `GarmentMemory`). Returns tensors of the sample's shape.
        """
        rows, cells = known.masked.shape[2], known.cells
        top, below = sample[:, :, :rows], sample[:, :, rows:] if sample.shape[2] > rows else None
        inputs = unet_input(top, known.shown, known.worn, cells, garment_sample=below)
        if both:
            nothing = torch.zeros_like(known.worn)
            inputs = torch.cat([unet_input(top, known.masked, nothing, cells, garment_sample=below), inputs])
        sizes = size_conditions(self.unet, inputs, cell=self.vae_scale_factor)
        if alone:
            inputs = inputs[:, :, :rows]
        output = self.unet(inputs, t, encoder_hidden_states=None, added_cond_kwargs=sizes).sample
        output = output[:, :, : sample.shape[2]]
        return (output[len(sample) :], output[: len(sample)]) if both else (output, None)

    def _encode(self, pictures: Tensor) -> Tensor:
        """Encode pictures (B, 3, H, W) in [-1, 1] to scaled latents (B, C, h, w), the mode of the posterior."""
        latents = self.vae.encode(pictures.to(self._execution_device, self.vae.dtype)).latent_dist.mode()
        shift = self.vae.config.shift_factor or 0.0
        return ((latents - shift) * self.vae.config.scaling_factor).to(self.unet.dtype)

    def _decode(self, latents: Tensor) -> Tensor:
        """Decode scaled latents to pictures (B, 3, H, W) float32 in [0, 1] on the CPU."""
        plain = latents.to(self.vae.dtype) / self.vae.config.scaling_factor + (self.vae.config.shift_factor or 0.0)
        return (self.vae.decode(plain).sample.float() / 2 + 0.5).clamp(0, 1).cpu()

    def _step_settings(self, eta: float, generators: list[torch.Generator]) -> dict:
        """What this scheduler's step accepts of eta and generator; schedulers differ."""
        known = inspect.signature(self.scheduler.step).parameters
        return {name: value for name, value in (("eta", eta), ("generator", generators)) if name in known}

    def _check_settings(
        self, steps: int, guidance_scale: float, eta: float | None, size: tuple[int, int], output_type: str
    ) -> None:
        trained = self.scheduler.config.num_train_timesteps
        if not 1 <= steps <= trained:
            raise ConfigError(f"num_inference_steps {steps} must lie in 1..{trained}; 20 is a good start")
        if not 1 <= guidance_scale <= 30:
            raise ConfigError(
                f"guidance_scale {guidance_scale} must lie in 1..30; 1 switches guidance off, 2.5 is usual"
            )
        if eta is not None and not 0 <= eta <= 1:
            raise ConfigError(f"eta {eta} must lie in 0..1; 0 is DDIM, 1 adds noise as DDPM")
        if eta and "eta" not in inspect.signature(self.scheduler.step).parameters:
            raise ConfigError(
                f"eta {eta} is not possible with {type(self.scheduler).__name__}; use DDIM, or leave it out"
            )
        step = self._coarsest
        if min(size) < step or size[0] % self.vae_scale_factor or size[1] % self.vae_scale_factor:
            raise ConfigError(f"height, width {size} must be multiples of {self.vae_scale_factor} and at least {step}")
        if output_type not in OUTPUT_TYPES:
            raise ConfigError(f"output_type {output_type!r} is unknown; use one of {OUTPUT_TYPES}")

    @property
    def _coarsest(self) -> int:
        """Pixels that a cell of the UNet's coarsest level covers."""
        return self.vae_scale_factor * 2 ** (len(self.unet.config.block_out_channels) - 1)

    def _check_fast(self, fast: FastMode | None, variant: str, size: tuple[int, int]) -> None:
        if fast is None or fast.refresh == 1:
            return
        if self.unet.device.type == "meta" or _is_group_offload_enabled(self.unet):
            raise ConfigError(f"refresh {fast.refresh} needs the UNet whole on its device; give 1, or offload model")
        if variant == "plain":
            raise ConfigError(f"refresh {fast.refresh} is for the corrected variant; give 1 with the plain one")
        if size[0] % self._coarsest:
            raise ConfigError(
                f"height {size[0]} must be a multiple of {self._coarsest} for refresh {fast.refresh}; or give 1"
            )

    def _check_safety(self, results: list[Image.Image]) -> None:
        """Let the base model's safety checker, where there is one, look at the finished pictures."""
        if self.safety_checker is None or self.feature_extractor is None:
            return
        seen = self.feature_extractor(results, return_tensors="pt").pixel_values
        device = next(self.safety_checker.parameters()).device
        arrays = [np.asarray(picture) / 255 for picture in results]
        flagged = self.safety_checker(images=arrays, clip_input=seen.to(device, self.safety_checker.dtype))[1]
        if any(flagged):
            raise ModelError(f"the safety checker refused picture {flagged.index(True)}; use other pictures")


def _shown(inputs: Prepared) -> Tensor:
    """The photos with the guess, or the garment roughly laid, inside the mask: (B, 3, h, w) in [-1, 1]."""
    if inputs.guess is None:
        return drape(inputs.person * 2 - 1, inputs.mask, inputs.garment * 2 - 1)
    return torch.where(inputs.mask >= 0.5, inputs.guess, inputs.person) * 2 - 1


def _check_variant(variant: str) -> None:
    if variant not in VARIANTS:
        raise ConfigError(f"variant {variant!r} is unknown; use one of {VARIANTS}")
