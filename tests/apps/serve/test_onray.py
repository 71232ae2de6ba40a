"""Rankings by replicas of Ray Serve: the same answers, in batches, and none lost when a replica dies."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from importlib.util import find_spec

import pytest
import torch

from apps import cli
from apps.serve.batcher import Asked, rank_together
from apps.serve.onray import answers_of
from recsys import pretrained
from recsys.models.sasrec import SASRec, SASRecConfig

from ...place import ROOT

N = 50


def _model():
    torch.manual_seed(0)
    return SASRec(SASRecConfig(N, d=8, layers=1)).eval()


def test_one_bad_question_of_a_batch_spoils_no_other():
    model = _model()
    asked = [Asked((3, 4), 5, True), Asked((N + 9,), 5, True), Asked((7,), 3, False)]
    found = answers_of(model, asked)
    assert [size for _, size in found] == [3, 0, 0]
    assert isinstance(found[1][0], ValueError)
    for at in (0, 2):
        items, scores = rank_together(model, [asked[at]])[0]
        answer = found[at][0]
        assert not isinstance(answer, Exception) and answer[0] == items and answer[1] == pytest.approx(scores)


def test_another_engine_is_refused(tmp_path, capsys):
    pretrained.save(_model(), tmp_path / "model")
    words = ["serve", "--recommender", str(tmp_path / "model"), "--out", str(tmp_path / "serve"), "--port", "0"]
    assert cli.main([*words, "--engine", "spark"]) == 2
    assert "engine is 'spark'; allowed are local and ray" in capsys.readouterr().err
    assert cli.main([*words, "--engine", "ray", "--replicas", "0"]) == 2


@pytest.mark.slow
def test_replicas_answer_as_the_model_does_also_when_one_dies(tmp_path):
    if not (find_spec("ray") and find_spec("grpc")):
        pytest.skip("Ray Serve is not installed: pip install 'personagen[scale]'")
    psutil = pytest.importorskip("psutil")
    model = _model()
    pretrained.save(model, tmp_path / "model")
    words = [sys.executable, "-m", "personagen", "serve", "--engine", "ray", "--replicas", "2", "--port", "0",
             "--recommender", str(tmp_path / "model"), "--out", str(tmp_path / "serve")]  # fmt: skip
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    given = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    process = subprocess.Popen(words, cwd=ROOT, env=given, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = next(int(line.split("  ")[0].rpartition(":")[2]) for line in process.stdout if "serving at" in line)
    answers = {}

    def ask(number):
        body = json.dumps({"history": [str(number % N + 1)], "k": 5}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/rank", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            answers[number] = json.loads(answer.read())["items"]

    def work(first):
        for number in range(first, 200, 8):
            ask(number)

    ask(0)
    threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
    [thread.start() for thread in threads]
    tree = psutil.Process(process.pid).children(recursive=True)
    replicas = [one for one in tree if "Ranker" in " ".join(one.cmdline())]
    assert len(replicas) == 2
    replicas[0].send_signal(signal.SIGKILL)
    [thread.join() for thread in threads]
    for number in range(200):
        found = model.recommend(torch.tensor([[number % N + 1]]), 5)
        assert answers[number] == [str(item) for item in found.items[0].tolist()]
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0
