"""DiffuASR: generate the items that came before a short history, then train any recommender on the longer one.

Liu et al., Diffusion Augmentation for Sequential Recommendation (CIKM 2023). The `length` items before a sequence are
an image x0 (M, d) of their embeddings, each seen as a picture of √d x √d; a U-Net whose channels are the items predicts
the noise in x_t = alpha_t x0 + sigma_t eps, given the sequence; loss |eps - eps_hat|². Embeddings come from a trained
recommender and stay as they are. To generate, all M items are denoised together, with classifier-free guidance, each is
rounded to the nearest item and put in front.
Differs from the paper:
- Every place of a sequence is a place to cut: what came before is the image, what followed the condition. Where fewer
  than M items came before, the missing channels are zero in x_t and have no loss, so short sequences train, too.
- The condition is a causal encoder of this project over the reversed sequence, so that the first real item is the
  last it reads; it is added to the embedding of t, and is one more channel of the image.
- `max_len` first items are read, no more. An augmenter that reads a whole training sequence writes its later items,
  which the recommender has to predict, into the pseudo-items; at test time it cannot. A small `max_len` prevents it.
- x0_hat is kept within the range of the embeddings, as image models keep theirs in -1..1.
- `steps` of the T times, with DDPM's noise (eta = 1). DDIM (eta = 0) is worse with few steps: near t = T a small error
  of eps_hat is a large one of x0_hat, and without fresh noise the first guess stays in x_t as if it were evidence.
- Noise belongs to the sequence, so a user gets the same items in any batch.
- Of the paper's two kinds of guidance, the classifier (a trained recommender's gradient) is left out.
It is no recommender: see recsys/data/augment.py for how one uses it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..data.splits import pad
from ..diffusion.gaussian import denoise_from_eps, q_sample, random_times, sample
from ..diffusion.guidance import classifier_free, drop_condition
from ..diffusion.noise import user_normal, user_seeds
from ..diffusion.schedule import by_name
from ..errors import ConfigError, DataError, check_range
from ..networks.encoder import CAUSAL, build
from ..networks.mode import evaluating
from ..networks.unet import SequentialUNet, side
from ..ranking import check_history
from ..saved import Pretrained
from ..types import PAD, Batch, Denoise


@dataclass(frozen=True)
class DiffuASRConfig:
    """`length` items are generated together from the first `max_len` real ones; `weight` is guidance, 0 = none.

    `d` is the width of the frozen embeddings and a square; `width` the channels of the U-Net's first of `levels`.
    """

    n_items: int
    d: int = 64
    length: int = 10
    max_len: int = 5
    encoder: str = "transformer"
    layers: int = 1
    heads: int = 2
    dropout: float = 0.1
    width: int = 32
    levels: int = 4
    T: int = 1000
    schedule: str = "linear"
    p_uncond: float = 0.1
    weight: float = 1.0
    steps: int = 50
    eta: float = 1.0

    def __post_init__(self):
        c = self
        check_range(
            n_items=(c.n_items, 1, 10**9), d=(c.d, 4, 4096), length=(c.length, 1, 1024), max_len=(c.max_len, 1, 4096),
            layers=(c.layers, 1, 64), width=(c.width, 1, 4096), levels=(c.levels, 1, 6), T=(c.T, 1, 10_000),
            dropout=(c.dropout, 0, 0.95), p_uncond=(c.p_uncond, 0, 1), weight=(c.weight, 0, 100),
            steps=(c.steps, 1, c.T), eta=(c.eta, 0, 1),
        )  # fmt: skip
        side(c.d, c.levels)


class DiffuASR(nn.Module, Pretrained):
    """An encoder of real sequences and a U-Net over the items before them.

    `embeddings` (n+1, d), row 0 padding, are those of a trained recommender; they are scaled to deviation 1, saved with
    the model and never trained.

    Raises:
        ConfigError: their shape is not the configuration's.
    """

    def __init__(self, config: DiffuASRConfig, *, embeddings: Tensor | None = None):
        super().__init__()
        c = config
        self.n_items, self.config = config.n_items, config
        self.schedule = by_name(c.schedule, c.T)
        self.embedding: Tensor
        self.register_buffer("embedding", torch.zeros(c.n_items + 1, c.d))
        if embeddings is not None:
            self.embedding = unit_scale(embeddings, n_items=c.n_items, d=c.d)
        self.encoder = build(
            c.encoder, c.d, max_len=c.max_len, layers=c.layers, heads=c.heads, dropout=c.dropout, among=CAUSAL
        )
        self.null = nn.Parameter(torch.randn(c.d) * 0.02)
        self.unet = SequentialUNet(c.d, c.length, width=c.width, levels=c.levels)

    def loss(self, batch: Batch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Cut each sequence of Batch (B, L) at random and average |eps - eps_hat|² over the items before the cut.

        Raises:
            DataError: no sequence has two items.
            ConfigError: a model without embeddings.
        """
        c, embedding = self.config, self._frozen()
        earlier, known = cut(batch, length=c.length, max_len=c.max_len, generator=generator)
        x0, present = embedding[earlier], (earlier != PAD).unsqueeze(-1)
        t = random_times((len(x0),), schedule=self.schedule, generator=generator, device=x0.device)
        eps = torch.randn(x0.shape, generator=generator, device=x0.device)
        condition = drop_condition(self._condition(known), self.null, p=c.p_uncond, generator=generator)
        error = self.unet(q_sample(x0, t, eps, schedule=self.schedule) * present, t, condition) - eps
        return {"loss": (error.square() * present).sum() / (present.sum() * c.d)}

    def augment(
        self, sequences: Sequence[np.ndarray], *, length: int, generator: torch.Generator | None = None, size: int = 256
    ) -> list[np.ndarray]:
        """Put `length` generated items before every sequence, at most config.length; the real items stay.

        Noise comes from the generator's initial seed and the first max_len items of each sequence, so the result does
        not depend on the others. `size` sequences are generated at once.

        Raises:
            ConfigError: another length or a model without embeddings.
            DataError: unknown items.
        """
        check_range(length=(length, 1, self.config.length))
        result = []
        with evaluating(self):
            for low in range(0, len(sequences), size):
                chosen = sequences[low : low + size]
                earlier = self._generate(
                    first_reversed(chosen, self.config.max_len), length=length, generator=generator
                )
                items = self.nearest(earlier).cpu().numpy()
                result += [np.concatenate([new, old]) for new, old in zip(items, chosen, strict=True)]
        return result

    def _generate(self, known: Tensor, *, length: int, generator: torch.Generator | None = None) -> Tensor:
        """Embeddings (B, length, d) of what came before the reversed sequences known (B, L), first item last."""
        check_history(known, self.n_items)
        self._frozen()
        c, known = self.config, known.to(self.null.device)
        seeds, shape = user_seeds(known, generator=generator), (c.length, c.d)
        denoise = self._denoise(self._condition(known), length)
        x = user_normal(seeds, shape)
        for step in sample(
            denoise, x, schedule=self.schedule, steps=c.steps, eta=c.eta,
            noise=lambda _, i: user_normal(seeds, shape, draw=i + 1),
        ):  # fmt: skip
            x = step.x
        return x[:, -length:]

    def nearest(self, x: Tensor) -> Tensor:
        """Round embeddings (..., d) to the items (...) that lie nearest, never padding."""
        embedding = self.embedding[1:]
        return (x @ embedding.T - embedding.square().sum(1) / 2).argmax(-1) + 1

    def _condition(self, known: Tensor) -> Tensor:
        """(B, d) of reversed sequences (B, L), L up to max_len; null for an empty one."""
        real = known != PAD
        return torch.where(real[:, -1:], self.encoder.last(self.embedding[known], real), self.null)

    def _denoise(self, condition: Tensor, length: int) -> Denoise:
        """The guided x0_hat (B, M, d) of the last `length` items, kept within the range of the embeddings."""
        present = torch.arange(self.config.length, device=condition.device)[:, None] >= self.config.length - length
        low, high = self.embedding[1:].amin(0), self.embedding[1:].amax(0)
        predict = classifier_free(
            lambda x_t, t, c: self.unet(x_t * present, t, c), condition, self.null, weight=self.config.weight
        )
        denoise = denoise_from_eps(predict, schedule=self.schedule)
        return lambda x_t, t: denoise(x_t, t).clamp(low, high)

    def _frozen(self) -> Tensor:
        if not bool(self.embedding.any()):
            raise ConfigError("this model has no item embeddings; give embeddings=, such as SASRec.item_embeddings()")
        return self.embedding


