"""Virtual try-on: repaint a person inside a mask with a given garment, by spatial concatenation.

Source of the mechanism: CatVTON (arXiv 2407.15886); the default is the corrected variant of Re-CatVTON (arXiv
2511.18775): the garment half of the sample is the clean garment latent at every step, and only the person half is
denoised. Written from the papers' descriptions; no code of either is used.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DiffusionPipeline, SchedulerMixin, UNet2DConditionModel
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from torch import Tensor

from recsys.errors import ConfigError, DataError, ModelError

from .drape import drape
from .images import Placement, fit, picture_list, soft_inside, to_pil, to_tensor, unfit
from .masks import mask_list

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
    Raises ConfigError when the shapes do not belong together.
    """
    if noisy.shape != masked.shape or noisy.shape != garment.shape:
        raise ConfigError(
            f"noisy {tuple(noisy.shape)}, masked {tuple(masked.shape)} and garment {tuple(garment.shape)} "
            "must have one shape (B, C, h, w); encode them at the same size."
        )
    if mask.shape != (noisy.shape[0], 1, *noisy.shape[2:]):
        raise ConfigError(
            f"mask {tuple(mask.shape)} must be {(noisy.shape[0], 1, *noisy.shape[2:])}: "
            "one channel at the size of the latents."
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


class ZeroAttention:
    """Cross-attention that adds nothing: the block continues with h. For models trained here (no text)."""

    def __call__(self, attn, hidden_states: Tensor, encoder_hidden_states=None, attention_mask=None) -> Tensor:
        return torch.zeros_like(hidden_states)


class IdentityAttention:
    """Cross-attention that returns its input: the block continues with h + norm2(h), which published weights expect."""

    def __call__(self, attn, hidden_states: Tensor, encoder_hidden_states=None, attention_mask=None) -> Tensor:
        return hidden_states


CROSS_ATTENTION = {"zero": ZeroAttention, "identity": IdentityAttention}


def set_cross_attention(unet, kind: str) -> None:
    """Replace every cross-attention (`attn2`) of a UNet so that it can be called with encoder_hidden_states=None.

    kind: "zero" for models trained here, "identity" for weights published for CatVTON and Leffa. Self-attention is
    kept.
    Raises ConfigError for another kind.
    """
    if kind not in CROSS_ATTENTION:
        raise ConfigError(f"cross-attention {kind!r} is unknown; use one of {sorted(CROSS_ATTENTION)}.")
    for name, module in unet.named_modules():
        if name.rsplit(".", 1)[-1] == "attn2":
            module.set_processor(CROSS_ATTENTION[kind]())


def repaint_pictures(person: Tensor, result: Tensor, mask: Tensor, *, kernel: int) -> Tensor:
    """Put the result inside the mask and leave the person outside it exactly as given.

    person, result (B, 3, H, W); mask (B, 1, H, W), 0 or 1; kernel: odd width in pixels of the blurred edge, which lies
    inside the mask. Returns (B, 3, H, W).
    """
    weight = soft_inside(mask, kernel=kernel)
    return torch.where(weight > 0, person + weight * (result - person), person)


def spawn_generators(generator: torch.Generator | list[torch.Generator] | None, *, count: int) -> list[torch.Generator]:
    """Return one generator a picture, so that its noise does not depend on the batch it is made in.

    A single generator is asked for one seed a picture, in order: a batch equals its pictures made one after the other.
    A list is used as it is. Raises ConfigError when the list has another length than `count`.
    """
    if isinstance(generator, list):
        if len(generator) != count:
            raise ConfigError(f"{len(generator)} generators were given for {count} pictures; give one, or one each.")
        return generator
    device = generator.device if generator is not None else torch.device("cpu")
    seeds = torch.randint(2**62, (count,), generator=generator, device=device).tolist()
    return [torch.Generator(device=device).manual_seed(seed) for seed in seeds]


@dataclass(frozen=True)
class _Inputs:
    """Everything the steps need, at the model's size: pictures in [0, 1], mask 0/1, and how to get back."""

    photos: list[Image.Image]
    masks: list[np.ndarray]
    places: list[Placement]
    person: Tensor
    garment: Tensor
    mask: Tensor


class TryOnPipeline(DiffusionPipeline):
    """Dress a photographed person in a given garment: repaint inside a mask, leave everything else as it is.

    vae, unet (2C+1 input channels), scheduler: diffusers' own classes. variant: "corrected" (default) or "plain", as
    the weights were trained. cross_attention: "zero" for models trained here, "identity" for published CatVTON
    weights; it is set on the UNet. height, width: the size in pixels the model works at. prefill: what the UNet is
    shown inside the mask, "grey" as published, or the "garment" laid over it (`drape`). All five are saved with the
    pipeline.
    Raises ConfigError on an unknown variant, cross-attention or prefill, and ModelError when UNet and VAE do not fit
    together.
    """

    model_cpu_offload_seq = "vae->unet->vae"
    _callback_tensor_inputs = ["latents"]

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
    ) -> None:
        super().__init__()
        _check_variant(variant)
        if prefill not in PREFILLS:
            raise ConfigError(f"prefill {prefill!r} is unknown; use one of {PREFILLS}.")
        channels = vae.config["latent_channels"]
        if unet.config["in_channels"] != 2 * channels + 1 or unet.config["out_channels"] != channels:
            raise ModelError(
                f"A UNet of {unet.config['in_channels']} to {unet.config['out_channels']} channels does not suit a VAE "
                f"of {channels} channels; try-on needs {2 * channels + 1} and {channels}."
            )
        set_cross_attention(unet, cross_attention)
        self.register_modules(vae=vae, unet=unet, scheduler=scheduler)
        self.register_to_config(
            variant=variant, cross_attention=cross_attention, height=height, width=width, prefill=prefill
        )

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
        eta: float = 0.0,
        height: int | None = None,
        width: int | None = None,
        variant: str | None = None,
        repaint: bool = True,
        generator: torch.Generator | list[torch.Generator] | None = None,
        output_type: str = "pil",
        callback_on_step_end: Callable[..., dict] | None = None,
    ) -> ImagePipelineOutput:
        """Return one picture for each garment: `person` wearing it, at the size and aspect of the person's photo.

        person, garment: a PIL image, a uint8 array (H, W, 3), a float tensor (B, 3, H, W) in [0, 1], or lists;
        mask: a PIL image, a bool or uint8 array (H, W), a tensor (H, W) or (B, 1, H, W), or a list; >= 0.5 (128) is
        repainted. One person or mask serves several garments, and the reverse. Each photo is fitted to the model's
        size by padding and cropped back. guidance_scale 1 switches guidance off; eta 0 is DDIM, 1 adds noise as DDPM.
        repaint: outside the mask the photo's pixels come back exactly. output_type: "pil", "np" (H, W, 3) in [0, 1],
        "pt" (both need photos of one size), or "latent" (B, C, h, w).
        callback_on_step_end(pipeline, step, timestep, {"latents": latents}) may return replaced latents; what it
        raises stops the run.
        Raises ConfigError on settings, DataError on pictures and masks, ModelError when the model yields non-finite
        latents.
        """
        # 1. Check the settings
        variant = variant or str(self.config["variant"])
        size = (height or int(self.config["height"]), width or int(self.config["width"]))
        _check_variant(variant)
        self._check_settings(num_inference_steps, guidance_scale, eta, size, output_type)

        # 2. Fit photos, garments and masks to the model's size
        inputs = _prepare(person, garment, mask, size=size)

        # 3. Encode the masked person and the garment
        masked = self._encode(paint_out(inputs.person, inputs.mask))
        worn = self._encode(inputs.garment * 2 - 1)
        shown = masked
        if self.config["prefill"] == "garment":
            shown = self._encode(drape(inputs.person * 2 - 1, inputs.mask, inputs.garment * 2 - 1))
        cells = latent_mask(inputs.mask, size=(masked.shape[2], masked.shape[3])).to(masked)

        # 4. Step from noise, one generator a picture, to latents
        generators = spawn_generators(generator, count=len(masked))
        self.scheduler.set_timesteps(num_inference_steps, device=masked.device)
        latents = self._denoise(
            masked, shown, worn, cells, variant, guidance_scale, self._step_settings(eta, generators), generators,
            callback_on_step_end,
        )  # fmt: skip

        # 5. Decode, repaint and crop back
        if output_type == "latent":
            return ImagePipelineOutput(images=cast(Any, latents))
        pictures = self._decode(latents)
        results = [_finish(picture, inputs, i, repaint=repaint) for i, picture in enumerate(pictures)]

        # 6. Hand over in the type asked for
        return ImagePipelineOutput(images=cast(Any, _as_type(results, output_type)))

    def _denoise(
        self,
        masked: Tensor,
        shown: Tensor,
        worn: Tensor,
        cells: Tensor,
        variant: str,
        guidance_scale: float,
        step_settings: dict,
        generators: list[torch.Generator],
        callback: Callable[..., dict] | None,
    ) -> Tensor:
        """Run the scheduler's timesteps from noise; return the person half of the latents (B, C, h, w)."""
        halves = 2 if variant == "plain" else 1
        shape = (masked.shape[1], halves * masked.shape[2], masked.shape[3])
        latents = randn_tensor((len(masked), *shape), generator=generators, device=masked.device, dtype=masked.dtype)
        latents = latents * self.scheduler.init_noise_sigma
        for i, t in enumerate(self.scheduler.timesteps):
            sample = self.scheduler.scale_model_input(latents, t)
            output = self._predict(sample, t, masked, shown, worn, cells, guidance_scale)
            latents = self.scheduler.step(output, t, latents, **step_settings).prev_sample
            if callback is not None:
                latents = (callback(self, i, t, {"latents": latents}) or {}).pop("latents", latents)
        latents = latents[:, :, : masked.shape[2]]
        if not latents.isfinite().all():
            raise ModelError(f"The model gave non-finite values in {latents.dtype}; use float32 or sounder weights.")
        return latents

    def _predict(
        self,
        sample: Tensor,
        t: Tensor,
        masked: Tensor,
        shown: Tensor,
        worn: Tensor,
        cells: Tensor,
        guidance_scale: float,
    ) -> Tensor:
        """Run the UNet, guided: u + g (c - u). sample (B, C, h, w), or (B, C, 2h, w) if plain; returns its shape.

        masked: latents of the person without a garment, for u; shown: those for c, with the garment laid over or not.
        """
        rows = masked.shape[2]
        top, below = sample[:, :, :rows], sample[:, :, rows:] if sample.shape[2] > rows else None
        inputs = unet_input(top, shown, worn, cells, garment_sample=below)
        if guidance_scale != 1:
            inputs = torch.cat([unet_input(top, masked, torch.zeros_like(worn), cells, garment_sample=below), inputs])
        output = self.unet(inputs, t, encoder_hidden_states=None).sample[:, :, : sample.shape[2]]
        if guidance_scale == 1:
            return output
        without, given = output.chunk(2)
        return without + guidance_scale * (given - without)

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
        self, steps: int, guidance_scale: float, eta: float, size: tuple[int, int], output_type: str
    ) -> None:
        trained = self.scheduler.config.num_train_timesteps
        if not 1 <= steps <= trained:
            raise ConfigError(f"num_inference_steps {steps} must lie in 1..{trained}; 20 is a good start.")
        if not 1 <= guidance_scale <= 30:
            raise ConfigError(
                f"guidance_scale {guidance_scale} must lie in 1..30; 1 switches guidance off, 2.5 is usual."
            )
        if not 0 <= eta <= 1:
            raise ConfigError(f"eta {eta} must lie in 0..1; 0 is DDIM, 1 adds noise as DDPM.")
        step = self.vae_scale_factor * 2 ** (len(self.unet.config.block_out_channels) - 1)
        if min(size) < step or size[0] % self.vae_scale_factor or size[1] % self.vae_scale_factor:
            raise ConfigError(f"height, width {size} must be multiples of {self.vae_scale_factor} and at least {step}.")
        if output_type not in OUTPUT_TYPES:
            raise ConfigError(f"output_type {output_type!r} is unknown; use one of {OUTPUT_TYPES}.")


