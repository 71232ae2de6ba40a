"""Draw docs/architecture.svg: the rooms of the code, and what flows between them.

python docs/architecture.py           # write the picture anew
python docs/architecture.py --check   # exit 1 when the picture is not what this script draws

Boxes bring their own background and lines are grey, so that the picture can be read on white and on black.
"""

import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path

PICTURE = Path(__file__).with_suffix(".svg")
WIDTH, HEIGHT = 960, 600
FILL = {"file": "#f1efe6", "room": "#dbe8f4", "weights": "#e0efdc", "base": "#e6e6ea"}
INK, LINE = "#1d2733", "#7c8794"


@dataclass(frozen=True)
class Box:
    """A box at (x, y) in pixels, with a title and a few words below it; `kind` names its colour."""

    x: int
    y: int
    width: int
    height: int
    kind: str
    title: str
    words: tuple[str, ...] = ()


BOXES = (
    Box(20, 16, 920, 46, "base", "apps", ("the command line and the page: the only place that parses and prints",)),
    Box(20, 90, 170, 60, "file", "interactions", ("user, item, timestamp",)),
    Box(20, 170, 170, 60, "file", "catalogue", ("pictures and words",)),
    Box(20, 256, 170, 60, "file", "photo of a person", ("or rendered by the atelier",)),
    Box(20, 342, 170, 60, "file", "photos of a subject", ("a thing, a person, a style",)),
    Box(240, 90, 180, 60, "room", "recsys", ("which items come next",)),
    Box(240, 256, 180, 60, "room", "person", ("parts, joints, masks",)),
    Box(240, 342, 180, 60, "room", "subject, adapters", ("DreamBooth, LoRA files",)),
    Box(490, 90, 180, 140, "room", "styling", ("chooses items that differ,", "says why, writes prompts")),
    Box(490, 256, 180, 60, "room", "warping", ("old garment off, new on",)),
    Box(490, 342, 180, 60, "weights", "models", ("embedded, or your own",)),
    Box(740, 256, 140, 60, "room", "tryon", ("diffusion, shading",)),
    Box(740, 90, 200, 140, "file", "looks", ("try-on looks, scenes,", "looks.json, sheet.png")),
    Box(20, 454, 170, 60, "room", "atelier", ("renders people, garments,", "masks; invents shoppers")),
    Box(240, 454, 180, 60, "room", "corpora", ("training pictures, pairs",)),
    Box(490, 454, 180, 60, "room", "pretrain, training", ("the stages, the loop",)),
    Box(740, 454, 200, 60, "room", "metrics", ("fidelity, colours, FID, LPIPS",)),
    Box(20, 538, 920, 46, "base", "what every room may use",
        ("images · colours · files · vocabulary · devices · provenance · embedded",)),
)  # fmt: skip
ARROWS = (
    ((190, 120), (240, 120)),
    ((420, 120), (490, 120)),
    ((190, 186), (490, 186)),
    ((190, 286), (240, 286)),
    ((420, 286), (490, 286)),
    ((580, 230), (580, 256)),
    ((670, 286), (740, 286)),
    ((810, 256), (810, 230)),
    ((190, 372), (240, 372)),
    ((420, 376), (490, 376)),
    ((490, 212), (456, 212), (456, 358), (490, 358)),
    ((670, 364), (810, 364), (810, 316)),
    ((670, 382), (912, 382), (912, 230)),
    ((190, 484), (240, 484)),
    ((420, 484), (490, 484)),
    ((580, 454), (580, 402)),
    ((840, 454), (840, 316)),
)
LABELS = (
    (428, 112, "ranking"),
    (588, 247, "garments"),
    (462, 334, "prompts"),
    (818, 247, "try-on looks"),
    (860, 376, "scenes"),
    (676, 358, "weights"),
    (588, 432, "weights"),
    (848, 432, "measures"),
)


def draw() -> str:
    """Return the picture as SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="Helvetica, Arial, DejaVu Sans, sans-serif" text-anchor="middle">',
        "<title>The rooms of the code and what flows between them</title>",
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
        f'orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{LINE}"/></marker></defs>',
        *map(_arrow, ARROWS),
        *map(_box, BOXES),
        *(f'<text x="{x}" y="{y}" font-size="12" fill="{LINE}" text-anchor="start">{escape(text)}</text>'
          for x, y, text in LABELS),
        "</svg>",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _arrow(points: tuple[tuple[int, int], ...]) -> str:
    path = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="1.6" marker-end="url(#tip)"/>'


def _box(box: Box) -> str:
    middle = box.x + box.width / 2
    first = box.y + box.height / 2 - 8.5 * len(box.words) + 5
    lines = [
        f'<text x="{middle:g}" y="{first:g}" font-size="14" font-weight="bold" fill="{INK}">{escape(box.title)}</text>'
    ]
    for number, words in enumerate(box.words, start=1):
        lines.append(
            f'<text x="{middle:g}" y="{first + 17 * number:g}" font-size="12" fill="{INK}">{escape(words)}</text>'
        )
    corner = 0 if box.kind == "room" else 9
    frame = (
        f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="{corner}" '
        f'fill="{FILL[box.kind]}" stroke="{LINE}"/>'
    )
    return "\n".join([frame, *lines])


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(not PICTURE.is_file() or PICTURE.read_text(encoding="utf-8") != draw())
    PICTURE.write_text(draw(), encoding="utf-8")
