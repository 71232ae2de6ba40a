"""The head: its shape with nose, lips and ears, and the face painted on it; measures in heads, above the chin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .body import Body, Skeleton, from_head
from .surface import Array, Patch, Profile, around, bell, blob, patch, profile, ramp, smooth, stack

EYES = ((92, 60, 40), (58, 40, 32), (76, 112, 150), (84, 120, 84), (120, 96, 60), (96, 108, 118))


@dataclass(frozen=True)
class Face:
    """What makes a face somebody's."""

    eyes: tuple[int, int, int]
    gaze: float
    open: float
    apart: float
    brow: float
    arch: float
    nose: float
    lips: float
    full: float
    smile: float
    jaw: float
    freckles: bool


def face_of(body: Body) -> Face:
    """The face of ``body``, drawn from its seed."""
    rng = np.random.default_rng((body.seed, 7))
    dark = sum(body.skin) < 420
    u = rng.uniform
    return Face(
        eyes=EYES[rng.integers(2 if dark else len(EYES))],
        gaze=u(-0.008, 0.008),
        open=u(0.92, 1.12),
        apart=u(0.138, 0.150),
        brow=u(0.012, 0.019) * (1.1 - 0.35 * body.feminine),
        arch=u(0.2, 1.0),
        nose=u(0.85, 1.2) * (1.06 - 0.14 * body.feminine),
        lips=u(0.088, 0.110),
        full=u(0.85, 1.15) * (0.85 + 0.35 * body.feminine),
        smile=u(0.4, 1.3),
        jaw=u(0.96, 1.05) * (1.05 - 0.09 * body.feminine),
        freckles=bool(rng.random() < 0.25 and not dark),
    )


def head_profile(face: Face) -> Profile:
    """The head without nose, in heads: (height over the chin, half width, front, back)."""
    j = face.jaw
    keys = np.array([
        (1.000, 0.001, 0.001, 0.001), (0.992, 0.100, 0.100, 0.125), (0.970, 0.170, 0.175, 0.215),
        (0.930, 0.232, 0.245, 0.295), (0.870, 0.282, 0.306, 0.356), (0.780, 0.314, 0.350, 0.402),
        (0.660, 0.326, 0.376, 0.418), (0.540, 0.324, 0.374, 0.405), (0.430, 0.316, 0.376, 0.350),
        (0.330, 0.300 * j, 0.376, 0.270), (0.230, 0.268 * j, 0.372, 0.190), (0.140, 0.222 * j, 0.362, 0.120),
        (0.070, 0.172 * j, 0.342, 0.060), (0.020, 0.118 * j, 0.290, 0.010), (0.000, 0.070, 0.210, -0.02),
        (-0.010, 0.010, 0.080, -0.04),
    ])  # fmt: skip
    return profile(keys, 220, 4)


def features(face: Face, p: Array) -> Array:
    """Press eye sockets into points (R, C, 3) of the front of the head and pull out nose, lips and chin."""
    x, y = p[..., 0], p[..., 1]
    ax = np.abs(x)
    n = face.nose
    ridge = smooth(-y, -0.52, -0.345) * (1.0 - smooth(-y, -0.345, -0.285))
    nose = 0.105 * ridge * bell(x, 0.040 * n) + 0.018 * bell(y - 0.335, 0.034) * bell(ax - 0.048 * n, 0.026)
    socket = -0.030 * bell(ax - face.apart, 0.085) * bell(y - 0.485, 0.055)
    lid = 0.020 * bell(ax - face.apart, 0.062) * bell(y - 0.478, 0.034)
    lips = 0.016 * bell(x, face.lips) * (bell(y - 0.222, 0.016) + 1.1 * bell(y - 0.185, 0.020))
    chin = 0.020 * bell(x, 0.075) * bell(y - 0.060, 0.050)
    cheek = 0.018 * bell(ax - 0.185, 0.075) * bell(y - 0.345, 0.070)
    p[..., 2] += np.where(p[..., 2] > 0, nose + socket + lid + lips + chin + cheek, 0.0)
    return p


