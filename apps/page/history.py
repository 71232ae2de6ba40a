"""Whose looks are made: a person by name, one in words, or what a visitor chose, here or in a file of theirs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from personagen.styling.beside import Beside
from personagen.styling.studio import Studio
from personagen.vocabulary import counted
from recsys.errors import DataError, shown
from recsys.text import read_cells

from . import examples, own
from .shared import FAILED, QUICK, Bench, excuse, status

MAX_PEOPLE, MOST_SHOWN, MOST_PICKED = 500, 48, 100
LARGEST = 2_000_000
WORDS = ("kinds", "colours", "pattern", "scene")
ITEM, WHEN = ("item", "id", "item_id", "sku", "product"), ("timestamp", "time", "date")
"""Names of the columns of a visitor's own file."""
CSV_HINT = (
    "Click what you chose, the latest last, or drop a CSV with a column <code>item</code> (and <code>timestamp</code>, "
    "where it has one). It is read on this machine alone and not kept."
)


def people(gr: Any, studio: Studio, folder: Path, first: str) -> dict[str, Any]:
    """Draw three ways to say who is dressed."""
    words, known = studio.words(), studio.people(MAX_PEOPLE)
    more = len(studio.source.users()) > len(known)
    widgets: dict[str, Any] = {"mode": gr.State("choose"), "picked": gr.State([])}
    with gr.Tabs() as widgets["ways"]:
        with gr.Tab("Choose one", id="choose") as widgets["choose"]:
            widgets["user"] = gr.Dropdown(
                known, value=first, label="Person, or type an id" if more else "Person", elem_id="user",
                filterable=True, allow_custom_value=more,
            )  # fmt: skip
        with gr.Tab("Describe one", id="describe") as widgets["describe"]:
            widgets["kinds"] = gr.Dropdown(
                words["kind"], label="Wears", multiselect=True, max_choices=4, elem_id="kinds"
            )
            widgets["colours"] = gr.Dropdown(words["colour"], label="Colours", multiselect=True, max_choices=4)
            widgets["pattern"] = gr.Dropdown(
                ["any", *words["pattern"]], value="any", label="Pattern", visible=bool(words["pattern"])
            )
            widgets["scene"] = gr.Dropdown(
                ["any", *words["scene"]], value="any", label="Place", visible=bool(words["scene"])
            )
            widgets["tastes"] = examples.words("Examples to click", list(tastes(studio)), "looks-examples")
        with gr.Tab("Your own", id="own") as widgets["own"]:
            gr.Markdown(CSV_HINT)
            widgets["shelf"] = gr.Gallery(
                label="The catalogue: click to choose", columns=4, height=260, object_fit="contain", format="png",
                interactive=False, allow_preview=False, buttons=[], elem_id="shelf",
            )  # fmt: skip
            with gr.Row():
                widgets["other"] = gr.Button("Show others", size="sm", elem_id="shelf-other")
                widgets["empty"] = gr.Button("Begin anew", size="sm", elem_id="shelf-empty")
            widgets["csv"] = gr.File(
                label="Or your history as CSV", file_types=[".csv"], height=140, elem_id="history-file"
            )
    widgets |= own.catalogue(gr)
    return widgets


def tastes(studio: Studio) -> dict[str, tuple[list[str], list[str], str, str]]:
    """Return the example descriptions that the shop's words can say."""
    said = studio.words()

    def known(taste: tuple[list[str], list[str], str, str]) -> bool:
        kinds, colours, pattern, scene = taste
        wanted = {"kind": kinds, "colour": colours, "pattern": [pattern], "scene": [scene]}
        return all(set(words) - {"any"} <= set(said[slot]) for slot, words in wanted.items())

    return {name: taste for name, taste in examples.TASTES.items() if known(taste)}


def chosen_by(
    studio: Studio, mode: str, user: str, words: tuple[list, list, str, str], picked: Sequence[int]
) -> list[int]:
    """Return the history that is asked for.

    Raises:
        DataError: there is none.
    """
    if mode == "describe":
        kinds, colours, pattern, scene = words
        return studio.describe(kind=kinds or [], colour=colours or [], pattern=pattern, scene=scene)
    if mode == "own":
        most = len(studio.source.catalog)
        items = [int(item) for item in picked if isinstance(item, int) and 1 <= item <= most]
        if not items:
            raise DataError("nothing is chosen yet; click a garment of the catalogue, or drop a CSV")
        return items
    return studio.history(user)


