"""Commands of `personagen` in forked children of one process, which imported everything: watched, and met by trouble.

A child writes its output to a file, counts the steps of its training, and counts its writes: whatever it opens for
writing, renames, makes or removes below the folder that is watched (audit events of Python, and the two writers of
compiled libraries). Trouble comes at a write or at a moment of its CPU time.
"""

import errno
import importlib
import mmap
import os
import resource
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

HEAVY = (
    "encodings.utf_8_sig",
    "encodings.utf_16",
    "torch",
    "accelerate",
    "diffusers",
    "transformers",
    "peft",
    "safetensors.torch",
    "optuna",
    "pyarrow.parquet",
)
MODULES = ("recommend", "update", "rank", "style", "tryon", "pretrain", "subject", "search", "wear", "mask")
STAGES = ("vae", "text", "text2image", "decoder", "tryon", "parser", "joints", "tryon_pairs", "render")
NOBODY = 65534
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
SLOW = 1_800.0
"""Seconds after which a child counts as stuck; the machine may be busy with other things."""


@dataclass(frozen=True)
class Trouble:
    """What befalls a child, once: at its write number `write` (from 0), at a step, or after `cpu` seconds of CPU time.

    kind: "kill" (SIGKILL; what was being written stays half-written), "full" (that write finds no space), or a signal.
    """

    kind: str
    write: int | None = None
    step: int | None = None
    cpu: float | None = None

    @property
    def signal(self) -> signal.Signals:
        return signal.SIGKILL if self.kind == "kill" else signal.Signals[self.kind]


@dataclass(frozen=True)
class Ended:
    """How a child ended. code: exit code, or minus the signal that ended it. last: the last line of stderr."""

    code: int
    cpu: float
    steps: int
    """The last step of training that was done, 0 where none was."""
    writes: list[str]
    stderr: str
    struck: bool
    """Whether the trouble came before the end."""

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def last(self) -> str:
        lines = [line for line in self.stderr.replace("\r", "\n").splitlines() if line.strip()]
        return lines[-1] if lines else ""

    @property
    def traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.stderr


@dataclass
class Shared:
    """What a child and its parent both see: the step that is done, and whether trouble came."""

    memory: mmap.mmap = field(default_factory=lambda: mmap.mmap(-1, mmap.PAGESIZE))

    def put(self, place: int, value: int) -> None:
        struct.pack_into("q", self.memory, 8 * place, value)

    def get(self, place: int) -> int:
        return struct.unpack_from("q", self.memory, 8 * place)[0]


STEP, STRUCK, BEGUN = range(3)


