"""What large catalogues cost: counting, thinning the counts and full ranking at 10,000, 100,000 and a million items.

    python benchmarks/catalogue.py --items 10000 100000 1000000 --sequences 20000

Sequences of ten items, some items taken often and most seldom. CPU-seconds of this process, on one thread. `thinned_s`
is `recsys.counts.transitions.thinned`; `thinned_dense_s` how it was done before, through full rows, of which some
blocks are measured and the others counted in. `rank_s_per_1000` ranks with a network of 64 dimensions alone, whose cost
is that of every full ranking; `index` does so through usearch's graph (float32, its defaults): recall of the exact
first 100, on embeddings without structure, the hardest case. Writes benchmarks/results/catalogue.json.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from report import RESULTS, cpu, write_report

from recsys.counts.transitions import Transitions, count_together, count_transitions, thinned

BLOCK, KEEP = 512, 200


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--sequences", type=int, default=20_000)
    parser.add_argument("--index", type=int, default=0, help="items up to which an index is built")
    args = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / "catalogue.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else {}
    for n in args.items:
        rows[str(n)] = row(n, args.sequences, index=n <= args.index)
        print(n, rows[str(n)], flush=True)
        write_report(path, {"sequences": args.sequences, "hardware": cpu(), "rows": rows})
    return 0


def row(n: int, sequences: int, *, index: bool) -> dict[str, Any]:
    """Measure a catalogue of n items."""
    rng = np.random.default_rng(0)
    items = torch.from_numpy((n * rng.random(10 * sequences) ** 2).astype(np.int64) + 1)
    owners = torch.arange(10 * sequences) // 10
    counted, count_s = timed(lambda: count_transitions(items, owners, n, decay=0.7, window=10))
    together, together_s = timed(lambda: count_together(items, owners, n, window=50))
    few, thinned_s = timed(lambda: thinned(together, keep=KEEP))
    dense_s = dense(together)
    embedding, queries = torch.randn(n + 1, 64), torch.randn(64, 64)
    _, rank_s = timed(lambda: (queries @ embedding.T).topk(100, dim=1))
    found = {"transitions": len(counted.follows), "pairs": len(together.follows), "kept": len(few.follows),
             "count_s": count_s, "together_s": together_s, "thinned_s": thinned_s, "thinned_dense_s": dense_s,
             "rank_s_per_1000": round(rank_s / 0.064, 2),
             "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}  # fmt: skip
    return found | ({"index": indexed(embedding.numpy(), queries.numpy())} if index else {})


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


def indexed(embedding: np.ndarray, queries: np.ndarray) -> dict[str, float]:
    """Recall of the first 100 through usearch, and what building and asking cost."""
    from usearch.index import Index

    index = Index(ndim=embedding.shape[1], metric="ip", dtype="f32")
    keys = np.arange(1, len(embedding))
    _, build_s = timed(lambda: index.add(keys, embedding[1:], threads=1))
    found, ask_s = timed(lambda: index.search(queries, 100, threads=1, exact=False))
    exact = np.argsort(-(queries @ embedding[1:].T), axis=1)[:, :100] + 1
    recall = np.mean([len(np.intersect1d(a, b)) / 100 for a, b in zip(found.keys, exact, strict=True)])
    return {
        "build_s": build_s,
        "ask_s_per_1000": round(ask_s / len(queries) * 1000, 3),
        "recall": round(float(recall), 3),
    }


if __name__ == "__main__":
    sys.exit(main())
