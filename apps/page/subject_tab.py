"""The page's tab for subjects: upload pictures, see what is wrong with them, train, then paint with what was learnt.

`build_tab` draws it inside the page of `app`. A visitor sees and uses only the subjects of their own visit; all
is kept in the visitor's own folder and goes with them.
"""

import html
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from personagen.models.config import OwnWeights
from personagen.styling.studio import Studio, Watched
from personagen.subject import SubjectConfig, resolve, train_subject
from personagen.vocabulary import counted
from recsys.errors import SEEDS, ConfigError, DataError, check_range

from .line import PICTURE, TRAINING
from .shared import (
    FORMATS,
    KINDS,
    QUICK,
    Bar,
    Bench,
    Shown,
    Task,
    number,
    offer,
    pack,
    side_by_side,
    status,
    stop_button,
    wire,
)
from .uploads import take_files
from .visits import Visit, given_name

MAX_PICTURES, MAX_SUBJECTS, MAX_IMAGES = 40, 8, 8
PRESETS = [("a thing", "object"), ("a person", "person"), ("a style", "style"), ("a garment", "garment")]
PAUSE = 1.0  # seconds between two updates of the page
RESULTS = ("pytorch_lora_weights.safetensors", "README.md", "run.json")
HINT = (
    "Four to twenty pictures of one thing, person, style or garment. They are read on this machine alone and kept "
    f"without place and camera, until you leave the page or delete your data. {FORMATS} each."
)


def build_tab(bench: Bench) -> None:
    """Draw the tab's components into the open gradio context and connect them."""
    import gradio as gr

    _wire(gr, bench, side_by_side(gr, _controls, _board))


def _controls(gr: Any) -> dict[str, Any]:
    widgets: dict[str, Any] = {}
    gr.Markdown(HINT)
    widgets["files"] = gr.File(label="Pictures", file_count="multiple", file_types=KINDS, elem_id="subject-files")
    widgets["verdict"] = gr.HTML("", elem_id="subject-verdict")
    with gr.Row():
        widgets["name"] = gr.Textbox(label="What it is", placeholder="backpack", max_length=40, elem_id="subject-name")
        widgets["preset"] = gr.Dropdown(PRESETS, value="object", label="It is", elem_id="subject-preset")
    widgets["consent"] = gr.Checkbox(
        False, label="This person agreed to be learnt, and to have pictures made of them", visible=False,
        elem_id="subject-consent",
    )  # fmt: skip
    with gr.Accordion("Settings of the training", open=False):
        widgets["steps"] = gr.Slider(0, 2000, value=0, step=10, label="Steps (0: as preset)", elem_id="subject-steps")
        widgets["seed"] = gr.Number(0, label="Seed", precision=0, elem_id="subject-seed")
    with gr.Row():
        widgets["train"] = gr.Button("Learn", variant="primary", elem_id="subject-train")
        widgets["stop"] = gr.Button("Cancel", interactive=False, elem_id="subject-stop")
    return widgets


def _board(gr: Any) -> dict[str, Any]:
    still = {"format": "png", "type": "filepath", "interactive": False, "buttons": ["fullscreen"]}
    widgets: dict[str, Any] = {
        "state": gr.HTML(status("Give pictures, say what they show, then press Learn.", 0.0), elem_id="subject-state")
    }
    with gr.Row():
        widgets["loss"] = gr.Image(**still, label="Loss", visible=False, elem_id="subject-loss")
        widgets["preview"] = gr.Image(
            **still, label="Without the subject above, with it below", visible=False, elem_id="subject-preview"
        )
    with gr.Column(visible=False, elem_id="subject-use") as widgets["use"]:
        widgets["chosen"] = gr.Dropdown([], label="Subjects", multiselect=True, elem_id="subject-chosen")
        widgets["weights"] = gr.Textbox("1", label="Their weights, in order", max_length=80, elem_id="subject-weights")
        widgets["prompt"] = gr.Textbox(label="Prompt", max_length=300, elem_id="subject-prompt")
        with gr.Row():
            widgets["count"] = gr.Slider(1, MAX_IMAGES, value=2, step=1, label="Pictures", elem_id="subject-count")
            widgets["paint_steps"] = gr.Slider(1, 50, value=20, step=1, label="Steps", elem_id="subject-paint-steps")
        with gr.Row():
            widgets["paint"] = gr.Button("Paint", variant="primary", elem_id="subject-paint")
            widgets["download"] = gr.HTML(elem_id="subject-download")
        widgets["gallery"] = gr.Gallery(
            label="Painted", format="png", columns=4, height="auto", object_fit="contain", interactive=False,
            elem_id="subject-gallery",
        )  # fmt: skip
    return widgets


