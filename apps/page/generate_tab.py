"""The page's tab for words: a prompt, and the subjects and LoRA files that lie on the model, each with its weight.

`build_tab` draws it inside the page of `app`. Subjects are those that the visitor taught in this visit; LoRA files are
read at once and lie in the visitor's own folder.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from personagen.adapters.adapter import FILE as WEIGHTS
from personagen.provenance import Parameters, sampling_settings, versions, write_png
from personagen.schedulers import Sampler, build_scheduler, check_sampler, sampler_of
from personagen.styling.studio import Halted
from personagen.vocabulary import counted
from recsys.errors import SEEDS, ConfigError, check_range

from . import examples
from .bases import EMBEDDED, Bases, base_field
from .line import PICTURE
from .live import Pace, Steps, coming_of, coming_place, live
from .settings import Kept, digest, same
from .shared import (
    QUICK,
    Bar,
    Bench,
    Shown,
    Task,
    command_box,
    number,
    offer,
    pack,
    side_by_side,
    state_line,
    stop_button,
    wire,
)
from .uploads import take_loras
from .visits import Visit

ROWS, MOST, SMALLEST, LARGEST = 8, 8, 64, 1024
LONGEST = 600
"""Letters of a prompt."""
SAMPLERS = [("the model's own", ""), *((name, name) for name in get_args(Sampler))]
HINT = (
    "Say what to paint. Subjects that you taught in this visit, and LoRA files (.safetensors) that you give, lie on "
    "the model with the weight of their row; 0 leaves one out."
)
FIELDS = ("prompt", "negative_prompt", "steps", "guidance", "scheduler", "width", "height", "count", "seed", "base")
"""The command's names of the settings, in the order in which handlers take them."""


def build_tab(bench: Bench, tab: Any) -> tuple[Kept, dict[str, Any]]:
    """Draw the tab's components into the open gradio context, connect them, return what travels and the components."""
    import gradio as gr

    widgets = side_by_side(gr, lambda gr: _controls(gr, bench.bases), _board)
    kept = Kept("generate", "subject generate", {name: widgets[name] for name in FIELDS}, base="base")
    _wire(gr, bench, widgets, kept)
    tab.select(rows_handler(bench), None, [*rows(widgets), widgets["gallery"]], **QUICK)
    return kept, widgets


def rows(widgets: dict[str, Any]) -> list[Any]:
    """List the sliders of subjects and LoRA files."""
    return [widgets[f"row-{at}"] for at in range(ROWS)]


def _controls(gr: Any, bases: Bases) -> dict[str, Any]:
    widgets: dict[str, Any] = {}
    gr.Markdown(HINT if bases.several else f"{HINT} The model is {bases.said()}.")
    widgets["base"] = base_field(gr, bases, "generate-base")
    widgets["prompt"] = gr.Textbox(
        label="Prompt", lines=3, max_length=LONGEST, elem_id="generate-prompt",
        placeholder="a person wearing a red striped t-shirt and blue trousers on a beach",
    )  # fmt: skip
    widgets["examples"] = examples.words("Examples to click", examples.PROMPTS, "generate-examples")
    widgets["negative_prompt"] = gr.Textbox(label="Not in it", max_length=LONGEST, elem_id="generate-negative")
    for at in range(ROWS):
        widgets[f"row-{at}"] = gr.Slider(
            0, 2, value=1, step=0.05, label=f"Row {at + 1}", visible="hidden", elem_id=f"generate-row-{at}"
        )
    with gr.Accordion("Add LoRA files", open=False):
        widgets["loras"] = gr.File(
            label=".safetensors, up to 64 MB each", file_count="multiple", file_types=[".safetensors"], height=120,
            elem_id="generate-loras",
        )  # fmt: skip
    with gr.Row():
        widgets["steps"] = gr.Slider(1, 100, value=20, step=1, label="Steps", elem_id="generate-steps")
        widgets["guidance"] = gr.Slider(1, 20, value=5, step=0.5, label="Guidance", elem_id="generate-guidance")
    with gr.Row():
        widgets["count"] = gr.Slider(1, MOST, value=2, step=1, label="Pictures", elem_id="generate-count")
        widgets["scheduler"] = gr.Dropdown(
            SAMPLERS, value="", label="Sampler", min_width=200, elem_id="generate-sampler"
        )
    with gr.Row():
        for name in ("width", "height"):
            widgets[name] = gr.Slider(
                0, LARGEST, value=0, step=8, label=f"{name.capitalize()} (0: the model's)", elem_id=f"generate-{name}"
            )
    with gr.Row(elem_classes="seeds"):
        widgets["seed"] = gr.Number(0, label="Seed of the first", precision=0, min_width=110, elem_id="generate-seed")
        widgets["dice"] = gr.Button("New seed", size="sm", min_width=60, elem_id="generate-dice")
        widgets["again"] = gr.Button("The last one's", size="sm", min_width=60, elem_id="generate-again")
    with gr.Row():
        widgets["go"] = gr.Button("Paint", variant="primary", elem_id="generate-go")
        widgets["stop"] = gr.Button("Cancel", interactive=False, elem_id="generate-stop")
    return widgets


