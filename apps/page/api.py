"""What programs may ask of the page, with a key: looks, pictures from words, try-ons and subjects.

Only `personagen demo --api true` has these endpoints (`connect`); each does what its tab does, by the same code, waits
in the same line, and takes the same values within the same limits. gradio's client, or anything that speaks HTTP, calls
them with the header `Authorization: Bearer KEY`. What is made stays for `KEEPS` seconds, to be fetched. Assistants find
them as tools (`tools`).
"""

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock as Mutex
from typing import Any

from recsys.errors import DataError, ResourceError

from . import generate_tab, history, looks_tab, subject_tab, tryon_tab
from .keys import Lock
from .kinds import KINDS, UNTIL
from .line import PICTURE, TRAINING
from .pictures import MOST as MOST_PICTURES
from .settings import Kept
from .shared import KINDS as PICTURES
from .shared import Bench, Shown, Task, excuse, heard, labour
from .uploads import MOST_ROWS, add_lora
from .visits import later

MOST = 8
"""Requests that are worked on or wait at a time."""
KEEPS = 600.0
"""Seconds for which results lie ready."""
DOCUMENTS = (
    "/gradio_api/info",
    "/gradio_api/openapi.json",
    "/gradio_api/call/",
    "/gradio_api/run/",
    "/gradio_api/api/",
    "/gradio_api/mcp",
)
"""Where programs learn of endpoints, and begin them by name; browsers need none of it but `BROWSERS`."""
BROWSERS = ("/gradio_api/run/predict",)
ASSISTANTS = "/gradio_api/mcp"
NO_KEY = "the key is missing or wrong; send it as Authorization: Bearer KEY"


class Door:
    """Who may come in, and how many at a time."""

    def __init__(self, key: str, most: int = MOST) -> None:
        from .tools import Assistants  # needed by none but those who come in

        self.lock, self.most, self._open, self._mutex = Lock(key), most, 0, Mutex()
        self.assistants = Assistants()

    @contextmanager
    def entered(self, request: Any) -> Iterator[None]:
        """Let a request in for as long as it is worked on.

        Raises:
            DataError: it does not carry the key.
            ResourceError: too many are inside.
        """
        if not self.lock.opens(str(request.headers.get("authorization", ""))):
            raise DataError(NO_KEY)
        with self._mutex:
            if self._open >= self.most:
                raise ResourceError(f"{self.most} requests are as many as are taken at a time; ask again in a moment")
            self._open += 1
        try:
            yield
        finally:
            with self._mutex:
                self._open -= 1


