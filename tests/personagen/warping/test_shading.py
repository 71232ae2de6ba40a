"""The guess comes back in the light of the network's picture, and nothing else of that picture does."""

import numpy as np
import pytest
import torch
from PIL import Image

from personagen.tryon.pictures import finish, prepare
from personagen.warping.shading import shade, shaded
from recsys.errors import DataError

SIZE, TIMES = (96, 72), 4


@pytest.fixture
def case():
    """A photo four times as large as the model's picture, a garment, a mask, and a guess with stripes in the mask."""
    height, width = SIZE[0] * TIMES, SIZE[1] * TIMES
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), bool)
    mask[120:320, 80:210] = True
    guess = noise.copy()
    guess[140:300, 100:190] = 60
    guess[140:300:4, 100:190] = guess[141:300:4, 100:190] = (160, 60, 60)
    laid = Image.fromarray(guess)
    laid.putalpha(Image.fromarray((guess != noise).any(-1)).convert("L"))
    return Image.fromarray(noise), Image.new("RGB", (60, 80), "red"), mask, laid


def test_light_is_compared_in_the_large_and_within_bounds():
    generator = torch.Generator().manual_seed(0)
    guess, mask = torch.rand(3, *SIZE, generator=generator) / 2, torch.zeros(1, *SIZE)
    mask[:, 20:70, 10:60] = 1
    light = shade(guess + 0.1, guess, mask)
    assert torch.allclose(light[mask > 0], torch.tensor(0.05)) and not light[mask == 0].any()
    assert torch.allclose(shade(guess - 0.9, guess, mask)[mask > 0], torch.tensor(-0.12))
    fine = guess + 0.1 * (torch.arange(SIZE[1]) % 2 * 2 - 1)  # stripes a pixel wide
    assert shade(fine, guess, mask).abs().max() < 0.01
    picture = Image.new("RGBA", (4, 2), (51, 102, 153, 0))
    picture.putpixel((1, 1), (51, 102, 153, 255))
    again = shaded(picture, Image.fromarray(np.full((2, 4), 0.1, np.float32))) * 10
    assert again[0, :, 1, 1].tolist() == pytest.approx([3, 5, 7])
    assert again[0, :, 0, 1].tolist() == pytest.approx([2, 4, 6])


def test_a_guess_keeps_its_detail_and_what_is_the_photos_in_it(case):
    photo, garment, mask, guess = case
    inputs = prepare(photo, garment, mask, size=SIZE, guess=guess)
    assert inputs.guess is not None
    result = np.asarray(finish(inputs.guess[0] + 0.1, inputs, 0, repaint=True)).astype(int)
    before, wanted = np.asarray(photo).astype(int), np.asarray(guess.convert("RGB")).astype(int)
    assert np.array_equal(result[~mask], before[~mask])
    assert np.array_equal(result[125:138, 85:205], before[125:138, 85:205])
    assert np.abs(result - wanted - 255 * 0.05)[160:280, 120:170].max() <= 2


def test_a_guess_of_another_photo_is_refused(case):
    photo, garment, mask, guess = case
    with pytest.raises(DataError, match="guesses"):
        prepare(photo, garment, mask, size=SIZE, guess=guess.resize((10, 10)))
