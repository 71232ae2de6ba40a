"""The line of those who want the machine: one works at a time, quick work before slow, the others know their place."""

import time
from collections.abc import Iterator
from threading import Condition, Event

from personagen.styling.studio import Halted
from recsys.errors import ResourceError

MASK, PICTURE, TRAINING = 0, 1, 2
"""Ranks of work: what is quicker goes first, and interrupts what is slower between two steps."""
MOST = 32
"""How many may wait."""
ALONE = 30.0
"""Seconds after which the machine is taken from whoever no longer asks for it."""


class Turn:
    """A place in the line. Within `with`, take `wait()` to its end before work, and ask `stopped()` between steps."""

    def __init__(self, line: "Line", rank: int, stop: Event, number: int) -> None:
        self.line, self.rank, self.stop, self.number = line, rank, stop, number
        self.seen = self.begun = time.monotonic()
        self.spent = 0.0

    def __enter__(self) -> "Turn":
        return self

    def __exit__(self, *error: object) -> None:
        self.line.leave(self, finished=error[0] is None and not self.stop.is_set())

    def wait(self) -> Iterator[str]:
        """Yield what to tell while others are before this one, whenever it changes; ends when it is its turn.

        Raises:
            Halted: nobody wants the work any more.
        """
        told = ""
        while not self.line.await_turn(self, seconds=0.5):
            if self.stop.is_set():
                raise Halted
            text = self.line.place_of(self)
            if text and text != told:
                told = text
                yield text

    def stopped(self) -> bool:
        """Let quicker work go before, if there is any; then tell whether this one is to stop."""
        self.line.give_way(self)
        return self.stop.is_set()


class Line:
    """Who works, and who waits in which order."""

    def __init__(self, most: int = MOST) -> None:
        self.most, self._changed, self._count = most, Condition(), 0
        self._working: Turn | None = None
        self._waiting: list[Turn] = []
        self._seconds: dict[int, float] = {}

    def join(self, rank: int, stop: Event) -> Turn:
        """Take a place at the end of those of one rank.

        Raises:
            ResourceError: too many wait already.
        """
        with self._changed:
            if len(self._waiting) >= self.most:
                left = self._left(self._waiting)
                count = len(self._waiting)
                others = "1 other is waiting" if count == 1 else f"{count} others are waiting"
                when = "in a minute" if left is None else f"in about {_spoken(left)}"
                raise ResourceError(f"{others}, as many as may; press again {when}")
            self._count += 1
            turn = Turn(self, rank, stop, self._count)
            self._waiting.append(turn)
            self._choose()
        return turn

    def leave(self, turn: Turn, *, finished: bool) -> None:
        """Give the place back; how long finished work took tells the others how long theirs may take."""
        with self._changed:
            if turn is self._working:
                self._pause(turn)
                self._working = None
                if finished:
                    before = self._seconds.get(turn.rank, turn.spent)
                    self._seconds[turn.rank] = 0.5 * before + 0.5 * turn.spent
            elif turn in self._waiting:
                self._waiting.remove(turn)
            self._choose()

    def await_turn(self, turn: Turn, *, seconds: float) -> bool:
        """Wait up to some seconds, or until the stop is asked for; tell whether it is this one's turn."""
        with self._changed:
            turn.seen = time.monotonic()
            self._choose()
            self._changed.wait_for(lambda: self._working is turn or turn.stop.is_set(), timeout=seconds)
            turn.seen = time.monotonic()
            return self._working is turn and not turn.stop.is_set()

    def give_way(self, turn: Turn) -> None:
        """Between two steps: let those of a quicker rank work first, and come back when they have."""
        with self._changed:
            turn.seen = time.monotonic()
            if self._working is not turn:  # it was thought to be gone
                return
            if not any(other.rank < turn.rank for other in self._waiting):
                return
            self._pause(turn)
            self._working = None
            self._waiting.append(turn)
            self._choose()
            while self._working is not turn and not turn.stop.is_set():
                turn.seen = time.monotonic()
                self._changed.wait(timeout=0.5)
                self._choose()

    def wake(self) -> None:
        """Let all who wait look whether they are to stop."""
        with self._changed:
            self._changed.notify_all()

    def place_of(self, turn: Turn) -> str:
        """Say the place of one who waits, and how long it may take: "2nd of 5, about 40 s"."""
        with self._changed:
            line = self._in_order()
            if turn not in line:
                return ""
            place = line.index(turn)
            left = self._left(line[:place])
        when = "" if left is None else f", about {_spoken(left)}"
        return f"Waiting: {_ordinal(place + 1)} of {len(line)}{when}"

    def _in_order(self) -> list[Turn]:
        return sorted(self._waiting, key=lambda turn: (turn.rank, turn.number))

    def _left(self, ahead: list[Turn]) -> float | None:
        """Seconds until those ahead and the one at work are done; None as long as nothing is known of their kind."""
        left = 0.0
        for turn in [*ahead, *([self._working] if self._working else [])]:
            if turn.rank not in self._seconds:
                return None
            spent = turn.spent + (time.monotonic() - turn.begun if turn is self._working else 0.0)
            left += max(1.0, self._seconds[turn.rank] - spent)
        return left

    def _pause(self, turn: Turn) -> None:
        turn.spent += time.monotonic() - turn.begun

    def _choose(self) -> None:
        """Let the first one work, if nobody does, or if whoever does has not been heard of for long and is to stop."""
        now = time.monotonic()
        at_work = self._working
        if at_work is not None and at_work.stop.is_set() and now - at_work.seen > ALONE:
            self._working = None
        if self._working is None and self._waiting:
            self._working = self._in_order()[0]
            self._waiting.remove(self._working)
            self._working.begun = self._working.seen = now
            self._changed.notify_all()


def _spoken(seconds: float) -> str:
    """Round seconds as people say them."""
    if seconds < 60:
        return f"{max(5, 5 * round(seconds / 5))} s"
    return f"{round(seconds / 60)} min"


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"
