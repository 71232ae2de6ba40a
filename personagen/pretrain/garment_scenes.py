"""Photos of garments with what each pixel shows, put together from pieces (`atelier.flat`, or cut out of photos).

Trunk and limbs are laid in an arrangement drawn by chance: limbs apart, along the trunk, across it, bent or folded, the
whole turned and creased, on a floor, on a hanger or with clips, in a light of its own.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from ..atelier.flat import FlatPiece
from ..images import blur, dilate
from ..training.thin_plate import bend_grid
from ..vocabulary import GarmentPart
from ..warping.strips import Strip

CLOTH, UNKNOWN = 254, 255
"""Labels of what is cloth of any part, and of what is not judged."""
SIDE = 256
"""Pixels a side of pieces, and of what is put together from them."""
LEGS = (GarmentPart.LEFT_LEG, GarmentPart.RIGHT_LEG)
Scene = tuple[np.ndarray, np.ndarray]
"""A picture (SIDE, SIDE, 3) and its labels (SIDE, SIDE), uint8."""


@dataclass(frozen=True)
class _Layer:
    """Colours and alpha (SIDE, SIDE, 4) in [0, 1], and labels (SIDE, SIDE)."""

    colours: np.ndarray
    labels: np.ndarray


def scene_of(pieces: list[FlatPiece], floor: np.ndarray, rng: np.random.Generator, *, lower: bool) -> Scene:
    """Lay a garment's pieces on a floor (SIDE, SIDE, 3), uint8; lower: it is worn below the waist."""
    trunk, limbs = pieces[0], pieces[1:]
    layers = [_Layer(trunk.picture.astype(np.float32) / 255, trunk.parts)]
    for limb, (angles, above) in zip(limbs, _arrangement(limbs, rng, lower=lower), strict=True):
        moved = _moved(limb, angles, rng)
        layers = [*layers, moved] if above else [moved, *layers]
    at = next(i for i, layer in enumerate(layers) if layer.labels is trunk.parts)
    if not lower and rng.random() < 0.22:
        layers[at : at + 1] = _hooded(layers[at], rng)
    canvas, labels = _stacked(layers, rng)
    if rng.random() < 0.4:
        canvas, labels = _hung(canvas, labels, rng, lower=lower)
    canvas, labels = _placed(canvas, labels, rng)
    return _lit(canvas, labels, floor, rng), labels


def _arrangement(limbs: list[FlatPiece], rng: np.random.Generator, *, lower: bool) -> list[tuple[list[float], bool]]:
    """Angles of each limb's bones from down and outwards, in radians, and whether it lies above the trunk."""
    if not limbs:
        return []
    if lower:
        apart = rng.uniform(-0.06, 0.32, 2) if rng.random() < 0.85 else rng.uniform(-0.35, 0.1, 2)
        folds = np.where(rng.random(2) < 0.12, rng.uniform(2.2, 3.0, 2) * rng.choice((-1, 1), 2), rng.normal(0, 0.1, 2))
        return [([float(a), float(a + bend)], rng.random() < 0.5) for a, bend in zip(apart, folds)]
    poses = []
    for _ in range(2):
        pose, above = rng.random(), True
        if pose < 0.4:  # apart
            first = rng.uniform(0.25, 1.6)
            angles, above = [first, first + rng.normal(0, 0.2)], rng.random() < 0.4
        elif pose < 0.65:  # along the trunk
            first = rng.uniform(-0.05, 0.3)
            angles, above = [first, first + rng.normal(-0.1, 0.2)], rng.random() < 0.6
        elif pose < 0.85:  # bent across it
            first = rng.uniform(-0.2, 0.7)
            angles = [first, first - rng.uniform(0.6, 2.4)]
        else:  # straight across it
            first = rng.uniform(-0.9, -0.15)
            angles = [first, first + rng.normal(0, 0.3)]
        poses.append(([float(a) for a in angles], above))
    if rng.random() < 0.6:
        poses[1] = ([a + rng.normal(0, 0.08) for a in poses[0][0]], poses[0][1])
    return poses


def _moved(limb: FlatPiece, angles: list[float], rng: np.random.Generator) -> _Layer:
    """A limb that lies at other angles."""
    steps = np.hypot(*np.diff(limb.line, axis=0).T) * rng.uniform(0.85, 1.15)
    sign = -1.0 if limb.line[0, 0] < SIDE / 2 else 1.0
    points = [limb.line[0]]
    for i, step in enumerate(steps):
        angle = angles[min(i, len(angles) - 1)]
        points.append(points[-1] + step * np.array([sign * np.sin(angle), np.cos(angle)]))
    half = np.full(len(points), limb.half)
    wide = half * rng.uniform(0.9, 1.3)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    u, v = Strip(np.array(points), wide).coordinates(x, y)
    sx, sy = Strip(limb.line, half).at(u, v)
    grid = np.stack([sx, sy], -1) / SIDE * 2 - 1
    keep = (np.abs(v) < 2.2) & (u > -0.6) & (u < 1.6)
    found = _sampled(limb.picture.astype(np.float32) / 255, limb.parts, grid)
    found.colours[..., 3] *= keep
    part = int(limb.parts.max())
    return replace(found, labels=np.where(found.colours[..., 3] > 0.5, part, 0).astype(np.uint8))


