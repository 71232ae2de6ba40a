"""Does the embedded recommender find what simulated shoppers take next?

    python benchmarks/shoppers.py

1,000 shoppers that no model has seen: is the held-out item among the first ten, and are kind, colour, pattern and scene
of the first recommended item those of the item taken? Beside it popularity, counting the words of a shopper's own
history, and the true taste, which nothing can beat by more than luck. Writes benchmarks/results/recsys-atelier.json.
"""

import sys
from typing import Any

import numpy as np
import torch
from report import RESULTS, write_report

from personagen.atelier.shoppers import ASPECTS, base_popularity, catalogue, simulate
from personagen.embedded import EMBEDDED
from recsys import pretrained
from recsys.data.splits import pad
from recsys.evaluate import intervals

SHOPPERS, LEARNT, K = 1000, 3000, 10
SMOOTHING = 0.5


def main() -> int:
    """Measure and write."""
    torch.set_num_threads(1)
    items = catalogue(300, seed=0)
    shoppers = simulate(SHOPPERS, seed=5, items=items)
    words = {a: np.array([ASPECTS[a].index(g.attributes[a]) for g in items]) for a in ASPECTS}
    histories = [np.asarray(shopper.history, np.int64) for shopper in shoppers]
    targets = np.array([shopper.target for shopper in shoppers])
    model = pretrained.load(EMBEDDED["recommender"])
    ranked = model.recommend(pad(histories), K, generator=torch.Generator().manual_seed(0)).items.numpy()
    taken = np.bincount(
        np.concatenate([shopper.history for shopper in simulate(LEARNT, seed=3, items=items)]), minlength=301
    )
    liked = [sum(np.array([s.taste[a][w] for w in ASPECTS[a]])[words[a]] for a in ASPECTS) for s in shoppers]
    taste = np.stack(liked) + base_popularity(len(items))  # (S, 300)
    counted = np.stack([_own_words(history, words) for history in histories])
    found = {
        "popularity": _figures(_top(np.tile(taken[1:], (SHOPPERS, 1)), histories), targets, words),
        "counting words of the own history": _figures(_top(counted, histories), targets, words),
        "embedded recommender": _figures(ranked, targets, words),
        "true taste": _figures(_top(taste, histories), targets, words),
    }
    write_report(RESULTS / "recsys-atelier.json", {"benchmark": "shoppers", "shoppers": SHOPPERS, "results": found})
    for name, figures in found.items():
        print(f"{name:36}", {key: round(value["mean"], 3) for key, value in figures.items()})
    return 0


def _own_words(history: np.ndarray, words: dict[str, np.ndarray]) -> np.ndarray:
    """Sum over aspects the log of how often an item's word was in the history: (300,)."""
    score = np.zeros(len(next(iter(words.values()))))
    for aspect, of in words.items():
        counts = np.bincount(of[history - 1], minlength=len(ASPECTS[aspect])) + SMOOTHING
        score += np.log(counts / counts.sum())[of]
    return score


def _top(scores: np.ndarray, histories: list[np.ndarray]) -> np.ndarray:
    """The K best unseen items of (S, 300) scores, ids from 1."""
    scores = scores.astype(float).copy()
    for row, history in zip(scores, histories, strict=True):
        row[history - 1] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :K] + 1


def _figures(ranked: np.ndarray, targets: np.ndarray, words: dict[str, np.ndarray]) -> dict[str, Any]:
    values = {f"recall@{K}": (ranked == targets[:, None]).any(1).astype(float)}
    values |= {f"first item's {a}": (of[ranked[:, 0] - 1] == of[targets - 1]).astype(float) for a, of in words.items()}
    bounds = intervals(values)
    return {name: {"mean": float(value.mean()), "interval_95": bounds[name]} for name, value in values.items()}


if __name__ == "__main__":
    sys.exit(main())
