"""What the models that complete interaction rows share: rows weighted by time, importance-sampled noise steps, an MLP.

Wang et al., Diffusion Recommender Model (SIGIR 2023, arXiv 2304.04971).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..diffusion.gaussian import sample
from ..diffusion.schedule import Schedule
from ..errors import ConfigError
from ..networks.denoiser import time_embedding
from ..types import PAD, Batch, Denoise
from .counting import flatten

KEPT = 10  # losses remembered for each noise step
UNIFORM = 1e-3  # share of noise steps drawn uniformly, so that none is forgotten


def user_sequences(batch: Batch) -> Tensor:
    """Join each history (B, L) and its last target to the whole row (B, L+1), padded on the left."""
    return torch.cat([batch.history, batch.target[:, -1:]], dim=1)


def recency(real: Tensor, w_min: float) -> Tensor:
    """Weigh the marked positions of real (B, L) by linspace(w_min, 1, length) in time order (T-DiffRec); 0 elsewhere.

    A single position has weight 1.
    """
    length = real.sum(1, keepdim=True)
    age = length - real.cumsum(1)
    return real * (1 - (1 - w_min) * age / (length - 1).clamp(min=1))


def to_rows(history: Tensor, weights: Tensor, n_items: int) -> Tensor:
    """Spread weights (B, L) to rows (B, n), item i in column i-1; of an item taken twice the largest counts."""
    rows = weights.new_zeros(len(history), n_items + 1)
    return rows.scatter_reduce_(1, history, weights.masked_fill(history == PAD, 0), "amax")[:, 1:]


def snr_weights(schedule: Schedule) -> Tensor:
    """Weigh the squared errors of steps 1..T: SNR(t-1) - SNR(t), and 1 at t = 1; (T,) float64."""
    falls = schedule.snr[1:-1] - schedule.snr[2:]
    return torch.cat([torch.ones(1, dtype=torch.float64), falls])


class ImportanceSteps(nn.Module):
    """Draw noise steps in proportion to sqrt(mean loss²) of each step's last KEPT losses.

    Until every step has KEPT losses they are drawn uniformly. The losses are buffers: a resumed run draws the same.
    """

    def __init__(self, T: int):
        super().__init__()
        self.squares: Tensor
        self.count: Tensor
        self.register_buffer("squares", torch.zeros(T, KEPT))
        self.register_buffer("count", torch.zeros(T, dtype=torch.int64))

    def probabilities(self) -> Tensor:
        """Return p_t of steps 1..T, (T,)."""
        T = len(self.count)
        size = self.squares.mean(1).sqrt()
        if bool((self.count < KEPT).any()) or not bool(size.sum() > 0):
            return torch.full_like(size, 1 / T)
        return (1 - UNIFORM) * size / size.sum() + UNIFORM / T

    def draw(self, n: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw steps t (n,) in 1..T, and factors 1 / (T p_t) (n,) that make the mean of loss·factor unbiased."""
        p = self.probabilities()
        index = torch.multinomial(p, n, replacement=True, generator=generator)
        return index + 1, 1 / (len(p) * p[index])

    @torch.no_grad()
    def remember(self, t: Tensor, loss: Tensor) -> None:
        """Keep the newest losses (n,) of each step t (n,) in 1..T."""
        hit = torch.nn.functional.one_hot(t - 1, len(self.count))
        place = hit.cumsum(0).gather(1, (t - 1).unsqueeze(1)).squeeze(1)
        total = hit.sum(0)
        newest = place > total[t - 1] - KEPT
        t, place, loss = t[newest] - 1, place[newest], loss[newest].detach()
        self.squares[t, (self.count[t] + place - 1) % KEPT] = loss.float().square()
        self.count += total


