"""Folders that appear whole, one process at a time, and what is left of processes that died."""

import os
import subprocess
import sys

import pytest

from recsys import folders
from recsys.errors import ResourceError
from recsys.folders import alone, remove_abandoned, remove_folder, work_folder
from tests.place import ROOT

DEAD = 2**22 - 1
"""A number that no process has."""


def test_what_a_dead_process_left_is_removed_and_what_is_in_use_stays(tmp_path):
    with work_folder(tmp_path / "looks") as mine:
        (tmp_path / f".tmp-other-{DEAD}").mkdir()
        (tmp_path / f".tmp-file-{DEAD}").write_text("half")
        (tmp_path / f".tmp-init-{os.getpid()}").mkdir()  # a container's process has the same number every time
        (tmp_path / ".tmp-1").mkdir()  # the system's first process lives
        (tmp_path / ".tmp-named").mkdir()  # not ours
        remove_abandoned(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".tmp-1", ".tmp-named", mine.name])
    assert not mine.exists()


def test_a_folder_is_held_by_one_process_at_a_time(tmp_path):
    code = "import sys; from recsys.folders import alone\nwith alone(sys.argv[1]): print('held')"
    second = [sys.executable, "-c", code, str(tmp_path / "run")]
    with alone(tmp_path / "run"):
        done = subprocess.run(second, cwd=ROOT, capture_output=True, text=True)
        assert "another process works in" in done.stderr and "held" not in done.stdout
        with pytest.raises(ResourceError, match="another process works in"), alone(tmp_path / "run"):
            pass
    assert not (tmp_path / "run").exists()  # nothing was done in it
    assert subprocess.run(second, cwd=ROOT, capture_output=True, text=True).stdout == "held\n"


def test_the_lock_leaves_no_file_and_bears_with_one_that_was_left(tmp_path):
    (tmp_path / folders.LOCK).write_text("")
    with alone(tmp_path):
        (tmp_path / "result").write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_lock_that_is_removed_meanwhile_is_no_lock(tmp_path, monkeypatch):
    """The holder removes the file at its end; who has it open already must not believe to hold the folder."""
    real, calls = folders._lock, []

    def lock(handle: int) -> None:
        real(handle)
        calls.append(handle)
        if len(calls) == 1:
            (tmp_path / folders.LOCK).unlink()

    monkeypatch.setattr(folders, "_lock", lock)
    with alone(tmp_path):
        assert len(calls) == 2 and (tmp_path / folders.LOCK).is_file()


def test_a_place_that_is_no_folder_is_refused_in_a_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResourceError, match="cannot write to"), alone(tmp_path / "file" / "run"):
        pass


def test_processes_of_torchrun_but_the_first_take_no_lock(tmp_path, monkeypatch):
    with alone(tmp_path):
        monkeypatch.setenv("RANK", "1")
        with alone(tmp_path):
            pass


def test_a_folder_that_is_being_removed_has_lost_its_name(tmp_path, monkeypatch):
    (tmp_path / "step-00000001").mkdir()
    monkeypatch.setattr("shutil.rmtree", lambda *args, **named: None)  # the process dies before the first file goes
    remove_folder(tmp_path / "step-00000001")
    assert [path.name for path in tmp_path.iterdir()] == [f".tmp-old-step-00000001-{os.getpid()}"]
    monkeypatch.undo()
    remove_abandoned(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_another_process_removes_meanwhile_is_made_again(tmp_path, monkeypatch):
    real, calls = os.open, []

    def opened(path, *rest, **named):
        if str(path).endswith(folders.LOCK) and not calls:
            calls.append((tmp_path / "run").rmdir())
        return real(path, *rest, **named)

    monkeypatch.setattr(os, "open", opened)
    with alone(tmp_path / "run"):
        assert (tmp_path / "run" / folders.LOCK).is_file()
