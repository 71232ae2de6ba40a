"""Read values of flags and YAML files so that ids stay ids: 007 and 0x10 are text, not the numbers 7 and 16."""

import re
from functools import cache
from typing import Any

from jsonargparse import get_loader, set_loader

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
