"""What commands cost with weights of one's own in bfloat16: time and the most memory, structure by structure.

    python benchmarks/own_weights.py                # small widths, every command, folder and single file
    python benchmarks/own_weights.py --real         # Stable Diffusion 1.5 in its real size, random weights, two steps

Models have the structure of Stable Diffusion 1.5 and XL and random weights; every row is a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from memory import parts

from personagen.pretrain.save import write_tokenizer_files
from personagen.provenance import commit, versions
from personagen.quiet import quiet
from tests.personagen import checkpoints

RESULTS = Path(__file__).parent / "results" / "own_weights.json"
RUN = """
import resource, sys
from apps.cli import main
from tests.peak import peak_kib
code = main(sys.argv[1:])
import torch
card = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, peak_kib(), card)
sys.exit(code)
"""
SMALL = {"side": 64, "steps": 2}


def write_pictures(folder: Path, side: int) -> None:
    """Write a person, a garment and a mask of noise."""
    rng = np.random.default_rng(0)
    for name in ("me", "top"):
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = 255
    Image.fromarray(mask).save(folder / "mask.png")


def commands(folder: Path, family: str, form: str, *, side: int, steps: int, out: Path) -> dict[str, list[str]]:
    """Spell the three commands that paint, on a family's model in a form: folder or file."""
    named = lambda name: str(folder / name) if form == "folder" else str(folder / f"{name}.safetensors")
    words = ["--tokenizer", str(folder / family)]
    base = ["--base.base", named(f"{family}-inpainting"), f"--base.height={side}", f"--base.width={side}"]
    photo = [f"--{name}={folder}/{file}.png" for name, file in (("person", "me"), ("garment", "top"), ("mask", "mask"))]
    size = [f"--height={side}", f"--width={side}", f"--steps={steps}"]
    scene = [f"--stylist.scene_size=[{side}, {side}]", f"--stylist.tryon_steps={steps}", f"--steps={steps}"]
    return {
        "subject generate": ["--prompt=a dog", "--base", named(family), *words, *size, "--count=1", f"--out={out}/dog"],
        "tryon wear": [*photo, *base, f"--steps={steps}", f"--out={out}/worn.png"],
        "style": [
            f"--text2image={named(family)}", *words, *base, *scene, "--looks=1", "--scenes=1", f"--out={out}/looks"
        ],
    }  # fmt: skip


def measure(words: list[str], *, device: str = "cpu") -> dict[str, float]:
    """Run a command in bfloat16 in a process of its own; return its time and its peaks of memory in MiB.

    On a CPU it has one thread, and its CPU-seconds are counted; on a GPU, seconds.
    """
    begun = time.perf_counter()
    command = [sys.executable, "-W", "ignore", "-c", RUN, *words, f"--device={device}", "--dtype=bfloat16"]
    limits = {"OMP_NUM_THREADS": "1"} if device == "cpu" else {}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **limits})
    if done.returncode:
        sys.exit(f"personagen {' '.join(words)} ended with {done.returncode}: {done.stderr[-500:]}")
    seconds = round(time.perf_counter() - begun, 1)
    used, host, card = (float(value) for value in done.stdout.split()[-3:])
    if card:
        return {"seconds": seconds, "peak_mib": host // 1024, "peak_gpu_mib": card // 2**20}
    return {"cpu_seconds": round(used, 1), "peak_mib": host // 1024}


def small(folder: Path) -> list[dict[str, object]]:
    """Measure every command with models of small widths."""
    rows: list[dict[str, object]] = []
    write_pictures(folder, SMALL["side"])
    for family in ("sd1", "sdxl"):
        checkpoints.write_folder(family, folder / family)
        checkpoints.write_file(family, folder / f"{family}.safetensors")
        checkpoints.write_inpainting(family, folder / f"{family}-inpainting")
        for form in ("folder", "file"):
            for name, words in commands(folder, family, form, **SMALL, out=folder / f"{family}-{form}").items():
                rows.append({"command": name, "model": family, "form": form, **measure([*name.split(), *words])})
                print(rows[-1], flush=True)
    return rows


def write_real(name: str, folder: Path) -> Path:
    """Write SD 1.5 or SDXL in its real size, random weights in bfloat16, as a folder (2.1 or 6.9 GB)."""
    found: dict[str, Any] = dict(parts(name))
    for module in found.values():
        module.to_empty(device="cpu")
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.01)
    found["tokenizer"] = checkpoints.words("clip")
    found["tokenizer"].model_max_length = 77
    found["scheduler"] = checkpoints.pipeline("sd1").scheduler
    if name == "SDXL":
        found["tokenizer_2"] = found["tokenizer"]
        pipe: Any = StableDiffusionXLPipeline(**found, add_watermarker=False)
    else:
        pipe = StableDiffusionPipeline(
            **found, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    with quiet():
        pipe.save_pretrained(folder)
    for part in ("tokenizer", "tokenizer_2") if name == "SDXL" else ("tokenizer",):
        write_tokenizer_files(found[part], folder / part)
    return folder


def real(folder: Path) -> list[dict[str, object]]:
    """Measure Stable Diffusion 1.5 in its real size: random weights in bfloat16, two steps of 128 x 128."""
    base = write_real("SD 1.5", folder / "real")
    words = ["--prompt=a dog", f"--base={base}", "--height=128", "--width=128", "--steps=2", "--count=1"]
    return [
        {"command": "subject generate", "model": "sd1 in real size, 128 x 128, 2 steps", "form": "folder",
         **measure(["subject", "generate", *words, f"--out={folder}/dog"])}
    ]  # fmt: skip


def main() -> None:
    """Measure, and write the rows to the results; those of the other mode are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kept = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    with tempfile.TemporaryDirectory() as place:
        rows = real(Path(place)) if arguments.real else small(Path(place))
    kept |= {"real" if arguments.real else "small": rows, "commit": commit(), "versions": versions()}
    arguments.out.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
