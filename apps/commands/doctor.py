"""`personagen doctor`: what is installed, what the machine has, which weights are found."""

import json
import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from personagen.devices import resolve
from personagen.embedded import EMBEDDED, missing_files
from personagen.models.needs import NEEDS, fits

from ..extras import remedy
from .config import DoctorConfig

PACKAGES = ("personagen", "torch", "diffusers", "transformers", "accelerate", "peft", "gradio", "safetensors", "numpy",
            "pillow", "jsonargparse", "tqdm", "pyarrow")  # fmt: skip
NEEDED = {"memory_free_gib": 3.0, "disk_free_gib": 1.0}


def run(settings: DoctorConfig) -> int:
    """Print the report; return 0 when the main job can run, else the exit code of the first problem (4: no weights)."""
    report = examine()
    print(json.dumps(report, indent=2) if settings.json else _as_text(report))
    return 0 if not report["problems"] else report["problems"][0]["exit_code"]


def examine() -> dict[str, Any]:
    """Collect versions, threads, device, what auto takes, memory, free disk, weights, what fits, and problems."""
    report: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "cores": os.cpu_count() or 1,
        **_torch(),
        **_memory(),
        "disk_free_gib": round(shutil.disk_usage(Path.cwd()).free / 2**30, 1),
        "weights": weights(),
    }
    report["fits"] = what_fits(report["auto"], _bytes_free(report["auto"]))
    report["problems"] = _problems(report)
    return report


def what_fits(auto: dict[str, str] | None, free: int | None) -> list[dict[str, Any]]:
    """Say for models of real size how many bytes they need where auto would compute, how many are free, what helps."""
    if auto is None or free is None:
        return []
    width, found = 4 if auto["dtype"] == "float32" else 2, []
    for need in NEEDS:
        well, helps = fits(need, free, width=width, on_gpu=auto["device"] != "cpu")
        found.append({
            "model": need.name, "size": need.size, "parameters": sum(need.parameters.values()),
            "bytes_needed": need.needed(width=width), "bytes_working": need.working * width // 2, "bytes_free": free,
            "fits": well, "helps": helps,
        })  # fmt: skip
    return found


def _bytes_free(auto: dict[str, str] | None) -> int | None:
    """Bytes that are free where auto would compute; None where that cannot be known."""
    if auto is None or auto["device"] == "cpu":
        free = _memory()["memory_free_gib"]
        return None if free is None else int(free * 2**30)
    import torch

    if auto["device"] == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return torch.cuda.mem_get_info(auto["device"])[0] if torch.cuda.is_available() else None


def weights() -> dict[str, dict[str, Any]]:
    """Say for each embedded model where it should lie, how large it is, and which of its files are missing."""
    found = {}
    for kind, folder in EMBEDDED.items():
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
        found[kind] = {"folder": str(folder), "mib": round(size / 2**20, 1), "missing": missing_files("embedded", kind)}
    return found


def _torch() -> dict[str, Any]:
    try:
        import torch
    except ImportError:
        return {"threads": None, "device": None, "auto": None}
    device = "cpu"
    if torch.cuda.is_available():
        device = f"cuda: {torch.cuda.get_device_name(0)}"
    elif torch.backends.mps.is_available():
        device = "mps"
    chosen = resolve()
    auto = {"device": chosen.device, "dtype": str(chosen.torch_dtype).removeprefix("torch.")}
    return {"threads": torch.get_num_threads(), "device": device, "auto": auto}


def _memory() -> dict[str, float | None]:
    """Memory in GiB from /proc/meminfo, capped by the container's limit; None where neither exists."""
    total = free = None
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        total, free = (int(lines[key].split()[0]) / 2**20 for key in ("MemTotal", "MemAvailable"))
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        if limit.isdigit():
            total = min(total, int(limit) / 2**30)
            free = min(free, total)
    except (OSError, KeyError, ValueError):
        pass
    return {"memory_gib": total and round(total, 1), "memory_free_gib": free and round(free, 1)}


def _problems(report: dict[str, Any]) -> list[dict[str, Any]]:
    problems = [
        (2, f"{name} is not installed; run: {remedy(name)}") for name in PACKAGES if not report["packages"][name]
    ]
    for name, state in report["weights"].items():
        if state["missing"]:
            text = f"weights '{name}' lack {_some(state['missing'])} in {state['folder']}; "
            problems.append((4, text + "clone the repository again, or train them with: personagen pretrain"))
    for key, label in (("memory_free_gib", "memory"), ("disk_free_gib", "disk")):
        if report[key] is not None and report[key] < NEEDED[key]:
            problems.append((5, f"{report[key]} GiB of {label} free, {NEEDED[key]} needed; free some"))
    return [{"exit_code": code, "text": text} for code, text in problems]


def _as_text(report: dict[str, Any]) -> str:
    free = report["memory_free_gib"]
    lines = [
        f"python       {report['python']} on {report['system']} ({sys.executable})",
        "packages     " + ", ".join(f"{name} {have or 'missing'}" for name, have in report["packages"].items()),
        f"device       {report['device']}, {report['cores']} cores, {report['threads']} threads",
        f"auto         {_chosen(report)}",
        f"memory       {free} GiB free of {report['memory_gib']}" if free is not None else "memory       unknown here",
        f"disk         {report['disk_free_gib']} GiB free in {Path.cwd()}",
    ]
    for name, state in report["weights"].items():
        found = f"missing {_some(state['missing'])}" if state["missing"] else f"{state['mib']} MiB"
        lines.append(f"weights      {name}: {found}")
    lines += [_fitting(one, report["auto"]) for one in report["fits"]]
    lines += [f"PROBLEM      {problem['text']}" for problem in report["problems"]]
    return "\n".join(lines if report["problems"] else [*lines, "all is well  next: personagen style"])


def _fitting(one: dict[str, Any], auto: dict[str, str]) -> str:
    needed, free, working = (one[key] / 2**30 for key in ("bytes_needed", "bytes_free", "bytes_working"))
    what = f"{one['model']} at {one['size']} in {auto['dtype']}: {needed:.1f} GiB needed ({working:.0f} to work in)"
    return f"fits         {what}, {free:.1f} free: " + ("yes" if one["fits"] else f"no; {one['helps']} would")


def _chosen(report: dict[str, Any]) -> str:
    auto = report["auto"]
    return f"--device {auto['device']} --dtype {auto['dtype']}" if auto else "unknown without torch"


def _some(names: list[str]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
