"""Training pictures from the atelier: people, their garments, masks and captions, as arrays on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsys.errors import DataError

from ..files import reserved_array, write_text
from ..vocabulary import KINDS, REGION, SCENE_ALONE, SCENES
from .agnostic import agnostic_mask
from .body import Body, random_body
from .captions import person_caption
from .garment import GarmentSpec, random_garment
from .render import render_garment, render_person, render_scene
from .trace import Camera, portrait

HELDOUT_SEED = 1_000_003
"""Seeds from here on are never trained on."""


@dataclass(frozen=True)
class Sitting:
    """One person in one outfit in one scene, before the camera."""

    body: Body
    outfit: tuple[GarmentSpec, ...]
    scene: str
    camera: Camera
    seed: int


def random_sitting(seed: int) -> Sitting:
    """Draw a sitting; the same seed gives the same one."""
    rng = np.random.default_rng(seed)
    body, main = random_body(rng), random_garment(rng, str(rng.choice(KINDS)))
    if main.region == "dress":
        outfit: tuple[GarmentSpec, ...] = (main,)
    elif main.region == "upper":
        outfit = (main, random_garment(rng, str(rng.choice(("skirt", "trousers", "shorts"))), plain=0.75))
    else:
        outfit = (random_garment(rng, str(rng.choice(("t-shirt", "shirt", "sweater", "jacket"))), plain=0.75), main)
    camera = portrait(
        body.height, room=rng.uniform(1.09, 1.16), azimuth=rng.uniform(-20, 20), elevation=rng.uniform(1, 7)
    )
    return Sitting(body, outfit, str(rng.choice(SCENES)), camera, int(rng.integers(1 << 30)))


Row = tuple[dict[str, np.ndarray], dict[str, str]]
"""Pictures and words of one row."""


def rows(sitting: Sitting, *, size: tuple[int, int]) -> Iterator[Row]:
    """Render image and garment (H, W, 3), mask (H, W) and words, one row a garment of the outfit."""
    render = render_person(
        sitting.body, sitting.outfit, sitting.scene, size=size, camera=sitting.camera, seed=sitting.seed
    )
    for garment in sitting.outfit:
        mask = agnostic_mask(render, REGION[garment.kind], body=sitting.body, camera=sitting.camera)
        words = {
            "caption": person_caption(sitting.outfit, sitting.scene),
            "garment_caption": garment.caption(),
            **garment.attributes,
            "scene": sitting.scene,
            "source": "atelier",
        }
        yield {"image": render.image, "garment": render_garment(garment, size=size), "mask": mask}, words


def scene_rows(sitting: Sitting, *, size: tuple[int, int]) -> Iterator[Row]:
    """Render the scene of a sitting with nobody in it: one row of image (H, W, 3) and words."""
    image = render_scene(sitting.scene, size=size, camera=sitting.camera, seed=sitting.seed)
    yield {"image": image}, {"caption": SCENE_ALONE[sitting.scene], "scene": sitting.scene, "source": "atelier"}


@dataclass(frozen=True)
class Rendering:
    """What is rendered of a sitting, and which arrays of its rows are written; held out are sittings from `heldout`."""

    rows: Callable[..., Iterator[Row]] = rows
    names: tuple[str, ...] = ("image", "garment", "mask")
    heldout: int = HELDOUT_SEED


SCENES_ALONE = Rendering(scene_rows, ("image",))
"""Scenes with nobody in them."""


def write_corpus(
    out: Path, *, rows_train: int, rows_heldout: int = 0, seed: int = 0, size: tuple[int, int],
    what: Rendering = Rendering(),
) -> Iterator[int]:  # fmt: skip
    """Render rows into ``out`` (meta.jsonl and an .npy an array), going on where it was cut off.

    The held-out rows come first, from sittings ``what.heldout``, + 1, …; then the training rows, from ``seed``, + 1, …
    Yields the number of rows done after each sitting.

    Raises:
        DataError: ``out`` holds a corpus of another size.
    """
    out.mkdir(parents=True, exist_ok=True)
    meta, total = out / "meta.jsonl", rows_heldout + rows_train
    done = [json.loads(line) for line in meta.read_text().splitlines() if line.endswith("}")] if meta.exists() else []
    arrays = _open_arrays(out, total, size, fresh=not done, names=what.names)
    if done:
        write_text(meta, "".join(json.dumps(row) + "\n" for row in done))
    else:
        meta.unlink(missing_ok=True)
    at = len(done)
    for split, first, end in (("heldout", what.heldout, rows_heldout), ("train", seed, total)):
        sitting = done[-1]["seed"] + 1 if done and done[-1]["split"] == split else first
        while at < end:
            lines = []
            for pictures, words in what.rows(random_sitting(sitting), size=size):
                if at == end:
                    break
                for name, picture in pictures.items():
                    arrays[name][at] = picture
                lines.append(json.dumps({**words, "split": split, "seed": sitting}) + "\n")
                at += 1
            _append(meta, "".join(lines))
            sitting += 1
            yield at


def _append(meta: Path, lines: str) -> None:
    """Add lines to a table in one piece; one without a line is never there."""
    if not meta.is_file():
        write_text(meta, lines)
        return
    with meta.open("a", encoding="utf-8") as stream:
        stream.write(lines)


def _open_arrays(
    out: Path, total: int, size: tuple[int, int], *, fresh: bool, names: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """The memory-mapped arrays of a corpus, made anew or opened for writing."""
    shapes = {name: (total, *size) if name == "mask" else (total, *size, 3) for name in names}
    if fresh:
        return {k: reserved_array(out / f"{k}.npy", shape=s, dtype=np.uint8) for k, s in shapes.items()}
    arrays: dict[str, np.ndarray] = {k: np.lib.format.open_memmap(out / f"{k}.npy", mode="r+") for k in shapes}
    for name, array in arrays.items():
        if array.shape != shapes[name]:
            raise DataError(
                f"{out / name}.npy has shape {array.shape}, not {shapes[name]}; choose another folder, or remove it"
            )
    return arrays