def _wire(gr: Any, bench: Bench, widgets: dict[str, Any]) -> None:
    bar = Bar(widgets["state"], widgets["train"], widgets["stop"], "subject", (widgets["paint"],))
    take_files(bench, widgets["files"], widgets["verdict"], _look(bench.folder))
    widgets["preset"].change(
        lambda kind: gr.update(visible=kind == "person"), widgets["preset"], widgets["consent"], **QUICK
    )
    given = [widgets[name] for name in ("files", "name", "preset", "consent", "steps", "seed")]
    learnt = [widgets[name] for name in ("loss", "preview", "use", "chosen", "prompt", "download")]
    wire(bench, bar, button=widgets["train"], rank=TRAINING, work=_learn(bench.studio), inputs=given, outputs=learnt,
         first="Beginning …")  # fmt: skip
    asked = [widgets[name] for name in ("chosen", "weights", "prompt", "count", "paint_steps", "seed")]
    wire(bench, bar, button=widgets["paint"], rank=PICTURE, work=_paint(bench.studio), inputs=asked,
         outputs=[widgets["gallery"]], first="Beginning …")  # fmt: skip
    stop_button(bench, bar)


def _look(folder: Path) -> Callable[[Sequence[str]], str]:
    """Say of each upload whether it can be used."""

    def look(files: Sequence[str]) -> str:
        with tempfile.TemporaryDirectory(dir=folder) as work:
            return verdict(files, Path(work))

    return look


def gather(files: Sequence[str] | None, folder: Path) -> dict[str, str]:
    """Copy uploads into a folder under names of ours; return the visitor's name of each.

    Raises:
        DataError: what the message names.
    """
    if not files:
        raise DataError("there are no pictures; give at least one")
    if len(files) > MAX_PICTURES:
        raise DataError(f"{len(files)} pictures are more than {MAX_PICTURES}; choose the best ones")
    folder.mkdir(parents=True, exist_ok=True)
    names = {}
    for place, file in enumerate(files):
        ours = f"{place:02d}{Path(file).suffix.lower()}"
        shutil.copyfile(file, folder / ours)
        names[ours] = given_name(file)
    return names


def verdict(files: Sequence[str], work: Path) -> str:
    """Write what the doctor says of each upload as an HTML table.

    Raises:
        DataError: what the message names.
    """
    from personagen.subject.data import scan

    names = gather(files, work)
    pictures, findings = scan(work)
    rows = [
        (names.get(finding.file, finding.file), finding.decision, "" if finding.size is None else finding.detail)
        for finding in findings
    ]
    marks = "".join(
        f"<tr><td>{'✓' if decision == 'used' else '⚠'} {html.escape(name)}</td><td>{html.escape(decision)}</td>"
        f"<td>{html.escape(detail)}</td></tr>"
        for name, decision, detail in rows
    )
    return f"<p>{len(pictures)} of {len(findings)} can be used</p><table>{marks}</table>"


