"""`personagen demo`: one page for the main job. Handlers are thin generators over `apps.studio`.

Importing this module builds nothing: `build(studio)` makes the page, `run(settings)` opens it.
"""

import html
import os
import secrets
import shlex
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from recsys.errors import ConfigError, ResourceError

from .config import DemoConfig
from .studio import Made, Order, Studio

MAX_LOOKS, MAX_SCENES = 8, 4
SLOTS = MAX_LOOKS + MAX_SCENES
HEAVY = "pictures"  # one concurrency id for every event that paints: one at a time on this machine
CSS = """
.gradio-container { max-width: 1360px !important; margin: 0 auto !important; }
#head h1 { font-size: 2rem; letter-spacing: -.02em; margin: .2rem 0 0; }
#head p { color: var(--body-text-color-subdued); margin: .2rem 0 .6rem; }
#history .grid-wrap { max-height: 22rem; }
#board { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 1rem; align-items: start; }
.look { border-radius: 14px; overflow: hidden; padding: 0 !important; }
.look img { object-fit: cover; }
.look .prose { padding: .2rem .9rem .8rem; font-size: .92rem; }
.look .prose h3 { margin: .3rem 0 .2rem; font-size: 1.02rem; }
.look .prose blockquote { margin: .3rem 0; padding-left: .7rem; font-style: italic; }
.look .prose blockquote { border-left: 3px solid var(--color-accent); }
.look .prose ul { margin: .2rem 0 0 1rem; }
.state { border: 1px solid var(--border-color-primary); border-radius: 12px; padding: .7rem .9rem; }
.state .rail { height: 6px; border-radius: 3px; overflow: hidden; margin-top: .5rem; }
.state .rail { background: var(--border-color-primary); }
.state .done { height: 100%; background: var(--color-accent); transition: width .4s; }
@media (max-width: 640px) { #board { grid-template-columns: 1fr; } #head h1 { font-size: 1.6rem; } }
"""


def run(settings: DemoConfig) -> int:
    """Open the page and serve it until it is stopped; returns 0.

    Raises: ConfigError for a host beyond this machine without --auth; ResourceError when the port is taken.
    """
    auth = check_exposure(settings.host, settings.auth)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory(prefix="personagen-page-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        page = build(Studio(settings.model), Path(folder))
        try:
            _, url, _ = page.launch(**launch_settings(folder), server_name=settings.host, auth=auth,
                                    server_port=settings.port or None, inbrowser=settings.open)  # fmt: skip
        except OSError as error:
            raise ResourceError(f"port {settings.port} is not free ({error}); choose another, or --port 0") from error
        print(f"the page is open at {url}  (Ctrl-C closes it)", flush=True)
        try:
            page.block_thread()
        finally:
            page.close(verbose=False)
    return 0


def check_exposure(host: str, auth: str | None) -> tuple[str, str] | None:
    """Split NAME:PASSWORD and refuse an address that others can reach without one. Raises: ConfigError."""
    name, colon, password = (auth or "").partition(":")
    if auth and not (name and colon and len(password) >= 8):
        raise ConfigError("auth is not NAME:PASSWORD with a password of 8 characters or more; give one")
    try:
        local = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local and not auth:
        raise ConfigError(f"host {host!r} can be reached by others; allowed without --auth is 127.0.0.1")
    return (name, password) if auth else None


def launch_settings(folder: str) -> dict[str, Any]:
    """Return the hardened settings of `launch()`: no sharing, no public interface, no file of the working directory."""
    import gradio as gr

    here = os.getcwd()
    blocked = [] if Path(folder).is_relative_to(here) else [here]
    return {
        "share": False, "show_error": False, "max_file_size": "10mb", "allowed_paths": [], "blocked_paths": blocked,
        "run_history": False, "mcp_server": False, "strict_cors": True, "ssr_mode": False, "enable_monitoring": False,
        "footer_links": [], "quiet": True, "prevent_thread_lock": True, "css": CSS,
        "theme": gr.themes.Soft(primary_hue="rose", secondary_hue="rose", neutral_hue="stone", radius_size="lg"),
    }  # fmt: skip


def build(studio: Studio, folder: Path) -> Any:
    """Build the page over `studio`; pictures are written below `folder`. Returns a gradio Blocks, not yet launched."""
    import gradio as gr

    with gr.Blocks(title="Personagen", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.Markdown("# Personagen\nFrom what a person chose to pictures made for that person.", elem_id="head")
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=320):
                controls = _controls(gr, studio, folder)
            with gr.Column(scale=5, min_width=320):
                state = gr.HTML(_state("Choose someone, then press Make looks.", 0.0), elem_id="state")
                slots = _board(gr)
                download = gr.DownloadButton("Download all (.zip)", visible=False, elem_id="download")
                with gr.Accordion("The same on the command line", open=False):
                    command = gr.Code(language="shell", label="", lines=1, interactive=False, elem_id="command")
        _wire(studio, folder, controls, {"state": state, "slots": slots, "download": download, "command": command})
    page.queue(max_size=32, default_concurrency_limit=4, api_open=False)
    return page


def _controls(gr: Any, studio: Studio, folder: Path) -> dict[str, Any]:
    words = studio.words()
    made: dict[str, Any] = {}
    with gr.Tabs() as made["tabs"]:
        with gr.Tab("Choose a person", id="choose"):
            made["user"] = gr.Dropdown(studio.people(), value="0", label="Person", elem_id="user", filterable=True)
        with gr.Tab("Describe one", id="describe"):
            made["kinds"] = gr.Dropdown(words["kind"], label="Wears", multiselect=True, max_choices=4, elem_id="kinds")
            made["colours"] = gr.Dropdown(words["colour"], label="Colours", multiselect=True, max_choices=4)
            made["pattern"] = gr.Dropdown(["any", *words["pattern"]], value="any", label="Pattern")
            made["scene"] = gr.Dropdown(["any", *words["scene"]], value="any", label="Place")
    made["history"] = gr.Gallery(studio.history_pictures(studio.history("0"), folder), label="What this person chose, latest last",
                                 columns=4, object_fit="contain", height="auto", format="png", interactive=False,
                                 buttons=["fullscreen"], elem_id="history")  # fmt: skip
    made["looks"] = gr.Slider(1, MAX_LOOKS, value=4, step=1, label="Looks to try on", elem_id="looks")
    made["scenes"] = gr.Slider(0, MAX_SCENES, value=2, step=1, label="Scenes to paint", elem_id="scenes")
    with gr.Accordion("Settings", open=False):
        with gr.Row():
            made["seed"] = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1, elem_id="seed")
            made["dice"] = gr.Button("New seed", size="sm", elem_id="dice")
        made["steps"] = gr.Slider(1, 50, value=20, step=1, label="Steps of each picture", elem_id="steps")
    with gr.Row():
        made["go"] = gr.Button("Make looks", variant="primary", elem_id="go")
        made["stop"] = gr.Button("Cancel", variant="stop", interactive=False, elem_id="stop")
    return made


