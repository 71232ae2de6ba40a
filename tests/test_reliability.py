"""The benchmark of reliability in small: what it finds half-written, and commands that are killed, full and stopped."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.place import ROOT

sys.path.append(str(ROOT / "benchmarks"))
state = pytest.importorskip("reliability_state", reason="the benchmarks are not here")


def test_what_is_half_written_is_found(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "weights").write_text("x")
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "look.png")
    whole = state.contents(tmp_path)
    assert state.half_written(tmp_path, whole) == []
    picture = (tmp_path / "look.png").read_bytes()
    (tmp_path / "look.png").write_bytes(picture[: len(picture) // 2])
    (tmp_path / "table.csv").write_text("a,b\n1")
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n{"half')
    (tmp_path / "none.jsonl").write_text("")
    (tmp_path / "model" / "weights").unlink()
    (tmp_path / ".tmp-1").write_text('{"half')  # hidden: it claims nothing
    assert state.half_written(tmp_path, whole) == [
        "look.png",
        "none.jsonl",
        "rows.jsonl",
        "table.csv",
        "model lacks weights",
    ]


def test_looks_of_a_run_that_was_stopped_are_whole_if_their_record_tells_of_no_others(tmp_path):
    for name in ("01.png", "02.png", "sheet.png"):
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "looks.json").write_text(json.dumps({"looks": [{"file": "01.png"}, {"file": "02.png"}]}))
    whole = state.contents(tmp_path) | {"03.png": ""}
    assert state.half_written(tmp_path, whole) == []
    (tmp_path / "02.png").unlink()
    assert state.half_written(tmp_path, whole) == [". lacks 02.png"]


def test_clocks_do_not_count(tmp_path):
    found = []
    for seconds, seed in ((1, 0), (2, 0), (2, 1)):
        (tmp_path / "looks.json").write_text(json.dumps({"looks": [{"seconds": seconds, "seed": seed}]}))
        found.append(state.contents(tmp_path))
    assert found[0] == found[1] != found[2]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork") or not os.path.isdir("/proc/self"), reason="commands are forked")
def test_a_training_and_a_ranking_that_are_disturbed_lose_nothing(tmp_path):
    words = ["--parts", "kill", "disk", "two", "resume", "--only", "train, sasrec", "rank", "--kills", "4"]
    command = [sys.executable, "benchmarks/reliability.py", *words, "--out", str(tmp_path / "found.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    parts = json.loads((tmp_path / "found.json").read_text())["parts"]
    assert set(parts) == {"kill", "disk", "two", "resume"} and len(parts["kill"]) == 2
    for found in (one for part in parts.values() for one in part.values()):
        assert found["wrong"] == [] and found["lost"] == found["half_written"] == found["tracebacks"] == 0
