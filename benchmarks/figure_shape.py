"""Measure what a prior's normal maps can give a figure's shape at most: the prior is the truth.

    python benchmarks/figure_shape.py --n 10

Held-out people of the atelier, as in ``benchmarks/figure.py``. The true normals of the views from behind and from the
sides are given where the front view does not show the surface (`unseen`), or from all sides and in front (`around`);
beside it normals that know nothing: the figure's own, and these with noise a pixel (`grain`, standard deviation .5) or
in patches of 16 pixels, 8 cm (`patches`, .3). Looked at are IoU of silhouettes, the mean angle between normals where
the front view shows nothing, what a fit calls `explained`, how far it moves what is seen (mm), the share of the front's
pixels that change, and edges that do not close. Each sitting is written down when it is done, into --work. Writes
``benchmarks/results/figure-shape.json``.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from report import RESULTS, mean_of, write_json, write_report

from personagen.atelier.corpus import HELDOUT_SEED, random_sitting
from personagen.atelier.trace import Camera
from personagen.figure.build import build_figure
from personagen.figure.evaluate import SIZE, Truth, as_tall, dressed_of, measured, moved_onto, true_view, truth_of
from personagen.figure.evaluate import look as look_as
from personagen.figure.geometry import fit_normals
from personagen.figure.mesh import Figure, unlit
from personagen.figure.nets import open_edges
from personagen.figure.normals import EXPLAINED
from personagen.figure.raster import render
from personagen.figure.refine import VIEWS
from personagen.figure.rig import welded
from personagen.figure.shell import Goal, Shell
from personagen.figure.texels import STRAIGHT, look, unseen
from personagen.person.parser import load_parser
from recsys.errors import DataError

FRONT = (512, 384)
SYSTEMS = ("unseen", "around", "own", "grain", "patches")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10)
    parser.add_argument("--seed", type=int, default=HELDOUT_SEED, help="first sitting; below 1,000,003: not held out")
    parser.add_argument("--out", type=Path, default=RESULTS / "figure-shape.json")
    parser.add_argument("--work", type=Path, default=Path("runs/figure-shape"), help="folder of what is done")
    settings = parser.parse_args()
    rows, refused, read = [], [], load_parser()
    for seed in range(settings.seed, settings.seed + settings.n):
        path = settings.work / f"{seed}.json"
        if not path.is_file():
            settings.work.mkdir(parents=True, exist_ok=True)
            write_json(path, _case(seed, read))
        row = json.loads(path.read_text())
        refused.extend([f"{seed}: {row['refused']}"] if "refused" in row else [])
        rows.extend([] if "refused" in row else [row])
        print(seed, row, flush=True)
    figures = {name: mean_of([row[name] for row in rows]) for name in sorted(rows[0])}
    report = {"n": len(rows), "seed": settings.seed, "size": SIZE, "refused": refused, "least explained": EXPLAINED}
    print(write_report(settings.out, report | {"figures": figures}))


def _case(seed: int, read) -> dict[str, float | str]:
    """The figures of one sitting, or why it was refused."""
    truth = truth_of(random_sitting(seed))
    try:
        dressed, shape = dressed_of(truth, read)
    except DataError as error:
        return {"refused": str(error)}
    figure = as_tall(build_figure(dressed, shape=shape), truth)
    wanted = _wanted(figure, truth, seed)
    row: dict[str, float | str] = {}
    row |= _measured("as it is", figure, figure, truth, wanted["unseen"])
    for name, goals in wanted.items():
        started = time.process_time()
        fit = fit_normals(figure, goals)
        row |= {f"{name} seconds": time.process_time() - started, f"{name} explained": fit.explained}
        row |= {f"{name} moved": 1000 * fit.moved, f"{name} limited": fit.limited}
        row |= _measured(name, fit.figure, figure, truth, wanted["unseen"])
    return row


def _measured(name: str, figure: Figure, before: Figure, truth: Truth, unseen_true: Sequence[Goal]) -> dict[str, float]:
    """Silhouettes, angles to the true normals, what changed in front, and open edges."""
    found = {what: value for what, value in measured(figure, truth, plain=True).items() if what.startswith("iou")}
    found["angle"] = _angle(figure, unseen_true)
    camera = look(before, 0, FRONT).camera  # the same for both: it is set so that it sees all of a figure
    shown = [render(unlit(one), camera, size=FRONT) for one in (before, figure)]
    found["front changed"] = float((np.abs(shown[0].image - shown[1].image).max(2) > 2 / 255).mean())
    found["layers swapped"] = float((shown[0].layer != shown[1].layer).mean())
    faces = [welded(layer.vertices, layer.faces)[0][layer.faces] for layer in figure.layers]
    solid = [one[(one != np.roll(one, 1, 1)).all(1)] for one in faces]
    found["open edges"] = float(sum(open_edges(one) for one in solid))
    return {f"{name} {what}": value for what, value in found.items()}


def _angle(figure: Figure, goals: Sequence[Goal]) -> float:
    """The mean angle in degrees between a figure's normals and goals', where these weigh."""
    shell, angles = Shell.of(figure), []
    for goal in goals:
        sight = shell.seen(goal)
        some = (sight.seen.face >= 0) & (goal.weight > 0)
        angles.append(np.degrees(np.arccos((sight.normals * goal.normals).sum(2)[some].clip(-1, 1))))
    return float(np.concatenate(angles).mean())


def _wanted(figure: Figure, truth: Truth, seed: int) -> dict[str, list[Goal]]:
    """What each system is given."""
    shell, rng = Shell.of(figure), np.random.default_rng(seed)
    kept = shell.straight()[:, None]
    wanted: dict[str, list[Goal]] = {name: [] for name in SYSTEMS}
    for degrees in (0, *VIEWS):
        goal = _true_goal(figure, truth, degrees)
        wanted["around"].append(goal)
        if degrees:
            sight = shell.seen(goal)
            free = unseen(sight.seen.value(kept, shell.faces)[..., 0]) * (sight.cosine > STRAIGHT)
            wanted["unseen"].append(replace(goal, weight=goal.weight * free))
            own = replace(goal, normals=sight.normals, weight=free)
            wanted["own"].append(own)
            wanted["grain"].append(_noisy(own, rng, 0.5, 1))
            wanted["patches"].append(_noisy(own, rng, 0.3, 16))
    return wanted


def _true_goal(figure: Figure, truth: Truth, degrees: int) -> Goal:
    """The true normals of a view, laid on the figure as silhouettes are when they are compared."""
    true, at = true_view(truth.sitting, degrees), truth.sitting.camera
    camera = Camera(degrees, at.elevation, at.distance, at.target, at.extent)
    mask, person = look_as(figure, truth, degrees).mask, true.labels > 0
    turn = np.radians(at.azimuth)  # the person of the sitting stands turned, the figure does not
    back = np.array([[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]])
    normals = moved_onto(true.normals, person, mask) @ back.T
    normals /= np.linalg.norm(normals, axis=2, keepdims=True).clip(1e-6)
    return Goal(camera, normals, (moved_onto(person, person, mask) & mask).astype(float))


def _noisy(goal: Goal, rng: np.random.Generator, deviation: float, patch: int) -> Goal:
    """Normals with noise of square patches, so many pixels a side."""
    height, width, _ = goal.normals.shape
    noise = deviation * rng.standard_normal((-(-height // patch), -(-width // patch), 3))
    found = goal.normals + noise.repeat(patch, 0).repeat(patch, 1)[:height, :width]
    return replace(goal, normals=found / np.linalg.norm(found, axis=2, keepdims=True).clip(1e-6))


if __name__ == "__main__":
    main()
