"""DreamRec: generate the embedding of the next item by diffusion, guided by the history.

Yang et al., Generate What You Prefer: Reshaping Sequential Recommendation via Guided Diffusion (NeurIPS 2023).
x0 = embedding of the next item; c = encoder(history); x_t = alpha_t x0 + sigma_t eps; loss |x0 - f(x_t, t, c)|²,
c replaced by a learned null with probability p; sampling with x0_hat = (1 + w) f(c) - w f(null); score = x0·E^T.

objective "mse" (`DreamRecConfig.paper`) is that, with items as free parameters that start at deviation 1 and one random
prefix of each row a step, as the paper's rows are prefixes; padding is never ranked and nothing is dropped out when
ranking, unlike in the authors' code. Norms "equal" and positions "all" (below) are there for it, too.
objective "softmax" (the default) differs:
- |e_i| = √d for every item, so the loss cannot be lowered by shrinking the targets; x_t is built from detached targets.
- x0_hat = softmax(logits(x_t, t, c)) @ E, trained by cross-entropy: score interpolation (Dieleman et al. 2022,
  Continuous Diffusion for Categorical Data). The softmax is the posterior of the next item and x0_hat its mean, the
  minimiser of the paper's squared error; an item bias carries popularity, which equal norms cannot.
- Guidance acts on the logits.
- Every position of a causal encoder is trained at once with its own t, a share `terminal` of them at t = T, where
  ranking starts. A bidirectional encoder, or thinning (`diffusion.uncertainty`), needs positions = "one".
- Ranking averages the item posterior over `draws` short trajectories; noise is seeded per user.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.prefixes import random_prefixes
from ..diffusion.gaussian import q_sample, random_times
from ..diffusion.guidance import classifier_free, drop_condition
from ..diffusion.noise import user_seeds
from ..diffusion.schedule import by_name
from ..diffusion.trajectory import last_answer
from ..diffusion.uncertainty import thin
from ..errors import ConfigError, check_range
from ..networks.denoiser import LinearDenoiser, PosteriorDenoiser
from ..networks.encoder import build
from ..networks.items import (
    ItemTable,
    cross_entropy_among,
    equal_norms,
    expected_embedding,
    grow,
    mean_log_probabilities,
    with_first_items,
)
from ..networks.mode import evaluating
from ..networks.sampled import Proposal, Sample
from ..ranking import check_history, check_k, rank_in_chunks
from ..saved import Pretrained
from ..types import PAD, Batch, Ranking
from .counting import flatten


@dataclass(frozen=True)
class DreamRecConfig:
    """`steps` and `draws` are for ranking, `sample_steps` for `generate`; `weight` is guidance, 0 = none.

    `max_softmax` and `item_dtype` are SASRec's. `item_std` is the items' spread at the start (None: 1/√d); `thin_items`
    and `thin_rows` are the shares p2 and p1 of recsys/diffusion/uncertainty.py, 0 = off.
    """

    n_items: int
    objective: str = "softmax"
    d: int = 64
    max_len: int = 50
    encoder: str = "transformer"
    layers: int = 2
    heads: int = 2
    dropout: float = 0.3
    items: str = "id"
    n_features: int = 0
    id_dropout: float = 0.2
    T: int = 100
    schedule: str = "sqrt"
    terminal: float = 0.5
    p_uncond: float = 0.1
    weight: float = 0.0
    eta: float = 0.0
    steps: int = 1
    draws: int = 1
    sample_steps: int = 20
    max_softmax: int = 20_000
    item_dtype: str = "auto"
    norms: str = "equal"
    item_std: float | None = None
    positions: str = "all"
    thin_items: float = 0.0
    thin_rows: float = 0.0

    def __post_init__(self):
        c = self
        for name, allowed in (("objective", ("softmax", "mse")), ("positions", ("all", "one"))):
            if getattr(c, name) not in allowed:
                raise ConfigError(f"{name} = {getattr(c, name)!r}; allowed are {', '.join(allowed)}")
        if c.norms not in (("equal",) if c.objective == "softmax" else ("equal", "free")):
            raise ConfigError(f"norms = {c.norms!r}; allowed are equal and, with objective = 'mse', free")
        if c.positions == "all" and (c.encoder == "bidirectional" or c.thin_items * c.thin_rows > 0):
            raise ConfigError(
                f"positions = 'all' with encoder = {c.encoder!r}, thin_items, thin_rows = {c.thin_items, c.thin_rows}: "
                "a bidirectional encoder and a thinned history serve one position; set positions = 'one'"
            )
        check_range(
            n_items=(c.n_items, 1, 10**9), d=(c.d, 2, 4096), max_len=(c.max_len, 1, 4096), layers=(c.layers, 1, 64),
            T=(c.T, 1, 10_000), dropout=(c.dropout, 0, 0.95), id_dropout=(c.id_dropout, 0, 1),
            p_uncond=(c.p_uncond, 0, 1), terminal=(c.terminal, 0, 1), eta=(c.eta, 0, 1), weight=(c.weight, 0, 100),
            draws=(c.draws, 1, 1024), steps=(c.steps, 1, c.T), sample_steps=(c.sample_steps, 1, c.T),
            thin_items=(c.thin_items, 0, 1), thin_rows=(c.thin_rows, 0, 1),
            item_std=(1.0 if c.item_std is None else c.item_std, 1e-6, 1e3),
        )  # fmt: skip

    @classmethod
    def paper(cls, n_items: int, *, T: int = 500, weight: float = 4.0) -> "DreamRecConfig":
        """The published configuration for Zhihu: T = 500, linear betas, w = 4, T ancestral steps, items of norm √d."""
        return cls(
            n_items, objective="mse", max_len=10, layers=1, heads=1, dropout=0.1, T=T, schedule="linear",
            terminal=0.0, weight=weight, eta=1.0, steps=T, sample_steps=T, norms="free", item_std=1.0, positions="one",
        )  # fmt: skip


@dataclass(frozen=True)
class Examples:
    """N next items to generate: conditions (N, d), targets (N,), times (N,), and the items they are among."""

    condition: Tensor
    target: Tensor
    t: Tensor
    embedding: Tensor
    bias: Tensor
    sample: Sample | None
    """What numbers the items, where these are not all of them."""


class DreamRec(nn.Module, Pretrained):
    """A history encoder and a denoiser of item embeddings."""

    def __init__(self, config: DreamRecConfig, *, features: Tensor | None = None):
        super().__init__()
        c = config
        self.n_items, self.config = config.n_items, config
        self.schedule = by_name(c.schedule, c.T)
        posterior = c.objective == "softmax"
        self.table = ItemTable(
            c.n_items, c.d, source=c.items, n_features=c.n_features, id_dropout=c.id_dropout, bias=posterior,
            std=c.item_std, dtype=c.item_dtype,
        )  # fmt: skip
        self.proposal = Proposal(c.n_items)
        if features is not None:
            self.table.set_features(features)
        self.encoder = build(c.encoder, c.d, max_len=c.max_len, layers=c.layers, heads=c.heads, dropout=c.dropout)
        self.null = nn.Parameter(torch.randn(c.d) * 0.02)
        self.dropout = nn.Dropout(c.dropout)
        self.denoiser = PosteriorDenoiser(c.d, schedule=self.schedule) if posterior else LinearDenoiser(c.d)

    def sample_from(self, sequences: list[np.ndarray]) -> None:
        """Count how often items occur in the training sequences, where training is to sample among them."""
        if self.n_items > self.config.max_softmax:
            self.proposal.count(flatten(sequences, self.n_items)[0])

    def loss(self, batch: Batch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Noise the next items of Batch (B, L) and score their recovery; the total is "loss"."""
        c, e = self.config, self.examples(batch, generator=generator)
        x0 = e.embedding[e.target]
        eps = torch.randn(x0.shape, generator=generator, device=x0.device)
        if c.objective == "mse":
            x_t = q_sample(x0, e.t, eps, schedule=self.schedule)
            return {"loss": F.mse_loss(self.denoiser(x_t, e.t, e.condition), x0)}
        query = self.denoiser(q_sample(x0.detach(), e.t, eps, schedule=self.schedule), e.t, e.condition)
        ce = cross_entropy_among(query, e.target, e.embedding, e.bias, e.sample, scale=c.d**-0.5)
        return {"loss": ce}

    def examples(self, batch: Batch, *, generator: torch.Generator) -> Examples:
        """Turn Batch (B, L) into N examples, some of their conditions replaced by null."""
        c, batch, sample = self.config, with_first_items(batch), None
        if c.objective == "softmax":
            sample = self.proposal.sample(batch, limit=c.max_softmax, generator=generator)
        embedding, bias = self._items(generator, sample)
        condition, target = self._conditions(batch if sample is None else sample.batch, embedding, generator)
        condition = drop_condition(condition, self.null, p=c.p_uncond, generator=generator)
        t = random_times(target.shape, schedule=self.schedule, generator=generator, device=target.device)
        if c.terminal > 0:
            last = torch.rand(target.shape, generator=generator, device=target.device) < c.terminal
            t = t.masked_fill(last, c.T)
        return Examples(condition, target, t, embedding, bias, sample)

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the next items of history (B, L); noise comes from the generator's initial seed and each history.

        Scores are log-probabilities ("softmax") or the mean of x0·E^T ("mse").

        Raises:
            DataError: `history` has another type or shape, unknown items, or padding after an item.
            ConfigError: k is outside 1..n.
        """
        check_history(history, self.n_items)
        check_k(k, self.n_items)
        seeds, c = user_seeds(history, generator=generator), self.config
        with evaluating(self):
            items = self._items()

            def score(history: Tensor, rows: Tensor) -> Tensor:
                return self._scores(self._finish(history, seeds[rows], items, c.draws, c.steps), c.draws, *items)

            return rank_in_chunks(score, history, k, exclude_seen=exclude_seen)

    def generate(self, history: Tensor, *, draws: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Sample embeddings (B, draws, d) of possible next items, on the scale of `item_embeddings`."""
        check_history(history, self.n_items)
        check_range(draws=(draws, 1, 4096))
        with evaluating(self):
            items, steps = self._items(), self.config.sample_steps
            query = self._finish(history, user_seeds(history, generator=generator), items, draws, steps)
            return self._clean(query, *items).view(len(history), draws, -1)

    def item_embeddings(self) -> Tensor:
        """Return the embeddings (n+1, d) that generation lands on, row 0 padding."""
        with evaluating(self):
            return self._items()[0]

    def with_items(self, features: Tensor) -> "DreamRec":
        """Return a copy that also ranks new items with features (m, f), as n+1..n+m.

        Raises:
            ConfigError: the model knows no features, or these have another width.
        """
        state = grow(self.state_dict(), features)
        model = DreamRec(replace(self.config, n_items=self.n_items + len(features)))
        model.load_state_dict(state)
        return model.to(self.null.device)

    def _items(self, generator: torch.Generator | None = None, sample: Sample | None = None) -> tuple[Tensor, Tensor]:
        """Embeddings (n+1, d), of norm √d where norms are equal, and biases (n+1,); of a sample's items alone."""
        if sample is None or generator is None:
            embedding, bias = self.table(generator=generator)
        else:
            embedding, bias = self.table.rows(sample.ids, generator=generator)
        if self.config.norms == "equal":
            embedding = equal_norms(embedding)
        return embedding, bias

    def _conditions(self, batch: Batch, embedding: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Conditions (N, d) and next items (N,) of every position, or of one random prefix a row."""
        c = self.config
        if c.positions == "one":
            history, target = random_prefixes(batch, max_len=c.max_len, generator=generator)
            history = thin(history, embedding, items=c.thin_items, rows=c.thin_rows, generator=generator)
            return self._condition(history, embedding), target
        known, real = batch.target != PAD, batch.history != PAD
        hidden = self.encoder(self.dropout(embedding[batch.history]), real)
        return torch.where(real.unsqueeze(-1), hidden, self.null)[known], batch.target[known]

    def _condition(self, history: Tensor, embedding: Tensor) -> Tensor:
        """(B, d) of whole histories (B, L), L up to max_len; null for an empty one."""
        real = history != PAD
        hidden = self.encoder.last(self.dropout(embedding[history]), real)
        return torch.where(real[:, -1:], hidden, self.null)

    def _finish(self, history: Tensor, seeds: Tensor, items: tuple[Tensor, Tensor], draws: int, steps: int) -> Tensor:
        """Walk to the last step and return the denoiser's answer there, (B·draws, d)."""
        c = self.config
        condition = self._condition(history[:, -c.max_len :], items[0]).repeat_interleave(draws, dim=0)
        ask = classifier_free(self.denoiser, condition, self.null, weight=c.weight)
        return last_answer(
            ask, seeds, clean=lambda query: self._clean(query, *items), d=c.d, draws=draws,
            schedule=self.schedule, steps=steps, eta=c.eta,
        )  # fmt: skip

    def _clean(self, query: Tensor, embedding: Tensor, bias: Tensor) -> Tensor:
        """x0_hat (N, d) on the scale of the embeddings."""
        if self.config.objective == "mse":
            return query
        return expected_embedding(query, embedding, bias, scale=self.config.d**-0.5)

    def _scores(self, query: Tensor, draws: int, embedding: Tensor, bias: Tensor) -> Tensor:
        """(B, n+1), averaged over draws."""
        if self.config.objective == "mse":
            return query.unflatten(0, (-1, draws)).mean(1) @ embedding.T
        return mean_log_probabilities(query, draws, embedding, bias, scale=self.config.d**-0.5)
