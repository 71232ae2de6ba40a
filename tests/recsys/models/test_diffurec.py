import dataclasses

import pytest
import torch

from recsys.errors import ConfigError
from recsys.models.diffurec import DiffuRec, DiffuRecConfig
from recsys.models.diqdiff import Codebook, DiQDiff, DiQDiffConfig, discrepancy_loss

CONFIG = DiffuRecConfig(30, d=16, max_len=6, layers=1, T=8, sample_steps=4)
HISTORY = torch.tensor([[0, 0, 3, 4], [5, 6, 7, 8], [0, 0, 0, 0]])


@pytest.mark.parametrize(("delta", "moved"), [(0.001, False), (1.0, True)])
def test_at_the_papers_delta_the_noise_hardly_reaches_the_answer(delta, moved):
    torch.manual_seed(0)
    model = DiffuRec(dataclasses.replace(CONFIG, delta=delta)).eval()
    one, two = (
        model.recommend(HISTORY, 30, exclude_seen=False, generator=torch.Generator().manual_seed(seed)).scores.exp()
        for seed in (0, 1)
    )
    assert (float((one - two).abs().max()) > 0.002) == moved


def test_an_empty_history_is_one_learned_item():
    model = DiffuRec(CONFIG)
    x, real = model._embedded(HISTORY, model._items()[0], None)
    assert torch.equal(x[2, -1], model.start) and real[2].tolist() == [False, False, False, True]
    assert torch.equal(x[1], model._items()[0][HISTORY[1]]) and real[1].all()


def test_a_history_gets_the_nearest_code_and_every_code_a_gradient():
    book = Codebook(5, 4)
    x, real = torch.randn(3, 6, 4), torch.ones(3, 6, dtype=torch.bool)
    nearest = torch.cdist(x.mean(1), book.vectors).argmin(1)
    torch.testing.assert_close(book(x, real), book.vectors[nearest])
    drawn = {
        int((book(x, real, generator=torch.Generator().manual_seed(s))[0] - book.vectors).norm(dim=1).argmin())
        for s in range(40)
    }
    assert len(drawn) > 1
    book(x, real).square().sum().backward()
    assert (book.vectors.grad.abs().sum(1) > 0).all()  # pyrefly: ignore[missing-attribute]


def test_the_code_of_a_history_does_not_depend_on_the_batch():
    torch.manual_seed(0)
    model = DiQDiff(DiQDiffConfig(30, d=16, max_len=6, layers=1, T=8, sample_steps=2, intent=5.0))
    embedding = model.net._items()[0]
    x, real = model.net._embedded(HISTORY, embedding, None)
    torch.testing.assert_close(model._guided(x, real)[:1], model._guided(x[:1], real[:1]))
    assert not torch.allclose(model._guided(x, real)[:2], x[:2])


def test_the_contrast_wants_own_items_near_and_other_peoples_far():
    x0, target = torch.eye(3), torch.tensor([1, 2, 3])
    apart = discrepancy_loss(x0, x0, target, temperature=0.5)
    together = discrepancy_loss(x0[[0, 0, 0]], x0, target, temperature=0.5)
    assert apart == pytest.approx(torch.tensor(1 + 2 * torch.e**-2).log().item(), abs=1e-6) and together > apart
    same = discrepancy_loss(x0[[0, 0]], x0[[0, 0]], torch.tensor([4, 4]), temperature=0.5)
    assert same == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("changes", [{"delta": -1}, {"sample_steps": 9}, {"layers": 0}])
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        dataclasses.replace(CONFIG, **changes)
    with pytest.raises(ConfigError, match="codes = 1"):
        DiQDiffConfig(30, codes=1)
