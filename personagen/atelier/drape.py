"""Garments as surfaces on a body: shells of trunk and limbs that stand off, hang, fold, and end at hems."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from . import folds
from .body import Skeleton, bend
from .garment import GarmentSpec, hem, waist
from .limbs import (
    arm_length,
    arm_radius,
    arm_tube,
    cap,
    chest_bumps,
    into_arms,
    leg_length,
    leg_radius,
    leg_tube,
)
from .surface import (
    Array,
    Patch,
    Profile,
    arc_length,
    around,
    bell,
    grid_normals,
    patch,
    ramp,
    smooth,
    stack,
    tube,
    unit,
)


@dataclass(frozen=True)
class Cut:
    """How a kind of garment fits: ``ease`` (m) off the body, ``hang`` how straight it falls from the chest, ``sleeve``
    more room in the sleeve (m), ``rib`` height of knitted bands at hem and cuff (m)."""

    ease: float
    hang: float = 0.0
    sleeve: float = 0.004
    rib: float = 0.0


CUTS = {
    "t-shirt": Cut(0.011, 0.50, 0.012),
    "shirt": Cut(0.013, 0.55, 0.009),
    "sweater": Cut(0.021, 0.75, 0.012, 0.052),
    "jacket": Cut(0.027, 0.75, 0.012, 0.045),
    "dress": Cut(0.009, 0.06, 0.006),
    "skirt": Cut(0.010),
    "trousers": Cut(0.010),
    "shorts": Cut(0.012),
}
COLUMNS = 81
OPEN = 0.95
"""Angle from the front at which a V begins."""
BODICE = 0.620
"""Where the skirt of a dress begins, as a share of the height."""


def name_of(spec: GarmentSpec) -> str:
    """The label of a garment."""
    return "outer" if spec.kind == "jacket" else spec.region


def neckline(spec: GarmentSpec, height: float, angle: Array) -> Array:
    """Heights (C,) of the opening around the neck."""
    cos = np.cos(angle)
    side, front, back = {
        "crew": (0.8475, -0.0165, 0.006),
        "v": (0.8455, -0.010, 0.006),
        "boat": (0.8370, -0.0075, 0.006),
        "collar": (0.8510, -0.0130, 0.006),
    }[spec.neckline]
    line = side + np.where(cos > 0, front, back) * np.abs(cos) ** 1.5
    if spec.neckline == "v":
        line = np.minimum(line, 0.763 + 0.0835 * np.abs(angle) / OPEN)
    return (line * height).astype(np.float32)


def _v_angle(solid: Profile, line: Array, angle: Array) -> Array:
    """Angles (C,) at which the neckline ``line`` of a V stands, so that its sides are straight."""
    reach = float(solid.at(line)[0][np.abs(angle) > OPEN].min()) * 0.97
    share = np.minimum(np.abs(angle) / OPEN, 1.0)
    wide = solid.at(line)[0]
    slant = np.arcsin(np.clip(reach * share / wide, 0.0, 1.0) ** (1.0 / 0.88))
    last = float(slant[share < 1.0].max())
    ring = last + (np.abs(angle) - OPEN) * (np.pi - last) / (np.pi - OPEN)
    return np.where(share < 1.0, slant, ring) * np.sign(angle)


def skirt_lines(
    spec: GarmentSpec, skel: Skeleton, y: Array, top: float, free: float | None = None
) -> tuple[Array, Array, Array]:
    """Half width, front and back of a skirt at heights ``y``, from ``top`` (m); it flares from ``free`` (m) down."""
    h = skel.body.height
    down = np.clip(((free or top) - y) / (top - 0.2 * h), 0.0, 1.2)
    hips = 1.0 - smooth(y, 0.525 * h, top)
    flare = (0.010 + 0.165 * spec.flare) * down**1.1
    lines = skel.trunk.at(np.array([top, 0.525 * h], np.float32))
    room = (0.009, 0.019), (0.009, 0.016), (0.010, 0.016)
    wide, front, back = (
        line[0] + a + (line[1] + b - line[0] - a) * hips for line, (a, b) in zip(lines, room, strict=True)
    )
    knee = 0.040 * smooth(down, 0.1, 0.7) * max(1.0 - 2.0 * spec.flare, 0.0)  # a step takes some room
    return wide + flare, front + 0.80 * flare + knee, back + 0.85 * flare


def cloth_profile(spec: GarmentSpec, skel: Skeleton) -> Profile:
    """The trunk in a garment: the body's plus ease, falling from chest and hips as the cloth hangs."""
    body, t, cut = skel.body, skel.trunk, CUTS[spec.kind]
    h, y = body.height, np.arange(0.15, 0.9, 0.004, dtype=np.float32) * skel.body.height
    w, f, b = t.at(y)
    low = y < 0.53 * h
    w, b = np.where(low, np.maximum(w, body.hip), w), np.where(low, np.maximum(b, 0.110 * body.build), b)
    f = np.where(low, np.maximum(f, 0.092 * body.build), f)
    neck = 1.0 - smooth(y, 0.805 * h, 0.850 * h)
    out = []
    for line in (w, f, b):
        chest = float(np.interp(0.735 * h, y, line))
        below = smooth(-y, -0.735 * h, -0.68 * h)
        straight = np.maximum(chest * (1.0 - 0.10 * (0.735 * h - y) / (0.25 * h)), line)
        out.append(line + cut.ease * (0.35 + 0.65 * neck) + cut.hang * below * (straight - line))
    over = 1.0 - smooth(y, 0.50 * h, 0.59 * h)
    if spec.region == "upper":  # it lies over thighs and seat
        out = [line + room * over for line, room in zip(out, (0.012, 0.026, 0.016), strict=True)]
    if cut.rib:
        y0 = hem(spec, h)
        gather = 1.0 - smooth(y, y0 + 0.6 * cut.rib, y0 + cut.rib + 0.035)
        puff = 0.010 * bell(y - y0 - cut.rib - 0.045, 0.045)
        tight = [line + 0.012 + room * over for line, room in zip((w, f, b), (0.014, 0.026, 0.018), strict=True)]
        out = [line + puff - gather * np.maximum(line - at, 0.0) for line, at in zip(out, tight, strict=True)]
    if spec.region == "dress":
        into = 1.0 - smooth(y, (BODICE - 0.01) * h, (BODICE + 0.012) * h)
        skirts = skirt_lines(spec, skel, y, BODICE * h)
        out = [line + (skirted - line) * into for line, skirted in zip(out, skirts, strict=True)]
    return Profile(y, *(line.astype(np.float32) for line in out))


