"""A visitor's own catalogue: what is read of it, what is refused, and looks that are made of it in a browser."""

import io
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from apps.page import own
from personagen.atelier.garment import random_garment
from personagen.atelier.render import render_garment
from recsys.errors import DataError

from .visitor import order, unfold


def picture(kind: str = "dress", number: int = 1) -> bytes:
    spec = random_garment(np.random.default_rng(9_000_000 + number), kind)
    data = io.BytesIO()
    Image.fromarray(render_garment(spec, size=(200, 150))).save(data, "PNG", exif=Image.Exif())
    return data.getvalue()


def given(folder, **files: bytes | str) -> list:
    """Write uploads, named with _ for the dot before their endings; return their paths."""
    paths = []
    for name, data in files.items():
        path = folder / ".".join(name.rsplit("_", 1))
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        paths.append(path)
    return paths


def packed(**files: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, one in files.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), one)
    return data.getvalue()


def test_a_table_and_its_pictures_become_a_catalogue(tmp_path):
    files = given(tmp_path, items_csv="file,id,kind,colour,title\nshop/a.png,tee,T-Shirt,red,A tee\nb.png,,dress,,\n",
                  a_png=picture("t-shirt"), b_png=picture())  # fmt: skip
    found = own.read_catalogue(files, tmp_path / "out")
    assert found.names == ("tee", "b") and found.words(1) == {"kind": "t-shirt", "colour": "red"}
    assert found.title(1) == "A tee" and found.words(2)["kind"] == "dress" and "colour" in found.words(2)
    assert found[2].image.size == (150, 200)


def test_a_zip_with_parquet_and_pictures_without_a_table(tmp_path):
    table = io.BytesIO()
    pq.write_table(pa.table({"file": ["a.png"], "kind": ["skirt"], "colour": [None], "id": [7]}), table)
    data = packed(shop__items_parquet=table.getvalue(), shop__a_png=picture("skirt"))
    found = own.read_catalogue(given(tmp_path, all_zip=data), tmp_path / "one")
    assert found.names == ("7",) and found.words(1)["kind"] == "skirt"
    found = own.read_catalogue(given(tmp_path, a_png=picture("dress"), b_png=picture("trousers")), tmp_path / "two")
    assert [found.words(item)["kind"] for item in (1, 2)] == ["dress", "trousers"]


WRONG = {
    "no picture": ({"items_csv": "file,kind\na.png,dress\n"}, "no picture a.png for line 1"),
    "no column": ({"items_csv": "name,kind\na.png,dress\n"}, "it needs file"),
    "two tables": ({"a_csv": "file\n", "b_csv": "file\n"}, "2 tables"),
    "nothing": ({"items_csv": "file,kind\n"}, "0 items"),
    "too many": ({"items_csv": "file\n" + "a.png\n" * 201, "a_png": picture()}, "201 items"),
    "no zip": ({"all_zip": b"PK nothing"}, "no zip"),
    "a bomb": ({"all_zip": packed(a_png=bytes(own.UNPACKED + 1))}, "holds 1 file of 200 MB"),
    "a large one inside": ({"all_zip": packed(a_png=bytes(11_000_000))}, "larger than 10 MB"),
    "text as a picture": ({"a_png": b"hello"}, "a.png"),
    "a damaged table": ({"items_parquet": b"PAR1 nothing"}, "no Parquet"),
    "a huge table": ({"items_csv": "file\n" + "x" * own.TABLE}, "larger than 2 MB"),
    "one name twice": ({"all_zip": packed(a__x_png=picture(), b__x_png=picture())}, "two files"),
    "two of one id": (
        {"items_csv": "file,id\na.png,x\nb.png,x\n", "a_png": picture(), "b_png": picture()},
        "the table",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_by_the_visitors_names(case, tmp_path):
    files, words = WRONG[case]
    with pytest.raises(DataError, match=words) as told:
        own.read_catalogue(given(tmp_path, **files), tmp_path / "out")
    assert str(tmp_path) not in str(told.value)


def test_names_that_lead_elsewhere_lead_nowhere(tmp_path):
    (tmp_path / "secret.png").write_bytes(picture())
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("../../evil.png", picture())
    (tmp_path / "in").mkdir()
    found = own.read_catalogue(given(tmp_path / "in", all_zip=data.getvalue()), tmp_path / "out")
    assert found.names == ("evil",) and not (tmp_path / "evil.png").exists()
    files = given(tmp_path / "in", items_csv="file,kind\n../secret.png,dress\n")
    with pytest.raises(DataError, match="no picture"):
        own.read_catalogue(files, tmp_path / "other")


@pytest.mark.browser
def test_looks_are_made_of_ones_own_garments_and_they_go(visit, tmp_path):
    page = visit()
    unfold(page, "Your own catalogue")
    files = given(tmp_path, items_csv="file,id,kind,colour,title\na.png,mine-1,dress,red,My own red dress\n"
                  "b.png,mine-2,t-shirt,blue,My own tee\n", a_png=picture(), b_png=picture("t-shirt"))  # fmt: skip
    page.set_input_files("#catalogue-files input[type=file]", [str(file) for file in files])
    page.wait_for_function("document.querySelector('#catalogue-said').innerText.includes('2 items of your own')")
    assert "does not know them" in page.locator("#catalogue-said").inner_text()
    page.get_by_role("tab", name="Your own", exact=True).click()
    page.wait_for_function("document.querySelectorAll('#shelf img').length === 2")
    page.locator("#shelf button.thumbnail-item").first.click()
    page.wait_for_function("document.querySelectorAll('#history img').length === 1")
    page.get_by_role("tab", name="Choose one", exact=True).click()
    order(page, looks=2, scenes=0)
    page.click("#go")
    page.wait_for_function("document.querySelector('#state').innerText.includes('pictures in')")
    titles = page.locator(".look h3").all_inner_texts()
    assert set(titles) == {"My own red dress", "My own tee"}
    assert "2 items of your own" in page.locator("#state").inner_text()
    page.reload()
    page.wait_for_function("document.querySelector('#catalogue-said')?.innerText.includes('2 items of your own')")
    page.click("#catalogue-leave")
    page.wait_for_function("document.querySelector('#state').innerText.includes('chosen from again')")
    assert (
        not page.locator("#catalogue-leave").is_visible() and not page.locator("#catalogue-said").inner_text().strip()
    )
    page.get_by_text("Your own catalogue").click()
    page.set_input_files("#catalogue-files input[type=file]", [str(tmp_path / "items.csv")])
    page.wait_for_function("document.querySelector('#state').innerText.includes('no picture')")


def test_kinds_are_said_in_the_plural():
    from apps.page.board import why
    from personagen.styling.prompts import Reason

    said = why([Reason("concept", f"kind {word}") for word in ("dress", "trousers", "skirt")])
    assert said == ["Suits your taste for dresses, trousers and skirts"]
