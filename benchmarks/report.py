"""What every result says of itself, and how it reaches the disk."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from personagen.files import write_text

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
DATA = os.environ.get("PERSONAGEN_DATA") or str(HERE.parents[1] / "shared" / "data")
"""Where the public data sets lie: `recsys/NAME` or `NAME` below it."""


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_report(path: Path, result: dict[str, Any]) -> str:
    """Write a result with the command that made it (paths by their last part), commit and versions; return the JSON."""
    words = [word.rsplit("/", 1)[-1] for word in sys.argv[1:]]
    report = {
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words]),
        "commit": git("rev-parse", "--short", "HEAD"),
        **result,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    write_json(path, report)
    return path.read_text(encoding="utf-8")


def mean_of(values: Sequence[float]) -> dict[str, Any]:
    """The mean of some values, its 95 % bootstrap interval, and how many they are."""
    from personagen.metrics.fidelity import bootstrap_interval  # the recommenders' benchmarks know nothing of pictures

    low, high = bootstrap_interval(np.array(values, float), generator=torch.Generator().manual_seed(0))
    return {"mean": round(float(np.mean(values)), 4), "interval": [round(low, 4), round(high, 4)], "n": len(values)}


def git(*words: str) -> str:
    """What git says of this checkout; nothing outside of one."""
    done = subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def cpu() -> str:
    """Name the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
