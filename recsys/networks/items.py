"""Item embeddings and biases from ids, from features, or from both; and the softmax over items."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError, DataError
from ..types import PAD, Batch
from .sampled import Sample, sampled_cross_entropy

SOURCES = ("id", "features", "both")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
HALVED = 500_000
"""Items above which embeddings by id are bfloat16 unless asked otherwise: their table has 128 bytes an item, d = 64."""
SPARSE: int = 50_000
"""Items above which gradients of a few rows are sparse tensors: `recsys.adam` changes those rows alone."""

CHUNKED = nn.LinearCrossEntropyOptions(batch_chunk_size=128)


class ItemTable(nn.Module):
    """Row i is item i's embedding (d) and bias, row 0 padding; an item with features needs no training of its own.

    source "id" learns a row per item, "features" a linear map of features (n+1, f), "both" their sum. With "both",
    training drops ids with probability `id_dropout`, so that the features alone mean something on the day an item
    arrives. Without `bias` all biases are zero. `std` is the deviation of an id's entries at the start, 1/√d unless
    given, which makes the norm about 1. `dtype` is what embeddings by id are kept in: float32, bfloat16, or auto, which
    is bfloat16 above HALVED items; whatever is computed of them is float32.

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
        dtype: str = "float32",
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
            start = torch.randn(n_items + 1, d).mul_(d**-0.5 if std is None else std)
            self.id_embedding = nn.Parameter(start.to(dtype_for(n_items, dtype)))
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

    def forget(self) -> None:
        """Let go of what `forward` keeps between rankings: a table of all embeddings."""
        self._kept = None

    def train(self, mode: bool = True) -> "ItemTable":
        """Switch the mode; a fused optimiser, which leaves no mark on what it changes, works in training mode alone."""
        self._kept = None if mode else self._kept
        return super().train(mode)

    def _table(self, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        parts = []
        if hasattr(self, "id_embedding"):
            parts.append(self._dropped(self.id_embedding.float(), self.id_bias, generator))
        if hasattr(self, "project"):
            parts.append(self.from_features(self.features))
        real = torch.arange(self.n_items + 1, device=parts[0][1].device) != PAD
        return _summed(parts, real)

    def rows(self, ids: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return embeddings (u, d) and biases (u,) of some items (u,), in training; a generator draws the ids to drop.

        Nothing here grows with the catalogue; above SPARSE items neither do the gradients, which are sparse then.
        """
        parts, sparse = [], self.n_items > SPARSE
        if hasattr(self, "id_embedding"):
            embedding = F.embedding(ids, self.id_embedding, sparse=sparse).float()
            parts.append(self._dropped(embedding, self.id_bias.gather(0, ids, sparse_grad=sparse), generator))
        if hasattr(self, "project"):
            parts.append(self.from_features(self.features[ids]))
        return _summed(parts, ids != PAD)

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

    def _dropped(self, embedding: Tensor, bias: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Drop some ids of embeddings (u, d) and biases (u,)."""
        if generator is None or self.id_dropout == 0:
            return embedding, bias
        kept = torch.rand(len(bias), generator=generator, device=bias.device) >= self.id_dropout
        return embedding * kept.unsqueeze(1), bias * kept


def _summed(parts: list[tuple[Tensor, Tensor]], real: Tensor) -> tuple[Tensor, Tensor]:
    """Add up what ids and features say, embeddings (u, d) and biases (u,); zero where not real (u,)."""
    embedding, bias = parts[0] if len(parts) == 1 else (parts[0][0] + parts[1][0], parts[0][1] + parts[1][1])
    return embedding * real.unsqueeze(1), bias * real


def dtype_for(n_items: int, name: str) -> torch.dtype:
    """Return what embeddings of so many items are kept in.

    Raises:
        ConfigError: `name` is neither auto nor of DTYPES.
    """
    if name == "auto":
        return torch.bfloat16 if n_items > HALVED else torch.float32
    if name not in DTYPES:
        raise ConfigError(f"item_dtype = {name!r}; allowed are auto, {', '.join(DTYPES)}")
    return DTYPES[name]


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

    Up to `limit` items the softmax is exact; above, `limit` negatives are drawn uniformly for the whole batch
    (sampled.py).
    """
    n = len(embedding) - 1
    if n <= limit:
        return exact_cross_entropy(query, target, embedding, bias, scale=scale)
    drawn = torch.randint(1, n + 1, (limit,), generator=generator, device=query.device)
    log_expected = bias.new_tensor(limit / n).log()
    return sampled_cross_entropy(query, target, embedding, bias, drawn, log_expected, scale=scale)


def exact_cross_entropy(query: Tensor, target: Tensor, embedding: Tensor, bias: Tensor, *, scale: float) -> Tensor:
    """`cross_entropy` over all items, of which there is a row each behind padding's."""
    return F.linear_cross_entropy(
        query * scale, embedding[1:], target - 1, linear_bias=bias[1:], options=CHUNKED
    )  # never holds all (N, n) logits


def cross_entropy_among(
    query: Tensor, target: Tensor, embedding: Tensor, bias: Tensor, sample: Sample | None, *, scale: float
) -> Tensor:
    """`cross_entropy` among the items of a sample, whose rows are embedding (u, d) and bias (u,); None: among all."""
    if sample is None:
        return exact_cross_entropy(query, target, embedding, bias, scale=scale)
    drawn, log_expected = sample.drawn, sample.log_expected
    return sampled_cross_entropy(query, target, embedding, bias, drawn, log_expected, scale=scale)


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
