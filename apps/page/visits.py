"""What the page keeps of each visitor: one private folder, and nothing elsewhere; it goes when they leave or say so."""

import hashlib
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, RLock, Timer
from typing import Any

from PIL import Image

from personagen.images import load_image
from personagen.vocabulary import counted
from recsys.errors import DataError, shown

OURS = ("visit-", "item-")
"""How names begin of what the page itself writes; all else in its folder are uploads that nobody has read yet."""
RELOADS = 10.0
"""Seconds that a page has to come back, reloaded, before its visitor is taken to have left."""
STALE, TIDY = 3600.0, 10.0
"""Seconds after which an upload that nobody read is removed, and after which the page is tidied when somebody left.

The mask editor sends such uploads of its own; they belong to nobody that could be known.
"""
LARGEST = 10_000_000
"""Bytes of a picture that is given."""
LINGERS = 2.0
"""Seconds after which an upload that was read is removed."""


@dataclass
class Job:
    """What one visitor has asked for: where it is written, and whether they still want it."""

    folder: Path
    stop: Event = field(default_factory=Event)


@dataclass
class Visit:
    """What one visitor has: a folder, the subjects learnt in it by name, and the last job of each tab."""

    folder: Path
    subjects: dict[str, Path] = field(default_factory=dict)
    phrases: dict[str, str] = field(default_factory=dict)
    """How a prompt names a subject."""
    bases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The base models that a subject or LoRA file fits; of a subject the one that it was learnt on."""
    jobs: dict[str, Job] = field(default_factory=dict)
    photos: dict[str, Path] = field(default_factory=dict)
    """Photos by the sha256 of their bytes, as pictures' records name them."""
    kinds: dict[str, Any] = field(default_factory=dict)
    """What garments' photos were taken for, by the photo's name."""
    people: dict[str, bool] = field(default_factory=dict)
    """Whether somebody is seen in a picture."""
    painted: list[tuple[Path, str]] = field(default_factory=list)
    """Pictures painted from words, and what is said of each."""
    shown: list[tuple[int, str]] = field(default_factory=list)
    """Item and prompt of each look on the board."""
    seeds: dict[str, int] = field(default_factory=dict)
    """The last seed of each tab."""
    asked: dict[str, dict] = field(default_factory=dict)
    """What each tab was last asked for, as its pictures carry it; the latest tab last."""
    board: str = ""
    """The cards of the last looks."""
    shop: Any = None
    """A studio that recommends from the visitor's own catalogue, what is said of it, and the folder of its pictures."""
    shop_said: str = ""
    shop_folder: Path | None = None
    at_work: int = 0
    gone: bool = False

    def remember(self, record: dict) -> dict:
        """Keep what a tab is asked for, so that it is there after a reload; return it."""
        self.asked.pop(record["page"]["tab"], None)
        self.asked[record["page"]["tab"]] = record["page"]
        return record

    def add(self, name: str, path: Path, bases: tuple[str, ...]) -> str:
        """List a subject or LoRA file and the base models that it fits under a name that is not taken; return it."""
        label, number = name, 2
        while label in self.subjects:
            label, number = f"{name} {number}", number + 1
        self.subjects[label], self.bases[label] = path, bases
        return label

    def place(self, kind: str, ending: str = "") -> Path:
        """Return a path in the visitor's folder that nobody can guess."""
        return self.folder / f"{kind}-{secrets.token_hex(8)}{ending}"

    def know(self, photo: Path) -> Path:
        """Find a photo of the visitor's folder by its bytes from now on; return it."""
        self.photos[hashlib.sha256(photo.read_bytes()).hexdigest()] = photo
        return photo

    def begin(self, tab: str) -> Job:
        """Note a new job of a tab, in a folder of its own."""
        job = self.jobs[tab] = Job(self.place(tab))
        job.folder.mkdir(parents=True)
        return job

    def own(self, path: str | Path) -> Path:
        """Return a path that a visitor's browser names, if it is of their own.

        Raises:
            DataError: it is not there, or not theirs.
        """
        file = Path(path)
        if not (file.is_file() and file.resolve().is_relative_to(self.folder.resolve())):
            raise DataError("a picture is not there any more, or is still being read; give it again")
        return file


