"""Pairs of views for the view completer: people of the atelier, whose every side is known, beside figures of them.

A row is a side of a person: what the figure of their front shows there (guess), the figure's front (garment), where
the photo does not show it (mask), and the true side (image), cut to the figure's outline: where the person is not, the
nearest of their colours, so that shape is not to be learnt.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np

from recsys.errors import DataError

from ..atelier.corpus import Rendering, Row, Sitting
from ..atelier.render import Render, render_person
from ..atelier.trace import Camera
from ..corpora.renders import body_of_render
from ..figure.build import build_figure
from ..figure.evaluate import SIZE, Truth, as_tall, dressed_of, garment_of, label_of, moved_onto
from ..figure.mesh import Figure
from ..figure.paint import spread_over
from ..figure.raster import shrunk
from ..figure.turned import AZIMUTHS, front_camera, turned
from ..figure.turntable import PAPER
from ..images import erode
from ..person.people import Parser

FIRST_SEED, HELDOUT_SEED = 500_000, 900_001
"""Sittings of training rows and of held-out ones; both lie below those that figures are measured on."""
STUDIO = 0.5
"""Share of sittings in the studio; the others are where they were drawn."""
EXACT = 0.5
"""Share of sittings with the render's own parts and joints; in the others the parser finds them."""


def views_of(read: Parser) -> Rendering:
    """What is rendered of a sitting for the view completer; read: the parser of people."""
    return Rendering(partial(view_rows, read=read), ("image", "garment", "mask", "guess"), HELDOUT_SEED)


def view_rows(sitting: Sitting, *, size: tuple[int, int], read: Parser) -> Iterator[Row]:
    """Render a sitting's rows, one a side; none where no figure can be made."""
    rng = np.random.default_rng(sitting.seed)
    scene = "studio" if rng.random() < STUDIO else sitting.scene
    exact = rng.random() < EXACT
    garment = garment_of(sitting)
    front = render_person(sitting.body, sitting.outfit, scene, size=SIZE, camera=sitting.camera, seed=sitting.seed)
    truth = Truth(sitting, {0: front}, garment, label_of(garment))
    known = lambda picture: body_of_render(front, sitting.body, sitting.camera)
    try:
        dressed, shape = dressed_of(truth, known if exact else read)
    except DataError:
        return
    figure = as_tall(build_figure(dressed, shape=shape), truth)
    words = {"scene": scene, "source": "views", "parts": "exact" if exact else "found"}
    shown = np.asarray(turned(figure, 0, size).picture)
    for azimuth in AZIMUTHS:
        seen = turned(figure, azimuth, size)
        true = _true_side(sitting, scene, figure, azimuth, size)
        pictures = {"image": true, "garment": shown, "mask": seen.hidden, "guess": np.asarray(seen.picture)}
        yield pictures, words | {"azimuth": str(azimuth)}


def _true_side(sitting: Sitting, scene: str, figure: Figure, azimuth: int, size: tuple[int, int]) -> np.ndarray:
    """The true side of a person as large as a view of `size` and within the figure's outline, uint8 (H, W, 3)."""
    fine, front = (2 * size[0], 2 * size[1]), front_camera(figure, size)
    at = Camera(sitting.camera.azimuth + azimuth, front.elevation, front.distance, front.target, front.extent)
    true = render_person(sitting.body, sitting.outfit, scene, size=fine, camera=at, seed=sitting.seed)
    mine = turned(figure, azimuth, size).view.layer >= 0
    filled = within(true, mine)
    paper = np.array(PAPER, np.float32)
    return (shrunk(np.where(mine[..., None], filled, paper)) + 0.5).clip(0, 255).astype(np.uint8)


def within(true: Render, mask: np.ndarray) -> np.ndarray:
    """A render moved onto a mask, bool (H, W); its person's colours run over what of the mask they do not cover."""
    person = true.labels > 0
    inner = moved_onto(erode(person, up=1, down=1, side=1), person, mask)
    return spread_over(moved_onto(true.image, person, mask), inner)
