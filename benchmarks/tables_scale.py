"""Tables of many: the server under load, looks of many users, large catalogues."""

import json

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
    """One row a size of the catalogue."""
    rows = []
    for items, row in json.loads((RESULTS / "catalogue.json").read_text())["rows"].items():
        rows.append([f"{int(items):,}", f"{row['pairs']:,}", f"{row['count_s'] + row['together_s']:.1f}",
                     f"{row['thinned_dense_s']:,.1f}", f"{row['thinned_s']:.2f}", f"{row['rank_s_per_1000']:.2f}",
                     f"{row['index']['recall']:.2f}" if "index" in row else DASH])  # fmt: skip
    return grid(["items", "pairs", "counting, CPU-s", "thinning before", "thinning now",
                 "full ranking, CPU-s a 1,000 users", "index: recall of the first 100"], rows)  # fmt: skip
