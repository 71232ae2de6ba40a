"""Folders that appear whole or not at all, in which one process at a time works.

What is unfinished lies beside its place under a hidden name that ends in the number of its process, so that a later
process can tell what was left behind by one that died.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ResourceError

HIDDEN = ".tmp-"
LOCK = ".lock"
_ours: set[Path] = set()
"""Unfinished folders of this process."""


@contextmanager
def work_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder beside `target` to prepare it in; what is in it at the end of the block is removed.

    Raises:
        OSError: the disk refuses.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(target.parent)
    work = Path(tempfile.mkdtemp(prefix=f"{HIDDEN}{target.name}-", suffix=f"-{os.getpid()}", dir=target.parent))
    _ours.add(work)
    try:
        os.chmod(work, 0o755)
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        _ours.discard(work)


def swap_folder(work: Path, target: Path) -> None:
    """Rename a finished folder to `target`, on the same disk; an earlier one goes once the new one is there.

    Raises:
        OSError: the disk refuses; an earlier folder is back in its place then.
    """
    aside = target.with_name(f"{HIDDEN}old-{target.name}-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    if earlier := target.exists():
        os.replace(target, aside)
    try:
        os.replace(work, target)
    except OSError:
        if earlier:
            os.replace(aside, target)
        raise
    flush_names(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder at once, by another name: none of its files is missing while it has its own."""
    aside = folder.with_name(f"{HIDDEN}old-{folder.name}-{os.getpid()}")
    try:
        os.replace(folder, aside)
    except OSError:
        aside = folder  # a full disk may refuse a new name, but never a removal
    shutil.rmtree(aside, ignore_errors=True)


def remove_abandoned(folder: Path) -> None:
    """Remove what processes that no longer run left unfinished in a folder."""
    for path in folder.glob(f"{HIDDEN}*"):
        number = path.name.rsplit("-", 1)[-1]
        if path in _ours or not number.isdigit() or (int(number) != os.getpid() and _alive(int(number))):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Wait until a file, or all below a folder, is on the disk."""
    for place in [path, *(path.rglob("*") if path.is_dir() else ())]:
        flush_names(place)


def flush_names(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def alone(folder: str | Path, *, mode: int = 0o755) -> Iterator[None]:
    """Let one process at a time work in a folder, which is made where it is missing, and removed again if it is empty.

    The system takes the lock back when the process dies. Only the first process of torchrun takes it.

    Raises:
        ResourceError: another process works there, or the folder cannot be written to.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    folder, made = Path(folder), not Path(folder).exists()
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
        handle = _locked(folder / LOCK)
    except BlockingIOError:
        raise ResourceError(f"another process works in {folder}; wait for its end, or write elsewhere") from None
    except OSError as error:
        raise ResourceError(f"cannot write to {folder}: {error}; choose another folder") from error
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        os.close(handle)
        if made and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _locked(path: Path) -> int:
    """Open a file and lock it; another process may remove it meanwhile, and then it is opened anew.

    Raises:
        BlockingIOError: another process holds the lock.
        OSError: the disk refuses.
    """
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # the other has removed the folder, which it had made
            path.parent.mkdir(parents=True, exist_ok=True)
            continue
        try:
            _lock(handle)
            if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except OSError:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle: int) -> None:
    try:
        import fcntl
    except ImportError:  # not a Unix
        return
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
