"""Every program of examples/ runs from an empty folder without a network, and says what it promises."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted((ROOT / "examples").glob("*.py"))


def run(program: Path, folder: Path) -> str:
    """Run a program as a reader would, in `folder`; return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, str(program)], cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_there_are_examples():
    assert PROGRAMS


@pytest.mark.parametrize(
    "program", [one for one in PROGRAMS if one.stem != "write_a_recommender"], ids=lambda p: p.stem
)
def test_it_runs(program, tmp_path):
    assert run(program, tmp_path)


def test_a_new_recommender_learns_what_there_is_to_learn(tmp_path):
    lines = run(ROOT / "examples" / "write_a_recommender.py", tmp_path).splitlines()
    hits = {line.split(":")[0].strip(): float(line.split("hit@1")[1].split()[0]) for line in lines if ": hit@1" in line}
    assert hits["popularity"] < 0.1 < 0.6 < hits["fading memory"] and hits["markov"] > 0.6
    assert hits["fading memory"] < hits["best possible"] + 0.06  # the noise of 300 cases
    first, true = lines[-1].split("[")[1].split(",")[0], lines[-1].split()[-1]
    assert first == true
