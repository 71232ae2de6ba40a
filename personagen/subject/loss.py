"""The loss of one chunk of rows, pure: weighted squared error of the UNet's output.

Prior preservation is a matter of weights: of B subject and B class rows, the former weigh 1/B, the latter
prior_loss_weight/B, and the loss is the sum, equation 2 of DreamBooth (arXiv 2208.12242). Chunks of any size then add
up to the same gradient. Where the class rows are to stay with the base model's own answers instead of its pictures,
`answers` gives them (learning without forgetting, Li & Hoiem, ECCV 2016).
"""

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor

from ..training.objective import Prediction, add_noise, prediction_target, snr_weights, weighted_error
from .base import Noise, Text, predict


@dataclass(frozen=True)
class Chunk:
    """Rows of one size: clean latents x0 and noise (B, C, h, w), times t (B,), prompts, share (B,) in the loss.

    region (B, 1, h, w) in [0, 1]: where the error counts; time_ids (B, 6) for SDXL; prior (B,) bool: rows of the class.
    """

    x0: Tensor
    noise: Tensor
    t: Tensor
    text: Text
    share: Tensor
    region: Tensor | None = None
    time_ids: Tensor | None = None
    prior: Tensor | None = None


def answer(unet: Any, chunk: Chunk, schedule: Noise) -> Tensor:
    """Return what the UNet says of the noised rows, (B, C, h, w)."""
    x_t = add_noise(chunk.x0, chunk.noise, schedule.abar[chunk.t])
    return predict(unet, x_t, chunk.t, chunk.text, chunk.time_ids)


def chunk_loss(
    unet: Any, chunk: Chunk, schedule: Noise, *, snr_gamma: float | None, answers: Tensor | None = None
) -> Tensor:
    """Return the part of the step's loss that these rows make, a scalar in float32.

    answers (B, C, h, w): what the rows of the class are to be answered; None: what made their pictures, as others.
    """
    prediction = cast(Prediction, schedule.prediction)
    abar = schedule.abar[chunk.t]
    output = answer(unet, chunk, schedule)
    target = prediction_target(chunk.x0, chunk.noise, abar, prediction=prediction)
    if answers is not None and chunk.prior is not None:
        target = torch.where(chunk.prior.view(-1, 1, 1, 1), answers, target)
    weighting: Literal["min_snr", "uniform"] = "uniform" if snr_gamma is None else "min_snr"
    weights = snr_weights(abar, prediction=prediction, weighting=weighting, gamma=snr_gamma or 1.0)
    rows = len(chunk.x0)
    return weighted_error(output, target, weights=weights * chunk.share * rows, region=chunk.region)
