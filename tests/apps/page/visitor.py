"""What the page's tests do as a visitor does it: read what a tab says, fill fields, open what is folded."""

import os
from typing import Any

from PIL import Image

PATIENCE = 240_000  # milliseconds; the machine may be busy
SHOTS = os.environ.get("PERSONAGEN_SHOTS")


def says(page: Any, words: str, state: str = "#state") -> None:
    """Wait until a tab's line says the words."""
    page.wait_for_function(f"document.querySelector({state!r})?.innerText.includes({words!r})")


def fill(page: Any, field: str, value: object) -> None:
    """Type a number and leave its field."""
    number = page.locator(f"{field} input[type=number]").first
    number.fill(str(value))
    number.press("Tab")


def order(page: Any, *, looks: int, scenes: int) -> None:
    """Ask for so many pictures."""
    fill(page, "#looks", looks)
    fill(page, "#scenes", scenes)


def holds(page: Any, field: str, value: str) -> None:
    """Wait until a field holds a value: the line that says so may come before it."""
    page.wait_for_function(f"document.querySelector({field!r})?.value === {value!r}")


def unfold(page: Any, words: str) -> None:
    """Open what is folded. What is typed into it at once may be lost: it is only being made then."""
    page.locator("button.label-wrap:visible").filter(has_text=words).first.click()
    page.wait_for_timeout(700)


def shot(page: Any, name: str) -> None:
    """Leave a screenshot where the variable names a folder."""
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True)


def picture(path: Any, size: tuple[int, int], colour: str = "white") -> str:
    """Write a picture of one colour; return its path."""
    Image.new("RGB", size, colour).save(path)
    return str(path)
