"""The page's tab for try-on: a person's photo, a garment or an outfit, and a mask that can be painted.

`build_tab` draws it inside the page of `app`. Uploads are read and written anew at once (`uploads`); nothing is sent
anywhere.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import torch
from PIL import Image

from personagen.images import PALEST, load_image
from personagen.person.body import Body
from personagen.person.masks import check_mask
from personagen.person.parser import Parser
from personagen.person.reading import read_person
from personagen.provenance import Parameters, sampling_settings, versions, write_png
from personagen.schedulers import sampler_of
from personagen.styling.studio import Studio, Watched
from personagen.tryon.dress import Piece, cut_from_photos, dress, in_order
from personagen.tryon.trust import Trust, lowest
from personagen.vocabulary import KINDS as VOCABULARY
from recsys.errors import SEEDS, DataError, check_range

from .editor import mask_editor, painted, shown
from .line import MASK, PICTURE
from .shared import (
    FAILED,
    FORMATS,
    QUICK,
    Bar,
    Bench,
    Shown,
    Task,
    excuse,
    number,
    side_by_side,
    status,
    stop_button,
    wire,
)
from .turn import connect_turn, turn_widgets
from .uploads import photo, take_photo
from .visits import Visit

REGIONS_SHOWN = [
    ("a top", "upper"),
    ("trousers or a skirt", "lower"),
    ("a dress", "dress"),
    ("a coat, open or long", "outer"),
]
KINDS = [*REGIONS_SHOWN, *((f"more exactly: {kind}", kind) for kind in VOCABULARY if kind != "dress")]
"""Kinds as the command's --kind takes them."""
MORE = 2
"""Further garments of an outfit."""
HINT = (
    "Photos are read on this machine alone and kept without place and camera, until you leave the page or delete your "
    f"data. Use photos of yourself, or of someone who agreed. {FORMATS}."
)
ASK = "Give a photo of a person and one of a garment."


def build_tab(bench: Bench) -> None:
    """Draw the tab's components into the open gradio context and connect them."""
    import gradio as gr

    _wire(gr, bench, side_by_side(gr, _controls, _board))


def _controls(gr: Any) -> dict[str, Any]:
    widgets: dict[str, Any] = {}
    gr.Markdown(HINT, elem_id="wear-hint")
    with gr.Row():
        widgets["person"] = photo("A person, standing, whole", "wear-person")
        widgets["garment"] = photo("A garment, on a plain background", "wear-garment")
    widgets["kind"] = gr.Dropdown(KINDS, value="upper", label="What the garment is", elem_id="wear-kind")
    with gr.Accordion("More garments of the outfit", open=False):
        for at in range(MORE):
            with gr.Row():
                widgets[f"garment-{at}"] = photo(f"Garment {at + 2}", f"wear-garment-{at + 2}")
                widgets[f"kind-{at}"] = gr.Dropdown(KINDS, value=KINDS[1 - at][1], label="What it is", min_width=140)
    with gr.Accordion("Settings", open=False):
        widgets["steps"] = gr.Slider(1, 50, value=8, step=1, label="Steps", elem_id="wear-steps")
        widgets["guidance"] = gr.Slider(1, 5, value=1.5, step=0.1, label="Guidance")
        widgets["expand"] = gr.Slider(0, 4, value=1, step=0.1, label="Mask beyond the old garment")
        widgets["seed"] = gr.Number(0, label="Seed", precision=0, elem_id="wear-seed")
        widgets["cut"] = gr.Checkbox(True, label="Cut the garment out of its photo")
    with gr.Row():
        widgets["go"] = gr.Button("Try on", variant="primary", elem_id="wear-go")
        widgets["stop"] = gr.Button("Cancel", interactive=False, elem_id="wear-stop")
    return widgets


def _board(gr: Any) -> dict[str, Any]:
    return {
        "state": gr.HTML(status(ASK, 0.0), elem_id="wear-state"),
        "slider": gr.ImageSlider(
            label="Before and after", format="png", type="filepath", interactive=False, visible=False,
            buttons=["download", "fullscreen"], elem_id="wear-result",
        ),
        **turn_widgets(gr),
        "editor": mask_editor("wear-mask"),
    }  # fmt: skip


def _wire(gr: Any, bench: Bench, widgets: dict[str, Any]) -> None:
    bar = Bar(widgets["state"], widgets["go"], widgets["stop"], "wear", also=(widgets["turn"],))
    asked = [widgets["person"], widgets["kind"], widgets["expand"]]
    taken = take_photo(bench, widgets["person"], bar.state, given="Looking for what may be repainted …")
    for event in (taken.success, widgets["person"].clear, widgets["kind"].change, widgets["expand"].release):
        found = event(_find_handler(gr, bench), asked, [bar.state, widgets["editor"]], concurrency_limit=None, **QUICK)
        found.failure(None, None, bar.state, js=f"async () => (await ({FAILED})())[0]", **QUICK)
    pictures = ["garment", *(f"garment-{at}" for at in range(MORE))]
    for name in pictures:
        take_photo(bench, widgets[name], bar.state, given="The garment is there; press Try on.")
    garments = [widgets[name.replace("garment", part)] for name in pictures for part in ("garment", "kind")]
    settings = [widgets[name] for name in ("steps", "guidance", "expand", "seed", "cut")]
    wire(
        bench, bar, button=widgets["go"], rank=PICTURE, work=_wear(bench),
        inputs=[widgets["person"], widgets["editor"], *settings, *garments], outputs=[widgets["slider"]],
        first="Dressing …",
    )  # fmt: skip
    connect_turn(bench, widgets, garments)
    stop_button(bench, bar)


