"""What a figure is: layers of triangles that share one texture, and the skeleton that moves them.

World: x to the viewer's right, y up, z towards the viewer, in metres; the soles stand on y = 0, the middle of the trunk
is at x = z = 0. Texture places are (u, v) in [0, 1] with v down, (0, 0) the upper left corner, as in glTF.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Skeleton:
    """Bones as they stand in the photo's pose.

    names: of the J bones. parents: int (J,), -1 for the root; parents stand before their children. heads: where each
    bone begins, metres, (J, 3), which is also what it turns about.
    """

    names: tuple[str, ...]
    parents: np.ndarray
    heads: np.ndarray


@dataclass(frozen=True)
class Layer:
    """One surface of a figure, under a name of its own.

    vertices: float32 (V, 3), metres; those on the seam of two charts stand there twice, so merge by place to count
    edges. faces: int32 (F, 3), counter-clockwise from outside. uv: float32 (V, 2). kind: "body" for what belongs to the
    person, else a garment's kind. bones: uint8 (V, 4), weights: float32 (V, 4) with sum 1, for a skeleton; None: not
    rigged. light: float32 (V, 3), what the texture's linear colours are multiplied with where the photo's light does
    not reach as it does in front; None: nothing.
    """

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    kind: str = "body"
    bones: np.ndarray | None = None
    weights: np.ndarray | None = None
    light: np.ndarray | None = None

    @property
    def garment(self) -> bool:
        """Tell whether this is something worn that was asked for, not the person."""
        return self.kind != "body"


@dataclass(frozen=True)
class Figure:
    """A person in layers, innermost first; texture: one picture for all of them, its colours hold the photo's light.

    height: of the person in metres. report: figures about how it was made, by name.
    """

    layers: tuple[Layer, ...]
    texture: Image.Image
    skeleton: Skeleton | None = None
    height: float = 1.7
    report: Mapping[str, float] = field(default_factory=dict)


def unlit(figure: Figure) -> Figure:
    """Return a figure without the light that is carried round it, for lamps of one's own."""
    return replace(figure, layers=tuple(replace(layer, light=None) for layer in figure.layers))


def normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals of vertices (V, 3), float32: the mean of those of their faces, weighted by area."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    across = np.cross(b - a, c - a)
    total = np.zeros_like(vertices, dtype=np.float64)
    for corner in range(3):
        for axis in range(3):
            total[:, axis] += np.bincount(faces[:, corner], across[:, axis], minlength=len(vertices))
    return (total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)).astype(np.float32)
