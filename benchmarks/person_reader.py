"""A parser of the atelier's persons for measuring: it finds their parts in renders and in painted pictures.

    python benchmarks/person_reader.py --out FOLDER

The embedded parser goes on learning from renders with their true labels, half of them blurred and grained as the
embedded model paints. It is used by benchmarks/subject.py alone, never in training. Prints
the IoU of every part on renders it has not seen, as they are and blurred.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from personagen.atelier.corpus import random_sitting
from personagen.atelier.render import LABEL, render_person
from personagen.images import blur
from personagen.person.parser import load_model, save_parser
from personagen.person.parts import Part
from personagen.pretrain.parser import dice_loss

SIZE, FIRST = (192, 144), 20_000
READ_AT = (320, 240)
SKIN = ("face", "arms", "hands", "legs")
PART = {"background": Part.BACKGROUND, "hair": Part.HEAD, "shoes": Part.SHOES, **dict.fromkeys(SKIN, Part.SKIN),
        "upper": Part.UPPER, "lower": Part.LOWER, "dress": Part.DRESS, "outer": Part.OUTER}  # fmt: skip


def renders(count: int, *, first: int) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, H, W) in [-1, 1] and parts (N, H, W)."""
    table = torch.tensor([int(PART[name]) for name in LABEL])
    pictures, parts = [], []
    for seed in range(first, first + count):
        sitting = random_sitting(seed)
        seen = render_person(sitting.body, sitting.outfit, sitting.scene, size=SIZE, camera=sitting.camera, seed=seed)
        pictures.append(torch.from_numpy(seen.image).permute(2, 0, 1) / 127.5 - 1)
        parts.append(table[torch.from_numpy(seen.labels).long()])
    return torch.stack(pictures), torch.stack(parts)


def painted(x: Tensor, *, generator: torch.Generator) -> Tensor:
    """Blur pictures (B, 3, H, W) and add coarse grain, each as much as chance has it."""
    soft = torch.stack(
        [blur(one[None], kernel=int(torch.randint(1, 5, (), generator=generator)) * 2 + 1)[0] for one in x]
    )
    coarse = torch.randn(len(x), 3, x.shape[2] // 4, x.shape[3] // 4, generator=generator)
    grain = F.interpolate(coarse, size=x.shape[2:], mode="bilinear", align_corners=False)
    return (soft + 0.15 * torch.rand(len(x), 1, 1, 1, generator=generator) * grain).clamp(-1, 1)


@torch.no_grad()
def measure(model, x: Tensor, parts: Tensor) -> list[float]:
    """Return the intersection over union of each part that occurs: x (N, 3, h, w), parts (N, h, w)."""
    found = torch.cat([model.both_ways(enlarged(x[i : i + 8]))[0].argmax(1) for i in range(0, len(x), 8)])
    true = F.interpolate(parts[:, None].float(), size=READ_AT, mode="nearest")[:, 0].long()
    both = [
        (((found == p) & (true == p)).sum() / ((found == p) | (true == p)).sum()).item()
        for p in sorted(set(PART.values()))
    ]
    return [round(value, 3) for value in both]


def enlarged(x: Tensor) -> Tensor:
    """Enlarge pictures (B, 3, h, w) to the size the reader works at: (B, 3, H, W)."""
    return F.interpolate(x, size=READ_AT, mode="bilinear", align_corners=False)


def main() -> None:
    """Train the reader on renders, measure it and write it to `--out`."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--out", type=Path, required=True)
    words.add_argument("--renders", type=int, default=400)
    words.add_argument("--steps", type=int, default=240)
    args = words.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, random, start = load_model().train(), torch.Generator().manual_seed(0), time.process_time()
    x, parts = renders(args.renders, first=FIRST)
    held_x, held = renders(40, first=FIRST - 100)
    print(f"rendered in {time.process_time() - start:.0f} CPU-s", flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.01)
    for step in range(args.steps):
        rows = torch.randint(len(x), (8,), generator=random)
        batch, target = x[rows].clone(), parts[rows]
        batch[:4] = painted(batch[:4], generator=random)
        batch[:2] = painted(batch[:2], generator=random)
        if step % 2:
            batch, target = batch.flip(3), target.flip(2)
        for group in optimizer.param_groups:
            group["lr"] = 5e-4 * min(1, (step + 1) / 20) * max(0.02, 1 - step / args.steps)
        logits = F.interpolate(model(enlarged(batch)), size=SIZE, mode="bilinear", align_corners=False)
        loss = F.cross_entropy(logits, target) + dice_loss(logits, target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 40 == 0:
            print(step, round(float(loss.detach()), 3), f"{time.process_time() - start:.0f} CPU-s", flush=True)
    model.eval()
    blurred = painted(held_x, generator=torch.Generator().manual_seed(1))
    print("unseen renders", measure(model, held_x, held), "blurred", measure(model, blurred, held))
    save_parser(model, args.out)
    (args.out / "spread.npy").unlink(missing_ok=True)  # benchmarks/subject.py keeps it there, of this reader


if __name__ == "__main__":
    main()
