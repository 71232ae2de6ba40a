"""Find the joints of a photographed person: thirteen distributions over the picture, a small branch of the parser.

Each joint is a softmax over the cells of a coarse grid; its place is the mean around the likeliest cell, as in integral
regression (Sun et al., ECCV 2018, arXiv 1711.08229), and what lies around it is how sure the network is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Joint = IntEnum(
    "Joint",
    "NOSE LEFT_SHOULDER RIGHT_SHOULDER LEFT_ELBOW RIGHT_ELBOW LEFT_WRIST RIGHT_WRIST LEFT_HIP RIGHT_HIP LEFT_KNEE "
    "RIGHT_KNEE LEFT_ANKLE RIGHT_ANKLE",
    start=0,
)
"""Left and right are the person's own."""
MIRRORED = [0, *(joint - 1 if joint % 2 == 0 else joint + 1 for joint in range(1, len(Joint)))]
"""The joint that each one is in a mirrored picture."""
NARROWEST = 0.55
"""Distance between the shoulders over the height from hips to shoulders of a person who is seen from the side."""
NEAR = 2
"""Cells around the likeliest one that its place is the mean of."""


@dataclass(frozen=True)
class Trunk:
    """Where a trunk is, in pixels: the middle of its shoulders and hips (2,), how far these are apart, the distance
    between the shoulders as seen from the front, and the directions down and to the picture's right (2,)."""

    shoulders: np.ndarray
    hips: np.ndarray
    tall: float
    across: float
    down: np.ndarray
    aside: np.ndarray


def trunk_of(joints: np.ndarray) -> Trunk:
    """Measure the trunk of a person by the joints (13, 2 or 3)."""
    left, right = joints[Joint.LEFT_SHOULDER, :2], joints[Joint.RIGHT_SHOULDER, :2]
    shoulders, hips = (left + right) / 2, (joints[Joint.LEFT_HIP, :2] + joints[Joint.RIGHT_HIP, :2]) / 2
    tall = max(float(np.hypot(*(hips - shoulders))), 1e-6)
    down = (hips - shoulders) / tall
    across = max(float(np.hypot(*(right - left))), NARROWEST * tall)
    return Trunk(shoulders, hips, tall, across, down, np.array([down[1], -down[0]]))


def as_seen(joints: np.ndarray) -> np.ndarray:
    """Joints (13, k) of a person as if seen from the front: the right shoulder is on the picture's left."""
    return joints[MIRRORED] if joints[Joint.RIGHT_SHOULDER, 0] > joints[Joint.LEFT_SHOULDER, 0] else joints


class Residual(nn.Module):
    """Two 3 x 3 convolutions with group normalisation around a shortcut."""

    def __init__(self, width: int, *, groups: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.norm1, self.norm2 = nn.GroupNorm(groups, width), nn.GroupNorm(groups, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (B, width, h, w) to features of the same shape."""
        return F.silu(x + self.norm2(self.second(F.silu(self.norm1(self.first(x))))))


class JointFinder(nn.Module):
    """Say where each joint is, from levels of a feature pyramid, finest first."""

    def __init__(self, levels: Sequence[int], width: int, *, groups: int) -> None:
        """levels: channels of each level; width: of this branch."""
        super().__init__()
        self.lateral = nn.ModuleList([nn.Conv2d(channels, width, 1) for channels in levels])
        self.refine = nn.ModuleList([Residual(width, groups=groups) for _ in levels])
        self.head = nn.Conv2d(width, len(Joint), 1)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Return logits over cells (B, 13, h, w) at the size of the finest level."""
        y = self.refine[-1](self.lateral[-1](levels[-1]))
        for i in reversed(range(len(levels) - 1)):
            finer = F.interpolate(y, size=levels[i].shape[2:], mode="nearest")
            y = self.refine[i](self.lateral[i](levels[i]) + finer)
        return self.head(y)


def mirrored(heat: Tensor) -> Tensor:
    """Turn what was found in mirrored pictures (B, 13, h, w) into what it says of the pictures themselves."""
    return heat.flip(3)[:, MIRRORED]


def places(heat: Tensor) -> Tensor:
    """Read logits over cells (B, 13, h, w): column and row as shares of the picture, and their probability around it.

    Returns (B, 13, 3).
    """
    height, width = heat.shape[2:]
    share = heat.float().flatten(2).softmax(-1)
    best = share.argmax(-1)
    x, y = torch.arange(width, device=heat.device), torch.arange(height, device=heat.device)
    near_x = (x - (best % width)[..., None]).abs() <= NEAR
    near_y = (y - (best // width)[..., None]).abs() <= NEAR
    around = share.unflatten(-1, (height, width)) * near_x[:, :, None] * near_y[..., None]
    mass = around.sum((2, 3))
    column, row = (around.sum(2) * (x + 0.5)).sum(-1) / mass, (around.sum(3) * (y + 0.5)).sum(-1) / mass
    return torch.stack([column / width, row / height, mass], -1)


def cell_loss(heat: Tensor, joints: Tensor, *, deviation: float = 1.5) -> Tensor:
    """Cross-entropy between distributions over cells and a Gaussian around each joint; (B, 13), 0 where one is outside.

    heat (B, 13, h, w); joints (B, 13, 2): column and row as shares of the picture; deviation: in cells.
    """
    height, width = heat.shape[2:]
    x, y = ((torch.arange(side, device=heat.device) + 0.5) for side in (width, height))
    away_x, away_y = x - joints[..., :1] * width, y - joints[..., 1:] * height
    log_target = -(away_x[:, :, None] ** 2 + away_y[..., None] ** 2) / (2 * deviation**2)
    target = log_target.flatten(2).softmax(-1)
    inside = ((joints > 0) & (joints < 1)).all(-1)
    return -(target * heat.flatten(2).log_softmax(-1)).sum(-1) * inside