def _board(gr: Any) -> dict[str, Any]:
    return {
        "state": state_line("Write a prompt, then press Paint.", "generate-state"),
        "preview": coming_place(gr, "generate-preview"),
        "gallery": gr.Gallery(
            label="Painted in this visit, latest first", format="png", columns=3, height="auto", object_fit="contain",
            interactive=False, buttons=["download", "fullscreen"], elem_id="generate-gallery",
        ),
        "download": gr.HTML(elem_id="generate-download"),
        "command": command_box("generate-command"),
    }  # fmt: skip


def _wire(gr: Any, bench: Bench, widgets: dict[str, Any], kept: Kept) -> None:
    bar = Bar(widgets["state"], widgets["go"], widgets["stop"], "generate")
    widgets["dice"].click(lambda: secrets.randbelow(SEEDS[1] + 1), None, widgets["seed"], **QUICK)
    widgets["again"].click(_last_seed(gr, bench), None, widgets["seed"], **QUICK)
    widgets["examples"].click(_example(gr), None, widgets["prompt"], **QUICK)
    take_loras(bench, widgets["loras"], widgets["base"], bar.state, rows(widgets), rows_of)
    shown = [widgets[name] for name in ("preview", "gallery", "download", "command")]
    wire(
        bench, bar, button=widgets["go"], rank=PICTURE, work=generate(gr, bench.bases, kept),
        inputs=[*kept.fields.values(), *rows(widgets)], outputs=shown, first="Beginning …",
        clear=["", *[gr.skip()] * 3],
        left=lambda visit, job: ["", gr.skip(), all_of(visit), gr.skip()],
    )  # fmt: skip
    stop_button(bench, bar)


def _example(gr: Any) -> Callable[..., str]:
    def fill(event: gr.EventData) -> str:
        return examples.asked(event, examples.PROMPTS)

    return fill


def rows_of(visit: Visit | None) -> list[Any]:
    """Return the updates of the rows: one for each subject and LoRA file of a visit."""
    import gradio as gr

    labels = list(visit.subjects)[:ROWS] if visit else []
    shown = [gr.update(label=_label(visit, name), visible=True) for name in labels]
    return [*shown, *(gr.update(visible="hidden") for _ in range(ROWS - len(labels)))]


def _label(visit: Visit | None, name: str) -> str:
    said, fits = (visit.phrases.get(name), visit.bases.get(name, ())) if visit else (None, ())
    label = f"{name}: say “{said}”" if said else name
    return f"{label} (on {fits[0]})" if len(fits) == 1 and fits[0] != EMBEDDED else label


