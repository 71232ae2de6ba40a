"""Lay a garment's picture on a photographed person: its strips (`cut`) are moved to the person's joints.

The trunk follows shoulders and hips, sleeves the arms, legs the legs; what a garment covers is as long as its own
proportions say, never longer than the limb. The geometric half of try-on by warping (VITON, arXiv 1711.08447), from
joints instead of from a network that learnt it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..images import blur, components, erode, to_tensor
from ..person.joints import Joint, as_seen, trunk_of
from ..person.parts import region_of
from .drape import cloth_of
from .garment_shape import Cut, cut_of
from .strips import Strip

SHOULDERS = 0.54
"""Half the width of a garment at the shoulders, as a share of the distance between the shoulder joints."""
OUTSIDE = 0.02
"""How far outside the joint the middle of a sleeve begins, as the same share."""
RISE = 0.15
"""How far its shoulders lie above the joints, as the same share: measured between parsed street photos and their joints
(docs/log/2026-11-27.md)."""
TIP = 0.75
"""Where the shoulders are looked for, as a share of half the trunk's width: between neck and seam, on both sides."""
DROP = (0.0, 0.5)
"""How far shoulders may lie below the top of the trunk's strip, as below a hood, as a share of half its width there."""
WAIST = 0.26
"""How far the waist of what is worn below lies above the hip joints, as a share of the height of hips to shoulders."""
TALL = 1.2
"""Scale of lengths over that of the width between the shoulders: what lies flat is as wide as half its girth."""
WAIST_WIDE = 0.48
"""Half the width of the waist, as the same share as SHOULDERS."""
NARROWER = 0.85
"""What a worn garment's width is of that of one that lies flat, seen from the front."""
REACHES = {"upper": (0.95, 1.5), "outer": (1.05, 2.2), "dress": (1.7, 3.0), "lower": (0.5, 3.0)}
"""Shortest and longest garments, in heights from hips to shoulders."""
WHOLE = 0.75
"""A sleeve that covers more than this share of the arm covers it all."""
WARM = ("sweater", "jacket")
"""Kinds that seldom have sleeves of another length than the arm's."""
LONG_SLEEVES = 0.45
"""Share of the arm from which sleeves of these kinds, and of what is worn over others, cover it all."""
CUFF = 0.97
"""Share of the arm, from shoulder to wrist, that a whole sleeve covers: the hand stays free."""
TROUSERS = 2.5
"""Length over the width of the waist of trousers that lie flat and reach the ankles."""
LONG = 0.65
"""Share of that length from which a garment with legs is taken to reach the ankles."""
SHORTS = 0.5
"""Largest share of that length of shorts; from it on, what is called trousers reaches the ankles."""
ANKLE = 1.03
"""Share of the leg, from waist to ankle joint, that long trousers cover: the hem lies a little below the joint."""
HEM = 1.05
"""Least width of the hem of a garment that ends at the hips or below, as a share of the distance between the shoulder
joints: hips are as wide as that."""
TO_HIPS = 0.9
"""Length in heights of hips to shoulders from which a garment is taken to reach the hips."""
SHORT_HEM = 0.9
"""Least width of the hem of one that ends above the hips, as the same share: the waist is narrower."""
SKIRT_HEM = 1.15
"""Least width of a skirt's hem, as the same share: legs take steps in it."""
TROUSER_HEM = (0.1, 0.4)
"""Least and most half width of the hem of a leg, as the same share."""
THIGH = 1.15
"""Half the width of a leg at the hip over that at the waist."""
CROTCH = 0.3
"""How far outside the hip joint the line of a leg runs, as a share of the way from the middle of the hips to it."""
EDGE = 0.007
"""Of the picture's height: how far inside its edge a garment's colours are no longer mixed with its background's."""
HOLE = 0.02
"""Largest share of the cloth of a hole that is cloth as well: a print, a label or a button that is white itself."""
RAGGED = 13
"""Pixels over which the edge of the cloth is smoothed, for cut-outs are ragged."""
ROUND = 0.22
"""How much darker cloth is at the edge of a limb: it turns away from the light."""
CAST = 0.35
"""How much darker a trunk is beside a sleeve, which casts a shadow."""
ROWS = 256
"""Rows of a photo that are laid at a time."""


@dataclass(frozen=True)
class Part:
    """A strip of the garment's picture, which of the picture's pixels belong to it (H, W), and where it goes; sleeves
    are round about the shoulder (2,), above which they have no corners."""

    source: Strip
    owned: np.ndarray
    target: Strip
    shoulder: np.ndarray | None = None


