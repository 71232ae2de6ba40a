"""The subjects that benchmarks/subject.py teaches: DreamBooth objects by name, persons and garments of the atelier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from PIL import Image

from personagen.atelier.body import Body
from personagen.atelier.captions import person_caption
from personagen.atelier.corpus import HELDOUT_SEED, Sitting, random_sitting
from personagen.atelier.garment import GarmentSpec, random_garment
from personagen.atelier.render import render_garment, render_person
from personagen.colours import to_lab
from personagen.metrics.fidelity import colour_distance, garment_region
from personagen.person.network import PersonParser
from personagen.person.parser import parse, shares_of
from personagen.person.parts import Part
from personagen.vocabulary import SCENE_PHRASE

OBJECTS = ("backpack", "can", "rc_car", "duck_toy", "grey_sloth_plushie", "vase")
SCENES = {scene: SCENE_PHRASE[scene] for scene in ("beach", "snow", "night city", "park")}
SIZE = (192, 144)
TRAIN, HELDOUT = 8, 12
PARTS = (Part.HEAD, Part.SKIN, Part.SHOES)
STRANGERS = range(100, 116)
NOTICED = 2.3
"""The just noticeable difference in Lab (Mahy, Van Eycken and Oosterlinck, Color Research and Application 1994)."""


def body_of(number: int) -> Body:
    """Draw the body of person `number`, which no training picture shows."""
    return random_sitting(HELDOUT_SEED + 50_000 + number).body


def persons(count: int = 6) -> list[int]:
    """Number the first people of whom any two differ in at least two of skin, hair and shoes."""
    found: list[int] = []
    look = lambda number: (body_of(number).skin, body_of(number).hair, body_of(number).shoes)
    number = 0
    while len(found) < count:
        if all(sum(a != b for a, b in zip(look(number), look(known), strict=True)) >= 2 for known in found):
            found.append(number)
        number += 1
    return found


def person_sittings(number: int, *, start: int, count: int, scenes: Sequence[str]) -> list[Sitting]:
    """Seat one body in several outfits and views, the scenes in turn; no studio light is the same."""
    own = body_of(number)
    others = [random_sitting(HELDOUT_SEED + 60_000 + 100 * number + start + i) for i in range(count)]
    return [
        replace(sitting, body=own, scene=scenes[i % len(scenes)], camera=own_view(sitting, own.height))
        for i, sitting in enumerate(others)
    ]


def own_view(sitting: Sitting, height: float):
    """Frame a body of another height than the sitting's own."""
    extent = sitting.camera.extent * height / sitting.body.height
    return replace(sitting.camera, target=(0.0, 0.5 * height, 0.0), extent=extent)


def render(sitting: Sitting) -> Image.Image:
    """Render a sitting at the benchmark's size."""
    return Image.fromarray(
        render_person(
            sitting.body, sitting.outfit, sitting.scene, size=SIZE, camera=sitting.camera, seed=sitting.seed
        ).image
    )


def write_case(folder: Path, pictures: list[Image.Image], captions: list[str]) -> None:
    """Write pictures and their captions as a training folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        picture.save(folder / f"{i:02d}.png")
        (folder / f"{i:02d}.txt").write_text(caption + "\n")


def person_case(number: int, work: Path) -> tuple[str, str, list[str]]:
    """Write renders of one person; ask for outfits that were not shown, in the scenes of the held-out renders."""
    every, asked = tuple(SCENE_PHRASE), tuple(SCENES)
    for name, start, count, scenes in (("train", 0, TRAIN, every), ("heldout", TRAIN, HELDOUT, asked)):
        if not (work / name).exists():
            sittings = person_sittings(number, start=start, count=count, scenes=scenes)
            captions = [person_caption(s.outfit, s.scene).replace("a person", "a {token} person") for s in sittings]
            write_case(work / name, [render(sitting) for sitting in sittings], captions)
    new = [random_sitting(HELDOUT_SEED + 70_000 + 10 * number + i) for i in range(len(SCENES))]
    prompts = [person_caption(sitting.outfit, scene) for sitting, scene in zip(new, SCENES, strict=True)]
    return "person", "person", [prompt.replace("a person", "a sks person") for prompt in prompts]


def person_features(image: Image.Image, reader: PersonParser) -> np.ndarray:
    """Describe a person by the mean colours (9,) in Lab of hair, skin and shoes.

    A pixel weighs by the square of the reader's probability of the part, so that a blurred head counts too.
    """
    weights = (
        F.interpolate(shares_of(reader, image)[0], size=image.size[::-1], mode="bilinear", align_corners=False)[0]
        .square()
        .numpy()
    )
    lab = to_lab(np.asarray(image.convert("RGB")))
    return np.concatenate([np.average(lab.reshape(-1, 3), axis=0, weights=weights[part].ravel()) for part in PARTS])


def person_spread(folder: Path, reader: PersonParser) -> np.ndarray:
    """How much each feature (9,) varies between renders of one person in one scene, over other persons, and in what is
    just noticed; kept in the reader's folder."""
    file = folder / "spread.npy"
    if not file.exists():
        variances = []
        for number in STRANGERS:
            sittings = person_sittings(number, start=0, count=HELDOUT, scenes=tuple(SCENES))
            seen = np.stack([person_features(render(sitting), reader) for sitting in sittings])
            variances += [seen[scene :: len(SCENES)].var(0, ddof=1) for scene in range(len(SCENES))]
        np.save(file, np.sqrt(np.mean(variances, 0) + NOTICED**2))
    return np.load(file)


def garments() -> list[GarmentSpec]:
    """Return six tops that differ in colour and pattern."""
    found: list[GarmentSpec] = []
    seed = HELDOUT_SEED + 80_000
    while len(found) < 6:
        garment, seed = random_garment(np.random.default_rng(seed), "t-shirt"), seed + 1
        if garment.attributes["colour"] not in {known.attributes["colour"] for known in found}:
            found.append(garment)
    return found


def garment_case(number: int, work: Path) -> tuple[str, str, list[str]]:
    """Write the product picture of one garment and persons wearing it, in captions that do not say its colour."""
    garment = garments()[number]
    worn = "a {token} " + garment.kind
    if not (work / "train").exists():
        shown = [s for s in (random_sitting(HELDOUT_SEED + 90_000 + 100 * number + i) for i in range(40))
                 if s.outfit[0].region == "upper"][: TRAIN - 2]  # fmt: skip
        shown = [replace(sitting, outfit=(garment, sitting.outfit[1])) for sitting in shown]
        captions = [person_caption(s.outfit, s.scene).replace(garment.phrase(), worn) for s in shown]
        product = Image.fromarray(render_garment(garment, size=SIZE))
        write_case(work / "train", [product, *map(render, shown)], [f"a product photo of {worn}", *captions])
    return (
        garment.kind,
        "garment",
        [f"a person wearing a sks {garment.kind} and blue trousers {scene}" for scene in SCENES.values()],
    )


def garment_distances(made: list[np.ndarray], own: int, reader: PersonParser) -> list[float]:
    """Say of each picture (H, W, 3) whether its top is nearest in colour to its own product picture: 1 or 0."""
    products = [render_garment(garment, size=SIZE) for garment in garments()]
    shelf = [product[garment_region(product)] for product in products]
    hits = []
    for picture in made:
        parts = parse(reader, Image.fromarray(picture)).parts
        worn = picture[np.isin(parts, (Part.UPPER, Part.OUTER, Part.DRESS))]
        hits.append(float(len(worn) > 0 and int(np.argmin([colour_distance(worn, one) for one in shelf])) == own))
    return hits
