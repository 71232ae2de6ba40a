"""A search: what it tries first, what it keeps, when it stops, and that it goes on where it was."""

import csv
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("optuna")

from recsys.data.splits import leave_one_out
from recsys.data.synthetic import markov_chain
from recsys.defaults import suited
from recsys.errors import ConfigError, DataError, ResourceError
from recsys.evaluate import evaluate
from recsys.search import FILE, SearchPlan, search

SMALL = {"d": 8, "max_len": 10}
QUICK = {"epochs": 2, "max_length": 10}


@pytest.fixture(scope="module")
def split():
    return leave_one_out(markov_chain(n_items=20, n_users=60, p=0.8).sequences, 20)


def _run(split, folder, trials, **changes) -> Any:
    """All trials' ends, the last leader's model, and its figure."""
    ends, kept = [], None
    plan = SearchPlan(trials, changes.pop("budget", None), changes.pop("seed", 0))
    settings, given = changes.pop("settings", SMALL), changes.pop("given", QUICK)
    for progress in search("sasrec", split, plan=plan, settings=settings, given=given, folder=folder):
        if progress.ended:
            ends.append(progress.ended)
            kept = (progress.model, progress.ended.figure) if progress.leads else kept
    return ends, kept


def _rows(folder):
    with (folder / FILE).open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_rule_goes_first_and_what_leads_is_the_best_on_validation(split, tmp_path):
    ends, (model, figure) = _run(split, tmp_path, 4)
    rule = suited(split, QUICK)
    assert ends[0].settings == {
        "learning_rate": rule.learning_rate, "batch_size": rule.batch_size, "dropout": 0.3, "layers": 2
    }  # fmt: skip
    assert figure == max(end.figure for end in ends if end.state == "done")
    assert evaluate(model, split.valid, at=(10,), resamples=0).metrics["ndcg@10"] == pytest.approx(figure)
    rows = _rows(tmp_path)
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3"]
    assert [float(row["figure"]) for row in rows] == [end.figure for end in ends]
    assert len({row["learning_rate"] for row in rows}) == 4 and all(float(row["cpu_seconds"]) > 0 for row in rows)


def test_a_search_that_was_stopped_goes_on_with_the_same_result(split, tmp_path):
    whole, _ = _run(split, tmp_path / "whole", 4)
    _run(split, tmp_path / "twice", 2)
    rest, _ = _run(split, tmp_path / "twice", 4)
    assert [end.settings for end in rest] == [end.settings for end in whole[2:]]
    assert [end.curve for end in rest] == [end.curve for end in whole[2:]]
    assert _run(split, tmp_path / "twice", 4) == ([], None)


def test_a_trial_that_was_left_goes_on_within_it(split, tmp_path):
    whole, _ = _run(split, tmp_path / "whole", 1, given=QUICK | {"epochs": 4})
    plan = SearchPlan(1)
    for progress in search("sasrec", split, plan=plan, settings=SMALL, given=QUICK | {"epochs": 4}, folder=tmp_path):
        if progress.step and progress.step.epoch == 2.5:
            break
    assert (tmp_path / "trial-0").is_dir()
    (rest,), _ = _run(split, tmp_path, 1, given=QUICK | {"epochs": 4})
    assert rest.curve == whole[0].curve and rest.figure == whole[0].figure and rest.epochs == 4
    assert not (tmp_path / "trial-0").exists()


def test_what_is_given_is_not_searched(split):
    ends, _ = _run(split, None, 3, settings=SMALL | {"dropout": 0.1}, given=QUICK | {"learning_rate": 0.01})
    assert all(set(end.settings) == {"batch_size", "layers"} for end in ends)
    everything = {"batch_size": 16, "learning_rate": 0.01}
    with pytest.raises(ConfigError, match="nothing is left"):
        _run(split, None, 2, settings=SMALL | {"dropout": 0.1, "layers": 1}, given=QUICK | everything)


def test_the_budget_cuts_a_trial_off_and_begins_no_other(split):
    ends, (_, figure) = _run(split, None, 9, budget=1e-3, given=QUICK | {"epochs": 50})
    assert [end.state for end in ends] == ["cut off"] and ends[0].epochs == 1 and figure == ends[0].figure


def test_hopeless_trials_are_given_up_and_never_lead(split, monkeypatch):
    monkeypatch.setattr("recsys.search.EARLY", 1)
    ends, _ = _run(split, None, 8, given=QUICK | {"epochs": 6})
    given_up = [end for end in ends if end.state == "given up"]
    assert given_up and all(len(end.curve) < 6 for end in given_up)


def test_misuse_gets_one_line_that_names_the_remedy(split, tmp_path, monkeypatch):
    wrong: list[dict[str, Any]] = [{"trials": 0}, {"trials": 2, "budget": 0.0}]
    for bad in wrong:
        with pytest.raises(ConfigError, match="search"):
            SearchPlan(**bad)
    with pytest.raises(ConfigError, match="only counts"):
        next(search("markov", split, plan=SearchPlan(2)))
    with pytest.raises(DataError, match="validation"):
        next(search("sasrec", leave_one_out([np.array([1, 2])], 2), plan=SearchPlan(2)))
    _run(split, tmp_path, 1)
    with pytest.raises(ConfigError, match="another folder"):
        _run(split, tmp_path, 1, seed=5)
    (tmp_path / FILE).write_text("trial\n1\n")
    with pytest.raises(ConfigError, match="remove it"):
        _run(split, tmp_path, 1)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ResourceError, match=r"personagen\[search\]"):
        _run(split, None, 1)
