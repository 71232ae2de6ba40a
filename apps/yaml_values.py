"""Read values of flags and YAML files so that ids stay ids: 007 and 0x10 are text, not the numbers 7 and 16."""

import re
from functools import cache
from pathlib import Path
from typing import Any

from jsonargparse import get_loader, set_loader

from recsys.errors import ConfigError, shown

INT = re.compile(r"^[-+]?(0|[1-9][0-9_]*)$")
FLOAT = re.compile(
    r"""^(?:[-+]?(?:[0-9][0-9_]*)?\.[0-9_]+(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9][0-9_]*\.?(?:[eE][-+]?[0-9]+)
    |[-+]?[0-9][0-9_]*\.
    |[-+]?\.(?:inf|Inf|INF)
    |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)
READ_ANEW = ("int", "float", "timestamp")
"""The kinds of values that YAML 1.1 finds in too many texts; dates stay text."""


PLAIN = re.compile(r"tag:yaml\.org,2002:[a-z]+")
"""Tags of what needs none: numbers, texts, lists, mappings."""
DEEPEST = 20
"""Levels of lists and mappings that a YAML file may have; settings have four."""


def check(path: Path, text: str) -> None:
    """Refuse a YAML file that would be read otherwise than its writer means, or that no reader gets to the end of.

    Raises:
        ConfigError: it is no YAML, nested too deeply, refers to parts of itself, has a tag, or a key twice; the message
            says which, and where.
    """
    import yaml

    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent):
                raise ConfigError(f"{path} refers to a part of itself, *{shown(event.anchor)}; write it out")
            if depth > DEEPEST:
                raise ConfigError(f"{path} has more than {DEEPEST} levels; settings have four")
        _check_keys(path, yaml.compose(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"
        raise ConfigError(f"{path} is no YAML{where}: {error.problem}; indent with spaces, and quote texts") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {shown(error, most=200)}; save it as plain text") from error


def _check_keys(path: Path, node: Any) -> None:
    """Refuse a mapping, here or further in, in which a key stands twice, since the first would be lost; and tags."""
    if node is not None and not PLAIN.fullmatch(node.tag):
        raise ConfigError(f"{path} has the tag {shown(node.tag)} at line {node.start_mark.line + 1}; leave it out")
    if node is None or isinstance(node.value, str):
        return
    inside = node.value
    if inside and isinstance(inside[0], tuple):
        keys = [key.value for key, _ in inside if isinstance(key.value, str)]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ConfigError(f"{path} has the key {shown(twice[0])} twice; keep one of them")
        inside = [value for _, value in inside]
    for one in inside:
        _check_keys(path, one)


@cache
def use() -> None:
    """Have jsonargparse read YAML in this way."""
    import yaml

    usual = get_loader("yaml")

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        yaml_implicit_resolvers = {
            first: [(tag, pattern) for tag, pattern in found if tag.rsplit(":", 1)[1] not in READ_ANEW]
            for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))
    Loader.add_implicit_resolver("tag:yaml.org,2002:int", INT, list("-+0123456789"))

    def load(text: str) -> Any:
        value = yaml.load(text, Loader=Loader)
        keys_alone = isinstance(value, dict) and value and all(one is None for one in value.values())
        return usual(text) if keys_alone else value  # such as `name:`, which is no mapping for jsonargparse

    set_loader("yaml", load, exceptions=(yaml.YAMLError,))  # such as @users.txt: text then
