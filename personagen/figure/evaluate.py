"""Measure figures by the truth: in the atelier every view of the same person in the same garments is known.

A view is compared with the true render of it: IoU of the silhouette (as tall in front, on the same ground, moved
sideways until the middles agree), PSNR and SSIM of the pixels that both call person, difference of the garment's mean
Lab colour, and whether the garment is the one of 20 whose colours in front are nearest to those behind.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from ..atelier.corpus import Sitting
from ..atelier.garment import GarmentSpec, random_garment
from ..atelier.render import LABEL, Render, render_person
from ..atelier.trace import Camera
from ..colours import to_lab
from ..metrics.fidelity import ssim_in_box
from ..person.body import Body
from ..vocabulary import REGION
from .build import Dressed, Shape
from .mesh import Figure, unlit
from .raster import View, render
from .refuse import check_photo

SIZE = (384, 288)
"""Height and width of the views in pixels."""
VIEWS = (0, 45, 90, 135, 180)
"""Degrees by which the person is turned."""
OTHERS = 20
"""Garments of which one is to be found."""


@dataclass(frozen=True)
class Truth:
    """A sitting: its true views by degrees, the garment that is looked at, and what renders call that."""

    sitting: Sitting
    views: dict[int, Render]
    garment: GarmentSpec
    label: int


def truth_of(sitting: Sitting) -> Truth:
    """Render every view of a sitting; the garment that is looked at is the one worn above, or a dress."""
    garment = garment_of(sitting)
    return Truth(sitting, {view: true_view(sitting, view) for view in VIEWS}, garment, label_of(garment))


def garment_of(sitting: Sitting) -> GarmentSpec:
    """Return the garment that is looked at: the one worn above, or a dress."""
    return max(sitting.outfit, key=lambda one: REGION[one.kind] != "lower")


def dressed_of(truth: Truth, read: Callable[[Image.Image], Body]) -> tuple[Dressed, Shape]:
    """Read the front view, which is the picture of somebody dressed, and tell `build_figure` how tall they are.

    read: a parser of people.

    Raises:
        DataError: nobody is found of whom a figure can be made.
    """
    front = Image.fromarray(truth.views[0].image)
    body = read(front)
    check_photo(body.parts, body.joints)
    assert body.joints is not None
    worn = {truth.garment.kind: truth.views[0].labels == truth.label}
    return Dressed(front, body.parts, body.joints, worn), Shape(height=truth.sitting.body.height)


def measured(figure: Figure, truth: Truth, *, plain: bool = False) -> dict[str, float]:
    """Compare a figure's views with the true ones: `iou 45`, `psnr`, `ssim`, `lab`, `hue` of each, and `of 20`.

    plain: it has no layers, so that the garment is taken to be where the truth has it; nothing is looked for then.
    """
    figure = as_tall(figure, truth)
    found: dict[str, float] = {}
    worn = [at for at, layer in enumerate(figure.layers) if layer.kind in (truth.garment.kind, "all")]
    for degrees, true in truth.views.items():
        view = look(figure, truth, degrees)
        found |= {f"iou {degrees}": _iou(view.mask, true.labels > 0), f"psnr {degrees}": _psnr(view, true)}
        found[f"ssim {degrees}"] = _ssim(view, true)
        ours, cloth = _worn(view, worn), true.labels == truth.label
        if plain:
            ours &= moved_onto(cloth, view.mask, true.labels > 0)
        if ours.any() and cloth.any():
            found[f"lab {degrees}"], found[f"hue {degrees}"] = _lab_error(view, ours, true, cloth)
    if not plain:
        found["of 20"] = _of_twenty(look(unlit(figure), truth, 180), worn, truth)
    return found


def label_of(garment: GarmentSpec) -> int:
    """Return what a render calls a garment: a jacket is worn above, and has a label of its own."""
    return LABEL["outer" if garment.kind == "jacket" else REGION[garment.kind]]


def as_tall(figure: Figure, truth: Truth) -> Figure:
    """Make a figure as tall in its front view as the person is; a photo does not tell how tall somebody is."""
    rows = lambda mask: np.ptp(np.flatnonzero(mask.any(1))) + 1
    scale = np.float32(rows(truth.views[0].labels > 0) / rows(look(figure, truth, 0).mask))
    return replace(figure, layers=tuple(replace(layer, vertices=layer.vertices * scale) for layer in figure.layers))


def look(figure: Figure, truth: Truth, degrees: int) -> View:
    """See a figure as the camera sees the person, who faced it at azimuth 0 of the figure."""
    camera = truth.sitting.camera
    return render(figure, Camera(degrees, camera.elevation, camera.distance, camera.target, camera.extent), size=SIZE)


def true_view(sitting: Sitting, degrees: int) -> Render:
    """Render a sitting as it looks from an azimuth of its figure, in degrees."""
    camera = _turned(sitting.camera, degrees)
    return render_person(sitting.body, sitting.outfit, "studio", size=SIZE, camera=camera, seed=sitting.seed)


def _turned(camera: Camera, degrees: float) -> Camera:
    return Camera(camera.azimuth + degrees, camera.elevation, camera.distance, camera.target, camera.extent)


def _psnr(view: View, truth: Render) -> float:
    """How a view agrees with the truth in dB, where both show the person."""
    mine, true = view.mask, truth.labels > 0
    both = moved_onto(mine, mine, true) & true
    error = moved_onto(view.image, mine, true)[both] - truth.image[both] / 255
    return float(-10 * np.log10(max(1e-9, (error**2).mean()))) if both.any() else 0.0


def _ssim(view: View, truth: Render) -> float:
    """Structural similarity of a view and the truth around the person, both black where not both show the person."""
    mine, true = view.mask, truth.labels > 0
    both = (moved_onto(mine, mine, true) & true)[..., None]
    pictures = (moved_onto(view.image.clip(0, 1), mine, true), truth.image / 255)
    a, b = (torch.from_numpy(np.where(both, one, 0.0)).permute(2, 0, 1)[None].float() for one in pictures)
    return float(ssim_in_box(a, b, torch.from_numpy(true)[None, None]))


def _iou(mask: np.ndarray, true: np.ndarray) -> float:
    """Intersection over union, the mask moved until it agrees; 0 of nothing."""
    if not mask.any():
        return 0.0
    moved = moved_onto(mask, mask, true)
    return float((moved & true).sum() / (moved | true).sum())


def moved_onto(plane: np.ndarray, mask: np.ndarray, true: np.ndarray) -> np.ndarray:
    """A plane moved sideways, and down to the same ground, as brings a mask onto the true one."""
    if not mask.any():
        return plane
    middle = lambda where: np.nonzero(where)[1].mean()
    ground = lambda where: int(np.flatnonzero(where.any(1))[-1])
    return np.roll(plane, (ground(true) - ground(mask), round(float(middle(true) - middle(mask)))), (0, 1))


def _worn(view: View, layers: list[int]) -> np.ndarray:
    return np.isin(view.layer[1::2, 1::2], layers)


def _lab_error(view: View, ours: np.ndarray, truth: Render, cloth: np.ndarray) -> tuple[float, float]:
    """Difference of the garment's mean Lab colour, and that without the light, of a and b alone."""
    mine, true = (view.image * 255).astype(np.uint8)[ours], truth.image[cloth]
    off = _lab(mine).mean(0) - _lab(true).mean(0)
    return float(np.linalg.norm(off)), float(np.linalg.norm(off[1:]))


