import json

import pytest
import torch

from recsys import pretrained
from recsys.errors import ModelError, ResourceError
from recsys.models.sasrec import SASRec, SASRecConfig

CONFIG = SASRecConfig(7, d=8, max_len=4, layers=1)


@pytest.fixture
def folder(tmp_path):
    return pretrained.save(SASRec(CONFIG), tmp_path / "model")


def test_the_folder_holds_three_files_and_no_pickle(folder):
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors", "run.json"]
    config = json.loads((folder / "config.json").read_text())
    assert config["model"] == "sasrec" and config["config"]["n_items"] == 7


def test_saving_again_replaces(folder):
    torch.manual_seed(1)
    other = SASRec(CONFIG)
    pretrained.save(other, folder)
    loaded = pretrained.load(folder)
    history = torch.tensor([[1, 2]])
    assert torch.equal(loaded.recommend(history, 3).scores, other.recommend(history, 3).scores)


def _edit(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "oracle"}, "oracle.*sasrec"),
        ({"config": {"n_items": 7, "depth": 3}}, "depth"),
        ({"config": {"d": 8}}, "does not describe"),
        ({"config": {"n_items": 7, "dropout": 2}}, "dropout = 2"),
        ({"config": {"n_items": 9, "d": 8, "max_len": 4, "layers": 1}}, "does not fit"),
        ({"config": 3}, "config.json"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(folder, changes, message):
    _edit(folder, **changes)
    with pytest.raises(ModelError, match=message):
        pretrained.load(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_and_damaged_files_are_named(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match=name):
        pretrained.load(folder)
    path.unlink()
    with pytest.raises(ModelError, match=name):
        pretrained.load(folder)


def test_what_cannot_be_saved_is_refused(tmp_path):
    with pytest.raises(ModelError, match="Linear"):
        pretrained.save(torch.nn.Linear(2, 2), tmp_path)  # pyrefly: ignore[bad-argument-type]
    with pytest.raises(ModelError, match="JSON"):
        pretrained.save(SASRec(CONFIG), tmp_path, run={"model": torch.zeros(1)})
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="file"):
        pretrained.save(SASRec(CONFIG), tmp_path / "file")
    assert not list(tmp_path.glob(".saving*"))
