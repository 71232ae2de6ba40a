"""Ribbons: places go there and back, and two that share a cross-section meet there."""

import numpy as np

from personagen.warping.ribbon import Ribbon

BENT = Ribbon(np.array([[10.0, 5.0], [12.0, 30.0], [30.0, 60.0]]), np.array([[40.0, 8.0], [44.0, 30.0], [58.0, 48.0]]))


def test_places_go_there_and_back():
    u, v, there = BENT.coordinates((70, 64))
    x, y = BENT.at(u[there], v[there])
    row, column = np.nonzero(there)
    assert there.sum() > 1000
    assert np.abs(x - column - 0.5).max() < 1.0 and np.abs(y - row - 0.5).max() < 1.0


def test_it_goes_on_with_another():
    first, second = Ribbon(BENT.left[:2], BENT.right[:2]), Ribbon(BENT.left[1:], BENT.right[1:])
    end, start = first.at(np.ones(5), np.linspace(0, 1, 5)), second.at(np.zeros(5), np.linspace(0, 1, 5))
    assert np.allclose(end, start)
    assert len(first.then(second).left) == 4
