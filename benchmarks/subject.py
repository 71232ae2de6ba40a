"""Measure subject training on the embedded model: is the subject recognised in new prompts, and what else drifts?

    python benchmarks/subject.py --data FOLDER --subjects backpack can ...     # FOLDER/NAME/*.jpg, DreamBooth's photos
    python benchmarks/subject.py --data FOLDER --prior                         # with prior preservation

Of every subject the last two photos are held out. A painted picture counts as recognised when its features
(personagen.subject.evaluate, not used in training) lie nearest to the held-out photos of its own subject. Skill of the
features: the same question asked of the photos that were trained on. Writes benchmarks/results/subject.json, or
subject-prior.json.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from report import RESULTS, write_report

from personagen.evaluate import bootstrap_interval
from personagen.images import load_image
from personagen.subject import SubjectConfig, train_subject
from personagen.subject.evaluate import likeness
from personagen.subject.loaded import load_subjects

SUBJECTS = ("backpack", "can", "rc_car", "duck_toy", "grey_sloth_plushie", "vase")
PROMPTS = ("a photo of a sks {}", "a photo of a sks {} on a beach", "a photo of a sks {} in the snow",
           "a photo of a sks {} in a city at night")  # fmt: skip
HELDOUT = 2


def split(source: Path, work: Path) -> None:
    """Copy the photos of one subject into train/ and heldout/."""
    photos = sorted(source.glob("*.jpg"))
    for name, part in (("train", photos[:-HELDOUT]), ("heldout", photos[-HELDOUT:])):
        (work / name).mkdir(parents=True)
        for photo in part:
            shutil.copy(photo, work / name)


def learn(work: Path, name: str, args: argparse.Namespace) -> tuple[dict[str, Any], list[Image.Image]]:
    """Train one subject, paint every prompt, and return what the run measured and the pictures."""
    config = SubjectConfig(
        instance_data_dir=str(work / "train"),
        name=name.replace("_", " "),
        output_dir=str(work / "run"),
        max_train_steps=args.steps,
        train_batch_size=args.batch,
        with_prior_preservation=args.prior,
        num_class_images=8,
        num_validation_images=0,
        seed=args.seed,
    )
    begun = time.process_time()
    *_, last = train_subject(config)
    seconds = time.process_time() - begun
    pipe = load_subjects([work / "run"])
    made = []
    for prompt in PROMPTS:
        for i in range(args.count):
            generator = torch.Generator().manual_seed(1000 + i)
            text = prompt.format(config.name)
            made.append(pipe(text, num_inference_steps=15, guidance_scale=3.0, generator=generator).images[0])
    return {**(last.metrics or {}), "cpu_seconds": round(seconds, 1)}, made


def nearest(made: list[Image.Image], galleries: dict[str, Path], own: str) -> list[float]:
    """Say of each picture whether the gallery nearest to it is its own: 1 or 0."""
    names = list(galleries)
    table = np.stack([likeness(made, galleries[name]) for name in names])
    return [float(names[best] == own) for best in table.argmax(0)]


def mean(values: list[float]) -> dict[str, Any]:
    low, high = bootstrap_interval(np.array(values, float), generator=torch.Generator().manual_seed(0))
    return {"mean": round(float(np.mean(values)), 4), "interval": [round(low, 4), round(high, 4)], "n": len(values)}


def measure(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    for name in args.subjects:
        split(args.data / name, work / name)
    galleries = {name: work / name / "heldout" for name in args.subjects}
    hits, skill, runs, sheet = [], [], {}, []
    for name in args.subjects:
        photos = [load_image(path) for path in sorted((work / name / "train").iterdir())]
        skill += nearest(photos, galleries, name)
        run, made = learn(work / name, name, args)
        own = nearest(made, galleries, name)
        hits += own
        runs[name] = {**run, "recognised": round(float(np.mean(own)), 3)}
        print(name, runs[name], file=sys.stderr, flush=True)
        sheet.append(np.concatenate([np.asarray(one) for one in made[:: args.count]], 1))
    args.sheets.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(sheet, 0)).save(args.sheets / f"subject{'-prior' if args.prior else ''}.png")
    return {
        "recognised": mean(hits),
        "chance": round(1 / len(args.subjects), 4),
        "features_on_photos": mean(skill),
        "drift": round(float(np.mean([run["drift"] for run in runs.values()])), 4),
        "subjects": runs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--subjects", nargs="+", default=list(SUBJECTS))
    parser.add_argument("--prior", action="store_true")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--count", type=int, default=2, help="pictures a prompt")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheets", type=Path, default=Path("runs/sheets"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        result = measure(args, Path(work))
    report = {"seed": args.seed, "steps": args.steps, **result}
    print(write_report(args.out / f"subject{'-prior' if args.prior else ''}.json", report))


if __name__ == "__main__":
    main()
