"""DiffRec: complete the row of a user's items by diffusion; with w_min < 1 it is T-DiffRec, which knows what is recent.

Wang et al., Diffusion Recommender Model (SIGIR 2023, arXiv 2304.04971). x0 = a user's row over all items, 1 where
taken; sigma_t² = scale·linspace(min, max), tiny, so that the row stays personal; loss = w_t |x0 - f(x_t, t)|² with
w_t = SNR(t-1) - SNR(t), 1 at t = 1, and t drawn by importance; ranking: the history, noised to T', walks T posterior
means without noise. T-DiffRec multiplies the row by linspace(w_min, 1) in time order.

Differs:
- w_t is divided by its mean over t, a constant that only gradient clipping would notice.
- `predict` "later" is not in the paper: each training row is cut at a random time, x_t is made of what came before
  (weights as at ranking) and x0 is what came after, weights falling to w_min, over items not taken before. That is what
  ranking asks of data split by time; the paper's "row" asks for the items it was given.
- `objective` "softmax" is not in the paper: x0_hat = softmax(network), trained by cross-entropy against x0 as a
  distribution. Squared error on rows of a few ones among thousands of zeros learns popularity and then very slowly.
- `steps` of the T posterior means may be used: the walk mixes the history into later inputs, and one is often enough.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..diffusion.gaussian import q_sample
from ..diffusion.noise import user_normal, user_seeds
from ..diffusion.schedule import linear_variance
from ..errors import ConfigError, check_range
from ..networks.mode import evaluating
from ..ranking import check_history, check_k, rank_in_chunks
from ..saved import Pretrained
from ..types import PAD, Batch, Denoise, Ranking
from .interactions import (
    ImportanceSteps,
    TimeMlp,
    check_predict,
    complete,
    drop,
    likelihood_loss,
    recency,
    sizes,
    snr_weights,
    to_rows,
    training_rows,
    user_sequences,
)


@dataclass(frozen=True)
class DiffRecConfig:
    """`corrupt` is T' (0: no noise when ranking); `steps` None walks all T; `w_min` is the oldest item's weight."""

    n_items: int
    hidden: tuple[int, ...] = (600, 200, 600)
    time_d: int = 10
    dropout: float = 0.5
    T: int = 40
    noise_scale: float = 0.005
    noise_min: float = 0.005
    noise_max: float = 0.01
    corrupt: int = 0
    steps: int | None = None
    w_min: float = 1.0
    predict: str = "row"
    objective: str = "mse"

    def __post_init__(self):
        object.__setattr__(self, "hidden", sizes(self.hidden, "hidden"))
        check_predict(self.predict)
        if self.objective not in ("mse", "softmax"):
            raise ConfigError(f"objective = {self.objective!r}; allowed are mse, softmax")
        check_range(n_items=(self.n_items, 1, 10**9), time_d=(self.time_d, 2, 1024), T=(self.T, 1, 10_000))
        check_range(dropout=(self.dropout, 0, 0.95), w_min=(self.w_min, 0, 1), corrupt=(self.corrupt, 0, self.T))
        check_range(steps=(self.T if self.steps is None else self.steps, 1, self.T))


class DiffRec(nn.Module, Pretrained):
    """A denoiser of interaction rows."""

    def __init__(self, config: DiffRecConfig):
        super().__init__()
        c = config
        self.n_items, self.config = c.n_items, c
        self.schedule = linear_variance(c.T, scale=c.noise_scale, low=c.noise_min, high=c.noise_max)
        self.network = TimeMlp(c.n_items, c.hidden, time_d=c.time_d)
        self.importance = ImportanceSteps(c.T)
        self.weights: Tensor
        self.register_buffer("weights", snr_weights(self.schedule).float(), persistent=False)

    def loss(self, batch: Batch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Score the recovery of the rows of Batch (B, L), each a user's whole sequence; updates the step history."""
        c = self.config
        given, wanted, counts = training_rows(
            user_sequences(batch), self.n_items, predict=c.predict, w_min=c.w_min, generator=generator
        )
        t, factor = self.importance.draw(len(given), generator=generator)
        eps = torch.randn(given.shape, generator=generator, device=given.device)
        x_t = drop(q_sample(given, t, eps, schedule=self.schedule), c.dropout, generator=generator)
        if c.objective == "mse":
            error = (counts * (self.network(x_t, t) - wanted).square()).mean(1)
        else:
            error = likelihood_loss(self.network(x_t, t), wanted, counts)
        weighted = error * self.weights[t - 1] / self.weights.mean()
        if self.training:
            self.importance.remember(t, weighted)
        return {"loss": (weighted * factor).mean()}

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the items that complete history (B, L); scores are x0_hat.

        Raises:
            DataError: `history` has another type or shape, unknown items, or padding after an item.
            ConfigError: k is outside 1..n.
        """
        check_history(history, self.n_items)
        check_k(k, self.n_items)
        seeds, c = user_seeds(history, generator=generator), self.config

        def score(history: Tensor, rows: Tensor) -> Tensor:
            x = to_rows(history, recency(history != PAD, c.w_min), self.n_items)
            if c.corrupt:
                t = torch.full((len(x),), c.corrupt, device=x.device)
                x = q_sample(x, t, user_normal(seeds[rows], (self.n_items,)), schedule=self.schedule)
            return F.pad(complete(self._denoiser(x), x, schedule=self.schedule, steps=c.steps), (1, 0))

        with evaluating(self):
            return rank_in_chunks(score, history, k, exclude_seen=exclude_seen)

    def _denoiser(self, row: Tensor) -> Denoise:
        """The network on the scale of the history's row (B, n): a softmax is spread over the sum of the row."""
        if self.config.objective == "mse":
            return self.network
        size = row.sum(1, keepdim=True).clamp(min=1)
        return lambda x, t: self.network(x, t).softmax(1) * size
