"""The main job, for programs, the command and the page alike: open once, then make looks, one after the other.

What is heavy (catalogue, recommender, image models) is loaded when first needed and kept.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from recsys import pretrained
from recsys.build import Training, train_on_the_spot
from recsys.errors import SEEDS, ConfigError, DataError, check_range
from recsys.types import Recommender

from ..devices import CPU, Compute
from ..embedded import EMBEDDED
from ..models.config import PLAIN, OwnWeights, record_of
from ..person.parser import Parser, load_parser
from ..provenance import write_png
from ..tryon.config import BaseConfig
from ..vocabulary import COLOURS, KINDS, PATTERNS, SCENES
from .catalog import SLOTS, attribute_matrix
from .config import StyleConfig
from .looks import Written, check_out_dir, write_looks
from .prompts import Reason
from .sources import Atelier, Sitter, Source, atelier, sitter_from_photo
from .stylist import Look, Stylist

if TYPE_CHECKING:
    from ..figure.completer import Completer
    from .subjects import Subject


@dataclass(frozen=True)
class Order:
    """What is asked for: a history of item ids (latest last), whose it is, how many looks and scenes, and how.

    subject: whom the scenes show; photo: who is dressed; without them the source's own people. turn: try-on looks also
    come as figures in three dimensions. title: of the sheet, left out the user's id. extra: what a caller wants to find
    again in every picture's record.
    """

    history: tuple[int, ...]
    user: str
    looks: int = 4
    scenes: int = 2
    seed: int = 0
    style: StyleConfig = StyleConfig()
    metadata: bool = True
    subject: "Subject | None" = None
    photo: Path | None = None
    turn: bool = False
    title: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_range(looks=(self.looks, 0, 32), scenes=(self.scenes, 0, 32))
        check_range(seed=(self.seed, *SEEDS))
        if self.looks + self.scenes == 0:
            raise ConfigError("looks = 0 and scenes = 0; ask for at least one picture")

    def painted(self) -> StyleConfig:
        """Return the style; scenes speak of the subject, unless the style names somebody itself, and are painted."""
        if self.style.scene_person != StyleConfig.scene_person:
            return replace(self.style, sitter_in_scenes=False)
        if self.subject is None:
            return self.style
        return replace(self.style, scene_person=self.subject.phrase, sitter_in_scenes=False)

    @property
    def dresses(self) -> bool:
        """Whether anybody is dressed."""
        return self.looks > 0 or (self.scenes > 0 and self.painted().sitter_in_scenes)


class Halted(Exception):
    """Raised inside a pipeline's step when the caller no longer wants its picture."""


class Watched:
    """A pipeline that asks `stop()` whenever it is looked at and after every step, and raises Halted where it says yes.

    So whoever prepares what it is to paint, garment by garment, is stopped as well.
    """

    def __init__(self, pipeline: Any, stop: Callable[[], bool]) -> None:
        self.pipeline, self.stop = pipeline, stop

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        return self.pipeline(*inputs, callback_on_step_end=self._look_up, **settings)

    def __getattr__(self, name: str) -> Any:
        if self.stop():
            raise Halted
        return getattr(self.pipeline, name)

    def _look_up(self, pipeline: Any, step: int, timestep: int, tensors: dict) -> dict:
        if self.stop():
            raise Halted
        return tensors


