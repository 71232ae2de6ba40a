"""Stage 1: train the autoencoder, on crops and then on full pictures.

Loss: L1, fine and coarse, + gradient differences on three scales + SSIM + a small KL. On a share of the steps latents
and picture are both halved (EQ-VAE, arXiv 2502.09509), which makes the latents smoother.
"""

import copy
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from recsys.types import Step

from ..corpora.corpus import Source, draw, heldout, open_corpora, pictures
from ..devices import choose_device
from ..metrics.fidelity import psnr
from ..models.build import build_vae, decoder_sensitivity, latent_scale, transform_latents
from ..training.card import with_card
from ..training.loop import autocast
from ..training.preview import write_grid
from .config import PretrainConfig
from .save import forget_paths, half_copy
from .start import run_stage
from .thumbnail import start_from_thumbnail


def train_vae(config: PretrainConfig) -> Iterator[Step]:
    """Train the autoencoder; write it to `output_dir/vae`, with latents of mean 0 and mean variance 1."""
    yield from run_stage(VaeStage(config), config)


class VaeStage:
    """Autoencoder, its pictures and its loss."""

    def __init__(self, config: PretrainConfig) -> None:
        self.config, self.device = config, choose_device(config.loop.device)
        torch.manual_seed(config.loop.seed)
        self.vae = self._begin().to(self.device)
        self.modules: dict[str, nn.Module] = {"vae": self.vae}
        corpora = open_corpora(config.corpora, size=(config.height, config.width))
        self.sources, self.heldout = [], []
        for corpus, weight in corpora:
            both = [corpus.arrays[name] for name in ("image", "garment") if name in corpus.arrays]
            self.sources += [Source(array, corpus.rows["train"], weight / len(both)) for array in both]
        for i, row in heldout(corpora, config.loop.heldout_rows):
            self.heldout += [array[row] for name, array in corpora[i][0].arrays.items() if name != "mask"]
        self.heldout = self.heldout[: config.loop.heldout_rows]
        self.rows = sum(len(source.rows) for source in self.sources)

    def _begin(self) -> AutoencoderKL:
        """Build a new autoencoder that begins as a thumbnail."""
        size = self.config.vae
        vae = build_vae(
            block_out_channels=size.block_out_channels,
            latent_channels=size.latent_channels,
            layers_per_block=size.layers_per_block,
            norm_num_groups=size.norm_num_groups,
            sample_size=self.config.height,
        )
        start_from_thumbnail(vae)
        return vae

    def loss(self, step: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Return loss, l1, coarse (L1 of 8 x 8 means: colour comes sooner), gradient, 1 - ssim and kl of one batch."""
        settings = self.config.vae
        x = self._batch(step, generator)
        posterior = self.vae.encode(x).latent_dist
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        z = mean + (0.5 * logvar).exp() * torch.randn(mean.shape, generator=generator).to(mean)
        if torch.rand(1, generator=generator).item() < settings.equivariance:
            z, x = F.avg_pool2d(z, 2), F.avg_pool2d(x, 2)
        y = self.vae.decode(z).sample.float()
        parts = {
            "l1": (y - x).abs().mean(),
            "coarse": (F.avg_pool2d(y, 8) - F.avg_pool2d(x, 8)).abs().mean(),
            "gradient": gradient_difference(y, x),
            "ssim": 1 - ssim_map(y, x).mean(),
            "kl": 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean(),
        }
        total = parts["l1"] + settings.coarse_weight * parts["coarse"] + settings.gradient_weight * parts["gradient"]
        total = total + settings.ssim_weight * parts["ssim"] + settings.kl_weight * parts["kl"]
        return {"loss": total, **parts}

    def _batch(self, step: int, generator: torch.Generator) -> Tensor:
        """Draw crops (B, 3, crop, crop), or full pictures near the end, half of them mirrored; in [-1, 1]."""
        config, settings = self.config, self.config.vae
        crops = step < settings.crop_fraction * config.loop.steps
        drawn = draw(self.sources, config.loop.batch_size if crops else settings.full_batch_size, generator=generator)
        height = min(settings.crop, config.height) if crops else config.height
        width = min(settings.crop, config.width) if crops else config.width
        arrays = []
        for i, row in drawn:
            top = int(torch.randint(config.height - height + 1, (1,), generator=generator))
            left = int(torch.randint(config.width - width + 1, (1,), generator=generator))
            mirrored = torch.rand(1, generator=generator).item() < 0.5
            array = self.sources[i].array[row, top : top + height, left : left + width]
            arrays.append(array[:, ::-1] if mirrored else array)
        return pictures(arrays).to(self.device)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Reconstruct held-out pictures: mean PSNR in dB and SSIM of both, and the latents' mean deviation."""
        results = [(x, *self._reconstruct(x)) for x in self._heldout_batches()]
        truth, found = torch.cat([x for x, _, _ in results]), torch.cat([y for _, y, _ in results])
        latents = torch.cat([z for _, _, z in results])
        return {
            "psnr": psnr(found / 2, truth / 2).mean().item(),
            "ssim": ssim_map(found, truth).mean().item(),
            "latent_std": latents.std(dim=(0, 2, 3)).mean().item(),
        }

    @torch.no_grad()
    def preview(self, path: Path) -> None:
        """Write up to eight held-out pictures over their reconstructions."""
        x = torch.cat(list(self._heldout_batches(limit=8)))
        write_grid([x, self._reconstruct(x)[0]], path)

    @torch.no_grad()
    def export(self, folder: Path) -> Path:
        """Scale the latents by what the decoder makes of them (`latent_scale`); save in diffusers' layout, float16."""
        generator = torch.Generator().manual_seed(self.config.loop.seed)
        drawn = draw(self.sources, self.config.vae.statistics_rows, generator=generator)
        latents = []
        for start in range(0, len(drawn), 8):
            x = pictures([self.sources[i].array[row] for i, row in drawn[start : start + 8]]).to(self.device)
            latents.append(self.vae.encode(x).latent_dist.mean.float())
        z = torch.cat(latents)
        cells = z.transpose(0, 1).flatten(1)
        sensitivity = decoder_sensitivity(self.vae, z[: self.config.vae.sensitivity_rows])
        matrix = latent_scale(torch.cov(cells), sensitivity, power=self.config.vae.sensitivity_power)
        finished = copy.deepcopy(self.vae)
        transform_latents(finished, mean=cells.mean(1).cpu(), matrix=matrix.cpu())
        half_copy(finished).save_pretrained(folder / "vae", safe_serialization=True)
        forget_paths(folder / "vae")
        return with_card(folder / "vae", self.config.loop)

    def _heldout_batches(self, *, limit: int | None = None) -> Iterator[Tensor]:
        chosen = self.heldout[:limit]
        for start in range(0, len(chosen), 4):
            yield pictures(chosen[start : start + 4]).to(self.device)

    def _reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the picture made of the posterior's mean (B, 3, H, W) and that mean (B, C, h, w), in float32."""
        with autocast(self.device, self.config.loop):
            z = self.vae.encode(x).latent_dist.mean
            return self.vae.decode(z).sample.float().clamp(-1, 1), z.float()


def ssim_map(a: Tensor, b: Tensor, *, window: int = 7) -> Tensor:
    """Return the structural similarity (Wang et al. 2004) of pictures in [-1, 1] as a map, for the loss.

    a, b (B, C, H, W); returns (B, C, H - window + 1, W - window + 1). It is defined on [0, 1], where means are
    positive, and is taken there. Uniform window, float32: the weights are trained with this one; what is reported of
    try-on is `metrics.fidelity.ssim`, with a Gaussian window in float64.
    """
    pool = lambda x: F.avg_pool2d(x, window, stride=1)
    a, b = a / 2 + 0.5, b / 2 + 0.5
    mu_a, mu_b = pool(a), pool(b)
    var_a, var_b, cov = pool(a * a) - mu_a**2, pool(b * b) - mu_b**2, pool(a * b) - mu_a * mu_b
    c1, c2 = 0.01**2, 0.03**2
    return (2 * mu_a * mu_b + c1) * (2 * cov + c2) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))


def gradient_difference(a: Tensor, b: Tensor, *, scales: int = 3) -> Tensor:
    """Return the mean absolute difference of the pixel gradients of pictures (B, C, H, W), over halved scales."""
    total = a.new_zeros(())
    for scale in range(scales):
        if scale:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        d = a - b
        total = total + (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()
    return total / scales