def _lab(colours: np.ndarray) -> np.ndarray:
    return np.asarray(to_lab(colours.reshape(-1, 1, 3))).reshape(-1, 3)


def _of_twenty(view: View, worn: list[int], truth: Truth) -> float:
    """Whether the garment's colours from behind are nearest to its own among 20 of its kind, as these look in front."""
    sitting, garment = truth.sitting, truth.garment
    mine = _histogram((view.image * 255).astype(np.uint8)[_worn(view, worn)])
    rng, scores = np.random.default_rng(sitting.seed), []
    for number in range(OTHERS):
        other = garment if number == 0 else random_garment(rng, garment.kind)
        outfit = tuple(other if one is garment else one for one in sitting.outfit)
        camera = _turned(sitting.camera, 0)
        seen = render_person(sitting.body, outfit, "studio", size=(128, 96), camera=camera, seed=sitting.seed)
        scores.append(np.minimum(mine, _histogram(seen.image[seen.labels == truth.label])).sum())
    return float(np.argmax(scores) == 0)


def _histogram(colours: np.ndarray) -> np.ndarray:
    """Shares of 8 x 8 x 8 Lab bins, smoothed."""
    cells = ((_lab(colours) + [0, 128, 128]) / [100, 256, 256] * 8).astype(int).clip(0, 7)
    counts = np.zeros((8, 8, 8))
    np.add.at(counts, tuple(cells.T), 1)
    for axis in range(3):
        padded = np.pad(counts, [(1, 1) if a == axis else (0, 0) for a in range(3)])
        first, middle, last = (np.take(padded, range(start, start + 8), axis) for start in range(3))
        counts = (first + 2 * middle + last) / 4
    return counts / max(counts.sum(), 1e-9)
