"""Compare the recommenders by full ranking: one JSON in benchmarks/results for each data set and row of the table.

    python benchmarks/recommend.py --data ml-100k --models markov sasrec dreamrec --seeds 0 1 2

Settings are chosen among a row's candidates on the validation cases of the first seed, and training stops there too;
the test cases are measured once, with the settings chosen. A result that is there already is kept, and a run that was
stopped goes on from its checkpoint, so the command can be repeated. Afterwards recsys-DATA-differences.json compares
the rows case by case. The data are not part of the project: their folder is --root, or PERSONAGEN_DATA.
"""

import argparse
import hashlib
import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import DATA, RESULTS, cpu, git, write_json
from rows import ROWS, Row, row_of

from personagen.files import write_whole
from recsys.counts.texts import text_features, text_neighbours
from recsys.data import datasets
from recsys.data.splits import Split, pad
from recsys.evaluate import (
    Report,
    difference,
    draw_calibration,
    evaluate,
    intervals,
    intra_list_distance,
    novelty,
)
from recsys.models import MODELS
from recsys.train import TrainConfig, train
from recsys.types import Generative, Step

CUTOFFS = (5, 10, 20)
CHOSEN_BY = "ndcg@10"
TEXT_DIMENSIONS, BEYOND, DRAWN = 256, 10, 1000


def main() -> int:
    """Run what the command line asks for."""
    args = _arguments()
    torch.set_num_threads(args.threads)
    split = datasets.load(args.data, root=args.root)
    for name in args.models:
        row = row_of(args.data, name)
        place = RESULTS / f"recsys-{args.data}-{name}.json"
        wanted = args.seeds if row.train is not None else [0]
        if place.exists() and set(wanted) <= {seed["seed"] for seed in json.loads(place.read_text())["seeds"]}:
            print(f"{place.name} is there already")
            continue
        write_json(place, _measure(name, row, split, wanted, args))
        print(f"{place.name} written", flush=True)
    _compare(args.data, Path(args.runs) / args.data)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="ml-100k", choices=datasets.names())
    parser.add_argument("--models", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--root", default=DATA, help="folder of the data sets")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", default="runs/recsys", help="folder for checkpoints and per-case values")
    return parser.parse_args()


def _measure(name: str, row: Row, split: Split, seeds: list[int], args: argparse.Namespace) -> dict[str, Any]:
    """Choose the settings, run every seed with them and put the result together."""
    runs = Path(args.runs) / args.data / name
    runs.mkdir(parents=True, exist_ok=True)
    choices = [_choice(row, settings, split, seeds[0], runs) for settings in row.candidates]
    best = max(choices, key=lambda choice: choice["valid"][CHOSEN_BY])
    settings = row.base | best["settings"]
    results, masked, unmasked = [], [], []
    for seed in seeds:
        result, reports = _seed(row, settings, split, seed, runs)
        results.append(result)
        masked.append(reports[0])
        unmasked.append(reports[1])
        print(
            args.data,
            name,
            "seed",
            seed,
            {k: round(v, 4) for k, v in reports[0].metrics.items() if "10" in k},
            flush=True,
        )
    write_cases(runs / "per_case.npz", _mean_cases(masked))
    return _about(name, args) | {
        "data": args.data,
        "model": name,
        "data_fingerprint": split.fingerprint(),
        "protocol": "full ranking of all items; masked: items of the history are not ranked; unmasked: they are",
        "settings": settings,
        "train": row.train,
        "chosen_by": f"{CHOSEN_BY} on validation, masked, seed {seeds[0]}",
        "choices": choices,
        "test": {"cases": len(split.test), "masked": _summary(masked), "unmasked": _summary(unmasked)},
        "seeds": results,
    }


def _choice(row: Row, settings: dict[str, Any], split: Split, seed: int, runs: Path) -> dict[str, Any]:
    """Measure one candidate on validation; it is cached beside its checkpoints."""
    cache = folder_of(runs, row.base | settings, seed) / "valid.json"
    if not cache.exists():
        model, spent = trained(row, row.base | settings, split, seed, runs)
        begin = time.process_time()
        report = evaluate(model, split.valid, at=(10,), resamples=0, generator=torch.Generator().manual_seed(seed))
        found = {
            "settings": settings,
            "valid": report.metrics,
            "train_cpu_s": spent,
            "cpu_s": time.process_time() - begin,
        }
        write_json(cache, found)
    found = json.loads(cache.read_text())
    print("candidate", settings, round(found["valid"][CHOSEN_BY], 4), f"{found['train_cpu_s']:.1f} CPU-s", flush=True)
    return found


