"""`personagen tryon train` and `personagen tryon evaluate`."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from personagen.corpora.pairs import read_pairs, readable
from personagen.devices import Compute
from personagen.files import check_place, write_text, write_whole
from personagen.metrics.fid import load_features
from personagen.metrics.lpips import load_lpips
from personagen.metrics.tryon import Case, contact_sheet, evaluate_tryon, set_distances, summarise
from personagen.models import open_tryon
from personagen.pretrain.pairs_config import TryOnTrainConfig
from personagen.pretrain.tryon_pairs import train_tryon_pairs
from personagen.provenance import versions
from personagen.schedulers import sampler_of
from personagen.tryon.config import TryOnEvaluateConfig
from personagen.vocabulary import counted
from recsys.errors import SEEDS, ConfigError, check_range
from recsys.folders import alone

from ..progress import bar, first_process, note
from ..signals import Patience
from .pretrain import follow
from .weights import note_sampler


def train(settings: TryOnTrainConfig) -> int:
    """Train to the end; the same command goes on from the newest checkpoint. Returns 0.

    Raises:
        ConfigError, DataError, ModelError, ResourceError: what the message names.
        Stopped: after a signal, with a checkpoint written.
    """
    folder = f"{settings.output_dir}/checkpoints"
    with alone(settings.output_dir):
        steps = train_tryon_pairs(settings, tell=note)
        follow(steps, total=settings.loop.steps, label="tryon", unit="step", checkpoints=folder)
    if first_process():
        print(f"training is done; its result is in {settings.output_dir}")
    return 0


def evaluate(settings: TryOnEvaluateConfig) -> int:
    """Write figures.json, cases.csv and sheet.png to `settings.out`. Returns 0.

    Raises:
        ConfigError, DataError: the pairs.
        ModelError, ResourceError: what the message names.
        Stopped: after a signal, nothing written.
    """
    check_range(steps=(settings.steps, 1, 1000), guidance=(settings.guidance, 1, 30), seed=(settings.seed, *SEEDS))
    check_range(limit=(1 if settings.limit is None else settings.limit, 1, 10**9))
    note_sampler(settings.scheduler, settings.steps)
    out, compute = check_place(Path(settings.out)), settings.compute()
    if out.is_file():
        raise ConfigError(f"out is {out}, which is a file; name a folder")
    pairs = read_pairs(
        settings.root, settings.layout, split="test", paired=settings.paired, ids=settings.ids
    )[: settings.limit]  # fmt: skip
    pairs, listed = readable(pairs, note), len(pairs)  # before the models are loaded, and anything is painted
    features = None if settings.backbone is None else load_features(settings.backbone)
    lpips = None if settings.lpips is None else load_lpips(settings.lpips)
    pipeline, cases = _pipeline(settings, compute), []
    with Patience() as patience, bar(None, total=len(pairs), label="tryon", unit="pair") as progress:
        for case in evaluate_tryon(
            pipeline, pairs, paired=settings.paired, num_inference_steps=settings.steps,
            guidance_scale=settings.guidance, repaint=settings.repaint, seed=settings.seed, lpips=lpips,
        ):  # fmt: skip
            cases.append(case)
            progress.update(1)
            if patience.asked:
                break
    patience.end("nothing is written")
    distances = {} if features is None else set_distances(cases, features)
    _write(settings, compute, cases, distances, sampler=sampler_of(pipeline), left_out=listed - len(pairs))
    return 0


def _pipeline(settings: TryOnEvaluateConfig, compute: Compute) -> Any:
    pipeline = open_tryon(settings.model, base=settings.base, scheduler=settings.scheduler, compute=compute)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _write(
    settings: TryOnEvaluateConfig,
    compute: Compute,
    cases: list[Case],
    distances: dict[str, float],
    *,
    sampler: str,
    left_out: int,
) -> None:
    out, summary = Path(settings.out), summarise(cases)
    for name in ("figures.json", "cases.csv", "sheet.png"):
        (out / name).unlink(missing_ok=True)  # figures come last: with them the others are of the same run
    by = "ssim" if settings.paired else "swap_margin"
    if by in summary:
        write_whole(out / "sheet.png", lambda part: contact_sheet(cases, by=by).save(part, format="PNG"))
    names, rows = sorted(summary), io.StringIO()
    table = csv.writer(rows)
    table.writerow(["pair", *names])
    table.writerows([case.key, *(case.figures.get(name, "") for name in names)] for case in cases)
    write_whole(out / "cases.csv", lambda part: part.write_text(rows.getvalue(), encoding="utf-8", newline=""))
    used = {"layout": settings.layout, "paired": settings.paired, "steps": settings.steps, "seed": settings.seed,
            "guidance": settings.guidance, "sampler": sampler, "repaint": settings.repaint, "left_out": left_out,
            "model": Path(settings.model).name,
            "lpips_weights": None if settings.lpips is None else Path(settings.lpips).name,
            "device": compute.device, "dtype": str(compute.torch_dtype).removeprefix("torch.")}  # fmt: skip
    written = json.dumps({**used, "figures": summary, **distances, "versions": versions()}, indent=1)
    write_text(out / "figures.json", written + "\n")
    for name, value in summary.items():
        low, high = value["interval"]
        print(f"{name:14} {value['mean']:8.4f}  ({low:.4f} to {high:.4f}, {counted(value['n'], 'pair')})")
    for name, value in distances.items():
        print(f"{name:14} {value:8.4f}  (results against photos, {counted(len(cases), 'pair')})")
    print(f"wrote {out}/figures.json, cases.csv" + (" and sheet.png" if by in summary else ""))
