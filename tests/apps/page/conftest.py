"""What the tests of the page share."""

import numpy as np
import pytest

from personagen.person.body import Body


@pytest.fixture
def someone(studio, monkeypatch):
    """A parser that finds a person in every photo."""

    def parser(photo):
        mask = np.zeros((photo.height, photo.width), bool)
        mask[photo.height // 3 : 2 * photo.height // 3, photo.width // 3 : 2 * photo.width // 3] = True
        return Body(mask.astype(np.uint8), known=lambda kind: mask)

    monkeypatch.setitem(vars(studio), "parser", parser)
