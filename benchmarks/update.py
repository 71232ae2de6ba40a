"""Update recommenders with the latest tenth of the interactions, and compare with counting and training anew.

    python benchmarks/update.py --data ml-1m --seeds 0 1 2

Each user's last item is the test, and nothing below ever sees it. Of the other interactions the earliest nine tenths
train the recommender that is updated with the last tenth; all of them train the one it is compared with. Networks then
hold out one more item of each user to validate, so the two differ in nothing but the way.

The files of ml-1m and ml-100k have the order of each user's items, but no times. So every 20th user is new, with all
items, and of every other user the latest items are, as many as make a tenth in all. A file with times is split by them.

A result that is there already is kept. The data are not part of the project: their folder is --root or PERSONAGEN_DATA.
"""

import argparse
import copy
import json
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import DATA, RESULTS, cpu, write_report

from recsys.build import build
from recsys.data import datasets
from recsys.data.changes import Continued
from recsys.data.interactions import read_interactions
from recsys.data.splits import Interactions, Split, leave_one_out
from recsys.data.vocabulary import Vocabulary
from recsys.evaluate import difference, evaluate
from recsys.train import TrainConfig, train
from recsys.types import Cases, Countable, Recommender
from recsys.update import going_on, taken_in

TENTH = 0.1
NEWCOMERS = 20  # every so many users is new, where a file has no times
AT = (10,)


@dataclass(frozen=True)
class Row:
    """A model as it is measured: its settings, how it is trained (None: it counts), on every so many users."""

    model: str
    settings: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] | None = None
    update: dict[str, Any] = field(default_factory=dict)
    every: int = 1


SMALL = {"d": 32, "layers": 1, "dropout": 0.1, "max_softmax": 500}
LOOP = {"epochs": 40, "batch_size": 64, "learning_rate": 1e-2, "patience": 6}
ON = LOOP | {"epochs": 10, "patience": 2, "learning_rate": 3e-3}
ROWS = {
    "markov": Row("markov", {"decay": 0.7, "window": 20, "degree_power": 0.75}),
    "ease": Row("ease", {"ridge": 500.0}),
    "sasrec": Row("sasrec", SMALL, LOOP, ON, every=8),
}
PLAIN = {"epochs": 60, "batch_size": 64, "learning_rate": 3e-3, "patience": 5}
FROM_THERE = PLAIN | {"epochs": 10, "patience": 2, "learning_rate": 1e-3}
MORE = {name: Row(name, {"d": 32, "layers": 1}, PLAIN, FROM_THERE) for name in ("sasrec", "gru4rec", "countdiff")}
SETS = {"ml-1m": ROWS, "ml-100k": ROWS | MORE}


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="ml-1m", help="ml-1m, or a file with times")
    parser.add_argument("--models", nargs="+", default=list(ROWS), choices=list(ROWS | MORE))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--root", default=DATA, help="folder of the data sets")
    args = parser.parse_args()
    torch.set_num_threads(1)
    place = RESULTS / f"update-{Path(args.data).stem}.json"
    results = json.loads(place.read_text())["results"] if place.exists() else {}
    for name in args.models:
        row = SETS.get(args.data, ROWS | MORE)[name]
        continued, tests = _split(args, row.every)
        entry = results.setdefault(name, {"settings": row.settings, "train": row.train, "update": row.update,
                                          "data": _sizes(continued, tests), "runs": []})  # fmt: skip
        for seed in args.seeds if row.train else [0]:
            if any(run["seed"] == seed for run in entry["runs"]):
                continue
            entry["runs"].append(_measured(row, continued, tests, seed))
            print(name, json.dumps(entry["runs"][-1]), flush=True)
            write_report(place, {"data": Path(args.data).stem, "machine_cpu": cpu(), "results": results})
    return 0


def _split(args: argparse.Namespace, every: int) -> tuple[Continued, Cases]:
    """Take each user's last item off as the test, and call the latest tenth of the others new."""
    if args.data in datasets.names():
        split = datasets.load(args.data, root=args.root)
        pairs = zip(split.test.histories, split.test.targets, strict=True)
        sequences = [np.concatenate(pair) for user, pair in enumerate(pairs) if user % every == 0]
        interactions, fresh = _by_order([one[:-1] for one in sequences])
        targets = [str(one[-1]) for one in sequences]
    else:
        whole = read_interactions(args.data)
        interactions, fresh, targets = _by_time(whole)
    continued = _continued(interactions, fresh)
    numbers = continued.items.numbers(targets)
    rows = [row for row, one in enumerate(continued.after) if len(one) and numbers[row]]
    return continued, Cases(continued.after, [numbers[row : row + 1] for row in range(len(targets))]).take(rows)


