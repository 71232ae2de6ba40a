"""Train the parser of garments' photos (`warping.garment_parts`) on pictures put together from pieces.

The pieces are the atelier's, with exact labels, and those of photos, with what geometry is sure of (`garment_pieces`);
cloth of which no part is known counts as cloth of any part. Photos of held-out senders are not looked at.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from recsys.errors import DataError
from recsys.types import Step

from ..atelier.flat import FlatPiece, render_pieces
from ..atelier.garment import random_garment
from ..corpora.leftout import LeftOut, Tell, silent
from ..corpora.photos import garment_photos, is_heldout
from ..devices import choose_device
from ..embedded import EMBEDDED
from ..files import write_array, write_text, write_whole
from ..images import load_image
from ..person.network import ParserSizes, PersonParser
from ..person.parser import load_model, save_parser
from ..person.parts import region_of
from ..training.card import with_card
from ..vocabulary import KINDS, GarmentPart
from ..warping.garment_parts import MIRRORED, garment_logits
from .config import PretrainConfig
from .garment_pieces import PhotoPieces, dressed_in, floor_of, photo_pieces
from .garment_scenes import CLOTH, SIDE, UNKNOWN, Scene, scene_of
from .parser import read_rows
from .parser_data import Photos, change, hide, read
from .start import run_stage

COLOURS = np.array(
    [[255, 255, 255], [200, 60, 60], [60, 160, 60], [60, 60, 220], [240, 200, 40], [160, 60, 200], [255, 120, 0],
     [0, 200, 200], [120, 255, 120], [0, 0, 0]], np.uint8
)  # fmt: skip
NEAR = 60
"""Photos whose floors and cloth are kept for others."""
WHITE = 0.15
"""Share of pictures in which garments lie on white."""


def train_garment(config: PretrainConfig, *, tell: Tell = silent) -> Iterator[Step]:
    """Put pictures together in `output_dir`, then train; write the parser to `output_dir/garment`.

    tell: takes a line about photos that are left out.

    Raises:
        DataError: there are no photos of garments.
    """
    folder = Path(config.output_dir)
    if not (folder / "scenes-parts.npy").is_file():
        yield from gather(config, folder, tell=tell)
    yield from run_stage(GarmentStage(config, read(folder, "scenes", size=(SIDE, SIDE))), config)


def gather(config: PretrainConfig, folder: Path, *, tell: Tell = silent) -> Iterator[Step]:
    """Write scenes-photos.npy, scenes-heldout.json, scenes-names.json and, last, scenes-parts.npy.

    Yields Steps 0 with the share that is done.
    """
    files = [
        (file, kind)
        for file, kind, row in garment_photos(config.parser.images())
        if not is_heldout(f"sender/{row['sender_id']}")
    ]
    rng = np.random.default_rng(config.loop.seed)
    order = rng.permutation(len(files))[: config.garment.photos]
    left = LeftOut("photos of garments", config.parser.images() / "garments")
    near: list[PhotoPieces] = []
    scenes: list[Scene] = []
    held: list[bool] = []
    for done, at in enumerate(order.tolist(), 1):
        file, kind = files[at]
        found = left.read(partial(_apart, file, kind))
        if isinstance(found, PhotoPieces):
            out = done % 10 == 0  # its floor is for pictures that are measured on
            made = _scenes(found, kind, near, rng, config.garment.scenes, exact=out)
            if not out:
                near = [*near[-NEAR:], found]
            scenes += made
            held += [out] * len(made)
        if done % 20 == 0 or done == len(order):
            yield Step(0, 0.0, {}, {"cached": done / len(order)}, 0.0)
    left.end(tell)
    if not scenes or all(held):
        raise DataError(f"no photo in {left.where} can be taken apart; give others, or raise garment.photos")
    names = [f"{i:06d}" for i in range(len(scenes))]
    for what, rows in (("heldout", held), ("names", names)):
        write_text(folder / f"scenes-{what}.json", json.dumps(rows))
    write_array(folder / "scenes-photos.npy", np.stack([picture for picture, _ in scenes]))
    write_array(folder / "scenes-parts.npy", np.stack([labels for _, labels in scenes]))


def _apart(file: Path, kind: str) -> PhotoPieces | bool:
    return photo_pieces(load_image(file), kind) or False


def _scenes(
    found: PhotoPieces, kind: str, near: list[PhotoPieces], rng: np.random.Generator, count: int, *, exact: bool
) -> list[Scene]:
    """Pictures with a photo's pieces, floor or cloth; exact: with the atelier's garments alone, as it was drawn."""
    own = floor_of(found, rng)
    floors = [floor for floor in (own, *(floor_of(one, rng) for one in _some(near, rng, 3))) if floor is not None]
    if exact:
        return [] if own is None else [_drawn([], own, rng) for _ in range(count)]
    scenes: list[Scene] = [(found.picture, found.labels)]
    for _ in range(count - 1):
        white = rng.random() < WHITE or not floors
        floor = np.full((SIDE, SIDE, 3), 255, np.uint8) if white else floors[int(rng.integers(len(floors)))]
        if rng.random() < 0.4:
            scenes.append(scene_of(found.pieces, floor, rng, lower=region_of(kind) == "lower"))
        else:
            scenes.append(_drawn(_some([*near, found], rng, 1), floor, rng))
    return scenes


def _some(near: list[PhotoPieces], rng: np.random.Generator, count: int) -> list[PhotoPieces]:
    return [near[int(rng.integers(len(near)))] for _ in range(count if near else 0)]


def _drawn(cloth: list[PhotoPieces], floor: np.ndarray, rng: np.random.Generator) -> Scene:
    """One of the atelier's garments on a floor (SIDE, SIDE, 3), mostly in the cloth of a photo where there is one."""
    spec = random_garment(rng, str(rng.choice(KINDS)))
    dressed = bool(cloth) and rng.random() < 0.6
    if dressed:
        spec = replace(spec, colour="white", pattern="plain")
    pieces: list[FlatPiece] = render_pieces(spec, size=(SIDE, SIDE), arms=float(rng.uniform(12, 45)))
    if dressed:
        pieces = [dressed_in(piece, cloth[0], rng) for piece in pieces]
    return scene_of(pieces, floor, rng, lower=spec.region == "lower")


