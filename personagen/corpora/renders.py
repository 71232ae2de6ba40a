"""What is exactly known of a rendered person, in the words that a parser uses for a photo."""

from functools import cache

import numpy as np

from ..atelier.agnostic import agnostic_mask
from ..atelier.body import Body as Figure
from ..atelier.body import skeleton
from ..atelier.render import LABEL, Render
from ..atelier.trace import Camera, project
from ..person.body import Body
from ..person.joints import Joint
from ..person.parts import Part
from ..vocabulary import REGION

PART_OF_LABEL = {
    "hair": Part.HEAD,
    "face": Part.SKIN,
    "arms": Part.SKIN,
    "hands": Part.SKIN,
    "legs": Part.SKIN,
    "shoes": Part.SHOES,
    "upper": Part.UPPER,
    "lower": Part.LOWER,
    "dress": Part.DRESS,
    "outer": Part.OUTER,
}


def parts_of_render(render: Render) -> np.ndarray:
    """Return the true `Part` of every pixel of a render, uint8 (H, W)."""
    table = np.zeros(len(LABEL), np.uint8)
    for name, part in PART_OF_LABEL.items():
        table[LABEL[name]] = part
    return table[render.labels]


def body_of_render(render: Render, figure: Figure, camera: Camera) -> Body:
    """Return the exact body of a render of `figure` seen by `camera`: parts, joints, and masks made by rays.

    A mask is what the widest garments of its region would cover, traced when it is first asked for.
    """
    height, width = render.labels.shape

    @cache
    def region_mask(region: str) -> np.ndarray:
        return agnostic_mask(render, region, body=figure, camera=camera)

    def known(kind: str) -> np.ndarray | None:
        region = REGION.get(kind, kind)
        return None if region == "outer" else region_mask(region)

    return Body(parts_of_render(render), joints_of_figure(figure, camera, (height, width)), known=known)


def joints_of_figure(figure: Figure, camera: Camera, size: tuple[int, int]) -> np.ndarray:
    """Joints (13, 3) of a figure in pixels of a picture of `size` (H, W), with probability 1; it faces the camera."""
    skel = skeleton(figure)
    places = [skel.nose]
    for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
        seen_left, seen_right = getattr(skel, name)
        places += [seen_right, seen_left]  # its own left is on the picture's right
    joints = np.ones((len(Joint), 3))
    joints[:, :2] = project(np.stack(places), camera, *size)
    return joints
