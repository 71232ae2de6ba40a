"""Paint with subjects: load results of training, or adapters from elsewhere, onto a base model."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recsys.errors import ConfigError

from ..adapters.adapter import FILE, Adapter
from ..adapters.lora import load_adapter, merge_adapters, use_adapters
from ..adapters.read import read_adapter
from ..devices import CPU, Compute
from ..models import load_text2image
from ..models.config import PLAIN, OwnWeights, lora_strengths
from ..models.text2image import lay_over
from ..quiet import quiet
from ..schedulers import use_sampler
from .base import open_base, use_schedule
from .config import own_weights, token_names
from .record import read_run
from .results import MODEL
from .tokens import FILE as TOKENS_FILE
from .tokens import load_tokens


def load_subjects(
    subjects: Sequence[str | Path],
    *,
    weights: Sequence[float] = (),
    base: str | None = None,
    own: OwnWeights = PLAIN,
    compute: Compute = CPU,
) -> Any:
    """Load a base model with subjects on it, at `weights` (1 where left out); return the pipeline.

    subjects: result folders, with their new tokens, or adapter files. base: none takes that of the first result folder,
    with what lay over it in training. own: what lies over the base besides; compute: as for `load_text2image`.

    Raises:
        ConfigError: there are more weights than subjects, or two subjects have the same new words.
        ModelError: a file is damaged, or made for another base model.
    """
    runs = [read_run(subject) for subject in subjects]
    strengths = fill_weights(subjects, weights)
    first = next((run.config for run in runs if run is not None), None)
    pipe = open_base_of(subjects, base=base, own=own, compute=compute)
    use_schedule(pipe, zero_snr=None if first is None else first.rescale_betas_zero_snr)
    use_sampler(pipe, own.scheduler)
    active, known = lora_strengths(own), set()
    for i, (subject, run) in enumerate(zip(subjects, runs)):
        if words := token_names(run.config) if run is not None else []:
            if known & set(words):
                raise ConfigError(f"{subject} has the new words of another subject; train it with concepts of its own")
            known |= set(words)
            load_tokens(pipe, Path(subject) / TOKENS_FILE, words)
        if Path(subject).is_file() or (Path(subject) / FILE).is_file() or run is None:
            load_adapter(pipe, subject, name=f"subject-{i}")
            active[f"subject-{i}"] = strengths[i]
    if active:
        use_adapters(pipe, active)
    return compute.place(pipe)


def open_base_of(
    subjects: Sequence[str | Path], *, base: str | None = None, own: OwnWeights = PLAIN, compute: Compute = CPU
) -> Any:
    """Load the base that the first result folder was trained on, with what lay over it then and what `own` adds.

    base: another one, with `own` alone. The pipeline is on the CPU, to be placed later, with the model's own sampler.

    Raises:
        ConfigError, ModelError: as `load_text2image` does.
    """
    source, given = base_of(subjects, base), replace(own, scheduler=None)
    first = next((run.config for run in map(read_run, subjects) if run is not None), None)
    if base is not None or first is None or first.train_unet == "full":
        return load_text2image(source, own=given, compute=compute.at_first())
    trained = own_weights(first)
    read = {name: getattr(own, name) or getattr(trained, name) for name in ("tokenizer", "prediction", "vae")}
    allowed = own.allow_download or trained.allow_download
    pipe = open_base(source, replace(trained, **read, allow_download=allowed), compute=compute)
    with quiet():
        lay_over(pipe, replace(given, vae=None))
    return pipe


def base_of(subjects: Sequence[str | Path], base: str | None) -> str:
    """Return the base model to use: the one named, a subject's whole model, the one it was trained on, or embedded."""
    if base is not None:
        return base
    for subject in subjects:
        run = read_run(subject)
        if run is not None:
            whole = Path(subject) / MODEL
            return str(whole) if run.config.train_unet == "full" else run.config.pretrained_model_name_or_path
    return "embedded"


def merged(subjects: Sequence[str | Path], *, weights: Sequence[float] = (), pipe: Any = None) -> Adapter:
    """Read adapters and make one of them. A single one at weight 1 stays as it is.

    Raises:
        ConfigError: there is no subject, or there are more weights than subjects.
        ModelError: a file is damaged or fits no other.
    """
    if not subjects:
        raise ConfigError("subjects is empty; name at least one adapter file or result folder")
    strengths = fill_weights(subjects, weights)
    adapters = [read_adapter(subject, pipe) for subject in subjects]
    return adapters[0] if strengths == [1.0] else merge_adapters(adapters, strengths)


def fill_weights(subjects: Sequence[Any], weights: Sequence[float]) -> list[float]:
    """Return one weight a subject, 1 where none was given.

    Raises:
        ConfigError: there are too many, or one is no finite number.
    """
    if len(weights) > len(subjects):
        raise ConfigError(f"{len(weights)} weights for {len(subjects)} subjects; give at most one each")
    if bad := [weight for weight in weights if not math.isfinite(weight)]:
        raise ConfigError(f"a weight is {bad[0]}; give a number, 0 to 1 is usual")
    return [*map(float, weights), *[1.0] * (len(subjects) - len(weights))]
