"""The training objective against its definitions and diffusers' own formulas."""

import itertools

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr

from personagen.training.objective import (
    add_noise,
    predicted_x0,
    prediction_target,
    snr_weights,
    stratified_timesteps,
    weighted_error,
)
from recsys.errors import ConfigError


def draws(rows=6):
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, rows, 3, 4, 5, generator=generator)
    return x0, noise, torch.linspace(0.02, 0.98, rows)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_the_right_output_gives_x0_back(prediction):
    x0, noise, abar = draws()
    output = prediction_target(x0, noise, abar, prediction=prediction)
    assert torch.allclose(predicted_x0(output, add_noise(x0, noise, abar), abar, prediction=prediction), x0, atol=1e-4)


def test_noise_and_v_are_those_of_diffusers():
    x0, noise, _ = draws()
    scheduler = DDPMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="v_prediction"
    )
    t = torch.tensor([0, 10, 200, 500, 900, 999])
    abar = scheduler.alphas_cumprod[t]
    assert torch.allclose(add_noise(x0, noise, abar), scheduler.add_noise(x0, noise, t), atol=1e-5)
    velocity = scheduler.get_velocity(x0, noise, t)
    assert torch.allclose(prediction_target(x0, noise, abar, prediction="v_prediction"), velocity, atol=1e-5)


@pytest.mark.parametrize(
    "prediction, divisor", [("epsilon", lambda s: s), ("v_prediction", lambda s: s + 1), ("sample", lambda s: 1)]
)
def test_min_snr_is_the_papers_formula(prediction, divisor):
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    t = torch.arange(1000)
    snr = compute_snr(scheduler, t)
    weights = snr_weights(scheduler.alphas_cumprod[t], prediction=prediction, weighting="min_snr", gamma=5.0)
    assert torch.allclose(weights, snr.clamp(max=5.0) / divisor(snr), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "prediction, weighting", itertools.product(["epsilon", "v_prediction", "sample"], ["uniform", "min_snr", "clamped"])
)
def test_weights_are_finite_at_zero_and_infinite_snr(prediction, weighting):
    weights = snr_weights(torch.tensor([0.0, 1e-9, 0.5, 1 - 1e-7, 1.0]), prediction=prediction, weighting=weighting)
    assert weights.isfinite().all() and (weights >= 0).all()
    if weighting == "clamped":
        assert weights[0] == 1 and weights[2] == 1 and weights[-1] == 0


def test_unknown_kinds_and_gamma_are_refused():
    x0, noise, abar = draws()
    with pytest.raises(ConfigError, match="'noise' is unknown"):
        prediction_target(x0, noise, abar, prediction="noise")  # pyrefly: ignore[bad-argument-type]
    with pytest.raises(ConfigError, match="snr_gamma 0"):
        snr_weights(abar, prediction="epsilon", gamma=0)


def test_the_region_is_normalised_within_each_row():
    output, target = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    region = torch.zeros(2, 1, 4, 4)
    region[0, :, 0, 0], region[1] = 1.0, 1.0
    assert weighted_error(output, target, region=region).item() == pytest.approx(1.0)
    target[0, :, 1:] = 100.0  # outside row 0's region
    assert weighted_error(output, target, region=region).item() == pytest.approx(1.0)
    assert weighted_error(output, target, region=torch.zeros(2, 1, 4, 4)).item() == 0
    weights = torch.tensor([0.0, 2.0])
    assert weighted_error(output, target, weights=weights, region=region).item() == pytest.approx(1.0)


def test_timesteps_cover_all_levels_in_every_batch():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([stratified_timesteps(8, n_steps=1000, generator=generator) for _ in range(400)])
    assert (drawn.sort(dim=1).values // 125 == torch.arange(8)).all()
    assert drawn.min() < 5 and drawn.max() > 994
    assert drawn[:, 0].float().mean().item() == pytest.approx(499.5, abs=45)
