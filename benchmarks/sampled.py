"""What a sampled softmax and bfloat16 embeddings cost in accuracy: SASRec on Amazon Beauty, exact and sampled.

    python benchmarks/sampled.py --epochs 12
    python benchmarks/sampled.py --epochs 20 --batch_size 64 --data amazon-beauty-3000 --variants exact "mixed 1/12"

One layer, one seed, up to --epochs epochs, the best on validation is measured on the test items. `mixed`: half the
draws are items, half interactions, as recsys/networks/sampled.py has it; `uniform`: items alone; `rows`: gradients are
sparse, so that moments of other rows rest; `bf16`: embeddings and their moments are bfloat16. Differences from `exact`
are paired, with 95 % bootstrap intervals over users. CPU-seconds of training, validation left out, on one thread.
`mixed 1/3` draws a third as many as there are items. A set of benchmarks/defaults.py is small enough to be trained to
the end. Writes benchmarks/results/sampled.json, variant by variant, or sampled-SET.json for another set.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from defaults import SETS, drawn
from report import DATA, RESULTS, cpu, write_report

from recsys.data import datasets
from recsys.data.splits import Split
from recsys.evaluate import difference, evaluate, intervals
from recsys.models.sasrec import SASRec, SASRecConfig
from recsys.networks import items
from recsys.train import TrainConfig, train

VARIANTS: dict[str, dict[str, Any]] = {
    "exact": {}, "mixed 4000": {"max_softmax": 4000}, "mixed 4000 rows": {"max_softmax": 4000},
    "mixed 4000 rows bf16": {"max_softmax": 4000, "item_dtype": "bfloat16"}, "mixed 500": {"max_softmax": 500},
    "uniform 500": {"max_softmax": 500},
}  # fmt: skip
SHARES = {"mixed 1/3": 3, "mixed 1/12": 12}


def main() -> int:
    """Train and measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--data", default="amazon-beauty")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS | SHARES)
    parser.add_argument("--batch_size", type=int, default=256)
    args = parser.parse_args()
    torch.set_num_threads(1)
    split = drawn(args.data, Path(DATA)) if args.data in SETS else datasets.load(args.data, root=DATA)
    if split is None:
        raise SystemExit(f"{args.data} is not in {DATA}")
    path, exact = RESULTS / ("sampled.json" if args.data == "amazon-beauty" else f"sampled-{args.data}.json"), None
    rows = json.loads(path.read_text())["rows"] if path.exists() else {}
    for name in args.variants:
        rows[name], per_case = measured(name, split, args.epochs, args.batch_size)
        exact = per_case if name == "exact" else exact
        if exact is not None and name != "exact":
            gap = difference(per_case, exact)
            rows[name]["less_exact"] = {"mean": round(gap[0], 4), "interval": [round(gap[1], 4), round(gap[2], 4)]}
        print(name, rows[name], flush=True)
        write_report(path, {"data": args.data, "items": split.n_items, "seed": 0, "hardware": cpu(), "rows": rows})
    return 0


def measured(name: str, split: Split, epochs: int, batch_size: int) -> tuple[dict[str, Any], np.ndarray]:
    """Train a variant; give its row and NDCG@10 of each test user."""
    torch.manual_seed(0)
    items.SPARSE = 0 if "rows" in name else 10**9
    settings = VARIANTS[name] if name in VARIANTS else {"max_softmax": split.n_items // SHARES[name]}
    model = SASRec(SASRecConfig(split.n_items, layers=1, **settings))
    if "uniform" in name:
        model.sample_from = lambda sequences: None
    config = TrainConfig(epochs=epochs, batch_size=batch_size, learning_rate=3e-3, patience=epochs, validate_cases=3000)
    spent, valid, taken = 0.0, [], 0
    begun = time.process_time()
    for step in train(model, split, config):
        if step.metrics is None:  # a step with metrics holds a validation, too
            spent, taken = spent + time.process_time() - begun, taken + 1
        else:
            valid.append(round(step.metrics["ndcg@10"], 4))
        begun = time.process_time()
    report = evaluate(model, split.test, at=(10,), resamples=0)
    per_case = report.per_case["ndcg@10"]
    low, high = intervals({"": per_case}, resamples=1000)[""]
    return {"valid_ndcg@10": valid, "test_ndcg@10": round(float(per_case.mean()), 4),
            "interval": [round(low, 4), round(high, 4)],
            "test_recall@10": round(report.metrics["recall@10"], 4),
            "step_ms": round(1e3 * spent / max(1, taken), 1)}, per_case  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