def _board(gr: Any) -> list[tuple[Any, Any, Any, Any]]:
    slots = []
    with gr.Group(elem_id="board"):
        for index in range(SLOTS):
            with gr.Column(visible=False, elem_classes="look", min_width=240, elem_id=f"look-{index}") as box:
                slider = gr.ImageSlider(format="png", type="filepath", show_label=False, interactive=False, max_height=420,
                                        buttons=["download", "fullscreen"], visible=False)  # fmt: skip
                image = gr.Image(format="png", type="filepath", show_label=False, interactive=False, visible=False,
                                 buttons=["download", "fullscreen"])  # fmt: skip
                text = gr.Markdown()
            slots.append((box, slider, image, text))
    return slots


def _wire(studio: Studio, folder: Path, made: dict[str, Any], shown: dict[str, Any]) -> None:
    import gradio as gr

    mode = gr.State("choose")
    outputs = [shown["state"], shown["download"], shown["command"], made["go"], made["stop"]]
    outputs += [part for slot in shown["slots"] for part in slot]
    described = [made[name] for name in ("kinds", "colours", "pattern", "scene")]
    person = [mode, made["user"], *described]
    quick = {"show_progress": "hidden", "api_visibility": "private"}
    for event in (made["user"].change, *(item.change for item in described), mode.change):
        event(_history_handler(studio, folder), person, made["history"], **quick)
    for tab, name in zip(made["tabs"].children, ("choose", "describe"), strict=True):
        tab.select(lambda name=name: name, None, mode, **quick)
    made["dice"].click(lambda: secrets.randbelow(2**31), None, made["seed"], **quick)
    work = made["go"].click(
        _make_handler(studio, folder, len(outputs)),
        [*person, made["looks"], made["scenes"], made["seed"], made["steps"]],
        outputs, concurrency_id=HEAVY, concurrency_limit=1, show_progress="hidden", api_visibility="private",
        trigger_mode="once",
    )  # fmt: skip
    stopped = _state("Stopped. What was finished stays.", 1.0)
    made["stop"].click(
        lambda: (stopped, gr.update(interactive=True), gr.update(interactive=False)),
        None, [shown["state"], made["go"], made["stop"]], cancels=[work], queue=False, **quick,
    )  # fmt: skip


