"""The parser of garments: its pictures have exact labels, it learns from what is sure, and what it saves loads."""

import csv
import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file

from personagen.atelier.flat import render_pieces
from personagen.atelier.garment import GarmentSpec
from personagen.corpora.photos import is_heldout
from personagen.person.parser import load_model
from personagen.pretrain import GarmentConfig, PretrainConfig, pretrain
from personagen.pretrain.garment import changed, known_dice, partial_entropy
from personagen.pretrain.garment_pieces import floor_of, photo_pieces
from personagen.pretrain.garment_scenes import CLOTH, SIDE, UNKNOWN, scene_of
from personagen.training.config import LoopConfig
from personagen.vocabulary import GarmentPart
from recsys.errors import DataError
from tests.personagen.pretrain.tools import LOOP


def photo(colour: tuple[int, int, int]) -> Image.Image:
    """A t-shirt on a floor of planks."""
    picture = Image.new("RGB", (300, 300), (200, 180, 150))
    draw = ImageDraw.Draw(picture)
    for x in range(0, 300, 20):
        draw.line([(x, 0), (x, 300)], fill=(180, 160, 130))
    draw.polygon([(100, 60), (200, 60), (202, 260), (98, 260)], fill=colour)
    for sign in (-1, 1):
        out = lambda x, sign=sign: 150 + sign * x
        draw.polygon([(out(50), 60), (out(48), 120), (out(95), 140), (out(110), 100)], fill=colour)
    return picture


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    (folder / "garments" / "images").mkdir(parents=True)
    senders = [str(n) for n in range(100) if not is_heldout(f"sender/{n}")][:12]
    with (folder / "garments" / "garments.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["file", "label", "sender_id", "kids"])
        for i, sender in enumerate(senders):
            table.writerow([f"{i}.png", "T-Shirt", sender, "False"])
            photo((30 + 15 * i, 40, 160 - 10 * i)).save(folder / "garments" / "images" / f"{i}.png")
    return folder


def settings(images, out, **changes) -> PretrainConfig:
    config = PretrainConfig(
        stage="garment", output_dir=str(out), height=64, width=64,
        loop=dataclasses.replace(LoopConfig(), **LOOP, steps=3),
        garment=GarmentConfig(photos=10, scenes=2, heldout=2),
    )  # fmt: skip
    return dataclasses.replace(config, parser=dataclasses.replace(config.parser, images_root=str(images)), **changes)


@pytest.mark.slow
def test_the_stage_runs_goes_on_exactly_and_what_it_saves_loads(images, tmp_path):
    steps = list(pretrain(settings(images, tmp_path / "whole")))
    trained = [step for step in steps if step.losses]
    assert [step.step for step in trained] == [1, 2, 3]
    assert trained[-1].metrics is not None and 0 <= trained[-1].metrics["iou"] <= 1
    model = load_model(tmp_path / "whole" / "garment")
    assert model.sizes.classes == len(GarmentPart)
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 64, 64)).shape == (1, len(GarmentPart), 64, 64)
    parts = np.load(tmp_path / "whole" / "scenes-parts.npy")
    assert set(np.unique(parts)) <= {*range(len(GarmentPart)), CLOTH, UNKNOWN}
    run = pretrain(settings(images, tmp_path / "parted"))
    for step in run:
        if step.losses:
            break
    run.close()  # type: ignore[attr-defined]
    list(pretrain(settings(images, tmp_path / "parted")))
    a, b = (load_file(tmp_path / name / "garment" / "model.safetensors") for name in ("whole", "parted"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_without_photos_it_says_what_is_missing(tmp_path):
    with pytest.raises(DataError, match=r"garments\.csv"):
        list(pretrain(settings(tmp_path, tmp_path / "out")))


@pytest.mark.parametrize("kind", ["sweater", "trousers", "skirt"])
def test_a_scene_has_the_parts_of_its_pieces_and_the_floor_is_seen(kind):
    spec = GarmentSpec(kind, "red", sleeve=0.97 if kind == "sweater" else 0.0)
    floor = np.full((SIDE, SIDE, 3), (20, 200, 60), np.uint8)
    picture, labels = scene_of(render_pieces(spec), floor, np.random.default_rng(3), lower=kind != "sweater")
    assert picture.shape == (SIDE, SIDE, 3) and labels.shape == (SIDE, SIDE)
    wanted = {"sweater": {1, 2, 3}, "trousers": {1, 6, 7, 8}, "skirt": {1, 6}}[kind]
    assert wanted <= set(np.unique(labels)) <= wanted | {0, 4, 5, 9, UNKNOWN}
    cloth = np.isin(labels, list(wanted))
    green = picture[..., 1].astype(int) - picture[..., 0]
    assert np.median(green[labels == 0]) > 30 > np.median(green[cloth])


def test_a_photo_is_taken_apart_where_its_outline_is_sure():
    found = photo_pieces(photo((160, 30, 40)), "t-shirt")
    assert found is not None and len(found.pieces) == 3
    assert {GarmentPart.TRUNK, GarmentPart.LEFT_SLEEVE, GarmentPart.RIGHT_SLEEVE} <= set(np.unique(found.labels))
    left = np.nonzero(found.labels == GarmentPart.LEFT_SLEEVE)[1].mean()
    assert left < SIDE / 2 < np.nonzero(found.labels == GarmentPart.RIGHT_SLEEVE)[1].mean()
    floor = floor_of(found, np.random.default_rng(0))
    assert floor is not None and np.abs(floor.reshape(-1, 3).mean(0) - [198, 178, 148]).max() < 12
    assert photo_pieces(Image.new("RGB", (200, 200), "navy"), "t-shirt") is None


def test_cloth_of_any_part_asks_for_no_part_and_what_is_unknown_for_nothing():
    logits = torch.randn(1, len(GarmentPart), 4, 4, generator=torch.Generator().manual_seed(0))
    ones = torch.ones(len(GarmentPart))
    every = torch.full((1, 4, 4), CLOTH)
    entropy = partial_entropy(logits, every, weight=ones)
    shares = logits.softmax(1)
    assert entropy == pytest.approx(float(-(1 - shares[:, 0]).log().mean()), rel=1e-5)
    half = every.clone()
    half[:, :2] = UNKNOWN
    other = logits.clone()
    other[:, :, :2] = 50 * torch.randn(other[:, :, :2].shape)
    assert partial_entropy(other, half, weight=ones) == pytest.approx(
        float(-(1 - shares[:, 0, 2:]).log().mean()), rel=1e-5
    )
    target = torch.randint(0, 3, (1, 4, 4))
    exact = 40.0 * torch.nn.functional.one_hot(target, len(GarmentPart)).movedim(-1, 1)
    assert float(known_dice(exact, target)) < 0.1 and float(partial_entropy(exact, target, weight=ones)) < 1e-3


def test_left_and_right_are_exchanged_in_mirrored_pictures():
    x, target = torch.zeros(64, 3, 32, 32), torch.zeros(64, 32, 32, dtype=torch.long)
    x[:, 0, :, :16], target[:, :, :16] = 1.0, GarmentPart.LEFT_SLEEVE
    target[:, :, 16:] = GarmentPart.RIGHT_SLEEVE
    _, moved = changed(x, target, size=(32, 32), generator=torch.Generator().manual_seed(0))
    left = moved == GarmentPart.LEFT_SLEEVE
    columns = torch.arange(32.0)
    for one in range(64):
        right = moved[one] == GarmentPart.RIGHT_SLEEVE
        if left[one].any() and right.any():
            middle = lambda mask: (mask * columns).sum() / mask.sum()
            assert middle(left[one].float()) < middle(right.float())
    assert (moved == UNKNOWN).any()