def head_patches(skel: Skeleton) -> list[Patch]:
    """Head and ears; the marks are the place in the head's own measures."""
    face = face_of(skel.body)
    solid, angle = head_profile(face), around(65, 0.55)
    full = np.ones(65, np.float32)
    p = features(face, solid.shell(solid.spread(full * 1.0, full * -0.010, 60), angle, 0.94))
    out = [patch(from_head(skel, p), stack(p[..., 0], p[..., 1], p[..., 2]), "face", "face")]
    for side in (-1.0, 1.0):
        ear = blob(np.array([side * 0.335, 0.435, -0.045], np.float32), (0.026, 0.080, 0.052), 15, 17)
        ear[..., 0] += side * 0.40 * (0.02 - (ear[..., 2] + 0.045)) * 0.6
        rim = bell(np.abs(ear[..., 2] + 0.045) / 0.060 - 0.35, 0.3)
        out.append(patch(from_head(skel, ear), stack(ear[..., 0], ear[..., 1], -1.0 + 0.0 * rim), "face", "face"))
    return out


def linear(rgb: tuple[int, int, int]) -> Array:
    """sRGB 0-255 to linear light (3,)."""
    return ((np.array(rgb, np.float32) / 255.0) ** 2.2).astype(np.float32)


class _Paint:
    """Layers of colour on skin (N, 3) at places x, y (N,) in heads; edges are as soft as a sample is wide."""

    def __init__(self, colour: Array, x: Array, y: Array, grain: float) -> None:
        self.colour, self.x, self.y, self.ax, self.grain = colour, x, y, np.abs(x), grain

    def edge(self, inside: Array, soft: float = 0.004) -> Array:
        """Cover (N,) where the signed distance ``inside`` (heads) is positive."""
        width = max(soft, self.grain)
        return np.clip(inside / width + 0.5, 0.0, 1.0)

    def lay(self, share: Array, rgb: Array | np.float32) -> None:
        """Mix in a grey, a colour (3,) or (N, 3)."""
        self.colour += (rgb - self.colour) * share[:, None]

    def disc(self, dx: Array, dy: Array, r: float, soft: float = 0.004) -> Array:
        """Cover (N,) of a disc."""
        return self.edge(r - np.sqrt(dx * dx + dy * dy), soft)


def _paint_eyes(paint: _Paint, face: Face, body: Body, skin: Array) -> None:
    """Eyes under lids, with iris, pupil and a light in them; brows above."""
    half, dark = 0.073, linear(body.hair) * 0.35 + 0.012
    dx, dy = paint.ax - face.apart, paint.y - 0.482
    side = np.sign(paint.x)
    t = np.clip(dx / half, -1.0, 1.0)
    lift = 0.10 * dx  # the outer corner is higher
    upper = 0.0375 * face.open * (1.0 - t * t) ** 0.75 + lift
    lower = -0.0255 * (1.0 - np.abs(t) ** 2.4) + lift
    inside = np.minimum(np.minimum(upper - dy, dy - lower), half - np.abs(dx))
    shown = paint.edge(inside)
    white = np.array([0.86, 0.84, 0.82], np.float32) * (0.66 + 0.34 * smooth(upper - dy, -0.004, 0.026))[:, None]
    white = white * (0.70 + 0.30 * min(1.0, float(skin.mean()) / 0.30))
    paint.lay(shown, white)
    ix, iy = dx - side * (face.gaze + 0.05 * body.turn / 100.0), dy + 0.0015
    hue = linear(face.eyes)
    deep = hue * (0.55 + 0.9 * smooth(-iy, -0.02, 0.03))[:, None]
    paint.lay(shown * paint.disc(ix, iy, 0.0385), hue * 0.28)
    paint.lay(shown * paint.disc(ix, iy, 0.0335), deep * 1.15)
    paint.lay(shown * paint.disc(ix, iy, 0.0170), np.float32(0.008))
    glint = paint.disc(paint.x - side * face.apart - 0.010, iy - 0.013, 0.0095)
    paint.lay(np.minimum(shown + 0.2, 1.0) * glint * (np.abs(dx) < half), np.float32(1.1))
    fem = body.feminine
    wing = 0.012 + 0.010 * fem
    line = (0.0060 + 0.0055 * fem) * (0.75 + 0.5 * smooth(t, -1.0, 1.0))
    lash = paint.edge(np.minimum(line - np.abs(dy - upper - 0.4 * line), half + wing - np.abs(dx)))
    paint.lay(0.92 * lash * (dx > -half), dark * 0.5)
    crease = bell(dy - upper - 0.020, 0.0055) * (1.0 - smooth(np.abs(dx), 0.045, half))
    paint.lay(0.38 * crease, skin * 0.45)
    paint.lay(0.28 * bell(dy - lower + 0.004, 0.006) * (np.abs(dx) < half), skin * 0.45)
    _paint_brows(paint, face, body)


