"""A folder of a subject: every file gets its decision, and nothing in it stops the scan."""

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from personagen.subject import SubjectConfig, resolve
from personagen.subject.data import bucket_size, cover, read_region, scan, usable
from recsys.errors import ConfigError, DataError
from tests.personagen.subject.parts import write_pictures


def test_every_file_gets_its_decision(tmp_path):
    folder = write_pictures(tmp_path / "pics", count=2)
    outside = write_pictures(tmp_path / "else", count=1, seed=9) / "00.png"
    (folder / "copy.png").write_bytes((folder / "00.png").read_bytes())
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    Image.new("RGB", (400, 400), "red").save(folder / "whole.jpg")
    (folder / "cut.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:900])
    (folder / "words.png").write_text("not a picture")
    (folder / "notes.pdf").write_bytes(b"%PDF")
    (folder / "sub").mkdir()
    (folder / "link.png").symlink_to(outside)
    (folder / "nowhere.png").symlink_to(tmp_path / "missing.png")
    Image.new("L", (10_000, 10_000)).save(folder / "bomb.png")
    pictures, findings = scan(folder, resolution=64)
    assert {f.file: f.decision for f in findings} == {
        "00.png": "used",
        "01.png": "used",
        "bomb.png": "too large",
        "copy.png": "duplicate",
        "cut.jpg": "damaged",
        "dot.png": "too small",
        "link.png": "link leads out",
        "notes.pdf": "not a picture",
        "nowhere.png": "link leads out",
        "sub": "not a picture",
        "whole.jpg": "used",
        "words.png": "not a picture",
    }
    assert [picture.path.name for picture in pictures] == ["00.png", "01.png", "whole.jpg"]


def test_captions_come_from_beside_the_picture_or_from_metadata(tmp_path):
    folder = write_pictures(tmp_path / "pics", count=3)
    (folder / "00.txt").write_text("a  {token} dog\non grass\n")
    Image.new("L", (40, 40), 255).save(folder / "01.mask.png")
    pictures, _ = scan(folder)
    assert [p.caption for p in pictures] == ["a {token} dog on grass", None, None]
    assert [p.mask and p.mask.name for p in pictures] == [None, "01.mask.png", None]
    rows = [{"file_name": "02.png", "text": "two", "mask": "01.mask.png"}, {"file_name": "../x.png", "text": "no"}]
    (folder / "metadata.jsonl").write_text("\n".join([*map(json.dumps, rows), "{broken"]) + "\n")
    pictures, findings = scan(folder)
    assert pictures[2].caption == "two" and pictures[2].mask == folder / "01.mask.png"
    assert [f.file for f in findings if f.decision == "line not used"] == ["metadata.jsonl:2", "metadata.jsonl:3"]


def test_exif_rotation_is_applied(tmp_path):
    (tmp_path / "pics").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40), "blue").save(tmp_path / "pics" / "a.jpg", exif=exif)
    assert scan(tmp_path / "pics")[0][0].size == (60, 40)  # (H, W), upright


def test_an_empty_or_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        scan(tmp_path / "none")
    with pytest.raises(DataError, match="it is empty"):
        usable(tmp_path)
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    with pytest.raises(DataError, match="dot.png: too small"):
        usable(tmp_path)


@pytest.mark.parametrize("size", [(512, 512), (900, 600), (600, 900), (4000, 400), (33, 32)])
def test_buckets_keep_proportions_and_pixels(size):
    height, width = bucket_size(size, resolution=512, multiple=64)
    assert height % 64 == width % 64 == 0
    assert 0.8 < height * width / 512**2 < 1.25
    wanted = min(3, max(1 / 3, size[1] / size[0]))
    assert 0.75 < (width / height) / wanted < 1.35
    assert bucket_size(size, resolution=512, multiple=64, buckets=False) == (512, 512)


def test_cover_cuts_the_middle_out(tmp_path):
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:, 20:40] = 255
    cut, corner = cover(Image.fromarray(picture), (20, 20))
    assert cut.size == (20, 20) and corner == (0, 20) and np.asarray(cut).min() == 255
    Image.fromarray(picture[:, :, 0]).save(tmp_path / "m.png")
    assert read_region(tmp_path / "m.png", (20, 20)).min() == 1.0


def test_a_preset_fills_in_what_was_left_out():
    base = "models/sd15"
    config = resolve(SubjectConfig(instance_data_dir="x", name="dog", rank=4, pretrained_model_name_or_path=base))
    assert config.rank == config.lora_alpha == 4 and config.max_train_steps == 400
    assert config.instance_prompt == config.validation_prompt == "a photo of a sks dog"
    assert resolve(SubjectConfig(instance_data_dir="x", name="dog", new_tokens=2)).instance_prompt == (
        "a photo of a <s0><s1> dog"
    )


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"preset": "person"}, "consent"),
        ({"rank": 0}, "rank is 0; allowed are 1"),
        ({"caption_dropout": 1.5}, "caption_dropout"),
        ({"name": " "}, "name is empty"),
        ({"train_unet": "none"}, "nothing would be trained"),
        ({"train_unet": "full", "train_text_encoder": True}, "full"),
        ({"resume_from_checkpoint": "checkpoint-3"}, "latest"),
        ({"preset": "dog"}, "preset 'dog'"),
    ],
)
def test_settings_that_cannot_work_are_named(settings: dict[str, Any], says):
    given: dict[str, Any] = {"instance_data_dir": "x", "name": "dog", **settings}
    with pytest.raises(ConfigError, match=says):
        resolve(SubjectConfig(**given))


