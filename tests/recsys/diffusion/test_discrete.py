"""Discrete diffusion against explicit matrix products on a few states."""

import pytest
import torch

from recsys.diffusion import discrete, schedule
from recsys.errors import ConfigError

T, V = 6, 4
KERNELS = sorted(discrete.KERNELS)


def _matrices(kernel, s):
    """Q_1..Q_T written out entry by entry from the definition, and their products Q̄_0..Q̄_T."""
    states = V + (kernel == "absorbing")
    single = torch.zeros(T, states, states, dtype=torch.float64)
    for t, beta in enumerate(s.betas.tolist()):
        for i in range(V):
            for j in range(states):
                if kernel == "uniform":
                    single[t, i, j] = 1 - beta + beta / V if i == j else beta / V
                else:
                    single[t, i, j] = 1 - beta if i == j else beta if j == V else 0
        if kernel == "absorbing":
            single[t, V, V] = 1
    total = [torch.eye(states, dtype=torch.float64)]
    for matrix in single:
        total.append(total[-1] @ matrix)
    return single, torch.stack(total)


@pytest.fixture(params=KERNELS)
def case(request):
    s = schedule.cosine(T)
    return s, discrete.KERNELS[request.param](V).double(), *_matrices(request.param, s)


def test_closed_forms_equal_products(case):
    s, noise, single, total = case
    torch.testing.assert_close(discrete.step_matrix(torch.arange(1, T + 1), schedule=s, noise=noise), single)
    torch.testing.assert_close(discrete.total_matrix(torch.arange(T + 1), schedule=s, noise=noise), total)


def test_ddsr_writes_the_uniform_step_as_staying_or_moving_to_another_code():
    """[Q]_ij = beta_t if i = j, else (1 - beta_t)/(V - 1) (DDSR, Algorithm 1)."""
    s = schedule.linear(T, start=0.1, end=0.5)
    beta = discrete.stay(s, V)[:, None, None]
    expected = torch.where(torch.eye(V, dtype=torch.bool), beta, (1 - beta) / (V - 1))
    matrices = discrete.step_matrix(torch.arange(1, T + 1), schedule=s, noise=discrete.uniform(V).double())
    torch.testing.assert_close(matrices, expected, atol=1e-7, rtol=0)


def test_q_sample_has_the_frequencies_of_the_matrix(case):
    s, noise, _, total = case
    x0 = torch.arange(V).repeat(20_000)
    u = torch.rand(x0.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for t in (0, 2, T):
        x_t = discrete.q_sample(x0, torch.full_like(x0, t), u, schedule=s, noise=noise)
        for code in range(V):
            share = torch.bincount(x_t[x0 == code], minlength=len(noise)) / 20_000
            torch.testing.assert_close(share.double(), total[t, code], atol=0.012, rtol=0)


def test_posterior_is_bayes_rule_also_over_several_steps(case):
    s, noise, single, total = case
    states = len(noise)
    for t, before in ((1, 0), (3, 2), (5, 2), (T, 0)):
        between = torch.linalg.multi_dot([*single[before:t], torch.eye(states, dtype=torch.float64)])
        for x0 in range(V):
            for x_t in torch.nonzero(total[t, x0] > 0)[:, 0].tolist():
                joint = total[before, x0] * between[:, x_t]
                found = discrete.posterior(
                    torch.tensor([x_t]), torch.eye(states, dtype=torch.float64)[x0 : x0 + 1],
                    torch.tensor([t]), torch.tensor([before]), schedule=s, noise=noise,
                )[0]  # fmt: skip
                torch.testing.assert_close(found, joint / joint.sum())


def test_with_a_predicted_distribution_it_sums_the_joint(case):
    """D3PM, eq. 4: p(x_s | x_t) ∝ sum over x0 of q(x_s, x_t | x0) p(x0)."""
    s, noise, single, total = case
    p = torch.rand(len(noise), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    p[V:] = 0
    p = p / p.sum()
    for x_t in range(len(noise)):
        joint = torch.stack([p[x0] * total[2, x0] * single[2][:, x_t] for x0 in range(V)]).sum(0)
        found = discrete.posterior(
            torch.tensor([x_t]), p[None], torch.tensor([3]), torch.tensor([2]), schedule=s, noise=noise
        )[0]
        torch.testing.assert_close(found, joint / joint.sum())


def test_the_likelihood_is_a_column_of_the_product(case):
    s, noise, _, total = case
    for t in range(T + 1):
        x_t = torch.arange(len(noise))
        found = discrete.likelihood(x_t, torch.full_like(x_t, t), schedule=s, noise=noise)
        torch.testing.assert_close(found, total[t].T)


def test_what_cannot_have_happened_stays_where_it_is():
    """Absorbing: a code that is not masked is the one of x0; where x0 says otherwise there is no posterior."""
    s, noise = schedule.cosine(T), discrete.KERNELS["absorbing"](V).double()
    x0 = torch.eye(V + 1, dtype=torch.float64)[[0, 0]]
    found = discrete.posterior(
        torch.tensor([1, 0]), x0, torch.tensor([3, 3]), torch.tensor([2, 2]), schedule=s, noise=noise
    )
    assert found.tolist() == torch.eye(V + 1)[[1, 0]].tolist()


@pytest.mark.parametrize("steps", [1, 3, T])
@pytest.mark.parametrize("reverse", ["posterior", "mixture"])
def test_a_perfect_denoiser_gives_back_the_data(case, steps, reverse):
    """`posterior` with the prior and `mixture` with the Bayes posterior: both end on the distribution of the data."""
    s, noise, _, total = case
    data = torch.zeros(len(noise), dtype=torch.float64)
    data[:V] = torch.tensor([0.6, 0.25, 0.1, 0.05])
    generator = torch.Generator().manual_seed(0)
    count = 20_000

    def denoise(x_t, t):
        if reverse == "posterior":
            return data.expand(len(x_t), -1)
        weight = data * discrete.likelihood(x_t, t, schedule=s, noise=noise)
        return weight / weight.sum(-1, keepdim=True)

    x = discrete.draw((data @ total[T]).expand(count, -1), torch.rand(count, generator=generator))
    walk = discrete.sample(
        denoise, x, schedule=s, noise=noise, steps=steps, generator=generator, reverse=getattr(discrete, reverse)
    )
    *_, last = walk
    assert last.t == 0
    share = torch.bincount(last.x, minlength=len(noise)).double() / count
    torch.testing.assert_close(share, data, atol=0.015, rtol=0)


def test_draw_stays_in_the_support_whatever_the_number():
    probabilities = torch.tensor([0.0, 0.3, 0.0, 0.7, 0.0])
    u = torch.tensor([0.0, 0.299, 0.301, 0.999999, 1.0], dtype=torch.float64)
    assert discrete.draw(probabilities.expand(5, -1), u).tolist() == [1, 1, 3, 3, 3]


def test_bad_settings_are_refused():
    s, noise, x = schedule.cosine(T), discrete.uniform(V), torch.zeros(2, dtype=torch.int64)
    generator = torch.Generator()
    with pytest.raises(ConfigError, match="start = 7.*T = 6"):
        next(discrete.sample(lambda x, t: x, x, schedule=s, noise=noise, start=7, generator=generator))
    with pytest.raises(ConfigError, match="steps = 9"):
        next(discrete.sample(lambda x, t: x, x, schedule=s, noise=noise, steps=9, generator=generator))
    with pytest.raises(ConfigError, match="generator"):
        next(discrete.sample(lambda x, t: x, x, schedule=s, noise=noise))
