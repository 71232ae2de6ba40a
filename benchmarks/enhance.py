"""Does diffusion as an enhancer help SASRec on short histories? One JSON in benchmarks/results for each data set.

    python benchmarks/enhance.py --data ml-100k --longest 10 --arms none popular counts diffuasr --seeds 0 1 2

With --longest K every user keeps the last h + 2 items, h drawn from 2..K, so that a history is short and what truly
came before it is known; --longest 0 leaves the data as they are. The arms differ in nothing but the enhancer:

    none       SASRec as it is
    popular    10 earlier items drawn by popularity: longer sequences, no knowledge
    counts     10 earlier items, each drawn from the counts of what came before the next one
    diffuasr   earlier items by recsys/models/diffuasr.py, on the embeddings of `none`
    true       the 10 items that truly came before: the ceiling of every augmenter
    robust     `none` with its item embeddings denoised by recsys/models/robust.py

Settings are chosen on the validation cases of the first seed and test is measured once. Results, checkpoints and values
per case are kept under --runs, so a run that was stopped can be repeated and arms can be added.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recommend import folder_of, write_cases
from report import DATA, RESULTS, cpu, git, write_json

from recsys.data import datasets
from recsys.data.augment import Augment, Augmented, augmented_split
from recsys.data.splits import Split, leave_one_out
from recsys.evaluate import Report, difference, evaluate, sign_flip_test
from recsys.models.diffuasr import DiffuASR, DiffuASRConfig
from recsys.models.robust import Robust, RobustConfig, neighbours, with_item_embeddings
from recsys.models.sasrec import SASRec, SASRecConfig
from recsys.train import TrainConfig, train
from recsys.types import Cases

CHOSEN_BY = "ndcg@10"
LENGTH = 10
BASE = {"d": 64, "layers": 1, "heads": 2, "dropout": 0.3, "max_len": 50, "max_softmax": 2000}
BASE_LOOP = {"epochs": 40, "batch_size": 64, "learning_rate": 3e-3, "validate_every": 2, "patience": 3}
DIFFUASR_LOOP = {"epochs": 150, "batch_size": 128, "learning_rate": 2e-3, "max_length": 60}
ROBUST_LOOP = {"epochs": 60, "batch_size": 64, "learning_rate": 1e-3}
CANDIDATES: dict[str, tuple[dict[str, Any], ...]] = {
    "none": ({},),
    "popular": ({"length": LENGTH},),
    "counts": ({"length": LENGTH},),
    "true": ({"length": LENGTH},),
    "diffuasr": ({"length": LENGTH, "max_len": 1}, {"length": LENGTH, "max_len": 50}, {"length": 3, "max_len": 1}),
    "robust": tuple({"start": start, "blend": blend} for start in (5, 15, 30) for blend in (0.3, 1.0)),
}


@dataclass(frozen=True)
class Data:
    """The split that is measured, and what truly came before each (shortened) sequence, by its items' bytes."""

    split: Split
    before: dict[bytes, np.ndarray]


@dataclass(frozen=True)
class Place:
    """Where one arm's model of one seed is kept."""

    data: Data
    seed: int
    runs: Path

    def folder(self, name: str, settings: dict[str, Any]) -> Path:
        """Return the folder of what `settings` describes."""
        return folder_of(self.runs / name, settings, self.seed)


