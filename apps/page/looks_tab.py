"""The page's tab for looks: choose a person or describe one, then make their looks and scenes."""

import html
import re
import secrets
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personagen.provenance import write_png
from personagen.styling.catalog import Catalog, FolderCatalog, garment_phrase
from personagen.styling.config import StyleConfig
from personagen.styling.studio import Order, Studio
from personagen.styling.stylist import Look
from personagen.vocabulary import counted
from recsys.errors import SEEDS, DataError

from ..commands.shop import subjects_module, with_subject
from .line import PICTURE
from .shared import FORMATS, QUICK, Bar, Bench, Shown, Task, number, offer, pack, status, stop_button, wire
from .uploads import photo, take_photo
from .visits import Visit, Visits

if TYPE_CHECKING:
    from personagen.styling.subjects import Mapped

MAX_LOOKS, MAX_SCENES, MAX_PEOPLE = 8, 4, 500
PHOTO = (
    "A photo of yourself, or of someone who agreed. It is read on this machine alone and kept without place and "
    f"camera, until you leave the page or delete your data. {FORMATS}."
)
SLOTS = MAX_LOOKS + MAX_SCENES


@dataclass(frozen=True)
class Shop:
    """What the tab works with: see `build_tab`."""

    bench: Bench
    mapping: "Mapping[str, Mapped]"
    flags: tuple[str, ...]

    @property
    def studio(self) -> Studio:
        """Users, items and models."""
        return self.bench.studio

    def order(self, asked: "Asked", visit: Visit) -> tuple[Order, str]:
        """Turn what a visitor asks for into an order, and a line about who is dressed.

        Raises:
            ConfigError, DataError, ModelError: what the message names.
        """
        Mapped = subjects_module().Mapped
        history = _history(self.studio, asked.mode, asked.user, *asked.words)
        style = StyleConfig(scene_steps=int(asked.steps))
        seed, count = number(asked.seed, "the seed"), (int(asked.looks), int(asked.scenes))
        order = Order(tuple(history), asked.user, *count, seed, style)
        mapped = self.mapping.get(asked.user, Mapped()) if asked.mode == "choose" else Mapped()
        if asked.subject:
            if asked.subject not in visit.subjects:
                raise DataError("this subject is not of your visit; choose one of the list")
            mapped = replace(mapped, subject=visit.subjects[asked.subject])
        if asked.photo:
            mapped = replace(mapped, person=visit.own(asked.photo))
        return with_subject(order, self.studio, mapped)


@dataclass(frozen=True)
class Asked:
    """What a visitor has chosen."""

    mode: str
    user: str
    words: tuple[list, list, str, str]
    looks: int
    scenes: int
    seed: int
    steps: int
    subject: str = ""
    photo: str | None = None


def build_tab(bench: Bench, *, mapping: "Mapping[str, Mapped]", flags: Sequence[str], tab: Any) -> None:
    """Draw the tab's components into the open gradio context and connect them.

    mapping: subjects and photos of users; flags: those with which `personagen style` opens the same shop; tab: the
    gradio Tab that this one is.
    """
    import gradio as gr

    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320, elem_id="side"):
            controls = _controls(gr, bench.studio, bench.folder)
        with gr.Column(scale=5, min_width=320):
            state = gr.HTML(status("Choose someone, then press Make looks.", 0.0), elem_id="state")
            download = gr.HTML(elem_id="download")
            slots = _board(gr)
            with gr.Accordion("The same on the command line", open=False):
                command = gr.Code(
                    language="shell", label="", lines=1, interactive=False, wrap_lines=True, elem_id="command"
                )
    shown = {"state": state, "slots": slots, "download": download, "command": command}
    _wire(Shop(bench, mapping, tuple(flags)), controls, shown)
    tab.select(_subject_handler(bench.visits), None, controls["subject"], **QUICK)


