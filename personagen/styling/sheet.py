"""Lay a user's history, looks and scores out on one page, as a picture that needs nothing but Pillow."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from .catalog import Catalog, garment_phrase
from .stylist import Look

PAPER, CARD, INK, MUTED, LINE, ACCENT = "#f7f5f1", "#ffffff", "#23211f", "#7b756d", "#e4dfd6", "#b5532c"
WIDTH, MARGIN, GAP = 1600, 64, 28
COLUMNS, PICTURE = 4, (347, 463)
TILE = (112, 149)
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
    """Return a page 1600 pixels wide: the last ten items of the history, then try-on looks, then scenes.

    Each look shows its item, score, caption and reasons. title: the heading, such as "User 17"; note: a line below it;
    person: the photo that was given, shown at the end of the history.
    """
    groups = [("Tried on", [look for look in looks if look.kind == "tryon"]),
              ("Scenes", [look for look in looks if look.kind == "scene"])]  # fmt: skip
    groups = [(name, group) for name, group in groups if group]
    page = _Page(canvas := Image.new("RGB", (WIDTH, 20_000), PAPER), ImageDraw.Draw(canvas))
    y = _heading(page, MARGIN, title, note)
    y = _history(page, y, [int(item) for item in history if item][-MAX_HISTORY:], catalog, person)
    low, high = _range([look.score for look in looks])
    for name, group in groups:
        y = _label(page, y, name)
        for start in range(0, len(group), COLUMNS):
            row = group[start : start + COLUMNS]
            bottoms = [
                _card(page, y, column, look, catalog, (look.score - low) / (high - low))
                for column, look in enumerate(row)
            ]
            y = max(bottoms) + GAP
    return canvas.crop((0, 0, WIDTH, y + MARGIN - GAP))


def _range(scores: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the score bars: the best is a full bar, the worst keeps a quarter."""
    low, high = min(scores, default=0.0), max(scores, default=1.0)
    return (low - (high - low) / 3, high) if high > low else (high - 1.0, high)


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
    """Draw a row of small tiles, oldest first; with a photo, it takes the last place."""
    items = items[1 - MAX_HISTORY :] if person is not None else items
    y = _label(page, y, "Chosen before, latest last")
    step = (WIDTH - 2 * MARGIN - TILE[0]) // (MAX_HISTORY - 1)
    deepest = y
    for column, item in enumerate(items):
        x, garment = MARGIN + column * step, catalog[item]
        _paste(page, fitted(garment.image, TILE), (x, y), radius=10)
        words = garment_phrase({"kind": garment.kind, **garment.attributes})
        bottom = _lines(page, (x, y + TILE[1] + 8), words, size=16, width=step - 14, fill=MUTED, most=3)
        deepest = max(deepest, bottom)
    if person is not None:
        x = MARGIN + (MAX_HISTORY - 1) * step
        _paste(page, fitted(person, TILE), (x, y), radius=10)
        deepest = max(
            deepest, _lines(page, (x, y + TILE[1] + 8), "the photo given", size=16, width=step, fill=INK, most=1)
        )
    return deepest + GAP


def _card(page: _Page, y: int, column: int, look: Look, catalog: Catalog, strength: float) -> int:
    x = MARGIN + column * (PICTURE[0] + GAP)
    _paste(page, fitted(look.image, PICTURE), (x, y), radius=16)
    thumb = (84, 112)
    corner = (x + PICTURE[0] - thumb[0] - 12, y + 12)  # the head is in the middle, the feet below stay free
    _paste(page, fitted(catalog[look.item].image, thumb), corner, radius=10, edge=3)
    bar = y + PICTURE[1] + 14
    _bar(page, (x, bar), strength, f"{look.score:.2f}")
    y = _lines(page, (x, bar + 26), look.prompt, size=20, width=PICTURE[0], fill=INK, most=4)
    for line in _why(look):
        y = _lines(page, (x, y + 2), line, size=16, width=PICTURE[0], fill=MUTED, most=3)
    return y + 8


def _why(look: Look) -> list[str]:
    """Return the reasons as lines: a past item each, the concepts together, a note each."""
    near = [f"near {reason.text} ({reason.score:.2f})" for reason in look.reasons if reason.source == "past"]
    meant = [f"{reason.text} {reason.score:+.1f}" for reason in look.reasons if reason.source == "concept"]
    notes = [reason.text for reason in look.reasons if reason.source == "note"]
    return [*near, *(["taste: " + ", ".join(meant)] if meant else []), *notes]


def _bar(page: _Page, at: tuple[int, int], strength: float, text: str) -> None:
    (x, y), width = at, PICTURE[0] - 76
    page.pen.rounded_rectangle((x, y + 4, x + width, y + 12), 4, fill=LINE)
    page.pen.rounded_rectangle((x, y + 4, x + max(8, round(width * min(strength, 1.0))), y + 12), 4, fill=ACCENT)
    page.pen.text((x + PICTURE[0], y + 8), text, font=_font(18), fill=INK, anchor="rm")


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
