"""`personagen pretrain CONFIG`: train one stage of the embedded models, with a bar; stop it and it goes on later."""

from collections.abc import Iterator

from personagen.pretrain import PretrainConfig, pretrain
from recsys.folders import alone
from recsys.types import Step

from ..progress import bar, begin_at, note
from ..signals import Patience, kept_in


def run(settings: PretrainConfig) -> int:
    """Train the stage of `settings` to its end; the same command goes on from the newest checkpoint. Returns 0.

    Raises:
        ConfigError, DataError, ModelError, ResourceError: what the message names.
        Stopped: after a signal, with a checkpoint written.
    """
    rendering = settings.stage == "corpus"
    total = settings.corpus.rows + settings.corpus.heldout_rows if rendering else settings.loop.steps
    unit = "row" if rendering else "step"
    folder = None if rendering else f"{settings.output_dir}/checkpoints"
    with alone(settings.output_dir):
        follow(pretrain(settings, tell=note), total=total, label=settings.stage, unit=unit, checkpoints=folder)
    print(f"the {settings.stage} stage is done; its result is in {settings.output_dir}")
    return 0


def follow(steps: Iterator[Step], *, total: int, label: str, unit: str, checkpoints: str | None) -> None:
    """Walk training steps with a bar and notes of what they measure; checkpoints: where they are, if any are written.

    Raises:
        Stopped: after a signal, once the step is finished and saved.
    """
    with Patience() as patience, bar(None, total=total, label=label, unit=unit) as progress:
        for step in steps:
            if step.step and not progress.n:
                begin_at(progress, step.step - 1)
            progress.n = step.step
            if "loss" in step.losses:
                progress.set_postfix_str(f"loss {step.losses['loss']:.4f}", refresh=False)
            progress.update(0)
            if step.metrics:
                figures = ", ".join(f"{name} {value:.4g}" for name, value in step.metrics.items())
                note(f"step {step.step}: {figures}")
            if patience.asked:
                steps.close()  # type: ignore[attr-defined]
                break
    patience.end(kept_in(checkpoints) if checkpoints else "the same command goes on with what is missing")
