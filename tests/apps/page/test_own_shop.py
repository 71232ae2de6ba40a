"""The page on a shop of one's own: users of its file, its pictures, its models; and what start-up refuses."""

import json
import socket
import zipfile
from pathlib import Path
from threading import get_ident

import pytest

from apps import cli
from apps.commands.config import DemoConfig
from apps.commands.shop import with_subject
from apps.page import app, looks_tab, shared
from apps.page.bases import Bases
from apps.page.line import Line
from apps.page.visits import Visits
from personagen.devices import CPU
from personagen.styling.subjects import Mapped
from recsys.errors import DataError
from tests.cases import cases
from tests.personagen.styling.test_subjects import write_subject

from ..serving import serving
from ..shop import write_shop
from ..tiny import pipelines
from .visitor import order


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> DemoConfig:
    """A shop of twelve garments and its models, tiny ones; one user has a photo."""
    folder = tmp_path_factory.mktemp("shop")
    shop = write_shop(folder)
    table = shop["catalog"] / "garments.csv"
    rows = table.read_text(encoding="utf-8").splitlines()
    titled = [f"{rows[0]},title", *(f"{row},Garment number {at}" for at, row in enumerate(rows[1:]))]
    table.write_text("\n".join(titled) + "\n", encoding="utf-8")
    tryon, text2image = pipelines()
    tryon.save_pretrained(folder / "tryon")
    text2image.save_pretrained(folder / "text2image")
    (folder / "map.csv").write_text("user,subject,person\nu4,,me.jpg\n", encoding="utf-8")
    recommender = ["recommend", "train", "--model", "markov", "--data", str(shop["clicks"])]
    assert cli.main([*recommender, "--out", str(folder / "model")]) == 0
    return DemoConfig(
        interactions=str(shop["clicks"]), catalog=str(shop["catalog"]), text2image=str(folder / "text2image"),
        tryon=str(folder / "tryon"), recommender=str(folder / "model"), subjects=str(folder / "map.csv"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def opened(settings):
    return app.prepare(settings, CPU)


def test_start_up_says_what_it_does(settings, capsys):
    studio, mapping = app.prepare(settings, CPU)
    lines = capsys.readouterr().err
    for text in ("reading", "21 users, 12 items", "recommender in", "text2image model", "tryon model", "1 user with"):
        assert text in lines
    assert list(mapping) == ["u4"] and studio.words()["kind"] == ["dress", "t-shirt", "trousers"]
    assert studio.words()["scene"] == [] and "User u3" in dict(studio.people()) and len(studio.people(5)) == 5


REFUSED = {
    "no file": (["--interactions", "nowhere.csv"], 3, "nowhere.csv"),
    "no catalogue": (["--catalog", "nowhere"], 3, "nowhere"),
    "half a shop": (["--catalog", ""], 2, "--catalog"),
    "no recommender": (["--recommender", "nowhere"], 4, "nowhere"),
    "no model": (["--text2image", "nowhere"], 4, "nowhere"),
    "no mapping": (["--subjects", "nowhere.csv"], 3, "nowhere.csv"),
    "two try-on models": (["--base.base", "nowhere"], 2, "--base.base"),
}


QUICK = ["no file", "no mapping", "two try-on models"]


@pytest.mark.parametrize("case", cases(QUICK, slow=[case for case in REFUSED if case not in QUICK]))
def test_wrong_paths_are_one_line_at_start_up(case, settings, capsys):
    flags, code, says = REFUSED[case]
    given = [word for name in ("interactions", "catalog", "text2image", "tryon", "recommender", "subjects")
             for word in (f"--{name}", str(getattr(settings, name)))]  # fmt: skip
    assert cli.main(["demo", "--port", "0", *given, *flags]) == code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("personagen: ") and says in last


@pytest.mark.parametrize("port", [99_999, -1, 65_536])
def test_a_port_that_is_none_is_refused_before_anything_is_read(port, capsys):
    assert cli.main(["demo", "--port", str(port), "--interactions", "nowhere.csv"]) == 2
    assert capsys.readouterr().err == f"personagen: port = {port}; allowed are 0 to 65535\n"


def test_a_port_that_is_taken_is_refused_before_anything_is_read(capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert cli.main(["demo", "--port", str(port), "--interactions", "nowhere.csv"]) == 5
    assert f"port {port} of 127.0.0.1 cannot be used" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_refused_at_the_start(capsys):
    assert cli.main(["demo", "--port", "0", "--text2image", "nowhere/at/all"]) == 4
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("personagen: there is no model at nowhere/at/all") and "building the page" not in lines


def test_an_order_of_the_page_takes_the_users_photo_and_the_visitors_subject(opened, settings, tmp_path):
    studio, mapping = opened
    visits = Visits(tmp_path)
    bench = shared.Bench(studio, tmp_path, visits, Line(), Bases(studio))
    shop = looks_tab.Shop(bench, mapping, tuple(app.shop_flags(settings)))
    asked = looks_tab.Asked("choose", "u4", ([], [], "any", "any"), 1, 1, 0, 2)
    order, line = shop.order(asked, visits["visitor"])
    assert order.photo == Path(settings.subjects or "").parent / "me.jpg" and order.subject is None and not line
    pictures = tmp_path / "none"
    visits["visitor"].subjects["me"] = write_subject(tmp_path / "me", pictures)
    wish = looks_tab.Asked("choose", "u3", asked.words, 1, 1, 0, 2, subject="me")
    order, line = shop.order(wish, visits["visitor"])
    assert order.subject is not None and order.photo is None and "the pictures of subject me are gone" in line
    assert order.painted().scene_person == "a sks person"
    with pytest.raises(DataError, match="not of your visit"):
        shop.order(wish, visits["somebody else"])
    with_photo = with_subject(order, studio, Mapped(tmp_path / "me", tmp_path / "x.jpg"))
    assert with_photo[0].photo == tmp_path / "x.jpg" and not with_photo[1]


@pytest.mark.browser
def test_a_shopper_of_the_file_gets_looks_of_the_catalogue(visit, opened, settings, tmp_path):
    studio, mapping = opened
    with serving(studio, tmp_path, mapping=mapping, flags=app.shop_flags(settings)) as served:
        page = visit(url=served.url)
        page.click("#user input")
        page.get_by_role("option", name="User u3", exact=True).click()
        page.wait_for_function("document.querySelectorAll('#history img').length === 5")
        order(page, looks=1, scenes=0)
        page.click("#go")
        page.wait_for_selector("#download a")
        page.wait_for_selector("#tryon-0 img")
        assert "Garment number" in page.inner_text("#tryon-0")
        with page.expect_download() as waiting:
            page.click("#download a")
        with zipfile.ZipFile(waiting.value.path()) as archive:
            report = json.loads(archive.read("looks.json"))
        assert report["run"]["user"] == "u3" and report["looks"][0]["name"].startswith("sku")
        page.get_by_text("The same on the command line").click()
        assert "--interactions" in page.inner_text("#command") and "--user u3" in page.inner_text("#command")


def test_the_page_is_built_without_drawing_a_garment(studio, tmp_path, monkeypatch):
    """Start-up takes seconds enough: pictures are drawn when somebody looks."""
    drawn: list[int] = []  # threads; other tests' pages, which are open still, draw in threads of their own
    monkeypatch.setattr(type(studio), "history_pictures", lambda *given: drawn.append(get_ident()) or [])
    app.build(studio, tmp_path).close(verbose=False)
    assert get_ident() not in drawn
