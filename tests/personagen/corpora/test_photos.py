"""Corpora from photos, on a small made-up set with the same layout as the real one."""

import csv
import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from personagen.corpora.photos import (
    KIND_OF_CCP,
    cloth_colour,
    head_of,
    hide_face,
    is_heldout,
    photo_pairs,
    worn_garments,
    write_garments_corpus,
    write_people_corpus,
)
from personagen.person.parts import parts_from_parsing
from personagen.vocabulary import COLOURS
from personagen.warping.cutout import cut_out  # fmt: skip
from recsys.errors import DataError

LABELS = ["null", "hair", "skin", "shirt", "jeans", "shoes", "dress", "jacket"]
SIZE = (64, 48)
HELDOUT = [4, 9, 17]  # of the first twenty people, by the first byte of their sha256


def photographed(*, jacket: bool = False, head: bool = True) -> tuple[Image.Image, np.ndarray]:
    """A person in a red shirt and blue jeans on noise: photo and parsing of 160 x 106."""
    values = np.zeros((160, 106), np.uint8)
    if head:
        values[8:14, 44:62], values[14:28, 46:60] = 1, 2
    values[28:80, 36:70] = 3
    values[80:140, 40:66] = 4
    values[140:150, 38:68] = 5
    if jacket:
        values[28:78, 30:76] = 7
        values[30:70, 50:56] = 3
    paint = np.array(
        [
            (0, 0, 0),
            (60, 40, 30),
            (220, 180, 160),
            COLOURS["red"],
            COLOURS["blue"],
            (9, 9, 9),
            (0, 0, 0),
            COLOURS["green"],
        ]
    )
    pixels = np.random.default_rng(0).integers(90, 160, (160, 106, 3))
    pixels[values > 0] = paint[values[values > 0]]
    rng = np.random.default_rng(1)
    pixels[values == 2] += rng.integers(-60, 35, (int((values == 2).sum()), 3))
    return Image.fromarray(pixels.astype(np.uint8)), values


@pytest.fixture
def images_root(tmp_path):
    people, garments = tmp_path / "people", tmp_path / "garments"
    for folder in (people / "photos", people / "parsing", garments / "images"):
        folder.mkdir(parents=True)
    (people / "labels.json").write_text(json.dumps(LABELS))
    for i in range(1, 13):
        photo, values = photographed(jacket=i == 2, head=i != 3)
        photo.save(people / "photos" / f"{i:04d}.jpg", quality=97)
        Image.fromarray(values).save(people / "parsing" / f"{i:04d}.png")
    with (garments / "garments.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["file", "label", "sender_id", "kids"])
        for i, (label, kids) in enumerate(
            [("T-Shirt", False), ("Pants", False), ("Shoes", False), ("Dress", True)] * 3
        ):
            picture = Image.new("RGB", (60, 60), (200, 200, 200))
            ImageDraw.Draw(picture).rectangle((15, 10, 45, 50), fill=COLOURS["red"])
            picture.save(garments / "images" / f"{i}.jpg", quality=95)
            writer.writerow([f"{i}.jpg", label, i, kids])
    return tmp_path


def rows_of(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "meta.jsonl").read_text().splitlines()]


