"""`personagen demo`: one page with a tab for each job, and the server that shows it.

Importing this module builds nothing: `build(studio)` makes the page, `run(settings)` opens it.
"""

import gc
import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personagen.devices import Compute
from personagen.styling.studio import Studio
from personagen.vocabulary import counted
from recsys.errors import ConfigError, ResourceError, check_range

from ..commands.config import DemoConfig
from ..commands.weights import note_sampler
from ..progress import note
from .bases import Bases, check_names
from .keys import KEY, SHORTEST, key_from

if TYPE_CHECKING:
    from personagen.styling.subjects import Mapped

    from .api import Door
    from .shared import Bench

GUARD = Path(__file__).with_name("guard.js")
"""What the page says where its server cannot."""
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
REQUESTS, THREADS = 256, 96
"""Requests that may wait, of all visitors and kinds, and those answered at once; `line.MOST` is the limit of work."""
FONT = ("Inter", "ui-sans-serif", "system-ui", "Segoe UI", "DejaVu Sans", "sans-serif")


CSS = """
:root { --personagen-quiet: #57534e; --personagen-chosen: #be123c; }
.dark { --personagen-quiet: #c9c4bf; --personagen-chosen: #fda4af; }
#side .tab-container button { padding: 0 .55rem; font-size: .93rem; }
.gradio-container button[role=tab].selected { color: var(--personagen-chosen); }
.gradio-container { max-width: 1400px !important; margin: 0 auto !important; }
#head h1 { font-size: 2.1rem; letter-spacing: -.03em; margin: .4rem 0 0; }
#head p { color: var(--personagen-quiet); margin: .1rem 0 .4rem; }
#history, #history .grid-wrap, #history .gallery-container { height: auto !important; max-height: none !important; }
#history, #history .grid-wrap, #history .gallery-container { min-height: 0 !important; }
#history .grid-container, #shelf .grid-container { grid-template-columns: repeat(4, minmax(0, 1fr)) !important; }
#history .grid-container, #shelf .grid-container { padding-top: 1.9rem; }
.gradio-container .file-preview a { color: var(--personagen-chosen) !important; }
.gradio-container .html-container { padding: 0 !important; }
#history .thumbnail-item, #shelf .thumbnail-item { background: #fff; aspect-ratio: 3/4; }
#history .caption-label, #shelf .caption-label { display: none; }
.offer { display: inline-flex; align-items: center; min-height: 40px; padding: 0 1rem; border-radius: 10px; }
.offer { border: 1px solid var(--border-color-primary); background: var(--button-secondary-background-fill); }
a.offer { color: var(--body-text-color); text-decoration: none; font-weight: 600; }
a.offer:hover { background: var(--button-secondary-background-fill-hover); }
.state { border: 1px solid var(--border-color-primary); border-radius: 14px; padding: .7rem 1rem; }
.state { background: var(--block-background-fill); color: var(--body-text-color); }
.state .rail { height: 6px; border-radius: 3px; overflow: hidden; margin-top: .5rem; }
.state .rail { background: var(--border-color-primary); }
.state .done { height: 100%; background: var(--color-accent); transition: width .4s; }
.gradio-container button.lg, .gradio-container button.sm { min-height: 40px; }
#generate-gallery .grid-container { padding-top: 1.9rem; grid-template-columns: repeat(3, minmax(0, 1fr)) !important; }
#generate-gallery .grid-wrap, #generate-gallery .gallery-container { min-height: 0 !important; }
#generate-gallery, #generate-gallery .gallery-container { height: auto !important; }
:is(#subject-loss, #subject-preview) .image-container { padding-top: 1.9rem; }
.gradio-container .block.hide-container:has(> .html-container > :empty, span.md:empty) { display: none; }
.gradio-container .block.hide-container:has(.mask-editor[hidden], .thumbs:empty) { display: none; }
.gradio-container button .wrap:has(> .or) { padding-top: 1.4rem; line-height: 1.35; }
.gradio-container button .wrap > .or { font-size: 0; line-height: 0; }
.gradio-container .seeds { align-items: end; }
#subject-download { min-width: 230px !important; }
.quiet { color: var(--personagen-quiet); }
pre.command { white-space: pre-wrap; overflow-wrap: anywhere; user-select: all; padding: .7rem; border-radius: 10px; }
pre.command { background: var(--block-background-fill); border: 1px solid var(--border-color-primary); }
pre.command { color: var(--body-text-color); font-size: .85rem; margin: 0 0 .6rem; }
@media (min-width: 900px) { #side { position: sticky; top: 1rem; align-self: flex-start; } }
@media (max-width: 640px) {
  #head { flex-wrap: nowrap; gap: .5rem; }
  #head h1 { font-size: 1.7rem; }
  #head p { font-size: .85rem; line-height: 1.35; }
  #generate-gallery .grid-container { grid-template-columns: repeat(2, minmax(0, 1fr)) !important; }
}
"""