def _by_order(sequences: list[np.ndarray]) -> tuple[Interactions, np.ndarray]:
    """Make interactions of sequences; their times are places in the order."""
    lengths = np.array([len(one) for one in sequences])
    users = np.repeat(np.arange(1, len(sequences) + 1), lengths)
    places = np.concatenate([np.arange(length) for length in lengths])
    late = np.arange(len(sequences)) % NEWCOMERS == 0
    share = (TENTH * lengths.sum() - lengths[late].sum()) / lengths[~late].sum()
    first = np.where(late, 0, np.ceil(lengths * (1 - share))).astype(np.int64)
    items = np.concatenate(sequences)
    names = ("", *map(str, range(1, int(items.max()) + 1)))
    people = ("", *map(str, range(1, len(sequences) + 1)))
    return Interactions(users, items, places, people, names), places >= np.repeat(first, lengths)


def _by_time(whole: Interactions) -> tuple[Interactions, np.ndarray, list[str]]:
    """Split by the time of the row nine tenths through; rows come sorted by user and time."""
    last = np.append(whole.users[1:] != whole.users[:-1], True)
    targets = [whole.item_names[item] for item in whole.items[last]]
    rest = replace(whole, users=whole.users[~last], items=whole.items[~last], timestamps=whole.timestamps[~last])
    return rest, rest.timestamps >= np.quantile(rest.timestamps, 1 - TENTH), targets


def _continued(interactions: Interactions, fresh: np.ndarray) -> Continued:
    names = interactions.item_names
    known = Vocabulary(("", *(names[item] for item in np.unique(interactions.items[~fresh]))))
    return Continued.of(interactions, fresh, known)


def _sizes(continued: Continued, tests: Cases) -> dict[str, int]:
    rows, before = sum(map(len, continued.after)), sum(map(len, continued.before))
    return {
        "users": len(continued.after), "interactions": rows, "new interactions": rows - before,
        "users gone on": continued.gone_on, "new users": sum(not len(one) for one in continued.before),
        "items": len(continued.items), "new items": continued.new_items, "test cases": len(tests),
    }  # fmt: skip


def _measured(row: Row, continued: Continued, tests: Cases, seed: int) -> dict[str, Any]:
    """Train on the past, update, train anew; measure all three on the same cases."""
    n = len(continued.items)
    past = leave_one_out([one for one in continued.before if len(one)], n - continued.new_items)
    now = leave_one_out(continued.after, n, item_names=continued.items.names)
    old, _ = _trained(row, past, seed)
    updated, update_s = _updated(row, old, continued, seed)
    anew, full_s = _trained(row, now, seed)
    reports = {
        "before": evaluate(_Known(old, n), tests, at=AT, resamples=0),
        "updated": evaluate(updated, tests, at=AT, resamples=0),
        "full": evaluate(anew, tests, at=AT, resamples=0),
    }
    names = ("recall@10", "ndcg@10")
    gaps = {m: difference(*(reports[way].per_case[m] for way in ("updated", "full"))) for m in names}
    bounds = {m: (round(mean, 5), [round(low, 5), round(high, 5)]) for m, (mean, low, high) in gaps.items()}
    return {
        "seed": seed,
        **{way: {m: round(report.metrics[m], 5) for m in names} for way, report in reports.items()},
        "updated_minus_full": {m: {"mean": mean, "interval_95": bound} for m, (mean, bound) in bounds.items()},
        "update_cpu_s": round(update_s, 2),
        "full_cpu_s": round(full_s, 2),
        "max_difference_of_counts": _apart(updated, anew),
    }


class _Known:
    """A recommender of fewer items: it leaves the others out of histories, and never ranks them."""

    def __init__(self, model: Recommender, n_items: int):
        self.n_items, self._model = n_items, model

    def recommend(self, history: torch.Tensor, k: int, **rest: Any):
        rows = [row[(row > 0) & (row <= self._model.n_items)] for row in history]
        known = torch.zeros_like(history)
        for place, row in zip(known, rows, strict=True):
            place[len(place) - len(row) :] = row
        return self._model.recommend(known, k, **rest)


def _trained(row: Row, split: Split, seed: int) -> tuple[Any, float]:
    model, begin = build(row.model, split, row.settings, seed=seed), time.process_time()
    if row.train is None:
        model.fit(split.train)
    else:
        _loop(model, split, TrainConfig(seed=seed, **row.train))
    return model, time.process_time() - begin


def _updated(row: Row, old: Any, continued: Continued, seed: int) -> tuple[Any, float]:
    begin = time.process_time()
    model = taken_in(old if row.train is None else copy.deepcopy(old), continued)
    if row.train is not None:
        config = TrainConfig(seed=seed, **row.update)
        _loop(model, going_on(continued, max_length=config.max_length), config, parent="the past")
    return model, time.process_time() - begin


def _loop(model: Any, split: Split, config: TrainConfig, *, parent: str | None = None) -> None:
    for step in train(model, split, config, parent=parent):
        if step.metrics:
            print(f"  epoch {step.epoch:.0f} {config.metric} {step.metrics[config.metric]:.4f}", flush=True)


def _apart(updated: Any, anew: Any) -> float | None:
    """The largest difference between what the two counted."""
    if not isinstance(anew, Countable):
        return None
    one, two = updated.tally, anew.tally
    if any(one[name].shape != two[name].shape for name in two):
        return float("inf")
    return max(float((one[name].double() - two[name].double()).abs().max()) for name in two)


if __name__ == "__main__":
    sys.exit(main())
