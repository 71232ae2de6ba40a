"""Everyone is ranked in groups and parts: the same lists whatever the parts, and a stopped run goes on."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from recsys import rank_all as module
from recsys.data.histories import Everyone, Grouped, group, load_shard
from recsys.data.vocabulary import Vocabulary
from recsys.errors import ConfigError, ResourceError
from recsys.models import DreamRec, DreamRecConfig, SASRec, SASRecConfig
from recsys.rank_all import claimed, parts, rank_all
from recsys.ranks import check_format, write_ranks, write_skipped

N = 30
ITEMS = Vocabulary.numbered(N)
NAMES = ["", *(f"i{item}" for item in range(1, N + 1))]


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    monkeypatch.setattr(module, "GROUP", 8)


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    return {
        "sasrec": SASRec(SASRecConfig(N, d=16, max_len=8, layers=1)).eval(),
        "noisy": DreamRec(
            DreamRecConfig(N, d=16, max_len=8, layers=1, T=12, sample_steps=4, steps=3, draws=2, eta=1.0)
        ).eval(),
    }


@pytest.fixture
def grouped(tmp_path) -> Grouped:
    """150 users of 1 to 12 items, one with all items and one with only unknown ones, in four shards or more."""
    rng = np.random.default_rng(0)
    rows = [(f"u{user}", str(item)) for user in range(150) for item in rng.integers(1, N + 1, size=rng.integers(1, 13))]
    rows += [("all", str(item)) for item in range(1, N + 1)] + [("none", "zebra"), ("none", "yak")]
    order = rng.permutation(len(rows))
    users, items = zip(*(rows[row] for row in order), strict=True)
    batch = pa.record_batch({"user": users, "item": items, "time": range(len(rows))})
    return group([batch], tmp_path / "histories", items=ITEMS, users=Everyone(), rows=250)


def ranked(model, grouped, folder: Path, *, part: int, k: int = 5, seed: int = 0, stop: int | None = None) -> bytes:
    steps = rank_all(model, grouped, folder, k=k, users=Everyone(), seed=seed, part=part)
    seen = []
    for done in steps:
        seen.append(done)
        if stop is not None and done >= stop:
            steps.close()
            break
    assert seen == sorted(seen) and (stop is not None or seen[-1] == grouped.users == 152)
    return written(folder, ".csv")


def written(folder: Path, format: str) -> bytes:
    path = folder.parent / f"ranks{format}"
    with open(path, "wb") as stream:
        list(write_ranks(parts(folder), stream, names=NAMES, format=format))
    return path.read_bytes()


@pytest.mark.parametrize("name", ["sasrec", "noisy"])
def test_lists_do_not_depend_on_the_size_of_the_parts(name, models, grouped, tmp_path):
    assert len(grouped.shards) > 3
    whole = ranked(models[name], grouped, tmp_path / "64", part=64)
    for part in (1, 7, 10**6):
        assert ranked(models[name], grouped, tmp_path / str(part), part=part) == whole
    assert len(parts(tmp_path / "1")) > 15 and len(parts(tmp_path / "1000000")) == len(grouped.shards)
    assert (ranked(models[name], grouped, tmp_path / "seed", part=64, seed=1) == whole) == (name == "sasrec")


@pytest.mark.parametrize("name", ["sasrec", "noisy"])
def test_a_list_is_that_of_the_user_alone(name, models, grouped, tmp_path):
    """One user at a time gives the same items as in a group; scores may differ in the last digits."""
    found = dict[str, list[str]]()
    for line in ranked(models[name], grouped, tmp_path / "p", part=64).decode().splitlines()[1:]:
        user, rank, item, _ = line.split(",")
        found.setdefault(user, []).append(item)
        assert int(rank) == len(found[user])
    for number in range(len(grouped.shards)):
        histories = load_shard(grouped, number, users=Everyone())
        for row, user in enumerate(histories.users.to_pylist()):
            if user != "none":
                generator = torch.Generator().manual_seed(0)
                alone = models[name].recommend(histories.padded(np.array([row])), 5, generator=generator).items[0]
                assert [NAMES[item] for item in alone.tolist() if item] == found.get(user, [])
    assert set(found) == {f"u{user}" for user in range(150)}  # "all" has nothing left, "none" has no history


@pytest.mark.parametrize("stops", [[0], [40, 41, 100], [151]])
def test_a_stopped_run_goes_on_with_any_size_of_parts(stops, models, grouped, tmp_path):
    whole = ranked(models["noisy"], grouped, tmp_path / "whole", part=64)
    for number, stop in enumerate(stops):
        ranked(models["noisy"], grouped, tmp_path / "p", part=(1000, 20, 3)[number], stop=stop)
        assert len(parts(tmp_path / "p")) > 0 or stop == 0
    calls = []

    class Counting:
        n_items = N

        def recommend(self, history, k, **settings):
            calls.append(len(history))
            return models["noisy"].recommend(history, k, **settings)

    assert ranked(Counting(), grouped, tmp_path / "p", part=64) == whole
    assert sum(calls) <= 152 - max(stops)  # nobody is ranked twice


def test_a_part_that_was_not_finished_is_made_again(models, grouped, tmp_path):
    whole = ranked(models["sasrec"], grouped, tmp_path / "p", part=8)
    middle = parts(tmp_path / "p")[1]
    middle.rename(middle.with_name(f".{middle.name}.tmp"))
    assert ranked(models["sasrec"], grouped, tmp_path / "p", part=8) == whole


def test_users_without_a_list_are_named(models, grouped, tmp_path):
    ranked(models["sasrec"], grouped, tmp_path / "p", part=8)
    with open(tmp_path / "skipped.txt", "wb") as stream:
        assert write_skipped(parts(tmp_path / "p"), stream) == 1
    assert (tmp_path / "skipped.txt").read_text() == "none\n"


def test_histories_that_are_long_or_scores_that_are_many_are_asked_for_in_pieces(
    models, grouped, tmp_path, monkeypatch
):
    shapes = []

    class Watched:
        n_items = N

        def recommend(self, history, k, **settings):
            shapes.append(tuple(history.shape))
            return models["sasrec"].recommend(history, k, **settings)

    items = [line.rsplit(b",", 1)[0] for line in ranked(Watched(), grouped, tmp_path / "a", part=64).splitlines()]
    assert max(users for users, _ in shapes) == 8
    shapes.clear()
    monkeypatch.setattr(module, "CELLS", 20)
    monkeypatch.setattr(module, "SCORES", 4 * (N + 1))
    found = ranked(Watched(), grouped, tmp_path / "b", part=64).splitlines()
    assert [line.rsplit(b",", 1)[0] for line in found] == items
    assert max(users for users, _ in shapes) == 4 and all(b * length <= 20 or b == 1 for b, length in shapes)


def test_a_folder_is_for_one_run_at_a_time_and_for_its_settings(models, grouped, tmp_path):
    work = tmp_path / "work"
    with claimed(work, {"model": "a", "k": 3}) as goes_on:
        assert not goes_on
        with pytest.raises(ResourceError, match="another process"), claimed(work, {"model": "a", "k": 3}):
            pass
        again = group(
            [pa.record_batch({"user": ["a"], "item": ["1"], "time": [1]})], work / "histories", items=ITEMS,
            users=Everyone(),
        )  # fmt: skip
        again.save()
        ranked_so_far = rank_all(models["sasrec"], again, work / "parts", k=3, users=Everyone())
        assert list(ranked_so_far) == [0, 1]
    with claimed(work, {"model": "a", "k": 3}) as goes_on:
        assert goes_on and parts(work / "parts")
    with pytest.raises(ConfigError, match="another model; start over"), claimed(work, {"model": "b", "k": 3}):
        pass
    assert parts(work / "parts")
    with claimed(work, {"model": "b", "k": 3}, restart=True) as goes_on:
        assert not goes_on and not (work / "parts").exists()


def test_a_run_that_fails_before_anything_is_finished_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="bad file"), claimed(tmp_path / "work", {"k": 3}):
        raise ValueError("bad file")
    assert not (tmp_path / "work").exists()


def test_a_full_disk_leaves_whole_parts_and_says_so(models, grouped, tmp_path, monkeypatch):
    real, count = pa.ipc.new_file, []

    def full(*inputs, **settings):
        count.append(1)
        if len(count) == 3:
            raise OSError(28, "No space left on device")
        return real(*inputs, **settings)

    monkeypatch.setattr(pa.ipc, "new_file", full)
    with pytest.raises(ResourceError, match=r"No space left.*the same command goes on"):
        ranked(models["sasrec"], grouped, tmp_path / "p", part=8)
    assert len(parts(tmp_path / "p")) == 2 == len(list((tmp_path / "p").iterdir()))
    resumed = ranked(models["sasrec"], grouped, tmp_path / "p", part=8)
    assert resumed == ranked(models["sasrec"], grouped, tmp_path / "q", part=8)


def test_other_settings_are_refused(models, grouped, tmp_path):
    with pytest.raises(ConfigError, match="part = 0"):
        ranked(models["sasrec"], grouped, tmp_path / "p", part=0)
    with pytest.raises(ConfigError, match=r"'\.xlsx'.*\.parquet"):
        check_format("ranks.xlsx")
