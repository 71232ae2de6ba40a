"""Figures of looks: what a try-on look shows, as a file that can be turned."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from recsys.errors import DataError

from ..figure.build import Dressed, build_figure
from ..figure.complete import Paints, complete
from ..figure.gltf import write_glb
from ..figure.maps import ADMITS
from ..figure.mesh import Figure
from ..figure.pipeline import read_again
from ..figure.refuse import check_photo
from ..person.body import Body
from ..person.parts import region_of
from ..person.people import Parser


def figure_of_look(
    image: Image.Image, body: Body, kind: str, parser: Parser, completer: Paints | None = None, seed: int = 0
) -> Figure:
    """Build the figure of a person as a look shows them.

    image: the dressed picture. body: what is known of the photo before: exact parts and joints, as a renderer has them,
    are kept outside of what a garment of `kind` may cover; others are read anew by `parser`. completer: paints
    what the look does not show, with noise of this seed.

    Raises:
        DataError: no figure can be made of the photo; the message says why.
    """
    if body.joints is None:
        raise DataError("no joints are known of the photo; a figure needs the embedded parser")
    exact = body.known is not None and float(body.joints[:, 2].min()) == 1.0
    bust = False if exact else check_photo(body.parts, body.joints, name="the photo")[0]
    mask = body.mask(kind)
    parts = read_again(image, body, parser)
    if exact:
        parts = np.where(mask, parts, body.parts)
    cover = mask & np.isin(parts, ADMITS[region_of(kind)])
    if not cover.any():
        raise DataError(f"the {kind} was not found again in the look; its picture is written without a figure")
    figure = build_figure(Dressed(image, parts, body.joints, {kind: cover}), bust=bust)
    if completer is None:
        return figure
    return complete(figure, completer, generator=torch.Generator().manual_seed(seed))[0]


def write_figure(figure: Figure, path: Path, *, record: Mapping[str, Any] | None = None) -> Path:
    """Write a look's figure beside its picture, in the photo's pose and its own colours."""
    return write_glb(figure, path, record=record, unlit=True)
