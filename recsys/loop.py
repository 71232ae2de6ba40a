"""The skeleton of every training loop: advance, save when it is due, resume, stop cleanly, give up on nonsense.

What is trained is a `Run`, for recommenders as for image models; `drive` takes it from where it stands to its end:

    checkpoints = Checkpoints(folder, every=500)
    checkpoints.resume(run)
    for step in drive(run, checkpoints):
        print(step.step, step.losses["loss"])

A caller may leave the loop between two steps (`break`, `close()`, a signal it handles): a checkpoint is written then.
"""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from .checkpoint import Checkpoint, list_checkpoints, load_latest, save_checkpoint
from .errors import ConfigError, ModelError, ResourceError
from .folders import remove_abandoned
from .types import Step


class Run(Protocol):
    """What is trained and how far it is: all that one kind of training adds to the skeleton."""

    step: int
    """Steps done; `restore` sets it."""

    @property
    def finished(self) -> bool:
        """Whether no step is left to do."""
        ...

    def advance(self) -> Step:
        """Do one step, and what falls due after it; count `step` up."""
        ...

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return what a checkpoint holds: groups ("model", "optimizer") of named tensors of any shape."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what else it holds, as JSON values."""
        ...

    def restore(self, found: Checkpoint) -> None:
        """Go to where a checkpoint was written.

        Raises:
            ConfigError: the checkpoint was made with other settings.
            ModelError: it was made by another model.
        """
        ...


@dataclass
class Checkpoints:
    """Where the checkpoints of a run lie, and when one is written: every `every` steps, at the end, at an early stop.

    folder: None keeps none. keep: how many stay, 2 or more. first: whether this process writes; the others do not.
    """

    folder: Path | None
    every: int
    keep: int = 2
    first: bool = True
    saved: int = -1

    def resume(self, run: Run) -> None:
        """Go on from the newest sound checkpoint, if there is one.

        Raises:
            ConfigError: it was made with other settings.
            ModelError: it was made by another model or version, or every checkpoint is damaged.
        """
        if self.folder is not None and self.first:
            remove_abandoned(self.folder)
        found = None if self.folder is None else load_latest(self.folder)
        if found is None:
            return
        try:
            run.restore(found)
        except KeyError as error:
            raise ModelError(
                f"{found.path} lacks {error}: another version of this program wrote it; name another folder, "
                "or remove this one to begin again"
            ) from error
        run.step = self.saved = found.step

    def save(self, run: Run) -> None:
        """Write a checkpoint of the present step, unless it is written already.

        Raises:
            ResourceError: the disk refused; earlier checkpoints are untouched.
        """
        if self.folder is None or not self.first or self.saved == run.step:
            return
        save_checkpoint(self.folder, run.step, run.tensors(), run.state(), keep=self.keep)
        self.saved = run.step


def refuse_a_second_start(folder: str | Path, *, remedy: str) -> None:
    """Make sure that a folder holds no checkpoints before a new run begins in it. remedy: how to go on with the old.

    Raises:
        ConfigError: there are checkpoints.
    """
    if list_checkpoints(folder):
        raise ConfigError(f"{folder} holds checkpoints of an earlier run; {remedy}, or another folder")


def drive(run: Run, checkpoints: Checkpoints) -> Generator[Step, None, None]:
    """Take `run` to its end; yield a Step after each one, when what is due is saved.

    Raises: whatever `run.advance` raises; ResourceError when a checkpoint cannot be written.
    """
    try:
        while not run.finished:
            step = run.advance()
            if run.step % checkpoints.every == 0:
                checkpoints.save(run)
            yield step
    except GeneratorExit:  # the caller stopped between two steps
        checkpoints.save(run)
        raise
    checkpoints.save(run)


@dataclass
class Failures:
    """Steps whose loss or gradient was not finite: they change no weight, and too many in a row end the run.

    remedy: what to do then, a sentence that names the learning rate. error: its kind, which decides the exit code.
    """

    limit: int
    remedy: str
    error: type[ModelError | ResourceError] = ModelError
    total: int = 0
    in_a_row: int = 0

    def count(self, sound: bool, *, step: int) -> None:
        """Count step number `step`, from 1.

        Raises:
            ModelError or ResourceError, as `error` says: `limit` steps in a row were not sound.
        """
        if sound:
            self.in_a_row = 0
            return
        self.total, self.in_a_row = self.total + 1, self.in_a_row + 1
        if self.in_a_row >= self.limit:
            raise self.error(
                f"the loss or its gradient was not finite for {self.in_a_row} steps in a row, up to step {step}. "
                f"{self.remedy}"
            )
