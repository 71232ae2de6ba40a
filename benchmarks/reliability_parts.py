"""What is done to a command, and what is counted: kills, full disks, two at once, read-only folders, signals."""

import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import reliability_state as state
from reliability_child import Child, Ended, Trouble, enlarge, small_disk
from reliability_jobs import Job

CHAIN = 20
"""Kills in a row before a run is left to come to its end."""
DISKS = 2
"""Small file systems that a command is run on."""
MOMENTS = 4
"""Parts of a command's time in each of which it is stopped by each signal."""
PROMISE = re.compile(r"the checkpoint of (step-\d+) is in (.+?);")


@dataclass(frozen=True)
class Whole:
    """What an undisturbed run leaves, costs and writes."""

    contents: dict[str, str]
    cpu: float
    steps: int
    writes: list[str]
    bytes: int


@dataclass
class Bench:
    """A folder in which one command at a time is run, always from nothing."""

    place: Path
    random: np.random.Generator = field(default_factory=np.random.default_rng)

    def __post_init__(self) -> None:
        self.whole = cache(self._whole)

    @property
    def work(self) -> Path:
        return self.place / "work"

    @property
    def out(self) -> Path:
        return self.work / "out"

    def fresh(self) -> None:
        """Empty the folder."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True, exist_ok=True)

    def start(self, job: Job, trouble: Trouble | None = None, *, nobody: bool = False,
              log: str = "log") -> Child:  # fmt: skip
        """Start a command."""
        return Child(job.words, self.work, self.place / log, trouble=trouble, setup=job.setup, nobody=nobody)

    def run(self, job: Job, trouble: Trouble | None = None, *, nobody: bool = False) -> Ended:
        """Run a command to its end, whatever that is."""
        return self.start(job, trouble, nobody=nobody).wait()

    def _whole(self, job: Job) -> Whole:
        self.fresh()
        ended = self.run(job)
        if ended.code != 0:
            raise SystemExit(f"{job.name} ended with {ended.code}: {ended.stderr}")
        return Whole(state.contents(self.work), ended.cpu, ended.steps, ended.writes, state.size(self.work))

    def some_time(self, job: Job) -> float:
        """Draw a moment of a command's CPU time."""
        return float(self.random.uniform(0, self.whole(job).cpu))


@dataclass
class Count:
    """What is counted over the runs of a command, with a line about whatever went wrong."""

    runs: int = 0
    lost: int = 0
    """Runs that did not go on to the result of an undisturbed one."""
    half: int = 0
    """Files, checkpoints and folders found half-written."""
    steps_lost: int = 0
    left: int = 0
    """Files that an undisturbed run would not have left."""
    tracebacks: int = 0
    codes: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def see(self, bench: Bench, job: Job, ended: Ended) -> None:
        """Count how a disturbed run ended, and what it left."""
        self.runs += 1
        self.codes[str(ended.code)] = self.codes.get(str(ended.code), 0) + 1
        if ended.traceback:
            self.tracebacks += 1
            self.wrong.append(f"traceback: {ended.last}")
        found = state.half_written(bench.work, bench.whole(job).contents)
        self.half += len(found)
        self.wrong += [f"half-written: {one}" for one in found]
        if job.every is not None and ended.steps:
            self.steps_lost = max(self.steps_lost, ended.steps - state.newest(bench.work))

    def finish(self, bench: Bench, job: Job, ended: Ended) -> None:
        """Compare what a run left in the end with what an undisturbed one leaves."""
        both = (bench.whole(job).contents, state.contents(bench.work))
        whole, now = map(state.last_checkpoint_only, both)
        left = sorted(set(now) - set(whole))
        self.left += len(left)
        other = [name for name in whole if now.get(name) != whole[name]]
        if ended.code != 0 or other:
            self.lost += 1
            self.wrong.append(f"lost: code {ended.code} {ended.last}; differ: {', '.join(other[:3])}")
        if left:
            self.wrong.append(f"left behind: {', '.join(left[:3])}")

    def expect(self, right: bool, what: str) -> None:
        """Note what is not as it must be."""
        if not right:
            self.wrong.append(what)

    def figures(self, **more: Any) -> dict[str, Any]:
        """Give what was counted, ready for JSON."""
        counts = {"runs": self.runs, "lost": self.lost, "half_written": self.half, "left_behind": self.left,
                  "tracebacks": self.tracebacks, "codes": self.codes}  # fmt: skip
        return counts | more | {"wrong": sorted(set(self.wrong))}


