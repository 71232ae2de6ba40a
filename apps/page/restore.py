"""A picture or a file of settings that is dropped on the page: its tab opens, with everything filled in."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from personagen.vocabulary import counted
from recsys.errors import DataError

from .settings import Found, Kept, found_of, read_dropped, read_link, unknown_base, updates
from .shared import FAILED, QUICK, Bench, excuse, status
from .visits import Visit

NAMES = {"looks": "Looks", "generate": "Generate", "tryon": "Try on", "subject": "Teach"}


def drop_place(gr: Any) -> Any:
    """Draw the place for such a file; what is dropped elsewhere on the page goes there as well (guard.js)."""
    return gr.File(
        label="Go on from a picture or YAML", file_types=[".png", ".yaml", ".yml"], height=120,
        elem_id="restore",
    )  # fmt: skip


@dataclass(frozen=True)
class Places:
    """The components that are filled again.

    states: the line of each tab; rows: the sliders of subjects; strokes: the state that the mask editor takes up.
    """

    tabs: Any
    kept: Mapping[str, Kept]
    states: Mapping[str, Any]
    rows: Sequence[Any]
    strokes: Any
    rows_of: Callable[[Visit], list[Any]]

    @property
    def parts(self) -> list[Any]:
        """The fields and photos of all tabs."""
        return list(dict.fromkeys(each for name in self.kept for each in self.kept[name].parts))

    @property
    def outputs(self) -> list[Any]:
        """All of them, in the order of `filled`."""
        return [self.tabs, *self.states.values(), *self.parts, *self.rows, self.strokes]

    def filled(self, founds: Sequence[Found], visit: Visit) -> list[Any]:
        """Return the updates that fill the tabs of what was found; that of the last one is opened.

        Raises:
            DataError: what the message names.
        """
        import gradio as gr

        says, fields = dict.fromkeys(self.states, gr.skip()), dict[Any, Any]()
        shown, opened, strokes = [gr.skip()] * len(self.rows), gr.skip(), gr.skip()
        for found in founds:
            values, lacking = updates(self.kept[found.tab], found, visit)
            fields |= dict(zip(self.kept[found.tab].parts, values, strict=True))
            missing: list[str] = []
            if found.tab == "generate":
                shown, missing = row_updates(found, visit, self.rows_of(visit))
            base = unknown_base(self.kept[found.tab], found)
            text, bad = told(found, lacking, missing, base), bool(lacking or missing or base)
            says[found.tab] = status(text, 0.0, bad=bad)
            opened, strokes = gr.Tabs(selected=found.tab), found.strokes
        return [opened, *says.values(), *(fields.get(one, gr.skip()) for one in self.parts), *shown, strokes]

    def said(self, text: Any) -> list[Any]:
        """Return the updates that say one thing on every tab and fill nothing."""
        import gradio as gr

        rest = len(self.parts) + len(self.rows) + 1
        return [gr.skip(), *(text for _ in self.states), *[gr.skip()] * rest]


def connect(bench: Bench, file: Any, places: Places) -> Any:
    """Let the dropped file fill the fields of its tab; return the event."""
    import gradio as gr

    def fill(upload: str | None, request: gr.Request) -> list[Any]:
        if not upload:
            return [None, *places.said(gr.skip())]
        raw, visit = Path(upload), bench.visits[str(request.session_hash)]
        try:
            return [None, *places.filled([read_dropped(bench.visits.opened(raw), places.kept)], visit)]
        except Exception as error:
            return [None, *places.said(status(excuse(error), 0.0, bad=True))]
        finally:
            bench.visits.drop(raw)

    given = file.upload(fill, file, [file, *places.outputs], queue=False, **QUICK)
    state = next(iter(places.states.values()))
    given.failure(None, None, state, js=f"async () => (await ({FAILED})())[0]", **QUICK)
    return given


def connect_again(bench: Bench, page: Any, places: Places, board: Any) -> Any:
    """Let a page that was reloaded have what it had, and one that was opened by a link what the link says."""
    import gradio as gr

    came = gr.Textbox(visible="hidden", elem_id="came")

    def again(said: str, request: gr.Request) -> list[Any]:
        session = str(request.session_hash)
        try:
            before, link = came_from(said)
            visit = bench.visits.back(before, session) if before else None
            if visit is not None and visit.asked:
                founds = [found_of(one) for one in visit.asked.values()]
                return [session, *places.filled(founds, visit), visit.board or gr.skip()]
            if not link:
                return [session, *places.said(gr.skip()), gr.skip()]
            return [session, *places.filled([read_link(link, places.kept)], bench.visits[session]), gr.skip()]
        except Exception as error:
            return [session, *places.said(status(excuse(error), 0.0, bad=True)), gr.skip()]

    loaded = page.load(again, came, [came, *places.outputs, board], js="() => window.personagenCame()", **QUICK)
    loaded.success(None, came, None, js="(session) => window.personagenKeep(session)", **QUICK)
    return loaded


def came_from(said: Any) -> tuple[str, str]:
    """Return the session before a reload and the link's settings, each of which may be empty."""
    try:
        before, link = json.loads(said or '["", ""]')
    except (TypeError, ValueError):
        return "", ""
    return str(before or ""), str(link or "")


def row_updates(found: Found, visit: Visit, shown: list[Any]) -> tuple[list[Any], list[str]]:
    """Return the rows with the weights of a picture, and the names of subjects that the visit does not have."""
    weights = [found.subjects.get(name, {}).get("weight", 0) for name in visit.subjects]
    weighed = [{**row, "value": _weight(weight)} for row, weight in zip(shown, weights, strict=False)]
    return [*weighed, *shown[len(weighed) :]], [name for name in found.subjects if name not in visit.subjects]


def _weight(value: Any) -> float:
    try:
        return min(2.0, max(0.0, float(value)))
    except (TypeError, ValueError) as error:
        raise DataError("a weight in this picture is no number; set it by hand") from error


def told(found: Found, photos: Sequence[str], subjects: Sequence[str], base: str = "") -> str:
    """Say what was taken from the file, and what has to be given again."""
    text = f"{counted(len(found.settings) - bool(base), 'setting')} taken over."
    if base:
        text += f" It was made on {base}, a base model that this page does not have; choose one of the list."
    if photos:
        text += f" Give the same {' and '.join(photos)} again: pictures hold no photos of yours."
    if subjects:
        text += (
            f" Teach or give {' and '.join(subjects)} again: {'it is' if len(subjects) == 1 else 'they are'} not here."
        )
    return text