def _seed(
    row: Row, settings: dict[str, Any], split: Split, seed: int, runs: Path
) -> tuple[dict[str, Any], tuple[Report, Report]]:
    """Train (or take up) one seed and measure it on test, masked and unmasked."""
    model, spent = trained(row, settings, split, seed, runs)
    reports = []
    for exclude_seen in (True, False):
        draws = torch.Generator().manual_seed(seed)
        reports.append(evaluate(model, split.test, at=CUTOFFS, exclude_seen=exclude_seen, resamples=0, generator=draws))
    result = {
        "seed": seed,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad) if row.train is not None else 0,
        "beyond_accuracy": _beyond(reports[0].ranked[:, :BEYOND], split),
        "draws": _draws(model, split, seed),
        "train_cpu_s": round(spent, 2),
        "decode_cpu_s_per_1000": _decoding(model, split, seed),
        "masked": reports[0].metrics,
        "unmasked": reports[1].metrics,
        "seen_targets": reports[0].seen_targets,
    }
    return result, (reports[0], reports[1])


def _beyond(lists: np.ndarray, split: Split) -> dict[str, float]:
    """How novel and how varied the lists (C, 10) are; variety by the items' texts, where these have words."""
    counts = np.bincount(np.concatenate(split.train), minlength=split.n_items + 1)
    found = {f"novelty_bits@{BEYOND}": novelty(lists, counts)}
    if split.item_names is not None:
        features = _described(split.item_names)
        found[f"intra_list_distance@{BEYOND}"] = intra_list_distance(lists, features.numpy())
    return found


def _draws(model: Any, split: Split, seed: int) -> dict[str, float] | None:
    """How a generative model's draws are calibrated, on DRAWN test cases."""
    if not isinstance(model, Generative):
        return None
    cases = split.test.take(np.linspace(0, len(split.test) - 1, min(DRAWN, len(split.test))).astype(int))
    return draw_calibration(model, cases, generator=torch.Generator().manual_seed(seed))


def untrained(row: Row, settings: dict[str, Any], split: Split) -> Any:
    """Build a row's model for the data's items."""
    build, config = MODELS[row.model]
    own = {key: value for key, value in settings.items() if not key.startswith("train.")}
    return _with_texts(build, config, split, own) if row.texts else build(config(n_items=split.n_items, **own))


def trained(row: Row, settings: dict[str, Any], split: Split, seed: int, runs: Path) -> tuple[Any, float]:
    """Build and train a model, or take up its checkpoints; return it and the CPU-seconds spent in all."""
    loop = {key.removeprefix("train."): value for key, value in settings.items() if key.startswith("train.")}
    torch.manual_seed(seed)
    model = untrained(row, settings, split)
    begin = time.process_time()
    if row.train is None:
        return model.fit(split.train), time.process_time() - begin
    folder = folder_of(runs, settings, seed)
    clock = folder / "cpu_s.txt"
    before = float(clock.read_text()) if clock.exists() else 0.0
    plan = TrainConfig(seed=seed, **(row.train | loop))
    went_on = False
    for step in train(model, split, plan, folder=folder / "checkpoints", resume=True):
        went_on = True
        if step.metrics:
            clock.write_text(str(before + time.process_time() - begin))
            _note_epoch(folder / "curve.json", step)
            print(
                f"  epoch {step.epoch:.0f} loss {step.losses['loss']:.4f} {CHOSEN_BY} {step.metrics[CHOSEN_BY]:.4f}",
                flush=True,
            )
    if went_on:  # with what a model does at the end of training; a finished run that is taken up again spends it twice
        clock.write_text(str(before + time.process_time() - begin))
    return model, float(clock.read_text())


@cache
def _described(texts: tuple[str, ...]) -> torch.Tensor:
    """Features of the items' texts, the same for every seed and row."""
    return text_features(texts, dimensions=TEXT_DIMENSIONS)


