"""Hair in six cuts, as shells around the head that end at a hairline; measures in heads, above the chin."""

from __future__ import annotations

import numpy as np

from .body import Skeleton, from_head
from .head import face_of, head_profile
from .surface import Array, Noise, Patch, Profile, around, bell, blob, patch, ramp, smooth, stack

COLUMNS = 97


def hairline(angle: Array, front: float, temple: float, nape: float) -> Array:
    """Heights (C,) where hair begins: ``front`` over the brow, ``temple`` beside the eyes, ``nape`` behind."""
    a = np.abs(angle)
    line = front + (temple - front) * smooth(a, 0.55, 1.10)
    line = line + (0.40 - temple) * smooth(a, 1.12, 1.36)  # before the ear
    line = line + (0.52 - 0.40) * smooth(a, 1.42, 1.62)  # above the ear
    return line + (nape - 0.52) * smooth(a, 1.85, 2.5)


def _shell(solid: Profile, angle: Array, low: Array, thick: Array | float, rows: int = 34) -> tuple[Array, Array]:
    """Points (R, C, 3) over the skull down to heights ``low`` (C,), and the way (R, 1) there."""
    t = ramp(rows)
    y = solid.spread(np.full(len(angle), 1.0, np.float32), low.astype(np.float32), rows)
    p = solid.shell(y, angle, 0.96)
    middle = np.array([0.0, 0.60, -0.02], np.float32)
    out = p - middle
    size = np.sqrt((out**2).sum(-1))
    edge = np.sqrt(np.maximum(1.0 - smooth(t, 0.80, 1.0), 0.0))
    grow = thick * edge - 0.012 * (1.0 - edge)
    return middle + out * (1.0 + grow / size)[..., None], t


def _strands(noise: Noise, angle: Array, t: Array, depth: float, locks: float = 9.0) -> Array:
    """Relief (R, C), in heads, of locks that run down from the crown."""
    wave = angle * locks + 1.6 * noise(angle * 2.0 + 9.0, t * 2.0)
    fine = noise(angle * 19.0 + 31.0, t * 1.5 + 7.0) - 0.5
    return depth * (0.6 * np.sin(wave) + 1.0 * fine) * smooth(t, 0.05, 0.35)


def _marks(angle: Array, t: Array, p: Array) -> Array:
    return stack(np.broadcast_to(angle, p.shape[:2]), np.broadcast_to(t, p.shape[:2]), p[..., 1], p[..., 0])


def _crop(solid: Profile, noise: Noise, angle: Array, flip: float) -> list[tuple[Array, Array]]:
    """Short all over, with a soft edge."""
    low = hairline(angle, 0.800, 0.660, 0.16)
    p, t = _shell(solid, angle, low, 0.030 + 0.030 * (1.0 - ramp(34)) + 0.010 * noise(angle * 9.0, ramp(34) * 9.0))
    return [(p, _marks(angle, t, p))]


def _short(solid: Profile, noise: Noise, angle: Array, flip: float) -> list[tuple[Array, Array]]:
    """A side part: the top swept over to one side, short at the ears."""
    sweep = smooth(flip * angle, -0.75, -0.35)  # 0 on the narrow side of the parting
    low = hairline(angle, 0.815, 0.690, 0.14) - 0.050 * bell(flip * angle - 0.35, 0.55)
    t = ramp(34)
    part = bell(flip * angle + 0.62, 0.10) * (1.0 - smooth(t, 0.72, 0.95)) * smooth(t, 0.1, 0.25)
    quiff = 0.075 * bell(flip * angle + 0.05, 0.80) * smooth(t, 0.25, 0.85)
    thick = 0.045 + 0.060 * (1.0 - t) * (0.5 + 0.5 * sweep) + quiff * sweep - 0.045 * part
    p, t = _shell(solid, angle, low, thick + _strands(noise, angle, t, 0.010, 8.0))
    return [(p, _marks(angle + 0.9 * flip * t, t, p))]


def _curtain(solid: Profile, angle: Array, t: Array, low: Array, thick: Array | float, curl: Array | float) -> Array:
    """Hair that follows the skull to the ears and hangs from there to heights ``low`` (C,); ``curl`` moves it out."""
    y = 1.0 + (low - 1.0) * t
    top = np.maximum(y, 0.56)
    p = solid.shell(top, angle, 0.96)
    out = np.sqrt(p[..., 0] ** 2 + p[..., 2] ** 2 + 1e-6)
    grow = 1.0 + (thick + curl * smooth(-y, -0.55, 0.1)) / np.maximum(out, 0.12)
    lift = np.where(y > 0.56, thick * smooth(y, 0.62, 1.0), 0.0)
    return np.stack([p[..., 0] * grow, y + lift, p[..., 2] * grow], -1)


def _hanging_rows(low: Array, rows: int) -> Array:
    """Ways (rows, C) from the crown to heights ``low`` (C,), dense over the crown, where the skull is flat."""
    t = ramp(rows)
    drop = 1.0 - np.cos(np.minimum(t / 0.45, 1.0) * np.pi / 2)
    share = 0.44 / (1.0 - low)
    return drop * share + np.maximum(t - 0.45, 0.0) / 0.55 * (1.0 - share)


