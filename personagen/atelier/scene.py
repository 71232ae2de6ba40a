"""Six places to stand in: light, ground and backdrop as functions of the viewing ray. Linear RGB throughout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .head import linear
from .light import Light
from .surface import Noise


LIGHTS: dict[str, Light] = {
    "studio": Light((-0.45, 0.75, 0.62), (0.92, 0.90, 0.86), (0.50, 0.51, 0.54), (0.30, 0.29, 0.28)),
    "street": Light((0.50, 0.80, 0.52), (1.00, 0.93, 0.82), (0.42, 0.46, 0.54), (0.24, 0.23, 0.22)),
    "beach": Light((-0.55, 0.80, 0.50), (1.12, 1.02, 0.84), (0.44, 0.52, 0.62), (0.36, 0.32, 0.24)),
    "park": Light((0.55, 0.72, 0.55), (1.04, 0.98, 0.80), (0.40, 0.46, 0.46), (0.18, 0.24, 0.14)),
    "snow": Light((-0.40, 0.70, 0.62), (0.86, 0.88, 0.94), (0.52, 0.57, 0.66), (0.44, 0.47, 0.52)),
    "night city": Light((0.60, 0.55, 0.62), (0.78, 0.62, 0.48), (0.26, 0.27, 0.44), (0.22, 0.16, 0.26)),
}


@dataclass(frozen=True)
class View:
    """What a backdrop sees of each ray, all (N,): tangents of the angles right (a), up (e), and ground hits (x, z)."""

    a: np.ndarray
    e: np.ndarray
    x: np.ndarray
    z: np.ndarray
    ground: np.ndarray
    shape: tuple[int, int]
    pan: float


def _mix(a: np.ndarray, b: np.ndarray | tuple[float, float, float], share: np.ndarray) -> np.ndarray:
    return a + (np.asarray(b, np.float32) - a) * share[:, None]


def _fill(n: int, rgb: tuple[int, int, int]) -> np.ndarray:
    return np.broadcast_to(linear(rgb), (n, 3)).copy()


def _smooth(x: np.ndarray, lo: float, hi: float) -> np.ndarray:
    t = np.clip((x - lo) / (hi - lo), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _sky(view: View, low: tuple[int, int, int], high: tuple[int, int, int], noise: Noise, cloud: float) -> np.ndarray:
    out = _mix(_fill(len(view.e), low), linear(high), np.clip(view.e * 3.2, 0, 1))
    puff = _smooth(noise.octaves(view.a * 9.0, view.e * 26.0), 0.52, 0.80)
    return _mix(out, (0.92, 0.93, 0.95), cloud * puff * np.clip(view.e * 14.0, 0, 1))


def _studio(view: View, rng: np.random.Generator, noise: Noise) -> np.ndarray:
    tones = ((214, 212, 208), (202, 210, 218), (222, 210, 194), (206, 214, 202), (214, 204, 214))
    wall = linear(tones[rng.integers(len(tones))])
    glow = np.exp(-((view.a - rng.uniform(-0.06, 0.06)) ** 2 * 14.0 + (view.e - 0.05) ** 2 * 9.0))
    tone = np.where(view.ground, 0.80 + 0.16 * _smooth(-view.e, 0.0, 0.22), 0.70 + 0.34 * glow)
    return wall * tone[:, None]


def _street(view: View, rng: np.random.Generator, noise: Noise) -> np.ndarray:
    out = _sky(view, (214, 226, 238), (120, 168, 220), noise, 0.7)
    edges = np.cumsum(rng.uniform(0.07, 0.15, 16)) - 0.9
    walls = ((176, 104, 82), (206, 188, 160), (150, 156, 164), (188, 150, 120), (222, 214, 200), (128, 112, 104))
    for left, right in zip(edges[:-1], edges[1:], strict=True):
        top, wall = rng.uniform(0.16, 0.42), linear(walls[rng.integers(len(walls))])
        inside = (view.a >= left) & (view.a < right) & (view.e < top)
        du = (view.a - left) / 0.030 % 1.0
        dv = view.e / 0.052 % 1.0
        pane = (du > 0.28) & (du < 0.72) & (dv > 0.25) & (dv < 0.75) & (view.e > 0.045) & (view.e < top - 0.02)
        shade = 0.72 + 0.2 * rng.random() + 0.1 * noise(view.a * 60, view.e * 60)
        colour = wall * shade[:, None]
        colour[pane] = linear((86, 108, 130)) * (0.8 + 0.5 * noise(view.a * 20, view.e * 20)[pane, None])
        shop = (view.e < 0.040) & (view.e > 0.030)
        colour[shop] = linear(walls[rng.integers(len(walls))]) * 0.6
        colour[(view.e <= 0.030) & (du > 0.1) & (du < 0.9)] = linear((60, 68, 78))
        out[inside] = colour[inside]
    joint = (np.abs(view.x / 0.6 % 1.0 - 0.5) > 0.475) | (np.abs(view.z / 0.6 % 1.0 - 0.5) > 0.475)
    tile = 0.86 + 0.14 * noise(np.floor(view.x / 0.6) * 3.7, np.floor(view.z / 0.6) * 5.1) - 0.12 * joint
    pave = linear((170, 166, 160)) * tile[:, None]
    road = (view.z < -3.2)[:, None]
    return np.where(view.ground[:, None], np.where(road, linear((104, 106, 110)), pave), out)


def _beach(view: View, rng: np.random.Generator, noise: Noise) -> np.ndarray:
    out = _sky(view, (206, 232, 244), (74, 156, 222), noise, 0.55)
    shore = -4.5 - 0.8 * noise(view.x * 0.4, view.x * 0 + 2.0)
    sand = linear((232, 208, 162)) * (0.86 + 0.20 * noise.octaves(view.x * 5, view.z * 5))[:, None]
    sea = _mix(_fill(len(view.a), (30, 140, 176)), linear((16, 96, 152)), _smooth(-view.z, 5.0, 30.0))
    glitter = _smooth(noise(view.a * 120, view.e * 900), 0.72, 0.95) * 0.5
    sea = _mix(sea, (0.9, 0.97, 1.0), glitter)
    foam = np.exp(-(((view.z - shore) / 0.35) ** 2))
    ground = np.where((view.z < shore)[:, None], sea, sand)
    out = np.where(view.ground[:, None], _mix(ground, (0.95, 0.97, 0.98), foam * 0.9), out)
    if rng.random() < 0.6:  # a parasol
        cx, side = rng.uniform(0.10, 0.17), rng.choice([-1, 1])
        du, dv = (view.a - side * cx) / 0.055, (view.e - 0.055) / 0.028
        top = (du * du + dv * dv < 1) & (dv > 0)
        stripe = np.floor(du * 3.0) % 2 == 0
        canopy = linear((220, 66, 56))
        out[top] = np.where(stripe[:, None], canopy, np.float32(0.9))[top]
        out[(np.abs(du) < 0.035) & (view.e < 0.055) & (view.e > -0.03)] = 0.55
    return out


def _park(view: View, rng: np.random.Generator, noise: Noise) -> np.ndarray:
    out = _sky(view, (222, 236, 240), (140, 190, 228), noise, 0.6)
    hedge = 0.050 + 0.035 * noise(view.a * 16, view.a * 0) + 0.012 * noise(view.a * 90, view.e * 90)
    out[view.e < hedge] = (linear((74, 116, 66)) * (0.7 + 0.6 * noise(view.a * 80, view.e * 80))[:, None])[
        view.e < hedge
    ]
    for _ in range(7):
        cx, cy, r = rng.uniform(-0.42, 0.42), rng.uniform(0.13, 0.22), rng.uniform(0.055, 0.095)
        trunk = (np.abs(view.a - cx) < 0.007 + 0.05 * np.maximum(0.03 - view.e, 0)) & (view.e < cy)
        out[trunk] = linear((92, 70, 52))
        lump = r * (0.72 + 0.42 * noise(view.a * 30 + cx * 99, view.e * 30) + 0.14 * noise(view.a * 120, view.e * 120))
        crown = (view.a - cx) ** 2 + ((view.e - cy) * 0.9) ** 2 < lump**2
        leaf = linear(((64, 128, 58), (88, 148, 62), (48, 104, 62), (132, 158, 66))[rng.integers(4)])
        lit = 0.60 + 0.5 * _smooth(view.e - cy, -r, r) + 0.35 * (noise(view.a * 110, view.e * 110) - 0.5)
        out[crown] = (leaf * lit[:, None])[crown]
    blade = 0.74 + 0.34 * noise.octaves(view.x * 9, view.z * 9)
    grass = linear((104, 156, 74)) * blade[:, None]
    path = np.abs(view.x - 0.25 * np.sin(view.z * 0.5)) < 0.75 + 0.05 * noise(view.z * 4, view.x * 4)
    gravel = linear((206, 192, 166)) * (0.88 + 0.16 * noise(view.x * 30, view.z * 30))[:, None]
    return np.where(view.ground[:, None], np.where(path[:, None], gravel, grass), out)


def _snow(view: View, rng: np.random.Generator, noise: Noise) -> np.ndarray:
    out = _sky(view, (226, 232, 240), (172, 192, 216), noise, 0.3)
    ridge = 0.10 + 0.10 * noise(view.a * 5.0, view.a * 0 + 1) + 0.03 * noise(view.a * 21, view.a * 0)
    rock = _mix(_fill(len(view.a), (138, 154, 178)), (0.93, 0.95, 0.98), _smooth(view.e - 0.6 * ridge, 0.0, 0.05))
    out = np.where((view.e < ridge)[:, None], rock, out)
    for _ in range(13):
        cx, base, tall = rng.uniform(-0.40, 0.40), rng.uniform(-0.005, 0.01), rng.uniform(0.08, 0.20)
        up = (view.e - base) / tall
        half = 0.30 * tall * (1.05 - up) * (0.70 + 0.30 * np.abs(np.sin(up * 15.0)))
        tree = (up > 0) & (up < 1) & (np.abs(view.a - cx) < half)
        white = _smooth(noise(view.a * 70 + cx * 50, view.e * 70), 0.45, 0.65) * 0.75
        pine = _mix(_fill(len(view.a), (44, 78, 66)), (0.88, 0.91, 0.95), white)
        out[tree] = pine[tree]
    drift = 0.90 + 0.10 * noise.octaves(view.x * 1.7, view.z * 2.3)
    ground = linear((240, 244, 250)) * drift[:, None]
    return np.where(view.ground[:, None], ground, out)


def _night(view: View, rng: np.random.Generator, noise: Noise) -> np.ndarray:
    out = _mix(_fill(len(view.e), (54, 42, 78)), linear((14, 16, 36)), np.clip(view.e * 3.5, 0, 1))
    edges = np.cumsum(rng.uniform(0.05, 0.11, 22)) - 0.85
    for left, right in zip(edges[:-1], edges[1:], strict=True):
        top = rng.uniform(0.14, 0.44)
        inside = (view.a >= left) & (view.a < right) & (view.e < top)
        col, row = np.floor(view.a / 0.0145), np.floor(view.e / 0.021)
        du, dv = view.a / 0.0145 % 1.0, view.e / 0.021 % 1.0
        lit = noise(col * 3.31 + 0.5, row * 5.17 + 0.5) > 0.52
        pane = (du > 0.22) & (du < 0.78) & (dv > 0.25) & (dv < 0.75) & lit
        colour = _fill(len(view.a), (26, 26, 44))
        glow = linear(((255, 214, 138), (255, 190, 108), (176, 210, 255))[rng.integers(3)])
        colour[pane] = glow * 0.85
        out[inside] = colour[inside]
    for _ in range(16):
        cx, cy, r = rng.uniform(-0.34, 0.34), rng.uniform(0.0, 0.12), rng.uniform(0.008, 0.022)
        disc = _smooth(-np.sqrt((view.a - cx) ** 2 + (view.e - cy) ** 2), -r, -0.72 * r)
        hue = linear(
            ((255, 176, 82), (255, 84, 120), (84, 196, 255), (255, 232, 168), (190, 110, 255))[rng.integers(5)]
        )
        out = out + hue * (0.55 * disc)[:, None]
    wet = noise.octaves(view.x * 2.4, view.z * 1.2)
    shine = noise(view.a * 40, view.a * 0 + 3) ** 3 * np.clip(-view.e * 1.2 + 0.25, 0, 1)
    asphalt = linear((46, 44, 60)) * (0.7 + 0.6 * wet)[:, None] + linear((255, 180, 110)) * (0.22 * shine)[:, None]
    return np.where(view.ground[:, None], asphalt, out)


PAINTERS = {"studio": _studio, "street": _street, "beach": _beach, "park": _park, "snow": _snow, "night city": _night}


def paint(scene: str, view: View, seed: int) -> np.ndarray:
    """Linear RGB (N, 3) of the backdrop and ground of ``scene`` along the rays of ``view``."""
    rng = np.random.default_rng(seed)
    return PAINTERS[scene](view, rng, Noise(rng)).astype(np.float32).reshape(*view.shape, 3)


def snowflakes(picture: np.ndarray, seed: int) -> np.ndarray:
    """Add falling snow to a linear RGB picture (H, W, 3), in front of everything."""
    rng = np.random.default_rng(seed + 1)
    h, w, _ = picture.shape
    yy, xx = np.mgrid[-3:4, -3:4]
    for _ in range(h * w // 900):
        y, x, r = rng.integers(3, h - 4), rng.integers(3, w - 4), rng.uniform(0.5, 1.3) * h / 256
        soft = 0.75 * np.clip(r + 0.5 - np.sqrt(yy**2 + xx**2), 0, 1)[..., None]
        picture[y - 3 : y + 4, x - 3 : x + 4] += (np.float32(0.97) - picture[y - 3 : y + 4, x - 3 : x + 4]) * soft
    return picture
