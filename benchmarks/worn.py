"""Garments that somebody wears: how often the kind asked for is found on held-out street photos, and how well.

python benchmarks/worn.py --images DATA/images --out benchmarks/results/worn.json
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from personagen.corpora.photos import garment_photos, is_heldout, worn_garments
from personagen.images import PALEST, load_image
from personagen.person.parser import load_parser
from personagen.person.parts import Part
from personagen.provenance import versions
from personagen.warping.worn import NotWorn, shows_person, worn_mask

NOT_WORN = (Part.BACKGROUND, Part.HEAD, Part.SKIN, Part.SHOES)


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=130, help="street photos, the first ones held out")
    parser.add_argument("--garments", type=int, default=330, help="photos of garments alone, the first ones held out")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/worn.json"))
    given = parser.parse_args()
    rows, seen = street(given.images / "people", given.photos)
    result = {
        "people": {"photos": len(seen), "seen": float(np.mean(seen))},
        "garments_alone": alone(given.images, given.garments),
        "worn": {kind: summary(found) for kind, found in sorted(rows.items())},
        "all": summary([row for found in rows.values() for row in found]),
        "versions": versions(),
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["all"]), json.dumps(result["people"]), json.dumps(result["garments_alone"]))


def street(people: Path, count: int) -> tuple[dict[str, list[tuple[float, float]]], list[bool]]:
    """Return by kind the overlap (-1: refused) and that of all that is worn, and whether somebody is seen."""
    labels, parse = json.loads((people / "labels.json").read_text()), load_parser()
    files = [file for file in sorted((people / "photos").glob("*.jpg")) if is_heldout(f"people/{file.stem}")]
    rows, seen = defaultdict(list), []
    for file in files[:count]:
        body = parse(load_image(file))
        seen.append(shows_person(body))
        marked = worn_garments(np.asarray(Image.open(people / "parsing" / f"{file.stem}.png")), labels)
        for kind, truth in marked.items():
            rows[kind].append((overlap(body, kind, truth), iou(~np.isin(body.parts, NOT_WORN), truth)))
    return rows, seen


def overlap(body, kind: str, truth: np.ndarray) -> float:
    """Return how well the garment that is found overlaps the marked one; -1 where it is refused."""
    try:
        return iou(worn_mask(body, kind), truth)
    except NotWorn:
        return -1.0


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks (H, W)."""
    return float((one & other).sum() / (one | other).sum())


def summary(rows: list[tuple[float, float]]) -> dict[str, float]:
    """Say how many are refused, and how well the others overlap, before and now."""
    found = [now for now, _ in rows if now >= 0]
    return {
        "garments": len(rows),
        "refused": round(1 - len(found) / len(rows), 3),
        "iou_median": round(float(np.median(found)), 3),
        "iou_above_half": round(float(np.mean(np.array(found) > 0.5)), 3),
        "iou_median_all_that_is_worn": round(float(np.median([before for _, before in rows])), 3),
    }


def alone(images: Path, count: int) -> dict[str, int]:
    """Count the photos of garments alone in which somebody is seen."""
    parse = load_parser()
    files = [file for file, _, row in garment_photos(images) if is_heldout(f"sender/{row['sender_id']}")][:count]
    wrong = [file.name for file in files if shows_person(parse(load_image(file, palest=PALEST)))]
    return {"photos": len(files), "taken_for_worn": len(wrong)}


if __name__ == "__main__":
    main()
