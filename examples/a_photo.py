"""Put a garment on a photo: read the person, look at the mask, cut the garment out, dress.

python examples/a_photo.py                                  # a person and a shirt that the atelier renders
python examples/a_photo.py me.jpg shirt.jpg shirt worn.png  # yours: person, garment, kind, file to write
"""

import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image

from personagen.atelier.garment import GarmentSpec
from personagen.atelier.render import render_garment
from personagen.images import load_image
from personagen.models import load_tryon
from personagen.person.parser import load_parser
from personagen.styling.sources import atelier
from personagen.tryon.dress import Piece, cut_from_photos, dress


def take_photos(folder: Path) -> tuple[Path, Path]:
    """Write a photo of a rendered person and one of a rendered shirt; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    person, garment = folder / "person.png", folder / "shirt.png"
    atelier().sitter("3").image.save(person)
    Image.fromarray(render_garment(GarmentSpec("shirt", "teal", "striped", sleeve=0.5))).save(garment)
    return person, garment


def main(person: Path, garment: Path, kind: str, out: Path) -> float:
    """Write `out` and, beside it, mask.png; return the share of the photo that may be repainted."""
    photo = load_image(person)  # upright, RGB, without EXIF
    parser = load_parser()
    body = parser(photo)  # parts and joints; a photo is read once
    mask = body.mask(kind)  # bool (H, W); body.with_mask(kind, mask) takes one of your own
    Image.fromarray(mask).save(out.parent / "mask.png")
    pipeline = load_tryon()
    pieces, whole = cut_from_photos([Piece(load_image(garment), kind)], pipeline, parser=parser)
    if whole:
        print(f"{garment} cannot be told from its background and is taken whole")
    worn = dress(pipeline, photo, body, pieces, num_inference_steps=8, generator=torch.Generator().manual_seed(0))
    worn.save(out)
    print(f"{out}: {mask.mean():.0%} of the photo may be repainted")
    return float(mask.mean())


if __name__ == "__main__":
    if len(sys.argv) > 4:
        main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
    else:
        folder = Path(tempfile.mkdtemp(prefix="personagen-"))
        main(*take_photos(folder), "shirt", folder / "worn.png")
