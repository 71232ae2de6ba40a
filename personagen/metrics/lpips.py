"""LPIPS, a learned distance between two pictures, with weights that the user has.

Zhang et al., CVPR 2018, eq. 1, version 0.1: features of several layers, each scaled to length 1 over the channels; their
squared differences, weighed by channel, averaged over places and added up over layers. Published try-on figures use
AlexNet or SqueezeNet. One safetensors file holds both the backbone (torchvision's names, `features.0.weight`) and the
linear weights (the authors' names, `lin0.model.1.weight`); merged once from the two .pth files:

    save_file({**torch.load("alexnet.pth", weights_only=True), **torch.load("alex.pth", weights_only=True)}, "alex.safetensors")
"""  # noqa: E501

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from recsys.errors import DataError, ModelError, shown

Distance = Callable[[Tensor, Tensor], Tensor]
"""From pictures a, b (B, 3, H, W) in [0, 1] to their distances (B,)."""
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
"""Of pictures in [-1, 1], as the authors normalise them."""


class _Fire(nn.Module):
    """SqueezeNet's block: a 1 x 1 convolution, then 1 x 1 and 3 x 3 ones side by side."""

    def __init__(self, inside: int, narrow: int, wide: int) -> None:
        super().__init__()
        self.squeeze, self.expand1x1 = nn.Conv2d(inside, narrow, 1), nn.Conv2d(narrow, wide, 1)
        self.expand3x3 = nn.Conv2d(narrow, wide, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x), self.expand3x3(x)], 1).relu()


def _alex() -> list[nn.Module]:
    pool = lambda: nn.MaxPool2d(3, 2)
    return [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), pool(), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), pool(),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()]  # fmt: skip


def _squeeze() -> list[nn.Module]:
    pool = lambda: nn.MaxPool2d(3, 2, ceil_mode=True)
    return [nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool(), _Fire(64, 16, 64), _Fire(128, 16, 64), pool(),
            _Fire(128, 32, 128), _Fire(256, 32, 128), pool(), _Fire(256, 48, 192), _Fire(384, 48, 192),
            _Fire(384, 64, 256), _Fire(512, 64, 256)]  # fmt: skip


def _vgg() -> list[nn.Module]:
    layers: list[nn.Module] = []
    inside = 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers += [nn.Conv2d(inside, width, 3, padding=1), nn.ReLU()]
            inside = width
        layers.append(nn.MaxPool2d(2))
    return layers[:-1]


NETS = {
    "alex": (_alex, (1, 4, 7, 9, 11), "features.10.weight"),
    "squeeze": (_squeeze, (1, 4, 7, 9, 10, 11, 12), "features.12.squeeze.weight"),
    "vgg": (_vgg, (3, 8, 15, 22, 29), "features.28.weight"),
}
"""Backbone -> its layers, those whose output is compared, and a tensor that tells it from the others."""


def load_lpips(file: str | Path) -> Distance:
    """Load LPIPS with the backbone that the file holds: AlexNet, VGG-16 or SqueezeNet 1.1.

    Returns a function that raises DataError on pictures of unequal shapes or below 32 pixels a side.

    Raises:
        ModelError: the file is missing or damaged, or a tensor is missing or has another shape.
    """
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"the LPIPS weights {file} cannot be read ({shown(error, most=200)}); give a .safetensors file"
        ) from error
    name = next((net for net in ("vgg", "squeeze", "alex") if NETS[net][2] in tensors), None)
    if name is None:
        raise ModelError(
            f"{file} holds no features of AlexNet, VGG-16 or SqueezeNet; merge backbone and linear weights"
        )
    build, taps, _ = NETS[name]
    layers = nn.Sequential(*build())
    wanted = {f"features.{key}": value.shape for key, value in layers.state_dict().items()}
    linear = [f"lin{i}.model.1.weight" for i in range(len(taps))]
    for key in [*wanted, *linear]:
        if key not in tensors or (key in wanted and tensors[key].shape != wanted[key]):
            raise ModelError(f"{file} lacks {key} of {name}, or has it in another shape; merge both files of {name}")
    layers.load_state_dict({key.removeprefix("features."): tensors[key].float() for key in wanted})
    layers.requires_grad_(False).eval()
    weights = [tensors[key].float().flatten() for key in linear]
    norm = [torch.tensor(values)[:, None, None] for values in (SHIFT, SCALE)]

    def features(x: Tensor) -> list[Tensor]:
        x, found = (x * 2 - 1 - norm[0]) / norm[1], []
        for place, layer in enumerate(layers):
            x = layer(x)
            if place in taps:
                found.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    @torch.no_grad()
    def distance(a: Tensor, b: Tensor) -> Tensor:
        if a.shape != b.shape or a.ndim != 4 or min(a.shape[2:]) < 32:
            raise DataError(f"pictures {tuple(a.shape)}, {tuple(b.shape)} must have one shape, at least 32 a side")
        parts = zip(features(a), features(b), weights, strict=True)
        return torch.stack([((x - y).square().mean((2, 3)) * w).sum(1) for x, y, w in parts]).sum(0)

    return distance
