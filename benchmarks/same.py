"""Fingerprints of what the commands make: run at two commits, equal figures mean that nothing changed to the bit.

    python benchmarks/same.py --out before.json
    git checkout LATER && python benchmarks/same.py --out after.json --compare before.json

Everything goes through the command line, so that the script itself need hardly know where the code lives. Pictures are
compared by their pixels, models by their tensors, tables by their bytes. --images: a folder with `hard` (persons,
garments, cases.csv), for photos as well.
"""

import argparse
import csv
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from apps.cli import main as personagen
from personagen.pretrain import PretrainConfig

USERS, ITEMS = 60, 30
COUNTED = ("markov", "ease")
TRAINED = ("sasrec", "gru4rec", "dreamrec", "diffurec", "diffrec", "countdiff", "maskedids")
QUICK = {"epochs": 2, "batch_size": 32}
SIDE = 32
LOOP = {"batch_size": 2, "device": "cpu"}
PRETRAIN = {**LOOP, "steps": 3, "warmup_steps": 1, "evaluate_every": 3, "preview_every": 3, "checkpoint_every": 3,
            "heldout_rows": 4}  # fmt: skip
PAIRS = {**LOOP, "steps": 2, "heldout_rows": 2, "checkpoint_every": 2, "evaluate_every": 2, "mixed_precision": "no"}
STAGES = {
    "vae": {"block_out_channels": [24, 32, 32], "norm_num_groups": 8, "latent_channels": 4, "crop": 16,
            "full_batch_size": 2, "statistics_rows": 8},
    "text": {"tokenizer_size": 700, "tokenizer_length": 16, "width": 32, "layers": 1, "heads": 2},
    "text2image": {"block_out_channels": [16, 32], "head_width": 16, "norm_num_groups": 8,
                   "prompts": ["a red square"], "preview_steps": 2},
    "tryon": {"preview_rows": 2, "preview_steps": 2},
}  # fmt: skip


def command(*words: object) -> None:
    """Run one command of `personagen` and insist that it succeeds."""
    code = personagen([str(word) for word in words])
    if code != 0:
        sys.exit(f"personagen {' '.join(map(str, words))} ended with {code}")


def picture(path: Path) -> str:
    """Hash the pixels of a picture."""
    image = np.asarray(Image.open(path).convert("RGBA"))
    return hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest()[:16]


def weights(path: Path) -> str:
    """Hash the tensors of a safetensors file by name, type, shape and bytes."""
    digest = hashlib.sha256()
    for name, value in sorted(load_file(path).items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().view(torch.uint8).numpy().tobytes() if value.ndim else str(value).encode())
    return digest.hexdigest()[:16]


