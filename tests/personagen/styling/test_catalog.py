import time

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from personagen.atelier.garment import random_garment
from personagen.colours import measure_colour
from personagen.styling.catalog import AtelierCatalog, FolderCatalog, attribute_matrix, garment_phrase
from personagen.styling.config import StyleConfig
from personagen.styling.stylist import Stylist
from personagen.vocabulary import COLOURS
from recsys.errors import DataError
from recsys.models import Popularity, PopularityConfig
from tests.personagen.styling.seam_parts import catalog, specs


def picture(cloth, ground=(240, 238, 230), size=(60, 80)):
    image = Image.new("RGB", size, ground)
    ImageDraw.Draw(image).rectangle((size[0] // 4, size[1] // 5, size[0] * 3 // 4, size[1] * 4 // 5), fill=cloth)
    return image


@pytest.fixture
def shop(tmp_path):
    """Three pictures, a table with labels and one colour; the third is transparent around the garment."""
    (tmp_path / "images").mkdir()
    picture((200, 30, 40)).save(tmp_path / "images" / "a.jpg")
    picture((30, 32, 36)).save(tmp_path / "images" / "b.png")
    cut = Image.new("RGBA", (60, 80), (0, 0, 0, 0))
    ImageDraw.Draw(cut).rectangle((15, 16, 45, 64), fill=(40, 90, 200, 255))
    cut.save(tmp_path / "c.webp", lossless=True)
    table = "File,Label,id,color,title\na.jpg,T-Shirt,A1,,\nb.png,Pants,B2,Teal,Wide trousers\nc.webp,Hat,C3,,\n"
    (tmp_path / "shop.csv").write_text(table, encoding="utf-8-sig")
    return tmp_path


def test_folder_shows_items_in_the_tables_order(shop):
    found = FolderCatalog(shop)
    assert len(found) == 3 and found.names == ("A1", "B2", "C3")
    assert found[1].kind == "t-shirt" and found[1].attributes == {"colour": "red"}
    assert found[1].caption == "a product photo of a red t-shirt"
    assert (
        found[2].kind == "trousers"
        and found[2].attributes == {"colour": "teal"}
        and found[2].caption == "Wide trousers"
    )
    assert found.words(3) == {"kind": "hat", "colour": "blue"}
    assert found[3].image.mode == "RGB" and found[3].image.getpixel((0, 0)) == (255, 255, 255)


def test_select_counts_as_the_interactions_do(shop):
    found = FolderCatalog(shop)
    chosen = found.select(["C3", "A1"])
    assert chosen.names == ("C3", "A1") and chosen.words(2)["kind"] == "t-shirt"
    assert found.select(["C3"], keep_rest=True).names == ("C3", "A1", "B2")
    with pytest.raises(DataError, match="'Z9'.*'A1'"):
        found.select(["A1", "Z9"])


def test_gaps_have_no_words_and_are_listed(shop):
    (shop / "images" / "b.png").unlink()
    with pytest.raises(DataError, match=r"1 pictures.*b\.png"):
        FolderCatalog(shop)
    found = FolderCatalog(shop, gaps=True).select(["B2", "A1", "Z9"])
    assert found.names == ("B2", "A1", "Z9") and found.missing() == ["B2", "Z9"]
    assert found.words(1) == found.words(3) == {} and found[2].kind == "t-shirt"
    assert attribute_matrix(found).matrix.any(1).tolist() == [False, False, True, False]
    with pytest.raises(DataError, match="no picture of 'Z9'"):
        found[3]
    with pytest.raises(DataError, match="2 of 2 items have no picture"):
        found.select(["B2", "Z9"])


def test_a_ranking_holds_items_with_pictures_only(shop):
    (shop / "images" / "b.png").unlink()
    found = FolderCatalog(shop, gaps=True).select(["Z9", "B2", "A1", "C3"])
    popular = Popularity(PopularityConfig(n_items=4)).fit([np.array([1, 2, 3, 1, 2, 1, 4, 3])])  # by rank: 1 2 3 4
    stylist = Stylist(popular, found)
    plan = stylist.plan([2, 4], 0, scenes=2, config=StyleConfig(pool=1))
    assert [scene.chosen.item for scene in plan.scenes] == [3]
    assert {reason.item for reason in plan.scenes[0].chosen.reasons if reason.source == "past"} == {4}
    with pytest.raises(DataError, match="no picture of any item that is left"):
        stylist.plan([3, 4], 0, scenes=1)


@pytest.mark.parametrize("item", [0, -1, 4])
def test_an_item_outside_is_refused(shop, item):
    with pytest.raises(DataError, match=f"item {item} .*1 to 3"):
        FolderCatalog(shop)[item]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("file,colour\na.jpg,red\n", "columns file, colour; it needs file, and kind or label"),
        ("file,kind\n", "no line"),
        ("file,kind\n,dress\n", "line 2: file is empty"),
        ("file,kind\na.jpg,dress\nb.png,\n", "line 3: kind is empty"),
        ("file,kind\nz.jpg,dress\n", r"1 pictures .*z\.jpg"),
        ("file,kind\n../a.jpg,dress\n", "outside"),
        ("file,kind,id\na.jpg,dress,X\nb.png,dress,X\n", "'X' twice"),
    ],
)
def test_a_bad_table_gets_one_clear_line(shop, table, said):
    (shop / "shop.csv").write_text(table)
    with pytest.raises(DataError, match=said) as error:
        FolderCatalog(shop)
    assert "shop.csv" in str(error.value) and "\n" not in str(error.value)