class TimeMlp(nn.Module):
    """Predict x0 (B, width) from [x_t ; embedding of t] by tanh layers of the sizes in `hidden`."""

    def __init__(self, width: int, hidden: tuple[int, ...], *, time_d: int):
        super().__init__()
        self.time_d = time_d
        self.time = nn.Linear(time_d, time_d)
        sizes = [width + time_d, *hidden, width]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        for layer in [self.time, *self.layers]:
            assert isinstance(layer, nn.Linear)
            nn.init.xavier_normal_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-3)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Map x_t (B, width) at times t (B,) to x0_hat (B, width)."""
        x = torch.cat([x_t, self.time(time_embedding(t, self.time_d))], dim=1)
        for layer in self.layers[:-1]:
            x = layer(x).tanh()
        return self.layers[-1](x)


def drop(x: Tensor, p: float, *, generator: torch.Generator) -> Tensor:
    """Zero a share p of the entries of x (B, *) and scale up the others: dropout with its own generator."""
    kept = torch.rand(x.shape, generator=generator, device=x.device) >= p
    return x * kept / (1 - p)


def training_rows(
    sequence: Tensor, n_items: int, *, predict: str, w_min: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Make the rows given, the rows wanted and which items count, each (B, n), of whole sequences (B, L).

    predict "row": the weighted row is given and wanted, all items count (the paper). "later": what came before a random
    time is given, weighted as at ranking; what came after is wanted, the nearest most (weight 1, the last w_min), and
    only items that were not there before count.
    """
    real = sequence != PAD
    if predict == "row":
        row = to_rows(sequence, recency(real, w_min), n_items)
        return row, row, torch.ones_like(row)
    past, later = cut(real, generator=generator)
    fresh = 1 - to_rows(sequence, past.float(), n_items)
    given = to_rows(sequence, recency(past, w_min), n_items)
    return given, to_rows(sequence, recency(later.flip(1), w_min).flip(1), n_items) * fresh, fresh


def cut(real: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Split the marked positions of real (B, L) at a uniformly drawn time, one position at least on each side.

    A row of a single position comes after the cut: its user has no history.
    """
    length, place = real.sum(1, keepdim=True), real.cumsum(1)
    draw = torch.rand(length.shape, generator=generator, device=real.device)
    at = (1 + (draw * (length - 1)).long()).clamp(max=length - 1)
    return real & (place <= at), real & (place > at)


def complete(denoise: Denoise, x: Tensor, *, schedule: Schedule, steps: int | None) -> Tensor:
    """Walk from x (B, *), taken for x_T, to x0 along the posterior means of `steps` times (None: all T), noiseless."""
    walk = sample(denoise, x, schedule=schedule, steps=steps, eta=1.0, noise=lambda x, _: torch.zeros_like(x))
    *_, last = walk
    return last.x


def sizes(value: object, name: str) -> tuple[int, ...]:
    """Check a list of layer sizes, as it comes from YAML or JSON.

    Raises:
        ConfigError: a size is below 1.
    """
    if not isinstance(value, list | tuple) or not all(isinstance(size, int) and size > 0 for size in value):
        raise ConfigError(f"{name} = {value!r}; give a list of layer sizes from 1 up, such as [600, 200, 600]")
    return tuple(value)


def check_predict(predict: str) -> None:
    """Refuse another training task than "row" and "later".

    Raises:
        ConfigError: it is another.
    """
    if predict not in ("row", "later"):
        raise ConfigError(f"predict = {predict!r}; allowed are row, later")


def likelihood_loss(logits: Tensor, wanted: Tensor, counts: Tensor) -> Tensor:
    """Average -log p over the wanted items of each row, (B,); p = softmax over the items that count.

    logits, wanted (weights from 0 up), counts (0 or 1): (B, n); a row that wants nothing has loss 0.
    """
    log_p = logits.masked_fill(counts == 0, -1e9).log_softmax(1)
    return -(wanted * log_p).sum(1) / wanted.sum(1).clamp(min=1e-6)


def interaction_embeddings(sequences: Sequence[np.ndarray], n_items: int, *, d: int = 32, rounds: int = 4) -> Tensor:
    """Embed items (n+1, d) by the truncated SVD of users x items, each entry divided by the root of both degrees.

    Randomised subspace iteration (Halko et al. 2011) from fixed numbers; row 0 and items that nobody took are zero.

    Raises:
        DataError: no sequences or ids outside 1..n_items.
    """
    items, users = flatten(list(sequences), n_items)
    size = (len(sequences), n_items + 1)
    codes = torch.unique(users * (n_items + 1) + items)  # each pair once
    taken = torch.stack([codes // (n_items + 1), codes % (n_items + 1)])
    degrees = [torch.bincount(index, minlength=length).float().rsqrt() for index, length in zip(taken, size)]
    x = torch.sparse_coo_tensor(taken, degrees[0][taken[0]] * degrees[1][taken[1]], size, check_invariants=False)
    basis = torch.randn(n_items + 1, min(d, n_items), generator=torch.Generator().manual_seed(0))
    for _ in range(rounds):
        basis = torch.linalg.qr(x.T @ (x @ basis)).Q
    _, values, right = torch.linalg.svd(x @ basis, full_matrices=False)
    embedding = basis @ right.T * values
    embedding[PAD] = 0  # rounding leaves a trace
    return embedding
