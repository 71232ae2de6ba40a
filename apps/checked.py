"""Build a frozen dataclass from plain values, refusing unknown keys and wrong types."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from jsonargparse import ArgumentParser

from recsys.errors import ConfigError

T = TypeVar("T")


def checked(config: type[T], values: Mapping[str, Any], name: str) -> T:
    """Build the dataclass `config` from `values`; `name` is what the user calls them.

    Raises:
        ConfigError: a setting is unknown or of the wrong type.
    """
    return config(**typed(config, values, name))


def typed(config: type, values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return all fields of the dataclass `config`, with `values` brought to their types.

    Raises:
        ConfigError: a setting is unknown or of the wrong type.
    """
    known = [field.name for field in fields(config)]
    for key in values:
        if key not in known:
            raise ConfigError(f"{name}.{key} is unknown; allowed are {', '.join(known)}")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(config)
    try:
        space = parser.instantiate(parser.parse_object(dict(values)))
    except Exception as error:
        if hasattr(error, "exit_code"):
            raise
        reason = " ".join(str(error).split()).replace("Parser key ", f"{name}.")
        raise ConfigError(f"{reason}; allowed settings of {name} are {', '.join(known)}") from error
    return {key: space[key] for key in known}