def _paint_brows(paint: _Paint, face: Face, body: Body) -> None:
    """Brows: an arch each, thick inside and thin outside."""
    dx = (paint.ax - face.apart + 0.004) / 0.092
    arch = 0.582 + 0.024 * face.arch * (1.0 - (dx - 0.25) ** 2) - 0.022 * smooth(dx, 0.3, 1.1) + 0.004 * dx
    thick = face.brow * (1.15 - 0.75 * smooth(dx, -0.2, 1.05))
    inside = np.minimum(thick - np.abs(paint.y - arch), 0.092 * (1.0 - np.abs(dx)))
    colour = linear(body.hair) * 0.60 if sum(body.hair) < 420 else linear(body.hair) * 0.42
    paint.lay(0.88 * paint.edge(inside, 0.007), colour)


def _paint_mouth(paint: _Paint, face: Face, skin: Array, dark: bool) -> None:
    """Lips with a smile, nostrils and the shade under the nose and the lip."""
    w, x = face.lips, paint.x
    t = np.clip(np.abs(x) / w, 0.0, 1.0)
    middle = 0.204 + 0.020 * face.smile * t**2 - 0.006 * (1 - t)
    bow = 0.0210 * face.full * (1.0 - t**1.6) * (1.0 - 0.22 * bell(x, 0.016))
    low = 0.0300 * face.full * (1.0 - t**2.2)
    dy = paint.y - middle
    rose = skin * np.array([0.80, 0.42, 0.42], np.float32) + np.array([0.075, 0.008, 0.016], np.float32)
    if dark:
        rose = skin * np.array([1.0, 0.62, 0.62], np.float32) + np.array([0.07, 0.012, 0.02], np.float32)
    paint.lay(0.80 * paint.edge(np.minimum(np.minimum(bow - dy, dy + 0.001), w - np.abs(x)), 0.006), rose * 0.80)
    paint.lay(0.80 * paint.edge(np.minimum(np.minimum(low + dy, 0.001 - dy), w - np.abs(x)), 0.006), rose)
    gloss = bell(x, 0.3 * w) * bell(dy + 0.45 * low, 0.008)
    paint.lay(0.16 * gloss, np.float32(0.9))
    line = paint.edge(np.minimum(0.0042 - np.abs(dy), 1.12 * w - np.abs(x)), 0.005)
    paint.lay(0.75 * line, rose * 0.28)
    paint.lay(0.16 * bell(x, 0.075) * bell(paint.y - 0.148, 0.014), skin * 0.45)
    nostril = np.sqrt(((paint.ax - 0.034 * face.nose) / 0.019) ** 2 + ((paint.y - 0.302) / 0.0095) ** 2)
    paint.lay(0.62 * np.clip(1.6 - 1.3 * nostril, 0, 1), skin * 0.25)


def paint_face(body: Body, marks: Array, skin: Array, grain: float) -> Array:
    """Linear albedo (N, 3) of a head at places ``marks`` (N, 4), in heads; ``skin`` (3,), ``grain``: sample width."""
    face = face_of(body)
    x, y, z = marks[:, 0], marks[:, 1], marks[:, 2]
    colour = np.broadcast_to(skin, (len(x), 3)).copy()
    front = np.flatnonzero((z > 0.08) & (y < 0.72))
    paint = _Paint(colour[front], x[front], y[front], grain)
    flush = skin * np.array([1.10, 0.66, 0.64], np.float32) + np.array([0.05, 0.0, 0.005], np.float32)
    paint.lay(0.50 * bell(paint.ax - 0.195, 0.080) * bell(paint.y - 0.335, 0.060), flush)
    paint.lay(0.16 * bell(paint.x, 0.050) * bell(paint.y - 0.335, 0.035), flush)
    paint.lay(
        0.20 * bell(paint.ax - face.apart, 0.075) * bell(paint.y - 0.515, 0.030),
        skin * np.array([0.75, 0.6, 0.6], np.float32),
    )
    if face.freckles:
        spots = np.sin(paint.x * 170.0) * np.sin(paint.y * 151.0 + 3.0 * np.sin(paint.x * 61.0))
        paint.lay(
            0.22 * smooth(spots, 0.55, 0.8) * bell(paint.ax - 0.15, 0.10) * bell(paint.y - 0.37, 0.05), skin * 0.5
        )
    _paint_mouth(paint, face, skin, sum(body.skin) < 420)
    _paint_eyes(paint, face, body, skin)
    colour[front] = paint.colour
    return colour


__all__ = ["Face", "face_of", "head_patches", "head_profile", "linear", "paint_face", "ramp"]
