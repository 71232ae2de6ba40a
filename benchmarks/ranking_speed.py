"""What ranking costs beside SASRec, in turns in one process: CPU-seconds a 1,000 users, in calls of 256 users.

    python benchmarks/ranking_speed.py --data amazon-beauty --models countdiff countdiff-text dreamrec

The networks are untrained and the weights of CountDiff's evidence are those it starts from: neither changes the cost.
Writes benchmarks/results/recsys-DATA-ranking.json.
"""

import argparse
import statistics
import sys
from typing import Any

import recommend
import torch
from report import DATA, RESULTS, cpu, write_report
from rows import ROWS, row_of

from recsys.data import datasets
from recsys.data.splits import Split
from recsys.models.countdiff import START, CountDiff


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="amazon-beauty", choices=datasets.names())
    parser.add_argument("--models", nargs="+", default=["countdiff"], choices=list(ROWS))
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--root", default=DATA)
    args = parser.parse_args()
    torch.set_num_threads(1)
    split = datasets.load(args.data, root=args.root)
    models = {name: built(args.data, name, split) for name in ["sasrec", *args.models]}
    spent: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(args.turns + 1):
        for name, model in models.items():
            seconds = recommend.ranking_seconds(model, split)
            if turn:  # the first one fills what is kept between calls
                spent[name].append(seconds)
    middle = {name: statistics.median(values) for name, values in spent.items()}
    report = {
        "data": args.data,
        "cpu_s_per_1000": {name: round(value, 4) for name, value in middle.items()},
        "times_sasrec": {name: round(value / middle["sasrec"], 3) for name, value in middle.items()},
        "turns": args.turns,
        "hardware": cpu(),
    }
    print(write_report(RESULTS / f"recsys-{args.data}-ranking.json", report))
    return 0


def built(data: str, name: str, split: Split) -> Any:
    """Build the row's model, ready to rank."""
    row = row_of(data, name)
    model: Any = recommend.untrained(row, row.base | row.candidates[0], split)
    if row.train is None:
        return model.fit(split.train)
    if isinstance(model, CountDiff):
        model.prepare(split.train)
        model.weights.copy_(torch.tensor(START))
    return model.eval()


if __name__ == "__main__":
    sys.exit(main())
