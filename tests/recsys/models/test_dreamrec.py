import dataclasses

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from recsys.data.prefixes import random_prefixes
from recsys.diffusion.noise import user_normal, user_seeds
from recsys.errors import ConfigError
from recsys.models.dreamrec import DreamRec, DreamRecConfig
from recsys.networks.encoder import ENCODERS
from recsys.types import Batch
from tests.place import ROOT

CONFIG = DreamRecConfig(30, d=16, max_len=6, layers=1, T=20, sample_steps=5)
PAPER = dataclasses.replace(DreamRecConfig.paper(30, T=20), d=16)
HISTORY = torch.tensor([[0, 0, 3, 4], [5, 6, 7, 8], [0, 0, 0, 0]])
BATCH = Batch(HISTORY, torch.tensor([[0, 0, 4, 9], [6, 7, 8, 10], [0, 0, 0, 2]]))


def test_the_papers_configuration_is_the_papers():
    config = DreamRecConfig.paper(100)
    assert (config.objective, config.T, config.schedule, config.max_len) == ("mse", 500, "linear", 10)
    assert (config.norms, config.item_std, config.positions) == ("free", 1.0, "one")
    assert (config.p_uncond, config.weight, config.steps, config.draws, config.eta) == (0.1, 4.0, 500, 1, 1.0)
    model = DreamRec(dataclasses.replace(PAPER, steps=1)).eval()
    ranking = model.recommend(HISTORY[:1], 30, exclude_seen=False)
    x0 = model._finish(HISTORY[:1], user_seeds(HISTORY[:1]), model._items(), 1, 1)
    torch.testing.assert_close(ranking.scores[0], (x0 @ model.item_embeddings().T)[0, ranking.items[0]])


def test_items_start_at_the_spread_that_is_asked_for():
    for std, expected in ((None, 16**-0.5), (1.0, 1.0), (0.02, 0.02)):
        model = DreamRec(dataclasses.replace(PAPER, item_std=std))
        assert float(model.item_embeddings()[1:].std()) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("base", [CONFIG, PAPER], ids=["softmax", "mse"])
def test_every_encoder_serves_both_objectives(encoder, base):
    """One prefix a row suits all; every position at once only those that see no later item."""
    for positions in ("one", "all"):
        if encoder == "bidirectional" and positions == "all":
            with pytest.raises(ConfigError, match="bidirectional.*positions = 'one'"):
                dataclasses.replace(base, encoder=encoder, positions=positions)
            continue
        model = DreamRec(dataclasses.replace(base, encoder=encoder, positions=positions))
        examples = model.examples(BATCH, generator=torch.Generator().manual_seed(0))
        assert len(examples.target) == (3 if positions == "one" else 8)
        assert model.loss(BATCH, generator=torch.Generator().manual_seed(0))["loss"].isfinite()
        assert model.recommend(HISTORY, 3).items.shape == (3, 3)


def test_one_position_is_a_prefix_with_its_next_item():
    history, target = random_prefixes(BATCH, max_len=3, generator=torch.Generator().manual_seed(1))
    assert history.shape == (3, 3) and target.shape == (3,)
    followed = {(): 2, (3,): 4, (3, 4): 9, (5,): 6, (5, 6): 7, (5, 6, 7): 8, (6, 7, 8): 10}
    for row, item in zip(history.tolist(), target.tolist(), strict=True):
        assert followed[tuple(i for i in row if i)] == item


def test_histories_are_thinned_in_training_only():
    config = dataclasses.replace(CONFIG, positions="one", thin_items=1.0, thin_rows=1.0, dropout=0.0, p_uncond=0.0)
    torch.manual_seed(0)
    thinned, whole = DreamRec(config), DreamRec(dataclasses.replace(config, thin_rows=0.0))
    whole.load_state_dict(thinned.state_dict())
    differ = []
    for seed in range(6):
        one, two = (model.examples(BATCH, generator=torch.Generator().manual_seed(seed)) for model in (thinned, whole))
        assert torch.equal(one.target, two.target)
        differ.append(not torch.allclose(one.condition, two.condition))
    assert any(differ)
    assert torch.equal(thinned.recommend(HISTORY, 5).items, whole.recommend(HISTORY, 5).items)
    with pytest.raises(ConfigError, match="thin.*positions = 'one'"):
        dataclasses.replace(config, positions="all")


