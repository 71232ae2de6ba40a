"""The skeleton of a training loop: what is saved when, what resumes, what gives up."""

import pytest
import torch

from recsys.checkpoint import Checkpoint, list_checkpoints
from recsys.errors import ConfigError, ModelError, ResourceError
from recsys.loop import Checkpoints, Failures, drive, refuse_a_second_start
from recsys.types import Step


class Counting:
    """A run of six steps that adds one to its only weight."""

    def __init__(self):
        self.step, self.weight, self.lacks = 0, torch.zeros(1), ""

    @property
    def finished(self):
        return self.step == 6

    def advance(self):
        self.step, self.weight = self.step + 1, self.weight + 1
        return Step(self.step, 0.0, {"loss": float(self.weight)}, None, 0.0)

    def tensors(self):
        return {"model": {"weight": self.weight}}

    def state(self):
        return {"seed": 0}

    def restore(self, found: Checkpoint):
        self.weight = found.tensors["model"]["weight"]
        if self.lacks:
            found.state[self.lacks]


def steps_in(folder) -> list[str]:
    return [path.name[-1] for path in list_checkpoints(folder)]


def test_checkpoints_are_written_when_due_at_an_early_stop_and_at_the_end(tmp_path):
    run = Counting()
    loop = drive(run, Checkpoints(tmp_path, 2, keep=9))
    for step in loop:
        if step.step == 3:
            break
    assert steps_in(tmp_path) == ["2"]
    loop.close()
    assert steps_in(tmp_path) == ["2", "3"]
    again, checkpoints = Counting(), Checkpoints(tmp_path, 4, keep=9)
    checkpoints.resume(again)
    assert (again.step, float(again.weight), checkpoints.saved) == (3, 3.0, 3)
    assert [step.losses["loss"] for step in drive(again, checkpoints)] == [4.0, 5.0, 6.0]
    assert steps_in(tmp_path) == ["2", "3", "4", "6"]


def test_a_later_process_and_a_run_without_a_folder_write_nothing(tmp_path):
    for checkpoints in (Checkpoints(tmp_path, 2, first=False), Checkpoints(None, 2)):
        run = Counting()
        checkpoints.resume(run)
        assert len(list(drive(run, checkpoints))) == 6 and not steps_in(tmp_path)


def test_what_a_killed_run_left_unfinished_goes_even_where_nothing_is_left_to_do(tmp_path):
    list(drive(Counting(), Checkpoints(tmp_path, 2)))
    (tmp_path / f".tmp-old-step-00000002-{2**22 - 1}").mkdir()
    again, checkpoints = Counting(), Checkpoints(tmp_path, 2)
    checkpoints.resume(again)
    assert again.finished and not list(tmp_path.glob(".tmp-*"))


def test_a_checkpoint_of_another_version_is_one_clear_line(tmp_path):
    list(drive(Counting(), Checkpoints(tmp_path, 2)))
    run = Counting()
    run.lacks = "failures"
    with pytest.raises(ModelError, match="lacks 'failures': another version") as error:
        Checkpoints(tmp_path, 2).resume(run)
    assert "\n" not in str(error.value) and run.step == 0
    with pytest.raises(ConfigError, match="give resume=True, or another folder"):
        refuse_a_second_start(tmp_path, remedy="give resume=True")
    refuse_a_second_start(tmp_path / "elsewhere", remedy="give resume=True")


def test_too_many_failures_in_a_row_end_the_run_and_a_sound_step_forgives():
    failures = Failures(3, "Lower learning_rate (now 1)", ResourceError)
    for step, sound in enumerate((False, False, True, False, False), 1):
        failures.count(sound, step=step)
    assert (failures.total, failures.in_a_row) == (4, 2)
    with pytest.raises(ResourceError, match="3 steps in a row, up to step 6. Lower learning_rate"):
        failures.count(False, step=6)
