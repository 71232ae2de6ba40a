"""A small made-up shop on the disk, for tests of the command line and of the page."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_shop(folder: Path) -> dict[str, Path]:
    """Write interactions, a catalogue of twelve garments, a photo and its mask below a folder."""
    rng = np.random.default_rng(0)
    catalog = folder / "garments"
    (catalog / "images").mkdir(parents=True)
    kinds, lines = ("t-shirt", "trousers", "dress"), ["file,id,kind,colour"]
    for item in range(12):
        colour = ("red", "blue")[item % 2]
        picture = Image.new("RGB", (60, 80), "white")
        picture.paste(colour, (10, 10, 50, 70))
        picture.save(catalog / "images" / f"g{item}.png")
        lines.append(f"g{item}.png,sku{item},{kinds[item % 3]},{colour}")
    (catalog / "garments.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = ["user,item,timestamp"]
    for user in range(20):
        rows += [f"u{user},sku{item},{place}" for place, item in enumerate(rng.permutation(12)[:5])]
    rows += [f"full,sku{item},{item}" for item in range(12)]
    (folder / "clicks.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    Image.new("RGB", (120, 160), "gray").save(folder / "me.jpg")
    mask = np.zeros((160, 120), np.uint8)
    mask[30:90, 30:90] = 255
    Image.fromarray(mask).save(folder / "top.png")
    return {
        "clicks": folder / "clicks.csv",
        "catalog": catalog,
        "photo": folder / "me.jpg",
        "mask": folder / "top.png",
    }
