"""The main job on the command line, with tiny real models: what it writes, and how it refuses bad input."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apps import cli
from personagen.person.body import Body
from personagen.provenance import read_png
from personagen.styling.config import StyleConfig
from personagen.styling.stylist import Stylist
from personagen.subject.loaded import load_subjects
from personagen.subject.record import phrase
from recsys import pretrained
from tests.cases import cases
from tests.personagen.figures import joints_of_standing
from tests.personagen.subject.parts import write_pictures

from .shop import write_shop
from .tiny import SIZE, pipelines


@pytest.fixture(scope="module")
def models(studio, tmp_path_factory) -> list[str]:
    """Flags that name saved models: the recommender of the `studio` fixture and tiny pipelines."""
    folder = tmp_path_factory.mktemp("models")
    tryon, text2image = pipelines()
    tryon.save_pretrained(folder / "tryon")
    text2image.save_pretrained(folder / "text2image")
    return ["--tryon", str(folder / "tryon"), "--text2image", str(folder / "text2image"), "--steps", "2"]


@pytest.fixture(scope="module")
def recommender(studio, tmp_path_factory) -> list[str]:
    return ["--recommender", str(pretrained.save(studio.recommender, tmp_path_factory.mktemp("recommender")))]


@pytest.fixture
def shop(tmp_path) -> dict[str, Path]:
    return write_shop(tmp_path)


def real(shop: dict[str, Path], out: Path, *, user: str = "u3") -> list[str]:
    return [
        "style",
        "--interactions",
        str(shop["clicks"]),
        "--catalog",
        str(shop["catalog"]),
        "--user",
        user,
        "--out",
        str(out),
    ]


def test_the_main_job_is_the_same_twice(models, recommender, tmp_path):
    outs = [tmp_path / "one", tmp_path / "two"]
    for out in outs:
        assert cli.main(["style", *models, *recommender, "--out", str(out), "--looks", "2", "--scenes", "1"]) == 0
    names = sorted(path.name for path in outs[0].iterdir())
    assert names == sorted(path.name for path in outs[1].iterdir()) and {"looks.json", "sheet.png"} < set(names)
    pictures = [name for name in names if name.endswith(".png") and name != "sheet.png"]
    assert len(pictures) == 3
    for name in pictures:
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes()
    report = json.loads((outs[0] / "looks.json").read_text(encoding="utf-8"))
    assert [look["kind"] for look in report["looks"]] == ["tryon"] * 2 + ["scene"]
    assert all(look["prompt"] and look["why"] for look in report["looks"])
    chunks = [read_png(outs[0] / look["file"]) for look in report["looks"]]
    assert [chunk.parameters and chunk.parameters.settings["Steps"] for chunk in chunks] == ["8", "8", "2"]


def test_metadata_can_be_left_out(models, recommender, tmp_path):
    flags = ["--out", str(tmp_path / "out"), "--looks", "0", "--scenes", "1", "--metadata", "false"]
    assert cli.main(["style", *models, *recommender, *flags]) == 0
    chunk = read_png(next((tmp_path / "out").glob("*scene*.png")))
    assert chunk.parameters is None and chunk.record is None


def test_scenes_show_a_subject(models, recommender, studio, tmp_path):
    """A subject that was learnt on the text-to-image model is painted in the prompts that the recommender writes."""
    write_pictures(tmp_path / "me", count=2, size=(64, 48))
    base = models[models.index("--text2image") + 1]
    words = ["subject", "train", "--preset", "person", "--name", "person", "--instance_data_dir", str(tmp_path / "me")]
    words += [
        "--consent",
        "true",
        "--max_train_steps",
        "1",
        "--validation_inference_steps",
        "1",
        "--num_validation_images",
        "0",
    ]
    assert cli.main([*words, "--pretrained_model_name_or_path", base, "--output_dir", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run").stat().st_mode & 0o077 == 0  # a person's model is for its owner alone
    flags = ["--looks", "0", "--scenes", "1", "--subject", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    assert cli.main(["style", *models, *recommender, *flags]) == 0
    report = json.loads((tmp_path / "out" / "looks.json").read_text(encoding="utf-8"))
    assert report["looks"][0]["prompt"].startswith("a sks person wearing")
    text2image = load_subjects([tmp_path / "run"], base=base)
    stylist = Stylist(studio.recommender, studio.source.catalog, text2image=text2image)
    config = StyleConfig(scene_steps=2, scene_person=phrase(tmp_path / "run"))
    (look,) = stylist(studio.history("0"), scenes=1, config=config)
    assert look.prompt.startswith("a sks person wearing")


def test_real_input_trained_on_the_spot(models, shop, tmp_path, capsys):
    flags = ["--person", str(shop["photo"]), "--mask", str(shop["mask"]), "--looks", "2", "--scenes", "1"]
    assert cli.main([*real(shop, tmp_path / "out"), *flags, *models]) == 0
    report = json.loads((tmp_path / "out" / "looks.json").read_text(encoding="utf-8"))
    worn = [look for look in report["looks"] if look["kind"] == "tryon"]
    assert worn and all(look["words"]["kind"] == "t-shirt" for look in worn)  # the mask uncovers the upper body only
    before, after = Image.open(shop["photo"]).convert("RGB"), Image.open(tmp_path / "out" / worn[0]["file"])
    outside = np.asarray(Image.open(shop["mask"])) < 128
    assert after.size == before.size and (np.asarray(after)[outside] == np.asarray(before)[outside]).all()


@pytest.mark.slow
def test_without_a_photo_a_person_is_rendered(models, shop, tmp_path):
    assert cli.main([*real(shop, tmp_path / "out"), *models, "--looks", "1", "--scenes", "0"]) == 0


def test_a_photo_in_which_nobody_is_found_is_refused(models, shop, tmp_path, capsys, monkeypatch):
    nobody = Body(np.zeros((160, 120), np.uint8), joints_of_standing())
    monkeypatch.setattr("personagen.styling.sources.load_parser", lambda compute: lambda photo: nobody)
    flags = ["--person", str(shop["photo"]), "--looks", "1", "--scenes", "0"]
    assert cli.main([*real(shop, tmp_path / "out"), *models, *flags]) == 3
    assert "no person was found in this photo" in capsys.readouterr().err and not (tmp_path / "out").exists()


def bad_inputs(shop: dict[str, Path], tmp_path: Path) -> dict[str, tuple[list[str], int, str]]:
    """What a user may get wrong -> (flags beyond the usual ones, exit code, what the line must name)."""
    damaged, wrong, header = tmp_path / "damaged.jpg", tmp_path / "wrong.csv", tmp_path / "empty.csv"
    damaged.write_bytes(shop["photo"].read_bytes()[:200])
    wrong.write_text("who,item,timestamp\na,sku1,1\n", encoding="utf-8")
    header.write_text("user,item,timestamp\n", encoding="utf-8")
    photo = ["--person", str(shop["photo"])]
    return {
        "unknown user": (["--user", "nobody"], 3, "nobody"),
        "nothing left": (["--user", "full"], 3, "12"),
        "wrong column": (["--interactions", str(wrong)], 3, "user"),
        "no rows": (["--interactions", str(header)], 3, "empty.csv"),
        "missing file": (["--interactions", "no.csv"], 3, "no.csv"),
        "missing photo": (["--person", "no.jpg"], 3, "no.jpg"),
        "damaged photo": (["--person", str(damaged)], 3, "damaged.jpg"),
        "missing mask": ([*photo, "--mask", "no.png"], 3, "no.png"),
        "mask without photo": (["--mask", str(shop["mask"])], 2, "--person"),
        "wrong region": ([*photo, "--mask", str(shop["mask"]), "--mask_region", "feet"], 2, "feet"),
        "no catalogue": (["--catalog", "nowhere"], 3, "nowhere"),
        "looks out of range": (["--looks", "99"], 2, "99"),
        "steps out of range": (["--steps", "0"], 2, "steps"),
        "unknown finer setting": (["--stylist.diverse", "1"], 2, "diverse"),
        "no such model": (["--tryon", "nowhere"], 4, "nowhere"),
        "no such recommender": (["--recommender", "nowhere"], 4, "nowhere"),
    }


CASES = (
    "unknown user", "nothing left", "wrong column", "no rows", "missing file", "missing photo", "damaged photo",
    "missing mask", "mask without photo", "wrong region", "no catalogue", "looks out of range", "steps out of range",
    "unknown finer setting", "no such model", "no such recommender",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_line_and_writes_nothing(case, models, shop, tmp_path, capsys):
    flags, code, says = bad_inputs(shop, tmp_path)[case]
    out = tmp_path / "out"
    assert cli.main([*real(shop, out), *models, "--looks", "1", "--scenes", "1", *flags]) == code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("personagen: ") and says in last
    assert not out.exists() and not list(tmp_path.glob(".out*"))


def test_missing_pictures_of_the_catalogue_are_counted_and_passed_over(models, shop, tmp_path, capsys):
    """One picture is gone, one item has left the table: neither is shown, both are still part of histories."""
    (shop["catalog"] / "images" / "g3.png").unlink()
    table = shop["catalog"] / "garments.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("g7.png,sku7,trousers,blue\n", ""), encoding="utf-8")
    user = next(row.split(",")[0] for row in shop["clicks"].read_text().splitlines() if row.split(",")[1] == "sku3")
    flags = ["--looks", "2", "--scenes", "1"]
    assert cli.main([*real(shop, tmp_path / "out", user=user), *models, *flags]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "no picture" in line]
    assert len(lines) == 1 and "2 of 12" in lines[0] and "'sku3'" in lines[0]
    report = json.loads((tmp_path / "out" / "looks.json").read_text(encoding="utf-8"))
    assert len(report["looks"]) == 3 and not {"sku3", "sku7"} & {look["name"] for look in report["looks"]}
    assert "sku3" in [item["name"] for item in report["history"]]
    for picture in (shop["catalog"] / "images").iterdir():
        picture.unlink()
    assert cli.main([*real(shop, tmp_path / "none"), *models]) == 3 and not (tmp_path / "none").exists()


def test_a_new_user_is_served_by_a_recommender_of_other_clicks(models, shop, tmp_path, capsys):
    """The file holds one user and three items, one of them unknown: looks are named as the recommender's items are."""
    out = str(tmp_path / "model")
    assert cli.main(["recommend", "train", "--model", "markov", "--data", str(shop["clicks"]), "--out", out]) == 0
    new = {**shop, "clicks": tmp_path / "new.csv"}
    new["clicks"].write_text("user,item,timestamp\nme,sku9,1\nme,hat,2\nme,sku4,3\nhe,hat,1\n", encoding="utf-8")
    flags = [*models, "--recommender", out, "--looks", "0", "--scenes", "2"]
    assert cli.main([*real(new, tmp_path / "out", user="me"), *flags]) == 0
    assert "1 of 3 items" in (err := capsys.readouterr().err) and "'hat'" in err
    report = json.loads((tmp_path / "out" / "looks.json").read_text(encoding="utf-8"))
    assert [item["name"] for item in report["history"]] == ["sku9", "sku4"]
    for look in report["looks"]:
        kind, colour = ("t-shirt", "trousers", "dress"), ("red", "blue")
        number = int(look["name"].removeprefix("sku"))
        assert look["words"]["kind"] == kind[number % 3] and look["words"]["colour"] == colour[number % 2]
    assert cli.main([*real(new, tmp_path / "he", user="he"), *flags]) == 3
    assert "user 'he'" in capsys.readouterr().err
    assert cli.main(["style", *models, "--recommender", out, "--out", str(tmp_path / "atelier")]) == 3


