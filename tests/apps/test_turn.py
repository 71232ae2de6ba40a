"""`personagen tryon turn`: what is refused before a model is loaded, and the whole way once."""

import json
import struct

import numpy as np
import pytest
from PIL import Image

from apps import cli
from personagen.atelier.corpus import random_sitting
from personagen.atelier.garment import random_garment
from personagen.atelier.render import render_garment, render_person
from personagen.tryon import trust

from .tiny import pipelines


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        ("--person a.png --out me.obj", 2, "ends in .glb"),
        ('--person a.png --garment b.png --outfit {"upper":"c.png"}', 2, "not both"),
        ("--person a.png --garment b.png --kind hat", 2, "hat"),
        ("--person a.png --height 9", 2, "height"),
        ("--person a.png --prompt sitting", 3, "sitting"),
        ("--person a.png --pose sitting", 2, "cannot sit"),
        ("--person a.png --scene moon", 2, "moon"),
        ("--person a.png --turntable me.mp4", 2, ".webp or .gif"),
        ("--person a.png --refine.prompt red --refine.strength 2", 2, "strength"),
        ("--person a.png --refine.prompt red --refine.base nowhere", 4, "nowhere"),
        ("--person a.png --refine.prompt red --refine.geometry true", 2, "no normal maps"),
        ("--person nowhere.png", 3, "nowhere.png"),
        ("--evaluate 1 --out me.json --completer nowhere", 4, "no view completer in nowhere"),
        ("--evaluate 1 --out me.json --view.base nowhere", 4, "nowhere"),
        ("--out me.glb", 2, "give --person, a photo, or --evaluate"),
        ("--person a.png --evaluate 2 --out me.json", 2, "a.png with --evaluate"),
        ("--evaluate 0 --out me.json", 2, "evaluate"),
        ("--evaluate 2", 2, "ends in .json"),
        ("--evaluate 2 --out me.json --parser nowhere", 4, "nowhere"),
    ],
)
def test_bad_settings_are_one_line(flags, code, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["tryon", "turn", *flags.split()]) == code
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("personagen: ") and says in error


@pytest.mark.slow
def test_figures_of_the_atelier_are_measured_by_its_true_views(tmp_path, capsys):
    out = tmp_path / "figures.json"
    assert cli.main(["tryon", "turn", "--evaluate", "1", "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    figures = report["figures"]["figure"]
    assert report["people"] == 1 and report["refused"] == {}
    assert figures["iou 0"] > 0.9 and figures["iou 180"] > 0.8 and 0 <= figures["lab 0"] < 6
    said = capsys.readouterr().out
    assert "people of the atelier: 1" in said and f"{figures['iou 90']:.3g}" in said


@pytest.mark.slow
def test_a_photo_and_a_garment_become_a_file_with_layers(tmp_path, capsys):
    sitting = random_sitting(110)
    photo = render_person(sitting.body, sitting.outfit, "studio", size=(512, 384), camera=sitting.camera)
    shirt = render_garment(random_garment(np.random.default_rng(1), "t-shirt"))
    Image.fromarray(photo.image).save(tmp_path / "me.png")
    Image.fromarray(shirt).save(tmp_path / "shirt.png")
    out = tmp_path / "me.glb"
    flags = f"--person {tmp_path}/me.png --garment {tmp_path}/shirt.png --kind t-shirt --obj true --out {out}"
    flags += f" --turntable {tmp_path}/me.gif --force true"  # a jacket hides the shirt
    pipelines()[1].save_pretrained(tmp_path / "painter")
    refine = ["--refine.prompt", "a red shirt", "--refine.base", f"{tmp_path}/painter", "--refine.steps", "3"]
    refine += ["--refine.geometry", "true"]
    assert cli.main(["tryon", "turn", *flags.split(), "--prompt", "arms out at night", *refine]) == 0
    said = capsys.readouterr()
    assert "t-shirt" in said.out and "understood: arms out" in said.err
    data = out.read_bytes()
    assert data[:4] == b"glTF" and len(data) < 8_000_000
    tree = json.loads(data[20 : 20 + struct.unpack("<I", data[12:16])[0]])
    assert tree["asset"]["extras"]["refine"]["prompt"] == "a red shirt" and "view 180 ..." in said.err
    assert tree["asset"]["extras"]["refine"]["geometry"] is True and "shape 180 ..." in said.err
    assert {"body", "t-shirt"} <= {node.get("name") for node in tree["nodes"]}
    assert getattr(Image.open(tmp_path / "me.gif"), "n_frames", 1) == 24
    assert Image.open(out.with_suffix(".png")).width > 1500 and out.with_suffix(".zip").is_file()


@pytest.mark.slow
def test_what_is_not_to_be_trusted_becomes_no_figure(tmp_path, capsys, monkeypatch):
    sitting = random_sitting(110)
    photo = render_person(sitting.body, sitting.outfit, "studio", size=(512, 384), camera=sitting.camera)
    Image.fromarray(photo.image).save(tmp_path / "me.png")
    Image.fromarray(render_garment(random_garment(np.random.default_rng(1), "t-shirt"))).save(tmp_path / "shirt.png")
    monkeypatch.setattr(trust, "THRESHOLD", 1.1)
    flags = f"--person {tmp_path}/me.png --garment {tmp_path}/shirt.png --kind t-shirt --out {tmp_path}/me.glb"
    assert cli.main(["tryon", "turn", *flags.split()]) == 3
    assert "would not be believed" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["me.png", "shirt.png"]