def everything(folder: Path) -> dict[str, str]:
    """Hash every picture, model and table below a folder, checkpoints apart."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if "checkpoints" in name or "corpus" in name or "cache" in name:
            continue
        if path.suffix == ".png":
            found[name] = picture(path)
        elif path.suffix == ".safetensors":
            found[name] = weights(path)
        elif path.suffix == ".csv":
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return found


def main_job(folder: Path) -> None:
    """Looks of one shopper, and their scenes."""
    command("style", "--user", 3, "--looks", 2, "--scenes", 1, "--steps", 4, "--out", folder / "looks")


def recommenders(folder: Path) -> None:
    """Train each recommender on made-up clicks; rank with it and with the embedded one."""
    generator, clicks = np.random.default_rng(0), folder / "clicks.csv"
    rows = ["user,item,timestamp"]
    for user in range(USERS):
        start = int(generator.integers(ITEMS))
        rows += [f"u{user},i{(start + step * (1 + user % 3)) % ITEMS},{step}" for step in range(12)]
    clicks.write_text("\n".join(rows) + "\n")
    for name in COUNTED + TRAINED:
        quick = QUICK if name in TRAINED else {}
        train = [word for key, value in quick.items() for word in (f"--train.{key}", value)]
        out = folder / "recommenders" / name
        command("recommend", "train", "--model", name, "--data", clicks, "--out", out, *train)
        command("recommend", "rank", "--recommender", out, "--data", clicks, "--out", out / "ranks.csv")
    embedded = Path("personagen/models/recommender")
    command("recommend", "rank", "--recommender", embedded, "--out", folder / "recommenders" / "embedded.csv")


def render(folder: Path) -> tuple[Path, Path]:
    """Write a person and a garment of the atelier as photos."""
    from personagen.atelier import shoppers
    from personagen.atelier.render import render_garment, render_person

    garments, shopper = shoppers.catalogue(40, seed=0), shoppers.simulate(1, seed=4, items=shoppers.catalogue(40))[0]
    outfit = tuple(next(spec for spec in garments if spec.region == region) for region in ("upper", "lower"))
    top = [spec for spec in garments if spec.region == "upper"][3]
    person, garment = folder / "person.png", folder / "garment.png"
    Image.fromarray(render_person(shopper.body, outfit, "beach", size=(384, 288), seed=1).image).save(person)
    Image.fromarray(render_garment(top, size=(384, 288))).save(garment)
    return person, garment


def tryon(folder: Path, images: Path | None) -> None:
    """Masks and worn garments, on a render and, where they are given, on photos."""
    person, garment = render(folder)
    (folder / "worn").mkdir()
    cases = [("render", person, garment, "t-shirt")]
    if images is not None:
        with (images / "hard" / "cases.csv").open() as stream:
            for row in list(csv.DictReader(stream))[:4]:
                hard = images / "hard"
                cases.append((row["person"][:2], hard / row["person"], hard / row["garment"], row["kind"]))
    for name, photo, cloth, kind in cases:
        command("tryon", "mask", "--person", photo, "--kind", kind, "--out", folder / "worn" / f"{name}-mask.png")
        command("tryon", "wear", "--person", photo, "--garment", cloth, "--kind", kind, "--steps", 3,
                "--out", folder / "worn" / f"{name}.png")  # fmt: skip


def corpus(folder: Path) -> Path:
    """Write a corpus of coloured squares, as training reads it."""
    generator, meta, rows = np.random.default_rng(0), [], 12
    image = np.broadcast_to(generator.integers(80, 255, (rows, 1, 1, 3)), (rows, SIDE, SIDE, 3)).astype(np.uint8)
    garment, mask = np.full_like(image, 255), np.zeros((rows, SIDE, SIDE), np.uint8)
    for row in range(rows):
        colour = ((220, 30, 30), (30, 60, 220), (30, 160, 60))[row % 3]
        image[row, 8:20, 7:17], garment[row, 8:20, 6:16], mask[row, 7:21, 6:18] = colour, colour, 1
        name = ("red", "blue", "green")[row % 3]
        meta.append({"caption": f"a {name} square", "garment_caption": f"a product photo of a {name} square",
                     "split": "heldout" if row >= rows - 4 else "train"})  # fmt: skip
    folder.mkdir()
    for name, array in (("image", image), ("garment", garment), ("mask", mask)):
        np.save(folder / f"{name}.npy", array)
    (folder / "meta.jsonl").write_text("\n".join(map(json.dumps, meta)) + "\n")
    return folder


def loop(settings: Mapping[str, object]) -> Mapping[str, object]:
    """Spell settings of the training loop as this commit does: nested, or, before LoopConfig, among the others."""
    if any(field.name == "loop" for field in fields(PretrainConfig)):
        return {"loop": {"mixed_precision": "no", "preview_every": settings["evaluate_every"], **settings}}
    return settings if "mixed_precision" in settings else {"bf16": False, **settings}


def training(folder: Path) -> None:
    """A few steps of every stage of pretraining, of try-on training and of a subject."""
    runs = folder / "runs"
    pictures = {"corpora": {str(corpus(folder / "corpus")): 1.0}, "height": SIDE, "width": SIDE}
    places = {"vae_dir": runs / "vae" / "vae", "text_dir": runs / "text" / "text"}
    painter = runs / "text2image" / "embedded"
    finished = {"vae_dir": painter / "vae", "unet_dir": painter / "unet"}
    for stage, settings in STAGES.items():
        where = {"text2image": places, "tryon": finished}.get(stage, {})
        given = {**loop(PRETRAIN), **pictures, "stage": stage, "output_dir": str(runs / stage),
                 stage: {**settings, **{key: str(value) for key, value in where.items()}}}  # fmt: skip
        (folder / f"{stage}.yaml").write_text(json.dumps(given))
        command("pretrain", folder / f"{stage}.yaml")
    given = {**loop(PAIRS), **pictures, "output_dir": str(runs / "pairs"), "preview_rows": 1, "preview_steps": 2}
    (folder / "pairs.yaml").write_text(json.dumps(given))
    command("tryon", "train", "--config", folder / "pairs.yaml")
    (folder / "shots").mkdir()
    for name in ("person", "garment"):
        Image.open(folder / f"{name}.png").resize((144, 192)).save(folder / "shots" / f"{name}.png")
    command("subject", "train", "--instance_data_dir", folder / "shots", "--name", "jacket", "--preset", "garment",
            "--max_train_steps", 3, "--output_dir", runs / "subject")  # fmt: skip


def main() -> None:
    """Make everything that is compared, and write its fingerprints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--compare", type=Path)
    parser.add_argument("--images", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as place:
        folder = Path(place)
        main_job(folder)
        recommenders(folder)
        tryon(folder, arguments.images)
        training(folder)
        found = everything(folder)
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{len(found)} files: {arguments.out}")
    if arguments.compare is not None:
        before = json.loads(arguments.compare.read_text())
        names = sorted(name for name in before | found if before.get(name) != found.get(name))
        print(f"{len(names)} of {len(before)} differ" + "".join(f"\n  {name}" for name in names))
        sys.exit(bool(names))


if __name__ == "__main__":
    main()
