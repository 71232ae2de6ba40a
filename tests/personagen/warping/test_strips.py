"""Strips against brute force: nearest point of the line, share of its length, share of the width there."""

import numpy as np
import pytest

from personagen.warping.strips import Strip

BENT = Strip(np.array([[10.0, 5.0], [12.0, 30.0], [40.0, 45.0]]), np.array([4.0, 6.0, 2.0]))


def test_coordinates_are_those_of_the_nearest_point_of_the_line():
    shares = np.linspace(0, 1, 20_001)
    steps = np.hypot(*np.diff(BENT.points, axis=0).T)
    done = np.concatenate([[0], np.cumsum(steps)]) / steps.sum()
    line = np.stack([np.interp(shares, done, BENT.points[:, i]) for i in range(2)], 1)
    half = np.interp(shares, done, BENT.half)
    places = np.random.default_rng(0).uniform([5, 8], [38, 40], (200, 2))
    u, v = BENT.coordinates(places[:, 0], places[:, 1])
    away = np.hypot(*(places[:, None] - line[None]).transpose(2, 0, 1))
    nearest = away.argmin(1)
    inner = (nearest > 0) & (nearest < len(shares) - 1)
    assert inner.sum() > 100
    assert np.allclose(u[inner], shares[nearest][inner], atol=1e-3)
    assert np.allclose(np.abs(v)[inner], (away.min(1) / half[nearest])[inner], atol=1e-2)


@pytest.mark.parametrize("length, end, half", [(10.0, (10.797, 14.968), 4.797), (25.08, (12, 30), 6), (80.0, None, 2)])
def test_a_strip_is_cut_or_goes_on(length, end, half):
    part = BENT.cut(length)
    assert part.length == pytest.approx(length, abs=1e-2) and part.half[-1] == pytest.approx(half, abs=1e-2)
    if end is not None:
        assert part.points[-1] == pytest.approx(end, abs=1e-2)


def test_a_strip_is_round_at_its_start_and_ends_at_its_end():
    strip = Strip(np.array([[20.0, 10.0], [20.0, 40.0]]), np.array([8.0, 4.0]))
    x, y = np.array([20.0, 26.0, 20.0, 26.0, 20.0]), np.array([10.0, 25.0, 3.0, 4.0, 45.0])
    assert strip.off_middle(x, y) == pytest.approx([0, 1, 7 / 8, np.hypot(6, 6) / 8, np.inf], abs=1e-6)
