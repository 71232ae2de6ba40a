"""The region to repaint: the body in the widest garment of that region, never the old garment's shape."""

from __future__ import annotations

import numpy as np

from .body import Body, skeleton
from .figure import surfaces
from .garment import GarmentSpec
from .raster import join, rasterise
from .render import LABEL, Render
from .trace import Camera, project

PROTECTED = ("hair", "face", "hands", "shoes")
WIDEST: dict[str, tuple[GarmentSpec, ...]] = {
    "upper": (GarmentSpec("jacket", "gray", sleeve=0.98, length=1.0, neckline="collar"),),
    "lower": (
        GarmentSpec("skirt", "gray", length=1.0, flare=1.0),
        GarmentSpec("trousers", "gray", length=1.0, flare=1.0),
    ),
}
WIDEST["dress"] = WIDEST["upper"] + WIDEST["lower"]


def _dilate(mask: np.ndarray, up: int, side: int) -> np.ndarray:
    """Grow a mask (H, W) by ``side`` pixels left and right and ``up`` pixels up and down."""
    for axis, reach in ((0, up), (1, side)):
        wide = np.pad(mask, [(reach, reach) if a == axis else (0, 0) for a in range(2)])
        n = mask.shape[axis]
        mask = np.any([np.take(wide, range(k, k + n), axis) for k in range(2 * reach + 1)], axis=0)
    return mask


def agnostic_mask(render: Render, region: str, *, body: Body, camera: Camera) -> np.ndarray:
    """Mask (H, W) bool, True = repaint, for a garment of region ``upper``, ``lower`` or ``dress``.

    It is what the widest garments of the region would cover on ``body``, a little enlarged; so it says nothing of the
    garment worn. Hair, face down to the chin, hands and shoes are left out, by the labels of ``render``; for ``lower``
    also the arms, the neck and what hangs over it.
    """
    if region not in WIDEST:
        raise ValueError(f"region {region!r} is not known; choose upper, lower or dress")
    h, w = render.labels.shape
    seen = rasterise(join(surfaces(body, WIDEST[region], ghost=True)), camera, h, w)
    mask = np.zeros(h * w, bool)
    mask[seen.index] = True
    mask = _dilate(mask.reshape(h, w), round(h / 96), round(h / 64))
    keep = PROTECTED + (("arms", "upper", "outer") if region == "lower" else ())
    kept = np.isin(render.labels, [LABEL[n] for n in keep])
    if region != "lower":  # an open neckline is no face
        chin = project(skeleton(body).chin[None], camera, h, w)[0, 1]
        kept[round(chin + 0.012 * h) :] &= render.labels[round(chin + 0.012 * h) :] != LABEL["face"]
    return mask & ~kept
