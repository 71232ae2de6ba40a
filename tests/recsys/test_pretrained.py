import json
import os

import huggingface_hub
import pytest
import torch

from recsys import pretrained
from recsys.data.vocabulary import Vocabulary
from recsys.errors import ModelError, ResourceError
from recsys.models import ENHANCERS, MODELS
from recsys.models.dreamrec import DreamRec
from recsys.models.sasrec import SASRec, SASRecConfig
from recsys.saved import Pretrained, name_of

CONFIG = SASRecConfig(7, d=8, max_len=4, layers=1)


@pytest.fixture
def folder(tmp_path):
    return pretrained.save(SASRec(CONFIG), tmp_path / "model")


def test_the_folder_holds_five_files_and_no_pickle(folder):
    names = sorted(p.name for p in folder.iterdir())
    assert names == ["README.md", "config.json", "items.json", "model.safetensors", "run.json"]
    config = json.loads((folder / "config.json").read_text())
    assert config["model"] == "sasrec" and config["config"]["n_items"] == 7


def test_saving_again_replaces(folder):
    torch.manual_seed(1)
    other = SASRec(CONFIG)
    pretrained.save(other, folder)
    loaded = pretrained.load(folder)
    history = torch.tensor([[1, 2]])
    assert torch.equal(loaded.recommend(history, 3).scores, other.recommend(history, 3).scores)


@pytest.mark.parametrize("moment", range(8))
def test_saving_over_another_model_never_leaves_parts_of_two(folder, monkeypatch, moment):
    """Whatever ends the process between two files, the folder holds the old model, the new one, or none."""
    torch.manual_seed(1)
    other, calls = SASRec(SASRecConfig(7, d=4, max_len=4, layers=1)), []
    names = Vocabulary(("", *(f"other{i}" for i in range(7))))
    for name in ("replace", "unlink"):
        real = getattr(os, name)

        def dies(*args, real=real, **named):
            calls.append(args)
            if len(calls) == moment + 1:
                raise KeyboardInterrupt
            return real(*args, **named)

        monkeypatch.setattr(os, name, dies)
    try:
        pretrained.save(other, folder, items=names)
    except KeyboardInterrupt:
        monkeypatch.undo()
        try:
            kept = pretrained.load(folder)
        except ModelError as error:
            assert "config.json" in str(error)
        else:
            new = pretrained.load_vocabulary(folder) == names
            assert kept.config.d == (4 if new else 8)  # type: ignore[attr-defined]
    monkeypatch.undo()
    assert pretrained.load_vocabulary(pretrained.save(other, folder, items=names)) == names
    assert not list(folder.glob(".*")) and (folder / "model.safetensors").stat().st_mode & 0o044 == 0o044


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


@pytest.mark.parametrize("name", ["config.json", "items.json", "model.safetensors"])
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


def test_items_keep_their_names(tmp_path):
    items = Vocabulary(("", "007", "7", 'ä\n"b', "a,b", "null", "\u2028", "0"))
    folder = pretrained.save(SASRec(CONFIG), tmp_path, items=items)
    assert pretrained.load_vocabulary(folder) == items
    pretrained.save(SASRec(CONFIG), tmp_path)
    assert pretrained.load_vocabulary(folder) == Vocabulary.numbered(7)  # who gives no names has numbers
    with pytest.raises(ModelError, match="6 items.*7"):
        pretrained.save(SASRec(CONFIG), tmp_path, items=Vocabulary.numbered(6))


@pytest.mark.parametrize("text", ['["1", "1"]', '{"a": 1}', '["1", "2", "3", "4", "5", "6", 7]', '["1"', "\x00", "3"])
def test_an_items_file_that_does_not_fit_is_refused(folder, text):
    (folder / "items.json").write_text(text)
    for load in (pretrained.load, pretrained.load_vocabulary):
        with pytest.raises(ModelError, match="items.json") as error:
            load(folder)
        assert "\n" not in str(error.value)


def test_an_items_file_of_another_model_is_refused(folder):
    (folder / "items.json").write_text('["1", "2"]')
    with pytest.raises(ModelError, match="2 items.*7"):
        pretrained.load(folder)


def test_a_folder_of_before_names_the_remedy(folder):
    (folder / "items.json").unlink()
    with pytest.raises(ModelError, match=r"items\.json.*train it again"):
        pretrained.load(folder)


def test_the_fingerprint_covers_the_names(folder, tmp_path):
    first = pretrained.fingerprint(folder)
    assert pretrained.fingerprint(folder) == first
    pretrained.save(pretrained.load(folder), tmp_path / "same", run={"seed": 3})
    assert pretrained.fingerprint(tmp_path / "same") == first
    pretrained.save(pretrained.load(folder), tmp_path / "same", items=Vocabulary(("", *"abcdefg")))
    assert pretrained.fingerprint(tmp_path / "same") != first


def test_a_model_reads_and_writes_itself_and_keeps_its_items_names(folder, tmp_path):
    items = Vocabulary(("", *"abcdefg"))
    SASRec(CONFIG).save_pretrained(tmp_path / "named", items=items, run={"seed": 1})
    loaded = SASRec.from_pretrained(tmp_path / "named")
    assert loaded.vocabulary == items and not loaded.training
    again = loaded.save_pretrained(str(tmp_path / "again"))
    assert pretrained.fingerprint(again) == pretrained.fingerprint(tmp_path / "named")
    assert pretrained.fingerprint(pretrained.save(pretrained.load(again), tmp_path / "plain")) == (
        pretrained.fingerprint(again)
    )


def test_every_model_goes_by_its_class_in_the_folder():
    for name, (cls, config) in (MODELS | ENHANCERS).items():
        assert issubclass(cls, Pretrained) and name_of(cls) == name
        assert config.__name__ == f"{cls.__name__}Config"


def test_another_class_and_a_damaged_folder_are_refused(folder):
    with pytest.raises(ModelError, match="'sasrec'; allowed are dreamrec"):
        DreamRec.from_pretrained(folder)
    (folder / "items.json").unlink()
    with pytest.raises(ModelError, match="items.json"):
        SASRec.from_pretrained(folder)


def test_nothing_is_fetched_unless_asked_for(folder, monkeypatch):
    asked = {}

    def fetch(name, **settings):
        asked.update(settings, name=name)
        if settings["local_files_only"]:
            raise FileNotFoundError(name)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    with pytest.raises(ModelError, match="owner/shop .*local_files_only=False"):
        SASRec.from_pretrained("owner/shop")
    assert asked["local_files_only"]
    assert SASRec.from_pretrained("owner/shop", local_files_only=False, revision="v2").n_items == 7
    assert asked["name"] == "owner/shop" and asked["revision"] == "v2"
    assert not any("pickle" in pattern or pattern.endswith(".bin") for pattern in asked["allow_patterns"])


def test_the_card_has_a_head_and_no_path(tmp_path):
    run = {
        "command": {"data": str(tmp_path / "clicks.csv")},
        "validation": {"ndcg@10": 0.25},
        "versions": {"torch": "2"},
    }
    folder = pretrained.save(SASRec(CONFIG), tmp_path / "shop", run=run)
    card = huggingface_hub.ModelCard.load(folder / "README.md")
    head = card.data.to_dict()
    assert head["library_name"] == "personagen" and "sasrec" in head["tags"] and head["license"] == "other"
    assert "| ndcg@10 | 0.25 |" in card.text and "torch 2" in card.text
    assert str(tmp_path) not in card.content
