"""Pictures that visitors give: read at once, written anew without tags into their own folder, the upload removed."""

import html
from collections.abc import Callable, Sequence
from typing import Any

from recsys.errors import DataError

from .shared import FAILED, QUICK, Bench, excuse, status


def photo(placeholder: str, elem_id: str | None = None, *, height: int = 240) -> Any:
    """Draw a place for a photo, which hands an upload on unread, so that what is wrong with it is said by us."""
    import gradio as gr

    place = gr.Image(
        type="filepath", image_mode=None, sources=["upload", "clipboard"], buttons=[], show_label=False, min_width=140,
        height=height, placeholder=placeholder, elem_id=elem_id, interactive=True,
    )  # fmt: skip
    place.preprocess = lambda payload: payload.path if payload and payload.path else None  # a subclass writes files
    return place


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


def take_files(bench: Bench, files: Any, verdict: Any, look: Callable[[Sequence[str]], str]) -> None:
    """Let several uploads be taken in; what cannot be read is left out and told, above what `look` says of the rest."""
    import gradio as gr

    def take(uploads: list[str] | None, request: gr.Request) -> list[Any]:
        session, kept, lines = str(request.session_hash), [], []
        for upload in uploads or []:
            try:
                kept.append(str(_own_or_new(bench, session, upload)))
            except DataError as error:
                lines.append(f"<p>⚠ {html.escape(excuse(error))}</p>")
        try:
            said = look(kept) if kept else ""
        except Exception as error:
            said = f"<p>⚠ {html.escape(excuse(error))}</p>"
        return [kept or None, "".join(lines) + said]

    taken = files.upload(take, files, [files, verdict], queue=False, **QUICK)
    taken.failure(None, None, verdict, js=f"async () => (await ({FAILED})())[0]", **QUICK)
    for event in (files.delete, files.clear):
        event(take, files, [files, verdict], queue=False, **QUICK)


def _own_or_new(bench: Bench, session: str, upload: str) -> Any:
    try:
        return bench.visits[session].own(upload)  # it was given before
    except DataError:
        return bench.visits.take(session, upload)
