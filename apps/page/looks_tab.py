"""The page's tab for looks: choose a person, describe one or say what you chose, then make their looks and scenes."""

import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personagen.provenance import write_png
from personagen.styling.beside import with_models
from personagen.styling.config import StyleConfig
from personagen.styling.studio import Order, Studio
from personagen.vocabulary import counted
from recsys.errors import SEEDS, DataError

from ..commands.shop import subjects_module, with_subject
from . import examples, history
from .board import Card, board, card_of, cards
from .line import PICTURE
from .settings import Kept, digest, same
from .shared import (
    FORMATS,
    QUICK,
    Bar,
    Bench,
    Gone,
    Shown,
    Task,
    command_box,
    number,
    offer,
    pack,
    shown_if,
    status,
    stop_button,
    wire,
)
from .uploads import photo, take_photo
from .visits import Job, Visit, Visits

if TYPE_CHECKING:
    from personagen.styling.subjects import Mapped

MAX_LOOKS, MAX_SCENES = 8, 4
PHOTO = (
    "A photo of yourself, or of someone who agreed. It is read on this machine alone and kept without place and "
    f"camera, until you leave the page or delete your data. {FORMATS}."
)
FIELDS, OWN = ("user", "looks", "scenes", "seed", "steps"), ("mode", "picked", *history.WORDS, "subject")
"""Settings under the command's names, and those that only the page has."""
OWN_COMMAND = "<p>The command takes a catalogue with --catalog, together with what its users chose.</p>"
TITLES = {"describe": "A described person", "own": "Your own choices"}


@dataclass(frozen=True)
class Shop:
    """What the tab works with; mapping: subjects and photos of users; flags: those with which `personagen style` opens
    the same shop."""

    bench: Bench
    mapping: "Mapping[str, Mapped]"
    flags: tuple[str, ...]

    @property
    def studio(self) -> Studio:
        """Users, items and models."""
        return self.bench.studio

    def own(self, visit: Visit, asked: "Asked") -> Studio:
        """Return the studio that a visitor's looks are made with: the shop's, or that of their own catalogue."""
        studio = self.studio
        if visit.shop is not None:
            models = [*(("tryon", "parser") if asked.looks else ()), *(("text2image", "tryon") if asked.scenes else ())]
            studio = with_models(visit.shop, self.studio, *models)
        return self.bench.bases.painting(studio, visit, asked.subject) if asked.scenes else studio

    def order(self, asked: "Asked", visit: Visit, studio: Studio | None = None) -> tuple[Order, str]:
        """Turn what a visitor asks for into an order, and a line about who is dressed.

        Raises:
            ConfigError, DataError, ModelError: what the message names.
        """
        Mapped, studio = subjects_module().Mapped, studio or self.studio
        past = history.chosen_by(studio, asked.mode, asked.user, asked.words, asked.picked)
        style = StyleConfig(scene_steps=int(asked.steps))
        seed, count = number(asked.seed, "the seed"), (int(asked.looks), int(asked.scenes))
        order = Order(tuple(past), asked.user, *count, seed, style, title=TITLES.get(asked.mode, ""))
        mapped = self.mapping.get(asked.user, Mapped()) if asked.mode == "choose" else Mapped()
        if asked.subject:
            if asked.subject not in visit.subjects:
                raise DataError("this subject is not of your visit; choose one of the list")
            mapped = replace(mapped, subject=visit.subjects[asked.subject])
        if asked.photo:
            mapped = replace(mapped, person=visit.own(asked.photo))
        return with_subject(order, studio, mapped)


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
    picked: tuple[int, ...] = ()


def build_tab(shop: Shop, *, tab: Any, page: Any) -> tuple[Kept, dict[str, Any]]:
    """Draw the tab's components into the open gradio context, connect them, return what travels and the components.

    tab, page: the gradio Tab that this one is, and the Blocks around all.
    """
    import gradio as gr

    bench = shop.bench
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320, elem_id="side"):
            widgets = _controls(gr, bench.studio, bench.folder)
        with gr.Column(scale=5, min_width=320):
            widgets["state"] = gr.HTML(
                status("Choose someone, then press Make looks.", 0.0), padding=False, elem_id="state"
            )
            widgets["download"] = gr.HTML(elem_id="download")
            widgets["board"] = board("board")
            widgets["command"] = command_box("command")
    kept = Kept(
        "looks", "style", {name: widgets[name] for name in FIELDS}, {"photo": widgets["photo"]}, shop.flags,
        {name: widgets[name] for name in OWN},
    )  # fmt: skip
    _wire(shop, widgets, kept, page)
    tab.select(_subject_handler(bench.visits), None, widgets["subject"], **QUICK)
    return kept, widgets


