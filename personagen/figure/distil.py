"""Score distillation: move the texture that no photo shows to where a text-to-image model finds views more likely.

Score distillation (DreamFusion, Poole et al., ICLR 2023, arXiv 2209.14988, eq. 3): for a view x with latents z, noise
to level t, and the network's guess z_hat of z under the words,

    gradient of z = sigma_t alpha_t (z - z_hat),   the paper's w(t) = sigma_t² with its eps_hat - eps written in z.

Its reduced form subtracts the same of a reference, here the view as it was with its own words and the same noise (delta
denoising score, Hertz et al., ICCV 2023, arXiv 2304.07090, eq. 3): what does not depend on the words cancels, and so
does most of the variance. Only a coarse change is learnt (geometry and what the photo shows stay: the template of
DreamVTON, Xie et al., ACM MM 2024, arXiv 2407.16511), so that a small model cannot spoil the cloth's detail.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recsys.errors import ConfigError, check_range

from ..subject.base import native_size
from ..training.objective import add_noise, predicted_x0
from .mesh import Figure
from .raster import look_up, shrunk
from .refine import VIEWS
from .texels import FRONT, at, changed, look, seen_straight, unseen

COARSE = 64
"""Pixels of the longer side of the change that is learnt."""
LEVELS = (0.02, 0.6)
"""Shares of the schedule between which noise is drawn: high levels change what somebody wears."""


@dataclass(frozen=True)
class Distilling:
    """What is distilled: the words, those of the figure as it is, steps, rate, guidance, and how far from the start.

    reduced: subtract the score of the figure as it was. stay: weight of the squared change.
    """

    prompt: str
    reference: str = "a person"
    steps: int = 150
    rate: float = 0.01
    guidance: float = 7.5
    reduced: bool = True
    stay: float = 1.0

    def __post_init__(self) -> None:
        """Check the ranges. ConfigError."""
        check_range(steps=(self.steps, 1, 10_000), guidance=(self.guidance, 1, 100), rate=(self.rate, 1e-6, 1))


def distil(
    figure: Figure,
    painter: Any,
    asked: Distilling,
    *,
    generator: torch.Generator | None = None,
    tell: Callable[[str], None] = lambda stage: None,
) -> Figure:
    """Return the figure with a coarse change of the texture that no photo shows.

    painter: a Stable Diffusion pipeline 1.x or 2.x, with subjects on it or without. tell: hears of every tenth step.

    Raises:
        ConfigError: the painter is an SDXL.
    """
    score = Score.of(painter, asked)
    kept = seen_straight(figure, look(figure, 0, FRONT))
    views = [_View(figure, azimuth, score, kept) for azimuth in VIEWS]
    shape = (figure.texture.height, figure.texture.width)
    coarse = [max(2, round(side * COARSE / max(shape))) for side in shape]
    change = torch.zeros(3, *coarse, requires_grad=True)
    optimizer = torch.optim.Adam([change], lr=asked.rate)
    for step in range(asked.steps):
        if step % 10 == 0:
            tell(f"distilling {step} of {asked.steps}")
        view = views[int(torch.randint(len(views), (1,), generator=generator))]
        loss = score(view.z(change), view.start, generator) + asked.stay * change.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fine = F.interpolate(change.detach()[None], size=shape, mode="bilinear", align_corners=False)[0]
    free = unseen(kept)[..., None]
    return replace(figure, texture=changed(figure.texture, fine.permute(1, 2, 0).numpy() * free))


class Score:
    """The distilled score of latents, as a loss whose gradient it is: `score(z, start, generator)`."""

    def __init__(self, painter: Any, asked: Distilling) -> None:
        self.pipe, self.asked = painter, asked
        self.device, self.dtype = painter.unet.device, painter.unet.dtype
        self.size = native_size(painter)
        painter.vae.requires_grad_(False)
        with torch.no_grad():
            self.words, self.none = self._read(asked.prompt)
            self.reference = self._read(asked.reference)[0]

    @classmethod
    def of(cls, painter: Any, asked: Distilling) -> "Score":
        """The score of a painter. ConfigError where it is an SDXL."""
        if "text_encoder_2" in painter.components:
            raise ConfigError("score distillation takes a Stable Diffusion 1.x or 2.x; refine with this one instead")
        return cls(painter, asked)

    def _read(self, words: str) -> tuple[Tensor, Tensor]:
        return self.pipe.encode_prompt(words, self.device, 1, True)

    def encode(self, x: Tensor) -> Tensor:
        """Latents of a picture (3, H, W) in [0, 1]."""
        x = (x[None] * 2 - 1).to(self.device, self.dtype)
        return self.pipe.vae.encode(x).latent_dist.mode() * self.pipe.vae.config.scaling_factor

    def __call__(self, z: Tensor, start: Tensor, generator: torch.Generator | None) -> Tensor:
        """A loss of z whose gradient is the score; start: latents of the view as it was."""
        known = self.pipe.scheduler.alphas_cumprod
        first, last = (int(share * len(known)) for share in LEVELS)
        t = int(torch.randint(first, max(first + 1, last), (1,), generator=generator))
        abar = known[t : t + 1].to(z)
        noise = torch.randn(z.shape, generator=generator).to(z)
        with torch.no_grad():
            push = z - self._guess(z, noise, abar, t, self.words)
            if self.asked.reduced:
                push = push - (start - self._guess(start, noise, abar, t, self.reference))
            push = push * (abar * (1 - abar)).sqrt()
        return (push * z).sum()

    def _guess(self, z: Tensor, noise: Tensor, abar: Tensor, t: int, words: Tensor) -> Tensor:
        """What the network takes z to be when it sees it at level t, with guidance."""
        noisy = add_noise(z, noise, abar)
        out = self.pipe.unet(torch.cat([noisy, noisy]), t, torch.cat([self.none, words])).sample
        plain, told = out.chunk(2)
        output = plain + self.asked.guidance * (told - plain)
        return predicted_x0(output, noisy, abar, prediction=self.pipe.scheduler.config.prediction_type)


class _View:
    """A view whose latents follow the change of the texture."""

    def __init__(self, figure: Figure, azimuth: float, score: Score, kept: np.ndarray) -> None:
        found = look(figure, azimuth, score.size)
        free = unseen(at(kept, found.view.uv)) * (found.view.layer >= 0)
        self.score = score
        self.picture = torch.from_numpy(found.view.image).permute(2, 0, 1).float()
        self.free = torch.from_numpy(shrunk(free.astype(np.float32)))
        self.uv = torch.from_numpy(found.view.uv[::2, ::2])
        with torch.no_grad():
            self.start = score.encode(self.picture)

    def z(self, change: Tensor) -> Tensor:
        """Latents of the view with a change (3, h, w) of the texture."""
        return self.score.encode(self.picture + look_up(change, self.uv).permute(2, 0, 1) * self.free)
