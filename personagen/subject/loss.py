"""The loss of one chunk of rows, pure: weighted squared error of the UNet's output.

Prior preservation is a matter of weights: of B subject and B class rows, the former weigh 1/B, the latter
prior_loss_weight/B, and the loss is the sum, equation 2 of DreamBooth (arXiv 2208.12242). Chunks of any size then add
up to the same gradient.
"""

from dataclasses import dataclass
from typing import Any, Literal, cast

from torch import Tensor

from ..objective import Prediction, add_noise, prediction_target, snr_weights, weighted_error
from .base import Noise, Text, predict


@dataclass(frozen=True)
class Chunk:
    """Rows of one size: clean latents x0 and noise (B, C, h, w), times t (B,), prompts, share (B,) in the loss.

    region (B, 1, h, w) in [0, 1]: where the error counts; time_ids (B, 6) for SDXL.
    """

    x0: Tensor
    noise: Tensor
    t: Tensor
    text: Text
    share: Tensor
    region: Tensor | None = None
    time_ids: Tensor | None = None


def chunk_loss(unet: Any, chunk: Chunk, schedule: Noise, *, snr_gamma: float | None) -> Tensor:
    """Return the part of the step's loss that these rows make, a scalar in float32."""
    prediction = cast(Prediction, schedule.prediction)
    abar = schedule.abar[chunk.t]
    x_t = add_noise(chunk.x0, chunk.noise, abar)
    output = predict(unet, x_t, chunk.t, chunk.text, chunk.time_ids)
    target = prediction_target(chunk.x0, chunk.noise, abar, prediction=prediction)
    weighting: Literal["min_snr", "uniform"] = "uniform" if snr_gamma is None else "min_snr"
    weights = snr_weights(abar, prediction=prediction, weighting=weighting, gamma=snr_gamma or 1.0)
    rows = len(chunk.x0)
    return weighted_error(output, target, weights=weights * chunk.share * rows, region=chunk.region)
