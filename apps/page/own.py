"""A visitor's own catalogue: a table and pictures, dropped as files or as a zip, read into the visitor's own folder.

Columns are those of `personagen demo --catalog`. Pictures are written anew without tags; without a table every picture
is an item. A kind that is not said is found in the picture. It goes with everything else of the visitor.
"""

import csv
import html
import io
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any

from PIL import Image

from personagen.provenance import write_png
from personagen.styling.beside import beside
from personagen.styling.catalog import FolderCatalog
from personagen.vocabulary import KIND_OF_LABEL, counted
from personagen.warping.garment_kind import kind_of
from recsys.errors import DataError, shown
from recsys.text import read_cells

from .line import MASK
from .shared import FAILED, KINDS, QUICK, Bench, excuse, shown_if, status
from .visits import LARGEST, Visit, read_picture

TABLES = (".csv", ".parquet")
COLUMNS = ("id", "kind", "colour", "pattern", "scene", "title")
MOST, MOST_FILES = 200, 400
"""Items of a catalogue, and files that may be dropped for one."""
TABLE, UNPACKED = 2_000_000, 200_000_000
"""Bytes of a table, and of a zip's files together."""
SIDE = 1024
"""Longest side in pixels at which pictures are kept."""
LETTERS = 200
HINT = (
    f"Pictures of up to {MOST} garments, each alone on a plain colour, and a CSV or Parquet with columns <code>file"
    "</code> and <code>kind</code> (and, where they are known, <code>id, colour, pattern, scene, title</code>); or all "
    "of it as a zip. Without a table every picture is an item, and kinds are found. It stays on this machine, until "
    "you leave the page or delete your data."
)
Files = dict[str, Callable[[], bytes]]
"""What was given, by its name without folders, each to be read when it is needed."""


def catalogue(gr: Any) -> dict[str, Any]:
    """Draw the place for it."""
    widgets: dict[str, Any] = {}
    with gr.Accordion("Your own catalogue", open=False, elem_id="own-catalogue"):
        gr.Markdown(HINT)
        widgets["own-files"] = gr.File(
            label="Table and pictures, or a zip", file_count="multiple", file_types=[*TABLES, ".zip", *KINDS],
            height=140, elem_id="catalogue-files",
        )  # fmt: skip
    widgets["own-said"] = gr.HTML("", elem_id="catalogue-said")  # seen while the rest is closed
    widgets["own-leave"] = gr.Button(
        "Back to the shop's garments", size="sm", visible="hidden", elem_id="catalogue-leave"
    )
    return widgets


def connect(bench: Bench, widgets: dict[str, Any]) -> list[Any]:
    """Let files be taken in and left again; return the events after which other garments are to be chosen from."""
    import gradio as gr

    files, said, leave = (widgets[f"own-{name}"] for name in ("files", "said", "leave"))
    outputs = [files, said, leave, widgets["picked"], widgets["state"]]

    def take(uploads: list[str] | None, request: gr.Request) -> Iterator[list[Any]]:
        if not uploads:
            yield [gr.skip()] * 5
            return
        yield [gr.skip(), _line("Reading the catalogue …"), *[gr.skip()] * 3]
        try:
            text = _take(bench, str(request.session_hash), uploads)
            yield [None, _line(text), gr.update(visible=True), [], status(f"{text} Press Make looks.", 0.0)]
        except Exception as error:
            told = status(excuse(error), 0.0, bad=True)
            yield [None, _line(excuse(error), bad=True), gr.skip(), gr.skip(), told]

    def back(request: gr.Request) -> list[Any]:
        visit = bench.visits[str(request.session_hash)]
        _forget(visit)
        return [None, "", gr.update(visible="hidden"), [], status("The shop's garments are chosen from again.", 0.0)]

    taken = files.upload(take, files, outputs, concurrency_limit=None, **QUICK)
    taken.failure(None, None, widgets["state"], js=f"async () => (await ({FAILED})())[0]", **QUICK)
    left = leave.click(back, None, outputs, queue=False, **QUICK)
    return [taken.success, left.success]


