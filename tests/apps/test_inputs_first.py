"""Inputs are read before work begins: a damaged one is found, or left out with a reason, before a model is loaded."""

from pathlib import Path

import pytest
from PIL import Image

from apps import cli
from tests.personagen.subject.parts import write_pictures

from .shop import write_shop


@pytest.fixture
def shop(tmp_path) -> dict[str, Path]:
    return write_shop(tmp_path)


def late(*inputs, **settings):
    raise AssertionError("work began before the inputs were read")


def test_an_outfit_is_read_before_the_parser_is_loaded(shop, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("apps.commands.wear.load_parser", late)
    good, bad = shop["catalog"] / "images" / "g0.png", tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:50])
    outfit = f"{{upper: {good}, lower: {bad}}}"
    words = ["tryon", "wear", "--person", str(shop["photo"]), "--outfit", outfit, "--out", str(tmp_path / "worn.png")]
    assert cli.main(words) == 3 and "bad.png is damaged" in capsys.readouterr().err


def test_pictures_to_compare_with_are_read_before_anything_is_painted(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("personagen.subject.loaded.load_subjects", late)
    folder, other = write_pictures(tmp_path / "mine", count=2), tmp_path / "others"
    other.mkdir()
    (other / "a.jpg").write_bytes(b"no picture")
    words = ["subject", "evaluate", "--subject", str(tmp_path), "--prompts", "[a dog]", "--pictures", str(folder)]
    assert cli.main([*words, "--others", f"[{other}]"]) == 3
    said = capsys.readouterr().err
    assert "left out a.jpg: not a picture" in said and f"no picture in {other} can be used" in said


def viton(root: Path) -> Path:
    for name in ("image", "cloth", "agnostic-mask"):
        (root / "test" / name).mkdir(parents=True)
    for number in range(3):
        Image.linear_gradient("L").resize((48, 64)).convert("RGB").save(root / "test" / "image" / f"p{number}.jpg")
        Image.new("RGB", (48, 64), "red").save(root / "test" / "cloth" / f"p{number}.jpg")
        mask = Image.new("L", (48, 64))
        mask.paste(255, (10, 10, 30, 40))
        mask.save(root / "test" / "agnostic-mask" / f"p{number}_mask.png")
    (root / "test_pairs.txt").write_text("".join(f"p{number}.jpg p{number}.jpg\n" for number in range(3)))
    return root


def test_pairs_are_read_before_a_model_is_loaded(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("apps.commands.tryon._pipeline", late)
    root = viton(tmp_path / "data")
    (root / "test" / "cloth" / "p1.jpg").write_bytes(b"no picture")
    words = ["tryon", "evaluate", "--root", str(root), "--out", str(tmp_path / "figures")]
    with pytest.raises(AssertionError, match="work began"):
        cli.main(words)
    said = capsys.readouterr().err
    assert "left out pair p1+p1" in said and "p1.jpg is not a JPEG" in said and "1 of 3 pairs are left out" in said
    for number in range(3):
        (root / "test" / "image" / f"p{number}.jpg").write_bytes(b"no picture")
    assert cli.main(words) == 3 and "none of 3 pairs can be read" in capsys.readouterr().err
