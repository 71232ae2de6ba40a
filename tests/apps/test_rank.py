"""`recommend rank`: everyone into a file, users by list or file, killed and stopped runs, what is refused."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from apps import cli
from apps.commands import rank as command
from recsys import pretrained
from recsys import rank_all as ranking
from tests.cases import cases

N = 40


def write(path: Path, rows) -> str:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("user", "item", "timestamp"), *rows])
    return str(path)


def clicks(users: int = 60, length: int = 6):
    """Users walk along a cycle of 40 items; rows are not sorted by user."""
    return [(f"u{u:04d}", f"i{(7 * u + step) % N}", step) for step in range(length) for u in range(users)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("trained")
    data = write(folder / "clicks.csv", clicks())
    assert cli.main(["recommend", "train", "--model", "markov", "--data", data, "--out", str(folder / "m")]) == 0
    return str(folder / "m")


def run(folder: str, data: str, out: Path | str, *flags: str) -> int:
    return cli.main(["recommend", "rank", "--recommender", folder, "--data", data, "--out", str(out), *flags])


def lists(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in parquet.read_table(path).to_pylist():
        found.setdefault(row["user"], []).append(row["item"])
        assert row["rank"] == len(found[row["user"]])
    return found


def test_everyone_is_ranked_into_a_file(trained, tmp_path, capsys):
    data, out = write(tmp_path / "a.csv", clicks(3000)), tmp_path / "new" / "ranks.parquet"
    assert run(trained, data, out, "--k", "3") == 0
    found = lists(out)
    assert set(found) == {f"u{u:04d}" for u in range(3000)}
    assert all(items[0] == f"i{(7 * int(user[1:]) + 6) % N}" and len(items) == 3 for user, items in found.items())
    assert list(out.parent.iterdir()) == [out]  # nothing is left beside it
    assert f"wrote {out}" in capsys.readouterr().err


def test_the_file_is_the_same_to_the_byte_whatever_the_parts(trained, tmp_path):
    data = write(tmp_path / "a.csv", clicks(2500))
    for name, part in (("a", "1"), ("b", "64"), ("c", "100000")):
        assert run(trained, data, tmp_path / f"{name}.parquet", "--k", "2", "--part", part) == 0
    one, two, three = ((tmp_path / f"{name}.parquet").read_bytes() for name in "abc")
    assert one == two == three


def test_formats_hold_the_same_rows(trained, tmp_path):
    data = write(tmp_path / "a.csv", clicks(20))
    for ending in ("parquet", "csv", "jsonl"):
        assert run(trained, data, tmp_path / f"r.{ending}") == 0
    rows = parquet.read_table(tmp_path / "r.parquet").to_pylist()
    with open(tmp_path / "r.csv", newline="", encoding="utf-8") as stream:
        table = [{**row, "rank": int(row["rank"]), "score": np.float32(row["score"])} for row in csv.DictReader(stream)]
    objects = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert table == rows and len(rows) == 200
    assert [{**row, "score": np.float32(row["score"])} for row in objects] == rows


def test_users_by_list_by_file_and_one_alone(trained, tmp_path, capsys):
    data = write(tmp_path / "a.csv", clicks(30))
    (tmp_path / "users.txt").write_text("\ufeffu0007\n\n u0003\r\nu0007\nghost\n", encoding="utf-8")
    wanted = {"list": ('["u0007", "u0003", "ghost"]', 2), "file": (f"@{tmp_path}/users.txt", 2),
              "path": (f"{tmp_path}/users.txt", 2), "one": ("u0007", 1)}  # fmt: skip
    for name, (users, count) in wanted.items():
        capsys.readouterr()
        assert run(trained, data, tmp_path / f"{name}.parquet", "--users", users) == 0
        assert list(lists(tmp_path / f"{name}.parquet")) == ["u0007", "u0003"][:count]
        assert ("user 'ghost' is not in" in capsys.readouterr().err) == (count == 2)
    assert (tmp_path / "list.parquet").read_bytes() == (tmp_path / "file.parquet").read_bytes()
    assert run(trained, data, tmp_path / "x.csv", "--users", "@nowhere.txt") == 3
    assert "nowhere.txt" in capsys.readouterr().err
    assert run(trained, data, tmp_path / "x.csv", "--users", '["ghost", "spirit"]') == 3
    said = capsys.readouterr().err.splitlines()
    assert any("2 users ('ghost', 'spirit') are not in" in line for line in said) and "no user is left" in said[-1]
    assert not list(tmp_path.glob("x.*"))


def test_without_a_file_the_first_ten_users_are_printed(trained, tmp_path, capsys):
    data = write(tmp_path / "a.csv", clicks(30))
    assert cli.main(["recommend", "rank", "--recommender", trained, "--data", data, "--k", "2"]) == 0
    out, err = capsys.readouterr()
    assert [row["user"] for row in csv.DictReader(out.splitlines())][::2] == [f"u{u:04d}" for u in range(10)]
    assert err == ""


def test_users_of_whom_nothing_is_known_are_named_in_a_file_of_their_own(trained, tmp_path, capsys):
    rows = [*clicks(5), *((f"x{u}", "zebra", u) for u in range(5)), ("u0001", "yak", 9)]
    out = tmp_path / "r.csv"
    assert run(trained, write(tmp_path / "a.csv", rows), out) == 0
    err = capsys.readouterr().err
    assert "2 of 32 items" in err and "'yak'" in err and "5 users (" in err and "r.skipped.txt" in err
    skipped = (tmp_path / "r.skipped.txt").read_text().splitlines()
    assert sorted(skipped) == [f"x{u}" for u in range(5)]
    assert {row["user"] for row in csv.DictReader(out.read_text().splitlines())} == {f"u000{u}" for u in range(5)}
    assert run(trained, write(tmp_path / "b.csv", clicks(5)), out) == 0  # nobody is skipped: the old file goes
    assert not (tmp_path / "r.skipped.txt").exists()


def test_a_catalogue_smaller_than_k_cuts_the_lists_with_a_note(trained, tmp_path, capsys):
    assert run(trained, write(tmp_path / "a.csv", clicks(5)), tmp_path / "r.parquet", "--k", "100") == 0
    assert "k = 100 is cut to 40" in capsys.readouterr().err
    assert all(len(items) == N - 6 for items in lists(tmp_path / "r.parquet").values())  # seen ones are left out


def test_a_named_data_set_is_ranked_into_a_file_too(tmp_path, monkeypatch, capsys):
    from personagen.embedded import EMBEDDED

    monkeypatch.setattr("personagen.styling.sources.TRAINED", 20)
    out = tmp_path / "r.csv"
    assert run(str(EMBEDDED["recommender"]), "atelier", out, "--users", '["3", "0", "x"]', "--k", "2") == 0
    assert "user 'x' is not in atelier" in capsys.readouterr().err
    assert [row["user"] for row in csv.DictReader(out.read_text().splitlines())] == ["3", "3", "0", "0"]


def begin(folder: str, data: str, out: Path, *flags: str) -> subprocess.Popen:
    """Start the command in a process of its own, in which a group takes a moment."""
    code = (
        "import sys, time; from recsys import rank_all as r; from apps import cli; real = r._rank_group\n"
        "r._rank_group = lambda *a, **s: (time.sleep(.15), real(*a, **s))[1]; r.GROUP = 64\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    words = ["recommend", "rank", "--recommender", folder, "--data", data, "--out", str(out), "--k", "3", *flags]
    return subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True)


def wait_for_parts(out: Path, count: int, process: subprocess.Popen) -> None:
    folder = out.with_name(f"{out.name}.unfinished") / "parts"
    for _ in range(1200):
        if folder.is_dir() and len(ranking.parts(folder)) >= count:
            return
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.05)
    raise AssertionError("no parts were written")


@pytest.mark.parametrize("kills", cases([(3,)], slow=[((2, 4, 7),)]))
def test_a_killed_run_goes_on_after_its_last_whole_part(kills, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ranking, "GROUP", 64)
    data, out, whole = write(tmp_path / "a.csv", clicks(1500)), tmp_path / "r.parquet", tmp_path / "whole.parquet"
    assert run(trained, data, whole, "--k", "3") == 0
    for count in kills:
        process = begin(trained, data, out, "--part", "100")
        wait_for_parts(out, count, process)
        process.kill()
        process.communicate()
        assert not out.exists()
    real, calls = ranking._rank_group, []
    monkeypatch.setattr(ranking, "_rank_group", lambda *a, **s: calls.append(a) or real(*a, **s))
    capsys.readouterr()
    assert run(trained, data, out, "--k", "3", "--part", "64") == 0
    assert "going on with the unfinished run" in capsys.readouterr().err
    assert out.read_bytes() == whole.read_bytes() and len(calls) <= 1500 // 64 + 1 - kills[-1] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "r.parquet", "whole.parquet"]


def test_a_signal_saves_what_is_ranked(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ranking, "GROUP", 64)
    data, out = write(tmp_path / "a.csv", clicks(400)), tmp_path / "r.csv"
    real, calls = ranking._rank_group, []

    def interrupted(*inputs, **settings):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*inputs, **settings)

    monkeypatch.setattr(ranking, "_rank_group", interrupted)
    assert run(trained, data, out) == 143
    assert "goes on from there" in capsys.readouterr().err and not out.exists()
    assert run(trained, data, out) == 0
    assert len(calls) == 7  # 400 users in groups of 64: none was ranked twice


def unfinished(trained: str, data: str, out: Path, monkeypatch) -> None:
    """Leave a run that failed when its second group was ranked."""
    real, calls = ranking._rank_group, []

    def failing(*inputs, **settings):
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError
        return real(*inputs, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(ranking, "_rank_group", failing)
        patch.setattr(ranking, "GROUP", 8)
        assert run(trained, data, out, "--k", "3", "--part", "8") == 5
    assert ranking.parts(out.with_name(f"{out.name}.unfinished") / "parts")


def test_another_model_or_other_data_are_noticed(trained, tmp_path, monkeypatch, capsys):
    data, out = write(tmp_path / "a.csv", clicks(30)), tmp_path / "r.csv"
    unfinished(trained, data, out, monkeypatch)
    other = pretrained.load(trained)
    other.prior[1] += 1  # pyrefly: ignore[missing-attribute]
    pretrained.save(other, tmp_path / "other", items=pretrained.load_vocabulary(trained))
    changed = write(tmp_path / "b.csv", clicks(29))
    capsys.readouterr()
    for folder, file, flags, says in (
        (str(tmp_path / "other"), data, (), "another recommender"),
        (trained, changed, (), "another data"),
        (trained, data, ("--k", "4"), "another k"),
        (trained, data, ("--seed", "1"), "another seed"),
        (trained, data, ("--users", '["u0001"]'), "another users"),
    ):
        assert run(folder, file, out, "--k", "3", *flags) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and says in error and "--restart true" in error
    assert not out.exists()
    assert run(trained, changed, out, "--k", "3", "--restart", "true") == 0
    assert len(out.read_text().splitlines()) == 1 + 29 * 3


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(trained, tmp_path, capsys):
    """The process may not write files of more than 64 kB: the lists do not fit, the histories and parts do."""
    data, out = write(tmp_path / "a.csv", clicks(1500)), tmp_path / "r.csv"
    code = (
        "import resource, sys; from apps import cli; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    words = ["recommend", "rank", "--recommender", trained, "--data", data, "--out", str(out), "--part", "500"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 5 and "cannot write" in last and "free disk space" in last, done.stderr
    assert not out.exists() and not list(tmp_path.glob(".*"))
    assert run(trained, data, out) == 0
    assert "going on" in capsys.readouterr().err and len(out.read_text().splitlines()) == 15_001


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (["--out", "r.xlsx"], 2, ".xlsx"),
        (["--k", "0"], 2, "k = 0"),
        (["--part", "0"], 2, "part = 0"),
        (["--data", "none.csv"], 3, "none.csv"),
        (["--recommender", "none"], 4, "none"),
        (["--out", "a.csv/r.csv"], 5, "a.csv"),
        (["--out", "folder.csv"], 2, "is a folder"),
    ],
)
def test_what_is_wrong_is_one_line_before_any_work(flags, code, says, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.csv", clicks(5))
    (tmp_path / "folder.csv").mkdir()
    given = {"--recommender": trained, "--data": "a.csv", "--out": "r.csv"} | dict(zip(flags[::2], flags[1::2]))
    assert cli.main(["recommend", "rank", *(word for pair in given.items() for word in pair)]) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and says in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "folder.csv"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_users(trained, tmp_path):
    """Ten times as many users need not ten times the memory: what is held is bounded (a miniature of the benchmark)."""
    peaks = []
    for users in (5_000, 50_000):
        data = write(tmp_path / f"{users}.csv", clicks(users, length=4))
        code = (
            "import sys; from apps import cli; from recsys.data import histories as h\n"
            "h.ROWS = 1 << 13; h.group.__kwdefaults__['rows'] = 1 << 13; assert cli.main(sys.argv[1:]) == 0\n"
            "from tests.peak import peak_kib; print(peak_kib())"
        )
        words = ["recommend", "rank", "--recommender", trained, "--data", data, "--k", "2",
                 "--out", str(tmp_path / f"{users}.parquet")]  # fmt: skip
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.1 * peaks[0], peaks


def test_only_ten_users_are_looked_for(trained, tmp_path):
    batches = iter([command.pa.record_batch({"user": [f"u{u}" for u in range(low, low + 6)]}) for low in (0, 3, 6)])
    assert command._first_users(batches, 7) == [f"u{u}" for u in range(7)]
    assert len(list(batches)) == 1


@pytest.mark.parametrize("kind", ["s3", "gs"])
def test_a_ranking_reads_from_a_store_and_writes_to_one(trained, tmp_path, request, monkeypatch, kind):
    from apps.batch.places import Place

    options = request.getfixturevalue(f"{kind}_store")
    root = "s3://shop" if kind == "s3" else "gs://anonymous@shop"
    data, place = write(tmp_path / "a.csv", [*clicks(30), ("stranger", "unknown", 0)]), Place(f"{root}/in{options}")
    place.send("clicks.csv", Path(data))
    place.put("users.txt", b"u0007\nu0003\nstranger\n")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    given = {"data": f"{root}/in/clicks.csv{options}", "users": f"{root}/in/users.txt{options}"}
    assert run(trained, given["data"], f"{root}/out/ranks.parquet{options}", "--users", given["users"], "--k", "3") == 0
    assert not list(here.iterdir())
    out = Place(f"{root}/out{options}")
    assert out.names("") == ["ranks.parquet", "ranks.skipped.txt"]
    assert run(trained, data, tmp_path / "ranks.parquet", "--users", '["u0007", "u0003", "stranger"]', "--k", "3") == 0
    out.fetch("ranks.parquet", tmp_path / "fetched.parquet")
    assert (tmp_path / "fetched.parquet").read_bytes() == (tmp_path / "ranks.parquet").read_bytes()
    assert out.get("ranks.skipped.txt") == b"stranger\n"


def test_what_a_store_lacks_is_told_and_a_file_that_it_refuses_is_sent_later(
    trained, tmp_path, s3_store, monkeypatch, capsys
):
    from apps.batch.places import Place
    from recsys.errors import ResourceError

    data, refused = write(tmp_path / "a.csv", clicks(30)), []
    monkeypatch.chdir(tmp_path)
    assert run(trained, f"s3://shop/none.csv{s3_store}", tmp_path / "r.csv") == 3
    assert "there is no s3://shop/none.csv" in capsys.readouterr().err
    assert run(trained, data, f"s3://nowhere/r.csv{s3_store}") in (3, 5)
    send = Place.send

    def fail(self, name, path):
        refused.append(name)
        raise ResourceError("the store refuses")

    monkeypatch.setattr(Place, "send", fail)
    assert run(trained, data, f"s3://shop/r.csv{s3_store}") == 5 and refused == ["r.csv"]
    monkeypatch.setattr(Place, "send", send)
    capsys.readouterr()
    assert run(trained, data, f"s3://shop/r.csv{s3_store}") == 0
    assert "going on" in capsys.readouterr().err and "r.csv" in Place(f"s3://shop{s3_store}").names("")
