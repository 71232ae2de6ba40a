"""The cards of the Looks tab: the picture, who it was before, the garment that was recommended, and why.

All cards are one component: `cards` writes their HTML, `board.js` moves the slider and enlarges pictures, and a click
on a button of a card comes back as an event with what it asks for and the card's place.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from personagen.styling.beside import Beside
from personagen.styling.catalog import Catalog, FolderCatalog, garment_phrase
from personagen.styling.prompts import Reason
from personagen.styling.stylist import Look
from personagen.vocabulary import SCENE_PHRASE, counted

from .editor import address

SCRIPT = Path(__file__).with_name("board.js")
CSS = """
.board { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); gap: 1rem; }
.look { border: 1px solid var(--border-color-primary); border-radius: 16px; overflow: hidden; align-self: start; }
.look { background: var(--block-background-fill); color: var(--body-text-color); }
.look .pair { position: relative; line-height: 0; background: #f5f5f4; }
.look .pair img { width: 100%; height: auto; margin: 0; display: block; }
.look.worn { max-width: 520px; }
.look .pair .before { position: absolute; inset: 0; z-index: 1; clip-path: inset(0 calc(100% - var(--cut, 0%)) 0 0); }
.look .pair .enlarge { position: absolute; z-index: 2; right: .5rem; top: .5rem; min-width: 40px; min-height: 40px; }
.look .pair .enlarge { border-radius: 10px; background: rgba(255,255,255,.88); color: #1c1917; font-size: 1.1rem; }
.look .slide { display: flex; align-items: center; gap: .7rem; padding: 0 1rem; font-size: .82rem; min-height: 44px; }
.look .slide { color: var(--personagen-quiet); }
.look .cut { flex: 1; min-width: 0; height: 40px; margin: 0; accent-color: var(--color-accent); }
.look .words { padding: .2rem 1rem 1rem; font-size: .95rem; line-height: 1.45; }
.look .tag { margin: .5rem 0 0; font-size: .82rem; font-weight: 600; color: var(--personagen-quiet); }
.look h3 { margin: .1rem 0 .5rem; font-size: 1.1rem; color: var(--body-text-color); }
.look .small { display: flex; gap: .6rem; margin: 0 0 .6rem; }
.look figure { margin: 0; width: 86px; font-size: .78rem; color: var(--personagen-quiet); text-align: center; }
.look figure img { width: 86px; height: 108px; object-fit: contain; background: #fff; border-radius: 8px; }
.look figure img { border: 1px solid var(--border-color-primary); margin: 0; }
.look ul { margin: .2rem 0 .7rem; padding-left: 1.1rem; color: var(--body-text-color); }
.look .acts { display: flex; flex-wrap: wrap; gap: .5rem; }
.look .acts button { min-height: 40px; padding: 0 .8rem; border-radius: 10px; font-weight: 600; }
.look .acts button { border: 1px solid var(--border-color-primary); color: var(--body-text-color); }
.look .acts button { background: var(--button-secondary-background-fill); }
.look .acts .offer { font-size: inherit; }
dialog.large { border: 0; padding: 0; background: transparent; max-width: 96vw; max-height: 96vh; }
dialog.large::backdrop { background: rgba(12, 10, 9, .85); }
dialog.large img { max-width: 96vw; max-height: 92vh; width: auto; min-height: min(92vh, 700px); object-fit: contain; }
"""


@dataclass(frozen=True)
class Card:
    """A look on the board: its picture, the garment's and the person's before, and its words."""

    look: Look
    picture: Path
    garment: Path | None
    before: Path | None
    title: str
    why: tuple[str, ...]
    scene: str = ""


def board(elem_id: str) -> Any:
    """Draw the board, which is empty until it has cards."""
    import gradio as gr

    script = SCRIPT.read_text(encoding="utf-8")
    return gr.HTML("", js_on_load=script, apply_default_css=False, padding=False, elem_id=elem_id)


def card_of(look: Look, catalog: Catalog, picture: Path, *, garment: Path | None, before: Path | None) -> Card:
    """Say a look in a shopper's words."""
    shelf, item = catalog.place(look.item) if isinstance(catalog, Beside) else (catalog, look.item)
    own = shelf.title(item) if isinstance(shelf, FolderCatalog) else ""
    title = own or garment_phrase(catalog.words(look.item))
    named = next((name for name, said in SCENE_PHRASE.items() if said in look.prompt), "")
    scene = named if look.kind == "scene" else ""
    return Card(look, picture, garment, before, title[0].upper() + title[1:], tuple(why(look.reasons)), scene)


def why(reasons: Sequence[Reason]) -> list[str]:
    """Write the reasons as sentences: what is alike among what was chosen, what suits the taste, what was left out."""
    past = [reason.text for reason in reasons if reason.source == "past"]
    taste = [_taste(reason.text) for reason in reasons if reason.source == "concept"]
    lines = [f"Close to what you chose before: {_listed(past)}"] if past else []
    lines += [f"Suits your taste for {_listed(taste)}"] if taste else []
    return lines + [_note(reason) for reason in reasons if reason.source == "note"]


def _taste(text: str) -> str:
    slot, _, word = text.partition(" ")
    if slot == "scene":
        return f"days {SCENE_PHRASE.get(word, word)}"
    if slot == "kind":
        return f"{word}es" if word.endswith("ss") else word if word.endswith("s") else f"{word}s"
    return f"{word} things" if slot == "pattern" else word


def _note(reason: Reason) -> str:
    if reason.item:
        return "Worn with " + reason.text.partition(", ")[2]
    passed = re.match(r"(\d+) better-ranked items? passed over: this picture has no mask for (.+)", reason.text)
    if passed:
        what = f"{counted(int(passed[1]), 'item')} ranked higher ({passed[2]})"
        return f"{what} cannot be put on in this photo"
    return reason.text[0].upper() + reason.text[1:]


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def cards(shown: Sequence[Card], *, dressable: bool = True) -> str:
    """Write the board's HTML; every word of a catalogue is escaped."""
    return f'<div class="board">{"".join(_card(at, card) for at, card in enumerate(shown))}</div>' if shown else ""


def _card(at: int, card: Card) -> str:
    look, words = card.look, html.escape
    tag = f"Scene · {SCENE_PHRASE.get(card.scene, 'a place for this taste')}" if look.kind == "scene" else "Tried on"
    alt = words(look.prompt)
    pair = _pair(card.picture, card.before, alt)
    small = _figure(card.garment, "Recommended", card.title) if card.garment is not None else ""
    small += _figure(card.before, "Before", "The person before") if card.before is not None else ""
    reasons = "".join(f"<li>{words(line)}</li>" for line in card.why)
    return (
        f'<article class="look" id="{look.kind}-{at}" data-kind="{look.kind}">'
        f'{pair}<div class="words"><p class="tag">{words(tag)}</p><h3>{words(card.title)}</h3>'
        f'<div class="small">{small}</div><ul>{reasons}</ul><div class="acts">'
        f'<button type="button" data-act="wear" data-at="{at}">Try this on me</button>'
        f'<button type="button" data-act="paint" data-at="{at}">Paint me in it</button>'
        f'<button type="button" data-act="turn" data-at="{at}">Turn it (3D)</button>'
        f'<a class="offer" href="{address(card.picture)}" download="{words(card.picture.name)}">Save</a>'
        f"</div></div></article>"
    )


def worn(before: str | Path, after: str | Path) -> str:
    """Write what was tried on as HTML: the result, and a slider to the person before."""
    return f'<div class="look worn">{_pair(Path(after), Path(before), "The person in the new garment")}</div>'


def _pair(after: Path, before: Path | None, alt: str) -> str:
    """Write a picture that can be shown large, over it the person before and the slider that uncovers them."""
    large = '<button type="button" class="enlarge" aria-label="Show it large">⤢</button>'
    picture = f'<img class="after" src="{address(after)}" alt="{alt}">'
    if before is None:
        return f'<div class="pair">{picture}{large}</div>'
    picture += f'<img class="before" src="{address(before)}" alt="The same person before">'
    return (
        f'<div class="pair">{picture}{large}</div>'
        '<label class="slide">After<input class="cut" type="range" min="0" max="100" value="0" '
        'aria-label="Slide from the new garment to the person before">Before</label>'
    )


def _figure(picture: Path | None, caption: str, alt: str) -> str:
    if picture is None:
        return ""
    return (f'<figure><img src="{address(picture)}" alt="{html.escape(alt)}"><figcaption>{html.escape(caption)}'
            "</figcaption></figure>")  # fmt: skip
