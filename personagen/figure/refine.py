"""Paint over what the photo does not show of a figure, by a text-to-image model and words.

From behind and from the sides in turn, a view is rendered, noised and denoised with the words (SDEdit, Meng et al.,
ICLR 2022, arXiv 2108.01073). Pixels that the photo or an earlier view shows are put back at each step; the change goes
back to the texture, weighed by how straight it is seen (keep, refine, generate: TEXTure, Richardson et al., SIGGRAPH
2023, arXiv 2302.01721). With a model that has learnt a person and a garment this is the personalised prior of DreamVTON
(Xie et al., ACM MM 2024, arXiv 2407.16511). Its score distillation is in `distil`.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from recsys.errors import check_range

from ..images import to_tensor
from ..subject.base import native_size
from .mesh import Figure
from .raster import shrunk
from .texels import FRONT, SHARP, STRAIGHT, Look, at, changed, lab_moved, look, seen_straight, spread, unseen

VIEWS = {180: "seen from behind", 135: "seen from behind", -135: "seen from behind", 90: "seen from the side",
         -90: "seen from the side"}  # fmt: skip
"""Azimuths in degrees in their order, and what is said of each after the words."""
LEAST = 0.02
"""Share of a view's figure from which it is worth a painting."""
MOVED = 6.0
"""Most by which a garment's mean colour may move, in Lab units; a change beyond it is not taken."""


@dataclass(frozen=True)
class Refining:
    """How it is painted: the words, how far back to noise in (0, 1], denoising steps in all, and guidance.

    control: what a ControlNet is shown of the figure's shape, where there is one; control_scale: how strong it is.
    """

    prompt: str
    strength: float = 0.45
    steps: int = 25
    guidance: float = 7.5
    negative_prompt: str = ""
    control: Literal["depth", "normal"] = "depth"
    control_scale: float = 1.0

    def __post_init__(self) -> None:
        """Check the ranges. ConfigError."""
        check_range(strength=(self.strength, 0.05, 1.0), steps=(self.steps, 1, 1000), guidance=(self.guidance, 1, 30))


def refine(
    figure: Figure,
    painter: Any,
    asked: Refining,
    *,
    controlnet: Any = None,
    generator: torch.Generator | None = None,
    tell: Callable[[str], None] = lambda stage: None,
) -> tuple[Figure, str | None]:
    """Return the figure with what the photo does not show painted anew, and a note where the change was not taken.

    painter: a Stable Diffusion pipeline (1.x, 2.x or XL), with subjects on it or without. controlnet: diffusers'
    `ControlNetModel` of its family, for `asked.control`. tell: hears of each view.
    """
    paint = Repainter(painter, asked, generator, controlnet)
    kept = seen_straight(figure, look(figure, 0, FRONT))
    done, touched = figure, np.zeros(kept.shape, bool)
    for azimuth, words in VIEWS.items():
        found = look(done, azimuth, paint.size)
        free = unseen(at(kept, found.view.uv)) * (found.cosine > STRAIGHT)
        if free.sum() < LEAST * (found.view.layer >= 0).sum():
            continue
        tell(f"view {azimuth}")
        change = paint(found, free, words)
        done, new = _carried(done, found, free, change, kept)
        kept, touched = np.maximum(kept, new), touched | (new > 0)
    moved = colour_moved(figure, done, sorted(VIEWS), paint.size)
    report = {**figure.report, "refined": float(touched.mean()), "colour moved": moved}
    if moved > MOVED:
        note = (
            f"what was painted moves a garment's colour by {moved:.0f} (at most {MOVED:.0f} are taken): it is left out"
        )
        return replace(figure, report=report), note
    return replace(done, report=report), None


