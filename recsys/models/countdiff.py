"""CountDiff: diffusion over the next item that starts from counts. A model of this project, no paper's.

Counts of what followed what beat most published sequence models on sparse data (markov.py), texts know items that few
took, a network knows the rest. The prior of the reverse process is a product of them all:

    log p(i | history) = w_0·q(c)·e_i/√d + w_1·b_i + sum_k w_k·log(1 + kappa_k s_ki(history)) - log Z
    log p(i | x_t, history) = the same + (alpha_t/sigma_t²) x_t·e_i - log Z_t            (docs/notation.md)

The network is DreamRec's (softmax objective), trained alone. The experts s_k are discounted sums over recent items:
of what followed them, of what was taken together with them, in any order, of a regression of every item on the others
(regression.py), and, where items have neighbours (by their texts, say), of those. Where items are described by words
f_iw >= 0 (`words`), the words of the history speak, too: sum_w v_w f_iw log(1 + kappa u_w), what naive Bayes would say.

The dozen numbers w, kappa (and v) are fitted on validation cases, which no count has seen (`tune`): stacking (Wolpert,
Stacked Generalization, Neural Networks 1992). Trained jointly instead, the network learns only what counts leave over,
and that was worth less. They maximise the pseudospherical score (p_target/|p|_a)^(a-1), a = `order`, (Good 1971;
Gneiting & Raftery, JASA 2007, example 2). It is proper, so draws stay calibrated, and it cares for the cases that can
be foreseen, as a ranking's first places do; the logarithm (a = 1) cares most for those that cannot.

Items that arrive after training were never counted; three more numbers weigh their features and neighbours
(recsys/counts/arrivals.py).

x0_hat = sum_i p(i | x_t, history) e_i: one step from noise ranks by the prior itself, several steps sample items.
"""

import math
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..counts.arrivals import arrival_logits, fit_arrivals, hidden_items
from ..counts.candidates import COLUMNS, opinions_of_few
from ..counts.evidence import Discount, sparse_evidence, spread_back, word_counts
from ..counts.stacking import Opinions, held_out, minimise, opinions_of_all, weighed, without
from ..counts.transitions import Transitions, TransitionTable, count_together, count_transitions, split_columns, thinned
from ..diffusion.noise import user_normal, user_seeds
from ..diffusion.trajectory import last_answer
from ..errors import ConfigError, check_range
from ..networks.denoiser import PosteriorDenoiser
from ..networks.items import equal_norms, grow
from ..networks.mode import evaluating
from ..ranking import check_history, check_k, rank_in_chunks
from ..saved import Pretrained
from ..types import PAD, Asked, Batch, Cases, Ranking
from .counting import flatten
from .dreamrec import DreamRec, DreamRecConfig
from .regression import regress

