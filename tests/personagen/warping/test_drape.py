"""A garment laid over a person: where it must lie, what stays as it was, and what cannot be laid."""

import pytest
import torch

from personagen.warping.drape import drape
from recsys.errors import DataError


def _rectangle(top, bottom, left, right, *, value, ground=1.0):
    picture = torch.full((1, 3, 40, 30), ground)
    picture[:, :, top:bottom, left:right] = value
    return picture


def _mask(top, bottom, left, right):
    mask = torch.zeros(1, 1, 40, 30)
    mask[:, :, top:bottom, left:right] = 1
    return mask


def test_a_garment_is_scaled_and_shifted_to_the_upper_edge_of_the_mask():
    person, garment = torch.full((1, 3, 40, 30), 0.3), _rectangle(4, 14, 5, 15, value=-0.5)  # 10 high, 10 wide
    mask = _mask(10, 38, 6, 26)  # 20 wide
    laid = drape(person, mask, garment)
    assert torch.equal(laid[..., :10, :], person[..., :10, :]) and torch.equal(laid[..., :6], person[..., :6])
    wide, tall = 17, 20  # 0.85 of the mask's width, and 1.15 times as tall as that asks for
    left = 16 - wide // 2
    assert (laid[0, :, 11 : 9 + tall, left + 1 : left + wide - 1] == -0.5).all()
    assert (laid[0, :, 12 + tall : 38, 6:26] == 0).all()  # below the garment: grey
    assert (laid[0, :, 12:20, 6 : left - 1] == 0).all()  # beside it too


def test_a_garment_without_a_white_ground_is_laid_whole_and_white_leaves_grey():
    person, mask = torch.zeros(1, 3, 40, 30), _mask(0, 40, 0, 30)
    photo = torch.full((1, 3, 40, 30), 0.5)
    laid = drape(person, mask, photo)[..., 2:36, 4:26]
    assert torch.allclose(laid, torch.full_like(laid, 0.5))
    assert (drape(person + 0.5, mask, torch.ones(1, 3, 40, 30)) == 0).all()
    assert (drape(person + 0.5, torch.zeros_like(mask), photo) == 0.5).all()


def test_each_picture_of_a_batch_is_its_own():
    generator = torch.Generator().manual_seed(0)
    person, garment = (torch.rand(2, 3, 40, 30, generator=generator) for _ in range(2))
    mask = torch.cat([_mask(10, 30, 6, 26), _mask(3, 20, 2, 9)])
    both = drape(person, mask, garment)
    for i in range(2):
        assert torch.equal(both[i : i + 1], drape(person[i : i + 1], mask[i : i + 1], garment[i : i + 1]))


def test_pictures_of_other_sizes_are_refused():
    with pytest.raises(DataError, match="at one size"):
        drape(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4), torch.zeros(1, 3, 4, 5))
