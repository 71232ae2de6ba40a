"""Virtual try-on: repaint a person inside a mask with a given garment, by spatial concatenation.

Source of the mechanism: CatVTON (arXiv 2407.15886); the default is the corrected variant of Re-CatVTON (arXiv 2511.18775):
the garment half of the sample is the clean garment latent at every step, and only the person half is denoised.
Written from the papers' descriptions; no code of either is used.
"""

import torch
from torch import Tensor

from recsys.errors import ConfigError


def unet_input(noisy: Tensor, masked: Tensor, garment: Tensor, mask: Tensor, *, garment_sample: Tensor | None = None) -> Tensor:
    """Lay person and garment latents out as the try-on UNet reads them: person on top, garment below.

    noisy (B, C, h, w): the person half of the sample; masked (B, C, h, w): latents of the person with the mask painted
    over; garment (B, C, h, w): clean garment latents, zeros for "no garment"; mask (B, 1, h, w): 1 = repaint.
    garment_sample (B, C, h, w): the garment half of the sample; left out, it is `garment` itself (the corrected variant).
    Returns (B, 2C+1, 2h, w), channels [sample | mask | condition] as in Stable Diffusion 1.5 inpainting.
    Raises ConfigError when the shapes do not belong together.
    """
    if noisy.shape != masked.shape or noisy.shape != garment.shape:
        raise ConfigError(f"noisy {tuple(noisy.shape)}, masked {tuple(masked.shape)} and garment {tuple(garment.shape)} "
                          "must have one shape (B, C, h, w); encode them at the same size.")
    if mask.shape != (noisy.shape[0], 1, *noisy.shape[2:]):
        raise ConfigError(f"mask {tuple(mask.shape)} must be {(noisy.shape[0], 1, *noisy.shape[2:])}: "
                          "one channel at the size of the latents.")
    below = garment if garment_sample is None else garment_sample
    sample = torch.cat([noisy, below], dim=2)
    condition = torch.cat([masked, garment], dim=2)
    repaint = torch.cat([mask, torch.zeros_like(mask)], dim=2)
    return torch.cat([sample, repaint, condition], dim=1)


class ZeroAttention:
    """Cross-attention that adds nothing: the block continues with h. For models trained here (no text)."""

    def __call__(self, attn, hidden_states: Tensor, encoder_hidden_states=None, attention_mask=None) -> Tensor:
        return torch.zeros_like(hidden_states)


class IdentityAttention:
    """Cross-attention that returns its input: the block continues with h + norm2(h), which published weights expect."""

    def __call__(self, attn, hidden_states: Tensor, encoder_hidden_states=None, attention_mask=None) -> Tensor:
        return hidden_states


CROSS_ATTENTION = {"zero": ZeroAttention, "identity": IdentityAttention}


def set_cross_attention(unet, kind: str) -> None:
    """Replace every cross-attention (`attn2`) of a UNet so that it can be called with encoder_hidden_states=None.

    kind: "zero" for models trained here, "identity" for weights published for CatVTON and Leffa. Self-attention is kept.
    Raises ConfigError for another kind.
    """
    if kind not in CROSS_ATTENTION:
        raise ConfigError(f"cross-attention {kind!r} is unknown; use one of {sorted(CROSS_ATTENTION)}.")
    for name, module in unet.named_modules():
        if name.rsplit(".", 1)[-1] == "attn2":
            module.set_processor(CROSS_ATTENTION[kind]())