def rows_handler(bench: Bench) -> Callable[..., list[Any]]:
    """List the visitor's subjects and pictures when the tab is opened."""
    import gradio as gr

    def show(request: gr.Request) -> list[Any]:
        visit = bench.visits.get(str(request.session_hash))
        return [*rows_of(visit), gallery_of(visit) if visit and visit.painted else gr.skip()]

    return show


def gallery_of(visit: Visit) -> list[tuple[str, str]]:
    """List the pictures of a visit, latest first, with what stands below each."""
    return [(str(path), caption) for path, caption in reversed(visit.painted)]


def all_of(visit: Visit) -> str:
    """Write the link with which all pictures of a visit are saved; nothing where there are none."""
    pictures = [path for path, _ in visit.painted]
    archive = pack(pictures, visit.place("pictures", ".zip")) if pictures else None
    return offer(archive, f"Download all {len(pictures)} (.zip)", name="pictures.zip") if archive else ""


def _last_seed(gr: Any, bench: Bench) -> Callable[..., Any]:
    def last(request: gr.Request) -> Any:
        visit = bench.visits.get(str(request.session_hash))
        return visit.seeds.get("generate", gr.skip()) if visit else gr.skip()

    return last


def generate(gr: Any, bases: Bases, kept: Kept) -> Callable[..., Iterator[Shown]]:
    """Return what *Paint* does."""

    def work(task: Task, *values: Any) -> Iterator[Shown]:
        start, count_of = time.monotonic(), len(FIELDS)
        asked = checked(kept, values[:count_of])
        asked["base"] = bases.get(asked.get("base")).name
        chosen = weighted(task.visit, values[count_of:])
        weights = {name: {"weight": weight} for name, weight in chosen.items()}
        task.visit.remember(kept.record(asked, subjects=weights))
        before = len(task.visit.painted)
        named = [f"{name}.safetensors" for name in chosen]
        files = ["--subjects", json.dumps(named), "--weights", json.dumps(list(chosen.values()))] if chosen else []
        bases.check_fits(task.visit, chosen, asked["base"])
        named_one = f"the base model {asked['base']}" if bases.several else "the model"
        yield f"Loading {named_one} …", 0.0, [*[gr.skip()] * 3, same(kept, asked, *files)]
        for text, part, update in live(lambda tell: paint(bases, task, asked, chosen, kept, tell), task.job.stop):
            coming, done = update
            if done is not None:
                task.visit.painted.append(done)
            yield text, part, [coming or gr.skip(), gallery_of(task.visit) if done else gr.skip(), *[gr.skip()] * 2]
        text = f"{counted(len(task.visit.painted) - before, 'picture')} in {time.monotonic() - start:.0f} s."
        yield text, 1.0, ["", gallery_of(task.visit), all_of(task.visit), gr.skip()]

    return work


def checked(kept: Kept, values: Sequence[Any]) -> dict[str, Any]:
    """Return the settings under the command's names.

    Raises:
        ConfigError, DataError: what the message names.
    """
    asked = kept.settings(values)
    asked["seed"] = number(asked.get("seed"), "the seed")
    for name in ("prompt", "negative_prompt"):
        if len(str(asked.get(name, ""))) > LONGEST:
            raise ConfigError(f"{name} has more than {LONGEST} letters; say it shorter")
    if not str(asked.get("prompt", "")).strip():
        raise ConfigError("the prompt is empty; say what to paint, such as a person wearing a red dress on a beach")
    sizes = {name: int(asked.pop(name, 0) or 0) for name in ("width", "height")}
    for name, size in sizes.items():
        if size:
            check_range(**{name: (size, SMALLEST, LARGEST)})
            asked[name] = size - size % 8
    steps, count = int(asked["steps"]), int(asked["count"])
    check_range(steps=(steps, 1, 1000), count=(count, 1, MOST), guidance=(asked["guidance"], 1, 30))
    check_range(seed=(asked["seed"], *SEEDS))
    check_sampler(asked.get("scheduler"), steps)
    return asked | {"steps": steps, "count": count}


