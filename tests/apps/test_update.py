"""`recommend update`: what happened since training is taken in, as if it had been there from the start."""

import json
import os
import signal
from typing import Any

import numpy as np
import pytest
import torch

from apps import cli
from apps.commands import update as command
from recsys import pretrained
from tests.cases import cases

from .test_vocabulary import ranks, write

SMALL = ["--settings.d", "8", "--settings.layers", "1", "--train.batch_size", "8"]
FAMILY = ["dreamrec", "preferdiff"]
NETWORKS = ["sasrec", "gru4rec", "countdiff", *FAMILY]


def walks(users: range, steps: range, *, items: int = 15) -> list[tuple[str, str, int]]:
    """Users walk along a cycle of items, each from a place of its own."""
    starts = np.random.default_rng(0).integers(items, size=100)
    return [(f"u{u}", f"i{(starts[u] + step) % items}", 10**9 + 60 * step) for u in users for step in steps]


OLD = walks(range(30), range(6))
NEW = [*walks(range(20, 30), range(6, 9)), *walks(range(30, 35), range(7)), ("u3", "a new one", 2 * 10**9)]


def train(model: str, rows, folder, *flags: str) -> str:
    data, out = write(folder / f"{model}.csv", rows), str(folder / model)
    small = [*SMALL, "--train.epochs", "2"] if model in NETWORKS else []
    assert cli.main(["recommend", "train", "--model", model, "--data", data, "--out", out, *small, *flags]) == 0
    return out


def update(old: str, tmp_path, rows, *flags: str, before=OLD, out: str = "updated") -> int:
    data = write(tmp_path / "new.csv", rows)
    earlier = [] if before is None else ["--before", write(tmp_path / "old.csv", before)]
    place = str(tmp_path / out)
    return cli.main(["recommend", "update", "--recommender", old, "--data", data, "--out", place, *earlier, *flags])


def by_name(folder) -> dict[tuple[str, str], float]:
    """What a markov model counted, by the names of the items."""
    model: Any = pretrained.load(folder)
    names = pretrained.load_vocabulary(folder).names
    totals = pretrained.load_tally(folder)["totals"]
    rows = torch.repeat_interleave(torch.arange(len(names)), model.starts.diff())
    pairs = zip(rows.tolist(), model.follows.tolist(), totals.tolist(), strict=True)
    return {(names[a], names[b]): weight for a, b, weight in pairs}


@pytest.mark.parametrize("extract", [False, True])
def test_counts_are_those_of_counting_anew(extract, tmp_path, capsys):
    """Also where the earlier rows are only those of users who did something new."""
    old = train("markov", OLD, tmp_path)
    anew = train("markov", [*OLD, *NEW], tmp_path / "anew") if (tmp_path / "anew").mkdir() is None else ""
    gone_on = {user for user, _, _ in NEW}
    before = [row for row in OLD if row[0] in gone_on] if extract else OLD
    assert update(old, tmp_path, NEW, before=before) == 0
    found, wanted = by_name(tmp_path / "updated"), by_name(anew)
    assert found.keys() == wanted.keys() and max(abs(found[key] - wanted[key]) for key in found) <= 1e-12
    assert "66 new interactions of 16 users, 5 of them new; 1 new item" in capsys.readouterr().out
    data = write(tmp_path / "all.csv", [*OLD, *NEW])
    assert ranks(capsys, str(tmp_path / "updated"), data) == ranks(capsys, anew, data)


def test_it_says_where_it_came_from(tmp_path):
    old = train("popularity", OLD, tmp_path)
    assert update(old, tmp_path, NEW) == 0
    was, run = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("popularity", "updated"))
    assert run["parent"] == pretrained.fingerprint(old) and run["before"] == was["data"] != run["data"]
    assert run["interactions"] == len(OLD) + len(NEW) and run["command"]["data"].endswith("new.csv")
    names = pretrained.load_vocabulary(tmp_path / "updated").names
    assert names[:16] == pretrained.load_vocabulary(old).names and names[16:] == ("a new one",)
    assert pretrained.fingerprint(old) == run["parent"]  # as it was


