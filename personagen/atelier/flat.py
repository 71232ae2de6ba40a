"""A garment in pieces, trunk and limbs apart, with what each pixel shows, so that it can be laid in any arrangement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..vocabulary import GarmentPart
from .body import Body, Skeleton, skeleton
from .figure import surfaces
from .garment import GarmentSpec, waist
from .light import Light
from .raster import Samples
from .render import FINE, SOFTBOX, compress, encode, frame_of, seen_figure, shrunk
from .surface import Array, Patch
from .trace import Camera, project

CROTCH = 0.452
"""Height of the crotch of trousers, as a share of the wearer's."""
BAND = 0.036
"""Height of a waistband in metres."""
LAP = 0.03
"""How far (m) legs go up behind what lies above the crotch, so that they can be turned."""
BEHIND = -0.012
"""Depth (m) behind which what is seen of a trunk is the inside of its back."""


@dataclass(frozen=True)
class FlatPiece:
    """A piece of a garment: its colours with alpha (H, W, 4) and what each pixel shows (H, W; `GarmentPart`), uint8.

    line (k, 2): columns and rows along a limb from where it hangs on the trunk, and half its width there in pixels;
    no points for the trunk.
    """

    picture: np.ndarray
    parts: np.ndarray
    line: np.ndarray
    half: float


def render_pieces(
    spec: GarmentSpec, *, size: tuple[int, int] = (256, 256), arms: float = 25.0, light: Light = SOFTBOX
) -> list[FlatPiece]:
    """Render the trunk of a garment, and apart from it its sleeves or legs: on pictures of one size (H, W).

    arms: angle of the sleeves from down, in degrees.
    """
    body = Body(arms=((arms, 4.0), (arms, 4.0)), stance=0.105)
    skel, camera = skeleton(body), frame_of(spec)
    every = surfaces(body, (spec,), ghost=True)
    lower, skirt = spec.region == "lower", spec.kind == "skirt"
    limbs = [] if skirt else [p for p in every if p.zone == ("legs" if lower else "sleeve")]
    trunk = every if lower else [p for p in every if p.zone != "sleeve"]
    found = [_piece(body, spec, trunk, camera, size, light, skel)]
    for side, limb in enumerate(limbs):
        found.append(_piece(body, spec, [limb], camera, size, light, skel, side=side))
    return found


def _piece(
    body: Body,
    spec: GarmentSpec,
    patches: list[Patch],
    camera: Camera,
    size: tuple[int, int],
    light: Light,
    skel: Skeleton,
    *,
    side: int = -1,
) -> FlatPiece:
    """Render some patches alone; side: that of a limb, -1 for the trunk."""
    seen, radiance = seen_figure(body, (spec,), patches, light, camera, size)
    shape = FINE * size[0], FINE * size[1]
    colours, parts = np.zeros((shape[0] * shape[1], 4), np.float32), np.zeros(shape[0] * shape[1], np.uint8)
    parts[seen.index] = _parts(spec, patches, seen, body.height, side)
    colours[seen.index, :3], colours[seen.index, 3] = compress(radiance), 1.0
    if side < 0:
        parts[np.isin(parts, (GarmentPart.LEFT_LEG, GarmentPart.RIGHT_LEG))] = GarmentPart.BACKGROUND
    colours[parts == GarmentPart.BACKGROUND] = 0.0
    mean = shrunk(colours.reshape(*shape, 4), FINE)
    picture = encode(mean[..., :3] / np.maximum(mean[..., 3:], 1e-3))
    alpha = (mean[..., 3:] * 255 + 0.5).astype(np.uint8)
    shown = parts.reshape(shape)[1::FINE, 1::FINE] * (mean[..., 3] > 0.5)
    line = np.zeros((0, 2)) if side < 0 else _line(spec, skel, side, camera, size)
    half = 0.06 if spec.region != "lower" else 0.5 * body.hip
    return FlatPiece(np.concatenate([picture, alpha], -1), shown.astype(np.uint8), line, half * size[0] / camera.extent)


def _parts(spec: GarmentSpec, patches: list[Patch], seen: Samples, height: float, side: int) -> Array:
    """What each of the samples shows (N,)."""
    zones = np.array([p.zone for p in patches])[seen.which]
    found = np.full(len(seen.index), GarmentPart.TRUNK, np.uint8)
    if spec.region == "lower":
        legs = np.array([(GarmentPart.LEFT_LEG, GarmentPart.RIGHT_LEG)[n % 2] for n in range(len(patches))], np.uint8)
        high = seen.marks[:, 1]
        if spec.kind != "skirt":
            below = high < CROTCH * height + (LAP if side >= 0 else 0.0)
            own = legs[seen.which] if side < 0 else np.uint8((GarmentPart.LEFT_LEG, GarmentPart.RIGHT_LEG)[side])
            found = np.where(below, own, GarmentPart.TRUNK if side < 0 else GarmentPart.BACKGROUND).astype(np.uint8)
        return np.where((high > waist(height) - BAND) & (side < 0), np.uint8(GarmentPart.WAISTBAND), found)
    if side >= 0:
        return np.full_like(found, (GarmentPart.LEFT_SLEEVE, GarmentPart.RIGHT_SLEEVE)[side])
    found[(zones == "collar") | (zones == "band")] = GarmentPart.COLLAR
    inside = (zones != "collar") & (seen.points[:, 2] < BEHIND) & (seen.points[:, 1] > 0.7 * height)
    found[inside] = GarmentPart.LINING
    return found


def _line(spec: GarmentSpec, skel: Skeleton, side: int, camera: Camera, size: tuple[int, int]) -> Array:
    """Places (3, 2) along a limb, from its root to its end, in pixels of a picture of `size` (H, W)."""
    if spec.region != "lower":
        places = np.stack([skel.shoulder[side], skel.elbow[side], skel.wrist[side]])
        if spec.sleeve < 0.5:
            end = skel.shoulder[side] + (skel.elbow[side] - skel.shoulder[side]) * 2 * spec.sleeve
            places = np.stack([skel.shoulder[side], (skel.shoulder[side] + end) / 2, end])
        return project(places, camera, *size)
    root = skel.hip[side] * [1, 0, 1] + [0, CROTCH * skel.body.height, 0]
    return project(np.stack([root, skel.knee[side], skel.ankle[side]]), camera, *size)
