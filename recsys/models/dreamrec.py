"""DreamRec: generate the embedding of the next item by diffusion, guided by the history.

Yang et al., Generate What You Prefer: Reshaping Sequential Recommendation via Guided Diffusion (NeurIPS 2023).
x0 = embedding of the next item; c = encoder(history); x_t = alpha_t x0 + sigma_t eps; loss |x0 - f(x_t, t, c)|²,
c replaced by a learned null with probability p; sampling with x0_hat = (1 + w) f(c) - w f(null); score = x0·E^T.

objective "mse" (`DreamRecConfig.paper`) is that, for one random position of each row a step, as the paper's rows are
prefixes; padding is never ranked and nothing is dropped out when ranking, unlike in the authors' code.
objective "softmax" (the default) differs:
- |e_i| = √d for every item, so the loss cannot be lowered by shrinking the targets; x_t is built from detached targets.
- x0_hat = softmax(logits(x_t, t, c)) @ E, trained by cross-entropy: score interpolation (Dieleman et al. 2022,
  Continuous Diffusion for Categorical Data). The softmax is the posterior of the next item and x0_hat its mean, the
  minimiser of the paper's squared error; an item bias carries popularity, which equal norms cannot.
- Guidance acts on the logits.
- Every position of a causal encoder is trained at once with its own t, a share `terminal` of them at t = T, where
  ranking starts.
- Ranking averages the item posterior over `draws` short trajectories; noise is seeded per user.
"""

from dataclasses import dataclass, replace
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..denoiser import LinearDenoiser, PosteriorDenoiser
from ..encoder import build
from ..errors import ConfigError, check_range
from ..gaussian import q_sample, random_times, sample
from ..guidance import classifier_free, drop_condition
from ..items import ItemTable, cross_entropy, grow, log_probabilities, with_first_items
from ..mode import evaluating
from ..noise import user_normal, user_seeds
from ..ranking import check_history, check_k, rank_in_chunks
from ..schedule import by_name
from ..types import PAD, Batch, Ranking


@dataclass(frozen=True)
class DreamRecConfig:
    """`steps` and `draws` are for ranking, `sample_steps` for `generate`; `weight` is guidance, 0 = none."""

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

    def __post_init__(self):
        if self.objective not in ("softmax", "mse"):
            raise ConfigError(f"objective = {self.objective!r}; allowed are softmax, mse")
        check_range(
            n_items=(self.n_items, 1, 10**9),
            d=(self.d, 2, 4096),
            max_len=(self.max_len, 1, 4096),
            layers=(self.layers, 1, 64),
            T=(self.T, 1, 10_000),
        )
        check_range(dropout=(self.dropout, 0, 0.95), id_dropout=(self.id_dropout, 0, 1), p_uncond=(self.p_uncond, 0, 1))
        check_range(
            terminal=(self.terminal, 0, 1),
            eta=(self.eta, 0, 1),
            weight=(self.weight, 0, 100),
            draws=(self.draws, 1, 1024),
        )
        check_range(steps=(self.steps, 1, self.T), sample_steps=(self.sample_steps, 1, self.T))

    @classmethod
    def paper(cls, n_items: int, *, T: int = 500, weight: float = 4.0) -> "DreamRecConfig":
        """The published configuration for Zhihu: T = 500, linear betas, w = 4, all T ancestral steps for one draw."""
        return cls(
            n_items, objective="mse", max_len=10, layers=1, heads=1, dropout=0.1, T=T, schedule="linear",
            terminal=0.0, weight=weight, eta=1.0, steps=T, sample_steps=T,
        )  # fmt: skip


