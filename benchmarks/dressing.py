"""Measure how garments are laid on people by the truth: the same person rendered in the very garment.

    python benchmarks/dressing.py --n 64                     # first guesses (`first_guess`) of held-out sittings
    python benchmarks/dressing.py --n 64 --whole true        # the whole way: with the network's light and shade
    python benchmarks/dressing.py --n 16 --seed 0 --sheets FOLDER   # others, to look at

Each figure stands beside that of the same result blurred and of the same result with its tiles shuffled in the mask.
Writes ``benchmarks/results/dressing.json``; renders are kept in ``--renders``.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from report import RESULTS, mean_of, write_report

from personagen.atelier.agnostic import agnostic_mask
from personagen.atelier.corpus import HELDOUT_SEED, Sitting, random_sitting
from personagen.atelier.garment import GarmentSpec, random_garment
from personagen.atelier.render import LABEL, Render, render_garment, render_person
from personagen.corpora.renders import body_of_render
from personagen.metrics.fidelity import ssim_in_box
from personagen.person.body import Body
from personagen.person.parts import Part
from personagen.tryon.dress import Piece, dress
from personagen.vocabulary import KINDS, REGION
from personagen.warping.first_guess import first_guess

SIZE = (512, 384)
CHANGED = 24.0
"""Mean difference of colours, of 255, from which two pixels are told apart."""
RIGHT = 26.0
"""Largest mean difference of colours of skin that is right."""
TILE = 16
"""Side in pixels of the tiles that are shuffled."""
FIGURES = ("ssim", "colour_error", "old_colour", "skin_right", "silhouette_iou")


@dataclass(frozen=True)
class Case:
    """A person before and in the very garment, (H, W, 3) and labels (H, W), the garment's picture, and the body."""

    before: np.ndarray
    truth: np.ndarray
    labels: np.ndarray
    garment: np.ndarray
    body: Body
    kind: str


def case_of(seed: int, kind: str, renders: Path | None) -> Case:
    """Draw a case, or read it from where it is kept."""
    path = None if renders is None else renders / f"{seed}-{kind}.npz"
    if path is None or not path.is_file():
        arrays = _drawn(seed, kind)
        if path is None:
            return _case(arrays, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, allow_pickle=False, **arrays)
    with np.load(path) as found:
        return _case(dict(found), kind)


def _case(arrays: dict[str, np.ndarray], kind: str) -> Case:
    mask = arrays["mask"]
    body = Body(arrays["parts"], arrays["joints"], known=lambda other: mask if other == kind else None)
    return Case(arrays["before"], arrays["truth"], arrays["labels"], arrays["garment"], body, kind)


def _drawn(seed: int, kind: str) -> dict[str, np.ndarray]:
    sitting, rng = random_sitting(seed), np.random.default_rng(seed + 7)
    garment = random_garment(rng, kind)
    worn = sitting.outfit
    if garment.region != "dress" and any(one.region == "dress" for one in worn):
        kinds = ("t-shirt", "shirt", "sweater", "jacket"), ("skirt", "trousers", "shorts")
        worn = tuple(random_garment(rng, str(rng.choice(several))) for several in kinds)
    after = (garment,) if garment.region == "dress" else (*(g for g in worn if g.region != garment.region), garment)
    before, truth = _render(sitting, worn), _render(sitting, after)
    body = body_of_render(before, sitting.body, sitting.camera)
    assert body.joints is not None
    mask = agnostic_mask(before, garment.region, body=sitting.body, camera=sitting.camera)
    return {"before": before.image, "truth": truth.image, "labels": truth.labels, "parts": body.parts,
            "joints": body.joints, "garment": render_garment(garment, size=SIZE), "mask": mask}  # fmt: skip


def _render(sitting: Sitting, outfit: tuple[GarmentSpec, ...]) -> Render:
    return render_person(sitting.body, outfit, sitting.scene, size=SIZE, camera=sitting.camera, seed=sitting.seed)


def figures(case: Case, result: np.ndarray, covered: np.ndarray) -> dict[str, float]:
    """Compare a result (H, W, 3), whose garment covers (H, W), with the truth inside the mask."""
    mask = case.body.mask(case.kind)
    tensor = lambda picture: torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
    away = lambda other: np.abs(result.astype(float) - other).mean(-1)
    changed = np.abs(case.before.astype(float) - case.truth).mean(-1) > CHANGED
    changed &= np.isin(case.body.parts, (Part.UPPER, Part.LOWER, Part.DRESS, Part.OUTER))
    name = "outer" if case.kind == "jacket" else REGION[case.kind]
    cloth = (case.labels == LABEL[name]) & mask
    skin = mask & np.isin(case.labels, [LABEL[part] for part in ("face", "arms", "legs")])
    shown = mask[None, None].astype(np.float32)
    covered = covered & mask
    return {
        "ssim": float(ssim_in_box(tensor(result), tensor(case.truth), torch.from_numpy(shown))),
        "colour_error": float(away(case.truth)[mask].mean() / 255),
        "old_colour": float((changed & (away(case.before) < CHANGED / 2))[mask].mean()),
        "skin_right": float((away(case.truth)[skin] < RIGHT).mean()) if skin.any() else float("nan"),
        "silhouette_iou": float((covered & cloth).sum() / max(1, (covered | cloth).sum())),
    }


