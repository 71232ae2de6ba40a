"""History encoders: what a user did -> the condition c. All are blind to padding.

Those of CAUSAL map embeddings (B, L, d) and `real` (B, L) bool to (B, L, d), zero at padding; no position sees a later
one, so all can be trained in one pass. `last` is the final position alone (B, d). A bidirectional encoder has only
`last`: its other positions would know their answers.
Transformer: Kang & McAuley, SASRec (2018), with pre-normalisation; GRU: Hidasi et al., GRU4Rec (2016);
Caser: Tang & Wang (2018); bidirectional: Sun et al., BERT4Rec (2019).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError

ROWS = 64  # that are encoded together


class TransformerEncoder(nn.Module):
    """Causal self-attention over the last `max_len` items; positions are counted from the most recent one."""

    def __init__(self, d: int, *, max_len: int, layers: int, heads: int, dropout: float):
        super().__init__()
        if d % heads:
            raise ConfigError(f"heads = {heads}; allowed are divisors of d = {d}")
        self.position = nn.Parameter(torch.randn(max_len, d) * d**-0.5)
        self.blocks = nn.ModuleList([_Block(d, heads=heads, dropout=dropout) for _ in range(layers)])
        self.norm = nn.LayerNorm(d)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """Encode every position; rows of like length go together.

        Raises:
            ConfigError: L exceeds max_len.
        """
        lengths = real.sum(1)
        order, parts = lengths.argsort(stable=True), []
        for rows in order.split(ROWS):
            short = max(int(lengths[rows[-1]]), 1)  # what comes before is padding in all of them
            part, allowed = self._enter(x[rows, -short:], real[rows, -short:])
            for block in self.blocks:
                part = block(part, part, allowed)
            parts.append(F.pad(self.norm(part), (0, 0, x.shape[1] - short, 0)))
        return torch.cat(parts)[order.argsort()] * real.unsqueeze(-1)

    def last(self, x: Tensor, real: Tensor) -> Tensor:
        """Encode the final position (B, d); the top layer then works on one position instead of L."""
        x, allowed = self._enter(x, real)
        for block in self.blocks[:-1]:
            x = block(x, x, allowed)
        x = self.blocks[-1](x[:, -1:], x, allowed[:, :, -1:])
        return (self.norm(x) * real[:, -1:, None])[:, 0]

    def _enter(self, x: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        length = x.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        itself = torch.eye(length, dtype=torch.bool, device=x.device)  # a padded query must attend to something
        allowed = (causal & real[:, None, :]) | itself
        return self.dropout(x + _recent(self.position, length)) * real.unsqueeze(-1), allowed.unsqueeze(1)


class BidirectionalEncoder(nn.Module):
    """Self-attention in both directions over the last `max_len` items and a mask token that stands for the next one.

    The condition is what the top layer says at the mask token, as BERT4Rec asks at test time.
    """

    def __init__(self, d: int, *, max_len: int, layers: int, heads: int, dropout: float):
        super().__init__()
        if d % heads:
            raise ConfigError(f"heads = {heads}; allowed are divisors of d = {d}")
        self.position = nn.Parameter(torch.randn(max_len, d) * d**-0.5)
        self.mask = nn.Parameter(torch.randn(d) * d**-0.5)
        self.blocks = nn.ModuleList([_Block(d, heads=heads, dropout=dropout) for _ in range(layers)])
        self.norm = nn.LayerNorm(d)
        self.dropout = nn.Dropout(dropout)

    def last(self, x: Tensor, real: Tensor) -> Tensor:
        """Encode the whole history (B, d), zero for an empty one.

        Raises:
            ConfigError: L exceeds max_len.
        """
        x = self.dropout(x + _recent(self.position, x.shape[1])) * real.unsqueeze(-1)
        x = torch.cat([x, self.mask.expand(len(x), 1, -1)], dim=1)
        allowed = F.pad(real, (0, 1), value=True)[:, None, None, :]
        for block in self.blocks[:-1]:
            x = block(x, x, allowed)
        x = self.blocks[-1](x[:, -1:], x, allowed)
        return (self.norm(x) * real[:, -1:, None])[:, 0]


class _Block(nn.Module):
    def __init__(self, d: int, *, heads: int, dropout: float):
        super().__init__()
        self.heads, self.p = heads, dropout
        self.norm_1, self.norm_2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.query = nn.Linear(d, d)
        self.key_value = nn.Linear(d, 2 * d)
        self.out = nn.Linear(d, d)
        self.feed = nn.Sequential(nn.Linear(d, d), nn.GELU(), nn.Dropout(dropout), nn.Linear(d, d))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, context: Tensor, allowed: Tensor) -> Tensor:
        """x (B, Q, d) attends to context (B, L, d) where allowed (B, 1, Q, L)."""
        seen = self.norm_1(context)
        query = self._split(self.query(seen[:, -x.shape[1] :]))
        key, value = (self._split(y) for y in self.key_value(seen).chunk(2, dim=-1))
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=allowed, dropout_p=self.p if self.training else 0.0
        )
        x = x + self.dropout(self.out(mixed.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.feed(self.norm_2(x)))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class GruEncoder(nn.Module):
    """A GRU that starts at each user's first item, wherever the padding ends."""

    def __init__(self, d: int, *, layers: int, dropout: float):
        super().__init__()
        self.gru = nn.GRU(d, d, num_layers=layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """Encode every position."""
        x = self.dropout(x)
        length = x.shape[1]
        place = torch.arange(length, device=x.device)
        padding = (~real).sum(1, keepdim=True)
        hidden = self.gru(_take(x, (place + padding) % length))[0]
        return _take(hidden, (place - padding) % length) * real.unsqueeze(-1)

    def last(self, x: Tensor, real: Tensor) -> Tensor:
        """Encode the final position (B, d)."""
        return self(x, real)[:, -1]


class CaserEncoder(nn.Module):
    """Convolutions over a window of the last items: horizontal filters of every height, and vertical ones."""

    def __init__(self, d: int, *, window: int, dropout: float, horizontal: int = 16, vertical: int = 4):
        super().__init__()
        self.window = window
        self.across = nn.ModuleList([nn.Conv1d(d, horizontal, height) for height in range(1, window + 1)])
        self.down = nn.Parameter(torch.randn(vertical, window) * window**-0.5)
        self.out = nn.Linear(window * horizontal + vertical * d, d)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """Encode every position from the `window` items that end there."""
        x = F.pad((x * real.unsqueeze(-1)).transpose(1, 2), (self.window - 1, 0))
        across = [F.max_pool1d(conv(x).relu(), self.window - i, stride=1) for i, conv in enumerate(self.across)]
        down = torch.einsum("bdlw,vw->bvdl", x.unfold(2, self.window, 1), self.down).flatten(1, 2)
        hidden = self.out(self.dropout(torch.cat([*across, down], dim=1).transpose(1, 2)))
        return hidden * real.unsqueeze(-1)

    def last(self, x: Tensor, real: Tensor) -> Tensor:
        """Encode the final position (B, d)."""
        return self(x[:, -self.window :], real[:, -self.window :])[:, -1]


Encoder = TransformerEncoder | GruEncoder | CaserEncoder | BidirectionalEncoder
CAUSAL = ("transformer", "gru", "caser")
ENCODERS = (*CAUSAL, "bidirectional")


def build(
    name: str, d: int, *, max_len: int, layers: int, heads: int, dropout: float, among: tuple[str, ...] = ENCODERS
) -> Encoder:
    """Build an encoder of `among`; Caser's window is min(max_len, 5).

    Raises:
        ConfigError: another name.
    """
    if name not in among or name not in ENCODERS:
        raise ConfigError(f"encoder = {name!r}; allowed are {', '.join(among)}")
    if name == "gru":
        return GruEncoder(d, layers=layers, dropout=dropout)
    if name == "caser":
        return CaserEncoder(d, window=min(max_len, 5), dropout=dropout)
    attention = TransformerEncoder if name == "transformer" else BidirectionalEncoder
    return attention(d, max_len=max_len, layers=layers, heads=heads, dropout=dropout)


def _recent(position: Tensor, length: int) -> Tensor:
    """The embeddings (length, d) of the most recent positions."""
    if length > len(position):
        raise ConfigError(f"history length {length}; allowed are 1 to max_len = {len(position)}: crop it")
    return position[-length:]


def _take(x: Tensor, index: Tensor) -> Tensor:
    """Reorder the positions of x (B, L, d) by index (B, L)."""
    return x.gather(1, index.unsqueeze(-1).expand_as(x))
