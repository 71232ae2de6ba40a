"""Can painted pictures be told from true ones? A table for eyes, and a small classifier in their place.

    python benchmarks/blind.py make --out blind              # 40 painted and 40 true pictures, mixed, and a form
    python benchmarks/blind.py score blind/form.csv          # what a person has filled in
    python benchmarks/blind.py classify                      # benchmarks/results/blind.json

`make` writes sheet.png with numbered pictures, form.csv (number, answer: t for true, p for painted) and key.json, which
whoever looks does not open. The classifier is trained on other pictures, as many of each kind; beside its accuracy
stands that for true pictures against other true ones (it can only guess) and for blurred ones.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from controls import blurred
from PIL import Image, ImageDraw
from report import RESULTS, write_report
from sheets import as_bytes, tensor
from sittings import SIZE, render_sitting
from torch import Tensor

from personagen.atelier.captions import person_caption
from personagen.atelier.corpus import HELDOUT_SEED, random_sitting
from personagen.files import write_text
from personagen.models import load_text2image
from recsys.errors import DataError

FIRST = HELDOUT_SEED + 120_000
"""Sittings from here on are for this alone."""
SHOWN = 40
COLUMNS = 10


def true_pictures(first: int, count: int) -> np.ndarray:
    """Render held-out sittings: (N, H, W, 3) uint8."""
    sittings = [random_sitting(FIRST + first + i) for i in range(count)]
    return np.stack([render_sitting(s, s.outfit).image for s in sittings])


def painted_pictures(first: int, count: int, args: argparse.Namespace) -> np.ndarray:
    """Paint the captions of held-out sittings: (N, H, W, 3) uint8."""
    pipe: Any = load_text2image(args.model)
    pipe.set_progress_bar_config(disable=True)
    sittings, painted = [random_sitting(FIRST + first + i) for i in range(count)], []
    for at in range(0, count, 8):
        part = [person_caption(s.outfit, s.scene) for s in sittings[at : at + 8]]
        noise = [torch.Generator().manual_seed(first + at + j) for j in range(len(part))]
        out = pipe(part, num_inference_steps=args.steps, guidance_scale=args.guidance, output_type="np", height=SIZE[0],
                   width=SIZE[1], generator=noise)  # fmt: skip
        painted.append(as_bytes(out.images))
    return np.concatenate(painted)


def make(args: argparse.Namespace) -> str:
    """Write sheet, form and key."""
    pictures = np.concatenate([true_pictures(0, SHOWN), painted_pictures(1_000, SHOWN, args)])
    order = np.random.default_rng(args.seed).permutation(2 * SHOWN)
    args.out.mkdir(parents=True, exist_ok=True)
    tall, wide = SIZE[0] + 16, SIZE[1] + 8
    sheet = Image.new("RGB", (COLUMNS * wide, 2 * SHOWN // COLUMNS * tall), "white")
    for number, which in enumerate(order):
        left, top = number % COLUMNS * wide, number // COLUMNS * tall
        sheet.paste(Image.fromarray(pictures[which]), (left, top + 14))
        ImageDraw.Draw(sheet).text((left + 2, top + 1), str(number + 1), fill="black")
    sheet.save(args.out / "sheet.png")
    write_text(args.out / "form.csv", "number,answer\n" + "".join(f"{n + 1},\n" for n in range(2 * SHOWN)))
    write_text(args.out / "key.json", json.dumps({str(n + 1): "t" if w < SHOWN else "p" for n, w in enumerate(order)}))
    return f"look at {args.out / 'sheet.png'} and fill in {args.out / 'form.csv'}: t for true, p for painted"


def score(args: argparse.Namespace) -> str:
    """How many answers of a form are right, with a 95 % interval.

    Raises:
        DataError: an answer is missing or neither t nor p.
    """
    key = json.loads((args.form.parent / "key.json").read_text())
    with args.form.open(newline="", encoding="utf-8-sig") as lines:
        answers = {row["number"].strip(): row["answer"].strip().lower() for row in csv.DictReader(lines)}
    wrong = sorted((n for n in key if answers.get(n) not in ("t", "p")), key=int)
    if wrong:
        raise DataError(f"{args.form} has no answer t or p for number {', '.join(wrong[:5])}; fill it in")
    right = sum(answers[n] == key[n] for n in key)
    low, high = wilson(right, len(key))
    return (
        f"right: {right} of {len(key)} ({right / len(key):.2f}, 95 % interval {low:.2f} to {high:.2f}); guessing: .50"
    )


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a share (Journal of the American Statistical Association 22, 1927)."""
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return middle - half, middle + half


