"""Bend a picture along an axis: strips with a width, from a straight one in the picture to a bent one in another.

A strip is a line of points with half a width at each. A place has the coordinates u, the share of the length at the
nearest point of the line, and v, the distance from the line as a share of half the width there. Moving a strip keeps
both, as in feature-based warping (Beier and Neely, SIGGRAPH 1992, section 3) with one line a part.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Strip:
    """A line of points (k, 2), column and row in pixels, and half the width at each (k,), in pixels."""

    points: np.ndarray
    half: np.ndarray

    @property
    def length(self) -> float:
        """Length of the line in pixels."""
        return float(np.hypot(*np.diff(self.points, axis=0).T).sum())

    def cut(self, length: float) -> "Strip":
        """Return the first `length` pixels of it, or more of it in the direction of its end."""
        steps = np.hypot(*np.diff(self.points, axis=0).T)
        done = np.concatenate([[0], np.cumsum(steps)])
        last = min(int(np.searchsorted(done, length, side="left")), len(steps))
        last = max(1, last)
        share = (length - done[last - 1]) / max(steps[last - 1], 1e-6)
        end = self.points[last - 1] + share * (self.points[last] - self.points[last - 1])
        half = self.half[last - 1] + min(share, 1.0) * (self.half[last] - self.half[last - 1])
        return Strip(np.vstack([self.points[:last], end]), np.append(self.half[:last], half))

    def coordinates(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return u and v, of the places' shape, of places x, y (h, w) in pixels.

        Beyond the ends u goes on below 0 and above 1. v is negative right of the line's direction, seen on a picture.
        """
        steps = np.diff(self.points, axis=0)
        lengths = np.maximum(np.hypot(*steps.T), 1e-6)
        total, before = lengths.sum(), 0.0
        u, v, nearest = (np.zeros(np.broadcast(x, y).shape, np.float32) for _ in range(3))
        nearest += np.inf
        for i, ((dx, dy), length) in enumerate(zip(steps / lengths[:, None], lengths)):
            rx, ry = x - self.points[i, 0], y - self.points[i, 1]
            along, aside = rx * dx + ry * dy, rx * dy - ry * dx
            inner = along.clip(0 if i else -np.inf, length if i < len(lengths) - 1 else np.inf)
            away = (along - inner) ** 2 + aside**2
            share = (inner / length).clip(0, 1)
            half = np.maximum(self.half[i] + share * (self.half[i + 1] - self.half[i]), 1e-3)
            closer = away < nearest
            u = np.where(closer, (before + inner) / total, u)
            v = np.where(closer, np.sign(aside) * np.sqrt(away) / half, v)
            nearest = np.where(closer, away, nearest)
            before += length
        return u, v

    def at(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return columns and rows (h, w) of the places u, v (h, w), the inverse of `coordinates`."""
        steps = np.diff(self.points, axis=0)
        lengths = np.maximum(np.hypot(*steps.T), 1e-6)
        ends = np.concatenate([[0], np.cumsum(lengths)]) / lengths.sum()
        x, y = np.zeros_like(u), np.zeros_like(u)
        for i, (step, length) in enumerate(zip(steps, lengths, strict=True)):
            first, last = i == 0, i == len(steps) - 1
            inside = ((u >= ends[i]) | first) & ((u < ends[i + 1]) | last)
            share = (u - ends[i]) / (ends[i + 1] - ends[i])
            half = self.half[i] + share.clip(0, 1) * (self.half[i + 1] - self.half[i])
            dx, dy = step / length
            x = np.where(inside, self.points[i, 0] + share * step[0] + v * half * dy, x)
            y = np.where(inside, self.points[i, 1] + share * step[1] - v * half * dx, y)
        return x, y

    def off_middle(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return how far places (h, w) are from the line, as a share of half the width there: (h, w).

        The strip is round at its start and cut off at its end, beyond which the distance is infinite.
        """
        u, v = self.coordinates(x, y)
        start = np.hypot(x - self.points[0, 0], y - self.points[0, 1]) / self.half[0]
        return np.where(u < 0, start, np.where(u < 1.03, np.abs(v), np.inf))
