"""The base models that the page offers by name: that of `--text2image`, the embedded one, and those of
`--more_text2image`.

Visitors read names and send names; where a model lies is told to nobody. Beside the page's own model at most one more
stays in memory. Of the others the page keeps what their layers look like, which says whether a LoRA file fits.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from types import SimpleNamespace
from typing import Any

import torch

from personagen.adapters.adapter import PARTS
from personagen.adapters.read import read_adapter
from personagen.embedded import missing_files
from personagen.models import load_text2image
from personagen.models.config import PLAIN, OwnWeights
from personagen.styling.studio import Studio
from recsys.errors import ConfigError, ModelError, shown

from ..progress import note
from .visits import Visit

EMBEDDED = "embedded"
LONGEST = 40
"""Letters of a name."""
SMALL = "the small one that comes with this page"
FILLED = 0.01
"""A weight that stands for those that are not in memory."""


@dataclass(frozen=True)
class Base:
    """A base model: the name that visitors read, where it lies, how it is read and what lies over it."""

    name: str
    source: str
    own: OwnWeights


def name_of(source: str) -> str:
    """Name a model without its place, as the web UIs do: the folder's name, or the file's without its ending."""
    path = Path(source) if Path(source).name else Path(source).resolve()
    return path.stem if path.suffix == ".safetensors" else path.name


def check_names(text2image: str, more: Mapping[str, str]) -> None:
    """Refuse names that visitors could not choose by.

    Raises:
        ConfigError: what the message names.
    """
    taken = {EMBEDDED, name_of(text2image)}
    for name, source in more.items():
        if not name.strip() or len(name) > LONGEST or not name.isprintable() or set(name) & set("/\\"):
            raise ConfigError(
                f"more_text2image names {shown(name)!r}; a name has 1 to {LONGEST} letters, none of them / or \\"
            )
        if name in taken:
            raise ConfigError(f"more_text2image names {shown(name)!r}, which is taken; give it another name")
        if not str(source or "").strip():
            raise ConfigError(f"more_text2image says no model for {shown(name)!r}; name a folder, a file or a hub id")


class Bases:
    """The base models of a page; the first is its own, that of `studio`. more: further ones, a name to a model."""

    def __init__(self, studio: Studio, more: Mapping[str, str] | None = None) -> None:
        check_names(studio.models["text2image"], more or {})
        self.studio, self.default = studio, name_of(studio.models["text2image"])
        small = self.default != EMBEDDED and not missing_files(EMBEDDED, "text2image")
        self._more = {**({EMBEDDED: EMBEDDED} if small else {}), **(more or {})}
        self.names = (self.default, *self._more)
        self._outlines: dict[str, Any] = {}
        self._held: tuple[str, Any] = ("", None)
        self._lock = RLock()

    @property
    def several(self) -> bool:
        """Whether there is anything to choose."""
        return len(self.names) > 1

    def choices(self) -> list[tuple[str, str]]:
        """List what a visitor chooses from, as (label, name)."""
        return [(f"{name}: {SMALL}" if name == EMBEDDED else name, name) for name in self.names]

    def said(self) -> str:
        """Say which model the page has, where it has one."""
        small = f"{SMALL}; `personagen demo --text2image` takes another"
        return small if self.default == EMBEDDED else f"`{self.default}`"

    def get(self, name: str | None) -> Base:
        """Return a base model by its name; none is the page's own.

        Raises:
            ConfigError: the page does not have it.
        """
        name, own = name or self.default, self.studio.own
        if name == self.default:
            return Base(name, str(self.studio.models["text2image"]), own)
        if name == EMBEDDED and name in self._more:
            return Base(name, EMBEDDED, replace(PLAIN, scheduler=own.scheduler))
        if name in self._more:  # what is laid over the page's own model was not made for this one
            source = self._more[name]
            said = own.prediction if own.prediction and _may_predict_either(source) else None
            bare = replace(own, vae=None, embeddings=[], loras=[], lora_weights=[], prediction=said)
            return Base(name, source, bare)
        raise ConfigError(f"this page has no base model {shown(name)!r}; it has {', '.join(self.names)}")

    def read_all(self) -> None:
        """Read each further model once, and say so, so that nothing wrong is found by a visitor.

        Raises:
            ConfigError, ModelError, ResourceError: what the message names.
        """
        for name, source in self._more.items():
            if name != EMBEDDED:
                note(f"reading the base model {name}: {source}")
                self.outline(name)

    def outline(self, name: str) -> Any:
        """Return what a model's layers look like: a pipeline's parts, of which only shapes are true."""
        if name == self.default:
            return self.studio.text2image
        with self._lock:
            if name not in self._outlines:
                base = self.get(name)
                whole = load_text2image(base.source, own=base.own, compute=self.studio.compute.at_first())
                self._outlines[name] = _emptied(whole)
            return self._outlines[name]

    def pipeline(self, name: str) -> Any:
        """Return a model's pipeline; of those that are not the page's own, the last one stays in memory.

        Whoever works with one that another visitor's takes the place of keeps it until they are done.
        """
        base = self.get(name)
        if base.name == self.default:
            return self.studio.text2image
        with self._lock:
            if self._held[0] != base.name:
                self.release()
                self._held = (base.name, load_text2image(base.source, own=base.own, compute=self.studio.compute))
            return self._held[1]

    def with_subjects(self, name: str, folders: Sequence[Path], weights: Sequence[float]) -> Any:
        """Return a pipeline of one's own with subjects and LoRA files on it, each with its weight.

        Raises:
            ConfigError, ModelError: what the message names.
        """
        from personagen.subject.loaded import load_subjects

        base = self.get(name)
        if base.name != self.default:
            self.release()
        pipe = load_subjects(folders, weights=weights, base=base.source, own=base.own, compute=self.studio.compute)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def release(self) -> None:
        """Let go of the model that is held beside the page's own."""
        with self._lock:
            self._held = ("", None)

    def fitting(self, file: Path, chosen: str) -> tuple[str, ...]:
        """Name the models that a LoRA file fits, by their layers.

        Raises:
            ModelError: it fits none; the message says why not the chosen one.
        """
        found, wrong = [], dict[str, ModelError]()
        for name in self.names:
            try:
                read_adapter(file, self.outline(name))
                found.append(name)
            except ModelError as error:
                wrong[name] = error
        if not found:
            raise wrong[chosen if chosen in wrong else self.default]
        return tuple(found)

    def check_fits(self, visit: Visit, labels: Iterable[str], name: str) -> None:
        """Refuse subjects and LoRA files that were made for another model, before anything is loaded to paint.

        Raises:
            ModelError: the message names the model that they fit.
        """
        for label in labels:
            fits = visit.bases.get(label, ())
            if fits and name not in fits and not self._takes(visit.subjects[label], name):
                raise ModelError(
                    f"{label} fits the base model {' or '.join(fits)}, not {name}; choose that one, or set its row to 0"
                )

    def _takes(self, subject: Path, name: str) -> bool:
        """Tell whether a model takes a subject that was learnt on another one, as those of one family do."""
        from personagen.styling.subjects import check_base, read_subject

        if not subject.is_dir():
            return False
        try:
            check_base(read_subject(subject), self.get(name).source)
            read_adapter(subject, self.outline(name))
        except ModelError:
            return False
        return True

    def learnt_on(self, visit: Visit, label: str) -> str:
        """Name the model that a subject of a visit was learnt on; nothing is the page's own."""
        return next(iter(visit.bases.get(label, ())), self.default)

    def painting(self, studio: Studio, visit: Visit, label: str) -> Studio:
        """Return the studio whose scenes are painted on the model that a subject of a visit was learnt on."""
        name = self.learnt_on(visit, label)
        if name == self.default:
            return studio
        base = self.get(name)
        self.release()
        return studio.painting_with(base.source, own=base.own, name=base.name)


def base_field(gr: Any, bases: Bases, elem_id: str) -> Any:
    """Draw the list of base models, which is not seen where there is nothing to choose."""
    return gr.Dropdown(
        bases.choices(), value=bases.default, label="Base model", visible=bases.several, elem_id=elem_id
    )  # fmt: skip


def _may_predict_either(source: str) -> bool:
    """Tell whether a model is a single file of the family of which there are both kinds; others say it themselves."""
    from personagen.models.single_file import open_single  # half a second that a page seldom needs

    return source.endswith(".safetensors") and open_single(source).family == "sd2"


def _emptied(pipe: Any) -> Any:
    """Take the weights out of a pipeline's parts: one number stands for all of a layer's."""
    parts = {part: getattr(pipe, part) for part in PARTS if getattr(pipe, part, None) is not None}
    for part in parts.values():
        for layer in part.modules():
            for name, value in layer.named_parameters(recurse=False):
                stands = torch.full((1,), FILLED, dtype=value.dtype).expand(value.shape)
                setattr(layer, name, torch.nn.Parameter(stands, requires_grad=False))
    return SimpleNamespace(**parts)
