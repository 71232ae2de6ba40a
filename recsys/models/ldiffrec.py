"""L-DiffRec: diffusion in the latent space of one autoencoder per cluster of items, for large catalogues.

Wang et al., Diffusion Recommender Model (SIGIR 2023, arXiv 2304.04971). Items are clustered by k-means on embeddings; a
variational autoencoder of each cluster compresses its part of the row; x0 = the latents of all clusters side by side,
diffused as in DiffRec; loss = reconstruction + lambda·w_t |x0 - f(x_t, t)|² + gamma·KL, gamma annealed. Ranking:
encode (means), walk the posterior means, decode.

Differs:
- Encoder and decoder of a cluster are one layer each and all clusters have latents of one size, so that their weights
  are a table with a row per item whatever the clusters are.
- Rows are scaled to length 1 before they are encoded.
- Reconstruction is a softmax likelihood over the items of all clusters at once, a mean over the items wanted.
- Where no embeddings are given, the clusters come from a truncated SVD of the training interactions.
- `predict` and `steps` as in DiffRec; w_min < 1 gives the paper's LT-DiffRec.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..clusters import groups
from ..diffusion.gaussian import q_sample
from ..diffusion.noise import user_normal, user_seeds
from ..diffusion.schedule import linear_variance
from ..errors import ConfigError, ModelError, check_range
from ..networks.mode import evaluating
from ..ranking import check_history, check_k, rank_in_chunks
from ..saved import Pretrained
from ..types import PAD, Batch, Ranking
from .interactions import (
    ImportanceSteps,
    TimeMlp,
    check_predict,
    complete,
    drop,
    interaction_embeddings,
    likelihood_loss,
    recency,
    sizes,
    snr_weights,
    to_rows,
    training_rows,
    user_sequences,
)


@dataclass(frozen=True)
class LDiffRecConfig:
    """`latent` is the size of one cluster's latent; KL has weight `kl` after `anneal` training steps."""

    n_items: int
    clusters: int = 2
    latent: int = 64
    hidden: tuple[int, ...] = (300,)
    time_d: int = 10
    dropout: float = 0.5
    T: int = 40
    noise_scale: float = 0.005
    noise_min: float = 0.005
    noise_max: float = 0.02
    corrupt: int = 0
    steps: int | None = None
    diffusion: float = 0.03
    kl: float = 0.005
    anneal: int = 500
    w_min: float = 1.0
    predict: str = "row"

    def __post_init__(self):
        object.__setattr__(self, "hidden", sizes(self.hidden, "hidden"))
        check_predict(self.predict)
        check_range(n_items=(self.n_items, 1, 10**9), clusters=(self.clusters, 1, self.n_items))
        check_range(latent=(self.latent, 1, 4096), time_d=(self.time_d, 2, 1024), T=(self.T, 1, 10_000))
        check_range(dropout=(self.dropout, 0, 0.95), w_min=(self.w_min, 0, 1), corrupt=(self.corrupt, 0, self.T))
        check_range(
            steps=(self.T if self.steps is None else self.steps, 1, self.T),
            diffusion=(self.diffusion, 0, 1000),
            kl=(self.kl, 0, 1000),
        )
        check_range(anneal=(self.anneal, 1, 10**9))


