"""`recommend train | rank | evaluate` on a small file: what is written, resuming, bad input."""

import csv
import json
import os
import signal

import numpy as np
import pytest

from apps import cli
from apps.commands import recommend
from recsys import build
from recsys.types import Step

SMALL = ["--settings.d", "8", "--settings.layers", "1", "--train.epochs", "2", "--train.batch_size", "8"]


@pytest.fixture
def clicks(tmp_path) -> str:
    rng = np.random.default_rng(0)
    rows = [("user", "item", "timestamp")]
    rows += [
        (f"u{u}", f"i{(start + step) % 15}", step)
        for u, start in enumerate(rng.integers(15, size=30))
        for step in range(6)
    ]
    with open(tmp_path / "clicks.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return str(tmp_path / "clicks.csv")


@pytest.mark.parametrize("model", ["popularity", "markov", "ease", "sasrec", "dreamrec"])
def test_train_rank_evaluate(model, clicks, tmp_path, capsys):
    out = str(tmp_path / "model")
    flags = SMALL if build.trainable(model) else []
    assert cli.main(["recommend", "train", "--model", model, "--data", clicks, "--out", out, *flags]) == 0
    about = json.loads((tmp_path / "model" / "run.json").read_text())
    assert about["command"]["model"] == model and about["data"] and about["validation"]["ndcg@10"] >= 0
    capsys.readouterr()
    assert cli.main(["recommend", "rank", "--recommender", out, "--data", clicks, "--users", '["u3"]', "--k", "4"]) == 0
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [line["rank"] for line in lines] == ["1", "2", "3", "4"] and all(line["user"] == "u3" for line in lines)
    assert all(line["item"].startswith("i") for line in lines)
    figures = tmp_path / "figures.json"
    command = [
        "recommend",
        "evaluate",
        "--recommender",
        out,
        "--data",
        clicks,
        "--cutoffs",
        "[1, 5]",
        "--out",
        str(figures),
    ]
    assert cli.main(command) == 0
    report = json.loads(figures.read_text())
    assert report["cases"] == 30 and {"hit@1", "ndcg@5"} <= set(report["intervals"]) <= set(report["metrics"])
    assert all(low <= report["metrics"][name] <= high for name, (low, high) in report["intervals"].items())
    if model == "markov":
        assert report["metrics"]["hit@1"] > 0.9  # the next item is the one after the last


def test_compare_says_which_is_better_and_how_sure_it_is(clicks, tmp_path, capsys):
    for model in ("markov", "popularity"):
        assert cli.main(["recommend", "train", "--model", model, "--data", clicks, "--out", str(tmp_path / model)]) == 0
    capsys.readouterr()
    command = ["recommend", "compare", "--first", str(tmp_path / "markov"), "--second", str(tmp_path / "popularity"),
               "--data", clicks, "--cutoffs", "[1]", "--out", str(tmp_path / "gap.json")]  # fmt: skip
    assert cli.main(command) == 0
    assert "difference" in capsys.readouterr().out
    found = json.loads((tmp_path / "gap.json").read_text())["metrics"]["hit@1"]
    assert found["difference"] == pytest.approx(found["first"] - found["second"])
    assert found["interval_95"][0] > 0 and found["p"] < 0.01
    assert cli.main([*command, "--part", "both"]) == 2


def test_a_signal_writes_a_checkpoint_and_the_same_command_goes_on(clicks, tmp_path, monkeypatch, capsys):
    out = str(tmp_path / "model")
    command = ["recommend", "train", "--model", "sasrec", "--data", clicks, "--out", out, *SMALL]
    real = recommend.training.train

    def interrupted(*inputs, **settings):
        for step in (steps := real(*inputs, **settings)):
            if step.step == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            try:
                yield step
            except GeneratorExit:
                steps.close()
                raise

    monkeypatch.setattr(recommend.training, "train", interrupted)
    assert cli.main(command) == 143
    assert "goes on" in capsys.readouterr().err and not (tmp_path / "model" / "config.json").exists()
    seen: list[Step] = []

    def watched(*inputs, **settings):
        for step in real(*inputs, **settings):
            seen.append(step)
            yield step

    monkeypatch.setattr(recommend.training, "train", watched)
    assert cli.main(command) == 0
    assert seen[0].step == 4 and (tmp_path / "model" / "config.json").exists()


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (["--model", "magic"], 2, "magic"),
        (["--settings.depth", "3"], 2, "depth"),
        (["--settings.d", "many"], 2, "many"),
        (["--settings.d", "0"], 2, "d = 0"),
        (["--settings.n_items", "5"], 2, "n_items"),
        (["--train.epoch", "3"], 2, "epoch"),
        (["--model", "ease", "--train.epochs", "3"], 2, "epochs"),
        (["--data", "no-such-set"], 3, "no-such-set"),
        (["--data", "no.csv"], 3, "no.csv"),
        (["--data", "ml-100k", "--catalog", "x"], 2, "catalog"),
    ],
)
def test_bad_settings_are_one_line(flags, code, says, clicks, tmp_path, capsys):
    base = ["recommend", "train", "--data", clicks, "--out", str(tmp_path / "model")]
    assert cli.main([*base, *flags]) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and says in error
    assert not (tmp_path / "model").exists()


