"""The page's tab for try-on: a person's photo, a garment or an outfit, and a mask that can be painted.

`build_tab` draws it inside the page of `app`. Uploads are read and written anew at once (`uploads`); nothing is sent
anywhere.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from personagen.images import load_image
from personagen.person.body import Body
from personagen.provenance import Parameters, sampling_settings, versions, write_png
from personagen.schedulers import sampler_of
from personagen.styling.studio import Studio
from personagen.tryon.dress import Piece, cut_from_photos, dress
from personagen.tryon.trust import Trust, lowest
from recsys.errors import SEEDS, DataError, check_range

from . import examples
from .board import board, worn
from .editor import mask_editor, strokes_of
from .kinds import GARMENTS, KINDS_OF, MORE, kinds_list, read_pieces
from .line import PICTURE
from .live import Pace, Steps, coming_of, coming_place, live, passed_on
from .masks import find_after, painted_or_found
from .settings import PAGE, Kept, digest, same
from .shared import (
    FORMATS,
    QUICK,
    Bar,
    Bench,
    Shown,
    Task,
    command_box,
    number,
    offer,
    side_by_side,
    state_line,
    status,
    stop_button,
    wire,
)
from .turn import connect_turn, turn_widgets
from .uploads import photo, take_photo

HINT = (
    "Photos are read on this machine alone and kept without place and camera, until you leave the page or delete your "
    f"data. Use photos of yourself, or of someone who agreed. {FORMATS}."
)
UNJUDGED = " How far to trust it is told of masks that were found, not of painted ones."
ASK = "Give a photo of a person and one of a garment."


FIELDS = ("kind", "steps", "guidance", "mask_expand", "seed", "cut_out")
"""The command's names of the settings, in the order in which handlers take them."""


def build_tab(bench: Bench) -> tuple[Kept, dict[str, Any]]:
    """Draw the tab's components into the open gradio context, connect them, return what travels and the components."""
    import gradio as gr

    widgets = side_by_side(gr, lambda gr: _controls(gr, bench.folder), _board)
    kept = Kept(
        "tryon", "tryon wear", {name: widgets[name] for name in FIELDS},
        {name: widgets[name] for name in ("person", *GARMENTS)}, (),
        {name: widgets[name] for name in (f"kind-{at}" for at in range(MORE))},
    )  # fmt: skip
    _wire(gr, bench, widgets, kept)
    return kept, widgets


def _controls(gr: Any, folder: Path) -> dict[str, Any]:
    widgets: dict[str, Any] = {}
    gr.Markdown(HINT, elem_id="wear-hint")
    with gr.Row():
        widgets["person"] = photo("A person, standing, whole", "wear-person")
        widgets["garment"] = photo("A garment, on a plain background", "wear-garment")
    widgets["people"] = examples.shelf("Examples to click: people", examples.PEOPLE, folder, "wear-people")
    widgets["clothes"] = examples.shelf("and garments", examples.GARMENTS, folder, "wear-garments")
    widgets["kind"] = kinds_list(gr, "What the garment is", "wear-kind")
    with gr.Accordion("More garments of the outfit", open=False):
        for at in range(MORE):
            with gr.Row():
                widgets[f"garment-{at}"] = photo(f"Garment {at + 2}", f"wear-garment-{at + 2}")
                widgets[f"kind-{at}"] = kinds_list(gr, "What it is", f"wear-kind-{at + 2}", min_width=140)
    with gr.Accordion("Settings", open=False):
        widgets["steps"] = gr.Slider(1, 50, value=8, step=1, label="Steps", elem_id="wear-steps")
        widgets["guidance"] = gr.Slider(1, 5, value=1.5, step=0.1, label="Guidance")
        widgets["mask_expand"] = gr.Slider(
            0, 4, value=1, step=0.1, label="Mask beyond the old garment", elem_id="wear-expand"
        )
        widgets["seed"] = gr.Number(0, label="Seed", precision=0, elem_id="wear-seed")
        widgets["cut_out"] = gr.Checkbox(True, label="Cut the garment out of its photo")
    with gr.Row():
        widgets["go"] = gr.Button("Try on", variant="primary", elem_id="wear-go")
        widgets["stop"] = gr.Button("Cancel", interactive=False, elem_id="wear-stop")
    return widgets


