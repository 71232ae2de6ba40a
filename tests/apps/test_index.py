"""`recommend index`, and ranking through it: the lists of everyone, and those of the server."""

import csv
import json

import numpy as np
import pytest

from apps import cli
from apps.commands import index as command
from apps.commands.index import with_index
from recsys import index, pretrained
from recsys.data.vocabulary import Vocabulary
from recsys.index import Indexed
from recsys.models.sasrec import SASRec, SASRecConfig

pytest.importorskip("usearch", reason="the index needs usearch: pip install 'personagen[scale]'")
N = 200


@pytest.fixture
def shop(tmp_path):
    """A recommender of 200 items, and the clicks of thirty users."""
    folder, data = tmp_path / "model", tmp_path / "clicks.csv"
    names = Vocabulary(("", *(f"i{item}" for item in range(N))))
    pretrained.save(SASRec(SASRecConfig(N, d=16, layers=1)).eval(), folder, items=names)
    rng = np.random.default_rng(0)
    with data.open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [("user", "item", "timestamp")]
            + [(f"u{user}", f"i{rng.integers(N)}", step) for user in range(30) for step in range(6)]
        )
    return folder, data


def _rank(folder, data, out, *flags):
    words = ["recommend", "rank", "--recommender", str(folder), "--data", str(data), "--out", str(out), *flags]
    assert cli.main(words) == 0
    with out.open(newline="") as stream:
        return [(row["user"], row["item"]) for row in csv.DictReader(stream)]


def test_lists_through_an_index_are_those_of_all_items_and_exact_passes_it_by(shop, tmp_path, monkeypatch, capsys):
    folder, data = shop
    before = _rank(folder, data, tmp_path / "before.csv")
    assert cli.main(["recommend", "index", "--recommender", str(folder)]) == 0
    assert "indexed 200 items" in capsys.readouterr().out
    asked = []
    found = index.Index.nearest
    monkeypatch.setattr(index.Index, "nearest", lambda *given: asked.append(1) or found(*given))
    through = _rank(folder, data, tmp_path / "through.csv")
    assert through == before and asked
    asked.clear()
    assert _rank(folder, data, tmp_path / "exact.csv", "--exact", "true") == before and not asked


def test_a_large_catalogue_without_an_index_is_told_of_and_one_that_is_saved_gets_one(shop, monkeypatch, capsys):
    folder, _ = shop
    model = pretrained.load(folder)
    monkeypatch.setattr(command, "LARGE", N)
    assert with_index(model, str(folder)) is model
    assert f"personagen recommend index --recommender {folder}" in capsys.readouterr().err
    assert command.indexed(model, least=N + 1) is model and not command.save_index(model, str(folder))
    assert command.save_index(command.indexed(model, least=N), str(folder))
    assert isinstance(with_index(model, str(folder)), Indexed)
    monkeypatch.setattr(command, "installed", lambda: False)
    assert with_index(model, str(folder)) is model
    assert "pip install 'personagen[scale]'" in capsys.readouterr().err


def test_a_large_catalogue_is_measured_as_it_is_ranked(shop, tmp_path, monkeypatch, capsys):
    """What training, `evaluate` and `compare` measure goes through the index, too; `--exact` scores every item."""
    _, data = shop
    folder, asked, found = str(tmp_path / "large"), [], index.Index.nearest
    monkeypatch.setattr(command.indexed, "__kwdefaults__", {"least": 100})
    monkeypatch.setattr(index.Index, "nearest", lambda *given: asked.append(1) or found(*given))
    monkeypatch.setattr(index, "DEPTH", N)  # the union is the catalogue, so figures must be equal
    train = ["recommend", "train", "--model", "sasrec", "--data", str(data), "--out", folder, "--train.epochs", "1"]
    assert cli.main([*train, "--settings.d", "16"]) == 0 and asked
    kept = json.loads((tmp_path / "large" / "run.json").read_text())["validation"]

    def figures(*words):
        asked.clear()
        assert (
            cli.main(["recommend", *words, "--data", str(data), "--part", "valid", "--out", str(tmp_path / "f")]) == 0
        )
        return json.loads((tmp_path / "f").read_text())

    words = ["evaluate", "--recommender", folder]
    through = figures(*words)
    assert asked and through["index"] and through["metrics"] == kept
    exact = figures(*words, "--exact", "true")
    assert not asked and not exact["index"] and exact["metrics"] == pytest.approx(kept)
    figures("compare", "--first", folder, "--second", folder)
    assert asked
    figures("compare", "--first", folder, "--second", folder, "--exact", "true")
    assert not asked


def test_what_ranks_without_vectors_is_refused(tmp_path, capsys):
    from recsys.models.popularity import Popularity, PopularityConfig

    pretrained.save(Popularity(PopularityConfig(9)).fit([np.array([1, 2])]), tmp_path / "m")
    assert cli.main(["recommend", "index", "--recommender", str(tmp_path / "m")]) == 2
    assert "through no index" in capsys.readouterr().err


def test_the_server_ranks_through_the_index(shop):
    from apps.commands.config import ServeConfig
    from apps.serve.shop import open_shop

    folder, _ = shop
    settings = ServeConfig(recommender=str(folder), device="cpu")
    assert cli.main(["recommend", "index", "--recommender", str(folder)]) == 0
    shops = [open_shop(settings, settings.compute(), folder / "subjects") for settings in
             (settings, ServeConfig(recommender=str(folder), device="cpu", exact=True))]  # fmt: skip
    assert [isinstance(found.recommender, Indexed) for found in shops] == [True, False]
