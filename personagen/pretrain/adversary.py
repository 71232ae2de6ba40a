"""Losses that make a decoder decide: features instead of pixels, and a critic of patches.

A loss by pixels is least for the mean of all pictures that a latent could stand for, which is fog. Two remedies:

- Perceptual distance (Zhang et al. 2018, arXiv 1801.03924, without learnt weights): the squared difference of unit
  feature vectors at several resolutions, here of EfficientNet-Lite0, which the parser of people brings along.
- A critic of patches (Isola et al. 2017, arXiv 1611.07004) with the hinge loss (Lim & Ye 2017, arXiv 1705.02894) and a
  penalty on its gradient at true pictures (Mescheder et al. 2018, arXiv 1801.04406), weighed so that it pulls at the
  decoder's last layer as much as the pixels do (Esser et al. 2021, arXiv 2012.09841). It sees details alone, so that
  it has no say in colours: those drift otherwise.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from recsys.errors import ConfigError

from ..person.network import PersonParser


def feature_distance(network: PersonParser, x: Tensor, y: Tensor) -> Tensor:
    """Perceptual distance (a scalar) of pictures x and y (B, 3, H, W) in [-1, 1], by the backbone of a parser.

    What a multiple of 32 pixels leaves over at the right and below does not count.

    Raises:
        ConfigError: the pictures have fewer than 32 pixels a side.
    """
    height, width = (side // 32 * 32 for side in x.shape[2:])
    if not height or not width:
        raise ConfigError(
            f"a distance of features needs 32 pixels a side, not {tuple(x.shape[2:])}; raise vae.crop, or the size"
        )
    known, seen = (network.backbone(one[:, :, :height, :width]) for one in (x, y))
    parts = [(F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(1).mean() for a, b in zip(known, seen)]
    return torch.stack(parts).mean()


BLUR = 9
"""Pixels of the mean that a picture's details are what differs from it."""


class PatchCritic(nn.Module):
    """Says of every patch how true its details look: (B, 3, H, W) in [-1, 1] to (B, 1, H / 8, W / 8)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = (3, width, 2 * width, 4 * width)
        self.down = nn.ModuleList([nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(widths, widths[1:])])
        self.norm = nn.ModuleList([nn.GroupNorm(8, b) for b in widths[2:]])
        self.mix, self.last = nn.Conv2d(widths[-1], widths[-1], 3, padding=1), nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of patches for pictures x (B, 3, H, W)."""
        x = 2 * (x - F.avg_pool2d(x, BLUR, 1, BLUR // 2, count_include_pad=False))
        x = F.leaky_relu(self.down[0](x), 0.2)
        for conv, norm in zip(self.down[1:], self.norm):
            x = F.leaky_relu(norm(conv(x)), 0.2)
        return self.last(F.leaky_relu(self.mix(x), 0.2))


def critic_loss(critic: PatchCritic, true: Tensor, made: Tensor) -> Tensor:
    """Hinge loss of the critic alone: no gradient reaches what made the pictures `made` (B, 3, H, W)."""
    return (F.relu(1 - critic(true)).mean() + F.relu(1 + critic(made.detach())).mean()) / 2


def steepness(critic: PatchCritic, true: Tensor) -> Tensor:
    """Mean squared gradient (a scalar) of what the critic says of true pictures (B, 3, H, W), a pixel a patch."""
    x = true.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return slope.square().sum(1).mean()


def fooling_loss(critic: PatchCritic, made: Tensor) -> Tensor:
    """How little the critic believes the pictures `made` (B, 3, H, W): no gradient reaches the critic's weights."""
    frozen = {name: value.detach() for name, value in critic.named_parameters()}
    return -functional_call(critic, frozen, (made,)).mean()


def balance(plain: Tensor, fooling: Tensor, last: Tensor, *, highest: float = 1e3) -> Tensor:
    """Weight at which both losses (scalars) pull alike at the weights `last` of the decoder's last layer."""
    pulls = [torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (plain, fooling)]
    return (pulls[0] / (pulls[1] + 1e-6)).clamp(max=highest).detach()
