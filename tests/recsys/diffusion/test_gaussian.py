"""The sampler against diffusers' schedulers, where N divides T and nothing is clipped; the algebra against itself."""

import pytest
import torch

from recsys.diffusion import gaussian, schedule
from recsys.errors import ConfigError

T = 60


@pytest.fixture(params=["linear", "cosine", "sqrt"])
def noise_schedule(request):
    return schedule.by_name(request.param, T)


def _denoise(x, t):
    """Something smooth that depends on both arguments."""
    return torch.tanh(0.4 * x) + 0.5 * torch.cos(t.double() / 9).to(x).unsqueeze(-1)


def _start(seed=0):
    return torch.randn(5, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _diffusers_loop(scheduler, steps, **options):
    scheduler.set_timesteps(steps)
    x, generator = _start(), torch.Generator().manual_seed(3)
    for t in scheduler.timesteps:
        x0_hat = _denoise(x, torch.full((len(x),), int(t) + 1))
        x = scheduler.step(x0_hat, t, x, generator=generator, **options).prev_sample
    return x


def _options(s, **more):
    common = {"trained_betas": s.betas.numpy(), "clip_sample": False, "prediction_type": "sample"}
    return {"num_train_timesteps": T, "timestep_spacing": "trailing", **common, **more}


@pytest.mark.parametrize("steps", [1, 4, 20, 60])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_sample_equals_ddim_of_diffusers(noise_schedule, steps, eta):
    from diffusers import DDIMScheduler

    expected = _diffusers_loop(DDIMScheduler(**_options(noise_schedule)), steps, eta=eta)
    generator = torch.Generator().manual_seed(3)
    *_, last = gaussian.sample(_denoise, _start(), schedule=noise_schedule, steps=steps, eta=eta, generator=generator)
    assert last.t == 0
    torch.testing.assert_close(last.x, expected, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("steps", [4, 60])
def test_sample_with_eta_1_equals_ddpm_of_diffusers(steps):
    from diffusers import DDPMScheduler

    s = schedule.linear(T)
    expected = _diffusers_loop(DDPMScheduler(**_options(s, variance_type="fixed_small")), steps)
    generator = torch.Generator().manual_seed(3)
    *_, last = gaussian.sample(_denoise, _start(), schedule=s, steps=steps, eta=1.0, generator=generator)
    torch.testing.assert_close(last.x, expected, atol=2e-4, rtol=2e-4)


def test_algorithm_2_equals_ddpm_of_diffusers():
    from diffusers import DDPMScheduler

    s = schedule.linear(T)
    predict = lambda x, t: gaussian.eps_from_x0(_denoise(x, t), x, t, schedule=s)
    expected = _diffusers_loop(DDPMScheduler(**_options(s, variance_type="fixed_large")), T)
    found = gaussian.ddpm_sample(predict, _start(), schedule=s, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("t", [1, 2, 30, T])
def test_posterior_mean_is_an_ancestral_step_without_its_noise(noise_schedule, t):
    x, time = _start(), torch.full((5,), t)
    first = next(gaussian.sample(_denoise, x, schedule=noise_schedule, start=t, eta=1.0, noise=lambda x, _: 0 * x))
    found = gaussian.posterior_mean(_denoise(x, time), x, time, schedule=noise_schedule)
    assert first.t == t - 1
    torch.testing.assert_close(found, first.x)


def test_predictions_convert_into_each_other(noise_schedule):
    x0, eps, t = _start(0), _start(1), torch.tensor([1, 2, 20, 40, T])
    x_t = gaussian.q_sample(x0, t, eps, schedule=noise_schedule)
    torch.testing.assert_close(gaussian.eps_from_x0(x0, x_t, t, schedule=noise_schedule), eps)
    torch.testing.assert_close(gaussian.x0_from_eps(eps, x_t, t, schedule=noise_schedule), x0)
    v = gaussian.v_from_x0(x0, x_t, t, schedule=noise_schedule)
    alpha, sigma = gaussian.coefficients(noise_schedule, t, like=x0)
    torch.testing.assert_close(v, alpha * eps - sigma * x0)
    torch.testing.assert_close(gaussian.x0_from_v(v, x_t, t, schedule=noise_schedule), x0)


def test_denoisers_from_eps_and_v_undo_the_noise(noise_schedule):
    x0, eps, t = _start(0), _start(1), torch.full((5,), 30)
    x_t = gaussian.q_sample(x0, t, eps, schedule=noise_schedule)
    v = gaussian.v_from_x0(x0, x_t, t, schedule=noise_schedule)
    torch.testing.assert_close(gaussian.denoise_from_eps(lambda x, t: eps, schedule=noise_schedule)(x_t, t), x0)
    torch.testing.assert_close(gaussian.denoise_from_v(lambda x, t: v, schedule=noise_schedule)(x_t, t), x0)


def test_q_sample_at_time_zero_is_clean_and_keeps_every_position_apart():
    x0, eps, s = torch.randn(2, 3, 4), torch.randn(2, 3, 4), schedule.cosine(T)
    t = torch.tensor([[0, 5, 60], [0, 0, 0]])
    x_t = gaussian.q_sample(x0, t, eps, schedule=s)
    assert torch.equal(x_t[1], x0[1]) and torch.equal(x_t[0, 0], x0[0, 0])
    torch.testing.assert_close(x_t[0, 1], float(s.alpha[5]) * x0[0, 1] + float(s.sigma[5]) * eps[0, 1])


def test_ddpm_loss_is_zero_for_an_oracle_and_one_for_silence():
    s, x0 = schedule.linear(T), torch.randn(4000, 4)
    oracle = lambda x_t, t: gaussian.eps_from_x0(x0, x_t, t, schedule=s)
    loss = lambda predict: float(
        gaussian.ddpm_loss(predict, x0, schedule=s, generator=torch.Generator().manual_seed(0))
    )
    assert loss(oracle) < 1e-8
    assert loss(lambda x_t, t: torch.zeros_like(x_t)) == pytest.approx(1, abs=0.05)


def test_ddpm_and_ddim_recover_a_gaussian():
    """For data N(2, 0.5²) the best denoiser is known; both samplers must return that distribution."""
    s, mean, std = schedule.cosine(200), 2.0, 0.5

    def best(x, t):
        alpha, sigma = gaussian.coefficients(s, t, like=x)
        return mean + alpha * std**2 * (x - alpha * mean) / (alpha**2 * std**2 + sigma**2)

    for eta in (0.0, 1.0):
        g = torch.Generator().manual_seed(0)
        x = torch.randn(4000, 1, generator=g)
        *_, last = gaussian.sample(best, x, schedule=s, eta=eta, generator=g)
        assert float(last.x.mean()) == pytest.approx(mean, abs=0.04)
        assert float(last.x.std()) == pytest.approx(std, abs=0.03)


def test_sample_can_start_late_and_use_its_own_noise():
    s, x = schedule.linear(T), _start()
    steps = list(
        gaussian.sample(_denoise, x, schedule=s, start=30, steps=3, eta=1.0, noise=lambda x, i: torch.full_like(x, i))
    )
    assert [step.t for step in steps] == [20, 10, 0]
    torch.testing.assert_close(steps[0].x0_hat, _denoise(x, torch.full((5,), 30)))


def test_noise_is_drawn_only_where_it_is_added():
    """DDIM needs no source of noise and leaves one alone; of DDPM's steps all but the last draw."""
    s, x, generator = schedule.linear(T), _start(), torch.Generator().manual_seed(3)
    state, drawn = generator.get_state(), []
    plain = [step.x for step in gaussian.sample(_denoise, x, schedule=s, steps=5)]
    given = [step.x for step in gaussian.sample(_denoise, x, schedule=s, steps=5, generator=generator)]
    assert all(map(torch.equal, plain, given)) and torch.equal(generator.get_state(), state)
    list(gaussian.sample(_denoise, x, schedule=s, steps=5, eta=1.0, noise=lambda x, i: drawn.append(i) or 0 * x))
    assert drawn == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "options", [{"eta": 1.5}, {"eta": 0.5}, {"steps": 0}, {"steps": T + 1}, {"start": 0}, {"start": T + 1}]
)
def test_sample_refuses_what_it_cannot_do(options):
    with pytest.raises(ConfigError):
        next(gaussian.sample(_denoise, _start(), schedule=schedule.linear(T), **options))
