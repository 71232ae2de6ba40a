"""Cancelling frees a tab at once, whatever is being computed; the machine is free when the work has noticed it."""

import time
from threading import Event
from types import SimpleNamespace

import pytest

from apps.page import shared
from apps.page.line import PICTURE, Line
from apps.page.visits import Visits
from personagen.styling.studio import Halted, Watched
from recsys.errors import DataError

PLAIN = shared.Bar(None, None, None, "looks")


def lines(updates: list) -> str:
    return str(updates[0])


@pytest.fixture
def bench(tmp_path) -> shared.Bench:
    return shared.Bench(None, tmp_path, Visits(tmp_path), Line(), None)  # type: ignore[arg-type]


def run(bench, work):
    bench.visits["anna"].begin("looks")
    return shared.steps(bench, PLAIN, "anna", PICTURE, work, 1, lambda visit, job: ["left"])


def test_a_cancel_frees_the_tab_while_something_is_computed_that_does_not_ask(bench):
    go_on, ended = Event(), Event()

    def work(task):
        yield "Computing …", 0.1, ["new"]
        go_on.wait(20)  # geometry, a model that is loaded: seconds without asking
        ended.set()

    shown = run(bench, work)
    assert "Computing" in lines(next(shown))
    visit = bench.visits["anna"]
    visit.jobs["looks"].stop.set()
    begun = time.monotonic()
    *_, last = shown
    assert time.monotonic() - begun < 2 and "Stopped; what was finished stays" in lines(last) and last[-1] == "left"
    assert last[1]["interactive"] is True and not ended.is_set()
    waiting = bench.line.join(PICTURE, Event())
    assert not bench.line.await_turn(waiting, seconds=0.1)  # the machine is not free yet
    bench.visits.leave("anna")
    assert visit.folder.exists()
    go_on.set()
    assert bench.line.await_turn(waiting, seconds=5)
    assert ended.wait(5)
    for _ in range(50):
        if not visit.folder.exists():
            return
        time.sleep(0.05)
    raise AssertionError("the folder stays")


def test_whoever_closes_the_page_stops_the_work(bench):
    asked = Event()

    def work(task):
        yield "Computing …", 0.1, []
        for _ in range(200):
            if task.turn.stopped():
                asked.set()
                return
            time.sleep(0.02)

    shown = run(bench, work)
    next(shown)
    shown.close()
    assert asked.wait(5)


def test_an_error_frees_the_tab_and_the_machine(bench):
    def work(task):
        yield "Computing …", 0.1, ["new"]
        raise DataError("the photo shows nobody; give another")

    *_, last = run(bench, work)
    assert "shows nobody" in lines(last) and last[1]["interactive"] is True
    assert bench.line.await_turn(bench.line.join(PICTURE, Event()), seconds=1)


def test_whoever_prepares_for_a_pipeline_is_stopped_as_well():
    wanted = Watched(SimpleNamespace(config="its settings"), lambda: False)
    assert wanted.config == "its settings"
    with pytest.raises(Halted):
        Watched(SimpleNamespace(config="its settings"), lambda: True).config  # noqa: B018
