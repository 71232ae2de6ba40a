"""Light on surfaces: a key light with soft shadows, sky and ground light, and what hides them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .surface import Array, dot, smooth, unit


@dataclass(frozen=True)
class Light:
    """Key light (direction to it, colour), sky, bounce and rim light; linear RGB."""

    direction: tuple[float, float, float]
    key: tuple[float, float, float]
    sky: tuple[float, float, float]
    bounce: tuple[float, float, float]
    rim: tuple[float, float, float] = (0.30, 0.32, 0.36)

    @property
    def towards(self) -> Array:
        """Unit direction (3,) to the key light."""
        return unit(np.array(self.direction, np.float32))


def box(x: Array, reach: int, axis: int) -> Array:
    """Mean of ``x`` over 2 ``reach`` + 1 neighbours along an axis, the edge repeated."""
    pad = [(reach + 1, reach) if a == axis else (0, 0) for a in range(x.ndim)]
    total = np.cumsum(np.pad(x, pad, mode="edge"), axis, dtype=np.float32)
    n, span = x.shape[axis], 2 * reach + 1
    take = [slice(None)] * x.ndim
    take[axis] = slice(span, span + n)
    high = total[tuple(take)]
    take[axis] = slice(0, n)
    return (high - total[tuple(take)]) * np.float32(1.0 / span)


def blur(x: Array, reach: int, passes: int = 2) -> Array:
    """Blur a picture (H, W, ...) by box means, twice or more for a round kernel."""
    for _ in range(passes if reach else 0):
        x = box(box(x, reach, 0), reach, 1)
    return x


class ShadowMap:
    """The depth of the nearest point towards the key light, on a grid across it, blurred with its square."""

    TEXEL = 0.012

    def __init__(self, vertices: Array, towards: Array) -> None:
        right = unit(np.array([towards[2], 0.0, -towards[0]], np.float32))
        up = unit(
            np.array(
                [-towards[0] * towards[1], towards[0] ** 2 + towards[2] ** 2, -towards[2] * towards[1]], np.float32
            )
        )
        self.frame = (right, up, towards)
        a, b, t = self._across(vertices)
        self.low = (float(a.min()) - 0.1, float(b.min()) - 0.1)
        self.shape = tuple(
            int((float(c.max()) - lo + 0.1) / self.TEXEL) + 2 for c, lo in zip((a, b), self.low, strict=True)
        )
        ia, ib = self._cell(a, b)
        depth = np.full(self.shape[0] * self.shape[1], -9.0, np.float32)
        np.maximum.at(depth, ia * self.shape[1] + ib, t)
        depth = depth.reshape(self.shape)
        near = np.maximum.reduce([depth, np.roll(depth, 1, 0), np.roll(depth, 1, 1)])
        depth = np.where(depth < -8, near, depth)
        self.filled = depth > -8
        self.depth = depth

    def _across(self, p: Array) -> tuple[Array, Array, Array]:
        return tuple(p[:, 0] * f[0] + p[:, 1] * f[1] + p[:, 2] * f[2] for f in self.frame)  # type: ignore[return-value]

    def _cell(self, a: Array, b: Array) -> tuple[Array, Array]:
        i, j = (a - self.low[0]) * (1.0 / self.TEXEL), (b - self.low[1]) * (1.0 / self.TEXEL)
        return (
            np.clip(i.astype(np.int32), 0, self.shape[0] - 1),
            np.clip(j.astype(np.int32), 0, self.shape[1] - 1),
        )

    def lit(self, p: Array, n: Array) -> Array:
        """Share (N,) of the key light that reaches points (N, 3) with normals (N, 3)."""
        q = p + 0.012 * n
        a, b, t = self._across(q)
        out = np.zeros(len(p), np.float32)
        taps = ((0.0, 0.0), (0.014, 0.006), (-0.006, 0.014), (-0.014, -0.006), (0.006, -0.014),
                (0.030, -0.012), (0.012, 0.030), (-0.030, 0.012), (-0.012, -0.030))  # fmt: skip
        flat = self.depth.reshape(-1)
        for da, db in taps:
            i, j = self._cell(a + da, b + db)
            over = flat.take(i * np.int32(self.shape[1]) + j) - t
            out += np.clip((0.028 - over) * (1.0 / 0.022), 0.0, 1.0)
        return smooth(out * (1.0 / len(taps)), 0.0, 1.0)


def occlusion(points: Array, normals: Array, inside: Array, unit_pixels: float) -> Array:
    """Share (H, W) of the sky that the samples of a picture see, from their neighbours in it.

    points, normals (H, W, 3) where ``inside`` (H, W); ``unit_pixels``: pixels a metre.
    """
    hidden, weight = np.zeros(inside.shape, np.float32), 0.0
    px, py, pz = (np.where(inside, points[..., i], 1e3) for i in range(3))
    nx, ny, nz = (np.ascontiguousarray(normals[..., i]) for i in range(3))
    h, w = inside.shape
    for ring, reach in enumerate((0.022, 0.055, 0.110)):
        for k in range(6):
            turn = 2 * np.pi * (k + 0.5 * ring) / 6
            dy, dx = round(reach * unit_pixels * np.sin(turn)), round(reach * unit_pixels * np.cos(turn))
            if not (dy or dx):
                continue
            a = (slice(max(0, -dy), h - max(0, dy)), slice(max(0, -dx), w - max(0, dx)))
            b = (slice(max(0, dy), h - max(0, -dy)), slice(max(0, dx), w - max(0, -dx)))
            vx, vy, vz = px[b] - px[a], py[b] - py[a], pz[b] - pz[a]
            square = vx * vx + vy * vy + vz * vz
            facing = (nx[a] * vx + ny[a] * vy + nz[a] * vz) / np.sqrt(square + 1e-6)
            hidden[a] += np.maximum(facing - 0.12, 0.0) * np.maximum(1.0 - square * (1.0 / (2.4 * reach) ** 2), 0.0)
            weight += 1.0
    return np.clip(1.0 - 2.1 * hidden / max(weight, 1.0), 0.0, 1.0) ** 1.25


@dataclass(frozen=True)
class Matter:
    """How surfaces (N,) answer light: ``wrap`` (N, 3) lets it creep round, ``gloss`` and its ``sharp`` exponent,
    ``fuzz`` brightens edges, ``strand`` (0 or 1) marks hair."""

    albedo: Array
    wrap: Array
    gloss: Array
    sharp: Array
    fuzz: Array
    strand: Array


def shade(light: Light, matter: Matter, n: Array, view: Array, lit: Array, sky_seen: Array) -> Array:
    """Linear radiance (N, 3) from unit normals and directions to the eye (N, 3), key light and sky that arrive (N,)."""
    key = light.towards
    facing = n[:, 0] * key[0] + n[:, 1] * key[1] + n[:, 2] * key[2]
    half = unit(view + key)
    soft = matter.wrap
    diffuse = np.clip((facing[:, None] + soft) / (1.0 + soft), 0.0, 1.0)
    shadow = lit[:, None] + (1.0 - lit[:, None]) * soft * np.array([0.35, 0.15, 0.10], np.float32)
    sky, bounce = np.array(light.sky, np.float32), np.array(light.bounce, np.float32)
    up = (0.5 + 0.5 * n[:, 1])[:, None]
    fill = 0.80 + 0.20 * np.clip(n[:, 2:3], 0, 1)
    seen = sky_seen[:, None]
    tinted = seen ** (1.0 - 0.30 * np.clip(matter.albedo, 0, 1))  # light colours bounce into their own corners
    ambient = (bounce + (sky - bounce) * up) * fill * tinted
    radiance = matter.albedo * (ambient + diffuse * shadow * np.array(light.key, np.float32))
    edge = (1.0 - np.clip(dot(n, view), 0.0, 1.0)) ** 3
    rim = (edge * sky_seen * (0.35 + 0.65 * np.clip(0.5 + n[:, 1] * 0.5 + 0.3 * np.abs(n[:, 0]), 0, 1)) * matter.fuzz)[
        :, None
    ]
    rim = rim * np.array(light.rim, np.float32) * (0.45 + 0.55 * np.sqrt(np.maximum(matter.albedo, 0.0)))
    return radiance + rim + _shine(light, matter, n, half, lit)[:, None] * np.array(light.key, np.float32)


def _shine(light: Light, matter: Matter, n: Array, half: Array, lit: Array) -> Array:
    """Highlights (N,): round ones, and a band across hair."""
    out = matter.gloss * np.maximum(dot(n, half), 0.0) ** matter.sharp
    hair = np.flatnonzero(matter.strand > 0)
    if len(hair):
        m, hv = n[hair], half[hair]
        tangent = unit(np.stack([-m[:, 1] * m[:, 0], 1.0 - m[:, 1] ** 2 + 1e-3, -m[:, 1] * m[:, 2]], -1))
        tangent = unit(tangent + 0.22 * m)
        along = dot(tangent, hv)
        out[hair] = (
            matter.gloss[hair]
            * np.maximum(1.0 - along**2, 0.0) ** (0.5 * matter.sharp[hair])
            * np.clip(0.3 + dot(m, hv), 0, 1)
        )
    return out * (0.25 + 0.75 * lit)
