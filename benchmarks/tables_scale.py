"""Tables of many: the server under load, looks of many users, large catalogues."""

import json
from typing import Any

from grid import DASH, RESULTS, grid


def serve() -> str:
    """One row a model and number of clients."""
    rows = []
    for model, row in json.loads((RESULTS / "serve.json").read_text())["models"].items():
        for clients, one in row["clients"].items():
            rows.append([model, clients, *(f"{one[name]:.1f}" for name in ("p50_ms", "p95_ms", "p99_ms")),
                         f"{one['per_second']:.0f}", f"{one['server_cpu_ms']:.1f}",
                         f"{one['server_share_of_a_core']:.2f}", f"{one['load']:.0f}"])  # fmt: skip
    return grid(["model", "clients", "p50, ms", "p95, ms", "p99, ms", "requests a second", "CPU-ms a request",
                 "share of a core", "load of the machine"], rows)  # fmt: skip


def restarts() -> str:
    """One row a model whose server was stopped and started in the middle of requests."""
    rows = []
    for model, row in json.loads((RESULTS / "serve.json").read_text())["models"].items():
        if found := row.get("restart"):
            rows.append([model, *(str(found[name]) for name in ("requests", "answered", "wrong", "refused_with_503",
                                                                "connections_lost", "exit_code"))])  # fmt: skip
    return grid(["model", "requests", "answered", "wrong", "told 503", "connections lost", "exit code"], rows)


def batch() -> str:
    """One row a run of looks for many."""
    rows = []
    for name, row in json.loads((RESULTS / "scale.json").read_text())["runs"].items():
        lost = row.get("before_the_kill", {}).get("cpu_s", 0.0)
        between = row["last_picture_s"] - row["first_picture_s"]
        rows.append([name, str(row["pictures"]), "yes" if row["equal_to_local"] else "no", f"{row['cpu_s'] + lost:.0f}",
                     f"{row['seconds']:.0f}", f"{between:.0f}" if not lost else DASH, f"{row['share']:.2f}",
                     f"{row['load']:.0f}"])  # fmt: skip
    return grid(["run", "pictures", "bytes as local", "CPU-s", "seconds", "first to last picture, s", "share of a core",
                 "load of the machine"], rows)  # fmt: skip


def catalogue() -> str:
    """One row a size of the catalogue: what counting costs."""
    rows = []
    for items, parts in _catalogue().items():
        row = parts["counts"]["after"]
        rows.append([f"{int(items):,}", f"{row['pairs']:,}", f"{row['count_s'] + row['together_s']:.1f}",
                     f"{row['thinned_dense_s']:,.1f}", f"{row['thinned_s']:.2f}"])  # fmt: skip
    return grid(["items", "pairs", "counting, CPU-s", "thinning before", "thinning now"], rows)


def large() -> str:
    """One row a size of the catalogue: what training and ranking cost, before and now."""
    rows = []
    for items, parts in _catalogue().items():
        train, rank = parts["train"], parts["rank"]
        rows.append([f"{int(items):,}", *(_of(train, way, "epoch_s", "{:,.0f}") for way in ("before", "after")),
                     *(_of(train, way, "peak_mib", "{:,}") for way in ("before", "after")),
                     *(_of(rank, way, "s_per_1000", "{:.2f}") for way in ("before", "after")),
                     *(_of(rank, "after", name, "{:.2f}") for name in ("recall", "same", "build_s"))])  # fmt: skip
    return grid(["items", "epoch before, CPU-s", "now", "training before, peak MiB", "now",
                 "all items ranked, CPU-s a 1,000 users", "through the index", "recall of the nearest 100",
                 "first ten as of all items", "building the index, CPU-s"], rows)  # fmt: skip


def tuned() -> str:
    """One row a size of the catalogue: what fitting CountDiff's weights costs, before and now."""
    rows = [[f"{int(items):,}", *(_of(parts["tune"], way, "tune_s", "{:.1f}") for way in ("before", "after")),
             *(_of(parts["tune"], way, "peak_mib", "{:,}") for way in ("before", "after"))]
            for items, parts in _catalogue().items() if "tune" in parts]  # fmt: skip
    return grid(["items", "among all items, CPU-s", "now", "among all items, peak MiB", "now"], rows)


def _catalogue() -> dict[str, Any]:
    return json.loads((RESULTS / "catalogue.json").read_text())["rows"]


def _of(ways: dict[str, Any], way: str, name: str, form: str) -> str:
    return form.format(ways[way][name]) if name in ways.get(way, {}) else DASH


def indexes() -> str:
    """One row an index and a kind of embeddings."""
    rows = []
    for kind, found in json.loads((RESULTS / "index.json").read_text())["rows"].items():
        for name, row in found.items():
            if name != "exact":
                rows.append([kind, name, f"{row['recall']:.3f}", f"{row['ask_s_per_1000']:.2f}",
                             f"{row['build_s']:.1f}", str(row["mb"])])  # fmt: skip
    return grid(["embeddings", "index", "recall of the first 100", "CPU-s a 1,000 users", "building, CPU-s", "MB"],
                rows)  # fmt: skip


def sampled() -> str:
    """One row a way to train."""
    rows = []
    for name, row in json.loads((RESULTS / "sampled.json").read_text())["rows"].items():
        low, high = row.get("interval", (None, None))
        rows.append([name, f"{row['valid_ndcg@10'][-1]:.4f}", f"{row['test_ndcg@10']:.4f}",
                     DASH if low is None else f"[{low:.4f}, {high:.4f}]", f"{row['step_ms']:.0f}"])  # fmt: skip
    return grid(["softmax", "validation NDCG@10", "test NDCG@10", "95 % interval", "CPU-ms a step"], rows)
