"""`personagen subject train|generate|export|doctor|evaluate`: teach the model a subject, and use what it learnt."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personagen.files import check_place, write_text
from personagen.images import KINDS
from personagen.subject import SubjectConfig, resolve, train_subject
from personagen.subject.config import beyond_the_base
from personagen.vocabulary import counted
from recsys.errors import SEEDS, ConfigError, DataError, check_range
from recsys.folders import alone

from ..progress import bar, begin_at, first_process, note
from ..signals import Patience, kept_in
from .subject_config import ExportConfig, GenerateConfig, SubjectDoctorConfig, SubjectEvaluateConfig
from .weights import own_weights

if TYPE_CHECKING:
    from personagen.subject.data import Finding


def train(settings: SubjectConfig) -> int:
    """Train the subject of `settings` to its end, with a bar. Returns 0.

    Raises:
        ConfigError, DataError, ModelError, ResourceError: what the message names.
        Stopped: after a signal, with a checkpoint written.
    """
    if (limit := beyond_the_base(settings)) and first_process():
        note(limit)
    mode = 0o700 if settings.preset == "person" else 0o755  # what can paint a person is for its owner alone
    with alone(settings.output_dir, mode=mode):
        last = _follow(settings)
    if first_process():
        _tell_result(settings, last)
    return 0


def _follow(settings: SubjectConfig) -> dict[str, float]:
    """Walk the steps with a bar and notes; return the last metrics."""
    total = resolve(settings).max_train_steps
    steps, last = train_subject(settings, tell=_tell_skipped), {}
    with Patience() as patience, bar(None, total=total, label=settings.name, unit="step") as progress:
        for step in steps:
            if step.step and not progress.n:
                begin_at(progress, step.step - 1)
            progress.n = step.step
            if "loss" in step.losses:
                progress.set_postfix_str(f"loss {step.losses['loss']:.4f}", refresh=False)
            progress.update(0)
            if step.metrics:
                last = step.metrics
                note(f"step {step.step}: " + ", ".join(f"{name} {value:.4g}" for name, value in step.metrics.items()))
            if patience.asked:
                steps.close()  # type: ignore[attr-defined]
                break
    folder = Path(settings.output_dir) / "checkpoints"
    patience.end(kept_in(folder, then="add --resume_from_checkpoint latest to go on from it"))
    return last


def _tell_skipped(finding: "Finding") -> None:
    """Say why a file is not trained on."""
    note(f"left out {finding.file}: {finding.decision}" + (f", {finding.detail}" if finding.detail else ""))


def _tell_result(settings: SubjectConfig, metrics: dict[str, float]) -> None:
    """Print where the result lies, and the proof; raises ModelError when what was saved paints something else."""
    from recsys.errors import ModelError

    print(f"the result is in {settings.output_dir}; say: {resolve(settings).instance_prompt}")
    limits = {"reload": 0.0, "reload_kohya": 1e-5}
    for name, limit in limits.items():
        if name not in metrics:
            continue
        print(f"{name}: largest pixel difference {metrics[name]:.3g} (allowed {limit:g})")
        if not metrics[name] <= limit:
            raise ModelError(f"the saved files paint something else than was trained ({name} {metrics[name]:.3g}); "
                             "please report this with run.json")  # fmt: skip


def generate(settings: GenerateConfig) -> int:
    """Paint pictures with subjects into `settings.out`. Returns 0.

    Raises:
        ConfigError, ModelError: what the message names.
    """
    check_range(
        count=(settings.count, 1, 64),
        steps=(settings.steps, 1, 1000),
        guidance=(settings.guidance, 1, 30),
        seed=(settings.seed, *SEEDS),
    )
    own, compute = own_weights(settings, settings.steps), settings.compute()
    out = folder_for(settings.out)
    from personagen.models.config import record_of
    from personagen.provenance import Parameters, sampling_settings, versions, write_png
    from personagen.schedulers import sampler_of
    from personagen.subject.loaded import load_subjects

    pipe = load_subjects(settings.subjects, weights=settings.weights, base=settings.base, own=own, compute=compute)
    sampler = sampler_of(pipe)
    out.mkdir(parents=True, exist_ok=True)
    for i in bar(range(settings.count), total=settings.count, label="painting", unit="picture"):
        seed = (settings.seed + i) % (SEEDS[1] + 1)
        image = _paint(pipe, settings, settings.prompt, seed)
        size = (image.height, image.width)
        sampled = sampling_settings(
            steps=settings.steps, sampler=sampler, guidance=settings.guidance, seed=seed, size=size
        )
        names = [Path(subject).name for subject in settings.subjects]
        record = {"kind": "subject", "subjects": names, "weights": settings.weights, **record_of(own),
                  "versions": versions()}  # fmt: skip
        parameters = Parameters(settings.prompt, settings.negative_prompt, sampled)
        write_png(image, out / f"{seed:05d}.png", parameters=parameters, record=record)
    print(f"wrote {counted(settings.count, 'picture')} to {out}/")
    return 0


def folder_for(name: str) -> Path:
    """Check where a folder of pictures is to be written.

    Raises:
        ConfigError, ResourceError: what the message names.
    """
    out = check_place(Path(name))
    if out.is_file():
        raise ConfigError(f"out is {out}, which is a file; name a folder")
    return out


def _paint(pipe: Any, settings: GenerateConfig | SubjectEvaluateConfig, prompt: str, seed: int) -> Any:
    import torch

    sizes = {"height": settings.height, "width": settings.width} if isinstance(settings, GenerateConfig) else {}
    negative = settings.negative_prompt or None if isinstance(settings, GenerateConfig) else None
    return pipe(
        prompt,
        negative_prompt=negative,
        num_inference_steps=settings.steps,
        guidance_scale=settings.guidance,
        generator=torch.Generator().manual_seed(seed),
        **sizes,
    ).images[0]


def export(settings: ExportConfig) -> int:
    """Write adapters, merged if several, in another form. Returns 0.

    Raises:
        ConfigError, ModelError, ResourceError: what the message names.
    """
    from personagen.adapters.lora import load_adapter, save_adapter, save_kohya
    from personagen.adapters.modelspec import modelspec
    from personagen.models.config import own_of
    from personagen.subject.base import add_in, native_size
    from personagen.subject.loaded import merged, open_base_of
    from personagen.subject.results import save_model

    out = check_place(Path(settings.out))
    if settings.to == "pipeline":
        if out.exists() and (out.is_file() or any(out.iterdir())):
            raise ConfigError(f"{out} is there already; name a new folder for the pipeline")
    elif out.suffix != ".safetensors":
        raise ConfigError(f"out is {out}; name a file that ends in .safetensors")
    pipe = open_base_of(settings.subjects, base=settings.base, own=own_of(settings))
    if settings.loras:
        add_in(pipe)
    adapter = merged(settings.subjects, weights=settings.weights, pipe=pipe)
    facts = modelspec(pipe, title=out.stem, size=native_size(pipe))
    if settings.to == "kohya":
        save_kohya(adapter, out, metadata=facts)
    elif settings.to == "diffusers":
        save_adapter(adapter, out, metadata=facts)
    else:
        load_adapter(pipe, adapter)
        add_in(pipe)
        save_model(pipe, out)
    print(f"wrote {out}")
    return 0


def doctor(settings: SubjectDoctorConfig) -> int:
    """List every file of a folder with its decision. Returns 0 when something can be trained on, else 3."""
    from personagen.subject.data import scan

    check_range(resolution=(settings.resolution, 8, 4096))
    pictures, findings = scan(settings.instance_data_dir, resolution=settings.resolution)
    if settings.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        width = max([len(finding.file) for finding in findings], default=0)
        for finding in findings:
            caption = f'  "{finding.caption}"' if finding.caption else ""
            print(f"{finding.file:{width}}  {finding.decision:14}  {finding.detail}{caption}")
        print(f"{len(pictures)} of {len(findings)} files can be used")
    if not pictures:
        raise DataError(f"no picture in {settings.instance_data_dir} can be used; give at least one {KINDS} picture")
    return 0


def evaluate(settings: SubjectEvaluateConfig) -> int:
    """Paint the subject and measure whether it is recognised, and how far other prompts drifted. Returns 0."""
    check_range(count=(settings.count, 1, 64), steps=(settings.steps, 1, 1000), guidance=(settings.guidance, 1, 30))
    if settings.out:
        check_place(Path(settings.out))
    own, compute = own_weights(settings, settings.steps), settings.compute()
    from personagen.subject.evaluate import Gallery, recognised
    from personagen.subject.loaded import load_subjects
    from personagen.subject.record import read_run
    from personagen.subject.samples import drift

    run = read_run(settings.subject)
    prompts = settings.prompts or ([str(run.config.instance_prompt)] if run is not None else [])
    if not prompts or not all(prompts):
        raise ConfigError("prompts is empty and the subject has no run.json; name at least one prompt")
    own_pictures, *others = [Gallery.read(folder, _tell_skipped) for folder in (settings.pictures, *settings.others)]
    pipe = load_subjects([settings.subject], own=own, compute=compute)
    pictures = [_paint(pipe, settings, prompt, settings.seed + i) for prompt in prompts for i in range(settings.count)]
    figures: dict[str, Any] = recognised(pictures, own_pictures, others)
    if pipe.get_list_adapters():
        figures["drift"] = drift(pipe)
    text = json.dumps({"prompts": prompts, "pictures": len(pictures), **figures}, indent=1)
    if settings.out:
        write_text(Path(settings.out), text + "\n")
    print(text)
    return 0
