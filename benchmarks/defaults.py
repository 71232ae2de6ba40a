"""Are the defaults good? Each model as `recommend train` trains it, beside the best of a search, on sets of five sizes.

    python benchmarks/defaults.py --sets lastfm ml-100k --models sasrec countdiff --trials 1
    python benchmarks/defaults.py --trials 5

The first command measures the defaults alone (a search's first trial), the second adds four trials each. Settings are
chosen on validation; the test cases are measured for the default and for the best of the search, no others. What has
been tried is kept below --runs, what came out is written to benchmarks/results/defaults-SET.json after each model, and
a run that was killed goes on. Users are drawn by a hash of their number, so that small sets are the same everywhere.

The data are not part of the project: their folder is --root, or PERSONAGEN_DATA. `lastfm` is LastFM.txt of the S3-Rec
repository (a user, then items in time order), put there as lastfm/sequences.txt; it is passed over where it is absent.
"""

import argparse
import copy
import hashlib
import json
import os
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import recommend
import torch
from report import DATA, RESULTS, cpu, git, write_json

from recsys import pretrained
from recsys.build import build
from recsys.counts.transitions import TransitionTable
from recsys.data import datasets
from recsys.data.splits import Split, leave_one_out
from recsys.defaults import suited
from recsys.evaluate import difference, evaluate
from recsys.models.countdiff import CountDiff
from recsys.search import SearchPlan, search
from recsys.types import Recommender

SETS: dict[str, tuple[str, int | None]] = {  # the data and how many of their users, none: all
    "lastfm": ("lastfm", None),
    "ml-100k": ("ml-100k", None),
    "amazon-beauty-3000": ("amazon-beauty", 3000),
    "zhihu-4000": ("zhihu", 4000),
    "ml-1m-400": ("ml-1m", 400),
}
COUNTED: dict[str, tuple[dict[str, Any], ...]] = {
    "markov": ({},),
    "ease": tuple({"ridge": ridge} for ridge in (50.0, 200.0, 500.0, 1000.0)),
}
TRAINED = ("sasrec", "countdiff", "gru4rec")
METRICS = ("recall@10", "ndcg@10")
NDCG = {"valid": "valid ndcg@10", "test": "test ndcg@10"}
TURNS = 5
OFTEN = {"checkpoint_every": 50}  # a killed run loses little; it changes no result


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--models", nargs="+", default=list(TRAINED), choices=TRAINED)
    parser.add_argument("--trials", type=int, default=5, help="settings tried for each model, the default among them")
    parser.add_argument("--root", default=DATA, help="folder of the data sets")
    parser.add_argument("--runs", default="runs/defaults")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop after as many; call it again to go on"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    until = time.monotonic() + 60 * args.minutes
    for name in args.sets:
        split = drawn(name, Path(args.root))
        if split is None:
            print(f"{name} is passed over: its files are not in {args.root}")
            continue
        for model in (*COUNTED, *args.models):
            if not measured(name, model, split, args.trials, Path(args.runs) / name, until):
                return 0
            write_json(RESULTS / f"defaults-{name}.json", report(name, split, Path(args.runs) / name))
    return 0


def drawn(name: str, root: Path) -> Split | None:
    """Read a set and keep the users whose number's hash is smallest; items that nobody of them took go."""
    data, users = SETS[name]
    if not (root / data).is_dir():
        return None
    if data == "lastfm":
        lines = (root / data / "sequences.txt").read_text().splitlines()
        sequences = [np.array(line.split(), np.int64)[1:] for line in lines]
    elif (
        data == "zhihu"
    ):  # its validation and test rows are prefixes of other users: here each user's last are held out
        sequences = datasets.load(data, root=root).train
    else:
        test = datasets.load(data, root=root).test
        sequences = [np.concatenate([h, t]) for h, t in zip(test.histories, test.targets, strict=True)]
    order = sorted(range(len(sequences)), key=lambda user: hashlib.sha256(str(user).encode()).digest())
    kept = [sequences[user] for user in sorted(order[:users])]
    known, codes = np.unique(np.concatenate(kept), return_inverse=True)
    bounds = np.cumsum([len(sequence) for sequence in kept])[:-1]
    return leave_one_out(np.split(codes.astype(np.int64) + 1, bounds), len(known))


