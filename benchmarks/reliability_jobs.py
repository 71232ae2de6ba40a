"""The commands whose reliability is measured, each as small as it goes, and the data they run on."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from personagen.person.joints import Joint
from personagen.person.network import ParserSizes, PersonParser
from personagen.person.parser import save_parser
from tests.apps.shop import write_shop
from tests.apps.tiny import pipelines
from tests.personagen.pretrain.tools import SIZE, make_corpus
from tests.personagen.subject.parts import write_pictures

COUNTED = ("popularity", "markov", "ease")
TRAINED = ("sasrec", "gru4rec", "dreamrec", "countdiff", "preferdiff", "diffurec", "diqdiff", "diffrec", "ldiffrec",
           "ddsr", "maskedids")  # fmt: skip
LARGER = (64, 48)
"""Pictures (H, W) whose features can be compared."""
EVERY = 3
"""Steps between two checkpoints."""
LOOP = {"batch_size": 2, "device": "cpu", "steps": 10, "warmup_steps": 1, "evaluate_every": 5, "preview_every": 5,
        "checkpoint_every": EVERY, "heldout_rows": 2, "mixed_precision": "no"}  # fmt: skip
PARTS = ["null", "hair", "skin", "t-shirt", "pants", "shoes"]
BANDS = ((6, 12, 1), (12, 20, 2), (20, 50, 3), (50, 84, 4), (84, 90, 5))
"""Rows of a photo from top to bottom, and the part that a standing figure shows there."""


@dataclass(frozen=True)
class Job:
    """A command, which goes on with a run by being given again. every: steps between its checkpoints.

    family: whether it is one of several commands that write alike, so that one of them stands for all where only
    writing is tried.
    """

    name: str
    words: tuple[str, ...]
    every: int | None = None
    family: bool = False
    setup: Callable[[], None] | None = field(default=None, compare=False)


def jobs(data: Path, out: Path) -> list[Job]:
    """List the commands; all of them write to `out` alone."""
    return [*_ranking(data, out), *_recommenders(data, out), *_pretraining(data, out), *_pictures(data, out)]


def _recommenders(data: Path, out: Path) -> list[Job]:
    """Training each family, a search, and an update."""
    train = ("recommend", "train", "--data", f"{data}/clicks.csv", "--out", str(out))
    loop = ("--train.epochs", "2", "--train.batch_size", "8", "--train.checkpoint_every", str(EVERY))
    small = {"countdiff": (), "diffrec": ("--settings.hidden", "[8]"), "ldiffrec": ("--settings.hidden", "[8]")}
    found = [Job(f"recommend train, {name}", (*train, "--model", name), family=name != "markov") for name in COUNTED]
    found += [
        Job(f"recommend train, {name}", (*train, "--model", name, *loop, *small.get(name, ())), every=EVERY,
            family=name != "sasrec")
        for name in TRAINED
    ]  # fmt: skip
    sasrec = ("--model", "sasrec", "--settings.d", "8", "--settings.layers", "1")
    update = ("recommend", "update", "--recommender", f"{data}/sasrec", "--before", f"{data}/clicks.csv",
              "--data", f"{data}/more.csv", "--out", str(out), "--train.epochs", "2", "--train.batch_size", "8",
              "--train.checkpoint_every", str(EVERY))  # fmt: skip
    return [*found, Job("recommend train --search", (*train, *sasrec, *loop, "--search", "2")),
            Job("recommend update", update, every=EVERY)]  # fmt: skip


def _ranking(data: Path, out: Path) -> list[Job]:
    def smaller() -> None:
        from recsys import rank_all

        rank_all.GROUP = 64  # pyrefly: ignore[bad-assignment]

    rank = ("recommend", "rank", "--recommender", f"{data}/markov", "--data", f"{data}/many.csv", "--part", "64")
    return [Job("recommend rank", (*rank, "--out", f"{out}/ranks.parquet"), setup=smaller)]


def _pretraining(data: Path, out: Path) -> list[Job]:
    """The stages of pretraining, and training try-on on pairs."""
    stages = ("corpus", "vae", "text", "text2image", "decoder", "tryon", "parser", "joints")
    found = [
        Job(
            f"pretrain {stage}", ("pretrain", str(_stage(data, out, stage))), every=None if stage == "corpus" else EVERY
        )
        for stage in stages
    ]
    pairs = {"corpora": {f"{data}/corpus": 1.0}, "height": SIZE[0], "width": SIZE[1], "loop": LOOP, "preview_rows": 1,
             "preview_steps": 2, "output_dir": str(out), "model": f"{data}/worn"}  # fmt: skip
    file = data / "pairs.yaml"
    file.write_text(json.dumps(pairs))
    return [*found, Job("tryon train", ("tryon", "train", "--config", str(file)), every=EVERY)]


def _stage(data: Path, out: Path, stage: str) -> Path:
    """Write the settings of a stage."""
    sizes: dict[str, Any] = {
        "vae": {"block_out_channels": [24, 32, 32], "norm_num_groups": 8, "latent_channels": 4, "crop": 16,
                "full_batch_size": 2, "statistics_rows": 8},
        "text": {"tokenizer_size": 700, "tokenizer_length": 16, "width": 16, "layers": 1, "heads": 2},
        "text2image": {"block_out_channels": [16, 32], "head_width": 16, "norm_num_groups": 8, "preview_steps": 2,
                       "prompts": ["a red square"], "vae_dir": f"{data}/painter/vae", "text_dir": f"{data}/words"},
        "tryon": {"preview_rows": 1, "preview_steps": 2, "vae_dir": f"{data}/painter/vae",
                  "unet_dir": f"{data}/painter/unet"},
        "parser": {"images_root": f"{data}/photos", "garments": 0, "blocks": 5, "widths": [8, 16, 24], "groups": 4},
        "joints": {"images_root": f"{data}/photos", "joints": 8, "joints_file": f"{data}/joints.json", "groups": 4,
                   "parser_dir": f"{data}/parser"},
        "decoder": {"painter_dir": f"{data}/painter", "steps": 2, "adversarial_after": 4},
        "corpus": {"rows": 2, "heldout_rows": 2},
    }  # fmt: skip
    size = {"parser": (48, 32), "joints": (48, 32), "decoder": LARGER}.get(stage, SIZE)
    corpus, section = "larger" if size == LARGER else "corpus", "parser" if stage == "joints" else stage
    settings = {"stage": stage, "output_dir": str(out), "corpora": {f"{data}/{corpus}": 1.0}, "height": size[0],
                "width": size[1], "loop": LOOP, section: sizes[stage]}  # fmt: skip
    file = data / f"{stage}.yaml"
    file.write_text(json.dumps(settings))
    return file


def _pictures(data: Path, out: Path) -> list[Job]:
    """Training a subject, and the main job."""
    subject = ("subject", "train", "--instance_data_dir", f"{data}/me", "--name", "dog", "--output_dir", str(out),
               "--pretrained_model_name_or_path", f"{data}/painter", "--max_train_steps", "8", "--checkpointing_steps",
               str(EVERY), "--num_validation_images", "1", "--validation_inference_steps", "2",
               "--with_prior_preservation", "true", "--num_class_images", "2", "--new_tokens", "1",
               "--resume_from_checkpoint", "latest")  # fmt: skip
    style = ("style", "--interactions", f"{data}/clicks.csv", "--catalog", f"{data}/garments", "--user", "u3",
             "--recommender", f"{data}/markov", "--tryon", f"{data}/worn", "--text2image", f"{data}/painter",
             "--person", f"{data}/me.jpg", "--mask", f"{data}/top.png", "--looks", "1", "--scenes", "2", "--steps", "2",
             "--stylist.tryon_steps", "2", "--out", str(out))  # fmt: skip
    quick = [f"--subject.{word[2:]}" if word.startswith("--") else word for word in subject[2:]]
    for word in ("instance_data_dir", "name", "output_dir", "resume_from_checkpoint"):
        at = quick.index(f"--subject.{word}")
        del quick[at : at + 2]
    many = ("subject", "train-many", "--mapping", f"{data}/subjects.csv", "--out", str(out), *quick)
    return [Job("subject train", subject, every=EVERY), Job("subject train-many", many), Job("style", style)]


def prepare(data: Path) -> None:
    """Write what the commands read: clicks, a shop, a corpus, photos, and tiny models with random weights."""
    data.mkdir(parents=True)
    write_shop(data)
    rows = np.random.default_rng(0).permuted(np.tile(np.arange(12), (400, 1)), axis=1)[:, :6]
    write_clicks(data / "many.csv", rows, "m")
    write_clicks(data / "more.csv", rows[:40], "n")
    make_corpus(data / "corpus", rows=8)
    make_corpus(data / "larger", rows=8, size=LARGER)
    _write_photos(data / "photos" / "people")
    save_parser(PersonParser(ParserSizes(5, (8, 16, 24), 4, 48, 32)), data / "parser")
    marks = [[0.5, 0.5, 0.9]] * len(Joint)
    (data / "subjects.csv").write_text("user,pictures,name\nu1,me,dog\nu2,me,cat\n")
    (data / "joints.json").write_text(json.dumps({f"{number:04d}": marks for number in range(10)}))
    write_pictures(data / "me", count=2, size=(64, 48))
    tryon, painter = pipelines()
    tryon.save_pretrained(data / "worn")
    painter.save_pretrained(data / "painter")
    for part in ("tokenizer", "text_encoder"):
        getattr(painter, part).save_pretrained(data / "words" / part)
    from apps import cli

    for model in ("markov", "sasrec"):
        quick = ["--train.epochs", "1", "--settings.d", "8", "--settings.layers", "1"] if model == "sasrec" else []
        words = ["recommend", "train", "--model", model, "--data", f"{data}/clicks.csv", "--out", f"{data}/{model}"]
        if cli.main([*words, *quick]) != 0:
            raise SystemExit(f"{model} could not be trained")


def write_clicks(path: Path, rows: np.ndarray, prefix: str) -> None:
    """Write which items (U, L) users chose, one after the other."""
    lines = [f"{prefix}{user},sku{item},{at}" for user, items in enumerate(rows) for at, item in enumerate(items)]
    path.write_text("\n".join(["user,item,timestamp", *lines]) + "\n", encoding="utf-8")


def _write_photos(folder: Path) -> None:
    """Write ten photos of a standing figure, with their parts."""
    paint = np.array(
        [[230, 230, 230], [60, 30, 10], [240, 190, 150], [200, 20, 20], [20, 20, 200], [5, 5, 5]], np.uint8
    )
    for name in ("photos", "parsing"):
        (folder / name).mkdir(parents=True)
    (folder / "labels.json").write_text(json.dumps(PARTS))
    for number in range(10):
        parts, left = np.zeros((96, 64), np.uint8), 18 + 3 * (number % 5)
        for top, bottom, part in BANDS:
            parts[top:bottom, left : left + 16] = part
        Image.fromarray(paint[parts]).save(folder / "photos" / f"{number:04d}.jpg", quality=95)
        Image.fromarray(parts).save(folder / "parsing" / f"{number:04d}.png")
