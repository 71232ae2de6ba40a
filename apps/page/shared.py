"""What the tabs of the page share: who has asked for what, the line that says how it goes, and how errors are told."""

import html
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Protocol

from personagen.devices import is_out_of_memory, out_of_memory

HEAVY = "pictures"  # one concurrency id for every event that paints: one at a time on this machine


class Stoppable(Protocol):
    """Work of one visitor that can be asked to stop."""

    stop: Event


@dataclass
class Job:
    """What one visitor has asked for: where it is written, and whether they still want it."""

    folder: Path
    stop: Event = field(default_factory=Event)


def stop_handler(visitors: Mapping[str, Stoppable], *, part: float = 0.0) -> Callable[..., list[Any]]:
    """Make the handler of Cancel: ask the visitor's work to stop; it says so, with `part` of the bar filled."""
    import gradio as gr

    def stop(request: gr.Request) -> list[Any]:
        work = visitors.get(str(request.session_hash))
        if work:
            work.stop.set()
        return [status("Stopping …", part), gr.update(interactive=False)]

    return stop


def side_by_side(gr: Any, left: Callable[[Any], dict[str, Any]], right: Callable[[Any], dict[str, Any]]) -> Any:
    """Draw the controls on the left and the results on the right; return the components of both by name."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320):
            widgets = left(gr)
        with gr.Column(scale=3, min_width=320):
            return widgets | right(gr)


def buttons(gr: Any, *, busy: bool) -> list[Any]:
    """Return the updates of the button that begins and of the one that cancels."""
    return [gr.update(interactive=not busy), gr.update(interactive=busy)]


def status(text: str, part: float, *, bad: bool = False) -> str:
    """Write the line above the results as HTML, over a bar of which `part` (0..1) is filled."""
    mark = "⚠ " if bad else ""
    return (f'<div class="state" role="status" aria-live="polite">{mark}{html.escape(text)}'
            f'<div class="rail"><div class="done" style="width:{100 * part:.0f}%"></div></div></div>')  # fmt: skip


def excuse(error: Exception) -> tuple[str, bool]:
    """Say an error that the visitor can act on, and whether it is one; others are for the server's log."""
    if is_out_of_memory(error):
        return str(out_of_memory(error)), True
    known = hasattr(error, "exit_code")
    return (str(error) if known else "This did not work; the server's log says why."), known


def pack(files: list[Path], archive: Path) -> Path:
    """Write the files into one zip, byte for byte, under their own names; return its path."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as stream:
        for file in files:
            stream.write(file, file.name)
    return archive
