"""Pictures that visitors give: read at once, written anew without tags into their own folder, the upload removed."""

import html
from abc import ABCMeta
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from personagen.vocabulary import counted
from recsys.errors import DataError

from .shared import FAILED, QUICK, Bench, excuse, status

MOST_ROWS = 8
"""Subjects and LoRA files of one visit."""


def photo(placeholder: str, elem_id: str | None = None, *, height: int = 240) -> Any:
    """Draw a place for a photo, which hands an upload on unread, so that what is wrong with it is said by us."""
    import gradio as gr

    return _unread(gr.Image)(
        type="filepath", image_mode=None, sources=["upload", "clipboard"], buttons=[], show_label=False, min_width=140,
        height=height, placeholder=placeholder, elem_id=elem_id, interactive=True,
    )  # fmt: skip


@cache
def _unread(component: Any) -> Any:
    """Return the class of a component of pictures that hands on the path of an upload.

    A class, as the library makes a visitor's component anew after updates; made without its metaclass, which would
    write a file beside this one.
    """
    own = {
        "preprocess": lambda _, payload: payload.path if payload and payload.path else None,
        "__module__": component.__module__,
    }
    return ABCMeta.__new__(type(component), component.__name__, (component,), own)


def take_photo(bench: Bench, picture: Any, state: Any, *, given: str) -> Any:
    """Let an upload be taken in: shown as it was written anew, or refused with a sentence. Returns the event.

    given: what is said when it is there.
    """
    import gradio as gr

    def take(upload: str | None, request: gr.Request) -> list[Any]:
        if not upload:
            return [gr.skip(), gr.skip()]
        try:
            return [str(bench.visits.take(str(request.session_hash), upload)), status(given, 0.0)]
        except Exception as error:
            return [None, status(excuse(error), 0.0, bad=True)]

    taken = picture.upload(take, picture, [picture, state], queue=False, **QUICK)
    taken.failure(None, None, state, js=f"async () => (await ({FAILED})())[0]", **QUICK)
    return taken


def take_files(bench: Bench, files: Any, shown: Sequence[Any], look: Callable[[Sequence[str]], list[Any]]) -> list[Any]:
    """Let several uploads be taken in; what cannot be read is left out and told, above what `look` says of the rest.

    shown: where HTML stands, then further components; `look` returns a value for each. Returns the events.
    """
    import gradio as gr

    def take(uploads: list[str] | None, request: gr.Request) -> list[Any]:
        session, kept, lines = str(request.session_hash), [], []
        for upload in uploads or []:
            try:
                kept.append(str(_own_or_new(bench, session, upload)))
            except DataError as error:
                lines.append(f"<p>⚠ {html.escape(excuse(error))}</p>")
        said, *more = "", *[None] * (len(shown) - 1)
        try:
            if kept:
                said, *more = look(kept)
        except Exception as error:
            said = f"<p>⚠ {html.escape(excuse(error))}</p>"
        return [kept or None, "".join(lines) + said, *more]

    taken = files.upload(take, files, [files, *shown], queue=False, **QUICK)
    taken.failure(None, None, shown[0], js=f"async () => (await ({FAILED})())[0]", **QUICK)
    return [
        taken,
        *(event(take, files, [files, *shown], queue=False, **QUICK) for event in (files.delete, files.clear)),
    ]


def take_loras(
    bench: Bench, files: Any, base: Any, state: Any, rows: Sequence[Any], rows_of: Callable[[Any], list[Any]]
) -> None:  # fmt: skip
    """Let LoRA files be taken in: each becomes a row of the visit's subjects, or is refused with a sentence."""

    import gradio as gr

    def take(uploads: list[str] | None, chosen: str, request: gr.Request) -> list[Any]:
        session, lines, others, added = str(request.session_hash), [], [], 0
        for upload in uploads or []:
            try:
                label = add_lora(bench, session, upload, chosen)
                added += 1
                fits = bench.visits[session].bases[label]
                others += [] if chosen in fits else [f" {label} fits {' or '.join(fits)}, not {chosen}."]
            except Exception as error:
                lines.append(excuse(error))
        said = "; ".join(lines) or f"{counted(added, 'LoRA file')} added; each has a row with its weight."
        said += "".join([*others, " Choose that base model first."] if others else [])
        return [None, status(said, 0.0, bad=bool(lines or others)), *rows_of(bench.visits.get(session))]

    taken = files.upload(take, [files, base], [files, state, *rows], queue=False, **QUICK)
    taken.failure(None, None, state, js=f"async () => (await ({FAILED})())[0]", **QUICK)


def add_lora(bench: Bench, session: str, upload: str, chosen: str) -> str:
    """Put a LoRA file that was uploaded on a visitor's list, if it fits a base model of the page; return its name.

    chosen: the one that the message is about where it fits none.

    Raises:
        DataError, ModelError: what is wrong with it.
    """
    from personagen.models.config import refuse_pickle

    visit = bench.visits[session]
    if len(visit.subjects) >= MOST_ROWS:
        raise DataError(
            f"{MOST_ROWS} subjects and LoRA files are as many as a visit holds; delete your data to begin anew"
        )
    refuse_pickle(Path(upload).name)
    fits: list[str] = []
    kept = bench.visits.keep(session, upload, lambda path: fits.extend(bench.bases.fitting(path, chosen)))
    return visit.add(kept.stem, kept, tuple(fits))


def _own_or_new(bench: Bench, session: str, upload: str) -> Any:
    try:
        return bench.visits[session].own(upload)  # it was given before
    except DataError:
        return bench.visits.take(session, upload)
