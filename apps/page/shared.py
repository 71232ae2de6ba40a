"""What the tabs of the page share: what they work with, the line that says how it goes, and how errors are told."""

import html
import re
import sys
import traceback
import zipfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any, Literal
from urllib.parse import quote

from personagen.devices import is_out_of_memory, out_of_memory
from personagen.styling.studio import Halted, Studio
from recsys.errors import DataError

from .bases import Bases
from .line import Line, Turn
from .visits import Job, Visit, Visits

QUICK: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""Settings of every event."""
FAILED = "() => window.personagenFailed()"
"""What the browser does when a request failed before our own code saw it: see guard.js."""
PLACE = re.compile(r"(?<![\w.:/])/(?:[^\s'\"/:;]+/)+")
"""The folders of a path of this machine; what remains is the file's name."""
KINDS = [".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif"]
FORMATS = "JPEG, PNG, WebP, AVIF or HEIC, up to 10 MB"
LISTENS = 0.05
"""Seconds after which it is asked whether work that tells nothing was cancelled."""
Shown = tuple[str, float, list[Any]]
"""A line, the part of the work that is done (0..1), and updates of what is shown below it (none: it stays)."""

Left = Callable[[Visit, Job], list[Any]]
"""What is shown of a job that was cancelled, or failed."""


class Gone(Exception):
    """Raised where looks ask whether they are to stop, so that no sheet is drawn of those that are finished."""


@dataclass(frozen=True)
class Bench:
    """What the tabs work with: the studio, the page's folder, its visitors, the line of those who wait, and the base
    models to choose from."""

    studio: Studio
    folder: Path
    visits: Visits
    line: Line
    bases: Bases

    def shop(self, session: str) -> tuple[Studio, Path]:
        """Return what a visitor chooses from, the shop's or their own catalogue, and where its pictures are written."""
        visit = self.visits.get(session)
        if visit is None or visit.shop is None or visit.shop_folder is None:
            return self.studio, self.folder
        return visit.shop, visit.shop_folder


@dataclass(frozen=True)
class Task:
    """Work of one visitor, at its turn."""

    job: Job
    visit: Visit
    turn: Turn


@dataclass(frozen=True)
class Bar:
    """The components of a tab that tell and steer its work: the line, the button that begins and the one that stops."""

    state: Any
    go: Any
    stop: Any
    tab: str
    also: tuple[Any, ...] = ()
    """Further buttons that begin work of the same tab."""

    @property
    def parts(self) -> list[Any]:
        """All of them, in the order of `updates`."""
        return [self.state, self.go, self.stop, *self.also]

    def updates(self, line: Any, *, busy: bool) -> list[Any]:
        """Return the updates of `parts`."""
        import gradio as gr

        free = gr.update(interactive=not busy)
        return [line, free, gr.update(interactive=busy), *(free for _ in self.also)]


def wire(
    bench: Bench, bar: Bar, *, button: Any, rank: int, work: Callable[..., Iterator[Shown]], inputs: Sequence[Any],
    outputs: Sequence[Any], first: str, clear: Sequence[Any] = (), left: Left | None = None,
) -> None:  # fmt: skip
    """Let a button begin `work(task, *inputs)`, whose updates go to `outputs`; whatever fails, the tab comes back.

    first: what is said at once; clear: updates of `outputs` then; left: those after a cancel or an error.
    """
    import gradio as gr

    def begin(request: gr.Request) -> list[Any]:
        bench.visits[str(request.session_hash)].begin(bar.tab)
        return [*bar.updates(status(first, 0.0), busy=True), *(clear or [gr.skip()] * len(outputs))]

    def run(request: gr.Request, *values: Any) -> Iterator[list[Any]]:
        session, begun = str(request.session_hash), lambda task: work(task, *values)
        yield from steps(bench, bar, session, rank, begun, len(outputs), left)

    begun = button.click(begin, None, [*bar.parts, *outputs], queue=False, **QUICK)
    done = begun.success(run, list(inputs), [*bar.parts, *outputs], concurrency_limit=None, **QUICK)
    for event in (begun, done):
        event.failure(None, None, [bar.state, bar.go, bar.stop], js=FAILED, **QUICK)
        for other in bar.also:
            event.failure(None, None, other, js="() => ({__type__: 'update', interactive: true})", **QUICK)


def steps(
    bench: Bench, bar: Bar, session: str, rank: int, work: Callable[[Task], Iterator[Shown]], count: int,
    left: Left | None = None,
) -> Generator[list[Any], None, None]:  # fmt: skip
    """Wait in the line, work, and yield the updates of the bar and of `count` outputs; the last one frees the tab.

    The work is done in a thread, so that a cancel frees the tab at once, whatever is being computed. The machine stays
    taken until the work has come to where it asks whether it is to stop.
    """
    import gradio as gr

    visit = bench.visits[session]
    job = visit.jobs.get(bar.tab) or visit.begin(bar.tab)
    keep = [gr.skip()] * count
    last = status("Nothing was made; press again.", 0.0)
    try:
        for text, part, update in heard(job, lambda tell: labour(bench, session, job, rank, work, tell)):
            last = status(text, part)
            yield [*bar.updates(last, busy=True), *(update or keep)]
    except Halted:
        last, keep = status("Stopped; what was finished stays.", 0.0), left(visit, job) if left else keep
    except Exception as error:  # whatever it is, the tab comes back
        last, keep = status(excuse(error), 0.0, bad=True), left(visit, job) if left else keep
    yield [*bar.updates(last, busy=False), *keep]


