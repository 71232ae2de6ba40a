"""What the tests of the page share."""

import numpy as np
import pytest

from personagen.person.body import Body

from .visitor import PATIENCE


@pytest.fixture
def visit(browser, address):
    """Open the page as a visitor of their own: at a width, at another address, on a tab."""
    contexts = []

    def go(width: int = 1360, *, height: int = 900, scheme: str = "light", url: str = address, tab: str = ""):
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(url)
        page.wait_for_selector("#history img")
        if tab:
            page.get_by_role("tab", name=tab, exact=True).click()
        return page

    yield go
    for context in contexts:
        context.close()


@pytest.fixture
def someone(studio, monkeypatch):
    """A parser that finds a person in every photo."""

    def parser(photo):
        mask = np.zeros((photo.height, photo.width), bool)
        mask[photo.height // 3 : 2 * photo.height // 3, photo.width // 3 : 2 * photo.width // 3] = True
        return Body(mask.astype(np.uint8), known=lambda kind: mask)

    monkeypatch.setitem(vars(studio), "parser", parser)
