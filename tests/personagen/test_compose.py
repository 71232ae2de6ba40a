"""Real pixels come back where the network's picture agrees with them, and nowhere else."""

import numpy as np
import pytest
import torch
from PIL import Image

from personagen.compose import compose
from personagen.drape import cloth_of, laid
from personagen.images import blur
from personagen.tryon_pictures import finish, prepare
from recsys.errors import DataError

SIZE, TIMES = (96, 72), 4


@pytest.fixture
def case():
    """A photo four times as large as the model's picture, a striped garment on white, and a mask wider than it."""
    height, width = SIZE[0] * TIMES, SIZE[1] * TIMES
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    garment = np.full((height, width, 3), 255, np.uint8)
    garment[80:300, 60:230] = 40
    garment[80:300:8, 60:230] = garment[81:300:8, 60:230] = garment[82:300:8, 60:230] = (200, 60, 60)
    mask = np.zeros((height, width), bool)
    mask[120:320, 80:210] = True
    return Image.fromarray(noise), Image.fromarray(garment), mask


def laid_over(inputs) -> torch.Tensor:
    """What a network would paint that takes the garment's colours as they lie, and sees no detail."""
    inside = inputs.mask[0] > 0.5
    how = laid(cloth_of(inputs.garment[0] * 2 - 1), inside)
    assert how is not None
    return blur(how.lay(inputs.garment[0], inside=inside)[0][None], kernel=9)[0]


def contrast(picture: Image.Image) -> float:
    """Mean difference of neighbouring rows in the middle of the mask."""
    rows = np.asarray(picture).astype(float)[180:260, 120:170, 0]
    return float(np.abs(np.diff(rows, axis=0)).mean())


def test_the_garments_own_pixels_come_where_the_picture_agrees(case):
    photo, _, mask = case
    inputs = prepare(*case, size=SIZE)
    plain, composed = (finish(laid_over(inputs), inputs, 0, repaint=True, composed=on) for on in (False, True))
    assert contrast(composed) > 5 * contrast(plain)
    assert np.array_equal(np.asarray(composed)[~mask], np.asarray(photo)[~mask])


def test_what_the_picture_contradicts_is_not_taken(case):
    inputs = prepare(*case, size=SIZE)
    green = torch.zeros(3, *SIZE)
    green[1] = 0.9
    assert finish(green, inputs, 0, repaint=True, composed=True) == finish(green, inputs, 0, repaint=True)


def test_the_ground_stays_where_it_is_marked_and_what_was_worn_never_does(case):
    photo, garment, mask = case
    white = Image.new("RGB", garment.size, (250, 250, 250))
    white.paste((10, 200, 10), (100, 100, 180, 180))  # cloth that the picture below contradicts
    ground = np.zeros_like(mask)
    ground[:, :140] = True
    inputs = prepare(photo, white, mask, size=SIZE, ground=ground)
    like = blur(inputs.person, kernel=9)[0]
    result = np.asarray(finish(like, inputs, 0, repaint=True, composed=True)).astype(int)
    before = np.asarray(photo).astype(int)
    assert np.abs(result - before)[140:300, 90:130].mean() < 10 < 40 < np.abs(result - before)[140:300, 150:200].mean()
    assert compose(like, torch.ones(3, *SIZE), inputs.mask[0]) is None
    with pytest.raises(DataError, match="[Gg]rounds"):
        prepare(photo, white, mask, size=SIZE, ground=ground[:-1])
