"""Paint normal maps of what the photo does not show of a figure, and move its surface to them.

The prior of DreamVTON (Xie et al., ACM MM 2024, arXiv 2407.16511) is asked for "normal map of …": in the manner of
`refine`, a view's normals n are noised and denoised with the words, and what the photo shows is put back at each step.
With p the painted colours and q those of n as the autoencoder gives them back, n + 2 (p - q) is wanted, made unit, so
that a prior which agrees moves nothing. Only what a prior can know is taken: slopes between two wavelengths (see
`geometry`), neither how deep a body is as a whole nor grain; and nothing where no surface has such normals.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from .geometry import Fit, fit_normals
from .mesh import Figure
from .refine import LEAST, VIEWS, Refining, Repainter
from .shell import Goal, Shell, Sight
from .texels import STRAIGHT, Look, colour_axes, look, normal_map, unseen

WORDS = "normal map of "
"""What is said before the words."""
EXPLAINED = 0.15
"""Least share of the squared change of normals that the surface must be able to follow: noise is no surface. On people
of the atelier it follows .28 of a change to the true normals, .09 of one to patches of noise, .015 of noise a pixel."""


def reshape(
    figure: Figure,
    painter: Any,
    asked: Refining,
    *,
    controlnet: Any = None,
    generator: torch.Generator | None = None,
    tell: Callable[[str], None] = lambda stage: None,
) -> tuple[Figure, str | None]:
    """Return the figure, what the photo does not show moved to painted normals, and a note where they were not taken.

    Colours stay. Arguments as those of `refine`; asked.prompt says what the person is, not "normal map".
    """
    paint = Repainter(painter, replace(asked, prompt=WORDS + asked.prompt), generator, controlnet)
    shell, goals = Shell.of(figure), []
    for side in sides_unseen(figure, shell, paint.size):
        tell(f"shape {side.azimuth}")
        goals.append(side.wanted(paint(side.found, side.free, VIEWS[side.azimuth], side.picture)))
    return taken(figure, fit_normals(figure, goals)) if goals else (figure, None)


def taken(figure: Figure, fit: Fit) -> tuple[Figure, str | None]:
    """Return the moved figure, or the one before with a note, where its surface cannot follow what was wanted."""
    report = {**figure.report, "shape moved": fit.moved, "shape explained": fit.explained}
    if fit.explained >= EXPLAINED:
        return replace(fit.figure, report=report), None
    share = f"{max(fit.explained, 0):.0%} of their change, at least {EXPLAINED:.0%} are asked for"
    return replace(figure, report=report), f"no surface has the painted normals ({share}): the shape is as it was"


@dataclass(frozen=True)
class Side:
    """A view (H, W) of what the photo does not show: what is seen of the surface, and how free it is (2H, 2W)."""

    azimuth: int
    found: Look
    sight: Sight
    free: np.ndarray

    @property
    def picture(self) -> Image.Image:
        """The normals (H, W) in colours."""
        return normal_map(self.sight.normals[::2, ::2], self.found.camera)

    def wanted(self, change: np.ndarray) -> Goal:
        """The normals under a change (H, W, 3) of their colours, in [-1, 1]."""
        turned = self.sight.normals + 2 * change.repeat(2, 0).repeat(2, 1) @ colour_axes(self.found.camera).T
        length = np.linalg.norm(turned, axis=2, keepdims=True)
        return Goal(self.found.camera, turned / length.clip(1e-6), self.free * (length[..., 0] > 1e-3))


def sides_unseen(figure: Figure, shell: Shell, size: tuple[int, int]) -> Iterator[Side]:
    """List the views (H, W) that show enough of what the photo does not, in the order of `VIEWS`."""
    kept = shell.straight()[:, None]
    for azimuth in VIEWS:
        found = look(figure, azimuth, size)
        sight = shell.seen(Goal(found.camera, found.view.normals, found.cosine))
        free = unseen(sight.seen.value(kept, shell.faces)[..., 0]) * (sight.cosine > STRAIGHT)
        if free.sum() >= LEAST * (found.view.layer >= 0).sum():
            yield Side(azimuth, found, sight, free)