def _history_handler(studio: Studio, folder: Path) -> Callable[..., Any]:
    def show(mode: str, user: str, kinds: list, colours: list, pattern: str, scene: str) -> list[tuple[str, str]]:
        return studio.history_pictures(_history(studio, mode, user, kinds, colours, pattern, scene), folder)

    return show


def _history(studio: Studio, mode: str, user: str, kinds: list, colours: list, pattern: str, scene: str) -> list[int]:
    if mode == "choose":
        return studio.history(user)
    return studio.describe(kind=kinds or [], colour=colours or [], pattern=pattern, scene=scene)


def _make_handler(studio: Studio, folder: Path, width: int) -> Callable[..., Iterator[list[Any]]]:
    import gradio as gr

    def make(mode: str, user: str, kinds: list, colours: list, pattern: str, scene: str,
             looks: int, scenes: int, seed: int, steps: int) -> Iterator[list[Any]]:  # fmt: skip
        order = Order(history=tuple(_history(studio, mode, user, kinds, colours, pattern, scene)), user=user,
                      looks=int(looks), scenes=int(scenes), seed=int(seed or 0), steps=int(steps))  # fmt: skip
        total, done, start = order.looks + order.scenes, [], time.monotonic()
        out = Path(tempfile.mkdtemp(prefix="looks-", dir=folder))
        busy, idle = (
            [gr.update(interactive=False), gr.update(interactive=True)],
            [gr.update(interactive=True), gr.update(interactive=False)],
        )
        blank = [part for _ in range(SLOTS) for part in (gr.update(visible=False), *[gr.skip()] * 3)]
        yield [_state("Reading the history …", 0.0), gr.update(visible=False), _command(order, mode), *busy, *blank]
        try:
            for made in studio.make(order, out):
                done.append(made)
                yield [_state(_pace(len(done), total, time.monotonic() - start), len(done) / total), gr.skip(), gr.skip(),
                       *busy, *_slots(gr, len(done) - 1, made)]  # fmt: skip
        except (ValueError, RuntimeError) as error:
            known = hasattr(error, "exit_code")
            yield [_state(str(error) if known else "This did not work; the server's log says why.", 0.0, bad=True),
                   gr.skip(), gr.skip(), *idle, *[gr.skip()] * (width - 5)]  # fmt: skip
            if not known:
                raise
            return
        archive = pack([item.path for item in done], out / "looks.zip")
        text = f"{len(done)} pictures in {time.monotonic() - start:.0f} s."
        yield [
            _state(text, 1.0),
            gr.update(value=str(archive), visible=True),
            gr.skip(),
            *idle,
            *[gr.skip()] * (width - 5),
        ]

    return make


def _slots(gr: Any, index: int, made: Made) -> list[Any]:
    """Fill slot `index` with one picture and leave the others as they are."""
    updates = [gr.skip()] * (4 * SLOTS)
    pair = made.before is not None
    updates[4 * index : 4 * index + 4] = [
        gr.update(visible=True),
        gr.update(visible=pair, value=(str(made.before), str(made.path)) if pair else None),
        gr.update(visible=not pair, value=None if pair else str(made.path)),
        describe(made),
    ]
    return updates


def describe(made: Made) -> str:
    """Write what stands under a picture, as Markdown: its title, the prompt, and the reasons."""
    safe = [html.escape(text).replace("\n", " ") for text in (made.title, made.prompt, *made.reasons)]
    return f"### {safe[0]}\n> {safe[1]}\n\n" + "\n".join(f"- {reason}" for reason in safe[2:])


def pack(files: list[Path], archive: Path) -> Path:
    """Write the files into one zip, byte for byte, under their own names; return its path."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as stream:
        for file in files:
            stream.write(file, file.name)
    return archive


def _pace(done: int, total: int, seconds: float) -> str:
    each = seconds / done
    left = each * (total - done)
    return f"Picture {done} of {total} · {each:.1f} s each" + (f" · about {left:.0f} s left" if left else "")


def _state(text: str, part: float, *, bad: bool = False) -> str:
    mark = "⚠ " if bad else ""
    return (f'<div class="state" role="status" aria-live="polite">{mark}{html.escape(text)}'
            f'<div class="rail"><div class="done" style="width:{100 * part:.0f}%"></div></div></div>')  # fmt: skip


def _command(order: Order, mode: str) -> str:
    if mode != "choose":
        return "# a described person has no number; choose one to see the command"
    flags = {"user": order.user, "looks": order.looks, "scenes": order.scenes, "seed": order.seed, "steps": order.steps}
    return "personagen style " + " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in flags.items())
