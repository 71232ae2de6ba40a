"""Signals: the first lets a step finish and be saved, the second ends at once."""

import os
import signal
import subprocess
import sys

import pytest

from apps.signals import Patience, Stopped, kept_in
from tests.place import ROOT


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_is_remembered(number, code):
    before = signal.getsignal(number)
    with Patience() as patience:
        assert not patience.asked
        os.kill(os.getpid(), number)
        assert patience.asked
    assert signal.getsignal(number) is before
    with pytest.raises(Stopped, match="saved in x") as caught:
        patience.end("saved in x")
    assert caught.value.exit_code == code


def test_without_a_signal_nothing_ends():
    with Patience() as patience:
        pass
    patience.end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once(number):
    code = (
        "import time\nfrom apps.signals import Patience\nwith Patience() as p:\n"
        "  print('ready', flush=True)\n  while not p.asked: time.sleep(.01)\n"
        "  print('asked', flush=True)\n  while True: time.sleep(1)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(number)
    assert child.stdout.readline() == "asked\n"
    child.send_signal(number)
    assert child.wait() == 128 + number


def test_only_a_checkpoint_that_is_there_is_promised(tmp_path):
    assert kept_in(tmp_path) == kept_in(tmp_path / "nowhere") == "no checkpoint was written yet"
    (tmp_path / "step-00000020").mkdir()
    assert kept_in(tmp_path) == f"the checkpoint of step-00000020 is in {tmp_path}; the same command goes on from it"


def test_nobody_on_the_way_takes_a_signal_for_an_error():
    """Libraries guard their imports and readers with `except Exception`; a signal that came there was lost."""
    assert not issubclass(Stopped, Exception)
