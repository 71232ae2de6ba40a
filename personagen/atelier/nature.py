"""Backdrops out of doors: a beach, a park, snow in the mountains."""

from __future__ import annotations

import numpy as np

from .head import linear
from .surface import Array, Noise, bell, smooth
from .view import RGB, View, clouds, edge, gradient, mix, whole

Rng = np.random.Generator


def _ridge(view: View, noise: Noise, low: float, rise: float, pace: float, seed: float) -> Array:
    """Height (W,) of a line of hills over the horizon, in tangents."""
    a = view.a[0] + view.pan
    n = noise(a * pace + seed, 0.0 * a + seed) + 0.45 * noise(a * pace * 2.3 + seed, 0.0 * a + 2.0 * seed)
    return low + rise * n / 1.45


def beach(view: View, rng: Rng, noise: Noise) -> Array:
    """Sand, a line of foam, the sea up to a hazy horizon, a headland, and on some days a parasol or a sail."""
    a, e = view.a[: view.sky], view.e[: view.sky]
    sky = gradient(np.clip(e / 0.17, 0.0, 1.0) + 0.0 * a, (236, 240, 236), (168, 214, 240), (92, 168, 228))
    sky = clouds(view, noise, sky, 0.8, (0.95, 0.95, 0.96))
    hill = _ridge(view, noise, -0.012, 0.050, 7.0, 3.0)
    sky = mix(sky, linear((128, 166, 176)), 0.85 * edge(hill - e, view.grain))
    if rng.random() < 0.5:
        cx = rng.uniform(0.05, 0.12) * rng.choice((-1.0, 1.0))
        sail = np.minimum(0.016 - e - 1.5 * np.abs(a - cx), e - 0.0015) + 0.0 * a
        sky = mix(sky, np.float32(0.92), edge(sail, view.grain))
    x, far = view.x, view.far
    shore = 3.4 + 0.9 * noise(x * 0.35, 0.0 * x + 2.0) + 0.25 * noise(x * 1.3, 0.0 * x + 7.0)
    out = far - shore
    sand = (
        linear((238, 214, 170))
        * (0.88 + 0.16 * noise(x * 3.0, far * 3.0 + 0.0 * x) + 0.06 * noise(x * 21.0, far * 14.0 + 0.0 * x))[..., None]
    )
    sand = mix(sand, linear((176, 150, 112)), 0.75 * smooth(out, -1.3, -0.15))
    sea = gradient(
        np.clip(out / 40.0, 0.0, 1.0) ** 0.5, (150, 214, 208), (58, 168, 186), (34, 128, 176), (92, 160, 196)
    )
    crest = noise(x * 0.5 + 0.2 * far, np.log(np.maximum(out, 0.1)) * 7.0)
    sea = mix(sea, linear((226, 244, 246)), 0.50 * smooth(crest, 0.62, 0.95) * smooth(-out, -45.0, -6.0))
    glitter = noise(view.a[view.sky :] * 190.0, view.e[view.sky :] * 950.0 + 0.0 * x)
    sea = mix(sea, np.float32(1.0), 0.55 * smooth(glitter, 0.74, 0.95) * bell(view.a[view.sky :] + 0.06, 0.08))
    ground = mix(sand, sea, smooth(out, -0.06, 0.10))
    foam = np.maximum(bell(out - 0.12, 0.17), 0.75 * bell(out - 1.25 - 0.3 * crest, 0.20))
    ground = mix(ground, np.float32(0.93), 0.92 * foam)
    picture = whole(view, sky, ground)
    return _parasol(view, rng, picture) if rng.random() < 0.6 else picture


def _parasol(view: View, rng: Rng, picture: Array) -> Array:
    """A striped parasol at one side."""
    cx, scale = rng.uniform(0.085, 0.125) * rng.choice((-1.0, 1.0)), rng.uniform(0.85, 1.15)
    du, dv = (view.a - cx) / (0.050 * scale), (view.e - 0.030) / (0.034 * scale)
    pole = edge(np.minimum(0.0013 - np.abs(view.a - cx), np.minimum(0.03 - view.e, view.e + 0.055)), view.grain)
    picture = mix(picture, np.float32(0.70), pole)
    dome = np.minimum((1.0 - np.sqrt(du * du + dv * dv)) * 0.03, dv * 0.03 + 0.004 * np.abs(np.sin(du * 4.7)))
    hue = linear(((224, 84, 72), (240, 176, 70), (64, 132, 168))[rng.integers(3)])
    stripe = (np.sin(np.arcsin(np.clip(du / np.sqrt(np.maximum(1.0 - dv * dv, 0.04)), -1, 1)) * 4.0) > 0)[..., None]
    tone = (0.80 + 0.20 * smooth(dv - 0.5 * du, -0.8, 0.8))[..., None]
    return mix(picture, np.where(stripe, hue, np.float32(0.92)) * tone, edge(dome, view.grain))


