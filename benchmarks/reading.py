"""Measure how a large file of interactions is read: CPU-seconds and peak memory, beside polars and duckdb.

Each reader does the same in a process of its own: read user, item and time, turn ids into numbers from 1 in sorted
order, sort by user and time. The file is synthetic: 20 million rows in the order of time, a million users and a hundred
thousand items of uneven frequency, ids as shops write them.

python benchmarks/reading.py                     # writes benchmarks/results/reading.json; needs polars and duckdb
python benchmarks/reading.py --rows 200000 --out /tmp/reading.json
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SEED = 0
ONE = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "PYTHONPATH": str(ROOT)}
"""Every reader works in one thread."""


def write(folder: Path, rows: int) -> dict[str, Path]:
    """Write the file as CSV and as Parquet, a million rows at a time; return where they are."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    generator = np.random.default_rng(SEED)
    users = np.array([f"C{number:08d}" for number in generator.permutation(10**8 // 50)[: max(rows // 20, 1)]])
    items = np.array([f"B{number:09X}" for number in generator.permutation(10**6)[: max(rows // 200, 1)]])
    paths = {"csv": folder / "clicks.csv", "parquet": folder / "clicks.parquet"}
    schema = pa.schema(
        [("user_id", pa.string()), ("item_id", pa.string()), ("rating", pa.float64()), ("timestamp", pa.int64())]
    )
    with csv.CSVWriter(paths["csv"], schema) as one, parquet.ParquetWriter(paths["parquet"], schema) as other:
        for start in range(0, rows, 10**6):
            count = min(10**6, rows - start)
            table = pa.table(
                [
                    users[(len(users) * generator.random(count) ** 2).astype(int)],
                    items[(len(items) * generator.random(count) ** 4).astype(int)],
                    generator.integers(1, 6, count).astype(float),
                    1_600_000_000 + 5 * (start + np.arange(count)) // 2 + generator.integers(0, 90, count),
                ],
                schema=schema,
            )
            one.write_table(table)
            other.write_table(table)
    return paths


def ours(path: Path) -> tuple:
    """The reader of this project."""
    from recsys.data.interactions import read_interactions

    found = read_interactions(path)
    return found.users, found.items, found.timestamps, found.user_names, found.item_names


def polars(path: Path) -> tuple:
    """Polars, lazily: only the columns that are needed."""
    import polars as pl

    scan = pl.scan_csv if path.suffix == ".csv" else pl.scan_parquet
    frame = scan(path).select("user_id", "item_id", "timestamp").with_row_index().collect()
    names = []
    for column in ("user_id", "item_id"):
        known = frame[column].unique().sort()
        names.append(known)
        codes = known.to_frame().with_row_index("code", offset=1)
        frame = frame.join(codes, on=column, how="left", maintain_order="left").drop(column).rename({"code": column})
    frame = frame.sort("user_id", "timestamp", "index").unique(["user_id", "item_id", "timestamp"], keep="first",
                                                               maintain_order=True)  # fmt: skip
    return (*(frame[column].to_numpy() for column in ("user_id", "item_id", "timestamp")), *names)


def duckdb(path: Path) -> tuple:
    """Duckdb: one table, two of names, one sort."""
    import duckdb as db

    con = db.connect(config={"threads": 1})
    con.sql(f"create table raw as select user_id, item_id, timestamp from '{path}'")
    names = []
    for column in ("user_id", "item_id"):
        con.sql(f"create table {column}s as select {column}, row_number() over (order by {column})::int as code from "
                f"(select distinct {column} from raw)")  # fmt: skip
        names.append(con.sql(f"select {column} from {column}s order by code").fetchnumpy()[column])
    found = con.sql(
        "select user_ids.code as u, item_ids.code as i, timestamp as t from (select user_id, item_id, timestamp, "
        "min(rowid) as n from raw group by all) join user_ids using (user_id) join item_ids using (item_id) "
        "order by u, t, n"
    ).fetchnumpy()
    return found["u"], found["i"], found["t"], *names


IMPORTS = {
    "ours": ["recsys.data.interactions", "pyarrow.csv", "pyarrow.parquet", "pyarrow.compute"],
    "polars": ["polars"],
    "duckdb": ["duckdb"],
}
READERS = {"ours": ours, "polars": polars, "duckdb": duckdb}


def measure(reader: str, path: Path) -> dict:
    """Read a file in a process of its own."""
    command = [sys.executable, __file__, "--reader", reader, "--path", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=os.environ | ONE)
    return json.loads(done.stdout.splitlines()[-1])


def report(reader: str, path: Path) -> None:
    """Read, and print what it took as JSON; imports do not count in time, but in memory."""
    for name in IMPORTS[reader]:
        importlib.import_module(name)
    begin, spent = time.perf_counter(), time.process_time()
    users, items, times, user_names, _ = READERS[reader](path)
    seconds, spent = time.perf_counter() - begin, time.process_time() - spent
    check = int((np.asarray(users, np.int64) * 31 + np.asarray(items, np.int64))[:: max(len(users) // 1000, 1)].sum())
    print(json.dumps({"rows": len(users), "users": len(user_names) - (reader == "ours"), "check": check,
                      "cpu_s": round(spent, 1), "wall_s": round(seconds, 1),
                      "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)}))  # fmt: skip


def main() -> None:
    """Write the file, read it in every way, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "reading.json")
    parser.add_argument("--readers", nargs="+", default=list(READERS))
    parser.add_argument("--folder", type=Path, default=None, help="keep the files there")
    parser.add_argument("--reader", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.reader:
        report(args.reader, args.path)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = args.folder or Path(place)
        paths = {"csv": folder / "clicks.csv", "parquet": folder / "clicks.parquet"}
        if not all(path.is_file() for path in paths.values()):
            folder.mkdir(parents=True, exist_ok=True)
            paths = write(folder, args.rows)
        results: dict = {}
        for kind, path in paths.items():
            results[kind] = {"bytes": path.stat().st_size}
            for reader in args.readers:
                results[kind][reader] = measure(reader, path)
                print(kind, reader, results[kind][reader], flush=True)
    libraries = {name: version(name) for name in ("pyarrow", "numpy", "polars", "duckdb")}
    figures = {"rows": args.rows, "seed": SEED, "results": results, "versions": libraries}
    args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
