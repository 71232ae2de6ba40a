"""Item embeddings and biases from ids, from features, or from both; and the softmax over items."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError, DataError
from ..types import PAD, Batch

SOURCES = ("id", "features", "both")

CHUNKED = nn.LinearCrossEntropyOptions(batch_chunk_size=128)


class ItemTable(nn.Module):
    """Row i is item i's embedding (d) and bias, row 0 padding; an item with features needs no training of its own.

    source "id" learns a row per item, "features" a linear map of features (n+1, f), "both" their sum. With "both",
    training drops ids with probability `id_dropout`, so that the features alone mean something on the day an item
    arrives. Without `bias` all biases are zero. `std` is the deviation of an id's entries at the start, 1/√d unless
    given, which makes the norm about 1.

    Raises:
        ConfigError: another source or features that do not fit it.
    """

    def __init__(
        self,
        n_items: int,
        d: int,
        *,
        source: str,
        n_features: int = 0,
        id_dropout: float = 0.0,
        bias: bool = True,
        std: float | None = None,
    ):
        super().__init__()
        if source not in SOURCES:
            raise ConfigError(f"items = {source!r}; allowed are {', '.join(SOURCES)}")
        if (source == "id") != (n_features == 0):
            raise ConfigError(f"items = {source!r} with n_features = {n_features}; 'id' needs 0, the others at least 1")
        self.n_items = n_items
        self.id_dropout = id_dropout if source == "both" else 0.0
        self._kept: tuple[list[tuple[int, int]], tuple[Tensor, Tensor]] | None = None
        self.features: Tensor
        if source != "features":
            self.id_embedding = nn.Parameter(torch.randn(n_items + 1, d) * (d**-0.5 if std is None else std))
            self.id_bias = nn.Parameter(torch.zeros(n_items + 1), requires_grad=bias)
        if source != "id":
            self.register_buffer("features", torch.zeros(n_items + 1, n_features))
            self.project = nn.Linear(n_features, d, bias=False)
            self.feature_bias = nn.Parameter(torch.zeros(n_features), requires_grad=bias)

    def forward(self, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return embeddings (n+1, d), zero for padding, and biases (n+1,); a generator draws the ids to drop."""
        if self.training or torch.is_grad_enabled() or generator is not None:
            return self._table(generator)
        state = [(tensor.data_ptr(), tensor._version) for tensor in (*self.parameters(), *self.buffers())]
        if self._kept is None or self._kept[0] != state:
            self._kept = state, self._table(None)
        return self._kept[1]

    def train(self, mode: bool = True) -> "ItemTable":
        """Switch the mode; a fused optimiser, which leaves no mark on what it changes, works in training mode alone."""
        self._kept = None if mode else self._kept
        return super().train(mode)

    def _table(self, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        parts = []
        if hasattr(self, "id_embedding"):
            parts.append(self._from_ids(generator))
        if hasattr(self, "project"):
            parts.append(self.from_features(self.features))
        embedding, bias = (torch.stack(part).sum(0) for part in zip(*parts, strict=True))
        real = torch.arange(self.n_items + 1, device=bias.device) != PAD
        return embedding * real.unsqueeze(1), bias * real

    def from_features(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (m, d) and biases (m,) by features (m, f) alone, as new items have them."""
        return self.project(features), features @ self.feature_bias

    def set_features(self, features: Tensor) -> None:
        """Store features (n+1, f), row 0 padding.

        Raises:
            ConfigError: another shape.
            DataError: NaN.
        """
        if not hasattr(self, "project") or features.shape != self.features.shape:
            expected = tuple(self.features.shape) if hasattr(self, "project") else "none, as items = 'id'"
            raise ConfigError(f"features have shape {tuple(features.shape)}; allowed is {expected}")
        if not bool(features.isfinite().all()):
            raise DataError("features hold NaN or infinity; replace missing values by 0")
        self.features.copy_(features)

    def _from_ids(self, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        if generator is None or self.id_dropout == 0:
            return self.id_embedding, self.id_bias
        kept = torch.rand(len(self.id_bias), generator=generator, device=self.id_bias.device) >= self.id_dropout
        return self.id_embedding * kept.unsqueeze(1), self.id_bias * kept


def equal_norms(embedding: Tensor) -> Tensor:
    """Scale embeddings (n, d) to norm √d; zero ones stay zero."""
    return F.normalize(embedding, dim=1) * embedding.shape[1] ** 0.5


def grow(state: dict[str, Tensor], features: Tensor) -> dict[str, Tensor]:
    """Append items with features (m, f) to an ItemTable's state dict; their id rows are zero, so features speak alone.

    Raises:
        ConfigError: the table has no features, or features of another width.
    """
    key = next((key for key in state if key.split(".")[-1] == "features"), None)
    if key is None:
        raise ConfigError("this model knows items by id only; train with items = 'features' or 'both' to add new ones")
    if features.ndim != 2 or features.shape[1] != state[key].shape[1]:
        raise ConfigError(f"features have shape {tuple(features.shape)}; allowed is (new items, {state[key].shape[1]})")
    state = dict(state)
    for name in (n for n in state if n.split(".")[-1] in ("id_embedding", "id_bias")):
        row = state[name]
        state[name] = torch.cat([row, row.new_zeros(len(features), *row.shape[1:])])
    state[key] = torch.cat([state[key], features.to(state[key])])
    return state


def with_first_items(batch: Batch) -> Batch:
    """Let the last padded position of each history predict its first item: training for users without a history."""
    before = (batch.history[:, :-1] == PAD) & (batch.history[:, 1:] != PAD) & (batch.target[:, :-1] == PAD)
    target = batch.target.clone()
    target[:, :-1] = torch.where(before, batch.history[:, 1:], target[:, :-1])
    return Batch(batch.history, target)


def cross_entropy(
    query: Tensor,
    target: Tensor,
    embedding: Tensor,
    bias: Tensor,
    *,
    scale: float,
    limit: int,
    generator: torch.Generator,
) -> Tensor:
    """Average -log p(target) for query (N, d), target (N,) in 1..n, p = softmax over items of scale·query·E + bias.

    Up to `limit` items the softmax is exact; above, `limit` negatives are drawn uniformly for the whole batch and their
    share of the normaliser is scaled up by n/limit (Bengio & Senécal 2008).
    """
    n = len(embedding) - 1
    if n <= limit:
        return F.linear_cross_entropy(
            query * scale, embedding[1:], target - 1, linear_bias=bias[1:], options=CHUNKED
        )  # never holds all (N, n) logits
    drawn = torch.randint(1, n + 1, (limit,), generator=generator, device=query.device)
    negative = torch.addmm(bias[drawn] + math.log(n / limit), query * scale, embedding[drawn].T)
    negative = negative.masked_fill(drawn == target.unsqueeze(1), -torch.inf)
    positive = (query * embedding[target]).sum(-1, keepdim=True) * scale + bias[target].unsqueeze(1)
    zero = torch.zeros(len(query), dtype=torch.int64, device=query.device)
    return F.cross_entropy(torch.cat([positive, negative], dim=1), zero)


def log_probabilities(query: Tensor, embedding: Tensor, bias: Tensor, *, scale: float) -> Tensor:
    """Return log p(item) for query (N, d) as (N, n+1), -inf for padding."""
    logits = torch.addmm(bias, query * scale, embedding.T)
    logits[:, PAD] = -torch.inf
    return logits.log_softmax(1)


def expected_embedding(query: Tensor, embedding: Tensor, bias: Tensor, *, scale: float) -> Tensor:
    """Average the embeddings by the probabilities of query (N, d): x0_hat (N, d), on the scale of the embeddings."""
    return log_probabilities(query, embedding, bias, scale=scale).exp() @ embedding


def mean_log_probabilities(query: Tensor, draws: int, embedding: Tensor, bias: Tensor, *, scale: float) -> Tensor:
    """Average the probabilities of each user's `draws` queries (B·draws, d); return their logarithm (B, n+1)."""
    scores = log_probabilities(query, embedding, bias, scale=scale)
    if draws == 1:
        return scores
    return scores.unflatten(0, (-1, draws)).logsumexp(1) - math.log(draws)
