"""A saved recommender finds items by their names: whatever file they come in, in whatever order, by whomever."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet

from apps import cli
from apps.commands import recommend
from personagen.embedded import EMBEDDED
from recsys import pretrained
from recsys.evaluate import evaluate

N = 40


def write(path: Path, rows) -> str:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("user", "item", "timestamp"), *rows])
    return str(path)


def cycle(name=lambda item: f"i{item}", *, users: int = 60, length: int = 6):
    """Users walk along a cycle of 40 items: what comes next is certain."""
    return [(f"u{u:02d}", name((7 * u + step) % N), step) for u in range(users) for step in range(length)]


def renamed(item: int) -> str:
    return "aaa" if item == 17 else f"i{item}"  # another place in sorted order, too


def ranks(capsys, folder: str, data: str, *flags: str) -> tuple[dict[str, list[str]], str]:
    capsys.readouterr()
    assert cli.main(["recommend", "rank", "--recommender", folder, "--data", data, "--k", "3", *flags]) == 0
    out, err = capsys.readouterr()
    found: dict[str, list[str]] = {}
    for line in csv.DictReader(out.splitlines()):
        found.setdefault(line["user"], []).append(line["item"])
    return found, err


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("trained")
    data = write(folder / "clicks.csv", cycle())
    assert cli.main(["recommend", "train", "--model", "markov", "--data", data, "--out", str(folder / "m")]) == 0
    return str(folder / "m")


def test_one_item_renamed(trained, tmp_path, capsys):
    plain, other = write(tmp_path / "a.csv", cycle()), write(tmp_path / "b.csv", cycle(renamed))
    without = [u for u in range(60) if 17 not in [(7 * u + step) % N for step in range(6)]]
    users = json.dumps([f"u{u:02d}" for u in without])
    one, _ = ranks(capsys, trained, plain, "--users", users)
    two, says = ranks(capsys, trained, other, "--users", users)
    assert one == two and one["u00"][0] == "i6"
    assert says.count("\n") == 1 and "1 of 40 items" in says and "'aaa'" in says
    reports = []
    for path in (plain, other):
        data = recommend.read(path, root=None, catalog=None)
        model, _, table = recommend.load(trained, data, device=torch.device("cpu"))
        (cases,), kept = recommend.cases_for(data, "test", [table])
        reports.append((evaluate(model, cases, at=(1, 10)).per_case, kept))
    (first, every), (second, kept) = reports
    assert len(every) == 60 and set(without) <= set(kept.tolist())
    for name in first:
        assert (first[name][without] == second[name][np.isin(kept, without)]).all()


def test_evaluate_counts_what_it_passes_over(trained, tmp_path, capsys):
    other = write(tmp_path / "b.csv", cycle(renamed))
    assert cli.main(["recommend", "evaluate", "--recommender", trained, "--data", other]) == 0
    out, err = capsys.readouterr()
    gone = sum((7 * u + 5) % N == 17 for u in range(60))
    figures = json.loads(out)
    assert figures["cases"] == 60 - gone and figures["metrics"]["ndcg@10"] > 0.95
    assert figures["recommender"] == pretrained.fingerprint(trained)
    assert "1 of 40 items" in err and f"{gone} of 60 cases" in err
    nothing = write(tmp_path / "c.csv", cycle(lambda item: f"x{item}"))
    assert cli.main(["recommend", "evaluate", "--recommender", trained, "--data", nothing]) == 3


def test_compare_takes_the_cases_that_both_know(trained, tmp_path, capsys):
    other = write(tmp_path / "b.csv", cycle(renamed))
    second = str(tmp_path / "second")
    assert cli.main(["recommend", "train", "--model", "popularity", "--data", other, "--out", second]) == 0
    command = ["recommend", "compare", "--first", trained, "--second", second, "--data", other]
    assert cli.main([*command, "--out", str(tmp_path / "gap.json")]) == 0
    gone = sum((7 * u + 5) % N == 17 for u in range(60))
    found = json.loads((tmp_path / "gap.json").read_text())
    assert found["cases"] == 60 - gone and len(found["recommenders"]) == 2


@pytest.mark.parametrize("model", ["markov", "sasrec"])
def test_the_order_of_the_items_does_not_matter(model, tmp_path, capsys):
    """Two files of the same interactions whose items sort the other way round give the same ranking by name."""
    data, out = write(tmp_path / "clicks.csv", cycle()), str(tmp_path / "m")
    small = ["--settings.d", "8", "--train.epochs", "1"] if model == "sasrec" else []
    assert cli.main(["recommend", "train", "--model", model, "--data", data, "--out", out, *small]) == 0
    rows = cycle(users=5)
    part = write(tmp_path / "part.csv", rows[::-1])  # fewer items: other numbers in the file
    wanted, _ = ranks(capsys, out, data, "--users", '["u00", "u03"]')
    found, says = ranks(capsys, out, part, "--users", '["u00", "u03"]')
    assert found == wanted and says == ""


def test_users_who_were_not_there_are_ranked_from_the_folder_alone(trained, tmp_path, capsys):
    rows = [("new", f"i{item}", item) for item in (3, 4, 5)] + [("one", "i39", 1)]
    found, says = ranks(capsys, trained, write(tmp_path / "new.csv", rows))
    assert found["new"][0] == "i6" and found["one"][0] == "i0" and says == ""


def test_unknown_items_are_counted_and_a_history_of_nothing_else_is_skipped(trained, tmp_path, capsys):
    rows = [("a", "i3", 1), ("a", "zebra", 2), ("a", "i4", 3), ("b", "zebra", 1), ("b", "yak", 2)]
    found, says = ranks(capsys, trained, write(tmp_path / "new.csv", rows))
    assert list(found) == ["a"] and found["a"][0] == "i5"
    lines = says.splitlines()
    assert len(lines) == 2 and "2 of 4 items" in lines[0] and "'yak'" in lines[0] and "user 'b'" in lines[1]
    alone = write(tmp_path / "b.csv", rows[3:])
    assert cli.main(["recommend", "rank", "--recommender", trained, "--data", alone]) == 3
    assert "no user is left" in capsys.readouterr().err.splitlines()[-1]


def test_007_is_not_7(tmp_path, capsys):
    data = write(tmp_path / "a.csv", cycle(lambda item: "007" if item == 8 else str(item)))
    out = str(tmp_path / "m")
    assert cli.main(["recommend", "train", "--model", "markov", "--data", data, "--out", out]) == 0
    found, says = ranks(capsys, out, write(tmp_path / "b.csv", [("x", "007", 1), ("y", "7", 1), ("z", "0007", 1)]))
    assert found["x"][0] == "9" and found["y"][0] == "007" and "z" not in found and "'0007'" in says
    numbers = pyarrow.table({"user": ["y"], "item": [7], "timestamp": [1]})
    parquet.write_table(numbers, tmp_path / "c.parquet")
    assert ranks(capsys, out, str(tmp_path / "c.parquet"))[0]["y"] == found["y"]


def test_numbers_of_one_data_set_are_not_those_of_another(trained, monkeypatch, capsys):
    monkeypatch.setattr("personagen.styling.sources.TRAINED", 20)  # thirty thousand take minutes
    assert cli.main(["recommend", "rank", "--recommender", trained, "--data", "atelier"]) == 3
    assert "other items" in capsys.readouterr().err


def test_a_folder_of_before_is_one_line_with_the_remedy(trained, tmp_path, capsys):
    old = pretrained.save(pretrained.load(trained), tmp_path / "old")
    (old / "items.json").unlink()
    data = write(tmp_path / "a.csv", cycle())
    assert cli.main(["recommend", "rank", "--recommender", str(old), "--data", data]) == 4
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "items.json" in error and "train it again" in error


def test_the_embedded_recommender_knows_the_names_of_the_atelier():
    from personagen.styling.sources import atelier

    assert pretrained.load_vocabulary(EMBEDDED["recommender"]).names == ("", *atelier().catalog.names)