def say_again(bench: Bench, widgets: dict[str, Any], event: Callable[..., Any]) -> None:
    """After a page was reloaded: say what catalogue is there."""
    import gradio as gr

    def again(request: gr.Request) -> list[Any]:
        visit = bench.visits.get(str(request.session_hash))
        there = visit is not None and visit.shop is not None
        return [_line(visit.shop_said) if visit and there else gr.skip(), gr.update(visible=shown_if(there))]

    event(again, None, [widgets["own-said"], widgets["own-leave"]], **QUICK)


def _line(text: str, *, bad: bool = False) -> str:
    return f'<p class="quiet">{"⚠ " if bad else ""}{html.escape(text)}</p>'


def _take(bench: Bench, session: str, uploads: Sequence[str]) -> str:
    """Read what was dropped at its turn; return a line about it. The uploads are removed, whatever happens."""
    raws = [bench.visits.opened(Path(upload)) for upload in uploads]
    try:
        with bench.visits.working(session) as visit, bench.line.join(MASK, Event()) as turn:
            for _ in turn.wait():
                pass
            folder = visit.place("catalogue")
            try:
                own = read_catalogue(raws, folder)
                studio, text = beside(bench.studio, own)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            _forget(visit)
            visit.shop, visit.shop_said, visit.shop_folder = studio, text, folder
            return text
    finally:
        for raw in raws:
            bench.visits.drop(raw)


def _forget(visit: Visit) -> None:
    """Let an own catalogue go, with the board that shows its items."""
    if visit.shop_folder is not None:
        shutil.rmtree(visit.shop_folder, ignore_errors=True)
    visit.shop, visit.shop_said, visit.shop_folder = None, "", None
    visit.shown = []


