"""Completion by patches: a texture goes on, patches are the nearest that there are, and only what is known is used."""

import numpy as np
import pytest
from PIL import Image

import personagen.warping.inpaint as completion
from personagen.images import to_tensor
from personagen.warping.inpaint import complete, spread


def tiles(size: tuple[int, int], *, side: int = 12) -> np.ndarray:
    """A wall of bricks (H, W, 3), whose courses differ in colour."""
    y, x = np.mgrid[: size[0], : size[1]]
    course = y // side
    mortar = (y % side < 2) | ((x + course % 2 * side) % (2 * side) < 2)
    colour = np.where((course % 2 == 0)[..., None], [180, 80, 60], [120, 60, 50])
    return np.where(mortar[..., None], 220, colour).astype(np.uint8)


def hole_in(size: tuple[int, int]) -> np.ndarray:
    hole = np.zeros(size, bool)
    hole[size[0] // 3 : size[0] * 2 // 3, size[1] // 3 : size[1] * 2 // 3] = True
    return hole


def test_a_wall_of_bricks_goes_on():
    truth = tiles((96, 120))
    hole = hole_in(truth.shape[:2])
    broken = truth.copy()
    broken[hole] = (0, 0, 255)
    found = complete(Image.fromarray(broken), ~hole, hole)
    assert found is not None
    result = np.asarray(found)
    assert np.array_equal(result[~hole], truth[~hole])
    smooth = spread(to_tensor(Image.fromarray(broken))[0], ~hole)
    assert smooth is not None
    wrong = lambda picture: float(np.abs(picture[hole].astype(float) - truth[hole]).mean())
    assert wrong(result) < 0.35 * wrong(smooth.permute(1, 2, 0).numpy() * 255)


def test_only_what_is_known_is_used():
    picture = np.full((80, 80, 3), (60, 160, 60), np.uint8)
    picture[:, :20] = (250, 0, 0)  # a person, say
    hole = hole_in((80, 80))
    hole[:, 20:30] = True
    known = ~hole
    known[:, :20] = False
    found = complete(Image.fromarray(picture), known, hole)
    assert found is not None and (np.abs(np.asarray(found)[hole].astype(int) - (60, 160, 60)) <= 1).all()


def test_a_large_photo_is_filled_as_sharply_as_it_is():
    grain = np.random.default_rng(0).integers(90, 170, (720, 600, 1)).astype(np.uint8).repeat(3, 2)
    hole = hole_in(grain.shape[:2])
    found = complete(Image.fromarray(grain), ~hole, hole)
    assert found is not None
    result = np.asarray(found).astype(float)
    inside, outside = (result[where].std() for where in (hole, ~hole))
    assert 0.8 * outside < inside < 1.2 * outside


def test_what_cannot_be_filled():
    photo = Image.fromarray(tiles((40, 40)))
    nothing, everything = np.zeros((40, 40), bool), np.ones((40, 40), bool)
    assert complete(photo, nothing, everything) is None
    assert complete(photo, everything, nothing) == photo
    once, again = (complete(photo, ~hole_in((40, 40)), hole_in((40, 40))) for _ in range(2))
    assert once is not None and once == again


def test_averages_stand_in_where_no_patch_fits():
    picture = np.full((5, 5, 3), (200, 30, 30), np.uint8)
    hole = hole_in((5, 5))
    picture[hole] = (0, 0, 255)
    found = complete(Image.fromarray(picture), ~hole, hole)
    assert found is not None and (np.abs(np.asarray(found).astype(int) - (200, 30, 30)) <= 1).all()


@pytest.mark.parametrize("scale", [1, 4])
def test_nothing_leaks_into_the_hole_from_what_is_neither_known_nor_filled(scale):
    size = (160 * scale, 120 * scale)
    picture = np.full((*size, 3), 128, np.uint8)
    block, ring = np.zeros(size, bool), np.zeros(size, bool)
    block[50 * scale : 110 * scale, 40 * scale : 80 * scale] = True
    ring[40 * scale : 120 * scale, 30 * scale : 90 * scale] = True
    picture[block] = (250, 0, 0)
    ring &= ~block
    found = complete(Image.fromarray(picture), ~ring & ~block, ring)
    assert found is not None and (np.abs(np.asarray(found)[ring].astype(int) - 128) <= 1).all()


@pytest.mark.parametrize("seed", range(3))
def test_patches_are_nearly_the_nearest_that_there_are(seed):
    rng = np.random.default_rng(seed)
    noise = Image.fromarray((rng.random((8, 7, 3)) * 255).astype(np.uint8))
    picture = np.asarray(noise.resize((40, 44), Image.Resampling.BICUBIC), np.float32) / 255
    hole = hole_in(picture.shape[:2])
    level = completion._Level(picture, ~hole, hole)
    level.start(None, rng)
    everyone = np.arange(level.targets.size)
    every = np.stack([level._cost(everyone, np.full(everyone.size, choice)) for choice in level.choices])
    for _ in range(12):
        level.search(rng)
    assert (level.best >= every.min(0) - 1e-6).all()
    assert level.best.mean() < 1.1 * every.min(0).mean() < 0.5 * np.median(every, 0).mean()
