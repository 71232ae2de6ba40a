"""What counts as the inside of a back that shows through a neckline."""

import numpy as np

from personagen.warping.neckline import inside_of


def test_a_shadow_beside_the_buttons_is_no_neckline():
    cloth = np.zeros((120, 100), bool)
    cloth[10:110, 20:80] = True
    shoulders = np.array([[20.0, 14.0], [80.0, 14.0]])
    front = np.full(cloth.shape, 0.8)
    neck, shadow = front.copy(), front.copy()
    neck[12:24, 40:60] = 0.55  # the back's inside, in the middle
    shadow[14:40, 52:57] = 0.55  # a stripe on one side
    assert inside_of(neck, cloth, shoulders)[12:24, 42:58].all()
    assert not inside_of(shadow, cloth, shoulders).any()
