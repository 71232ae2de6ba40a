"""Object stores of this machine for tests, each a real server in a process of its own; skipped where not installed."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from .place import ROOT

OWN = ROOT / ".venv" / "stores" / "bin" / "python"
"""An environment of their own (tests/stores.txt), for their needs exclude versions that others here need."""
S3 = (
    "from moto.server import ThreadedMotoServer as Server; import sys; "
    "server = Server(ip_address='127.0.0.1', port=0, verbose=False); server.start(); "
    "print(server.get_host_and_port()[1], flush=True); sys.stdin.read()"
)
GS = (
    "from gcp_storage_emulator.server import create_server; import sys; "
    "server = create_server('127.0.0.1', 0, in_memory=True, default_bucket='shop'); server.start(); "
    "print(server._api._httpd.server_address[1], flush=True); sys.stdin.read(); server.stop()"
)


def _python(package: str) -> str:
    given = os.environ.get("PERSONAGEN_STORES")
    if given or OWN.is_file():
        return given or str(OWN)
    if find_spec(package) is None:
        pytest.skip(f"no object store for this test ({package} is not installed): make stores")
    return sys.executable


def _serve(python: str, code: str) -> tuple[subprocess.Popen, int]:
    process = subprocess.Popen(
        [python, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.fixture
def s3_store(monkeypatch) -> Iterator[str]:
    """Give the options of addresses below s3://shop."""
    python = _python("moto")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    process, port = _serve(python, S3)
    request = urllib.request.Request(f"http://127.0.0.1:{port}/shop", method="PUT")
    urllib.request.urlopen(request, timeout=60).close()
    yield f"?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"
    process.kill()
    process.wait()


@pytest.fixture
def gs_store() -> Iterator[str]:
    """Give the options of addresses below gs://anonymous@shop."""
    process, port = _serve(_python("gcp_storage_emulator"), GS)
    yield f"?scheme=http&endpoint_override=127.0.0.1:{port}&retry_limit_seconds=5"
    process.kill()
    process.wait()
