"""Training steps, stops, survives and resumes bit for bit."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recsys.checkpoint import load_latest
from recsys.data.splits import Split, leave_one_out
from recsys.errors import ConfigError, DataError, ModelError
from recsys.evaluate import evaluate
from recsys.ranking import top_k
from recsys.train import TrainConfig, train
from recsys.types import Cases
from tests.place import ROOT

N = 12


class Tiny(nn.Module):
    """A next-item table with dropout and drawn noise, so that every source of randomness is in play."""

    def __init__(self, seed=0, poison=(), die_at=None):
        super().__init__()
        self.n_items, self.poison, self.die_at, self.calls = N, set(poison), die_at, 0
        self.table = nn.Parameter(torch.randn(N + 1, N + 1, generator=torch.Generator().manual_seed(seed)) * 0.01)
        self.dropout = nn.Dropout(0.2)

    def loss(self, batch, *, generator):
        self.calls += 1
        if self.calls == self.die_at:
            raise KeyboardInterrupt
        noise = 0.01 * torch.randn(batch.history.shape + (N + 1,), generator=generator)
        logits = self.dropout(self.table[batch.history]) + noise
        loss = F.cross_entropy(logits.flatten(0, 1), batch.target.flatten(), ignore_index=0)
        return {"loss": loss * float("nan") if self.calls in self.poison else loss, "noise": noise.mean()}

    def recommend(self, history, k, *, exclude_seen=True, generator=None):
        assert generator is not None
        return top_k(self.table.detach()[history[:, -1]], history, k, exclude_seen=exclude_seen)


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    starts = rng.integers(0, N, size=60)
    return leave_one_out([(start + np.arange(7)) % N + 1 for start in starts], N)


CONFIG = TrainConfig(epochs=3, batch_size=16, max_length=3, learning_rate=0.05, metric="ndcg@3", checkpoint_every=4)


def newest(folder):
    found = load_latest(folder)
    assert found is not None
    return found


def measured(steps):
    return [step.metrics["ndcg@3"] for step in steps if step.metrics]


def losses(steps):
    return [(step.step, step.losses["loss"], step.losses["noise"]) for step in steps]


def test_learns_and_reports(split):
    model = Tiny()
    steps = list(train(model, split, dataclasses.replace(CONFIG, epochs=8, patience=9, learning_rate=3e-4)))
    assert [step.step for step in steps] == list(range(1, len(steps) + 1)) and steps[-1].epoch == 8
    quality = measured(steps)
    assert len(quality) == 8 and quality[-1] > 0.9 > quality[0] + 0.1
    assert steps[-1].losses["loss"] < steps[0].losses["loss"] and "skipped" not in steps[-1].losses


def test_same_seed_same_bits_whatever_ran_before(split):
    first = list(train(Tiny(), split, CONFIG))
    torch.rand(17)
    assert losses(first) == losses(train(Tiny(), split, CONFIG))
    assert losses(first) != losses(train(Tiny(), split, dataclasses.replace(CONFIG, seed=1)))


def test_the_callers_random_state_is_left_alone(split):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    list(train(Tiny(), split, dataclasses.replace(CONFIG, epochs=1)))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("stop", [1, 5, 8, 10])  # an epoch has 8 steps
def test_five_and_five_are_ten(split, tmp_path, stop):
    whole = Tiny()
    steps = list(train(whole, split, CONFIG))
    assert len(steps) == 24
    first = train(Tiny(), split, CONFIG, folder=tmp_path)
    before = [next(first) for _ in range(stop)]
    first.close()
    resumed = Tiny(seed=9)
    after = list(train(resumed, split, CONFIG, folder=tmp_path, resume=True))
    assert losses(before) + losses(after) == losses(steps)
    assert [step.metrics for step in before + after] == [step.metrics for step in steps]
    assert torch.equal(whole.table, resumed.table)


def test_a_killed_run_goes_on_from_the_last_checkpoint(split, tmp_path):
    whole = list(train(Tiny(), split, CONFIG))
    model = Tiny(die_at=11)
    run = train(model, split, CONFIG, folder=tmp_path)
    for _ in range(10):
        next(run)
    with pytest.raises(KeyboardInterrupt):
        next(run)
    assert newest(tmp_path).step == 8
    after = list(train(Tiny(), split, CONFIG, folder=tmp_path, resume=True))
    assert losses(after) == losses(whole)[8:]


def test_resuming_a_finished_run_trains_nothing_and_more_epochs_go_on(split, tmp_path):
    list(train(Tiny(), split, CONFIG, folder=tmp_path))
    model = Tiny(seed=4)
    assert list(train(model, split, CONFIG, folder=tmp_path, resume=True)) == []
    assert torch.equal(model.table, newest(tmp_path).tensors["best"]["table"])
    longer = dataclasses.replace(CONFIG, epochs=4)
    after = list(train(Tiny(), split, longer, folder=tmp_path, resume=True))
    assert losses(after) == losses(train(Tiny(), split, longer))[24:]


def test_early_stop_leaves_the_best_weights(split):
    config = dataclasses.replace(CONFIG, epochs=50, patience=2, learning_rate=1.0)
    model = Tiny()
    quality = measured(train(model, split, config))
    assert len(quality) < 50 and max(quality) == quality[-3]
    again = Tiny()
    list(train(again, split, dataclasses.replace(config, epochs=len(quality) - 2)))
    assert torch.equal(again.table, model.table)


def test_non_finite_steps_are_skipped_and_counted(split):
    model = Tiny(poison={3, 4})
    steps = list(train(model, split, dataclasses.replace(CONFIG, epochs=1)))
    assert len(steps) == 8 and steps[-1].losses["skipped"] == 2 and bool(model.table.isfinite().all())
    assert steps[2].losses["loss"] != steps[2].losses["loss"] and "skipped" not in steps[1].losses
    with pytest.raises(ModelError, match="5 steps in a row, up to step 7.*Lower learning_rate"):
        list(train(Tiny(poison=range(3, 99)), split, CONFIG))


def test_without_validation_cases_it_trains_all_epochs(split):
    bare = Split(split.train, Cases([], []), Cases([], []), N)
    steps = list(train(Tiny(), bare, CONFIG))
    assert len(steps) == 24 and all(step.metrics is None for step in steps)


def test_validates_a_fixed_sample_when_asked(split):
    config = dataclasses.replace(CONFIG, validate_cases=10, validate_every=2)
    steps = [step for step in train(Tiny(), split, config) if step.metrics]
    assert [step.step for step in steps] == [16, 24]


def test_refuses_what_would_destroy_or_confuse_a_run(split, tmp_path):
    run = train(Tiny(), split, CONFIG, folder=tmp_path)
    next(run)
    run.close()
    with pytest.raises(ConfigError, match="resume=True, or another folder"):
        next(train(Tiny(), split, CONFIG, folder=tmp_path))
    with pytest.raises(ConfigError, match="batch_size was 16 and is 8"):
        next(train(Tiny(), split, dataclasses.replace(CONFIG, batch_size=8), folder=tmp_path, resume=True))
    with pytest.raises(ConfigError, match="other data"):
        other = Split(split.train[:-1], split.valid, split.test, N)
        next(train(Tiny(), other, CONFIG, folder=tmp_path, resume=True))
    with pytest.raises(ConfigError, match="needs the folder"):
        next(train(Tiny(), split, CONFIG, resume=True))
    with pytest.raises(ConfigError, match="the data hold 13"):
        next(train(Tiny(), Split(split.train, split.valid, split.test, N + 1), CONFIG))
    with pytest.raises(ConfigError, match="ndcg@13"):
        next(train(Tiny(), split, dataclasses.replace(CONFIG, metric="ndcg@13")))
    with pytest.raises(DataError, match="nothing to learn"):
        next(train(Tiny(), Split([np.array([1])], split.valid, split.test, N), CONFIG))

    class Other(Tiny):
        def __init__(self):
            super().__init__()
            self.more = nn.Parameter(torch.zeros(1))

    with pytest.raises(ModelError, match="does not fit this model"):
        next(train(Other(), split, CONFIG, folder=tmp_path, resume=True))


@pytest.mark.slow
def test_two_processes_do_what_one_does(tmp_path):
    """Under torchrun two processes make the updates of one with the whole batch, and end with equal weights."""
    script = tmp_path / "two.py"
    script.write_text(
        "import torch, numpy as np\n"
        "from accelerate import Accelerator\n"
        "from recsys.data.splits import leave_one_out\n"
        "from recsys.models import SASRec, SASRecConfig\n"
        "from recsys.train import TrainConfig, train\n"
        "torch.set_num_threads(1)\n"
        "torch.manual_seed(0)\n"
        "split = leave_one_out([(np.arange(8) + start) % 30 + 1 for start in range(64)], 30)\n"
        "model = SASRec(SASRecConfig(30, d=8, layers=1, dropout=0.0, max_len=8))\n"
        "accelerator = Accelerator(cpu=True)\n"
        "steps = train(model, split, TrainConfig(epochs=2, batch_size=16), accelerator=accelerator)\n"
        "last = [step.losses['loss'] for step in steps][-1]\n"
        "weights = sum(float(p.detach().double().abs().sum()) for p in model.parameters())\n"
        "print(f'{accelerator.num_processes} {last:.4f} {weights:.1f}', flush=True)\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    run = lambda *words: (
        subprocess.run(
            [*words, str(script)], env=environment, capture_output=True, text=True, timeout=120, check=True
        ).stdout
    )
    one = run(sys.executable).strip()
    assert one.startswith("1 ") and run(*launch).count("2" + one[1:]) == 2  # their lines may run into one another


@pytest.mark.parametrize(
    "bad",
    [
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"metric": "ndcg"},
        {"metric": "auc@5"},
        {"seed": -1},
        {"patience": 0},
        {"validate_cases": 0},
    ],
)
def test_settings_out_of_range(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        TrainConfig(**bad)


def test_a_model_may_fit_how_it_ranks_to_the_validation_cases_at_the_end(split):
    class Tuned(Tiny):
        cases = 0
        found: torch.Tensor | None = None

        def tune(self, cases):
            self.cases, self.found = self.cases + len(cases), self.table.detach().clone()

    model, plain = Tuned(), Tiny()
    list(train(model, split, CONFIG))
    list(train(plain, split, CONFIG))
    assert model.cases == len(split.valid) and model.found is not None
    assert torch.equal(model.found, plain.table)  # the best weights
    stopped = Tuned()
    next(iter(train(stopped, split, CONFIG)))
    assert stopped.cases == 0


class Prepared(Tiny):
    """A model that counts, too."""

    prepared = 0

    def prepare(self, sequences):
        self.prepared += 1


def test_going_on_prepares_nothing_again_and_keeps_better_weights(split):
    model = Prepared()
    for _ in train(model, split, CONFIG, parent="abc"):
        pass
    report = evaluate(model, split.valid, at=(3,), generator=torch.Generator().manual_seed(0))
    assert model.prepared == 0 and report.metrics["ndcg@3"] > 0.9


def test_going_on_keeps_the_start_where_no_epoch_is_better(split):
    good = Prepared()
    for _ in train(good, split, CONFIG):
        pass
    before = {name: value.clone() for name, value in good.state_dict().items()}
    ruinous = dataclasses.replace(CONFIG, learning_rate=50.0, epochs=2)
    for _ in train(good, split, ruinous, parent="abc"):
        pass
    assert all(torch.equal(before[name], value) for name, value in good.state_dict().items())


def test_going_on_from_another_parent_is_another_run(split, tmp_path):
    steps = train(Tiny(), split, CONFIG, folder=tmp_path, parent="abc")
    next(steps)
    steps.close()
    with pytest.raises(ConfigError, match="other data"):
        next(train(Tiny(), split, CONFIG, folder=tmp_path, resume=True, parent="xyz"))
    whole, part = Tiny(), Tiny()
    for _ in train(whole, split, CONFIG, parent="abc"):
        pass
    for _ in train(part, split, CONFIG, folder=tmp_path, resume=True, parent="abc"):
        pass
    assert torch.equal(whole.table, part.table)
