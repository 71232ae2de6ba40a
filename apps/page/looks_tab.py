"""The page's tab for looks: choose a person or describe one, then make their looks and scenes."""

import html
import re
import secrets
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from personagen.provenance import write_png
from personagen.styling.catalog import Catalog, garment_phrase
from personagen.styling.config import StyleConfig
from personagen.styling.studio import Order, Studio
from personagen.styling.stylist import Look
from personagen.vocabulary import counted
from recsys.errors import DataError

from .shared import HEAVY, Job, buttons, excuse, pack, status, stop_handler

MAX_LOOKS, MAX_SCENES = 8, 4
SLOTS = MAX_LOOKS + MAX_SCENES


def build_tab(studio: Studio, folder: Path) -> None:
    """Draw the tab's components into the open gradio context and connect them; pictures are written below `folder`."""
    import gradio as gr

    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320, elem_id="side"):
            controls = _controls(gr, studio, folder)
        with gr.Column(scale=5, min_width=320):
            state = gr.HTML(status("Choose someone, then press Make looks.", 0.0), elem_id="state")
            download = gr.DownloadButton("Download all (.zip)", visible=False, size="sm", elem_id="download")
            slots = _board(gr)
            with gr.Accordion("The same on the command line", open=False):
                command = gr.Code(language="shell", label="", lines=1, interactive=False, elem_id="command")
    _wire(studio, folder, controls, {"state": state, "slots": slots, "download": download, "command": command})


def _controls(gr: Any, studio: Studio, folder: Path) -> dict[str, Any]:
    words = studio.words()
    widgets: dict[str, Any] = {}
    with gr.Tabs():
        with gr.Tab("Choose a person", id="choose") as widgets["choose"]:
            widgets["user"] = gr.Dropdown(studio.people(), value="0", label="Person", elem_id="user", filterable=True)
        with gr.Tab("Describe one", id="describe") as widgets["describe"]:
            widgets["kinds"] = gr.Dropdown(
                words["kind"], label="Wears", multiselect=True, max_choices=4, elem_id="kinds"
            )
            widgets["colours"] = gr.Dropdown(words["colour"], label="Colours", multiselect=True, max_choices=4)
            widgets["pattern"] = gr.Dropdown(["any", *words["pattern"]], value="any", label="Pattern")
            widgets["scene"] = gr.Dropdown(["any", *words["scene"]], value="any", label="Place")
    widgets["history"] = gr.Gallery(
        studio.history_pictures(studio.history("0"), folder),
        label="Chosen before, latest last",
        columns=4,
        object_fit="contain",
        height="auto",
        format="png",
        interactive=False,
        buttons=["fullscreen"],
        elem_id="history",
    )
    widgets["looks"] = gr.Slider(1, MAX_LOOKS, value=4, step=1, label="Looks to try on", elem_id="looks")
    widgets["scenes"] = gr.Slider(0, MAX_SCENES, value=2, step=1, label="Scenes to paint", elem_id="scenes")
    with gr.Accordion("Settings", open=False):
        with gr.Row():
            widgets["seed"] = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1, elem_id="seed")
            widgets["dice"] = gr.Button("New seed", size="sm", elem_id="dice")
        widgets["steps"] = gr.Slider(1, 50, value=20, step=1, label="Steps of each scene", elem_id="steps")
    with gr.Row():
        widgets["go"] = gr.Button("Make looks", variant="primary", elem_id="go")
        widgets["stop"] = gr.Button("Cancel", interactive=False, elem_id="stop")
    return widgets


def _board(gr: Any) -> list[tuple[Any, Any, Any]]:
    """Places for looks, with a slider from before to after, then places for scenes: (column, picture, text) each."""
    slots = []
    still = {"format": "png", "type": "filepath", "show_label": False, "interactive": False}
    with gr.Row(elem_classes="board"):
        for at in range(SLOTS):
            name = f"look-{at}" if at < MAX_LOOKS else f"scene-{at - MAX_LOOKS}"
            with gr.Column(visible=False, elem_classes="look", min_width=195, elem_id=name) as box:
                kind = gr.ImageSlider if at < MAX_LOOKS else gr.Image
                picture = kind(**still, buttons=["download", "fullscreen"])
                text = gr.Markdown()
            slots.append((box, picture, text))
    return slots


def _wire(studio: Studio, folder: Path, widgets: dict[str, Any], shown: dict[str, Any]) -> None:
    import gradio as gr

    jobs: dict[str, Job] = {}
    mode = gr.State("choose")
    described = [widgets[name] for name in ("kinds", "colours", "pattern", "scene")]
    person = [mode, widgets["user"], *described]
    quick: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    for event in (widgets["user"].change, *(item.change for item in described), mode.change):
        event(_history_handler(studio, folder), person, widgets["history"], **quick)
    for tab, name in ((widgets["choose"], "choose"), (widgets["describe"], "describe")):
        tab.select(lambda name=name: name, None, mode, **quick)
    widgets["dice"].click(lambda: secrets.randbelow(2**31), None, widgets["seed"], **quick)
    bar = [shown["state"], shown["download"], widgets["go"], widgets["stop"]]
    parts = [part for slot in shown["slots"] for part in slot]
    begun = widgets["go"].click(_begin_handler(folder, jobs), None, [*bar, *parts], queue=False, **quick)
    begun.then(
        _make_handler(studio, jobs),
        [*person, widgets["looks"], widgets["scenes"], widgets["seed"], widgets["steps"]],
        [*bar, shown["command"], *parts],
        concurrency_id=HEAVY,
        concurrency_limit=1,
        **quick,
    )
    widgets["stop"].click(stop_handler(jobs), None, [shown["state"], widgets["stop"]], queue=False, **quick)


