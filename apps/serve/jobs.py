"""Jobs: done one after the other in a thread, kept on disk, so that a restart takes up what was not finished.

A job's number is a hash of its order, so that a client who asks again after a lost answer gets the same job. What was
sent (photos) is removed when the job ends; what was made goes after some hours, or when the client says so.
"""

import hashlib
import json
import os
import re
import shutil
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from personagen.files import write_text
from personagen.styling.studio import Halted
from recsys.errors import DataError, ResourceError

from .errors import public

ORDER, STATE, READY = "order.json", "state.json", "files"
ENDED = ("done", "failed", "stopped")
NUMBER = re.compile(r"[0-9a-f]{32}$")


@dataclass
class Job:
    """What was asked for and how far it is."""

    id: str
    kind: str
    state: str = "waiting"
    events: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None
    changed: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)

    def record(self) -> dict[str, Any]:
        """What is kept of it."""
        return {name: getattr(self, name) for name in ("id", "kind", "state", "events", "error", "changed")}


@dataclass(frozen=True)
class Bench:
    """What a maker gets: the order, a folder of its own, one for what is ready, whom to tell, and whether to stop."""

    order: Mapping[str, Any]
    folder: Path
    tell: Callable[[dict[str, Any]], None]
    stop: Callable[[], bool]

    def ready(self, file: Path, name: str | None = None) -> str:
        """Let a finished file be fetched under its own name or another; return the name."""
        place = self.folder / READY / (name or file.name)
        place.parent.mkdir(exist_ok=True)
        place.unlink(missing_ok=True)
        try:
            os.link(file, place)
        except OSError:  # a disk without hard links
            shutil.copyfile(file, place)
        return place.name


Maker = Callable[[Bench], None]


class Jobs:
    """The jobs of a server in a folder; `most` may wait, and ended ones are kept for `keep_s` seconds.

    makers: what does a job, by its kind; nice: by how much its thread lets others go first. Call `start` once, `close`
    before the end.
    """

    def __init__(
        self, folder: Path, makers: Mapping[str, Maker], *, most: int = 32, keep_s: float = 86_400.0, nice: int = 0
    ) -> None:
        self.folder, self.makers, self.most, self.keep_s, self.nice = folder, makers, most, keep_s, nice
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._running: Job | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._take_up()

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def running(self) -> bool:
        """Whether one is done now."""
        return self._running is not None

    def take(self, kind: str, order: Mapping[str, Any]) -> Job:
        """Take in an order (JSON values), or find the job that it already is; one that failed is tried again.

        Raises:
            ResourceError: too many wait, or the disk refuses.
        """
        text = json.dumps({"kind": kind, "order": order}, sort_keys=True)
        number = hashlib.sha256(text.encode()).hexdigest()[:32]
        with self._changed:
            job = self._jobs.get(number)
            if job is not None and job.state not in ("failed", "stopped"):
                return job
            if len(self._waiting) >= self.most:
                raise ResourceError(f"{self.most} jobs are waiting, as many as may; ask again later")
            job = Job(number, kind, changed=time.time())
            place = self.folder / number
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(mode=0o700)
            write_text(place / ORDER, text)
            self._keep(job)
            self._jobs[number] = job
            self._waiting.append(job)
            self._changed.notify_all()
        return job

    def get(self, number: str) -> Job:
        """Find a job.

        Raises:
            DataError: there is none.
        """
        if number not in self._jobs:
            raise DataError("there is no such job; it may have been removed")
        return self._jobs[number]

    def files(self, job: Job) -> list[str]:
        """List what is ready of a job."""
        place = self.folder / job.id / READY
        return sorted(path.name for path in place.iterdir()) if place.is_dir() else []

    def file(self, job: Job, name: str) -> Path:
        """Find a file of a job that is ready.

        Raises:
            DataError: there is none of that name.
        """
        if name not in self.files(job):
            raise DataError("the job has no such file")
        return self.folder / job.id / READY / name

    def remove(self, number: str) -> None:
        """Stop a job if it is not done, and remove all of it.

        Raises:
            DataError: there is none.
        """
        job = self.get(number)
        job.stop.set()
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
            while self._running is job:
                self._changed.wait()
            self._jobs.pop(number, None)
            shutil.rmtree(self.folder / number, ignore_errors=True)

    def close(self) -> None:
        """Begin no other job; what waits stays on disk for the next start."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def interrupt(self) -> None:
        """Stop the job that runs after its step; it begins anew at the next start."""
        job = self._running
        if job is not None:
            job.stop.set()

    def _take_up(self) -> None:
        """Find the jobs of an earlier server; those that had not ended wait again."""
        found = []
        for place in self.folder.iterdir():
            try:
                job = Job(**json.loads((place / STATE).read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError):
                if NUMBER.match(place.name):  # it was never taken in
                    shutil.rmtree(place, ignore_errors=True)
                continue
            found.append(job)
        for job in sorted(found, key=lambda job: job.changed):
            self._jobs[job.id] = job
            if job.state not in ENDED:
                job.state, job.events = "waiting", []
                self._waiting.append(job)

    def _work(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self.nice)
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait(timeout=60.0)
                    self._sweep()
                if self._closed:
                    return
                job = self._running = self._waiting.popleft()
            try:
                self._do(job)
            finally:
                with self._changed:
                    self._running = None
                    self._changed.notify_all()

    def _do(self, job: Job) -> None:
        place = self.folder / job.id
        try:
            order = json.loads((place / ORDER).read_text(encoding="utf-8"))["order"]
            self._set(job, "running")
            self.makers[job.kind](Bench(order, place, lambda event: self._tell(job, event), job.stop.is_set))
            state, error = ("stopped", None) if job.stop.is_set() else ("done", None)
        except Halted:
            state, error = "stopped", None
        except Exception as failure:
            if getattr(failure, "exit_code", None) is None:
                traceback.print_exception(failure)
            state, error = "failed", public(failure)
        if state == "stopped" and self._closed:
            job.stop.clear()
            state = "waiting"  # the next start does it
        else:
            (place / ORDER).unlink(missing_ok=True)
        self._set(job, state, error)

    def _tell(self, job: Job, event: dict[str, Any]) -> None:
        job.events.append(event)
        job.changed = time.time()

    def _set(self, job: Job, state: str, error: str | None = None) -> None:
        """Let a state be known once it is on disk; a disk that is full takes it from nobody."""
        try:
            self._keep(replace(job, state=state, error=error))
        except ResourceError as refused:
            traceback.print_exception(refused)
        job.state, job.error, job.changed = state, error, time.time()

    def _keep(self, job: Job) -> None:
        write_text(self.folder / job.id / STATE, json.dumps(job.record()))

    def _sweep(self) -> None:
        """Remove what ended long ago."""
        limit = time.time() - self.keep_s
        for job in [job for job in self._jobs.values() if job.state in ENDED and job.changed < limit]:
            self._jobs.pop(job.id)
            shutil.rmtree(self.folder / job.id, ignore_errors=True)
