"""`personagen style` with subjects: whom scenes show, who is dressed, several users by a mapping, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apps import cli
from apps.commands.shop import folder_name
from personagen.person.body import Body
from recsys import pretrained
from tests.cases import cases
from tests.personagen.figures import joints_of_standing, standing
from tests.personagen.styling.test_subjects import write_subject
from tests.personagen.subject.parts import write_pictures

from .tiny import pipelines


@pytest.fixture(scope="module")
def place(studio, tmp_path_factory) -> Path:
    """Tiny models, a recommender of the atelier, pictures of a person, and what was learnt of them on those models."""
    folder = tmp_path_factory.mktemp("subjects")
    tryon, text2image = pipelines()
    tryon.save_pretrained(folder / "tryon")
    text2image.save_pretrained(folder / "text2image")
    pretrained.save(studio.recommender, folder / "recommender")
    write_pictures(folder / "pictures", count=2, size=(128, 96))
    flags = ["--preset", "person", "--name", "person", "--consent", "true", "--max_train_steps", "1",
             "--validation_inference_steps", "1", "--num_validation_images", "0"]  # fmt: skip
    given = {"instance_data_dir": "pictures", "pretrained_model_name_or_path": "text2image", "output_dir": "me"}
    words = [word for name, value in given.items() for word in (f"--{name}", str(folder / value))]
    assert cli.main(["subject", "train", *flags, *words]) == 0
    return folder


@pytest.fixture
def style(place):
    """Call the command with the tiny models; returns the exit code."""

    def call(out: Path, *flags: str) -> int:
        models = ["--tryon", place / "tryon", "--text2image", place / "text2image", "--recommender"]
        return cli.main(
            ["style", *map(str, models), str(place / "recommender"), "--steps", "2", "--out", str(out), *flags]
        )

    return call


@pytest.fixture
def seen(monkeypatch):
    """A parser that sees a standing person in every photo of 128 x 96 pixels."""

    def body(photo: Image.Image) -> Body:
        if photo.size == (96, 128):
            return Body(standing(lower=120), joints_of_standing())
        return Body(np.zeros((photo.height, photo.width), np.uint8))  # garments alone

    monkeypatch.setattr("personagen.styling.studio.load_parser", lambda compute: body)


def report(folder: Path) -> dict:
    return json.loads((folder / "looks.json").read_text(encoding="utf-8"))


def test_scenes_and_try_on_show_the_subject(style, place, seen, tmp_path, capsys):
    assert style(tmp_path / "out", "--subject", str(place / "me"), "--looks", "1", "--scenes", "1") == 0
    lines = capsys.readouterr().err
    assert "is dressed, the best of 2 pictures of subject me" in lines
    found = report(tmp_path / "out")
    assert [look["kind"] for look in found["looks"]] == ["tryon", "scene"]
    assert found["looks"][1]["prompt"].startswith("a sks person wearing")
    subject = found["run"]["subject"]
    assert subject["name"] == "me" and len(subject["sha256"]) == 64 and str(place) not in str(subject)
    worn = Image.open(tmp_path / "out" / found["looks"][0]["file"])
    given = [Image.open(file).convert("RGB") for file in sorted((place / "pictures").glob("*.png"))]
    assert worn.size == (96, 128)
    same = [float((np.asarray(worn) == np.asarray(one)).all(-1).mean()) for one in given]
    assert max(same) > 0.2  # the background of one of the pictures is untouched


def test_without_a_whole_person_the_sitter_is_as_before(style, place, monkeypatch, tmp_path, capsys):
    nobody = lambda photo: Body(np.zeros((photo.height, photo.width), np.uint8), joints_of_standing())
    monkeypatch.setattr("personagen.styling.studio.load_parser", lambda compute: nobody)
    flags = ["--looks", "1", "--scenes", "0"]
    assert style(tmp_path / "with", "--subject", str(place / "me"), *flags) == 0
    assert "none of 2 pictures of subject me shows a whole person" in capsys.readouterr().err
    assert style(tmp_path / "without", *flags) == 0
    first, second = ([look["file"] for look in report(tmp_path / name)["looks"]] for name in ("with", "without"))
    assert first == second and "subject" not in report(tmp_path / "without")["run"]
    pixels = [np.asarray(Image.open(tmp_path / name / first[0])).tobytes() for name in ("with", "without")]
    assert pixels[0] == pixels[1]


def test_several_users_have_a_folder_each(style, place, seen, tmp_path, capsys):
    (tmp_path / "map.csv").write_text(f"user,subject\n3,{place}/me\n5,\n", encoding="utf-8")
    flags = ["--looks", "0", "--scenes", "1", "--subjects", str(tmp_path / "map.csv")]
    assert style(tmp_path / "out", *flags) == 0
    assert "2 pictures of 2 users" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["3", "5"]
    for user, person in (("3", "a sks person"), ("5", "a person")):
        found = report(tmp_path / "out" / user)
        assert found["run"]["user"] == user and found["looks"][0]["prompt"].startswith(f"{person} wearing")
    alone = ["--looks", "0", "--scenes", "1", "--user", "3", "--subject", str(place / "me")]
    assert style(tmp_path / "alone", *alone) == 0
    name = report(tmp_path / "alone")["looks"][0]["file"]
    assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "out" / "3" / name).read_bytes()
    assert style(tmp_path / "out", *flags, "--users", "5,7") == 0  # users without a line are made as before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["3", "5", "7"]
    assert style(tmp_path / "alone", *flags) == 2 and "looks of one user" in capsys.readouterr().err


def test_names_of_folders_are_safe_and_differ():
    users = ["anna", "../x", "a/b", ".hidden", "%2Ehidden", "ü", "a b", "..", "a.b"]
    names = [folder_name(user) for user in users]
    assert len(set(names)) == len(names) and names[0] == "anna" and names[-1] == "a.b"
    assert all("/" not in name and not name.startswith(".") for name in names)


REFUSED = {
    "no subject": (["--subject", "nowhere"], 2, "no subject in nowhere"),
    "two subjects": (["--subject", "{me}", "--subjects", "{map}"], 2, "not both"),
    "user and users": (["--user", "1", "--users", "1,2"], 2, "not both"),
    "twice": (["--users", "1,2,1"], 3, "'1' twice"),
    "unknown user": (["--users", "1,nobody"], 3, "nobody"),
    "one subject for several": (["--users", "1,2", "--subject", "{me}"], 2, "--subjects FILE"),
    "not agreed": (["--subject", "{asked}"], 2, "agreed"),
    "another base": (["--subject", "{embedded}"], 4, "--text2image embedded"),
    "other shapes": (["--subject", "{shapes}", "--looks", "1"], 4, "another base model"),
    "unknown user of the mapping": (["--subjects", "{strange}"], 3, "nobody"),
    "no mapping": (["--subjects", "none.csv"], 3, "none.csv"),
}
QUICK = ["no subject", "not agreed", "another base", "other shapes", "unknown user", "unknown user of the mapping"]


@pytest.mark.parametrize("case", cases(QUICK, slow=[case for case in REFUSED if case not in QUICK]))
def test_what_cannot_be_done_is_one_line_before_any_painting(case, style, place, tmp_path, capsys):
    flags, code, says = REFUSED[case]
    base = str(place / "text2image")
    names = {"me": place / "me", "map": tmp_path / "map.csv", "strange": tmp_path / "strange.csv"}
    names["map"].write_text(f"user,subject\n3,{place}/me\n", encoding="utf-8")
    names["strange"].write_text(f"user,subject\nnobody,{place}/me\n", encoding="utf-8")
    names["asked"] = write_subject(tmp_path / "asked", place / "pictures", consent=False)
    names["embedded"] = write_subject(tmp_path / "embedded", place / "pictures")
    names["shapes"] = write_subject(
        tmp_path / "shapes", tmp_path / "none", pretrained_model_name_or_path=base + "-of-another"
    )
    given = [flag.format(**names) for flag in flags]
    assert style(tmp_path / "out", "--looks", "0", "--scenes", "1", *given) == code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("personagen: ") and says in last and not (tmp_path / "out").exists()
