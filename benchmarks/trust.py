"""Fit the trust score to marks that were given by eye: weights of one sign, and the threshold.

    python benchmarks/trust.py --pictures FOLDER/train --sheets SHEETS --name train

Pictures and marks are those of `believable.py`, of people that no figure is measured on. Facts only ever lower the
score. Each result is judged by a fit to the others; the threshold is chosen by looking at what each one lets through.
Print what goes into `personagen/tryon/trust.py`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from believable import marks
from report import RESULTS, write_report
from torch import Tensor

WORTH = {"believable": 1.0, "flaw": 0.55, "torn": 0.0}
"""What a mark is worth."""
FOLDS, PENALTY = 12, 0.05
"""Parts of the results that are judged by a fit to the others, and the weight of large weights."""


def fitted(facts: Tensor, worth: Tensor, *, steps: int = 600) -> tuple[Tensor, Tensor]:
    """Fit weights (k,), none below 0, and a bias () to facts (n, k) and what the results are worth (n,)."""
    scale = facts.std(0).clamp(min=1e-3)
    raw, bias = torch.full((facts.shape[1],), -2.0, requires_grad=True), torch.zeros((), requires_grad=True)
    optimiser = torch.optim.Adam([raw, bias], lr=0.05)
    for _ in range(steps):
        weights = F.softplus(raw)
        logits = bias - (facts / scale) @ weights
        loss = F.binary_cross_entropy_with_logits(logits, worth) + PENALTY * weights.square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return (F.softplus(raw) / scale).detach(), bias.detach()


def apart(score: np.ndarray, good: np.ndarray) -> float:
    """How often a good result has the higher score of two (area under the curve)."""
    one, other = score[good][:, None], score[~good][None]
    return float(((one > other) + 0.5 * (one == other)).mean()) if one.size and other.size else float("nan")


def held_out(facts: Tensor, worth: Tensor) -> np.ndarray:
    """Score each result (n,) by a fit to the other parts."""
    score, part = np.zeros(len(worth)), np.arange(len(worth)) % FOLDS
    for fold in range(FOLDS):
        out = torch.from_numpy(part == fold)
        weights, bias = fitted(facts[~out], worth[~out])
        score[part == fold] = torch.sigmoid(bias - facts[out] @ weights).numpy()
    return score


def thresholds(score: np.ndarray, given: list[str]) -> list[dict[str, float]]:
    """What each threshold lets through, from the highest score down."""
    found, order = [], np.argsort(-score)
    for count in range(5, len(order) + 1):
        through = [given[at] for at in order[:count]]
        found.append({"threshold": round(float(score[order[count - 1]]), 3), "through": count,
                      "believable": round(through.count("believable") / count, 3),
                      "torn": round(through.count("torn") / count, 3)})  # fmt: skip
    return found


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--sheets", type=Path, required=True)
    parser.add_argument("--without", type=lambda text: set(text.split(",")), default=set(), help="facts left out")
    parser.add_argument("--name")
    args = parser.parse_args()
    torch.manual_seed(0)
    of = {row["key"]: row for row in json.loads((args.pictures / "cases.json").read_text())}
    marked = [
        one
        for one in marks(argparse.Namespace(sheets=args.sheets, pictures=None))["marks"]
        if one["mark"] in WORTH and "facts" in of[one["key"]]
    ]
    marked = [one for one in marked if of[one["key"]]["facts"].get("uncut", 0) == 0]
    names = [name for name in of[marked[0]["key"]]["facts"] if name not in args.without]
    facts = torch.tensor([[of[one["key"]]["facts"][name] for name in names] for one in marked])
    worth = torch.tensor([WORTH[one["mark"]] for one in marked])
    weights, bias = fitted(facts, worth)
    given, score = [one["mark"] for one in marked], held_out(facts, worth)
    kept = {name: round(float(weight), 2) for name, weight in zip(names, weights) if weight > 0.05}
    result: dict[str, Any] = {
        "n": len(marked), "marks": {mark: given.count(mark) for mark in WORTH},
        "believable_against_others": round(apart(score, np.array(given) == "believable"), 3),
        "others_against_torn": round(apart(score, np.array(given) != "torn"), 3),
        "bias": round(float(bias), 3), "weights": kept, "lets_through": thresholds(score, given),
    }  # fmt: skip
    print(write_report(RESULTS / f"trust-{args.name}.json", result) if args.name else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
