"""`personagen recommend train --search N`: settings are tried, what came out is said, the best is kept."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from recsys.data.splits import Split
from recsys.errors import ConfigError, ModelError
from recsys.search import FILE, Progress, SearchPlan, Trial, search
from recsys.train import TrainConfig as LoopConfig

from ..progress import bar, note
from ..signals import Patience
from .config import TrainConfig

Keep = Callable[[Any, LoopConfig], None]


def searched(
    settings: TrainConfig, split: Split, *, own: dict[str, Any], given: dict[str, Any],
    features: Tensor | None, keep: Keep,
) -> None:  # fmt: skip
    """Try settings, and call keep(model, how it was trained) whenever a trial is the best so far.

    `own` settings of the model and `given` ones of the loop stay as they are.

    Raises:
        ConfigError: several processes, or as `recsys.search.search` does.
        ModelError: no trial came to its end.
        Stopped: after a signal; the same command goes on.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("search runs in one process; leave torchrun out, or leave search out")
    seconds = None if settings.search_budget is None else 60 * settings.search_budget
    plan = SearchPlan(settings.search, seconds, settings.seed)
    trials = search(settings.model, split, plan=plan, settings=own, given=given, features=features, folder=settings.out)
    with Patience() as patience, bar(None, total=plan.trials, label="search", unit="trial") as progress:
        for now in trials:
            progress.set_postfix_str(f"step {now.step.step} of {now.total}" if now.step else "", refresh=False)
            progress.update(now.number + (now.ended is not None) - progress.n)
            if now.ended is not None:
                note(f"trial {now.number + 1} of {plan.trials}: {_outcome(now, now.ended)}")
            if now.leads:
                keep(now.model, now.config)
            if patience.asked and now.ended is None:  # a trial that has ended is written first
                trials.close()
                break
    table = Path(settings.out) / FILE
    tried = f"what was tried is in {table}" if table.is_file() else "nothing was tried to its end yet"
    patience.end(f"the same command goes on; {tried}")
    if not (Path(settings.out) / "config.json").is_file():
        raise ModelError("no trial came to its end: every one diverged; set train.learning_rate to 0.001 or less")
    note(f"what was tried is in {table}")


def _outcome(now: Progress, trial: Trial) -> str:
    what = ", ".join(f"{name} {value:.3g}" for name, value in trial.settings.items())
    end = ", the best so far" if now.leads else "" if trial.state == "done" else f", {trial.state}"
    return f"{now.config.metric} {trial.figure:.4f} after {trial.epochs} epochs with {what}{end}"
