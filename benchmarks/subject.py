"""Measure subject training on the embedded model: is a subject recognised in new prompts, and what else drifts?

    python benchmarks/subject.py objects --data FOLDER --work FOLDER     # FOLDER/NAME/*.jpg, DreamBooth's photos
    python benchmarks/subject.py persons --work FOLDER --reader FOLDER   # persons of the atelier
    python benchmarks/subject.py garments --work FOLDER --reader FOLDER  # garments of the atelier
    python benchmarks/subject.py drift --data FOLDER --work FOLDER       # with and without prior preservation

`--probe FOLDER` (benchmarks/probe.py) reads the prompt's scene, and what persons wear, off the painted pictures. What
is finished lies in `--work`; the same command goes on from there. Writes benchmarks/results/subject-PART.json.

objects: of every subject the last two photos are held out; a painted picture counts as recognised when its features
(`personagen.subject.evaluate`, not used in training) lie nearest to the held-out photos of its own subject. Skill: the
same question asked of the photos that were trained on. The six subjects and the features were chosen on photos alone.
persons: eight renders of a body in outfits and scenes, with captions; recognised by the colours of hair, skin and shoes
that a reader finds (benchmarks/person_reader.py, not used in training), each in units of its spread over other persons'
renders, nearest to held-out renders.
The six are the first who differ in two of skin, hair and shoes.
garments: its product picture and persons who wear it; recognised by its colours, where
the reader finds tops, among the product pictures.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from report import RESULTS, cpu, mean_of, write_json, write_report
from subject_cases import (
    OBJECTS,
    SCENES,
    garment_case,
    garment_distances,
    person_case,
    person_features,
    person_spread,
    persons,
)

from personagen.devices import resolve
from personagen.images import load_image
from personagen.person.parser import load_model
from personagen.subject import SubjectConfig, train_subject
from personagen.subject.data import cover
from personagen.subject.evaluate import features
from personagen.subject.loaded import load_subjects

HELDOUT, AMONG = 2, 6
CLASS_IMAGES = 18  # one of every prompt that the embedded model is held to
PAINT = {"num_inference_steps": 15, "guidance_scale": 3.0}
Case = tuple[str, str, list[str]]
"""What a subject is called, the preset, and the prompts to paint."""


def object_case(source: Path, work: Path) -> Case:
    """Copy the photos of one subject into train/ and heldout/."""
    photos = sorted(source.glob("*.jpg"))
    for name, part in (("train", photos[:-HELDOUT]), ("heldout", photos[-HELDOUT:])):
        (work / name).mkdir(parents=True, exist_ok=True)
        for photo in part:
            shutil.copy(photo, work / name)
    name = source.name.replace("_", " ")
    return name, "object", [f"a photo of a sks {name} {scene}" for scene in SCENES.values()]


def learn(case: Case, work: Path, seed: int, changes: dict[str, Any]) -> dict[str, Any]:
    """Train one subject, unless it is done; return what the run measured."""
    done = work / "measured.json"
    if done.exists():
        return json.loads(done.read_text())
    shutil.rmtree(work / "run", ignore_errors=True)
    name, preset, _ = case
    config = SubjectConfig(
        str(work / "train"), name, preset=preset, output_dir=str(work / "run"), consent=True,  # type: ignore[arg-type]
        num_validation_images=0, seed=seed, **changes,
    )  # fmt: skip
    begun, wall = time.process_time(), time.monotonic()
    *_, last = train_subject(config)
    measured = {**(last.metrics or {}), "cpu_seconds": round(time.process_time() - begun, 1),
                "wall_seconds": round(time.monotonic() - wall, 1)}  # fmt: skip
    write_json(done, measured)
    return measured


def paint(case: Case, work: Path, count: int) -> list[np.ndarray]:
    """Paint `count` pictures of each prompt, unless it is done: uint8 (H, W, 3) each."""
    file = work / "painted.npy"
    if not file.exists():
        pipe, made = load_subjects([work / "run"], compute=resolve(dtype="float32")), []
        for prompt in case[2]:
            for i in range(count):
                made.append(
                    np.asarray(pipe(prompt, generator=torch.Generator().manual_seed(1000 + i), **PAINT).images[0])
                )
        np.save(file, np.stack(made))
    return list(np.load(file))


def nearest(queries: np.ndarray, galleries: list[np.ndarray], own: int) -> list[float]:
    """Say of each query (N, f) whether the gallery (n, f) that it is nearest to on average is its own: 1 or 0."""
    table = np.stack([((queries[:, None] - gallery) ** 2).sum(2).mean(1) for gallery in galleries])
    return [float(best == own) for best in table.argmin(0)]


def described(folder: Path, describe: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    """Describe the pictures of a folder by features (n, f), in the order of their names."""
    files = [path for path in sorted(folder.iterdir()) if path.suffix in (".jpg", ".png")]
    return np.stack([describe(load_image(path)) for path in files])


def attributes(args: argparse.Namespace, prompts: list[str], made: list[np.ndarray]) -> dict[str, list[float]]:
    """Say whether the probe reads off each picture (H, W, 3) its prompt's scene and, of people, clothes: 1 or 0."""
    if args.probe is None:
        return {}
    from probe import load, read, read_caption

    seen, found = read(load(args.probe, (192, 144)), np.stack(made)), {}
    for words, prompt in zip(seen, prompts, strict=True):
        scene = [word for word, phrase in SCENES.items() if prompt.endswith(phrase)]
        said = read_caption(prompt.replace("a sks person", "a person")) if "sks person wearing" in prompt else {}
        for head, word in (said or {"scene": scene[0]}).items():
            found.setdefault(head.split()[-1], []).append(float(words[head] == word))
    return found


