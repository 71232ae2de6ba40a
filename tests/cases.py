"""Cases of a parametrised test, some of which only `make test-all` runs."""

from typing import Any

import pytest


def cases(quick: list[Any], slow: list[Any]) -> list[Any]:
    """The quick cases, then the slow ones with their mark; a case of several arguments is a tuple."""
    return [*quick, *(pytest.param(*(c if isinstance(c, tuple) else (c,)), marks=pytest.mark.slow) for c in slow)]