def lay(garment: Image.Image, kind: str, joints: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """Lay a garment on white over a photo of `size` (H, W): RGBA of that size, transparent where it does not reach.

    kind: a kind of the vocabulary or a region. joints (13, 3): `Joint`s in pixels of the photo.

    Raises:
        DataError: the picture shows no cloth.
    """
    picture = to_tensor(garment.convert("RGB"))[0]
    cloth = _filled(cloth_of(picture * 2 - 1)[0].numpy())
    picture = _bled(picture, cloth)
    parts = _parts(cut_of(cloth, kind), cloth, kind, as_seen(joints)[:, :2].astype(float))
    canvas = Image.new("RGBA", (size[1], size[0]))
    for top, box in _boxes(parts, size):
        layer = np.zeros((box[3] - box[1], box[2] - box[0], 4), np.float32)
        x, y = np.meshgrid(np.arange(box[0], box[2]) + 0.5, np.arange(box[1], box[3]) + 0.5)
        for i, part in enumerate(parts):
            _draw(layer, part, picture, x, y, limb=len(parts) > 1 and (i > 0 or region_of(kind) == "lower"))
        canvas.paste(Image.fromarray((layer * 255 + 0.5).astype(np.uint8), "RGBA"), (box[0], top))
    return canvas


def _filled(cloth: np.ndarray) -> np.ndarray:
    """Cloth (H, W) with its small holes, where it is white itself, filled."""
    holes = [hole for hole in components(~cloth) if hole.sum() < HOLE * cloth.sum()]
    return np.logical_or.reduce([cloth, *holes])


def _bled(picture: torch.Tensor, cloth: np.ndarray) -> torch.Tensor:
    """Let the colours (3, H, W) of the cloth run over its edge, so that the white around it does not show."""
    edge = max(2, round(EDGE * cloth.shape[0]))
    inside = erode(cloth, up=edge, down=edge, side=edge)
    known = torch.from_numpy(inside if inside.any() else cloth)[None].float()
    both = blur(torch.cat([picture * known, known])[None], kernel=4 * edge + 1)[0]
    return torch.where(known > 0, picture, torch.where(both[3:] > 1e-3, both[:3] / both[3:].clamp(min=1e-3), picture))


def _parts(cut: Cut, cloth: np.ndarray, kind: str, joints: np.ndarray) -> list[Part]:
    """Return the parts of a garment's picture, cloth bool (H, W), and where they go along the joints (13, 2)."""
    strips = [*cut.legs] if cut.trunk is None else [cut.trunk, *cut.sleeves]
    y, x = np.mgrid[: cloth.shape[0], : cloth.shape[1]] + 0.5
    away = np.stack([_away(strip, x, y) for strip in strips])
    soft = blur(torch.from_numpy(cloth)[None, None].float(), kernel=RAGGED)[0, 0].numpy()
    owned = soft * (away <= np.maximum(away.min(0), 1.0))
    shoulders: list[np.ndarray | None] = [None] * len(strips)
    if cut.trunk is None:
        targets = _legs(cut, joints, kind=kind)
    elif region_of(kind) == "lower":
        targets = _skirt(cut, joints)
    else:
        targets = _upper(cut, joints, kind=kind, drop=_drop(cut.trunk, cloth))
        shoulders[1:] = [joints[Joint.RIGHT_SHOULDER], joints[Joint.LEFT_SHOULDER]][: len(strips) - 1]
    return [Part(*one) for one in zip(strips, owned, targets, shoulders, strict=True)]


def _away(strip: Strip, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance in pixels from a straight strip, 0 within it."""
    u, v = strip.coordinates(x, y)
    return np.hypot((np.abs(v) - 1).clip(0) * strip.half_at(u), np.maximum(-u, u - 1).clip(0) * strip.length)


def _drop(trunk: Strip, cloth: np.ndarray) -> float:
    """How far below the start of a trunk's strip the shoulders lie, in pixels of the picture of the cloth (H, W)."""
    u = np.linspace(-0.3, 0.5, 200)
    found = []
    for side in (-TIP, TIP):
        x, y = trunk.at(u, np.full_like(u, side))
        inside = cloth[y.astype(int).clip(0, cloth.shape[0] - 1), x.astype(int).clip(0, cloth.shape[1] - 1)]
        found.append(u[inside.argmax()] if inside.any() else 0.0)
    return float(np.clip(np.mean(found) * trunk.length, DROP[0] * trunk.half[0], DROP[1] * trunk.half[0]))


def _upper(cut: Cut, joints: np.ndarray, *, kind: str, drop: float) -> list[Strip]:
    """Where trunk and sleeves go; drop: how far the shoulders lie below the start of the trunk's strip."""
    assert cut.trunk is not None
    region = region_of(kind)
    body = trunk_of(joints)
    low, high = REACHES[region]
    half = SHOULDERS * body.across
    scale = TALL * half / cut.trunk.half[0]
    start = body.shoulders - (RISE * body.across + drop * scale) * body.down
    length = float(np.clip(cut.trunk.length * scale, low * body.tall, high * body.tall))
    hips = (HEM if length > TO_HIPS * body.tall else SHORT_HEM) * body.across / 2
    below = max(NARROWER * cut.trunk.half[1] * scale, hips)
    strips = [Strip(np.stack([start, start + length * body.down]), np.array([half, below]))]
    for sleeve, side, name in zip(cut.sleeves, (-1, 1), ("RIGHT", "LEFT")):  # as they are seen
        shoulder, elbow, wrist = (joints[Joint[f"{name}_{part}"]] for part in ("SHOULDER", "ELBOW", "WRIST"))
        shoulder = shoulder + side * OUTSIDE * body.across * body.aside
        axis = (elbow - shoulder) / max(float(np.hypot(*(elbow - shoulder))), 1e-6)
        widths = sleeve.half * scale * NARROWER
        limb = Strip(np.stack([shoulder - RISE * body.across * axis, elbow, wrist]),
                     np.array([widths[0], widths.mean(), widths[1]]))  # fmt: skip
        wanted = sleeve.length * scale
        whole = wanted > (LONG_SLEEVES if region == "outer" or kind in WARM else WHOLE) * limb.length
        strips.append(limb.cut(CUFF * limb.length if whole else wanted))
    return strips


def _skirt(cut: Cut, joints: np.ndarray) -> list[Strip]:
    """Where a skirt goes."""
    assert cut.trunk is not None
    body = trunk_of(joints)
    low, high = REACHES["lower"]
    half = WAIST_WIDE * body.across
    scale = TALL * half / cut.trunk.half[0]
    length = float(np.clip(cut.trunk.length * scale, low * body.tall, high * body.tall))
    start = body.hips - WAIST * body.tall * body.down
    below = max(NARROWER * cut.trunk.half[1] * scale, SKIRT_HEM * body.across / 2)
    return [Strip(np.stack([start, start + length * body.down]), np.array([half, below]))]


def _legs(cut: Cut, joints: np.ndarray, *, kind: str) -> list[Strip]:
    """Where the legs of trousers go, down to the ankles, or of shorts, and of what is one or the other by its shape."""
    body = trunk_of(joints)
    strips = []
    half = WAIST_WIDE / 2 * body.across
    for leg, side, name in zip(cut.legs, (-1, 1), ("RIGHT", "LEFT"), strict=True):
        hip, knee, ankle = (joints[Joint[f"{name}_{part}"]] for part in ("HIP", "KNEE", "ANKLE"))
        waist = body.hips - WAIST * body.tall * body.down + side * half * body.aside
        scale = TALL * NARROWER * half / leg.half[0]
        below = np.clip(leg.half[1] * scale, TROUSER_HEM[0] * body.across, TROUSER_HEM[1] * body.across)
        line = np.stack([waist, hip + CROTCH * (hip - body.hips), knee, ankle])
        limb = Strip(line, np.array([half, THIGH * half, (half + below) / 2, below]))
        share = min(leg.length / (4 * leg.half[0]) / TROUSERS, SHORTS if kind == "shorts" else np.inf)
        long = share > (SHORTS if kind == "trousers" else LONG)
        strips.append(limb.cut((ANKLE if long else share) * limb.length))
    return strips


def _boxes(parts: list[Part], size: tuple[int, int]) -> Iterator[tuple[int, tuple[int, int, int, int]]]:
    """Boxes (left, top, right, bottom) of a photo, some rows each, that hold the parts and some room around them."""
    low = np.min([(p.target.points - 2 * p.target.half[:, None]).min(0) for p in parts], 0)
    high = np.max([(p.target.points + 2 * p.target.half[:, None]).max(0) for p in parts], 0)
    room = 0.25 * max(p.target.length for p in parts)
    left, right = max(0, int(low[0] - room)), min(size[1], int(high[0] + room) + 1)
    top, bottom = max(0, int(low[1] - room)), min(size[0], int(high[1] + room) + 1)
    for start in range(top, bottom, ROWS):
        if right > left:
            yield start, (left, start, right, min(start + ROWS, bottom))


def _draw(layer: np.ndarray, part: Part, picture: torch.Tensor, x: np.ndarray, y: np.ndarray, *, limb: bool) -> None:
    """Draw a part over a layer (h, w, 4) of the places x, y (h, w)."""
    u, v = part.target.coordinates(x, y)
    sx, sy = part.source.at(u, v)
    height, width = part.owned.shape
    grid = torch.from_numpy(np.stack([sx / width * 2 - 1, sy / height * 2 - 1], -1)).float()[None]
    source = torch.cat([picture, torch.from_numpy(part.owned)[None]])[None]
    found = F.grid_sample(source, grid, align_corners=False)[0].movedim(0, -1).numpy()
    alpha = ((found[..., 3:] - 0.5) / 0.25).clip(0, 1)
    if part.shoulder is not None:
        along = part.target.points[1] - part.target.points[0]
        dx, dy = x - part.shoulder[0], y - part.shoulder[1]
        alpha *= ((dx * along[0] + dy * along[1] > 0) | (np.hypot(dx, dy) < part.target.half[0]))[..., None]
    edge = np.abs(v)[..., None].clip(0, 1) ** 3
    if limb:
        cast = ((1.3 - np.abs(v)) / 0.3).clip(0, 1) * ((u - 0.25) / 0.2).clip(0, 1) * (u < 1.0)
        layer[..., :3] *= 1 - CAST * cast[..., None] * (1 - alpha)
    colour = found[..., :3] * (1 - ROUND * edge * (1.0 if limb else 0.5))
    layer[..., :3] += alpha * (colour - layer[..., :3])
    layer[..., 3:] += alpha * (1 - layer[..., 3:])