@pytest.mark.parametrize("model", cases(["popularity", "ease", "sasrec", "countdiff"], ["markov", "gru4rec", *FAMILY]))
def test_every_model_ranks_new_items_and_an_updated_one_is_updated(model, tmp_path, capsys):
    old = train(model, OLD, tmp_path)
    flags = ["--train.epochs", "1"] if model in NETWORKS else []
    assert update(old, tmp_path, NEW, *flags) == 0
    updated = pretrained.load(tmp_path / "updated")
    assert updated.n_items == 16
    found = updated.recommend(torch.tensor([[3, 4]]), 14).items
    assert 16 in found or 16 in updated.recommend(torch.tensor([[16]]), 15, exclude_seen=False).items
    later = walks(range(40, 42), range(4))
    assert update(str(tmp_path / "updated"), tmp_path, later, *flags, before=[*OLD, *NEW], out="again") == 0
    assert "is not what" not in capsys.readouterr().err
    ranked, _ = ranks(capsys, str(tmp_path / "again"), write(tmp_path / "q.csv", [("who", "a new one", 1)]))
    assert len(ranked["who"]) == 3


@pytest.mark.parametrize("model", ["markov", "sasrec"])
def test_only_new_users_and_items_in_any_order(model, tmp_path, capsys):
    old = train(model, OLD, tmp_path)
    rows = [("x", "zz", 10**9), ("x", "i3", 10**9 + 60), ("x", "aa", 10**9 + 120), ("x", "i3", 10**9 + 180)]
    flags = ["--train.epochs", "1"] if model == "sasrec" else []
    assert update(old, tmp_path, rows, *flags, before=None) == 0
    assert "taken for a new one" in capsys.readouterr().err
    assert update(old, tmp_path, rows[::-1], *flags, before=None, out="other") == 0
    data = write(tmp_path / "q.csv", [("a", "zz", 1), ("b", "i5", 1)])
    assert ranks(capsys, str(tmp_path / "updated"), data) == ranks(capsys, str(tmp_path / "other"), data)


@pytest.mark.parametrize("model", ["markov", "sasrec", "countdiff"])
def test_nothing_new_is_the_same_model(model, tmp_path, capsys):
    old = train(model, OLD, tmp_path)
    data = write(tmp_path / "all.csv", OLD)
    out = str(tmp_path / "same")
    asked = ["recommend", "update", "--recommender", old, "--data", data, "--since", "2033-05-18", "--out", out]
    assert cli.main(asked) == 0
    assert pretrained.fingerprint(out) == pretrained.fingerprint(old)
    assert "nothing is new" in capsys.readouterr().out


def test_since_splits_one_file(tmp_path, capsys):
    old = train("markov", OLD, tmp_path)
    rows = [(user, item, time + 10**8 * ((user, item, time) in NEW)) for user, item, time in [*OLD, *NEW]]
    assert update(old, tmp_path, rows, "--since", str(10**9 + 10**8), before=None) == 0
    assert "66 new interactions of 16 users, 5 of them new; 1 new item" in capsys.readouterr().out
    assert update(old, tmp_path, rows, "--since", "2004-11-09", before=None, out="dated") == 0
    assert pretrained.fingerprint(tmp_path / "dated") == pretrained.fingerprint(tmp_path / "updated")


def test_a_killed_update_goes_on(tmp_path, monkeypatch, capsys):
    old = train("sasrec", OLD, tmp_path)
    flags = ["--train.epochs", "3", "--train.checkpoint_every", "1"]
    assert update(old, tmp_path, NEW, *flags, out="whole") == 0
    real, seen = command.training.train, []

    def interrupted(*inputs, **settings):
        steps = real(*inputs, **settings)
        for step in steps:
            seen.append(step.step)
            if len(seen) == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            try:
                yield step
            except GeneratorExit:
                steps.close()
                raise

    monkeypatch.setattr(command.training, "train", interrupted)
    assert update(old, tmp_path, NEW, *flags) == 143
    assert "goes on" in capsys.readouterr().err and not (tmp_path / "updated" / "config.json").exists()
    assert update(old, tmp_path, NEW, *flags) == 0
    assert seen[2] == 3 and pretrained.fingerprint(tmp_path / "updated") == pretrained.fingerprint(tmp_path / "whole")


