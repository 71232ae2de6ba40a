"""Read a garment's picture for laying it on: its outline, and the cloth of each of its pieces.

The silhouette tells it best where limbs stand out from the trunk; where they do not, parts do, which come from the
parser of garments (`garment_parts`).
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ..images import blur, components, dilate, erode, pieces, to_pil, to_tensor
from ..person.parts import region_of
from ..vocabulary import GarmentPart
from .drape import cloth_of
from .garment_parts import parts_of
from .garment_shape import Cut, cut_of
from .inpaint import complete
from .neckline import AREA, ASKEW, DEEP, WIDE, inside_of
from .outline import Bottom, Top, bottom_of, top_of
from .parted import LEGS, bottom_of_parts, tidy, top_of_parts
from .targets import SLEEVED

EDGE = 0.007
"""Of the picture's height: how far inside its edge a garment's colours are no longer mixed with its background's."""
HOLE = 0.02
"""Largest share of the cloth of a hole that is cloth as well: a print, a label or a button that is white itself."""
INSIDE = 0.8
"""Share of half the width of a trunk or leg within which a hole in it is cloth."""
RAGGED = 5
"""Pixels over which the edge of the cloth is smoothed, for cut-outs are ragged."""
STRAIGHT = 0.65
"""Least overlap of trousers with straight legs at which their outline alone is asked."""


@dataclass(frozen=True)
class FlatGarment:
    """What a garment's picture shows: its outline, and colours and cloth (4, H, W) of trunk and sleeves, or of legs and
    seat."""

    outline: Top | Bottom
    sources: list[torch.Tensor]


def garment_of(garment: Image.Image, kind: str, *, shown: np.ndarray | None = None) -> FlatGarment:
    """Read a garment on white of a kind of the vocabulary or a region; shown (H, W): its parts, where they are known.

    Raises:
        DataError: the picture shows no cloth.
        ModelError: the parser of garments is missing or damaged.
    """
    picture = to_tensor(garment.convert("RGB"))[0]
    seen = cloth_of(picture * 2 - 1)[0].numpy()
    cloth = _filled(seen)
    cut = cut_of(cloth, kind)
    gaps = cloth & ~seen & ~_inside(cut, cloth & ~seen)
    found = _read(_bled(picture, cloth & ~gaps), garment, cloth, cut, kind, shown=shown)
    open_ = 1 - _soft(gaps)
    return FlatGarment(found.outline, [torch.cat([one[:3], one[3:] * open_]) for one in found.sources])


def _read(
    picture: torch.Tensor, garment: Image.Image, cloth: np.ndarray, cut: Cut, kind: str, *, shown: np.ndarray | None
) -> FlatGarment:
    """Read a garment's picture (3, h, w), its colours run over its edge, by its cloth (h, w) and its rough shape."""
    lower = region_of(kind) == "lower"
    if lower and (kind != "trousers" or cut.overlap >= STRAIGHT):
        return _straight(picture, cloth, cut)
    parts = tidy(parts_of(garment, cloth) if shown is None else shown, cloth)
    if lower:
        return _askew(picture, cloth, parts) or _straight(picture, cloth, cut)
    return _upper(picture, cloth, parts, cut, kind)


def _straight(picture: torch.Tensor, cloth: np.ndarray, cut: Cut) -> FlatGarment:
    bottom = bottom_of(cloth, cut)
    return FlatGarment(bottom, [_source(picture, cloth)] * (len(bottom.legs) + 1))


def _askew(picture: torch.Tensor, cloth: np.ndarray, parts: np.ndarray) -> FlatGarment | None:
    """Trousers whose legs cross or are bent; None where their parts are not told."""
    found = bottom_of_parts(cloth, parts)
    if found is None:
        return None
    others = [parts == leg for leg in reversed(LEGS)]
    return FlatGarment(found, [*(_source(picture, cloth & ~other) for other in others), _source(picture, cloth)])