def test_people_become_try_on_pairs(images_root, tmp_path):
    out = tmp_path / "corpus"
    count = write_people_corpus(images_root, out, size=SIZE)
    rows = rows_of(out)
    arrays = {name: np.load(out / f"{name}.npy", mmap_mode="r") for name in ("image", "garment", "mask")}
    assert count == len(rows) == 22 and all(len(array) == count for array in arrays.values())
    assert arrays["image"].shape[1:] == arrays["garment"].shape[1:] == (*SIZE, 3) and arrays["mask"].shape[1:] == SIZE
    assert {array.dtype for array in arrays.values()} == {np.dtype("uint8")} and set(np.unique(arrays["mask"])) == {
        0,
        1,
    }
    first = rows[0]
    assert first["caption"] == "a photo of a person wearing a red shirt and blue trousers"
    assert (first["garment_caption"], first["kind"], first["colour"], first["pattern"]) == (
        "a photo of a red shirt",
        "shirt",
        "red",
        "",
    )
    assert first["source"] == "people/0001" and "people/0003" not in {
        row["source"] for row in rows
    }  # a head left unmarked
    assert {row["kind"] for row in rows if row["source"] == "people/0002"} == {"jacket", "trousers"}
    assert all(row["split"] == ("heldout" if is_heldout(row["source"]) else "train") for row in rows)
    centre = arrays["garment"][0][SIZE[0] // 2, SIZE[1] // 2]
    assert np.abs(centre.astype(int) - COLOURS["red"]).max() < 25 and (arrays["garment"][0][:2] == 255).all()


def test_the_garment_lies_inside_its_mask_and_the_head_outside(images_root):
    folder = images_root / "people"
    pair = next(photo_pairs(folder / "photos/0001.jpg", folder / "parsing/0001.png", LABELS, size=SIZE))
    _, values = photographed()
    small = np.asarray(Image.fromarray(values).resize((42, 64), Image.Resampling.NEAREST))
    mask = pair.mask[:, 3:45]
    assert mask[small == 3].all() and not mask[(small == 1) | (small == 2)].any()


def test_faces_are_made_unrecognisable():
    photo, values = photographed()
    head = head_of(parts_from_parsing(values, LABELS))
    before, after = np.asarray(photo, float), np.asarray(hide_face(photo, head), float)
    detail = [np.abs(np.diff(picture[17:25, 48:58], axis=1)).mean() for picture in (before, after)]
    assert detail[1] < 0.2 * detail[0]
    assert (before[40:] == after[40:]).all()


def test_only_whole_garments_are_cut_out():
    _, values = photographed()
    assert set(worn_garments(values, LABELS)) == {"shirt", "trousers"}
    shreds = values.copy()
    shreds[28:80:4] = 0
    tiny = np.where((values == 3) & (np.arange(106)[None] > 38), 0, values)
    for spoiled in (shreds, tiny):
        assert set(worn_garments(spoiled, LABELS)) == {"trousers"}


def test_a_cut_out_is_centred_on_white():
    photo, values = photographed()
    picture = np.asarray(cut_out(photo, values == 3, size=SIZE)).astype(int)
    ink = picture.min(-1) < 250
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    assert abs((rows[0] + rows[-1]) - (SIZE[0] - 1)) <= 2 and abs((columns[0] + columns[-1]) - (SIZE[1] - 1)) <= 2
    assert rows[0] >= 2 and columns[0] >= 1


def test_every_word_names_its_own_dye_in_light_and_shade():
    for name, rgb in COLOURS.items():
        flat = np.tile(np.array(rgb, np.uint8), (4, 4, 1))
        assert cloth_colour(flat, np.ones((4, 4), bool)) == name
    for rgb, name in (
        ((40, 60, 45), "green"),
        ((92, 72, 56), "brown"),
        ((30, 34, 60), "blue"),
        ((26, 26, 30), "black"),
    ):
        flat = np.tile(np.array(rgb, np.uint8), (4, 4, 1))
        assert cloth_colour(flat, np.ones((4, 4), bool)) == name


def test_garments_become_a_text_corpus(images_root, tmp_path):
    out = tmp_path / "corpus"
    assert write_garments_corpus(images_root, out, size=SIZE) == 6
    rows = rows_of(out)
    assert {row["caption"] for row in rows} == {"a photo of a red t-shirt", "a photo of red trousers"}
    assert np.load(out / "image.npy").shape == (6, *SIZE, 3) and not (out / "mask.npy").exists()


def test_the_heldout_fifth_is_fixed():
    told = [is_heldout(f"people/{i:04d}") for i in range(2000)]
    assert 0.17 < np.mean(told) < 0.23 and np.flatnonzero(told[:20]).tolist() == HELDOUT
    assert set(KIND_OF_CCP.values()) == {
        "t-shirt",
        "shirt",
        "sweater",
        "jacket",
        "dress",
        "skirt",
        "trousers",
        "shorts",
    }


def test_a_wrong_folder_is_named(tmp_path):
    for write in (write_people_corpus, write_garments_corpus):
        with pytest.raises(DataError, match=str(tmp_path)):
            write(tmp_path, tmp_path / "out", size=SIZE)
