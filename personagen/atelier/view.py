"""What a backdrop sees of a camera, and brushes to paint it with."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .head import linear
from .surface import Array, Noise, smooth
from .trace import Camera

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class View:
    """A picture's rays. All rows see at one angle, so that much of a backdrop is computed a row at a time.

    ``a`` (H, W) and ``e`` (H, 1): tangents of the angles right and up; the first ``sky`` rows look above the horizon,
    the others see the ground at ``x`` (G, W), metres right of the person, and ``far`` (G, 1), metres behind;
    ``eye``: height of the camera; ``pan``: how far the camera turns the distance; ``grain``: a pixel's width in ``a``.
    """

    a: Array
    e: Array
    x: Array
    far: Array
    sky: int
    eye: float
    pan: float
    distance: float
    grain: float

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return self.a.shape[0], self.a.shape[1]

    @property
    def behind(self) -> Array:
        """How far (H, 1), in metres, what each row shows lies behind the person; above the horizon 99."""
        return np.concatenate([np.full((self.sky, 1), 99.0, np.float32), self.far])


def view_of(camera: Camera, height: int, width: int) -> View:
    """The view of ``camera`` in a picture of this size."""
    az, el = math.radians(camera.azimuth), math.radians(camera.elevation)
    scale = camera.extent / camera.distance / height
    ys = ((height / 2 - 0.5 - np.arange(height, dtype=np.float32)) * scale)[:, None]
    xs = (np.arange(width, dtype=np.float32) - width / 2 + 0.5) * scale
    ahead = (math.cos(el) + ys * math.sin(el)).astype(np.float32)
    drop = (ys * math.cos(el) - math.sin(el)).astype(np.float32)
    tx, ty, tz = camera.target
    eye = ty + camera.distance * math.sin(el)
    level = camera.distance * math.cos(el)
    low = (drop < -1e-3)[:, 0] & (eye > 0.05)
    sky = height - int(low.sum())
    t = eye / -drop[sky:]
    right = tx * math.cos(az) - tz * math.sin(az)
    back = tx * math.sin(az) + tz * math.cos(az)
    return View(
        a=(xs / ahead).astype(np.float32),
        e=drop / ahead,
        x=(right + xs * t).astype(np.float32),
        far=(t * ahead[sky:] - level - back).astype(np.float32),
        sky=sky,
        eye=eye,
        pan=0.9 * math.sin(az),
        distance=level,
        grain=scale,
    )


def mix(a: Array, b: Array | np.float32 | float, share: Array) -> Array:
    """Lay colour ``b`` over ``a`` (..., 3) by ``share`` (...)."""
    return a + (b - a) * share[..., None]


def gradient(share: Array, *stops: RGB) -> Array:
    """Colours (..., 3) between ``stops``, evenly spaced, at shares (...) from 0 to 1."""
    at = np.linspace(0.0, 1.0, len(stops))
    table = np.stack([linear(s) for s in stops])
    return np.stack([np.interp(share, at, table[:, i]) for i in range(3)], -1).astype(np.float32)


def edge(inside: Array, grain: float) -> Array:
    """Cover of what has the signed distance ``inside``, a pixel soft."""
    return np.clip(inside * (1.0 / grain) + 0.5, 0.0, 1.0)


def clouds(view: View, noise: Noise, picture: Array, amount: float, rgb: tuple[float, float, float]) -> Array:
    """Soft clouds over the rows (S, W, 3) above the horizon."""
    a, e = view.a[: view.sky] + view.pan, view.e[: view.sky]
    v = 30.0 * e + 0.0 * a
    puff = noise(8.0 * a, v) + 0.5 * noise(17.0 * a + 7.0, 2.1 * v)
    share = smooth(puff / 1.5, 0.46, 0.80) * smooth(e, 0.0, 0.06)
    return mix(picture, np.array(rgb, np.float32), amount * share)


def whole(view: View, above: Array, below: Array) -> Array:
    """A picture (H, W, 3) of its rows above (S, W, 3) and below (G, W, 3) the horizon."""
    w = view.shape[1]
    return np.concatenate([np.broadcast_to(p, (len(p), w, 3)) for p in (above, below)]).astype(np.float32)
