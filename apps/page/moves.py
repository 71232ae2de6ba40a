"""From one tab into another, with everything filled in: a garment of a look to try on or to be painted in."""

from collections.abc import Mapping, Sequence
from typing import Any

from personagen.provenance import write_png
from personagen.styling.catalog import garment_phrase

from .generate_tab import rows, rows_of
from .masks import find_after
from .shared import QUICK, Bench, excuse, status
from .visits import Visit

PRESS = {"wear": "Try on", "turn": "Turn (3D)"}
"""What a card's button asks for, and the button of the tab Try on that does it."""


def connect(bench: Bench, tabs: Any, looks: Mapping[str, Any], tryon: Mapping[str, Any], words: Mapping[str, Any],
            teach: Mapping[str, Any]) -> None:  # fmt: skip
    """Let the buttons of a look's card, and of a subject that was learnt, lead into the tabs Try on and Generate."""
    import gradio as gr

    sliders = rows(dict(words))
    outputs = [
        tabs, looks["state"], tryon["person"], tryon["garment"], tryon["kind"], tryon["state"], words["prompt"],
        words["state"], words["base"], *sliders,
    ]  # fmt: skip

    def move(photo: str | None, event: gr.EventData, request: gr.Request) -> list[Any]:
        session, keep = str(request.session_hash), [gr.skip()] * len(outputs)
        visit = bench.visits[session]
        try:
            item, prompt = visit.shown[int(event.at)]
            if event.act in PRESS:
                return [*_to_tryon(gr, bench, session, item, photo, PRESS[event.act]), *keep[6:]]
            return [gr.Tabs(selected="generate"), *keep[1:6], *_to_words(visit, prompt)]
        except (IndexError, AttributeError, TypeError, ValueError) as error:
            return [gr.skip(), status(excuse(error), 0.0, bad=True), *keep[2:]]

    moved = looks["board"].click(move, looks["photo"], outputs, queue=False, **QUICK)
    find_after(gr, bench, dict(tryon), moved.success)

    def use(request: gr.Request) -> list[Any]:
        visit = bench.visits[str(request.session_hash)]
        said = next(reversed(visit.phrases.values()), "")
        line = status(f"Write more after “{said}”, such as where and in what, then press Paint.", 0.0)
        return [gr.Tabs(selected="generate"), said, line, *base_and_rows(visit)]

    teach["use"].click(use, None, [tabs, words["prompt"], words["state"], words["base"], *sliders], **QUICK)


def _to_tryon(gr: Any, bench: Bench, session: str, item: int, photo: str | None, press: str) -> list[Any]:
    """Fill the Try on tab with an item of the catalogue, and the photo that was given to the looks, if any."""
    catalog = bench.shop(session)[0].source.catalog
    visit = bench.visits[session]
    garment = visit.know(write_png(catalog[item].image, visit.place("garment", ".png")))
    person = gr.skip() if photo is None else str(visit.own(photo))
    what = garment_phrase(catalog.words(item))
    kind = catalog.words(item)["kind"]
    asks = f" Press {press}." if photo is not None else f" Give a photo of yourself, then press {press}."
    text = f"{what[0].upper()}{what[1:]} is in its place.{asks}"
    return [gr.Tabs(selected="tryon"), gr.skip(), person, str(garment), kind, status(text, 0.0)]


def base_and_rows(visit: Visit) -> list[Any]:
    """Return the base model on which a visitor's last subject was learnt, and the rows, those that do not fit at 0."""
    import gradio as gr

    shown, fits = rows_of(visit), visit.bases.get(next(reversed(visit.phrases), ""), ())
    if not fits:
        return [gr.skip(), *shown]
    for at, name in enumerate(list(visit.subjects)[: len(shown)]):
        if fits[0] not in visit.bases.get(name, fits):
            shown[at] = {**shown[at], "value": 0}
    return [fits[0], *shown]


def _to_words(visit: Visit, prompt: str) -> Sequence[Any]:
    """Fill the Generate tab with the prompt of a look, said of the visitor's person where one is taught."""
    taught = next(reversed(visit.phrases.values()), "")
    said = prompt.replace("a person", taught, 1) if taught else prompt
    text = f"Press Paint: it shows {taught}." if taught else (
        "Press Paint. It shows anybody: under Teach you can teach yourself, as a person.")  # fmt: skip
    return [said, status(text, 0.0), *base_and_rows(visit)]
