"""What is repainted in a photo: masks that are found for the garments of an outfit, and what visitors paint on them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from PIL import Image

from personagen.images import load_image
from personagen.person.body import Body
from personagen.person.masks import check_mask
from personagen.person.parser import Parser
from personagen.person.reading import read_person
from personagen.warping.garment_kind import AUTO
from recsys.errors import DataError

from .editor import painted, shown
from .kinds import GARMENTS, KINDS_OF, UNTIL, called, found_kind, told
from .line import MASK
from .shared import FAILED, QUICK, Bench, excuse, status
from .visits import Visit


def find_after(
    gr: Any, bench: Bench, widgets: dict[str, Any], event: Callable[..., Any], *, auto: bool = False
) -> None:
    """Let kinds and masks be found after an event; strokes that a dropped picture brought are laid on them.

    auto: only where the first kind is to be found.
    """
    asked = [widgets[name] for name in ("person", "mask_expand", "strokes", *GARMENTS, *KINDS_OF)]
    shown = [widgets[name] for name in ("state", "editor", "strokes", *KINDS_OF)]
    found = event(_find_handler(gr, bench, auto=auto), asked, shown, concurrency_limit=None, **QUICK)
    found.failure(None, None, widgets["state"], js=f"async () => (await ({FAILED})())[0]", **QUICK)


def _find_handler(gr: Any, bench: Bench, *, auto: bool) -> Callable[..., Iterator[list[Any]]]:
    """Show the photo with the masks that were found, ready to be painted on, and what the garments were taken for."""
    nothing = [gr.skip()] * (3 + len(GARMENTS))

    def find(session: str, person: str | None, expand: float, strokes: Any, *given: Any) -> Iterator[list[Any]]:
        garments, kinds = given[: len(GARMENTS)], list(given[len(GARMENTS) :])
        if kinds[0] != AUTO and auto:
            yield nothing
            return
        unknown = [kind == AUTO and garment is not None for garment, kind in zip(garments, kinds, strict=True)]
        if person is None and not any(unknown):  # nothing to look at takes no place in the line
            yield [gr.skip(), None, None, *[gr.update(info="")] * len(GARMENTS)]
            return
        with bench.visits.working(session) as visit, bench.line.join(MASK, Event()) as turn:
            for text in turn.wait():
                yield [status(text, 0.0), *nothing[1:]]
            named = [_named(bench, visit, garment, kind) for garment, kind in zip(garments, kinds, strict=True)]
            infos = [gr.update(info=info) for _, info in named]
            if person is None:
                yield [gr.skip(), None, None, *infos]
                return
            there = [True, *(garment is not None for garment in garments[1:])]  # the first has a mask to begin with
            worn = [kind if one else None for (kind, _), one in zip(named, there, strict=True)]
            line, editor = _masked(bench, visit, person, worn, float(expand), strokes)
            yield [line, editor, None, *infos]

    def safe(
        request: gr.Request, person: str | None, expand: float, strokes: Any, *given: Any
    ) -> Iterator[list[Any]]:  # fmt: skip
        try:
            yield from find(str(request.session_hash), person, expand, strokes, *given)
        except Exception as error:  # too many wait
            yield [status(excuse(error), 0.0, bad=True), *nothing[1:]]

    return safe


def _named(bench: Bench, visit: Visit, garment: str | None, kind: str) -> tuple[str, str]:
    """Find the kind of a garment where it is to be found; return it, and what to say of it below the list."""
    if kind != AUTO:
        return kind, ""
    if garment is None:
        return UNTIL, ""
    try:
        found = found_kind(visit, garment, bench.studio.parser)
        return found.kind, told(found)
    except Exception as error:
        return UNTIL, excuse(error)


def _masked(
    bench: Bench, visit: Visit, person: str, kinds: Sequence[str | None], expand: float, strokes: Any
) -> tuple[str, Any]:
    """Find the masks of an outfit in a photo; return the line about the first, and the editor's value.

    kinds: of each place, None where there is no garment.
    """
    image, given = None, Path(person)
    try:
        given = visit.own(person)
        image = load_image(given)
        reading = read_person(image, bench.studio.parser)
        first = reading.body.mask(str(kinds[0]), expand=expand)
        masks = [(called(kind), _kept(visit, _found(reading.body, kind, expand))) if kind else None for kind in kinds]
        text = f"{first.mean():.0%} of the photo may be repainted; paint or erase where the mask is wrong."
        text += f" Note: {_without_flag(reading.note)}." if reading.note else ""
        return status(text, 0.0), shown(given, masks, strokes)
    except Exception as error:
        blank = None
        if image is not None and hasattr(error, "exit_code"):
            empty = _kept(visit, np.zeros((image.height, image.width), bool))
            blank = shown(given, [(called(kind), empty) if kind else None for kind in kinds], strokes)
        return status(excuse(error), 0.0, bad=True), blank


def _kept(visit: Visit, mask: np.ndarray) -> Path:
    """Write a mask into the visitor's folder, so that it goes when the visitor does."""
    path = visit.place("mask", ".png")
    Image.fromarray(mask).save(path)
    return path


def _without_flag(note: str) -> str:
    """A line about several people, for a page that has no flags: there the photo is cut."""
    return note.replace("--box left,top,right,bottom chooses another", "cut the photo to choose another")


def painted_or_found(parser: Parser, strokes: Mapping[str, Any], person: Image.Image, expand: float) -> Body:
    """Take the masks as they were found, with what was painted and erased on them, in the photo's own pixels.

    strokes: of each garment, by its kind; None where nobody painted.

    Raises:
        DataError: nothing is marked, or all of the photo.
    """
    body = read_person(person, parser, masked=True).body
    for kind, one in strokes.items():
        found = _found(body, kind, expand)
        mask = painted(one, found)
        if mask is None and found.any():
            continue
        mask = found if mask is None else mask
        check_mask(mask, name="the mask")
        body = body.with_mask(kind, mask)
    return body


def _found(body: Body, kind: str, expand: float) -> np.ndarray:
    """Return the mask that is found for a kind, (H, W); an empty one where there is none: all of it is painted."""
    with suppress(DataError):
        return body.mask(kind, expand=expand)
    return np.zeros(body.parts.shape[:2], bool)
