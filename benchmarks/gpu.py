"""Fill the GPU rows of the benchmarks on a machine that has one: speed of training, of try-on steps, of painting.

    python benchmarks/gpu.py --dry-run       # what would be run
    python benchmarks/gpu.py                 # all rows, some twenty minutes; 10 GB of disk for random weights
    python benchmarks/gpu.py --miniature     # the same on a CPU with tiny models, to see that it runs

Speed does not depend on what weights have learnt: models have their real size and random weights. Results go to
benchmarks/results/gpu.json, a row each, which is kept when a later one fails. Without a GPU nothing is measured.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from own_weights import measure, write_real

from personagen.provenance import commit, versions
from tests.personagen import checkpoints

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "gpu.json"
SCRIPTS = (
    ("training, embedded", "subject_speed.py --size embedded --precision bf16"),
    ("training, SD 1.5 at 512", "subject_speed.py --size sd15 --resolution 512 --precision bf16"),
    ("training, SDXL at 1024", "subject_speed.py --size sdxl --resolution 1024 --precision bf16 --checkpointing"),
    ("try-on steps at 512 x 384", "tryon.py speed --dtype bfloat16"),
    ("try-on steps at 1024 x 768", "tryon.py speed --dtype bfloat16 --height 1024 --width 768"),
)
"""Scripts beside this one that take --device and --out."""
MINIATURE = (("training, embedded", "subject_speed.py --size embedded --resolution 32 --steps 1"),)
WAYS = ("", "--offload=model", "--offload=group", "--offload=sequential", "--compile=true")


def scripts(rows: tuple[tuple[str, str], ...], device: str, folder: Path) -> list[tuple[str, list[str]]]:
    """Spell the rows of other scripts as commands that write to a folder."""
    spelt = []
    for place, (name, words) in enumerate(rows):
        script, *rest = shlex.split(words)
        out = folder / f"{place}.json"
        spelt.append((name, [sys.executable, str(HERE / script), *rest, "--device", device, "--out", str(out)]))
    return spelt


def painting(folder: Path, *, miniature: bool) -> list[tuple[str, list[str]]]:
    """Spell the rows of painting, four pictures each: both models, every way to place them."""
    rows = []
    for name, side in (("SD 1.5", 512), ("SDXL", 1024)):
        base = folder / name.replace(" ", "")
        size = [f"--height={64 if miniature else side}", f"--width={64 if miniature else side}"]
        words = ["subject", "generate", "--prompt=a dog", f"--base={base}", *size, "--scheduler=dpmpp_2m"]
        words += [f"--steps={1 if miniature else 20}", f"--count={1 if miniature else 4}", f"--out={folder}/out"]
        for way in WAYS[:1] if miniature else WAYS:
            rows.append((f"painting, {name}, {way.removeprefix('--') or 'whole'}", [*words, *([way] if way else [])]))
    return rows


def write_models(folder: Path, *, miniature: bool) -> None:
    """Write the models that are painted with."""
    for name, family in (("SD 1.5", "sd1"), ("SDXL", "sdxl")):
        if miniature:
            checkpoints.write_folder(family, folder / name.replace(" ", ""))
        else:
            write_real(name, folder / name.replace(" ", ""))


def read(file: Path) -> Any:
    """Read what a script has written; None where it wrote nothing."""
    return json.loads(file.read_text()) if file.is_file() else None


def main() -> None:
    """Run every row, and write the results after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--miniature", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    device = "cpu" if arguments.miniature else "cuda"
    if device == "cuda" and not torch.cuda.is_available() and not arguments.dry_run:
        print("no GPU is here: nothing is measured; --dry-run says what would be, --miniature tries it on the CPU")
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        others = scripts(MINIATURE if arguments.miniature else SCRIPTS, device, folder)
        painted = painting(folder, miniature=arguments.miniature)
        if arguments.dry_run:
            print("\n".join(f"{name}: {shlex.join(words)}" for name, words in [*others, *painted]))
            return
        card = torch.cuda.get_device_name() if device == "cuda" else "cpu"
        found: dict[str, Any] = {"device": card, "commit": commit(), "versions": versions(), "rows": {}}
        for place_, (name, words) in enumerate(others):
            code = subprocess.run(words).returncode
            found["rows"][name] = read(folder / f"{place_}.json") if code == 0 else {"failed": code}
            arguments.out.write_text(json.dumps(found, indent=1) + "\n")
        write_models(folder, miniature=arguments.miniature)
        for name, words in painted:
            try:
                found["rows"][name] = measure(words, device=device)
            except SystemExit as stop:
                found["rows"][name] = {"failed": str(stop)}
            print(name, found["rows"][name], flush=True)
            arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
