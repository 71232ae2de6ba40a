"""Backdrops built by people: a studio, a street, a city at night."""

from __future__ import annotations

import numpy as np

from .head import linear
from .light import box
from .surface import Array, Noise, bell, smooth
from .view import RGB, View, clouds, edge, gradient, mix, whole

Rng = np.random.Generator

STUDIOS: tuple[tuple[RGB, RGB], ...] = (
    ((216, 212, 206), (196, 186, 176)),
    ((200, 212, 224), (168, 188, 208)),
    ((230, 212, 194), (214, 178, 150)),
    ((206, 218, 204), (168, 192, 170)),
    ((222, 206, 214), (198, 168, 186)),
    ((226, 222, 204), (214, 196, 150)),
)


def studio(view: View, rng: Rng, noise: Noise) -> Array:
    """A seamless paper backdrop that curves into the floor, lit by a soft lamp; on some, a painted disc or arch."""
    tones = STUDIOS[rng.integers(len(STUDIOS))]
    paper, second = linear(tones[0]), linear(tones[1])
    where, kind, side = rng.uniform(-0.03, 0.03), rng.integers(4), float(rng.choice((-1.0, 1.0)))
    a, e = view.a - where, view.e
    picture = np.broadcast_to(paper, (*view.shape, 3))
    rise = e + 0.035
    if kind == 1:
        picture = mix(picture, second, edge(0.088 - np.hypot(a + 0.012 * side, rise - 0.092), view.grain))
    if kind == 2:
        arch = np.where(rise > 0.085, 0.062 - np.hypot(a - 0.05 * side, rise - 0.085), 0.062 - np.abs(a - 0.05 * side))
        picture = mix(picture, second, edge(np.minimum(arch, rise), view.grain))
    if kind == 3:
        picture = mix(picture, second, edge(np.minimum(0.5 * side * a - 0.02 + 0.06 * (rise - 0.1), rise), view.grain))
    glow = np.exp(-(((a + 0.02) / 0.13) ** 2 + ((e - 0.06) / 0.17) ** 2))
    wall = 0.66 + 0.34 * glow
    floor = 0.80 + 0.14 * smooth(-e, 0.02, 0.20) - 0.10 * bell(e + 0.045, 0.03)
    curve = smooth(-e, 0.015, 0.075)
    corner = 1.0 - 0.9 * np.maximum(np.abs(view.a) - 0.05, 0.0) ** 1.2
    return picture * ((wall + (floor - wall) * curve) * corner)[..., None]


WALLS: tuple[RGB, ...] = (
    (196, 128, 100), (214, 196, 168), (168, 176, 186), (204, 168, 132), (226, 218, 204), (150, 136, 130),
    (186, 196, 180), (216, 180, 160),
)  # fmt: skip
AWNINGS: tuple[RGB, ...] = ((176, 60, 52), (46, 92, 84), (48, 70, 120), (210, 160, 70), (110, 50, 70))


def _facade(view: View, rng: Rng, noise: Noise, side: float, off: float, out: Array) -> Array:
    """Houses along one side of a street, ``off`` metres from its middle, over ``out`` (S + some, W, 3)."""
    rows = len(out)
    a, e = side * (view.a[:rows] + 0.35 * view.pan), view.e[:rows]
    depth = off / np.maximum(a, off / 90.0)
    high = view.eye + e * depth
    fronts = np.cumsum(rng.uniform(9.0, 19.0, 16)) + rng.uniform(0.0, 5.0)
    house = np.searchsorted(fronts, np.minimum(depth, 89.0)) % 16
    tall = rng.uniform(6.5, 13.0, 16).astype(np.float32)[house]
    colours = np.stack([linear(WALLS[i]) for i in rng.integers(len(WALLS), size=16)])[house]
    pitch = rng.uniform(3.6, 5.2, 16).astype(np.float32)[house]
    awning = np.stack([linear(AWNINGS[i]) for i in rng.integers(len(AWNINGS), size=16)])[house]
    u, v = (depth / pitch) % 1.0, ((high - 3.4) / 2.9) % 1.0
    soft = depth * view.grain * 1.2
    wall = colours * (0.80 + 0.16 * smooth(high, 0.0, 6.0))[..., None]
    glass = (
        linear((98, 122, 146))
        * (0.60 + 0.60 * noise(np.floor(depth / pitch) * 3.1, np.floor(high / 2.9) * 5.3))[..., None]
    )
    upstairs = (high > 3.5) * (high < tall - 0.6)
    for reach, rgb in ((0.06, np.float32(0.80)), (0.0, glass)):
        pane = edge(np.minimum(0.24 + reach - np.abs(u - 0.5), 0.30 + reach - np.abs(v - 0.5)), 0.02)
        wall = mix(wall, rgb, upstairs * pane)
    wall = _shops(wall, awning, depth, high, noise)
    haze = 0.92 - 0.92 * np.exp(-np.maximum(depth - 12.0, 0.0) / 60.0)
    wall = mix(wall, linear((214, 220, 226)), haze)
    inside = edge(np.minimum(tall - high, high) / np.maximum(soft, 1e-3), 1.0) * (a > off / 88.0)
    return mix(out, wall, inside)


