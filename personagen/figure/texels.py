"""From what a view shows to the texels that it reads: which of them are seen straight, and changes carried back."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ..atelier.trace import Camera, axes
from ..colours import to_lab
from ..images import blur, to_pil, to_tensor
from .mesh import Figure, unlit
from .raster import View, look_up, render, towards
from .turntable import Stage, Turntable

STRAIGHT = 0.2
"""Cosine of the angle to the view from which a surface counts as seen."""
SHARP = 4
"""Power of that cosine by which views are weighed: oblique pixels cover much surface."""
SPREAD = 7
"""Texels over which what falls between two samples of a view is filled."""
FEW = 20
"""Pixels below which a mean colour says nothing."""
FRONT = (1024, 768)
"""Height and width at which the front is looked at for what the photo shows."""


@dataclass(frozen=True)
class Look:
    """A view (H, W) of a figure without carried light, with the cosine (2H, 2W) at which its samples are seen, 0 where
    nothing is, and the camera."""

    view: View
    cosine: np.ndarray
    camera: Camera

    def depth(self) -> Image.Image:
        """How near each pixel is as a ControlNet for depth has learnt it: white the nearest, black where nothing is."""
        near, there = self.view.near[::2, ::2], self.view.layer[::2, ::2] >= 0
        low, high = (near[there].min(), near[there].max()) if there.any() else (0.0, 1.0)
        share = np.where(there, 0.2 + 0.8 * (near - low) / max(high - low, 1e-6), 0.0)
        return Image.fromarray((share * 255 + 0.5).astype(np.uint8)).convert("RGB")

    def normal(self) -> Image.Image:
        """Normals as a ControlNet for normals has learnt them: red to the left, green up, blue to the camera."""
        return normal_map(self.view.normals[::2, ::2], self.camera)


def colour_axes(camera: Camera) -> np.ndarray:
    """The directions (3, 3) of the world, in columns, that are red, green and blue in a map of normals."""
    back, right, up = axes(camera)
    return np.stack([-right, up, back], 1)


def normal_map(normals: np.ndarray, camera: Camera) -> Image.Image:
    """Picture normals (H, W, 3) in the world, zero where nothing is; see `Look.normal`."""
    turned = np.where(normals.any(-1, keepdims=True), normals @ colour_axes(camera), [0.0, 0.0, 1.0])
    return Image.fromarray(((turned + 1) * 127.5 + 0.5).clip(0, 255).astype(np.uint8))


def look(figure: Figure, azimuth: float, size: tuple[int, int]) -> Look:
    """See a figure from an azimuth in degrees, in a picture of `size` (H, W)."""
    bare = unlit(figure)
    camera = Turntable(bare, Stage(size=size)).camera_at(azimuth)
    view = render(bare, camera, size=size)
    cosine = (view.normals * towards(camera)).sum(-1)
    return Look(view, np.where(view.layer >= 0, cosine, 0).clip(0, 1), camera)


def spread(uv: np.ndarray, weights: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Average values (n, k) of samples at texture places uv (n, 2), with weights (n,), over the texels near them.

    Returns (h, w, k + 1) for a texture of `shape` (h, w): means, and in the last plane how much weight there is, 1 for
    a sample of weight 1 a texel.
    """
    rows, columns = uv[:, 1] * shape[0] - 0.5, uv[:, 0] * shape[1] - 0.5
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    total = np.zeros((values.shape[1] + 1, *shape))
    for down in (0, 1):
        for right in (0, 1):
            share = (1 - np.abs(rows - top - down)) * (1 - np.abs(columns - left - right)) * weights
            at = (top + down).clip(0, shape[0] - 1) * shape[1] + (left + right).clip(0, shape[1] - 1)
            for plane, value in zip(total, [*values.T, np.ones(len(uv))], strict=True):
                plane += np.bincount(at, share * value, minlength=shape[0] * shape[1]).reshape(shape)
    soft = blur(torch.from_numpy(total)[None], kernel=SPREAD)[0].permute(1, 2, 0).numpy()
    return np.concatenate([soft[..., :-1] / soft[..., -1:].clip(1e-9), soft[..., -1:]], -1)


def seen_straight(figure: Figure, found: Look) -> np.ndarray:
    """Tell for each texel how straight a view shows it, (h, w) in [0, 1]; 0: not at all."""
    shape = (figure.texture.height, figure.texture.width)
    shown = found.cosine > STRAIGHT
    cosine = found.cosine[shown]
    mean = spread(found.view.uv[shown], np.ones(len(cosine)), cosine[:, None], shape)
    return np.where(mean[..., 1] > 0.02, mean[..., 0], 0)


def lab_moved(one: np.ndarray, other: np.ndarray, where: np.ndarray) -> float:
    """How far the mean Lab colour of two pictures (H, W, 3) in [0, 1] is apart where bool (H, W); 0 of a few pixels."""
    if where.sum() < FEW:
        return 0.0
    first, second = (to_lab(image[where].mean(0)[None] * 255)[0] for image in (one, other))
    return float(np.linalg.norm(first - second))


def at(plane: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Values (...) of a plane (h, w) of the texture at places (..., 2)."""
    return look_up(torch.from_numpy(plane)[None].float(), torch.from_numpy(uv)).numpy()[..., 0]


def unseen(straight: np.ndarray) -> np.ndarray:
    """How free texels or samples are to be changed, in [0, 1], by how straight they are seen already (...)."""
    return (1 - straight / STRAIGHT).clip(0, 1)


def changed(texture: Image.Image, change: np.ndarray) -> Image.Image:
    """A texture with a change (h, w, 3) of its colours in [0, 1]."""
    return to_pil(to_tensor(texture) + torch.from_numpy(change).float().permute(2, 0, 1))[0]
