"""Joints: places are read off heat, errors fall towards them, and they move along with changed pictures."""

import json
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from personagen.person.joints import MIRRORED, Joint, cell_loss, mirrored, places
from personagen.person.network import ParserSizes, PersonParser
from personagen.person.parser import load_parser, save_parser
from personagen.pretrain import ParserConfig, PretrainConfig, pretrain
from personagen.pretrain.joints import carried, close_to
from personagen.pretrain.parser_data import change
from personagen.training.config import LoopConfig
from recsys.errors import ConfigError, DataError
from tests.personagen.pretrain.tools import run_whole_and_halted

COUNT = len(Joint)


def heat_at(joints: torch.Tensor, size=(40, 30)) -> torch.Tensor:
    """Logits of a Gaussian of a cell around joints (B, 13, 2), shares of the picture."""
    y, x = torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5
    away = (x - joints[..., :1] * size[1])[:, :, None] ** 2 + (y - joints[..., 1:] * size[0])[..., None] ** 2
    return -away / 2


def test_places_are_read_to_a_fraction_of_a_cell():
    joints = torch.rand(3, COUNT, 2, generator=torch.Generator().manual_seed(0)) * 0.7 + 0.15
    found = places(heat_at(joints))
    assert torch.allclose(found[..., :2], joints, atol=0.003) and (found[..., 2] > 0.8).all()
    assert (places(torch.zeros(1, COUNT, 40, 30))[..., 2] < 0.03).all()  # nothing known


def test_the_loss_is_least_where_the_joint_is_and_none_outside():
    joints = torch.full((1, COUNT, 2), 0.5)
    right, near, far = (cell_loss(heat_at(joints + d) / 2.25, joints) for d in (0, 0.05, 0.3))
    assert (right < near).all() and (near < far).all()
    target = torch.full((1, COUNT, 2), 1.2)
    assert not cell_loss(heat_at(joints), target).any()


def test_left_and_right_change_in_a_mirror():
    assert [Joint(i).name for i in MIRRORED[:3]] == ["NOSE", "RIGHT_SHOULDER", "LEFT_SHOULDER"]
    assert [MIRRORED[i] for i in MIRRORED] == list(range(COUNT))
    joints = torch.rand(1, COUNT, 2, generator=torch.Generator().manual_seed(1)) * 0.7 + 0.15
    seen = joints[:, MIRRORED] * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    assert torch.allclose(places(mirrored(heat_at(seen)))[..., :2], joints, atol=0.003)


def test_joints_move_with_the_picture():
    generator = torch.Generator().manual_seed(3)
    joints = torch.rand(6, COUNT, 2, generator=generator) * 0.4 + 0.3
    for joint in (Joint.NOSE, Joint.LEFT_WRIST):
        x = torch.full((6, 3, 160, 120), -1.0)
        for row, (column, line) in enumerate((joints[:, joint] * torch.tensor([120, 160])).long().tolist()):
            x[row, :, line - 2 : line + 3, column - 2 : column + 3] = 1
        moved, _, theta = change(x, torch.zeros(6, 160, 120).long(), generator=torch.Generator().manual_seed(5))
        where = carried(joints, theta)
        flipped = torch.linalg.det(theta[:, :, :2]) < 0
        assert 0 < flipped.sum() < 6
        for row in range(6):
            bright = moved[row].mean(0)
            at = divmod(int(bright.argmax()), 120)
            wanted = where[row, MIRRORED[joint] if flipped[row] else joint] * torch.tensor([120, 160])
            assert (at[1], at[0]) == pytest.approx(wanted.tolist(), abs=5)


def test_joints_count_as_found_within_a_tenth_of_the_trunk():
    true = torch.zeros(1, COUNT, 3)
    true[..., 2] = 1.0
    true[:, [Joint.LEFT_HIP, Joint.RIGHT_HIP], 1] = 0.5  # fifty pixels below the shoulders
    found = true.clone()
    found[0, Joint.NOSE, 0], found[0, Joint.LEFT_KNEE, 0] = 0.04, 0.06
    true[0, Joint.RIGHT_KNEE, 2] = 0.2
    right = close_to(found, true, torch.tensor([100, 100]))[0]
    assert right[Joint.NOSE] == 1 and right[Joint.LEFT_KNEE] == 0 and right[Joint.RIGHT_KNEE].isnan()


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Ten photos of a dot on grey, which stands for every joint, beside a parser without joints."""
    root = tmp_path_factory.mktemp("people")
    for name in ("photos", "parsing"):
        (root / "people" / name).mkdir(parents=True)
    (root / "people" / "labels.json").write_text('["null", "skin"]')
    known = {}
    for i in range(10):
        picture, labels = np.full((96, 64, 3), 120, np.uint8), np.zeros((96, 64), np.uint8)
        column, row = 12 + 4 * i, 70 - 5 * i
        picture[row - 4 : row + 4, column - 4 : column + 4], labels[row - 4 : row + 4, column - 4 : column + 4] = 255, 1
        Image.fromarray(picture).save(root / "people" / "photos" / f"{i:04d}.jpg", quality=95)
        Image.fromarray(labels).save(root / "people" / "parsing" / f"{i:04d}.png")
        known[f"{i:04d}"] = [[column / 64, row / 96, 0.9]] * COUNT
    (root / "joints.json").write_text(json.dumps(known))
    torch.manual_seed(0)
    save_parser(PersonParser(ParserSizes(5, (8, 16, 24), 4, 48, 32)), root / "parser")
    return root


def settings(people, out) -> PretrainConfig:
    return PretrainConfig(
        stage="joints", output_dir=str(out), height=48, width=32,
        loop=LoopConfig(steps=60, batch_size=4, learning_rate=1e-2, warmup_steps=2, ema_decay=0.8,
                        mixed_precision="no", device="cpu", evaluate_every=60, preview_every=60, checkpoint_every=20,
                        heldout_rows=4),
        parser=ParserConfig(str(people), groups=4, joints=8, joints_file=str(people / "joints.json"),
                            parser_dir=str(people / "parser")),
    )  # fmt: skip


def test_the_stage_teaches_the_branch_alone_and_goes_on(people, tmp_path):
    first = run_whole_and_halted(partial(settings, people), tmp_path, at=25, left=35)
    start, end = (np.mean([step.losses["loss"] for step in part]) for part in (first[:5], first[-5:]))
    assert end < start - 0.3  # of about one: the targets have some width themselves
    one = load_file(tmp_path / "whole" / "parser" / "model.safetensors")
    before = load_file(people / "parser" / "model.safetensors")
    assert set(one) > set(before) and all(torch.equal(before[name], one[name]) for name in before)
    photo = Image.open(people / "people" / "photos" / "0003.jpg")
    assert load_parser(people / "parser")(photo).joints is None
    joints = load_parser(tmp_path / "whole" / "parser")(photo.resize((128, 192))).joints
    assert joints is not None and joints.shape == (COUNT, 3)
    assert np.median(joints[:, :2], 0) == pytest.approx((48, 110), abs=24)


def test_what_the_stage_needs_is_asked_for(people, tmp_path):
    for message, error, name, value in (
        ("joints_file", ConfigError, "joints_file", None),
        ("cannot be read", DataError, "joints_file", str(people / "none.json")),
        ("is 0", ConfigError, "joints", 0),
        ("multiple", ConfigError, "joints", 5),
    ):
        config = settings(people, tmp_path)
        change: dict[str, Any] = {name: value}
        with pytest.raises(error, match=message):
            list(pretrain(replace(config, parser=replace(config.parser, **change))))
