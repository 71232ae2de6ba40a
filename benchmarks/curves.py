"""Where a person would rather look than read: plots of runs that benchmarks/recommend.py has made.

    python benchmarks/curves.py --data ml-100k --models dreamrec countdiff

Takes up the checkpoints of the first seed and writes benchmarks/results/recsys-DATA-curves.json and docs/plots/*.png:
NDCG@10 against the number of network calls (test, seen items masked), against the length of the history, and on
validation while training. Needs matplotlib (pip install -e '.[plot]').
"""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import recommend
import torch
from report import DATA, HERE, RESULTS, write_report
from rows import ROWS, row_of

from recsys.data import datasets
from recsys.data.splits import Split
from recsys.evaluate import evaluate, intervals

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

PLOTS = HERE.parent / "docs" / "plots"
CALLS = (1, 2, 4, 8, 16, 50, 500)
EDGES = (3, 6, 10, 20, 50, 100, 1000)
METRIC = "ndcg@10"


def main() -> int:
    """Measure and draw what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="ml-100k", choices=datasets.names())
    parser.add_argument("--models", nargs="+", required=True, choices=list(ROWS))
    parser.add_argument("--cases", type=int, default=1000, help="test cases of the plot against calls")
    parser.add_argument("--root", default=DATA)
    parser.add_argument("--runs", default="runs/recsys")
    args = parser.parse_args()
    torch.set_num_threads(1)
    split, runs = datasets.load(args.data, root=args.root), Path(args.runs) / args.data
    found = {name: _measured(name, split, runs / name, args) for name in args.models}
    about = {"benchmark": "recsys-curves", "data": args.data, "metric": f"{METRIC}, test, seen items masked, seed 0"}
    write_report(RESULTS / f"recsys-{args.data}-curves.json", about | {"models": found})
    PLOTS.mkdir(parents=True, exist_ok=True)
    for kind, label in (("calls", "network calls"), ("history", "items in the history"), ("training", "epoch")):
        _draw(found, kind, label, PLOTS / f"recsys-{args.data}-{kind}.png")
    return 0


def _measured(name: str, split: Split, runs: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The three curves of one model: each a list of {x, y} and, where cases were averaged, an interval."""
    row = row_of(args.data, name)
    report = json.loads((RESULTS / f"recsys-{args.data}-{name}.json").read_text())
    settings = row.base | report["settings"]  # a result that is older than a setting does not name it
    model, _ = recommend.trained(row, settings, split, 0, runs)
    folder = recommend.folder_of(runs, settings, 0)
    curve = folder / "curve.json"
    trained = json.loads(curve.read_text()) if curve.exists() else []
    values = dict(np.load(runs / "per_case.npz"))[METRIC]
    return {
        "calls": _against_calls(model, split, args.cases),
        "history": _against_length(values, [len(history) for history in split.test.histories]),
        "training": [{"x": point["epoch"], "y": point[METRIC]} for point in trained],
    }


def _against_calls(model: Any, split: Split, cases: int) -> list[dict[str, float]]:
    """Rank with more and more steps, where the model takes steps; cpu_s is for 1,000 users."""
    config = model.config
    if not hasattr(config, "steps") or not hasattr(config, "T"):
        return []
    chosen, points = split.test.take(np.random.default_rng(0).permutation(len(split.test))[:cases]), []
    for steps in (calls for calls in CALLS if calls <= config.T):
        model.config = dataclasses.replace(config, steps=steps)
        begin = time.process_time()
        draws = torch.Generator().manual_seed(0)
        values = evaluate(model, chosen, at=(10,), resamples=0, generator=draws).per_case[METRIC]
        spent = (time.process_time() - begin) / len(chosen) * 1000
        points.append({"x": steps, "cpu_s": round(spent, 3)} | _mean(values))
        print(steps, points[-1], flush=True)
    model.config = config
    return points


def _against_length(values: np.ndarray, lengths: list[int]) -> list[dict[str, float]]:
    """Average per-case values (C,) over cases whose history is of similar length."""
    places, points = np.searchsorted(EDGES, np.array(lengths), side="right"), []
    for place in np.unique(places):
        chosen = places == place
        points.append(
            {"x": float(np.median(np.array(lengths)[chosen])), "cases": int(chosen.sum())} | _mean(values[chosen])
        )
    return points


def _mean(values: np.ndarray) -> dict[str, Any]:
    return {"y": float(values.mean()), "interval_95": intervals({METRIC: values})[METRIC]}


def _draw(found: dict[str, Any], kind: str, label: str, path: Path) -> None:
    """One line a model, with its interval as a band; nothing is drawn where no model has such a curve."""
    curves = {name: model[kind] for name, model in found.items() if len(model[kind]) > 1}
    if not curves:
        return
    figure, axes = plt.subplots(figsize=(6, 3.6), dpi=120, layout="constrained")
    for name, points in curves.items():
        xs, ys = [point["x"] for point in points], [point["y"] for point in points]
        colour = f"C{list(found).index(name)}"  # the same in all plots
        axes.plot(xs, ys, marker="o", markersize=3.5, linewidth=1.6, label=name, color=colour)
        if "interval_95" in points[0]:
            low, high = zip(*(point["interval_95"] for point in points))
            axes.fill_between(xs, low, high, color=colour, alpha=0.12, linewidth=0)
    if kind != "training":
        axes.set_xscale("log")
        ticks = sorted({point["x"] for points in curves.values() for point in points})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
    axes.set(xlabel=label, ylabel="NDCG@10" if kind != "training" else "NDCG@10 on validation")
    if kind == "training":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.legend(frameon=False)
    figure.savefig(path)
    plt.close(figure)
    print(f"{path} drawn")


if __name__ == "__main__":
    sys.exit(main())
