"""Teach a finished parser's branch of joints (`person.joints`) on street photos; the rest of it stays as it is.

The joints are what BlazePose says (`joint_labels`): a small network learns from a larger one (Hinton et al., 2015,
arXiv 1503.02531). Photos that validate and photos that are held out are those of the parser's stage.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from recsys.errors import ConfigError, DataError, shown
from recsys.text import from_json, read_text
from recsys.types import Step

from ..corpora.leftout import Tell, silent
from ..devices import choose_device
from ..embedded import EMBEDDED
from ..files import write_whole
from ..images import place
from ..person.joints import MIRRORED, Joint, cell_loss, places
from ..person.network import PersonParser
from ..person.parser import load_model, save_parser
from ..training.card import with_card
from .config import PretrainConfig
from .parser import read_rows, split_rows
from .parser_data import Photos, change, gather, hide, read, recolour
from .start import run_stage

UNSEEN = 0.3
"""What a joint weighs that the teacher takes to be hidden; one it sees weighs 1."""
CLOSE = 0.1
"""Of the height from shoulders to hips: a joint this near to its place counts as found."""


def train_joints(config: PretrainConfig, *, tell: Tell = silent) -> Iterator[Step]:
    """Read the photos once into `output_dir`, then train; write the parser with its joints to `output_dir/parser`.

    tell: takes a line about photos that are left out.
    """
    folder, size = Path(config.output_dir), (config.height, config.width)
    yield from gather(config.parser.images(), folder, size=size, garments=False, tell=tell)
    people = read(folder, "people", size=size)
    yield from run_stage(JointStage(config, people, _labels(config, people.names)), config)


def _labels(config: PretrainConfig, names: Sequence[str]) -> np.ndarray:
    """Joints of the photos of these names (N, 13, 3), on the canvas that the network reads; nan where unknown."""
    if config.parser.joints_file is None:
        raise ConfigError("parser.joints_file is null; make one with personagen/pretrain/joint_labels.py")
    known = _marks(Path(config.parser.joints_file))
    photos = config.parser.images() / "people" / "photos"
    labels = np.full((len(names), len(Joint), 3), np.nan, np.float32)
    for i, name in enumerate(names):
        if name in known:
            where = place(_size(photos / f"{name}.jpg"), (config.height, config.width))
            labels[i, :, 0] = (where.left + known[name][:, 0] * where.width) / config.width
            labels[i, :, 1] = (where.top + known[name][:, 1] * where.height) / config.height
            labels[i, :, 2] = known[name][:, 2]
    return labels


def _marks(file: Path) -> dict[str, np.ndarray]:
    """Read joints (13, 3) by the names of photos, as `joint_labels` writes them."""
    try:
        marks = {name: np.array(rows, np.float32) for name, rows in from_json(read_text(file)).items()}
    except (DataError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"parser.joints_file {file} cannot be read ({shown(error, most=200)})") from error
    for name, rows in marks.items():
        if rows.shape != (len(Joint), 3):
            raise DataError(
                f"parser.joints_file {file} gives photo {shown(name)!r} marks of shape {rows.shape}, not "
                f"{(len(Joint), 3)}; make it with personagen/pretrain/joint_labels.py"
            )
    return marks


def _size(photo: Path) -> tuple[int, int]:
    try:
        with Image.open(photo) as opened:
            return opened.height, opened.width
    except OSError as error:
        raise DataError(f"{photo} cannot be read any more ({shown(error, most=200)}); copy it again") from error


class JointStage:
    """The branch, the parser it reads, and the photos it learns from."""

    def __init__(self, config: PretrainConfig, people: Photos, labels: np.ndarray) -> None:
        self.config, self.people, self.labels = config, people, torch.from_numpy(labels)
        self.device = choose_device(config.loop.device)
        finished = load_model(Path(config.parser.parser_dir or EMBEDDED["parser"]))
        torch.manual_seed(config.loop.seed)
        self.model = PersonParser(replace(finished.sizes, joints=config.parser.joints)).to(self.device)
        again = finished.sizes.joints == config.parser.joints  # a branch of this width is trained further
        found = {name: v for name, v in finished.state_dict().items() if again or not name.startswith("joints.")}
        self.model.load_state_dict(found, strict=again)
        self.model.eval().requires_grad_(False)
        if self.model.joints is None:
            raise ConfigError("parser.joints is 0; give the width of the branch, e.g. 48")
        self.branch = self.model.joints.requires_grad_(True)
        self.modules: dict[str, nn.Module] = {"joints": self.branch}
        train, validation = split_rows(people.held)
        known = ~np.isnan(labels.reshape(len(labels), -1).sum(1))
        self.train, self.validation = train[known[train]], validation[known[validation]][: config.loop.heldout_rows]
        if not len(self.train):
            raise DataError(f"no photo to train on is named in {config.parser.joints_file}; mark those photos")
        self.rows = len(self.train)

    def loss(self, step: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the mean cross-entropy of the joints in one random batch of changed pictures."""
        rows = self.train[torch.randint(len(self.train), (self.config.loop.batch_size,), generator=generator).numpy()]
        x, parts = read_rows(self.people, rows)
        x, _, theta = change(recolour(x, parts, generator=generator), parts, generator=generator)
        joints = carried(self.labels[rows][..., :2], theta)
        seen = torch.where(self.labels[rows][..., 2] > 0.5, 1.0, UNSEEN).to(self.device)
        with torch.no_grad():
            levels = self.model.pyramid(hide(x, generator=generator).to(self.device))[1:4]
        return {"loss": (seen * cell_loss(self.branch(levels), joints.to(self.device))).mean()}

    @torch.no_grad()
    def _found(self, rows: np.ndarray) -> Tensor:
        """Joints of photos as the network finds them, (N, 13, 3), as shares of the canvas."""
        found = []
        for start in range(0, len(rows), 8):
            heat = self.model.both_ways(read_rows(self.people, rows[start : start + 8])[0].to(self.device))[1]
            assert heat is not None
            found.append(places(heat).cpu())
        return torch.cat(found)

    def evaluate(self) -> dict[str, float]:
        """Share of visible joints found on validation photos, all and of each pair."""
        right = close_to(self._found(self.validation), self.labels[self.validation], self._size())
        each = {f"found_{joint.name.lower()}": float(right[:, joint].nanmean()) for joint in Joint}
        return {"found": float(right.nanmean()), **each}

    def _size(self) -> Tensor:
        return torch.tensor([self.config.width, self.config.height])

    def preview(self, path: Path) -> None:
        """Write found joints (red) and the teacher's (green) of validation photos over their parts."""
        rows = self.validation[:8]
        pictures = []
        for i, found in zip(rows, self._found(rows)):
            picture = Image.fromarray(self.people.parts[i] * 20).convert("RGB")
            for marks, colour in ((self.labels[i], (0, 200, 0)), (found, (255, 0, 0))):
                for x, y in (marks[:, :2] * self._size()).tolist():
                    ImageDraw.Draw(picture).ellipse([x - 3, y - 3, x + 3, y + 3], outline=colour)
            pictures.append(np.asarray(picture))
        write_whole(path, lambda part: Image.fromarray(np.concatenate(pictures, 1)).save(part, format="PNG"))

    def export(self, folder: Path) -> Path:
        """Save the parser with its joints in float16."""
        return with_card(save_parser(self.model, folder / "parser"), self.config.loop)


