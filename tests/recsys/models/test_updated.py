"""Counts that are added to are those of counting anew: with users and items that are new, and rows that come late."""

from typing import Any

import numpy as np
import pytest
import torch

from recsys import pretrained
from recsys.data.changes import Change
from recsys.data.splits import training_part
from recsys.errors import ModelError
from recsys.models import Ease, EaseConfig, Markov, MarkovConfig, Popularity, PopularityConfig

OLD, NEW = 30, 36  # items known before, and after
USERS = 60


def histories(seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Whole histories before and after: some stay, some go on, some are new, one gets a row in between, one repeats."""
    rng = np.random.default_rng(seed)
    before = [rng.integers(1, OLD + 1, size=length) for length in rng.integers(1, 20, size=USERS)]
    after = [
        np.append(one, rng.integers(1, NEW + 1, size=rng.integers(0, 5) * (u % 3 > 0))) for u, one in enumerate(before)
    ]
    after[7] = np.insert(before[7], 0, NEW)  # a row that comes late
    before[8], after[8] = np.array([3, 5]), np.array([3, 5, 9])  # two items train, of three only one does
    before[9], after[9] = np.array([], int), np.array([4])
    fresh = [rng.integers(1, NEW + 1, size=length) for length in (1, 2, 6, 30)]
    return [*before, *(np.array([], int) for _ in fresh)], [*after, *fresh]


def parts(lists: list[np.ndarray]) -> list[np.ndarray]:
    return [training_part(one) for one in lists]


def both(model: str, *, only_those_that_changed: bool, tmp_path=None):
    """A model that was counted on the past and updated, and one that was counted anew."""
    families: dict[str, tuple[Any, Any]] = {
        "popularity": (Popularity, lambda n: PopularityConfig(n)),
        "markov": (Markov, lambda n: MarkovConfig(n, window=4)),
        "long": (Markov, lambda n: MarkovConfig(n, window=50, decay=0.9, degree_power=1.0)),
        "ease": (Ease, lambda n: EaseConfig(n, ridge=3.0)),
    }
    cls, config = families[model]
    before, after = histories()
    old: Any = cls(config(OLD)).fit(parts(before))
    if tmp_path is not None:
        pretrained.save(old, tmp_path / "m")
        loaded: Any = pretrained.load(tmp_path / "m")
        loaded.tally = pretrained.load_tally(tmp_path / "m")
        old = loaded
    pairs = [
        (one, other)
        for one, other in zip(before, after, strict=True)
        if not only_those_that_changed or len(one) != len(other)
    ]
    change = Change([training_part(one) for one, _ in pairs], [training_part(other) for _, other in pairs])
    return old.updated(change, NEW), cls(config(NEW)).fit(parts(after))


@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize("model", ["popularity", "markov", "long", "ease"])
def test_counts_are_those_of_counting_anew(model, some):
    updated, anew = both(model, only_those_that_changed=some)
    assert updated.n_items == anew.n_items == NEW and updated.config == anew.config
    for found, wanted in ((updated.state_dict(), anew.state_dict()), (updated.tally, anew.tally)):
        assert found.keys() == wanted.keys()
        for name in found:
            assert found[name].dtype == wanted[name].dtype and found[name].shape == wanted[name].shape
            if found[name].dtype == torch.float64:
                assert (found[name] - wanted[name]).abs().max() <= 1e-12
            elif name == "weights":  # of the totals, rounded to float32
                assert torch.allclose(found[name], wanted[name], rtol=2e-7, atol=0)
            else:
                assert torch.equal(found[name], wanted[name])


@pytest.mark.parametrize("model", ["popularity", "markov", "ease"])
def test_a_saved_model_is_updated_and_saved_again(model, tmp_path):
    updated, anew = both(model, only_those_that_changed=True, tmp_path=tmp_path)
    history = torch.tensor([[0, 0, 3], [5, NEW, 1]])
    assert torch.equal(updated.recommend(history, 5).items, anew.recommend(history, 5).items)
    again = pretrained.load(pretrained.save(updated, tmp_path / "again"))
    assert torch.equal(again.recommend(history, 5).scores, updated.recommend(history, 5).scores)
    assert pretrained.load_tally(tmp_path / "again").keys() == updated.tally.keys()


def test_rows_that_nobody_touched_stay_to_the_bit():
    before = [np.array([1, 2, 3, 4]), np.array([5, 6, 7, 8])]
    old = Markov(MarkovConfig(10)).fit(before)
    new = old.updated(Change([np.array([5, 6, 7, 8])], [np.array([5, 6, 7, 8, 9])]), 10)
    history = torch.tensor([[0, 1, 2]])
    assert torch.equal(old.recommend(history, 2).items, new.recommend(history, 2).items)
    first, second = old.scores(history) - old.prior, new.scores(history) - new.prior
    assert torch.allclose(first, second, atol=1e-7)
    assert old.n_items == 10 and len(old.follows) < len(new.follows)  # the old one is as it was


def test_new_items_are_ranked_at_once():
    old = Markov(MarkovConfig(4)).fit([np.array([1, 2, 3, 4])])
    new = old.updated(Change([np.array([], int)], [np.array([4, 5])]), 5)
    assert new.recommend(torch.tensor([[4]]), 1).items.tolist() == [[5]]


def test_nothing_new_changes_nothing():
    before, _ = histories()
    for model in (Popularity(PopularityConfig(OLD)), Markov(MarkovConfig(OLD)), Ease(EaseConfig(OLD))):
        old = model.fit(parts(before))
        new = old.updated(Change(parts(before), parts(before)), OLD)
        assert all(torch.equal(new.state_dict()[name], value) for name, value in old.state_dict().items())
        assert all(torch.equal(new.tally[name], value) for name, value in old.tally.items())


@pytest.mark.parametrize(("cls", "config"), [(Markov, MarkovConfig), (Ease, EaseConfig)])
def test_a_folder_without_tally_is_one_line(cls, config, tmp_path):
    folder = pretrained.save(cls(config(5)).fit([np.array([1, 2, 3])]), tmp_path / "m")
    (folder / "tally.safetensors").unlink()
    model: Any = pretrained.load(folder)
    model.tally = pretrained.load_tally(folder)
    with pytest.raises(ModelError, match="train it anew"):
        model.updated(Change([], []), 5)


def test_a_tally_of_another_model_is_refused(tmp_path):
    one = pretrained.save(Markov(MarkovConfig(5)).fit([np.array([1, 2, 3])]), tmp_path / "a")
    two = pretrained.save(Markov(MarkovConfig(5)).fit([np.array([1, 2, 4])]), tmp_path / "b")
    (one / "tally.safetensors").write_bytes((two / "tally.safetensors").read_bytes())
    with pytest.raises(ModelError, match="another model"):
        pretrained.load_tally(one)
    model = pretrained.load(two)  # ranks, and was saved without its tally
    assert not (pretrained.save(model, one) / "tally.safetensors").exists()
