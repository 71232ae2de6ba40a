import math

import pytest
import torch

from recsys.diffusion import schedule as schedules
from recsys.diffusion.schedule import Schedule, from_betas, linear_variance, spaced
from recsys.errors import ConfigError

NAMES = sorted(schedules.SCHEDULES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("T", [1, 32, 1000])
def test_every_schedule_starts_clean_and_only_adds_noise(name, T):
    s = schedules.by_name(name, T)
    assert s.T == T and s.alpha.dtype == torch.float64
    assert s.alpha[0] == 1 and s.sigma[0] == 0
    assert (s.alpha.diff() < 0).all() and (s.snr.diff() < 0).all()
    torch.testing.assert_close(s.alpha**2 + s.sigma**2, torch.ones_like(s.alpha))


@pytest.mark.parametrize("name", ["cosine", "sqrt", "exp", "linear", "truncated-linear"])
def test_the_last_step_is_nearly_noise(name):
    assert schedules.by_name(name, 1000).alpha[-1] < 0.1


def test_linear_is_the_product_of_its_betas():
    s = schedules.linear(10, start=0.1, end=0.2)
    alpha_bar = 1.0
    for t in range(1, 11):
        alpha_bar *= 1 - (0.1 + 0.1 * (t - 1) / 9)
        assert math.isclose(float(s.alpha[t]) ** 2, alpha_bar)
    torch.testing.assert_close(s.betas, torch.linspace(0.1, 0.2, 10, dtype=torch.float64))


def test_cosine_follows_its_curve():
    s, T = schedules.cosine(100), 100
    curve = lambda t: math.cos((t / T + 0.008) / 1.008 * math.pi / 2) ** 2
    assert math.isclose(float(s.alpha[40]) ** 2, curve(40) / curve(0), rel_tol=1e-9)
    assert float(s.betas.max()) == pytest.approx(0.999) and s.alpha[-1] > 0  # where the curve itself ends at nothing


def test_exp_does_not_depend_on_the_number_of_steps():
    coarse, fine = schedules.exp(10), schedules.exp(1000)
    torch.testing.assert_close(coarse.alpha[1:], fine.alpha[100::100])
    assert math.isclose(float(coarse.alpha[-1]) ** 2, math.exp(-0.1 - 9.9 / 2))


def test_linear_variance_has_the_variance_it_names():
    s = linear_variance(40, scale=0.005, low=0.005, high=0.01)
    torch.testing.assert_close(s.sigma[1:] ** 2, 0.005 * torch.linspace(0.005, 0.01, 40, dtype=torch.float64))


@pytest.mark.parametrize(
    ("T", "steps", "times"),
    [(10, 5, [10, 8, 6, 4, 2]), (10, 3, [10, 7, 4]), (7, 7, [7, 6, 5, 4, 3, 2, 1]), (500, 1, [500])],
)
def test_spaced_times_fall_from_T(T, steps, times):
    assert spaced(T, steps) == times


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedules.linear(0),
        lambda: schedules.by_name("quadratic", 10),
        lambda: from_betas(torch.tensor([0.1, 1.2])),
        lambda: linear_variance(4, scale=2, low=0.1, high=0.6),
        lambda: spaced(10, 11),
        lambda: spaced(10, 0),
        lambda: Schedule(torch.ones(3), torch.zeros(3)),
        lambda: Schedule(torch.tensor([1, 0.5]).double(), torch.tensor([0, 0.5]).double()),
        lambda: Schedule(torch.tensor([0.6, 0.8]).double(), torch.tensor([0.8, 0.6]).double()),
    ],
)
def test_what_is_out_of_range_is_refused(make):
    with pytest.raises(ConfigError):
        make()