GREENS: tuple[RGB, ...] = ((88, 146, 70), (112, 164, 76), (70, 128, 74), (150, 170, 74), (196, 160, 76))


def _tree(view: View, rng: Rng, noise: Noise, picture: Array, near: float) -> Array:
    """A round tree at depth ``near`` (0: far, pale and small; 1: close) over the picture (H, W, 3)."""
    cx = rng.uniform(-0.17, 0.17)
    cx = cx if near < 0.5 else np.sign(cx) * (0.075 + 0.5 * abs(cx))
    cy, r = 0.045 + 0.085 * near + rng.uniform(-0.01, 0.02), (0.032 + 0.042 * near) * rng.uniform(0.85, 1.2)
    leaf = linear(GREENS[rng.integers(len(GREENS))])
    foot = -0.004 - 0.034 * near
    rows = slice(*np.searchsorted(-view.e[:, 0], (-(cy + 1.5 * r), -foot)))
    a, e, part = view.a[rows] - cx, view.e[rows], picture[rows]
    stem = 0.0030 + 0.0042 * near + 0.10 * np.maximum(foot + 0.022 - e, 0.0) ** 1.2
    part = mix(
        part,
        linear((104, 82, 62)) * (0.75 + 0.35 * smooth(a, -0.005, 0.005))[..., None],
        edge(stem - np.abs(a), view.grain) * (e < cy),
    )
    lumps = noise(a * (1.6 / r) + 5.0 * cx * 99.0, e * (1.6 / r) + 0.0 * a) + 0.5 * noise(
        a * (4.6 / r), e * (4.6 / r) + 0.0 * a
    )
    d = np.sqrt(a * a + ((e - cy) * 0.92) ** 2)
    crown = edge(r * (0.62 + 0.42 * lumps) - d, 2.0 * view.grain)
    lit = 0.62 + 0.50 * smooth((e - cy) + 0.5 * a, -r, r) + 0.42 * (lumps - 0.75)
    part = mix(part, leaf * lit[..., None], crown)
    picture[rows] = mix(part, linear((206, 220, 206)), (0.55 * (1.0 - near)) * np.maximum(crown, 0.0) * 0.8)
    return picture


def park(view: View, rng: Rng, noise: Noise) -> Array:
    """A lawn with a winding path, sun and shade on it, hedges and trees one behind the other."""
    a, e = view.a[: view.sky], view.e[: view.sky]
    sky = gradient(np.clip(e / 0.17, 0.0, 1.0) + 0.0 * a, (244, 240, 220), (206, 226, 234), (150, 200, 232))
    sky = clouds(view, noise, sky, 0.6, (0.95, 0.95, 0.94))
    for low, rise, rgb, seed in ((0.030, 0.075, (166, 196, 176), 3.0), (0.014, 0.050, (122, 166, 118), 9.0)):
        line = _ridge(view, noise, low, rise, 26.0, seed)
        tone = 0.86 + 0.28 * noise((a + view.pan) * 70.0, e * 70.0 + 0.0 * a)
        sky = mix(sky, linear(rgb) * tone[..., None], edge(line - e, 1.5 * view.grain))
    x, far = view.x, view.far
    deep = far + view.distance
    blades = noise(x * 26.0, far * 9.0 + 0.0 * x) * smooth(-far, -7.0, 0.0)
    grass = gradient(
        np.clip(0.55 * noise(x * 1.1 + 3.0, far * 0.7 + 0.0 * x) + 0.45 * blades, 0, 1),
        (78, 128, 56),
        (122, 172, 76),
        (164, 196, 92),
    )
    bend_ = 0.10 + 0.55 * np.sin(far * 0.33 + rng.uniform(0, 6)) * smooth(far, 0.0, 5.0)
    wide = 0.78 + 0.05 * noise(x * 2.0, far * 3.0 + 0.0 * x)
    path = np.clip((wide - np.abs(x - bend_)) / np.maximum(deep * view.grain * 1.5, 0.02) + 0.5, 0.0, 1.0)
    gravel = linear((224, 208, 180)) * (0.88 + 0.14 * noise(x * 15.0, far * 9.0 + 0.0 * x))[..., None]
    ground = mix(grass, gravel, path * smooth(-far, -30.0, -14.0))
    dapple = smooth(noise(x * 0.8 + 11.0, far * 0.5 + 0.0 * x), 0.45, 0.62) * smooth(far, 0.6, 2.0)
    ground = ground * (1.0 - 0.30 * dapple)[..., None]
    ground = mix(ground, linear((196, 214, 176)), 0.6 * smooth(far, 6.0, 40.0) + 0.0 * x)
    picture = whole(view, sky, ground)
    for near in (0.0, 0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0):
        picture = _tree(view, rng, noise, picture, near)
    return picture