def test_captions_in_other_encodings_and_under_other_names(tmp_path):
    folder = write_pictures(tmp_path / "pics", count=5)
    (folder / "00.txt").write_text("a dog", encoding="utf-8-sig")
    (folder / "01.caption").write_text("a größer dog", encoding="utf-16")
    (folder / "02.TXT").write_text("two")
    (folder / "03.png.txt").write_text("three")
    (folder / "._04.png").write_bytes(b"what a Mac leaves behind")
    pictures, findings = scan(folder)
    assert [p.caption for p in pictures] == ["a dog", "a größer dog", "two", "three", None]
    assert [f.file for f in findings] == [f"0{i}.png" for i in range(5)]


def test_captions_that_cannot_be_read_are_told(tmp_path):
    folder = write_pictures(tmp_path / "pics", count=3)
    (folder / "00.txt").write_bytes("größer".encode("cp1252"))
    (folder / "01.txt").write_text("word " * 5000)
    (folder / "02.txt").symlink_to(tmp_path / "outside.txt")
    (tmp_path / "outside.txt").write_text("secret")
    pictures, findings = scan(folder)
    assert not pictures and {f.decision for f in findings} == {"caption not read"}
    assert "UTF-16" in findings[0].detail and "25,000 bytes" in findings[1].detail and "link" in findings[2].detail


def test_empty_pictures_and_strips_are_left_out(tmp_path):
    folder = write_pictures(tmp_path / "pics", count=1)
    Image.new("RGBA", (80, 80)).save(folder / "clear.png")
    Image.new("RGB", (60, 2000), "red").save(folder / "strip.png")
    Image.new("RGB", (80, 80), "blue").save(folder / "old.jfif", format="JPEG")
    assert {f.file: f.decision for f in scan(folder)[1]} == {
        "00.png": "used", "clear.png": "empty", "strip.png": "too narrow", "old.jfif": "used",
    }  # fmt: skip


def test_metadata_in_utf_16(tmp_path):
    folder = write_pictures(tmp_path / "pics", count=1)
    (folder / "metadata.jsonl").write_text(json.dumps({"file_name": "00.png", "text": "größer"}), encoding="utf-16")
    assert scan(folder)[0][0].caption == "größer"


def test_a_mask_that_cannot_be_read_is_found_before_training(tmp_path):
    write_pictures(tmp_path, count=2)
    first = sorted(tmp_path.glob("*.png"))[0]
    first.with_suffix(".mask.png").write_bytes(b"no picture")
    pictures, findings = scan(tmp_path)
    assert len(pictures) == 1
    assert [(f.file, f.decision) for f in findings if f.decision != "used"] == [(first.name, "mask not read")]


@pytest.mark.parametrize(
    "name", ["00.mask.PNG", "00.png.mask.png", "00_mask.png", "00-mask.png", "00-masklabel.png", "00.mask.jpg"]
)
def test_masks_as_different_tools_call_them_are_masks_and_no_pictures(name, tmp_path):
    folder = write_pictures(tmp_path / "pics", count=2)
    mask = Image.new("L", (96, 96))
    mask.paste(255, (20, 20, 60, 60))
    mask.save(folder / name)
    pictures, findings = scan(folder)
    assert [(picture.path.name, picture.mask and picture.mask.name) for picture in pictures] == [
        ("00.png", name),
        ("01.png", None),
    ]
    mask.save(folder / "77.mask.png")
    assert ("77.mask.png", "mask of no picture") in [(f.file, f.decision) for f in scan(folder)[1]]


def test_captions_in_a_table_and_odd_lines_of_metadata(tmp_path):
    folder = write_pictures(tmp_path / "pics", count=2)
    (folder / "metadata.csv").write_text('file_name,text\n00.png,"a dog, asleep"\n.\\01.png,a cat\n02.png,none\n')
    pictures, findings = scan(folder)
    assert [picture.caption for picture in pictures] == ["a dog, asleep", "a cat"]
    assert [f.file for f in findings if f.decision == "line not used"] == ["metadata.csv:4"]
    lines = [{"file_name": "./00.png", "text": "a\u2028dog"}, {"image": "01.png", "caption": "a cat"}, {"text": "x"}]
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines))
    pictures, findings = scan(folder)
    assert [picture.caption for picture in pictures] == ["a\u2028dog", "a cat"]
    assert [(f.file, f.detail) for f in findings if f.decision == "line not used"] == [
        ("metadata.jsonl:3", "it names no file_name")
    ]


def test_an_empty_caption_does_not_hide_another(tmp_path):
    folder = write_pictures(tmp_path / "pics", count=1)
    (folder / "00.txt").write_text("")
    (folder / "00.caption").write_text("a dog")
    assert scan(folder)[0][0].caption == "a dog"