def import_everything() -> None:
    """Import what the commands need, in one thread, so that children need not."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for name in HEAVY:
        importlib.import_module(name)
    for name in MODULES:
        importlib.import_module(f"apps.commands.{name}")
    for name in STAGES:
        importlib.import_module(f"personagen.pretrain.{name}")
    for name in ("subject.run", "styling.studio", "person.parser", "tryon.pipeline"):
        importlib.import_module(f"personagen.{name}")
    importlib.import_module("torch").set_num_threads(1)
    from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel  # lazily loaded parts
    from transformers import CLIPTextModel, CLIPTokenizer

    if not all((AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel, CLIPTextModel, CLIPTokenizer)):
        sys.exit("a library is not whole")


class Child:
    """A command that runs; `wait` for it, or signal it before."""

    def __init__(
        self, argv: Sequence[str], watched: Path, log: Path, *, trouble: Trouble | None = None,
        setup: Callable[[], None] | None = None, nobody: bool = False,
    ) -> None:  # fmt: skip
        self.shared, self.log, self.trouble = Shared(), log, trouble
        self.log.unlink(missing_ok=True)
        self.record = log.with_suffix(".writes")
        self.record.unlink(missing_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(argv, watched, setup, nobody)

    @property
    def steps(self) -> int:
        """How many steps of training it has done by now."""
        return self.shared.get(STEP)

    def cpu(self) -> float:
        """Return the CPU-seconds that it has used by now."""
        try:
            return time.clock_gettime((~self.pid << 3) | 2)
        except OSError:  # it has ended
            return float("inf")

    def wait(self) -> Ended:
        """Wait for the end, and send the signal that is due on the way."""
        end = time.monotonic() + SLOW
        trouble = self.trouble
        due = trouble.cpu if trouble is not None else None
        while True:
            pid, status, used = os.wait4(self.pid, os.WNOHANG if due is not None or SLOW else 0)
            if pid:
                return self._ended(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime)
            if due is not None and trouble is not None and self.shared.get(BEGUN) and self.cpu() >= due:
                self.shared.put(STRUCK, 1)
                os.kill(self.pid, trouble.signal)
                due = None
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.002 if due is not None else 0.02)

    def _ended(self, code: int, cpu: float) -> Ended:
        def read(path: Path) -> str:
            return path.read_text("utf-8", errors="replace") if path.is_file() else ""

        struck = bool(self.shared.get(STRUCK))
        return Ended(code, cpu, self.steps, read(self.record).splitlines(), read(self.log), struck)

    def _run(self, argv: Sequence[str], watched: Path, setup: Callable[[], None] | None, nobody: bool) -> NoReturn:
        code = 70
        try:
            for number in (1, 2):
                os.dup2(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), number)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGINT, signal.default_int_handler)
            record = os.open(self.record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            if nobody:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            self._count_steps()
            _Watch(watched, self.shared, self.trouble, record)
            if setup is not None:
                setup()
            from apps import cli
            from apps.signals import raise_on_sigterm

            raise_on_sigterm()  # the first thing that the command does
            self.shared.put(BEGUN, 1)
            code = cli.main(list(argv))
        except BaseException:  # as the interpreter does at the end of a program
            traceback.print_exc()
            code = 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _count_steps(self) -> None:
        from recsys.types import Step

        plain, shared, trouble = Step.__init__, self.shared, self.trouble

        def counted(step: Any, number: int, *rest: Any, **named: Any) -> None:
            shared.put(STEP, max(number, shared.get(STEP)))
            plain(step, number, *rest, **named)
            if trouble is not None and number == trouble.step and not shared.get(STRUCK):
                shared.put(STRUCK, 1)
                os.kill(os.getpid(), trouble.signal)

        Step.__init__ = counted  # type: ignore[method-assign]


class _Watch:
    """Sees each write below a folder before it is done, and brings the trouble."""

    def __init__(self, folder: Path, shared: Shared, trouble: Trouble | None, record: int) -> None:
        self.folder, self.shared, self.trouble, self.record = str(folder), shared, trouble, record
        self.count, self.on = 0, True
        sys.addaudithook(self._hook)
        self._watch_compiled()

    def _watch_compiled(self) -> None:
        """Watch the writers that Python's audit events do not tell of."""
        import pyarrow
        import safetensors.torch

        serialize, file = safetensors.torch.serialize_file, pyarrow.OSFile

        def watched_serialize(tensors: Any, filename: Any, *rest: Any, **named: Any) -> Any:
            self.see("write", filename)
            return serialize(tensors, filename, *rest, **named)

        def watched_file(path: Any, mode: str = "r", **named: Any) -> Any:
            if "w" in mode:
                self.see("write", path)
            return file(path, mode, **named)

        safetensors.torch.serialize_file, pyarrow.OSFile = watched_serialize, watched_file

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES:
            self.see("write" if arguments[2] & os.O_TRUNC else "append", arguments[0])
        elif event in ("os.rename", "os.mkdir", "os.rmdir", "os.remove"):
            self.see(event[3:], _absolute(arguments[0], arguments[-1]))

    def see(self, what: str, path: Any) -> None:
        """Count a write below the folder; act where it is the one."""
        if isinstance(path, int):
            return
        name = os.path.abspath(os.fsdecode(path))
        if not name.startswith(self.folder):
            return
        number, self.count = self.count, self.count + 1
        os.write(self.record, f"{what} {name[len(self.folder) :]}\n".encode())
        if self.trouble is not None and number == self.trouble.write:
            self.on = False
            self.shared.put(STRUCK, 1)
            self._act(what, name)
            self.on = True

    def _act(self, what: str, name: str) -> None:
        assert self.trouble is not None
        if self.trouble.kind == "full":
            if what not in ("rmdir", "remove"):  # removing needs no space
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
            return
        if self.trouble.kind == "kill" and what == "write":  # what a death between two pieces of the file leaves
            with open(name, "wb") as stream:
                stream.write(b'{"half')
        os.kill(os.getpid(), self.trouble.signal)


def _absolute(path: Any, folder: Any) -> Any:
    """Return a path that may be relative to an open folder."""
    if isinstance(folder, int) and folder >= 0 and not isinstance(path, int) and not os.path.isabs(os.fsdecode(path)):
        return os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fsdecode(path))
    return path


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Lay a file system of `size` bytes over a folder; give False where this machine does not let us."""
    folder.mkdir(parents=True, exist_ok=True)
    done = os.system(f"mount -t tmpfs -o size={size} tmpfs '{folder}' 2>/dev/null") == 0
    try:
        yield done
    finally:
        if done:
            _unmount(folder)


def _unmount(folder: Path, *, seconds: float = 10.0) -> None:
    """Take a small disk away; a process that has ended may hold its files a moment longer."""
    give_up = time.monotonic() + seconds
    while os.system(f"umount '{folder}' 2>/dev/null") != 0:
        if time.monotonic() > give_up:
            os.system(f"umount -l '{folder}'")
            return
        time.sleep(0.1)


def enlarge(folder: Path) -> None:
    """Make room on a small disk."""
    os.system(f"mount -o remount,size=1g '{folder}'")
