"""Train the parser of body parts on photos with pixel-wise labels (Clothing Co-Parsing, Yang et al., CVPR 2014).

Cross-entropy with classes weighted by a power of their rarity, and soft Dice loss (Milletari et al., 3DV 2016) over
the batch. Pictures are mirrored, moved, scaled, and recoloured as a whole and part by part; rectangles are hidden
(DeVries and Taylor, arXiv 1708.04552). Figures while training are of every tenth photo, which is not trained on; the
held-out fifth of `personagen.photos` is not looked at here.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from recsys.errors import DataError
from recsys.types import Step

from ..images import fit, load_image
from ..masks import Part, parts_from_parsing
from ..parser import ParserSizes, PersonParser, save_parser
from ..photos import is_heldout
from .config import PretrainConfig
from .loop import choose_device, run

COLOURS = np.array(
    [[255, 255, 255], [90, 50, 20], [240, 190, 150], [200, 30, 40], [40, 80, 190], [120, 50, 150], [240, 140, 40],
     [60, 60, 60], [0, 0, 0], [40, 150, 70]], np.uint8
)  # fmt: skip


def train_parser(config: PretrainConfig) -> Iterator[Step]:
    """Read the photos once into `output_dir`, then train; write the parser to `output_dir/parser`."""
    folder = Path(config.output_dir)
    if not (folder / "parts.npy").is_file():
        yield from _gather(Path(config.parser.images_root) / "people", folder, size=(config.height, config.width))
    photos, parts = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("photos", "parts"))
    if photos.shape[1:3] != (config.height, config.width) or len(photos) != len(parts):
        raise DataError(
            f"{folder}/photos.npy holds pictures of {photos.shape[1:3]}, not {config.height, config.width}; remove it "
            "and parts.npy, or set height and width to its size."
        )
    held = np.array(json.loads((folder / "heldout.json").read_text()), bool)
    yield from run(ParserStage(config, photos, parts, held), config)


def _gather(people: Path, folder: Path, *, size: tuple[int, int]) -> Iterator[Step]:
    """Write photos.npy (N, H, W, 3), parts.npy (N, H, W) and heldout.json, the parts last."""
    if not (people / "labels.json").is_file():
        raise DataError(f"There is no {people}/labels.json; set parser.images_root to the folder that holds people/.")
    labels, files = json.loads((people / "labels.json").read_text()), sorted((people / "photos").glob("*.jpg"))
    photos, parts = np.zeros((len(files), *size, 3), np.uint8), np.zeros((len(files), *size), np.uint8)
    for i, file in enumerate(files):
        values = np.asarray(Image.open(people / "parsing" / f"{file.stem}.png"))
        photos[i] = np.asarray(fit(load_image(file), size=size, fill="edge")[0])
        merged = Image.fromarray(parts_from_parsing(values, labels))
        parts[i] = np.asarray(fit(merged, size=size, fill=0, resample=Image.Resampling.NEAREST)[0])
        yield Step(0, 0.0, {}, {"cached": (i + 1) / len(files)}, 0.0)
    if not files:
        raise DataError(f"There is no photo in {people}/photos; expected NNNN.jpg beside parsing/NNNN.png.")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "heldout.json").write_text(json.dumps([is_heldout(f"people/{file.stem}") for file in files]))
    for name, array in (("photos", photos), ("parts", parts)):
        np.save(folder / f".{name}.npy", array)
        os.replace(folder / f".{name}.npy", folder / f"{name}.npy")


def parser_sizes(config: PretrainConfig) -> ParserSizes:
    """Return the sizes of the network that `config` describes."""
    made = config.parser
    return ParserSizes(made.widths, config.height, config.width, made.groups, made.middle)


class ParserStage:
    """The network and the photos it learns from."""

    def __init__(self, config: PretrainConfig, photos: np.ndarray, parts: np.ndarray, held: np.ndarray) -> None:
        self.config, self.photos, self.parts = config, photos, parts
        self.device = choose_device(config.device)
        torch.manual_seed(config.seed)
        self.model = PersonParser(parser_sizes(config))
        self.modules: dict[str, nn.Module] = {"parser": self.model.to(self.device)}
        open_rows = np.flatnonzero(~held) if not held.all() else np.arange(len(held))
        self.validation = open_rows[::10][: config.heldout_rows]
        self.train = np.setdiff1d(open_rows, open_rows[::10]) if len(open_rows) > 1 else open_rows
        share = np.bincount(parts[self.train].ravel(), minlength=len(Part)) / parts[self.train].size
        weight = np.maximum(share, 1e-3) ** -config.parser.rarity
        self.weight = torch.from_numpy(weight / (weight * share).sum()).float().to(self.device)
        self.rows = len(self.train)

    def loss(self, step: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the weighted cross-entropy and Dice loss of one random batch of changed pictures."""
        rows = self.train[torch.randint(len(self.train), (self.config.batch_size,), generator=generator).numpy()]
        x, target = self._read(rows)
        x, target = change(recolour(x, target, generator=generator), target, generator=generator)
        x = hide(x, generator=generator)
        logits, target = self.model(x.to(self.device)).float(), target.to(self.device)
        entropy = F.cross_entropy(logits, target, weight=self.weight)
        overlap = dice_loss(logits, target)
        return {"loss": entropy + self.config.parser.dice * overlap, "entropy": entropy, "dice": overlap}

    def _read(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        x = torch.from_numpy(self.photos[rows]).permute(0, 3, 1, 2).float() / 127.5 - 1
        return x, torch.from_numpy(self.parts[rows]).long()

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Mean intersection over union on validation photos: of ten parts, and of nine (legs and feet as one)."""
        counts = np.zeros((len(Part), len(Part)), np.int64)
        for start in range(0, len(self.validation), 8):
            x, target = self._read(self.validation[start : start + 8])
            found = self.model.both_ways(x.to(self.device)).argmax(1).cpu()
            counts += np.bincount((target * len(Part) + found).flatten().numpy(), minlength=counts.size).reshape(
                counts.shape
            )
        merged = np.where(np.arange(len(Part)) == Part.SHOES, Part.LEGWEAR, np.arange(len(Part)))
        nine = np.zeros_like(counts)
        np.add.at(nine, (merged[:, None], merged[None]), counts)
        each = {f"iou_{part.name.lower()}": value for part, value in zip(Part, _iou(counts))}
        return {"iou_nine": float(np.nanmean(_iou(nine))), "iou_ten": float(np.nanmean(_iou(counts))), **each}

    @torch.no_grad()
    def preview(self, path: Path) -> None:
        """Write the parts of validation photos, true above found; the photos themselves are not written."""
        x, target = self._read(self.validation[:8])
        found = self.model.both_ways(x.to(self.device)).argmax(1).cpu()
        lines = [np.concatenate(list(COLOURS[labels.numpy()]), 1) for labels in (target, found)]
        Image.fromarray(np.concatenate(lines)).save(path)

    def export(self, folder: Path) -> Path:
        """Save the parser in float16."""
        return save_parser(self.model, folder / "parser")


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 - the mean Dice overlap of the classes that occur in a batch; logits (B, C, H, W), target (B, H, W)."""
    found, true = logits.softmax(1), F.one_hot(target, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    both, size, there = (found * true).sum((0, 2, 3)), (found + true).sum((0, 2, 3)), true.sum((0, 2, 3))
    return 1 - (2 * both / size)[there > 0].mean()


def _iou(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of each class from a confusion table (true, found); nan where a class never occurs."""
    both = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - both
    return np.where(union > 0, both / np.maximum(union, 1), np.nan)


def change(x: Tensor, target: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror, scale, turn, shift and recolour pictures x (B, 3, H, W), and move their labels (B, H, W) along."""
    u = torch.rand((9, len(x)), generator=generator) * 2 - 1
    mirror, scale, angle = u[0].sign(), 1 + 0.35 * u[1], 0.2 * u[2]
    aspect = x.shape[2] / x.shape[3]
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack(
        [torch.stack([cos * mirror, -sin * aspect, 0.15 * u[3]], 1),
         torch.stack([sin * mirror / aspect, cos, 0.15 * u[4]], 1)], 1
    )  # fmt: skip
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    moved = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    labels = F.grid_sample(target[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    tint = 0.12 * (torch.rand((len(x), 3), generator=generator) * 2 - 1)
    grey = moved.mean(1, keepdim=True)
    expand = lambda value: value[:, None, None, None]
    moved = grey + (moved - grey) * expand(1 + 0.5 * u[5])
    moved = moved * expand(1 + 0.3 * u[6]) + expand(0.25 * u[7]) + tint[:, :, None, None]
    return moved.clamp(-1, 1), labels[:, 0].long()


def recolour(x: Tensor, target: Tensor, *, generator: torch.Generator) -> Tensor:
    """Give garments, hair and surroundings of x (B, 3, H, W) other colours, part by part of target (B, H, W).

    Half of the pictures, and half of the parts in them; skin keeps its colour. The borders of the change are soft.
    """
    count = len(Part)
    chosen = (torch.rand((len(x), 1), generator=generator) < 0.5) & (
        torch.rand((len(x), count), generator=generator) < 0.5
    )
    chosen[:, Part.SKIN] = False
    gain = 1 + 0.4 * (torch.rand((len(x), count, 3), generator=generator) * 2 - 1) * chosen[..., None]
    shift = 0.5 * (torch.rand((len(x), count, 3), generator=generator) * 2 - 1) * chosen[..., None]
    rows = torch.arange(len(x))[:, None, None]
    fields = torch.cat([gain[rows, target], shift[rows, target]], -1).movedim(-1, 1)
    gain_at, shift_at = F.avg_pool2d(fields, 5, 1, 2, count_include_pad=False).chunk(2, 1)
    return x * gain_at + shift_at


def hide(x: Tensor, *, generator: torch.Generator) -> Tensor:
    """Fill one rectangle in half of the pictures x (B, 3, H, W) with one colour, up to a third of each side.

    The labels stay, so that parts are also told by what is around them.
    """
    height, width = x.shape[2:]
    u = torch.rand((7, len(x), 1, 1), generator=generator)
    rows, columns = torch.arange(height)[:, None] / height, torch.arange(width) / width
    inside = ((rows - u[0]).abs() < u[1] / 6) & ((columns - u[2]).abs() < u[3] / 6)
    inside = (inside & (torch.rand((len(x), 1, 1), generator=generator) < 0.5))[:, None]
    return torch.where(inside, 2 * u[4:].movedim(0, 1) - 1, x)