def carried(joints: Tensor, theta: Tensor) -> Tensor:
    """Move joints (B, 13, 2), shares of the picture, along with pictures that `change` changed; theta (B, 2, 3).

    Where a picture is mirrored, left and right are exchanged.
    """
    turn, shift = theta[:, :, :2], theta[:, :, 2]
    moved = torch.linalg.solve(turn[:, None], (joints * 2 - 1 - shift[:, None])[..., None])[..., 0] / 2 + 0.5
    return torch.where((torch.linalg.det(turn) < 0)[:, None, None], moved[:, MIRRORED], moved)


def close_to(found: Tensor, labels: Tensor, size: Tensor) -> Tensor:
    """Tell which joints are found: 1 or 0, nan for hidden ones, (N, 13); found and labels (N, 13, 3).

    Found is one within a tenth of the distance from the middle of the shoulders to that of the hips (PCK).
    """
    true = labels[..., :2] * size
    middle = lambda pair: true[:, pair].mean(1)
    torso = (middle([Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER]) - middle([Joint.LEFT_HIP, Joint.RIGHT_HIP])).norm(
        dim=-1
    )
    right = ((found[..., :2] * size - true).norm(dim=-1) < CLOSE * torso[:, None]).float()
    return torch.where(labels[..., 2] > 0.5, right, torch.nan)
