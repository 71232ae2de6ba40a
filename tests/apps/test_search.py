"""`recommend train` by the rule and with --search: what is said, written and kept, and what bad input gets."""

import csv
import json
import os
import signal
import sys
from typing import Any

import numpy as np
import pytest

from apps import cli
from apps.commands import search
from recsys import pretrained

SMALL = ["--settings.d", "8", "--settings.layers", "1", "--train.epochs", "2"]


@pytest.fixture
def train(tmp_path, capsys):
    """Run `recommend train` on a small file; return the exit code and what was said."""
    rng = np.random.default_rng(0)
    with open(tmp_path / "clicks.csv", "w", newline="", encoding="utf-8") as stream:
        out = csv.writer(stream)
        out.writerow(("user", "item", "timestamp"))
        for user, start in enumerate(rng.integers(15, size=30)):
            out.writerows((f"u{user}", f"i{(start + step) % 15}", step) for step in range(6))

    def run(*flags, model="sasrec"):
        command = ["recommend", "train", "--model", model, "--data", str(tmp_path / "clicks.csv")]
        code = cli.main([*command, "--out", str(tmp_path / "out"), *flags])
        return code, capsys.readouterr()

    return run


def test_a_line_says_what_the_size_of_the_data_chose_and_run_json_keeps_it(train, tmp_path):
    code, said = train(*SMALL, "--train.learning_rate", "0.02")
    assert code == 0
    (line,) = [line for line in said.err.splitlines() if line.startswith("chosen by size")]
    assert line == (
        "chosen by size (30 users, 15 items, 120 interactions): batch_size 16, patience 10, validate_cases None; "
        "as given: learning_rate 0.02, epochs 2"
    )
    kept = json.loads((tmp_path / "out" / "run.json").read_text())["training"]
    assert (kept["batch_size"], kept["learning_rate"], kept["epochs"], kept["patience"]) == (16, 0.02, 2, 10)


def test_what_only_counts_has_no_training(train, tmp_path):
    assert train(model="markov")[0] == 0
    assert json.loads((tmp_path / "out" / "run.json").read_text())["training"] is None


@pytest.mark.parametrize(("at", "says"), [(1, "nothing was tried to its end yet"), (30, "what was tried is in ")])
def test_a_search_that_is_stopped_promises_only_what_is_there(at, says, train, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    plain = search.search

    def interrupted(*inputs, **settings):
        for number, now in enumerate(plain(*inputs, **settings)):
            if number == at:
                os.kill(os.getpid(), signal.SIGTERM)
            yield now

    monkeypatch.setattr(search, "search", interrupted)
    code, said = train(*SMALL, "--search", "9")
    last = said.err.strip().splitlines()[-1]
    assert code == 143 and says in last and (tmp_path / "out" / "search.csv").is_file() == (at > 1)


def test_a_search_keeps_the_best_and_writes_what_it_tried(train, tmp_path):
    pytest.importorskip("optuna")
    code, said = train(*SMALL, "--search", "3")
    assert code == 0 and "trial 3 of 3: ndcg@10" in said.err and "best so far" in said.err
    with (tmp_path / "out" / "search.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 and set(rows[0]) >= {"learning_rate", "batch_size", "dropout", "figure", "cpu_seconds"}
    assert "layers" not in rows[0]  # it was given
    best = max(rows, key=lambda row: float(row["figure"]))
    about = json.loads((tmp_path / "out" / "run.json").read_text())
    assert about["validation"]["ndcg@10"] == pytest.approx(float(best["figure"]))
    assert about["training"]["learning_rate"] == pytest.approx(float(best["learning_rate"]))
    kept: Any = pretrained.load(tmp_path / "out")
    assert kept.config.dropout == pytest.approx(float(best["dropout"])) and kept.config.d == 8
    assert train(*SMALL, "--search", "3")[0] == 0  # all of them are there


@pytest.mark.parametrize(
    ("flags", "remedy"),
    [
        (["--search", "-1"], "give the number of settings to try"),
        (["--search_budget", "5"], "set search, too"),
        (["--search", "2", "--search_budget", "0"], "above 0"),
    ],
)
def test_bad_searches_get_one_line(train, flags, remedy):
    code, said = train(*SMALL, *flags)
    assert code == 2 and remedy in said.err and len(said.err.strip().splitlines()) == 1


def test_without_optuna_one_line_names_the_remedy(train, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, said = train("--search", "2")
    assert code != 0 and said.err.strip().endswith("a search needs optuna; run: pip install 'personagen[search]'")