def _learn(studio: Studio) -> Callable[..., Iterator[Shown]]:
    import gradio as gr

    def learn(
        task: Task, files: list[str] | None, name: str, preset: str, consent: bool, steps: int, seed: int
    ) -> Iterator[Shown]:
        visit, keep = task.visit, [gr.skip()] * 6
        own = [str(visit.own(file)) for file in files or []]
        config = settings(visit, own, name, preset, consent, int(steps), number(seed, "the seed"), studio)
        for text, part, loss, preview in watched(config, task.turn.stopped):
            shown = [gr.skip() if path is None else gr.update(value=path, visible=True) for path in (loss, preview)]
            yield text, part, [*shown, *keep[2:]]
        if task.job.stop.is_set():
            yield "Stopped; nothing was kept.", 0.0, keep
            return
        label = keep_subject(visit, config)
        archive = pack(result_files(config), Path(config.output_dir).with_suffix(".zip"))
        yield f"Learnt. Say: {config.instance_prompt}", 1.0, [
            gr.skip(), gr.skip(), gr.update(visible=True), gr.update(choices=list(visit.subjects), value=[label]),
            str(config.instance_prompt), offer(archive, "Download the subject (.zip)", name=f"{label}.zip"),
        ]  # fmt: skip

    return learn


def settings(
    visit: Visit, files: Sequence[str] | None, name: str, preset: str, consent: bool, steps: int, seed: int,
    studio: Studio,
) -> SubjectConfig:  # fmt: skip
    """Make the settings of a training and copy the uploads.

    Raises:
        ConfigError, DataError: what the message names.
    """
    if preset not in [value for _, value in PRESETS]:
        raise ConfigError(f"a subject cannot be {preset!r}; choose one of the list")
    if not name.strip():
        raise ConfigError("the subject has no name; say what it is, such as backpack")
    if preset == "person" and not consent:
        raise ConfigError("a person must have agreed; tick the box if so, or teach something else")
    if len(visit.subjects) >= MAX_SUBJECTS:
        raise ConfigError(f"{MAX_SUBJECTS} subjects are as many as a visit holds; reload the page to begin anew")
    folder = Path(tempfile.mkdtemp(prefix="subject-", dir=visit.folder))
    gather(files, folder / "pictures")
    whole = resolve(SubjectConfig(
        str(folder / "pictures"), " ".join(name.split()), preset=preset, output_dir=str(folder / "result"),  # type: ignore[arg-type]
        pretrained_model_name_or_path=studio.models["text2image"], token=f"sks{len(visit.subjects) or ''}",
        consent=bool(consent), device=studio.compute.device, max_train_steps=steps or None, seed=seed,
        num_validation_images=2, **base_settings(studio.own),
    ))  # fmt: skip
    return replace(whole, validation_steps=max(1, int(whole.max_train_steps or 1) // 4))


def watched(config: SubjectConfig, stop: Callable[[], bool]) -> Iterator[tuple[str, float, str | None, str | None]]:
    """Train until done or `stop()`; yield a line, the part done, and new pictures of the loss and of samples."""
    from personagen.subject.samples import write_curve

    out, losses, last = Path(config.output_dir), [], 0.0
    steps = train_subject(config)
    for step in steps:
        if stop():
            steps.close()  # type: ignore[attr-defined]
            return
        if step.step == 0:
            yield f"Preparing: {next(iter(step.metrics or {'': 0})).replace('_', ' ')}", 0.0, None, None
            continue
        losses += [step.losses["loss"]] if "loss" in step.losses else []
        if time.monotonic() - last < PAUSE and not step.metrics:
            continue
        last, total = time.monotonic(), int(config.max_train_steps or 1)
        curve = out / f"loss-{step.step:06d}{'-end' if step.metrics else ''}.png"  # a browser keeps what has one name
        write_curve(losses, curve, label="loss")
        grids = sorted((out / "samples").glob("step-*.png")) if step.metrics else []
        text = f"Step {step.step} of {total}" + (f", loss {losses[-1]:.3f}" if losses else "")
        yield text, step.step / total, str(curve), str(grids[-1]) if grids else None


def keep_subject(visit: Visit, config: SubjectConfig) -> str:
    """Put a result on the visitor's list under a name that is not taken; return the name."""
    label, number = config.name, 2
    while label in visit.subjects:
        label, number = f"{config.name} {number}", number + 1
    visit.subjects[label] = Path(config.output_dir)
    return label


def result_files(config: SubjectConfig) -> list[Path]:
    """List what a visitor takes home: both adapter files, the card and the record."""
    from personagen.subject.results import kohya_name

    folder = Path(config.output_dir)
    return [path for path in (folder / name for name in (*RESULTS, kohya_name(config))) if path.is_file()]


def _paint(studio: Studio) -> Callable[..., Iterator[Shown]]:
    def paint(
        task: Task, chosen: list[str], weights: str, prompt: str, count: int, steps: int, seed: int
    ) -> Iterator[Shown]:
        first, pictures = number(seed, "the seed"), []
        check_range(count=(int(count), 1, MAX_IMAGES), steps=(int(steps), 1, 1000), seed=(first, *SEEDS))
        pipe = stacked(task.visit, chosen, read_weights(weights), studio, task.turn.stopped)
        for path in painted(pipe, prompt, int(count), int(steps), first, task.job.folder):
            pictures.append(str(path))
            yield f"Picture {len(pictures)} of {int(count)}", len(pictures) / int(count), [list(pictures)]
        yield f"{counted(len(pictures), 'picture')}.", 1.0, [list(pictures)]

    return paint


def read_weights(text: str) -> list[float]:
    """Read weights separated by commas or spaces.

    Raises:
        ConfigError: what the message names.
    """
    try:
        return [float(word) for word in text.replace(",", " ").split()]
    except ValueError as error:
        raise ConfigError(f"weights {text!r} are not numbers; write them as 1, 0.8") from error


def base_settings(own: OwnWeights) -> dict[str, Any]:
    """Return the settings of training that say how the page's base model is read, and what lies over it."""
    return {field.name: getattr(own, field.name) for field in fields(OwnWeights)}


def stacked(
    visit: Visit, chosen: Sequence[str], weights: list[float], studio: Studio, stop: Callable[[], bool]
) -> Watched:
    """Load the base model with the visitor's chosen subjects on it.

    Raises:
        ConfigError, ModelError: what the message names.
    """
    from personagen.subject.loaded import load_subjects

    if not chosen or any(label not in visit.subjects for label in chosen):
        raise ConfigError("choose at least one of the subjects learnt in this visit")
    folders = [visit.subjects[label] for label in chosen]
    base, own = studio.models["text2image"], studio.own
    pipe = load_subjects(folders, weights=weights, base=base, own=own, compute=studio.compute)
    pipe.set_progress_bar_config(disable=True)
    return Watched(pipe, stop)


def painted(pipe: Watched, prompt: str, count: int, steps: int, seed: int, folder: Path) -> Iterator[Path]:
    """Paint pictures of a prompt, write each, and yield its path.

    Raises:
        ConfigError: an empty prompt.
        Halted: what the message names.
    """
    import torch

    from personagen.provenance import Parameters, sampling_settings, versions, write_png

    if not prompt.strip():
        raise ConfigError("the prompt is empty; say what to paint, with the subject's word in it")
    out = Path(tempfile.mkdtemp(prefix="painted-", dir=folder))
    for place in range(count):
        one = (seed + place) % (SEEDS[1] + 1)
        generator = torch.Generator().manual_seed(one)
        image = pipe(prompt, num_inference_steps=steps, guidance_scale=3.0, generator=generator).images[0]
        sampled = sampling_settings(steps=steps, guidance=3.0, seed=one)
        parameters = Parameters(prompt, settings=sampled)
        yield write_png(image, out / f"{place}.png", parameters=parameters, record={"versions": versions()})