def partial_entropy(logits: Tensor, target: Tensor, *, weight: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits (B, C, H, W) with target (B, H, W), which may say CLOTH (of any part) or
    UNKNOWN; weight (C,) of each part."""
    log = logits.log_softmax(1)
    known = F.nll_loss(log, target.where(target < CLOTH, 0), weight=weight, reduction="none")
    any_part = log[:, 1:].logsumexp(1)
    loss = torch.where(target < CLOTH, known, torch.where(target == CLOTH, -any_part, 0.0))
    return loss.sum() / (target != UNKNOWN).sum().clamp(min=1)


def known_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 - the mean Dice overlap of the parts that occur, where they are known; as `partial_entropy`."""
    sure = (target < CLOTH)[:, None].to(logits.dtype)
    found = logits.softmax(1) * sure
    true = F.one_hot(target.where(target < CLOTH, 0), logits.shape[1]).movedim(-1, 1).to(logits.dtype) * sure
    both, size, there = (found * true).sum((0, 2, 3)), (found + true).sum((0, 2, 3)), true.sum((0, 2, 3))
    return 1 - (2 * both / size.clamp(min=1))[there > 0].mean()


class GarmentStage:
    """The network and the pictures it learns from."""

    def __init__(self, config: PretrainConfig, scenes: Photos) -> None:
        self.config, self.scenes = config, scenes
        self.device = choose_device(config.loop.device)
        torch.manual_seed(config.loop.seed)
        size = config.garment
        sizes = ParserSizes(size.blocks, size.widths, size.groups, config.height, config.width, 0, len(GarmentPart))
        self.model = PersonParser(sizes)
        finished = load_model(Path(size.backbone_dir or EMBEDDED["parser"]))
        self.model.stem.load_state_dict(finished.stem.state_dict())
        for own, other in zip(self.model.blocks, finished.blocks):
            own.load_state_dict(other.state_dict())
        for own in (self.model.stem, *self.model.blocks[: size.frozen]) if size.frozen else ():
            own.requires_grad_(False)
        self.modules: dict[str, nn.Module] = {"garment": self.model.to(self.device)}
        self.train = np.flatnonzero(~scenes.held)
        self.validation = np.flatnonzero(scenes.held)[: config.garment.heldout]
        labels = scenes.parts[self.train[:: max(1, len(self.train) // 500)]]
        share = np.bincount(labels.ravel(), minlength=256)[: len(GarmentPart)] / labels.size
        weight = np.maximum(share, 1e-3) ** -config.parser.rarity
        self.weight = torch.from_numpy(weight / (weight * share).sum()).float().to(self.device)
        self.rows = len(self.train)

    def loss(self, step: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Return cross-entropy and Dice loss of one random batch of changed pictures."""
        rows = torch.randint(len(self.train), (self.config.loop.batch_size,), generator=generator).numpy()
        x, target = read_rows(self.scenes, self.train[rows])
        x, target = changed(x, target, size=(self.config.height, self.config.width), generator=generator)
        logits, target = self.model(x.to(self.device)).float(), target.to(self.device)
        entropy = partial_entropy(logits, target, weight=self.weight)
        overlap = known_dice(logits, target)
        return {"loss": entropy + self.config.parser.dice * overlap, "entropy": entropy, "dice": overlap}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Mean intersection over union on pictures of the atelier's garments that are held out, and of each part."""
        counts = np.zeros((len(GarmentPart), len(GarmentPart)), np.int64)
        size = (self.config.height, self.config.width)
        for start in range(0, len(self.validation), 8):
            x, target = read_rows(self.scenes, self.validation[start : start + 8])
            small = F.interpolate(x, size=size, mode="area").to(self.device)
            found = F.interpolate(garment_logits(self.model, small), size=x.shape[2:], mode="bilinear").argmax(1).cpu()
            sure = target < CLOTH
            pairs = target[sure] * len(GarmentPart) + found[sure]
            counts += np.bincount(pairs.numpy(), minlength=counts.size).reshape(counts.shape)
        both = np.diag(counts)
        union = counts.sum(0) + counts.sum(1) - both
        iou = np.where(counts.sum(1) > 0, both / np.maximum(union, 1), np.nan)
        each = {f"iou_{part.name.lower()}": float(value) for part, value in zip(GarmentPart, iou)}
        return {"iou": float(np.nanmean(iou)), **each}

    @torch.no_grad()
    def preview(self, path: Path) -> None:
        """Write pictures of the atelier's garments with their true parts and those that were found."""
        x, target = read_rows(self.scenes, self.validation[:8])
        small = F.interpolate(x, size=(self.config.height, self.config.width), mode="area").to(self.device)
        found = F.interpolate(garment_logits(self.model, small), size=x.shape[2:], mode="bilinear").argmax(1).cpu()
        shown = ((x + 1) * 127.5).permute(0, 2, 3, 1).numpy().astype(np.uint8)
        lines = [shown, COLOURS[target.where(target < CLOTH, 0).numpy()], COLOURS[found.numpy()]]
        sheet = np.concatenate([np.concatenate(list(line), 1) for line in lines])
        write_whole(path, lambda part: Image.fromarray(sheet).save(part, format="PNG"))

    def export(self, folder: Path) -> Path:
        """Save the parser in float16."""
        return with_card(save_parser(self.model, folder / "garment"), self.config.loop)


def changed(x: Tensor, target: Tensor, *, size: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Change pictures x (B, 3, H, W) and labels (B, H, W) as `parser_data.change` does, and make them of `size`.

    Left and right are exchanged where a picture is mirrored; what comes in from outside is not judged.
    """
    x, moved, theta = change(x, target + 1, generator=generator)
    target = torch.where(moved == 0, UNKNOWN, moved - 1)
    table = torch.arange(256)
    table[: len(MIRRORED)] = torch.tensor(MIRRORED)
    mirrored = torch.linalg.det(theta[:, :, :2]) < 0
    target = torch.where(mirrored[:, None, None], table[target], target)
    small = F.interpolate(hide(x, generator=generator), size=size, mode="area")
    return small, F.interpolate(target[:, None].float(), size=size, mode="nearest")[:, 0].long()
