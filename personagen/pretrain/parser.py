"""Train the parser of body parts on street photos with pixel-wise labels (`parser_data`), and more (`parser_sources`).

Cross-entropy with classes weighted by a power of their rarity, and soft Dice loss (Milletari et al., 3DV 2016) over
the batch. Figures while training are of every tenth street photo, which is not trained on; the held-out fifth of
`personagen.corpora.photos` is not looked at here.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from recsys.errors import ModelError, shown
from recsys.types import Step

from ..corpora.leftout import Tell, silent
from ..devices import choose_device
from ..embedded import EMBEDDED
from ..files import write_whole
from ..person.network import ParserSizes, PersonParser, load_backbone
from ..person.parser import load_model, save_parser
from ..person.parts import Part
from ..training.card import with_card
from .config import PretrainConfig
from .parser_data import IGNORED, Photos, change, gather, hide, read, recolour
from .parser_sources import gather_renders, gather_unlabelled, paste, source_shares
from .start import run_stage

COLOURS = np.array(
    [[255, 255, 255], [90, 50, 20], [240, 190, 150], [200, 30, 40], [40, 80, 190], [120, 50, 150], [240, 140, 40],
     [60, 60, 60], [0, 0, 0], [40, 150, 70]], np.uint8
)  # fmt: skip


def train_parser(config: PretrainConfig, *, tell: Tell = silent) -> Iterator[Step]:
    """Read the photos once into `output_dir`, then train; write the parser to `output_dir/parser`.

    tell: takes a line about photos that are left out.
    """
    folder, size, given = Path(config.output_dir), (config.height, config.width), config.parser
    garments = max(given.garments, given.pasted) > 0
    yield from gather(given.images(), folder, size=size, garments=garments, tell=tell)
    if given.unlabelled > 0:
        teacher = load_model(Path(given.parser_dir or EMBEDDED["parser"]))
        yield from gather_unlabelled(given.images(), folder, size=size, teacher=teacher, sure=given.sure, tell=tell)
    if given.renders > 0:
        yield from gather_renders(folder, size=size, rows=given.render_rows, tell=tell)
    there = {"garments": garments, "unlabelled": given.unlabelled > 0, "renders": given.renders > 0}
    more = {name: read(folder, name, size=size) for name, wanted in there.items() if wanted}
    yield from run_stage(ParserStage(config, read(folder, "people", size=size), more), config)


def parser_sizes(config: PretrainConfig) -> ParserSizes:
    """Return the sizes of the network that `config` describes."""
    size = config.parser
    return ParserSizes(size.blocks, size.widths, size.groups, config.height, config.width, size.joints)


def split_rows(held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on, and every tenth to validate on, of those that are not held out (N,)."""
    rows = np.flatnonzero(~held) if not held.all() else np.arange(len(held))
    return (np.setdiff1d(rows, rows[::10]) if len(rows) > 1 else rows), rows[::10]


