"""Which approximate index finds the best of a large catalogue: recall of the exact first 100, CPU-seconds, size.

    python benchmarks/index.py --items 100000 1000000            # with faiss-cpu where it can be imported

Three kinds of embeddings of 64 numbers, all of one norm, and a bias: `groups`, items around centres, as trained ones
lie, asked for by users between two items; `random`, without any structure, the hardest case; `trained`, those of a
SASRec's folder (`--recommender`), asked for by its own users. CPU-seconds on one thread. The settings of
recsys/index.py were chosen from this table. Writes benchmarks/results/index.json.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from report import DATA, RESULTS, cpu, write_report

D, K, USERS = 64, 100, 500
Ask = Callable[[np.ndarray], np.ndarray]
"""(queries (U, D+1)) -> ids (U, K)."""
Built = tuple[str, Ask, float, float]
"""How it is asked, the asking, CPU-seconds of building, MB in memory."""


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", default=["groups", "random"], choices=("groups", "random"))
    parser.add_argument("--recommender", help="a saved SASRec, whose embeddings and users are asked for, too")
    parser.add_argument("--data", help="the data set that it was trained on")
    parser.add_argument("--only", default="", help="indexes whose name begins so")
    args = parser.parse_args()
    path = RESULTS / "index.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else {}
    cases = [(f"{kind} {n}", made(kind, n)) for n in args.items for kind in args.kinds]
    if args.recommender:
        cases.append(("trained", trained(args.recommender, args.data)))
    for name, (items, queries) in cases:
        exact, seconds = timed(exactly, items, queries)
        found = rows.setdefault(name, {}) | {"exact": {"ask_s_per_1000": per_thousand(seconds, queries)}}
        for label, ask, build_s, mb in indexes(items, args.only):
            answer, seconds = timed(ask, queries)
            found[label] = {"recall": recall(answer, exact), "ask_s_per_1000": per_thousand(seconds, queries),
                            "build_s": build_s, "mb": mb}  # fmt: skip
            print(name, label, found[label], flush=True)
        rows[name] = found
        write_report(path, {"users": USERS, "k": K, "hardware": cpu(), "rows": rows})
    return 0


def made(kind: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Items (n, D+1) and queries (USERS, D+1); the last column is the bias and what it is multiplied by."""
    rng = np.random.default_rng(0)
    items = rng.standard_normal((n, D), np.float32)
    if kind == "groups":
        centres = rng.standard_normal((max(50, n // 200), D), np.float32)
        items = 0.7 * items + centres[rng.integers(0, len(centres), n)]
    items *= D**0.5 / np.linalg.norm(items, axis=1, keepdims=True)
    bias = np.float32(1.0) * rng.standard_normal((n, 1), np.float32)
    pairs = items[rng.integers(0, n, (USERS, 2))].mean(1) if kind == "groups" else rng.standard_normal((USERS, D))
    queries = np.column_stack([pairs / np.linalg.norm(pairs, axis=1, keepdims=True) * 2, np.ones(USERS)])
    return np.column_stack([items, bias]), queries.astype(np.float32)


def trained(folder: str, data: str) -> tuple[np.ndarray, np.ndarray]:
    """Items and queries of a saved SASRec, of users who were held out."""
    from recsys import pretrained
    from recsys.data import datasets
    from recsys.data.splits import pad

    model: Any = pretrained.load(folder)
    split = datasets.load(data, root=DATA)
    histories = pad(split.test.histories[:USERS])[:, -model.config.max_len :]
    vectors = model.item_vectors()
    return vectors[1:].numpy(), model.ask(histories, vectors).query.numpy()


def exactly(items: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The first K ids of every query, by all scores."""
    parts = []
    for some in np.array_split(queries, max(1, len(queries) * len(items) // 50_000_000)):
        scores = some @ items.T
        parts.append(np.argpartition(-scores, K, axis=1)[:, :K])
    return np.concatenate(parts)


def indexes(items: np.ndarray, only: str) -> Iterator[Built]:
    """Build every index, and ask it in every way that is compared."""
    for dtype in ("f32", "bf16", "i8"):
        for connectivity, add in ((16, 128), (32, 128)):
            name = f"usearch {dtype} M={connectivity} add={add}"
            if name.startswith(only):
                yield from usearch(name, items, dtype, connectivity, add)
    try:
        import faiss
    except ModuleNotFoundError:
        return
    faiss.omp_set_num_threads(1)
    n, d = items.shape
    lists = int(4 * n**0.5) // 64 * 64 or 64
    for name, factory in ((f"faiss IVF{lists},Flat", f"IVF{lists},Flat"), (f"faiss IVF{lists},SQ8", f"IVF{lists},SQ8"),
                          ("faiss HNSW16", "HNSW16,Flat")):  # fmt: skip
        if not name.startswith(only):
            continue
        index = faiss.index_factory(d, factory, faiss.METRIC_INNER_PRODUCT)
        some = items[np.random.default_rng(1).permutation(n)[: 50 * lists]]
        build_s = round(timed(index.train, some)[1] + timed(index.add, items)[1], 2)
        size = round((n * d * (1 if "SQ8" in name else 4) + n * 8 * (17 if "HNSW" in name else 1)) / 1e6)
        for effort in (16, 64) if "IVF" in name else (128, 512):
            if "IVF" in name:
                faiss.extract_index_ivf(index).nprobe = effort
            else:
                faiss.downcast_index(index).hnsw.efSearch = effort  # pyrefly: ignore
            yield f"{name} ask={effort}", partial(_second, index), build_s, size


def _second(index: Any, queries: np.ndarray) -> np.ndarray:
    return index.search(queries, K)[1]


def usearch(name: str, items: np.ndarray, dtype: str, connectivity: int, add: int) -> Iterator[Built]:
    """usearch's graph."""
    from usearch.index import Index

    index = Index(ndim=items.shape[1], metric="ip", dtype=dtype, connectivity=connectivity, expansion_add=add)
    top = items / np.linalg.norm(items, axis=1).max() if dtype == "i8" else items
    _, build_s = timed(partial(index.add, threads=1), np.arange(len(items)), top)
    for effort in (128, 512):

        def ask(queries: np.ndarray, effort: int = effort) -> np.ndarray:
            index.expansion_search = effort
            return np.asarray(index.search(queries, K, threads=1).keys)

        yield f"{name} ask={effort}", ask, build_s, round(index.memory_usage / 1e6)


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    """The share of the exact first K that was found."""
    return round(float(np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found, exact, strict=True)])), 3)


def per_thousand(seconds: float, queries: np.ndarray) -> float:
    """CPU-seconds for 1,000 users."""
    return round(seconds / len(queries) * 1000, 2)


def timed(work: Callable[..., Any], *given: Any) -> tuple[Any, float]:
    """Do it; give the result and its CPU-seconds."""
    begun = time.process_time()
    result = work(*given)
    return result, round(time.process_time() - begun, 3)


if __name__ == "__main__":
    sys.exit(main())
