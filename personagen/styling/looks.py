"""Write looks to a folder that appears whole or not at all: pictures with their origin, looks.json, sheet.png."""

import json
import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from recsys.errors import ConfigError, DataError
from recsys.folders import swap_folder, work_folder

from ..files import write_text
from ..provenance import Parameters, versions, write_png
from ..vocabulary import counted
from .catalog import Catalog
from .figures import write_figure
from .sheet import draw_sheet
from .stylist import Look

MANIFEST, SHEET = "looks.json", "sheet.png"
SCHEMA = "personagen/looks/1"


class NoLook(DataError):
    """There was not a single look to write: none was asked for, or the work was stopped before the first."""


@dataclass(frozen=True)
class Written:
    """A look and its PNG, with its figure as .glb beside it where it has one.

    While `write_looks` runs, the files lie in a folder beside the final one.
    """

    look: Look
    path: Path


def write_looks(
    looks: Iterable[Look],
    out_dir: str | os.PathLike[str],
    *,
    history: Sequence[int],
    catalog: Catalog,
    title: str = "Looks",
    run: Mapping[str, Any] | None = None,
    person: Image.Image | None = None,
    metadata: bool = True,
) -> Generator[Written, None, None]:
    """Write each look when it comes and yield it; after the last one, move the finished folder to `out_dir`.

    run: what else made the pictures (configuration, adapters, model names); it goes into looks.json and every PNG.
    person: the photo that is dressed, for the sheet only.
    metadata: False leaves both text chunks out of the PNGs. When anything fails, or the caller stops early, nothing is
    left behind and an older `out_dir` stays as it was.

    Raises:
        ConfigError: `out_dir` holds files that are not looks.
        NoLook: there was not a single look.
    """
    out = Path(out_dir).absolute()
    check_out_dir(out)
    with work_folder(out) as folder:
        done: list[Written] = []
        for number, look in enumerate(looks, start=1):
            path = folder / f"{number:02d}-{look.kind}-item{look.item}.png"
            write_look(look, path, catalog, run or {}, metadata)
            done.append(Written(replace(look, figure=None), path))
            yield done[-1]
        if not done:
            raise NoLook("no look was made; ask for at least one look or scene")
        _write_manifest(done, folder, history, catalog, title, run or {})
        _write_sheet(done, folder, history, catalog, title, person)
        check_out_dir(out)
        swap_folder(folder, out)


def check_out_dir(out: Path) -> None:
    """Refuse a file, or a folder with something in it that is not looks.

    Raises:
        ConfigError: what the message names.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; name a folder that is new or holds earlier looks")
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise ConfigError(
            f"{out} holds other files and would be replaced; name a folder that is new or holds earlier looks"
        )


def describe(look: Look, catalog: Catalog) -> dict[str, Any]:
    """Return everything about a look but its pixels and timing, ready for JSON: equal for equal looks."""
    return {
        "kind": look.kind,
        "item": look.item,
        "name": catalog.names[look.item - 1],
        "words": catalog.words(look.item),
        "score": look.score,
        "prompt": look.prompt,
        "why": [asdict(reason) for reason in look.reasons],
        "seed": look.seed,
        "settings": dict(look.settings),
        **({} if look.trust is None else {"trust": round(look.trust, 4)}),
    }


def write_look(look: Look, path: Path, catalog: Catalog, run: Mapping[str, Any], metadata: bool) -> None:
    """Write a look's picture with what made it, and its figure beside it: the same look and run give the same bytes."""
    record = {**describe(look, catalog), "run": run, "versions": versions()}
    if look.figure is not None:
        write_figure(look.figure, path.with_suffix(".glb"), record=record if metadata else None)
    if not metadata:
        write_png(look.image, path)
        return
    negative = look.settings.get("Negative prompt", "")
    settings = {name: value for name, value in look.settings.items() if name != "Negative prompt"}
    write_png(look.image, path, parameters=Parameters(look.prompt, negative, settings), record=record)


def _write_manifest(
    done: list[Written], folder: Path, history: Sequence[int], catalog: Catalog, title: str, run: Mapping[str, Any]
) -> None:
    past = [int(item) for item in history if item]
    manifest = {
        "schema": SCHEMA,
        "title": title,
        "history": [{"item": item, "name": catalog.names[item - 1], "words": catalog.words(item)} for item in past],
        "looks": [
            {
                "file": one.path.name,
                **_figure_of(one),
                **describe(one.look, catalog),
                "seconds": round(one.look.seconds, 3),
            }
            for one in done
        ],
        "run": run,
        "versions": versions(),
    }
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


def _figure_of(one: Written) -> dict[str, str]:
    figure = one.path.with_suffix(".glb")
    return {"figure": figure.name} if figure.is_file() else {}


def _write_sheet(
    done: list[Written],
    folder: Path,
    history: Sequence[int],
    catalog: Catalog,
    title: str,
    person: Image.Image | None,
) -> None:
    past = [int(item) for item in history if item]
    tried = sum(one.look.kind == "tryon" for one in done)
    note = " · ".join(
        (
            f"{counted(len(past), 'item')} chosen before",
            f"{counted(tried, 'look')} tried on",
            counted(len(done) - tried, "scene"),
        )
    )
    past = [item for item in past if catalog.words(item) and _readable(catalog, item)]
    page = draw_sheet([one.look for one in done], history=past, catalog=catalog, title=title, note=note, person=person)
    write_png(page, folder / SHEET)


def _readable(catalog: Catalog, item: int) -> bool:
    """Tell whether an item's picture can be drawn: what is painted is not lost to one that was damaged meanwhile."""
    try:
        return catalog[item] is not None
    except DataError:
        return False