def connect(bench: Bench, widgets: dict[str, Any], state: Any, page: Any) -> None:
    """Let the three ways show their history, and a visitor choose; page: the gradio Blocks around it."""
    import gradio as gr

    studio, mode = bench.studio, widgets["mode"]
    described = [widgets[name] for name in WORDS]
    person = [mode, widgets["user"], *described, widgets["picked"]]
    changing = (widgets["user"], *described, mode, widgets["picked"])
    for event in changing:
        event.change(_shower(bench), person, widgets["history"], **QUICK)
    page.load(_shower(bench), person, widgets["history"], **QUICK)  # drawn when somebody looks, not before
    for name in ("choose", "describe", "own"):
        widgets[name].select(lambda name=name: name, None, mode, **QUICK)
    widgets["tastes"].click(_taste(gr, studio), None, described, **QUICK)
    offset, shelf = widgets["offset"], [widgets["shelf"], widgets["offset"]]
    widgets["own"].select(_pages(bench, 0), offset, shelf, **QUICK)
    widgets["other"].click(_pages(bench, MOST_SHOWN), offset, shelf, **QUICK)
    for event in own.connect(bench, widgets):
        event(_pages(bench, None), offset, shelf, **QUICK)
    widgets["empty"].click(list, None, widgets["picked"], **QUICK)
    widgets["shelf"].select(_picker(bench), [offset, widgets["picked"]], widgets["picked"], **QUICK)
    taken = widgets["csv"].upload(
        _reader(bench), widgets["csv"], [widgets["csv"], widgets["picked"], state], queue=False, **QUICK
    )
    taken.failure(None, None, state, js=f"async () => (await ({FAILED})())[0]", **QUICK)


def _taste(gr: Any, studio: Studio) -> Callable[..., list[Any]]:
    def fill(event: gr.EventData) -> list[Any]:
        known = tastes(studio)
        return list(known[examples.asked(event, known)])

    return fill


def _shower(bench: Bench) -> Callable[..., Any]:
    import gradio as gr

    def show(
        mode: str, user: str, kinds: list, colours: list, pattern: str, scene: str, picked: list, request: gr.Request
    ) -> list:
        studio, folder = bench.shop(str(request.session_hash))
        try:
            return studio.history_pictures(
                chosen_by(studio, mode, user, (kinds, colours, pattern, scene), picked), folder
            )
        except DataError:
            return []  # nothing is described yet

    return show


def shelf_items(studio: Studio, offset: int) -> list[int]:
    """List the items of one page of the catalogue, kinds mixed; only those with a picture, and of two their own."""
    catalog = studio.source.catalog
    numbers = catalog.numbers if isinstance(catalog, Beside) else range(1, len(catalog) + 1)
    items = [item for item in numbers if catalog.words(item)]
    start = offset % max(1, len(items))
    return items[start : start + MOST_SHOWN]


def _pages(bench: Bench, more: int | None) -> Callable[..., tuple[list[tuple[str, str]], int]]:
    """Show the page that is `more` items further; None: the first one."""
    import gradio as gr

    def page(offset: int, request: gr.Request) -> tuple[list[tuple[str, str]], int]:
        studio, folder = bench.shop(str(request.session_hash))
        offset = 0 if more is None else int(offset) + more
        return [one for item in shelf_items(studio, offset) for one in studio.history_pictures([item], folder)], offset

    return page


def _picker(bench: Bench) -> Callable[..., list[int]]:
    import gradio as gr

    def pick(offset: int, picked: list[int], event: gr.SelectData, request: gr.Request) -> list[int]:
        studio, _ = bench.shop(str(request.session_hash))
        items, at = shelf_items(studio, int(offset)), int(event.index)
        return [*picked, items[at]][-MOST_PICKED:] if 0 <= at < len(items) else picked

    return pick


def _reader(bench: Bench) -> Callable[..., list[Any]]:
    import gradio as gr

    def read(upload: str | None, request: gr.Request) -> list[Any]:
        if not upload:
            return [None, gr.skip(), gr.skip()]
        raw = Path(upload)
        try:
            studio, _ = bench.shop(str(request.session_hash))
            items, text = read_history(bench.visits.opened(raw), studio.source.catalog.names)
            return [None, items, status(text, 0.0)]
        except Exception as error:
            return [None, gr.skip(), status(excuse(error), 0.0, bad=True)]
        finally:
            bench.visits.drop(raw)

    return read


def read_history(path: Path, names: Sequence[str]) -> tuple[list[int], str]:
    """Read the items of a visitor's CSV, in the order of its times; return their numbers and a line about it.

    Raises:
        DataError: it has no column of items, or the catalogue knows none of them.
    """
    if path.stat().st_size > LARGEST:
        raise DataError(f"{shown(path.name)} is larger than {LARGEST // 1_000_000} MB; keep the latest lines")
    try:
        columns, lines = read_cells(path)
    except DataError as error:
        raise DataError(str(error).replace(str(path), path.name)) from error
    item = next((column for column in ITEM if column in columns), None)
    if item is None:
        raise DataError(f"{shown(path.name)} has no column item; name the column of what was chosen so")
    when = next((column for column in WHEN if column in columns), None)
    rows = [cells for _, cells in lines]
    if when is not None:
        rows = sorted(rows, key=lambda cells: _time(cells.get(when, "")))
    place = {name: at for at, name in enumerate(names, start=1)}  # of one name the last: their own
    known = [place[cells[item]] for cells in rows if cells.get(item) in place]
    if not known:
        raise DataError(f"{shown(path.name)} names no item of this catalogue; its items look like {names[0]!r}")
    lost = len(rows) - len(known)
    text = f"{counted(len(known), 'item')} of your file" + (f", {lost} are not in this catalogue." if lost else ".")
    return known[-MOST_PICKED:], text


def _time(text: str) -> tuple[int, float, str]:
    try:
        return 0, float(text), ""
    except ValueError:
        return 1, 0.0, text
