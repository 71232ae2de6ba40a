"""Ribbons: cloth between two edges, moved from a garment's picture to a photo so that edges come to lie on edges.

A place on a ribbon has the coordinates u, the share of the way from its first cross-section to its last, and v, that
from its left edge to its right one. Two ribbons that share a cross-section meet there without a gap.
"""

from dataclasses import dataclass

import numpy as np

BEYOND = 0.06
"""How far a ribbon is drawn beyond its edges and ends, as a share of its width: there its cloth fades out."""
LONGEST = 420
"""Longest side in pixels at which places are looked up."""


@dataclass(frozen=True)
class Ribbon:
    """Cross-sections from left to right, columns and rows (k, 2) each, in pixels."""

    left: np.ndarray
    right: np.ndarray

    def then(self, other: "Ribbon") -> "Ribbon":
        """Return this ribbon with another one at its end."""
        return Ribbon(np.concatenate([self.left, other.left]), np.concatenate([self.right, other.right]))

    def at(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return columns and rows, of the shape of u and v, of places on the ribbon; beyond its ends it goes on."""
        place = u * (len(self.left) - 1)
        first = np.clip(place.astype(int), 0, len(self.left) - 2)
        share = (place - first)[..., None]
        left = self.left[first] + share * (self.left[first + 1] - self.left[first])
        right = self.right[first] + share * (self.right[first + 1] - self.right[first])
        found = left + v[..., None] * (right - left)
        return found[..., 0], found[..., 1]

    def coordinates(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return u and v of each pixel of a picture of `size` (H, W), and whether the ribbon is there; float and bool.

        Found by drawing the ribbon finely; where it lies on itself, its latter part is above.
        """
        wide = np.hypot(*(self.right - self.left).T).max()
        longest = max(np.hypot(*np.diff(edge, axis=0).T).max() for edge in (self.left, self.right))
        steps = longest * (len(self.left) - 1)  # u is even over cross-sections, not over pixels
        rows, columns = (int(min(2.2 * (1 + 2 * BEYOND) * side + 8, 3000)) for side in (steps, wide))
        u, v = (np.linspace(-BEYOND, 1 + BEYOND, count) for count in (rows, columns))
        u, v = np.meshgrid(np.clip(u, -BEYOND / 4, 1 + BEYOND / 4), v, indexing="ij")
        x, y = self.at(u, v)
        column, row = np.floor(x).astype(int), np.floor(y).astype(int)
        inside = (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
        at = row[inside] * size[1] + column[inside]
        count = np.bincount(at, minlength=size[0] * size[1])
        mean = lambda values: (np.bincount(at, values[inside], len(count)) / np.maximum(count, 1)).reshape(size)
        return mean(u), mean(v), (count > 0).reshape(size)
