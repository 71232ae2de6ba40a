"""A picture or a file of settings that is dropped on the page: its tab opens, with everything filled in."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from personagen.vocabulary import counted
from recsys.errors import DataError

from .settings import Found, Kept, read_dropped, updates
from .shared import FAILED, QUICK, Bench, excuse, status
from .visits import Visit

NAMES = {"looks": "Looks", "generate": "Generate", "tryon": "Try on", "subject": "Teach"}


def drop_place(gr: Any) -> Any:
    """Draw the place for such a file; what is dropped elsewhere on the page goes there as well (guard.js)."""
    return gr.File(
        label="Go on from a picture or settings: drop a PNG or YAML", file_types=[".png", ".yaml", ".yml"], height=120,
        elem_id="restore",
    )  # fmt: skip


def connect(
    bench: Bench, file: Any, tabs: Any, kept: Mapping[str, Kept], states: Mapping[str, Any], rows: Sequence[Any],
    strokes: Any, rows_of: Callable[[Visit], list[Any]],
) -> Any:  # fmt: skip
    """Let the dropped file fill the fields of its tab; return the event.

    states: the line of each tab; rows: the sliders of subjects; strokes: the state that the mask editor takes up.
    """
    import gradio as gr

    outputs = [each for name in kept for each in kept[name].parts]
    outputs = list(dict.fromkeys(outputs))

    def fill(upload: str | None, request: gr.Request) -> list[Any]:
        keep, blank = [gr.skip()] * len(outputs), [gr.skip()] * len(rows)
        says = dict.fromkeys(states, gr.skip())
        if not upload:
            return [None, gr.skip(), *says.values(), *keep, *blank, gr.skip()]
        raw, visit = Path(upload), bench.visits[str(request.session_hash)]
        try:
            inside = bench.visits.opened(raw)
            found = read_dropped(inside, kept)
            values, lacking = updates(kept[found.tab], found, visit)
            filled = dict(zip(kept[found.tab].parts, values, strict=True))
            shown, missing = row_updates(found, visit, rows_of(visit)) if found.tab == "generate" else (blank, [])
            text = told(found, lacking, missing)
            says[found.tab] = status(text, 0.0, bad=bool(lacking or missing))
            return [None, gr.Tabs(selected=found.tab), *says.values(), *(filled.get(one, gr.skip()) for one in outputs),
                    *shown, found.strokes]  # fmt: skip
        except Exception as error:
            text = status(excuse(error), 0.0, bad=True)
            return [None, gr.skip(), *(text for _ in says), *keep, *blank, gr.skip()]
        finally:
            bench.visits.drop(raw)

    given = file.upload(fill, file, [file, tabs, *states.values(), *outputs, *rows, strokes], queue=False, **QUICK)
    given.failure(None, None, next(iter(states.values())), js=f"async () => (await ({FAILED})())[0]", **QUICK)
    return given


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


def told(found: Found, photos: Sequence[str], subjects: Sequence[str]) -> str:
    """Say what was taken from the file, and what has to be given again."""
    text = f"{counted(len(found.settings), 'setting')} taken over."
    if photos:
        text += f" Give the same {' and '.join(photos)} again: pictures hold no photos of yours."
    if subjects:
        text += (
            f" Teach or give {' and '.join(subjects)} again: {'it is' if len(subjects) == 1 else 'they are'} not here."
        )
    return text
