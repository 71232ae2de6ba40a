"""The page's tab for subjects: give pictures, see what is wrong with them, teach the model, take the result home.

`build_tab` draws it inside the page of `app`. A visitor sees and uses only the subjects of their own visit; all
is kept in the visitor's own folder and goes with them.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from personagen.files import write_text
from personagen.models.config import OwnWeights
from personagen.provenance import write_png
from personagen.subject import SubjectConfig, resolve, train_subject
from personagen.subject.config import beyond_the_base
from personagen.subject.record import phrase
from personagen.training.card import public_name
from recsys.errors import ConfigError

from . import examples
from .bases import EMBEDDED, Bases, base_field
from .line import TRAINING
from .live import Pace
from .pictures import captions_of, gather, grown, looked_at, shows_people, thumbnails
from .settings import Kept, same
from .shared import (
    FORMATS,
    KINDS,
    QUICK,
    Bar,
    Bench,
    Shown,
    Task,
    command_box,
    number,
    offer,
    pack,
    shown_if,
    side_by_side,
    status,
    stop_button,
    wire,
)
from .uploads import take_files
from .visits import Visit

MAX_SUBJECTS = 8
PRESETS = [("a thing", "object"), ("a person", "person"), ("a style", "style"), ("a garment", "garment")]
DRAWN = "A drawn person in six outfits"
PAUSE = 1.0  # seconds between two updates of the page
RECORD, CARD, HOME = "run.json", "README.md", "home"
RESULTS = ("pytorch_lora_weights.safetensors", f"{HOME}/{CARD}", f"{HOME}/{RECORD}")
PLACES = ("class_data_dir", "cache_dir", "tokenizer", "vae", "embeddings", "loras")
"""Settings of a record that may name places of this machine, beside those that always do."""
HINT = (
    "Four to twenty pictures of one thing, person, style or garment. They are read on this machine alone and kept "
    f"without place and camera, until you leave the page or delete your data. {FORMATS} each."
)


BASE = "pretrained_model_name_or_path"
FIELDS = ("name", "preset", "max_train_steps", "rank", "learning_rate", "resolution", "seed", BASE)
"""The command's names of the settings, in the order in which handlers take them; 0 and nothing are the preset's."""
RATES = [("as the preset", ""), *((rate, rate) for rate in ("1e-5", "5e-5", "1e-4", "2e-4", "5e-4", "1e-3"))]


def build_tab(bench: Bench) -> tuple[Kept, dict[str, Any]]:
    """Draw the tab's components into the open gradio context, connect them, return what travels and the components."""
    import gradio as gr

    widgets = side_by_side(gr, lambda gr: _controls(gr, bench), _board)
    kept = Kept("subject", "subject train", {name: widgets[name] for name in FIELDS}, base=BASE)
    _wire(gr, bench, widgets, kept)
    return kept, widgets


def _controls(gr: Any, bench: Bench) -> dict[str, Any]:
    widgets: dict[str, Any] = {}
    gr.Markdown(HINT)
    widgets["files"] = gr.File(
        label="Pictures", file_count="multiple", file_types=KINDS, height=140, elem_id="subject-files"
    )
    widgets["examples"] = examples.together(
        "Or an example to click", DRAWN, examples.TAUGHT, bench.folder, "subject-examples"
    )
    widgets["verdict"] = gr.HTML("", elem_id="subject-verdict")
    widgets["thumbs"] = thumbnails("subject-thumbs")
    with gr.Row():
        widgets["name"] = gr.Textbox(label="What it is", placeholder="backpack", max_length=40, elem_id="subject-name")
        widgets["preset"] = gr.Dropdown(PRESETS, value="object", label="It is", elem_id="subject-preset")
    widgets[BASE] = base_field(gr, bench.bases, "subject-base")
    widgets["limit"] = gr.Markdown("", elem_id="subject-limit")
    widgets["consent"] = gr.Checkbox(
        False, label="Whoever is seen agreed to be learnt, and to have pictures made of them", visible="hidden",
        elem_id="subject-consent",
    )  # fmt: skip
    with gr.Accordion("Settings of the training", open=False):
        widgets["max_train_steps"] = gr.Slider(
            0, 2000, value=0, step=2, label="Steps (0: as the preset)", elem_id="subject-steps"
        )
        with gr.Row():
            widgets["rank"] = gr.Slider(0, 64, value=0, step=1, label="Rank (0: as the preset)", elem_id="subject-rank")
            widgets["resolution"] = gr.Slider(
                0, 1024, value=0, step=64, label="Resolution (0: the model's)", elem_id="subject-resolution"
            )
        with gr.Row():
            widgets["learning_rate"] = gr.Dropdown(RATES, value="", label="Learning rate", elem_id="subject-rate")
            widgets["seed"] = gr.Number(0, label="Seed", precision=0, elem_id="subject-seed")
    with gr.Row():
        widgets["train"] = gr.Button("Learn", variant="primary", elem_id="subject-train")
        widgets["stop"] = gr.Button("Cancel", interactive=False, elem_id="subject-stop")
    return widgets