class Repainter:
    """Repaint part of a view; the change is against the picture as the autoencoder gives it back, so that detail which
    this loses is not lost in the texture."""

    def __init__(self, painter: Any, asked: Refining, generator: torch.Generator | None, controlnet: Any) -> None:
        import diffusers

        unet, cells = painter.unet, painter.unet.config.sample_size
        if not isinstance(cells, int):  # diffusers compares it with a number
            unet = copy.copy(unet)
            unet.register_to_config(sample_size=max(cells))
        parts = {**painter.components, "unet": unet}
        xl = "text_encoder_2" in parts
        if controlnet is not None:
            parts["controlnet"] = controlnet
        control = "" if controlnet is None else "ControlNet"
        kind = getattr(diffusers, f"StableDiffusion{'XL' if xl else ''}{control}Img2ImgPipeline")
        self.pipe: Any = kind(**parts, **({"add_watermarker": False} if xl else {"requires_safety_checker": False}))
        self.pipe.set_progress_bar_config(disable=True)
        self.size = native_size(painter)
        self.asked, self.generator = asked, generator

    @torch.no_grad()
    def __call__(self, found: Look, free: np.ndarray, words: str, picture: Image.Image | None = None) -> np.ndarray:
        """Return the change (H, W, 3) of a view, or of another picture of it, where it is free (2H, 2W)."""
        asked, vae, picture = self.asked, self.pipe.vae, picture or found.view.picture
        x = to_tensor(picture).to(vae.device, vae.dtype) * 2 - 1
        z = vae.encode(x).latent_dist.mode()
        shape = {}
        if "controlnet" in self.pipe.components:
            hint = found.depth() if asked.control == "depth" else found.normal()
            shape = {"control_image": hint, "controlnet_conditioning_scale": asked.control_scale}
        painted = self.pipe(
            f"{asked.prompt}, {words}", image=picture, strength=asked.strength, num_inference_steps=asked.steps,
            guidance_scale=asked.guidance, negative_prompt=asked.negative_prompt, generator=self.generator,
            output_type="np", callback_on_step_end=self._put_back(z * vae.config.scaling_factor, free), **shape,
        ).images[0]  # fmt: skip
        back = vae.decode(z).sample[0].float().cpu()
        return painted - (back / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()

    def _put_back(self, z: Tensor, free: np.ndarray) -> Callable[..., dict]:
        """What puts the known latents z back after each step, at its noise, where nothing is free (2H, 2W)."""
        mask = F.adaptive_max_pool2d(torch.from_numpy(free)[None, None].float(), z.shape[2:]).to(z)
        noise = torch.randn(z.shape, generator=self.generator, dtype=torch.float32).to(z)

        def step(pipe: Any, index: int, timestep: Any, state: dict) -> dict:
            times = pipe.scheduler.timesteps[-pipe.num_timesteps :]
            known = z
            if index + 1 < len(times):
                known = pipe.scheduler.add_noise(z, noise, times[index + 1 : index + 2])
            return {"latents": torch.where(mask > 0, state["latents"], known)}

        return step


def _carried(
    figure: Figure, found: Look, free: np.ndarray, change: np.ndarray, kept: np.ndarray
) -> tuple[Figure, np.ndarray]:
    """The figure with a view's change (H, W, 3) in its texture, and how straight changed texels were seen (h, w)."""
    some = free > 0
    weights = (free * found.cosine**SHARP)[some]
    values = np.concatenate([change.repeat(2, 0).repeat(2, 1)[some], found.cosine[some][:, None]], 1)
    mean = spread(found.view.uv[some], weights, values, kept.shape)
    share = (mean[..., -1] / 0.02).clip(0, 1) * unseen(kept)
    texture = changed(figure.texture, mean[..., :3] * share[..., None])
    return replace(figure, texture=texture), np.where(share > 0.5, mean[..., 3], 0)


def colour_moved(before: Figure, after: Figure, views: Sequence[float], size: tuple[int, int]) -> float:
    """Tell by how much the mean Lab colour of a garment has moved in views, at most; 0 where there is no garment."""
    garments = [i for i, layer in enumerate(before.layers) if layer.garment]
    moved = [0.0]
    for azimuth in views:
        one, other = look(before, azimuth, size).view, look(after, azimuth, size).view
        for garment in garments:
            moved.append(lab_moved(one.image, other.image, shrunk((one.layer == garment).astype(np.float32)) > 0.5))
    return max(moved)