def run(settings: DemoConfig) -> int:
    """Open the page and serve it until it is stopped; returns 0.

    Raises:
        ConfigError: a host beyond this machine without --auth, or settings that contradict each other.
        DataError, ModelError: the shop's files, the subjects or a model of one's own.
        ResourceError: the port is taken, or the device is not there.
    """
    auth, compute = check_exposure(settings.host, settings.auth), settings.compute()
    key = api_key(settings)
    check_names(settings.text2image, settings.more_text2image)
    check_port(settings.host, settings.port)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    if not settings.allow_download:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    note_sampler(settings.scheduler)
    studio, mapping = prepare(settings, compute)
    bases = read_bases(settings, studio)
    flags = shop_flags(settings) if settings.auth is None else []  # paths of this machine are not for everybody
    note("building the page")
    door = open_door(key)
    gc.disable()  # of what is made here nothing goes: looking for it costs a second
    with tempfile.TemporaryDirectory(prefix="personagen-page-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        page = build(studio, Path(folder), mapping=mapping, flags=flags, door=door, bases=bases)
        try:
            _, url, _ = page.launch(**launch_settings(folder, door), server_name=settings.host, auth=auth,
                                    server_port=settings.port or None, inbrowser=settings.open)  # fmt: skip
        except OSError as error:
            raise ResourceError(f"port {settings.port} is not free ({error}); choose another, or --port 0") from error
        gc.enable()
        print(f"the page is open at {url}  (Ctrl-C closes it)", flush=True)
        try:
            page.block_thread()
        finally:
            page.close(verbose=False)
    return 0


def prepare(settings: DemoConfig, compute: Compute) -> "tuple[Studio, dict[str, Mapped]]":
    """Open the shop, and load what is not embedded, so that nothing wrong is found by a visitor; say what is done.

    Raises:
        ConfigError, DataError, ModelError: what the message names.
    """
    from ..commands.shop import open_studio, read_subjects

    if settings.interactions and settings.catalog:
        note(f"reading {settings.interactions} and {settings.catalog}")
    studio = open_studio(settings, compute)
    users = studio.source.users()
    if settings.interactions:
        note(f"{counted(len(users), 'user')}, {counted(len(studio.source.catalog), 'item')}")
        note(
            f"reading the recommender in {settings.recommender}"
            if settings.recommender
            else "training a recommender on the spot; --recommender takes a folder of `personagen recommend train`"
        )
    if settings.interactions or settings.recommender:
        _ = studio.recommender
    for name in ("text2image", "tryon"):
        if studio.models[name] != "embedded":
            note(f"reading the {name} model {studio.models[name]}")
            getattr(studio, name)
    mapping = read_subjects(settings, studio)
    if mapping:
        note(f"{counted(len(mapping), 'user')} with a subject or a photo in {settings.subjects}")
    return studio, mapping


def read_bases(settings: DemoConfig, studio: Studio) -> Bases:
    """Read the base models that visitors are to choose from, each once.

    Raises:
        ConfigError, ModelError: what the message names.
    """
    bases = Bases(studio, settings.more_text2image)
    bases.read_all()
    return bases


SHOP_FLAGS = ("interactions", "catalog", "person", "mask", "box", "mask_region", "subjects", "recommender",
              "text2image", "tryon", "min_rating")  # fmt: skip


def shop_flags(settings: DemoConfig) -> list[str]:
    """Return the flags with which `personagen style` opens the same shop."""
    given = [(name, getattr(settings, name)) for name in SHOP_FLAGS]
    given += [(f"columns.{each.name}", getattr(settings.columns, each.name)) for each in fields(settings.columns)]
    if settings.base is not None:
        given += [(f"base.{each.name}", getattr(settings.base, each.name)) for each in fields(settings.base)
                  if getattr(settings.base, each.name) != each.default]  # fmt: skip
    plain = {"mask_region": "upper", "text2image": "embedded", "tryon": "embedded"}
    own = {name: str(value) for name, value in given if value is not None and value != plain.get(name)}
    return [word for name, value in own.items() for word in (f"--{name}", value)]


def check_exposure(host: str, auth: str | None) -> tuple[str, str] | None:
    """Split NAME:PASSWORD and refuse an address that others can reach without one.

    Raises:
        ConfigError: what the message names.
    """
    name, colon, password = (auth or "").partition(":")
    if auth and not (name and colon and len(password) >= 8):
        raise ConfigError("auth is not NAME:PASSWORD with a password of 8 characters or more; give one")
    if not is_local(host) and not auth:
        raise ConfigError(f"host {host!r} can be reached by others; allowed without --auth is 127.0.0.1")
    return (name, password) if auth else None


def is_local(host: str) -> bool:
    """Tell whether an address is reached from this machine alone."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def api_key(settings: DemoConfig) -> str | None:
    """Return the key of the interface for programs; None where it is not asked for.

    Raises:
        ConfigError: it lacks a key, or there is a key for nothing.
    """
    if not settings.api:
        if settings.api_key is not None:
            raise ConfigError("--api_key is the key of --api, which is off; add --api true, or leave the key out")
        return None
    key = key_from(settings.api_key)
    if key is None:
        raise ConfigError(f"--api needs a key; give --api_key KEY of {SHORTEST} characters or more, or set {KEY}")
    return key


def open_door(key: str | None) -> "Door | None":
    """Return what programs come in by; None where they do not."""
    if key is None:
        return None
    from .api import Door

    return Door(key)


def check_port(host: str, port: int) -> None:
    """Refuse a port that is none or is taken, before models are read.

    Raises:
        ConfigError, ResourceError: what the message names.
    """
    check_range(port=(port, 0, 65535))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
    except OSError as error:
        reason = error.strerror or error
        raise ResourceError(f"port {port} of {host} cannot be used ({reason}); choose another, or --port 0") from error


def launch_settings(folder: str, door: "Door | None" = None) -> dict[str, Any]:
    """Return the hardened settings of `launch()`: no sharing, no file of the working directory, and no interface for
    programs but that behind `door`."""

    from fastapi.middleware import Middleware

    from . import board, editor, examples, live, pictures
    from .api import Guarded
    from .headers import Headers

    working = os.getcwd()
    blocked = [] if Path(folder).is_relative_to(working) else [working]
    return {
        "share": False, "show_error": False, "max_file_size": "64mb", "allowed_paths": [], "blocked_paths": blocked,
        "run_history": False, "mcp_server": False, "strict_cors": True, "ssr_mode": False, "enable_monitoring": False,
        "footer_links": [], "quiet": True, "prevent_thread_lock": True,
        "css": CSS + "".join(part.CSS for part in (board, editor, examples, live, pictures)), "theme": theme(),
        "max_threads": THREADS,
        "app_kwargs": {"middleware": [Middleware(Headers), Middleware(Guarded, door=door)],
                       **({"lifespan": door.assistants.lifespan} if door else {})},
        "head": f"<script>{GUARD.read_text(encoding='utf-8')}</script>",
    }  # fmt: skip


def theme() -> Any:
    """Return quiet colours, system fonts (nothing is fetched from outside) and plain labels, for light and dark."""
    import gradio as gr

    look = gr.themes.Default(primary_hue="rose", secondary_hue="rose", neutral_hue="stone", radius_size="lg", font=FONT)
    return look.set(
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_300",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        block_label_shadow="none",
        block_shadow="none",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_text_color="white",
    )


def _let_go(bench: "Bench", page: Any, forget: Any) -> None:
    """Let all of a visitor's go when they close the page, or press the button, which begins the page anew."""
    import gradio as gr

    def leave(request: gr.Request) -> str:
        return bench.visits.leave(str(request.session_hash))

    said = gr.Textbox(visible="hidden", elem_id="deleted")
    gone = forget.click(leave, None, said, queue=False, **QUIET)
    gone.success(None, None, None, js="() => window.personagenLeave()", **QUIET)

    def left(request: gr.Request) -> None:
        bench.visits.leave_soon(str(request.session_hash))

    page.unload(left)


def build(
    studio: Studio, folder: Path, *, mapping: "Mapping[str, Mapped] | None" = None, flags: Sequence[str] = (),
    door: "Door | None" = None, bases: Bases | None = None,
) -> Any:  # fmt: skip
    """Build the page over `studio`; pictures are written below `folder`. Returns a gradio Blocks, not yet launched.

    mapping: subjects and photos of users; flags: with which `personagen style` opens the same users and models; door:
    what programs come in by, where they may; bases: the base models to choose from, left out those that are there
    anyway.
    """
    import gradio as gr

    from . import generate_tab, looks_tab, masks, moves, own, restore, subject_tab, tryon_tab  # these import torch
    from .line import Line
    from .shared import Bench
    from .visits import Visits

    bench = Bench(studio, folder, Visits(folder), Line(), bases or Bases(studio))
    shop = looks_tab.Shop(bench, mapping or {}, tuple(flags))
    with gr.Blocks(title="Personagen", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        with gr.Row(elem_id="head"):
            gr.Markdown("# Personagen\nFrom what a person chose to pictures made for that person.")
            forget = gr.Button("Delete my data", size="sm", scale=0, min_width=130, elem_id="forget")
        with gr.Tabs(elem_id="jobs") as tabs:
            with gr.Tab("Looks", id="looks") as looks:
                first = looks_tab.build_tab(shop, tab=looks, page=page)
            with gr.Tab("Generate", id="generate") as generate:
                second = generate_tab.build_tab(bench, generate)
            with gr.Tab("Try on", id="tryon"):
                third = tryon_tab.build_tab(bench)
            with gr.Tab("Teach", id="subject"):
                fourth = subject_tab.build_tab(bench)
        file = restore.drop_place(gr)
        widgets = {kept.tab: found for kept, found in (first, second, third, fourth)}
        kept = {one.tab: one for one, _ in (first, second, third, fourth)}
        places = restore.Places(
            tabs, kept, {name: found["state"] for name, found in widgets.items()},
            generate_tab.rows(widgets["generate"]), widgets["tryon"]["strokes"], generate_tab.rows_of,
        )  # fmt: skip
        restored = restore.connect(bench, file, places)
        again = restore.connect_again(bench, page, places, widgets["looks"]["board"])
        own.say_again(bench, widgets["looks"], again.success)
        masks.find_after(gr, bench, widgets["tryon"], again.success)
        masks.find_after(gr, bench, widgets["tryon"], restored.success)
        moves.connect(bench, tabs, *(widgets[name] for name in ("looks", "tryon", "generate", "subject")))
        _let_go(bench, page, forget)
        if door is not None:
            from . import api

            api.connect(bench, door, shop, kept)
    page.queue(max_size=REQUESTS, default_concurrency_limit=4, api_open=False)
    return page
