"""Recommend items that nobody took yet: a tenth of the items is kept out of training and comes in by its text alone.

    python benchmarks/coldstart.py --data amazon-beauty --models countdiff sasrec

Test cases whose target is a new item are ranked over all items, old and new, seen items masked; beside the models stand
chance and the texts alone (likeness to the recent items). One JSON in benchmarks/results.
"""

import argparse
import json
import sys
from typing import Any

import numpy as np
import recommend
import torch
from report import DATA, RESULTS, write_report
from rows import LARGE, STACKED
from torch import Tensor

from recsys.counts.evidence import Discount, spread_back
from recsys.counts.texts import text_features, text_neighbours
from recsys.counts.transitions import Transitions, TransitionTable
from recsys.data import datasets
from recsys.data.splits import Split
from recsys.errors import DataError
from recsys.evaluate import Report, evaluate
from recsys.models import MODELS
from recsys.ranking import rank_in_chunks
from recsys.train import TrainConfig, train
from recsys.types import PAD, Cases, Ranking

SETTINGS: dict[str, dict[str, Any]] = {
    "countdiff": {"layers": 1, "dropout": 0.1, "id_dropout": 0.5, "max_softmax": 2000},
    "sasrec": {"layers": 1, "dropout": 0.3, "id_dropout": 0.5, "max_softmax": 2000},
}
PLANS: dict[str, dict[str, Any]] = {"countdiff": STACKED[1], "sasrec": LARGE}
SHARE = 0.1


class Alike:
    """Rank by likeness to the recent items: what the texts alone can do."""

    def __init__(self, neighbours: Transitions, n_items: int):
        self.n_items, self.table = n_items, TransitionTable(n_items)
        self.table.set(neighbours)

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank k items for each history (B, L) by the discounted likeness to its last ten items."""

        def score(history: Tensor, rows: Tensor) -> Tensor:
            scores = spread_back(self.table, history, discount=Discount(0.3, 10))
            scores[:, PAD] = -torch.inf
            return scores

        return rank_in_chunks(score, history, k, exclude_seen=exclude_seen)


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="amazon-beauty", choices=datasets.names())
    parser.add_argument("--models", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", default=DATA)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warm, cold, old, texts = held_out(datasets.load(args.data, root=args.root), seed=args.seed)
    n = len(texts) - 1
    features = text_features(texts, dimensions=recommend.TEXT_DIMENSIONS)
    neighbours = text_neighbours(texts)
    found: dict[str, Any] = {
        "chance": {"recall@10 of new items": 10 / n},
        "texts alone": _figures(Alike(neighbours, n), cold, old, args.seed),
    }
    place = RESULTS / f"recsys-{args.data}-coldstart.json"
    before = json.loads(place.read_text()) if place.exists() else {"results": {}, "settings": {}}
    for name in args.models:
        grown = _trained(name, warm, features, neighbours, args.seed)
        found[name] = _figures(grown, cold, old, args.seed)
        print(name, found[name], flush=True)
    write_report(
        place,
        {
            "benchmark": "recsys-coldstart",
            "protocol": "a tenth of the items left out of training; full ranking of old and new items, seen masked",
            "items": n,
            "new_items": n - warm.n_items,
            "cases": {"new": len(cold), "old": len(old)},
            "settings": before["settings"] | {name: SETTINGS[name] for name in args.models},
            "seed": args.seed,
            "results": before["results"] | found,  # models that were measured earlier are kept
        },
    )
    return 0


def held_out(split: Split, *, seed: int) -> tuple[Split, Cases, Cases, list[str]]:
    """Keep a tenth of the items out: a split over the others, test cases of new and of old targets, and all texts.

    Old items are 1..m, new ones m+1..n. Histories hold no new item.
    """
    if split.item_names is None:
        raise DataError("this data set has no texts; a new item could not be told from any other.")
    order = np.random.default_rng(seed).permutation(np.arange(1, split.n_items + 1))
    m = round(split.n_items * (1 - SHARE))
    number = np.zeros(split.n_items + 1, np.int64)
    number[order] = np.arange(1, split.n_items + 1)
    texts = ["", *(split.item_names[item] for item in order)]

    def old(items: np.ndarray) -> np.ndarray:
        items = number[items]
        return items[items <= m]

    def cases(part: Cases) -> tuple[Cases, np.ndarray]:
        kept = Cases([old(history) for history in part.histories], [number[target] for target in part.targets])
        return kept, np.array([bool(target[0] > m) for target in kept.targets])

    sequences = [sequence for sequence in map(old, split.train) if len(sequence)]
    (valid, valid_new), (test, test_new) = cases(split.valid), cases(split.test)
    filled = np.array([len(history) > 0 for history in test.histories])
    warm_valid = valid.take(np.flatnonzero(~valid_new))
    cold, known = test.take(np.flatnonzero(test_new & filled)), test.take(np.flatnonzero(~test_new & filled))
    return Split(sequences, warm_valid, known, m, tuple(texts[: m + 1])), cold, known, texts


def _trained(name: str, warm: Split, features: Tensor, neighbours: Transitions, seed: int) -> Any:
    """Train on the old items and let the new ones in."""
    build, config = MODELS[name]
    m, plan = warm.n_items, TrainConfig(seed=seed, **PLANS[name])
    torch.manual_seed(seed)
    own = config(n_items=m, items="both", n_features=features.shape[1], **SETTINGS[name])  # type: ignore[call-arg]
    model: Any = build(own, features=features[: m + 1])  # type: ignore[call-arg]
    if name == "countdiff":
        model.set_neighbours(text_neighbours(warm.item_names or ()))
    for step in train(model, warm, plan):
        if step.metrics:
            print(f"  epoch {step.epoch:.0f} {step.metrics[recommend.CHOSEN_BY]:.4f}", flush=True)
    if name == "countdiff":
        return model.with_items(features[m + 1 :], neighbours=neighbours)
    return model.with_items(features[m + 1 :])


def _figures(model: Any, cold: Cases, old: Cases, seed: int) -> dict[str, Any]:
    found = {}
    for label, cases in (("new", cold), ("old", old)):
        report: Report = evaluate(model, cases, at=(10, 50), generator=torch.Generator().manual_seed(seed))
        for metric in ("recall@10", "ndcg@10", "recall@50"):
            bounds = list(report.intervals[metric])
            found[f"{metric} of {label} items"] = {"mean": report.metrics[metric], "interval_95": bounds}
    return found


if __name__ == "__main__":
    sys.exit(main())