def glints(view: View, rng: Rng, picture: Array) -> Array:
    """Sun between leaves, out of focus (H, W, 3)."""
    for _ in range(16):
        cx, cy, r = rng.uniform(-0.15, 0.15), rng.uniform(0.03, 0.17), rng.uniform(0.003, 0.009)
        near = np.flatnonzero(np.abs(view.e[:, 0] - cy) < 1.3 * r)
        power = rng.uniform(0.08, 0.26)
        if len(near):
            rows = slice(int(near[0]), int(near[-1]) + 1)
            d = np.sqrt((view.a[rows] - cx) ** 2 + (view.e[rows] - cy) ** 2) / r
            disc = np.clip((1.0 - d) / max(0.25, view.grain / r) + 0.5, 0.0, 1.0)
            picture[rows] = mix(picture[rows], np.array([1.0, 0.97, 0.72], np.float32), power * disc)
    return picture


def _pines(
    view: View, rng: Rng, noise: Noise, picture: Array, count: int, tall: float, rgb: RGB, white: float
) -> Array:
    """A row of snow-laden pines on the horizon, over the picture (H, W, 3)."""
    dark = linear(rgb)
    for _ in range(count):
        cx, base, size = (
            rng.uniform(-0.17, 0.17),
            rng.uniform(-0.010, 0.002) - 0.08 * (tall - 0.06),
            tall * rng.uniform(0.7, 1.25),
        )
        rows = slice(*np.searchsorted(-view.e[:, 0], (-(base + size), -base)))
        columns = slice(*np.searchsorted(view.a[0], (cx - 0.36 * size, cx + 0.36 * size)))
        a, up = view.a[rows, columns] - cx, (view.e[rows] - base) / size
        if not a.size:
            continue
        tier = (up * 6.0) % 1.0
        half = 0.30 * size * (1.03 - up) * (1.06 - 0.42 * tier)
        snow = smooth(
            tier + 0.35 * (noise(a * (9.0 / size) + 50 * cx, up * 9.0 + 0.0 * a) - 0.5) + 1.2 * a / size, 0.25, 0.75
        )
        colour = mix(np.broadcast_to(dark, (*a.shape, 3)), np.array([0.80, 0.86, 0.93], np.float32), white * snow)
        picture[rows, columns] = mix(picture[rows, columns], colour, edge(half - np.abs(a), view.grain))
    return picture


def snow(view: View, rng: Rng, noise: Noise) -> Array:
    """Mountains in pale light, two rows of pines, and soft drifts with blue shade."""
    a, e = view.a[: view.sky], view.e[: view.sky]
    sky = gradient(np.clip(e / 0.17, 0.0, 1.0) + 0.0 * a, (250, 232, 222), (214, 222, 238), (150, 184, 222))
    sky = clouds(view, noise, sky, 0.5, (0.93, 0.94, 0.97))
    for low, rise, rgb, pace, seed in (
        (0.045, 0.105, (176, 194, 222), 9.0, 5.0),
        (0.020, 0.060, (146, 170, 204), 14.0, 17.0),
    ):
        line = _ridge(view, noise, low, rise, pace, seed)
        facet = noise((a + view.pan) * 30.0 + e * 22.0, e * 30.0 + seed)
        peak = smooth(e - 0.45 * line + 0.02 * facet, 0.0, 0.035)
        rock = mix(linear(rgb) * (0.86 + 0.2 * facet)[..., None], np.array([0.90, 0.93, 0.98], np.float32), 0.85 * peak)
        sky = mix(
            sky,
            mix(rock, linear((226, 230, 240)), 0.35 + 0.35 * (1.0 - smooth(e, 0.0, 0.05)) + 0.0 * a),
            edge(line - e, view.grain),
        )
    x, far = view.x, view.far
    drift = noise(x * 0.9, far * 0.55 + 0.0 * x) * 0.7 + 0.3 * noise(x * 2.6, far * 2.0 + 0.0 * x)
    ground = gradient(np.clip(1.25 * drift - 0.12, 0.0, 1.0), (190, 208, 236), (232, 238, 248), (252, 252, 254))
    ground = ground * (0.97 + 0.05 * noise(x * 30.0, far * 20.0 + 0.0 * x))[..., None]
    ground = mix(ground, linear((224, 230, 242)), smooth(far, 5.0, 40.0) + 0.0 * x)
    picture = whole(view, sky, ground)
    picture = _pines(view, rng, noise, picture, 16, 0.060, (110, 140, 152), 0.55)
    return _pines(view, rng, noise, picture, 8, 0.115, (52, 90, 86), 0.80)