class DreamRec(nn.Module):
    """A history encoder and a denoiser of item embeddings."""

    def __init__(self, config: DreamRecConfig, *, features: Tensor | None = None):
        super().__init__()
        c = config
        self.n_items, self.config = config.n_items, config
        self.schedule = by_name(c.schedule, c.T)
        posterior = c.objective == "softmax"
        self.table = ItemTable(
            c.n_items, c.d, source=c.items, n_features=c.n_features, id_dropout=c.id_dropout, bias=posterior
        )
        if features is not None:
            self.table.set_features(features)
        self.encoder = build(c.encoder, c.d, max_len=c.max_len, layers=c.layers, heads=c.heads, dropout=c.dropout)
        self.null = nn.Parameter(torch.randn(c.d) * 0.02)
        self.dropout = nn.Dropout(c.dropout)
        self.denoiser = PosteriorDenoiser(c.d, schedule=self.schedule) if posterior else LinearDenoiser(c.d)

    def loss(self, batch: Batch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Noise the next items of Batch (B, L) and score their recovery; the total is "loss"."""
        return (self._softmax_loss if self.config.objective == "softmax" else self._mse_loss)(batch, generator)

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the next items of history (B, L); noise comes from the generator's initial seed and each history.

        Scores are log-probabilities ("softmax") or the mean of x0·E^T ("mse"). Raises: DataError, ConfigError.
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
        """Return a copy that also ranks new items with features (m, f), as n+1..n+m. Raises: ConfigError."""
        state = grow(self.state_dict(), features)
        model = DreamRec(replace(self.config, n_items=self.n_items + len(features)))
        model.load_state_dict(state)
        return model.to(self.null.device)

    def _items(self, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Embeddings (n+1, d), of norm √d with "softmax", and biases (n+1,)."""
        embedding, bias = self.table(generator=generator)
        if self.config.objective == "softmax":
            embedding = F.normalize(embedding, dim=1) * self.config.d**0.5
        return embedding, bias

    def _softmax_loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        c, batch = self.config, with_first_items(batch)
        embedding, bias = self._items(generator)
        known = batch.target != PAD
        condition, target = self._condition(batch.history, embedding)[known], batch.target[known]
        condition = drop_condition(condition, self.null, p=c.p_uncond, generator=generator)
        t = random_times(target.shape, schedule=self.schedule, generator=generator, device=target.device)
        last = torch.rand(target.shape, generator=generator, device=target.device) < c.terminal
        t = t.masked_fill(last, c.T)
        query = self.denoiser(self._noised(embedding[target].detach(), t, generator), t, condition)
        ce = cross_entropy(query, target, embedding, bias, scale=c.d**-0.5, limit=c.max_softmax, generator=generator)
        return {"loss": ce}

    def _mse_loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        rows, place = _random_positions(batch, generator)
        embedding, _ = self._items(generator)
        window = place.unsqueeze(1) + torch.arange(1 - self.config.max_len, 1, device=place.device)
        history = batch.history[rows.unsqueeze(1), window.clamp(min=0)].masked_fill(window < 0, PAD)
        real = history != PAD
        hidden = self.encoder.last(self.dropout(embedding[history]), real)
        condition = torch.where(real[:, -1:], hidden, self.null)
        condition = drop_condition(condition, self.null, p=self.config.p_uncond, generator=generator)
        x0 = embedding[batch.target[rows, place]]
        t = random_times(rows.shape, schedule=self.schedule, generator=generator, device=rows.device)
        x0_hat = self.denoiser(self._noised(x0, t, generator), t, condition)
        return {"loss": F.mse_loss(x0_hat, x0)}

    def _noised(self, x0: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        eps = torch.randn(x0.shape, generator=generator, device=x0.device)
        return q_sample(x0, t, eps, schedule=self.schedule)

    def _condition(self, history: Tensor, embedding: Tensor) -> Tensor:
        """(B, L, d) at every position; null where there is no history yet."""
        real = history != PAD
        hidden = self.encoder(self.dropout(embedding[history]), real)
        return torch.where(real.unsqueeze(-1), hidden, self.null)

    def _finish(self, history: Tensor, seeds: Tensor, items: tuple[Tensor, Tensor], draws: int, steps: int) -> Tensor:
        """Walk to the last step and return the denoiser's answer there, (B·draws, d)."""
        history = history[:, -self.config.max_len :]
        real = history != PAD
        condition = self.encoder.last(items[0][history], real)
        condition = torch.where(real[:, -1:], condition, self.null).repeat_interleave(draws, dim=0)
        ask = classifier_free(self.denoiser, condition, self.null, weight=self.config.weight)
        shape = (draws, self.config.d)
        x, t = user_normal(seeds, shape).flatten(0, 1), self.config.T
        walk = sample(
            lambda x, t: self._clean(ask(x, t), *items), x, schedule=self.schedule, steps=steps, eta=self.config.eta,
            noise=lambda _, i: user_normal(seeds, shape, draw=i + 1).flatten(0, 1),
        )  # fmt: skip
        for step in islice(walk, steps - 1):
            x, t = step.x, step.t
        return ask(x, torch.full((len(x),), t, device=x.device))

    def _clean(self, query: Tensor, embedding: Tensor, bias: Tensor) -> Tensor:
        """x0_hat (N, d) on the scale of the embeddings."""
        if self.config.objective == "mse":
            return query
        return log_probabilities(query, embedding, bias, scale=self.config.d**-0.5).exp() @ embedding

    def _scores(self, query: Tensor, draws: int, embedding: Tensor, bias: Tensor) -> Tensor:
        """(B, n+1), averaged over draws."""
        if self.config.objective == "mse":
            return query.unflatten(0, (-1, draws)).mean(1) @ embedding.T
        scores = log_probabilities(query, embedding, bias, scale=self.config.d**-0.5)
        if draws == 1:
            return scores
        return scores.unflatten(0, (-1, draws)).logsumexp(1) - torch.tensor(float(draws)).log()


def _random_positions(batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One position with a target from each row that has any: rows (N,), places (N,)."""
    known = batch.target != PAD
    draw = torch.rand(known.shape, generator=generator, device=known.device).masked_fill(~known, -1)
    rows = known.any(1).nonzero()[:, 0]
    return rows, draw.argmax(1)[rows]