def main() -> int:
    """Run what the command line asks for."""
    args = _arguments()
    torch.set_num_threads(args.threads)
    data = shortened(datasets.load(args.data, root=args.root), args.longest)
    name = f"{args.data}-{args.longest}" if args.longest else args.data
    runs = Path(args.runs) / name
    for arm in args.arms:
        done = runs / f"{arm}.json"
        if not done.exists() or not set(args.seeds) <= set(json.loads(done.read_text())["seeds"]):
            write_json(done, _measure(arm, data, args.seeds, runs))
        print(f"{arm} done", flush=True)
    write_json(RESULTS / f"enhance-{name}.json", _result(name, data, runs, args))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="ml-100k", choices=datasets.names())
    parser.add_argument("--longest", type=int, default=10, help="cut histories to 2..K items; 0 leaves them")
    parser.add_argument("--arms", nargs="+", default=list(CANDIDATES), choices=list(CANDIDATES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--root", default=DATA, help="folder of the data sets")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", default="runs/enhance", help="folder for checkpoints and per-case values")
    return parser.parse_args()


def shortened(split: Split, longest: int) -> Data:
    """Keep the last h + 2 items of every user with a test case, h drawn from 2..longest (seed 0); 0 keeps all."""
    whole = [np.concatenate(pair) for pair in zip(split.test.histories, split.test.targets, strict=True)]
    if longest == 0:
        return Data(split, {})
    keep = np.random.default_rng(0).integers(2, longest + 1, len(whole)) + 2
    cut = [sequence[-k:] for sequence, k in zip(whole, keep, strict=True)]
    short = leave_one_out(cut, split.n_items)
    before = {}
    for sequence, k in zip(whole, keep, strict=True):
        for end in (2, 1):  # the training sequence and validation history, the test history
            before[sequence[-k:-end].tobytes()] = sequence[:-k]
    return Data(short, before)


def _measure(arm: str, data: Data, seeds: list[int], runs: Path) -> dict[str, Any]:
    """Choose an arm's settings on validation, then measure every seed on test."""
    choices = []
    for settings in CANDIDATES[arm] if len(CANDIDATES[arm]) > 1 else ():
        report = _evaluate(_built(arm, settings, Place(data, seeds[0], runs))[0], data.split.valid)
        choices.append({"settings": settings, "valid": report.metrics})
        print(arm, settings, round(report.metrics[CHOSEN_BY], 4), flush=True)
    settings = max(choices, key=lambda c: c["valid"][CHOSEN_BY])["settings"] if choices else CANDIDATES[arm][0]
    found: dict[str, Any] = {"arm": arm, "settings": settings, "choices": choices, "seeds": seeds, "about": []}
    reports = []
    for seed in seeds:
        begin = time.process_time()
        model, about = _built(arm, settings, Place(data, seed, runs))
        reports.append(_evaluate(model, data.split.test))
        about |= {"seed": seed, "test": reports[-1].metrics, "cpu_s": round(time.process_time() - begin, 1)}
        found["about"].append(about)
        print(arm, "seed", seed, {k: round(v, 4) for k, v in reports[-1].metrics.items()}, flush=True)
    cases = {name: np.mean([r.per_case[name] for r in reports], axis=0) for name in reports[0].per_case}
    write_cases(runs / arm / "per_case.npz", cases)
    return found


def _evaluate(model: Any, cases: Cases) -> Report:
    return evaluate(model, cases, at=(10,), resamples=0)


def _built(arm: str, settings: dict[str, Any], place: Place) -> tuple[Any, dict[str, Any]]:
    """Train what an arm needs, or take it up; return the recommender and what there is to say about it."""
    if arm == "none":
        return _sasrec("none", {}, place.data.split, place), {}
    if arm == "robust":
        return _robust(settings, place), {}
    augment = _augmenter(arm, settings, place)
    model = _sasrec(arm, settings, augmented_split(place.data.split, augment), place)
    return Augmented(model, augment), _quality(augment, place.data)


def _sasrec(arm: str, settings: dict[str, Any], split: Split, place: Place) -> SASRec:
    torch.manual_seed(place.seed)
    model = SASRec(SASRecConfig(split.n_items, **BASE))
    folder = place.folder(arm, {"base": BASE, "loop": BASE_LOOP, **settings})
    _train(model, split, TrainConfig(seed=place.seed, **BASE_LOOP), folder)
    return model


def _train(model: Any, split: Split, plan: TrainConfig, folder: Path) -> None:
    for step in train(model, split, plan, folder=folder / "checkpoints", resume=True):
        if step.metrics or (not len(split.valid) and step.epoch % 10 == 0):
            shown = step.metrics[CHOSEN_BY] if step.metrics else float("nan")
            print(f"  {folder.parent.name} {step.epoch:.0f} {step.losses['loss']:.4f} {shown:.4f}", flush=True)


def _robust(settings: dict[str, Any], place: Place) -> SASRec:
    base = _sasrec("none", {}, place.data.split, place)
    embeddings, split = base.item_embeddings(), place.data.split
    torch.manual_seed(place.seed)
    model = Robust(
        RobustConfig(split.n_items), embeddings=embeddings, context=neighbours(split.train, embeddings, window=3)
    )
    _train(model, _bare(split), TrainConfig(seed=place.seed, **ROBUST_LOOP), place.folder("robust", ROBUST_LOOP))
    blend = settings["blend"]
    return with_item_embeddings(base, (1 - blend) * embeddings + blend * model.denoised(start=settings["start"]))


def _augmenter(arm: str, settings: dict[str, Any], place: Place) -> Augment:
    """What puts items before sequences; whatever it draws belongs to the sequence's first item and the seed."""
    data, length = place.data, settings["length"]
    if arm == "true":
        return lambda sequences: [np.concatenate([data.before[s.tobytes()][-length:], s]) for s in sequences]
    if arm == "diffuasr":
        model, seed = _diffuasr(settings["max_len"], place), torch.Generator().manual_seed(place.seed)
        return lambda sequences: model.augment(sequences, length=length, generator=seed)
    step = _popular(data.split) if arm == "popular" else _before(data.split)
    return lambda sequences: [_walk(s, step, length, place.seed) for s in sequences]


def _diffuasr(max_len: int, place: Place) -> DiffuASR:
    base = _sasrec("none", {}, place.data.split, place)
    torch.manual_seed(place.seed)
    config = DiffuASRConfig(place.data.split.n_items, length=LENGTH, max_len=max_len)
    model = DiffuASR(config, embeddings=base.item_embeddings())
    folder = place.folder("diffuasr-model", {"max_len": max_len, "loop": DIFFUASR_LOOP})
    _train(model, _bare(place.data.split), TrainConfig(seed=place.seed, **DIFFUASR_LOOP), folder)
    return model


def _bare(split: Split) -> Split:
    """The training sequences alone: an enhancer ranks nothing that could be validated."""
    return replace(split, valid=Cases([], []), test=Cases([], []))


Before = Callable[[int, np.random.Generator], int]


def _popular(split: Split) -> Before:
    items = np.concatenate(split.train)
    return lambda _, random: int(random.choice(items))


def _before(split: Split) -> Before:
    """Draw from what came before an item in training; where nothing did, by popularity."""
    found: dict[int, list[int]] = {}
    for sequence in split.train:
        for first, second in zip(sequence[:-1].tolist(), sequence[1:].tolist(), strict=True):
            found.setdefault(second, []).append(first)
    popular = _popular(split)
    return lambda item, random: int(random.choice(found[item])) if item in found else popular(item, random)


def _walk(sequence: np.ndarray, step: Before, length: int, seed: int) -> np.ndarray:
    random = np.random.default_rng([seed, *sequence[:2].tolist()])
    item, earlier = int(sequence[0]) if len(sequence) else 0, []
    for _ in range(length):
        item = step(item, random)
        earlier.append(item)
    return np.concatenate([np.array(earlier[::-1], np.int64), sequence])


def _quality(augment: Augment, data: Data) -> dict[str, Any]:
    """The share of pseudo-items of test histories that the user took before, where that is known, and their variety."""
    histories = data.split.test.histories
    new = [a[: len(a) - len(s)] for a, s in zip(augment(histories), histories, strict=True)]
    pairs = [np.isin(items, data.before[s.tobytes()]) for items, s in zip(new, histories, strict=True) if data.before]
    return {
        "pseudo_items_truly_taken": float(np.concatenate(pairs).mean()) if pairs else None,
        "distinct_pseudo_items": len(np.unique(np.concatenate(new))),
    }


def _result(name: str, data: Data, runs: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Put together every arm that was measured, with paired differences from `none` in each group of lengths."""
    files = {arm: runs / f"{arm}.json" for arm in CANDIDATES}
    arms = {arm: json.loads(file.read_text()) for arm, file in files.items() if file.exists()}
    cases = {arm: dict(np.load(runs / arm / "per_case.npz")) for arm in arms}
    lengths = np.array([len(history) for history in data.split.test.histories])
    groups = {"all": lengths > 0} | _thirds(lengths)
    return _about(args) | {
        "data": name,
        "data_fingerprint": data.split.fingerprint(),
        "cases": len(lengths),
        "protocol": "full ranking, real items of the history masked; chosen on validation, first seed; test once",
        "base": {"model": "sasrec", "settings": BASE, "train": BASE_LOOP},
        "diffuasr": {"train": DIFFUASR_LOOP},
        "robust": {"train": ROBUST_LOOP},
        "arms": arms,
        "by_length": {group: _group(rows, cases) for group, rows in groups.items()},
        "differences": "arm - none over cases, values averaged over seeds; paired bootstrap, sign-flip test",
    }


def _group(rows: np.ndarray, cases: dict[str, dict[str, np.ndarray]]) -> dict[str, Any]:
    found: dict[str, Any] = {"cases": int(rows.sum())}
    for arm, values in cases.items():
        for metric in ("recall@10", "ndcg@10"):
            one = {"mean": float(values[metric][rows].mean())}
            if arm != "none" and "none" in cases:
                pair = values[metric][rows], cases["none"][metric][rows]
                gap, low, high = difference(*pair)
                one |= {"minus_none": gap, "interval_95": [low, high], "p": sign_flip_test(*pair)}
            found.setdefault(arm, {})[metric] = one
    return found


def _thirds(lengths: np.ndarray) -> dict[str, np.ndarray]:
    """Three groups of lengths of about equal size, by name."""
    low, high = (int(x) for x in np.quantile(lengths, [1 / 3, 2 / 3]))
    bounds: Sequence[tuple[int, int]] = ((1, low), (low + 1, high), (high + 1, int(lengths.max())))
    return {f"{a}-{b}": (lengths >= a) & (lengths <= b) for a, b in bounds if ((lengths >= a) & (lengths <= b)).any()}


def _about(args: argparse.Namespace) -> dict[str, Any]:
    packages = ("torch", "numpy", "accelerate", "safetensors")
    words = f"--data {args.data} --longest {args.longest} --arms {' '.join(args.arms)}"
    return {
        "benchmark": "enhance",
        "command": f"python benchmarks/enhance.py {words} --seeds {' '.join(map(str, args.seeds))}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": git("rev-parse", "HEAD"),
        "changed_files": git("status", "--porcelain", "--", "recsys", "benchmarks").splitlines(),
        "hardware": {"cpu": cpu(), "cores": os.cpu_count(), "threads_used": args.threads},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }


if __name__ == "__main__":
    sys.exit(main())
