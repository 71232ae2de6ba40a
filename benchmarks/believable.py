"""Would a shopper believe it? Persons and garments that are drawn once, by hash, dressed as `tryon wear` does it.

    python benchmarks/believable.py dress --images DATA/images --pictures FOLDER/after            # sixty held-out ones
    python benchmarks/believable.py dress --images DATA/images --pictures FOLDER/train --split train --n 100
    python benchmarks/believable.py dress --images DATA/images --pictures FOLDER/hard --split hard
    python benchmarks/believable.py sheets --pictures FOLDER/before FOLDER/after --sheets SHEETS
    python benchmarks/believable.py marks --sheets SHEETS --pictures FOLDER/after   # the form, and what is let through
    python benchmarks/believable.py strips --pictures FOLDER/after        # strips of background between two garments

Whoever marks sees sheets of person, garment and result, 500 pixels high, in an order that does not tell before from
after, and writes into `form.csv`: believable, flaw (one) or torn, and what is wrong. Pictures of people stay in the
folders that are named; ``benchmarks/results`` takes marks and hashes of file names alone.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from report import RESULTS, mean_of, write_json, write_report

from personagen.corpora.photos import garment_photos, is_heldout
from personagen.images import PALEST, fit, load_image
from personagen.models import load_tryon
from personagen.person.parser import Parser, load_parser
from personagen.person.reading import read_person
from personagen.tryon.dress import Piece, cut_from_photos, dress
from personagen.tryon.trust import THRESHOLD
from personagen.vocabulary import KINDS
from recsys.errors import ConfigError, DataError

MARKS = ("believable", "flaw", "torn", "refused")
STRIP = 0.03
"""Share of a garment's columns with a strip of background from which it is seen."""
HEIGHT, CASES = 500, 6
"""Pixels of a sheet's pictures, and cases on a sheet, two a row."""


@dataclass(frozen=True)
class Case:
    """A person's photo, a garment's, and its kind; key: a hash of both names."""

    person: Path
    garment: Path
    kind: str

    @property
    def key(self) -> str:
        """Name the case without naming its photos."""
        return digest(f"{self.person.stem}+{self.garment.stem}+{self.kind}")[:12]


def digest(text: str) -> str:
    """Hash a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def drawn(images: Path, split: str, n: int) -> list[Case]:
    """Draw persons and garments of a split, all kinds in turn, in the order of a hash of their names."""
    if split == "hard":
        rows = list(csv.DictReader((images / "hard" / "cases.csv").open(encoding="utf-8")))
        return [Case(images / "hard" / row["person"], images / "hard" / row["garment"], row["kind"]) for row in rows]
    held, order = split == "test", lambda file: digest(f"believable/{file.stem}")
    people = [f for f in (images / "people" / "photos").glob("*.jpg") if is_heldout(f"people/{f.stem}") == held]
    shelf: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    for file, kind, row in garment_photos(images):
        if is_heldout(f"sender/{row['sender_id']}") == held:
            shelf[kind].append(file)
    kinds = [KINDS[at % len(KINDS)] for at in range(n)]
    garments = {kind: iter(sorted(files, key=order)) for kind, files in shelf.items()}
    return [Case(person, next(garments[kind]), kind) for person, kind in zip(sorted(people, key=order), kinds)]


def dressed(case: Case, pipe: Any, parser: Parser) -> tuple[Image.Image | None, dict[str, Any]]:
    """Dress a person as `tryon wear` does, with its settings: the picture, or None, and what is said."""
    start, judged = time.process_time(), []
    try:
        person = load_image(case.person)
        reading = read_person(person, parser)
        reading.body.mask(case.kind)
        pieces, whole = cut_from_photos(
            [Piece(load_image(case.garment, palest=PALEST), case.kind)], pipe, parser=parser
        )
        image = dress(
            pipe, person, reading.body, pieces, num_inference_steps=8, guidance_scale=1.5,
            judge=lambda trust: judged.append(trust), generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
    except (ConfigError, DataError) as error:
        return None, {"refused": str(error), "seconds": time.process_time() - start}
    seconds = round(time.process_time() - start, 2)
    told = {"score": round(judged[0].score, 4), "facts": rounded(judged[0].facts)} if judged else {}
    return image, {"whole": bool(whole), "seconds": seconds, **told}


def rounded(facts: Mapping[str, float]) -> dict[str, float]:
    """Round to four places."""
    return {name: round(value, 4) for name, value in facts.items()}


def dress_all(args: argparse.Namespace) -> dict[str, Any]:
    """Dress every case and write person, garment, result and cases.json into the folder."""
    pipe, parser, folder = load_tryon("embedded"), load_parser(), args.pictures[0]
    pipe.set_progress_bar_config(disable=True)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for case in drawn(args.images, args.split, args.n):
        image, said = dressed(case, pipe, parser)
        for name, picture in (("person", case.person), ("garment", case.garment), ("result", image)):
            if picture is not None:
                shown = load_image(picture) if isinstance(picture, Path) else picture
                shown.save(folder / f"{case.key}-{name}.png")
        rows.append({"key": case.key, "kind": case.kind, **said})
        print(case.key, case.person.stem, case.garment.stem, case.kind, json.dumps(said), flush=True)
        write_json(folder / "cases.json", rows)
    return {"n": len(rows), "refused": sum("refused" in row for row in rows),
            "cpu_seconds_a_picture": mean_of([float(row["seconds"]) for row in rows])}  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A result on a sheet: its place, the folder it is of, and the case."""

    place: str
    version: str
    key: str
    kind: str


