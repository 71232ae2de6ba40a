"""All layers of a figure as one surface, what cameras see of it, and how far each vertex may move in depth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..atelier.trace import Camera, axes, place, seen_at
from .layers import components
from .mesh import Figure, normals
from .raster import Seen, rasterise
from .rig import near_within, welded
from .texels import FRONT, STRAIGHT
from .turntable import Stage, Turntable

MEET = 0.02
"""Metres within which surfaces are tied to each other."""
THIN = 0.3
"""Share of the thickness along its ray by which a vertex moves inwards at most, so that hands stay hands."""


@dataclass(frozen=True)
class Goal:
    """Normals (H, W, 3), unit, in the world, that a camera is to see, and how sure they are, (H, W) in [0, 1]."""

    camera: Camera
    normals: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Sight:
    """What pixels see (H, W), with unit normals (H, W, 3) in the world, zero where nothing is, and the cosine (H, W)
    towards the camera."""

    seen: Seen
    normals: np.ndarray
    cosine: np.ndarray


@dataclass(frozen=True)
class Shell:
    """All layers as one surface whose vertices at one place are one.

    front: the camera before the figure. at (N,): the place of each vertex of the layers; points, rays (V, 3): places,
    and unit directions to that camera; faces (F, 3); edges (E, 2), each once; ties (n, 2): places of different surfaces
    that lie near each other.
    """

    front: Camera
    at: np.ndarray
    points: np.ndarray
    rays: np.ndarray
    faces: np.ndarray
    edges: np.ndarray
    ties: np.ndarray

    @classmethod
    def of(cls, figure: Figure) -> "Shell":
        """Join a figure's layers."""
        vertices = np.concatenate([layer.vertices for layer in figure.layers]).astype(float)
        starts = np.cumsum([0, *(len(layer.vertices) for layer in figure.layers)])
        faces = np.concatenate([layer.faces + start for layer, start in zip(figure.layers, starts)]).astype(np.int64)
        at, edges = welded(vertices, faces)
        points = np.zeros((int(at.max()) + 1, 3))
        points[at] = vertices
        front = Turntable(figure, Stage(size=FRONT)).camera
        rays = place(front) - points
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        many = np.cumsum([0, *(len(layer.faces) for layer in figure.layers)])
        pieces = [at[faces[one:two]] for one, two in zip(many, many[1:])]
        return cls(front, at, points, rays, at[faces], edges, _ties(points, pieces))

    def seen(self, goal: Goal, depth: np.ndarray | float = 0.0) -> Sight:
        """See the surface, moved by depths (V,), as a goal's camera does."""
        points = self.points + np.reshape(depth, (-1, 1)) * self.rays
        column, row, far = seen_at(points, goal.camera, *goal.weight.shape)
        seen = rasterise(np.stack([column, row, -far], 1), self.faces, goal.weight.shape)
        shown = np.unique(seen.face[seen.face >= 0])  # what closes a hem inside has no part in its normals
        found = seen.value(normals(points, self.faces[shown]), self.faces)
        found /= np.linalg.norm(found, axis=2, keepdims=True).clip(1e-9)
        return Sight(seen, found, (found @ axes(goal.camera)[0]).clip(0, 1))

    def bounds(self, limit: float) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest depths (V,) that vertices may move by."""
        column, row, far = seen_at(self.points, self.front, *FRONT)
        pixel = tuple(np.floor(one).astype(int).clip(0, size - 1) for one, size in zip((row, column), FRONT))
        inwards = []
        for sign in (-1, 1):  # the nearest surface on the ray, and the last
            seen = rasterise(np.stack([column, row, sign * far], 1), self.faces, FRONT, both=True)
            there = np.abs(np.where(seen.face < 0, 0, seen.near)[pixel])
            inwards.append((THIN * np.where(there > 0, np.abs(there - far), 0)).clip(0, limit))
        outwards = (normals(self.points, self.faces) * self.rays).sum(1)
        return np.where(outwards > 0, -inwards[1], -limit), np.where(outwards < 0, inwards[0], limit)

    def straight(self) -> np.ndarray:
        """Cosine (V,) at which the front view sees a vertex, the best of its faces'; 0: not at all."""
        sight = self.seen(Goal(self.front, np.zeros((*FRONT, 3)), np.ones(FRONT)))
        there, best = sight.seen.face >= 0, np.zeros(len(self.points))
        np.maximum.at(best, self.faces[sight.seen.face[there]].ravel(), sight.cosine[there].repeat(3))
        return best

    def corners(self, goals: Sequence[Goal], sights: Sequence[Sight]) -> np.ndarray:
        """Numbers of the vertices that goals with weight see, each once."""
        faces = [sight.seen.face[(sight.cosine > STRAIGHT) & (goal.weight > 0)] for goal, sight in zip(goals, sights)]
        return np.unique(self.faces[np.concatenate(faces)])

    def moved(self, figure: Figure, depth: np.ndarray) -> Figure:
        """A figure with its vertices moved by depths (V,)."""
        step, layers, start = ((depth[:, None] * self.rays)[self.at]).astype(np.float32), [], 0
        for layer in figure.layers:
            end = start + len(layer.vertices)
            layers.append(replace(layer, vertices=layer.vertices + step[start:end]))
            start = end
        return replace(figure, layers=tuple(layers))


def _ties(points: np.ndarray, pieces: Sequence[np.ndarray]) -> np.ndarray:
    """Pairs of places (n, 2), each with the nearest that belongs to another piece of a layer."""
    owner, count = np.full(len(points), -1), 0
    for faces in pieces:
        piece = components(faces)
        owner[faces.ravel()] = np.repeat(count + piece, 3)
        count += int(piece.max(initial=-1)) + 1
    pairs = []
    for number in range(count):
        mine, others = np.flatnonzero(owner == number), np.flatnonzero((owner != number) & (owner >= 0))
        if len(mine) and len(others):
            found, far = near_within(points[others], points[mine], MEET)
            pairs.append(np.stack([mine, others[found]], 1)[far <= MEET])
    return np.concatenate(pairs) if pairs else np.zeros((0, 2), np.int64)