def _shops(wall: Array, awning: Array, depth: Array, high: Array, noise: Noise) -> Array:
    """Shop windows, doors, awnings and plants at the foot of walls (R, W, 3)."""
    unit_ = 6.5
    at, which = (depth / unit_) % 1.0, np.floor(depth / unit_)
    door = noise(which * 3.7 + 0.5, which * 1.3) > 0.60
    low = np.where(door, 0.05, 0.70)
    pane = edge(np.minimum(0.36 - np.abs(at - 0.5), np.minimum(high - low, 2.35 - high) / unit_), 0.02)
    frame = edge(np.minimum(0.42 - np.abs(at - 0.5), np.minimum(high - low + 0.12, 2.5 - high) / unit_), 0.02)
    inside = (
        linear((70, 84, 100))
        + linear((255, 214, 150))
        * (0.55 * bell(high - 1.2, 0.75) * (0.5 + 0.8 * noise(depth * 3.0, high * 3.0)))[..., None]
    )
    wall = mix(wall, awning * 0.55, frame)
    wall = mix(wall, inside, pane * (1.0 - 0.8 * edge(0.02 - np.abs(at - 0.5), 0.01)))
    stripe = 0.82 + 0.30 * (((depth / 1.30) % 1.0) > 0.5)
    cloth = edge(np.minimum(high - 2.40, 3.10 - high), 0.05)
    wall = mix(wall, awning * stripe[..., None], cloth)
    wall = wall * (1.0 - 0.30 * bell(high - 2.30, 0.14) - 0.18 * bell(high - 3.2, 0.10))[..., None]
    bush = (
        0.55
        + 0.35 * noise(depth * 2.0, high * 4.0)
        - np.hypot((at - 0.02 - np.round(at - 0.02)) * 0.45 * unit_, high - 0.55) * 1.1
    )
    return mix(wall, linear((76, 120, 70)) * (0.6 + 0.7 * noise(depth * 9.0, high * 9.0))[..., None], edge(bush, 0.1))


def street(view: View, rng: Rng, noise: Noise) -> Array:
    """A street of houses and shops that runs into the haze; slabs of stone underfoot."""
    high = np.clip(view.e[: view.sky] / 0.17, 0.0, 1.0) + 0.0 * view.a[: view.sky]
    sky = clouds(
        view, noise, gradient(high, (238, 232, 222), (196, 216, 236), (138, 182, 226)), 0.75, (0.93, 0.93, 0.94)
    )
    x, far = view.x, view.far
    deep = far + view.distance
    pave = (
        linear((188, 182, 174))
        * (0.86 + 0.20 * noise(np.floor(x / 0.62) * 3.7 + 0.5, np.floor(far / 0.62) * 5.1 + 0.5))[..., None]
    )
    soft = deep * view.grain
    gap = np.minimum(0.31 - np.abs((x / 0.62) % 1.0 - 0.5) * 0.62, 0.31 - np.abs((far / 0.62) % 1.0 - 0.5) * 0.62)
    pale = np.clip(0.020 / np.maximum(soft * 4.0, 0.020), 0.0, 1.0) * smooth(-far, -14.0, -2.0)
    pave = pave * (1.0 - 0.30 * pale * np.clip((0.012 - gap) / np.maximum(soft, 0.004) + 0.5, 0.0, 1.0))[..., None]
    off = rng.uniform(1.7, 2.3), rng.uniform(1.7, 2.3)
    bright = 1.0 - 0.22 * smooth(np.abs(x), 1.2, 2.0) * smooth(far, 2.0, 6.0)
    haze = 1.0 - np.exp(-np.maximum(deep - 8.0, 0.0) / 70.0)
    ground = mix(pave * bright[..., None], linear((218, 220, 222)), haze + 0.0 * x)
    picture = whole(view, sky, ground)
    rows = view.sky + int((far[:, 0] > 4.0).sum())
    for side, o in zip((-1.0, 1.0), off, strict=True):
        picture[:rows] = _facade(view, rng, noise, side, o, picture[:rows])
    sun = np.exp(-((view.a[:rows] / 0.05) ** 2 + ((view.e[:rows] - 0.03) / 0.07) ** 2))
    picture[:rows] = mix(picture[:rows], linear((255, 240, 214)), 0.30 * sun)
    return picture


