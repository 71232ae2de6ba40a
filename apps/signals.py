"""Stop long work in an orderly way: the first signal lets the step finish and be saved, a second one ends at once."""

import os
import signal
from pathlib import Path
from types import FrameType, TracebackType


class Stopped(BaseException):
    """Work ended early because of a signal; `exit_code` is 128 + its number.

    As KeyboardInterrupt, it is no Exception: it may come anywhere, and nobody on its way is to take it for an error.
    """

    def __init__(self, number: int, note: str = "") -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}" + (f"; {note}" if note else ""))
        self.exit_code = 128 + number


class Patience:
    """Between `with` and its end, remember SIGINT and SIGTERM instead of dying; the caller looks at `asked`.

    >>> with Patience() as patience:
    ...     for step in loop:
    ...         if patience.asked:
    ...             break
    >>> patience.end("the last step is saved in runs/x")   # raises Stopped if a signal came
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, object] = {}

    @property
    def asked(self) -> bool:
        """True once a signal has come."""
        return self.number is not None

    def __enter__(self) -> "Patience":
        for number in self.SIGNALS:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def end(self, note: str = "") -> None:
        """Raise Stopped if a signal came while the block ran; `note` says what was saved."""
        if self.number is not None:
            raise Stopped(self.number, note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            os._exit(128 + number)
        self.number = number


def kept_in(folder: str | Path, *, then: str = "the same command goes on from it") -> str:
    """Say which checkpoint is in a folder and what to do `then`, or that none was written yet."""
    from recsys.checkpoint import list_checkpoints

    found = list_checkpoints(folder)
    return f"the checkpoint of {found[-1].name} is in {folder}; {then}" if found else "no checkpoint was written yet"


def raise_on_sigterm() -> None:
    """Let SIGTERM end the process like SIGINT does, by an exception, so that temporary files are removed."""

    def handler(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    try:
        signal.signal(signal.SIGTERM, handler)
    except ValueError:
        pass  # not the main thread: the caller keeps its own handlers