def spoilt(case: Case, result: np.ndarray) -> dict[str, np.ndarray]:
    """The result blurred, and with the tiles of its mask's box shuffled, inside the mask."""
    mask, picture = case.body.mask(case.kind), Image.fromarray(result)
    blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(SIZE[0] / 50)))
    tiles = result.reshape(SIZE[0] // TILE, TILE, SIZE[1] // TILE, TILE, 3).swapaxes(1, 2).copy()
    at = np.argwhere(mask.reshape(SIZE[0] // TILE, TILE, SIZE[1] // TILE, TILE).any((1, 3)))
    order = np.random.default_rng(0).permutation(len(at))
    tiles[at[:, 0], at[:, 1]] = tiles[at[order, 0], at[order, 1]]
    shuffled = tiles.swapaxes(1, 2).reshape(result.shape)
    return {
        name: np.where(mask[..., None], other, result) for name, other in (("blurred", blurred), ("shuffled", shuffled))
    }


def dressed(case: Case, pipe, seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """The person dressed (H, W, 3), what the garment covers (H, W), and the CPU-seconds of the first guess."""
    photo, garment, mask = Image.fromarray(case.before), Image.fromarray(case.garment), case.body.mask(case.kind)
    start = time.process_time()
    guess = first_guess(photo, garment, case.kind, mask, body=case.body, kept=np.zeros_like(mask)).picture
    seconds = time.process_time() - start
    covered, result = np.asarray(guess.getchannel("A")) > 127, guess.convert("RGB")
    if pipe is not None:
        settings = {"num_inference_steps": 8, "guidance_scale": 1.5}
        pieces = [Piece(garment, case.kind)]
        result = dress(pipe, photo, case.body, pieces, generator=torch.Generator().manual_seed(seed), **settings)
    return np.asarray(result), covered, seconds


def measure(args: argparse.Namespace) -> dict:
    """Dress people and average the figures, over all and for each kind."""
    pipe = None
    if args.whole:
        from personagen.models import load_tryon

        pipe = load_tryon("embedded")
        pipe.set_progress_bar_config(disable=True)
    found: dict[str, list[dict[str, float]]] = {"result": [], "blurred": [], "shuffled": []}
    kinds, seconds, columns = [], [], []
    for at in range(args.n):
        kind = args.kinds[at % len(args.kinds)]
        case = case_of(args.seed + at, kind, args.renders)
        result, covered, spent = dressed(case, pipe, at)
        kinds.append(kind)
        seconds.append(spent)
        for name, picture in {"result": result, **spoilt(case, result)}.items():
            found[name].append(figures(case, picture, covered))
        columns.append(np.concatenate([case.before, case.garment, result, case.truth]))
    if args.sheets is not None:
        args.sheets.mkdir(parents=True, exist_ok=True)
        for first in range(0, args.n, 4):
            Image.fromarray(np.concatenate(columns[first : first + 4], 1)).save(args.sheets / f"{first:03d}.png")
    mean = lambda rows, key: mean_of([row[key] for row in rows if np.isfinite(row[key])])
    every = {name: {key: mean(rows, key) for key in FIGURES} for name, rows in found.items()}
    by_kind = {kind: {key: mean([row for row, of in zip(found["result"], kinds) if of == kind], key) for key in FIGURES}
               for kind in args.kinds}  # fmt: skip
    return {"n": args.n, "whole": args.whole, "seed": args.seed, **every, "kinds": by_kind,
            "cpu_seconds_a_guess": round(float(np.median(seconds)), 2)}  # fmt: skip


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=64)
    parser.add_argument("--seed", type=int, default=HELDOUT_SEED + 90_000, help="of the first sitting")
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS))
    parser.add_argument("--whole", type=json.loads, default=False)
    parser.add_argument("--renders", type=Path, help="folder where renders are kept")
    parser.add_argument("--sheets", type=Path, help="folder for sheets: before, garment, result, truth")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(write_report(args.out / "dressing.json", measure(args)))


if __name__ == "__main__":
    main()