def _lip(p: Array, inward: float, up: Array | float = 0.0) -> Array:
    """Add two rows that turn the lower edge of (R, C, 3) in, so that cloth shows its thickness."""
    middle = p[-1].mean(0, keepdims=True)
    way = middle - p[-1]
    way = way / np.maximum(np.sqrt((way**2).sum(-1, keepdims=True)), 1e-6)
    first = p[-1] + 0.35 * inward * way - np.array([0, 0.3 * inward, 0], np.float32)
    second = p[-1] + inward * way + np.array([0, 0.010, 0], np.float32)
    return np.concatenate([p, first[None], second[None]]).astype(np.float32)


def _lipped(marks: Array) -> Array:
    """Marks for the two rows of `_lip`; their distance to the hem is 0."""
    last = marks[-1:].copy()
    last[..., 2] = 0.0
    return np.concatenate([marks, last, last])


def trunk_cloth(spec: GarmentSpec, skel: Skeleton) -> list[Patch]:
    """The trunk of a top, jacket or dress from the neckline to the hem, and what edges the neckline."""
    body, cut = skel.body, CUTS[spec.kind]
    h, angle, y0 = body.height, around(COLUMNS, 0.22), hem(spec, body.height)
    solid = cloth_profile(spec, skel)
    rows = 64 if spec.region == "dress" else 50
    line = neckline(spec, h, angle)
    y = solid.spread(line, np.full(COLUMNS, y0, np.float32), rows)
    ways = angle if spec.neckline != "v" else angle + (_v_angle(solid, line, angle) - angle) * (1.0 - ramp(rows)) ** 4
    p = chest_bumps(body, solid.shell(y, ways, 0.88))
    relief = folds.trunk(spec, skel, p, angle, y0)
    p = bend(body, p + grid_normals(p) * relief[..., None])
    if spec.sleeve > 0:
        p = into_arms(skel, p, 0.45 * (cut.ease + cut.sleeve))
    marks = stack(arc_length(p), y, y - y0, relief)
    out = [patch(_lip(p, 0.012), _lipped(marks), name_of(spec), "trunk", double=True)]
    return out + _edge(spec, skel, solid, p[0])


