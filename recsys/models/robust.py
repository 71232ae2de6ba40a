"""Robust item embeddings: denoise those of a trained recommender by diffusion before it uses them.

Zhao et al., Denoising Diffusion Recommender Model (DDRM, SIGIR 2024): x0 = e_i, the embedding that a recommender
learnt; x_t = alpha_t x0 + sigma_t eps; a small MLP predicts x0_hat = f([x_t ; c_i ; t]) from the noisy embedding and
collaborative information c_i, by |x0 - x0_hat|². To denoise, e_i is taken to a middle time and a few reverse steps
lead back. What an embedding shares with others and with its neighbours survives; what is particular to it fades.
Differs from the paper:
- c_i is the mean embedding of the items next to i in the training sequences, as a sequential recommender has no user
  embeddings to average; the recommender's own loss is not added, so it stays as it was trained.
- Only items are denoised: what stands for a user is the encoder's reading of their items.
- To denoise, x_t is alpha_t e_i without noise, the mean of the forward process (as in DiffRec, Wang et al. 2023, where
  inference adds none), and the steps are DDIM's: the result is the same every time.
It is no recommender: `with_item_embeddings` puts the result into one.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..diffusion.gaussian import q_sample, random_times, sample
from ..diffusion.schedule import by_name
from ..errors import ConfigError, check_range
from ..networks.denoiser import time_embedding, time_network
from ..networks.mode import evaluating
from ..saved import Pretrained
from ..types import PAD, Batch


@dataclass(frozen=True)
class RobustConfig:
    """Denoising goes from time `start` (None: half of T) to 0 in `steps`; `dropout` is for c and the hidden layer."""

    n_items: int
    d: int = 64
    hidden: int = 128
    dropout: float = 0.1
    T: int = 50
    schedule: str = "cosine"
    start: int | None = None
    steps: int = 5

    def __post_init__(self):
        c = self
        check_range(
            n_items=(c.n_items, 1, 10**9), d=(c.d, 2, 4096), hidden=(c.hidden, 1, 65_536), T=(c.T, 1, 10_000),
            dropout=(c.dropout, 0, 0.95), start=(c.middle, 1, c.T), steps=(c.steps, 1, c.middle),
        )  # fmt: skip

    @property
    def middle(self) -> int:
        """The time from which embeddings are denoised."""
        return max(1, self.T // 2) if self.start is None else self.start


class Robust(nn.Module, Pretrained):
    """An MLP that knows what item embeddings look like.

    `embeddings` (n+1, d), row 0 padding, are a trained recommender's and `context` (n+1, d) what `neighbours` makes of
    them; both are saved with the model and never trained.

    Raises:
        ConfigError: their shape is not (n+1, d).
    """

    def __init__(self, config: RobustConfig, *, embeddings: Tensor | None = None, context: Tensor | None = None):
        super().__init__()
        c = config
        self.n_items, self.config = config.n_items, config
        self.schedule = by_name(c.schedule, c.T)
        self.embedding: Tensor
        self.context: Tensor
        for name, value in (("embedding", embeddings), ("context", context)):
            self.register_buffer(name, _copied(value, name, c.n_items, c.d))
        self.time = time_network(c.d)
        self.drop = nn.Dropout(c.dropout)
        self.net = nn.Sequential(
            nn.Linear(3 * c.d, c.hidden), nn.GELU(), nn.Dropout(c.dropout), nn.Linear(c.hidden, c.d)
        )

    def loss(self, batch: Batch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Noise the embeddings of the items in Batch (B, L), each once, and average |x0 - x0_hat|² over their entries.

        Raises:
            ConfigError: a model without embeddings.
        """
        items = batch.history.unique()
        items = items[items != PAD]
        x0 = self._scaled(self.embedding)[items]
        t = random_times((len(items),), schedule=self.schedule, generator=generator, device=x0.device)
        eps = torch.randn(x0.shape, generator=generator, device=x0.device)
        x0_hat = self._denoise(items, q_sample(x0, t, eps, schedule=self.schedule), t)
        return {"loss": (x0 - x0_hat).square().mean()}

    def denoised(self, *, start: int | None = None, steps: int | None = None) -> Tensor:
        """Return the embeddings (n+1, d) as this model would have them, row 0 padding, on the scale they came in.

        Raises:
            ConfigError: `start` outside 1..T, `steps` outside 1..start, or a model without embeddings.
        """
        start = self.config.middle if start is None else start
        steps = min(self.config.steps, start) if steps is None else steps
        check_range(start=(start, 1, self.config.T))
        items = torch.arange(1, self.n_items + 1, device=self.embedding.device)
        with evaluating(self):
            x0 = self._scaled(self.embedding)[1:]
            x = float(self.schedule.alpha[start]) * x0
            for step in sample(
                lambda x_t, t: self._denoise(items, x_t, t), x, schedule=self.schedule, start=start, steps=steps
            ):
                x = step.x
        return torch.cat([torch.zeros_like(x[:1]), x * self._scale()])

    def _denoise(self, items: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """x0_hat (N, d) of items (N,), on the scale of deviation 1."""
        context = self.drop(self._scaled(self.context)[items])
        time = self.time(time_embedding(t, self.config.d))
        return self.net(torch.cat([x_t, context, time], dim=-1))

    def _scale(self) -> Tensor:
        """The deviation () of the embeddings' entries."""
        if not bool(self.embedding.any()):
            raise ConfigError("this model has no item embeddings; give embeddings=, such as SASRec.item_embeddings()")
        return self.embedding[1:].std()

    def _scaled(self, table: Tensor) -> Tensor:
        return table / self._scale()


def neighbours(sequences: Sequence[np.ndarray], embeddings: Tensor, *, window: int = 1) -> Tensor:
    """Average the embeddings (n+1, d) of the items up to `window` places away from each item's occurrences: (n+1, d).

    An item that has no neighbour gets zeros.

    Raises:
        ConfigError: a window below 1.
    """
    check_range(window=(window, 1, 10**6))
    total = torch.zeros_like(embeddings)
    count = embeddings.new_zeros(len(embeddings), 1)
    for gap in range(1, window + 1):
        pairs = [np.stack([s[:-gap], s[gap:]]) for s in sequences if len(s) > gap]
        if pairs:
            first, second = torch.from_numpy(np.concatenate(pairs, axis=1)).to(embeddings.device)
            for item, beside in ((first, second), (second, first)):
                total.index_add_(0, item, embeddings[beside])
                count.index_add_(0, item, count.new_ones(len(item), 1))
    return total / count.clamp(min=1)


def with_item_embeddings(model: Any, embeddings: Tensor) -> Any:
    """Copy a recommender with an ItemTable of ids at `model.table` and give it item embeddings (n+1, d).

    Raises:
        ConfigError: it knows items by features or the shape is another.
    """
    config = model.config
    if getattr(config, "items", None) != "id":
        raise ConfigError(f"items = {getattr(config, 'items', None)!r}; allowed is 'id': features cannot be replaced")
    table = model.table.id_embedding
    if embeddings.shape != table.shape:
        raise ConfigError(f"embeddings have shape {tuple(embeddings.shape)}; allowed is {tuple(table.shape)}")
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.table.id_embedding.copy_(embeddings)
    return changed


def _copied(table: Tensor | None, name: str, n_items: int, d: int) -> Tensor:
    if table is None:
        return torch.zeros(n_items + 1, d)
    if tuple(table.shape) != (n_items + 1, d):
        raise ConfigError(f"{name} has shape {tuple(table.shape)}; allowed is {(n_items + 1, d)}")
    return table.detach().float().clone()