def _sampled(colours: np.ndarray, labels: np.ndarray, grid: np.ndarray) -> _Layer:
    """Colours (h, w, 4), alpha first multiplied in, and labels (h, w), at places (SIDE, SIDE, 2) in [-1, 1]."""
    at = torch.from_numpy(grid).float()[None]
    premultiplied = np.concatenate([colours[..., :3] * colours[..., 3:], colours[..., 3:]], -1)
    planes = torch.from_numpy(premultiplied).permute(2, 0, 1)[None].float()
    found = F.grid_sample(planes, at, align_corners=False)[0].permute(1, 2, 0).numpy()
    marks = torch.from_numpy(labels)[None, None].float()
    near = F.grid_sample(marks, at, mode="nearest", align_corners=False)[0, 0].numpy().astype(np.uint8)
    return _Layer(np.concatenate([found[..., :3] / np.maximum(found[..., 3:], 1e-3), found[..., 3:]], -1), near)


def _hooded(trunk: _Layer, rng: np.random.Generator) -> list[_Layer]:
    """A hood behind a trunk, drawn over the shoulders, with its inside; and the trunk."""
    y, x = np.nonzero(trunk.labels)
    top, wide = float(y.min()), float(np.ptp(x[y < y.min() + 0.25 * np.ptp(y)]) + 1)
    centre, high, half = float(x.mean()), wide * rng.uniform(0.35, 0.8), wide * rng.uniform(0.24, 0.42)
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    across = (columns - centre) / half
    up = (top + 0.12 * wide - rows) / high
    power = rng.uniform(1.7, 3.0)
    outer = (np.abs(across) ** power + np.clip(up, 0, None) ** power < 1) & (up > -0.15)
    size = rng.uniform(0.45, 0.85)
    inner = (np.abs(across / size) ** 2 + (np.abs(up - 0.3) / size) ** 2 < 0.8) & (rng.random() < 0.7)
    cloth = trunk.labels != GarmentPart.BACKGROUND
    colour = np.median(trunk.colours[cloth][:, :3], 0)
    round_ = 1 - 0.35 * np.abs(across).clip(0, 1) ** 3 + rng.normal(0, 0.02, outer.shape)
    light = np.where(inner, rng.uniform(0.45, 1.1), 1.0) * round_
    colours = np.concatenate([(colour * light[..., None]).clip(0, 1), outer[..., None]], -1).astype(np.float32)
    labels = np.where(outer, np.where(inner, GarmentPart.LINING, GarmentPart.HOOD), 0).astype(np.uint8)
    return [_Layer(colours, labels), trunk]