def test_a_network_that_training_would_spoil_stays(tmp_path, capsys):
    old = train("sasrec", OLD, tmp_path, "--train.epochs", "20", "--train.learning_rate", "0.01")
    assert update(old, tmp_path, NEW, "--train.learning_rate", "30") == 0
    assert "so it stays" in capsys.readouterr().err
    models: list[Any] = [pretrained.load(folder) for folder in (old, tmp_path / "updated")]
    first, second = (model.encoder.state_dict() for model in models)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_rows_without_times_come_after_the_earlier_ones(tmp_path, capsys):
    old = train("markov", OLD, tmp_path)
    anew = tmp_path / "anew"
    anew.mkdir()
    for name, rows in (("old.csv", OLD), ("new.csv", NEW), ("all.csv", [*OLD, *NEW])):
        lines = "".join(f"{user},{item}\n" for user, item, _ in rows)
        (tmp_path / name).write_text("user,item\n" + lines, encoding="utf-8")
    files = ["--data", str(tmp_path / "new.csv"), "--before", str(tmp_path / "old.csv")]
    assert cli.main(["recommend", "update", "--recommender", old, *files, "--out", str(tmp_path / "updated")]) == 0
    data = str(tmp_path / "all.csv")
    assert cli.main(["recommend", "train", "--model", "markov", "--data", data, "--out", str(anew / "m")]) == 0
    found, wanted = by_name(tmp_path / "updated"), by_name(anew / "m")
    assert found.keys() == wanted.keys() and max(abs(found[key] - wanted[key]) for key in found) <= 1e-12


def test_the_earlier_rows_are_those_it_was_trained_on(tmp_path, capsys):
    old = train("markov", OLD, tmp_path)
    assert update(old, tmp_path, NEW, before=[*OLD, ("u1", "never seen", 1)]) == 3
    assert "'never seen'" in capsys.readouterr().err
    old = train("countdiff", OLD, tmp_path)
    assert update(old, tmp_path, NEW, "--train.epochs", "1", before=None) == 2
    assert "--before" in capsys.readouterr().err
    assert update(old, tmp_path, NEW, "--train.epochs", "1", before=OLD[60:]) == 0
    assert "is not what" in capsys.readouterr().err


def test_one_item_renamed_changes_nothing_for_the_others(tmp_path, capsys):
    old = train("markov", OLD, tmp_path)
    assert update(old, tmp_path, NEW) == 0
    renamed = [(user, "aaa" if item == "i7" else item, time) for user, item, time in NEW]
    users = json.dumps([f"u{u}" for u in range(30, 35)])
    rows = [row for row in NEW if row[0] in users and row[1] != "i7"]
    one = ranks(capsys, str(tmp_path / "updated"), write(tmp_path / "a.csv", rows), "--users", users)
    other = write(tmp_path / "b.csv", [row for row in renamed if row[0] in users])
    two = ranks(capsys, str(tmp_path / "updated"), other, "--users", users)
    assert one[0] == two[0] and "1 of" in two[1]


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (["--recommender", "nowhere"], 4, "nowhere"),
        (["--out", "SELF"], 2, "another folder"),
        (["--since", "yesterday"], 2, "yesterday"),
        (["--since", "2020-01-01", "--before", "x.csv"], 2, "--before"),
        (["--data", "no.csv"], 3, "no.csv"),
        (["--data", "ml-100k"], 3, "ml-100k"),
        (["--train.epochs", "3"], 2, "only counts"),
    ],
)
def test_bad_settings_are_one_line(flags, code, says, tmp_path, capsys):
    old = train("popularity", OLD, tmp_path)
    data, out = write(tmp_path / "new.csv", NEW), str(tmp_path / "updated")
    capsys.readouterr()
    base = ["recommend", "update", "--recommender", old, "--data", data, "--out", out]
    assert cli.main([*base, *(old if flag == "SELF" else flag for flag in flags)]) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and says in error
    assert not (tmp_path / "updated").exists()


def test_models_that_cannot_are_named(tmp_path, capsys):
    from recsys.models import DiffRec, DiffRecConfig

    folder = str(pretrained.save(DiffRec(DiffRecConfig(15)), tmp_path / "d"))
    assert update(folder, tmp_path, NEW) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "diffrec" in error and "sasrec" in error and "train it anew" in error


def test_a_file_with_a_header_alone_is_one_line(tmp_path, capsys):
    old = train("popularity", OLD, tmp_path)
    assert update(old, tmp_path, []) == 3
    assert "no rows" in capsys.readouterr().err.splitlines()[-1]