def _note_epoch(path: Path, step: Step) -> None:
    """Append an epoch's loss and validation figure to a run's training curve."""
    curve = json.loads(path.read_text()) if path.exists() else []
    kept = [point for point in curve if point["step"] < step.step]  # a resumed run may come by again
    figure = (step.metrics or {})[CHOSEN_BY]
    write_json(path, [*kept, {"step": step.step, "epoch": step.epoch, "loss": step.losses["loss"], CHOSEN_BY: figure}])


def _with_texts(build: Any, config: Any, split: Split, own: dict[str, Any]) -> Any:
    """Build a model that knows items by id and by text."""
    texts = split.item_names or ()
    features = _described(texts)
    model = build(config(n_items=split.n_items, items="both", n_features=features.shape[1], **own), features=features)
    model.set_neighbours(text_neighbours(texts))
    return model


def folder_of(runs: Path, settings: dict[str, Any], seed: int) -> Path:
    """Make the folder of a run: one for each settings and seed."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    folder = runs / f"{digest}-seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _decoding(model: Any, split: Split, seed: int) -> float:
    """Median CPU-seconds of three rankings for 1,000 users."""
    return round(sorted(ranking_seconds(model, split, seed=seed) for _ in range(3))[1], 4)


def ranking_seconds(model: Any, split: Split, *, seed: int = 0) -> float:
    """CPU-seconds to rank 1,000 test histories (or fewer, scaled up), padding included, in batches of 256."""
    histories, begin = split.test.histories[:1000], time.process_time()
    for low in range(0, len(histories), 256):
        model.recommend(pad(histories[low : low + 256]), 20, generator=torch.Generator().manual_seed(seed))
    return (time.process_time() - begin) * 1000 / len(histories)


def _mean_cases(reports: list[Report]) -> dict[str, np.ndarray]:
    """Average each case's values over seeds."""
    return {name: np.mean([report.per_case[name] for report in reports], axis=0) for name in reports[0].per_case}


def _summary(reports: list[Report]) -> dict[str, Any]:
    """Mean over seeds, a 95 % interval over cases, and the spread over seeds."""
    bounds = intervals(_mean_cases(reports))
    summary: dict[str, dict[str, Any]] = {}
    for name in reports[0].metrics:
        values = [report.metrics[name] for report in reports]
        summary[name] = {
            "mean": float(np.mean(values)),
            "seed_sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        }
        if name in bounds:
            summary[name]["interval_95"] = bounds[name]
    return summary


def _compare(data: str, runs: Path) -> None:
    """Write the paired differences of every row to the baselines, where both were run here; earlier ones are kept."""
    cases = {path.parent.name: dict(np.load(path)) for path in sorted(runs.glob("*/per_case.npz"))}
    found = {}
    for other in ("markov", "sasrec", "dreamrec-paper"):
        for name in cases:
            if other in cases and name != other:
                for metric in ("recall@10", "ndcg@10"):
                    mean, low, high = difference(cases[name][metric], cases[other][metric])
                    found[f"{name} - {other}, {metric}"] = {"mean": mean, "interval_95": [low, high]}
    if found:
        note = "test, masked, means over seeds; paired bootstrap over cases"
        place = RESULTS / f"recsys-{data}-differences.json"
        before = json.loads(place.read_text())["differences"] if place.exists() else {}
        write_json(place, {"data": data, "what": note, "differences": dict(sorted((before | found).items()))})


def _about(name: str, args: argparse.Namespace) -> dict[str, Any]:
    seeds = " ".join(map(str, args.seeds))
    packages = ("torch", "numpy", "accelerate", "safetensors")
    return {
        "benchmark": "recsys",
        "command": f"python benchmarks/recommend.py --data {args.data} --models {name} --seeds {seeds}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": git("rev-parse", "HEAD"),
        "changed_files": git(
            "status", "--porcelain", "--untracked-files=no", "--", "recsys", "benchmarks"
        ).splitlines(),
        "hardware": {"cpu": cpu(), "cores": os.cpu_count(), "threads_used": args.threads},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }


def write_cases(path: Path, cases: dict[str, np.ndarray]) -> None:
    """Write the measures of single cases, (cases,) each by name, as .npz, whole or not at all."""

    def write(part: Path) -> None:
        with open(part, "wb") as stream:
            np.savez(stream, allow_pickle=False, **cases)

    write_whole(path, write)


if __name__ == "__main__":
    sys.exit(main())
