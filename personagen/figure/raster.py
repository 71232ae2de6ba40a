"""See triangles: a z-buffer over pixels in numpy, and textures looked up in torch, through which gradients flow."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..atelier.trace import Camera, axes, seen_at
from ..images import to_tensor
from .mesh import Figure, normals

CHUNK = 1_500_000
"""Candidates, pairs of triangle and pixel, that are looked at a time."""


@dataclass(frozen=True)
class Seen:
    """What pixels see: the number of the face, int32 (H, W), -1 where there is none; the weights of its corners
    (H, W, 3); how near it is (H, W), as the points said."""

    face: np.ndarray
    weights: np.ndarray
    near: np.ndarray

    def value(self, values: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Values of vertices (V, k) at the pixels (H, W, k), zero where nothing is seen."""
        out = np.zeros((*self.face.shape, values.shape[1]), np.float32)
        rows, columns = np.nonzero(self.face >= 0)
        corners = faces[self.face[rows, columns]]
        weights = self.weights[rows, columns]
        out[rows, columns] = sum(values[corners[:, i]] * weights[:, i, None] for i in range(3))
        return out


def rasterise(points: np.ndarray, faces: np.ndarray, size: tuple[int, int], *, both: bool = False) -> Seen:
    """Find the nearest face at the middle of each pixel of a picture of `size` (H, W).

    points (V, 3): column and row in pixels, and nearness, larger is nearer. both: faces seen from behind count, too;
    otherwise only those that are counter-clockwise as they are seen.
    """
    height, width = size
    x, y, near = (points[:, axis].astype(np.float32)[faces] for axis in range(3))
    x, y = x - np.float32(0.5), y - np.float32(0.5)
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    first = lambda c: np.ceil(c.min(1).clip(0)).astype(np.int64)
    left, top = first(x), first(y)
    wide = np.floor(x.max(1).clip(max=width - 1)).astype(np.int64) - left + 1
    tall = np.floor(y.max(1).clip(max=height - 1)).astype(np.int64) - top + 1
    fits = (np.abs(area) > 1e-9) & (both | (area < 0)) & (wide > 0) & (tall > 0)
    some = np.flatnonzero(fits)
    best = np.full(height * width, -np.inf, np.float32)
    face, weights = np.full(height * width, -1, np.int32), np.zeros((height * width, 3), np.float32)
    ends = np.cumsum(wide[some] * tall[some])
    for part in np.split(some, np.searchsorted(ends, np.arange(CHUNK, ends[-1] if some.size else 0, CHUNK))):
        if part.size:
            corners = (x[part], y[part], near[part], area[part])
            box = (left[part], top[part], wide[part], tall[part])
            _draw(part, corners, box, width, (best, face, weights))
    shape = (height, width)
    return Seen(face.reshape(shape), weights.reshape(*shape, 3), best.reshape(shape))


def _draw(
    part: np.ndarray,
    corners: tuple[np.ndarray, ...],
    box: tuple[np.ndarray, ...],
    width: int,
    out: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Draw faces with these numbers; corners: x, y and nearness (n, 3) and area (n,); box: (n,) each; out: changed."""
    x, y, near, area = corners
    left, top, wide, tall = box
    count = wide * tall
    of = np.repeat(np.arange(len(part)), count)
    local = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
    row, column = np.divmod(local, wide[of])
    row, column = row + top[of], column + left[of]
    share = []
    for i, j in ((1, 2), (2, 0)):
        across = (x[of, i] - column) * (y[of, j] - row) - (x[of, j] - column) * (y[of, i] - row)
        share.append(across / area[of])
    inside = np.flatnonzero((share[0] >= 0) & (share[1] >= 0) & (share[0] + share[1] <= 1))
    of, pixel = of[inside], row[inside] * width + column[inside]
    weight = np.stack([share[0][inside], share[1][inside], 1 - share[0][inside] - share[1][inside]], 1)
    depth = (near[of] * weight).sum(1).astype(np.float32)
    best, face, weights = out
    np.maximum.at(best, pixel, depth)
    won = np.flatnonzero(depth == best[pixel])
    face[pixel[won]], weights[pixel[won]] = part[of[won]], weight[won]


def look_up(texture: Tensor, places: Tensor) -> Tensor:
    """Colours (..., 3) of a texture (3, h, w) at places (..., 2), u and v with v down; differentiable in both."""
    grid = (places * 2 - 1).reshape(1, 1, -1, 2)
    found = F.grid_sample(texture[None], grid, align_corners=False, padding_mode="border")
    return found[0, :, 0].T.reshape(*places.shape[:-1], texture.shape[0])


@dataclass(frozen=True)
class View:
    """A picture of a figure: image (H, W, 3) in [0, 1] with its background, and, at twice the pixels a side, layer
    (2H, 2W) int32, -1 where nothing is seen, nearness, normals (2H, 2W, 3) in the world and places in the texture
    (2H, 2W, 2)."""

    image: np.ndarray
    layer: np.ndarray
    near: np.ndarray
    normals: np.ndarray
    uv: np.ndarray

    @property
    def picture(self) -> Image.Image:
        """The picture in RGB."""
        return Image.fromarray((self.image.clip(0, 1) * 255 + 0.5).astype(np.uint8))

    @property
    def mask(self) -> np.ndarray:
        """Where the figure is, bool (H, W): at least half of the pixel."""
        return shrunk((self.layer >= 0).astype(np.float32)) >= 0.5


def shrunk(plane: np.ndarray) -> np.ndarray:
    """Means (H, W, ...) of blocks of 2 x 2."""
    return (plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]) / 4


def render(
    figure: Figure,
    camera: Camera,
    *,
    size: tuple[int, int] = (512, 384),
    background: Image.Image | tuple[int, int, int] = (244, 244, 242),
) -> View:
    """Render a figure as its texture and the light of its vertices show it; size: (H, W), four samples a pixel."""
    fine = (2 * size[0], 2 * size[1])
    vertices = np.concatenate([layer.vertices for layer in figure.layers])
    starts = np.cumsum([0, *(len(layer.vertices) for layer in figure.layers)])
    faces = np.concatenate([layer.faces + start for layer, start in zip(figure.layers, starts)])
    owner = np.repeat(np.arange(len(figure.layers)), [len(layer.faces) for layer in figure.layers])
    column, row, depth = seen_at(vertices, camera, *fine)
    seen = rasterise(np.stack([column, row, -depth], 1), faces, fine)
    layer = np.where(seen.face >= 0, owner[seen.face.clip(0)], -1)
    uv = seen.value(np.concatenate([layer.uv for layer in figure.layers]), faces)
    colours = look_up(to_tensor(figure.texture)[0], torch.from_numpy(uv)).numpy()
    if any(one.light is not None for one in figure.layers):
        light = [np.ones_like(one.vertices) if one.light is None else one.light for one in figure.layers]
        colours = colours * seen.value(np.concatenate(light), faces) ** (1 / 2.2)  # it is linear, colours are sRGB
    behind = background if isinstance(background, Image.Image) else Image.new("RGB", size[::-1], background)
    plate = np.asarray(behind.convert("RGB").resize(fine[::-1], Image.Resampling.BILINEAR), np.float32) / 255
    image = shrunk(np.where((layer >= 0)[..., None], colours, plate))
    across = np.concatenate([normals(one.vertices, one.faces) for one in figure.layers])
    return View(image, layer, seen.near, seen.value(across, faces), uv)


def towards(camera: Camera) -> np.ndarray:
    """The unit direction (3,) from a figure to the camera."""
    return axes(camera)[0]