def _stacked(layers: list[_Layer], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Colours (SIDE, SIDE, 4) and labels of layers, the last one on top; each shades what is below it at its edge."""
    colours, labels = np.zeros((SIDE, SIDE, 4), np.float32), np.zeros((SIDE, SIDE), np.uint8)
    dark = rng.uniform(0.0, 0.5)
    for layer in layers:
        alpha = layer.colours[..., 3:]
        near = blur(torch.from_numpy(alpha[..., 0].copy())[None, None], kernel=9)[0, 0, :, :, None].numpy()
        colours[..., :3] *= 1 - dark * near * (1 - alpha)
        colours[..., :3] += alpha * (layer.colours[..., :3] - colours[..., :3])
        colours[..., 3:] = np.maximum(colours[..., 3:], alpha)
        labels = np.where(alpha[..., 0] > 0.5, layer.labels, labels)
    return colours, labels


def _hung(canvas: np.ndarray, labels: np.ndarray, rng: np.random.Generator, *, lower: bool) -> Scene:
    """A hanger's hook and bar in the neckline, or clips on the waist: background."""
    y, x = np.nonzero(labels)
    top, left, right = int(y.min()), int(x.min()), int(x.max())
    image, wide = Image.new("L", (SIDE, SIDE)), max(2, int(rng.integers(2, 7)))
    draw = ImageDraw.Draw(image)
    row = x[y < top + 6]
    centre = float(np.median(row)) if row.size else (left + right) / 2
    reach = (0.5 if lower else 0.28) * (right - left)
    bar = top + (-4 if lower else float(rng.uniform(4, 16)))
    ends = bar + (0 if lower else 12)
    draw.line([(centre - reach, ends), (centre, bar), (centre + reach, ends)], fill=255, width=wide)
    draw.line([(centre, bar), (centre, bar - 16)], fill=255, width=max(2, wide // 2))
    draw.arc([centre - 8, bar - 32, centre + 8, bar - 14], 150, 450, fill=255, width=max(2, wide // 2))
    on = np.asarray(image) > 0
    if lower:
        clips = Image.new("L", (SIDE, SIDE))
        for side in (-1, 1):
            at, half, tall = centre + side * reach * rng.uniform(0.4, 0.85), rng.uniform(3, 8), rng.uniform(8, 20)
            ImageDraw.Draw(clips).rectangle([at - half, bar - 3, at + half, bar + tall], fill=255)
        on = on & (labels == 0) | (np.asarray(clips) > 0)
    else:
        on &= np.isin(labels, (0, GarmentPart.LINING))
    colour = rng.choice(np.array([[0.08] * 3, [0.9] * 3, [0.7, 0.5, 0.3], [0.5] * 3, [0.75, 0.2, 0.2]], np.float32))
    canvas = canvas.copy()
    canvas[on] = [*(colour * rng.uniform(0.8, 1.1)).clip(0, 1), 1.0]
    return canvas, np.where(on, 0, labels).astype(np.uint8)


def _placed(canvas: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Scene:
    """The garment turned, scaled, widened and bent, so that it fills most of the picture."""
    y, x = np.nonzero(canvas[..., 3] > 0.5)
    middle = np.array([x.min() + x.max(), y.min() + y.max()]) / SIDE - 1
    size = np.array([np.ptp(x), np.ptp(y)]) / SIDE
    stretch = np.array([rng.uniform(1.0, 1.45), 1.0])
    fill = rng.uniform(0.62, 1.02) if rng.random() < 0.9 else rng.uniform(0.4, 0.6)
    scale = fill / max(size * stretch)
    angle = rng.normal(0, 0.1) if rng.random() < 0.88 else rng.uniform(-0.9, 0.9)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = np.diag(1 / (scale * stretch)) @ turn
    shift = rng.uniform(-1, 1, 2) * max(0.05, 1 - fill) * 0.6
    theta = torch.from_numpy(np.concatenate([matrix, (middle - matrix @ shift)[:, None]], 1)).float()[None]
    grid = F.affine_grid(theta, [1, 1, SIDE, SIDE], align_corners=False)
    random = torch.Generator().manual_seed(int(rng.integers(1 << 31)))
    bent = bend_grid(grid, strength=float(rng.uniform(0.0, 0.09)), generator=random)
    found = _sampled(canvas, labels, bent[0].numpy())
    alpha, shown = found.colours[..., 3], found.labels
    shown = np.where((alpha > 0.5) & (shown == 0), UNKNOWN, np.where(alpha > 0.5, shown, 0))
    return found.colours, shown.astype(np.uint8)


def _lit(canvas: np.ndarray, labels: np.ndarray, floor: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The garment on a floor (SIDE, SIDE, 3), with its shadow, creases, and a camera's noise: uint8 (SIDE, SIDE, 3)."""
    ground = floor.astype(np.float32) / 255
    covered = torch.from_numpy(np.roll(canvas[..., 3], rng.integers(-6, 7, 2), (0, 1)))[None, None]
    shade = blur(covered.float(), kernel=int(rng.choice((5, 11, 21, 31))))[0, 0, :, :, None].numpy()
    ground = ground * (1 - rng.uniform(0, 0.7) * shade)
    folds = 1 + rng.uniform(0.0, 0.3) * _waves(rng, 24) + rng.uniform(0.0, 0.25) * _waves(rng, 8)
    cloth = canvas[..., :3] * np.clip(folds, 0.4, 1.6)[..., None]
    alpha = canvas[..., 3:]
    picture = ground + alpha * (cloth - ground)
    light = 1 + rng.uniform(0, 0.25) * _waves(rng, 3)
    picture = picture * light[..., None] * (1 + rng.normal(0, 0.06, 3)) * rng.uniform(0.75, 1.2)
    picture = picture + rng.normal(0, rng.uniform(0.0, 0.03), picture.shape)
    if rng.random() < 0.4:
        soft = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
        picture = blur(soft, kernel=int(rng.choice((3, 5))))[0].permute(1, 2, 0).numpy()
    return (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _waves(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Smooth noise (SIDE, SIDE), about -1 to 1."""
    coarse = torch.from_numpy(rng.normal(0, 0.6, (1, 1, cells + 1, cells + 1)))
    return F.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic", align_corners=True)[0, 0].numpy().clip(-1.5, 1.5)


def ringed(labels: np.ndarray, *, wide: int = 2) -> np.ndarray:
    """Labels (H, W) of a photo in which the edge of the cloth is not judged."""
    cloth = labels != GarmentPart.BACKGROUND
    edge = dilate(cloth, up=wide, down=wide, side=wide) & dilate(~cloth, up=wide, down=wide, side=wide)
    return np.where(edge, UNKNOWN, labels).astype(np.uint8)