def _board(gr: Any) -> dict[str, Any]:
    still = {"format": "png", "type": "filepath", "interactive": False, "buttons": ["fullscreen"]}
    widgets: dict[str, Any] = {
        "state": gr.HTML(
            status("Give pictures, say what they show, then press Learn.", 0.0), padding=False, elem_id="subject-state"
        )
    }
    with gr.Row():
        # hidden, not absent (`shown_if`): an update that is lost would be the one that says "Learnt"
        widgets["loss"] = gr.Image(**still, label="Loss", visible="hidden", elem_id="subject-loss")
        widgets["preview"] = gr.Image(**still, label="How it learns", visible="hidden", elem_id="subject-preview")
    with gr.Row():
        widgets["use"] = gr.Button("Paint with it", visible="hidden", elem_id="subject-use")
        widgets["download"] = gr.HTML(elem_id="subject-download")
    widgets["command"] = command_box("subject-command")
    return widgets


def _wire(gr: Any, bench: Bench, widgets: dict[str, Any], kept: Kept) -> None:
    bar = Bar(widgets["state"], widgets["train"], widgets["stop"], "subject")
    taken = take_files(bench, widgets["files"], [widgets["verdict"], widgets["thumbs"]], _look(bench.folder))
    filled = [widgets[name] for name in ("files", "verdict", "thumbs", "name", "preset", "consent", "state")]
    widgets["examples"].click(_example(gr, bench), None, filled, **QUICK)
    asked = [widgets[name] for name in ("files", "preset", "name", BASE)]
    for event in taken:
        event.then(_see(gr, bench), widgets["files"], widgets["consent"], **QUICK)
    for change in (widgets["preset"].change, widgets["name"].blur, widgets[BASE].change):
        change(_ask(gr, bench), asked, [widgets["consent"], widgets["limit"]], **QUICK)
    wire(
        bench, bar, button=widgets["train"], rank=TRAINING, work=learn(bench.bases, kept),
        inputs=[*kept.fields.values(), widgets["files"], widgets["thumbs"], widgets["consent"]],
        outputs=[widgets[name] for name in ("loss", "preview", "use", "download", "command", "consent")],
        first="Beginning …",
    )  # fmt: skip
    stop_button(bench, bar)


def _look(folder: Path) -> Callable[[Sequence[str]], list[Any]]:
    """Say of the uploads whether they can be used, and show each with its verdict."""

    def look(files: Sequence[str]) -> list[Any]:
        items, line = looked_at(files, folder)
        return [f"<p>{line}</p>", {"items": items}]

    return look


def _example(gr: Any, bench: Bench) -> Callable[..., list[Any]]:
    """Give the drawn person, who agrees to everything."""

    def give(request: gr.Request) -> list[Any]:
        visit = bench.visits[str(request.session_hash)]
        files = [examples.given(visit, name) for name in examples.TAUGHT]
        visit.people.update(dict.fromkeys(files, True))
        said, thumbs = _look(bench.folder)(files)
        line = status(f"{DRAWN}; nobody real is seen. Press Learn.", 0.0)
        return [files, said, thumbs, "person", "person", gr.update(value=True, visible=True), line]

    return give


def _see(gr: Any, bench: Bench) -> Callable[..., Any]:
    """Ask for consent where somebody is seen; never take the question back, as this may end after a later one."""

    def see(files: list[str] | None, request: gr.Request) -> Any:
        visit = bench.visits[str(request.session_hash)]
        return gr.update(visible=True) if files and shows_people(visit, files, bench.studio.parser) else gr.skip()

    return see


