"""Subjects of many: who is learnt, who not and why, and that nothing is done twice."""

from pathlib import Path

import pytest
from pyarrow import parquet

from apps.batch import subjects
from apps.batch.subjects import learn, read_tasks, train_many
from apps.commands.subject_config import TrainManyConfig
from recsys.errors import ConfigError, DataError, ResourceError


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    (tmp_path / "coat").mkdir()
    rows = ["user,pictures,name,preset,consent", "anna,coat,coat,garment,", "ben,coat,person,person,",
            "eva/x,coat,person,person,true"]  # fmt: skip
    (tmp_path / "people.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path / "people.csv"


@pytest.fixture
def trained(monkeypatch) -> list:
    """Stand in for the training, which others test: one step, then the record that is written last."""
    calls = []

    def train(config):
        calls.append(config)
        yield None
        Path(config.output_dir).mkdir(parents=True)
        (Path(config.output_dir) / "run.json").write_text("{}")

    monkeypatch.setattr(subjects, "train_subject", train)
    return calls


def summary(out: Path) -> dict[str, tuple[str, str | None]]:
    rows = parquet.read_table(out / "subjects.parquet").to_pylist()
    return {row["user"]: (row["state"], row["reason"]) for row in rows}


def test_everybody_is_learnt_once_and_failures_say_why(mapping, trained, tmp_path):
    settings = TrainManyConfig(str(mapping), out=str(tmp_path / "out"))
    assert train_many(settings) == 0
    found = summary(tmp_path / "out")
    assert found["anna"] == found["eva/x"] == ("learnt", None)
    assert found["ben"][0] == "failed" and "consent" in str(found["ben"][1])
    assert [Path(config.output_dir).name for config in trained] == ["anna", "eva%2Fx"]
    train_many(settings)
    assert summary(tmp_path / "out")["anna"] == ("there before", None) and len(trained) == 2
    assert (tmp_path / "out").stat().st_mode & 0o077 == 0


def test_what_was_begun_goes_on_from_its_checkpoint(mapping, trained, tmp_path):
    task, *_ = read_tasks(TrainManyConfig(str(mapping), out=str(tmp_path / "out")))
    learn(task)
    (tmp_path / "out/anna/run.json").unlink()
    (tmp_path / "out/anna/checkpoints/step-1").mkdir(parents=True)
    with pytest.raises(FileExistsError):
        learn(task)
    assert [config.resume_from_checkpoint for config in trained] == ["latest", "latest"]  # and the record is the same


def test_a_full_disk_ends_it_and_the_summary_stays(mapping, trained, tmp_path, monkeypatch):
    def full(config):
        raise ResourceError("no space left on device")
        yield

    monkeypatch.setattr(subjects, "train_subject", full)
    with pytest.raises(ResourceError):
        train_many(TrainManyConfig(str(mapping), out=str(tmp_path / "out")))
    assert summary(tmp_path / "out") == {}


def test_a_task_is_tried_again(mapping, trained, tmp_path, monkeypatch):
    train, left = subjects.train_subject, [2]

    def failing(config):
        left[0] -= 1
        if left[0] >= 0:
            raise RuntimeError("the driver of the device hung up")
        yield from train(config)

    monkeypatch.setattr(subjects, "train_subject", failing)
    train_many(TrainManyConfig(str(mapping), out=str(tmp_path / "out")))
    assert summary(tmp_path / "out")["anna"] == ("learnt", None)
    left[0] = 99
    train_many(TrainManyConfig(str(mapping), out=str(tmp_path / "other")))
    assert summary(tmp_path / "other")["anna"] == ("failed", "RuntimeError: the driver of the device hung up")


@pytest.mark.parametrize("text", ["user,pictures\na,b\n", "user,pictures,name\n", "user,pictures,name\na,b,c\na,b,c\n"])
def test_mappings_that_cannot_be_are_refused(text, tmp_path):
    (tmp_path / "people.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"people\.csv"):
        read_tasks(TrainManyConfig(str(tmp_path / "people.csv")))


def test_local_is_one_worker(mapping):
    with pytest.raises(ConfigError, match="local with one"):
        train_many(TrainManyConfig(str(mapping), workers=2))


@pytest.mark.slow
def test_ray_gives_a_task_again_whose_worker_dies(tmp_path):
    pytest.importorskip("ray", reason="ray is not installed: pip install 'personagen[scale]'")
    from apps.batch import onray

    def work(number: int) -> int:
        import os

        begun = tmp_path / str(number)
        if number == 1 and not begun.exists():
            begun.touch()
            os._exit(9)
        if number == 2:
            os._exit(9)
        return number

    with onray.cluster(None, cpus=1, gpus=0):
        found = set(onray.each(work, list(range(4)), cpus=0.5, gpus=0, most=2, tries=2,
                               lost=lambda task, error: f"lost {task}"))  # fmt: skip
    assert found == {0, 1, "lost 2", 3}