def _controls(gr: Any, studio: Studio, folder: Path) -> dict[str, Any]:
    first = first_user(studio)
    widgets = history.people(gr, studio, folder, first)
    widgets["offset"] = gr.State(0)
    widgets["history"] = gr.Gallery(
        label="Chosen before, latest last",
        columns=4,
        object_fit="contain",
        height="auto",
        format="png",
        interactive=False,
        buttons=["fullscreen"],
        elem_id="history",
    )
    widgets["looks"] = gr.Slider(0, MAX_LOOKS, value=4, step=1, label="Looks to try on", elem_id="looks")
    widgets["scenes"] = gr.Slider(0, MAX_SCENES, value=2, step=1, label="Scenes to paint", elem_id="scenes")
    widgets["subject"] = gr.Dropdown(
        [("as the person chosen", "")], value="", label="Scenes show", visible="hidden", elem_id="looks-subject",
        allow_custom_value=True,
    )  # fmt: skip
    with gr.Accordion("Wear them yourself", open=False, elem_id="own-photo"):
        gr.Markdown(PHOTO)
        widgets["photo"] = photo("A person, standing, whole", "looks-photo", height=220)
        widgets["people"] = examples.shelf("Examples to click", examples.PEOPLE, folder, "looks-people")
    with gr.Accordion("Settings", open=False):
        with gr.Row():
            widgets["seed"] = gr.Number(0, label="Seed", precision=0, elem_id="seed")
            widgets["dice"] = gr.Button("New seed", size="sm", elem_id="dice")
        widgets["steps"] = gr.Slider(1, 50, value=20, step=1, label="Steps of each scene", elem_id="steps")
    with gr.Row():
        widgets["go"] = gr.Button("Make looks", variant="primary", elem_id="go")
        widgets["stop"] = gr.Button("Cancel", interactive=False, elem_id="stop")
    return widgets


def first_user(studio: Studio) -> str:
    """Return the first user that there is something to show for.

    Raises:
        DataError: of none of them the recommender knows an item.
    """
    for user in studio.source.users()[: history.MAX_PEOPLE]:
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
        return gr.update(choices=[("as the person chosen", ""), *((name, name) for name in own)], visible=shown_if(own))

    return choices


def _wire(shop: Shop, widgets: dict[str, Any], kept: Kept, page: Any) -> None:
    bench = shop.bench
    history.connect(bench, widgets, widgets["state"], page)
    widgets["dice"].click(lambda: secrets.randbelow(SEEDS[1] + 1), None, widgets["seed"], **QUICK)
    take_photo(bench, widgets["photo"], widgets["state"], given="The photo is there; press Make looks.")
    widgets["people"].click(_example(bench), None, [widgets["photo"], widgets["state"]], **QUICK)
    bar = Bar(widgets["state"], widgets["go"], widgets["stop"], "looks")
    wire(
        bench, bar, button=widgets["go"], rank=PICTURE, work=make(shop, kept),
        inputs=[*kept.fields.values(), *kept.own.values(), widgets["photo"]],
        outputs=[widgets["download"], widgets["command"], widgets["board"]], first="Reading the history …",
        clear=["", "", ""], left=_finished,
    )  # fmt: skip
    stop_button(bench, bar)


def _example(bench: Bench) -> Callable[..., list[Any]]:
    import gradio as gr

    def give(event: gr.EventData, request: gr.Request) -> list[Any]:
        given = examples.given(bench.visits[str(request.session_hash)], examples.asked(event, examples.PEOPLE))
        return [given, status("The photo is there; press Make looks.", 0.0)]

    return give


