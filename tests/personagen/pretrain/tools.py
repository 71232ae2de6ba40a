"""A corpus of coloured shapes and tiny settings, for tests of pretraining."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from personagen.pretrain import (
    PretrainConfig,
    Text2ImageConfig,
    TextConfig,
    TryOnConfig,
    VaeConfig,
    ViewConfig,
    pretrain,
)
from personagen.training.config import LoopConfig
from recsys.types import Step

SIZE = (32, 24)
LOOP: dict[str, Any] = {
    "batch_size": 2,
    "warmup_steps": 1,
    "evaluate_every": 2,
    "preview_every": 4,
    "checkpoint_every": 3,
    "heldout_rows": 4,
    "mixed_precision": "no",
    "device": "cpu",
}
COLOURS = {"red": (220, 30, 30), "blue": (30, 60, 220), "green": (30, 160, 60)}


def make_corpus(folder: Path, *, rows: int = 12, garments: bool = True, size: tuple[int, int] = SIZE) -> Path:
    """Write squares of three colours on random grounds, with the square alone as garment, its box as mask, grey
    in the guess."""
    generator, meta = np.random.default_rng(0), []
    height, width = size
    image = np.broadcast_to(generator.integers(80, 255, (rows, 1, 1, 3)), (rows, height, width, 3)).astype(np.uint8)
    garment, mask = np.full_like(image, 255), np.zeros((rows, height, width), np.uint8)
    for i in range(rows):
        colour = list(COLOURS)[i % 3]
        top, left = int(generator.integers(2, height // 2)), int(generator.integers(2, width // 2))
        image[i, top : top + 12, left : left + 10] = COLOURS[colour]
        garment[i, 8:20, 6:16] = COLOURS[colour]
        mask[i, top - 1 : top + 13, left - 1 : left + 11] = 1
        meta.append(
            {
                "caption": f"a {colour} square",
                "garment_caption": f"a product photo of a {colour} square",
                "split": "heldout" if i >= rows - 4 else "train",
            }
        )
    folder.mkdir(parents=True)
    np.save(folder / "image.npy", image)
    if garments:
        np.save(folder / "garment.npy", garment)
        np.save(folder / "mask.npy", mask)
        np.save(folder / "guess.npy", np.where(mask[..., None] > 0, 128, image).astype(np.uint8))
    (folder / "meta.jsonl").write_text("\n".join(map(json.dumps, meta)) + "\n")
    return folder


def tiny(stage: str, root: Path, *, corpora: dict[str, float], steps: int = 4, **changes) -> PretrainConfig:
    """Settings of one stage under `root/stage`, which takes earlier stages from there; changes may name the loop's."""
    loop: dict[str, Any] = {**LOOP, "steps": steps}
    loop |= {name: changes.pop(name) for name in list(changes) if name in LoopConfig.__dataclass_fields__}
    settings: dict[str, Any] = {
        "stage": stage,
        "output_dir": str(root / stage),
        "corpora": corpora,
        "height": SIZE[0],
        "width": SIZE[1],
        "loop": LoopConfig(**loop),
        "vae": VaeConfig(
            block_out_channels=(24, 32, 32),
            norm_num_groups=8,
            latent_channels=4,
            crop=16,
            full_batch_size=2,
            statistics_rows=8,
        ),
        "text": TextConfig(tokenizer_size=700, tokenizer_length=16, width=32, layers=1, heads=2),
        "text2image": Text2ImageConfig(
            vae_dir=str(root / "vae" / "vae"),
            text_dir=str(root / "text" / "text"),
            block_out_channels=(16, 32),
            head_width=16,
            norm_num_groups=8,
            prompts=("a red square",),
            preview_steps=2,
        ),
        "tryon": TryOnConfig(
            vae_dir=str(root / "text2image" / "embedded" / "vae"),
            unet_dir=str(root / "text2image" / "embedded" / "unet"),
            preview_rows=2,
            preview_steps=2,
        ),
        "view": ViewConfig(tryon_dir=str(root / "tryon" / "tryon"), rank=2),
    }
    return PretrainConfig(**{**settings, **changes})


def run_whole_and_halted(settings: Callable[[Path], PretrainConfig], folder: Path, *, at: int, left: int) -> list[Step]:
    """Run a stage that writes a parser in one go, and again with a halt after step `at`, when `left` steps remain: the
    weights are equal to the last bit. Returns the steps of the first run, which wrote `folder/whole`."""
    whole = [step for step in pretrain(settings(folder / "whole")) if step.losses]
    halted = pretrain(settings(folder / "twice"))
    for step in halted:
        if step.step == at:
            halted.close()  # type: ignore[attr-defined]
            break
    assert len([step for step in pretrain(settings(folder / "twice")) if step.losses]) == left
    one, two = (load_file(folder / run / "parser" / "model.safetensors") for run in ("whole", "twice"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    return whole
