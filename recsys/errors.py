"""Errors that a user can act on: each message names the value, the allowed range and the remedy."""


class ConfigError(ValueError):
    """A setting is outside its allowed range, unknown or contradictory."""

    exit_code = 2


class DataError(ValueError):
    """Input data is missing, damaged or does not have the expected columns or ids."""

    exit_code = 3


class ModelError(ValueError):
    """A saved model cannot be read, or does not fit the code that reads it."""

    exit_code = 4


class ResourceError(RuntimeError):
    """The machine lacks memory, disk space or a device that the work needs."""

    exit_code = 5


def shown(text: object, *, most: int = 60) -> str:
    """Put what a user's file holds, or a library says, into one line: odd letters as escapes, a long text cut."""
    line = " ".join(str(text).split())
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line[:most])
    return plain + "…" * (len(line) > most)


SEEDS = (0, 2**32 - 1)
"""Seeds of pictures: 32 bits, as other tools take them."""


def check_range(**limits: tuple[float, float, float]) -> None:
    """Refuse a setting outside its range: check_range(dropout=(value, lowest, highest)).

    Raises:
        ConfigError: a value is outside its limits.
    """
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise ConfigError(f"{name} = {value}; allowed are {low} to {high}")