def _board(gr: Any) -> dict[str, Any]:
    return {
        "state": state_line(ASK, "wear-state"),
        "preview": coming_place(gr, "wear-preview"),
        "result": board("wear-result"),
        "download": gr.HTML(elem_id="wear-download"),
        **turn_widgets(gr),
        "editor": mask_editor("wear-mask"),
        "strokes": gr.State(None),
        "command": command_box("wear-command"),
    }  # fmt: skip


def _wire(gr: Any, bench: Bench, widgets: dict[str, Any], kept: Kept) -> None:
    bar = Bar(widgets["state"], widgets["go"], widgets["stop"], "wear", also=(widgets["turn"],))
    taken = take_photo(bench, widgets["person"], bar.state, given="Looking for what may be repainted …")
    sat = widgets["people"].click(_example(bench), None, [widgets["person"], bar.state], **QUICK)
    widgets["clothes"].click(_example(bench), None, [widgets["garment"], bar.state, widgets["kind"]], **QUICK)
    changed = [widgets[name].change for name in KINDS_OF]
    for event in (
        taken.success, sat.success, widgets["person"].clear, *changed, widgets["mask_expand"].release,
        *(widgets[name].clear for name in GARMENTS[1:]),
    ):  # fmt: skip
        find_after(gr, bench, widgets, event)
    for name in GARMENTS:
        given = take_photo(bench, widgets[name], bar.state, given="The garment is there; press Try on.")
        find_after(gr, bench, widgets, given.success, auto=name == "garment")
    wire(
        bench, bar, button=widgets["go"], rank=PICTURE, work=wear(bench, kept),
        inputs=[*kept.fields.values(), *kept.own.values(), *kept.photos.values(), widgets["editor"]],
        outputs=[widgets[name] for name in ("preview", "result", "download", "command")], first="Dressing …",
        clear=["", *[gr.skip()] * 3], left=lambda visit, job: ["", *[gr.skip()] * 3],
    )  # fmt: skip
    garments = [widgets[name.replace("garment", part)] for name in GARMENTS for part in ("garment", "kind")]
    connect_turn(bench, widgets, garments)
    stop_button(bench, bar)


def _example(bench: Bench) -> Callable[..., list[Any]]:
    """Put an example into its place: a person, or a garment with its kind."""
    import gradio as gr

    def give(event: gr.EventData, request: gr.Request) -> list[Any]:
        visit = bench.visits[str(request.session_hash)]
        name = examples.asked(event, [*examples.PEOPLE, *examples.GARMENTS])
        given = examples.given(visit, name)
        if name in examples.PEOPLE:
            return [given, status("Looking for what may be repainted …", 0.0)]
        return [given, status("The garment is there; press Try on.", 0.0), examples.KINDS[name]]

    return give


def wear(bench: Bench, kept: Kept) -> Callable[..., Iterator[Shown]]:
    """Return what *Try on* does."""
    import gradio as gr

    studio = bench.studio

    def work(task: Task, *values: Any) -> Iterator[Shown]:
        start, own = time.monotonic(), task.visit.own
        settings, photos, record = read_asked(kept, values)
        task.visit.remember(record)
        person = photos.pop("person")
        if person is None:
            raise DataError("there is no photo of a person; give one")
        kinds = [settings["kind"], *values[len(FIELDS) : len(FIELDS) + MORE]]
        asked = [one for pair in zip(photos.values(), kinds, strict=True) for one in pair]
        pieces, found = read_pieces(task.visit, asked, studio.parser)
        drawn = _by_kind(pieces, photos, record)
        command = same(kept, *_words(settings, drawn))
        yield "Reading the photo …", 0.0, [gr.skip(), "", "", command]
        image = load_image(own(person))
        body = painted_or_found(studio.parser, drawn, image, float(settings["mask_expand"]))
        dressing = live(lambda tell: _dress(studio, image, pieces, body, task, (settings, record, tell)), task.job.stop)
        *pair, whole, trust = yield from passed_on(dressing, [gr.skip()] * 4)
        text = f"Done in {time.monotonic() - start:.0f} s; outside the mask not a pixel has changed."
        text += f" The garment is {'; the next is '.join(found)}." if found else ""
        text += f" {trust}" if trust else UNJUDGED if any(drawn.values()) else ""
        if whole:
            text += f" The {' and the '.join(whole)} cannot be told from the background: a plainer photo is better."
        yield text, 1.0, ["", worn(*pair), offer(Path(pair[1]), "Save the picture"), gr.skip()]

    return work


