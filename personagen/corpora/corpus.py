"""Corpora on disk: memory-mapped pictures with a line of facts each, and draws from a weighted mixture of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recsys.errors import DataError, shown
from recsys.text import from_json

ARRAYS = {"image": 4, "garment": 4, "mask": 3, "guess": 4}


@dataclass(frozen=True)
class Corpus:
    """A folder of N pictures: `meta.jsonl`, `image.npy` and, for try-on, `garment.npy`, `mask.npy` and `guess.npy`."""

    folder: Path
    meta: list[dict]
    arrays: dict[str, np.ndarray]
    """"image", "garment" and "guess" (N, H, W, 3) uint8, "mask" (N, H, W) uint8, 1 = repaint. guess: what a model with
    prefill "garment" is shown instead of the garment laid over the picture."""
    rows: dict[str, np.ndarray]
    """Row numbers of each split, "train" and "heldout"."""


def open_corpus(folder: str | Path, *, size: tuple[int, int]) -> Corpus:
    """Open a corpus without reading its pictures into memory. size: (H, W) every picture must have.

    Raises:
        DataError: a file is missing or damaged, lengths differ or pictures have another size.
    """
    folder = Path(folder)
    if not (folder / "meta.jsonl").is_file():
        raise DataError(
            f"{folder} is not a corpus: there is no {folder / 'meta.jsonl'}. Make the corpus first, or correct the path"
        )
    try:
        meta = [from_json(line) for line in (folder / "meta.jsonl").read_text(encoding="utf-8").splitlines() if line]
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in ARRAYS
            if name == "image" or (folder / f"{name}.npy").is_file()
        }
    except (OSError, ValueError) as error:
        raise DataError(f"the corpus {folder} cannot be read ({shown(error, most=200)}); make it again") from error
    for name, array in arrays.items():
        expected = (len(meta), *size, 3)[: ARRAYS[name]]
        if array.shape != expected or array.dtype != np.uint8:
            raise DataError(
                f"{folder / name}.npy holds {array.dtype} {array.shape}, expected uint8 {expected}; "
                "set height and width to the corpus's size, or make the corpus again"
            )
    splits = np.array([row.get("split", "train") for row in meta])
    rows = {split: np.flatnonzero(splits == split) for split in ("train", "heldout")}
    if not len(rows["train"]):
        raise DataError(f"{folder} has no row of split 'train'; check the field 'split' in meta.jsonl")
    return Corpus(folder, meta, arrays, rows)


def open_corpora(
    corpora: dict[str, float], *, size: tuple[int, int], needs: tuple[str, ...] = ("image",)
) -> list[tuple[Corpus, float]]:
    """Open the corpora of weight > 0 that hold every array in `needs`.

    Raises:
        DataError: no corpus holds them all.
    """
    opened = [(open_corpus(folder, size=size), weight) for folder, weight in corpora.items() if weight > 0]
    fitting = [(corpus, weight) for corpus, weight in opened if all(name in corpus.arrays for name in needs)]
    if not fitting:
        raise DataError(
            f"none of the corpora {list(corpora)} holds {' and '.join(f'{name}.npy' for name in needs)}; "
            "add one that does"
        )
    return fitting


@dataclass(frozen=True)
class Source:
    """Rows of one array that can be drawn: a part of a mixture."""

    array: np.ndarray
    rows: np.ndarray
    weight: float


def draw(sources: list[Source], count: int, *, generator: torch.Generator) -> list[tuple[int, int]]:
    """Draw `count` pairs (index of source, row number), sources by weight, rows uniformly, with replacement."""
    weights = torch.tensor([source.weight for source in sources], dtype=torch.float64)
    chosen = torch.multinomial(weights, count, replacement=True, generator=generator).tolist()
    shares = torch.rand(count, dtype=torch.float64, generator=generator).tolist()
    return [(i, int(sources[i].rows[int(share * len(sources[i].rows))])) for i, share in zip(chosen, shares)]


def pictures(arrays: list[np.ndarray]) -> Tensor:
    """Turn uint8 pictures [(H, W, 3), ...] of one size into a float tensor (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def heldout(corpora: list[tuple[Corpus, float]], count: int) -> list[tuple[int, int]]:
    """Choose `count` held-out (corpus, row) pairs, always the same, corpora taking turns; train rows if none."""
    lists = [list(corpus.rows["heldout"]) or list(corpus.rows["train"][-count:]) for corpus, _ in corpora]
    turns = [(i, int(rows[k])) for k in range(max(map(len, lists))) for i, rows in enumerate(lists) if k < len(rows)]
    return turns[:count]