def _history_handler(studio: Studio, folder: Path) -> Callable[..., Any]:
    def show(mode: str, user: str, kinds: list, colours: list, pattern: str, scene: str) -> list[tuple[str, str]]:
        try:
            return studio.history_pictures(_history(studio, mode, user, kinds, colours, pattern, scene), folder)
        except DataError:
            return []  # nothing is described yet

    return show


def _history(studio: Studio, mode: str, user: str, kinds: list, colours: list, pattern: str, scene: str) -> list[int]:
    if mode == "choose":
        return studio.history(user)
    return studio.describe(kind=kinds or [], colour=colours or [], pattern=pattern, scene=scene)


def _begin_handler(folder: Path, jobs: dict[str, Job]) -> Callable[..., list[Any]]:
    """Answer the button at once: note the job, clear the board, swap the buttons."""
    import gradio as gr

    def begin(request: gr.Request) -> list[Any]:
        jobs[str(request.session_hash)] = Job(Path(tempfile.mkdtemp(prefix="job-", dir=folder)))
        blank = [gr.update(visible=False), gr.update(value=None), gr.skip()] * SLOTS
        return [status("Reading the history …", 0.0), gr.update(visible=False), *buttons(gr, busy=True), *blank]

    return begin


def _make_handler(studio: Studio, jobs: dict[str, Job]) -> Callable[..., Iterator[list[Any]]]:
    import gradio as gr

    def make(
        mode: str, user: str, kinds: list, colours: list, pattern: str, scene: str,
        looks: int, scenes: int, seed: int, steps: int, request: gr.Request,
    ) -> Iterator[list[Any]]:  # fmt: skip
        job, idle, start = jobs[str(request.session_hash)], buttons(gr, busy=False), time.monotonic()
        keep = [gr.skip()] * (5 + 3 * SLOTS)
        try:
            history = _history(studio, mode, user, kinds, colours, pattern, scene)
            style = StyleConfig(scene_steps=int(steps))
            order = Order(tuple(history), user, int(looks), int(scenes), int(seed or 0), style)
            yield [*keep[:4], _command(order, mode), *keep[5:]]
            for text, part, update in _pictures(gr, studio, order, job):
                yield [status(text, part), gr.skip(), *buttons(gr, busy=True), gr.skip(), *update]
            text = f"{counted(order.looks + order.scenes, 'picture')} in {time.monotonic() - start:.0f} s."
            text = "Stopped; what was finished stays." if job.stop.is_set() else text
            archive = pack(sorted((job.folder / "looks").iterdir()), job.folder / "looks.zip")
            yield [status(text, 1.0), gr.update(value=str(archive), visible=True), *idle, *keep[4:]]
        except (ValueError, RuntimeError) as error:
            text, mine = ("Stopped before the first picture.", True) if job.stop.is_set() else excuse(error)
            yield [status(text, 0.0, bad=not job.stop.is_set()), gr.skip(), *idle, *keep[4:]]
            if not mine:
                raise

    return make


def _pictures(gr: Any, studio: Studio, order: Order, job: Job) -> Iterator[tuple[str, float, list[Any]]]:
    """Make the pictures of an order; yield a line, the part done, and the updates of the board for each."""
    total, start, count = order.looks + order.scenes, time.monotonic(), {"tryon": 0, "scene": 0}
    before = write_png(studio.source.sitter(order.user).image, job.folder / "person.png")
    for done, written in enumerate(studio.make(order, job.folder / "looks", stop=job.stop.is_set), start=1):
        kept, look = shutil.copy(written.path, job.folder), written.look  # the first place is moved at the end
        slot = count[look.kind] + (MAX_LOOKS if look.kind == "scene" else 0)
        count[look.kind] += 1
        picture = (str(before), kept) if look.kind == "tryon" else kept
        update = [gr.skip()] * (3 * SLOTS)
        update[3 * slot : 3 * slot + 3] = [gr.update(visible=True), picture, describe(look, studio.source.catalog)]
        yield _pace(done, total, time.monotonic() - start), done / total, update


def describe(look: Look, catalog: Catalog) -> str:
    """Write what stands under a picture, as Markdown: the garment, the prompt, and why it was chosen."""
    title = garment_phrase(catalog.words(look.item))
    lines = [f"### {_safe(title[0].upper() + title[1:])}", f"> {_safe(look.prompt)}", ""]
    for reason in look.reasons:
        if reason.source == "past":
            lines.append(f"- like {_safe(reason.text)} in the history ({reason.score:.2f})")
        elif reason.source == "concept":
            lines.append(f"- taste: {_safe(reason.text.partition(' ')[2])} ({reason.score:+.1f})")
        else:
            lines.append(f"- {_safe(reason.text)}")
    return "\n".join(lines)


def _safe(text: str) -> str:
    """Take the meaning from every mark that HTML or Markdown could act on."""
    return re.sub(r"([\\`*_{}\[\]()#+!|~<>-])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _pace(done: int, total: int, seconds: float) -> str:
    each = seconds / done
    left = each * (total - done)
    return f"Picture {done} of {total} · {each:.1f} s each" + (f" · about {left:.0f} s left" if left else "")


def _command(order: Order, mode: str) -> str:
    if mode != "choose":
        return "# a described person has no number; choose one to see the command"
    flags = {"user": order.user, "looks": order.looks, "scenes": order.scenes, "seed": order.seed}
    flags["steps"] = order.style.scene_steps
    return "personagen style " + " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in flags.items())