def _edge(spec: GarmentSpec, skel: Skeleton, solid: Profile, line: Array) -> list[Patch]:
    """A collar or a band along the neckline (C, 3)."""
    if spec.neckline == "collar":
        return [_collar(spec, skel, solid)]
    thick = {"sweater": 0.0125, "t-shirt": 0.0075}.get(spec.kind, 0.0050)
    ring = np.concatenate([line[-2:-1], line, line[1:2]])
    along = unit(ring[2:] - ring[:-2])
    flat = np.full((len(line), 1), thick, np.float32)
    p = tube(line, along, flat, 0.65 * flat, around(13), np.array([0.0, 1.0, 0.0], np.float32) + 0.0 * along)
    marks = stack(arc_length(p.transpose(1, 0, 2)).T, 0.0 * p[..., 0])
    return [patch(p[:, ::-1], marks, name_of(spec), "band", double=True)]


def _collar(spec: GarmentSpec, skel: Skeleton, solid: Profile) -> Patch:
    """A shirt's turned-down collar with points, or a jacket's standing one; open at the front."""
    jacket = spec.kind == "jacket"
    angle = np.linspace(0.045, 2 * np.pi - 0.045, 73, dtype=np.float32)
    wrapped = np.where(angle > np.pi, angle - 2 * np.pi, angle)
    base = solid.shell(neckline(spec, skel.body.height, wrapped)[None], wrapped, 0.88)[0]
    if jacket:
        shape = ((0.004, -0.012), (0.000, 0.004), (-0.002, 0.022), (-0.001, 0.040), (0.005, 0.046), (0.011, 0.040),
                 (0.013, 0.020), (0.016, -0.002), (0.022, -0.014))  # fmt: skip
    else:
        shape = ((0.004, -0.010), (-0.002, 0.006), (-0.004, 0.020), (-0.001, 0.029), (0.006, 0.032), (0.013, 0.026),
                 (0.021, 0.010), (0.030, -0.010), (0.027, -0.013))  # fmt: skip
    out, up = (np.array(c, np.float32)[:, None] for c in zip(*shape, strict=True))
    if not jacket:  # the points of the fall
        near = np.minimum(angle, 2 * np.pi - angle)[None]
        fall = smooth(np.arange(9, dtype=np.float32)[:, None], 4.0, 7.0)
        up = up - fall * (0.030 * bell(near - 0.30, 0.34) + 0.004)
        out = out + fall * 0.012 * bell(near - 0.25, 0.4)
    way = np.stack([np.sin(wrapped), 0 * wrapped, np.cos(wrapped)], -1)
    p = base + out[..., None] * way + up[..., None] * np.array([0.0, 1.0, 0.0], np.float32)
    p = bend(skel.body, p)
    marks = stack(np.broadcast_to(angle - np.pi, p.shape[:2]) * 0.08, p[..., 1], np.broadcast_to(ramp(9), p.shape[:2]))
    return patch(p, marks, name_of(spec), "collar", closed=False, double=True)


def sleeves(spec: GarmentSpec, skel: Skeleton) -> list[Patch]:
    """Both sleeves down to where ``spec.sleeve`` ends them."""
    cut, length, out = CUTS[spec.kind], arm_length(skel), []
    reach, angle = spec.sleeve * length, around(41)
    long = spec.sleeve > 0.5
    for side in range(2):
        s = -0.046 + (reach + 0.046) * ramp(46 if long else 26)
        loose = (cut.ease + cut.sleeve) * (0.25 + 0.75 * smooth(s, -0.02, 0.12))
        radius = arm_radius(skel.body, np.clip(s / length, 0, 1)) + loose
        if long:
            tight = smooth(s, reach - 0.075, reach - (0.055 if cut.rib else 0.060))
            radius = radius + 0.010 * bell(s - reach + 0.10, 0.05) - tight * (cut.ease + cut.sleeve - 0.0095)
        else:
            radius = radius + 0.012 * smooth(s, 0.0, reach)
        radius = cap(radius, s)
        relief = folds.sleeve(spec, skel, side, s, angle, reach)
        p = arm_tube(skel, side, s, radius + relief, angle, 0.4 * cut.ease)
        marks = stack(radius * angle, skel.shoulder[side][1] - s + 0 * angle, reach - s, relief)
        out.append(patch(_lip(p, 0.008), _lipped(marks), name_of(spec), "sleeve", double=True))
    return out


def _tuck(y: Array, top: float, waist_at: float) -> Array:
    """How much (m) a lower garment keeps back at heights ``y`` under the hem of a top, so that it stays hidden."""
    return 0.034 * smooth(y, top - 0.034, top - 0.008) if top < waist_at else 0.0 * y


