"""Six places to stand in: their light, and a backdrop and ground painted for a camera. Linear RGB throughout."""

from __future__ import annotations

import numpy as np

from . import nature, town
from .light import Light, blur
from .surface import Array, Noise, smooth
from .view import View

LIGHTS: dict[str, Light] = {
    "studio": Light(
        (-0.50, 0.72, 0.66), (0.80, 0.78, 0.74), (0.46, 0.47, 0.50), (0.30, 0.29, 0.28), (0.26, 0.27, 0.29)
    ),
    "street": Light((0.52, 0.74, 0.56), (0.92, 0.84, 0.70), (0.40, 0.45, 0.54), (0.25, 0.23, 0.22), (0.40, 0.42, 0.46)),
    "beach": Light((-0.55, 0.76, 0.52), (1.00, 0.90, 0.72), (0.42, 0.50, 0.60), (0.36, 0.31, 0.23), (0.42, 0.48, 0.54)),
    "park": Light((0.55, 0.72, 0.55), (0.94, 0.86, 0.66), (0.38, 0.44, 0.42), (0.18, 0.23, 0.13), (0.40, 0.44, 0.34)),
    "snow": Light((-0.45, 0.62, 0.62), (0.78, 0.76, 0.76), (0.46, 0.51, 0.60), (0.42, 0.45, 0.52), (0.36, 0.42, 0.52)),
    "night city": Light(
        (0.55, 0.55, 0.66), (0.74, 0.58, 0.44), (0.28, 0.28, 0.44), (0.24, 0.17, 0.26), (0.62, 0.30, 0.62)
    ),
}
PAINTERS = {
    "studio": town.studio,
    "street": town.street,
    "beach": nature.beach,
    "park": nature.park,
    "snow": nature.snow,
    "night city": town.night,
}
FOCUS = {"studio": 0.0, "street": 0.005, "beach": 0.006, "park": 0.013, "snow": 0.005, "night city": 0.014}
"""How far what is distant blurs, as a share of the picture's height."""


def paint(scene: str, view: View, seed: int) -> Array:
    """Linear RGB (H, W, 3) of the backdrop and the ground of ``scene``, out of focus in the distance."""
    rng = np.random.default_rng(seed)
    noise = Noise(rng)
    picture = PAINTERS[scene](view, rng, noise).astype(np.float32)
    reach = round(FOCUS[scene] * view.shape[0])
    if reach:
        soft = blur(picture, reach, 2)
        picture += (soft - picture) * smooth(view.behind, 0.8, 6.0)[:, :, None]
    if scene == "night city":
        picture = town.bokeh(view, rng, picture)
    if scene == "park":
        picture = nature.glints(view, rng, picture)
    return picture


def snowflakes(picture: Array, seed: int) -> Array:
    """Add falling snow to a linear RGB picture (H, W, 3), in front of everything."""
    rng = np.random.default_rng(seed + 1)
    h, w, _ = picture.shape
    for _ in range(90):
        near = rng.random() ** 3
        r = (0.0022 + 0.0065 * near) * h
        y, x, reach = rng.uniform(0, h), rng.uniform(0, w), int(2 * r) + 2
        top, left = max(int(y) - reach, 0), max(int(x) - reach, 0)
        spot = picture[top : int(y) + reach + 1, left : int(x) + reach + 1]
        yy = np.arange(top, top + spot.shape[0], dtype=np.float32)[:, None] - np.float32(y)
        xx = np.arange(left, left + spot.shape[1], dtype=np.float32) - np.float32(x)
        soft = np.exp(-((xx * xx + yy * yy) / np.float32(max(r, 0.55)) ** 2)) * np.float32(0.85 - 0.45 * near)
        spot += (np.float32(0.97) - spot) * soft[..., None]
    return picture