def kill(bench: Bench, job: Job, *, kills: int = 20) -> dict[str, Any]:
    """Kill a command at random moments and writes, some in a row; it must go on to the same result."""
    count, whole, at_writes = Count(), bench.whole(job), 0
    while count.runs < kills:
        bench.fresh()
        for _ in range(min(CHAIN, kills - count.runs)):
            at_write = bool(bench.random.integers(2))
            write = int(bench.random.integers(len(whole.writes)))
            trouble = Trouble("kill", write=write) if at_write else Trouble("kill", cpu=bench.some_time(job))
            ended = bench.run(job, trouble)
            if not ended.killed:
                break
            at_writes += at_write
            count.see(bench, job, ended)
        else:
            ended = bench.run(job)
        count.finish(bench, job, ended)
    return count.figures(at_writes=at_writes, steps_lost=count.steps_lost, interval=job.every)


def disk(bench: Bench, job: Job, *, disks: int = DISKS) -> dict[str, Any]:
    """Let each kind of write find no space once, then run on small file systems; with room, it must go on."""
    count, whole = Count(), bench.whole(job)
    chosen = last_of_each(whole.writes)
    for write in chosen:
        bench.fresh()
        ended = bench.run(job, Trouble("full", write=write))
        _told(count, bench, job, ended, f"full at {whole.writes[write]}")
    mounted = 0
    for share in bench.random.uniform(0.05, 1.0, disks):
        bench.fresh()
        with small_disk(bench.work, max(8192, int(share * whole.bytes))) as done:
            mounted += done
            if done:
                ended = bench.run(job)
                _told(count, bench, job, ended, f"a disk of {share:.2f} of what is needed", enlarge)
    return count.figures(kinds=len(chosen), disks=mounted)


def last_of_each(writes: Sequence[str]) -> list[int]:
    """Number the last write of each kind that needs space: by what is done, and the name without its numbers."""
    last = {_kind(line): number for number, line in enumerate(writes) if not line.startswith("r")}
    return sorted((last | {_kind(line): n for n, line in enumerate(writes) if line.startswith("rename")}).values())


def _kind(line: str) -> str:
    return re.sub(r"[0-9a-z_]{8}(?=\.tmp|/)|\d+", "#", line)


def _told(count: Count, bench: Bench, job: Job, ended: Ended, what: str,
          mend: Callable[[Path], None] = lambda folder: None) -> None:  # fmt: skip
    """Expect one line and exit code 5 of a run that found no space, and that it goes on once there is some."""
    count.see(bench, job, ended)
    line = ended.last
    right = ended.code == 0 or (ended.code == 5 and line.startswith("personagen: ") and "space" in line)
    count.expect(right, f"{what}: code {ended.code}, {line[:300]}")
    if job.every is not None:
        count.expect(ended.steps - state.newest(bench.work) <= job.every, f"{what}: an earlier checkpoint is gone")
    mend(bench.work)
    count.finish(bench, job, bench.run(job))


