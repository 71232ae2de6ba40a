"""A photo's own colours decide between parts that are in doubt."""

import torch

from personagen.person.colour_prior import by_own_colours


def picture_of(left, right) -> torch.Tensor:
    picture = torch.empty(1, 3, 40, 40)
    picture[..., :20], picture[..., 20:] = torch.tensor(left)[:, None, None], torch.tensor(right)[:, None, None]
    return picture


def test_doubt_is_settled_by_colour_and_only_where_colours_differ():
    shares = torch.zeros(1, 3, 40, 40)
    shares[:, 0, :, :20] = shares[:, 1, :, 20:] = 1
    shares[:, :2, 10:20, 5:10] = 0.5  # in the colour of part 0
    told = by_own_colours(shares, picture_of((0.9, 0.8, 0.1), (0.1, 0.2, 0.7)))
    assert torch.allclose(told.sum(1), torch.ones(1, 40, 40)) and (told[:, 2] < 1e-6).all()
    assert (told[:, 0, 10:20, 5:10] > 0.85).all() and (told[:, 1, :, 20:] > 0.999).all()
    same = by_own_colours(shares, picture_of((0.4, 0.4, 0.4), (0.4, 0.4, 0.4)))
    assert (same - shares)[:, :, 10:20, 5:10].abs().max() < 0.05


def test_power_0_changes_nothing():
    shares = torch.rand(1, 10, 20, 15, generator=torch.Generator().manual_seed(0)).softmax(1)
    picture = torch.rand(1, 3, 20, 15, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(by_own_colours(shares, picture, power=0.0), shares, atol=1e-6)
    assert not torch.allclose(by_own_colours(shares, picture), shares, atol=1e-3)
