"""Items that arrive after training: how loud their likeness to what was taken may speak.

Nothing ever followed a new item, so whatever was learnt from counts passes it by, and its logit falls short of those of
items that were counted. What speaks for it is the network, by its features, and its likeness s to the recent items:

    log p(new i | history) = what the network says + v·log(1 + kappa s_i) + o - log Z

The three numbers v, log kappa and o are fitted by playing: a share HIDDEN of the old items are taken for new ones on
validation cases, their counts and ids put aside.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .stacking import minimise, pseudospherical_loss

HIDDEN = 0.1
START = (0.5, 3.0)  # of v and log kappa; o starts where new items are as likely as old ones


def hidden_items(n_items: int, *, seed: int = 0) -> Tensor:
    """Choose the items that are played as new, at least one: (n+1,) bool, the same every time."""
    order = torch.randperm(n_items, generator=torch.Generator().manual_seed(seed)) + 1
    hidden = torch.zeros(n_items + 1, dtype=torch.bool)
    hidden[order[: max(1, round(HIDDEN * n_items))]] = True
    return hidden


def arrival_logits(logits: Tensor, likeness: Tensor, numbers: Tensor) -> Tensor:
    """Return logits + v·log(1 + kappa·s) + o for logits and likeness (N, m) of new items, numbers (v, log kappa, o)."""
    weight, log_kappa, offset = numbers
    return logits + weight * torch.log1p(likeness * log_kappa.exp()) + offset


def fit_arrivals(old: Tensor, own: Tensor, likeness: Tensor, target: Tensor, hidden: Tensor, *, order: float) -> Tensor:
    """Fit (v, log kappa, o): (3,), by the cross-entropy and from there by the pseudospherical score, flat far away.

    old (N, n+1) are logits with every count, of which the hidden items' are left out; own (N, m) those of the m hidden
    items by the network alone, likeness (N, m), target (N,) and hidden (n+1,) bool.
    """
    place = torch.where(hidden, hidden.cumsum(0) + 1, 0)[target]  # among the columns hit, rest, hidden items

    def fit(start: Tensor, order: float) -> Tensor:
        known = old.masked_fill(hidden, -torch.inf)
        hit = known.gather(1, target.unsqueeze(1))
        known.scatter_(1, target.unsqueeze(1), -torch.inf)
        rest = (known * order).logsumexp(1, keepdim=True) / order  # one column that weighs as much as all of them

        def loss(numbers: Sequence[Tensor]) -> Tensor:
            columns = torch.cat([hit, rest, arrival_logits(own, likeness, numbers[0])], 1)
            return pseudospherical_loss(columns, place, order=order)

        return minimise(loss, [start])[0]

    known = old[:, ~hidden]
    offset = known[known.isfinite()].mean() - own[own.isfinite()].mean()
    return fit(fit(torch.stack([*old.new_tensor(START), offset]), 1.0), order)