def _ask(gr: Any, bench: Bench) -> Callable[..., list[Any]]:
    """Ask for consent where somebody is seen or is to be learnt, and say what the model cannot learn."""

    def ask(files: list[str] | None, preset: str, name: str, chosen: str, request: gr.Request) -> list[Any]:
        known = bench.visits[str(request.session_hash)].people
        seen = any(known.get(file) for file in files or [])
        base, word = bench.bases.get(chosen).source, name.strip() or "thing"
        limit = beyond_the_base(SubjectConfig("pictures", word, preset=preset, pretrained_model_name_or_path=base))  # type: ignore[arg-type]
        says = f"Note: {_plainly(limit)}." if limit else ""
        return [gr.update(visible=shown_if(seen or preset == "person")), says]

    return ask


def _plainly(limit: str) -> str:
    """Say without flags of the command what the base cannot paint."""
    return limit.partition(". ")[0] + ". Clothes and people are learnt with their own choice above"


def learn(bases: Bases, kept: Kept) -> Callable[..., Iterator[Shown]]:
    """Return what *Learn* does."""
    import gradio as gr

    def work(task: Task, *values: Any) -> Iterator[Shown]:
        visit, keep = task.visit, [gr.skip()] * 6
        files, thumbs, consent = values[len(FIELDS) :]
        given = asked(kept, values[: len(FIELDS)])
        base = given[BASE] = bases.get(given.get(BASE)).name
        visit.remember(kept.record(given))
        own = [str(visit.own(file)) for file in files or []]
        seen = shows_people(visit, own, bases.studio.parser) if own else False
        if seen and not consent:
            yield "Somebody is seen in these pictures.", 0.0, [*keep[:5], gr.update(visible=True)]
            raise ConfigError("somebody is seen in these pictures and must have agreed; tick the box if so")
        config = settings(visit, own, given, bool(consent), bases, captions_of(thumbs, len(own)))
        line = same(kept, given, "--instance_data_dir", "YOUR-PICTURES", *(["--consent", "true"] if consent else []))
        yield f"Loading the base model {base} …" if bases.several else "Preparing …", 0.0, [*keep[:4], line, gr.skip()]
        if base != bases.default:
            bases.release()  # a training has a copy of its own
        for text, part, loss, grid in watched(config, task.turn.stopped):
            preview = None if grid is None else _carrying(grid, task, kept.record(given))
            shown = [gr.skip() if path is None else gr.update(value=path, visible=True) for path in (loss, preview)]
            yield text, part, [*shown, *keep[2:]]
        if task.job.stop.is_set():
            yield "Stopped; nothing was kept.", 0.0, keep
            return
        label = keep_subject(visit, config, base)
        archive = pack(result_files(config), Path(config.output_dir).with_suffix(".zip"))
        link = offer(archive, "Download the subject (.zip)", name=f"{label}.zip")
        yield f"Learnt. Say: {config.instance_prompt}", 1.0, [*keep[:2], gr.update(visible=True), link, *keep[4:]]

    return work


def asked(kept: Kept, values: Sequence[Any]) -> dict[str, Any]:
    """Return the settings under the command's names; what the preset decides is left out."""
    given = kept.settings(values)
    given["seed"] = number(given.get("seed"), "the seed")
    return {name: value for name, value in given.items() if value or name == "seed"}


def _carrying(grid: str, task: Task, record: dict[str, Any]) -> str:
    """Write all samples until now as one picture with the settings in it."""
    return str(write_png(grown(Path(grid).parent), task.job.folder / Path(grid).name, record=record))


