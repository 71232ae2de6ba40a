"""The pictures that a subject is learnt from: thumbnails with a verdict and a caption each, and who is seen."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from personagen.images import load_image
from personagen.person.parser import Parser
from personagen.person.people import find_people
from personagen.subject.data import scan
from personagen.vocabulary import counted
from recsys.errors import DataError

from .editor import address
from .visits import Visit, given_name

MOST = 40
LONGEST = 300
CAPTION = 22
"""Pixels above a row of samples."""
SCRIPT = Path(__file__).with_name("thumbs.js")
CSS = """
.thumbs { display: grid; grid-template-columns: repeat(auto-fill, minmax(120px, 1fr)); gap: .6rem; }
.thumbs figure { margin: 0; font-size: .82rem; color: var(--body-text-color); }
.thumbs img { width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 10px; margin: 0; }
.thumbs .bad img { opacity: .5; }
.thumbs figcaption { margin: .2rem 0; }
.thumbs input { width: 100%; min-height: 40px; border-radius: 8px; padding: .2rem .5rem; font-size: .85rem; }
.thumbs input { border: 1px solid var(--border-color-primary); background: var(--input-background-fill); }
.thumbs input { color: var(--body-text-color); }
"""


def thumbnails(elem_id: str) -> Any:
    """Draw the place of the thumbnails, which is empty until it has a value of `looked_at`."""
    import gradio as gr

    script = SCRIPT.read_text(encoding="utf-8")
    return gr.HTML(
        None, html_template='<div class="thumbs"></div>', js_on_load=script, apply_default_css=False, elem_id=elem_id
    )


def grown(samples: Path) -> Image.Image:
    """Lay the samples of a training below one another: the base model's, then a row for each time they were painted.

    samples: the folder of `step-NNNNNN.png`, whose last row is that step's, and of `step-NNNNNN/0.png`.
    """
    rows = list[tuple[str, Image.Image]]()
    for grid in sorted(samples.glob("step-*.png")):
        with Image.open(grid) as image, Image.open(grid.with_suffix("") / "0.png") as one:
            whole, number = image.convert("RGB"), round(image.height / one.height)
        height = whole.height // number
        if not rows and number > 1:
            rows.append(("Without the subject", whole.crop((0, 0, whole.width, height))))
        step = int(grid.stem.removeprefix("step-"))
        rows.append((f"Step {step}", whole.crop((0, whole.height - height, whole.width, whole.height))))
    sheet = Image.new("RGB", (rows[0][1].width, sum(row.height + CAPTION for _, row in rows)), "white")
    draw, top = ImageDraw.Draw(sheet), 0
    for text, row in rows:
        draw.text((4, top + 2), text, fill="#444", font_size=CAPTION - 8)
        sheet.paste(row, (0, top + CAPTION))
        top += row.height + CAPTION
    return sheet


def gather(files: Sequence[str] | None, folder: Path, captions: Sequence[str] = ()) -> dict[str, str]:
    """Copy uploads into a folder under names of ours, with their captions; return the visitor's name of each.

    Raises:
        DataError: what the message names.
    """
    if not files:
        raise DataError("there are no pictures; give at least one")
    if len(files) > MOST:
        raise DataError(f"{len(files)} pictures are more than {MOST}; choose the best ones")
    folder.mkdir(parents=True, exist_ok=True)
    names = {}
    for place, file in enumerate(files):
        ours = f"{place:02d}{Path(file).suffix.lower()}"
        shutil.copyfile(file, folder / ours)
        names[ours] = given_name(file)
        if place < len(captions) and captions[place].strip():
            (folder / ours).with_suffix(".txt").write_text(captions[place].strip()[:LONGEST] + "\n", encoding="utf-8")
    return names


def looked_at(files: Sequence[str], folder: Path) -> tuple[list[dict[str, Any]], str]:
    """Say of each upload whether it can be learnt from; return what the thumbnails show, and a line.

    Raises:
        DataError: what the message names.
    """
    with tempfile.TemporaryDirectory(dir=folder) as work:
        names = gather(files, Path(work) / "pictures")
        used, findings = scan(Path(work) / "pictures")
    items = []
    for file, finding in zip(files, findings, strict=True):
        detail = (
            f"{finding.decision}: {finding.detail}"
            if finding.detail and finding.decision != "used"
            else finding.decision
        )
        items.append({"src": address(file), "name": names[finding.file], "verdict": _ours(detail, names),
                      "good": finding.decision == "used", "caption": ""})  # fmt: skip
    return items, f"{len(used)} of {counted(len(findings), 'picture')} can be used."


def _ours(text: str, names: dict[str, str]) -> str:
    """Name other pictures as the visitor does."""
    for ours, theirs in names.items():
        text = text.replace(ours, theirs)
    return text


def captions_of(value: Any, count: int) -> list[str]:
    """Return the captions that the browser holds, one for each of `count` files."""
    items = value.get("items") if isinstance(value, dict) else None
    found = [str(item.get("caption") or "") if isinstance(item, dict) else "" for item in items or []]
    return (found + [""] * count)[:count]


def shows_people(visit: Visit, files: Sequence[str], parser: Parser) -> bool:
    """Tell whether somebody is seen in a visit's pictures; each is looked at once."""
    for file in files:
        if file not in visit.people:
            try:
                photo = load_image(visit.own(file))
                visit.people[file] = bool(find_people(photo, parser, parser(photo)))
            except DataError:
                visit.people[file] = False
    return any(visit.people[file] for file in files)
