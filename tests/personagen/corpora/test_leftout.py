"""Folders of many photos with damaged ones: those are left out and told in one line, and only a ruined folder stops."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apps import cli
from personagen.corpora.leftout import LeftOut
from personagen.corpora.pairs import read_pairs, readable
from personagen.corpora.photos import write_garments_corpus, write_people_corpus
from personagen.pretrain import CorpusConfig, PretrainConfig, pretrain
from personagen.training.config import LoopConfig
from recsys.errors import DataError
from tests.personagen.corpora.test_photos import SIZE, images_root  # noqa: F401
from tests.personagen.person import test_joints, test_parser
from tests.personagen.person.test_joints import people  # noqa: F401
from tests.personagen.person.test_parser import photos  # noqa: F401


def spoil(*files: Path) -> None:
    """Cut a picture in half, and put none in the place of the others."""
    for number, file in enumerate(files):
        file.write_bytes(b"no picture at all" if number else file.read_bytes()[: file.stat().st_size // 2])


def test_what_is_left_out_is_one_line_and_nearly_all_is_an_error():
    def reader(damaged: bool, at: int = 0) -> int:
        if damaged:
            raise DataError("b.jpg\nis damaged")
        return at

    lines: list[str] = []
    for count, says in ((0, []), (1, ["left out 1 of 10 photos: b.jpg is damaged"]),
                        (9, ["left out 9 of 10 photos: b.jpg is damaged; and 8 more"])):  # fmt: skip
        left = LeftOut("photos", "shop")
        found = [left.read(partial(reader, at < count, at)) for at in range(10)]
        left.end(lines.append)
        assert lines == says and found[count:] == list(range(10))[count:] and not any(found[:count])
        lines.clear()
    assert left.read(partial(reader, True)) is None and left.read(partial(reader, True)) is None
    with pytest.raises(DataError, match="11 of 12 photos in shop cannot be used: b.jpg is damaged; and 10 more"):
        left.end(lines.append)


@pytest.mark.parametrize("what", ["photos", "parsing"])
def test_a_corpus_of_people_leaves_damaged_ones_out(what, images_root, tmp_path):  # noqa: F811
    folder = images_root / "people" / what
    spoil(*sorted(folder.iterdir())[3:5])
    lines: list[str] = []
    assert write_people_corpus(images_root, tmp_path / "corpus", size=SIZE, tell=lines.append) == 18
    assert len(lines) == 1 and "left out 2 of 12 photos: " in lines[0] and "0004" in lines[0]
    spoil(*sorted(folder.iterdir()))
    with pytest.raises(DataError, match="12 of 12 photos in .* cannot be used"):
        write_people_corpus(images_root, tmp_path / "corpus", size=SIZE)


def test_a_corpus_of_garments_leaves_damaged_ones_out(images_root, tmp_path):  # noqa: F811
    images = images_root / "garments" / "images"
    spoil(images / "0.jpg", images / "1.jpg")
    lines: list[str] = []
    assert write_garments_corpus(images_root, tmp_path / "corpus", size=SIZE, tell=lines.append) == 4
    assert len(lines) == 1 and "left out 2 of 6 photos of garments: " in lines[0] and "0.jpg" in lines[0]
    rows = [json.loads(line) for line in (tmp_path / "corpus" / "meta.jsonl").read_text().splitlines()]
    assert [row["source"] for row in rows] == [f"garments/{at}.jpg" for at in (4, 5, 8, 9)]
    assert len(np.load(tmp_path / "corpus" / "image.npy")) == 4
    shutil.rmtree(images)
    with pytest.raises(DataError, match="6 of 6 photos of garments in .* cannot be used: there is no picture"):
        write_garments_corpus(images_root, tmp_path / "corpus", size=SIZE)


@pytest.mark.parametrize(
    "table, says", [("a,b\n1,2\n", "no column 'file'"), ("\0", "neither UTF-8"), ("", "no column")]
)
def test_a_table_of_garments_without_its_columns_is_refused(table, says, images_root, tmp_path):  # noqa: F811
    (images_root / "garments" / "garments.csv").write_text(table)
    with pytest.raises(DataError, match=says):
        write_garments_corpus(images_root, tmp_path / "corpus", size=SIZE)


def test_the_corpus_stage_says_what_it_leaves_out(images_root, tmp_path):  # noqa: F811
    spoil(images_root / "people" / "photos" / "0001.jpg", images_root / "garments" / "images" / "0.jpg")
    lines: list[str] = []
    config = PretrainConfig(stage="corpus", output_dir=str(tmp_path / "out"), height=SIZE[0], width=SIZE[1],
                            corpus=CorpusConfig(rows=1, heldout_rows=1, photos=str(images_root)))  # fmt: skip
    *_, last = pretrain(config, tell=lines.append)
    assert last.metrics == {"people": 20.0, "garments": 5.0}
    assert [line.split(":")[0] for line in lines] == ["left out 1 of 12 photos", "left out 1 of 6 photos of garments"]


def short(config: PretrainConfig) -> PretrainConfig:
    return replace(config, loop=replace(config.loop, steps=2, warmup_steps=1))


def test_the_parser_is_trained_on_what_can_be_read(photos, tmp_path, capsys):  # noqa: F811
    shutil.copytree(photos, tmp_path / "images")
    folder = tmp_path / "images" / "people"
    spoil(folder / "photos" / "0002.jpg", folder / "parsing" / "0005.png")
    lines: list[str] = []
    config = short(test_parser.settings(tmp_path / "images", tmp_path / "out"))
    list(pretrain(config, tell=lines.append))
    assert len(lines) == 1 and lines[0].startswith("left out 2 of 10 photos: ") and "0002.jpg" in lines[0]
    assert len(np.load(tmp_path / "out" / "people-photos.npy")) == 8
    file = tmp_path / "parser.json"
    file.write_text(json.dumps({"stage": "parser", "height": 48, "width": 32, "output_dir": str(tmp_path / "again"),
                                "loop": vars(LoopConfig(steps=1, batch_size=1, heldout_rows=1)),
                                "parser": vars(config.parser)}))  # fmt: skip
    assert cli.main(["pretrain", str(file)]) == 0
    assert "left out 2 of 10 photos: " in capsys.readouterr().err
    spoil(*sorted((folder / "photos").iterdir()))
    with pytest.raises(DataError, match="10 of 10 photos"):
        list(pretrain(replace(config, output_dir=str(tmp_path / "none"))))


def test_joints_stay_with_their_photos(people, tmp_path):  # noqa: F811
    """A photo that is left out must not hand its joints on to the next one."""
    shutil.copytree(people, tmp_path / "images")
    spoil(tmp_path / "images" / "people" / "photos" / "0001.jpg")
    lines: list[str] = []
    config = short(test_joints.settings(tmp_path / "images", tmp_path / "out"))
    list(pretrain(config, tell=lines.append))
    assert len(lines) == 1 and lines[0].startswith("left out 1 of 10 photos: ") and "0001.jpg" in lines[0]
    from personagen.pretrain.joints import _labels
    from personagen.pretrain.parser_data import read

    held = read(tmp_path / "out", "people", size=(48, 32))
    labels = _labels(config, held.names)
    assert held.names == tuple(f"{at:04d}" for at in range(10) if at != 1)
    dots = [np.argwhere(photo[..., 0] > 200).mean(0) + 0.5 for photo in held.photos]
    assert np.allclose(labels[:, 0, 1::-1] * (48, 32), dots, atol=0.6)


@pytest.mark.parametrize("marks", ["[]", '{"0000": [[1, 2]]}', '{"0000": "x"}', "{", '{"0000": null}'])
def test_a_file_of_joints_that_is_none_is_refused(marks, people, tmp_path):  # noqa: F811
    file = tmp_path / "joints.json"
    file.write_text(marks)
    config = test_joints.settings(people, tmp_path / "out")
    with pytest.raises(DataError, match="joints.json"):
        list(pretrain(replace(config, parser=replace(config.parser, joints_file=str(file)))))


def test_many_damaged_pairs_are_not_a_line_each(tmp_path):
    for name in ("image", "cloth", "agnostic-mask"):
        (tmp_path / "test" / name).mkdir(parents=True)
    white = Image.new("RGB", (24, 32), "white")
    for at in range(30):
        white.save(tmp_path / "test" / "image" / f"{at:02d}.png")
        white.save(tmp_path / "test" / "cloth" / f"{at:02d}.png")
        mask = Image.new("L", (24, 32))
        mask.paste(255, (5, 5, 15, 15))
        mask.save(tmp_path / "test" / "agnostic-mask" / f"{at:02d}.png")
    (tmp_path / "test_pairs.txt").write_text("".join(f"{at:02d}.png {at:02d}.png\n" for at in range(30)))
    pairs, lines = read_pairs(tmp_path, "viton-hd", split="test"), []
    spoil(*sorted((tmp_path / "test" / "cloth").iterdir())[:12])
    assert len(readable(pairs, lines.append)) == 18
    assert len(lines) == 6 and "12 of 30 pairs are left out" in lines[-1]
    spoil(*sorted((tmp_path / "test" / "cloth").iterdir())[:28])
    with pytest.raises(DataError, match="28 of 30 pairs"):
        readable(pairs, lines.append)