def labour(
    bench: Bench, session: str, job: Job, rank: int, work: Callable[[Task], Iterator[Shown]],
    tell: Callable[[Shown], None],
) -> None:  # fmt: skip
    """Wait for the machine, work, and give it back; the visitor's folder stays as long."""
    with bench.visits.working(session) as visit, bench.line.join(rank, job.stop) as turn:
        for text in turn.wait():
            tell((text, 0.0, []))
        for shown in work(Task(job, visit, turn)):
            tell(shown)


def heard(job: Job, labour: Callable[[Callable[[Shown], None]], None]) -> Iterator[Shown]:
    """Let work be done in a thread and yield what it tells, until it ends.

    Raises:
        Halted: it is to stop, which it will do by itself, soon.
    """
    told: Queue[Shown | Exception | None] = Queue()

    def run() -> None:
        try:
            labour(told.put)
            told.put(None)
        except Exception as error:
            told.put(error)

    Thread(target=run, daemon=True).start()
    try:
        while True:
            try:
                said = told.get(timeout=LISTENS)
            except Empty:
                if job.stop.is_set():
                    raise Halted from None
                continue
            if said is None:
                return
            if isinstance(said, Exception):
                raise Halted if job.stop.is_set() else said
            yield said
    finally:
        if not job.stop.is_set() and sys.exc_info()[0] is GeneratorExit:  # nobody listens any more
            job.stop.set()


def stop_button(bench: Bench, bar: Bar) -> None:
    """Let Cancel stop the last job of the tab; what is said of it comes from `steps`, in whose order it stays."""
    import gradio as gr

    def stop(request: gr.Request) -> None:
        visit = bench.visits.get(str(request.session_hash))
        job = visit.jobs.get(bar.tab) if visit else None
        if job:
            job.stop.set()
            bench.line.wake()

    bar.stop.click(stop, None, None, queue=False, **QUICK)


def side_by_side(gr: Any, left: Callable[[Any], dict[str, Any]], right: Callable[[Any], dict[str, Any]]) -> Any:
    """Draw the controls on the left and the results on the right; return the components of both by name."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320):
            widgets = left(gr)
        with gr.Column(scale=3, min_width=320):
            return widgets | right(gr)


def command_box(elem_id: str) -> Any:
    """Draw the place that shows the command which does the same."""
    import gradio as gr

    with gr.Accordion("The same on the command line", open=False):
        return gr.HTML('<p class="quiet">Press the button above; the command stands here then.</p>', elem_id=elem_id)


def shown_if(there: Any) -> "Literal[True, 'hidden']":
    """Return the `visible` of a component that comes and goes.

    It is hidden, not taken out of the page: of quick updates that add a component the browser may lose the last.
    """
    return True if there else "hidden"


def state_line(text: str, elem_id: str) -> Any:
    """Draw the line above the results, in which it first says `text`."""
    import gradio as gr

    return gr.HTML(status(text, 0.0), padding=False, elem_id=elem_id)


def status(text: str, part: float, *, bad: bool = False) -> str:
    """Write the line above the results as HTML, over a bar of which `part` (0..1) is filled."""
    mark, first = "⚠ " if bad else "", text.partition(" ")[0]
    if bad and first.isalpha() and first.islower():  # our errors begin so; names of files and settings stay
        text = text[0].upper() + text[1:]
    return (f'<div class="state" role="status" aria-live="polite"><span class="line">{mark}{html.escape(text)}</span>'
            f'<div class="rail"><div class="done" style="width:{100 * part:.0f}%"></div></div></div>')  # fmt: skip


def excuse(error: Exception) -> str:
    """Say an error that the visitor can act on, without places of this machine; others go to the server's log."""
    if is_out_of_memory(error):
        error = out_of_memory(error)
    if hasattr(error, "exit_code"):
        return PLACE.sub("", str(error))
    traceback.print_exception(error, file=sys.stderr)
    return "This did not work, and the server's log says why; try other pictures or settings, or reload the page"


def offer(file: Path, text: str, *, name: str = "") -> str:
    """Write a link, which looks like a button, with which a file of the page's folder is saved under its name."""
    return (f'<a class="offer" href="gradio_api/file={quote(str(file))}" '
            f'download="{html.escape(name or file.name)}">{html.escape(text)}</a>')  # fmt: skip


def number(value: Any, name: str) -> int:
    """Read a field that may be empty as a whole number.

    Raises:
        DataError: it is none.
    """
    try:
        return int(value or 0)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{name} is no whole number; write one, such as 0") from error


def pack(files: list[Path], archive: Path) -> Path:
    """Write the files into one zip, byte for byte, under their own names; return its path."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as stream:
        for file in files:
            stream.write(file, file.name)
    return archive