def _skyline(view: View, rng: Rng, noise: Noise, picture: Array, tall: float, dark: Array, lit: float) -> Array:
    """Houses against the night sky with windows alight, over the first rows (S, W, 3)."""
    a, e = view.a[: view.sky] + view.pan, view.e[: view.sky]
    edges = np.cumsum(rng.uniform(0.022, 0.060, 40)) - 0.9
    house = np.clip(np.searchsorted(edges, a), 0, 39)
    top = rng.uniform(0.35, 1.0, 40).astype(np.float32)[house] * tall
    inside = edge(top - e, view.grain)
    size = 0.0085 * (0.5 + tall / 0.2)
    col, row = np.floor(a / size), np.floor(e / (1.35 * size))
    alight = noise(col * 3.31 + 0.5, row * 5.17 + 0.5 + 0.0 * col)
    du, dv = a / size - col - 0.5, e / (1.35 * size) - row - 0.5
    pane = (
        edge(np.minimum(0.30 - np.abs(du), 0.30 - np.abs(dv)), view.grain / size)
        * smooth(alight, 0.50, 0.66)
        * (e < top - 0.3 * size)
    )
    warm = gradient(noise(col * 1.7 + 9.0, row * 2.3 + 0.0 * col), (255, 180, 96), (255, 220, 156), (190, 214, 255))
    body = dark * (0.75 + 0.5 * noise(house * 3.7, house * 0.0))[..., None]
    return mix(picture, body + warm * (lit * pane)[..., None], inside)


def night(view: View, rng: Rng, noise: Noise) -> Array:
    """A city at night: a glow over the skyline, windows alight, a wet street that mirrors the lights."""
    high = np.clip(view.e[: view.sky] / 0.19, 0.0, 1.0) + 0.0 * view.a[: view.sky]
    sky = gradient(high, (146, 84, 128), (70, 58, 120), (30, 34, 82), (16, 20, 52))
    sky = _skyline(view, rng, noise, sky, 0.185, linear((52, 48, 88)), 0.55)
    sky = _skyline(view, rng, noise, sky, 0.115, linear((26, 26, 50)), 1.0)
    x, deep = view.x, view.far + view.distance
    wet = noise(x * 2.2, deep * 0.9 + 0.0 * x) * 0.65 + 0.35 * noise(x * 7.0, deep * 2.0 + 0.0 * x)
    asphalt = linear((62, 58, 82)) * (0.65 + 0.55 * wet)[..., None]
    rows = np.minimum(np.arange(len(view.far)), max(view.sky - 1, 0))
    if view.sky:
        broad = round(0.012 * len(view.a))
        streak = box(sky.mean(0, dtype=np.float32)[None] * 0.6 + 0.4 * sky[::-1][rows], broad, 1)
        fade = (0.75 * np.exp(view.e[view.sky :] / 0.10) + 0.10) * (0.5 + 0.7 * smooth(wet, 0.35, 0.75))
        asphalt = asphalt * 0.75 + streak * fade[..., None]
    return whole(view, sky, asphalt)


LAMPS: tuple[RGB, ...] = (
    (255, 176, 82),
    (255, 98, 120),
    (96, 190, 255),
    (255, 226, 160),
    (196, 120, 255),
    (90, 230, 200),
)


def bokeh(view: View, rng: Rng, picture: Array) -> Array:
    """Lights out of focus along the horizon, as soft discs (H, W, 3), and their streaks on the wet ground."""
    for _ in range(26):
        cx, cy, r = rng.uniform(-0.15, 0.15), abs(rng.normal(0.012, 0.030)), rng.uniform(0.004, 0.0135)
        hue, power = linear(LAMPS[rng.integers(len(LAMPS))]), rng.uniform(0.35, 1.0)
        near = np.flatnonzero(np.abs(view.e[:, 0] - cy) < 1.2 * r)
        if len(near):
            rows = slice(int(near[0]), int(near[-1]) + 1)
            columns = slice(*np.searchsorted(view.a[near[0]], (cx - 1.5 * r, cx + 1.5 * r)))
            d = np.sqrt((view.a[rows, columns] - cx) ** 2 + (view.e[rows] - cy) ** 2) / r
            soft = max(0.16, view.grain / r)
            disc = np.clip((1.0 - d) / soft + 0.5, 0.0, 1.0) * (0.80 + 0.20 * smooth(d, 0.55, 0.95))
            picture[rows, columns] += hue * (power * disc)[..., None]
        low = view.e[view.sky :]
        columns = slice(*np.searchsorted(view.a[-1], (cx - 2.0 * r - 0.006, cx + 2.0 * r + 0.006)))
        streak = (
            bell(view.a[view.sky :, columns] - cx, 0.55 * r + 0.002)
            * bell(low + 0.6 * cy + 0.02, 0.055)
            * smooth(-low, 0.0, 0.03)
        )
        picture[view.sky :, columns] += hue * (0.34 * power * streak)[..., None]
    return picture
