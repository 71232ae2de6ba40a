"""The mask editor: the photo with what is repainted over it, and strokes that add to it or take from it.

Every garment of an outfit has a mask and strokes of its own. The browser keeps strokes apart from the masks that were
found (`editor.js`) and sends them as pictures of its own size: red adds, blue erases. So they stay when another mask is
found, and the photo is never sent again.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from personagen.images import load_image
from recsys.errors import DataError

SCRIPT = Path(__file__).with_name("editor.js")
TEMPLATE = """
<div class="mask-editor" hidden>
  <p class="mask-label">What is repainted</p>
  <div class="mask-of" role="radiogroup" aria-label="The garment that is put there" hidden></div>
  <div class="mask-tools" role="toolbar" aria-label="Painting the mask">
    <button type="button" data-tool="paint" aria-pressed="true">Paint</button>
    <button type="button" data-tool="erase" aria-pressed="false">Erase</button>
    <label>Brush <input type="range" min="2" max="40" value="10" aria-label="Width of the brush"></label>
    <button type="button" data-do="undo" disabled>Undo</button>
    <button type="button" data-do="found" disabled>Back to the found mask</button>
  </div>
  <div class="mask-stage">
    <img alt="The photo that is dressed">
    <canvas tabindex="0" role="application"
      aria-label="The mask: arrows move the brush, Space paints, B takes the brush, E the eraser"></canvas>
  </div>
  <p class="mask-hint">Red is repainted. Striped was found and is kept, as it was erased. With the keyboard: arrows move
    the brush, Space paints, B and E change the tool.</p>
</div>
"""
CSS = """
.mask-editor[hidden] { display: none; }
.mask-editor .mask-label { font-weight: 600; margin: 0 0 .4rem; }
.mask-of { display: flex; flex-wrap: wrap; gap: .5rem; margin-bottom: .5rem; }
.mask-of[hidden] { display: none; }
.mask-tools { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin-bottom: .5rem; }
.mask-editor button { min-height: 40px; padding: 0 .9rem; border-radius: 10px; color: var(--body-text-color); }
.mask-editor button { border: 1px solid var(--border-color-primary); }
.mask-editor button { background: var(--button-secondary-background-fill); }
.mask-editor button:is([aria-pressed=true], [aria-checked=true]) { color: #fff; }
.mask-editor button:is([aria-pressed=true], [aria-checked=true]) { background: var(--button-primary-background-fill); }
.mask-editor button:disabled { opacity: .45; }
.mask-tools label { display: flex; align-items: center; gap: .5rem; min-height: 40px; color: var(--body-text-color); }
.mask-tools input { width: 110px; height: 40px; accent-color: var(--color-accent); }
.mask-stage { position: relative; line-height: 0; border-radius: 12px; overflow: hidden; background: #f5f5f4; }
.mask-stage img, .mask-stage canvas { width: 100%; height: auto; display: block; margin: 0; }
.mask-stage canvas { position: absolute; inset: 0; touch-action: none; cursor: crosshair; }
.mask-editor .mask-hint { font-size: .85rem; color: var(--body-text-color-subdued); margin: .4rem 0 0; }
@media (max-width: 640px) { .mask-stage { width: calc(100% - 44px); } }
"""
"""On a phone a strip beside the photo is left to scroll by."""
DATA = "data:image/png;base64,"
LARGEST = 4_000_000
"""Letters of the strokes."""


def mask_editor(elem_id: str) -> Any:
    """Draw the editor, which shows nothing until it has a value of `shown`."""
    import gradio as gr

    script = SCRIPT.read_text(encoding="utf-8")
    return gr.HTML(None, html_template=TEMPLATE, js_on_load=script, apply_default_css=False, elem_id=elem_id)


def address(path: str | Path) -> str:
    """Return where the browser finds a file of the page's folder."""
    return f"gradio_api/file={quote(str(path))}"


def shown(photo: Path, found: "Sequence[tuple[str, Path] | None]", strokes: Any = None) -> dict[str, Any]:
    """Return the editor's value for a photo and the masks that were found in it, white where it is repainted.

    found: a name and a mask for each place of an outfit, None where there is no garment; strokes: of each place.
    """
    masks = [None if one is None else {"name": one[0], "found": address(one[1])} for one in found]
    return {"photo": address(photo), "masks": masks, "strokes": strokes}


def strokes_of(value: Any, places: int) -> list[Any]:
    """Return the strokes of an editor's value for each place of an outfit, None where there are none."""
    strokes = value.get("strokes") if isinstance(value, dict) else value
    if not isinstance(strokes, list):
        strokes = [strokes]  # pictures of before carry those of the first garment alone
    return [one or None for one in (*strokes, *[None] * places)][:places]


def painted(strokes: Any, found: np.ndarray) -> np.ndarray | None:
    """Return the mask (H, W) bool after the strokes of one garment; None where there are none.

    Raises:
        DataError: the strokes are no picture of the editor's.
    """
    if not strokes:
        return None
    if not (isinstance(strokes, str) and strokes.startswith(DATA) and len(strokes) < LARGEST):
        raise DataError("the strokes on the mask did not arrive whole; paint them again")
    try:
        image = load_image(base64.b64decode(strokes[len(DATA) :], validate=True))  # laid on white
    except ValueError as error:
        raise DataError("the strokes on the mask did not arrive whole; paint them again") from error
    height, width = found.shape
    red, green, blue = np.moveaxis(np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)), 2, 0)
    return np.where(green < 128, red > blue, found)
