"""Complete a figure: a network paints what the photo does not show, and the figure's light follows it.

From behind and from the sides, the figure is rendered and painted by the view completer (`completer`), from its front.
How its brightness differs, averaged, is carried to the light of vertices where they are seen straight. Colours and the
texture stay as they are: patterns and edges are sharper than what the network paints, and its colours run between
stripes and from a garment to the next. Keep, refine and generate by views: TEXTure (Richardson et al., SIGGRAPH 2023,
arXiv 2302.01721); a back that is painted as a picture from the front: ECON (Xiu et al., CVPR 2023, arXiv 2212.07422).
What the photo shows stays as it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from PIL import Image

from ..atelier.trace import seen_at
from ..images import blur
from .mesh import Figure, Layer, normals
from .raster import render, towards
from .rig import welded
from .texels import SHARP, STRAIGHT, lab_moved
from .turned import AZIMUTHS, Turned, turned
from .turntable import PAPER

COARSE = 1 / 21
"""Share of a view's height over which a change is averaged, twice."""
RATIO = (0.5, 1.6)
"""Least and most by which brightness changes, sRGB."""
DARKEST = 0.05
"""Least light of a vertex, linear."""
BEHIND = 0.02
"""Metres by which a vertex may lie behind what a view shows and still be seen there."""
RAMP = 0.3
"""Part of a normal over which a change of light begins beyond what the front shows."""
MOVED = 12.0
"""Most by which a garment's mean colour may move in a view, in Lab units, with its light."""


class Paints(Protocol):
    """What paints a view, such as `completer.Completer`: how it changes, (H, W, 3), for pictures of `size` (H, W)."""

    size: tuple[int, int]

    def __call__(
        self, front: Image.Image, guess: Image.Image, hidden: np.ndarray, generator: torch.Generator | None = None
    ) -> np.ndarray: ...


@dataclass(frozen=True)
class Painted:
    """A view of a figure as it was, and how it is to look, (H, W, 3) in [0, 1]."""

    seen: Turned
    image: np.ndarray


def complete(
    figure: Figure,
    paint: Paints,
    *,
    generator: torch.Generator | None = None,
    tell: Callable[[str], None] = lambda stage: None,
) -> tuple[Figure, str | None]:
    """Return the figure as a network completes it, and a note where that was not taken.

    tell: hears of this stage before it begins.
    """
    tell("complete")
    views = painted(figure, paint, generator=generator)
    done = relit(figure, views)
    moved = colour_moved(figure, done, views)
    report = {**figure.report, "completed": float(len(views)), "colour moved": moved}
    if moved > MOVED:
        note = f"the completed sides move a garment's colour by {moved:.0f} (at most {MOVED:.0f}): they are left out"
        return replace(figure, report=report), note
    return replace(done, report=report), None


def painted(figure: Figure, paint: Paints, *, generator: torch.Generator | None = None) -> list[Painted]:
    """Paint what the photo does not show, from behind and from the sides."""
    front, found = turned(figure, 0, paint.size).picture, []
    for azimuth in AZIMUTHS:
        seen = turned(figure, azimuth, paint.size)
        if seen.hidden.any():
            change = paint(front, seen.picture, seen.hidden, generator)
            found.append(Painted(seen, (seen.view.image + change).clip(0, 1)))
    return found


def relit(figure: Figure, views: Sequence[Painted]) -> Figure:
    """Carry a coarse change of brightness to the light of what the front does not show."""
    sides = [(one.seen, _ratio(one)) for one in views]
    return replace(figure, layers=tuple(_relit(layer, sides) for layer in figure.layers))


def _now(figure: Figure, seen: Turned) -> np.ndarray:
    """A figure, (H, W, 3), from where it was seen before."""
    return render(figure, seen.camera, size=seen.hidden.shape, background=PAPER).image


def _ratio(one: Painted) -> np.ndarray:
    """Logarithm of the ratio of averaged brightness, linear, (H, W), of a painted view and what it was before."""
    grey = (picture.mean(2, keepdims=True) for picture in (one.image, one.seen.view.image))
    after, before = (averaged(plane, one.seen.hidden, COARSE)[..., 0].clip(1e-3) for plane in grey)
    return np.log((after / before).clip(*RATIO)) * 2.2


def averaged(plane: np.ndarray, where: np.ndarray, share: float) -> np.ndarray:
    """A plane (H, W, k) averaged over a share of its height, twice, of places bool (H, W) alone."""
    kernel = max(3, round(share * len(plane)) // 2 * 2 + 1)
    known = np.concatenate([plane * where[..., None], where[..., None]], 2)
    tensor = torch.from_numpy(known.astype(np.float64)).permute(2, 0, 1)[None]
    soft = blur(blur(tensor, kernel=kernel), kernel=kernel)[0].permute(1, 2, 0).numpy()
    return soft[..., :-1] / soft[..., -1:].clip(1e-3)


def _relit(layer: Layer, sides: Sequence[tuple[Turned, np.ndarray]]) -> Layer:
    """A layer whose vertices take the change of the views that see them, the more the straighter."""
    across = _normals(layer)
    total, weight = np.zeros(len(across)), np.full(len(across), 1e-9)
    for seen, ratio in sides:
        height, width = ratio.shape
        column, row, depth = seen_at(layer.vertices, seen.camera, height, width)
        i, j = row.astype(int).clip(0, height - 1), column.astype(int).clip(0, width - 1)
        there = seen.hidden[i, j] & (-depth >= seen.view.near[2 * i, 2 * j] - BEHIND)
        straight = np.where(there, (across @ towards(seen.camera)).clip(0, 1) ** SHARP, 0)
        total, weight = total + straight * ratio[i, j], weight + straight
    share = ((STRAIGHT - across[:, 2]) / RAMP).clip(0, 1) * (weight / 0.02).clip(0, 1)
    gain = np.exp(total / weight * share)[:, None]
    light = np.ones_like(layer.vertices) if layer.light is None else layer.light
    found = np.where(gain == 1, light, (light * gain).clip(DARKEST, 1))
    return replace(layer, light=found.astype(np.float32))


def _normals(layer: Layer) -> np.ndarray:
    """Unit normals (V, 3), the same on both sides of a seam of the texture."""
    place, _ = welded(layer.vertices, layer.faces)
    across = normals(layer.vertices, layer.faces)
    whole = np.stack([np.bincount(place, across[:, axis]) for axis in range(3)], 1)
    return (whole / np.linalg.norm(whole, axis=1, keepdims=True).clip(1e-9))[place]


def colour_moved(before: Figure, after: Figure, views: Sequence[Painted]) -> float:
    """Tell by how much the mean Lab colour of a garment moves in views, with its light, at most."""
    moved = [0.0]
    for one in views:
        pair = (one.seen.view.image, _now(after, one.seen))
        for number in (i for i, layer in enumerate(before.layers) if layer.garment):
            moved.append(lab_moved(*pair, (one.seen.view.layer == number)[::2, ::2]))
    return max(moved)
