"""Lay a user's photo, history, looks and scores out on one page, as a picture that needs nothing but Pillow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from .catalog import Catalog, garment_phrase
from .prompts import in_a_line
from .stylist import Look

PAPER, CARD, INK, MUTED, LINE, ACCENT = "#f7f5f1", "#ffffff", "#23211f", "#7b756d", "#e4dfd6", "#b5532c"
WIDTH, MARGIN, GAP = 1600, 64, 28
LOOK, SCENE, PHOTO = (347, 463), (722, 963), (347, 463)
TILE = (140, 187)
MAX_HISTORY = 10


@dataclass(frozen=True)
class _Page:
    """A growing page: the canvas, its pen, and the row where the next block starts."""

    canvas: Image.Image
    pen: ImageDraw.ImageDraw


def draw_sheet(
    looks: Sequence[Look],
    *,
    history: Sequence[int],
    catalog: Catalog,
    title: str,
    note: str = "",
    person: Image.Image | None = None,
) -> Image.Image:
    """Return a page 1600 pixels wide: photo and last ten items of the history, then try-on looks, then scenes, larger.

    Each look shows its item, its share of the best score, caption and reasons. title: the heading, such as "User 17";
    note: a line below it; person: the photo that was dressed.
    """
    groups = [("Tried on", LOOK, [look for look in looks if look.kind == "tryon"]),
              ("Scenes", SCENE, [look for look in looks if look.kind == "scene"])]  # fmt: skip
    page = _Page(canvas := Image.new("RGB", (WIDTH, 40_000), PAPER), ImageDraw.Draw(canvas))
    y = _heading(page, MARGIN, title, note)
    y = _history(page, y, [int(item) for item in history if item][-MAX_HISTORY:], catalog, person)
    share = dict(zip(map(id, looks), shares([look.score for look in looks]), strict=True))
    for name, size, group in groups:
        y = _label(page, y, name) if group else y
        columns = (WIDTH - 2 * MARGIN + GAP) // (size[0] + GAP)
        for start in range(0, len(group), columns):
            row = group[start : start + columns]
            y = GAP + max(_card(page, (MARGIN + column * (size[0] + GAP), y), size, look, catalog, share[id(look)])
                          for column, look in enumerate(row))  # fmt: skip
    return canvas.crop((0, 0, WIDTH, y + MARGIN - GAP))


def shares(scores: Sequence[float]) -> list[float]:
    """Return each score as a share of the best, in [0, 1].

    Scores that are never below 0 (counts, probabilities) are divided by the best; others are logarithms of odds, as
    those of log-probabilities are: exp(score - best).
    """
    best = max(scores, default=0.0)
    if min(scores, default=0.0) < 0:
        return [math.exp(score - best) for score in scores]
    return [score / best if best > 0 else 1.0 for score in scores]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _heading(page: _Page, y: int, title: str, note: str) -> int:
    page.pen.text((MARGIN, y), title, font=_font(52), fill=INK)
    y += 70
    if note:
        for line in wrap(note, 22, WIDTH - 2 * MARGIN)[:2]:
            page.pen.text((MARGIN, y), line, font=_font(22), fill=MUTED)
            y += 30
    return y + 14


def _label(page: _Page, y: int, text: str) -> int:
    page.pen.line((MARGIN, y, WIDTH - MARGIN, y), fill=LINE, width=2)
    page.pen.text((MARGIN, y + 18), text, font=_font(26), fill=ACCENT)
    return y + 66


def _history(page: _Page, y: int, items: Sequence[int], catalog: Catalog, person: Image.Image | None) -> int:
    """Draw the photo at the left, where there is one, and beside it tiles of the history, five a row, oldest first."""
    left, deepest = MARGIN, 0
    y = _label(page, y, "Chosen before, latest last" if person is None else "The photo, and what was chosen before")
    if person is not None:
        _paste(page, fitted(person, PHOTO), (left, y), radius=16)
        left, deepest = left + PHOTO[0] + 2 * GAP, y + PHOTO[1]
    columns = MAX_HISTORY if person is None else MAX_HISTORY // 2
    step = (WIDTH - MARGIN - left) // columns
    size = (min(TILE[0], step - 14), min(TILE[0], step - 14) * TILE[1] // TILE[0])
    for start in range(0, len(items), columns):
        bottoms = [_tile(page, (left + column * step, y), size, step - 14, catalog, item)
                   for column, item in enumerate(items[start : start + columns])]  # fmt: skip
        y = max(bottoms) + 6
    return max(y, deepest) + GAP


def _tile(page: _Page, at: tuple[int, int], size: tuple[int, int], width: int, catalog: Catalog, item: int) -> int:
    garment = catalog[item]
    _paste(page, fitted(garment.image, size), at, radius=10)
    words = garment_phrase({"kind": garment.kind, **garment.attributes})
    return _lines(page, (at[0], at[1] + size[1] + 8), words, size=16, width=width, fill=MUTED, most=2)


def _card(
    page: _Page, at: tuple[int, int], size: tuple[int, int], look: Look, catalog: Catalog, strength: float
) -> int:
    x, y = at
    _paste(page, fitted(look.image, size), at, radius=16)
    thumb = (84, 112)
    corner = (x + size[0] - thumb[0] - 12, y + 12)  # the head is in the middle, the feet below stay free
    _paste(page, fitted(catalog[look.item].image, thumb), corner, radius=10, edge=3)
    bar = y + size[1] + 14
    _bar(page, (x, bar), size[0], strength)
    y = _lines(page, (x, bar + 28), look.prompt, size=20, width=size[0], fill=INK, most=4)
    return _lines(page, (x, y + 2), in_a_line(look.reasons), size=16, width=size[0], fill=MUTED, most=6) + 8


def _bar(page: _Page, at: tuple[int, int], width: int, strength: float) -> None:
    """Draw a share of the best, 0 to 1, as a bar, and say it in per cent."""
    (x, y), long = at, width - 76
    page.pen.rounded_rectangle((x, y + 4, x + long, y + 12), 4, fill=LINE)
    page.pen.rounded_rectangle((x, y + 4, x + max(8, round(long * strength)), y + 12), 4, fill=ACCENT)
    page.pen.text((x + width, y + 8), f"{strength:.0%}", font=_font(18), fill=INK, anchor="rm")


def _lines(page: _Page, at: tuple[int, int], text: str, *, size: int, width: int, fill: str, most: int) -> int:
    """Write text in at most `most` lines from `at` downwards; return where the next block may start."""
    (x, y), lines = at, wrap(text, size, width)
    lines = lines if len(lines) <= most else [*lines[: most - 1], lines[most - 1] + " …"]
    for line in lines:
        page.pen.text((x, y), line, font=_font(size), fill=fill)
        y += round(size * 1.35)
    return y


def wrap(text: str, size: int, width: int) -> list[str]:
    """Break text at spaces into lines no wider than `width` pixels in the default font; a longer word stands alone."""
    lines, font = [""], _font(size)
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def fitted(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale a picture to lie whole inside `size` (W, H), on white."""
    scale = min(size[0] / image.width, size[1] / image.height)
    inner = image.convert("RGB").resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.LANCZOS
    )
    canvas = Image.new("RGB", size, CARD)
    canvas.paste(inner, ((size[0] - inner.width) // 2, (size[1] - inner.height) // 2))
    return canvas


def _paste(page: _Page, image: Image.Image, at: tuple[int, int], *, radius: int, edge: int = 0) -> None:
    """Paste with round corners (drawn fourfold and shrunk, so they are smooth), on a white card where `edge` > 0."""
    if edge:
        card = Image.new("RGB", (image.width + 2 * edge, image.height + 2 * edge), CARD)
        page.canvas.paste(card, (at[0] - edge, at[1] - edge), _corners(card.size, radius + edge))
    page.canvas.paste(image, at, _corners(image.size, radius))


@cache
def _corners(size: tuple[int, int], radius: int) -> Image.Image:
    large = Image.new("L", (size[0] * 4, size[1] * 4), 0)
    ImageDraw.Draw(large).rounded_rectangle((0, 0, large.width - 1, large.height - 1), radius * 4, fill=255)
    return large.resize(size, Image.Resampling.LANCZOS)
