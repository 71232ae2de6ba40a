"""A small classifier that reads kind, colour, pattern and scene off a picture; trained on renders only.

    python benchmarks/probe.py --corpus CORPUS … --heldout CORPUS --out FOLDER

Corpora are folders written by ``personagen.atelier.corpus.write_corpus``. The held-out accuracy is the ceiling of
every score read off generated pictures.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from personagen.vocabulary import COLOURS, KINDS, PATTERNS, REGION, SCENE_PHRASE, SCENES

UPPER = tuple(k for k in KINDS if REGION[k] != "lower")
LOWER = ("none", *(k for k in KINDS if REGION[k] == "lower"))
HEADS: dict[str, tuple[str, ...]] = {
    "upper kind": UPPER,
    "upper colour": tuple(COLOURS),
    "upper pattern": PATTERNS,
    "lower kind": LOWER,
    "lower colour": tuple(COLOURS),
    "lower pattern": PATTERNS,
    "scene": SCENES,
}


def read_caption(caption: str) -> dict[str, str]:
    """The words that a caption of a person says, by the names of ``HEADS``; heads it is silent on are absent."""
    said: dict[str, str] = {}
    body = caption.removeprefix("a person wearing ")
    for scene, phrase in SCENE_PHRASE.items():
        if body.endswith(" " + phrase):
            said["scene"], body = scene, body[: -len(phrase) - 1]
    for phrase in body.split(" and "):
        words = [w for w in phrase.split() if w not in ("a", "an")]
        kind, pattern = words[-1], next((w for w in words if w in PATTERNS), "plain")
        where = "lower" if REGION[kind] == "lower" else "upper"
        said |= {f"{where} kind": kind, f"{where} colour": words[0], f"{where} pattern": pattern}
    if REGION.get(said.get("upper kind", ""), "") == "dress":
        said["lower kind"] = "none"
    return said


def body_layers(width: int) -> nn.Sequential:
    """Ten convolutions that halve a picture (B, 3, H, W) five times, to 8 times `width` channels."""
    sizes, layers = (3, width, 2 * width, 4 * width, 6 * width, 8 * width), []
    for i in range(5):
        layers += [
            nn.Conv2d(sizes[i], sizes[i + 1], 3, stride=2, padding=1),
            nn.GroupNorm(8, sizes[i + 1]),
            nn.SiLU(),
            nn.Conv2d(sizes[i + 1], sizes[i + 1], 3, padding=1),
            nn.GroupNorm(8, sizes[i + 1]),
            nn.SiLU(),
        ]
    return nn.Sequential(*layers)


class Probe(nn.Module):
    """Convolutions with a head an attribute. Input (B, 3, H, W) in [-1, 1]; output: logits by name."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.body = body_layers(width)
        self.mix = nn.Sequential(nn.Flatten(), nn.LazyLinear(256), nn.SiLU(), nn.Dropout(0.3))
        self.heads = nn.ModuleDict({k: nn.Linear(256, len(v)) for k, v in HEADS.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the logits of each head (B, n) for pictures (B, 3, H, W) in [-1, 1]."""
        h = self.mix(self.body(x))
        return {k: head(h) for k, head in self.heads.items()}


def _tensor(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def _targets(captions: list[str]) -> dict[str, Tensor]:
    said = [read_caption(c) for c in captions]
    return {k: torch.tensor([words.index(s[k]) if k in s else -100 for s in said]) for k, words in HEADS.items()}


def _corpus(folder: Path, split: str) -> tuple[np.ndarray, list[str]]:
    rows = [json.loads(line) for line in (folder / "meta.jsonl").read_text().splitlines()]
    pictures = np.load(folder / "image.npy", mmap_mode="r")
    first = [i for i, r in enumerate(rows) if i == 0 or r["seed"] != rows[i - 1]["seed"]]  # one row a person
    first = [i for i in first if rows[i]["split"] == split]
    return pictures[first], [rows[i]["caption"] for i in first]


@torch.no_grad()
def read(model: Probe, pictures: np.ndarray) -> list[dict[str, str]]:
    """What the probe sees in pictures (N, H, W, 3) uint8: a word for each head."""
    model.eval()
    out: list[dict[str, str]] = []
    for i in range(0, len(pictures), 32):
        logits = model(_tensor(pictures[i : i + 32]))
        best = {k: v.argmax(-1).tolist() for k, v in logits.items()}
        out += [{k: HEADS[k][best[k][j]] for k in HEADS} for j in range(len(best["scene"]))]
    return out


@torch.no_grad()
def features(model: Probe, pictures: np.ndarray) -> Tensor:
    """What the probe's heads look at (N, 256), of pictures (N, H, W, 3) uint8."""
    model.eval()
    parts = [model.mix(model.body(_tensor(pictures[i : i + 32]))) for i in range(0, len(pictures), 32)]
    return torch.cat(parts)


def agreement(seen: list[dict[str, str]], captions: list[str]) -> dict[str, float]:
    """Share of said words that were seen, for kind, colour, pattern (over every garment said) and scene."""
    hits: dict[str, list[bool]] = {"kind": [], "colour": [], "pattern": [], "scene": []}
    for words, caption in zip(seen, captions, strict=True):
        for head, word in read_caption(caption).items():
            hits[head.split()[-1]].append(words[head] == word)
    return {k: float(np.mean(v)) for k, v in hits.items()}


def train(corpora: list[Path], *, epochs: int, seed: int = 0) -> Probe:
    """Train a probe on corpora; random flips, shifts, light and noise keep it from leaning on exact pixels."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    parts = [_corpus(corpus, "train") for corpus in corpora]
    pictures, captions = np.concatenate([part[0] for part in parts]), [c for part in parts for c in part[1]]
    targets, model = _targets(captions), Probe()
    model(_tensor(pictures[:1]))
    steps = epochs * (len(pictures) // 32)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps + 1)
    for _ in range(epochs):
        order = rng.permutation(len(pictures))
        for at in range(0, len(order) - 31, 32):
            pick = order[at : at + 32]
            x = _tensor(pictures[np.sort(pick)])
            if rng.random() < 0.5:
                x = x.flip(-1)
            x = torch.roll(x, tuple(rng.integers(-5, 6, 2).tolist()), (-2, -1))
            x = x * float(rng.uniform(0.9, 1.1)) + 0.06 * torch.randn(x.shape)
            if rng.random() < 0.4:  # generated pictures are softer than renders
                x = nn.functional.avg_pool2d(x, 3, 1, 1)
            logits = model(x)
            index = torch.from_numpy(np.sort(pick))
            losses = [
                nn.functional.cross_entropy(logits[k].float(), targets[k][index], ignore_index=-100)
                for k in HEADS
                if (targets[k][index] >= 0).any()
            ]
            loss = torch.stack(losses).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model


def load(folder: Path, size: tuple[int, int]) -> Probe:
    """A saved probe for pictures of ``size`` (H, W)."""
    model = Probe()
    model(torch.zeros(1, 3, *size))
    model.load_state_dict(load_file(folder / "probe.safetensors"))
    return model


def main() -> None:
    """Train the probe on renders, measure it on held-out ones and write both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--heldout", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=12)
    args = parser.parse_args()
    start = time.process_time()
    model = train(args.corpus, epochs=args.epochs)
    pictures, captions = _corpus(args.heldout, "heldout")
    score = agreement(read(model, pictures), captions)
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), args.out / "probe.safetensors")
    report = {
        "heldout_agreement": score,
        "heldout_persons": len(captions),
        "cpu_seconds": round(time.process_time() - start, 1),
    }
    (args.out / "probe.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