def test_a_missing_folder_or_table_is_named(shop, tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        FolderCatalog(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"other\.csv"):
        FolderCatalog(shop, "other.csv")
    (shop / "second.csv").write_text("file,kind\n")
    with pytest.raises(DataError, match="2 CSV or TSV files"):
        FolderCatalog(shop)
    assert len(FolderCatalog(shop, "shop.csv")) == 3
    (shop / "shop.csv").write_bytes(b"file,kind\na.jpg,\xff\xfe\n")
    with pytest.raises(DataError, match="UTF-8"):
        FolderCatalog(shop, "shop.csv")


def test_a_damaged_picture_is_named(shop):
    path = shop / "images" / "b.png"
    path.write_bytes(path.read_bytes()[:90])
    with pytest.raises(DataError, match=r"b\.png"):
        FolderCatalog(shop)[2]


def test_atelier_renders_what_it_says():
    found = catalog()
    garment = found[1]
    assert garment.image.size == (48, 64) and garment.kind == "t-shirt"
    assert garment.attributes == {"colour": "red", "pattern": "plain", "scene": "beach"}
    assert garment.caption == "a product photo of a red t-shirt"
    assert found[1].image is garment.image
    assert measure_colour(garment.image) == "red"


def test_features_are_named_and_complete():
    found = attribute_matrix(catalog())
    assert found.matrix.shape == (41, len(found.columns)) and found.matrix.dtype == torch.float32
    assert found.columns[:5] == ("kind=dress", "kind=shirt", "kind=skirt", "kind=t-shirt", "kind=trousers")
    assert {"colour=red", "pattern=striped", "scene=snow"} <= set(found.columns)
    assert not found.matrix[0].any() and bool((found.matrix[1:].sum(1) == 4).all())
    row = {column for column, on in zip(found.columns, found.matrix[2], strict=True) if on}
    assert row == {"kind=t-shirt", "colour=red", "pattern=striped", "scene=beach"}
    assert attribute_matrix(catalog(), slots=["colour"]).columns == (
        "colour=blue",
        "colour=green",
        "colour=red",
        "colour=white",
    )


def test_phrases_take_the_right_article():
    assert garment_phrase({"kind": "t-shirt", "colour": "red", "pattern": "striped"}) == "a red striped t-shirt"
    assert garment_phrase({"kind": "dress", "colour": "orange", "pattern": "plain"}) == "an orange dress"
    assert garment_phrase({"kind": "trousers", "colour": "blue"}) == "blue trousers"
    assert garment_phrase({"kind": "shoes", "colour": "orange"}) == "orange shoes"
    assert garment_phrase({"kind": "dress"}) == "a dress"


def test_colours_are_read_from_renders():
    """Plain garments of the studio on white, and any cloth on a coloured ground."""
    rng = np.random.default_rng(0)
    plain = [random_garment(rng, kind, plain=1.0) for kind in ("t-shirt", "dress", "trousers", "jacket") * 4]
    found = AtelierCatalog(plain, size=(64, 48))
    right = [measure_colour(found[item].image) == found.words(item)["colour"] for item in range(1, len(found) + 1)]
    assert np.mean(right) >= 0.9
    for name, rgb in COLOURS.items():
        ground = (40, 90, 60) if name not in ("green", "teal") else (170, 40, 60)
        assert measure_colour(picture(rgb, ground)) == name


def test_specs_cover_every_combination():
    assert len({(spec.kind, spec.colour, spec.pattern) for spec in specs()}) == 40


def test_one_id_twice_is_found_at_once(tmp_path):
    """Among 20,000 lines, by one pass over their names, not one for each line."""
    (tmp_path / "a.jpg").touch()
    rows = [f"{number},a.jpg,dress" for number in (*range(20_000), 0)]
    (tmp_path / "shop.csv").write_text("\n".join(["id,file,kind", *rows]))
    begin = time.process_time()
    with pytest.raises(DataError, match="names the item '0' twice"):
        FolderCatalog(tmp_path)
    assert time.process_time() - begin < 20


@pytest.mark.parametrize("beside", ["._shop.csv", "~$shop.csv", ".~lock.shop.csv"])
@pytest.mark.parametrize("name", ["shop.csv", "Shop.CSV", "shop.tsv"])
def test_files_of_the_system_are_no_tables_and_endings_have_any_case(name, beside, shop):
    text = (shop / "shop.csv").read_text(encoding="utf-8-sig")
    (shop / "shop.csv").unlink()
    (shop / name).write_text(text.replace(",", "\t") if name.endswith(".tsv") else text)
    (shop / beside).write_bytes(b"\0\5\x16\7")
    assert FolderCatalog(shop).names == ("A1", "B2", "C3")


@pytest.mark.parametrize("above", ["\n\n", "sep=,\n"])
def test_lines_above_the_header_of_a_table(above, shop):
    text = (shop / "shop.csv").read_text(encoding="utf-8-sig")
    (shop / "shop.csv").write_text(above + text)
    assert FolderCatalog(shop).names == ("A1", "B2", "C3")
    (shop / "shop.csv").write_text(above + text.replace("Wide trousers", "Wide,trousers"))
    with pytest.raises(DataError, match=f"line {3 + above.count(chr(10))}: 6 cells"):
        FolderCatalog(shop)
