"""What commands that paint check, and say, of the weights and the sampler that were asked for."""

from typing import Any

from personagen.models.config import OwnWeights, own_of
from personagen.schedulers import LCM_NOTE, check_sampler

from ..progress import note


def own_weights(settings: Any, *steps: int) -> OwnWeights:
    """Take the settings of weights out of a command's, checked before anything is loaded.

    Raises:
        ConfigError, ModelError: what the message names.
    """
    note_sampler(settings.scheduler, *steps)
    return own_of(settings)


def note_sampler(name: str | None, *steps: int) -> None:
    """Check a sampler, and say what the one for distilled weights needs.

    Raises:
        ConfigError: it is unknown, or takes fewer steps.
    """
    check_sampler(name, *steps)
    if name == "lcm":
        note(LCM_NOTE)
