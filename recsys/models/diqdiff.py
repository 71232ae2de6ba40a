"""DiQDiff: DiffuRec with a code for what kind of history it is, and generated items that are kept apart.

Mao et al., Distinguished Quantized Guidance for Diffusion-based Sequence Recommendation (WWW 2025).
Semantic vector quantisation: a history is assigned to one of M vectors, and the vector times `intent` is added to the
guidance. Contrastive discrepancy maximisation keeps apart what is generated for different users; written here, with
s_i = exp(cos(x0_hat_i, e_i)/τ), as
L = CE - contrast · mean_i log [s_i / (s_i + Σ_j exp(cos(x0_hat_i, x0_hat_j)/τ))], j over the other rows of the batch.
Differs: the codebook is learned and, when ranking, the assignment is an argmax without noise, where the authors'
centroids come from the current batch and its noise, so that scores depend on who else is in it; in training the choice
is a straight-through Gumbel softmax. The mean of the history's items is what is assigned. Rows with the
same target are not set apart, and the query stands for x0_hat in the contrast. All else is recsys/models/diffurec.py,
δ included.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import check_range
from ..saved import Pretrained
from ..types import Batch, Ranking
from .diffurec import DiffuRec, DiffuRecConfig


@dataclass(frozen=True)
class DiQDiffConfig:
    """DiffuRecConfig's fields and: M `codes`, `intent` and `contrast` (the paper's λ's), τ = `temperature`."""

    n_items: int
    d: int = 64
    max_len: int = 50
    encoder: str = "bidirectional"
    layers: int = 2
    heads: int = 2
    dropout: float = 0.1
    delta: float = 0.001
    T: int = 32
    schedule: str = "truncated-linear"
    sample_steps: int = 32
    draws: int = 1
    eta: float = 1.0
    max_softmax: int = 20_000
    codes: int = 32
    intent: float = 0.4
    contrast: float = 1.0
    temperature: float = 1.0

    def __post_init__(self):
        check_range(codes=(self.codes, 2, 65_536), intent=(self.intent, 0, 100), contrast=(self.contrast, 0, 100))
        check_range(temperature=(self.temperature, 1e-3, 1e3))
        self.diffurec()

    def diffurec(self) -> DiffuRecConfig:
        """The configuration of the model underneath.

        Raises:
            ConfigError: settings out of range.
        """
        names = DiffuRecConfig.__dataclass_fields__
        return DiffuRecConfig(**{name: getattr(self, name) for name in names})


class Codebook(nn.Module):
    """M learned vectors (M, d), of which a history gets one."""

    def __init__(self, codes: int, d: int):
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(codes, d))

    def logits(self, x: Tensor, real: Tensor) -> Tensor:
        """How near the mean of x (N, L, d) over `real` (N, L) is to each vector: -|mean - v|²/√d + constant (N, M)."""
        mean = (x * real.unsqueeze(-1)).sum(1) / real.sum(1, keepdim=True).clamp(min=1)
        return (2 * mean @ self.vectors.T - self.vectors.square().sum(1)) * x.shape[-1] ** -0.5

    def forward(self, x: Tensor, real: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Look up each history's vector (N, d): the nearest, or, with a generator, one drawn as in training.

        Drawn means Gumbel noise on the logits; the gradient is the softmax's (Jang et al. 2017, straight-through).
        """
        logits = self.logits(x, real)
        if generator is not None:
            uniform = torch.rand(logits.shape, generator=generator, device=x.device).clamp(min=1e-10)
            logits = logits - (-uniform.log()).log()
        soft = logits.softmax(1)
        hard = F.one_hot(soft.argmax(1), soft.shape[1]).to(soft)
        return (hard + soft - soft.detach()) @ self.vectors


def discrepancy_loss(x0_hat: Tensor, x0: Tensor, target: Tensor, *, temperature: float) -> Tensor:
    """Keep what is generated (N, d) near its own x0 (N, d) and away from what is generated for other targets (N,)."""
    x0_hat, x0 = F.normalize(x0_hat, dim=-1), F.normalize(x0, dim=-1)
    own = (x0_hat * x0).sum(-1, keepdim=True) / temperature
    others = (x0_hat @ x0_hat.T / temperature).masked_fill(target == target.unsqueeze(1), -torch.inf)
    return (torch.cat([own, others], dim=1).logsumexp(1) - own[:, 0]).mean()


class DiQDiff(nn.Module, Pretrained):
    """DiffuRec's backbone guided by a codebook."""

    def __init__(self, config: DiQDiffConfig):
        super().__init__()
        self.n_items, self.config = config.n_items, config
        self.net = DiffuRec(config.diffurec())
        self.codebook = Codebook(config.codes, config.d)

    def loss(self, batch: Batch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Add the contrast to DiffuRec's cross-entropy on Batch (B, L); the total is "loss"."""
        a = self.net.answers(batch, generator=generator, guide=lambda x, real: self._guided(x, real, generator))
        ce = self.net.cross_entropy(a, generator=generator)
        contrast = discrepancy_loss(a.query, a.embedding[a.target], a.target, temperature=self.config.temperature)
        return {"loss": ce + self.config.contrast * contrast, "cross_entropy": ce, "contrast": contrast}

    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the next items of history (B, L); noise comes from the generator's initial seed and each history.

        Scores are log-probabilities.

        Raises:
            DataError: `history` has another type or shape, unknown items, or padding after an item.
            ConfigError: k is outside 1..n.
        """
        return self.net.rank(history, k, exclude_seen=exclude_seen, generator=generator, guide=self._guided)

    def item_embeddings(self) -> Tensor:
        """Return the embeddings (n+1, d), of norm √d, row 0 padding."""
        return self.net.item_embeddings()

    def _guided(self, x: Tensor, real: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Add the code to every real position of x (N, L, d)."""
        code = self.codebook(x, real, generator=generator)
        return x + self.config.intent * code.unsqueeze(1) * real.unsqueeze(-1)