def test_a_recommender_of_other_data_is_refused(clicks, tmp_path, capsys):
    out = str(tmp_path / "model")
    assert cli.main(["recommend", "train", "--model", "popularity", "--data", clicks, "--out", out]) == 0
    other = tmp_path / "other.csv"
    other.write_text("user,item,timestamp\n" + "".join(f"a,j{item},{item}\n" for item in range(4)), encoding="utf-8")
    assert cli.main(["recommend", "evaluate", "--recommender", out, "--data", str(other)]) == 3
    assert "4 of 4 items" in capsys.readouterr().err
    assert cli.main(["recommend", "rank", "--recommender", out, "--data", clicks, "--users", '["nobody"]']) == 3


@pytest.mark.parametrize("model", ["markov", "sasrec", "countdiff"])
def test_fewer_items_than_the_usual_cutoffs(model, tmp_path, capsys):
    rows = [f"u{u},i{(2 * u + step) % 9},{step}" for u in range(12) for step in range(5)]
    (tmp_path / "nine.csv").write_text("\n".join(["user,item,timestamp", *rows]))
    out, data = str(tmp_path / "model"), str(tmp_path / "nine.csv")
    flags = ["--train.epochs", "2", "--settings.d", "8"] if model != "markov" else []
    assert cli.main(["recommend", "train", "--model", model, "--data", data, "--out", out, *flags]) == 0
    capsys.readouterr()
    assert cli.main(["recommend", "evaluate", "--recommender", out, "--data", data]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert "ndcg@5" in metrics and "ndcg@10" not in metrics
    assert cli.main(["recommend", "rank", "--recommender", out, "--data", data, "--users", '["u1"]']) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5  # nine items less the five that were seen, and a header
    assert cli.main(["recommend", "compare", "--first", out, "--second", out, "--data", data]) == 0
    assert "ndcg@9" in capsys.readouterr().out
    assert cli.main(["recommend", "evaluate", "--recommender", out, "--data", data, "--cutoffs", "[10]"]) == 2
    assert cli.main(["recommend", "train", "--model", model, "--data", data, "--out", out + "2", *flags,
                     "--train.metric", "ndcg@20"]) == 2  # fmt: skip


def test_files_as_people_have_them(tmp_path, capsys):
    """What is read from which columns is said in a line, and what is left out in another."""
    rows = [f"{u};{30 + (u + step) % 12};{4 - step % 2};{1_700_000_000 + step}" for u in range(10) for step in range(6)]
    (tmp_path / "clicks.dat").write_text("\n".join(["buyer;thing;stars;when", *rows, "x;1"]))
    command = ["recommend", "train", "--model", "markov", "--data", str(tmp_path / "clicks.dat"),
               "--out", str(tmp_path / "m")]  # fmt: skip
    assert cli.main(command) == 3
    assert "--columns.user" in capsys.readouterr().err
    command += ["--columns.user", "buyer", "--columns.item", "2", "--columns.time", "when", "--min_rating", "4"]
    assert cli.main(command) == 0
    lines = capsys.readouterr().err.splitlines()
    assert "semicolons; user 'buyer', item 'thing', time 'when', ratings in 'stars' from 4 up" in lines[0]
    assert "left out 31 of 61 rows: 1 malformed lines, 30 rated below 4" in lines[1]
    assert cli.main(["recommend", "train", "--data", "ml-100k", "--min_rating", "4"]) == 2
    assert "min_rating is 4" in capsys.readouterr().err


def test_items_taken_again_and_again_are_told(tmp_path, capsys):
    """Whose rows all name one item, of them no target can be found: the figures are 0, and a line says why."""
    rows = [f"u{user},i{user % 12},{1_700_000_000 + time}" for user in range(12) for time in range(5)]
    (tmp_path / "a.csv").write_text("\n".join(["user,item,timestamp", *rows]) + "\n", encoding="utf-8")
    out, data = str(tmp_path / "model"), str(tmp_path / "a.csv")
    assert cli.main(["recommend", "train", "--model", "popularity", "--data", data, "--out", out]) == 0
    capsys.readouterr()
    assert cli.main(["recommend", "evaluate", "--recommender", out, "--data", data]) == 0
    assert "12 of 12 targets are in their own history" in capsys.readouterr().err
