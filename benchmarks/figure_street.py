"""Figures of street photos: people and garments that are drawn by hash, dressed, and turned.

    python benchmarks/figure_street.py --images DATA/images --n 40 --work FOLDER

The front is compared with the dressed picture that it was made of (IoU, PSNR in dB, and that within the outline), the
garment's mean Lab colour behind with that in front, both without the light that is carried round. `garment hidden` is
the share of what garments cover in front before which the figure shows something else, as where the body comes through.
Each case is written down when it is done, with its sheet of eight views, into --work, which pictures of people do not
leave; a run that was cut off goes on there. Writes ``benchmarks/results/figure-street.json``.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from believable import Case, drawn
from report import RESULTS, mean_of, write_json, write_report

from personagen.atelier.trace import Camera
from personagen.colours import to_lab
from personagen.figure.mesh import Figure, unlit
from personagen.figure.pipeline import Figure3DPipeline
from personagen.figure.raster import render
from personagen.figure.turntable import Turntable, contact_sheet
from personagen.images import PALEST, load_image
from recsys.errors import DataError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--n", type=int, default=40)
    parser.add_argument("--split", choices=("train", "test"), default="test")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=RESULTS / "figure-street.json")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    pipe, rows, refused = Figure3DPipeline.from_pretrained(), [], []
    pipe.tryon.set_progress_bar_config(disable=True)
    for case in drawn(given.images, given.split, given.n):
        path = given.work / f"{case.key}.json"
        if not path.is_file():
            write_json(path, _case(case, pipe, given.work))
        row = json.loads(path.read_text())
        (refused if "refused" in row else rows).append(row)
        print(case.key, case.kind, row, flush=True)
    names = sorted({name for row in rows for name in row})
    figures = {name: mean_of([row[name] for row in rows if name in row]) for name in names}
    report = {"n": len(rows) + len(refused), "split": given.split, "refused": len(refused)}
    print(write_report(given.out, report | {"reasons": [row["refused"] for row in refused], "figures": figures}))


def _case(case: Case, pipe: Figure3DPipeline, folder: Path) -> dict:
    """The figures of one person and garment, or why there is none; writes the sheet of eight views."""
    started = time.process_time()
    try:
        made = pipe(load_image(case.person), load_image(case.garment, palest=PALEST), case.kind)
    except DataError as error:
        return {"refused": str(error)}
    figure, seconds = made.figure, time.process_time() - started
    contact_sheet(Turntable(figure)).save(folder / f"{case.key}.png")
    made.worn.save(folder / f"{case.key}-worn.png")
    kept = ("front iou", "front psnr", "inner psnr", "open edges", "turned", "litres", "garment hidden")
    return {name: figure.report[name] for name in kept} | {
        "seconds": seconds, "back lab": _back(figure), "faces": float(sum(len(layer.faces) for layer in figure.layers)),
    }  # fmt: skip


def _back(figure: Figure) -> float:
    """How far the garments' mean Lab colour behind is from that in front."""
    bare, worn, found = unlit(figure), [at for at, one in enumerate(figure.layers) if one.garment], []
    for azimuth in (0, 180):
        view = render(bare, _camera(figure, azimuth), size=(384, 288))
        mask = np.isin(view.layer[1::2, 1::2], worn)
        if not mask.any():
            return float("nan")
        found.append(np.asarray(to_lab((view.image[mask] * 255).astype(np.uint8)[:, None])).reshape(-1, 3).mean(0))
    return float(np.linalg.norm(found[0] - found[1]))


def _camera(figure: Figure, azimuth: float) -> Camera:
    return Camera(azimuth, 3.0, 5.2, (0.0, 0.5 * figure.height, 0.0), 1.25 * figure.height)


if __name__ == "__main__":
    main()
