"""The parser's network: EfficientNet-Lite0 (Tan and Le, ICML 2019, arXiv 1905.11946) and a feature pyramid over it.

The backbone's squeeze-and-excitation is left out and its activation is ReLU6, as in the Lite variants; its batch
normalisation is folded into the convolutions, w' = w g / sqrt(v + eps), b' = beta - m g / sqrt(v + eps), and gone. The
pyramid (Lin et al., CVPR 2017, arXiv 1612.03144) goes up to half resolution with one residual block a level.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recsys.errors import ConfigError, ModelError

from .joints import JointFinder, Residual, mirrored
from .parts import Part

BLOCKS = tuple(
    (inside if i == 0 else outside, outside, expand, kernel, stride if i == 0 else 1)
    for inside, outside, expand, kernel, stride, repeat in (
        (32, 16, 1, 3, 1, 1), (16, 24, 6, 3, 2, 2), (24, 40, 6, 5, 2, 2), (40, 80, 6, 3, 2, 3), (80, 112, 6, 5, 1, 3),
        (112, 192, 6, 5, 2, 4), (192, 320, 6, 3, 1, 1),
    )
    for i in range(repeat)
)  # fmt: skip
"""Channels in and out, expansion, kernel and stride of every block of EfficientNet-Lite0 (the paper's Table 1)."""
EPS = 1e-3
"""Of the backbone's batch normalisation."""


@dataclass(frozen=True)
class ParserSizes:
    """Sizes of the network: blocks of the backbone, the pyramid's widths from half resolution down (one for each
    resolution, `levels_of`), groups of its normalisation, the pictures it reads, the width of the branch that finds
    the joints, 0 for none, and how many parts it tells apart."""

    blocks: int = 15
    widths: tuple[int, ...] = (24, 32, 48, 80, 112)
    groups: int = 8
    height: int = 320
    width: int = 240
    joints: int = 0
    classes: int = len(Part)


def levels_of(blocks: int) -> list[int]:
    """The last block of each resolution, of the first `blocks`; each but the first halves the picture once more."""
    return [i for i in range(blocks) if i == blocks - 1 or BLOCKS[i + 1][4] == 2]


class _Conv(nn.Conv2d):
    """A convolution that keeps the size, or halves it as TensorFlow's "same" does: one pixel more at the end."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1, *, groups: int = 1) -> None:
        super().__init__(inside, outside, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups)
        before = (kernel - 2) // 2
        self.border = (before, kernel - 2 - before) * 2

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input if self.stride[0] == 1 else F.pad(input, self.border))


class _Inverted(nn.Module):
    """Expand, convolve each channel alone, project; with a shortcut where the shape stays (MobileNetV2's block)."""

    def __init__(self, inside: int, outside: int, expand: int, kernel: int, stride: int) -> None:
        super().__init__()
        middle = inside * expand
        self.expand = _Conv(inside, middle, 1) if expand > 1 else None
        self.depthwise = _Conv(middle, middle, kernel, stride, groups=middle)
        self.project = _Conv(middle, outside, 1)
        self.same = inside == outside and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.same else y


class PersonParser(nn.Module):
    """Say for every pixel which part of a body, or of a garment, it shows, and where the joints are."""

    def __init__(self, sizes: ParserSizes) -> None:
        super().__init__()
        self.sizes, widths, self.levels = sizes, sizes.widths, levels_of(sizes.blocks)
        if len(widths) != len(self.levels):
            raise ConfigError(
                f"{sizes.blocks} blocks have {len(self.levels)} resolutions; give as many widths, not {widths}"
            )
        self.stem = _Conv(3, 32, 3, 2)
        self.blocks = nn.ModuleList([_Inverted(*shape) for shape in BLOCKS[: sizes.blocks]])
        found = [BLOCKS[i][1] for i in self.levels]
        found[-1] += 2  # where in the picture
        self.lateral = nn.ModuleList([nn.Conv2d(a, b, 1) for a, b in zip(found, widths, strict=True)])
        self.narrow = nn.ModuleList([nn.Conv2d(b, a, 1) for a, b in zip(widths, widths[1:])])
        self.up = nn.ModuleList([Residual(width, groups=sizes.groups) for width in widths])
        self.head = nn.Conv2d(widths[0], sizes.classes, 1)
        self.joints = JointFinder(widths[1:4], sizes.joints, groups=sizes.groups) if sizes.joints else None

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes, H, W) for pictures x (B, 3, H, W) in [-1, 1]; any size divisible by 2^levels."""
        return self._parts(self.pyramid(x), x)

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """Return the levels of the feature pyramid for pictures x (B, 3, H, W), from half resolution down."""
        found = self.backbone(x)
        found[-1] = torch.cat([found[-1], _place(found[-1])], 1)
        found[-1] = self.up[-1](self.lateral[-1](found[-1]))
        for i in reversed(range(len(found) - 1)):
            finer = F.interpolate(self.narrow[i](found[i + 1]), size=found[i].shape[2:], mode="nearest")
            found[i] = self.up[i](self.lateral[i](found[i]) + finer)
        return found

    def backbone(self, x: Tensor) -> list[Tensor]:
        """Return EfficientNet-Lite0's features of x (B, 3, H, W): the last of each resolution, from half down."""
        x = F.relu6(self.stem(x.contiguous(memory_format=torch.channels_last)))
        found = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.levels:
                found.append(x)
        return found

    def _parts(self, levels: list[Tensor], x: Tensor) -> Tensor:
        return F.interpolate(self.head(levels[0]), size=x.shape[2:], mode="bilinear", align_corners=False)

    @torch.no_grad()
    def both_ways(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Read x (B, 3, H, W) and its mirror image: the mean of the logits of parts, (B, 10, H, W), and of joints over
        cells, (B, 13, h, w) where the network finds them."""
        both = torch.cat([x, x.flip(3)])
        levels = self.pyramid(both)
        as_is, other = self._parts(levels, both).chunk(2)
        if self.joints is None:
            return (as_is + other.flip(3)) / 2, None
        heat, heat_other = self.joints(levels[1:4]).chunk(2)
        return (as_is + other.flip(3)) / 2, (heat + mirrored(heat_other)) / 2


def _place(x: Tensor) -> Tensor:
    """Row and column of each cell of x (B, C, h, w) in [-1, 1]: (B, 2, h, w)."""
    lines = [torch.linspace(-1, 1, side, device=x.device, dtype=x.dtype) for side in x.shape[2:]]
    return torch.stack(torch.meshgrid(*lines, indexing="ij")).expand(len(x), -1, -1, -1)


@torch.no_grad()
def load_backbone(model: PersonParser, weights: Mapping[str, Tensor]) -> None:
    """Fill the backbone from EfficientNet-Lite0's weights in efficientnet_lite_pytorch's names, folding the norms.

    Raises:
        ModelError: one is missing or of another shape; what the parser does not have is left unread.
    """

    def fold(conv: nn.Conv2d, kernel: str, norm: str) -> None:
        names = ("weight", "bias", "running_mean", "running_var")
        gain, shift, mean, variance = (weights[f"{norm}.{name}"] for name in names)
        gain = gain / (variance + EPS).sqrt()
        folded = weights[f"{kernel}.weight"] * gain[:, None, None, None]
        if folded.shape != conv.weight.shape:
            raise ModelError(f"{kernel}.weight is {tuple(folded.shape)}, not {tuple(conv.weight.shape)}")
        conv.weight.copy_(folded)
        assert conv.bias is not None
        conv.bias.copy_(shift - mean * gain)

    try:
        fold(model.stem, "_conv_stem", "_bn0")
        for i, block in enumerate(model.blocks):
            assert isinstance(block, _Inverted)
            if block.expand is not None:
                fold(block.expand, f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0")
            fold(block.depthwise, f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1")
            fold(block.project, f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2")
    except KeyError as error:
        raise ModelError(f"the weights of EfficientNet-Lite0 lack {error}; give those of that network") from error