def _controls(gr: Any, studio: Studio, folder: Path) -> dict[str, Any]:
    first = first_user(studio)
    widgets = _people(gr, studio, first)
    widgets["history"] = gr.Gallery(
        studio.history_pictures(studio.history(first), folder),
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
    widgets["subject"] = gr.Dropdown(
        [("as the person chosen", "")], value="", label="Scenes show", visible=False, elem_id="looks-subject"
    )
    with gr.Accordion("Wear them yourself", open=False, elem_id="own-photo"):
        gr.Markdown(PHOTO)
        widgets["photo"] = photo("A person, standing, whole", "looks-photo", height=220)
    with gr.Accordion("Settings", open=False):
        with gr.Row():
            widgets["seed"] = gr.Number(0, label="Seed", precision=0, elem_id="seed")
            widgets["dice"] = gr.Button("New seed", size="sm", elem_id="dice")
        widgets["steps"] = gr.Slider(1, 50, value=20, step=1, label="Steps of each scene", elem_id="steps")
    with gr.Row():
        widgets["go"] = gr.Button("Make looks", variant="primary", elem_id="go")
        widgets["stop"] = gr.Button("Cancel", interactive=False, elem_id="stop")
    return widgets


def _people(gr: Any, studio: Studio, first: str) -> dict[str, Any]:
    """Two ways to say who is dressed: by name, or by words."""
    words, people = studio.words(), studio.people(MAX_PEOPLE)
    more = len(studio.source.users()) > len(people)
    widgets: dict[str, Any] = {}
    with gr.Tabs():
        with gr.Tab("Choose a person", id="choose") as widgets["choose"]:
            widgets["user"] = gr.Dropdown(
                people, value=first, label="Person, or type an id" if more else "Person", elem_id="user",
                filterable=True, allow_custom_value=more,
            )  # fmt: skip
        with gr.Tab("Describe one", id="describe") as widgets["describe"]:
            widgets["kinds"] = gr.Dropdown(
                words["kind"], label="Wears", multiselect=True, max_choices=4, elem_id="kinds"
            )
            widgets["colours"] = gr.Dropdown(words["colour"], label="Colours", multiselect=True, max_choices=4)
            widgets["pattern"] = gr.Dropdown(
                ["any", *words["pattern"]], value="any", label="Pattern", visible=bool(words["pattern"])
            )
            widgets["scene"] = gr.Dropdown(
                ["any", *words["scene"]], value="any", label="Place", visible=bool(words["scene"])
            )
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


def first_user(studio: Studio) -> str:
    """Return the first user that there is something to show for.

    Raises:
        DataError: of none of them the recommender knows an item.
    """
    for user in studio.source.users()[:MAX_PEOPLE]:
        try:
            studio.history(user)
        except DataError:
            continue
        return user
    raise DataError("the recommender knows no item of the first users; name items as in the data it was trained on")


def _subject_handler(visits: Visits) -> Callable[..., Any]:
    """List the subjects that the visitor has taught, when the tab is opened."""
    import gradio as gr

    def choices(request: gr.Request) -> Any:
        visit = visits.get(str(request.session_hash))
        own = list(visit.subjects) if visit else []
        return gr.update(choices=[("as the person chosen", ""), *((name, name) for name in own)], visible=bool(own))

    return choices


def _wire(shop: Shop, widgets: dict[str, Any], shown: dict[str, Any]) -> None:
    import gradio as gr

    studio, bench = shop.studio, shop.bench
    mode = gr.State("choose")
    described = [widgets[name] for name in ("kinds", "colours", "pattern", "scene")]
    person = [mode, widgets["user"], *described]
    for event in (widgets["user"].change, *(item.change for item in described), mode.change):
        event(_history_handler(studio, bench.folder), person, widgets["history"], **QUICK)
    for tab, name in ((widgets["choose"], "choose"), (widgets["describe"], "describe")):
        tab.select(lambda name=name: name, None, mode, **QUICK)
    widgets["dice"].click(lambda: secrets.randbelow(SEEDS[1] + 1), None, widgets["seed"], **QUICK)
    take_photo(bench, widgets["photo"], shown["state"], given="The photo is there; press Make looks.")
    bar = Bar(shown["state"], widgets["go"], widgets["stop"], "looks")
    parts = [part for slot in shown["slots"] for part in slot]
    blank = [gr.update(visible=False), gr.update(value=None), gr.skip()] * SLOTS
    wire(
        bench, bar, button=widgets["go"], rank=PICTURE, work=_make(shop),
        inputs=[*person, *(widgets[name] for name in ("looks", "scenes", "seed", "steps", "subject", "photo"))],
        outputs=[shown["download"], shown["command"], *parts], first="Reading the history …",
        clear=["", gr.skip(), *blank],
    )  # fmt: skip
    stop_button(bench, bar)


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


def _make(shop: Shop) -> Callable[..., Iterator[Shown]]:
    import gradio as gr

    def make(
        task: Task, mode: str, user: str, kinds: list, colours: list, pattern: str, scene: str,
        looks: int, scenes: int, seed: int, steps: int, subject: str, photo: str | None,
    ) -> Iterator[Shown]:  # fmt: skip
        start, keep = time.monotonic(), [gr.skip()] * (3 * SLOTS)
        asked = Asked(mode, user, (kinds, colours, pattern, scene), looks, scenes, seed, steps, subject or "", photo)
        order, line = shop.order(asked, task.visit)
        yield "Choosing the garments …", 0.0, [gr.skip(), _command(order, asked, shop.flags), *keep]
        made = 0
        for text, part, update in _pictures(gr, shop.studio, order, task):
            made += 1
            yield text, part, [gr.skip(), gr.skip(), *update]
        notes = [*(shop.studio.source.notes(user) if mode == "choose" else []), line]
        text = f"{counted(made, 'picture')} in {time.monotonic() - start:.0f} s."
        text = " · ".join([text, *(one for one in notes if one)])
        text = "Stopped; what was finished stays." if task.job.stop.is_set() else text
        archive = pack(sorted((task.job.folder / "looks").iterdir()), task.job.folder / "looks.zip")
        yield text, 1.0, [offer(archive, "Download all (.zip)"), gr.skip(), *keep]

    return make


def _pictures(gr: Any, studio: Studio, order: Order, task: Task) -> Iterator[tuple[str, float, list[Any]]]:
    """Make the pictures of an order; yield a line, the part done, and the updates of the board for each."""
    folder = task.job.folder
    total, start, count = order.looks + order.scenes, time.monotonic(), {"tryon": 0, "scene": 0}
    before = write_png(studio.sitter(order).image, folder / "person.png")
    for done, written in enumerate(studio.make(order, folder / "looks", stop=task.turn.stopped), start=1):
        kept, look = shutil.copy(written.path, folder), written.look  # the first place is moved at the end
        slot = count[look.kind] + (MAX_LOOKS if look.kind == "scene" else 0)
        count[look.kind] += 1
        picture = (str(before), kept) if look.kind == "tryon" else kept
        update = [gr.skip()] * (3 * SLOTS)
        update[3 * slot : 3 * slot + 3] = [gr.update(visible=True), picture, describe(look, studio.source.catalog)]
        yield _pace(done, total, time.monotonic() - start), done / total, update


def describe(look: Look, catalog: Catalog) -> str:
    """Write what stands under a picture, as Markdown: the garment, the prompt, and why it was chosen."""
    own = catalog.title(look.item) if isinstance(catalog, FolderCatalog) else ""
    title = own or garment_phrase(catalog.words(look.item))
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


def _command(order: Order, asked: Asked, shop: Sequence[str]) -> str:
    if asked.mode != "choose":
        return "# a described person has no number; choose one to see the command"
    flags = {"user": order.user, "looks": order.looks, "scenes": order.scenes, "seed": order.seed}
    flags["steps"] = order.style.scene_steps
    words = [*shop, *(word for name, value in flags.items() for word in (f"--{name}", str(value)))]
    if asked.photo and "--interactions" in shop:
        words += ["--person", "YOUR-PHOTO.jpg"]
    return "personagen style " + " ".join(shlex.quote(word) for word in words)
