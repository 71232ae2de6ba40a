"""Paint with subjects: load results of training, or adapters from elsewhere, onto a base model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recsys.errors import ConfigError, ModelError

from ..adapters.lora import FILE, Adapter, load_adapter, merge_adapters, read_adapter, use_adapters
from ..devices import choose_device
from ..models import load_text2image
from .base import use_schedule
from .config import new_words
from .results import MODEL
from .tokens import FILE as TOKENS_FILE
from .tokens import load_tokens


def read_run(folder: str | Path) -> dict[str, Any]:
    """Read the settings of a result folder's run.json; none for files and folders from elsewhere.

    Raises ModelError when it is damaged.
    """
    file = Path(folder) / "run.json"
    if not file.is_file():
        return {}
    try:
        config = json.loads(file.read_text(encoding="utf-8"))["config"]
        return dict(config)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{file} is damaged ({error}); train the subject again.") from error


def load_subjects(
    subjects: Sequence[str | Path], *, weights: Sequence[float] = (), base: str | None = None, device: str = "auto"
) -> Any:
    """Load a base model with subjects on it, at `weights` (1 where left out); return the pipeline.

    subjects: result folders, with their new tokens, or adapter files. base: none takes that of the first result folder.
    Raises ConfigError, ModelError.
    """
    runs = [read_run(subject) for subject in subjects]
    strengths = fill_weights(subjects, weights)
    pipe = load_text2image(base_of(subjects, base), device=choose_device(device), layout=_layout(runs))
    use_schedule(pipe, zero_snr=next((run.get("rescale_betas_zero_snr") for run in runs if run), None))
    active, known = {}, set()
    for i, (subject, run) in enumerate(zip(subjects, runs)):
        if words := words_of(run):
            if known & set(words):
                raise ConfigError(f"{subject} has the new words of another subject; train it with concepts of its own.")
            known |= set(words)
            load_tokens(pipe, Path(subject) / TOKENS_FILE, words)
        if Path(subject).is_file() or (Path(subject) / FILE).is_file() or not run:
            load_adapter(pipe, subject, name=f"subject-{i}")
            active[f"subject-{i}"] = strengths[i]
    if active:
        use_adapters(pipe, active)
    return pipe


def base_of(subjects: Sequence[str | Path], base: str | None) -> str:
    """Return the base model to use: the one named, a subject's whole model, the one it was trained on, or embedded."""
    if base is not None:
        return base
    for subject in subjects:
        run = read_run(subject)
        if run:
            whole = Path(subject) / MODEL
            return str(whole) if run.get("train_unet") == "full" else str(run["pretrained_model_name_or_path"])
    return "embedded"


def merged(subjects: Sequence[str | Path], *, weights: Sequence[float] = (), pipe: Any = None) -> Adapter:
    """Read adapters and make one of them. A single one at weight 1 stays as it is. Raises ConfigError, ModelError."""
    if not subjects:
        raise ConfigError("subjects is empty; name at least one adapter file or result folder.")
    strengths = fill_weights(subjects, weights)
    adapters = [read_adapter(subject, pipe) for subject in subjects]
    return adapters[0] if strengths == [1.0] else merge_adapters(adapters, strengths)


def phrase(subject: str | Path) -> str:
    """Return how a prompt names a subject that was trained here, such as "a sks dog". Raises ConfigError on others."""
    run = read_run(subject)
    if not run:
        raise ConfigError(f"{subject} has no run.json; name the result folder of `personagen subject train`.")
    return f"a {''.join(words_of(run)) or run['token']} {run['name']}"


def words_of(run: dict[str, Any]) -> list[str]:
    """Name the new words that a run's settings tell of."""
    return new_words(run.get("concepts", ["s"]), run.get("new_tokens", 0))


def fill_weights(subjects: Sequence[Any], weights: Sequence[float]) -> list[float]:
    """Return one weight a subject, 1 where none was given. Raises ConfigError when there are too many."""
    if len(weights) > len(subjects):
        raise ConfigError(f"{len(weights)} weights for {len(subjects)} subjects; give at most one each.")
    return [*map(float, weights), *[1.0] * (len(subjects) - len(weights))]


def _layout(runs: Sequence[dict[str, Any]]) -> str | None:
    return next((run.get("single_file_layout") for run in runs if run), None)