def test_other_files_are_not_replaced(models, recommender, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine", encoding="utf-8")
    assert cli.main(["style", *models, *recommender, "--out", str(tmp_path / "out")]) == 2
    assert (tmp_path / "out" / "thesis.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(("number", "code"), cases([(signal.SIGTERM, 143)], slow=[(signal.SIGINT, 130)]))
def test_a_signal_keeps_what_is_finished(number, code, models, recommender, tmp_path, monkeypatch):
    out, plain = tmp_path / "out", Stylist.__call__

    def interrupted(self, *inputs, **settings):
        for at, look in enumerate(plain(self, *inputs, **settings)):
            yield look
            if at == 0:
                os.kill(os.getpid(), number)

    monkeypatch.setattr(Stylist, "__call__", interrupted)
    assert cli.main(["style", *models, *recommender, "--out", str(out), "--looks", "0", "--scenes", "4"]) == code
    report = json.loads((out / "looks.json").read_text(encoding="utf-8"))
    assert 1 <= len(report["looks"]) < 4 and (out / "sheet.png").exists()


def test_a_signal_before_the_first_picture_is_no_fault_of_the_order(models, recommender, tmp_path, monkeypatch, capsys):
    out, plain = tmp_path / "out", Stylist.__call__

    def interrupted(self, *inputs, **settings):
        os.kill(os.getpid(), signal.SIGTERM)
        yield from plain(self, *inputs, **settings)

    monkeypatch.setattr(Stylist, "__call__", interrupted)
    assert cli.main(["style", *models, *recommender, "--out", str(out), "--looks", "0", "--scenes", "2"]) == 143
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last == "personagen: stopped by SIGTERM; no picture was finished" and not out.exists()


def test_one_garment_on_one_person(models, shop, tmp_path):
    out = tmp_path / "worn.png"
    flags = ["--person", shop["photo"], "--mask", shop["mask"], "--garment", shop["catalog"] / "images" / "g0.png"]
    command = ["tryon", "wear", *map(str, flags), "--model", models[1], "--steps", "2", "--out", str(out)]
    assert cli.main(command) == 0
    assert Image.open(out).size == (120, 160) and read_png(out).record is not None
    assert cli.main([*command, "--out", str(tmp_path / "worn.jpg")]) == 2
    assert cli.main([*command, "--guidance", "0"]) == 2
    assert SIZE == (64, 48)  # the model's own size is another one


def test_damaged_pictures_of_the_catalogue_are_told_before_painting_and_passed_over(models, shop, tmp_path, capsys):
    table = (shop["catalog"] / "garments.csv").read_text(encoding="utf-8")
    (shop["catalog"] / "garments.csv").write_text(table.replace(",red", ",").replace(",blue", ","), encoding="utf-8")
    damaged = ("g0.png", "g1.png", "g4.png")
    for name in damaged:
        (shop["catalog"] / "images" / name).write_bytes((shop["catalog"] / "images" / name).read_bytes()[:60])
    assert cli.main([*real(shop, tmp_path / "looks", user="full"), *models, "--looks", "1", "--scenes", "1",
                     "--stylist.exclude_seen", "false"]) == 0  # fmt: skip
    said = capsys.readouterr().err
    assert "3 pictures of 12 cannot be read, the first is that of item 'sku0'" in said and "g0.png is damaged" in said
    looks = json.loads((tmp_path / "looks" / "looks.json").read_text(encoding="utf-8"))["looks"]
    assert len(looks) == 2 and not {look["name"] for look in looks} & {"sku0", "sku1", "sku4"}


@pytest.mark.slow
def test_the_readme_shows_what_make_run_makes(tmp_path):
    assert cli.main(["style", "--out", str(tmp_path / "looks")]) == 0  # as the Makefile has it
    shown = Image.open(Path(__file__).parents[2] / "docs" / "sheet.png").convert("RGB")
    with Image.open(tmp_path / "looks" / "sheet.png") as sheet:
        made = sheet.convert("RGB").resize(shown.size, Image.Resampling.LANCZOS)
    apart = np.abs(np.asarray(shown, float) - np.asarray(made, float))
    assert apart.mean() < 1 and (apart.max(2) > 40).mean() < 0.005  # other processors round otherwise