class Guarded:
    """An ASGI application around another: what names endpoints is only there with a door, for those with its key."""

    def __init__(self, app: Any, door: Door | None = None) -> None:
        self.app, self.door = app, door

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(DOCUMENTS) or path.rstrip("/") in BROWSERS:
            await self.app(scope, receive, send)
            return
        said = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        if self.door is not None and self.door.lock.opens(said):
            to = self.door.assistants if path.rstrip("/") == ASSISTANTS else self.app
            await to(scope, receive, send)
            return
        status, text = (404, "there is no such place") if self.door is None else (401, NO_KEY)
        body = json.dumps({"error": text}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def connect(bench: Bench, door: Door, shop: looks_tab.Shop, kept: dict[str, Kept]) -> None:
    """Add the endpoints to the open gradio context; kept: what travels of each tab, by its name."""
    import gradio as gr

    ask = Asking(gr, bench, door)
    _looks(gr, ask, shop, kept["looks"])
    _generate(gr, ask, kept["generate"])
    _tryon(gr, ask, kept["tryon"])
    _subject(gr, ask, kept["subject"])


@dataclass(frozen=True)
class Given:
    """Where what was uploaded with a request is taken in, as the page does."""

    bench: Bench
    session: str

    def photo(self, upload: str | None) -> str | None:
        """Take in a picture; return its path.

        Raises:
            DataError: what is wrong with it.
        """
        if not upload:
            return None
        return str(self.bench.visits.take(self.session, self.bench.visits.opened(Path(upload))))

    def loras(self, uploads: Sequence[str], base: str) -> int:
        """Take in LoRA files, to be laid on a base model; return how many.

        Raises:
            DataError, ModelError: what is wrong with one.
        """
        for upload in uploads[: MOST_ROWS + 1]:
            add_lora(self.bench, self.session, str(self.bench.visits.opened(Path(upload))), base)
        return len(self.bench.visits[self.session].subjects)


Begin = Callable[[Given], Callable[[Task], Iterator[Shown]]]


class Asking:
    """How an endpoint is added, and how its work is done."""

    def __init__(self, gr: Any, bench: Bench, door: Door) -> None:
        self.gr, self.bench, self.door = gr, bench, door

    def add(self, function: Callable[..., Any], inputs: Sequence[Any]) -> None:
        """Add an endpoint under the name of its function, whose docstring describes it."""
        gr = self.gr
        files = gr.File(label="Files", file_count="multiple", visible=False)
        outputs = [files, gr.Textbox(label="What was done", visible=False)]
        gr.Button(visible=False).click(
            function, list(inputs), outputs, api_name=function.__name__, api_description=function.__doc__,
            api_visibility="public", show_progress="hidden", concurrency_limit=None,
        )  # fmt: skip
        self.door.assistants.add(function, inputs, self.bench.folder)

    def work(
        self, request: Any, rank: int, begin: Begin, made: Callable[[Task], list[Path]]
    ) -> Iterator[list[Any]]:  # fmt: skip
        """Do what a tab does, in a folder of its own; yield (files, line) while it goes on, the files at the end.

        begin: takes in what was uploaded and returns the values of the tab's fields; made: the files to hand over.
        """
        session = f"api-{secrets.token_hex(16)}"
        try:
            with self.door.entered(request):
                yield from self._work(session, rank, begin, made)
        except Exception as error:
            raise self.gr.Error(excuse(error), print_exception=False) from None
        finally:
            later(KEEPS, lambda: self.bench.visits.leave(session))

    def _work(
        self, session: str, rank: int, begin: Begin, made: Callable[[Task], list[Path]]
    ) -> Iterator[list[Any]]:  # fmt: skip
        job, last, files = self.bench.visits[session].begin("api"), "", list[Path]()
        work = begin(Given(self.bench, session))

        def noted(task: Task) -> Iterator[Shown]:
            yield from work(task)
            files.extend(made(task))

        for text, _, _ in heard(job, lambda tell: labour(self.bench, session, job, rank, noted, tell)):
            last = text
            yield [None, text]
        if not files:
            raise DataError(last or "nothing was made; ask again")
        yield [[str(file) for file in files], last]


def _picture(gr: Any, label: str) -> Any:
    return gr.File(label=label, file_types=PICTURES, visible=False)


def _looks(gr: Any, ask: Asking, shop: looks_tab.Shop, kept: Kept) -> None:
    names = shop.studio.source.catalog.names

    def looks(
        request: gr.Request, user: str, history: Any, looks: float, scenes: float, seed: float, steps: float,
        photo: str | None = None,
    ) -> Iterator[list[Any]]:  # fmt: skip
        """Recommend garments to a user, or for a history (a list of items, latest last), and show them worn, and scenes
        for that taste. Returns pictures, looks.json and sheet.png."""

        def begin(uploads: Given) -> Callable[[Task], Iterator[Shown]]:
            picked = _picked(history, names)
            own = {"mode": "own" if picked else "choose", "picked": picked, "kinds": [], "colours": [],
                   "pattern": "any", "scene": "any", "subject": ""}  # fmt: skip
            given = {"user": user, "looks": looks, "scenes": scenes, "seed": seed, "steps": steps}
            said = [*(given[name] for name in kept.fields), *(own[name] for name in kept.own)]
            values = [*said, uploads.photo(photo)]
            return lambda task: looks_tab.make(shop, kept)(task, *values)

        yield from ask.work(request, PICTURE, begin, lambda task: sorted((task.job.folder / "looks").iterdir()))

    inputs = [
        gr.Textbox(looks_tab.first_user(shop.studio), label="User, as in the page's list", visible=False),
        gr.JSON([], label="Items chosen instead of a user's, latest last", visible=False),
        gr.Slider(0, looks_tab.MAX_LOOKS, value=4, step=1, label="Looks", visible=False),
        gr.Slider(0, looks_tab.MAX_SCENES, value=0, step=1, label="Scenes", visible=False),
        gr.Number(0, label="Seed", precision=0, visible=False),
        gr.Slider(1, 50, value=20, step=1, label="Steps of each scene", visible=False),
        _picture(gr, "Photo of who wears them; none: the user as the page shows them"),
    ]
    ask.add(looks, inputs)


def _picked(asked: Any, names: Sequence[str]) -> list[int]:
    """Return the numbers of items that are named.

    Raises:
        DataError: one is unknown, or it is no list.
    """
    if not asked:
        return []
    if not isinstance(asked, list) or len(asked) > history.MOST_PICKED:
        raise DataError(f"the history is no list of up to {history.MOST_PICKED} items; name items of the catalogue")
    place = {name: at for at, name in enumerate(names, start=1)}
    unknown = [one for one in asked if not isinstance(one, str) or one not in place]
    if unknown:
        raise DataError(f"{len(unknown)} of {len(asked)} items are not in this catalogue; they look like {names[0]!r}")
    return [place[one] for one in asked]


def _generate(gr: Any, ask: Asking, kept: Kept) -> None:
    def generate(
        request: gr.Request, prompt: str, negative_prompt: str, steps: float, guidance: float, scheduler: str,
        width: float, height: float, count: float, seed: float, loras: list[str] | None = None, weights: Any = None,
        base: str = "",
    ) -> Iterator[list[Any]]:  # fmt: skip
        """Paint pictures from words; LoRA files (.safetensors) lie on the model with their weights, 1 each where none
        are given. Returns PNG files that carry their settings."""

        def begin(uploads: Given) -> Callable[[Task], Iterator[Shown]]:
            given = [prompt, negative_prompt, steps, guidance, scheduler, width, height, count, seed, base]
            weighed = _weights(weights, uploads.loras(loras or [], ask.bench.bases.get(base).name))
            return lambda task: generate_tab.generate(gr, ask.bench.bases, kept)(task, *given, *weighed)

        yield from ask.work(request, PICTURE, begin, lambda task: [path for path, _ in task.visit.painted])

    inputs = [
        gr.Textbox(label="Prompt", visible=False),
        gr.Textbox("", label="Not in it", visible=False),
        gr.Slider(1, 100, value=20, step=1, label="Steps", visible=False),
        gr.Slider(1, 20, value=5, label="Guidance", visible=False),
        gr.Dropdown(generate_tab.SAMPLERS, value="", label="Sampler", visible=False),
        *(gr.Slider(0, generate_tab.LARGEST, value=0, step=8, label=f"{name}, 0: the model's", visible=False)
          for name in ("Width", "Height")),
        gr.Slider(1, generate_tab.MOST, value=1, step=1, label="Pictures", visible=False),
        gr.Number(0, label="Seed of the first", precision=0, visible=False),
        gr.File(label="LoRA files", file_count="multiple", file_types=[".safetensors"], visible=False),
        gr.JSON([], label="Their weights, 0 to 2", visible=False),
        _base(gr, ask.bench),
    ]  # fmt: skip
    ask.add(generate, inputs)


def _base(gr: Any, bench: Bench) -> Any:
    bases = bench.bases
    return gr.Dropdown(bases.choices(), value=bases.default, label="Base model, by its name", visible=False)


def _weights(asked: Any, count: int) -> list[float]:
    """Return a weight for each LoRA file.

    Raises:
        DataError: they are no numbers from 0 to 2, or not as many as files.
    """
    given = asked or [1.0] * count
    numbers = isinstance(given, list) and all(isinstance(one, int | float) and 0 <= one <= 2 for one in given)
    if not numbers or len(given) != count:
        raise DataError(f"the weights are no list of {count} numbers from 0 to 2; give one for each LoRA file")
    return [float(one) for one in given]


def _tryon(gr: Any, ask: Asking, kept: Kept) -> None:
    def tryon(
        request: gr.Request, person: str, garment: str, kind: str, steps: float, guidance: float, mask_expand: float,
        seed: float, cut_out: bool,
    ) -> Iterator[list[Any]]:  # fmt: skip
        """Put a garment on a person, by a photo of each. Returns the PNG, and a line that says how far to trust it."""

        def begin(uploads: Given) -> Callable[[Task], Iterator[Shown]]:
            given = {"kind": kind, "steps": steps, "guidance": guidance, "mask_expand": mask_expand, "seed": seed,
                     "cut_out": cut_out}  # fmt: skip
            photos = {"person": uploads.photo(person), "garment": uploads.photo(garment)}
            values = [*(given[name] for name in kept.fields), *(UNTIL for _ in kept.own)]
            values += [*(photos.get(name) for name in kept.photos), None]
            return lambda task: tryon_tab.wear(ask.bench, kept)(task, *values)

        yield from ask.work(request, PICTURE, begin, lambda task: [task.job.folder / "worn.png"])

    inputs = [
        _picture(gr, "Photo of a person, standing, whole"),
        _picture(gr, "Photo of a garment"),
        gr.Dropdown(KINDS, value="auto", label="What the garment is", visible=False),
        gr.Slider(1, 50, value=8, step=1, label="Steps", visible=False),
        gr.Slider(1, 5, value=1.5, label="Guidance", visible=False),
        gr.Slider(0, 4, value=1, label="Mask beyond the old garment", visible=False),
        gr.Number(0, label="Seed", precision=0, visible=False),
        gr.Checkbox(True, label="Cut the garment out of its photo", visible=False),
    ]
    ask.add(tryon, inputs)


def _subject(gr: Any, ask: Asking, kept: Kept) -> None:
    def subject(
        request: gr.Request, pictures: list[str], name: str, preset: str, consent: bool, max_train_steps: float,
        rank: float, learning_rate: str, resolution: float, seed: float, base: str = "",
    ) -> Iterator[list[Any]]:  # fmt: skip
        """Teach the model a thing, person, style or garment by four to twenty pictures. Whoever is seen must have
        agreed: consent. Returns LoRA files, a card and a record."""

        def begin(uploads: Given) -> Callable[[Task], Iterator[Shown]]:
            given = {"name": name, "preset": preset, "max_train_steps": max_train_steps, "rank": rank,
                     "learning_rate": learning_rate, "resolution": resolution, "seed": seed,
                     subject_tab.BASE: base}  # fmt: skip
            own = [uploads.photo(one) for one in (pictures or [])[: MOST_PICTURES + 1]]
            values = [*(given[name] for name in kept.fields), own, None, consent]
            return lambda task: subject_tab.learn(ask.bench.bases, kept)(task, *values)

        yield from ask.work(request, TRAINING, begin, subject_tab.taken_home)

    inputs = [
        gr.File(label="Pictures", file_count="multiple", file_types=PICTURES, visible=False),
        gr.Textbox(label="What it is, such as backpack", visible=False),
        gr.Dropdown(subject_tab.PRESETS, value="object", label="It is", visible=False),
        gr.Checkbox(False, label="Whoever is seen agreed", visible=False),
        gr.Slider(0, 2000, value=0, step=2, label="Steps, 0: as the preset", visible=False),
        gr.Slider(0, 64, value=0, step=1, label="Rank, 0: as the preset", visible=False),
        gr.Dropdown(subject_tab.RATES, value="", label="Learning rate", visible=False),
        gr.Slider(0, 1024, value=0, step=64, label="Resolution, 0: the model's", visible=False),
        gr.Number(0, label="Seed", precision=0, visible=False),
        _base(gr, ask.bench),
    ]
    ask.add(subject, inputs)
