"""Looks of many: what a run writes, that it goes on where it was, and that nothing is there twice."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from apps.batch import style
from apps.batch.places import Place, read_file
from apps.batch.results import Results
from apps.batch.stages import Bench, Painting, Planning, plan_of
from apps.commands.config import StyleConfig
from personagen.styling.studio import Studio
from recsys.errors import ConfigError, DataError, ResourceError

from ...place import ROOT

ORDER = StyleConfig(engine="local", looks=0, scenes=1, steps=1)
ORDER = replace(ORDER, stylist=replace(ORDER.stylist, sitter_in_scenes=False))


@pytest.fixture
def tiny(studio, monkeypatch) -> Studio:
    """Let every command open the studio with tiny models."""
    monkeypatch.setattr("apps.batch.stages.open_studio", lambda settings, compute: studio)
    return studio


def rows(out: Path, kind: str = "looks") -> list[dict]:
    return parquet.read_table(out / kind).to_pylist() if (out / kind).is_dir() else []


def pictures(out: Path) -> dict[str, str]:
    """Every picture on disk by its place, with the digest of what is in it."""
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(out.rglob("*.png"))}  # fmt: skip


def check_sound(out: Path, users: Sequence[str | int]) -> None:
    """Everybody once, every row with its picture, no picture without a row, nothing unfinished."""
    found = rows(out)
    assert sorted(row["user"] for row in found) == sorted(map(str, users))
    assert {row["path"] for row in found} == set(pictures(out))
    assert all(Path(place).stem == digest for place, digest in pictures(out).items())
    assert not [path for path in out.rglob(".*") if path.name != ".lock"]


def test_a_run_writes_a_row_and_a_picture_for_everybody(tiny, tmp_path):
    users: list[str | int] = [str(number) for number in range(4)]
    assert style.run(replace(ORDER, users=users, out=str(tmp_path / "out"))) == 0
    check_sound(tmp_path / "out", users)
    row = rows(tmp_path / "out")[0]
    assert row["kind"] == "scene" and row["prompt"] and row["item"] in tiny.source.catalog.names


def test_a_look_does_not_depend_on_who_comes_before(tiny, tmp_path):
    for name, users in (("all", "0,1,2"), ("backward", "2,1,0")):
        style.run(replace(ORDER, users=users, out=str(tmp_path / name)))
    assert pictures(tmp_path / "all") == pictures(tmp_path / "backward")


def test_a_plan_survives_its_way_through_json(tiny):
    planned = Planning(ORDER)(pa.table({"user": ["3"]})).to_pylist()[0]
    bench = Bench(ORDER)
    order = bench.order("3")
    plan, _ = tiny.stylist(order).decide(list(order.history), 0, scenes=1, seed=0, config=order.painted())
    assert plan_of(json.loads(planned["plan"])) == plan_of(json.loads(json.dumps(asdict(plan)))) == plan


def test_a_run_that_was_killed_goes_on_after_its_last_part(tiny, tmp_path, monkeypatch):
    users: list[str | int] = [str(number) for number in range(6)]
    style.run(replace(ORDER, users=users, out=str(tmp_path / "whole")))
    settings, made = replace(ORDER, users=users, out=str(tmp_path / "out")), []

    class Dying(Painting):
        def __call__(self, planned):
            made.append(planned["user"][0].as_py())
            if len(made) == 4:
                raise KeyboardInterrupt
            return super().__call__(planned)

    monkeypatch.setattr(style, "Painting", Dying)
    monkeypatch.setattr(Results, "write", lambda self: None if len(made) == 4 else write(self))  # kill -9
    monkeypatch.setattr("apps.batch.style.Results", lambda place: Results(place, part=2))
    with pytest.raises(KeyboardInterrupt):
        style.run(settings)
    assert sorted(row["user"] for row in rows(tmp_path / "out")) == ["0", "1"]
    assert len(pictures(tmp_path / "out")) == 3  # the third was painted, and its row is lost
    made.clear()
    monkeypatch.setattr(style, "Painting", Painting)
    style.run(settings)
    check_sound(tmp_path / "out", users)
    assert pictures(tmp_path / "out") == pictures(tmp_path / "whole")


write = Results.write


def test_failures_of_a_part_that_is_not_there_do_not_count(tmp_path):
    results = Results(Place(str(tmp_path)))
    assert results.claim({"seed": "0"}, restart=False) == set()
    results.add("anna", [], [{"user": "anna", "item": None, "stage": "plan", "reason": "no"}])
    results.write()
    shutil.copy(tmp_path / "failed/part-00000.parquet", tmp_path / "failed/part-00001.parquet")
    again = Results(Place(str(tmp_path)))
    assert again.claim({"seed": "0"}, restart=False) == {"anna"}
    assert len(rows(tmp_path, "failed")) == 1
    with pytest.raises(ConfigError, match="another seed"):
        Results(Place(str(tmp_path))).claim({"seed": "1"}, restart=False)
    assert Results(Place(str(tmp_path))).claim({"seed": "1"}, restart=True) == set()
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_damaged_part_is_named(tmp_path):
    (tmp_path / "looks").mkdir()
    (tmp_path / "looks/part-00000.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="part-00000.parquet"):
        Results(Place(str(tmp_path))).claim({}, restart=False)


def test_who_cannot_be_shown_is_in_the_dead_letters_with_the_reason(tiny, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "whose.csv").write_text("user,subject,person\n1,,broken.jpg\n", encoding="utf-8")
    settings = replace(ORDER, looks=1, scenes=0, users=["99", "1"], subjects=str(tmp_path / "whose.csv"))
    style.run(replace(settings, out=str(tmp_path / "out")))
    found = {row["user"]: row for row in rows(tmp_path / "out", "failed")}
    assert rows(tmp_path / "out") == [] and set(found) == {"1", "99"}
    assert "not in the atelier" in found["99"]["reason"] and "broken.jpg" in found["1"]["reason"]
    made = []
    style.run(replace(settings, out=str(tmp_path / "out")))  # they are done: nobody is tried twice
    assert len(rows(tmp_path / "out", "failed")) == 2 and not made


def test_a_damaged_picture_of_an_item_is_told_and_passed_over(tiny, tmp_path, monkeypatch):
    users: list[str | int] = ["3"]
    style.run(replace(ORDER, users=users, out=str(tmp_path / "sound")))
    first = rows(tmp_path / "sound")[0]["item"]
    picture = type(tiny.source.catalog).__getitem__

    def damaged(catalog, item):
        if catalog.names[item - 1] == first:
            raise DataError(f"{first}.png is damaged")
        return picture(catalog, item)

    monkeypatch.setattr(type(tiny.source.catalog), "__getitem__", damaged)
    style.run(replace(ORDER, users=users, out=str(tmp_path / "out")))
    assert rows(tmp_path / "out", "failed") == [
        {"user": "3", "item": first, "stage": "picture", "reason": f"{first}.png is damaged"}
    ]
    assert [row["item"] != first for row in rows(tmp_path / "out")] == [True]


def test_a_full_disk_ends_the_run_and_nobody_is_lost(tiny, tmp_path, monkeypatch):
    settings, put, left = replace(ORDER, users=["0", "1", "2"], out=str(tmp_path / "out")), Place.put, [2]

    def filling(self, name, content):
        if name.startswith("pictures"):
            left[0] -= 1
            if left[0] < 0:
                raise ResourceError("no space left on device")
        put(self, name, content)

    monkeypatch.setattr(Place, "put", filling)
    with pytest.raises(ResourceError, match="no space"):
        style.run(settings)
    assert rows(tmp_path / "out", "failed") == []
    left[0] = 9
    style.run(settings)
    check_sound(tmp_path / "out", ["0", "1", "2"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"engine": "spark"}, "allowed are local and ray"),
        ({"workers": 2}, "give --engine ray"),
        ({"workers": 0}, "workers = 0"),
        ({"user": "3"}, "for one user"),
        ({"out": "gopher://x/y"}, "cannot be opened"),
    ],
)
def test_settings_that_cannot_be_are_refused(tiny, change, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        style.run(replace(ORDER, **{"users": "all", "out": str(tmp_path / "out")} | change))


def test_users_come_from_parquet_a_file_or_all(tiny, tmp_path):
    bench = Bench(ORDER)
    parquet.write_table(pa.table({"user": ["5", "7", "5"], "x": [1, 2, 3]}), tmp_path / "users.parquet")
    assert style.wanted(replace(ORDER, users=str(tmp_path / "users.parquet")), bench) == ["5", "7"]
    assert style.wanted(replace(ORDER, users="all"), bench) == tiny.source.users()
    parquet.write_table(pa.table({"who": ["5"]}), tmp_path / "others.parquet")
    with pytest.raises(DataError, match="column user"):
        style.wanted(replace(ORDER, users=str(tmp_path / "others.parquet")), bench)
    with pytest.raises(DataError, match="cannot read"):
        style.wanted(replace(ORDER, users=str(tmp_path / "none.parquet")), bench)


def test_an_object_store_serves_as_a_folder_does(s3_store):
    _serves_as_a_folder(Place(f"s3://shop/looks{s3_store}"))


def test_one_of_google_serves_as_a_folder_does(gs_store):
    _serves_as_a_folder(Place(f"gs://anonymous@shop/looks{gs_store}"))


def _serves_as_a_folder(place):
    assert place.names("nothing") == []
    place.put("a/b.txt", b"one"), place.put("a/b.txt", b"two"), place.put("a/c.txt", b"")
    assert (place.get("a/b.txt"), place.names("a")) == (b"two", ["b.txt", "c.txt"])
    place.remove("a/b.txt"), place.remove("a/none.txt")
    assert place.names("a") == ["c.txt"]
    with pytest.raises(DataError):
        place.get("a/none.txt")


def test_looks_go_to_an_object_store_and_users_come_from_there(tiny, tmp_path, s3_store):
    users = pa.BufferOutputStream()
    parquet.write_table(pa.table({"user": ["0", "1"]}), users)
    Place(f"s3://shop/in{s3_store}").put("users.parquet", users.getvalue().to_pybytes())
    where = f"s3://shop/in/users.parquet{s3_store}"
    assert read_file(where) == users.getvalue().to_pybytes()
    settings = replace(ORDER, users=where, out=f"s3://shop/out{s3_store}")
    style.run(settings)
    style.run(settings)  # all are done
    place = Place(settings.out)
    found = parquet.read_table(pa.BufferReader(place.get("looks/part-00000.parquet"))).to_pylist()
    assert place.names("looks") == ["part-00000.parquet"] and sorted(row["user"] for row in found) == ["0", "1"]
    assert all(hashlib.sha256(place.get(row["path"])).hexdigest() == Path(row["path"]).stem for row in found)


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["nobody", "worker", "driver"])
def test_workers_make_what_one_process_makes_whoever_is_killed(tmp_path, killed):
    psutil = pytest.importorskip("psutil")
    pytest.importorskip("ray", reason="ray is not installed: pip install 'personagen[scale]'")
    words = ["--users", ",".join(map(str, range(12))), "--looks", "0", "--scenes", "1", "--steps", "1",
             "--stylist.sitter_in_scenes", "false"]  # fmt: skip

    def start(engine: str, workers: int, out: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "personagen", "style", "--engine", engine, "--workers", str(workers), *words]
        return subprocess.Popen([*command, "--out", str(tmp_path / out)], cwd=ROOT,
                                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)})  # fmt: skip

    assert start("local", 1, "local").wait(900) == 0
    process = start("ray", 2, "ray")
    while killed != "nobody" and process.poll() is None:
        if len(pictures(tmp_path / "ray")) >= 3:
            tree = psutil.Process(process.pid).children(recursive=True)
            painters = [one for one in tree if "Painting" in " ".join(one.cmdline())]
            (process if killed == "driver" else painters[0]).send_signal(signal.SIGKILL)
            break
        time.sleep(0.1)
    code = process.wait(900)
    if killed == "driver":
        assert code == -signal.SIGKILL
        code = start("ray", 2, "ray").wait(900)
    assert code == 0
    check_sound(tmp_path / "ray", [str(number) for number in range(12)])
    assert pictures(tmp_path / "ray") == pictures(tmp_path / "local")