def skirt(spec: GarmentSpec, skel: Skeleton, top: float) -> list[Patch]:
    """A skirt from ``top`` (m), below its waistband, to the hem."""
    body, h = skel.body, skel.body.height
    angle, y0 = around(97, 0.15), hem(spec, h)
    y = top + (y0 - top) * ramp(40) + 0 * angle
    line = np.arange(0.15, 0.7, 0.004, dtype=np.float32) * h
    tuck = _tuck(line, top, waist(h))
    solid = Profile(line, *(c - tuck for c in skirt_lines(spec, skel, line, waist(h), top)))
    p = solid.shell(y, angle, 0.95)
    relief = folds.pleats(spec, y, angle, top - (0.03 if top < waist(h) else 0.0), h)
    p = bend(body, p + grid_normals(p) * relief[..., None])
    marks = stack(arc_length(p), y, y - y0, relief)
    return [patch(_lip(p, 0.010), _lipped(marks), name_of(spec), "skirt", double=True)]


def legs(spec: GarmentSpec, skel: Skeleton, top: float) -> list[Patch]:
    """Trousers or shorts from ``top`` (m) to the hem: two halves of the seat that go over into a leg each."""
    return [_half(spec, skel, side, top) for side in range(2)]


def _half(spec: GarmentSpec, skel: Skeleton, side: int, top: float) -> Patch:
    """One half; its columns run from the middle of the front, over the outer side, to the middle of the back."""
    body, h, y0 = skel.body, skel.body.height, hem(spec, skel.body.height)
    sign, columns = (-1.0 if side == 0 else 1.0), 43
    angle = np.linspace(-np.pi / 2, 1.5 * np.pi, columns, dtype=np.float32)
    y = top + (y0 - top) * ramp(70 if spec.kind == "trousers" else 44)
    t, room = skel.trunk, CUTS[spec.kind].ease - _tuck(skel.trunk.y, top, waist(h))
    solid = Profile(t.y, t.width + room, t.front + room, t.back + room)
    seat = solid.shell(y + 0.0 * angle, sign * (angle + np.pi / 2) / 2.0, 0.92)
    relief = folds.seat(spec, skel, seat)
    seat = bend(body, seat + grid_normals(seat, False) * (sign * relief)[..., None])
    leg, crease = _leg(spec, skel, side, y, sign * angle, top)
    share = 1.0 - smooth(y, 0.418 * h, 0.520 * h)
    p = seat + (leg - seat) * share[..., None]
    relief = relief + (crease - relief) * share
    run = arc_length(p)
    marks = stack(sign * (run - run[:, :1]), y + 0.0 * angle, y - y0, relief)
    p, marks = _lip(p, 0.008), _lipped(marks)
    if side == 0:
        p, marks = p[:, ::-1], marks[:, ::-1]
    return patch(p, marks, name_of(spec), "legs", closed=False, double=True)


def _leg(spec: GarmentSpec, skel: Skeleton, side: int, y: Array, angle: Array, top: float) -> tuple[Array, Array]:
    """Points (R, C, 3) of a trouser leg at nominal heights ``y`` (R, 1), and its folds (R, C)."""
    body, cut, length = skel.body, CUTS[spec.kind], leg_length(skel, side)
    hip, ankle = float(skel.hip[side][1]), float(skel.ankle[side][1])
    s = (hip - y) * np.where(y < hip, length / (hip - ankle), 1.0)
    trousers = spec.kind == "trousers"
    flare = (0.012 if trousers else 0.010) + 0.030 * spec.flare
    radius = leg_radius(body, np.clip(s / length, 0, 1)) + cut.ease
    radius = radius + flare * smooth(s, 0.08, 0.9 * (length if trousers else 0.4 * length))
    radius = radius - 0.006 * bell(s / length - 0.62, 0.15) - _tuck(y, top, waist(body.height))
    relief = folds.leg(spec, skel, side, s, angle, float(s[-1, 0]))
    p = leg_tube(skel, side, s, radius + relief, angle)
    p[..., 1] = np.maximum(p[..., 1], 0.004)
    return p, relief


def drape(spec: GarmentSpec, skel: Skeleton, number: int, outfit: tuple[GarmentSpec, ...]) -> list[Patch]:
    """The surfaces of garment ``number`` of ``outfit`` on a body; a lower one begins under the hem of a top."""
    h = skel.body.height
    tops = [hem(g, h) + 0.03 for g in outfit if g.region == "upper"]
    top = min([waist(h), *tops])
    if spec.region == "lower":
        found = skirt(spec, skel, top) if spec.kind == "skirt" else legs(spec, skel, top)
    else:
        found = trunk_cloth(spec, skel) + (sleeves(spec, skel) if spec.sleeve > 0 else [])
    return [replace(s, spec=number) for s in found]
