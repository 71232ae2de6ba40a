"""CountDiff: diffusion over the next item that starts from transition counts. A model of this project, no paper's.

Counts of which item followed which beat most published sequence models on sparse data (see markov.py), and a network
has to spend its capacity on learning them again. Here they are the prior that the reverse process starts from:

    log p(i | history) = q(c)·e_i/√d + b_i + sum_k g_k(c)·log(1 + kappa_k s_ki(history)) - log Z
    log p(i | x_t, history) = the same + (alpha_t/sigma_t²) x_t·e_i - log Z_t            (docs/notation.md)

with c from a causal transformer, |e_i| = √d, s_1i the discounted transition counts of the recent items and, where items
have neighbours (by their texts, say), s_2i the discounted likeness to the recent items; g and kappa are learnt. Where
items are described by words f_iw >= 0 (`words`), sum_w f_iw·g_3(c)·log(1 + kappa_3 u_w) joins in, with u_w how often w
was in the history, discounted: what naive Bayes would say.
x0_hat = sum_i p(i | x_t, history) e_i, so everything that is known of Gaussian diffusion holds: one step from noise
ranks by the prior itself, several steps sample items (`generate`), calibrated and different.

Training: cross-entropy of the next item at every position, a share `terminal` of them at t = T, where ranking starts.
The network fits its own training sequences better than new ones, the counts, below, do not; so ranking (not `generate`)
multiplies g by a weight that validation chooses (`tune`).

A sequence may not find its own transitions in the counts, or it would learn to trust them blindly: each is taken out of
the counts for its own rows (leave one out), which the counts over all others make exact for items taken once. Where
no training sequence holds an item twice, training chooses among items that the history does not hold, as ranking does.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..denoiser import PosteriorDenoiser
from ..encoder import TransformerEncoder
from ..errors import ConfigError, check_range
from ..evidence import Discount, Evidence, add_evidence, followers, likeness, others_followers, prefixes, word_counts
from ..gaussian import q_sample, random_times
from ..items import ItemTable, grow, with_first_items
from ..mode import evaluating
from ..noise import user_seeds
from ..ranking import check_history, check_k, rank_in_chunks
from ..schedule import by_name
from ..trajectory import last_answer
from ..transitions import Transitions, TransitionTable, count_transitions
from ..types import PAD, Batch, Ranking
from .counting import flatten

WEIGHTS = (1.0, 0.5, 1.5, 2.0, 3.0)
Items = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class CountDiffConfig:
    """`decay`, `window` and `degree_power` are those of the counts (markov.py); the others are as in DreamRecConfig.

    `likeness_decay` discounts the neighbours of older items. `words` says that features count words or attributes (none
    is negative), and counts these in the history, too.
    """

    n_items: int
    d: int = 64
    max_len: int = 50
    layers: int = 2
    heads: int = 2
    dropout: float = 0.3
    items: str = "id"
    n_features: int = 0
    id_dropout: float = 0.2
    decay: float = 0.7
    window: int = 10
    degree_power: float = 0.5
    likeness_decay: float = 0.3
    words: bool = False
    T: int = 100
    schedule: str = "sqrt"
    terminal: float = 0.8
    steps: int = 1
    draws: int = 1
    sample_steps: int = 20

    def __post_init__(self):
        c = self
        if c.words and c.items == "id":
            raise ConfigError("words = True with items = 'id'; words are counted in features, so set items = 'both'")
        check_range(
            n_items=(c.n_items, 1, 10**9), d=(c.d, 2, 4096), max_len=(c.max_len, 1, 4096), layers=(c.layers, 1, 64),
            window=(c.window, 1, 4096), T=(c.T, 1, 10_000), dropout=(c.dropout, 0, 0.95),
            id_dropout=(c.id_dropout, 0, 1), decay=(c.decay, 0.01, 1), likeness_decay=(c.likeness_decay, 0, 1),
            degree_power=(c.degree_power, 0, 1), terminal=(c.terminal, 0, 1), draws=(c.draws, 1, 1024),
            steps=(c.steps, 1, c.T), sample_steps=(c.sample_steps, 1, c.T),
        )  # fmt: skip


class CountDiff(nn.Module):
    """Counts, a history encoder, and a denoiser of item embeddings that joins them."""

    def __init__(self, config: CountDiffConfig, *, features: Tensor | None = None):
        super().__init__()
        c = config
        self.n_items, self.config = c.n_items, config
        self.schedule, self.discount = by_name(c.schedule, c.T), Discount(c.decay, c.window, c.degree_power)
        self.table = ItemTable(c.n_items, c.d, source=c.items, n_features=c.n_features, id_dropout=c.id_dropout)
        if features is not None:
            self.table.set_features(features)
        self.counts, self.neighbours = TransitionTable(c.n_items), TransitionTable(c.n_items)
        self.encoder = TransformerEncoder(c.d, max_len=c.max_len, layers=c.layers, heads=c.heads, dropout=c.dropout)
        self.null = nn.Parameter(torch.randn(c.d) * 0.02)
        self.dropout = nn.Dropout(c.dropout)
        self.denoiser = PosteriorDenoiser(c.d, schedule=self.schedule)
        self.trust = nn.Linear(c.d, 3)
        self.log_kappa = nn.Parameter(torch.tensor([4.0, 4.0, 0.0]))
        if c.words:
            self.word_trust = nn.Parameter(torch.ones(c.n_features))
        self.once: Tensor
        self.weight: Tensor
        self.register_buffer("once", torch.zeros(1, dtype=torch.bool))
        self.register_buffer("weight", torch.ones(1))

    def prepare(self, sequences: list[np.ndarray]) -> None:
        """Count the transitions of the training sequences. Raises: DataError for none, or ids outside 1..n_items."""
        c = self.config
        self.once.fill_(all(len(np.unique(sequence)) == len(sequence) for sequence in sequences))
        items, owners = flatten(sequences, c.n_items)
        self.counts.set(count_transitions(items, owners, c.n_items, decay=c.decay, window=c.window))

    def set_neighbours(self, neighbours: Transitions) -> None:
        """Let items like the recent ones be more likely: row i holds the items like i, weights their likeness."""
        self.neighbours.set(neighbours)

    def loss(self, batch: Batch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Average the cross-entropy of the next item over every position that has one (Batch (B, L))."""
        c, batch = self.config, with_first_items(batch)
        embedding, bias = self._items(generator)
        known = batch.target != PAD
        target, real = batch.target[known], batch.history != PAD
        hidden = self.encoder(self.dropout(embedding[batch.history]), real)
        condition = torch.where(real.unsqueeze(-1), hidden, self.null)[known]
        t = random_times(target.shape, schedule=self.schedule, generator=generator, device=target.device)
        last = torch.rand(target.shape, generator=generator, device=target.device) < c.terminal
        t = t.masked_fill(last, c.T)
        eps = torch.randn(condition.shape, generator=generator, device=target.device)
        x_t = q_sample(embedding[target].detach(), t, eps, schedule=self.schedule)
        past, ages = prefixes(batch, known)
        seen = self._evidence(others_followers(self.counts, batch, known, discount=self.discount), past, ages)
        logits = self._logits(self.denoiser(x_t, t, condition), condition, seen, (embedding, bias), 1.0)
        if self.once:
            logits.detach().scatter_(1, past.masked_fill(past == target.unsqueeze(1), PAD), -torch.inf)
        return {"loss": F.cross_entropy(logits, target)}

    def tune(self, score: Callable[[], float]) -> None:
        """Choose the weight of what was counted, for ranking alone, by the highest score() of this model's rankings."""
        scores = []
        for weight in WEIGHTS:
            self.weight.fill_(weight)
            scores.append(score())
        self.weight.fill_(WEIGHTS[int(np.argmax(scores))])

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the next items of history (B, L) by their log-probability, averaged over `draws` walks.

        Noise comes from the generator's initial seed and each history. Raises: DataError, ConfigError, ModelError.
        """
        check_history(history, self.n_items)
        check_k(k, self.n_items)
        seeds, c = user_seeds(history, generator=generator), self.config
        with evaluating(self):
            items = self._items()

            def score(history: Tensor, rows: Tensor) -> Tensor:
                banned = self._banned(history) if exclude_seen else None
                logits = self._walk(history, seeds[rows], items, c.draws, c.steps, float(self.weight), banned)
                logs = logits.log_softmax(1)
                return logs if c.draws == 1 else logs.unflatten(0, (-1, c.draws)).logsumexp(1) - math.log(c.draws)

            return rank_in_chunks(score, history, k, exclude_seen=exclude_seen)

    def generate(self, history: Tensor, *, draws: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Sample embeddings (B, draws, d) of possible next items, on the scale of `item_embeddings`.

        Where nobody took an item twice in training, nobody gets a seen one here.
        """
        check_history(history, self.n_items)
        check_range(draws=(draws, 1, 4096))
        banned = self._banned(history)
        with evaluating(self):
            items = self._items()
            seeds = user_seeds(history, generator=generator)
            logits = self._walk(history, seeds, items, draws, self.config.sample_steps, 1.0, banned)
            return _mean(logits, items[0]).view(len(history), draws, -1)

    def _banned(self, history: Tensor) -> Tensor | None:
        """What nobody takes again: the items seen, for users whom that leaves any."""
        left = (history != PAD).sum(1, keepdim=True) < self.n_items
        return history * left if self.once else None

    def item_embeddings(self) -> Tensor:
        """Return the embeddings (n+1, d) that generation lands on, row 0 padding."""
        with evaluating(self):
            return self._items()[0]

    def with_items(self, features: Tensor, *, neighbours: Transitions | None = None) -> "CountDiff":
        """Return a copy that also ranks new items with features (m, f), as n+1..n+m, though nothing followed them yet.

        `neighbours` of all n+m items, where this model has some. Raises: ConfigError.
        """
        m, state = len(features), grow(self.state_dict(), features)
        for name in ("counts.starts", "neighbours.starts"):
            state[name] = torch.cat([state[name], state[name][-1:].expand(m)])
        model = CountDiff(replace(self.config, n_items=self.n_items + m))
        model.load_state_dict(state)
        if neighbours is not None:
            model.set_neighbours(neighbours)
        return model.to(self.null.device)

    def _items(self, generator: torch.Generator | None = None) -> Items:
        """Embeddings (n+1, d) of norm √d and biases (n+1,)."""
        embedding, bias = self.table(generator=generator)
        return F.normalize(embedding, dim=1) * self.config.d**0.5, bias

    def _walk(
        self, history: Tensor, seeds: Tensor, items: Items, draws: int, steps: int, weight: float,
        banned: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Walk from noise to the last step and return the logits there, (B·draws, n+1)."""
        history = history[:, -self.config.max_len :]
        real = history != PAD
        condition = torch.where(real[:, -1:], self.encoder.last(items[0][history], real), self.null)
        ages = torch.arange(history.shape[1] - 1, -1, -1, device=history.device).expand_as(history)
        seen = self._evidence(followers(self.counts, history, discount=self.discount), history, ages).repeat(draws)
        condition = condition.repeat_interleave(draws, dim=0)
        banned = None if banned is None else banned.repeat_interleave(draws, dim=0)

        def ask(x: Tensor, t: Tensor) -> Tensor:
            logits = self._logits(self.denoiser(x, t, condition), condition, seen, items, weight)
            return logits if banned is None else logits.scatter_(1, banned, -torch.inf)

        return last_answer(
            ask, seeds, clean=lambda logits: _mean(logits, items[0]), d=self.config.d, draws=draws,
            schedule=self.schedule, steps=steps, eta=0.0,
        )  # fmt: skip

    def _logits(self, query: Tensor, condition: Tensor, seen: Evidence, items: Items, weight: float) -> Tensor:
        """(N, n+1) logits of the query (N, d), the condition (N, d) and what was counted."""
        logits = torch.addmm(items[1], query * self.config.d**-0.5, items[0].T)
        trust, kappa = F.softplus(self.trust(condition)) * weight, self.log_kappa.exp()
        logits = add_evidence(logits, seen.counts, trust=trust[:, 0], kappa=kappa[0])
        if seen.alike is not None:
            logits = add_evidence(logits, seen.alike, trust=trust[:, 1], kappa=kappa[1])
        if seen.words is not None:
            said = trust[:, 2:] * self.word_trust * torch.log1p(seen.words * kappa[2])
            logits = torch.addmm(logits, said, self.table.features.T)
        logits.detach()[:, PAD] = -torch.inf  # its gradient is 0 after a softmax
        return logits

    def _evidence(self, counts: Tensor, items: Tensor, ages: Tensor) -> Evidence:
        """Put counts (N, n+1) together with what texts say of items (N, L) of `ages` (N, L)."""
        c = self.config
        discount, alike, words = Discount(c.likeness_decay, c.window), None, None
        if self.neighbours.filled:
            alike = likeness(self.neighbours, items, ages, discount=discount)
        if c.words:
            words = word_counts(self.table.features, items, ages, discount=discount)
        return Evidence(counts, alike, words)


def _mean(logits: Tensor, embedding: Tensor) -> Tensor:
    """x0_hat (N, d): the mean of the item posterior."""
    return logits.softmax(1) @ embedding
