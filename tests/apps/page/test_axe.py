"""Nobody is shut out: axe, of npm, finds nothing serious on any tab, on a desk, a phone, and in the dark."""

from typing import Any

import pytest
from PIL import Image

from tests.cases import cases
from tests.place import ROOT

from .visitor import PATIENCE, fill, order, picture, says

AXE = ROOT / ".venv" / "node_modules" / "axe-core" / "axe.min.js"
"""Where `make test` puts it."""
GRAVE = ("serious", "critical")
VIEWS = {"desk": (1360, "light"), "phone": (390, "light"), "dark": (1360, "dark"), "phone in the dark": (390, "dark")}


@pytest.fixture
def page(browser, address, request):
    if not AXE.exists():
        pytest.skip("needs axe: npm install --prefix .venv axe-core")
    width, scheme = VIEWS[request.param]
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.wait_for_selector("#history img")
    page.add_script_tag(path=str(AXE))
    yield page
    context.close()


def findings(page: Any) -> list[str]:
    """Return what axe finds that is serious or critical: rule, part of the page, and why."""
    found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    return [
        f"{one['id']}: {node['target']}: {node['failureSummary']}"
        for one in found
        if one["impact"] in GRAVE
        for node in one["nodes"]
    ]


def open_all(page: Any) -> None:
    """Open what is folded on the tab that is seen."""
    page.evaluate("""() => document.querySelectorAll('button.label-wrap:not(.open)').forEach((one) => {
        if (one.checkVisibility()) one.click();
    })""")
    page.wait_for_timeout(300)


@pytest.mark.browser
@pytest.mark.parametrize("page", cases(["desk"], slow=[view for view in VIEWS if view != "desk"]), indirect=True)
def test_axe_finds_nothing_serious(page, someone, tmp_path):
    order(page, looks=1, scenes=1)
    page.click("#go")
    says(page, "2 pictures in", "#state")
    found = []
    for way in ("Describe one", "Your own", "Choose one"):
        page.get_by_role("tab", name=way).click()
        open_all(page)
        found += findings(page)
    page.get_by_role("tab", name="Generate").click()
    page.fill("#generate-prompt textarea", "a red dress")
    fill(page, "#generate-steps", 2)
    page.click("#generate-go")
    says(page, "2 pictures in", "#generate-state")
    page.wait_for_selector("#generate-gallery img")
    open_all(page)
    found += findings(page)
    page.get_by_role("tab", name="Try on").click()
    page.set_input_files("#wear-person input[type=file]", picture(tmp_path / "me.png", (60, 90), "gray"))
    says(page, "may be repainted", "#wear-state")
    open_all(page)
    found += findings(page)
    page.get_by_role("tab", name="Teach").click()
    for at in range(2):
        Image.new("RGB", (64, 64 + at), "teal").save(tmp_path / f"{at}.png")
    page.set_input_files("#subject-files input[type=file]", [str(tmp_path / f"{at}.png") for at in range(2)])
    page.wait_for_selector("#subject-thumbs figure")
    open_all(page)
    found += findings(page)
    assert not found, "\n\n".join(dict.fromkeys(found))
