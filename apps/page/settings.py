"""Settings that travel: into every picture, back from one, to the command line and to its YAML.

A tab's settings are those of the command that does the same, under its names. A picture carries them in its record
under `page`; a picture or a YAML file that is dropped on the page brings them back.
"""

import base64
import hashlib
import html
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from personagen.provenance import RECORD, Provenance, read_png
from personagen.schedulers import CLASSES
from recsys.errors import SEEDS, DataError, shown

from .bases import EMBEDDED
from .visits import Visit

PAGE = "page"
LARGEST = 12_000_000
"""Bytes of what is dropped."""
PRESET = 100_000
LINK, MOST_LINK = "go", 8000
"""Name of the settings in a link, and the letters they may take."""


@dataclass(frozen=True)
class Kept:
    """What travels of a tab: the command that does the same, its settings' components, and where photos belong.

    fields: by the command's names. own: what only the page has. photos: by names of the page. before: the command's
    words that the page always adds, such as those of the shop. base: the field that names a base model.
    """

    tab: str
    command: str
    fields: Mapping[str, Any]
    photos: Mapping[str, Any] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    own: Mapping[str, Any] = field(default_factory=dict)
    base: str = ""

    @property
    def parts(self) -> list[Any]:
        """All components that a dropped file fills, in the order of `updates`."""
        return [*self.fields.values(), *self.own.values(), *self.photos.values()]

    def settings(self, values: Sequence[Any]) -> dict[str, Any]:
        """Name the values of `fields`, in their order; what says nothing ("", None, an empty list) is left out."""
        named = zip(self.fields, values, strict=True)
        return {name: _plain(value) for name, value in named if value is not None and value != "" and value != []}

    def record(self, settings: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Return what a picture carries: the settings, and what else the page needs to make it again."""
        return {PAGE: {"tab": self.tab, "command": self.command, "settings": dict(settings), **more}}

    def line(self, settings: Mapping[str, Any], *files: str) -> str:
        """Write the command with its settings; files: further words, such as --person and a name to fill in."""
        words = [*self.command.split(), *self.before, *files]
        for name, value in settings.items():
            text = json.dumps(value) if isinstance(value, list | dict) else str(value)
            text = own_copy(text) if name == self.base else text
            words += [f"--{name}", text.lower() if isinstance(value, bool) else text]
        return "personagen " + " ".join(shlex.quote(word) for word in words)


def own_copy(base: str) -> str:
    """Return what stands on the command line for a base model, whose place on the server is nobody's business."""
    return base if base == EMBEDDED else "YOUR-COPY-OF-" + re.sub(r"[^\w.]+", "-", base).strip("-")


def same(kept: Kept, settings: Mapping[str, Any], *files: str) -> str:
    """Write the command as HTML, and a link that saves the settings as its YAML."""
    text = preset(kept, settings)
    return (f'<pre class="command">{html.escape(kept.line(settings, *files))}</pre><div class="examples">'
            f'<a class="offer" href="{html.escape(link(kept, settings))}">Link to these settings</a>'
            f'<a class="offer" href="data:text/yaml;charset=utf-8,{quote(text)}" '
            f'download="personagen-{kept.tab}.yaml">Save the settings (.yaml)</a></div>')  # fmt: skip


def link(kept: Kept, settings: Mapping[str, Any]) -> str:
    """Write the end of an address that opens the page with these settings; it holds no photo, and no name of one."""
    data = json.dumps({"tab": kept.tab, "settings": dict(settings)}, separators=(",", ":"), ensure_ascii=False)
    return f"?{LINK}={base64.urlsafe_b64encode(data.encode()).decode().rstrip('=')}"


def preset(kept: Kept, settings: Mapping[str, Any]) -> str:
    """Write the settings as the YAML that the command takes with --config."""
    text = yaml.safe_dump(dict(settings), allow_unicode=True, sort_keys=False)
    head = f"# personagen {kept.command} --config THIS_FILE"
    base = str(settings.get(kept.base, EMBEDDED))
    if base != EMBEDDED:
        head += f" --{kept.base} {own_copy(base)}\n# {kept.base} is the page's name of a model: name your copy of it"
    return f"{head}\n{text}"


def digest(path: str | Path | None) -> str | None:
    """Name a photo by its bytes, so that it is found again among those of a visit."""
    return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()


@dataclass(frozen=True)
class Found:
    """What was read of a dropped file: the tab, its settings, photos by name and digest, and the strokes of a mask."""

    tab: str
    settings: dict[str, Any]
    photos: dict[str, str] = field(default_factory=dict)
    strokes: list[Any] | None = None
    own: dict[str, Any] = field(default_factory=dict)
    subjects: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Weights and sha256 of subjects and LoRA files, by name."""


def read_dropped(path: Path, tabs: Mapping[str, Kept]) -> Found:
    """Read a PNG of ours, one of a web UI, or a YAML file of settings.

    Raises:
        DataError: it says nothing that the page knows.
    """
    if path.stat().st_size > LARGEST:
        raise DataError(
            f"{shown(path.name)} is larger than {LARGEST // 1_000_000} MB; drop the picture as it was saved"
        )
    if path.suffix.lower() in (".yaml", ".yml"):
        return _from_yaml(path, tabs)
    said = read_png(path)
    if said.record and isinstance(said.record.get(PAGE) or said.record.get("run", {}).get(PAGE), dict):
        return _from_page(said.record.get(PAGE) or said.record["run"][PAGE], tabs, path)
    if said.parameters is not None and said.parameters.prompt:
        return Found("generate", from_web_ui(said))
    raise DataError(f"{shown(path.name)} carries no settings (no text {RECORD!r}); drop a PNG as this page or "
                    "a web UI saved it")  # fmt: skip


def _from_page(page: dict[str, Any], tabs: Mapping[str, Kept], path: Path) -> Found:
    tab = page.get("tab")
    if not isinstance(tab, str) or tab not in tabs or not isinstance(page.get("settings"), dict):
        raise DataError(f"{shown(path.name)} is of another version of this page; set its fields by hand")
    return found_of(page)


def found_of(page: dict[str, Any]) -> Found:
    """Read what a picture carries, or what a tab was asked for, without what is of another kind than it should be."""
    strokes = page.get("strokes")
    parts = {name: part if isinstance(part := page.get(name), dict) else {} for name in ("photos", "own", "subjects")}
    photos = {str(name): str(value) for name, value in parts["photos"].items() if value}
    subjects = {str(name): one for name, one in parts["subjects"].items() if isinstance(one, dict)}
    strokes = strokes if isinstance(strokes, list) else [strokes] if isinstance(strokes, str) else None
    return Found(page["tab"], page["settings"], photos, strokes, parts["own"], subjects)


def read_link(text: str, tabs: Mapping[str, Kept]) -> Found:
    """Read what `link` wrote.

    Raises:
        DataError: it says nothing that the page knows.
    """
    try:
        if len(text) > MOST_LINK:
            raise ValueError(len(text))
        said = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        tab, settings = said["tab"], said["settings"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError("the link's settings did not arrive whole; copy the link again") from error
    if not isinstance(tab, str) or tab not in tabs or not isinstance(settings, dict):
        raise DataError("the link is of another version of this page; set the fields by hand")
    return Found(tab, {str(name): value for name, value in settings.items()})


def _from_yaml(path: Path, tabs: Mapping[str, Kept]) -> Found:
    if path.stat().st_size > PRESET:
        raise DataError(f"{shown(path.name)} is too large for settings; drop a file that this page saved")
    try:
        text = path.read_text(encoding="utf-8")
        read = yaml.safe_load(text)
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{shown(path.name)} is no YAML; drop a file that this page saved") from error
    if not isinstance(read, dict):
        raise DataError(f"{shown(path.name)} holds no settings; drop a file that this page saved")
    said = [name for name, kept in tabs.items() if f"personagen {kept.command} " in text.partition("\n")[0]]
    fits = {name: len(set(read) & set(kept.fields)) for name, kept in tabs.items()}
    best = said[0] if said else max(fits, key=lambda name: fits[name])
    if not fits[best]:
        raise DataError(f"{shown(path.name)} names no setting of this page; it has {', '.join(tabs[best].fields)}")
    return Found(best, {str(name): value for name, value in read.items()})


def from_web_ui(said: Provenance) -> dict[str, Any]:
    """Turn the settings of a web UI's picture into those of `subject generate`; what is unknown is left out."""
    if said.parameters is None:
        return {}
    given, found = said.parameters.settings, {"prompt": said.parameters.prompt}
    model = given.get("Model", "").removesuffix(".safetensors")
    found["negative_prompt"] = said.parameters.negative_prompt
    width, _, height = given.get("Size", "").partition("x")
    sampler = given.get("Sampler", "").lower().replace(" ", "").replace("+", "p")
    ours = {cls.removesuffix("Scheduler").lower(): name for name, cls in CLASSES.items() if name != "dpm"}
    known = {**ours, **{name.replace("_", ""): name for name in ours.values()}}  # as the web UIs spell them
    named = {"steps": given.get("Steps"), "guidance": given.get("CFG scale"), "seed": given.get("Seed"),
             "width": width, "height": height, "scheduler": known.get(sampler), "base": model}  # fmt: skip
    return found | {name: value for name, value in named.items() if value}


def updates(kept: Kept, found: Found, visit: Visit) -> tuple[list[Any], list[str]]:
    """Return updates of the fields, then of the photos, of a tab, and the names of photos that are not there."""
    import gradio as gr

    given, parts, stays = {**found.settings, **found.own}, {**kept.fields, **kept.own}, unknown_base(kept, found)
    fields = [
        gr.skip() if stays and name == kept.base else fitted(component, given.get(name))
        for name, component in parts.items()
    ]
    photos = {name: visit.photos.get(found.photos.get(name, "")) for name in kept.photos}
    lacking = [name for name in kept.photos if found.photos.get(name) and photos[name] is None]
    return [*fields, *(gr.update(value=None if path is None else str(path)) for path in photos.values())], lacking


def unknown_base(kept: Kept, found: Found) -> str:
    """Return the base model that a file names and the page does not have; empty where there is none."""
    said = found.settings.get(kept.base) if kept.base else None
    known = [value for _, value in kept.fields[kept.base].choices] if said is not None else []
    return "" if said is None or said in known else shown(Path(str(said)).name or str(said))


def fitted(component: Any, value: Any) -> Any:
    """Return the update that puts a value, which a file says, into a component; its first value where it is none."""
    import gradio as gr

    try:
        return _put(gr, component, component.value if value is None else _cast(gr, component, value))
    except (TypeError, ValueError, OverflowError):
        return _put(gr, component, component.value)


def _put(gr: Any, component: Any, value: Any) -> Any:
    return value if isinstance(component, gr.State) else gr.update(value=value)


def _cast(gr: Any, component: Any, value: Any) -> Any:
    """Turn a value into what a component can show. ValueError, TypeError: it is none of those."""
    if isinstance(component, gr.State):
        if type(value) is not type(component.value):
            raise TypeError(value)
        return value
    if isinstance(component, gr.Checkbox):
        return value if isinstance(value, bool) else str(value).lower() == "true"
    if isinstance(component, gr.Slider):
        number = float(value)
        if not component.minimum <= number <= component.maximum:
            raise ValueError(number)
        return int(number) if number.is_integer() else number
    if isinstance(component, gr.Number):
        return max(SEEDS[0], min(SEEDS[1], int(value)))
    if isinstance(component, gr.Dropdown):
        known = [choice[1] for choice in component.choices]
        asked = [str(one) for one in value] if component.multiselect else str(value)
        fits = component.allow_custom_value or (set(asked) <= set(known) if component.multiselect else asked in known)
        if not fits:
            raise ValueError(value)
        return asked
    return str(value)[: getattr(component, "max_length", None) or 1000]


def _plain(value: Any) -> Any:
    """Return what a field says as JSON and YAML write it: 20.0 is 20."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