def read_catalogue(raws: Sequence[Path], folder: Path) -> FolderCatalog:
    """Write a catalogue of files or zips to a folder that is not there yet, and open it.

    Raises:
        DataError: what the message names.
    """
    files = _files(raws)
    tables = [name for name in files if name.lower().endswith(TABLES)]
    if len(tables) > 1:
        raise DataError(f"there are {len(tables)} tables, {shown(', '.join(tables))}; give one")
    (folder / "images").mkdir(parents=True, mode=0o700)
    rows = _rows(tables[0], files[tables[0]](), folder) if tables else [
        {"file": name} for name in files if name.lower().endswith(tuple(KINDS))]  # fmt: skip
    if not rows or len(rows) > MOST:
        raise DataError(f"the catalogue has {counted(len(rows), 'item')}; give 1 to {MOST}, with their pictures")
    items = [_item(row, files, folder, at) for at, row in enumerate(rows)]
    with (folder / "items.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["file", *COLUMNS])
        writer.writeheader()
        writer.writerows(items)
    return _opened(folder)


def _opened(folder: Path) -> FolderCatalog:
    try:
        return FolderCatalog(folder)
    except DataError as error:
        raise DataError(str(error).replace(str(folder / "items.csv"), "the table")) from error


def _files(raws: Sequence[Path]) -> Files:
    """Name what was given; zips are looked into and not unpacked.

    Raises:
        DataError: too many, too large, no zip, or two of one name.
    """
    found: Files = {}
    pairs: list[tuple[str, Callable[[], bytes]]] = []
    for raw in raws:
        if raw.suffix.lower() == ".zip":
            pairs += _inside(raw)
        else:
            pairs.append((raw.name, lambda raw=raw: _limited(raw.stat().st_size, raw.name, raw.read_bytes)))
    if len(pairs) > MOST_FILES:
        raise DataError(f"{len(pairs)} files are more than {MOST_FILES}; give fewer")
    for name, read in pairs:
        if name in found:
            raise DataError(f"there are two files {shown(name)}; give each picture a name of its own")
        found[name] = read
    return found


def _inside(raw: Path) -> list[tuple[str, Callable[[], bytes]]]:
    try:
        with zipfile.ZipFile(raw) as archive:
            inside = [one for one in archive.infolist() if not one.is_dir() and not one.filename.startswith("__MACOSX")]
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise DataError(f"{shown(raw.name)} is no zip that can be read; pack it again") from error
    size = sum(one.file_size for one in inside)
    if size > UNPACKED or len(inside) > MOST_FILES:
        raise DataError(
            f"{shown(raw.name)} holds {counted(len(inside), 'file')} of {size / 1e6:.0f} MB; allowed are {MOST_FILES} "
            f"of {UNPACKED // 1_000_000} MB"
        )
    return [(Path(one.filename).name, lambda one=one: _unpacked(raw, one)) for one in inside]


def _unpacked(raw: Path, one: zipfile.ZipInfo) -> bytes:
    """Read one file of a zip, and never more of it than it says."""

    def read() -> bytes:
        try:
            with zipfile.ZipFile(raw) as archive, archive.open(one) as stream:
                return stream.read(LARGEST)
        except (zipfile.BadZipFile, OSError, RuntimeError, EOFError, zlib.error) as error:
            raise DataError(
                f"{shown(one.filename)} cannot be unpacked; pack the zip again, without a password"
            ) from error

    return _limited(one.file_size, Path(one.filename).name, read)


def _limited(size: int, name: str, read: Callable[[], bytes]) -> bytes:
    if size > LARGEST:
        raise DataError(f"{shown(name)} is larger than {LARGEST // 1_000_000} MB; save it smaller, then give it again")
    return read()


def _rows(name: str, data: bytes, folder: Path) -> list[dict[str, str]]:
    """Read the table of a catalogue."""
    if len(data) > TABLE:
        raise DataError(f"{shown(name)} is larger than {TABLE // 1_000_000} MB; a catalogue has {MOST} items at most")
    if name.lower().endswith(".parquet"):
        return _parquet(name, data)
    place = folder / "given.csv"
    place.write_bytes(data)
    try:
        columns, lines = read_cells(place)
    except DataError as error:
        raise DataError(str(error).replace(str(place), name)) from error
    finally:
        place.unlink(missing_ok=True)
    return _named(name, columns, [cells for _, cells in lines])


def _parquet(name: str, data: bytes) -> list[dict[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(data))
        if file.metadata.num_rows > MOST or file.metadata.num_columns > 100:
            raise DataError(f"{shown(name)} has {file.metadata.num_rows} rows and {file.metadata.num_columns} columns; "
                            f"a catalogue has {MOST} items at most")  # fmt: skip
        wanted = [one for one in file.schema_arrow.names if one in ("file", "label", "color", *COLUMNS)]
        rows = file.read(columns=wanted).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{shown(name)} is no Parquet file that can be read; write it again") from error
    told = [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows]
    return _named(name, wanted, told)


def _named(name: str, columns: Sequence[str], rows: list[dict[str, str]]) -> list[dict[str, str]]:
    if "file" not in columns:
        there = shown(", ".join(columns), most=200) or "none"
        raise DataError(f"{shown(name)} has the columns {there}; it needs file, the picture's name")
    return rows


def _item(row: dict[str, str], files: Files, folder: Path, at: int) -> dict[str, str]:
    """Write the picture of one row anew; return the row of our own table."""
    given = Path(row["file"].replace("\\", "/")).name
    if given not in files:
        raise DataError(
            f"there is no picture {shown(given or row['file'])} for line {at + 1} of the table; give it too"
        )
    image = read_picture(files[given](), shown(given))
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    ours = f"{at:03d}.png"
    write_png(image, folder / "images" / ours)
    label = (row.get("kind") or row.get("label") or "").strip().lower()
    kind = KIND_OF_LABEL.get(label, label) or kind_of(image).kind
    said = {name: _plain(row.get(name) or "") for name in COLUMNS}
    colour = said["colour"] or _plain(row.get("color") or "")
    return {"file": ours, **said, "kind": kind, "colour": colour, "id": said["id"] or _plain(Path(given).stem)}


def _plain(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]", " ", text).strip()[:LETTERS]
