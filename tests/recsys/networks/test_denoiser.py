import torch

from recsys.diffusion import schedule
from recsys.diffusion.gaussian import coefficients, q_sample
from recsys.networks.denoiser import LinearDenoiser, PosteriorDenoiser, time_embedding
from recsys.networks.items import cross_entropy, log_probabilities

D, N, T = 16, 30, 50
S = schedule.sqrt(T)


def test_time_embeddings_tell_times_apart():
    embedding = time_embedding(torch.arange(1, 1001), D)
    assert embedding.shape == (1000, D)
    assert torch.pdist(embedding).min() > 1e-3


def test_the_linear_denoiser_is_linear_in_noise_and_condition():
    f, t = LinearDenoiser(D), torch.tensor([3, 40])
    x, c, y, e = torch.randn(4, 2, D)
    torch.testing.assert_close(f(x, t, c) + f(y, t, e), f(x + y, t, c + e) + f(0 * x, t, 0 * c), atol=1e-5, rtol=1e-4)


def test_the_posterior_denoiser_is_bayes_rule_when_its_correction_is_silent():
    """log p(i | x_t, c) = log p(i | c) + log N(x_t; alpha e_i, sigma²) + constant, computed by hand."""
    f, t = PosteriorDenoiser(D, schedule=S), torch.tensor([1, 5, 20, T])
    torch.nn.init.zeros_(f.out.weight)
    items = torch.nn.functional.normalize(torch.randn(N + 1, D), dim=1) * D**0.5
    items[0] = 0
    bias, c = torch.randn(N + 1), torch.randn(4, D)
    x_t = q_sample(items[[7, 8, 9, 10]], t, torch.randn(4, D), schedule=S)
    alpha, sigma = coefficients(S, t, like=x_t)
    prior = log_probabilities(f.prior(c), items, bias, scale=D**-0.5)[:, 1:]
    distance = (x_t.unsqueeze(1) - alpha.unsqueeze(1) * items[1:]).square().sum(-1)
    expected = (prior - distance / (2 * sigma**2)).log_softmax(1)
    found = log_probabilities(f(x_t, t, c), items, bias, scale=D**-0.5)
    torch.testing.assert_close(found[:, 1:].exp(), expected.exp(), atol=1e-4, rtol=1e-3)
    assert (found[:, 0] == -torch.inf).all()


def test_noise_alone_hardly_moves_the_posterior_denoiser():
    f, t, c = PosteriorDenoiser(D, schedule=schedule.sqrt(100)), torch.full((2,), 100), torch.randn(1, D).expand(2, D)
    one, other = f(torch.randn(2, D), t, c)
    assert (one - other).norm() < 0.05 * one.norm()


def test_sampled_softmax_agrees_with_the_full_one():
    g = torch.Generator().manual_seed(0)
    query, target = torch.randn(64, D), torch.randint(1, 2001, (64,))
    items, bias = torch.randn(2001, D) * 0.3, torch.randn(2001) * 0.3
    full = cross_entropy(query, target, items, bias, scale=1.0, limit=2000, generator=g)
    drawn = [cross_entropy(query, target, items, bias, scale=1.0, limit=500, generator=g) for _ in range(20)]
    assert abs(full - torch.stack(drawn).mean()) < 0.05