def settings(
    visit: Visit, files: Sequence[str] | None, given: dict[str, Any], consent: bool, bases: Bases,
    captions: Sequence[str] = (),
) -> SubjectConfig:  # fmt: skip
    """Make the settings of a training and copy the uploads.

    Raises:
        ConfigError, DataError: what the message names.
    """
    preset, name, base = given.get("preset"), str(given.get("name", "")), bases.get(given.get(BASE))
    if preset not in [value for _, value in PRESETS]:
        raise ConfigError(f"a subject cannot be {preset!r}; choose one of the list")
    if not name.strip():
        raise ConfigError("the subject has no name; say what it is, such as backpack")
    if preset == "person" and not consent:
        raise ConfigError("a person must have agreed; tick the box if so, or teach something else")
    if len(visit.subjects) >= MAX_SUBJECTS:
        raise ConfigError(f"{MAX_SUBJECTS} subjects are as many as a visit holds; delete your data to begin anew")
    folder = Path(tempfile.mkdtemp(prefix="subject-", dir=visit.folder))
    gather(files, folder / "pictures", captions)
    finer: dict[str, Any] = {
        key: int(given[key]) for key in ("max_train_steps", "rank", "resolution") if given.get(key)
    }
    if given.get("learning_rate"):
        finer["learning_rate"] = float(given["learning_rate"])
    whole = resolve(SubjectConfig(
        str(folder / "pictures"), " ".join(name.split()), preset=preset, output_dir=str(folder / "result"),  # type: ignore[arg-type]
        pretrained_model_name_or_path=base.source, token=f"sks{len(visit.subjects) or ''}",
        consent=consent, device=bases.studio.compute.device, seed=int(given.get("seed", 0)), num_validation_images=2,
        **finer, **base_settings(base.own),
    ))  # fmt: skip
    return replace(whole, validation_steps=max(1, int(whole.max_train_steps or 1) // 4))


def watched(config: SubjectConfig, stop: Callable[[], bool]) -> Iterator[tuple[str, float, str | None, str | None]]:
    """Train until done or `stop()`; yield a line, the part done, and new pictures of the loss and of samples."""
    from personagen.subject.samples import write_curve

    out, losses, last, total = Path(config.output_dir), [], 0.0, int(config.max_train_steps or 1)
    steps, pace = train_subject(config), None
    for step in steps:
        if stop():
            steps.close()  # type: ignore[attr-defined]
            return
        if step.step == 0:
            yield f"Preparing: {next(iter(step.metrics or {'': 0})).replace('_', ' ')}", 0.0, None, None
            continue
        pace = pace or Pace(total)
        pace.done = step.step
        losses += [step.losses["loss"]] if "loss" in step.losses else []
        if time.monotonic() - last < PAUSE and not step.metrics:
            continue
        last = time.monotonic()
        curve = out / f"loss-{step.step:06d}{'-end' if step.metrics else ''}.png"  # a browser keeps what has one name
        write_curve(losses, curve, label="loss", size=(260, 400))
        grids = sorted((out / "samples").glob("step-*.png")) if step.metrics else []
        text = f"Step {step.step} of {total}" + (f", loss {losses[-1]:.3f}" if losses else "") + pace.left()
        yield text, step.step / total, str(curve), str(grids[-1]) if grids else None


def keep_subject(visit: Visit, config: SubjectConfig, base: str) -> str:
    """Put what was learnt on a base model on the visitor's list under a name that is not taken; return the name."""
    label = visit.add(config.name, Path(config.output_dir), (base,))
    visit.phrases[label] = phrase(config.output_dir)
    without_places(Path(config.output_dir), base)
    return label


def without_places(result: Path, base: str) -> None:
    """Write record and card of a result anew, as a visitor takes them home: without places of this machine."""
    record = json.loads((result / RECORD).read_text(encoding="utf-8"))
    called = public_name(record["config"][BASE])
    config = {name: _last(value) if name in PLACES else value for name, value in record["config"].items()}
    record["config"] = config | {"instance_data_dir": "pictures", "output_dir": "result", BASE: base}
    (result / HOME).mkdir(exist_ok=True)
    write_text(result / HOME / RECORD, json.dumps(record, indent=1) + "\n")
    said = (result / CARD).read_text(encoding="utf-8")
    if called not in (base, record["config"][BASE]) and base != EMBEDDED:  # a hub id is public
        head, named = (f"base_model: {json.dumps(one, ensure_ascii=False)}" for one in (called, base))
        said = said.replace(f"`{called}`", f"`{base}`").replace(head, named)
    write_text(result / HOME / CARD, said)


def _last(value: Any) -> Any:
    """Return the last part of a path, or of each of several."""
    if isinstance(value, list):
        return [_last(one) for one in value]
    return Path(value).name if isinstance(value, str) else value


def taken_home(task: Task) -> list[Path]:
    """List the files of what was learnt last."""
    folder = next(reversed(task.visit.subjects.values()), None)
    known = {*RESULTS, *(() if folder is None else (path.name for path in folder.glob("*.safetensors")))}
    return [] if folder is None else [path for path in map(folder.joinpath, sorted(known)) if path.is_file()]


def result_files(config: SubjectConfig) -> list[Path]:
    """List what a visitor takes home: both adapter files, the card and the record."""
    from personagen.subject.results import kohya_name

    folder = Path(config.output_dir)
    return [path for path in (folder / name for name in (*RESULTS, kohya_name(config))) if path.is_file()]


def base_settings(own: OwnWeights) -> dict[str, Any]:
    """Return the settings of training that say how the page's base model is read, and what lies over it."""
    return {field.name: getattr(own, field.name) for field in fields(OwnWeights)}