def read_asked(kept: Kept, values: Sequence[Any]) -> tuple[dict[str, Any], dict[str, str | None], dict[str, Any]]:
    """Return the settings under the command's names, the photos' paths by name, and what the picture carries.

    Raises:
        ConfigError, DataError: what the message names.
    """
    first, second = len(kept.fields), len(kept.fields) + len(kept.own)
    settings = kept.settings(values[:first])
    settings["seed"] = number(settings.get("seed"), "the seed")
    check_range(steps=(settings["steps"], 1, 1000), guidance=(settings["guidance"], 1, 30))
    check_range(seed=(settings["seed"], *SEEDS))
    photos = dict(zip(kept.photos, values[second:-1], strict=True))
    own = dict(zip(kept.own, values[first:second], strict=True))
    there = {name: digest(path) for name, path in photos.items() if path and Path(path).is_file()}
    drawn = zip(GARMENTS, strokes_of(values[-1], len(GARMENTS)), strict=True)
    strokes = [one if photos[name] else None for name, one in drawn]
    return settings, photos, kept.record(settings, own=own, photos=there, strokes=strokes if any(strokes) else None)


def _by_kind(pieces: list[Piece], photos: Mapping[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """Return the strokes on the mask of each garment that was given, None where nobody painted, by its kind."""
    strokes = strokes_of(record[PAGE]["strokes"], len(GARMENTS))
    drawn = [one for one, path in zip(strokes, photos.values(), strict=True) if path]
    return {piece.kind: one for piece, one in zip(pieces, drawn, strict=True)}


def _words(settings: dict[str, Any], drawn: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what `same` needs: settings, then the files that the command is given; drawn: as of `_by_kind`."""
    files, painted = ["--person", "YOUR-PHOTO.jpg"], [kind for kind, strokes in drawn.items() if strokes]
    if len(drawn) > 1:
        settings = {name: value for name, value in settings.items() if name != "kind"}
        files += ["--outfit", json.dumps({kind: f"GARMENT-{at}.jpg" for at, kind in enumerate(drawn, 1)})]
        files += ["--masks", json.dumps({kind: f"MASK-{kind}.png" for kind in painted})] if painted else []
    else:
        files += ["--garment", "GARMENT.jpg", *(["--mask", "PAINTED-MASK.png"] if painted else [])]
    return settings, *files


def _dress(
    studio: Studio, person: Image.Image, pieces: list[Piece], body: Body, task: Task,
    asked: tuple[dict[str, Any], dict[str, Any], Callable[[Any], None]],
) -> tuple[str, str, list[str], str]:  # fmt: skip
    """Put the pieces on; write before.png and worn.png to the job's folder. Tells lines, parts done, what is coming.

    Returns their paths, the kinds that could not be cut out, and a line about trust.
    """
    settings, record, tell = asked
    steps, guidance, seed = int(settings["steps"]), float(settings["guidance"]), int(settings["seed"])
    pace, whole, trusts = Pace(steps * len(pieces)), list[str](), list[Trust]()

    def seen(pipeline: Any, step: int, latents: Any) -> None:
        part = pace.step()
        which = f"garment {min(len(pieces), 1 + (pace.done - 1) // steps)} of {len(pieces)}, " if pieces[1:] else ""
        coming = coming_of(pipeline, latents, step, steps)
        tell((f"Painting: {which}step {step} of {steps}{pace.left()}", 0.1 + 0.9 * part, coming))

    tell(("Loading the model …", 0.0))
    pipeline = Steps(studio.tryon, task.turn.stopped, seen)
    if settings.get("cut_out"):
        tell(("Cutting the garment out of its photo …", 0.05))
        pieces, whole = cut_from_photos(pieces, pipeline, parser=studio.parser)
    tell(("Taking the old garment off …", 0.08))
    image = dress(
        pipeline, person, body, pieces, mask_expand=float(settings["mask_expand"]), num_inference_steps=steps,
        guidance_scale=guidance, judge=trusts.append, generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    size, sampler = (image.height, image.width), sampler_of(pipeline)
    sampled = sampling_settings(steps=steps, sampler=sampler, guidance=guidance, seed=seed, size=size)
    said = {"kind": "tryon", "outfit": [piece.kind for piece in pieces], "seed": seed, "versions": versions(), **record}
    before = write_png(person, task.job.folder / "before.png")
    after = write_png(image, task.job.folder / "worn.png", record=said,
                      parameters=Parameters("a person wearing a garment", settings=sampled))  # fmt: skip
    return str(before), str(after), whole, lowest(trusts)
