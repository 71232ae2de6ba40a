"""Drive the page in a real browser as a visitor would, and leave a picture of every step to be looked at.

    python benchmarks/page_shots.py artefacts            # desk, phone, dark
    python benchmarks/page_shots.py artefacts --views phone

Needs Debian's chromium and playwright. The embedded models paint. Exit 1 where the browser's console told an error,
a request went outside, or something is wider than the window; each is named. The pictures lie in FOLDER/VIEW-STEP.png.
"""

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from page import Served

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip
VIEWS = {"desk": (1360, "light"), "phone": (390, "light"), "dark": (1360, "dark"), "phone-dark": (390, "dark")}
PATIENCE = 600_000


class Walk:
    """One browser's way through the page."""

    def __init__(self, browser: Any, address: str, folder: Path, view: str) -> None:
        width, scheme = VIEWS[view]
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page, self.folder, self.view, self.width = self.context.new_page(), folder, view, width
        self.wrong: list[str] = []
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", self._said)
        self.page.on("request", lambda one: self._asked(one.url, address))
        self.page.goto(address)
        self.page.wait_for_selector("#history img")

    def _said(self, message: Any) -> None:
        if message.type == "error":
            self.wrong.append(f"{self.view}: console: {message.text}")

    def _asked(self, url: str, address: str) -> None:
        if not url.startswith((address, "data:", "blob:")):
            self.wrong.append(f"{self.view}: outside: {url}")

    def shot(self, name: str) -> None:
        """Leave a picture of the whole page."""
        self.page.wait_for_timeout(600)
        if self.page.evaluate("document.documentElement.scrollWidth") > self.width:
            self.wrong.append(f"{self.view}: {name} is wider than the window")
        self.page.screenshot(path=str(self.folder / f"{self.view}-{name}.png"), full_page=True)

    def tab(self, name: str) -> None:
        """Open a tab."""
        self.page.get_by_role("tab", name=name, exact=True).click()

    def says(self, state: str, words: str) -> None:
        """Wait until a tab's line says so."""
        self.page.wait_for_function(f"document.querySelector({state!r})?.innerText.includes({words!r})")

    def number(self, field: str, value: int) -> None:
        """Put a number beside a slider."""
        self.page.fill(f"{field} input[type=number]", str(value))
        self.page.press(f"{field} input[type=number]", "Tab")


def looks(walk: Walk) -> None:
    """The Looks tab: every way to say who it is, cards, a card shown large."""
    page = walk.page
    walk.shot("looks-first")
    walk.tab("Describe one")
    page.locator("#looks-examples button").first.click()
    page.wait_for_function("document.querySelectorAll('#history img').length === 8")
    walk.shot("looks-described")
    walk.tab("Your own")
    page.locator("#shelf img").nth(7).wait_for()
    page.locator("#shelf button.thumbnail-item").nth(2).click()
    page.wait_for_function("document.querySelectorAll('#history img').length === 1")
    walk.shot("looks-own")
    walk.tab("Choose one")
    page.get_by_text("Wear them yourself").click()
    page.wait_for_timeout(500)
    walk.shot("looks-photo")
    for field, value in (("#looks", 2), ("#scenes", 1)):
        walk.number(field, value)
    page.click("#go")
    page.wait_for_selector("#go[disabled]")
    walk.shot("looks-working")
    walk.says("#state", "3 pictures in")
    walk.shot("looks-made")
    page.locator(".look .enlarge").first.click()
    page.wait_for_selector("dialog.large img")
    page.screenshot(path=str(walk.folder / f"{walk.view}-looks-large.png"))
    page.keyboard.press("Escape")


def generate(walk: Walk) -> None:
    """The Generate tab: an example, painted, with its command."""
    page = walk.page
    walk.tab("Generate")
    page.locator("#generate-examples button").first.click()
    walk.shot("generate-first")
    walk.number("#generate-steps", 60)
    page.click("#generate-go")
    page.wait_for_selector("#generate-preview img")
    walk.shot("generate-working")
    walk.says("#generate-state", "2 pictures in")
    page.locator("button.label-wrap:visible", has_text="The same on the command line").click()
    walk.shot("generate-made")


def tryon(walk: Walk) -> None:
    """The Try on tab: what is told of nothing, examples, the mask, the result."""
    page = walk.page
    walk.tab("Try on")
    page.click("#wear-go")
    walk.says("#wear-state", "no photo of a person")
    walk.shot("tryon-nothing")
    page.locator("#wear-people button").first.click()
    walk.says("#wear-state", "may be repainted")
    page.locator("#wear-garments button").nth(1).click()
    page.wait_for_selector("#wear-garment img")
    canvas = page.locator("#wear-mask canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.33 * box["height"], steps=5)
    page.mouse.up()
    page.evaluate("scrollTo(0, 0)")
    walk.shot("tryon-mask")
    page.locator("button.label-wrap:visible", has_text="Settings").click()
    walk.number("#wear-steps", 30)
    page.click("#wear-go")
    page.wait_for_selector("#wear-preview img")
    walk.shot("tryon-working")
    walk.says("#wear-state", "Done in")
    page.locator("#wear-result img").nth(1).wait_for()
    walk.shot("tryon-made")


def teach(walk: Walk) -> None:
    """The Teach tab: the example set, learnt for a few steps."""
    page = walk.page
    walk.tab("Teach")
    walk.shot("teach-first")
    page.click("#subject-examples button")
    page.wait_for_function("document.querySelectorAll('#subject-thumbs figure').length === 6")
    page.get_by_text("Settings of the training").click()
    walk.number("#subject-steps", 4)
    walk.shot("teach-given")
    page.click("#subject-train")
    walk.says("#subject-state", "Learnt")
    walk.shot("teach-learnt")
    page.click("#subject-use")
    page.wait_for_selector("#generate-row-0")
    walk.shot("generate-taught")
    page.click("#forget")
    page.wait_for_function("[...document.querySelectorAll('.state')].some(e => e.innerText.includes('Deleted'))")
    walk.shot("deleted")


STEPS: dict[str, Callable[[Walk], None]] = {"looks": looks, "generate": generate, "tryon": tryon, "teach": teach}


def main() -> int:
    """Walk through the page in each view; returns 1 where something was wrong."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=list(VIEWS))
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--address", help="of a page that is open already")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    served = None if asked.address else Served()
    chromium = next(path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path)
    wrong: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(FLAGS))
        for view in asked.views:
            walk = Walk(browser, asked.address or (served.address if served else ""), asked.folder, view)
            for step in asked.steps:
                STEPS[step](walk)
                print(view, step, flush=True)
            wrong += walk.wrong
            walk.context.close()
        browser.close()
    if served:
        served.close()
    print("\n".join(dict.fromkeys(wrong)) or f"{len(list(asked.folder.glob('*.png')))} pictures, nothing wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
