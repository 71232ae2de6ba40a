"""Examples to click on every tab: pictures of the atelier, which are shipped (`draw`), and words."""

import html
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from personagen.images import load_image
from personagen.provenance import write_png
from recsys.errors import DataError

from .draw import GARMENTS as DRAWN
from .draw import OUTFITS
from .draw import PEOPLE as PHOTOGRAPHED
from .editor import address
from .visits import Visit

SCRIPT = Path(__file__).with_name("examples.js")
SHIPPED = Path(__file__).with_name("examples")
PEOPLE = {name: f"A person, {at} of {len(PHOTOGRAPHED)}" for at, name in enumerate(PHOTOGRAPHED, start=1)}
GARMENTS = {name: name.replace("-", " ").capitalize() for name in DRAWN}
KINDS = {name: spec.kind for name, spec in DRAWN.items()}
TAUGHT = tuple(f"subject-{at}" for at in range(1, OUTFITS + 1))
PROMPTS = (
    "a person wearing a red striped t-shirt and blue trousers on a beach",
    "a person wearing a floral dress in a park",
    "a person wearing a black jacket and white shorts in snow",
    "a person wearing a yellow checked shirt and a gray skirt at night in a city",
)
TASTES: dict[str, tuple[list[str], list[str], str, str]] = {
    "Red dresses, on the beach": (["dress"], ["red"], "any", "beach"),
    "Blue stripes, in the street": (["t-shirt", "sweater"], ["blue"], "striped", "street"),
    "Floral skirts, in the park": (["skirt", "t-shirt"], ["pink", "white"], "floral", "park"),
}
"""Kinds, colours, pattern and place."""
CSS = """
.examples { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; }
.examples p { flex-basis: 100%; margin: 0; font-size: .85rem; color: var(--personagen-quiet); }
.examples button { border: 1px solid var(--border-color-primary); border-radius: 10px; color: var(--body-text-color); }
.examples button { background: var(--button-secondary-background-fill); min-height: 40px; padding: .3rem .8rem; }
.examples button { font-size: .85rem; text-align: left; overflow: hidden; }
.examples button:hover, .examples button:focus-visible { border-color: var(--color-accent); }
.examples button.picture { padding: 0; background: #fff; }
.examples button.picture img { height: 76px; width: auto; margin: 0; display: block; }
.examples button[data-example=all] { max-width: 100%; }
.examples button[data-example=all] img { flex: 0 1 auto; min-width: 0; object-fit: cover; }
"""


def shelf(label: str, names: Mapping[str, str], folder: Path, elem_id: str) -> Any:
    """Draw pictures to click, each with what it shows; they are served from the page's folder."""
    buttons = []
    for name, said in names.items():
        text = html.escape(said)
        buttons.append(f'<button type="button" class="picture" data-example="{name}" title="{text}">'
                       f'<img src="{address(_served(name, folder))}" alt="{text}"></button>')  # fmt: skip
    return _clickable(label, buttons, elem_id)


def together(label: str, said: str, names: Sequence[str], folder: Path, elem_id: str) -> Any:
    """Draw pictures that are given all at once by one click."""
    pictures = "".join(f'<img src="{address(_served(name, folder))}" alt="" style="display:inline">' for name in names)
    button = (f'<button type="button" class="picture" data-example="all" aria-label="{html.escape(said)}" '
              f'title="{html.escape(said)}" style="display:flex">{pictures}</button>')  # fmt: skip
    return _clickable(label, [button], elem_id)


def words(label: str, choices: Sequence[str], elem_id: str) -> Any:
    """Draw words to click."""
    texts = [html.escape(choice) for choice in choices]
    buttons = [f'<button type="button" data-example="{text}">{text}</button>' for text in texts]
    return _clickable(label, buttons, elem_id)


def _clickable(label: str, buttons: Sequence[str], elem_id: str) -> Any:
    import gradio as gr

    text = f'<div class="examples"><p>{html.escape(label)}</p>{"".join(buttons)}</div>'
    script = SCRIPT.read_text(encoding="utf-8")
    return gr.HTML(text, js_on_load=script, apply_default_css=False, padding=False, elem_id=elem_id)


def _served(name: str, folder: Path) -> Path:
    """Copy a picture to where the page serves files from."""
    return Path(shutil.copyfile(SHIPPED / f"{name}.webp", folder / f"item-example-{name}.webp"))


def asked(event: Any, known: Iterable[str]) -> str:
    """Return the name of the example that an event asks for.

    Raises:
        DataError: there is none of this name.
    """
    data = getattr(event, "_data", None)
    name = data.get("what") if isinstance(data, dict) else None
    if not isinstance(name, str) or name not in known:
        raise DataError("there is no such example; click one that is shown")
    return name


def given(visit: Visit, name: str) -> str:
    """Put a shipped picture into a visitor's folder, as if they had given it; return its path."""
    return str(visit.know(write_png(load_image(SHIPPED / f"{name}.webp"), visit.place(name, ".png"))))
