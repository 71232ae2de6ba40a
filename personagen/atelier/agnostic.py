"""The region to repaint for a new garment, from the exact labels and depth: the body's shape, never the old garment's."""

from __future__ import annotations

import numpy as np

from .body import Body
from .render import LABEL, Camera, Render, rays

PROTECTED = ("hair", "face", "hands", "shoes")


def _dilate(mask: np.ndarray, up: int, side: int) -> np.ndarray:
    """Grow a mask (H, W) by ``side`` pixels left and right and ``up`` pixels up and down."""
    out = mask.copy()
    for axis, reach in ((0, up), (1, side)):
        grown = out.copy()
        for k in range(1, reach + 1):
            for shift in (k, -k):
                moved = np.roll(out, shift, axis)
                edge = (slice(0, shift) if shift > 0 else slice(shift, None))
                moved[(edge, slice(None)) if axis == 0 else (slice(None), edge)] = False
                grown |= moved
        out = grown
    return out


def world_height(render: Render, camera: Camera) -> np.ndarray:
    """Height above the ground (H, W) in metres of what each pixel shows; -1 for the background."""
    h, w = render.labels.shape
    origin, d = rays(camera, h, w)
    y = origin[1] + np.where(np.isfinite(render.depth), render.depth, 0.0) * d[:, 1].reshape(h, w)
    return np.where(render.labels > 0, y, -1.0)


def _skirt_cone(body: Body, camera: Camera, shape: tuple[int, int]) -> np.ndarray:
    """Every pixel (H, W) that the widest skirt could cover, seen from ``camera``."""
    h, w = shape
    metre = h / camera.extent
    y = (h / 2 - 0.5 - np.arange(h)) / metre + camera.target[1]
    top = 0.61 * body.height
    down = np.clip((top - y) / (top - 0.2 * body.height), 0.0, 1.2)
    half = body.hip + 0.05 + 0.20 * down
    inside = (y < top) & (y > 0.17 * body.height)
    centre = w / 2 - 0.5
    return inside[:, None] & (np.abs(np.arange(w) - centre)[None] < (half * metre)[:, None])


def agnostic_mask(render: Render, kind_region: str, *, body: Body, camera: Camera) -> np.ndarray:
    """Mask (H, W) bool, True = repaint, for a garment of region ``upper``, ``lower`` or ``dress``.

    It follows the body and the widest garment of that region, so nothing of the old garment's length or width
    shows in it. Hair, face, hands and shoes are never inside.
    """
    if kind_region not in ("upper", "lower", "dress"):
        raise ValueError(f"region {kind_region!r} is not known; choose upper, lower or dress")
    labels, y, h = render.labels, world_height(render, camera), body.height
    figure = (labels > 0) & ~np.isin(labels, [LABEL[n] for n in PROTECTED])
    arms = np.isin(labels, [LABEL["arms"]])
    pixel = labels.shape[0] / 192.0
    mask = np.zeros(labels.shape, bool)
    if kind_region in ("upper", "dress"):
        upper = (figure & (y > 0.44 * h)) | arms | np.isin(labels, [LABEL["upper"], LABEL["outer"]])
        mask |= _dilate(upper, round(3 * pixel), round(5 * pixel))
    if kind_region in ("lower", "dress"):
        legs = figure & ~arms & (y < 0.60 * h) & (y > 0.0)
        mask |= _dilate(legs, round(2 * pixel), round(5 * pixel)) | _skirt_cone(body, camera, labels.shape)
    keep = np.isin(labels, [LABEL[n] for n in PROTECTED])
    if kind_region == "lower":
        keep |= arms
    return mask & ~keep