def two(bench: Bench, job: Job) -> dict[str, Any]:
    """Start a command, halt it at its first write, and start it again: the second is refused, or both are safe."""
    count, whole = Count(), bench.whole(job)
    bench.fresh()
    first = bench.start(job, Trouble("SIGSTOP", write=min(3, len(whole.writes) - 1)), log="first")
    while not first.shared.get(1):
        time.sleep(0.05)
    second = bench.start(job, log="second").wait()
    os.kill(first.pid, signal.SIGCONT)
    ended = first.wait()
    count.see(bench, job, second)
    refused = second.code == 5 and "another process" in second.last
    count.expect(refused or second.code == 0, f"second: {second.code}, {second.last[:300]}")
    count.finish(bench, job, ended)
    return count.figures(refused=int(refused), steps_of_the_second=second.steps)


def readonly(bench: Bench, job: Job) -> dict[str, Any]:
    """Run a command as a user who may not write: it must say so before it begins."""
    count = Count()
    bench.fresh()
    ended = bench.run(job, nobody=True)
    count.see(bench, job, ended)
    right = ended.code == 5 and ended.last.startswith("personagen: ") and str(bench.work) in ended.last
    count.expect(right, f"code {ended.code}, {ended.last[:300]}")
    count.expect(ended.steps == 0, f"told after {ended.steps} steps")
    return count.figures(steps=ended.steps, share_of_cpu=round(ended.cpu / bench.whole(job).cpu, 2))


def sigterm(bench: Bench, job: Job, *, moments: int = MOMENTS) -> dict[str, Any]:
    """Send SIGTERM and SIGINT in each quarter of a command's time, and SIGTERM at each kind of write: exit code, true
    words, and it goes on."""
    count, whole = Count(), bench.whole(job)
    for write in last_of_each(whole.writes):
        bench.fresh()
        ended = bench.run(job, Trouble("SIGTERM", write=write))
        count.see(bench, job, ended)
        _stopped(count, bench, ended, 143, f"SIGTERM at {whole.writes[write]}")
        count.finish(bench, job, bench.run(job) if ended.code else ended)
    for name, code in (("SIGTERM", 143), ("SIGINT", 130)):
        for part in range(moments):
            bench.fresh()
            moment = (part + float(bench.random.uniform())) / moments * whole.cpu
            ended = bench.run(job, Trouble(name, cpu=moment))
            count.see(bench, job, ended)
            _stopped(count, bench, ended, code, f"{name} after {moment / whole.cpu:.2f} of the time")
            count.finish(bench, job, bench.run(job) if ended.code else ended)
    return count.figures(steps_lost=count.steps_lost, kinds=len(last_of_each(whole.writes)), moments=2 * moments)


def _stopped(count: Count, bench: Bench, ended: Ended, code: int, what: str) -> None:
    """Expect an exit code and words that are true of a run that was stopped."""
    if not ended.struck:
        return
    line = ended.last
    right = ended.code == 0 or (ended.code == code and line.startswith("personagen: stopped by "))
    count.expect(right, f"{what}: code {ended.code}, {line[:300]}")
    promise = PROMISE.search(line)
    if promise:
        place = Path(promise[2]) / promise[1]
        count.expect(state.verify(place), f"{what}: {place} was promised and is not there")
    if "no checkpoint was written" in line:
        count.expect(state.newest(bench.work) == 0, f"{what}: there is a checkpoint, and none is promised")


def resume(bench: Bench, job: Job, *, times: int = 2) -> dict[str, Any] | None:
    """Stop a training after random steps, some in a row; it must go on to the same result, to the bit."""
    if job.every is None:
        return None
    count, whole = Count(), bench.whole(job)
    bench.fresh()
    steps = sorted(bench.random.choice(np.arange(1, whole.steps), size=min(times, whole.steps - 1), replace=False))
    for step in steps:
        ended = bench.run(job, Trouble("SIGTERM", step=int(step)))
        count.see(bench, job, ended)
        _stopped(count, bench, ended, 143, f"after step {step}")
        count.expect(state.newest(bench.work) >= step, f"step {step} was done and is not kept")
    count.finish(bench, job, bench.run(job))
    return count.figures(stops=[int(step) for step in steps])