def make(shop: Shop, kept: Kept) -> Callable[..., Iterator[Shown]]:
    """Return what *Make looks* does."""
    import gradio as gr

    def work(task: Task, *values: Any) -> Iterator[Shown]:
        start = time.monotonic()
        asked, settings, own = read_asked(kept, values)
        studio = shop.own(task.visit, asked)
        order, line = shop.order(asked, task.visit, studio)
        record = task.visit.remember(kept.record(settings, own=own, photos={"photo": digest(asked.photo)}))
        order = replace(order, extra=record)
        command = OWN_COMMAND if task.visit.shop else _command(kept, settings, asked)
        yield "Choosing the garments …", 0.0, [gr.skip(), command, ""]
        shown: list[Card] = []
        for text, part, card in _pictures(studio, order, task):
            shown.append(card)
            task.visit.shown = [(card.look.item, card.look.prompt) for card in shown]
            task.visit.board = cards(shown)
            yield text, part, [gr.skip(), gr.skip(), cards(shown)]
        notes = [*(shop.studio.source.notes(asked.user) if asked.mode == "choose" else []), line]
        text = f"{counted(len(shown), 'picture')} in {time.monotonic() - start:.0f} s."
        bases, base = shop.bench.bases, shop.bench.bases.learnt_on(task.visit, asked.subject)
        elsewhere = asked.scenes and base != bases.default
        notes = [task.visit.shop_said, *notes, f"scenes painted on {base}" if elsewhere else ""]
        text = " · ".join([text, *(one for one in notes if one)])
        archive = pack(sorted((task.job.folder / "looks").iterdir()), task.job.folder / "looks.zip")
        yield text, 1.0, [offer(archive, "Download all (.zip)"), gr.skip(), gr.skip()]

    return work


def _finished(visit: Visit, job: Job) -> list[Any]:
    """Offer the pictures that were finished before a cancel; the board shows them."""
    import gradio as gr

    pictures = sorted(path for path in job.folder.glob("*-item*.png"))
    link = offer(pack(pictures, job.folder / "finished.zip"), "Download what is finished (.zip)") if pictures else ""
    return [link, gr.skip(), gr.skip()]


def read_asked(kept: Kept, values: Sequence[Any]) -> tuple[Asked, dict[str, Any], dict[str, Any]]:
    """Return what is asked for, the settings under the command's names, and those that only the page has."""
    count = len(kept.fields)
    given = dict(zip((*kept.fields, *kept.own), values, strict=False))
    words = (given["kinds"] or [], given["colours"] or [], str(given["pattern"]), str(given["scene"]))
    subject, photo = str(given["subject"] or ""), values[-1]
    asked = Asked(
        str(given["mode"]), str(given["user"]), words, given["looks"], given["scenes"], given["seed"], given["steps"],
        subject, photo, tuple(given["picked"] or ()),
    )  # fmt: skip
    own = {name: given[name] for name in kept.own if given[name] not in ("", None, [], "any")}
    return asked, kept.settings(values[:count]), own


def _pictures(studio: Studio, order: Order, task: Task) -> Iterator[tuple[str, float, Card]]:
    """Make the pictures of an order; yield a line, the part done, and the card of each."""
    folder, catalog = task.job.folder, studio.source.catalog
    total, start = order.looks + order.scenes, time.monotonic()
    before = write_png(studio.sitter(order).image, folder / "person.png") if order.dresses else None

    def stopped() -> bool:
        if task.turn.stopped():
            raise Gone
        return False

    for done, written in enumerate(studio.make(order, folder / "looks", stop=stopped), start=1):
        kept, look = Path(shutil.copy(written.path, folder)), written.look  # the first place is moved at the end
        garment = studio.history_pictures([look.item], task.visit.shop_folder or task.visit.folder)
        card = card_of(
            look, catalog, kept, garment=Path(garment[0][0]) if garment else None,
            before=before if look.kind == "tryon" else None,
        )  # fmt: skip
        yield _pace(done, total, time.monotonic() - start), done / total, card


def _pace(done: int, total: int, seconds: float) -> str:
    each = seconds / done
    left = each * (total - done)
    return f"Picture {done} of {total} · {each:.1f} s each" + (f" · about {left:.0f} s left" if left else "")


def _command(kept: Kept, settings: dict[str, Any], asked: Asked) -> str:
    if asked.mode != "choose":
        return "<p>The command makes looks of people of the shop; choose one by name to see it.</p>"
    photo = ("--person", "YOUR-PHOTO.jpg") if asked.photo and "--interactions" in kept.before else ()
    return same(kept, settings, *photo)