KEEP = 200  # as many items taken together with an item are remembered
LEADING = 100  # as many entries of an item's row of the regression
SILENT = 0.05  # an expert of less weight changes no ranking worth its time, and is not asked
CASES, CELLS = 5000, 1e8  # as many cases are stacked on, or fewer where the catalogue is large
MANY = 50_000  # above as many items the weights are fitted among some that matter (counts/candidates.py)
START, KAPPA = (0.5, 0.0, 1.0, 0.5, 0.5, 0.5), (4.0, 7.0, 3.0, 3.0, 0.0)  # of w and log kappa, before any fit
Items = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class CountDiffConfig:
    """`decay`, `window`, `degree_power` are those of the counts (markov.py), `order` is a; the others are DreamRec's.

    `likeness_decay` discounts the neighbours of older items, `together_decay` what was taken together with them,
    `regressed_decay` what the regression says of them. `regressed` most frequent items enter the regression (0: none),
    which needs 12 bytes times their square; `ridge` is its own.
    `words` says that features count words or attributes (none is negative). The last `new_items` items came after
    training.
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
    together_decay: float = 0.9
    regressed: int = 20_000
    regressed_decay: float = 0.95
    ridge: float = 200.0
    words: bool = False
    order: float = 2.0
    T: int = 100
    schedule: str = "sqrt"
    terminal: float = 0.8
    steps: int = 1
    draws: int = 1
    sample_steps: int = 20
    max_softmax: int = 20_000
    item_dtype: str = "auto"
    new_items: int = 0

    def __post_init__(self):
        c = self
        if c.words and c.items == "id":
            raise ConfigError("words = True with items = 'id'; words are counted in features, so set items = 'both'")
        check_range(
            window=(c.window, 1, 4096), decay=(c.decay, 0.01, 1), likeness_decay=(c.likeness_decay, 0, 1),
            together_decay=(c.together_decay, 0, 1), degree_power=(c.degree_power, 0, 1), order=(c.order, 1, 16),
            regressed=(c.regressed, 0, 10**6), regressed_decay=(c.regressed_decay, 0.01, 1), ridge=(c.ridge, 1e-3, 1e9),
            new_items=(c.new_items, 0, c.n_items - 1),
        )  # fmt: skip
        self.dreamrec()

    def dreamrec(self) -> DreamRecConfig:
        """The configuration of the network.

        Raises:
            ConfigError: settings out of range.
        """
        names = DreamRecConfig.__dataclass_fields__.keys() & self.__dataclass_fields__.keys()
        return DreamRecConfig(p_uncond=0.0, **{name: getattr(self, name) for name in names})


class CountDiff(nn.Module, Pretrained):
    """A network, what was counted, and the weights that put them together."""

    def __init__(self, config: CountDiffConfig, *, features: Tensor | None = None):
        super().__init__()
        c = config
        self.n_items, self.config = c.n_items, config
        self.net = DreamRec(c.dreamrec(), features=features)
        self.counts = TransitionTable(c.n_items)
        self.together = TransitionTable(c.n_items)
        self.neighbours = TransitionTable(c.n_items)
        self.regression = TransitionTable(c.n_items)
        self.arrivals = TransitionTable(c.n_items)
        recent = Discount(c.decay, c.window, c.degree_power)
        together = Discount(c.together_decay, 2 * c.window, c.degree_power)
        self.experts = (
            (self.counts, recent), (self.together, together), (self.neighbours, Discount(c.likeness_decay, c.window)),
            (self.regression, Discount(c.regressed_decay, c.max_len)),
        )  # fmt: skip
        self.once: Tensor
        self.weights: Tensor
        self.log_kappa: Tensor
        self.word_weights: Tensor
        self.arrival: Tensor
        self.register_buffer("once", torch.zeros(1, dtype=torch.bool))
        self.register_buffer("weights", torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, 0.0]))
        self.register_buffer("log_kappa", torch.tensor(KAPPA))
        self.register_buffer("word_weights", torch.zeros(c.n_features if c.words else 0))
        self.register_buffer("arrival", torch.tensor([0.0, 0.0, 0.0]))

    def prepare(self, sequences: list[np.ndarray]) -> None:
        """Count in the training sequences.

        Raises:
            DataError: none, or ids outside 1..n_items.
            ResourceError: memory does not suffice for the regression.
        """
        c = self.config
        self.once.fill_(all(len(np.unique(sequence)) == len(sequence) for sequence in sequences))
        items, owners = flatten(sequences, c.n_items)
        self.counts.set(count_transitions(items, owners, c.n_items, decay=c.decay, window=c.window))
        self.together.set(thinned(count_together(items, owners, c.n_items, window=c.max_len), keep=KEEP))
        if c.regressed:
            self.regression.set(regress(sequences, c.n_items, most=c.regressed, ridge=c.ridge, keep=LEADING))

    def sample_from(self, sequences: list[np.ndarray]) -> None:
        """Let the network's training sample items as often as they occur, where the catalogue is large."""
        self.net.sample_from(sequences)

    def set_neighbours(self, neighbours: Transitions) -> None:
        """Let items like the recent ones be more likely: row i holds the items like i, weights their likeness."""
        old, new = split_columns(neighbours, self.n_items - self.config.new_items)
        self.neighbours.set(old)
        self.arrivals.set(new)

    def loss(self, batch: Batch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Average the network's cross-entropy of the next item over every position of Batch (B, L) that has one."""
        return self.net.loss(batch, generator=generator)

    def tune(self, cases: Cases) -> None:
        """Fit the weights of network, counts and words on cases that none of them has seen, the same way every time."""
        c, device = self.config, self.weights.device
        cells = COLUMNS * max(1, len(self.word_weights)) if self.n_items > MANY else self.n_items + 1
        history, target = held_out(cases, min(CASES, max(200, int(CELLS // cells))), length=c.max_len)
        history, target = history.to(device), target.to(device)
        if self.once:
            new = (history != target.unsqueeze(1)).all(1)
            history, target = history[new], target[new]
        with evaluating(self):
            items = self.net._items()
            query = self._prior_query(history, items[0])
            ask = self._opinions_of_few if self.n_items > MANY else self._opinions
            opinions = ask(query, items, history, target)
        numbers = (self.weights, self.log_kappa, self.word_weights)
        start = [self.weights.new_tensor(START), self.log_kappa.new_tensor(KAPPA), torch.full_like(numbers[2], 0.5)]
        for kept, found in zip(numbers, minimise(lambda x: opinions.loss(x, order=c.order), start), strict=True):
            kept.copy_(found)
        self.weights[2:].masked_fill_(self.weights[2:].abs() < SILENT, 0.0)
        if self.neighbours.filled and c.items != "id":
            if self.n_items > MANY:  # among all items after all, for fewer cases
                step = math.ceil(len(history) * (self.n_items + 1) / CELLS)
                history, target, query = history[::step], target[::step], query[::step]
                opinions = self._opinions(query, items, history, target)
            self._tune_arrivals(query, opinions.logits(numbers), opinions.evidence[1], history, target)

    def _tune_arrivals(self, query: Tensor, old: Tensor, words: Tensor | None, history: Tensor, target: Tensor) -> None:
        """Fit the weights of new items: what the logits `old` (N, n+1) would be if some items were new."""
        hidden, c = hidden_items(self.n_items).to(old.device), self.config
        with torch.no_grad():
            features = self.net.table.features[hidden]
            embedding, bias = self.net.table.from_features(features)
        own = self.weights[0] * query @ equal_norms(embedding).T * c.d**-0.5 + self.weights[1] * bias
        if words is not None:
            own += weighed(words, self.log_kappa, self.word_weights) @ features.T
        likeness = spread_back(self.neighbours, history, discount=self.experts[2][1])[:, hidden]
        if (banned := self._banned(history)) is not None:
            seen = torch.zeros_like(old, dtype=torch.bool).scatter_(1, banned, True)
            own = own.masked_fill(seen[:, hidden], -torch.inf)
            old = old.masked_fill(seen, -torch.inf)
        self.arrival.copy_(fit_arrivals(old, own, likeness, target, hidden, order=c.order))

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the next items of history (B, L) by their log-probability, averaged over `draws` walks.

        Noise comes from the generator's initial seed and each history.

        Raises:
            DataError: `history` has another type or shape, unknown items, or padding after an item.
            ConfigError: k is outside 1..n.
            ModelError: the model was not trained, or its scores are not numbers.
        """
        check_history(history, self.n_items)
        check_k(k, self.n_items)
        seeds, c = user_seeds(history, generator=generator), self.config
        with evaluating(self):
            items = self.net._items()

            def score(history: Tensor, rows: Tensor) -> Tensor:
                banned = self._banned(history) if exclude_seen else None
                logs = self._walk(history, seeds[rows], items, c.draws, c.steps, banned).log_softmax(1)
                return logs if c.draws == 1 else logs.unflatten(0, (-1, c.draws)).logsumexp(1) - math.log(c.draws)

            return rank_in_chunks(score, history, k, exclude_seen=exclude_seen)

    def generate(self, history: Tensor, *, draws: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Sample embeddings (B, draws, d) of possible next items, on the scale of `item_embeddings`.

        Where nobody took an item twice in training, nobody gets a seen one here.
        """
        check_history(history, self.n_items)
        check_range(draws=(draws, 1, 4096))
        with evaluating(self):
            items = self.net._items()
            seeds = user_seeds(history, generator=generator)
            logits = self._walk(history, seeds, items, draws, self.config.sample_steps, self._banned(history))
            return _mean(logits, items[0]).view(len(history), draws, -1)

    def item_vectors(self) -> Tensor | None:
        """Return embeddings, biases and words side by side (n+1, D), for an index; None for several steps or draws."""
        if self.config.steps > 1 or self.config.draws > 1 or self.arrivals.filled:
            return None
        with evaluating(self):
            embedding, bias = self.net._items()
            self.net.table.forget()
            words = [self.net.table.features] if self.config.words else []
            return torch.cat([embedding, bias.unsqueeze(1), *words], dim=1)

    def ask(self, history: Tensor, vectors: Tensor, *, generator: torch.Generator | None = None) -> Asked:
        """Return the queries of history (B, L) for an index, and what was counted for few items."""
        c, w, seeds = self.config, self.weights, user_seeds(history, generator=generator)
        history, t = history[:, -c.max_len :], torch.full((len(history),), c.T, device=history.device)
        with evaluating(self):
            condition = self.net._condition(history, vectors[:, : c.d])
            query, seen = self._query(user_normal(seeds, (c.d,)), t, condition)
            parts = [(query * w[0] + seen) * c.d**-0.5, w[1].expand(len(history), 1)]
            if (words := self._words(history)) is not None:
                heard = weighed(words, self.log_kappa, self.word_weights)
                parts.append(heard if bool(w[2:].any()) else torch.zeros_like(heard))
            experts = [(*expert, float(w[k + 2]), float(self.log_kappa[k].exp()))
                       for k, expert in enumerate(self.experts) if expert[0].filled and w[k + 2]]  # fmt: skip
            return Asked(torch.cat(parts, dim=1), *sparse_evidence(experts, history))

    def item_embeddings(self) -> Tensor:
        """Return the embeddings (n+1, d) that generation lands on, row 0 padding."""
        return self.net.item_embeddings()

    def with_items(self, features: Tensor, *, neighbours: Transitions | None = None) -> "CountDiff":
        """Return a copy that also ranks new items with features (m, f), as n+1..n+m, though nothing followed them yet.

        `neighbours` of all n+m items, where this model has some.

        Raises:
            ConfigError: the model knows no features, or these have another width.
        """
        m, state = len(features), grow(self.state_dict(), features)
        for name in state:
            if name.endswith(".starts"):
                state[name] = torch.cat([state[name], state[name][-1:].expand(m)])
        model = CountDiff(replace(self.config, n_items=self.n_items + m, new_items=self.config.new_items + m))
        model.load_state_dict(state)
        if neighbours is not None:
            model.set_neighbours(neighbours)
        return model.to(self.weights.device)

    def _load_from_state_dict(self, state_dict, prefix, *rest):  # pyrefly: ignore[bad-override]
        older = len(state_dict.get(prefix + "weights", ())) == len(self.weights) - 1
        if older and prefix + "log_kappa" in state_dict:  # saved before there was a regression, which stays silent
            for name, empty in TransitionTable(self.n_items).state_dict().items():
                state_dict[f"{prefix}regression.{name}"] = empty
            state_dict[prefix + "weights"] = F.pad(state_dict[prefix + "weights"], (0, 1))
            *kappa, words = state_dict[prefix + "log_kappa"].split(1)
            state_dict[prefix + "log_kappa"] = torch.cat([*kappa, torch.zeros_like(words), words])
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _banned(self, history: Tensor) -> Tensor | None:
        """What nobody takes again: the items seen, for users whom that leaves any."""
        left = (history != PAD).sum(1, keepdim=True) < self.n_items
        return history * left if self.once else None

    def _walk(
        self, history: Tensor, seeds: Tensor, items: Items, draws: int, steps: int, banned: Tensor | None
    ) -> Tensor:
        """Walk from noise to the last step and return the logits there, (B·draws, n+1)."""
        history, (embedding, bias), w = history[:, -self.config.max_len :], items, self.weights
        condition = self.net._condition(history, embedding).repeat_interleave(draws, dim=0)
        self.counts.table()  # raises where nothing was counted
        base = (bias * w[1]).repeat(len(history), 1)
        if bool(w[2:].any()):  # before `tune` the network is alone
            self._add_evidence(base, history)
        base[:, PAD] = -torch.inf
        if self.arrivals.filled:
            likeness = spread_back(self.arrivals, history, discount=self.experts[2][1])
            new = slice(self.n_items + 1 - self.config.new_items, None)
            base[:, new] = arrival_logits(base[:, new], likeness[:, new], self.arrival)
        base = without(base, banned)
        if draws > 1:
            base = base.repeat_interleave(draws, dim=0)

        def ask(x: Tensor, t: Tensor) -> Tensor:
            query, seen = self._query(x, t, condition)
            logits = base if steps == 1 else base.clone()  # asked once, it may be used up
            return logits.addmm_((query * w[0] + seen) * self.config.d**-0.5, embedding.T)

        return last_answer(
            ask, seeds, clean=lambda logits: _mean(logits, embedding), d=self.config.d, draws=draws,
            schedule=self.net.schedule, steps=steps, eta=0.0,
        )  # fmt: skip

    def _query(self, x: Tensor, t: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """The query of the network's prior and what x_t (N, d) says, both (N, d)."""
        denoiser = cast(PosteriorDenoiser, self.net.denoiser)
        seen = denoiser.evidence[t].unsqueeze(-1) * x
        return denoiser(x, t, condition) - seen, seen

    def _add_evidence(self, logits: Tensor, history: Tensor) -> None:
        """Add what the experts and the words say of history (B, L) to logits (B, n+1), in place."""
        room = None  # one for all experts: what is fresh must be paged in
        for (table, discount), weight, log_kappa in zip(self.experts, self.weights[2:], self.log_kappa, strict=False):
            if table.filled and weight:
                room = spread_back(table, history, discount=discount, scale=float(log_kappa.exp()), out=room)
                logits.add_(room.log1p_(), alpha=float(weight))
        if (words := self._words(history)) is not None:
            logits.addmm_(weighed(words, self.log_kappa, self.word_weights), self.net.table.features.T)

    def _prior_query(self, history: Tensor, embedding: Tensor) -> Tensor:
        """What the network looks for before any noise is seen, after history (N, L): (N, d)."""
        condition = self.net._condition(history, embedding)
        t = torch.full((len(history),), self.config.T, device=history.device)
        return self._query(torch.zeros_like(condition), t, condition)[0]

    def _opinions(self, query: Tensor, items: Items, history: Tensor, target: Tensor) -> Opinions:
        """What network, experts and words say of all items after history (N, L)."""
        own, banned = query @ items[0].T * self.config.d**-0.5, self._banned(history)
        words = self._words(history)
        return opinions_of_all(own, items[1], self.experts, history, target, banned, words, self._described)

    def _opinions_of_few(self, query: Tensor, items: Items, history: Tensor, target: Tensor) -> Opinions:
        """The same of few items a case."""
        experts = [(*one, w, math.exp(kappa)) for one, w, kappa in zip(self.experts, START[2:], KAPPA, strict=False)]
        query, banned = query * self.config.d**-0.5, self._banned(history)
        return opinions_of_few(query, items, experts, history, target, banned, self._words(history), self._described)

    @property
    def _described(self) -> Tensor | None:
        return self.net.table.features if self.config.words else None

    def _words(self, history: Tensor) -> Tensor | None:
        """The words (B, f) of history (B, L), where items have words."""
        return word_counts(self.net.table.features, history, discount=self.experts[2][1]) if self.config.words else None


def _mean(logits: Tensor, embedding: Tensor) -> Tensor:
    """x0_hat (N, d): the mean of the item posterior."""
    return logits.softmax(1) @ embedding
