"""Start an autoencoder as a linear one that stores an 8 x 8 thumbnail, so that colour need not be discovered.

With the usual random start every colour direction is a small signal beside lightness, and an f8 autoencoder of this
size stayed grey for 1,200 steps. Here the residual streams carry +RGB, -RGB and two constants from the first
convolution to the last: averages on the way down, copies on the way up. silu(a) - silu(-a) = a undoes the activation,
and the constants keep the group normalisations from removing the level. Everything else starts as usual, and all of
it is trained.
"""

from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from recsys.errors import ConfigError

LEVEL = 4.0  # of the two constants: large beside RGB in [-1, 1], so that they set the scale of a normalisation
CARRIED = 8  # channels 0-2: RGB, 3-5: -RGB, 6: +LEVEL, 7: -LEVEL


@torch.no_grad()
def start_from_thumbnail(vae: AutoencoderKL, *, logvar: float = -6.0) -> None:
    """Set the weights of `vae` so that it reconstructs the mean colour of each latent cell; the other latents are free.

    logvar: of the latents at first.

    Raises:
        ConfigError: a group of the last normalisation holds fewer than three channels, or there are fewer than six
            groups, or the first two widths are equal.
    """
    last = vae.decoder.conv_norm_out
    size = last.num_channels // last.num_groups
    if size < 3 or last.num_groups < 6:
        raise ConfigError(
            f"norm_num_groups {last.num_groups} with {last.num_channels} channels cannot carry a thumbnail; "
            "use at least 6 groups of at least 3 channels"
        )
    widths = vae.config["block_out_channels"]
    if len(widths) < 2 or widths[0] == widths[1] or min(widths) < CARRIED:
        raise ConfigError(
            f"block_out_channels {tuple(widths)} cannot carry a thumbnail; the first two widths must differ, and all "
            f"be at least {CARRIED}"
        )
    layers: dict[str, Any] = dict(vae.named_modules())
    for name, module in layers.items():
        if name.endswith("conv2"):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
        elif name.endswith(("conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv")):
            _carry(module, average=name.endswith("downsamplers.0.conv"))
    _encoder_ends(vae, logvar)
    _decoder_ends(vae, size)


def _carry(conv: Any, *, average: bool) -> None:
    """Pass the carried channels through; `average` takes the mean of the 2 x 2 pixels that a stride of two skips."""
    conv.weight[:CARRIED], conv.bias[:CARRIED] = 0.0, 0.0
    middle = conv.kernel_size[0] // 2
    for c in range(CARRIED):
        if average:
            conv.weight[c, c, :2, :2] = 0.25
        else:
            conv.weight[c, c, middle, middle] = 1.0


def _start_stream(conv: Any) -> None:
    """Write the first three inputs, their negatives and the constants into the carried channels."""
    conv.weight[:CARRIED], conv.bias[:CARRIED] = 0.0, 0.0
    for c in range(3):
        conv.weight[c, c, 1, 1], conv.weight[3 + c, c, 1, 1] = 1.0, -1.0
    conv.bias[6], conv.bias[7] = LEVEL, -LEVEL


def _encoder_ends(vae: AutoencoderKL, logvar: float) -> None:
    norm, out, latents = vae.encoder.conv_norm_out, vae.encoder.conv_out, vae.config["latent_channels"]
    _start_stream(vae.encoder.conv_in)
    size = norm.num_channels // norm.num_groups
    scale = (2 * LEVEL**2 / size) ** 0.5
    out.weight[:3] = 0.0
    for c in range(3):
        out.weight[c, c, 1, 1], out.weight[c, 3 + c, 1, 1] = scale, -scale
    out.bias.zero_()
    _identity(vae.quant_conv)
    vae.quant_conv.bias[latents:] = logvar
    vae.quant_conv.weight[latents:] *= 0.1


def _decoder_ends(vae: AutoencoderKL, size: int) -> None:
    _identity(vae.post_quant_conv)
    _start_stream(vae.decoder.conv_in)
    # the last change of width spreads the stream: one colour and both constants a group
    spread = [m for n, m in vae.decoder.named_modules() if n.endswith("conv_shortcut")][-1]
    spread.weight[: 6 * size], spread.bias[: 6 * size] = 0.0, 0.0
    for group in range(6):
        for place, source in ((0, group), (1, 6), (2, 7)):
            spread.weight[group * size + place, source, 0, 0] = 1.0
    out = vae.decoder.conv_out
    scale = (2 * LEVEL**2 / size) ** 0.5
    out.weight *= 0.1
    for c in range(3):
        out.weight[c, c * size, 1, 1], out.weight[c, (3 + c) * size, 1, 1] = scale, -scale
    out.bias.zero_()


def _identity(conv: Any) -> None:
    eye: Tensor = torch.eye(conv.out_channels, dtype=conv.weight.dtype)
    conv.weight.copy_(eye[:, :, None, None])
    conv.bias.zero_()