def measured(name: str, model: str, split: Split, trials: int, runs: Path, until: float) -> bool:
    """Measure a model, or go on with it: best and default, on validation and test, in JSON and by case.

    Returns False where time (monotonic) ran out before.
    """
    folder = runs / model
    folder.mkdir(parents=True, exist_ok=True)
    if model in COUNTED:
        if not (folder / "default.json").exists():
            figures = [(_fitted(model, own, split), own) for own in COUNTED[model]]
            best = max(figures, key=lambda pair: _figures(pair[0], split, "valid")[0]["ndcg@10"])
            _keep(best[0], split, folder, "default", {"settings": best[1]})
        return True
    for progress in search(model, split, plan=SearchPlan(trials), given=OFTEN, folder=folder):
        if progress.ended is None:
            if time.monotonic() > until:
                return False
            continue
        print(
            name, model, progress.number, {k: v for k, v in asdict(progress.ended).items() if k != "curve"}, flush=True
        )
        if progress.number == 0:
            _keep(progress.model, split, folder, "default", asdict(progress.ended))
            if model == "countdiff":
                _keep(_unregressed(progress.model, split), split, folder, "unregressed", {})
        if progress.leads:
            pretrained.save(progress.model, folder / "best", run={"trial": asdict(progress.ended)})
    about = json.loads((folder / "best" / "run.json").read_text())["trial"]
    if trials > 1:
        _keep(pretrained.load(folder / "best"), split, folder, "best", about)
    return True


def _fitted(model: str, settings: dict[str, Any], split: Split) -> Any:
    return build(model, split, settings).fit(split.train)


def _unregressed(model: CountDiff, split: Split) -> CountDiff:
    """The same network and counts without the regression, stacked anew."""
    plain = copy.deepcopy(model)
    plain.regression = TransitionTable(split.n_items)
    plain.experts = (*plain.experts[:-1], (plain.regression, plain.experts[-1][1]))
    plain.tune(split.valid)
    return plain


def _figures(model: Recommender, split: Split, part: str) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    cases = split.valid if part == "valid" else split.test
    found = evaluate(model, cases, at=(10,), resamples=0, generator=torch.Generator().manual_seed(0))
    return {name: found.metrics[name] for name in METRICS}, {name: found.per_case[name] for name in METRICS}


def _keep(model: Any, split: Split, folder: Path, which: str, about: dict[str, Any]) -> None:
    figures, cases = {}, {}
    for part in ("valid", "test"):
        figures[part], found = _figures(model, split, part)
        cases |= {f"{part} {metric}": values for metric, values in found.items()}
    recommend.write_cases(folder / f"{which}.npz", cases)
    write_json(folder / f"{which}.json", {key: value for key, value in about.items() if key != "curve"} | figures)


def report(name: str, split: Split, runs: Path) -> dict[str, Any]:
    """Put together what is there of a set."""
    found = {folder.name: {which: json.loads((folder / f"{which}.json").read_text())
             for which in ("default", "unregressed", "best") if (folder / f"{which}.json").exists()}
             for folder in sorted(runs.iterdir()) if (folder / "default.json").exists()}  # fmt: skip
    size = {"users": len(split.train), "items": split.n_items, "interactions": sum(map(len, split.train))}
    rule = {key: value for key, value in asdict(suited(split)).items() if key != "seed"}
    return {
        "data": name,
        "drawn": f"{SETS[name][0]}, " + ("all users" if SETS[name][1] is None else "users by hash of their number"),
        "training": size,
        "rule": rule,
        "models": found,
        "trials": {model: _count(runs / model) for model in found if model in TRAINED},
        "countdiff": _against(found, runs),
        "ranking": _ranking(split, runs),
        "commit": git("rev-parse", "HEAD"),
        "hardware": {"cpu": cpu(), "cores": os.cpu_count(), "threads_used": 1},
    }


def _count(folder: Path) -> int:
    return len((folder / "search.csv").read_text().splitlines()) - 1 if (folder / "search.csv").exists() else 0


def _against(found: dict[str, Any], runs: Path) -> dict[str, Any]:
    """CountDiff's default less each other default, by case: mean and 95 % interval of NDCG@10."""
    if "countdiff" not in found:
        return {}
    own = dict(np.load(runs / "countdiff" / "default.npz"))
    gaps = {}
    for other in found:
        if other != "countdiff":
            theirs = dict(np.load(runs / other / "default.npz"))
            gaps[other] = {
                part: difference(own[f"{part} ndcg@10"], theirs[f"{part} ndcg@10"]) for part in ("valid", "test")
            }
    plain = dict(np.load(runs / "countdiff" / "unregressed.npz"))
    return gaps | {"unregressed": {part: difference(own[cases], plain[cases]) for part, cases in NDCG.items()}}


def _ranking(split: Split, runs: Path) -> dict[str, Any]:
    """What ranking with the trained defaults costs, in turns: CPU-seconds a 1,000 users and times SASRec's."""
    if not all((runs / model / "best").is_dir() for model in ("sasrec", "countdiff")):
        return {}
    models: dict[str, Any] = {name: pretrained.load(runs / name / "best") for name in ("sasrec", "countdiff")}
    spent: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(TURNS + 1):
        for name, model in models.items():
            seconds = recommend.ranking_seconds(model, split)
            if turn:  # the first one fills what is kept between calls
                spent[name].append(seconds)
    middle = {name: statistics.median(values) for name, values in spent.items()}
    return {"cpu_s_per_1000": middle, "countdiff_times_sasrec": round(middle["countdiff"] / middle["sasrec"], 2)}


if __name__ == "__main__":
    sys.exit(main())
