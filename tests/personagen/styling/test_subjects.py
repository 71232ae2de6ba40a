"""Subjects in the main job: what a result folder says, which picture is dressed, and mappings of users to subjects."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from personagen.atelier.body import Body as Figure
from personagen.atelier.garment import GarmentSpec
from personagen.atelier.render import render_person
from personagen.person.body import Body
from personagen.person.joints import Joint
from personagen.person.parser import load_parser
from personagen.person.parts import Part
from personagen.styling.studio import Order
from personagen.styling.subjects import (
    Mapped,
    check_base,
    read_mapping,
    read_subject,
    standing,
    standing_picture,
)
from personagen.subject.config import SubjectConfig
from personagen.subject.data import scan
from personagen.subject.record import SubjectRun, data_fingerprint, write_run
from recsys.errors import ConfigError, DataError, ModelError

from ..figures import joints_of_standing
from ..figures import standing as figure


def write_subject(folder: Path, pictures: Path, **settings) -> Path:
    """Write what training leaves: run.json and an adapter, of a person unless `settings` say otherwise."""
    folder.mkdir(parents=True)
    given: dict[str, Any] = {"name": "person", "preset": "person", "consent": True} | settings
    config = SubjectConfig(str(pictures), output_dir=str(folder), **given)
    found = scan(pictures)[0] if pictures.is_dir() else []
    pair = {f"unet.a.lora_{letter}.weight": np.zeros((1, 1), np.float32) for letter in "AB"}
    save_file(pair, folder / "pytorch_lora_weights.safetensors")
    write_run(SubjectRun(config, data_sha256=data_fingerprint(found)), folder)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Noise, somebody from the waist up, and the same person whole."""
    folder = tmp_path_factory.mktemp("photos")
    outfit = (GarmentSpec("t-shirt", "red", sleeve=0.34), GarmentSpec("trousers", "blue"))
    whole = Image.fromarray(render_person(Figure(), outfit, "studio", size=(256, 192)).image)
    noise = np.random.default_rng(0).integers(0, 255, (256, 192, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "a.png")
    whole.crop((0, 0, 192, 120)).save(folder / "b.png")
    whole.save(folder / "c.png")
    return folder


def test_the_picture_of_a_whole_standing_person_is_dressed(photos, tmp_path):
    subject = read_subject(write_subject(tmp_path / "me", photos))
    assert subject.phrase == "a sks person" and subject.person and len(subject.fingerprint) == 64
    chosen, line = standing_picture(subject, load_parser())
    assert chosen == photos / "c.png" and line == "c.png is dressed, the best of 3 pictures of subject me"


def test_where_nobody_is_whole_or_may_be_shown_a_line_says_so(photos, tmp_path):
    nobody: Any = lambda photo: Body(np.zeros((photo.height, photo.width), np.uint8), joints_of_standing())
    me = read_subject(write_subject(tmp_path / "me", photos))
    thing = read_subject(write_subject(tmp_path / "bag", photos, name="backpack", preset="object"))
    lost = read_subject(write_subject(tmp_path / "lost", tmp_path / "gone"))
    changed = replace(me, pictures_sha256="0" * 64)  # somebody who agreed to nothing may have been put there since
    cases: list[tuple[Any, Any, str]] = [
        (me, nobody, "none of 3 pictures of subject me shows a whole person"),
        (thing, None, "subject bag is a sks backpack, not a person"),
        (lost, None, "are gone"),
        (changed, None, "other pictures than subject me was trained on"),
    ]
    for subject, parser, says in cases:
        chosen, line = standing_picture(subject, parser)
        assert chosen is None and says in line and "--person FILE" in line and "\n" not in line


def test_standing_wants_head_feet_and_an_upright_trunk():
    parts, joints = figure(lower=110), joints_of_standing()
    parts[110:118, 38:58] = Part.SHOES
    best = standing(Body(parts, joints))
    assert best > 0.5
    unsure, sitting, lying, aside = (joints.copy() for _ in range(4))
    unsure[Joint.LEFT_ANKLE, 2] = 0.1
    sitting[[Joint.LEFT_KNEE, Joint.RIGHT_KNEE], 1] = 50
    lying[:, :2] = lying[:, [1, 0]]
    aside[[Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER], 0] = 47, 49
    for wrong in (unsure, sitting, lying):
        assert standing(Body(parts, wrong)) == 0.0
    assert 0 < standing(Body(parts, aside)) < best
    assert standing(Body(parts)) == standing(Body(np.where(parts == Part.HEAD, 0, parts), joints)) == 0.0


def test_a_subject_is_refused_with_a_remedy(photos, tmp_path):
    with pytest.raises(ConfigError, match="no subject in"):
        read_subject(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"run\.json"):
        read_subject(tmp_path / "empty")
    with pytest.raises(ConfigError, match="agreed"):
        read_subject(write_subject(tmp_path / "asked", photos, consent=False))
    bare = write_subject(tmp_path / "bare", photos)
    (bare / "pytorch_lora_weights.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights"):
        read_subject(bare)


def test_the_base_model_and_the_words(photos, tmp_path):
    mine = read_subject(write_subject(tmp_path / "me", photos))
    other = read_subject(write_subject(tmp_path / "sd", photos, pretrained_model_name_or_path="models/sd15"))
    check_base(mine, "embedded")
    check_base(other, "models/sd15-finer")
    for subject, model in ((mine, "models/sd15"), (other, "embedded")):
        with pytest.raises(ModelError, match="--text2image"):
            check_base(subject, model)
    assert Order((1,), "a", subject=mine).painted().scene_person == "a sks person"
    assert mine.fingerprint == other.fingerprint and str(tmp_path) not in str(mine.record())


def test_a_mapping_names_subjects_and_photos_beside_itself(tmp_path):
    for name in ("anna", "ben"):
        (tmp_path / name).mkdir()
    (tmp_path / "ben.jpg").touch()
    file = tmp_path / "map.csv"
    file.write_text("user,subject,person\nanna,anna,\n007, ben , ben.jpg\ncarla,,ben.jpg\n", encoding="utf-8")
    photo = tmp_path / "ben.jpg"
    assert read_mapping(file) == {
        "anna": Mapped(tmp_path / "anna"),
        "007": Mapped(tmp_path / "ben", photo),
        "carla": Mapped(None, photo),
    }
    for text, says in (
        ("user,model\nanna,anna\n", "columns user, model"),
        ("user,subject\n", "no line below"),
        ("user,subject\nanna,anna\nanna,ben\n", "line 3: user 'anna' is there twice"),
        ("user,subject\n,anna\n", "line 2: user '' is empty"),
        ("user,subject\nanna,nowhere\n", "line 2: there is no nowhere"),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=says):
            read_mapping(file)
    with pytest.raises(DataError, match="no mapping"):
        read_mapping(tmp_path / "none.csv")