def _falling(
    solid: Profile, noise: Noise, angle: Array, low: Array, thick: Array | float, curl: float, relief: float
) -> list[tuple[Array, Array]]:
    rows = 46
    ways = _hanging_rows(low, rows)
    t = ramp(rows)
    strand = _strands(noise, angle, t, relief, 8.0)
    high = (1.0 - low) * (1.0 - ways)
    edge = np.sqrt(smooth(high, 0.0, 0.10))
    face = 1.0 - smooth(np.abs(angle), 0.85, 1.05)
    body = (thick + strand) * (1.0 - (1.0 - edge) * (0.35 + 0.65 * face)) - 0.012 * (1.0 - edge) * face
    wave = curl + 0.020 * np.sin(9.0 * ways + 3.0 * noise(angle * 1.3, t)) * (relief > 0.012)
    p = _curtain(solid, angle, ways, low, body, wave)
    return [(p, _marks(angle, ways, p))]


def _bob(solid: Profile, noise: Noise, angle: Array, flip: float) -> list[tuple[Array, Array]]:
    """To the chin, with a fringe, tips turned in."""
    a = np.abs(angle)
    low = 0.665 + (0.02 - 0.665) * smooth(a, 0.74, 0.98) + 0.03 * smooth(a, 1.6, 2.6)
    return _falling(solid, noise, angle, low, 0.072, -0.010, 0.010)


def _long(solid: Profile, noise: Noise, angle: Array, flip: float) -> list[tuple[Array, Array]]:
    """Over the shoulders, parted in the middle, in soft waves."""
    a = np.abs(angle)
    ends = -0.62 + 0.10 * noise(angle * 2.5 + 4.0, angle * 0.0)
    low = 0.845 - 0.16 * smooth(a, 0.06, 0.62)
    low = low + (ends - low) * smooth(a, 0.66, 0.96)
    part = 0.035 * bell(angle, 0.09)
    return _falling(solid, noise, angle, low, 0.070 - part, 0.060, 0.015)


def _curly(solid: Profile, noise: Noise, angle: Array, flip: float) -> list[tuple[Array, Array]]:
    """A round head of curls."""
    rows = 46
    low = hairline(angle, 0.775, 0.600, 0.10) - 0.06 * smooth(np.abs(angle), 1.2, 1.7)
    t = ramp(rows)
    y = solid.spread(np.ones(len(angle), np.float32), low.astype(np.float32), rows)
    p = solid.shell(y, angle, 1.0)
    x, high, z = p[..., 0], p[..., 1], p[..., 2]
    stray = 2.2 * noise(x * 5.0 + z * 3.0 + 3.0, high * 5.0 + 8.0)
    curls = np.cos(58.0 * x + stray) + np.cos(58.0 * high + 2.0 * stray) + np.cos(58.0 * z - stray)
    bumps = 0.45 * np.abs(curls) - 0.4 + 0.9 * (noise(x * 6.0 + 3.0, high * 6.0 + z * 4.0) - 0.5)
    middle = np.array([0.0, 0.62, -0.03], np.float32)
    out = p - middle
    size = np.sqrt((out**2).sum(-1))
    edge = np.sqrt(np.maximum(1.0 - smooth(t, 0.86, 1.0), 0.0))
    thick = edge * (0.155 + 0.05 * smooth(np.abs(angle), 0.5, 1.2) + 0.030 * bumps) - 0.012 * (1 - edge)
    p = middle + out * (1.0 + thick / size)[..., None]
    return [(p, stack(p[..., 0] * 6.0, t + 0 * bumps, p[..., 1], 0.35 * bumps))]


def _bun(solid: Profile, noise: Noise, angle: Array, flip: float) -> list[tuple[Array, Array]]:
    """Drawn back tightly into a knot on the crown, with a lock before each ear."""
    low = hairline(angle, 0.825, 0.660, 0.20)
    t = ramp(34)
    p, t = _shell(solid, angle, low, 0.026 + _strands(noise, angle, t, 0.007, 12.0))
    knot = blob(np.array([0.0, 1.085, -0.10], np.float32), (0.150, 0.125, 0.150), 26, 41)
    twist = around(41) * 2.0 + 4.0 * ramp(26)
    centre = np.array([0.0, 1.085, -0.10], np.float32)
    knot = centre + (knot - centre) * (1.0 + 0.07 * np.sin(2.0 * twist))[..., None]
    return [(p, _marks(angle, t, p)), (knot, stack(twist, 0.5 * ramp(26) + 0.2, knot[..., 1], knot[..., 0]))]


CUTS = {"crop": _crop, "short": _short, "bob": _bob, "long": _long, "curly": _curly, "bun": _bun}


def hair_patches(skel: Skeleton) -> list[Patch]:
    """The hair of a person; the marks are the angle around the crown, the way down, and the place."""
    body = skel.body
    rng = np.random.default_rng((body.seed, 11))
    flip = float(rng.choice((-1.0, 1.0)))
    solid, angle = head_profile(face_of(body)), around(COLUMNS, 0.25)
    pieces = CUTS[body.hair_style](solid, Noise(rng), angle, flip)
    out = []
    for p, marks in pieces:
        q = from_head(skel, p.astype(np.float32))
        if body.hair_style == "long":
            q = _over_shoulders(skel, q)
        out.append(patch(q, marks, "hair", "hair", double=body.hair_style in ("bob", "long")))
    return out


def _over_shoulders(skel: Skeleton, p: Array) -> Array:
    """Push hanging hair (R, C, 3) out of the shoulders, with room for a collar."""
    y = p[..., 1]
    _, front, back = skel.trunk.at(y)
    low = smooth(-y, -float(skel.chin[1]), -float(skel.chin[1]) + 0.05)
    ahead = p[..., 2] > -0.035
    need = np.where(ahead, np.maximum(p[..., 2], front + 0.030), np.minimum(p[..., 2], -back - 0.035))
    p[..., 2] += (need - p[..., 2]) * low
    return p