def sheets(args: argparse.Namespace) -> dict[str, Any]:
    """Mix the results of all folders, draw sheets of them, and write the form and what tells which is which."""
    found = [(folder, row) for folder in args.pictures for row in json.loads((folder / "cases.json").read_text())]
    found.sort(key=lambda one: digest(f"{args.seed}/{one[0].name}/{one[1]['key']}"))
    args.sheets.mkdir(parents=True, exist_ok=True)
    shown = []
    for first in range(0, len(found), CASES):
        tiles = []
        for at, (folder, row) in enumerate(found[first : first + CASES], first):
            shown.append(Shown(f"{at:03d}", folder.name, row["key"], row["kind"]))
            tiles.append(_tile(folder, row, f"{at:03d} {row['kind']}"))
        rows = [np.concatenate(_level(tiles[at : at + 2]), 1) for at in range(0, len(tiles), 2)]
        Image.fromarray(np.concatenate(_level(rows, axis=1), 0)).save(args.sheets / f"sheet-{first // CASES:02d}.png")
    write_json(args.sheets / "which.json", [asdict(one) for one in shown])
    form = args.sheets / "form.csv"
    if not form.exists():
        rows = [f"{one.place},{one.kind},,\n" for one in shown]
        form.write_text("place,kind,mark,what\n" + "".join(rows), encoding="utf-8")
    return {"sheets": -(-len(found) // CASES), "form": str(form)}


def _tile(folder: Path, row: dict[str, Any], name: str) -> np.ndarray:
    """Person, garment and result (HEIGHT, w, 3) side by side; a refused one is grey."""
    pictures = []
    for part in ("person", "garment", "result"):
        file = folder / f"{row['key']}-{part}.png"
        image = Image.open(file).convert("RGB") if file.exists() else Image.new("RGB", (HEIGHT // 2, HEIGHT), "grey")
        wide = min(round(image.width * HEIGHT / image.height), round(0.75 * HEIGHT))
        pictures.append(np.asarray(fit(image, size=(HEIGHT, wide))[0]))
    tile = Image.fromarray(np.concatenate(pictures, 1))
    ImageDraw.Draw(tile).text((4, 4), name, fill="red", stroke_width=1, stroke_fill="white")
    return np.asarray(tile)


def _level(tiles: list[np.ndarray], *, axis: int = 1) -> list[np.ndarray]:
    """Pad pictures with white to the widest along an axis."""
    most = max(tile.shape[axis] for tile in tiles)
    pad = lambda tile: [(0, most - tile.shape[axis] if at == axis else 0) for at in range(3)]
    return [np.pad(tile, pad(tile), constant_values=255) for tile in tiles]


def marks(args: argparse.Namespace) -> dict[str, Any]:
    """Count the marks of a form for each version."""
    which = {one["place"]: one for one in json.loads((args.sheets / "which.json").read_text())}
    rows = list(csv.DictReader((args.sheets / "form.csv").open(encoding="utf-8")))
    given = [{**which[row["place"]], "mark": row["mark"], "what": row["what"]} for row in rows if row["mark"]]
    if wrong := [one for one in given if one["mark"] not in MARKS]:
        raise SystemExit(f"{wrong[0]['mark']!r} is no mark; use one of {MARKS}")
    versions = sorted({one["version"] for one in given})
    told = ("version", "key", "kind", "mark", "what")
    through = {}
    for folder in args.pictures or ():
        scores = {row["key"]: row.get("score", 0.0) for row in json.loads((folder / "cases.json").read_text())}
        let = [one for one in given if one["version"] == folder.name and scores[one["key"]] >= THRESHOLD]
        through[folder.name] = {"threshold": THRESHOLD, **_counted(let)}
    counts = {name: _counted([one for one in given if one["version"] == name]) for name in versions}
    return {"let_through": through, "counts": counts,
            "marks": [{name: one[name] for name in told} for one in given]}  # fmt: skip


def strips(args: argparse.Namespace) -> dict[str, Any]:
    """Count results in which only background lies between the new garment and another one in some columns."""
    rows = [row for folder in args.pictures for row in json.loads((folder / "cases.json").read_text())]
    found = {row["key"]: row["facts"]["strip"] for row in rows if row.get("facts", {}).get("strip", 0.0) > STRIP}
    return {"n": len(rows), "with_strip": len(found), "share_of_columns": found}


def _counted(given: list[dict[str, str]]) -> dict[str, Any]:
    """How many have each mark, and the share of believable and torn ones of those that are not refused."""
    count = Counter(one["mark"] for one in given)
    made = max(1, len(given) - count["refused"])
    faults = Counter(word for one in given for word in one["what"].split())
    return {"n": len(given), **{mark: count[mark] for mark in MARKS},
            "believable_share": round(count["believable"] / made, 3), "torn_share": round(count["torn"] / made, 3),
            "faults": dict(faults.most_common())}  # fmt: skip


def main() -> None:
    """Do what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("dress", "sheets", "marks", "strips"))
    parser.add_argument("--images", type=Path, help="folder that holds people/, garments/ and hard/")
    parser.add_argument("--pictures", type=Path, nargs="+", help="folders of pictures, outside of this project")
    parser.add_argument("--split", choices=("test", "train", "hard"), default="test")
    parser.add_argument("--n", type=int, default=60)
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="of the shuffle")
    parser.add_argument("--name", help="of the results file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    does: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        "dress": dress_all, "sheets": sheets, "marks": marks, "strips": strips}  # fmt: skip
    result = does[args.what](args)
    print(write_report(RESULTS / f"believable-{args.name}.json", result) if args.name else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