def _find_handler(gr: Any, bench: Bench) -> Callable[..., Iterator[list[Any]]]:
    """Show the photo with the mask that was found, ready to be painted on."""

    def find(person: str | None, kind: str, expand: float, request: gr.Request) -> Iterator[list[Any]]:
        if person is None:
            yield [gr.skip(), None]
            return
        session, image, given = str(request.session_hash), None, Path(person)
        try:
            with bench.visits.working(session) as visit, bench.line.join(MASK, Event()) as turn:
                for text in turn.wait():
                    yield [status(text, 0.0), gr.skip()]
                given = visit.own(person)
                image = load_image(given)
                reading = read_person(image, bench.studio.parser)
                mask = reading.body.mask(kind, expand=float(expand))
                text = f"{mask.mean():.0%} of the photo may be repainted; paint or erase where the mask is wrong."
                text += f" Note: {_without_flag(reading.note)}." if reading.note else ""
                yield [status(text, 0.0), shown(given, _kept(visit, mask))]
        except Exception as error:
            blank = None
            if image is not None and hasattr(error, "exit_code"):
                nothing = np.zeros((image.height, image.width), bool)
                blank = shown(given, _kept(bench.visits[session], nothing))
            yield [status(excuse(error), 0.0, bad=True), blank]

    return find


def _kept(visit: Visit, mask: np.ndarray) -> Path:
    """Write a mask into the visitor's folder, so that it goes when the visitor does."""
    path = visit.place("mask", ".png")
    Image.fromarray(mask).save(path)
    return path


def _without_flag(note: str) -> str:
    """A line about several people, for a page that has no flags: there the photo is cut."""
    return note.replace("--box left,top,right,bottom chooses another", "cut the photo to choose another")


def _wear(bench: Bench) -> Callable[..., Iterator[Shown]]:
    import gradio as gr

    def wear(
        task: Task, person: str | None, drawn: dict | None, steps: int, guidance: float, expand: float, seed: int,
        cut: bool, *garments: Any,
    ) -> Iterator[Shown]:  # fmt: skip
        start, studio = time.monotonic(), bench.studio
        if person is None:
            raise DataError("there is no photo of a person; give one")
        files = [value if at % 2 or value is None else task.visit.own(value) for at, value in enumerate(garments)]
        pieces, image = read_pieces(files), load_image(task.visit.own(person))
        body = _painted_or_found(studio.parser, drawn, image, pieces[0].kind, float(expand))
        settings = (int(steps), float(guidance), number(seed, "the seed"), cut, float(expand))
        *pair, whole, trust = _dress(studio, image, pieces, body, task, settings)
        text = f"Done in {time.monotonic() - start:.0f} s; outside the mask not a pixel has changed."
        text += f" {trust}" if trust else ""
        if whole:
            text += f" The {' and the '.join(whole)} cannot be told from the background: a plainer photo is better."
        yield text, 1.0, [gr.update(value=tuple(pair), visible=True)]

    return wear


def _painted_or_found(parser: Parser, edited: Any, person: Image.Image, kind: str, expand: float) -> Body:
    """Take the mask as it was found, with what was painted and erased on it, in the photo's own pixels.

    Raises:
        DataError: nothing is marked, or all of the photo.
    """
    body = read_person(person, parser, masked=True).body
    found = np.zeros((person.height, person.width), bool)
    with suppress(DataError):  # nothing found: all of it is painted
        found = body.mask(kind, expand=expand)
    mask = painted(edited, found)
    if mask is None and found.any():
        return body
    mask = found if mask is None else mask
    check_mask(mask, name="the mask")
    return body.with_mask(kind, mask)


def _dress(
    studio: Studio, person: Image.Image, pieces: list[Piece], body: Body, task: Task,
    settings: tuple[int, float, int, bool, float],
) -> tuple[str, str, list[str], str]:  # fmt: skip
    """Put the pieces on; write before.png and after.png to the job's folder.

    Returns their paths, the kinds that could not be cut out, and a line about trust.
    """
    steps, guidance, seed, cut, expand = settings
    check_range(steps=(steps, 1, 1000), guidance=(guidance, 1, 30), seed=(seed, *SEEDS))
    pipeline = Watched(studio.tryon, task.turn.stopped)
    whole: list[str] = []
    trusts: list[Trust] = []
    if cut:
        pieces, whole = cut_from_photos(pieces, pipeline, parser=studio.parser)
    image = dress(
        pipeline, person, body, pieces, mask_expand=expand, num_inference_steps=steps, guidance_scale=guidance,
        judge=trusts.append, generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    size, sampler = (image.height, image.width), sampler_of(pipeline)
    sampled = sampling_settings(steps=steps, sampler=sampler, guidance=guidance, seed=seed, size=size)
    record = {"kind": "tryon", "outfit": [piece.kind for piece in pieces], "seed": seed, "versions": versions()}
    before = write_png(person, task.job.folder / "before.png")
    after = write_png(image, task.job.folder / "after.png", record=record,
                      parameters=Parameters("a person wearing a garment", settings=sampled))  # fmt: skip
    return str(before), str(after), whole, lowest(trusts)


def read_pieces(garments: Sequence[Any]) -> list[Piece]:
    """Read (path, kind, path, kind, …), the first one given; later places may be empty (None).

    Raises:
        DataError: the first is missing or a picture cannot be read.
        ConfigError: an outfit that cannot be worn.
    """
    if garments[0] is None:
        raise DataError("there is no photo of a garment; give one")
    pairs = zip(garments[::2], garments[1::2], strict=True)
    pieces = [Piece(load_image(path, palest=PALEST), kind) for path, kind in pairs if path is not None]
    in_order(pieces)
    return pieces
