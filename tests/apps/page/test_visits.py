"""What the page keeps of its visitors, and that it goes."""

import os
import time

import pytest
from PIL import Image

from apps.page import shared, visits
from apps.page.visits import Visits, given_name
from recsys.errors import ConfigError, DataError
from tests.personagen.test_images import phone_photo


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(visits, "LINGERS", 0.0)


def upload(folder, name: str, data: bytes):
    path = folder / ("0" * 63 + str(len(name) % 10)) / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def gone(path) -> bool:
    for _ in range(50):
        if not path.parent.exists():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "JPEG", "PNG", "WEBP"])
def test_an_upload_is_written_anew_without_tags_and_removed(tmp_path, kind):
    raw = upload(tmp_path, "me at home.jpg", phone_photo(Image.new("RGB", (60, 40), "teal"), kind))
    kept = Visits(tmp_path)
    clean = kept.take("anna", raw)
    assert gone(raw) and clean.is_relative_to(kept["anna"].folder) and given_name(clean) == "me-at-home.png"
    data = clean.read_bytes()
    assert b"camera" not in data and b"Exif" not in data and b"eXIf" not in data
    with Image.open(clean) as picture:
        assert picture.size == ((60, 40) if kind == "HEIF" else (40, 60)) and not picture.getexif()
    assert oct(kept["anna"].folder.stat().st_mode)[-3:] == "700"


BAD = {"text.png": (b"no picture", "is not a JPEG"), "empty.png": (b"", "empty.png is empty"),
       "cut.jpg": (b"\xff\xd8\xff\xe0", "cut.jpg is"),
       "large.png": (bytes(10_000_001), "larger than 10 MB")}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture_is_refused_under_its_own_name_and_removed(tmp_path, name):
    data, words = BAD[name]
    raw = upload(tmp_path, name, data)
    with pytest.raises(DataError, match=words) as caught:
        Visits(tmp_path).take("anna", raw)
    assert str(tmp_path) not in str(caught.value) and gone(raw)


def test_two_who_upload_one_file_both_get_it(tmp_path):
    raw = upload(tmp_path, "shared.png", phone_photo(Image.new("RGB", (20, 30), "teal"), "PNG"))
    kept = Visits(tmp_path)
    first = kept.take("anna", raw)
    assert gone(raw)
    second = kept.take("bert", raw)
    assert second.read_bytes() == first.read_bytes() and second.is_relative_to(kept["bert"].folder)


def test_nobody_reaches_what_is_anothers(tmp_path):
    kept = Visits(tmp_path)
    clean = kept.take("anna", upload(tmp_path, "a.png", phone_photo(Image.new("RGB", (20, 30)), "PNG")))
    assert kept["anna"].own(clean) == clean
    for path in (clean, tmp_path / "nowhere.png", kept["bert"].folder / ".." / clean.parent.name / clean.name):
        with pytest.raises(DataError, match="give it again"):
            kept["bert"].own(path)


def test_all_of_a_visitors_goes_when_they_leave_and_is_counted(tmp_path):
    kept = Visits(tmp_path)
    for at in range(2):
        kept.take("anna", upload(tmp_path, f"{at}.png", phone_photo(Image.new("RGB", (20, 30 + at)), "PNG")))
    kept.take("bert", upload(tmp_path, "b.png", phone_photo(Image.new("RGB", (20, 40)), "PNG")))
    job, folder = kept["anna"].begin("looks"), kept["anna"].folder
    assert kept.leave("anna").startswith("Deleted: 2 files of yours")
    assert job.stop.is_set() and not folder.exists() and kept["bert"].folder.exists()
    assert "anna" not in kept and kept.leave("anna") == "Nothing of yours was kept."


def test_what_is_at_work_ends_before_its_folder_goes(tmp_path):
    kept = Visits(tmp_path)
    with kept.working("anna") as visit:
        job = visit.begin("looks")
        kept.leave("anna")
        assert job.stop.is_set() and job.folder.exists()
    assert not visit.folder.exists()


def test_uploads_that_nobody_read_are_swept(tmp_path):
    kept = Visits(tmp_path)
    old, new = upload(tmp_path, "old.png", b"1"), upload(tmp_path, "newer", b"2")
    os.utime(old.parent, (1, 1))
    (tmp_path / "item-1.png").write_bytes(b"3")
    os.utime(tmp_path / "item-1.png", (1, 1))
    visit = kept["anna"]
    os.utime(visit.folder, (1, 1))
    kept.sweep()
    assert not old.exists() and new.exists() and (tmp_path / "item-1.png").exists() and visit.folder.exists()


def test_errors_are_told_without_places_of_the_machine(tmp_path, capsys):
    visit = Visits(tmp_path)["anna"]
    said = shared.excuse(DataError(f"{visit.folder}/subject-x/pictures/00.png is damaged; save it again"))
    assert said == "00.png is damaged; save it again"
    upload = DataError(f"cannot read {tmp_path}/0a1b2c/mine.png as a PNG: 'https://a.b/c' is no /etc/passwd")
    assert shared.excuse(upload) == "cannot read mine.png as a PNG: 'https://a.b/c' is no passwd"
    assert "server's log" in shared.excuse(KeyError(str(tmp_path))) and "KeyError" in capsys.readouterr().err
    assert shared.excuse(ConfigError("seed = -5; allowed are 0 to 4")) == "seed = -5; allowed are 0 to 4"


def test_what_the_editor_sent_goes_with_the_last_visitor(tmp_path, monkeypatch):
    monkeypatch.setattr(visits, "TIDY", 0.0)
    kept = Visits(tmp_path)
    sent = upload(tmp_path, "background.png", b"1")
    os.utime(sent.parent, (time.time() - 60, time.time() - 60))
    assert kept["anna"].folder and kept["bert"].folder
    kept.leave("anna")
    time.sleep(0.3)
    assert sent.exists()
    kept.leave("bert")
    assert gone(sent)


def test_a_page_that_comes_back_has_what_it_had_and_nobody_elses(tmp_path, monkeypatch):
    monkeypatch.setattr(visits, "RELOADS", 0.3)
    kept = Visits(tmp_path)
    mine, job = kept["before"], kept["before"].begin("looks")
    kept.leave_soon("before")
    assert job.stop.is_set()
    assert kept.back("before", "after") is mine and kept["after"] is mine and "before" not in kept
    assert kept.back("nobody", "other") is None and "other" not in kept
    time.sleep(0.6)
    assert mine.folder.exists()
    kept.leave_soon("after")
    time.sleep(0.6)
    assert not mine.folder.exists() and kept.back("after", "later") is None