def cut(batch: Batch, *, length: int, max_len: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Cut each sequence of Batch (B, L) with two items or more at a random place between two items.

    Returns the up to `length` items before it (N, length), the nearest last, and the up to `max_len` items after it
    (N, max_len), reversed: the nearest last here, too. Both are padded on the left.

    Raises:
        DataError: no sequence of the batch has two items.
    """
    sequence = torch.cat([batch.history, batch.target[:, -1:]], dim=1)
    sequence = sequence[((sequence != PAD).sum(1) > 1) & (sequence[:, -1] != PAD)]
    if not len(sequence):
        raise DataError("no sequence of the batch has two items; there is no earlier item to learn")
    start = (sequence == PAD).sum(1)
    u = torch.rand(len(sequence), generator=generator, device=sequence.device)
    place = start + 1 + (u * (sequence.shape[1] - start - 1)).long()
    before = place[:, None] + torch.arange(-length, 0, device=place.device)
    after = place[:, None] + torch.arange(max_len - 1, -1, -1, device=place.device)
    return _take(sequence, before), _take(sequence, after)


def first_reversed(sequences: Sequence[np.ndarray], max_len: int) -> Tensor:
    """Stack the first `max_len` items of each sequence (B, max_len), reversed and padded on the left."""
    return pad([sequence[:max_len][::-1] for sequence in sequences], length=max_len)


def unit_scale(embeddings: Tensor, *, n_items: int, d: int) -> Tensor:
    """Copy embeddings (n+1, d) with row 0 zero and the entries' deviation 1.

    Raises:
        ConfigError: they have another shape.
    """
    if tuple(embeddings.shape) != (n_items + 1, d):
        raise ConfigError(f"embeddings have shape {tuple(embeddings.shape)}; allowed is {(n_items + 1, d)}")
    scaled = embeddings.detach().float() / embeddings[1:].detach().float().std().clamp(min=1e-12)
    scaled[PAD] = 0
    return scaled


def _take(sequence: Tensor, place: Tensor) -> Tensor:
    """Items (N, K) at the places of sequence (N, L), padding outside."""
    inside = (place >= 0) & (place < sequence.shape[1])
    return sequence.gather(1, place.clamp(0, sequence.shape[1] - 1)).masked_fill(~inside, PAD)
