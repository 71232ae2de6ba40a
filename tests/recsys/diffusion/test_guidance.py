import pytest
import torch

from recsys.diffusion.guidance import classifier_free, drop_condition, given
from recsys.errors import ConfigError

X, T = torch.randn(4, 3), torch.tensor([1, 2, 3, 4])
C, NULL = torch.randn(4, 3), torch.randn(3)


def _f(x, t, c):
    return x * t.unsqueeze(-1) + c**2


def test_guidance_is_the_weighted_difference():
    found = classifier_free(_f, C, NULL, weight=1.5)(X, T)
    torch.testing.assert_close(found, 2.5 * _f(X, T, C) - 1.5 * _f(X, T, NULL.expand_as(C)))


def test_weight_zero_is_the_conditional_denoiser_and_asks_once():
    asked = []
    denoise = classifier_free(lambda *a: asked.append(len(a[0])) or _f(*a), C, NULL, weight=0.0)
    assert torch.equal(denoise(X, T), given(_f, C)(X, T)) and asked[0] == 4


def test_conditions_are_dropped_at_the_given_rate():
    condition = torch.ones(200, 50, 3)
    dropped = (drop_condition(condition, NULL, p=0.1, generator=torch.Generator().manual_seed(0)) == NULL).all(-1)
    assert dropped.float().mean() == pytest.approx(0.1, abs=0.01)
    assert torch.equal(drop_condition(C, NULL, p=0.0, generator=torch.Generator()), C)
    assert torch.equal(drop_condition(C, NULL, p=1.0, generator=torch.Generator()), NULL.expand_as(C))


def test_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="weight = -1"):
        classifier_free(_f, C, NULL, weight=-1)
    with pytest.raises(ConfigError, match="p = 2"):
        drop_condition(C, NULL, p=2, generator=torch.Generator())
