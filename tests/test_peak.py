"""Test for `peak`."""

import subprocess
import sys

from .peak import peak_kib


def test_a_child_is_not_charged_what_its_parent_holds():
    held = b"\1" * 2**28
    code = "from tests.peak import peak_kib; print(peak_kib())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < len(held) / 2**10 / 2 < peak_kib()


def test_a_process_that_is_gone_holds_nothing():
    assert peak_kib(2**22 + 1) == 0
