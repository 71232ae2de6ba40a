"""Files and folders that are written whole or not at all, and arrays for which there is room."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

from personagen.files import new_array, reserved_array, write_folder, write_text
from recsys.errors import ResourceError


def test_a_folder_is_moved_in_whole_and_an_earlier_one_stays_until_then(tmp_path):
    def write(place: Path) -> Path:
        (place / "model").mkdir()
        (place / "model" / "new").write_text("1")
        return place / "model"

    def full(place: Path) -> Path:
        write(place)
        raise SafetensorError(f"I/O error: No space left on device (os error {errno.ENOSPC})")

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").write_text("0")
    with pytest.raises(ResourceError, match="No space left"):
        write_folder(tmp_path, full)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["old"]
    assert write_folder(tmp_path, write) == tmp_path / "model"
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_process_left_beside_a_file_is_removed_by_the_next(tmp_path):
    (tmp_path / f".tmp-figures-abc-{2**22 - 1}").write_text("half")
    write_text(tmp_path / "figures.json", "{}")
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="room cannot be reserved here")
def test_an_array_has_its_room_before_it_is_filled(tmp_path, monkeypatch):
    """Without that, a full disk ends the process by SIGBUS at a write into memory, and no message says so."""
    array = reserved_array(tmp_path / "a.npy", shape=(1000, 1000), dtype=np.uint8)
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= array.nbytes

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ResourceError, match="No space left"), new_array(tmp_path / "b.npy", shape=(9,), dtype=np.uint8):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
