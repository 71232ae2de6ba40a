"""Your own shop: write interactions and a catalogue, train a recommender on them, and make looks for one user.

    python examples/own_data.py [FOLDER]

The shop is made up: the atelier renders its garments, and two sorts of customers buy them. Put your own `clicks.csv`
and `shop/` into FOLDER, and leave `open_shop` out. Takes about half a minute of one processor core.
"""

import csv
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from personagen.atelier.garment import GarmentSpec
from personagen.atelier.render import render_garment
from personagen.styling.sources import Folder
from personagen.styling.studio import Order, Studio

WARM = [(kind, colour) for kind in ("t-shirt", "skirt", "dress") for colour in ("red", "orange", "yellow")]
COOL = [(kind, colour) for kind in ("sweater", "trousers", "shirt") for colour in ("blue", "teal", "black")]


def open_shop(folder: Path, *, customers: int = 60, seed: int = 0) -> None:
    """Write `folder`/clicks.csv and `folder`/shop with a picture an item; every customer likes WARM or COOL."""
    shop = folder / "shop"
    shop.mkdir(parents=True, exist_ok=True)
    with (shop / "garments.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "id", "kind", "colour", "title"])
        for kind, colour in WARM + COOL:
            name = f"{kind}-{colour}"
            Image.fromarray(render_garment(GarmentSpec(kind, colour, sleeve=0.4), size=(160, 120))).save(
                shop / f"{name}.png"
            )
            table.writerow([f"{name}.png", name, kind, colour, f"{colour} {kind}"])
    random = np.random.default_rng(seed)
    with (folder / "clicks.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["user", "item", "timestamp"])
        for number in range(customers):
            liked = WARM if number % 2 == 0 else COOL
            for day, at in enumerate(random.choice(len(liked), size=5, replace=False), start=1):
                kind, colour = liked[at]
                table.writerow([f"customer-{number}", f"{kind}-{colour}", f"2026-01-{day:02d}"])


def main(folder: Path, user: str = "customer-0") -> list[str]:
    """Make a look and a scene for `user` in `folder`/looks; return the names of the items shown, best first."""
    open_shop(folder)
    source = Folder(folder / "clicks.csv", folder / "shop")  # person="me.jpg" for a photo of the user
    studio = Studio(source=source)  # the recommender is trained on the spot, when it is first needed
    order = Order(history=tuple(source.history(user)), user=user, looks=1, scenes=1)
    chosen = [source.catalog.names[item - 1] for item in order.history]
    print(f"{user} chose {', '.join(chosen)}")
    shown = []
    for one in studio.make(order, folder / "looks"):
        shown.append(source.catalog.names[one.look.item - 1])
        print(f"{one.path.name}: {one.look.prompt}")
    print(f"looks.json and sheet.png are in {folder / 'looks'}")
    return shown


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="personagen-")))