def ceiling(args: argparse.Namespace) -> dict[str, float]:
    """What the probe reads right off held-out renders, as benchmarks/probe.py measured it."""
    return {} if args.probe is None else json.loads((args.probe / "probe.json").read_text())["heldout_agreement"]


def scaled_persons(args: argparse.Namespace) -> Callable[[Image.Image], np.ndarray]:
    """Return a function from a picture to the reader's features of its person (f,), scaled by their spread."""
    reader = load_model(args.reader)
    spread = person_spread(args.reader, reader)
    return lambda image: person_features(image, reader) / spread


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Train, paint and judge every subject of a part with every seed; a picture counts as its mean over the seeds."""
    judged = [judge(args, seed) for seed in args.seeds]
    hits = np.mean([one.hits for one in judged], 0)
    read = {head: [value for one in judged for value in one.read[head]] for head in judged[0].read}
    runs = {str(seed): one.runs for seed, one in zip(args.seeds, judged, strict=True)}
    slowest = max(run["cpu_seconds"] for one in runs.values() for run in one.values())
    return {"recognised": mean_of(hits.tolist()), "chance": round(1 / AMONG, 4),
            "recognised_by_seed": [round(float(np.mean(one.hits)), 4) for one in judged],
            **({"features_on_known_pictures": mean_of(judged[0].skill)} if judged[0].skill else {}),
            "probe_reads": {head: mean_of(values) for head, values in read.items()},
            "probe_reads_true_renders": ceiling(args), "cpu_seconds_a_subject": slowest, "subjects": runs}  # fmt: skip


class Judged(NamedTuple):
    """Of each painted picture, whether it is recognised; of each one trained on, too; what the probe reads right; and
    what the runs measured."""

    hits: list[float]
    skill: list[float]
    read: dict[str, list[float]]
    runs: dict[str, dict[str, Any]]


def judge(args: argparse.Namespace, seed: int) -> Judged:
    """Train, paint and judge every subject of a part with one seed."""
    works = {name: args.work / f"{args.part}-{seed}" / name for name in names(args)}
    cases = {name: make_case(args, name, work) for name, work in works.items()}
    describe = {"objects": lambda _: features, "persons": scaled_persons}.get(args.part, lambda _: None)(args)
    galleries = [] if describe is None else [described(work / "heldout", describe) for work in works.values()]
    reader: Any = None if args.reader is None else load_model(args.reader)
    hits, skill, read, runs = [], [], {}, {}
    for at, (name, work) in enumerate(works.items()):
        run = learn(cases[name], work, seed, {})
        made = paint(cases[name], work, args.count)
        if describe is None:
            own = garment_distances(made, at, reader)
        else:
            own = nearest(np.stack([describe(Image.fromarray(one)) for one in made]), galleries, at)
            skill += nearest(described(work / "train", describe), galleries, at)
        said = [prompt for prompt in cases[name][2] for _ in range(args.count)]
        for head, values in attributes(args, said, made).items():
            read.setdefault(head, []).extend(values)
        hits += own
        runs[name] = {**run, "recognised": round(float(np.mean(own)), 3)}
        print(seed, name, runs[name], file=sys.stderr, flush=True)
    sheet(args, seed, [shown(cases[name], work, args.count) for name, work in works.items()])
    return Judged(hits, skill, read, runs)


def names(args: argparse.Namespace) -> list[str]:
    """Name the cases of the part that is asked for."""
    if args.part in ("objects", "drift"):
        return list(OBJECTS)
    return [f"{args.part[:-1]}-{number}" for number in (persons() if args.part == "persons" else range(AMONG))]


def make_case(args: argparse.Namespace, name: str, work: Path) -> Case:
    """Make the case of a name that `names` gives."""
    if args.part in ("objects", "drift"):
        return object_case(args.data / name, work)
    number = int(name.rpartition("-")[2])
    return (person_case if args.part == "persons" else garment_case)(number, work)


def shown(case: Case, work: Path, count: int) -> list[np.ndarray]:
    """Return a picture trained on, the base model's of the first prompt, and those painted: uint8 (H, W, 3) each."""
    file = work / "before.npy"
    if not file.exists():
        pipe = load_subjects([], compute=resolve(dtype="float32"))
        np.save(file, np.asarray(pipe(case[2][0], generator=torch.Generator().manual_seed(1000), **PAINT).images[0]))
    known, made = sorted((work / "train").iterdir())[0], paint(case, work, count)[::count]
    given = cover(load_image(known), made[0].shape[:2])[0]
    return [np.asarray(given), np.load(file), *made]


