"""Every program of examples/ runs from an empty folder without a network, and says what it promises."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted((ROOT / "examples").glob("*.py"))


def run(program: Path, folder: Path, *words: Path) -> str:
    """Run a program as a reader would, in `folder`, with `words` after its name; return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, str(program), *map(str, words)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_every_example_is_tested():
    text = Path(__file__).read_text(encoding="utf-8")
    assert PROGRAMS and all(program.name in text for program in PROGRAMS)


@pytest.mark.slow
def test_a_shop_of_ones_own(tmp_path):
    text = run(ROOT / "examples" / "own_data.py", tmp_path, tmp_path / "here")
    looks = json.loads((tmp_path / "here" / "looks" / "looks.json").read_text(encoding="utf-8"))
    bought = text.splitlines()[0].split(" chose ")[1].split(", ")
    liked = {"t-shirt", "skirt", "dress"}  # customer-0 buys these kinds, in warm colours
    assert len(bought) == 5 and {item["name"] for item in looks["history"]} == set(bought)
    assert [look["kind"] for look in looks["looks"]] == ["tryon", "scene"]
    assert all(look["words"]["kind"] in liked and look["name"] not in bought for look in looks["looks"])
    assert (tmp_path / "here" / "looks" / "sheet.png").is_file()


@pytest.mark.slow
def test_a_photo_is_dressed_and_nothing_else_is_touched(tmp_path):
    text = run(ROOT / "examples" / "a_photo.py", tmp_path)
    worn = Path(text.split(": ")[0])
    before, after = (np.asarray(Image.open(path)) for path in (worn.parent / "person.png", worn))
    changed = (before != after).any(axis=2)
    assert 0.05 < changed.mean() < 0.5
    assert changed[: len(changed) // 10].sum() == 0  # above the head
    shutil.rmtree(worn.parent)


@pytest.mark.slow
def test_a_subject_is_taught_and_painted(tmp_path):
    text = run(ROOT / "examples" / "a_subject.py", tmp_path, tmp_path / "here")
    losses = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if ": loss" in line]
    assert len(losses) == 4 and losses[-1] < losses[0]
    assert "largest difference 0\n" in text
    assert Image.open(tmp_path / "here" / "painted.png").size == (144, 192)


@pytest.mark.slow
def test_a_new_recommender_learns_what_there_is_to_learn(tmp_path):
    lines = run(ROOT / "examples" / "write_a_recommender.py", tmp_path).splitlines()
    hits = {line.split(":")[0].strip(): float(line.split("hit@1")[1].split()[0]) for line in lines if ": hit@1" in line}
    assert hits["popularity"] < 0.1 < 0.6 < hits["fading memory"] and hits["markov"] > 0.6
    assert hits["fading memory"] < hits["best possible"] + 0.06  # the noise of 300 cases
    first, true = lines[-1].split("[")[1].split(",")[0], lines[-1].split()[-1]
    assert first == true
