"""Lay a garment's picture on a photographed person: its ribbons (`outline`) are moved to the person's joints.

They stay joined at the armholes and at the crotch. The geometric half of try-on by warping (VITON, arXiv 1711.08447),
from joints instead of from a network that learnt it.
"""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..person.joints import as_seen
from .cover import covering, old_of, waist_of
from .flat_garment import garment_of
from .outline import Bottom, Top
from .ribbon import LONGEST, Ribbon
from .targets import WAIST, Moved, above, below, rise_of

ROWS = 256
"""Rows of a photo, or of the finer one that is averaged to it, that are laid at a time."""
TRUNK, LIMB = 0.12, 0.3
"""How much darker trunks and limbs are at their sides, which turn away: so two legs, or a sleeve before a trunk, are
told apart."""
FINEST = 8
"""Most places a side that the colour of a pixel is the mean of, where a garment is drawn smaller than its picture."""


def lay(
    garment: Image.Image,
    kind: str,
    joints: np.ndarray,
    size: tuple[int, int],
    *,
    parts: np.ndarray | None = None,
    old: np.ndarray | None = None,
    shown: np.ndarray | None = None,
) -> Image.Image:
    """Lay a garment on white over a photo of `size` (H, W): RGBA of that size, transparent where it does not reach.

    kind: a kind of the vocabulary or a region. joints (13, 3): `Joint`s in pixels of the photo. parts (H, W): of the
    person, who may tell where the shoulders are. old (H, W): what the garment replaces, and where it is near covers.
    shown (h, w): what each pixel of the garment's picture shows (`GarmentPart`); None: as the parser of garments says.

    Raises:
        DataError: the picture shows no cloth.
    """
    own = garment_of(garment, kind, shown=shown)
    seen = as_seen(joints)[:, :2].astype(float)
    if isinstance(own.outline, Bottom):
        waist = None if old is None or parts is None else waist_of(parts, seen, old)
        moved = below(own.outline, seen, kind=kind, waist=WAIST if waist is None else waist)
    else:
        moved = above(own.outline, seen, kind=kind, rise=rise_of(seen, parts))
    if old is not None:
        moved = covering(moved, kind, seen, old_of(old, seen))
    sources = own.sources
    shrink = min(1.0, LONGEST / max(size))
    small = max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink))
    maps = [_map(one, small, (small[0] / size[0], small[1] / size[1])) for one in moved]
    left, top, right, bottom = _box(np.logical_or.reduce([there for *_, there in maps]), size)
    canvas = Image.new("RGBA", (size[1], size[0]))
    finer = max(_finer(ribbon, places, shrink) for (ribbon, _), places in zip(moved, maps, strict=True))
    rows, shades = max(1, ROWS // finer), _shades(own.outline)
    for first in range(top, bottom, rows):
        layer = np.zeros((finer * min(rows, bottom - first), finer * (right - left), 4), np.float32)
        for (ribbon, _), source, places, dark in zip(moved, sources, maps, shades, strict=True):
            corner, whole = (finer * left, finer * first), (finer * size[0], finer * size[1])
            _draw(layer, ribbon, source, places, corner, whole, dark=dark)
        layer = layer.reshape(layer.shape[0] // finer, finer, -1, finer, 4).mean((1, 3))
        layer[..., :3] /= np.maximum(layer[..., 3:], 1e-3)
        canvas.paste(Image.fromarray((layer.clip(0, 1) * 255 + 0.5).astype(np.uint8), "RGBA"), (left, first))
    return canvas


def _shades(outline: Top | Bottom) -> list[float]:
    """How much darker each ribbon of a garment is at its sides."""
    if isinstance(outline, Bottom):
        return [*[LIMB for _ in outline.legs], TRUNK]
    return [TRUNK, *[LIMB for _ in outline.sleeves]]


def _finer(ribbon: Ribbon, places: tuple[np.ndarray, ...], shrink: float) -> int:
    """How many of its picture's pixels a ribbon has for one of the photo's, a side; places: on a photo made smaller by
    `shrink`."""
    u, v, there = places
    steps = []
    for axis in (0, 1):
        near = (there & np.roll(there, -1, axis)).take(range(there.shape[axis] - 1), axis)
        moved = [np.diff(plane, axis=axis)[near] for plane in ribbon.at(u, v)]
        steps.append(np.hypot(*moved) * shrink)
    found = np.concatenate(steps)
    return int(np.clip(np.ceil(np.median(found) - 0.25), 1, FINEST)) if found.size else 1


def _box(there: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom on a photo of `size` (H, W) of what is marked on a smaller one, (h, w)."""
    found = []
    for axis, side in ((0, size[1]), (1, size[0])):
        marked, grown = np.flatnonzero(there.any(axis)), side / there.shape[1 - axis]
        low, high = (marked[0] - 1, marked[-1] + 2) if marked.size else (0, 0)
        found.append((max(0, int(low * grown)), min(side, int(high * grown) + 1)))
    (left, right), (top, bottom) = found
    return left, top, right, bottom


def _map(moved: Moved, small: tuple[int, int], shrink: tuple[float, float]) -> tuple[np.ndarray, ...]:
    """Places u, v and 1 where a ribbon is, (h, w) each, in a picture made smaller by `shrink` (rows, columns)."""
    target = Ribbon(*(side * np.array([shrink[1], shrink[0]]) for side in (moved[1].left, moved[1].right)))
    u, v, there = target.coordinates(small)
    return u, v, there


def _draw(
    layer: np.ndarray,
    ribbon: Ribbon,
    source: torch.Tensor,
    places: tuple[np.ndarray, ...],
    corner: tuple[int, int],
    size: tuple[int, int],
    *,
    dark: float,
) -> None:
    """Draw a ribbon of a picture (4, h, w), the last of which is its cloth, over a part of a photo from its `corner`
    (column, row) on; dark: how much darker it is at its sides, where it turns away."""
    u, v, there = places
    rows, columns = layer.shape[:2]
    y = (np.arange(corner[1], corner[1] + rows) + 0.5) / size[0] * 2 - 1
    x = (np.arange(corner[0], corner[0] + columns) + 0.5) / size[1] * 2 - 1
    grid = torch.from_numpy(np.stack(np.meshgrid(x, y), -1)).float()[None]
    planes = torch.from_numpy(np.stack([u * there, v * there, there])).float()[None]
    found = F.grid_sample(planes, grid, align_corners=False, padding_mode="border")[0].numpy()
    weight = np.maximum(found[2], 1e-3)
    sx, sy = ribbon.at(found[0] / weight, found[1] / weight)
    height, width = source.shape[1:]
    at = torch.from_numpy(np.stack([sx / width * 2 - 1, sy / height * 2 - 1], -1)).float()[None]
    cloth = F.grid_sample(source[None], at, align_corners=False)[0].movedim(0, -1).numpy()
    cloth[..., :3] *= 1 - dark * np.abs(2 * found[1] / weight - 1).clip(0, 1)[..., None] ** 4
    alpha = ((cloth[..., 3:] - 0.5) / 0.4 + 0.25).clip(0, 1) * (found[2] > 0.5)[..., None]
    layer[..., :3] += alpha * (cloth[..., :3] - layer[..., :3])
    layer[..., 3:] += alpha * (1 - layer[..., 3:])
