"""The camera that took the photo: what stands nearer is larger, and feet are seen from above.

A figure is built in the picture's own coordinates, straight behind its pixels, and then moved to where it stands in the
world. A pinhole looks level from a height that no photo tells, and a distance that feet tell roughly. At the feet it
looks some 14 degrees down, so that toes lie 3 to 5 cm below the heels in the picture; on the ground they do not.
"""

from dataclasses import dataclass

import numpy as np

DISTANCES = (2.5, 8.0)
"""Metres from which people are photographed."""


@dataclass(frozen=True)
class Lens:
    """A level pinhole: its distance from the person and its height over the picture's lowest row, metres.

    ground: height in the world, above the picture's lowest row at the person's depth, of what the person stands on.
    """

    distance: float = 5.0
    height: float = 1.25
    ground: float = 0.0

    def to_picture(self, points: np.ndarray) -> np.ndarray:
        """Where points (n, 3) of the world are seen, with their depth kept, float32."""
        return self._scaled(points, self.distance / (self.distance - points[:, 2]))

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 3) of the picture as they stand in the world; the inverse of `to_picture`."""
        return self._scaled(points, (self.distance - points[:, 2]) / self.distance)

    def _scaled(self, points: np.ndarray, share: np.ndarray) -> np.ndarray:
        return np.stack(
            [points[:, 0] * share, self.height + (points[:, 1] - self.height) * share, points[:, 2]], 1
        ).astype(np.float32)

    def standing(self, points: np.ndarray, height: float) -> np.ndarray:
        """Points (n, 3) of the picture as a person stands on the ground who is so tall, metres, float32."""
        out = self.to_world(points)
        out[:, 1] -= self.ground
        return out * np.float32(height / (height - self.ground))


def lens_of(reach: float, ankles: float, *, height: float = Lens.height) -> Lens:
    """The lens of a picture whose lowest row shows what lies `reach` metres before the person: the tips of the toes.

    ankles: how high above that row ankles are seen beyond their height over the ground, which tells how near the camera
    stood; heels are taken for that, too.
    """
    distance = float(np.clip(height * reach / max(ankles, 1e-3), *DISTANCES))
    return Lens(distance, height, height * reach / distance)