def classify(args: argparse.Namespace) -> str:
    """Train a classifier on pictures of both kinds and count how many others it tells."""
    start, n = time.process_time(), args.train
    learn, test = true_pictures(2_000, n), true_pictures(0, SHOWN)
    kinds = {
        "painted": (painted_pictures(10_000, n, args), painted_pictures(1_000, SHOWN, args)),
        "blurred": (blurred(true_pictures(20_000, n)), blurred(true_pictures(1_000, SHOWN))),
        "other true": (true_pictures(30_000, n), true_pictures(3_000, SHOWN)),
    }
    found = {}
    for kind, (lesson, exam) in kinds.items():
        told = tell_apart(np.concatenate([learn, lesson]), np.concatenate([test, exam]))
        low, high = wilson(told, 2 * SHOWN)
        found[kind] = {"accuracy": round(told / (2 * SHOWN), 4), "interval": [round(low, 4), round(high, 4)]}
    report = {**found, "trained_on": 2 * n, "tested_on": 2 * SHOWN, "steps": args.steps, "guidance": args.guidance,
              "cpu_seconds": round(time.process_time() - start)}  # fmt: skip
    return write_report(RESULTS / "blind.json", report)


def tell_apart(lesson: np.ndarray, exam: np.ndarray) -> int:
    """How many pictures of `exam` a logistic regression tells that was fitted to `lesson`; of both the first half is
    true. It sees how much detail there is at three scales: a few convolutions, tried before, told blurred pictures and
    no painted ones, which any eye tells."""
    seen, asked = details(tensor(lesson)), details(tensor(exam))
    mean, spread = seen.mean(0), seen.std(0).clamp(min=1e-6)
    true = (torch.arange(len(seen)) < len(seen) // 2).float()
    weights = torch.zeros(seen.shape[1] + 1, requires_grad=True)
    logits = lambda x: ((x - mean) / spread) @ weights[:-1] + weights[-1]
    optimiser = torch.optim.LBFGS([weights], max_iter=200)

    def error() -> Tensor:
        optimiser.zero_grad()
        loss = F.binary_cross_entropy_with_logits(logits(seen), true) + 1e-3 * weights.square().sum()
        loss.backward()
        return loss

    optimiser.step(error)
    answers = logits(asked).detach() > 0
    return int((answers == (torch.arange(len(asked)) < len(asked) // 2)).sum())


def details(x: Tensor) -> Tensor:
    """Of pictures (N, 3, H, W): mean, spread, and the 90th and 99th percentile of what differs from its neighbours, by
    channel, at full, half and a quarter of the size: (N, 36)."""
    found = []
    for _ in range(3):
        fine = (x - F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)).abs()
        found += [fine.mean((2, 3)), fine.std((2, 3)), *fine.flatten(2).quantile(torch.tensor([0.9, 0.99]), 2)]
        x = F.avg_pool2d(x, 2)
    return torch.cat(found, 1).log1p()


def main() -> None:
    """Make, score or classify, as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "score", "classify"))
    parser.add_argument("form", type=Path, nargs="?", help="for score: the form that was filled in")
    parser.add_argument("--out", type=Path, default=Path("runs/blind"))
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--train", type=int, default=200, help="pictures of each kind that the classifier learns from")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == "score" and args.form is None:
        parser.error("score needs the form: benchmarks/blind.py score FOLDER/form.csv")
    print({"make": make, "score": score, "classify": classify}[args.what](args))


if __name__ == "__main__":
    main()
