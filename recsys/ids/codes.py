"""What is kept of semantic ids: the codes of the items as a buffer, and an embedding of codes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ConfigError, DataError
from .semantic_ids import QUANTISERS, spread_codes, unit, vectors_from_sequences


class ItemCodes(nn.Module):
    """The codes (n+1, m) of items as a buffer: without meaning until `prepare` or `set_codes`, then fixed.

    source "id" makes them of what is taken together, "features" of given features (n+1, f), "both" of the two.

    Raises:
        ConfigError: another source, quantiser or number of features, or too few tuples.
    """

    def __init__(self, n_items: int, *, m: int, V: int, quantiser: str, source: str = "id", n_features: int = 0):
        super().__init__()
        if source not in ("id", "features", "both") or (source == "id") != (n_features == 0):
            raise ConfigError(f"items = {source!r} with n_features = {n_features}; 'id' needs 0, "
                              "'features' and 'both' at least 1")  # fmt: skip
        if quantiser not in QUANTISERS:
            raise ConfigError(f"quantiser = {quantiser!r}; allowed are {', '.join(QUANTISERS)}")
        self.n_items = n_items
        self.m = m
        self.V = V
        self.quantiser = quantiser
        self.source = source
        self.codes: Tensor
        self.coded: Tensor
        self.features: Tensor
        self.register_buffer("codes", spread_codes(n_items, m=m, V=V))
        self.register_buffer("coded", torch.zeros(1, dtype=torch.bool))
        if source != "id":
            self.register_buffer("features", torch.zeros(n_items + 1, n_features))

    def set_features(self, features: Tensor) -> None:
        """Store features (n+1, f) to make codes of.

        Raises:
            ConfigError: another shape.
            DataError: NaN.
        """
        if self.source == "id" or features.shape != self.features.shape:
            expected = "none, as items = 'id'" if self.source == "id" else tuple(self.features.shape)
            raise ConfigError(f"features have shape {tuple(features.shape)}; allowed is {expected}")
        if not bool(features.isfinite().all()):
            raise DataError("features hold NaN or infinity; replace missing values by 0")
        self.features.copy_(features)

    def prepare(self, sequences: Sequence[np.ndarray], *, d: int = 64) -> None:
        """Make the codes from training sequences and features, unless there are codes already."""
        if bool(self.coded):
            return
        parts = [] if self.source == "id" else [unit(self.features.cpu())]
        if self.source != "features":
            parts.append(vectors_from_sequences(sequences, self.n_items, d))
        make = QUANTISERS[self.quantiser]
        self.set_codes(make(torch.cat(parts, dim=1), m=self.m, V=self.V, generator=torch.Generator().manual_seed(0)))

    def set_codes(self, codes: Tensor) -> None:
        """Take over codes (n+1, m) from elsewhere.

        Raises:
            ConfigError: another shape, range or equal tuples.
        """
        if codes.shape != self.codes.shape or int(codes.min()) < 0 or int(codes.max()) >= self.V:
            raise ConfigError(f"codes have shape {tuple(codes.shape)} and reach {int(codes.max())}; allowed are "
                              f"{tuple(self.codes.shape)} and 0 to {self.V - 1}")  # fmt: skip
        if len(torch.unique(codes[1:], dim=0)) < self.n_items:
            raise ConfigError("two items have the same codes; use with_extra_digit or unique_codes first")
        self.codes.copy_(codes)
        self.coded.fill_(True)


class CodeEmbedding(nn.Module):
    """A vector and an output bias for every code of every digit; an item is the sum of its digits' vectors.

    `extra` states after the V codes (a MASK) have vectors but cannot be predicted.
    """

    def __init__(self, d: int, *, m: int, V: int, extra: int = 0):
        super().__init__()
        self.V = V
        self.table = nn.Parameter(torch.randn(m, V + extra, d) * (m * d) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(m, V))

    def forward(self, codes: Tensor) -> Tensor:
        """Embed codes (..., m) digit by digit: (..., m, d)."""
        m, states, _ = self.table.shape
        place = codes + torch.arange(0, m * states, states, device=codes.device)
        return nn.functional.embedding(place, self.table.flatten(0, 1))

    def logits(self, query: Tensor, digit: int) -> Tensor:
        """Score the codes of one digit for query (N, d): (N, V)."""
        return torch.addmm(self.bias[digit], query, self.table[digit, : self.V].T)

    def items(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Sum the vectors and biases of codes (n+1, m): (n+1, d) and (n+1,), for scores that add over digits."""
        digits = torch.arange(codes.shape[1], device=codes.device)
        return self(codes).sum(-2), self.bias[digits, codes].sum(-1)
