"""One subject from settings to results, as an iterator of steps."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from recsys.loop import Checkpoints, drive
from recsys.types import Step

from ..devices import choose_device
from ..schedulers import use_sampler
from ..training.processes import Processes
from .base import check_finite, native_size, noise_schedule, open_base, use_schedule
from .config import SubjectConfig, own_weights, resolve
from .data import Finding, Picture, usable
from .examples import PromptCache, encode_pictures
from .prior import class_size, paint_class
from .results import publish
from .samples import validate
from .scenes import set_into_scenes
from .train import Learner, checkpoints_of, prompts_of, with_placeholder


def run(config: SubjectConfig, *, tell: Callable[[Finding], None] | None = None) -> Iterator[Step]:
    """See `train_subject`."""
    config = resolve(config)
    processes = Processes()
    checkpoints = checkpoints_of(config, processes)
    pictures, findings = usable(config.instance_data_dir, resolution=config.resolution)
    for finding in findings:
        if tell is not None and finding.decision != "used":
            tell(finding)
    pipe = load_base(config, processes)
    native = native_size(pipe)
    side, size = config.resolution or round((native[0] * native[1]) ** 0.5), class_size(native, pipe, config)
    if config.preset == "person":  # what can paint a person is for its owner alone
        Path(config.output_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
    if config.with_prior_preservation:
        if processes.first:
            for share in paint_class(pipe, config, size=size):
                yield _preparing("class_images", share)
        processes.wait()
    if config.scenes:
        for shown in set_into_scenes(pipe, pictures, config, size=size):
            if isinstance(shown, list):
                pictures = shown
            else:
                yield _preparing("scenes", shown)
    learner = Learner(pipe, config, processes=processes)
    checkpoints.resume(learner)
    yield from _encode(learner, pictures, side)
    yield from _learn(learner, checkpoints, size)
    if processes.first:
        metrics = validate(learner, size=size)
        metrics |= publish(learner, pictures, size=size)
        yield Step(learner.step, 0.0, {}, metrics, 0.0)
    processes.wait()


def load_base(config: SubjectConfig, processes: Processes) -> Any:
    """Load the base model in float32 onto the device, and check that it can be trained as asked."""
    pipe = open_base(config.pretrained_model_name_or_path, own_weights(config))
    pipe.to(processes.own(choose_device(config.device)))
    check_finite(pipe)
    noise_schedule(pipe, zero_snr=config.rescale_betas_zero_snr)
    use_schedule(pipe, zero_snr=config.rescale_betas_zero_snr)
    use_sampler(pipe, config.scheduler)
    return pipe


def _encode(learner: Learner, pictures: list[Picture], side: int) -> Iterator[Step]:
    """Put pictures and prompts through autoencoder and text encoder once."""
    config = learner.config
    of_class: list[Picture] = []
    if config.with_prior_preservation:
        of_class, _ = usable(str(config.class_data_dir), resolution=side)
        of_class = of_class[: config.num_class_images]
    groups = (
        (learner.instance, pictures, str(config.instance_prompt), config.random_flip, config.identity_weight or 1.0),
        (learner.of_class, of_class, str(config.class_prompt), False, 1.0),
    )
    total, done = len(pictures) + len(of_class), 0
    for examples, sources, caption, flip, weight in groups:
        for example in encode_pictures(
            learner.pipe, sources, config, resolution=side, caption=caption, flip=flip, identity_weight=weight
        ):
            examples.append(replace(example, caption=with_placeholder(example.caption, config)))
            done += 1
            yield _preparing("cached", done / total)
    if not learner.words_are_trained:
        learner.prompts = PromptCache(config.cache_dir)
        learner.prompts.fill(learner.pipe, prompts_of(learner))
    learner.park()
    learner.schedule = replace(learner.schedule, abar=learner.schedule.abar.to(learner.device))


def _learn(learner: Learner, checkpoints: Checkpoints, size: tuple[int, int]) -> Iterator[Step]:
    """Train; every validation_steps, paint. A checkpoint is written when the caller stops in between."""
    every = learner.config.validation_steps
    learner.train_mode()
    with closing(drive(learner, checkpoints)) as steps:
        for step in steps:
            due = every and step.step % every == 0 and not learner.finished
            if due and learner.processes.first:
                step = replace(step, metrics=validate(learner, size=size))
            yield step


def _preparing(what: str, share: float) -> Step:
    return Step(0, 0.0, {}, {what: share}, 0.0)