class ParserStage:
    """The network and the photos it learns from."""

    def __init__(self, config: PretrainConfig, people: Photos, more: Mapping[str, Photos] | None = None) -> None:
        self.config, self.people, self.more = config, people, more or {}
        given = config.parser
        wanted = {"garments": given.garments, "unlabelled": given.unlabelled, "renders": given.renders}
        self.shares = source_shares({name: share for name, share in wanted.items() if name in self.more})
        self.device = choose_device(config.loop.device)
        torch.manual_seed(config.loop.seed)
        self.model = PersonParser(parser_sizes(config))
        if config.parser.backbone is not None:
            load_backbone(self.model, _weights(Path(config.parser.backbone)))
        self.modules: dict[str, nn.Module] = {"parser": self.model.to(self.device)}
        self.train, validation = split_rows(people.held)
        self.validation = validation[: config.loop.heldout_rows]
        share = np.bincount(people.parts[self.train].ravel(), minlength=len(Part)) / people.parts[self.train].size
        weight = np.maximum(share, 1e-3) ** -config.parser.rarity
        self.weight = torch.from_numpy(weight / (weight * share).sum()).float().to(self.device)
        self.rows = len(self.train)

    def loss(self, step: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the weighted cross-entropy and Dice loss of one random batch of changed pictures."""
        x, target = self._batch(generator)
        x, target, _ = change(recolour(x, target, generator=generator), target, generator=generator)
        x = hide(x, generator=generator)
        logits, target = self.model(x.to(self.device)).float(), target.to(self.device)
        entropy = F.cross_entropy(logits, target, weight=self.weight, ignore_index=IGNORED)
        overlap = dice_loss(logits, target)
        return {"loss": entropy + self.config.parser.dice * overlap, "entropy": entropy, "dice": overlap}

    def _batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw photos from each source as often as its share says, street photos with labels for what is left."""
        count = self.config.loop.batch_size
        drawn = torch.multinomial(torch.tensor([*self.shares.values()]), count, replacement=True, generator=generator)
        batches = [self._draw(name, int((drawn == i).sum()), generator) for i, name in enumerate(self.shares)]
        x, target = zip(*batches)
        return torch.cat(x), torch.cat(target)

    def _draw(self, name: str, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw photos of one source; over some of the street photos with labels a garment is pasted."""
        photos = self.people if name == "people" else self.more[name]
        rows = self.train if name == "people" else np.arange(len(photos.parts))
        x, target = read_rows(photos, rows[torch.randint(len(rows), (count,), generator=generator).numpy()])
        over = torch.rand(count, generator=generator) < self.config.parser.pasted
        if name == "people" and over.any():
            x[over], target[over] = paste(
                (x[over], target[over]), self._draw("garments", int(over.sum()), generator), generator=generator
            )
        return x, target

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Mean intersection over union on validation photos: of ten parts, and of nine (legs and feet as one)."""
        counts = np.zeros((len(Part), len(Part)), np.int64)
        for start in range(0, len(self.validation), 8):
            x, target = read_rows(self.people, self.validation[start : start + 8])
            found = self.model.both_ways(x.to(self.device))[0].argmax(1).cpu()
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
        x, target = read_rows(self.people, self.validation[:8])
        found = self.model.both_ways(x.to(self.device))[0].argmax(1).cpu()
        lines = [np.concatenate(list(COLOURS[labels.numpy()]), 1) for labels in (target, found)]
        write_whole(path, lambda part: Image.fromarray(np.concatenate(lines)).save(part, format="PNG"))

    def export(self, folder: Path) -> Path:
        """Save the parser in float16."""
        return with_card(save_parser(self.model, folder / "parser"), self.config.loop)


def read_rows(source: Photos, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, H, W) in [-1, 1] and their parts (B, H, W)."""
    x = torch.from_numpy(source.photos[rows]).permute(0, 3, 1, 2).float() / 127.5 - 1
    return x, torch.from_numpy(source.parts[rows]).long()


def _weights(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"parser.backbone {file} cannot be read ({shown(error, most=200)}); see the parser's configuration"
        ) from error


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 - the mean Dice overlap of the classes that occur in a batch; logits (B, C, H, W), target (B, H, W).

    Pixels that are `IGNORED` count for nothing.
    """
    known = (target != IGNORED)[:, None]
    true = F.one_hot(target.where(known[:, 0], 0), logits.shape[1]).movedim(-1, 1).to(logits.dtype) * known
    found = logits.softmax(1) * known
    both, size, there = (found * true).sum((0, 2, 3)), (found + true).sum((0, 2, 3)), true.sum((0, 2, 3))
    return 1 - (2 * both / size)[there > 0].mean()


def _iou(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of each class from a confusion table (true, found); nan where a class never occurs."""
    both = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - both
    return np.where(union > 0, both / np.maximum(union, 1), np.nan)
