"""A softmax over a sample of the items, for catalogues too large to score all of them at every step of training.

    Z = exp s_t + sum_{i != t} exp s_i        Z' = exp s_t + sum_{j: i_j != t} exp(s_{i_j} - log(m q(i_j)))

m items i_1..i_m are drawn from q, once for a whole batch; the loss is -s_t + log Z'. Each item stands m q(i) times in
the second sum on average, so E Z' = Z: Bengio & Senécal, Adaptive Importance Sampling to Accelerate Training of a
Neural Probabilistic Language Model (IEEE Trans. Neural Networks 2008); Yi et al., Sampling-Bias-Corrected Neural
Modeling for Large Corpus Item Recommendations (RecSys 2019), who call log q the correction.
Differs: Yi et al. draw what others of the batch took, and estimate how often that happens while they train; here half
of the sample are items, uniformly, and half are interactions of the training data, so that q is known and no item's
weight exceeds 2n/m (mixed, as in Yang et al., Mixed Negative Sampling, WWW 2020).

The rule: up to `max_softmax` items the softmax is exact; above, `max_softmax` items are drawn, `MOST` at most.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..types import Batch

MOST = 4096
"""More draws cost time and change little (benchmarks/sampled.py)."""


@dataclass(frozen=True)
class Sample:
    """A batch among the items that take part in it, which are numbered anew, from 1; 0 stays padding."""

    ids: Tensor
    """(u,) int64, ascending: the items that take part, ids[0] = 0."""
    batch: Batch
    """The batch in the new numbers."""
    drawn: Tensor
    """(m,) int64: the items drawn, in the new numbers; one may be there twice."""
    log_expected: Tensor
    """(m,): the logarithm of how often each stands among the m on average, log(m q)."""


class Proposal(nn.Module):
    """What items are drawn from: uniformly, and after `count` half of them as often as they were taken."""

    def __init__(self, n_items: int):
        super().__init__()
        self.n_items = n_items
        self.taken: Tensor
        self.times: Tensor
        self.register_buffer("taken", torch.zeros(0, dtype=torch.int32), persistent=False)
        self.register_buffer("times", torch.zeros(0), persistent=False)

    def count(self, items: Tensor) -> None:
        """Take in all items of the training data, (N,) in 1..n."""
        device = self.taken.device
        self.taken = items.to(device, torch.int32)
        self.times = torch.bincount(items, minlength=self.n_items + 1).float().to(device)

    def draw(self, m: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw m items; return them, (m,) int64, and log(m q) of each."""
        device = self.taken.device
        known = m // 2 if len(self.taken) else 0
        drawn = torch.randint(1, self.n_items + 1, (m - known,), generator=generator, device=device)
        if not known:
            return drawn, torch.full((m,), m / self.n_items, device=device).log()
        places = torch.randint(len(self.taken), (known,), generator=generator, device=device)
        drawn = torch.cat([drawn, self.taken[places].long()])
        expected = (m - known) / self.n_items + self.times[drawn] * (known / len(self.taken))
        return drawn, expected.log()

    def sample(self, batch: Batch, *, limit: int, generator: torch.Generator) -> Sample | None:
        """Choose the items that Batch (B, L) is trained among; None: all of them, as there are `limit` at most."""
        if self.n_items <= limit:
            return None
        drawn, log_expected = self.draw(min(limit, MOST), generator=generator)
        history, target = batch.history.flatten(), batch.target.flatten()
        ids, places = torch.cat([drawn.new_zeros(1), history, target, drawn]).unique(return_inverse=True)
        _, history, target, drawn = places.split([1, len(history), len(target), len(drawn)])
        shape = batch.history.shape
        return Sample(ids, Batch(history.view(shape), target.view(shape)), drawn, log_expected)


def sampled_cross_entropy(
    query: Tensor, target: Tensor, embedding: Tensor, bias: Tensor, drawn: Tensor, log_expected: Tensor, *, scale: float
) -> Tensor:
    """Average -s_t + log Z' for query (N, d) and target (N,), s = scale·query·E + bias of embedding (u, d), bias (u,).

    drawn (m,) are rows of the embedding, log_expected (m,) or () is log(m q). A target's own draws do not count.
    """
    negative = torch.addmm(bias[drawn] - log_expected, query * scale, embedding[drawn].T)
    negative = negative.masked_fill(drawn == target.unsqueeze(1), -torch.inf)
    positive = (query * embedding[target]).sum(-1, keepdim=True) * scale + bias[target].unsqueeze(1)
    zero = torch.zeros(len(query), dtype=torch.int64, device=query.device)
    return F.cross_entropy(torch.cat([positive, negative], dim=1), zero)
