"""Score distillation for the shape, apart from colours: move it to where a model finds its normal maps more likely.

Fantasia3D (Chen et al., ICCV 2023, arXiv 2303.13873) distils normal maps into geometry before colours are touched, and
DreamVTON (Xie et al., ACM MM 2024, arXiv 2407.16511) does so under templates. The score (`distil.Score`) gives a
gradient g on a view's normals n. Rather than push vertices along it, where smoothness would fight with it, a few steps
are taken on each view's normals, n <- n - rate g, and the surface that has these normals best is found by least squares
(`geometry.fit_normals`), which holds the front, the thickness and the layers: projected gradient descent, with surfaces
as the set that is projected on. Views are then seen anew, so that they stay those of one surface.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .distil import COARSE, Distilling, Score
from .geometry import Fit, fit_normals
from .mesh import Figure
from .normals import WORDS, Side, sides_unseen, taken
from .raster import shrunk
from .shell import Goal, Shell

PROJECTIONS = 5
"""How often a surface is found for the views' normals."""


def distil_shape(
    figure: Figure,
    painter: Any,
    asked: Distilling,
    *,
    generator: torch.Generator | None = None,
    tell: Callable[[str], None] = lambda stage: None,
) -> tuple[Figure, str | None]:
    """Return the figure, what the photo does not show moved to likelier normals, and a note where no surface has them.

    Arguments and errors as those of `distil`; asked.prompt says what the person is, not "normal map".
    """
    words = {"prompt": WORDS + asked.prompt, "reference": WORDS + asked.reference}
    score, shell = Score.of(painter, replace(asked, **words)), Shell.of(figure)
    views = [_View(side, score) for side in sides_unseen(figure, shell, score.size)]
    if not views:
        return figure, None
    optimizer = torch.optim.Adam([view.change for view in views], lr=asked.rate)
    for step in range(asked.steps):
        if step % math.ceil(asked.steps / PROJECTIONS) == 0:
            tell(f"distilling the shape, {step} of {asked.steps}")
            if step:
                _projected(figure, shell, views)
                optimizer = torch.optim.Adam([view.change for view in views], lr=asked.rate)
        view = views[int(torch.randint(len(views), (1,), generator=generator))]
        loss = score(view.z(), view.start, generator) + asked.stay * view.change.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return taken(figure, _projected(figure, shell, views))


def _projected(figure: Figure, shell: Shell, views: Sequence["_View"]) -> Fit:
    """The surface that has the views' normals best; they see it from here on."""
    fit = fit_normals(figure, [view.goal() for view in views])
    for view in views:
        view.see(shell, fit.depth)
    return fit


class _View:
    """A view whose normals are changed: coarsely, and only where they are free."""

    def __init__(self, side: Side, score: Score) -> None:
        self.side, self.score = side, score
        self.free = torch.from_numpy(shrunk(side.free.astype(np.float32)))
        self.change = torch.zeros(())
        self._begin()
        with torch.no_grad():
            self.start = score.encode(self.picture)

    def _begin(self) -> None:
        self.picture = torch.from_numpy(np.asarray(self.side.picture, np.float32) / 255).permute(2, 0, 1)
        shape = self.picture.shape[1:]
        coarse = [max(2, round(length * COARSE / max(shape))) for length in shape]
        self.change = torch.zeros(3, *coarse, requires_grad=True)

    def see(self, shell: Shell, depth: np.ndarray) -> None:
        """See the surface anew, moved by depths (V,), and begin with no change."""
        camera, free = self.side.found.camera, self.side.free
        self.side = replace(self.side, sight=shell.seen(Goal(camera, self.side.sight.normals, free), depth))
        self._begin()

    def _fine(self) -> Tensor:
        """The change (3, H, W) at the size of the picture."""
        fine = F.interpolate(self.change[None], size=self.picture.shape[1:], mode="bilinear", align_corners=False)[0]
        return fine * self.free

    def z(self) -> Tensor:
        """Latents of the changed normals."""
        return self.score.encode(self.picture + self._fine())

    def goal(self) -> Goal:
        """The changed normals."""
        return self.side.wanted(self._fine().detach().permute(1, 2, 0).numpy())
