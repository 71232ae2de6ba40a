"""Cuts are found again in silhouettes that were drawn from them."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from personagen.warping.garment_shape import cut_of
from recsys.errors import DataError


def silhouette(*polygons, size=(300, 260)) -> np.ndarray:
    picture = Image.new("1", size[::-1])
    for polygon in polygons:
        ImageDraw.Draw(picture).polygon(polygon, fill=1)
    return np.asarray(picture)


SHIRT = silhouette([(80, 40), (180, 40), (182, 240), (78, 240)], [(80, 40), (84, 100), (30, 120), (20, 80)],
                   [(180, 40), (176, 100), (230, 120), (240, 80)])  # fmt: skip
SWEATER = silhouette([(85, 40), (175, 40), (177, 180), (83, 180)], [(85, 40), (92, 85), (45, 172), (20, 160)],
                     [(175, 40), (168, 85), (215, 172), (240, 160)])  # fmt: skip
TROUSERS = silhouette([(80, 20), (130, 20), (120, 280), (70, 280)], [(130, 20), (180, 20), (190, 280), (140, 280)])


@pytest.mark.parametrize("cloth, hem, reach, falls", [(SHIRT, 240, (25, 100), 0.6), (SWEATER, 180, (32, 166), 1.8)])
def test_trunk_and_sleeves_of_a_top(cloth, hem, reach, falls):
    cut = cut_of(cloth, "upper")
    assert cut.overlap > 0.85 and cut.trunk is not None and not cut.legs
    (x, top), (_, bottom) = cut.trunk.points
    assert (x, top, bottom) == pytest.approx((130, 40, hem), abs=16)
    left, right = cut.sleeves
    assert left.points[1, 0] < 90 < 170 < right.points[1, 0]
    assert left.points[1] == pytest.approx(reach, abs=25)
    assert right.points[1] == pytest.approx((260 - reach[0], reach[1]), abs=25)
    run = right.points[1] - right.points[0]
    assert run[1] / run[0] == pytest.approx(falls, rel=0.45)


def test_legs_of_trousers_and_the_same_again():
    cut = cut_of(TROUSERS, "lower")
    assert cut.trunk is None and len(cut.legs) == 2 and cut.overlap > 0.9
    assert cut.legs[0].points[:, 0].max() < 130 < cut.legs[1].points[:, 0].min()
    assert [leg.length for leg in cut.legs] == pytest.approx([262, 262], abs=16)
    again = cut_of(TROUSERS, "lower")
    assert all(np.array_equal(a.points, b.points) for a, b in zip(cut.legs, again.legs, strict=True))


def test_a_skirt_is_one_trunk_and_rags_overlap_little():
    skirt = cut_of(silhouette([(90, 20), (170, 20), (220, 280), (40, 280)]), "lower")
    assert skirt.trunk is not None and skirt.trunk.half == pytest.approx([40, 90], abs=8) and skirt.overlap > 0.95
    rags = silhouette(
        [(10, 10), (60, 20), (40, 90)], [(200, 60), (250, 50), (240, 250)], [(90, 200), (120, 290), (60, 290)]
    )
    assert cut_of(rags, "upper").overlap < 0.6
    with pytest.raises(DataError, match="no cloth"):
        cut_of(np.zeros((40, 30), bool), "dress")