class Visits(dict[str, Visit]):
    """The visits by their session, made when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._lock, self._reading = folder, RLock(), Lock()
        self._read: dict[str, tuple[float, Path]] = {}

    def __missing__(self, session: str) -> Visit:
        with self._lock:
            if session not in self:
                folder = self.folder / f"visit-{secrets.token_hex(16)}"
                folder.mkdir(mode=0o700, parents=True)
                self[session] = Visit(folder)
            return self[session]

    def take(self, session: str, upload: str | Path) -> Path:
        """Write an upload anew, upright and without tags, into the visitor's folder, and remove it; return the path.

        Raises:
            DataError: what is wrong with it, under the visitor's name of it.
        """
        raw, name = Path(upload), shown(Path(upload).name)
        visit = self[session]
        clean = visit.place(_stem(raw), ".png")
        with self._reading:  # two who upload one file have one path
            if not raw.is_file() and str(raw) in self._read and self._read[str(raw)][1].is_file():
                return visit.know(Path(shutil.copyfile(self._read[str(raw)][1], clean)))
            try:
                data = _bytes(raw, name)
            finally:
                self._remove_soon(raw)
            image = read_picture(data, name)
            image.save(clean, compress_level=1)
            self._read[str(raw)] = (time.monotonic(), clean)
        self.sweep()
        return visit.know(clean)

    def keep(self, session: str, upload: str | Path, check: Callable[[Path], object]) -> Path:
        """Move an upload that is no picture into the visitor's folder under its own name, if `check(path)` allows it.

        Raises:
            DataError, ModelError: what is wrong with it.
        """
        raw = Path(upload)
        folder = self[session].place("file")
        folder.mkdir()
        kept = folder / f"{_stem(raw)}{raw.suffix.lower()}"
        try:
            if not raw.is_file() or not raw.resolve().is_relative_to(self.folder.resolve()):
                raise DataError(f"{shown(raw.name)} was gone before it was read; give it again")
            shutil.move(raw, kept)
            _remove(raw)
            check(kept)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return kept

    def opened(self, upload: Path) -> Path:
        """Return an upload that is to be read once, if it is one.

        Raises:
            DataError: it is not there, or no upload.
        """
        if not upload.is_file() or not upload.resolve().is_relative_to(self.folder.resolve()):
            raise DataError(f"{shown(upload.name)} was gone before it was read; give it again")
        if _is_ours(upload, self.folder):
            raise DataError(f"{shown(upload.name)} is not an upload; give a file")
        return upload

    def drop(self, upload: Path) -> None:
        """Remove an upload that was read."""
        self._remove_soon(upload)

    @contextmanager
    def working(self, session: str) -> Iterator[Visit]:
        """Keep the visitor's folder until work in it is done, even if they leave meanwhile."""
        visit = self[session]
        with self._lock:
            visit.at_work += 1
        try:
            yield visit
        finally:
            with self._lock:
                visit.at_work -= 1
                if visit.gone and not visit.at_work:
                    shutil.rmtree(visit.folder, ignore_errors=True)

    def leave_soon(self, session: str) -> None:
        """Stop a visitor's work, and let all that is theirs go unless their page comes back."""
        with self._lock:
            visit = self.get(session)
            for job in visit.jobs.values() if visit else ():
                job.stop.set()
        later(RELOADS, lambda: self.leave(session))

    def back(self, before: str, session: str) -> Visit | None:
        """Give what was left by a page to the same page, reloaded; None where nothing of it is there any more."""
        with self._lock:
            visit = self.pop(before, None) if before != session else self.get(session)
            if visit is not None:
                self[session] = visit
            return visit

    def leave(self, session: str) -> str:
        """Stop a visitor's work and remove all that is theirs; return a sentence that says what it was."""
        with self._lock:
            visit = self.pop(session, None)
            later(TIDY, self._tidy)
            if visit is None:
                return "Nothing of yours was kept."
            visit.gone = True
            for job in visit.jobs.values():
                job.stop.set()
            files = [path for path in visit.folder.rglob("*") if path.is_file()]
            size = sum(path.stat().st_size for path in files)
            if not visit.at_work:
                shutil.rmtree(visit.folder, ignore_errors=True)
        subjects = f", {counted(len(visit.subjects), 'subject')} among them" if visit.subjects else ""
        return f"Deleted: {counted(len(files), 'file')} of yours, {size / 1e6:.1f} MB{subjects}."

    def _tidy(self) -> None:
        """Remove what nobody read: at once where nobody is there whose it could be."""
        with suppress(OSError):  # the page was closed meanwhile
            self.sweep(STALE if self else 1.0)

    def sweep(self, older: float = STALE) -> None:
        """Remove uploads that nobody has read for some seconds, and what the library beneath leaves behind."""
        limit = time.time() - older
        for path in self.folder.iterdir():
            with suppress(OSError):
                if not path.name.startswith(OURS) and path.stat().st_mtime < limit:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        now = time.monotonic()
        with self._reading:
            self._read = {raw: one for raw, one in self._read.items() if now - one[0] < 60}

    def _remove_soon(self, raw: Path) -> None:
        """Remove an upload and its folder, once the browser has got the answer that it asked for before."""
        if raw.resolve().is_relative_to(self.folder.resolve()) and not _is_ours(raw, self.folder):
            later(LINGERS, lambda: _remove(raw))


def later(seconds: float, act: Callable[[], object]) -> None:
    """Do something after some seconds, if the page is still there."""
    timer = Timer(seconds, act)
    timer.daemon = True
    timer.start()


def _remove(raw: Path) -> None:
    with suppress(OSError):
        raw.unlink()
    with suppress(OSError):
        raw.parent.rmdir()


def given_name(file: str | Path) -> str:
    """Return a visitor's name of what `take` wrote."""
    path = Path(file)
    return re.sub(r"-[0-9a-f]{16}$", "", path.stem) + path.suffix


def _is_ours(path: Path, folder: Path) -> bool:
    return path.resolve().relative_to(folder.resolve()).parts[0].startswith(OURS)


def _stem(path: Path) -> str:
    """Return what may stay of a visitor's name of a file: letters and digits."""
    return re.sub(r"[^A-Za-z0-9]+", "-", path.stem).strip("-")[:40] or "picture"


def _bytes(raw: Path, name: str) -> bytes:
    if not raw.is_file():
        raise DataError(f"{name} was gone before it was read; give it again")
    if raw.stat().st_size > LARGEST:  # LoRA files alone may be larger
        raise DataError(f"{name} is larger than {LARGEST // 1_000_000} MB; save it smaller, then give it again")
    if not raw.stat().st_size:
        raise DataError(f"{name} is empty; give another, or export it again where it comes from")
    return raw.read_bytes()


def read_picture(data: bytes, name: str) -> Image.Image:
    """Read a picture that a visitor gave.

    Raises:
        DataError: what is wrong with it, under the visitor's name of it.
    """
    try:
        return load_image(data)
    except DataError as error:
        raise DataError(str(error).replace("the picture given", name)) from error