class Studio:
    """Catalogue, users, recommender and image models of one run.

    text2image, tryon: `embedded` or a model each; base: a try-on model that is put together, instead of tryon; own: how
    the text-to-image model is read and what lies over it (its sampler serves both).
    source: where users come from (the atelier when left out). recommender: a folder of `recommend train`; left out, the
    embedded one (atelier), else trained on the spot, where `drive` takes the steps, so that a caller can show how far
    it is. compute: where and how finely the models compute (`devices.resolve`).
    """

    def __init__(
        self,
        *,
        text2image: str = "embedded",
        tryon: str = "embedded",
        base: BaseConfig | None = None,
        own: OwnWeights = PLAIN,
        source: Source | None = None,
        recommender: str | None = None,
        compute: Compute = CPU,
        drive: Callable[[Training], object] = Training.finish,
    ) -> None:
        self.models = {"text2image": text2image, "tryon": tryon if base is None else base.base}
        self._base, self.own = base, own
        self._source, self._folder = source, recommender
        self._painter: tuple[str, Any] = ("", None)
        self._seated: tuple[Path | None, Any] = (None, None)
        self._standing: dict[str, tuple[Path | None, str]] = {}
        self._drive, self.compute = drive, compute
        self._called: dict[str, str] = {}
        self.seconds: dict[str, float] = {}

    @cached_property
    def source(self) -> Source:
        """The users and their catalogue, its items numbered as the recommender's are."""
        found = self._source or atelier()
        return found if self._folder is None else found.numbered_as(pretrained.load_vocabulary(self._folder))

    @cached_property
    def recommender(self) -> Recommender:
        """The recommender, read from disk or trained on the spot."""
        start, folder = time.perf_counter(), self._folder
        if folder is None and isinstance(self.source, Atelier) and EMBEDDED["recommender"].is_dir():
            folder = str(EMBEDDED["recommender"])
        if folder is not None:
            found = pretrained.load(folder, device=self.compute.recommender_device)
        else:
            training = train_on_the_spot(self.source.sequences(), attribute_matrix(self.source.catalog).matrix)
            self._drive(training)
            found = training.model
        self.seconds["recommender"] = time.perf_counter() - start
        return found

    @cached_property
    def tryon(self):
        """The try-on pipeline."""
        from ..models import open_tryon

        load = partial(open_tryon, base=self._base, scheduler=self.own.scheduler, compute=self.compute)
        return self._timed("tryon", load)

    @cached_property
    def text2image(self):
        """The text-to-image pipeline, without a subject."""
        from ..models import load_text2image

        return self._timed("text2image", partial(load_text2image, own=self.own, compute=self.compute))

    def painting_with(self, text2image: str, *, own: OwnWeights = PLAIN, name: str = "") -> "Studio":
        """Return a studio with the same people, items and try-on whose scenes are painted by another model.

        own: how that is read and what lies over it; name: what records call it, left out the last part of its own.
        """
        made = copy(self)
        vars(made).pop("text2image", None)
        made.models, made.own = {**self.models, "text2image": text2image}, own
        made._painter, made._called = ("", None), {"text2image": name} if name else {}
        made.seconds = dict(self.seconds)
        return made

    def painter(self, subject: "Subject | None") -> Any:
        """Return the text-to-image pipeline with a subject on it; that of the last subject is kept.

        Raises:
            ModelError: the subject was trained on another model.
        """
        if subject is None:
            return self.text2image
        if self._painter[0] != subject.fingerprint:
            self.check_fits(subject)
            from ..subject.loaded import load_subjects

            self._painter = ("", None)  # two models need not lie in memory at a time
            load = lambda base: load_subjects(
                [subject.folder],
                base=None if subject.whole or base == subject.base else base,
                own=self.own,
                compute=self.compute,
            )
            self._painter = (subject.fingerprint, self._timed("text2image", load))
        return self._painter[1]

    def check_fits(self, subject: "Subject") -> None:
        """Refuse a subject that was trained on another model than that of the scenes, before anything is painted.

        Raises:
            ModelError: the message names the model it was trained on, or the layer that does not fit.
        """
        from ..adapters.read import read_adapter
        from .subjects import ADAPTER, check_base

        check_base(subject, self.models["text2image"])
        if not subject.whole and subject.base != self.models["text2image"] and (subject.folder / ADAPTER).is_file():
            read_adapter(subject.folder, self.text2image)

    def standing_picture(self, subject: "Subject") -> tuple[Path | None, str]:
        """Return the training picture of a subject that is dressed, or None, and a line about it; found once."""
        from .subjects import standing_picture

        if subject.fingerprint not in self._standing:
            self._standing[subject.fingerprint] = standing_picture(subject, self.parser)
        return self._standing[subject.fingerprint]

    def sitter(self, order: Order) -> Sitter:
        """Return who is dressed: the person of the order's photo, else the user as the source shows them."""
        if order.photo is not None:
            if self._seated[0] != order.photo:
                self._seated = (order.photo, sitter_from_photo(order.photo, parser=self.parser))
            return self._seated[1]
        return self.source.sitter(order.user)

    @cached_property
    def parser(self) -> Parser:
        """The embedded parser of body parts, which also cuts garments out of their photos."""
        return load_parser(compute=self.compute)

    @cached_property
    def completer(self) -> "Completer":
        """The embedded network that paints what a photo does not show of a figure."""
        from ..figure.completer import load_completer

        return load_completer(compute=self.compute)

    def _timed(self, name: str, loader: Callable[[str], Any]) -> Any:
        start = time.perf_counter()
        pipeline = loader(self.models[name])
        pipeline.set_progress_bar_config(disable=True)
        self.seconds[name] = time.perf_counter() - start
        return pipeline

    def people(self, most: int | None = None) -> list[tuple[str, str]]:
        """List the users one can choose, or the first of them, as (label, id)."""
        return [(self.source.label(user), user) for user in self.source.users()[:most]]

    def words(self) -> dict[str, list[str]]:
        """List the words with which a person can be described, by slot: the atelier's, or those of the catalogue."""
        if not isinstance(self.source, Atelier):
            pairs = [column.split("=", 1) for column in attribute_matrix(self.source.catalog).columns]
            return {slot: [word for name, word in pairs if name == slot] for slot in SLOTS}
        return {"kind": list(KINDS), "colour": list(COLOURS), "pattern": list(PATTERNS), "scene": list(SCENES)}

    def history(self, user: str) -> list[int]:
        """Return the item ids that a user chose, latest last."""
        return self.source.history(user)

    def describe(
        self,
        *,
        kind: Sequence[str] = (),
        colour: Sequence[str] = (),
        pattern: str = "any",
        scene: str = "any",
        length: int = 8,
    ) -> list[int]:
        """Return up to `length` items that fit a description best, the best last; empty or "any" fits everything.

        Raises:
            DataError: nothing was said.
        """
        wanted = {"kind": set(kind), "colour": set(colour), "pattern": {pattern} - {"any"}, "scene": {scene} - {"any"}}
        if not any(wanted.values()):
            raise DataError("the description is empty; choose a kind, a colour, a pattern or a place")
        catalog, weight = self.source.catalog, {"kind": 2.0, "colour": 2.0, "pattern": 1.0, "scene": 1.0}
        scores = []
        for item in range(1, len(catalog) + 1):
            words = catalog.words(item)
            scores.append(sum(weight[slot] for slot, some in wanted.items() if words.get(slot) in some))
        best = torch.tensor(scores).argsort(descending=True, stable=True)[:length]
        return [int(at) + 1 for at in best.flip(0) if scores[int(at)] > 0]

    def history_pictures(self, history: Sequence[int], folder: Path) -> list[tuple[str, str]]:
        """Write the pictures of the last twelve items once, below `folder`; return (path, caption) of each."""
        catalog, shown = self.source.catalog, []
        for item in [item for item in history if item and catalog.words(item)][-12:]:
            path = folder / f"item-{item}.png"
            if not path.exists():
                write_png(catalog[item].image, path)
            words = catalog.words(item)
            shown.append((str(path), " ".join(words[slot] for slot in ("colour", "kind") if slot in words)))
        return shown

    def make(self, order: Order, out: Path | str, *, stop: Callable[[], bool] = lambda: False) -> Iterator[Written]:
        """Make the looks of an order and write them to the folder `out`; yields each when it is ready, best first.

        stop: asked after every picture and every denoising step; once it says yes, what is finished is written with
        its looks.json and sheet, and the iterator ends.

        Raises:
            ConfigError, DataError, ModelError: nothing is left behind then, nor when the iterator is
                closed.
        """
        check_out_dir(Path(out))
        if order.subject is not None and order.scenes:
            self.painter(order.subject)  # one that does not fit is refused before anything is painted
        sitter = self.sitter(order) if order.dresses else None
        return write_looks(
            self._looks(order, sitter, stop),
            out,
            history=order.history,
            catalog=self.source.catalog,
            title=order.title or f"User {order.user}",
            run=self.record(order),
            person=None if sitter is None else sitter.image,
            metadata=order.metadata,
        )

    def record(self, order: Order) -> dict[str, Any]:
        """Say what makes an order's pictures beside the looks themselves, as JSON values, without any path."""
        shown = {} if order.subject is None else {"subject": order.subject.record()}
        models = {part: self._called.get(part, Path(name).name) for part, name in self.models.items()}
        more = {**record_of(self.own), **shown, **order.extra}
        return {"user": order.user, "seed": order.seed, "models": models, "settings": asdict(order.painted()),
                "recommender": type(self.recommender).__name__, **more}  # fmt: skip

    def _turned(self, look: Look, sitter: Sitter) -> Look:
        """Return a try-on look with its figure, or with a line that says why there is none."""
        from .figures import figure_of_look

        start, kind = time.perf_counter(), self.source.catalog[look.item].kind
        try:
            figure = figure_of_look(look.image, sitter.body, kind, self.parser, self.completer, look.seed)
        except DataError as error:
            return replace(look, reasons=(*look.reasons, Reason("note", f"no figure: {error}")))
        return replace(look, figure=figure, seconds=look.seconds + time.perf_counter() - start)

    def stylist(self, order: Order, stop: Callable[[], bool] = lambda: False) -> Stylist:
        """Return what plans and paints an order, with the pipelines that it needs."""
        return Stylist(
            self.recommender,
            self.source.catalog,
            Watched(self.tryon, stop) if order.dresses else None,
            Watched(self.painter(order.subject), stop) if order.scenes else None,
            parser=self.parser if order.dresses else None,
        )

    def _looks(self, order: Order, sitter: Sitter | None, stop: Callable[[], bool]) -> Iterator[Look]:
        stylist = self.stylist(order, stop)
        looks = stylist(
            list(order.history),
            sitter.image if sitter else None,
            order.looks,
            body=sitter.body if sitter else None,
            scenes=order.scenes,
            seed=order.seed,
            user=order.user,
            config=order.painted(),
        )
        try:
            for look in looks:
                yield self._turned(look, sitter) if order.turn and sitter and look.kind == "tryon" else look
                if stop():
                    return
        except Halted:
            return