def _upper(picture: torch.Tensor, cloth: np.ndarray, parts: np.ndarray, cut: Cut, kind: str) -> FlatGarment:
    top, found = top_of(cloth, cut), top_of_parts(cloth, parts)
    if found is not None and kind in SLEEVED and (found.across or not top.sleeves):
        top = found.top
        front = _shown_behind(picture, parts, found.behind)
    else:
        front = picture
    lining = _lining(parts, top)
    if lining is None:
        lining = inside_of(picture.mean(0).numpy(), cloth, top.shoulders)
    pieces = [piece & ~lining for piece in top.pieces]
    return FlatGarment(top, [_source(front, pieces[0]), *(_source(picture, piece) for piece in pieces[1:])])


def _lining(parts: np.ndarray, top: Top) -> np.ndarray | None:
    """Mark the inside of a back that is seen through a neckline, by parts (H, W): bool (H, W); None where none is."""
    y, x = np.mgrid[: parts.shape[0], : parts.shape[1]]
    wide, (middle, high) = float(np.ptp(top.shoulders[:, 0])), top.shoulders.mean(0)
    near = (np.abs(x - middle) < WIDE * wide) & (y < high + DEEP * wide)
    pieces = components((parts == GarmentPart.LINING) & near)
    if not pieces or not AREA[0] * wide**2 < pieces[0].sum() < AREA[1] * wide**2:
        return None
    return pieces[0] if abs(np.nonzero(pieces[0])[1].mean() - middle) < ASKEW * wide else None


def _source(picture: torch.Tensor, cloth: np.ndarray) -> torch.Tensor:
    """Colours (3, H, W) with how much of each place is cloth, without rags: (4, H, W)."""
    return torch.cat([picture, _soft(cloth)])


def _soft(cloth: np.ndarray) -> torch.Tensor:
    """A mask (H, W) with soft edges, (1, H, W)."""
    return blur(torch.from_numpy(cloth)[None, None].float(), kernel=RAGGED)[0]


def _shown_behind(picture: torch.Tensor, parts: np.ndarray, behind: np.ndarray) -> torch.Tensor:
    """A picture (3, H, W) in which a trunk goes on behind what lies over it, bool (H, W)."""
    if not behind.any():
        return picture
    known = erode(parts == GarmentPart.TRUNK, up=4, down=4, side=4)
    hole = dilate(behind, up=6, down=6, side=6)
    filled = complete(to_pil(picture[None])[0], known & ~hole, hole)
    return picture if filled is None else to_tensor(filled)[0]


def _filled(cloth: np.ndarray) -> np.ndarray:
    """Cloth (H, W) with its small holes filled."""
    holes = [hole for hole in components(~cloth) if hole.sum() < HOLE * cloth.sum()]
    return np.logical_or.reduce([cloth, *holes])


def _inside(cut: Cut, holes: np.ndarray) -> np.ndarray:
    """Mark those of a garment's small holes, bool (H, W), that are cloth which is white itself: inside trunk or legs.

    Between a sleeve and the trunk, or between legs, the background shows.
    """
    strips = [strip for strip in (cut.trunk, *cut.legs) if strip is not None]
    found = np.zeros_like(holes)
    for rows, columns in pieces(holes):
        far = np.min([strip.off_middle(columns + 0.5, rows + 0.5) for strip in strips], 0)
        found[rows, columns] = np.median(far) < INSIDE
    return found


def _bled(picture: torch.Tensor, cloth: np.ndarray) -> torch.Tensor:
    """Let the colours (3, H, W) of the cloth run over its edge, so that the white around it does not show."""
    edge = max(2, round(EDGE * cloth.shape[0]))
    inside = erode(cloth, up=edge, down=edge, side=edge)
    known = torch.from_numpy(inside if inside.any() else cloth)[None].float()
    both = blur(torch.cat([picture * known, known])[None], kernel=4 * edge + 1)[0]
    return torch.where(known > 0, picture, torch.where(both[3:] > 1e-3, both[:3] / both[3:].clamp(min=1e-3), picture))