def _check_variant(variant: str) -> None:
    if variant not in VARIANTS:
        raise ConfigError(f"variant {variant!r} is unknown; use one of {VARIANTS}.")


def _prepare(person, garment, mask, *, size: tuple[int, int]) -> _Inputs:
    """Fit everything to `size`: the photo with its edge repeated, the garment on white, the mask's padding unmarked."""
    photos, garments, masks = picture_list(person), picture_list(garment), mask_list(mask)
    count = max(len(photos), len(garments), len(masks))
    if any(len(several) not in (1, count) for several in (photos, garments, masks)):
        raise DataError(
            f"{len(photos)} persons, {len(garments)} garments, {len(masks)} masks do not pair up; give 1 or {count}."
        )
    photos, masks = photos * (count // len(photos)), masks * (count // len(masks))
    garments = garments * (count // len(garments))
    for photo, marked in zip(photos, masks, strict=True):
        if marked.shape != (photo.height, photo.width):
            raise DataError(
                f"A mask of {marked.shape} is not of a photo of {photo.height, photo.width}; draw it on that photo."
            )
        if not marked.any():
            raise DataError("A mask marks nothing, so there is nothing to repaint; mark the old garment and the limbs.")
    fitted = [fit(photo, size=size, fill="edge") for photo in photos]
    small = [
        fit(Image.fromarray(marked).convert("L"), size=size, fill=0, resample=Image.Resampling.NEAREST)[0]
        for marked in masks
    ]
    cells = torch.stack([torch.from_numpy(np.asarray(m) >= 128) for m in small]).unsqueeze(1).float()
    worn = to_tensor([fit(picture, size=size)[0] for picture in garments])
    return _Inputs(
        photos, masks, [place for _, place in fitted], to_tensor([photo for photo, _ in fitted]), worn, cells
    )


def _finish(picture: Tensor, inputs: _Inputs, i: int, *, repaint: bool) -> Image.Image:
    """Crop one decoded picture (3, H, W) back to its photo's size and aspect, and repaint there, at full resolution."""
    result = unfit(to_pil(picture[None])[0], inputs.places[i])
    if not repaint:
        return result
    photo, mask = inputs.photos[i], torch.from_numpy(inputs.masks[i])[None, None].float()
    kernel = max(3, photo.height // 50) // 2 * 2 + 1
    return to_pil(repaint_pictures(to_tensor(photo), to_tensor(result), mask, kernel=kernel))[0]


def _as_type(images: list[Image.Image], output_type: str) -> list[Image.Image] | np.ndarray | Tensor:
    if output_type == "pil":
        return images
    pictures = to_tensor(images)
    return pictures if output_type == "pt" else pictures.permute(0, 2, 3, 1).numpy()
