"""The line of those who want the machine: order, places told, cancelling, giving way, the limit."""

import threading
import time
from threading import Event

import pytest

from apps.page.line import MASK, PICTURE, TRAINING, Line, _ordinal, _spoken
from personagen.styling.studio import Halted
from recsys.errors import ResourceError


def test_one_works_and_the_others_are_told_their_place_and_how_long():
    line = Line()
    first = line.join(PICTURE, Event())
    assert list(first.wait()) == []
    first.begun -= 40
    line.leave(first, finished=True)
    at_work, second, third = (line.join(PICTURE, Event()) for _ in range(3))
    assert list(at_work.wait()) == []
    assert next(second.wait()) == "Waiting: 1st of 2, about 40 s"
    assert next(third.wait()) == "Waiting: 2nd of 2, about 80 s".replace("80 s", "1 min")
    line.leave(at_work, finished=False)
    assert list(second.wait()) == []


def test_cancelling_while_waiting_acts_at_once():
    line, stop = Line(), Event()
    line.join(TRAINING, Event())
    waiting, took = line.join(PICTURE, stop), []

    def wait() -> None:
        with pytest.raises(Halted), waiting as turn:
            for _ in turn.wait():
                pass
        took.append(time.monotonic())

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    begun = time.monotonic()
    stop.set()
    line.wake()
    thread.join(5)
    assert took[0] - begun < 0.3
    assert line.place_of(waiting) == ""


def test_a_training_lets_quicker_work_go_before_and_goes_on():
    line, order = Line(), []
    training = line.join(TRAINING, Event())
    assert list(training.wait()) == []

    def quick() -> None:
        with line.join(MASK, Event()) as turn:
            list(turn.wait())
            order.append("mask")

    thread = threading.Thread(target=quick)
    thread.start()
    time.sleep(0.2)
    assert not order
    assert training.stopped() is False
    thread.join(5)
    order.append("step")
    assert order == ["mask", "step"] and list(training.wait()) == []
    line.join(TRAINING, Event())
    assert training.stopped() is False  # one of the same rank waits its turn


def test_too_many_are_sent_away_with_a_remedy():
    line = Line(most=2)
    for _ in range(3):  # one of them works
        line.join(PICTURE, Event())
    with pytest.raises(ResourceError, match="2 others are waiting, as many as may; press again"):
        line.join(PICTURE, Event())


def test_whoever_is_gone_does_not_keep_the_machine():
    line, stop = Line(), Event()
    gone, other = line.join(PICTURE, stop), line.join(PICTURE, Event())
    stop.set()
    gone.seen -= 60
    assert list(other.wait()) == []
    assert gone.stopped() is True


def test_words():
    assert [_ordinal(n) for n in (1, 2, 3, 4, 11, 12, 21, 22, 113)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "21st", "22nd", "113th"]  # fmt: skip
    assert [_spoken(s) for s in (0.3, 12, 38, 61, 300)] == ["5 s", "10 s", "40 s", "1 min", "5 min"]