class LDiffRec(nn.Module, Pretrained):
    """A denoiser of the latents of clustered interaction rows; it needs `features` or `prepare` before training."""

    def __init__(self, config: LDiffRecConfig, *, features: Tensor | None = None):
        super().__init__()
        c = config
        self.n_items, self.config = c.n_items, c
        self.schedule = linear_variance(c.T, scale=c.noise_scale, low=c.noise_min, high=c.noise_max)
        self.encode_items = nn.Parameter(torch.randn(c.n_items, 2 * c.latent) * 0.1)
        self.encode_bias = nn.Parameter(torch.zeros(c.clusters, 2 * c.latent))
        self.decode_items = nn.Parameter(torch.randn(c.n_items, c.latent) * 0.1)
        self.decode_bias = nn.Parameter(torch.zeros(c.n_items))
        self.network = TimeMlp(c.clusters * c.latent, c.hidden, time_d=c.time_d)
        self.importance = ImportanceSteps(c.T)
        self.cluster: Tensor
        self.trained: Tensor
        self.weights: Tensor
        self.register_buffer("cluster", torch.full((c.n_items,), -1))
        self.register_buffer("trained", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("weights", snr_weights(self.schedule).float(), persistent=False)
        if features is not None:
            self.set_clusters(features)

    def prepare(self, sequences: Sequence[np.ndarray]) -> "LDiffRec":
        """Cluster the items by who took them in the training sequences; clusters known already (features=) are kept.

        Raises:
            DataError: no sequences or ids outside 1..n_items.
        """
        if bool((self.cluster < 0).any()):
            self.set_clusters(interaction_embeddings(sequences, self.n_items))
        return self

    def set_clusters(self, features: Tensor) -> None:
        """Cluster the items by k-means on features (n+1, f), row 0 padding.

        Raises:
            ConfigError: features have another shape.
            DataError: features hold NaN or infinity.
        """
        if features.ndim != 2 or len(features) != self.n_items + 1:
            raise ConfigError(f"features have shape {tuple(features.shape)}; allowed is ({self.n_items + 1}, f)")
        self.cluster.copy_(groups(features[1:], self.config.clusters))

    def loss(self, batch: Batch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Score the recovery of the rows of Batch (B, L), each a user's whole sequence; parts and their sum "loss"."""
        c = self.config
        given, wanted, counts = training_rows(
            user_sequences(batch), self.n_items, predict=c.predict, w_min=c.w_min, generator=generator
        )
        mean, log_variance = self._encode(drop(F.normalize(given), c.dropout, generator=generator))
        x0 = mean + torch.randn(mean.shape, generator=generator, device=mean.device) * (log_variance / 2).exp()
        t, factor = self.importance.draw(len(x0), generator=generator)
        eps = torch.randn(x0.shape, generator=generator, device=x0.device)
        x0_hat = self.network(q_sample(x0, t, eps, schedule=self.schedule), t)
        error = (x0_hat - x0).square().mean(1) * self.weights[t - 1] / self.weights.mean()
        if self.training:
            self.importance.remember(t, error)
            self.trained += 1
        parts = {
            "diffusion": (error * factor).mean(),
            "reconstruction": likelihood_loss(self._decode(x0_hat), wanted, counts).mean(),
            "kl": -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean(),
        }
        gamma = c.kl * (self.trained / c.anneal).clamp(max=1).squeeze()
        return parts | {"loss": c.diffusion * parts["diffusion"] + parts["reconstruction"] + gamma * parts["kl"]}

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the items that complete history (B, L); scores are log-probabilities.

        Raises:
            DataError: `history` has another type or shape, unknown items, or padding after an item.
            ConfigError: k is outside 1..n.
        """
        check_history(history, self.n_items)
        check_k(k, self.n_items)
        seeds, c = user_seeds(history, generator=generator), self.config

        def score(history: Tensor, rows: Tensor) -> Tensor:
            x = self._encode(F.normalize(to_rows(history, recency(history != PAD, c.w_min), self.n_items)))[0]
            if c.corrupt:
                t = torch.full((len(x),), c.corrupt, device=x.device)
                x = q_sample(x, t, user_normal(seeds[rows], tuple(x.shape[1:])), schedule=self.schedule)
            x0 = complete(self.network, x, schedule=self.schedule, steps=c.steps)
            return F.pad(self._decode(x0).log_softmax(1), (1, 0), value=-torch.inf)

        with evaluating(self):
            return rank_in_chunks(score, history, k, exclude_seen=exclude_seen)

    def _encode(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances (B, clusters·latent) of rows (B, n), each cluster from its own items."""
        parts = [rows[:, mine] @ self.encode_items[mine] for mine in self._members()]
        both = torch.stack(parts, dim=1) + self.encode_bias
        mean, log_variance = both.chunk(2, dim=2)
        return mean.flatten(1), log_variance.clamp(-10, 10).flatten(1)

    def _decode(self, latents: Tensor) -> Tensor:
        """Logits (B, n) of latents (B, clusters·latent), each item from its own cluster's."""
        members = self._members()
        parts = latents.unflatten(1, (self.config.clusters, -1)).unbind(1)
        logits = torch.cat([part @ self.decode_items[mine].T for part, mine in zip(parts, members)], dim=1)
        return logits[:, torch.cat(members).argsort()] + self.decode_bias

    def _members(self) -> list[Tensor]:
        """The items (from 0) of each cluster.

        Raises:
            ModelError: before they are known.
        """
        if bool((self.cluster < 0).any()):
            raise ModelError("the items have no clusters yet; call prepare(sequences) or give features=, then train")
        return [(self.cluster == number).nonzero()[:, 0] for number in range(self.config.clusters)]
