"""Whatever fails, wherever: the page says what to do, and its buttons come back."""

import socket
import time
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import pytest
from PIL import Image

from apps.page.line import PICTURE, Line
from tests.cases import cases
from tests.personagen.test_images import encoded, phone_photo

from ..serving import serving
from .visitor import fill, order, says, shot, unfold


def free(page, go: str = "#go", stop: str = "#stop") -> None:
    page.wait_for_selector(f"{go}:not([disabled])")
    page.wait_for_selector(f"{stop}[disabled]")


@pytest.mark.browser
def test_seeds_of_other_tools_are_taken_and_others_refused_with_the_range(visit):
    page = visit()
    order(page, looks=1, scenes=0)
    unfold(page, "Settings")
    for seed, words in ((-5, "-5; allowed are 0 to 4294967295"),
                        (9223372036854775807, "9223372036854776000; allowed are 0 to 4294967295"),
                        (2147483648, "1 picture in")):  # fmt: skip
        fill(page, "#seed", seed)  # a browser rounds it
        page.click("#go")
        says(page, words)  # the seed is in it: a refusal is too quick for the button to be seen taken
        free(page)
    shot(page, "seed")


@pytest.mark.browser
def test_what_the_library_refuses_before_us_gives_the_buttons_back(visit):
    page = visit()
    unfold(page, "Settings")
    fill(page, "#steps", 37)
    forge = lambda route: route.continue_(post_data=(route.request.post_data or "").replace(",37,", ",7777,"))
    page.route("**/queue/join*", forge)
    page.click("#go")
    says(page, "did not get through")
    free(page)
    page.unroute("**/queue/join*")
    shot(page, "library")
    fill(page, "#steps", 2)
    order(page, looks=1, scenes=0)
    page.click("#go")
    says(page, "1 picture in")
    free(page)


def uploads(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files, and what is said of them."""
    photo = Image.new("RGB", (60, 90), "gray")
    made = {
        "photo.heic": (phone_photo(photo, "HEIF"), "may be repainted"),
        "photo.avif": (phone_photo(photo, "AVIF"), "may be repainted"),
        "text.png": (b"these are words, not a picture", "is not a JPEG"),
        "empty.jpg": (b"", "is empty"),
        "cut.png": (encoded(photo, "PNG")[:-60], "is damaged"),
        "words.txt": (b"words", "This kind of file is not read"),
        "large.png": (b"\x89PNG" + bytes(11_000_000), "larger than 10 MB"),
        "good.jpg": (encoded(photo, "JPEG"), "may be repainted"),
    }
    for name, (data, _) in made.items():
        (folder / name).write_bytes(data)
    return {name: (folder / name, words) for name, (_, words) in made.items()}


@pytest.mark.browser
@pytest.mark.parametrize("width", cases([1360], slow=[390]))
def test_every_upload_is_shown_or_refused_with_a_sentence(visit, someone, tmp_path, width):
    page = visit(width, tab="Try on")
    for name, (file, words) in uploads(tmp_path).items():
        page.set_input_files("#wear-person input[type=file]", str(file))
        says(page, words, "#wear-state")
        assert str(tmp_path) not in page.content() and "/visit-" not in page.inner_text("#wear-state")
        shot(page, f"upload-{name}-{width}")
        if words == "may be repainted":
            page.locator("#wear-person img").wait_for()
            page.wait_for_function("document.querySelector('#wear-person img').naturalHeight >= 60")
            page.locator("#wear-person").get_by_label("Clear").or_(
                page.locator("#wear-person").get_by_label("Remove Image")
            ).first.click()
        page.wait_for_selector("#wear-person input[type=file]", state="attached")
        free(page, "#wear-go", "#wear-stop")


@pytest.fixture
def served(studio, tmp_path, monkeypatch):
    """A page of its own whose line takes one who waits: its line, its folder, its address, and how to serve it anew."""
    line = Line(most=1)
    monkeypatch.setattr("apps.page.line.Line", lambda: line)
    with ExitStack() as pages:

        def serve(port: int | None = None) -> str:
            return pages.enter_context(serving(studio, tmp_path, port=port or free_port())).url

        yield line, tmp_path, serve, pages.close


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


@pytest.mark.browser
def test_waiting_being_sent_away_cancelling_and_a_server_that_goes_and_comes(visit, served):
    line, _, serve, close = served
    url = serve()
    held = line.join(PICTURE, Event())
    page, other = visit(url=url), visit(url=url)
    page.click("#go")
    says(page, "Waiting: 1st of 1")
    shot(page, "waiting")
    other.click("#go")
    says(other, "1 other is waiting, as many as may")
    free(other)
    shot(other, "sent-away")
    begun = time.monotonic()
    page.click("#stop")
    says(page, "Stopped")
    assert time.monotonic() - begun < 3  # of a busy machine; .3 s of the line itself: test_line
    free(page)
    page.click("#go")
    says(page, "Waiting")
    close()
    says(page, "server does not answer")
    page.wait_for_selector("#go:not([disabled])")
    shot(page, "server-gone")
    line.leave(held, finished=False)
    serve(int(url.rstrip("/").rpartition(":")[2]))
    says(page, "started anew")
    page.wait_for_selector("#history img")
    free(page)
    shot(page, "server-back")


@pytest.mark.browser
def test_what_a_visitor_gave_goes_when_they_say_so_and_when_they_leave(visit, served, someone, tmp_path_factory):
    line, folder, serve, _ = served
    page = visit(url=serve(), tab="Try on")
    photo = tmp_path_factory.mktemp("given") / "me.jpg"
    photo.write_bytes(phone_photo(Image.new("RGB", (60, 90), "gray"), "JPEG"))

    def kept() -> list[Path]:
        return [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("item-")]

    def give() -> None:
        page.set_input_files("#wear-person input[type=file]", str(photo))
        says(page, "may be repainted", "#wear-state")
        page.wait_for_timeout(2500)  # the upload itself is removed
        assert kept() and all(path.parts[-2].startswith("visit-") for path in kept())
        assert not any(b"camera" in path.read_bytes() for path in kept())

    give()
    page.click("#forget")
    says(page, "Deleted: 2 files")
    shot(page, "deleted")
    assert not [path for path in kept() if "visit-" in str(path)]
    page.get_by_role("tab", name="Try on").click()
    page.wait_for_selector("#wear-go")
    give()
    page.close()
    for _ in range(100):
        if not kept():
            break
        time.sleep(0.3)
    assert kept() == [] and not list(folder.glob("visit-*"))