def sheet(args: argparse.Namespace, seed: int, rows: list[list[np.ndarray]]) -> None:
    """Write a contact sheet of pictures (H, W, 3), a row a subject."""
    args.sheets.mkdir(parents=True, exist_ok=True)
    grid = np.concatenate([np.concatenate(row, 1) for row in rows], 0)
    Image.fromarray(grid).save(args.sheets / f"subject-{args.part}-{seed}.png")


def compare_drift(args: argparse.Namespace) -> dict[str, Any]:
    """Train the first subjects with prior preservation and without; how far do unrelated prompts drift?"""
    kept = {"with_prior_preservation": True, "num_class_images": CLASS_IMAGES}
    seed = args.seeds[0]
    works = [args.work / f"objects-{seed}" / name for name in names(args)]
    for name, work in zip(names(args), works, strict=True):
        object_case(args.data / name, work)
    galleries = [described(work / "heldout", features) for work in works]
    found: dict[str, dict[str, list[float]]] = {"without": {}, "with": {}}
    for at, name in enumerate(names(args)[: args.subjects]):
        for label, changes in (("without", {}), ("with", kept)):
            work = args.work / f"drift-{seed}" / f"{name}-{label}"
            case = make_case(args, name, work)
            run = learn(case, work, seed, {"max_train_steps": args.steps, **changes})
            made = np.stack([features(Image.fromarray(one)) for one in paint(case, work, args.count)])
            measured = {"drift": run["drift"], "recognised": np.mean(nearest(made, galleries, at)),
                        "cpu_seconds": run["cpu_seconds"]}  # fmt: skip
            for key, value in measured.items():
                found[label].setdefault(key, []).append(round(float(value), 4))
            print(name, label, measured, file=sys.stderr, flush=True)
    pairs = zip(found["with"]["drift"], found["without"]["drift"], strict=True)
    return {**found, "steps": args.steps, "ratio": mean_of([kept / free for kept, free in pairs])}


def main() -> None:
    """Run the part that is asked for and write its report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("objects", "persons", "garments", "drift"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--probe", type=Path)
    parser.add_argument("--reader", type=Path, help="of persons and garments: benchmarks/person_reader.py")
    parser.add_argument("--count", type=int, default=2, help="pictures a prompt")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of training; drift takes the first")
    parser.add_argument("--subjects", type=int, default=6, help="of drift: how many subjects")
    parser.add_argument("--steps", type=int, default=150, help="of drift: training steps")
    parser.add_argument("--sheets", type=Path, default=Path("runs/sheets"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.part in ("persons", "garments") and args.reader is None:
        parser.error(f"{args.part} needs --reader FOLDER; make it with benchmarks/person_reader.py --out FOLDER")
    result = compare_drift(args) if args.part == "drift" else measure(args)
    print(write_report(args.out / f"subject-{args.part}.json", {"seeds": args.seeds, **result, "hardware": cpu()}))


if __name__ == "__main__":
    main()
