"""How often a real photo of one person is refused, and how often a photo that must not be dressed as it is, is.

python benchmarks/people.py --images DATA/images --split test --out benchmarks/results/people.json

Limits were chosen with --split train. Hostile pictures are made of the same photos, seeded: several people, wide
photos, pieces of people, turned ones, and pictures of other things. Handled is one that is refused, or of which one
person alone is to be repainted: not a pixel of anybody else, and of a wide photo what is repainted in the photo of the
person alone.
"""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from personagen.corpora.photos import is_heldout
from personagen.images import load_image
from personagen.person.parser import load_parser
from personagen.person.reading import read_person
from personagen.provenance import versions
from personagen.styling.sources import SHOWN, atelier
from recsys.errors import DataError

KIND = "t-shirt"
ALIKE = 0.5
"""Least overlap of the masks of a person in a wide photo and alone."""
Judge = Callable[[np.ndarray], bool]
"""From a mask (H, W) to whether it is right."""


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--split", choices=("train", "test"), default="train")
    parser.add_argument("--photos", type=int, default=1000, help="street photos at most")
    parser.add_argument("--hostile", type=int, default=20, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    files = street(given.images, given.split)[: given.photos]
    parse = load_parser()
    result = {
        "split": given.split,
        "seed": given.seed,
        "hostile": hostile_figures(parse, files, given),
        "renders": real(parse, (atelier().sitter(str(at)).image for at in range(SHOWN))),
        "street": real(parse, (load_image(file) for file in files), [file.stem for file in files]),
        "versions": versions(),
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({name: result[name] for name in ("street", "renders", "hostile")}, indent=1))


def street(images: Path, split: str) -> list[Path]:
    """List the parsed street photos of a split; those that are held out are the test."""
    files = sorted((images / "people" / "photos").glob("*.jpg"))
    return [file for file in files if is_heldout(f"people/{file.stem}") == (split == "test")]


def real(parse, photos, names: list[str] | None = None) -> dict:
    """Count the photos that are refused for a top, that show several people, and that are read as before."""
    count, counts, refused = 0, Counter(), []
    for at, photo in enumerate(photos):
        count += 1
        try:
            reading = read_person(photo, parse)
            reading.body.mask(KIND)
        except DataError as error:
            refused.append(f"{names[at] if names else at}: {error}"[:160])
            continue
        counts["several"] += len(reading.people) > 1
        counts["in_their_own_box"] += reading.body.inner is not None
        counts["something_spared"] += reading.body.inner is None and reading.body.others is not None
    return {"photos": count, "refused": len(refused), **counts, "why": refused}


def hostile_figures(parse, files: list[Path], given: argparse.Namespace) -> dict:
    """Say of each kind how many are refused, how many handled, and how many wrong."""
    table: dict[str, Counter] = defaultdict(Counter)
    for name, photo, judge in hostile(parse, files, given.images, given.hostile, given.seed):
        table[name][outcome(parse, photo, judge)] += 1
    total = Counter()
    for row in table.values():
        total += row
    share = 1 - total["wrong"] / max(1, total.total())
    return {"kinds": {name: dict(row) for name, row in table.items()}, "pictures": total.total(), "right": share}


def outcome(parse, photo: Image.Image, judge: Judge | None) -> str:
    """Read a picture: refused, handled or wrong; without a judge only a refusal is right."""
    try:
        mask = read_person(photo, parse).body.mask(KIND)
    except DataError:
        return "refused"
    return "handled" if judge is not None and judge(mask) else "wrong"


def hostile(
    parse, files: list[Path], images: Path, count: int, seed: int
) -> Iterator[tuple[str, Image.Image, Judge | None]]:
    """Make pictures that must be refused or handled: their kind, the picture, and what a right mask is."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        first, second, third = (load_image(files[int(at)]) for at in rng.choice(len(files), 3, replace=False))
        yield "side by side", *beside(first, second)
        yield "three side by side", *beside(first, second, third)
        yield "bystander", *bystander(first, second)
        yield "arm in arm", *beside(middle(first, 0.62), middle(second, 0.62))
        yield "16:9", *widened(parse, first, 16 / 9, rng)
        yield "wider", *widened(parse, first, float(rng.uniform(2, 4)), rng)
        yield from ((name, picture, None) for name, picture in pieces_of(first))
        yield "noise", Image.fromarray(rng.integers(0, 256, (600, 400, 3), dtype=np.uint8)), None
        yield "soft noise", soft_noise(rng), None
    things = sorted((images / "subjects").rglob("*.jpg"))
    for at in rng.choice(len(things), min(2 * count, len(things)), replace=False):
        yield "animals and things", load_image(things[int(at)]), None
    clothes = sorted((images / "garments").rglob("*.jpg"))
    for at in rng.choice(len(clothes), min(2 * count, len(clothes)), replace=False):
        yield "garments", load_image(clothes[int(at)]), None


def beside(*photos: Image.Image) -> tuple[Image.Image, Judge]:
    """Put photos side by side; a mask may lie in one of them alone."""
    height = max(photo.height for photo in photos)
    edges = np.cumsum([0, *(photo.width for photo in photos)]).tolist()
    whole = Image.new("RGB", (edges[-1], height), (127, 127, 127))
    for photo, left in zip(photos, edges):
        whole.paste(photo, (left, 0))

    def alone(mask: np.ndarray) -> bool:
        each = [mask[:, left:right].sum() for left, right in zip(edges, edges[1:])]
        return max(each) > 0.99 * sum(each)

    return whole, alone


def bystander(photo: Image.Image, other: Image.Image) -> tuple[Image.Image, Judge]:
    """Put a photo beside one whose person is 0.6 times as large."""
    small = other.resize((round(0.6 * other.width), round(0.6 * other.height)))
    ground = Image.new("RGB", (small.width, photo.height), (127, 127, 127))
    ground.paste(small, (0, photo.height - small.height))
    return beside(photo, ground)


def middle(photo: Image.Image, share: float) -> Image.Image:
    """Cut the middle columns out of a photo."""
    border = round(photo.width * (1 - share) / 2)
    return photo.crop((border, 0, photo.width - border, photo.height))


def widened(parse, photo: Image.Image, aspect: float, rng: np.random.Generator) -> tuple[Image.Image, Judge]:
    """Repeat the edges of a photo to the left and right; the mask is to be that of the photo alone."""
    more = max(0, round(photo.height * aspect) - photo.width)
    left = int(rng.integers(0, more + 1))
    whole = np.pad(np.asarray(photo), ((0, 0), (left, more - left), (0, 0)), mode="edge")
    own = np.zeros(whole.shape[:2], bool)
    own[:, left : left + photo.width] = parse(photo).mask(KIND)
    return Image.fromarray(whole), lambda mask: bool((mask & own).sum() / (mask | own).sum() >= ALIKE)


def pieces_of(photo: Image.Image) -> Iterator[tuple[str, Image.Image]]:
    """Turn and cut a photo of one person."""
    width, height = photo.size
    yield "upside down", photo.rotate(180)
    yield "on the side", photo.rotate(90, expand=True)
    yield "face", photo.crop((width // 4, 0, 3 * width // 4, height // 5))
    yield "legs", photo.crop((0, round(0.62 * height), width, height))
    yield "background", photo.crop((0, 0, width // 6, height))


def soft_noise(rng: np.random.Generator) -> Image.Image:
    """A picture of coloured clouds."""
    small = Image.fromarray(rng.integers(0, 256, (9, 6, 3), dtype=np.uint8))
    return small.resize((400, 600), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(3))


if __name__ == "__main__":
    main()
