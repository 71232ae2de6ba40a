"""Draw the examples that the page offers to click: two people, six garments and a subject set, all of the atelier.

    python -m apps.page.draw apps/page/examples

They are shipped, so that start-up does not draw them. Nobody real is seen in them, and nobody in training pictures.
"""

import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image

from personagen.atelier.corpus import HELDOUT_SEED, random_sitting
from personagen.atelier.garment import GarmentSpec
from personagen.atelier.render import render_garment, render_person
from personagen.atelier.trace import portrait

PEOPLE = {"person-1": 71, "person-2": 74}
GARMENTS = {
    "t-shirt": GarmentSpec("t-shirt", "green", sleeve=0.3),
    "striped-jumper": GarmentSpec("sweater", "blue", "striped", "white", sleeve=1.0),
    "checked-shirt": GarmentSpec("shirt", "red", "checked", "black", sleeve=1.0),
    "trousers": GarmentSpec("trousers", "beige", length=1.0),
    "skirt": GarmentSpec("skirt", "yellow", length=0.4, flare=0.8),
    "dress": GarmentSpec("dress", "purple", "dotted", "white", sleeve=0.3),
}
TAUGHT, OUTFITS = 77, 6
"""The body that the subject set shows, and in how many outfits."""


def draw(folder: Path) -> None:
    """Write all of them as WebP."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, number in PEOPLE.items():
        _save(folder / f"{name}.webp", person(number, number, (640, 480)))
    for name, spec in GARMENTS.items():
        _save(folder / f"{name}.webp", Image.fromarray(render_garment(spec, size=(448, 336))))
    for at in range(OUTFITS):
        _save(folder / f"subject-{at + 1}.webp", person(TAUGHT, 90 + at, (448, 336)))


def person(body: int, outfit: int, size: tuple[int, int]) -> Image.Image:
    """Draw one body in the outfit and before the camera of another sitting."""
    own, other = random_sitting(HELDOUT_SEED + body).body, random_sitting(HELDOUT_SEED + outfit)
    camera = replace(portrait(own.height), azimuth=0.6 * other.camera.azimuth, elevation=other.camera.elevation)
    return Image.fromarray(render_person(own, other.outfit, other.scene, size=size, camera=camera).image)


def _save(path: Path, image: Image.Image) -> None:
    image.save(path, "WEBP", quality=88, method=6)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
