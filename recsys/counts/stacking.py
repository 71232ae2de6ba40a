"""Put several opinions about the next item together, by weights fitted on cases that none of them has seen.

    log p_i = w_0·a_i + sum_k w_k·log(1 + kappa_k s_ki) - log Z

a are a network's logits, s_k >= 0 what was counted. The few numbers w and kappa maximise a proper score on held-out
cases: stacking (Wolpert, Stacked Generalization, Neural Networks 1992).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.splits import pad
from ..types import Cases
from .evidence import Discount, spread_back
from .transitions import TransitionTable

SPARSE = 0.1  # up to this share of filled cells, visiting them alone is faster
ITERATIONS = 30
RIDGE = 3e-5  # pulls towards the start, which matters where there are few cases


@dataclass(frozen=True)
class Counted:
    """Numbers s >= 0 of N histories and n+1 items: in full (N, n+1), or those above 0 and their cells."""

    values: Tensor
    cells: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(cls, seen: Tensor) -> "Counted":
        """Take (N, n+1) apart where few cells are filled."""
        rows, items = seen.nonzero(as_tuple=True)
        return cls(seen) if len(rows) > SPARSE * seen.numel() else cls(seen[rows, items], (rows, items))

    def add_to(self, logits: Tensor, *, weight: Tensor, kappa: Tensor) -> Tensor:
        """Return logits + weight·log(1 + kappa·s) for logits (N, n+1), weight and kappa (); changes logits."""
        evidence = (self.values * kappa).log1p_().mul_(weight)
        return logits.add_(evidence) if self.cells is None else logits.index_put_(self.cells, evidence, accumulate=True)


Evidence = tuple[list[Counted | None], Tensor | None]
"""What every expert says of N histories, None where it knows nothing, and the words (N, f) in these."""


def weighed(words: Tensor, log_kappa: Tensor, word_weights: Tensor) -> Tensor:
    """What words (N, f) say of an item that has them: (N, f)."""
    return word_weights * torch.log1p(words * log_kappa[-1].exp())


def add_evidence(
    logits: Tensor, evidence: Evidence, features: Tensor | None, weights: Tensor, log_kappa: Tensor,
    word_weights: Tensor,
) -> Tensor:  # fmt: skip
    """Add what the experts and the words say to logits (N, n+1), which change; padding's become -inf.

    features (n+1, f), or (N, n+1, f) where each history has items of its own, tell which items have which words;
    weights are those of all opinions, the experts' from the third.
    """
    for k, counted in enumerate(evidence[0]):
        if counted is not None:
            logits = counted.add_to(logits, weight=weights[k + 2], kappa=log_kappa[k].exp())
    if evidence[1] is not None and features is not None:
        said = weighed(evidence[1], log_kappa, word_weights)
        logits = torch.addmm(logits, said, features.T) if features.ndim == 2 else logits.add_(_among(said, features))
    logits[:, 0] = -torch.inf
    return logits


def _among(said: Tensor, features: Tensor) -> Tensor:
    return torch.bmm(features, said.unsqueeze(2)).squeeze(2)


@dataclass(frozen=True)
class Opinions:
    """All that is put together, for N cases: of n+1 items, column 0 padding, or of c items that each case has."""

    own: Tensor
    """(N, n+1) or (N, c): the network's logits."""
    bias: Tensor
    """(n+1,) or (N, c)"""
    evidence: Evidence
    features: Tensor | None
    """(n+1, f) or (N, c, f)"""
    target: Tensor
    """(N,): columns."""
    banned: Tensor | None = None
    """(N, l): columns that are not to be ranked."""
    log_weight: Tensor | None = None
    """(N, c): the logarithm of how many items each one stands for; none: of one."""

    def logits(self, numbers: Sequence[Tensor]) -> Tensor:
        """Put them together by weights, log_kappa and word weights: (N, n+1) or (N, c)."""
        weights, log_kappa, word_weights = numbers
        logits = self.own * weights[0] + self.bias * weights[1]
        return add_evidence(logits, self.evidence, self.features, weights, log_kappa, word_weights)

    def loss(self, numbers: Sequence[Tensor], *, order: float) -> Tensor:
        """Score what they say together of the targets: `pseudospherical_loss`."""
        logits = without(self.logits(numbers), self.banned)
        if self.log_weight is not None:
            logits = logits + self.log_weight / order  # the score sums p^order
        return pseudospherical_loss(logits, self.target, order=order)


def without(logits: Tensor, banned: Tensor | None) -> Tensor:
    """Let banned items (N, l) have no chance: -inf in logits (N, n+1), which change."""
    return logits if banned is None else logits.scatter_(1, banned, -torch.inf)


def opinions_of_all(
    own: Tensor, bias: Tensor, experts: Iterable[tuple[TransitionTable, Discount]], history: Tensor, target: Tensor,
    banned: Tensor | None, words: Tensor | None, features: Tensor | None,
) -> Opinions:  # fmt: skip
    """Ask every expert about all items after history (N, L); own (N, n+1) and bias (n+1,) are the network's."""
    said = [Counted.of(spread_back(table, history, discount=discount)) if table.filled else None
            for table, discount in experts]  # fmt: skip
    return Opinions(own, bias, (said, words), features, target, banned)


def held_out(cases: Cases, most: int, *, length: int) -> tuple[Tensor, Tensor]:
    """Take up to `most` cases, spread over all: the latest items of their histories (N, length), and targets (N,)."""
    cases = cases.take(np.linspace(0, len(cases) - 1, min(most, len(cases))).astype(int))
    return pad(cases.histories)[:, -length:], torch.tensor([int(np.ravel(found)[0]) for found in cases.targets])


def pseudospherical_loss(logits: Tensor, target: Tensor, *, order: float) -> Tensor:
    """Average (1 - s)/q of the pseudospherical score s = (p_target / |p|_a)^(a-1) over logits (N, n), target (N,).

    |p|_a is the a-norm of the probabilities, a = `order`, q = 1 - 1/a; in the limit a = 1 it is the cross-entropy, at
    a = 2 the spherical score (Gneiting & Raftery, JASA 2007, example 2). Every a > 1 is proper: the expectation is
    least at the true probabilities. The larger a, the less do cases count that cannot be foreseen.
    """
    if order == 1:
        return F.cross_entropy(logits, target)
    q = 1 - 1 / order
    return ((1 - (-q * F.cross_entropy(logits * order, target, reduction="none")).exp()) / q).mean()


def minimise(loss: Callable[[Sequence[Tensor]], Tensor], start: Sequence[Tensor]) -> list[Tensor]:
    """Find numbers of lower loss, near `start` where nothing speaks against it (L-BFGS); `start` if there are none.

    Where few cases are all alike the line search may run away, to numbers that are finite and far worse.
    """
    leaves = [value.clone().requires_grad_() for value in start]
    optimizer = torch.optim.LBFGS([x for x in leaves if x.numel()], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        near = sum((leaf - value).square().sum() for leaf, value in zip(leaves, start, strict=True))
        total = loss(leaves) + RIDGE * near
        total.backward()
        return total

    with torch.enable_grad():
        before = optimizer.step(closure).detach()  # of the start
        better = bool(closure().detach() <= before)
    sound = better and all(bool(x.isfinite().all()) for x in leaves)
    return [leaf.detach() for leaf in leaves] if sound else list(start)