def weighted(visit: Visit, weights: Sequence[float]) -> dict[str, float]:
    """Return the visitor's subjects and LoRA files with their weights, without those of weight 0."""
    found = {name: float(weight) for name, weight in zip(visit.subjects, weights, strict=False)}
    return {name: weight for name, weight in found.items() if weight}


def opened(bases: Bases, visit: Visit, base: str, chosen: dict[str, float]) -> Any:
    """Return a base model with the chosen subjects on it.

    Raises:
        ConfigError, ModelError: what the message names.
    """
    if not chosen:
        return bases.pipeline(base)
    return bases.with_subjects(base, [visit.subjects[name] for name in chosen], list(chosen.values()))


def paint(
    bases: Bases, task: Task, asked: dict[str, Any], chosen: dict[str, float], kept: Kept, tell: Callable[[Any], None]
) -> None:
    """Paint the pictures that are asked for into the job's folder; tell (line, part done, (preview, picture)).

    Raises:
        ConfigError, ModelError: what the message names.
        Halted: nobody wants them any more.
    """
    pipe = opened(bases, task.visit, asked["base"], chosen)
    if task.turn.stopped():  # while it was loaded
        raise Halted
    own, count, first = pipe.scheduler, int(asked["count"]), int(asked["seed"])
    pace = Pace(count * int(asked["steps"]))
    try:
        if asked.get("scheduler"):
            pipe.scheduler = build_scheduler(asked["scheduler"], own.config)
        for at in range(count):
            one = (first + at) % (SEEDS[1] + 1)
            task.visit.seeds["generate"] = one
            path = _one(pipe, task, asked, chosen, kept, tell, one, at, pace)
            caption = f"{str(asked['prompt'])[:80]} · seed {one}"
            tell((f"Picture {at + 1} of {count}{pace.left()}", (at + 1) / count, ("", (path, caption))))
    finally:
        pipe.scheduler = own  # the studio's own pipeline is everybody's


def _one(
    pipe: Any, task: Task, asked: dict[str, Any], chosen: dict[str, float], kept: Kept, tell: Callable[[Any], None],
    seed: int, at: int, pace: Pace,
) -> Path:  # fmt: skip
    import torch

    steps = int(asked["steps"])

    def seen(pipeline: Any, step: int, latents: Any) -> None:
        part, coming = pace.step(), coming_of(pipeline, latents, step, steps)
        tell((f"Picture {at + 1} of {asked['count']}: step {step} of {steps}{pace.left()}", part, (coming, None)))

    image = Steps(pipe, task.turn.stopped, seen)(
        str(asked["prompt"]), negative_prompt=asked.get("negative_prompt"), num_inference_steps=steps,
        guidance_scale=float(asked["guidance"]), height=asked.get("height"), width=asked.get("width"),
        generator=torch.Generator().manual_seed(seed),
    ).images[0]  # fmt: skip
    sampled = sampling_settings(
        steps=steps,
        sampler=sampler_of(pipe),
        guidance=float(asked["guidance"]),
        seed=seed,
        size=(image.height, image.width),
        model="" if asked["base"] == EMBEDDED else asked["base"],
    )
    parameters = Parameters(str(asked["prompt"]), str(asked.get("negative_prompt", "")), sampled)
    subjects = {name: {"weight": weight, "sha256": _sha(task.visit.subjects[name])} for name, weight in chosen.items()}
    settings = {**asked, "seed": seed, "count": 1}
    record = {"kind": "subject", "subjects": list(chosen), "weights": list(chosen.values()), "versions": versions(),
              **kept.record(settings, subjects=subjects)}  # fmt: skip
    return write_png(image, task.visit.place("picture", ".png"), parameters=parameters, record=record)


def _sha(subject: Path) -> str | None:
    """Name the weights of a subject's folder, or of a LoRA file."""
    file = subject if subject.is_file() else subject / WEIGHTS
    return digest(file) if file.is_file() else None
