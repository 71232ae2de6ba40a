"""`personagen forget`: lists what there is of a user, removes what was made here, and names the rest."""

import json

import pytest

from apps import cli


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, user in (("looks/anna", "anna"), ("looks/ben", "ben"), ("one", "anna")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "looks.json").write_text(json.dumps({"run": {"user": user}}), encoding="utf-8")
        (tmp_path / folder / "sheet.png").write_bytes(b"1")
    (tmp_path / "clicks.csv").write_text("user,item,timestamp\nanna,a,1\nanna,b,2\nben,a,3\n", encoding="utf-8")
    return tmp_path


def test_it_lists_first_and_removes_when_told(place, capsys):
    command = ["forget", "anna", "--looks", '["looks", "one"]', "--interactions", "clicks.csv"]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert "would remove  looks/anna  (looks, 2 files)" in said and "would remove  one" in said
    assert "left  clicks.csv  (2 choices: take the rows out" in said and "add --confirm true" in said
    assert (place / "looks" / "anna").is_dir()
    assert cli.main([*command, "--confirm", "true"]) == 0
    assert "removed  looks/anna" in capsys.readouterr().out
    assert not (place / "looks" / "anna").exists() and not (place / "one").exists()
    assert (place / "looks" / "ben" / "sheet.png").exists() and (place / "clicks.csv").exists()
    assert cli.main(command) == 0 and "would remove" not in capsys.readouterr().out


def test_the_line_of_the_mapping_goes_and_files_of_ones_own_are_named(place, capsys):
    for name in ("anna.jpg", "ben.jpg"):
        (place / name).write_bytes(b"1")
    (place / "map.csv").write_text("user,subject,person\nanna,,anna.jpg\nben,,ben.jpg\n", encoding="utf-8")
    assert cli.main(["forget", "anna", "--looks", "[]", "--subjects", "map.csv", "--confirm", "true"]) == 0
    said = capsys.readouterr().out
    assert "left  anna.jpg  (a photo: yours" in said and "removed  map.csv" in said
    assert (place / "map.csv").read_text(encoding="utf-8") == "user,subject,person\nben,,ben.jpg\n"
    assert (place / "anna.jpg").exists()


def test_nobody_and_nothing(place, capsys):
    assert cli.main(["forget", "--confirm", "true"]) == 2
    assert "user is empty" in capsys.readouterr().err
    assert cli.main(["forget", "nobody"]) == 0
    assert "there is nothing of user 'nobody'" in capsys.readouterr().out


def test_what_a_link_leads_to_is_left_and_never_called_removed(place, capsys):
    (place / "looks" / "anna").rename(place / "elsewhere")
    (place / "looks" / "anna").symlink_to(place / "elsewhere")
    assert cli.main(["forget", "anna", "--looks", '["looks"]', "--confirm", "true"]) == 0
    said = capsys.readouterr().out
    assert "left  looks/anna  (looks, 2 files: a link to" in said and "removed" not in said.replace("remove both", "")
    assert (place / "elsewhere" / "sheet.png").exists()
