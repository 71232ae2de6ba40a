"""What large catalogues cost: counting, training and ranking at 10,000, 100,000 and a million items.

    git archive COMMIT recsys | tar -x -C before        # the code before, to compare with
    python benchmarks/catalogue.py --items 10000 100000 1000000 --before before

Sequences of ten items, some items taken often and most seldom. CPU-seconds on one thread; each part runs in a process
of its own, whose peak of memory is given (`peak_mib`). `counts`: `thinned_s` is `recsys.counts.transitions.thinned`,
`thinned_dense_s` how it was done before, through full rows, of which some blocks are measured and the others counted
in. `train`: SASRec of 64 dimensions and two layers, in batches of 256; some steps are measured after a first one, and
an epoch of 100,000 sequences is counted up from them (391 steps). `rank`: CountDiff with the counts of 20,000
sequences, an untrained network, and embeddings around centres (benchmarks/index.py); `before` scores every item for
some users and is counted up, `after` ranks 1,000 users through the index. `same` is the share of the first ten that are
those of all items, `recall` that of the nearest hundred of 200 queries. `tune`: CountDiff's weights are fitted on 1,000
cases held out, or as many as the code takes (`before`: 200 at a million items). Ends in
benchmarks/results/catalogue.json.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recsys.counts.transitions import Transitions, count_together, count_transitions, thinned

KINDS = ("counts", "train", "rank", "tune")
BLOCK, KEEP = 512, 200
BATCH, EPOCH = 256, 100_000


def main() -> int:
    """Measure what the command line asks for, each part in a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--parts", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--before", help="folder with the code to compare with")
    parser.add_argument("--one", help="measure one part in this process, and print it")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.one:
        print(json.dumps(PARTS[args.one](args.items[0]) | {
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))  # fmt: skip
        return 0
    from report import RESULTS, cpu, write_report

    path = RESULTS / "catalogue.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else {}
    ways = {"after": str(Path(__file__).parents[1])} | ({"before": args.before} if args.before else {})
    for n in args.items:
        for part in args.parts:
            for way, code in ways.items():
                if (part, way) != ("counts", "before"):
                    rows.setdefault(str(n), {}).setdefault(part, {})[way] = apart(part, way, n, code)
                    write_report(path, {"hardware": cpu(), "rows": rows})
                    print(n, part, way, rows[str(n)][part][way], flush=True)
    return 0


def apart(part: str, way: str, n: int, code: str) -> dict[str, Any]:
    """Measure a part in a process of its own, with the code of a folder."""
    words = [sys.executable, __file__, "--one", f"{part} {way}", "--items", str(n)]
    done = subprocess.run(words, env=os.environ | {"PYTHONPATH": code}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def drawn(n: int, sequences: int) -> np.ndarray:
    """Items (sequences, 10), some often and most seldom."""
    rng = np.random.default_rng(0)
    return (n * rng.random((sequences, 10)) ** 2).astype(np.int64) + 1


def counting(n: int) -> dict[str, Any]:
    """Count 20,000 sequences, and thin the counts."""
    rows = drawn(n, 20_000)
    items, owners = torch.from_numpy(rows.ravel()), torch.arange(rows.size) // 10
    counted, count_s = timed(lambda: count_transitions(items, owners, n, decay=0.7, window=10))
    together, together_s = timed(lambda: count_together(items, owners, n, window=50))
    few, thinned_s = timed(lambda: thinned(together, keep=KEEP))
    return {"transitions": len(counted.follows), "pairs": len(together.follows), "kept": len(few.follows),
            "count_s": count_s, "together_s": together_s, "thinned_s": thinned_s,
            "thinned_dense_s": dense(together)}  # fmt: skip


def training(n: int) -> dict[str, Any]:
    """Train some steps."""
    from recsys.data.splits import Split
    from recsys.models.sasrec import SASRec, SASRecConfig
    from recsys.train import TrainConfig, train
    from recsys.types import Cases

    steps = 6
    nobody = Cases([], [])
    split = Split(list(drawn(n, BATCH * (steps + 2))), nobody, nobody, n)
    model, begun, spent = SASRec(SASRecConfig(n)), 0.0, []
    for step in train(model, split, TrainConfig(batch_size=BATCH)):
        spent.append(time.process_time() - begun)
        begun = time.process_time()
        if step.step > steps:
            break
    step_s = float(np.median(spent[1:]))
    return {"step_s": round(step_s, 3), "epoch_s": round(step_s * -(-EPOCH // BATCH), 1)}


def shop(n: int) -> tuple[Any, torch.Tensor]:
    """A CountDiff with counts and structured embeddings, and the histories of 1,000 users."""
    from index import made

    from recsys.models.countdiff import CountDiff, CountDiffConfig

    torch.manual_seed(0)
    model = CountDiff(CountDiffConfig(n, regressed=0)).eval()
    rows = drawn(n, 21_000)
    model.prepare(list(rows[:20_000]))
    items, _ = made("groups", n)
    state = dict(model.named_parameters())
    state["net.table.id_embedding"].data[1:] = torch.from_numpy(items[:, :-1] / 8)
    state["net.table.id_bias"].data[1:] = torch.from_numpy(items[:, -1])
    model.weights.copy_(torch.tensor([1.0, 1.0, 0.7, 0.3, 0.0, 0.0]))
    return model, torch.from_numpy(rows[20_000:])


def ranking_all(n: int) -> dict[str, Any]:
    """Score every item for some users."""
    model, histories = shop(n)
    some = histories[: 1000 if n < 50_000 else 256 if n < 500_000 else 64]
    model.recommend(some[:2], 10)
    _, seconds = timed(lambda: model.recommend(some, 10))
    return {"users": len(some), "s_per_1000": round(seconds / len(some) * 1000, 2)}


def ranking_indexed(n: int) -> dict[str, Any]:
    """Rank 1,000 users through the index."""
    from recsys.index import Index, Indexed

    model, histories = shop(n)
    vectors = model.item_vectors()
    index, build_s = timed(lambda: Index.build(vectors))
    ranks = Indexed(model, index)
    ranks.recommend(histories[:2], 10)
    found, seconds = timed(lambda: ranks.recommend(histories, 10))
    whole = torch.cat([model.recommend(part, 10).items for part in histories[:64].split(16)])
    same = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.items.tolist(), whole.tolist())])
    asked = model.ask(histories[:200], vectors)
    exact = torch.cat([(part @ vectors[1:].T).topk(100, dim=1).indices + 1 for part in asked.query.split(16)])
    near, ask_s = timed(lambda: index.nearest(asked.query, 100))
    recall = np.mean([len(set(a) & set(b)) / 100 for a, b in zip(near.tolist(), exact.tolist())])
    return {"users": len(histories), "s_per_1000": seconds, "index_s_per_1000": round(ask_s * 5, 3),
            "evidence_cells_a_user": len(asked.cells) // 200, "same": round(float(same), 3),
            "recall": round(float(recall), 3), "build_s": build_s}  # fmt: skip


def tuning(n: int) -> dict[str, Any]:
    """Fit the weights of counts and an untrained network."""
    from recsys.models.countdiff import CountDiff, CountDiffConfig
    from recsys.types import Cases

    torch.manual_seed(0)
    model, rows = CountDiff(CountDiffConfig(n, regressed=0)), drawn(n, 21_000)
    model.prepare(list(rows[:20_000]))
    cases = Cases([row[:-1] for row in rows[20_000:]], [row[-1:] for row in rows[20_000:]])
    return {"tune_s": timed(lambda: model.tune(cases))[1], "weights": [round(w, 3) for w in model.weights.tolist()]}


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Do it; give the result and its CPU-seconds."""
    begun = time.process_time()
    result = work()
    return result, round(time.process_time() - begun, 3)


def dense(counted: Transitions, *, blocks: int = 3) -> float:
    """CPU-seconds of thinning through full rows: some blocks are measured, the others are taken to cost the same."""
    n = len(counted.starts) - 1
    every = torch.arange(n).split(BLOCK)

    def work() -> None:
        for rows in every[:blocks]:
            blank = torch.zeros(len(rows), n)
            full = counted.spread(rows.unsqueeze(1), torch.ones_like(blank[:, :1]), out=blank)
            full.topk(min(KEEP, n), dim=1)

    return round(timed(work)[1] * len(every) / min(blocks, len(every)), 1)


PARTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "counts after": counting, "train before": training, "train after": training,
    "rank before": ranking_all, "rank after": ranking_indexed, "tune before": tuning, "tune after": tuning,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
