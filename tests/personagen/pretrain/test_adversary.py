"""Losses that make a decoder decide: who gets which gradient, and whether a critic learns to tell."""

import pytest
import torch
import torch.nn.functional as F

from personagen.person.parser import load_model
from personagen.pretrain.adversary import PatchCritic, balance, critic_loss, feature_distance, fooling_loss, steepness
from recsys.errors import ConfigError


def test_the_critic_and_what_it_judges_get_their_own_gradients():
    torch.manual_seed(0)
    critic, true = PatchCritic(8), torch.rand(2, 3, 32, 32)
    made = torch.rand(2, 3, 32, 32, requires_grad=True)
    critic_loss(critic, true, made).backward()
    assert made.grad is None and all(p.grad is not None for p in critic.parameters())
    critic.zero_grad(set_to_none=True)
    loss = fooling_loss(critic, made)
    torch.testing.assert_close(loss, -critic(made).mean())
    loss.backward()
    assert made.grad is not None and made.grad.abs().sum() > 0
    assert all(p.grad is None for p in critic.parameters())


def test_the_hinge_loss_is_that_of_the_paper():
    critic = PatchCritic(8)
    true, made = torch.rand(2, 2, 3, 32, 32)
    expected = (torch.clamp(1 - critic(true), min=0).mean() + torch.clamp(1 + critic(made), min=0).mean()) / 2
    torch.testing.assert_close(critic_loss(critic, true, made), expected)


def test_a_critic_learns_to_tell_blurred_pictures():
    torch.manual_seed(0)
    critic = PatchCritic(8)
    optimiser = torch.optim.Adam(critic.parameters(), 3e-3)
    for _ in range(60):
        true = torch.rand(8, 3, 32, 32)
        optimiser.zero_grad()
        critic_loss(critic, true, F.avg_pool2d(true, 3, 1, 1)).backward()
        optimiser.step()
    true = torch.rand(8, 3, 32, 32)
    assert critic(true).mean() > 0 > critic(F.avg_pool2d(true, 3, 1, 1)).mean()


def test_the_weight_makes_both_losses_pull_alike_at_the_last_layer():
    last = torch.nn.Parameter(torch.ones(3))
    plain, fooling = (last * torch.tensor([3.0, 0, 4])).sum(), (last * torch.tensor([0.0, 2, 0])).sum()
    torch.testing.assert_close(balance(plain, fooling, last), torch.tensor(2.5))
    assert balance(plain, 0 * fooling, last, highest=7.0) == 7


def test_features_see_a_blur_that_pixels_forgive():
    network, torch_generator = load_model(), torch.Generator().manual_seed(0)
    x = (torch.rand(2, 3, 64, 64, generator=torch_generator) > 0.5).float() * 2 - 1
    assert feature_distance(network, x, x) == 0
    with pytest.raises(ConfigError, match="32 pixels"):
        feature_distance(network, x[:, :, :20], x[:, :, :20])
    blurred, brighter = F.avg_pool2d(x, 3, 1, 1), x + 0.3
    assert feature_distance(network, x, blurred) > 2 * feature_distance(network, x, brighter)


def test_the_critic_has_no_say_in_colours():
    torch.manual_seed(0)
    critic, x = PatchCritic(8), torch.rand(2, 3, 32, 32)
    shift = torch.tensor([0.3, -0.2, 0.1])[:, None, None]
    torch.testing.assert_close(critic(x), critic(x + shift), rtol=1e-3, atol=1e-4)


def test_steepness_is_the_mean_squared_gradient():
    torch.manual_seed(0)
    critic, x = PatchCritic(8).double(), torch.rand(1, 3, 32, 32, dtype=torch.float64)
    y = x.clone().requires_grad_(True)
    expected = torch.autograd.grad(critic(y).sum(), y)[0].square().sum(1).mean()
    torch.testing.assert_close(steepness(critic, x), expected)
    steepness(critic, x).backward()
    assert critic.last.weight.grad is not None