def test_the_papers_loss_can_collapse_and_the_default_cannot():
    """Squared error with trainable targets falls by shrinking them; with equal norms there is nothing to shrink."""
    norms = {}
    for config in (PAPER, CONFIG):
        model = DreamRec(config)
        before = float(model.item_embeddings()[1:].norm(dim=1).mean())
        optimizer = torch.optim.Adam(model.parameters(), 3e-2)
        for seed in range(100):
            optimizer.zero_grad()
            model.loss(BATCH, generator=torch.Generator().manual_seed(seed))["loss"].backward()
            optimizer.step()
        used = BATCH.target[BATCH.target > 0]
        norms[config.objective] = float(model.item_embeddings()[used].norm(dim=1).mean()) / before
    assert norms["mse"] < 0.7
    assert norms["softmax"] == pytest.approx(1, abs=1e-5)


def test_generated_embeddings_live_on_the_scale_of_the_items():
    model = DreamRec(CONFIG).eval()
    x0 = model.generate(HISTORY, draws=4)
    assert x0.shape == (3, 4, 16)
    assert (model.item_embeddings()[1:].norm(dim=1) - 4).abs().max() < 1e-4
    assert (x0.norm(dim=-1) <= 4 + 1e-4).all()
    assert not torch.allclose(x0[:, 0], x0[:, 1])


def test_a_users_draws_do_not_depend_on_the_batch():
    model, g = DreamRec(CONFIG), torch.Generator().manual_seed(3)
    together = model.generate(HISTORY, draws=3, generator=g)
    wider = torch.cat([torch.zeros(1, 5, dtype=torch.int64), HISTORY[:1]], dim=1)
    torch.testing.assert_close(model.generate(wider, draws=3, generator=g)[0], together[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model.generate(HISTORY, draws=2, generator=g), together[:, :2], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(model.generate(HISTORY, draws=3), together)


def test_noise_is_normal_independent_and_tied_to_the_history():
    history = torch.randint(1, 100, (2000, 6))
    seeds = user_seeds(history)
    assert len(seeds.unique()) == len(history.unique(dim=0))
    z = user_normal(seeds, (50,))
    assert abs(z.mean()) < 0.01 and abs(z.std() - 1) < 0.01 and abs((z**4).mean() - 3) < 0.1
    assert torch.corrcoef(z.T).fill_diagonal_(0).abs().max() < 0.12
    assert abs((z * user_normal(seeds, (50,), draw=1)).mean()) < 0.01
    assert (user_seeds(history, generator=torch.Generator().manual_seed(1)) != seeds).all()
    assert (user_seeds(history.flip(1)) != seeds).float().mean() > 0.99


def test_an_empty_history_is_the_null_condition():
    model = DreamRec(CONFIG).eval()
    condition = model._condition(HISTORY, model._items()[0])
    assert torch.equal(condition[2], model.null) and not torch.equal(condition[1], model.null)


def test_guidance_sharpens():
    """Where the history says more than the null, a larger weight raises what the history raises."""
    model = DreamRec(CONFIG)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for seed in range(60):
        optimizer.zero_grad()
        model.loss(BATCH, generator=torch.Generator().manual_seed(seed))["loss"].backward()
        optimizer.step()
    best = []
    for weight in (0.0, 2.0):
        model.config = dataclasses.replace(model.config, weight=weight)
        best.append(float(model.recommend(HISTORY[1:2], 1).scores))
    assert model.recommend(HISTORY[1:2], 1).items.item() == 10
    assert best[1] > best[0]


def test_a_thousand_users_are_ranked_in_a_moment():
    """Scoring every item once for every user is nearly all there is to do: 0.3 CPU-seconds on an idle core."""
    model = DreamRec(DreamRecConfig(12_101))
    length = torch.randint(3, 30, (1000, 1))
    history = torch.randint(1, 12_102, (1000, 50)).masked_fill(torch.arange(50, 0, -1) > length, 0)
    with FlopCounterMode(display=False) as counter:
        model.recommend(history, 20)
    scoring = 2 * 1000 * 12_102 * model.config.d
    assert counter.get_total_flops() < 2 * scoring


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": "bce"},
        {"steps": 21},
        {"draws": 0},
        {"weight": -1},
        {"schedule": "flat"},
        {"T": 0},
        {"norms": "free"},
        {"positions": "some"},
        {"item_std": 0.0},
        {"thin_items": 2.0},
    ],
)
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        DreamRec(dataclasses.replace(CONFIG, **changes))


def test_the_papers_yaml_is_the_papers_configuration():
    yaml = pytest.importorskip("yaml")
    file = ROOT / "configs/recsys/dreamrec_paper.yaml"
    settings = yaml.safe_load(file.read_text())["settings"]
    assert DreamRecConfig(100, **settings) == DreamRecConfig.paper(100)
